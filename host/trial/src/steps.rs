//! The engine steps of a case: run, recorded or replayed.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bindery_core::{
    CostReceipt, Request,
    step::{OutputStream, Step, StepOutcome},
};
use bindery_engines::{Engines, StepFiles, StepReport, StepRunError, StepSink};
use bindery_runtime::{
    GuestFailure, GuestLine, Monitor, MonitorFeed, PlanCall, PlanDriver, Plugin, RunDirectories,
    refuse_links,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    CaseFailure, Difference, RecordedStep, Recording,
    recording::{Asked, RecordingError},
};

/// A monitor reads its last pieces after the step; each has the time of one call, and the queue
/// is short. Longer than that it hangs.
const MONITOR_WAIT: Duration = Duration::from_secs(60);

/// Where the outcomes of steps come from.
pub(crate) enum Source<'a> {
    Real(&'a Engines),
    Record(&'a Engines, Recording),
    Replay(&'a Recording),
}

/// Why the plan of a case was ended.
pub(crate) enum Stop {
    Failed(CaseFailure),
    /// The plan asks for something else than was recorded.
    Changed(Vec<Difference>),
}

impl From<RecordingError> for Stop {
    fn from(error: RecordingError) -> Self {
        Self::Failed(CaseFailure::host("recording", error, String::new()))
    }
}

pub(crate) struct StepRunner<'a> {
    pub(crate) plugin: &'a Arc<Plugin>,
    pub(crate) request: &'a Request,
    pub(crate) directories: &'a RunDirectories,
    pub(crate) source: Source<'a>,
    pub(crate) receipts: &'a mut Vec<CostReceipt>,
    pub(crate) lines: &'a mut Vec<GuestLine>,
}

impl PlanDriver for StepRunner<'_> {
    type Stop = Stop;

    fn before(&mut self, _call: PlanCall) -> Result<(), Stop> {
        Ok(())
    }

    fn after(&mut self, receipt: CostReceipt, lines: &[GuestLine]) {
        self.receipts.push(receipt);
        self.lines.extend_from_slice(lines);
    }

    /// One after the other: a case is about what is asked for, not about how fast it is.
    async fn run(
        &mut self,
        steps: &[Step],
        _done: &[StepOutcome],
    ) -> Result<Vec<StepOutcome>, Stop> {
        let mut outcomes = Vec::with_capacity(steps.len());
        for step in steps {
            // Files are read from and written to the work directory by the host, too.
            refuse_links(&self.directories.work())
                .map_err(|fault| Stop::Failed(CaseFailure::broke("work_directory", fault)))?;
            let asked = Asked::of(step, &self.directories.work()).map_err(|error| match error {
                RecordingError::Read { path, .. } => Stop::Failed(CaseFailure::broke(
                    "plan_invalid",
                    format!("step `{}` reads `{path}`, which is not there", step.id),
                )),
                other => Stop::from(other),
            })?;
            let outcome = match &self.source {
                Source::Replay(recording) => self.replay(recording, step, &asked).await?,
                Source::Real(engines) | Source::Record(engines, _) => {
                    self.run_one(engines, step).await?
                }
            };
            if let Source::Record(_, recording) = &mut self.source {
                let work = self.directories.work();
                recording
                    .steps
                    .push(RecordedStep::take(asked, &outcome, &work)?);
            }
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl StepRunner<'_> {
    async fn replay(
        &self,
        recording: &Recording,
        step: &Step,
        asked: &Asked,
    ) -> Result<StepOutcome, Stop> {
        let recorded = recording
            .steps
            .iter()
            .find(|recorded| recorded.asked.id == step.id)
            .ok_or_else(|| {
                Stop::Changed(vec![Difference::new(
                    format!("/steps/{}", step.id),
                    None,
                    Some(Value::String("a step that was not recorded".to_owned())),
                )])
            })?;
        let changes = asked.changes(&recorded.asked);
        if !changes.is_empty() {
            return Err(Stop::Changed(changes));
        }
        let outcome = recorded
            .replay(&self.directories.work())
            .map_err(|error| Stop::Failed(CaseFailure::host("host_fault", error, String::new())))?;
        let watch = Watch::start(self.plugin.monitor(self.request, &step.id));
        watch.feed.feed(OutputStream::Stdout, &recorded.stdout);
        watch.feed.feed(OutputStream::Stderr, &recorded.stderr);
        watch.end().await.map_err(Stop::Failed)?;
        Ok(outcome)
    }

    async fn run_one(&self, engines: &Engines, step: &Step) -> Result<StepOutcome, Stop> {
        let engine = engines.get(&step.engine).map_err(|missing| {
            let hint = missing.hint.clone();
            Stop::Failed(CaseFailure::host("engine_missing", missing, hint))
        })?;
        let watch = Watch::start(self.plugin.monitor(self.request, &step.id));
        let files = StepFiles {
            input: self.directories.input(),
            work: self.directories.work(),
        };
        let mut sink = Feed(watch.feed.clone());
        let report = engines
            .run_step(&engine, step, &files, &mut sink, CancellationToken::new())
            .await;
        drop(sink);
        watch.end().await.map_err(Stop::Failed)?;
        let StepReport { outcome, .. } = report.map_err(|error| match error {
            StepRunError::FileMissing { .. } => {
                Stop::Failed(CaseFailure::broke("plan_invalid", error.to_string()))
            }
            other => Stop::Failed(CaseFailure::host(
                "step_not_run",
                &other,
                std::error::Error::source(&other)
                    .map(ToString::to_string)
                    .unwrap_or_default(),
            )),
        })?;
        Ok(outcome)
    }
}

/// A monitor at work. In an execution one that breaks only ends progress; in a case its author
/// wants to know.
struct Watch {
    feed: MonitorFeed,
    signals: tokio::sync::mpsc::Receiver<bindery_runtime::MonitorSignal>,
    broke: Arc<OnceLock<GuestFailure>>,
}

impl Watch {
    fn start(monitor: Monitor) -> Self {
        let broke = monitor.failure();
        let (feed, signals) = monitor.split();
        Self {
            feed,
            signals,
            broke,
        }
    }

    async fn end(self) -> Result<(), CaseFailure> {
        let Self {
            feed,
            mut signals,
            broke,
        } = self;
        // It ends when nobody can feed it any more.
        drop(feed);
        let read_all = async { while signals.recv().await.is_some() {} };
        if tokio::time::timeout(MONITOR_WAIT, read_all).await.is_err() {
            return Err(CaseFailure::broke(
                "deadline_exceeded",
                "the monitor did not end after its step",
            ));
        }
        match broke.get() {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }
}

struct Feed(MonitorFeed);

impl StepSink for Feed {
    fn bytes(&mut self, stream: OutputStream, chunk: &[u8]) {
        self.0.feed(stream, chunk);
    }
}
