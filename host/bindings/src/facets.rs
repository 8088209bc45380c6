//! One facet of a component, whichever version of the contract it was built for.
//!
//! A facet is found by the name under which a component exports it, at load; from then on callers
//! see the current types only. Which version is called is decided in one place, by `of_either!`;
//! a function says what is called, and what of its answer changed since the first contract.

use wasmtime::{
    Store,
    component::{InstancePre, ResourceAny},
};

use crate::{
    compute, definition, engine, format,
    host::bindery::task::types::{Error, ItemOutcome, Request, Violation},
    v0_1::{self, all},
};
use compute::exports::bindery::task::compute_task::{Batch, SessionProfile};
use definition::exports::bindery::task::definition::{Normalised, TaskDefinition};
use engine::exports::bindery::task::engine_task::{Decision, OutputStream, Signal, StepOutcome};
use format::exports::bindery::task::format::{
    Fault, FormatDescription, Inspection, RecordEntry, Sniffed,
};

/// Version of an interface, as far as it matters: `0.1` of `0.1.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    V0_1,
    V0_2,
}

impl Contract {
    /// None for a version that this host does not run.
    #[must_use]
    pub fn of(version: &str) -> Option<Self> {
        match version.splitn(3, '.').collect::<Vec<_>>().as_slice() {
            ["0", "1", _] => Some(Self::V0_1),
            ["0", "2", _] => Some(Self::V0_2),
            _ => None,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "bindery:task@0.1",
            Self::V0_2 => "bindery:task@0.2",
        }
    }
}

macro_rules! facet {
    ($(#[$doc:meta])* $name:ident, $module:ident, $pre:ident, $instance:ident, $running:ident) => {
        $(#[$doc])*
        pub enum $name<T: 'static> {
            V0_1(v0_1::$module::$pre<T>),
            V0_2($module::$pre<T>),
        }

        impl<T: 'static> Clone for $name<T> {
            fn clone(&self) -> Self {
                match self {
                    Self::V0_1(facet) => Self::V0_1(facet.clone()),
                    Self::V0_2(facet) => Self::V0_2(facet.clone()),
                }
            }
        }

        impl<T: Send + 'static> $name<T> {
            /// # Errors
            /// When the component exports something else under that name.
            pub fn new(contract: Contract, pre: InstancePre<T>) -> wasmtime::Result<Self> {
                Ok(match contract {
                    Contract::V0_1 => Self::V0_1(v0_1::$module::$pre::new(pre)?),
                    Contract::V0_2 => Self::V0_2($module::$pre::new(pre)?),
                })
            }

            /// # Errors
            /// When the guest breaks while it starts.
            pub async fn instantiate(&self, store: &mut Store<T>) -> wasmtime::Result<$running> {
                Ok(match self {
                    Self::V0_1(facet) => {
                        $running::V0_1(facet.instantiate_async(&mut *store).await?)
                    }
                    Self::V0_2(facet) => {
                        $running::V0_2(facet.instantiate_async(&mut *store).await?)
                    }
                })
            }
        }

        /// An instance of it.
        #[allow(missing_debug_implementations, reason = "generated types have none")]
        pub enum $running {
            V0_1(v0_1::$module::$instance),
            V0_2($module::$instance),
        }
    };
}

facet!(
    /// See `wit/definition.wit`.
    #[allow(missing_debug_implementations, reason = "generated types have none")]
    Definition, definition, DefinitionFacetPre, DefinitionFacet, RunningDefinition
);
facet!(
    /// See `wit/engine-task.wit`.
    #[allow(missing_debug_implementations, reason = "generated types have none")]
    Engine, engine, EngineFacetPre, EngineFacet, RunningEngine
);
facet!(
    /// See `wit/compute-task.wit`.
    #[allow(missing_debug_implementations, reason = "generated types have none")]
    Compute, compute, ComputeFacetPre, ComputeFacet, RunningCompute
);
facet!(
    /// See `wit/format.wit`.
    #[allow(missing_debug_implementations, reason = "generated types have none")]
    Format, format, FormatFacetPre, FormatFacet, RunningFormat
);

/// The outer error is the guest's end; the inner one its word.
type Said<T, E> = wasmtime::Result<Result<T, E>>;

/// Calls the same function of whichever version a component was built for. What follows it makes
/// the current type of what the first contract says, or of what it is given; where nothing
/// follows, the types are the same.
macro_rules! of_either {
    ($running:expr, |$facet:ident| $call:expr) => {
        of_either!($running, |$facet| $call, first | said | said)
    };
    ($running:expr, |$facet:ident| $call:expr, first |$said:ident| $current:expr) => {
        of_either!($running, |$facet| $call, first | $facet | $call, |$said| {
            $current
        })
    };
    ($running:expr, |$facet:ident| $call:expr,
        first |$first:ident| $first_call:expr, |$said:ident| $current:expr) => {
        Ok(match $running {
            Self::V0_1($first) => {
                let $said = $first_call.await?;
                $current
            }
            Self::V0_2($facet) => $call.await?,
        })
    };
}

#[allow(
    clippy::missing_errors_doc,
    reason = "the outer error is always the guest's end"
)]
impl RunningDefinition {
    pub async fn describe<T: Send>(
        &self,
        store: &mut Store<T>,
    ) -> wasmtime::Result<Vec<TaskDefinition>> {
        of_either!(
            self,
            |facet| facet.bindery_task_definition().call_describe(store),
            first | said | all(said)
        )
    }

    pub async fn validate<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
    ) -> Said<Normalised, Vec<Violation>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_definition()
                .call_validate(store, request),
            first | said | said.map(Into::into)
        )
    }
}

#[allow(
    clippy::missing_errors_doc,
    reason = "the outer error is always the guest's end"
)]
impl RunningEngine {
    pub async fn next<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
        done: &[StepOutcome],
    ) -> Said<Decision, Error> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_engine_task()
                .call_next(store, request, done),
            first
                | facet
                | facet
                    .bindery_task_engine_task()
                    .call_next(store, request, &all(done.to_vec())),
            |said| said.map(Into::into)
        )
    }

    pub async fn parse<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
        outcomes: &[StepOutcome],
    ) -> Said<Vec<ItemOutcome>, Error> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_engine_task()
                .call_parse(store, request, outcomes),
            first
                | facet
                | facet.bindery_task_engine_task().call_parse(
                    store,
                    request,
                    &all(outcomes.to_vec())
                ),
            |said| said
        )
    }

    /// A monitor of one step.
    pub async fn monitor<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
        step: &str,
    ) -> wasmtime::Result<ResourceAny> {
        of_either!(self, |facet| facet
            .bindery_task_engine_task()
            .monitor()
            .call_constructor(store, request, step))
    }

    pub async fn feed<T: Send>(
        &self,
        store: &mut Store<T>,
        monitor: ResourceAny,
        stream: OutputStream,
        bytes: &[u8],
    ) -> wasmtime::Result<Vec<Signal>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_engine_task()
                .monitor()
                .call_feed(store, monitor, stream, bytes),
            first
                | facet
                | facet.bindery_task_engine_task().monitor().call_feed(
                    store,
                    monitor,
                    stream.into(),
                    bytes
                ),
            |said| all(said)
        )
    }
}

#[allow(
    clippy::missing_errors_doc,
    reason = "the outer error is always the guest's end"
)]
impl RunningCompute {
    /// What the sessions of a task can do, and which columns they want.
    pub async fn profile<T: Send>(
        &self,
        store: &mut Store<T>,
        task: &str,
    ) -> wasmtime::Result<SessionProfile> {
        of_either!(
            self,
            |facet| facet.bindery_task_compute_task().call_profile(store, task),
            first | said | said.into()
        )
    }

    pub async fn open<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
    ) -> Said<ResourceAny, Error> {
        of_either!(self, |facet| facet
            .bindery_task_compute_task()
            .session()
            .call_open(store, request))
    }

    pub async fn restore<T: Send>(
        &self,
        store: &mut Store<T>,
        request: &Request,
        state: &[u8],
    ) -> Said<ResourceAny, Error> {
        of_either!(self, |facet| facet
            .bindery_task_compute_task()
            .session()
            .call_restore(store, request, state))
    }

    pub async fn push<T: Send>(
        &self,
        store: &mut Store<T>,
        session: ResourceAny,
        batch: Batch,
    ) -> Said<Vec<Batch>, Error> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_compute_task()
                .session()
                .call_push(store, session, &batch),
            first
                | facet
                | facet.bindery_task_compute_task().session().call_push(
                    store,
                    session,
                    &batch.into()
                ),
            |said| said.map(all)
        )
    }

    pub async fn flush<T: Send>(
        &self,
        store: &mut Store<T>,
        session: ResourceAny,
    ) -> Said<Vec<Batch>, Error> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_compute_task()
                .session()
                .call_flush(store, session),
            first | said | said.map(all)
        )
    }

    pub async fn save<T: Send>(
        &self,
        store: &mut Store<T>,
        session: ResourceAny,
    ) -> Said<Vec<u8>, Error> {
        of_either!(self, |facet| facet
            .bindery_task_compute_task()
            .session()
            .call_save(store, session))
    }

    pub async fn partial<T: Send>(
        &self,
        store: &mut Store<T>,
        session: ResourceAny,
    ) -> Said<Vec<u8>, Error> {
        of_either!(self, |facet| facet
            .bindery_task_compute_task()
            .session()
            .call_partial(store, session))
    }

    pub async fn finish<T: Send>(
        &self,
        store: &mut Store<T>,
        session: ResourceAny,
    ) -> Said<Vec<ItemOutcome>, Error> {
        of_either!(self, |facet| facet
            .bindery_task_compute_task()
            .session()
            .call_finish(store, session))
    }
}

#[allow(
    clippy::missing_errors_doc,
    reason = "the outer error is always the guest's end"
)]
impl RunningFormat {
    pub async fn describe<T: Send>(
        &self,
        store: &mut Store<T>,
    ) -> wasmtime::Result<FormatDescription> {
        of_either!(
            self,
            |facet| facet.bindery_task_format().call_describe_formats(store),
            first | said | said.into()
        )
    }

    pub async fn sniff<T: Send>(
        &self,
        store: &mut Store<T>,
        head: &[u8],
        file_name: &str,
    ) -> wasmtime::Result<Option<Sniffed>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_format()
                .call_sniff(store, head, file_name),
            first | said | said.map(Into::into)
        )
    }

    pub async fn inspect<T: Send>(
        &self,
        store: &mut Store<T>,
        path: &str,
        file_name: &str,
    ) -> Said<Inspection, Vec<Fault>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_format()
                .call_inspect(store, path, file_name),
            first | said | said.map(Into::into).map_err(all)
        )
    }

    /// The records of a file, as a stream.
    pub async fn open<T: Send>(
        &self,
        store: &mut Store<T>,
        path: &str,
        file_name: &str,
    ) -> Said<ResourceAny, Vec<Fault>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_format()
                .records()
                .call_open(store, path, file_name),
            first | said | said.map_err(all)
        )
    }

    pub async fn next<T: Send>(
        &self,
        store: &mut Store<T>,
        records: ResourceAny,
        max: u32,
    ) -> wasmtime::Result<Vec<RecordEntry>> {
        of_either!(
            self,
            |facet| facet
                .bindery_task_format()
                .records()
                .call_next(store, records, max, false),
            first | said | all(said)
        )
    }
}
