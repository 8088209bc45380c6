//! Jobs: one submission each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ExecutionStatusDocument, ExecutionSummary, Results};

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobSummary {
    pub id: String,
    pub task: String,
    pub task_version: String,
    pub status: String,
    pub labels: BTreeMap<String, String>,
    /// Ids of its executions.
    pub executions: Vec<String>,
    #[schema(format = DateTime)]
    pub created: String,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
}

/// A page of jobs, newest first. A page of a filtered list may be short, or even empty, without
/// being the last: `next_cursor` tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    pub items: Vec<JobSummary>,
    pub next_cursor: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: String,
    pub task: String,
    pub task_version: String,
    pub status: String,
    pub labels: BTreeMap<String, String>,
    pub executions: Vec<ExecutionSummary>,
    #[schema(format = DateTime)]
    pub created: String,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobStatusDocument {
    pub job_id: String,
    pub status: String,
    /// 0..=1 over all its executions.
    pub progress: Option<f64>,
    /// Number of executions by status.
    pub counts: BTreeMap<String, u64>,
    pub executions: Vec<ExecutionStatusDocument>,
    #[schema(format = DateTime)]
    pub created: String,
    #[schema(format = DateTime)]
    pub finished: Option<String>,
}

/// Results of all executions of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobResults {
    pub job_id: String,
    pub status: String,
    pub items: Vec<Results>,
    pub next_cursor: Option<String>,
}
