//! Running one step of a plan.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bindery_core::{
    Usage,
    step::{Argument, OutputStream, Step, StepEnding, StepOutcome},
};
use bindery_sandbox::{
    Ending, Limits, OutputOutcome, OutputSink, OutputSpec, RunError, RunReport, RunSpec, Stream,
};
use tokio_util::sync::CancellationToken;

use crate::{Engine, Engines, discover::environment, manifest::Defaults};

/// Kept of each stream of a step; the first and the last half of it.
const STREAM_BYTES_MAX: u64 = 8 << 20;
/// Threads an engine may start beyond those it is told to use: some start helpers.
const THREADS_SPARE: u32 = 16;

/// Directories of one execution on the host.
#[derive(Debug, Clone)]
pub struct StepFiles {
    /// What the guest sees as `/in`.
    pub input: PathBuf,
    /// What the guest sees as `/work`.
    pub work: PathBuf,
}

/// Hears what an engine prints, as it comes.
pub trait StepSink: Send {
    fn bytes(&mut self, stream: OutputStream, chunk: &[u8]);
}

/// A step that has ended.
#[derive(Debug)]
pub struct StepReport {
    pub outcome: StepOutcome,
    pub level: String,
    pub layers: Vec<String>,
    pub landlock_abi: Option<u32>,
    /// Bytes staged in and collected.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub cancelled: bool,
}

/// A step that did not run.
#[derive(Debug, thiserror::Error)]
pub enum StepRunError {
    /// A file the step reads is not there: the plan is wrong.
    #[error("step `{step}` reads `{path}`, which is not there")]
    FileMissing { step: String, path: String },
    #[error("step `{step}` could not be run")]
    Sandbox { step: String, source: RunError },
    #[error("step `{step}`: failed to keep what it printed at {path}")]
    Keep {
        step: String,
        path: PathBuf,
        source: std::io::Error,
    },
}

struct Forward<'a>(&'a mut dyn StepSink);

impl OutputSink for Forward<'_> {
    fn bytes(&mut self, stream: Stream, chunk: &[u8]) {
        let stream = match stream {
            Stream::Stdout => OutputStream::Stdout,
            Stream::Stderr => OutputStream::Stderr,
        };
        self.0.bytes(stream, chunk);
    }
}

impl Engines {
    /// Runs one step in the sandbox; its outputs are in the work directory when this returns.
    ///
    /// # Errors
    /// When it could not be run. What an engine did wrong is an ending, not an error.
    pub async fn run_step(
        &self,
        engine: &Engine,
        step: &Step,
        files: &StepFiles,
        sink: &mut dyn StepSink,
        cancel: CancellationToken,
    ) -> Result<StepReport, StepRunError> {
        let spec = run_spec(engine, step, files)?;
        let bytes_in = spec
            .stage
            .iter()
            .filter_map(|(from, _)| from.metadata().ok())
            .map(|metadata| metadata.len())
            .sum();
        let report = self
            .sandbox
            .run(spec, &mut Forward(sink), cancel)
            .await
            .map_err(|source| StepRunError::Sandbox {
                step: step.id.clone(),
                source,
            })?;
        let (stdout, stderr) = keep_streams(step, &files.work, &report)?;
        let bytes_out = report
            .outputs
            .iter()
            .map(|output| match &output.outcome {
                OutputOutcome::Collected { size_bytes, .. } => *size_bytes,
                _ => 0,
            })
            .sum();
        let cancelled = matches!(report.ending, Ending::Cancelled);
        Ok(StepReport {
            outcome: StepOutcome {
                step: step.id.clone(),
                engine: engine.manifest.name.clone(),
                engine_version: engine.version.clone(),
                ending: ending(step, &report),
                usage: Usage {
                    wall_ms: millis(report.usage.wall),
                    cpu_ms: millis(report.usage.cpu_user + report.usage.cpu_system),
                    peak_memory_bytes: report.usage.peak_memory_bytes,
                },
                stdout,
                stderr,
                dropped_bytes: report.stdout.dropped + report.stderr.dropped,
            },
            level: report.level.to_string(),
            layers: report.layers.iter().map(ToString::to_string).collect(),
            landlock_abi: report.landlock_abi,
            bytes_in,
            bytes_out,
            cancelled,
        })
    }
}

fn run_spec(engine: &Engine, step: &Step, files: &StepFiles) -> Result<RunSpec, StepRunError> {
    let mut spec = RunSpec::new(&engine.program, &files.work);
    let mut stage: Vec<(PathBuf, PathBuf)> = Vec::new();
    let mut add = |from: PathBuf, to: PathBuf, path: &str| {
        if !from.is_file() {
            return Err(StepRunError::FileMissing {
                step: step.id.clone(),
                path: path.to_owned(),
            });
        }
        if !stage.iter().any(|(_, known)| *known == to) {
            stage.push((from, to));
        }
        Ok(())
    };
    for argument in &step.arguments {
        let text = match argument {
            Argument::Literal(text) => text.clone(),
            Argument::Input(path) => {
                let inside = format!("in/{path}");
                add(files.input.join(path), PathBuf::from(&inside), path)?;
                inside
            }
            Argument::Work(path) => {
                add(files.work.join(path), PathBuf::from(path), path)?;
                path.clone()
            }
            Argument::Output(path) => path.clone(),
        };
        spec.arguments.push(text.into());
    }
    for path in &step.reads {
        add(files.work.join(path), PathBuf::from(path), path)?;
    }
    spec.stage = stage;
    let limits = limits(step, &engine.manifest.defaults);
    spec.outputs = step
        .outputs
        .iter()
        .map(|output| OutputSpec {
            path: PathBuf::from(&output.path),
            max_bytes: match output.max_bytes {
                0 => limits.file_bytes,
                asked => asked.min(limits.file_bytes),
            },
        })
        .collect();
    spec.environment = environment(&engine.manifest);
    // The engine's own idea of how many threads it has is set by its arguments; libraries that
    // start as many as there are cores are told here.
    spec.environment.push((
        "OMP_NUM_THREADS".into(),
        step.limits.cpu_cores.max(1).to_string().into(),
    ));
    spec.read_only = engine.manifest.sandbox.read_only.clone();
    spec.profile.allow_fork = engine.manifest.sandbox.allow_fork;
    spec.limits = limits;
    Ok(spec)
}

/// What the step asks for, with the engine's defaults where it asks for nothing. The manifest's
/// figures are defaults, not a ceiling: an admin's ceiling is the host's capacity at admission.
fn limits(step: &Step, defaults: &Defaults) -> Limits {
    let or = |asked: u64, default: u64| if asked == 0 { default } else { asked };
    let disk_bytes = or(step.limits.disk_bytes, defaults.disk_bytes);
    Limits {
        wall: Duration::from_millis(or(step.limits.wall_ms, defaults.wall_ms)),
        cpu: Duration::from_millis(or(step.limits.cpu_ms, defaults.cpu_ms)),
        memory_bytes: or(step.limits.memory_bytes, defaults.memory_bytes),
        work_bytes: disk_bytes,
        file_bytes: disk_bytes,
        threads: step
            .limits
            .cpu_cores
            .max(defaults.cpu_cores)
            .saturating_add(THREADS_SPARE),
        output_bytes: STREAM_BYTES_MAX,
        ..Limits::default()
    }
}

fn ending(step: &Step, report: &RunReport) -> StepEnding {
    match report.ending {
        Ending::Exited(code) => {
            let missing = step.outputs.iter().find(|output| {
                output.required
                    && !report.outputs.iter().any(|found| {
                        found.path == Path::new(&output.path)
                            && matches!(found.outcome, OutputOutcome::Collected { .. })
                    })
            });
            match missing {
                // An engine that says it failed is not asked for its outputs as well.
                Some(output) if code == 0 => StepEnding::OutputMissing(output.path.clone()),
                _ => StepEnding::Exited(code),
            }
        }
        Ending::Crashed { signal } => StepEnding::Crashed(signal),
        Ending::MemoryExceeded => StepEnding::MemoryExceeded,
        Ending::CpuExceeded => StepEnding::CpuExceeded,
        Ending::DiskExceeded => StepEnding::DiskExceeded,
        // A cancelled step has no guest to tell; the executor looks at `cancelled` first.
        _ => StepEnding::TimedOut,
    }
}

/// Writes what the engine printed where the guest finds it: `/work/.steps/ID/`.
fn keep_streams(
    step: &Step,
    work: &Path,
    report: &RunReport,
) -> Result<(String, String), StepRunError> {
    let inside = format!(".steps/{}", step.id);
    let directory = work.join(&inside);
    let keep = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(&path, bytes))
            .map_err(|source| StepRunError::Keep {
                step: step.id.clone(),
                path,
                source,
            })
    };
    keep("stdout", &report.stdout.bytes)?;
    keep("stderr", &report.stderr.bytes)?;
    Ok((
        format!("/work/{inside}/stdout"),
        format!("/work/{inside}/stderr"),
    ))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
