//! Engine tasks: the plan, its monitors, and the results.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bindery_bindings::{
    convert, engine::exports::bindery::task::engine_task as wit_engine,
    host::bindery::task::types as wit,
};
use bindery_core::{
    CostReceipt, ItemOutcome, Request, limits,
    step::{Decision, OutputStream, Step, StepOutcome, StepSignal},
};
use tokio::sync::mpsc;

use crate::{
    CallGrants, GuestFailure, GuestLine, Plugin,
    call::{CallSpec, set_deadline},
};

const NO_FACET: &str = "the plugin has no engine tasks";

/// Pieces of output waiting for a monitor. A full queue drops pieces of progress rather than
/// slow the engine down: 256 pieces of at most 64 KiB bound the memory to 16 MiB per step.
const MONITOR_QUEUE: usize = 256;

impl Plugin {
    /// The next decision of a plan.
    ///
    /// # Errors
    /// The three kinds of [`GuestFailure`].
    pub async fn next(
        &self,
        request: &Request,
        done_before: &[StepOutcome],
        grants: CallGrants,
    ) -> Result<(Decision, CostReceipt, Vec<GuestLine>), GuestFailure> {
        self.counted(self.next_uncounted(request, done_before, grants).await)
    }

    async fn next_uncounted(
        &self,
        request: &Request,
        done_before: &[StepOutcome],
        grants: CallGrants,
    ) -> Result<(Decision, CostReceipt, Vec<GuestLine>), GuestFailure> {
        const PHASE: &str = "next";
        let facet = self
            .engine
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let asked = wit::Request::from(request);
        let done: Vec<wit_engine::StepOutcome> = done_before.iter().map(Into::into).collect();
        let answer = self
            .runtime
            .call(
                self.spec(PHASE, self.limits().files, grants, request.seed),
                async move |store| {
                    let facet = facet.instantiate(store).await?;
                    let decision = facet.next(store, &asked, &done).await?;
                    Ok(decision.map_err(|error| GuestFailure::Refused(error.into())))
                },
            )
            .await?;
        let decision =
            convert::decision(answer.value).map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
        if let Decision::Run(steps) = &decision
            && let Some(fault) = self.plan_fault(&request.task, steps, done_before)
        {
            return Err(GuestFailure::rubbish(PHASE, fault));
        }
        Ok((decision, answer.receipt, answer.lines))
    }

    /// What is wrong with these steps after those done before.
    fn plan_fault(&self, task: &str, steps: &[Step], done: &[StepOutcome]) -> Option<String> {
        let definition = self
            .tasks()
            .iter()
            .find(|definition| definition.id == task)?;
        if done.len().saturating_add(steps.len()) > limits::STEPS_MAX {
            return Some(format!(
                "the execution has more than {} steps",
                limits::STEPS_MAX
            ));
        }
        steps.iter().find_map(|step| {
            if done.iter().any(|outcome| outcome.step == step.id) {
                return Some(format!("step `{}` was run before", step.id));
            }
            let declared = definition
                .engines
                .iter()
                .any(|needed| needed.engine == step.engine);
            (!declared).then(|| {
                format!(
                    "step `{}` wants the engine `{}`, which the definition does not name",
                    step.id, step.engine
                )
            })
        })
    }

    /// The results, when the plan is finished.
    ///
    /// # Errors
    /// The three kinds of [`GuestFailure`].
    pub async fn parse(
        &self,
        request: &Request,
        outcomes: &[StepOutcome],
        grants: CallGrants,
    ) -> Result<(Vec<ItemOutcome>, CostReceipt, Vec<GuestLine>), GuestFailure> {
        self.counted(self.parse_uncounted(request, outcomes, grants).await)
    }

    async fn parse_uncounted(
        &self,
        request: &Request,
        outcomes: &[StepOutcome],
        grants: CallGrants,
    ) -> Result<(Vec<ItemOutcome>, CostReceipt, Vec<GuestLine>), GuestFailure> {
        const PHASE: &str = "parse";
        let facet = self
            .engine
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let asked = wit::Request::from(request);
        let outcomes: Vec<wit_engine::StepOutcome> = outcomes.iter().map(Into::into).collect();
        let answer = self
            .runtime
            .call(
                self.spec(PHASE, self.limits().files, grants, request.seed),
                async move |store| {
                    let facet = facet.instantiate(store).await?;
                    let items = facet.parse(store, &asked, &outcomes).await?;
                    Ok(items.map_err(|error| GuestFailure::Refused(error.into())))
                },
            )
            .await?;
        let items = convert::outcomes(&request.items, answer.value)
            .map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
        Ok((items, answer.receipt, answer.lines))
    }

    /// Starts reading what a step prints. The monitor lives on a thread of its own until it is
    /// dropped, and one that breaks is silent from then on: progress is never worth a run.
    #[must_use]
    pub fn monitor(self: &Arc<Self>, request: &Request, step: &str) -> Monitor {
        let (pieces, inbox) = mpsc::channel(MONITOR_QUEUE);
        let (outbox, signals) = mpsc::channel(MONITOR_QUEUE);
        let plugin = Arc::clone(self);
        let asked = wit::Request::from(request);
        let seed = request.seed;
        let step = step.to_owned();
        let broke = Arc::new(OnceLock::new());
        let monitor = Monitor {
            pieces,
            signals,
            broke: Arc::clone(&broke),
        };
        let Ok(permit) = Arc::clone(&self.runtime.shared.sessions).try_acquire_owned() else {
            tracing::warn!(step, "too many monitors; the step goes on without progress");
            return monitor;
        };
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if let Err(failure) = plugin.watch(&handle, &asked, seed, &step, inbox, &outbox) {
                tracing::warn!(%failure, step, "a monitor broke; the step goes on without progress");
                // Set once, by this thread alone; before the sender of signals is dropped.
                let _first = broke.set(failure);
            }
            drop(outbox);
        });
        monitor
    }

    fn watch(
        &self,
        handle: &tokio::runtime::Handle,
        request: &wit::Request,
        seed: u64,
        step: &str,
        mut inbox: mpsc::Receiver<(OutputStream, Vec<u8>)>,
        outbox: &mpsc::Sender<MonitorSignal>,
    ) -> Result<(), GuestFailure> {
        const PHASE: &str = "monitor";
        let facet = self
            .engine
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, NO_FACET))?;
        let spec: CallSpec = self.spec(
            PHASE,
            self.limits().interactive,
            CallGrants::default(),
            seed,
        );
        let mut store = self.runtime.store(&spec)?;
        let stderr = store.data().stderr.clone();
        let failed =
            |error: &wasmtime::Error| crate::failure::classify(PHASE, error, stderr.text());
        handle.block_on(async {
            let facet = facet
                .instantiate(&mut store)
                .await
                .map_err(|error| failed(&error))?;
            let monitor = facet
                .monitor(&mut store, request, step)
                .await
                .map_err(|error| failed(&error))?;
            while let Some((stream, bytes)) = inbox.recv().await {
                // Each piece has the time of one interactive call.
                set_deadline(&mut store, spec.limits.wall);
                let stream = match stream {
                    OutputStream::Stdout => wit_engine::OutputStream::Stdout,
                    OutputStream::Stderr => wit_engine::OutputStream::Stderr,
                };
                let feed = facet.feed(&mut store, monitor, stream, &bytes);
                let found =
                    tokio::time::timeout(spec.limits.wall + Duration::from_millis(20), feed)
                        .await
                        .map_err(|_| {
                            GuestFailure::deadline(PHASE, spec.limits.wall, stderr.text())
                        })?
                        .map_err(|error| failed(&error))?;
                for signal in found {
                    let signal = convert::signal(signal)
                        .map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
                    // Nobody listening any more is no fault.
                    if outbox.try_send(signal).is_err() && outbox.is_closed() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }
}

/// What a monitor reads from the output.
pub type MonitorSignal = StepSignal;

/// Takes an engine's output and gives progress.
#[derive(Debug)]
pub struct Monitor {
    /// To the monitor's thread, which ends when this is dropped.
    pieces: mpsc::Sender<(OutputStream, Vec<u8>)>,
    signals: mpsc::Receiver<MonitorSignal>,
    broke: Arc<OnceLock<GuestFailure>>,
}

impl Monitor {
    /// Where the failure of a monitor that broke is found, at the latest when its signals end.
    #[must_use]
    pub fn failure(&self) -> Arc<OnceLock<GuestFailure>> {
        Arc::clone(&self.broke)
    }

    /// Where to put pieces of output, and where signals come from. Feeding never waits.
    #[must_use]
    pub fn split(self) -> (MonitorFeed, mpsc::Receiver<MonitorSignal>) {
        (
            MonitorFeed {
                pieces: self.pieces,
            },
            self.signals,
        )
    }
}

/// The feeding half of a [`Monitor`].
#[derive(Debug, Clone)]
pub struct MonitorFeed {
    pieces: mpsc::Sender<(OutputStream, Vec<u8>)>,
}

impl MonitorFeed {
    /// Hands over one piece of output; dropped when the monitor is behind or gone.
    pub fn feed(&self, stream: OutputStream, bytes: &[u8]) {
        const PIECE_BYTES_MAX: usize = 64 << 10;
        for piece in bytes.chunks(PIECE_BYTES_MAX) {
            if self.pieces.try_send((stream, piece.to_vec())).is_err() {
                return;
            }
        }
    }
}
