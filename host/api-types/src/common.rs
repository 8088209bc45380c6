//! Problem documents and the remarks that go with a success.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// RFC 9457 problem document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` tells problems apart.
    #[serde(rename = "type")]
    pub kind: String,
    /// Phrase of the status.
    pub title: String,
    pub status: u16,
    /// One sentence for a person.
    pub detail: String,
    /// Stable word for programs.
    #[schema(example = "validation_failed")]
    pub code: String,
    /// All faults of the request at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
    /// How to put it right, when the host knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Violation {
    /// RFC 6901 pointer into the request body; `/query/NAME` for a query parameter and `/file`
    /// for an upload.
    #[schema(example = "/parameters/count")]
    pub pointer: String,
    #[schema(example = "out_of_range")]
    pub code: String,
    pub message: String,
}

/// Something worth knowing that is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// `info`, `warning` or `error`.
    pub severity: String,
    pub code: String,
    pub message: String,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileProblem {
    pub code: String,
    pub message: String,
    /// Counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
}
