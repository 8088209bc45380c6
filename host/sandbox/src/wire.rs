//! What host and helper say to each other over the control socket.
//!
//! One [`Order`] goes in, [`Notice`]s come back, each as a frame of [`crate::frame`]. A single
//! byte from the host after the order means *stop*; a closed socket means that the host is gone.
//! Both ends come from one build, and the version makes a stale helper fail by name.

use serde::{Deserialize, Serialize};

use crate::{Execute, SyscallPolicy};

/// Raised with every change of the types below.
pub(crate) const VERSION: u32 = 1;

/// Exit code of the helper when the sandbox could not be built. The engine's own exit never
/// becomes the helper's.
pub(crate) const EXIT_NOT_BUILT: u8 = 125;

/// Stage of a [`Notice::NotBuilt`] that says that there is no such program.
pub(crate) const PROGRAM_MISSING: &str = "program";

/// Working directory of the engine at L2. Below `/tmp`, so that one bounded file system holds all
/// that the engine can write to.
pub(crate) const JOB_DIRECTORY: &str = "/tmp/job";

/// Paths, arguments and variables as bytes: none of them need be UTF-8.
pub(crate) type Bytes = Vec<u8>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    /// First, so that it decodes whatever follows.
    pub(crate) version: u32,
    pub(crate) walls: Walls,
    /// To become before anything else; given when the host is root.
    pub(crate) uid: Option<u32>,
    pub(crate) program: Bytes,
    pub(crate) arguments: Vec<Bytes>,
    pub(crate) environment: Vec<(Bytes, Bytes)>,
    pub(crate) read_only: Vec<Bytes>,
    pub(crate) system_directories: bool,
    pub(crate) stage: Vec<Staged>,
    /// An empty directory of the host below L2.
    pub(crate) work_directory: Option<Bytes>,
    pub(crate) limits: Bounds,
    pub(crate) allow_fork: bool,
    pub(crate) execute: Execute,
    pub(crate) syscalls: SyscallPolicy,
}

/// Which walls to build.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Walls {
    pub(crate) namespaces: bool,
    pub(crate) landlock: bool,
    pub(crate) seccomp: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Staged {
    pub(crate) from: Bytes,
    pub(crate) to: Bytes,
    /// The engine may replace it, so a read-only mount will not do.
    pub(crate) is_output: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Bounds {
    pub(crate) wall_ms: u64,
    pub(crate) cpu_s: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) work_bytes: u64,
    pub(crate) work_files: u64,
    pub(crate) file_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_files: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Notice {
    /// The work directory is ready; its descriptor comes along.
    Work,
    /// The engine runs. Descriptors come along: a pidfd of the engine, then of init at L2.
    Started {
        layers: Vec<String>,
        landlock_abi: Option<u32>,
    },
    /// Nothing ran.
    NotBuilt {
        stage: String,
        detail: String,
        errno: Option<i32>,
    },
    /// The walls stood, but the program could not be executed.
    NotExecuted { errno: i32 },
    /// Everything that ran is gone.
    Ended(End),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct End {
    /// What made the supervisor kill the engine, if it did.
    pub(crate) killed_for: Option<KillReason>,
    pub(crate) death: Death,
    pub(crate) wall_us: u64,
    pub(crate) cpu_user_us: u64,
    pub(crate) cpu_system_us: u64,
    pub(crate) peak_memory_bytes: u64,
    /// Whether bytes or files of the work directory had run out.
    pub(crate) work_full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KillReason {
    Deadline,
    /// The host said so, or is gone.
    Stopped,
    WorkFull,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Death {
    Exited(i32),
    Signaled(i32),
}
