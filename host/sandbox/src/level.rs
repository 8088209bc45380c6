//! How strong a sandbox is.

use std::fmt;
use std::str::FromStr;

/// Which walls stand between an engine and the machine, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SandboxLevel {
    /// Resource limits and a process group, no walls. Never chosen by itself.
    None,
    /// Landlock, system-call filter and resource limits, one process, a plain work directory.
    L1,
    /// Namespaces with a private root and a bounded work directory, besides all of L1.
    L2,
}

impl SandboxLevel {
    /// Strongest first, as they are tried.
    pub const ALL: [Self; 3] = [Self::L2, Self::L1, Self::None];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::L1 => "L1",
            Self::L2 => "L2",
        }
    }
}

impl fmt::Display for SandboxLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no sandbox level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown sandbox level {found:?}: expected \"L2\", \"L1\" or \"none\"")]
pub struct ParseLevelError {
    found: String,
}

impl FromStr for SandboxLevel {
    type Err = ParseLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| ParseLevelError {
                found: text.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn text_and_level_agree_and_stronger_is_greater() {
        for level in SandboxLevel::ALL {
            assert_eq!(level.to_string().parse::<SandboxLevel>().unwrap(), level);
        }
        assert!(SandboxLevel::None < SandboxLevel::L1 && SandboxLevel::L1 < SandboxLevel::L2);
        assert!("l2".parse::<SandboxLevel>().is_err());
    }
}
