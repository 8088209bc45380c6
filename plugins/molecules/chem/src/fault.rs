//! Faults: what is wrong with a file, and where.
//!
//! A fault is a value, never a panic. Codes are stable `snake_case` words that programs compare;
//! messages are lower-case fragments for people and may change.

use std::fmt;

/// How much a fault spoils.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The molecule can be used; something was assumed or left out.
    Warning,
    /// The file is well formed, but what it holds cannot be docked.
    ErrorForDocking,
    /// The record cannot be used at all.
    Error,
}

/// One thing wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable `snake_case` word.
    pub code: &'static str,
    /// What is wrong and where, for a person; does not repeat `line` and `record`.
    pub message: String,
    /// Line in the decoded file, counted from 1.
    pub line: Option<u64>,
    /// Record of the file, counted from 0.
    pub record: Option<u64>,
    pub severity: Severity,
}

impl Fault {
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
            line: None,
            record: None,
            severity: Severity::Error,
        }
    }

    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            severity: Severity::Warning,
            ..Fault::error(code, message)
        }
    }

    #[must_use]
    pub fn for_docking(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            severity: Severity::ErrorForDocking,
            ..Fault::error(code, message)
        }
    }

    #[must_use]
    pub fn at_line(mut self, line: u64) -> Fault {
        self.line = Some(line);
        self
    }

    #[must_use]
    pub fn in_record(mut self, record: u64) -> Fault {
        self.record = Some(record);
        self
    }

    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(record) = self.record {
            write!(f, "record {}: ", record + 1)?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Collects the faults of one record, keeping the first of them and counting the rest.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    kept: Vec<Fault>,
    dropped: u64,
    has_error: bool,
}

/// A reader of a report looks at tens of faults, not thousands; a damaged file can have one per
/// line, and each costs about 200 bytes.
const FAULTS_PER_RECORD_MAX: usize = 50;

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        self.has_error |= fault.is_error();
        if self.kept.len() < FAULTS_PER_RECORD_MAX {
            self.kept.push(fault);
        } else if fault.is_error() && !self.kept.iter().any(Fault::is_error) {
            // An error must never hide behind fifty warnings.
            self.kept.pop();
            self.kept.push(fault);
            self.dropped += 1;
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn has_error(&self) -> bool {
        self.has_error
    }

    /// The faults, with a last one that says how many were left out.
    pub(crate) fn finish(mut self) -> Vec<Fault> {
        if self.dropped > 0 {
            let message = format!("and {} more faults of this record", self.dropped);
            self.kept.push(if self.has_error {
                Fault::error("more_faults", message)
            } else {
                Fault::warning("more_faults", message)
            });
        }
        self.kept
    }
}

/// Untrusted text shortened and freed of control characters, for use inside a message.
pub(crate) fn quoted(text: &[u8]) -> String {
    const CHARS_MAX: usize = 40;
    let lossy = String::from_utf8_lossy(text.get(..4 * CHARS_MAX).unwrap_or(text));
    let trimmed = lossy.trim_end();
    let mut out = String::with_capacity(CHARS_MAX + 4);
    out.push('\'');
    for (count, character) in trimmed.chars().enumerate() {
        if count == CHARS_MAX {
            out.push('…');
            break;
        }
        out.push(if character.is_control() {
            '\u{fffd}'
        } else {
            character
        });
    }
    out.push('\'');
    out
}
