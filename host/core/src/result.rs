//! What a task gives back.

use serde_json::Value;

use crate::{Notice, Violation};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    Neither,
}

impl Better {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Neither => "neither",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    pub name: String,
    /// Finite.
    pub value: f64,
    pub unit: String,
    pub better: Better,
}

/// A file of the result, still in the guest's directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub name: String,
    /// Below the guest's root: `/out/…` or `/work/…`.
    pub path: String,
    pub media_type: String,
    pub title: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct View {
    pub kind: String,
    pub title: String,
    pub spec: Value,
    pub artifacts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ItemResult {
    pub output: Value,
    pub confidence: Option<f64>,
    pub metrics: Vec<Metric>,
    pub artifacts: Vec<Artifact>,
    pub views: Vec<View>,
    pub notices: Vec<Notice>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ItemOutcome {
    pub index: u64,
    pub verdict: Result<ItemResult, GuestError>,
}

/// The guest says no; see `error` in `wit/types.wit`. One of three kinds of failure that are
/// never mixed: a trap and a host fault are the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestError {
    InvalidInput(Vec<Violation>),
    StepFailed {
        step: String,
        code: String,
        message: String,
        detail: String,
    },
    OutputInvalid(String),
    Unsupported(String),
    Other(String),
}

impl GuestError {
    /// Stable code for problem documents.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::InvalidInput(_) => "invalid_input",
            Self::StepFailed { code, .. } => code,
            Self::OutputInvalid(_) => "output_invalid",
            Self::Unsupported(_) => "unsupported",
            Self::Other(_) => "task_failed",
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub fn message(&self) -> String {
        match self {
            Self::InvalidInput(violations) => match violations.as_slice() {
                [] => "the input was rejected".to_owned(),
                [only] => only.message.clone(),
                [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
            },
            Self::StepFailed { message, .. }
            | Self::OutputInvalid(message)
            | Self::Unsupported(message)
            | Self::Other(message) => message.clone(),
        }
    }
}
