//! The three kinds of failure of a guest call.

use std::time::Duration;

use bindery_core::GuestError;

use crate::{SourcePlace, limits::MemoryLimitExceeded};

/// How a guest broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrapKind {
    /// Ran longer than its deadline.
    Deadline,
    /// Asked for more memory than its limit.
    Memory,
    /// Left more on disk than its limit.
    Disk,
    /// Recursed too deeply.
    Stack,
    /// A panic, `unreachable`, an access out of bounds, a division by zero.
    Trap,
    /// Gave a value that breaks the contract.
    Rubbish,
}

impl TrapKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline_exceeded",
            Self::Memory => "memory_exceeded",
            Self::Disk => "disk_exceeded",
            Self::Stack => "stack_overflow",
            Self::Trap => "trap",
            Self::Rubbish => "contract_broken",
        }
    }
}

/// A guest that broke: its instance is gone, the host is unharmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin broke in `{phase}` ({}){}: {message}", kind.as_str(), self.at())]
pub struct GuestBreak {
    pub kind: TrapKind,
    /// The function that was called.
    pub phase: &'static str,
    /// What wasmtime or the host says, with the guest's functions where they are known.
    pub message: String,
    /// What the guest wrote to its standard error, the panic message among it; untrusted.
    pub stderr: String,
}

impl GuestBreak {
    /// Where in its author's sources it broke, when the guest said so.
    #[must_use]
    pub fn place(&self) -> Option<SourcePlace> {
        SourcePlace::find(&self.stderr)
    }

    /// ` at FILE:LINE`, where that is known.
    #[must_use]
    pub fn at(&self) -> String {
        self.place()
            .map(|place| format!(" at {place}"))
            .unwrap_or_default()
    }
}

/// Why a guest call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GuestFailure {
    /// An ordinary value that crossed the boundary: nothing is broken.
    #[error("the plugin refuses: {}", .0.message())]
    Refused(GuestError),
    #[error(transparent)]
    Broke(#[from] GuestBreak),
    /// The host could not make the call; the guest cannot see it and an operator must.
    #[error("host fault in `{phase}`: {message}")]
    Host {
        phase: &'static str,
        message: String,
    },
}

impl GuestFailure {
    pub(crate) fn host(phase: &'static str, error: impl std::fmt::Display) -> Self {
        Self::Host {
            phase,
            message: format!("{error:#}"),
        }
    }

    pub(crate) fn rubbish(phase: &'static str, fault: impl std::fmt::Display) -> Self {
        Self::Broke(GuestBreak {
            kind: TrapKind::Rubbish,
            phase,
            message: fault.to_string(),
            stderr: String::new(),
        })
    }

    pub(crate) fn deadline(phase: &'static str, limit: Duration, stderr: String) -> Self {
        Self::Broke(GuestBreak {
            kind: TrapKind::Deadline,
            phase,
            message: format!("ran longer than {} ms", limit.as_millis()),
            stderr,
        })
    }
}

/// The guest left more on disk than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("disk limit of {limit_bytes} bytes exceeded")]
pub(crate) struct DiskLimitExceeded {
    pub(crate) limit_bytes: u64,
}

/// The call ran longer than its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ran longer than {} ms", limit.as_millis())]
pub(crate) struct DeadlineExceeded {
    pub(crate) limit: Duration,
}

/// Sorts what wasmtime returns: traps and broken limits are the guest's, the rest is the host's.
pub(crate) fn classify(
    phase: &'static str,
    error: &wasmtime::Error,
    stderr: String,
) -> GuestFailure {
    let broke = |kind| {
        let message = format!("{error:#}");
        GuestFailure::Broke(GuestBreak {
            kind,
            phase,
            // A backtrace of a deep recursion is long; its top tells all.
            message: message.chars().take(4000).collect(),
            stderr: stderr.clone(),
        })
    };
    if error.is::<MemoryLimitExceeded>() {
        return broke(TrapKind::Memory);
    }
    if error.is::<DiskLimitExceeded>() {
        return broke(TrapKind::Disk);
    }
    if error.is::<DeadlineExceeded>() {
        return broke(TrapKind::Deadline);
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return GuestFailure::host(phase, format!("{error:#}"));
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::Interrupt) => broke(TrapKind::Deadline),
        Some(wasmtime::Trap::StackOverflow) => broke(TrapKind::Stack),
        // Every other failure inside a call that had begun: a trap, a process exit, a resource
        // misused, a value that does not lift, hostcall fuel. None of them is the host's doing.
        _ => broke(TrapKind::Trap),
    }
}
