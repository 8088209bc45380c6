//! What a client sees of stored records.

use std::collections::BTreeMap;

use bindery_api_types as dto;
use bindery_blobs::Blobs;
use bindery_core::{Digest, ExecutionStatus};
use bindery_dispatcher::{
    ExecutionStore, Live, StoreError,
    records::{
        ArtifactRecord, AttemptRecord, ExecutionRecord, InputRecord, JobRecord, NoticeRecord,
        ProblemRecord, ReceiptRecord, ResultRecord, SandboxRecord, UsageRecord,
    },
};
use bindery_executor::{FaultRecord, FileRecord, InspectionRecord};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::Problem;

/// A document cannot be made of what is stored.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("result of {execution} cannot be read: {fault}")]
    Damaged { execution: String, fault: String },
}

impl From<DocumentError> for Problem {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Store(error) => error.into(),
            damaged => Self::internal(damaged.to_string()),
        }
    }
}

/// The results document: the host's frame around what the plugin gave. With a record that has
/// not ended it has no output.
///
/// # Errors
/// When the stored result cannot be read.
pub async fn results(
    store: &ExecutionStore,
    blobs: &Blobs,
    record: ExecutionRecord,
) -> Result<dto::Results, DocumentError> {
    let damaged = |fault: String| DocumentError::Damaged {
        execution: record.id.clone(),
        fault,
    };
    let id = record
        .id
        .parse()
        .map_err(|error| damaged(format!("{error}")))?;
    let reader = store.clone();
    let result = tokio::task::spawn_blocking(move || reader.result(id))
        .await
        .map_err(|error| damaged(error.to_string()))??;
    let body = match &result {
        None => Value::Null,
        Some(ResultRecord {
            body: Some(body), ..
        }) => body.clone(),
        Some(ResultRecord {
            body_blob: Some(digest),
            ..
        }) => read_body(blobs, digest).await.map_err(damaged)?,
        Some(_) => return Err(damaged("neither a body nor a blob".to_owned())),
    };
    Ok(frame(record, result, body))
}

async fn read_body(blobs: &Blobs, digest: &str) -> Result<Value, String> {
    let digest: Digest = digest.parse().map_err(|error| format!("{error}"))?;
    let reader = blobs
        .get(&digest, None)
        .await
        .map_err(|error| error.to_string())?;
    let bytes = reader.bytes().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn frame(record: ExecutionRecord, result: Option<ResultRecord>, body: Value) -> dto::Results {
    let mut body = match body {
        Value::Object(body) => body,
        _ => Map::new(),
    };
    let mut take = |name: &str| body.shift_remove(name).unwrap_or(Value::Null);
    let used = result
        .as_ref()
        .map_or_else(|| last_usage(&record), |result| result.usage);
    let (metrics, metric_info) = metrics(&take("metrics"), used);
    let list = |value: Value| if value.is_array() { value } else { json!([]) };
    let (receipts, artifacts) = result
        .map(|result| (result.receipts, result.artifacts))
        .unwrap_or_default();
    dto::Results {
        output: take("output"),
        confidence: take("confidence").as_f64(),
        metrics,
        metric_info,
        views: list(take("views")),
        notices: list(take("notices")),
        receipts: receipts.into_iter().map(receipt).collect(),
        artifacts: artifacts.into_iter().map(artifact).collect(),
        engines: record.engines.into_iter().map(engine).collect(),
        sandbox: record.sandbox.map(sandbox),
        cache: "miss".to_owned(),
        parameters: record.parameters,
        inputs: record.inputs.into_iter().map(input).collect(),
        seed: record.seed,
        problem: record.problem.map(failure),
        execution_id: record.id,
        job_id: record.job_id,
        task: record.task,
        task_version: record.task_version,
        status: record.status,
    }
}

fn last_usage(record: &ExecutionRecord) -> UsageRecord {
    record
        .attempts
        .last()
        .map(|attempt| attempt.usage)
        .unwrap_or_default()
}

/// Numbers by name, and what is to be known of the task's. The host's names are the host's.
fn metrics(given: &Value, used: UsageRecord) -> (Value, Value) {
    let mut numbers = Map::new();
    let mut info = Map::new();
    for metric in given.as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (
            metric.get("name").and_then(Value::as_str),
            metric.get("value"),
        ) {
            numbers.insert(name.to_owned(), value.clone());
            let known = json!({ "unit": metric.get("unit"), "better": metric.get("better") });
            info.insert(name.to_owned(), known);
        }
    }
    let used = usage(used);
    numbers.insert("wall_seconds".to_owned(), json!(used.wall_seconds));
    numbers.insert("cpu_seconds".to_owned(), json!(used.cpu_seconds));
    numbers.insert(
        "peak_memory_bytes".to_owned(),
        json!(used.peak_memory_bytes),
    );
    (Value::Object(numbers), Value::Object(info))
}

/// One execution, with what it is doing now.
#[must_use]
pub fn execution(record: ExecutionRecord, live: Option<&Live>) -> dto::Execution {
    dto::Execution {
        summary: execution_summary(&record),
        progress: progress(&record.status, live),
        stage: live.map(|live| live.stage.clone()),
        plugin: record.plugin,
        parameters: record.parameters,
        inputs: record.inputs.into_iter().map(input).collect(),
        seed: record.seed,
        priority: record.priority,
        notices: record.notices.into_iter().map(notice).collect(),
        attempts: record.attempts.into_iter().map(attempt).collect(),
        engines: record.engines.into_iter().map(engine).collect(),
        sandbox: record.sandbox.map(sandbox),
        problem: record.problem.map(failure),
    }
}

#[must_use]
pub fn execution_summary(record: &ExecutionRecord) -> dto::ExecutionSummary {
    dto::ExecutionSummary {
        id: record.id.clone(),
        job_id: record.job_id.clone(),
        task: record.task.clone(),
        task_version: record.task_version.clone(),
        status: record.status.clone(),
        labels: record.labels.clone(),
        created: time(record.created),
        started: record.started.map(time),
        finished: record.finished.map(time),
    }
}

/// Where an execution is. `queue_position` counts from 1.
#[must_use]
pub fn execution_status(
    record: ExecutionRecord,
    live: Option<&Live>,
    queue_position: Option<u64>,
) -> dto::ExecutionStatusDocument {
    dto::ExecutionStatusDocument {
        progress: progress(&record.status, live),
        stage: live.map(|live| live.stage.clone()),
        queue_position,
        attempt: u32::try_from(record.attempts.len()).unwrap_or(u32::MAX),
        log_bytes: live.map(|live| live.log_bytes),
        created: time(record.created),
        started: record.started.map(time),
        finished: record.finished.map(time),
        problem: record.problem.map(failure),
        execution_id: record.id,
        job_id: record.job_id,
        status: record.status,
    }
}

/// Three digits are more than a progress bar shows.
fn progress(status: &str, live: Option<&Live>) -> Option<f64> {
    if status == ExecutionStatus::Succeeded.as_str() {
        return Some(1.0);
    }
    live.map(|live| (f64::from(live.done) * 1000.0).round() / 1000.0)
}

#[must_use]
pub fn job_summary(record: JobRecord) -> dto::JobSummary {
    dto::JobSummary {
        id: record.id,
        task: record.task,
        task_version: record.task_version,
        status: record.status,
        labels: record.labels,
        executions: record.executions,
        created: time(record.created),
        finished: record.finished.map(time),
    }
}

#[must_use]
pub fn job(record: JobRecord, executions: &[ExecutionRecord]) -> dto::Job {
    dto::Job {
        id: record.id,
        task: record.task,
        task_version: record.task_version,
        status: record.status,
        labels: record.labels,
        executions: executions.iter().map(execution_summary).collect(),
        created: time(record.created),
        finished: record.finished.map(time),
    }
}

#[must_use]
pub fn job_status(
    record: JobRecord,
    executions: Vec<dto::ExecutionStatusDocument>,
) -> dto::JobStatusDocument {
    let mut counts = BTreeMap::new();
    for execution in &executions {
        *counts.entry(execution.status.clone()).or_default() += 1;
    }
    let begun = executions
        .iter()
        .any(|execution| execution.progress.is_some());
    #[expect(clippy::cast_precision_loss, reason = "a job's executions are few")]
    let progress = begun.then(|| {
        executions
            .iter()
            .filter_map(|execution| execution.progress)
            .sum::<f64>()
            / executions.len().max(1) as f64
    });
    dto::JobStatusDocument {
        job_id: record.id,
        status: record.status,
        progress,
        counts,
        executions,
        created: time(record.created),
        finished: record.finished.map(time),
    }
}

#[must_use]
pub fn artifact(record: ArtifactRecord) -> dto::Artifact {
    dto::Artifact {
        href: format!("/api/v1/artifacts/{}", record.id),
        name: record.name,
        id: record.id,
        title: record.title,
        media_type: record.media_type,
        size: record.size_bytes,
        digest: record.digest,
    }
}

#[must_use]
pub fn file(record: FileRecord) -> dto::FileInfo {
    dto::FileInfo {
        format: recognised(&record).then(|| record.media_type.clone()),
        id: record.id,
        name: record.name,
        media_type: record.media_type,
        encoding: record.encoding,
        size: record.size_bytes,
        digest: record.digest,
        created: time(record.created),
        inspection: record.inspection.map(inspection),
        faults: record.faults.into_iter().map(file_problem).collect(),
    }
}

/// Whether a plugin said what the file is: then it has looked into it, or refused it.
pub(crate) fn recognised(record: &FileRecord) -> bool {
    record.inspection.is_some() || !record.faults.is_empty()
}

/// A file as an item of a collection, with the plugin's details beside the host's fields.
#[must_use]
pub fn collection_item(record: FileRecord) -> dto::CollectionItem {
    let inspection = record.inspection.map(inspection);
    let (records, bad_records, details, warnings) = inspection.map_or_else(
        || (0, 0, json!({}), Vec::new()),
        |found| {
            (
                found.records,
                found.bad_records,
                found.details,
                found.warnings,
            )
        },
    );
    const OWN: [&str; 11] = [
        "id",
        "name",
        "format",
        "encoding",
        "size",
        "digest",
        "created",
        "records",
        "bad_records",
        "warnings",
        "details",
    ];
    let extra = details
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    dto::CollectionItem {
        id: record.id,
        name: record.name,
        format: record.media_type,
        encoding: record.encoding,
        size: record.size_bytes,
        digest: record.digest,
        created: time(record.created),
        records,
        bad_records,
        warnings,
        details,
        extra,
    }
}

fn inspection(record: InspectionRecord) -> dto::Inspection {
    dto::Inspection {
        records: record.records,
        bad_records: record.bad_records,
        details: record.details,
        warnings: record.warnings.into_iter().map(file_problem).collect(),
    }
}

fn file_problem(record: FaultRecord) -> dto::FileProblem {
    dto::FileProblem {
        code: record.code,
        message: record.message,
        line: record.line,
        record: record.record,
    }
}

fn attempt(record: AttemptRecord) -> dto::Attempt {
    dto::Attempt {
        number: record.number,
        started: time(record.started),
        finished: record.finished.map(time),
        ending: record.ending,
        problem: record.problem.map(failure),
        usage: usage(record.usage),
    }
}

fn usage(record: UsageRecord) -> dto::Usage {
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 ms")]
    let seconds = |ms: u64| ms as f64 / 1000.0;
    dto::Usage {
        wall_seconds: seconds(record.wall_ms),
        cpu_seconds: seconds(record.cpu_ms),
        peak_memory_bytes: record.peak_memory_bytes,
    }
}

fn failure(record: ProblemRecord) -> dto::Failure {
    dto::Failure {
        code: record.code,
        message: record.message,
        detail: record.detail,
        violations: record
            .violations
            .into_iter()
            .map(|violation| dto::Violation {
                pointer: violation.pointer,
                code: violation.code,
                message: violation.message,
            })
            .collect(),
    }
}

fn receipt(record: ReceiptRecord) -> dto::Receipt {
    dto::Receipt {
        phase: record.phase,
        wall_us: record.wall_us,
        cpu_us: record.cpu_us,
        peak_memory_bytes: record.peak_memory_bytes,
        bytes_in: record.bytes_in,
        bytes_out: record.bytes_out,
        fresh: record.fresh,
        digest: record.digest,
    }
}

fn input(record: InputRecord) -> dto::InputFile {
    dto::InputFile {
        slot: record.slot,
        file_id: record.file_id,
        name: record.name,
        media_type: record.media_type,
        size: record.size_bytes,
        digest: record.digest,
    }
}

fn notice(record: NoticeRecord) -> dto::Notice {
    dto::Notice {
        severity: record.severity,
        code: record.code,
        message: record.message,
    }
}

fn engine(record: bindery_dispatcher::records::EngineRecord) -> dto::EngineUsed {
    dto::EngineUsed {
        name: record.name,
        version: record.version,
    }
}

fn sandbox(record: SandboxRecord) -> dto::Sandbox {
    dto::Sandbox {
        level: record.level,
        layers: record.layers,
        landlock_abi: record.landlock_abi,
    }
}

/// RFC 3339, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_string()
}
