//! One worker: owns one attempt from its start to its report.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus, OrgId};
use bindery_datastore::{CommitError, Datastore, Expect, Lease, NewEvent, Table};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    event_loop::{Report, has_ended},
    executor::{AttemptReport, AttemptUpdate, Executor, UpdateSink, WorkOrder},
    job_index::put_job,
    progress::{Live, LiveTable},
    records::{AttemptRecord, ExecutionRecord, ProblemRecord, UsageRecord},
    store::{ExecutionStore, StoreError, decode, encode, execution_key},
    transactions::started_event,
};

/// Shortest time between two progress events of one execution: 20 a second are more than a
/// person can see, and bound what a chatty task can put into the journal.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Smallest step of progress that is worth an event.
const PROGRESS_STEP: f32 = 0.005;

/// Work that has ended by then is told with its end, in one commit: a start that nobody could
/// have seen is not worth a write of its own.
const QUICK: Duration = Duration::from_millis(2);

/// What a worker tells the dispatcher's loop, once.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) execution: ExecutionId,
    pub(crate) org: OrgId,
    pub(crate) lease: Lease,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// The attempt ran.
    Ended {
        /// With the attempt open.
        record: Box<ExecutionRecord>,
        /// The record as it is stored.
        before: Bytes,
        /// Present when the start was not committed: whether the attempt before was lost.
        untold: Option<bool>,
        report: Box<AttemptReport>,
    },
    /// The execution had ended before this attempt began (cancelled while queued): only the
    /// queue entry is left to remove.
    Stale,
    /// The attempt could not be begun; the entry goes back to the queue.
    NotBegun(String),
}

/// What a worker needs; made by the loop.
pub(crate) struct Worker {
    pub(crate) store: ExecutionStore,
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) live: LiveTable,
    pub(crate) cancel: CancellationToken,
    /// To the loop; one message, then closed.
    pub(crate) finished: mpsc::Sender<Report>,
}

impl Worker {
    /// Makes the attempt that is open in the order's record. `before`: the record as it is
    /// stored; `lost`: whether the attempt before it was.
    pub(crate) async fn run(self, order: WorkOrder, lease: Lease, before: Bytes, lost: bool) {
        let (execution, org) = (order.execution, order.org);
        self.live.set(execution, Live::default());
        let outcome = self.attempt(order, before, lost).await;
        self.live.remove(execution);
        // The loop outlives its workers; when it is gone the process is ending.
        let _closed = self
            .finished
            .send(Report::Finished(Box::new(Finished {
                execution,
                org,
                lease,
                outcome,
            })))
            .await;
    }

    async fn attempt(&self, order: WorkOrder, before: Bytes, lost: bool) -> Outcome {
        let (execution, record) = (order.execution, order.record.clone());
        let sink = Sink::default();
        let mut work = self.executor.run(order, &sink, self.cancel.clone());
        if let Ok(report) = tokio::time::timeout(QUICK, &mut work).await {
            return Outcome::Ended {
                record: Box::new(record),
                before,
                untold: Some(lost),
                report: Box::new(report),
            };
        }
        // It takes its time: people want to know that it has begun. Meanwhile it goes on.
        let mut report = None;
        let begun = {
            let mut begin = pin!(self.begin(execution, record, before, lost));
            loop {
                tokio::select! {
                    begun = &mut begin => break begun,
                    early = &mut work, if report.is_none() => report = Some(early),
                }
            }
        };
        let (record, before) = match begun {
            Ok(Some(begun)) => begun,
            not => {
                self.cancel.cancel();
                if report.is_none() {
                    work.await;
                }
                return match not {
                    Err(fault) => Outcome::NotBegun(fault),
                    Ok(_) => Outcome::Stale,
                };
            }
        };
        let stop = CancellationToken::new();
        let teller = Teller {
            store: self.store.clone(),
            datastore: Arc::clone(&self.datastore),
            live: self.live.clone(),
            execution,
            job_id: record.job_id.clone(),
            topics: topics(&record),
            attempt: u32::try_from(record.attempts.len()).unwrap_or(u32::MAX),
            sink: sink.clone(),
            stop: stop.clone(),
        };
        let telling = tokio::spawn(teller.run());
        let report = match report {
            Some(report) => report,
            None => work.await,
        };
        stop.cancel();
        // No progress may be told after the end.
        let _ended = telling.await;
        Outcome::Ended {
            record: Box::new(record),
            before,
            untold: None,
            report: Box::new(report),
        }
    }

    /// Commits the start, and returns the record and how it is stored now. None when the
    /// execution has ended meanwhile.
    async fn begin(
        &self,
        execution: ExecutionId,
        mut record: ExecutionRecord,
        mut before: Bytes,
        mut lost: bool,
    ) -> Result<Option<(ExecutionRecord, Bytes)>, String> {
        // A conflict means that the record changed under us, by a cancellation: once is enough.
        for _ in 0..3 {
            match self.try_begin(execution, &record, &before, lost).await {
                Ok(after) => return Ok(Some((record, after))),
                Err(BeginError::Commit(CommitError::Conflict { .. })) => {
                    let now = self
                        .store
                        .execution_bytes(execution)
                        .map_err(|error| error.to_string())?;
                    let Some(now) = now else {
                        return Ok(None);
                    };
                    record = decode("execution", &now).map_err(|error| error.to_string())?;
                    if has_ended(&record) {
                        return Ok(None);
                    }
                    lost = open_attempt(&mut record, Timestamp::now());
                    before = now;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the record keeps changing".to_owned())
    }

    async fn try_begin(
        &self,
        execution: ExecutionId,
        record: &ExecutionRecord,
        before: &Bytes,
        lost: bool,
    ) -> Result<Bytes, BeginError> {
        let after = encode("execution", record)?;
        let key = execution_key(execution);
        let mut transaction = self
            .store
            .transaction()
            .check(
                Table::EXECUTIONS,
                key.clone(),
                Expect::Equals(before.clone()),
            )
            .put(Table::EXECUTIONS, key, after.clone())
            .event(started_event(record, lost));
        if let Ok(job) = record.job_id.parse()
            && let Some(mut job_record) = self.store.job(job)?
        {
            let before = std::mem::replace(&mut job_record.status, record.status.clone());
            transaction =
                put_job(transaction, job, &job_record, Some(&before))?.event(NewEvent::new(
                    "job.updated",
                    topics(record),
                    json!({ "job_id": record.job_id, "status": record.status }),
                ));
        }
        self.datastore.commit(transaction).await?;
        Ok(after)
    }
}

/// Puts a new attempt into a record, which runs from now on, and ends those that a dead host left
/// open. True when there was one.
pub(crate) fn open_attempt(record: &mut ExecutionRecord, now: Timestamp) -> bool {
    let mut lost = false;
    for attempt in record
        .attempts
        .iter_mut()
        .filter(|attempt| attempt.ending.is_none())
    {
        lost = true;
        attempt.finished = Some(now);
        attempt.ending = Some(AttemptEnding::Lost.as_str().to_owned());
        attempt.problem = Some(ProblemRecord {
            code: AttemptEnding::Lost.as_str().to_owned(),
            message: "the host that ran this attempt stopped".to_owned(),
            detail: String::new(),
            violations: Vec::new(),
        });
    }
    record.attempts.push(AttemptRecord {
        number: u32::try_from(record.attempts.len() + 1).unwrap_or(u32::MAX),
        started: now,
        finished: None,
        ending: None,
        problem: None,
        usage: UsageRecord::default(),
    });
    ExecutionStatus::Running
        .as_str()
        .clone_into(&mut record.status);
    record.started.get_or_insert(now);
    lost
}

pub(crate) fn topics(record: &ExecutionRecord) -> Vec<String> {
    vec![
        format!("execution:{}", record.id),
        format!("job:{}", record.job_id),
        "org".to_owned(),
    ]
}

#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Read(#[from] bindery_datastore::ReadError),
}

/// The last value of each kind of update, and a bell.
#[derive(Clone, Default)]
struct Sink {
    live: Arc<Mutex<Live>>,
    bell: Arc<Notify>,
}

impl UpdateSink for Sink {
    fn update(&self, update: AttemptUpdate) {
        {
            let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
            match update {
                AttemptUpdate::Progress { done, stage } => {
                    if done.is_finite() {
                        live.done = live.done.max(done.clamp(0.0, 1.0));
                    }
                    live.stage = stage;
                }
                AttemptUpdate::Log { size_bytes } => live.log_bytes = size_bytes,
            }
        }
        self.bell.notify_one();
    }
}

/// Turns updates into events: coalesced, and at most one every `PROGRESS_INTERVAL`.
struct Teller {
    store: ExecutionStore,
    datastore: Arc<dyn Datastore>,
    live: LiveTable,
    execution: ExecutionId,
    job_id: String,
    topics: Vec<String>,
    attempt: u32,
    sink: Sink,
    stop: CancellationToken,
}

impl Teller {
    async fn run(self) {
        let mut told = Live::default();
        loop {
            let stopping = tokio::select! {
                () = self.sink.bell.notified() => false,
                () = self.stop.cancelled() => true,
            };
            let now = self
                .sink
                .live
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            self.live.set(self.execution, now.clone());
            let moved = now.done - told.done >= PROGRESS_STEP
                || (now.done >= 1.0 && told.done < 1.0)
                || now.stage != told.stage;
            if moved || now.log_bytes != told.log_bytes {
                self.tell(&now, moved, now.log_bytes != told.log_bytes)
                    .await;
                told = now;
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PROGRESS_INTERVAL) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    async fn tell(&self, live: &Live, moved: bool, logged: bool) {
        let mut transaction = self.store.transaction();
        if moved {
            transaction = transaction.event(NewEvent::new(
                "execution.progress",
                self.topics.clone(),
                json!({
                    "execution_id": self.execution.to_string(),
                    "job_id": self.job_id,
                    "attempt": self.attempt,
                    "progress": round(live.done),
                    "stage": live.stage,
                }),
            ));
        }
        if logged {
            transaction = transaction.event(NewEvent::new(
                "execution.log",
                self.topics.clone(),
                json!({
                    "execution_id": self.execution.to_string(),
                    "job_id": self.job_id,
                    "size_bytes": live.log_bytes,
                }),
            ));
        }
        if let Err(error) = self.datastore.commit(transaction).await {
            tracing::warn!(execution = %self.execution, %error, "progress not told");
        }
    }
}

/// Three digits are more than a progress bar shows, and keep events short.
fn round(done: f32) -> f64 {
    (f64::from(done) * 1000.0).round() / 1000.0
}
