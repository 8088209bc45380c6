//! Tasks that compute inside the sandbox.

use std::marker::PhantomData;

use crate::{Batch, Error, ItemOutcome, ItemResult, Request, Task};

/// What the sessions of a task can do; see `wit/compute-task.wit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionProfile {
    /// `save` and `restore` carry the state from one run to the next.
    pub resumable: bool,
    /// `partial` and `merge` work: batches may be given to several sessions.
    pub mergeable: bool,
    /// Batches may be pushed in any order.
    pub unordered: bool,
    /// Columns wanted, in this order; none for a task without a dataset.
    pub columns: Vec<String>,
}

/// See `compute-task` in `wit/compute-task.wit`.
pub trait ComputeTask: Task {
    /// One run; [`Immediate`] for a task that is one function.
    type Session: Session;

    /// What the sessions can do and which columns they want.
    #[must_use]
    fn profile() -> SessionProfile {
        SessionProfile::default()
    }

    /// Joins the parts of all sessions, in the order of their data.
    ///
    /// # Errors
    /// `unsupported` unless the profile says `mergeable`.
    fn merge(_request: &Request, _parts: Vec<Vec<u8>>) -> Result<Vec<ItemOutcome>, Error> {
        Err(Error::Unsupported(
            "this task does not merge parts".to_owned(),
        ))
    }
}

/// One run from open to finish.
pub trait Session: Sized + 'static {
    /// # Errors
    /// When the request cannot be run.
    fn open(request: Request) -> Result<Self, Error>;

    /// Takes one batch and gives rows that are ready.
    ///
    /// # Errors
    /// When the batch cannot be used.
    fn push(&mut self, _batch: Batch) -> Result<Vec<Batch>, Error> {
        Err(Error::Unsupported("this task takes no rows".to_owned()))
    }

    /// # Errors
    /// When the rest cannot be computed.
    fn flush(&mut self) -> Result<Vec<Batch>, Error> {
        Ok(Vec::new())
    }

    /// # Errors
    /// When there is no result.
    fn finish(&mut self) -> Result<Vec<ItemOutcome>, Error>;

    /// # Errors
    /// `unsupported` unless the profile says `resumable`.
    fn save(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("this task cannot be saved".to_owned()))
    }

    /// # Errors
    /// `unsupported` unless the profile says `resumable`.
    fn restore(_request: Request, _state: Vec<u8>) -> Result<Self, Error> {
        Err(Error::Unsupported(
            "this task cannot be restored".to_owned(),
        ))
    }

    /// # Errors
    /// `unsupported` unless the profile says `mergeable`.
    fn partial(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported(
            "this task has no partial results".to_owned(),
        ))
    }
}

/// A task that is one function from request to result; see [`Immediate`].
pub trait Compute: 'static {
    /// # Errors
    /// When there is no result.
    fn compute(request: &Request) -> Result<ItemResult, Error>;
}

/// The session of a task without rows: `finish` calls [`Compute::compute`].
#[derive(Debug)]
pub struct Immediate<T> {
    request: Request,
    task: PhantomData<T>,
}

impl<T: Compute> Session for Immediate<T> {
    fn open(request: Request) -> Result<Self, Error> {
        Ok(Self {
            request,
            task: PhantomData,
        })
    }

    fn finish(&mut self) -> Result<Vec<ItemOutcome>, Error> {
        let result = T::compute(&self.request)?;
        let index = self.request.items.first().map_or(0, |item| item.index);
        Ok(vec![ItemOutcome {
            index,
            verdict: Ok(result),
        }])
    }
}
