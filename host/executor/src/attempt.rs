//! One attempt: stage the inputs, let the guest plan, run what it asks for, let it parse, keep
//! what it made.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bindery_blobs::Blobs;
use bindery_core::{
    AttemptEnding, CostReceipt, Digest, GuestError, InputFile, Item, ItemOutcome, Request,
    TaskDefinition, Usage,
    step::{OutputStream, Step, StepEnding, StepOutcome, StepSignal},
};
use bindery_dispatcher::{
    AttemptReport, AttemptUpdate, Executor, Problem, UpdateSink, WorkOrder,
    records::{
        EngineRecord, ExecutionRecord, ReceiptRecord, SandboxRecord, UsageRecord, ViolationRecord,
    },
};
use bindery_engines::{Engines, StepFiles, StepReport, StepRunError, StepSink};
use bindery_runtime::{
    CallGrants, Catalog, GuestFailure, GuestLine, HttpHosts, MonitorFeed, PlanCall, PlanDriver,
    PlanEnd, Plugin, Resident, RunDirectories, TrapKind, refuse_links,
};
use bindery_sandbox::RunError;
use futures::{StreamExt, TryStreamExt, stream};
use semver::Version;
use tokio_util::sync::CancellationToken;

use crate::{
    LogDirectory,
    logs::LogWriter,
    progress::ProgressMeter,
    result::{StoreFault, store_artifacts, store_body},
    staging::{Staged, stage},
};

/// Settings of the executor.
#[derive(Debug, Clone)]
pub struct ExecutorConfig {
    /// Where attempts have their directories; on the same file system as the blobs, so that
    /// inputs can be linked. Emptied at start.
    pub scratch: PathBuf,
    /// Who has plugins that are no longer in the catalog; without, what began with one fails.
    pub pinned: Option<Arc<dyn PinnedPlugins>>,
}

/// Plugins by the digest of their component, enabled or not: an execution ends with the plugin
/// that it began with, also after a restart.
#[async_trait]
pub trait PinnedPlugins: std::fmt::Debug + Send + Sync {
    /// # Errors
    /// When it is known and cannot be loaded.
    async fn pinned(&self, component: &Digest) -> Result<Option<Resident>, String>;
}

/// See the module.
#[derive(Debug)]
pub struct HostExecutor {
    catalog: Arc<Catalog>,
    pinned: Option<Arc<dyn PinnedPlugins>>,
    engines: Arc<Engines>,
    blobs: Blobs,
    logs: LogDirectory,
    scratch: PathBuf,
}

/// Why an attempt has no result.
#[derive(Debug)]
enum Failure {
    Cancelled,
    Ended {
        ending: AttemptEnding,
        problem: Problem,
    },
}

/// What an attempt gathers on its way.
#[derive(Debug, Default)]
struct Ledger {
    receipts: Vec<CostReceipt>,
    usage: Usage,
    engines: Vec<EngineRecord>,
    sandbox: Option<SandboxRecord>,
}

/// The task version and the plugin that an execution began with.
struct Begun {
    definition: Arc<TaskDefinition>,
    plugin: Arc<Plugin>,
    hosts: HttpHosts,
}

/// All that the parts of one attempt need.
struct Attempt<'a> {
    entry: Begun,
    request: Request,
    directories: RunDirectories,
    log: LogWriter,
    meter: ProgressMeter<'a>,
    updates: &'a dyn UpdateSink,
    cancel: CancellationToken,
}

impl HostExecutor {
    /// Removes what attempts of a dead host left in the scratch directory, and starts anew.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(
        catalog: Arc<Catalog>,
        engines: Arc<Engines>,
        blobs: Blobs,
        logs: LogDirectory,
        config: ExecutorConfig,
    ) -> std::io::Result<Self> {
        match std::fs::remove_dir_all(&config.scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(&config.scratch)?,
        }
        Ok(Self {
            catalog,
            pinned: config.pinned,
            engines,
            blobs,
            logs,
            scratch: config.scratch,
        })
    }
}

#[async_trait]
impl Executor for HostExecutor {
    async fn run(
        &self,
        order: WorkOrder,
        updates: &dyn UpdateSink,
        cancel: CancellationToken,
    ) -> AttemptReport {
        let started = std::time::Instant::now();
        let mut ledger = Ledger::default();
        let outcome = self
            .make_attempt(&order, updates, cancel, &mut ledger)
            .await;
        ledger.usage.wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut report = AttemptReport {
            ending: AttemptEnding::Succeeded,
            problem: None,
            body: None,
            artifacts: Vec::new(),
            usage: usage_record(ledger.usage),
            receipts: ledger.receipts.into_iter().map(receipt_record).collect(),
            engines: ledger.engines,
            sandbox: ledger.sandbox,
        };
        match outcome {
            Ok((body, artifacts)) => {
                report.body = Some(body);
                report.artifacts = artifacts;
            }
            Err(Failure::Cancelled) => report.ending = AttemptEnding::Cancelled,
            Err(Failure::Ended { ending, problem }) => {
                report.ending = ending;
                report.problem = Some(problem);
            }
        }
        report
    }
}

type Produced = (
    bindery_dispatcher::ResultBody,
    Vec<bindery_dispatcher::ProducedArtifact>,
);

impl HostExecutor {
    async fn make_attempt(
        &self,
        order: &WorkOrder,
        updates: &dyn UpdateSink,
        cancel: CancellationToken,
        ledger: &mut Ledger,
    ) -> Result<Produced, Failure> {
        if cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let entry = self.entry(&order.record).await?;
        let request = request(&order.record)?;
        let directories = RunDirectories::create(&self.scratch).map_err(host_fault)?;
        let staged: Vec<Staged<'_>> = request
            .inputs
            .iter()
            .map(|file| Staged {
                path: &file.path,
                digest: file.digest,
            })
            .collect();
        stage(&directories, &self.blobs, &staged).map_err(host_fault)?;
        let log = self.logs.writer(order.execution).map_err(host_fault)?;
        log.line(&format!(
            "attempt {} of {}@{} ({})",
            order.attempt, order.record.task, order.record.task_version, order.record.plugin
        ));
        let attempt = Attempt {
            entry,
            request,
            directories,
            log,
            meter: ProgressMeter::new(updates),
            updates,
            cancel,
        };
        let outcomes = if attempt.entry.plugin.facets().engine {
            self.run_plan(&attempt, ledger).await
        } else {
            run_compute(&attempt, &order.record, ledger).await
        };
        let produced = match outcomes {
            Ok(outcomes) => self.keep(&attempt, outcomes).await,
            Err(failure) => Err(failure),
        };
        if let Err(Failure::Ended { ending, problem }) = &produced {
            attempt.log.line(&format!("{ending}: {}", problem.message));
        }
        if attempt.log.dropped_bytes() > 0 {
            tracing::info!(
                execution = %order.execution,
                dropped_bytes = attempt.log.dropped_bytes(),
                "log is longer than is kept"
            );
        }
        produced
    }

    /// The plugin the execution began with, by its digest: a newer version, even one that calls
    /// itself by the same number, is another task. One that is no longer enabled still ends what
    /// it has begun.
    async fn entry(&self, record: &ExecutionRecord) -> Result<Begun, Failure> {
        let digest: Digest = record.plugin.parse().map_err(host_fault)?;
        let version: Version = record.task_version.parse().map_err(host_fault)?;
        let resident = match (self.catalog.resident(&digest), &self.pinned) {
            (Some(resident), _) => Some(resident),
            (None, Some(pinned)) => pinned.pinned(&digest).await.map_err(host_fault)?,
            (None, None) => None,
        };
        resident
            .and_then(|resident| {
                let plugin = resident.plugin;
                let definition = plugin
                    .tasks()
                    .iter()
                    .find(|task| task.id == record.task && task.version == version)?;
                Some(Begun {
                    definition: Arc::clone(definition),
                    plugin,
                    hosts: resident.provenance.hosts.clone(),
                })
            })
            .ok_or_else(|| {
                ended(
                    AttemptEnding::HostFault,
                    "plugin_missing",
                    format!(
                        "the plugin of {}@{version} ({digest}) is not here any more",
                        record.task
                    ),
                )
            })
    }

    /// Asks the guest for steps and runs them, until it is finished; then lets it parse.
    async fn run_plan(
        &self,
        attempt: &Attempt<'_>,
        ledger: &mut Ledger,
    ) -> Result<Vec<ItemOutcome>, Failure> {
        let mut driver = Driver {
            executor: self,
            attempt,
            ledger,
        };
        let (outcomes, done) = attempt
            .entry
            .plugin
            .run_plan(&attempt.request, attempt.grants(), &mut driver)
            .await
            .map_err(|end| match end {
                PlanEnd::Guest { failure, done } => guest_failure(failure, &done),
                PlanEnd::Invalid(invalid) => ended(
                    AttemptEnding::OutputInvalid,
                    invalid.code(),
                    invalid.to_string(),
                ),
                PlanEnd::Stopped(failure) => failure,
            })?;
        outcomes
            .into_iter()
            .map(|outcome| match outcome.verdict {
                Ok(_) => Ok(outcome),
                Err(error) => Err(refusal(error, &done)),
            })
            .collect()
    }

    async fn run_step(&self, attempt: &Attempt<'_>, step: &Step) -> Result<StepReport, Failure> {
        attempt.check_cancelled()?;
        let declared = attempt
            .entry
            .definition
            .engines
            .iter()
            .any(|requirement| requirement.engine == step.engine);
        if !declared {
            return Err(ended(
                AttemptEnding::OutputInvalid,
                "engine_not_declared",
                format!(
                    "step `{}` asks for engine `{}`, which the task does not declare",
                    step.id, step.engine
                ),
            ));
        }
        let engine = self.engines.get(&step.engine).map_err(|missing| {
            let mut failure = problem("engine_missing", missing.to_string());
            failure.detail = missing.hint;
            Failure::Ended {
                ending: AttemptEnding::EngineMissing,
                problem: failure,
            }
        })?;
        let work = attempt.directories.work();
        refuse_links(&work)
            .map_err(|fault| ended(AttemptEnding::OutputInvalid, "work_directory", fault))?;
        attempt.log.line(&format!(
            "step {} ({} {}): {}",
            step.id,
            step.engine,
            engine.version,
            command_line(step)
        ));
        attempt.meter.begin(&step.id, &step.title, step.weight);
        let (feed, mut signals) = attempt
            .entry
            .plugin
            .monitor(&attempt.request, &step.id)
            .split();
        let mut sink = Tee {
            log: attempt.log.clone(),
            feed,
            size_bytes: 0,
        };
        let files = StepFiles {
            input: attempt.directories.input(),
            work,
        };
        let running =
            self.engines
                .run_step(&engine, step, &files, &mut sink, attempt.cancel.clone());
        tokio::pin!(running);
        let mut told_bytes = 0;
        let mut bell = tokio::time::interval(Duration::from_millis(100));
        let report = loop {
            tokio::select! {
                report = &mut running => break report,
                Some(signal) = signals.recv() => match signal {
                    StepSignal::Progress(share) => {
                        attempt.meter.advance(&step.id, &step.title, share);
                    }
                    StepSignal::Notice(notice) => {
                        attempt.log.line(&format!("{}: {}", notice.code, notice.message));
                    }
                },
                _ = bell.tick() => {
                    let size_bytes = attempt.log.append(&[]);
                    if size_bytes != told_bytes {
                        told_bytes = size_bytes;
                        attempt.updates.update(AttemptUpdate::Log { size_bytes });
                    }
                }
            }
        };
        let report = report.map_err(step_run_error)?;
        // What the monitor said of the last bytes counts as well; the queue is bounded.
        while let Ok(signal) = signals.try_recv() {
            if let StepSignal::Progress(share) = signal {
                attempt.meter.advance(&step.id, &step.title, share);
            }
        }
        attempt.meter.end(&step.id, &step.title);
        attempt.log.append(b"\n");
        let size_bytes = attempt.log.line(&format!(
            "step {} ended: {} ({} ms, {} ms CPU, {} MiB)",
            step.id,
            ending_words(&report.outcome.ending),
            report.outcome.usage.wall_ms,
            report.outcome.usage.cpu_ms,
            report.outcome.usage.peak_memory_bytes >> 20
        ));
        attempt.updates.update(AttemptUpdate::Log { size_bytes });
        Ok(report)
    }

    /// Checks and stores what a task gave.
    async fn keep(
        &self,
        attempt: &Attempt<'_>,
        outcomes: Vec<ItemOutcome>,
    ) -> Result<Produced, Failure> {
        let result = match outcomes.into_iter().next() {
            Some(ItemOutcome {
                index: 0,
                verdict: Ok(result),
            }) => result,
            Some(ItemOutcome {
                verdict: Err(error),
                ..
            }) => return Err(refusal(error, &[])),
            _ => {
                return Err(ended(
                    AttemptEnding::OutputInvalid,
                    "no_result",
                    "the task gave no outcome for its only item".to_owned(),
                ));
            }
        };
        let faults = attempt
            .entry
            .plugin
            .output_faults(&attempt.request.task, &result.output);
        if let Some(first) = faults.first() {
            return Err(ended(
                AttemptEnding::OutputInvalid,
                "output_schema",
                format!("the output does not conform to the task's schema: {first}"),
            ));
        }
        let kept = async {
            let artifacts =
                store_artifacts(&self.blobs, &attempt.directories, &result.artifacts).await?;
            let body = store_body(&self.blobs, &result).await?;
            Ok((body, artifacts))
        };
        kept.await.map_err(|fault: StoreFault| match fault {
            StoreFault::Task(fault) => ended(AttemptEnding::OutputInvalid, "output_invalid", fault),
            StoreFault::Host(fault) => host_fault(fault),
        })
    }
}

/// Runs what a plan asks for as part of an attempt.
struct Driver<'a, 'b> {
    executor: &'a HostExecutor,
    attempt: &'a Attempt<'b>,
    ledger: &'a mut Ledger,
}

impl PlanDriver for Driver<'_, '_> {
    type Stop = Failure;

    fn before(&mut self, call: PlanCall) -> Result<(), Failure> {
        match call {
            PlanCall::Next => self.attempt.check_cancelled(),
            PlanCall::Parse => {
                self.attempt.meter.stage("Reading results");
                Ok(())
            }
        }
    }

    fn after(&mut self, receipt: CostReceipt, lines: &[GuestLine]) {
        self.ledger.guest(receipt);
        self.attempt.log_lines(lines);
    }

    /// As many steps at once as the task has cores; outcomes in the order asked.
    async fn run(
        &mut self,
        steps: &[Step],
        _done: &[StepOutcome],
    ) -> Result<Vec<StepOutcome>, Failure> {
        let (executor, attempt) = (self.executor, self.attempt);
        let at_once = attempt.entry.definition.resources.cpu_cores.max(1) as usize;
        let runs: Vec<_> = steps
            .iter()
            .map(|step| executor.run_step(attempt, step))
            .collect();
        let reports: Vec<StepReport> = stream::iter(runs).buffered(at_once).try_collect().await?;
        let mut outcomes = Vec::with_capacity(reports.len());
        for (step, report) in steps.iter().zip(reports) {
            self.ledger.step(step, &report);
            if report.cancelled {
                return Err(Failure::Cancelled);
            }
            outcomes.push(report.outcome);
        }
        Ok(outcomes)
    }
}

async fn run_compute(
    attempt: &Attempt<'_>,
    record: &ExecutionRecord,
    ledger: &mut Ledger,
) -> Result<Vec<ItemOutcome>, Failure> {
    attempt.meter.stage("Computing");
    let wall = Duration::from_millis(record.resources.wall_ms);
    let (sender, mut told) = tokio::sync::watch::channel((0.0_f32, String::new()));
    let computing = attempt.entry.plugin.compute(
        &attempt.request,
        CallGrants {
            hosts: attempt.entry.hosts.clone(),
            ..attempt.grants()
        },
        wall,
        Box::new(move |done, word| {
            sender.send_replace((done, word.to_owned()));
        }),
    );
    tokio::pin!(computing);
    let outcome = loop {
        tokio::select! {
            outcome = &mut computing => break outcome,
            // Dropping the call stops the guest at its next tick.
            () = attempt.cancel.cancelled() => return Err(Failure::Cancelled),
            Ok(()) = told.changed() => {
                let (done, stage) = told.borrow_and_update().clone();
                attempt.updates.update(AttemptUpdate::Progress { done: done.min(0.99), stage });
            }
        }
    };
    let (outcomes, receipt, lines) = outcome.map_err(|failure| guest_failure(failure, &[]))?;
    ledger.guest(receipt);
    attempt.log_lines(&lines);
    outcomes
        .into_iter()
        .map(|outcome| match outcome.verdict {
            Ok(_) => Ok(outcome),
            Err(error) => Err(refusal(error, &[])),
        })
        .collect()
}

impl Attempt<'_> {
    fn grants(&self) -> CallGrants {
        self.directories.grants()
    }

    fn check_cancelled(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            Err(Failure::Cancelled)
        } else {
            Ok(())
        }
    }

    fn log_lines(&self, lines: &[GuestLine]) {
        for line in lines {
            self.log
                .append(format!("[{}] {}\n", line.level, line.message).as_bytes());
        }
    }
}

impl Ledger {
    fn guest(&mut self, receipt: CostReceipt) {
        self.usage.cpu_ms = self.usage.cpu_ms.saturating_add(receipt.cpu_us / 1000);
        self.usage.peak_memory_bytes = self.usage.peak_memory_bytes.max(receipt.peak_memory_bytes);
        self.receipts.push(receipt);
    }

    fn step(&mut self, step: &Step, report: &StepReport) {
        let usage = report.outcome.usage;
        self.usage = self.usage.then(usage);
        self.receipts.push(CostReceipt {
            phase: format!("step:{}", step.id),
            wall_us: usage.wall_ms.saturating_mul(1000),
            cpu_us: usage.cpu_ms.saturating_mul(1000),
            peak_memory_bytes: usage.peak_memory_bytes,
            bytes_in: report.bytes_in,
            bytes_out: report.bytes_out,
            fresh: None,
            digest: None,
        });
        let engine = EngineRecord {
            name: report.outcome.engine.clone(),
            version: report.outcome.engine_version.clone(),
        };
        if !self.engines.contains(&engine) {
            self.engines.push(engine);
        }
        self.sandbox = Some(SandboxRecord {
            level: report.level.clone(),
            layers: report.layers.clone(),
            landlock_abi: report.landlock_abi,
        });
    }
}

/// What an engine prints goes to the log and to the monitor.
struct Tee {
    log: LogWriter,
    feed: MonitorFeed,
    size_bytes: u64,
}

impl StepSink for Tee {
    fn bytes(&mut self, stream: OutputStream, chunk: &[u8]) {
        self.size_bytes = self.log.append(chunk);
        self.feed.feed(stream, chunk);
    }
}

/// The argument vector as a person would read it; never run.
fn command_line(step: &Step) -> String {
    use bindery_core::step::Argument;

    let words: Vec<String> = step
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Literal(text) => text.clone(),
            Argument::Input(path) => format!("in/{path}"),
            Argument::Work(path) | Argument::Output(path) => path.clone(),
        })
        .collect();
    words.join(" ")
}

fn ending_words(ending: &StepEnding) -> String {
    match ending {
        StepEnding::Exited(code) => format!("exited {code}"),
        StepEnding::Crashed(signal) => format!("crashed by signal {signal}"),
        StepEnding::OutputMissing(path) => format!("exited 0 without writing {path}"),
        other => other.as_str().replace('_', " "),
    }
}

fn request(record: &ExecutionRecord) -> Result<Request, Failure> {
    let inputs = record
        .inputs
        .iter()
        .map(|input| {
            Ok(InputFile {
                slot: input.slot.clone(),
                path: input.path.clone(),
                original_name: input.name.clone(),
                media_type: input.media_type.clone(),
                size_bytes: input.size_bytes,
                digest: input.digest.parse().map_err(host_fault)?,
            })
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Request {
        task: record.task.clone(),
        parameters: record.parameters.clone(),
        inputs,
        items: vec![Item::single()],
        seed: record.seed,
    })
}

fn problem(code: &str, message: String) -> Problem {
    Problem {
        code: code.to_owned(),
        message,
        detail: String::new(),
        violations: Vec::new(),
    }
}

fn ended(ending: AttemptEnding, code: &str, message: String) -> Failure {
    Failure::Ended {
        ending,
        problem: problem(code, message),
    }
}

fn host_fault(fault: impl std::fmt::Display) -> Failure {
    let fault = fault.to_string();
    tracing::error!(fault, "host fault in an attempt");
    ended(AttemptEnding::HostFault, "host_fault", fault)
}

fn step_run_error(error: StepRunError) -> Failure {
    match error {
        StepRunError::FileMissing { .. } => ended(
            AttemptEnding::OutputInvalid,
            "plan_invalid",
            error.to_string(),
        ),
        StepRunError::Sandbox {
            source: RunError::Unavailable { reason, fix },
            ..
        } => {
            let mut failure = problem("sandbox_unavailable", reason);
            failure.detail = fix;
            Failure::Ended {
                ending: AttemptEnding::SandboxUnavailable,
                problem: failure,
            }
        }
        StepRunError::Sandbox { step, source } => {
            host_fault(format!("step `{step}`: {}", chain(&source)))
        }
        StepRunError::Keep { .. } => host_fault(chain(&error)),
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The three kinds of failure of a guest, each with its own ending.
fn guest_failure(failure: GuestFailure, done: &[StepOutcome]) -> Failure {
    match failure {
        GuestFailure::Refused(error) => refusal(error, done),
        GuestFailure::Broke(broke) => {
            let ending = match broke.kind {
                TrapKind::Deadline => AttemptEnding::TimedOut,
                TrapKind::Memory => AttemptEnding::MemoryExceeded,
                TrapKind::Disk => AttemptEnding::DiskExceeded,
                TrapKind::Rubbish => AttemptEnding::OutputInvalid,
                TrapKind::Stack | TrapKind::Trap => AttemptEnding::Crashed,
            };
            let mut failure = problem(broke.kind.as_str(), broke.to_string());
            failure.detail = broke.stderr;
            Failure::Ended {
                ending,
                problem: failure,
            }
        }
        GuestFailure::Host { .. } => host_fault(failure),
    }
}

/// A guest that says no. When it blames a step that the host has stopped, the step's ending is
/// the better word for what happened.
fn refusal(error: GuestError, done: &[StepOutcome]) -> Failure {
    let mut failure = problem(error.code(), error.message());
    let ending = match &error {
        GuestError::InvalidInput(violations) => {
            failure.violations = violations
                .iter()
                .map(|violation| ViolationRecord {
                    pointer: violation.pointer.clone(),
                    code: violation.code.clone(),
                    message: violation.message.clone(),
                })
                .collect();
            AttemptEnding::Rejected
        }
        GuestError::StepFailed { step, detail, .. } => {
            failure.detail.clone_from(detail);
            let blamed = done.iter().find(|outcome| outcome.step == *step);
            match blamed.map(|outcome| &outcome.ending) {
                Some(StepEnding::Crashed(_)) => AttemptEnding::Crashed,
                Some(StepEnding::MemoryExceeded) => AttemptEnding::MemoryExceeded,
                Some(StepEnding::CpuExceeded) => AttemptEnding::CpuExceeded,
                Some(StepEnding::DiskExceeded) => AttemptEnding::DiskExceeded,
                Some(StepEnding::TimedOut) => AttemptEnding::TimedOut,
                Some(StepEnding::OutputMissing(_)) => AttemptEnding::OutputInvalid,
                Some(StepEnding::Exited(_)) | None => AttemptEnding::Rejected,
            }
        }
        GuestError::OutputInvalid(_) => AttemptEnding::OutputInvalid,
        GuestError::Unsupported(_) | GuestError::Other(_) => AttemptEnding::Rejected,
    };
    Failure::Ended {
        ending,
        problem: failure,
    }
}

const fn usage_record(usage: Usage) -> UsageRecord {
    UsageRecord {
        wall_ms: usage.wall_ms,
        cpu_ms: usage.cpu_ms,
        peak_memory_bytes: usage.peak_memory_bytes,
    }
}

fn receipt_record(receipt: CostReceipt) -> ReceiptRecord {
    ReceiptRecord {
        phase: receipt.phase,
        wall_us: receipt.wall_us,
        cpu_us: receipt.cpu_us,
        peak_memory_bytes: receipt.peak_memory_bytes,
        bytes_in: receipt.bytes_in,
        bytes_out: receipt.bytes_out,
        fresh: receipt.fresh,
        digest: receipt.digest.map(|digest| digest.to_string()),
    }
}
