//! Exit codes, promised to scripts.

use std::process::ExitCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// The run or the request failed.
    Failed,
    /// The words on the command line name what is not there. What is no command is told by clap.
    Usage,
    /// The input was rejected by validation.
    Rejected,
    EngineMissing,
    Cancelled,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Rejected => 3,
            Exit::EngineMissing => 4,
            Exit::Cancelled => 130,
        })
    }
}
