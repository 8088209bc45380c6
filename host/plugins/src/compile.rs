//! Compiling in a process of its own.
//!
//! wasmtime promises much about running a hostile component and nothing about the time and memory
//! that compiling one takes. So the host starts its own program once more, in the sandbox for
//! engines, with bounds on processor time, wall time and memory; it is given the component and
//! gives machine code. Where no sandbox works on this machine, the same process sets bounds for
//! itself before it reads anything, and the log says so: that still keeps a bomb from hurting.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use bindery_sandbox::{
    Ending, Limits, OutputOutcome, OutputSpec, Profile, RunError, RunSpec, Sandbox,
};
use tokio_util::sync::CancellationToken;

const INPUT: &str = "component.wasm";
const OUTPUT: &str = "component.cwasm";
/// Exit code of the process when the component is at fault.
const INVALID: i32 = 65;
/// Words about what is wrong with a component.
const FAULT_BYTES_MAX: usize = 4 << 10;
/// The compiler uses a thread for each; each takes address space, which is bounded.
const THREADS: usize = 4;

/// Bounds of compiling one component. The largest that is known, 18 MB of an interpreted language,
/// takes 14 s of processor time and some 400 MB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    pub wall: Duration,
    pub cpu: Duration,
    /// Address space.
    pub memory_bytes: u64,
    /// Of machine code.
    pub output_bytes: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(120),
            cpu: Duration::from_secs(120),
            memory_bytes: 4 << 30,
            output_bytes: 512 << 20,
        }
    }
}

/// Who compiles.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// This process: for commands that run on their own machine with their own files.
    InProcess,
    Child(CompilerProcess),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct CompilerProcess {
    /// A program that hands its arguments to [`run_compiler`].
    pub program: PathBuf,
    /// What stands before them.
    pub arguments: Vec<OsString>,
    pub sandbox: Sandbox,
    /// A directory of this host for what goes in and comes out.
    pub scratch: PathBuf,
    pub limits: CompileLimits,
}

/// Machine code and how it was made.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) code: Vec<u8>,
    /// What stood round the process, for people.
    pub(crate) confined: String,
    pub(crate) elapsed: Duration,
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileError {
    #[error("{0}")]
    Invalid(String),
    #[error("takes more than {0}")]
    Limit(&'static str),
    #[error("{0}")]
    Host(String),
}

impl CompilerProcess {
    pub(crate) async fn compile(&self, component: &[u8]) -> Result<Compiled, CompileError> {
        let started = Instant::now();
        let host = |action: &str, error: std::io::Error| {
            CompileError::Host(format!("failed to {action}: {error}"))
        };
        tokio::fs::create_dir_all(&self.scratch)
            .await
            .map_err(|error| host("make a directory for the compiler", error))?;
        let directory = tempfile::Builder::new()
            .prefix("compile-")
            .tempdir_in(&self.scratch)
            .map_err(|error| host("make a directory for the compiler", error))?;
        let input = directory.path().join(INPUT);
        tokio::fs::write(&input, component)
            .await
            .map_err(|error| host("hand the component over", error))?;
        let out = directory.path().join("out");
        tokio::fs::create_dir(&out)
            .await
            .map_err(|error| host("make a directory for the compiler", error))?;
        let confined = match self.confined(&input, &out).await {
            Err(RunError::Unavailable { reason, .. }) => {
                tracing::warn!(
                    reason,
                    "compiling without a sandbox, under resource limits only"
                );
                self.limited(&input, &out).await?
            }
            Err(error) => return Err(CompileError::Host(crate::error::chain(&error))),
            Ok(outcome) => outcome?,
        };
        let code = tokio::fs::read(out.join(OUTPUT))
            .await
            .map_err(|error| host("read what the compiler wrote", error))?;
        Ok(Compiled {
            code,
            confined,
            elapsed: started.elapsed(),
        })
    }

    fn arguments(&self) -> Vec<OsString> {
        let own = [INPUT, OUTPUT].map(OsString::from);
        self.arguments.iter().cloned().chain(own).collect()
    }

    fn environment() -> [(OsString, OsString); 2] {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        [
            (
                "RAYON_NUM_THREADS".into(),
                threads.min(THREADS).to_string().into(),
            ),
            // Arenas of the allocator take address space for each thread.
            ("MALLOC_ARENA_MAX".into(), "2".into()),
        ]
    }

    /// In the sandbox.
    async fn confined(
        &self,
        input: &Path,
        out: &Path,
    ) -> Result<Result<String, CompileError>, RunError> {
        let limits = self.limits;
        let mut spec = RunSpec::new(self.program.clone(), out.to_owned());
        spec.arguments = self.arguments();
        spec.environment = Self::environment().into();
        spec.stage = vec![(input.to_owned(), PathBuf::from(INPUT))];
        spec.outputs = vec![OutputSpec {
            path: PathBuf::from(OUTPUT),
            max_bytes: limits.output_bytes,
        }];
        spec.limits = Limits {
            wall: limits.wall,
            cpu: limits.cpu,
            memory_bytes: limits.memory_bytes,
            work_bytes: limits.output_bytes,
            work_files: 16,
            file_bytes: limits.output_bytes,
            output_bytes: FAULT_BYTES_MAX as u64,
            ..Limits::default()
        };
        spec.profile = Profile::default();
        let report = self
            .sandbox
            .run(spec, &mut (), CancellationToken::new())
            .await?;
        let said = String::from_utf8_lossy(&report.stderr.bytes).into_owned();
        Ok(match report.ending {
            Ending::Exited(0) => match report.outputs.first().map(|output| &output.outcome) {
                Some(OutputOutcome::Collected { .. }) => Ok(report.level.to_string()),
                other => Err(CompileError::Host(format!("no machine code: {other:?}"))),
            },
            Ending::Exited(INVALID) => Err(CompileError::Invalid(said)),
            Ending::MemoryExceeded => Err(CompileError::Limit("memory")),
            Ending::CpuExceeded => Err(CompileError::Limit("processor time")),
            Ending::DiskExceeded => Err(CompileError::Limit("machine code")),
            Ending::TimedOut => Err(CompileError::Limit("time")),
            // Out of memory it aborts; nothing else makes our own compiler do so for a component
            // that it does not refuse.
            Ending::Crashed { signal } => Err(CompileError::Invalid(format!(
                "the compiler ended by signal {signal}: {said}"
            ))),
            other => Err(CompileError::Host(format!(
                "the compiler ended with {other:?}: {said}"
            ))),
        })
    }

    /// Without walls, under limits that the process sets for itself.
    async fn limited(&self, input: &Path, out: &Path) -> Result<String, CompileError> {
        let host = |error: std::io::Error| CompileError::Host(format!("the compiler: {error}"));
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(input)
            .arg(out.join(OUTPUT))
            .arg("--memory-bytes")
            .arg(self.limits.memory_bytes.to_string())
            .arg("--cpu-seconds")
            .arg(self.limits.cpu.as_secs().max(1).to_string())
            .arg("--output-bytes")
            .arg(self.limits.output_bytes.to_string())
            .env_clear()
            .envs(Self::environment())
            .current_dir(out)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let child = command.spawn().map_err(host)?;
        let output = tokio::time::timeout(self.limits.wall, child.wait_with_output())
            .await
            .map_err(|_| CompileError::Limit("time"))?
            .map_err(host)?;
        let said: String = String::from_utf8_lossy(&output.stderr)
            .chars()
            .take(FAULT_BYTES_MAX)
            .collect();
        use std::os::unix::process::ExitStatusExt;
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => Ok("limits".to_owned()),
            (Some(INVALID), _) => Err(CompileError::Invalid(said)),
            (_, Some(libc_signal::XCPU | libc_signal::KILL)) => {
                Err(CompileError::Limit("processor time"))
            }
            (_, Some(libc_signal::XFSZ)) => Err(CompileError::Limit("machine code")),
            (_, Some(libc_signal::ABRT)) => Err(CompileError::Limit("memory")),
            _ => Err(CompileError::Host(format!(
                "the compiler ended with {}: {said}",
                output.status
            ))),
        }
    }
}

/// Numbers of signals on Linux.
mod libc_signal {
    use rustix::process::Signal;

    pub(super) const ABRT: i32 = Signal::ABORT.as_raw();
    pub(super) const KILL: i32 = Signal::KILL.as_raw();
    pub(super) const XCPU: i32 = Signal::XCPU.as_raw();
    pub(super) const XFSZ: i32 = Signal::XFSZ.as_raw();
}

/// What the compiling process is asked to do.
#[derive(Debug, Clone)]
pub struct CompileOrder {
    pub component: PathBuf,
    pub output: PathBuf,
    /// Bounds that it sets for itself, where nothing else does.
    pub memory_bytes: Option<u64>,
    pub cpu_seconds: Option<u64>,
    pub output_bytes: Option<u64>,
}

/// The whole of the compiling process: gives its exit code. Called before any thread is started.
#[must_use]
pub fn run_compiler(order: &CompileOrder) -> u8 {
    let failed = |words: String, code: i32| {
        use std::io::Write;
        // Nobody is left to tell when this cannot be written.
        let _ = std::io::stderr().write_all(words.as_bytes());
        u8::try_from(code).unwrap_or(1)
    };
    use rustix::process::{Resource, Rlimit, setrlimit};
    let bounds = [
        (Resource::As, order.memory_bytes),
        (Resource::Cpu, order.cpu_seconds),
        (Resource::Fsize, order.output_bytes),
        (Resource::Core, Some(0)),
    ];
    for (resource, bound) in bounds {
        let Some(bound) = bound else { continue };
        let limit = Rlimit {
            current: Some(bound),
            maximum: Some(bound),
        };
        // Inside the sandbox they stand already and cannot be set; there none but the last is.
        if let Err(error) = setrlimit(resource, limit)
            && resource != Resource::Core
        {
            return failed(format!("failed to set a limit: {error}"), 1);
        }
    }
    let component = match std::fs::read(&order.component) {
        Ok(component) => component,
        Err(error) => return failed(format!("failed to read the component: {error}"), 1),
    };
    let code = match bindery_runtime::compile_component(&component) {
        Ok(code) => code,
        Err(fault) => return failed(fault, INVALID),
    };
    match std::fs::write(&order.output, code) {
        Ok(()) => 0,
        Err(error) => failed(format!("failed to write the machine code: {error}"), 1),
    }
}
