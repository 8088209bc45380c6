//! States of an execution and endings of its attempts.

use std::{fmt, str::FromStr};

/// Status of an execution, and of a job with one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExecutionStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    /// Retries used up.
    DeadLetter,
}

impl ExecutionStatus {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::TimedOut,
        Self::DeadLetter,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::DeadLetter => "dead_letter",
        }
    }

    /// Ended for good: no transition leaves it.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether an execution may go from this status to `next`. `Running` to `Queued` is a retry.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => {
                matches!(
                    next,
                    Self::Running | Self::Cancelled | Self::Failed | Self::DeadLetter
                )
            }
            Self::Running => !matches!(next, Self::Running),
            _ => false,
        }
    }
}

impl fmt::Display for ExecutionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status `{0}`")]
pub struct ParseStatusError(String);

impl FromStr for ExecutionStatus {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| ParseStatusError(text.chars().take(40).collect()))
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptEnding {
    Succeeded,
    /// The guest says no to the request.
    Rejected,
    /// The guest trapped, or an engine died of a signal.
    Crashed,
    MemoryExceeded,
    CpuExceeded,
    DiskExceeded,
    TimedOut,
    /// What came out is not a result.
    OutputInvalid,
    Cancelled,
    /// The host that ran it died.
    Lost,
    SandboxUnavailable,
    EngineMissing,
    RemoteFailed,
    /// The host itself failed: storage, a bug. An operator must look.
    HostFault,
}

impl AttemptEnding {
    pub const ALL: [Self; 14] = [
        Self::Succeeded,
        Self::Rejected,
        Self::Crashed,
        Self::MemoryExceeded,
        Self::CpuExceeded,
        Self::DiskExceeded,
        Self::TimedOut,
        Self::OutputInvalid,
        Self::Cancelled,
        Self::Lost,
        Self::SandboxUnavailable,
        Self::EngineMissing,
        Self::RemoteFailed,
        Self::HostFault,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Crashed => "crashed",
            Self::MemoryExceeded => "memory_exceeded",
            Self::CpuExceeded => "cpu_exceeded",
            Self::DiskExceeded => "disk_exceeded",
            Self::TimedOut => "timed_out",
            Self::OutputInvalid => "output_invalid",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::SandboxUnavailable => "sandbox_unavailable",
            Self::EngineMissing => "engine_missing",
            Self::RemoteFailed => "remote_failed",
            Self::HostFault => "host_fault",
        }
    }

    /// Whether another try can end differently. Engines are given a seed and guests neither
    /// clock nor chance, so only what the surroundings caused is worth repeating.
    #[must_use]
    pub const fn is_curable(self) -> bool {
        matches!(self, Self::Lost | Self::RemoteFailed | Self::HostFault)
    }

    /// Status of the execution when this attempt was its last.
    #[must_use]
    pub const fn final_status(self) -> ExecutionStatus {
        match self {
            Self::Succeeded => ExecutionStatus::Succeeded,
            Self::Cancelled => ExecutionStatus::Cancelled,
            Self::TimedOut => ExecutionStatus::TimedOut,
            ending if ending.is_curable() => ExecutionStatus::DeadLetter,
            _ => ExecutionStatus::Failed,
        }
    }
}

impl FromStr for AttemptEnding {
    type Err = ParseStatusError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|ending| ending.as_str() == text)
            .ok_or_else(|| ParseStatusError(text.chars().take(40).collect()))
    }
}

impl fmt::Display for AttemptEnding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_states_are_final() {
        for from in ExecutionStatus::ALL {
            for to in ExecutionStatus::ALL {
                if from.is_terminal() {
                    assert!(!from.may_become(to), "{from} -> {to}");
                }
            }
        }
    }

    #[test]
    fn words_round_trip() {
        for status in ExecutionStatus::ALL {
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        for ending in AttemptEnding::ALL {
            assert_eq!(ending.as_str().parse(), Ok(ending));
            assert!(ending.final_status().is_terminal());
        }
    }
}
