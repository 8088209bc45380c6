//! What is asked of a task, and what is said back before it runs.

use serde_json::Value;

use crate::Digest;

/// One fault in a request; see `violation` in `wit/types.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// RFC 6901 pointer into the request: `/parameters/…` or `/inputs/SLOT`.
    pub pointer: String,
    /// Stable `snake_case` code.
    pub code: String,
    pub message: String,
}

impl Violation {
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something a person should know that is not a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub severity: Severity,
    pub code: String,
    pub message: String,
}

/// What one request will need, as far as its task can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
}

/// A file given to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    pub slot: String,
    /// Path below `/in`, made by the host from the slot and a counter.
    pub path: String,
    /// As uploaded; untrusted.
    pub original_name: String,
    pub media_type: String,
    pub size_bytes: u64,
    pub digest: Digest,
}

/// One unit of work of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub index: u64,
    pub label: String,
    pub parameters: Option<Value>,
    pub inputs: Vec<InputFile>,
}

impl Item {
    /// The only item of a plain execution.
    #[must_use]
    pub const fn single() -> Self {
        Self {
            index: 0,
            label: String::new(),
            parameters: None,
            inputs: Vec::new(),
        }
    }
}

/// See `request` in `wit/types.wit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub task: String,
    pub parameters: Value,
    pub inputs: Vec<InputFile>,
    pub items: Vec<Item>,
    pub seed: u64,
}
