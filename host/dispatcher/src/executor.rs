//! The port to whatever does the work.

use async_trait::async_trait;
use bindery_core::{AttemptEnding, Digest, ExecutionId, OrgId};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::records::{
    EngineRecord, ExecutionRecord, ProblemRecord, ReceiptRecord, SandboxRecord, UsageRecord,
};

/// Why an attempt has no result.
pub type Problem = ProblemRecord;

/// One attempt to be made.
#[derive(Debug, Clone)]
pub struct WorkOrder {
    pub org: OrgId,
    pub execution: ExecutionId,
    /// Counted from 1.
    pub attempt: u32,
    pub record: ExecutionRecord,
}

/// What an attempt says while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptUpdate {
    /// Share of the execution that is done (0..=1, never less than before) and what is going on.
    Progress { done: f32, stage: String },
    /// Bytes of the execution's log so far; the log itself is read by range.
    Log { size_bytes: u64 },
}

/// Where an attempt's updates go. Never waits: the last value of each kind wins.
pub trait UpdateSink: Send + Sync {
    fn update(&self, update: AttemptUpdate);
}

/// A file that an attempt made, already stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedArtifact {
    pub name: String,
    pub title: String,
    pub media_type: String,
    pub size_bytes: u64,
    pub digest: Digest,
}

/// The result document's part that the task gave: `output`, `confidence`, `metrics`, `views`,
/// `notices`.
#[derive(Debug, Clone, PartialEq)]
pub enum ResultBody {
    Inline(Value),
    Blob(Digest),
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub struct AttemptReport {
    pub ending: AttemptEnding,
    /// Present unless the ending is `Succeeded` or `Cancelled`.
    pub problem: Option<Problem>,
    /// Present when the ending is `Succeeded`.
    pub body: Option<ResultBody>,
    pub artifacts: Vec<ProducedArtifact>,
    pub usage: UsageRecord,
    pub receipts: Vec<ReceiptRecord>,
    pub engines: Vec<EngineRecord>,
    pub sandbox: Option<SandboxRecord>,
}

/// Does the work of attempts: guests, engines, remote services.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Makes one attempt. Returns only when everything it started is gone, also after `cancel`.
    async fn run(
        &self,
        order: WorkOrder,
        updates: &dyn UpdateSink,
        cancel: CancellationToken,
    ) -> AttemptReport;
}
