//! What came of a case.

use std::time::Duration;

use bindery_core::{CostReceipt, GuestError, Violation};
use bindery_runtime::{GuestFailure, GuestLine, SourcePlace};
use serde_json::Value;

use crate::{Difference, Recording};

/// See [`run_case`](crate::run_case).
#[derive(Debug, Clone)]
pub struct CaseReport {
    pub case: String,
    pub title: String,
    pub task: String,
    pub passed: bool,
    /// Where something else was expected; empty when the case passed.
    pub differences: Vec<Difference>,
    /// How the request was refused or the run failed; also where just that was expected.
    pub failure: Option<CaseFailure>,
    /// What the task gave.
    pub output: Option<Value>,
    /// Of every guest call and every real step.
    pub receipts: Vec<CostReceipt>,
    pub duration: Duration,
    /// What the guest logged.
    pub lines: Vec<GuestLine>,
    /// Of the steps, when they were to be recorded and all of them ended.
    pub recording: Option<Recording>,
}

/// Whose failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The guest said no: an ordinary answer.
    Refused,
    /// The guest broke.
    Broke,
    /// An engine, or the host.
    Host,
}

impl FailureKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Broke => "broke",
            Self::Host => "host",
        }
    }
}

/// Why a request was refused, or a run has no result.
#[derive(Debug, Clone)]
pub struct CaseFailure {
    pub kind: FailureKind,
    /// Stable.
    pub code: String,
    pub message: String,
    /// The guest's or the engine's own words, such as a panic message or a traceback; untrusted.
    pub detail: String,
    /// Where in the author's sources, when the guest said so.
    pub place: Option<SourcePlace>,
    /// Of a request that was refused.
    pub violations: Vec<Violation>,
}

impl CaseFailure {
    pub(crate) fn host(code: &str, message: impl std::fmt::Display, detail: String) -> Self {
        Self {
            kind: FailureKind::Host,
            code: code.to_owned(),
            message: message.to_string(),
            detail,
            place: None,
            violations: Vec::new(),
        }
    }

    pub(crate) fn refused(error: GuestError) -> Self {
        let (code, message) = (error.code().to_owned(), error.message());
        let (violations, detail) = match error {
            GuestError::InvalidInput(violations) => (violations, String::new()),
            GuestError::StepFailed { detail, .. } => (Vec::new(), detail),
            _ => (Vec::new(), String::new()),
        };
        Self {
            kind: FailureKind::Refused,
            code,
            message,
            detail,
            place: None,
            violations,
        }
    }

    /// The guest gave something that its own definition does not allow.
    pub(crate) fn broke(code: &str, message: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Broke,
            code: code.to_owned(),
            message: message.into(),
            detail: String::new(),
            place: None,
            violations: Vec::new(),
        }
    }
}

impl From<GuestFailure> for CaseFailure {
    fn from(failure: GuestFailure) -> Self {
        match failure {
            GuestFailure::Refused(error) => Self::refused(error),
            GuestFailure::Broke(broke) => Self {
                kind: FailureKind::Broke,
                code: broke.kind.as_str().to_owned(),
                message: broke.to_string(),
                place: broke.place(),
                detail: broke.stderr,
                violations: Vec::new(),
            },
            GuestFailure::Host { .. } => Self::host("host_fault", failure, String::new()),
        }
    }
}
