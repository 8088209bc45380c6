//! What is committed when an execution is taken, tried again, or ends: its record, its job, its
//! result and its events, always together.

use std::time::Duration;

use bindery_core::{ExecutionId, ExecutionStatus, JobId};
use bindery_datastore::{Expect, Lease, NewEvent, QueueEntry, Table, Transaction};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    dispatcher::{QUEUE, Submission},
    executor::ResultBody,
    job_index::put_job,
    records::{
        ArtifactRecord, ExecutionRecord, IdempotencyRecord, JobRecord, ProblemRecord,
        RECORD_VERSION, ResultRecord,
    },
    store::{ExecutionStore, StoreError, artifact_key, encode, execution_key, job_key},
    worker::topics,
};

pub(crate) fn submission_transaction(
    store: &ExecutionStore,
    job: JobId,
    execution: ExecutionId,
    submission: &Submission,
) -> Result<Transaction, StoreError> {
    let now = Timestamp::now();
    let status = ExecutionStatus::Queued.as_str().to_owned();
    let record = ExecutionRecord {
        v: RECORD_VERSION,
        id: execution.to_string(),
        job_id: job.to_string(),
        task: submission.task.clone(),
        task_version: submission.task_version.clone(),
        plugin: submission.plugin.clone(),
        parameters: submission.parameters.clone(),
        inputs: submission.inputs.clone(),
        seed: submission.seed,
        resources: submission.resources,
        priority: submission.priority,
        labels: submission.labels.clone(),
        notices: submission.notices.clone(),
        status: status.clone(),
        created: now,
        started: None,
        finished: None,
        attempts: Vec::new(),
        problem: None,
        engines: Vec::new(),
        sandbox: None,
    };
    let job_record = JobRecord {
        v: RECORD_VERSION,
        id: job.to_string(),
        task: submission.task.clone(),
        task_version: submission.task_version.clone(),
        status: status.clone(),
        labels: submission.labels.clone(),
        executions: vec![execution.to_string()],
        created: now,
        finished: None,
    };
    let mut transaction = store.transaction().event(NewEvent::new(
        "job.created",
        topics(&record),
        json!({
            "job_id": record.job_id,
            "task": record.task,
            "task_version": record.task_version,
            "status": status,
            "executions": [record.id],
            "labels": record.labels,
        }),
    ));
    transaction = queued(transaction, execution, &record)?;
    transaction = put_job(transaction, job, &job_record, None)?;
    if let Some((key, fingerprint)) = &submission.idempotency {
        let idempotency = IdempotencyRecord {
            v: RECORD_VERSION,
            fingerprint: fingerprint.clone(),
            job_id: record.job_id,
            execution_id: record.id,
            created: now,
        };
        transaction = transaction
            .check(Table::IDEMPOTENCY, key.clone().into_bytes(), Expect::Absent)
            .put(
                Table::IDEMPOTENCY,
                key.clone().into_bytes(),
                encode("idempotency key", &idempotency)?,
            );
    }
    Ok(transaction)
}

/// Adds a new execution: its record, its place in the queue, and the word of it.
fn queued(
    transaction: Transaction,
    execution: ExecutionId,
    record: &ExecutionRecord,
) -> Result<Transaction, StoreError> {
    Ok(transaction
        .put(
            Table::EXECUTIONS,
            execution_key(execution),
            encode("execution", record)?,
        )
        .enqueue(QueueEntry::new(QUEUE, execution.as_bytes().to_vec()).priority(record.priority))
        .event(NewEvent::new(
            "execution.queued",
            topics(record),
            json!({
                "execution_id": record.id,
                "job_id": record.job_id,
                "task": record.task,
                "status": record.status,
            }),
        )))
}

/// A new execution of a job that has ended. `job` with how it is stored.
pub(crate) fn again_transaction(
    store: &ExecutionStore,
    (job, before, mut job_record): (JobId, Bytes, JobRecord),
    execution: ExecutionId,
    last: ExecutionRecord,
) -> Result<Transaction, StoreError> {
    let status = ExecutionStatus::Queued.as_str().to_owned();
    let record = ExecutionRecord {
        id: execution.to_string(),
        status: status.clone(),
        created: Timestamp::now(),
        started: None,
        finished: None,
        attempts: Vec::new(),
        problem: None,
        engines: Vec::new(),
        sandbox: None,
        ..last
    };
    let status_before = std::mem::replace(&mut job_record.status, status.clone());
    job_record.finished = None;
    job_record.executions.push(record.id.clone());
    let transaction = store
        .transaction()
        .check(Table::JOBS, job_key(job), Expect::Equals(before))
        .event(NewEvent::new(
            "job.updated",
            topics(&record),
            json!({
                "job_id": record.job_id,
                "status": status,
                "executions": job_record.executions,
            }),
        ));
    let transaction = queued(transaction, execution, &record)?;
    put_job(transaction, job, &job_record, Some(&status_before))
}

pub(crate) fn end_record(
    record: &mut ExecutionRecord,
    status: ExecutionStatus,
    now: Timestamp,
    problem: Option<ProblemRecord>,
) {
    status.as_str().clone_into(&mut record.status);
    record.finished = Some(now);
    record.problem = problem;
}

/// Everything that changes when an execution ends: its record, its job, its result, its events.
pub(crate) fn ending_transaction(
    begun: Transaction,
    store: &ExecutionStore,
    execution: ExecutionId,
    record: &ExecutionRecord,
    result: Option<&ResultRecord>,
    now: Timestamp,
) -> Result<Transaction, StoreError> {
    let mut transaction = begun
        .put(
            Table::EXECUTIONS,
            execution_key(execution),
            encode("execution", record)?,
        )
        .event(NewEvent::new(
            "execution.finished",
            topics(record),
            json!({
                "execution_id": record.id,
                "job_id": record.job_id,
                "task": record.task,
                "status": record.status,
                "problem": record.problem,
            }),
        ));
    if let Some(result) = result {
        transaction = transaction.put(
            Table::RESULTS,
            execution_key(execution),
            encode("result", result)?,
        );
        for artifact in &result.artifacts {
            if let Ok(id) = artifact.id.parse() {
                transaction = transaction.put(
                    Table::ARTIFACTS,
                    artifact_key(id),
                    encode("artifact", artifact)?,
                );
            }
        }
    }
    if let Ok(job) = record.job_id.parse()
        && let Some(mut job_record) = store.job(job)?
    {
        let before = std::mem::replace(&mut job_record.status, record.status.clone());
        job_record.finished = Some(now);
        transaction = put_job(transaction, job, &job_record, Some(&before))?.event(NewEvent::new(
            "job.finished",
            topics(record),
            json!({ "job_id": record.job_id, "status": record.status }),
        ));
    }
    Ok(transaction)
}

pub(crate) fn retry_transaction(
    begun: Transaction,
    execution: ExecutionId,
    record: &ExecutionRecord,
    lease: &Lease,
    wait: Duration,
) -> Result<Transaction, StoreError> {
    Ok(begun
        .put(
            Table::EXECUTIONS,
            execution_key(execution),
            encode("execution", record)?,
        )
        .enqueue(
            QueueEntry::new(QUEUE, execution.as_bytes().to_vec())
                .priority(lease.priority)
                .attempt(lease.attempt)
                .available(after(wait)),
        )
        .event(NewEvent::new(
            "execution.queued",
            topics(record),
            json!({
                "execution_id": record.id,
                "job_id": record.job_id,
                "task": record.task,
                "status": record.status,
                "retry_of_attempt": record.attempts.len(),
            }),
        )))
}

/// What is told when an attempt begins. `previous_lost`: the host of the one before it died.
pub(crate) fn started_event(record: &ExecutionRecord, previous_lost: bool) -> NewEvent {
    NewEvent::new(
        "execution.started",
        topics(record),
        json!({
            "execution_id": record.id,
            "job_id": record.job_id,
            "task": record.task,
            "status": ExecutionStatus::Running.as_str(),
            "attempt": record.attempts.len(),
            "previous_attempt_lost": previous_lost,
        }),
    )
}

pub(crate) fn result_record(
    record: &ExecutionRecord,
    report: &crate::executor::AttemptReport,
    now: Timestamp,
) -> ResultRecord {
    let (body, body_blob) = match &report.body {
        Some(ResultBody::Inline(body)) => (Some(body.clone()), None),
        Some(ResultBody::Blob(digest)) => (None, Some(digest.to_string())),
        None => (None, None),
    };
    ResultRecord {
        v: RECORD_VERSION,
        execution_id: record.id.clone(),
        usage: report.usage,
        receipts: report.receipts.clone(),
        body,
        body_blob,
        artifacts: report
            .artifacts
            .iter()
            .map(|artifact| ArtifactRecord {
                v: RECORD_VERSION,
                id: bindery_core::ArtifactId::generate().to_string(),
                execution_id: record.id.clone(),
                name: artifact.name.clone(),
                title: artifact.title.clone(),
                media_type: artifact.media_type.clone(),
                size_bytes: artifact.size_bytes,
                digest: artifact.digest.to_string(),
                created: now,
            })
            .collect(),
    }
}

/// A number that nobody can foretell. A v7 id's low bits are random: enough to spread waits.
pub(crate) fn chance() -> u64 {
    let id = ExecutionId::generate();
    let low = id.as_bytes().iter().rev().take(7);
    low.fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
}

pub(crate) fn after(wait: Duration) -> Timestamp {
    let now = Timestamp::now();
    now.checked_add(jiff::SignedDuration::try_from(wait).unwrap_or_default())
        .unwrap_or(now)
}
