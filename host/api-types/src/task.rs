//! Tasks: what can be run, and the request to run it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::Notice;

/// A line of the list of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskSummary {
    pub id: String,
    /// Newest enabled version.
    pub version: String,
    pub title: String,
    pub category: String,
    pub summary: String,
    /// Whether all engines it needs are there.
    pub available: bool,
    /// What is missing, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

/// All tasks, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    pub items: Vec<TaskSummary>,
    pub next_cursor: Option<String>,
}

/// The definition of one task version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    pub id: String,
    pub version: String,
    pub title: String,
    pub category: String,
    pub summary: String,
    /// Markdown.
    pub docs: String,
    /// JSON Schema 2020-12 of an object.
    #[schema(value_type = Object)]
    pub parameters: Value,
    pub inputs: Vec<InputSlot>,
    pub outputs: Outputs,
    pub engines: Vec<EngineRequirement>,
    pub resources: Resources,
    /// Loaded versions, newest first.
    pub versions: Vec<String>,
    /// What the host grants to the plugin beyond its own files, as `KIND:NAME`; empty: nothing.
    pub permissions: Vec<String>,
    /// `deterministic`, `seeded` or `varying`.
    pub determinism: String,
    pub examples: Vec<TaskExample>,
    /// Words that it is found by.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Publications that whoever uses a result has to name.
    #[serde(default)]
    pub citations: Vec<Citation>,
    /// Digest of the plugin that defines it.
    pub plugin: String,
    /// The package that it came in, as `NAME@VERSION`.
    pub package: String,
    pub available: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// An OpenAPI 3.1 document of this task alone.
    #[schema(value_type = Object)]
    pub openapi: Value,
}

/// A publication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Citation {
    pub text: String,
    /// Empty when there is none.
    pub doi: String,
    /// Empty when there is none.
    pub url: String,
}

/// What a request will need, as far as its task can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InputSlot {
    pub name: String,
    pub title: String,
    pub summary: String,
    /// Media types; `*/*` accepts all.
    pub accepts: Vec<String>,
    /// `one`, `optional` or `many`.
    pub cardinality: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Outputs {
    /// JSON Schema of the result's `output`.
    #[schema(value_type = Object)]
    pub schema: Value,
    pub artifacts: Vec<OutputArtifact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutputArtifact {
    pub name: String,
    pub title: String,
    pub media_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EngineRequirement {
    pub name: String,
    /// Version requirement.
    pub versions: String,
    pub available: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Resources {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub wall_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskExample {
    pub title: String,
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// Slot to a path below the package's examples.
    pub inputs: BTreeMap<String, Vec<String>>,
}

/// One file or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum InputRef {
    One(String),
    Many(Vec<String>),
}

/// Whether a stored result may be reused. Results are not reused yet: every request runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Cache {
    Enabled(bool),
    Policy(String),
}

/// Parameters to be checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// File ids by input slot; slots that are absent are not checked.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputRef>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Option<Value>,
}

/// A request that may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Validated {
    /// Normalised, with defaults.
    #[schema(value_type = Object)]
    pub parameters: Value,
    /// What was assumed or changed.
    pub notices: Vec<Notice>,
    /// What it will need, when the task can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// A request to run a task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecuteRequest {
    /// File ids by input slot.
    #[serde(default)]
    pub inputs: BTreeMap<String, InputRef>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Option<Value>,
    /// Higher runs first; 128 when absent.
    #[serde(default)]
    pub priority: Option<u8>,
    #[serde(default)]
    pub cache: Option<Cache>,
    /// Your own words to find it by: at most 32, keys of at most 63 and values of at most 255
    /// characters.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// Where a request went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Executed {
    pub execution_id: String,
    pub job_id: String,
    pub status: String,
    /// What was assumed or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<Notice>,
}
