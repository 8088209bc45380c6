//! Sessions of compute tasks over a table: batches of columns in, batches and a result out.
//!
//! A session is one instance from open to finish and lives on a thread of its own, as a store
//! belongs to one thread at a time. Its owner sends one command at a time and waits for the
//! answer, so the guest's pace bounds what is in memory: one batch in, what it answers out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_bindings::{
    compute::exports::bindery::task::compute_task::Batch as WitBatch, convert,
    facets::RunningCompute, host::bindery::task::types as wit,
};
use bindery_core::{Batch, CostReceipt, ItemOutcome, Request, SessionProfile};
use tokio::sync::{mpsc, oneshot};
use wasmtime::{Store, component::ResourceAny};

use crate::{
    CallGrants, GuestFailure, GuestLine, Plugin, ProgressSink,
    call::{CallSpec, set_deadline, thread_cpu_us},
    engine::TICK,
    failure::classify,
    state::GuestState,
};

const PHASE: &str = "session";
/// The owner waits for each answer: nothing ever queues.
const COMMANDS: usize = 1;

type Reply<T> = oneshot::Sender<Result<T, GuestFailure>>;

/// What the owner asks of the session's thread.
enum Command {
    Push(Batch, Reply<Vec<Batch>>),
    Flush(Reply<Vec<Batch>>),
    Save(Reply<Vec<u8>>),
    Partial(Reply<Vec<u8>>),
    Finish(Reply<Finished>),
}

/// What a session gives at its end.
pub type Finished = (Vec<ItemOutcome>, CostReceipt, Vec<GuestLine>);

/// An open session. Dropped before it is finished, it is forgotten with its instance: the guest
/// stops at its next tick.
#[derive(Debug)]
pub struct ComputeSession {
    /// To the session's thread, which ends when this is dropped.
    commands: mpsc::Sender<Command>,
    profile: SessionProfile,
}

impl Plugin {
    /// Opens a session, from its beginning or from a saved state. `wall` bounds all its calls
    /// together, the time between them left out.
    ///
    /// # Errors
    /// The three kinds of [`GuestFailure`]; a host fault when too many sessions are open.
    pub async fn open_session(
        self: &Arc<Self>,
        request: &Request,
        state: Option<Vec<u8>>,
        grants: CallGrants,
        wall: Duration,
        progress: ProgressSink,
    ) -> Result<ComputeSession, GuestFailure> {
        if self.compute.is_none() {
            return Err(GuestFailure::host(PHASE, "the plugin has no compute tasks"));
        }
        let permit = Arc::clone(&self.runtime.shared.sessions)
            .try_acquire_owned()
            .map_err(|_| GuestFailure::host(PHASE, "too many sessions are open"))?;
        let spec = self.spec_with_hosts(
            PHASE,
            self.limits().compute.with_wall(wall),
            grants,
            request.seed,
        );
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (opened, profile) = oneshot::channel();
        let plugin = Arc::clone(self);
        let request = request.clone();
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            handle.block_on(plugin.serve(spec, &request, state, progress, inbox, opened));
        });
        let profile = profile.await.map_err(|_| gone())??;
        Ok(ComputeSession { commands, profile })
    }

    /// The session's thread: opens it, then does what it is told until it has finished, failed
    /// or been forgotten.
    async fn serve(
        &self,
        spec: CallSpec,
        request: &Request,
        state: Option<Vec<u8>>,
        progress: ProgressSink,
        mut inbox: mpsc::Receiver<Command>,
        mut opened: Reply<SessionProfile>,
    ) {
        let opening = tokio::select! {
            biased;
            opening = self.open(&spec, request, state, progress) => opening,
            () = opened.closed() => return,
        };
        let mut live = match opening {
            Ok((live, profile)) => {
                if opened.send(Ok(profile)).is_err() {
                    return;
                }
                live
            }
            Err(failure) => {
                // Nobody waiting is nobody to tell.
                let _ = opened.send(Err(failure));
                return;
            }
        };
        while let Some(command) = inbox.recv().await {
            let goes_on = match command {
                Command::Push(batch, reply) => answer(live.push(batch), reply).await,
                Command::Flush(reply) => answer(live.flush(), reply).await,
                Command::Save(reply) => answer(live.save(), reply).await,
                Command::Partial(reply) => answer(live.partial(), reply).await,
                Command::Finish(reply) => {
                    answer(live.finish(request), reply).await;
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    async fn open(
        &self,
        spec: &CallSpec,
        request: &Request,
        state: Option<Vec<u8>>,
        progress: ProgressSink,
    ) -> Result<(Live, SessionProfile), GuestFailure> {
        let Some(facet) = &self.compute else {
            return Err(GuestFailure::host(PHASE, "the plugin has no compute tasks"));
        };
        let started = Instant::now();
        let cpu_before = thread_cpu_us();
        let mut store = self.runtime.store(spec)?;
        store.data_mut().progress = Some(progress);
        let asked = wit::Request::from(request);
        let opening = async {
            let facet = facet.instantiate(&mut store).await?;
            let profile = facet.profile(&mut store, &asked.task).await?;
            let session = match &state {
                None => facet.open(&mut store, &asked).await?,
                Some(state) => facet.restore(&mut store, &asked, state).await?,
            };
            wasmtime::Result::Ok((facet, profile, session))
        };
        let outcome = tokio::time::timeout(spec.limits.wall + TICK * 2, opening).await;
        let stderr = store.data().stderr.text();
        let (facet, profile, session) = match outcome {
            Err(_elapsed) => return Err(GuestFailure::deadline(PHASE, spec.limits.wall, stderr)),
            Ok(Err(error)) => return Err(classify(PHASE, &error, stderr)),
            Ok(Ok(opened)) => opened,
        };
        let session = session.map_err(|error| GuestFailure::Refused(error.into()))?;
        let live = Live {
            store,
            facet,
            session,
            spec: spec.clone(),
            left: spec.limits.wall.saturating_sub(started.elapsed()),
            wall: started.elapsed(),
            cpu_us: thread_cpu_us().saturating_sub(cpu_before),
        };
        Ok((live, convert::session_profile(profile)))
    }
}

/// Answers one command. Gives whether the session can go on: not after a failure (the instance
/// may be broken), nor when nobody waits any more.
async fn answer<T>(
    work: impl Future<Output = Result<T, GuestFailure>>,
    mut reply: Reply<T>,
) -> bool {
    tokio::select! {
        biased;
        outcome = work => {
            let goes_on = !matches!(outcome, Err(GuestFailure::Broke(_) | GuestFailure::Host { .. }));
            reply.send(outcome).is_ok() && goes_on
        }
        () = reply.closed() => false,
    }
}

fn gone() -> GuestFailure {
    GuestFailure::host(PHASE, "the session has ended")
}

/// The session on its thread.
struct Live {
    store: Store<GuestState>,
    facet: RunningCompute,
    session: ResourceAny,
    spec: CallSpec,
    /// Wall time that is left for calls.
    left: Duration,
    wall: Duration,
    cpu_us: u64,
}

impl Live {
    /// Makes one call within what is left of the time.
    async fn call<T>(
        &mut self,
        work: impl AsyncFnOnce(
            &mut Store<GuestState>,
            &RunningCompute,
            ResourceAny,
        ) -> wasmtime::Result<Result<T, wit::Error>>,
    ) -> Result<T, GuestFailure> {
        let started = Instant::now();
        let cpu_before = thread_cpu_us();
        set_deadline(&mut self.store, self.left);
        let call = work(&mut self.store, &self.facet, self.session);
        let outcome = tokio::time::timeout(self.left + TICK * 2, call).await;
        self.left = self.left.saturating_sub(started.elapsed());
        self.wall += started.elapsed();
        self.cpu_us += thread_cpu_us().saturating_sub(cpu_before);
        let stderr = self.store.data().stderr.text();
        match outcome {
            Err(_elapsed) => Err(GuestFailure::deadline(PHASE, self.spec.limits.wall, stderr)),
            Ok(Err(error)) => Err(classify(PHASE, &error, stderr)),
            Ok(Ok(answer)) => {
                if let Some(limit) = self.store.data_mut().disk.exceeded() {
                    return Err(classify(PHASE, &wasmtime::Error::from(limit), stderr));
                }
                answer.map_err(|error| GuestFailure::Refused(error.into()))
            }
        }
    }

    async fn push(&mut self, batch: Batch) -> Result<Vec<Batch>, GuestFailure> {
        if let Some(fault) = batch.fault() {
            return Err(GuestFailure::host(PHASE, fault));
        }
        let batch = WitBatch::from(batch);
        let rows = self
            .call(async move |store, facet, session| facet.push(store, session, batch).await)
            .await?;
        batches(rows)
    }

    async fn flush(&mut self) -> Result<Vec<Batch>, GuestFailure> {
        let rows = self
            .call(async |store, facet, session| facet.flush(store, session).await)
            .await?;
        batches(rows)
    }

    async fn save(&mut self) -> Result<Vec<u8>, GuestFailure> {
        self.call(async |store, facet, session| facet.save(store, session).await)
            .await
    }

    async fn partial(&mut self) -> Result<Vec<u8>, GuestFailure> {
        self.call(async |store, facet, session| facet.partial(store, session).await)
            .await
    }

    async fn finish(&mut self, request: &Request) -> Result<Finished, GuestFailure> {
        let outcomes = self
            .call(async |store, facet, session| facet.finish(store, session).await)
            .await?;
        let items = convert::outcomes(&request.items, outcomes)
            .map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
        let state = self.store.data_mut();
        let (bytes_in, bytes_out) = state.http.bytes();
        let receipt = CostReceipt {
            phase: "compute".to_owned(),
            wall_us: u64::try_from(self.wall.as_micros()).unwrap_or(u64::MAX),
            cpu_us: self.cpu_us,
            peak_memory_bytes: state.memory.peak_bytes(),
            bytes_in,
            bytes_out,
            fresh: Some(true),
            digest: Some(self.spec.digest),
        };
        Ok((items, receipt, state.lines.take()))
    }
}

fn batches(rows: Vec<WitBatch>) -> Result<Vec<Batch>, GuestFailure> {
    rows.into_iter()
        .map(convert::batch)
        .collect::<Result<_, _>>()
        .map_err(|fault| GuestFailure::rubbish(PHASE, fault))
}

impl ComputeSession {
    /// What the task says its sessions can do.
    #[must_use]
    pub const fn profile(&self) -> &SessionProfile {
        &self.profile
    }

    /// Gives one batch and gets the rows that are ready.
    ///
    /// # Errors
    /// The three kinds of [`GuestFailure`]; after the guest broke, every later call fails.
    pub async fn push(&mut self, batch: Batch) -> Result<Vec<Batch>, GuestFailure> {
        self.ask(|reply| Command::Push(batch, reply)).await
    }

    /// The rest of the rows; once, after the last batch.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn flush(&mut self) -> Result<Vec<Batch>, GuestFailure> {
        self.ask(Command::Flush).await
    }

    /// The state between two batches, to be opened again later.
    ///
    /// # Errors
    /// As [`push`](Self::push); refused unless the task is resumable.
    pub async fn save(&mut self) -> Result<Vec<u8>, GuestFailure> {
        self.ask(Command::Save).await
    }

    /// This session's share of a result that is merged from several.
    ///
    /// # Errors
    /// As [`push`](Self::push); refused unless the task is mergeable.
    pub async fn partial(&mut self) -> Result<Vec<u8>, GuestFailure> {
        self.ask(Command::Partial).await
    }

    /// Ends the session with its result, what all its calls cost, and its log lines.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub async fn finish(self) -> Result<Finished, GuestFailure> {
        self.ask(Command::Finish).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, GuestFailure> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}
