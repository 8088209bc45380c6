//! Stored records. Each carries the version of its shape; a change of shape gets a new version
//! and a conversion, never a silent reinterpretation.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of all shapes in this module.
pub const RECORD_VERSION: u16 = 1;

/// A file given to an execution, as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    pub slot: String,
    pub file_id: String,
    /// Path below the guest's `/in`.
    pub path: String,
    pub name: String,
    pub media_type: String,
    pub size_bytes: u64,
    pub digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViolationRecord {
    pub pointer: String,
    pub code: String,
    pub message: String,
}

/// Why something did not work, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemRecord {
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The engine's or the plugin's own words; untrusted text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub violations: Vec<ViolationRecord>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub peak_memory_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRecord {
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    pub name: String,
    pub version: String,
}

/// How engines were confined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxRecord {
    pub level: String,
    pub layers: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landlock_abi: Option<u32>,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Counted from 1.
    pub number: u32,
    pub started: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    /// An `AttemptEnding`; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemRecord>,
    #[serde(default)]
    pub usage: UsageRecord,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeRecord {
    pub severity: String,
    pub code: String,
    pub message: String,
}

/// One run of one task version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutionRecord {
    pub v: u16,
    pub id: String,
    pub job_id: String,
    pub task: String,
    pub task_version: String,
    /// Digest of the plugin: work that has begun keeps the version it began with.
    pub plugin: String,
    pub parameters: Value,
    pub inputs: Vec<InputRecord>,
    pub seed: u64,
    /// Cores, memory and wall time asked for at admission.
    pub resources: ResourcesRecord,
    pub priority: u8,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What was assumed or changed at validation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<NoticeRecord>,
    /// An `ExecutionStatus`.
    pub status: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
    pub attempts: Vec<AttemptRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<ProblemRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxRecord>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourcesRecord {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
    pub wall_ms: u64,
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    pub v: u16,
    pub id: String,
    pub task: String,
    pub task_version: String,
    pub status: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub executions: Vec<String>,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactRecord {
    pub v: u16,
    pub id: String,
    pub execution_id: String,
    pub name: String,
    pub title: String,
    pub media_type: String,
    pub size_bytes: u64,
    pub digest: String,
    pub created: Timestamp,
}

/// What an execution gave, beside its artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultRecord {
    pub v: u16,
    pub execution_id: String,
    pub usage: UsageRecord,
    pub receipts: Vec<ReceiptRecord>,
    /// The body inline when it is small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Otherwise the digest of the blob that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_blob: Option<String>,
    pub artifacts: Vec<ArtifactRecord>,
}

/// Where a submission with this idempotency key went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    pub v: u16,
    /// Of the request: the same key with another request is a conflict.
    pub fingerprint: String,
    pub job_id: String,
    pub execution_id: String,
    pub created: Timestamp,
}
