//! Executions: one run of one task version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Notice, Violation};

/// A line of the list of executions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionSummary {
    pub id: String,
    pub job_id: String,
    pub task: String,
    pub task_version: String,
    pub status: String,
    pub labels: BTreeMap<String, String>,
    #[schema(format = DateTime)]
    pub created: String,
    #[schema(format = DateTime)]
    pub started: Option<String>,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
}

/// A page of executions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionPage {
    pub items: Vec<ExecutionSummary>,
    pub next_cursor: Option<String>,
}

/// Everything about one execution but its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Execution {
    #[serde(flatten)]
    pub summary: ExecutionSummary,
    /// Digest of the plugin that runs it.
    pub plugin: String,
    #[schema(value_type = Object)]
    pub parameters: Value,
    pub inputs: Vec<InputFile>,
    pub seed: u64,
    pub priority: u8,
    /// What was assumed or changed when it was taken.
    pub notices: Vec<Notice>,
    pub attempts: Vec<Attempt>,
    pub engines: Vec<EngineUsed>,
    pub sandbox: Option<Sandbox>,
    pub problem: Option<Failure>,
    /// 0..=1; null when it does not run.
    pub progress: Option<f64>,
    pub stage: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputFile {
    pub slot: String,
    pub file_id: String,
    pub name: String,
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    pub digest: String,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Counted from 1.
    pub number: u32,
    #[schema(format = DateTime)]
    pub started: String,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
    /// How it ended; null while it runs.
    pub ending: Option<String>,
    pub problem: Option<Failure>,
    pub usage: Usage,
}

/// Why something has no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Failure {
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The engine's or the plugin's own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<Violation>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineUsed {
    pub name: String,
    pub version: String,
}

/// How engines were confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sandbox {
    pub level: String,
    pub layers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock_abi: Option<u32>,
}

/// Where an execution is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionStatusDocument {
    pub execution_id: String,
    pub job_id: String,
    pub status: String,
    /// 0..=1; null before it runs, 1 when it succeeded.
    pub progress: Option<f64>,
    /// What is going on.
    pub stage: Option<String>,
    /// Counted from 1; null when it does not wait, or too many wait before it.
    pub queue_position: Option<u64>,
    /// Attempts so far.
    pub attempt: u32,
    /// Size of the log in bytes, while it runs.
    pub log_bytes: Option<u64>,
    #[schema(format = DateTime)]
    pub created: String,
    #[schema(format = DateTime)]
    pub started: Option<String>,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
    pub problem: Option<Failure>,
}

/// The host's frame around what the plugin gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Results {
    pub execution_id: String,
    pub job_id: String,
    pub task: String,
    pub task_version: String,
    pub status: String,
    /// The task's own; null when there is no result.
    #[schema(value_type = Option<Object>)]
    pub output: Value,
    /// 0..=1.
    pub confidence: Option<f64>,
    /// Numbers by name: `wall_seconds`, `cpu_seconds` and `peak_memory_bytes` are the host's, the
    /// others the task's.
    #[schema(value_type = std::collections::HashMap<String, f64>)]
    pub metrics: Value,
    /// Units of the task's metrics, and which way is better.
    #[schema(value_type = Object)]
    pub metric_info: Value,
    pub receipts: Vec<Receipt>,
    pub artifacts: Vec<Artifact>,
    /// How to show it.
    #[schema(value_type = Vec<Object>)]
    pub views: Value,
    /// What the task wants a person to know.
    #[schema(value_type = Vec<Object>)]
    pub notices: Value,
    pub engines: Vec<EngineUsed>,
    pub sandbox: Option<Sandbox>,
    /// `miss`: it was run for this request.
    pub cache: String,
    /// As the task used them.
    #[schema(value_type = Object)]
    pub parameters: Value,
    pub inputs: Vec<InputFile>,
    pub seed: u64,
    /// Why there is no output, when there is none.
    pub problem: Option<Failure>,
}

/// What one phase cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    pub phase: String,
    pub wall_us: u64,
    pub cpu_us: u64,
    pub peak_memory_bytes: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// An output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    pub name: String,
    pub id: String,
    pub title: String,
    pub media_type: String,
    /// Bytes.
    pub size: u64,
    pub digest: String,
    /// Where to download it.
    pub href: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactList {
    pub items: Vec<Artifact>,
    pub next_cursor: Option<String>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    pub seq: u64,
    #[schema(format = DateTime)]
    pub time: String,
    #[schema(example = "execution.progress")]
    pub event: String,
    #[schema(value_type = Object)]
    pub data: Value,
}

/// A page of events, in the order in which they happened; the cursor is the `seq` to go on after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    pub items: Vec<Event>,
    pub next_cursor: Option<String>,
}

/// What a cancellation met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cancellation {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    pub job_id: String,
    /// `cancelled`, or `running` while its processes are being stopped.
    pub status: String,
    /// Whether the status is still to become `cancelled`.
    pub stopping: bool,
}
