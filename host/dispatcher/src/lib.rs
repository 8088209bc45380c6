//! Owns execution state: queue, attempts, retries, cancellation.
//!
//! One loop ([`Dispatcher`]) linearises what happens; it asks a pure [`Machine`](machine) what to
//! do. Workers own their attempt: one tokio task each, which runs the [`Executor`] and reports
//! once. They exchange enums over channels and share no locks.
//!
//! Invariants:
//! - Nothing is acknowledged before it is committed: a submission, a cancellation, an ending.
//! - An execution has at most one terminal state: endings are committed with the fence of the
//!   lease under which the attempt ran.
//! - After a restart every execution that was running is found in the queue again; its attempt
//!   counts as `lost`, and it is tried again until its attempts are used up.
//! - This crate does not know what tasks, engines or files are: that is the executor's.

mod bell;
mod dispatcher;
mod event_loop;
mod executor;
mod job_index;
pub mod machine;
mod progress;
pub mod records;
mod store;
mod transactions;
mod waiting;
mod worker;

pub use self::{
    dispatcher::{
        CancelError, Cancelled, Dispatcher, RetryError, Submission, SubmitError, Submitted,
    },
    executor::{
        AttemptReport, AttemptUpdate, Executor, Problem, ProducedArtifact, ResultBody, UpdateSink,
        WorkOrder,
    },
    job_index::JobQuery,
    machine::{Resources, Rules},
    progress::Live,
    store::{ExecutionStore, Page, StoreError},
};
