//! What one run gave.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{SandboxLevel, SpecError};

/// One of the engine's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Receives the engine's output as it arrives, in chunks of any size, unaltered: not text, not
/// lines. Called on the task that awaits [`crate::Sandbox::run`]; while it does not return, the
/// engine's pipes fill, which delays neither deadline nor cancellation by the kernel.
pub trait OutputSink {
    fn bytes(&mut self, stream: Stream, chunk: &[u8]);
}

/// Drops everything.
impl OutputSink for () {
    fn bytes(&mut self, _stream: Stream, _chunk: &[u8]) {}
}

/// How a run ended. `Exited` holds the engine's own code, also when it is 137 or 125: a kill is
/// never told by a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    Exited(i32),
    /// By a signal that no limit explains.
    Crashed {
        signal: i32,
    },
    MemoryExceeded,
    CpuExceeded,
    /// The work directory, or one file, reached its bound; outputs may be cut, whatever the
    /// engine's exit code.
    DiskExceeded,
    TimedOut,
    Cancelled,
}

/// What the engine and its children used, without the helper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub wall: Duration,
    pub cpu_user: Duration,
    pub cpu_system: Duration,
    /// Largest resident set of one process. Not below some 2 MiB, the helper's size at the time
    /// it became the engine.
    pub peak_memory_bytes: u64,
}

/// The kept part of a stream: its beginning and its end.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Captured {
    pub bytes: Vec<u8>,
    /// Bytes left out.
    pub dropped: u64,
    /// Where in `bytes` they are missing.
    pub dropped_at: usize,
}

impl fmt::Debug for Captured {
    /// As text, which it mostly is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("bytes", &format_args!("\"{}\"", self.bytes.escape_ascii()))
            .field("dropped", &self.dropped)
            .field("dropped_at", &self.dropped_at)
            .finish()
    }
}

/// What became of one wanted output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputReport {
    /// As in the order.
    pub path: PathBuf,
    pub outcome: OutputOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputOutcome {
    /// Copied below the receiving directory, under its own path.
    Collected {
        size_bytes: u64,
        sha256: [u8; 32],
    },
    Missing,
    Rejected(Rejection),
}

/// Why something in an output's place was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    #[error("not a regular file")]
    NotAFile,
    #[error("behind a symbolic link")]
    Link,
    #[error("longer than {max_bytes} bytes")]
    TooLarge { max_bytes: u64 },
    #[error("unreadable: {reason}")]
    Unreadable { reason: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    pub ending: Ending,
    pub usage: Usage,
    pub stdout: Captured,
    pub stderr: Captured,
    /// In the order of the request; empty after cancellation.
    pub outputs: Vec<OutputReport>,
    pub level: SandboxLevel,
    /// Names of the walls that stood.
    pub layers: Vec<String>,
    pub landlock_abi: Option<u32>,
}

/// Why no report exists.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    #[error("no sandbox of the required level works here: {reason}")]
    Unavailable { reason: String, fix: String },
    #[error("the order cannot be carried out")]
    Spec(#[from] SpecError),
    #[error("a profile with child processes needs level L2, not {level}")]
    ForkNeedsNamespaces { level: SandboxLevel },
    #[error("engine {program:?} is missing")]
    EngineMissing { program: PathBuf },
    #[error("engine {program:?} cannot be executed")]
    EngineNotExecutable {
        program: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Walls are missing, so the engine was not started.
    #[error("the sandbox could not be built ({stage}): {detail}")]
    Build {
        stage: String,
        detail: String,
        errno: Option<i32>,
    },
    #[error("all {count} job users are taken")]
    NoFreeUser { count: u32 },
    #[error("cannot start the helper {helper:?}")]
    Helper {
        helper: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Somebody killed the supervisor. The kernel killed the engine with it.
    #[error("the supervisor ended without a report ({status})")]
    SupervisorLost {
        status: String,
        /// Whether engine and namespace were seen to be gone.
        tree_gone: bool,
    },
    #[error("failed to {action}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
}

impl RunError {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
