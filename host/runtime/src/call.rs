//! One guest call: a store, its limits, a thread, and what it cost.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_core::{CostReceipt, Digest};
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::RuntimeFlavor,
    sync::{OwnedSemaphorePermit, oneshot},
};
use wasmtime::{Store, UpdateDeadline};

use crate::{
    CallLimits, GuestFailure, GuestLine, HttpHosts, Runtime,
    engine::TICK,
    failure::{DeadlineExceeded, classify},
    http::GuestHttp,
    state::GuestState,
};

/// How many ticks pass between two looks at what a guest has left on disk.
const DISK_CHECK_TICKS: u64 = 10;

/// What one call may use beyond its own instance: directories of the host, which the guest sees as
/// `/in` (read-only), `/work` and `/out`, and other machines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallGrants {
    pub input: Option<PathBuf>,
    pub work: Option<PathBuf>,
    pub out: Option<PathBuf>,
    /// Hosts that it may send requests to. Only computing may; elsewhere they are not looked at.
    pub hosts: HttpHosts,
}

/// What every call needs beside its own arguments.
#[derive(Debug, Clone)]
pub(crate) struct CallSpec {
    pub(crate) phase: &'static str,
    pub(crate) limits: CallLimits,
    pub(crate) grants: CallGrants,
    pub(crate) seed: u64,
    pub(crate) digest: Digest,
}

/// An answer and what it cost.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) value: T,
    pub(crate) receipt: CostReceipt,
    pub(crate) lines: Vec<GuestLine>,
}

/// What a call's body gives: the outer error is wasmtime's, the inner one the guest's or a value
/// that does not convert.
pub(crate) type BodyResult<T> = wasmtime::Result<Result<T, GuestFailure>>;

/// Leave to make calls on this thread, one after the other.
#[derive(Debug)]
pub(crate) struct Turn {
    handle: tokio::runtime::Handle,
    /// Never sent on: it closes when nobody waits for the answer any more. None where the
    /// waiting thread is the one that makes the call.
    abandoned: Option<oneshot::Receiver<Infallible>>,
    _permit: OwnedSemaphorePermit,
}

impl Turn {
    pub(crate) const fn handle(&self) -> &tokio::runtime::Handle {
        &self.handle
    }
}

impl Runtime {
    /// Makes one call on a fresh store, on the bounded pool of blocking threads. Where nobody
    /// waits for the answer any more, because this future was dropped, the guest is stopped.
    pub(crate) async fn call<T, F>(
        &self,
        spec: CallSpec,
        body: F,
    ) -> Result<Answer<T>, GuestFailure>
    where
        T: Send + 'static,
        F: AsyncFnOnce(&mut Store<GuestState>) -> BodyResult<T> + Send + 'static,
    {
        let runtime = self.clone();
        self.with_turn(spec.phase, move |mut turn| {
            runtime.call_here(&mut turn, &spec, body)
        })
        .await
    }

    /// Does this work on a blocking thread, when it is its turn.
    pub(crate) async fn with_turn<T, F>(
        &self,
        phase: &'static str,
        work: F,
    ) -> Result<T, GuestFailure>
    where
        T: Send + 'static,
        F: FnOnce(Turn) -> Result<T, GuestFailure> + Send + 'static,
    {
        let permit = self.permit(phase).await?;
        let (_waiting, abandoned) = oneshot::channel::<Infallible>();
        let turn = Turn {
            handle: tokio::runtime::Handle::current(),
            abandoned: Some(abandoned),
            _permit: permit,
        };
        tokio::task::spawn_blocking(move || work(turn))
            .await
            .map_err(|error| GuestFailure::host(phase, error))?
    }

    /// Does this work on this thread when it is its turn, after handing the other tasks of a tokio
    /// worker to another thread. Saves the way there and back, which takes longer than a short
    /// call; but the work is not stopped when this future is dropped, so it must be short.
    pub(crate) async fn with_turn_in_place<T, F>(
        &self,
        phase: &'static str,
        work: F,
    ) -> Result<T, GuestFailure>
    where
        T: Send + 'static,
        F: FnOnce(Turn) -> Result<T, GuestFailure> + Send + 'static,
    {
        let handle = tokio::runtime::Handle::current();
        if handle.runtime_flavor() != RuntimeFlavor::MultiThread {
            return self.with_turn(phase, work).await;
        }
        let permit = self.permit(phase).await?;
        let turn = Turn {
            handle,
            abandoned: None,
            _permit: permit,
        };
        tokio::task::block_in_place(move || work(turn))
    }

    async fn permit(&self, phase: &'static str) -> Result<OwnedSemaphorePermit, GuestFailure> {
        Arc::clone(&self.shared.calls)
            .acquire_owned()
            .await
            .map_err(|error| GuestFailure::host(phase, error))
    }

    /// A turn for this thread, which must not be a tokio worker: waits until it is there.
    pub(crate) fn turn_here(
        &self,
        phase: &'static str,
        handle: &tokio::runtime::Handle,
    ) -> Result<Turn, GuestFailure> {
        let permit = match Arc::clone(&self.shared.calls).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => handle.block_on(self.permit(phase))?,
        };
        Ok(Turn {
            handle: handle.clone(),
            abandoned: None,
            _permit: permit,
        })
    }

    /// Makes one call on a fresh store on this thread.
    pub(crate) fn call_here<T, F>(
        &self,
        turn: &mut Turn,
        spec: &CallSpec,
        body: F,
    ) -> Result<Answer<T>, GuestFailure>
    where
        F: AsyncFnOnce(&mut Store<GuestState>) -> BodyResult<T>,
    {
        let mut store = self.store(spec)?;
        self.call_on(turn, spec, &mut store, body)
    }

    /// Makes one call on this store on this thread. After a failure the store is of no more use.
    pub(crate) fn call_on<T, F>(
        &self,
        turn: &mut Turn,
        spec: &CallSpec,
        store: &mut Store<GuestState>,
        body: F,
    ) -> Result<Answer<T>, GuestFailure>
    where
        F: AsyncFnOnce(&mut Store<GuestState>) -> BodyResult<T>,
    {
        let started = Instant::now();
        let cpu_before = thread_cpu_us();
        let stderr = store.data().stderr.clone();
        let abandoned = &mut turn.abandoned;
        let outcome = turn.handle.block_on(async {
            // The epoch does not cover host calls: the timeout goes round the whole call.
            let call = tokio::time::timeout(spec.limits.wall + TICK * 2, body(store));
            match abandoned {
                None => Some(call.await),
                Some(abandoned) => tokio::select! {
                    // Mostly the guest answers at once, and nothing else is looked at.
                    biased;
                    outcome = call => Some(outcome),
                    _ = abandoned => None,
                },
            }
        });
        let value = match outcome {
            None => {
                return Err(GuestFailure::host(
                    spec.phase,
                    "nobody waits for the answer",
                ));
            }
            Some(Err(_elapsed)) => {
                return Err(GuestFailure::deadline(
                    spec.phase,
                    spec.limits.wall,
                    stderr.text(),
                ));
            }
            Some(Ok(Err(error))) => return Err(classify(spec.phase, &error, stderr.text())),
            Some(Ok(Ok(value))) => value?,
        };
        let state = store.data_mut();
        let (bytes_in, bytes_out) = state.http.bytes();
        if let Some(limit) = state.disk.exceeded() {
            return Err(classify(
                spec.phase,
                &wasmtime::Error::from(limit),
                stderr.text(),
            ));
        }
        Ok(Answer {
            value,
            receipt: CostReceipt {
                phase: spec.phase.to_owned(),
                wall_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                cpu_us: thread_cpu_us().saturating_sub(cpu_before),
                peak_memory_bytes: state.memory.peak_bytes(),
                bytes_in,
                bytes_out,
                fresh: Some(true),
                digest: Some(spec.digest),
            },
            lines: state.lines.take(),
        })
    }

    /// Makes a store that has answered ready for its next call: nothing that the host kept of the
    /// last one is left, and the limits are those of this call.
    pub(crate) fn rearm(
        &self,
        store: &mut Store<GuestState>,
        spec: &CallSpec,
    ) -> Result<(), GuestFailure> {
        let http = GuestHttp::new(&self.shared.http, &spec.grants.hosts);
        store
            .data_mut()
            .begin(&spec.grants, spec.seed, &spec.limits, http)
            .map_err(|error| GuestFailure::host(spec.phase, error))?;
        store.set_hostcall_fuel(spec.limits.hostcall_bytes);
        set_deadline(store, spec.limits.wall);
        Ok(())
    }

    /// A store with the limits of this call; its deadline starts now. On the thread that makes
    /// the call.
    pub(crate) fn store(&self, spec: &CallSpec) -> Result<Store<GuestState>, GuestFailure> {
        let http = GuestHttp::new(&self.shared.http, &spec.grants.hosts);
        let state = GuestState::new(&spec.grants, spec.seed, &spec.limits, http)
            .map_err(|error| GuestFailure::host(spec.phase, error))?;
        let mut store = Store::new(&self.shared.engine, state);
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(spec.limits.hostcall_bytes);
        set_deadline(&mut store, spec.limits.wall);
        Ok(store)
    }
}

/// Starts the deadline of a call on a store: checked at every tick while the guest runs.
pub(crate) fn set_deadline(store: &mut Store<GuestState>, limit: Duration) {
    let started = Instant::now();
    let mut ticks = 0_u64;
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |store| {
        if started.elapsed() >= limit {
            return Err(DeadlineExceeded { limit }.into());
        }
        ticks += 1;
        if ticks.is_multiple_of(DISK_CHECK_TICKS)
            && let Some(limit) = store.data().disk.exceeded()
        {
            return Err(limit.into());
        }
        // Gives the thread back for a moment, so that a guest that only computes can be stopped.
        Ok(UpdateDeadline::Yield(1))
    });
}

/// CPU time of this thread in microseconds.
pub(crate) fn thread_cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}
