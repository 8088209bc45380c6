//! One worker: owns one attempt from its start to its report.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus};
use bindery_datastore::{CommitError, Datastore, Expect, Lease, NewEvent, Table};
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    executor::{AttemptReport, AttemptUpdate, Executor, UpdateSink, WorkOrder},
    progress::{Live, LiveTable},
    records::{AttemptRecord, ExecutionRecord, ProblemRecord, UsageRecord},
    store::{ExecutionStore, StoreError, encode, execution_key, job_key},
};

/// Shortest time between two progress events of one execution: 20 a second are more than a
/// person can see, and bound what a chatty task can put into the journal.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);
/// Smallest step of progress that is worth an event.
const PROGRESS_STEP: f32 = 0.005;

/// What a worker tells the dispatcher's loop, once.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) execution: ExecutionId,
    pub(crate) lease: Lease,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    /// The attempt ran; the record as it stands in the store, and the report.
    Ended {
        record: Box<ExecutionRecord>,
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
    pub(crate) finished: mpsc::Sender<Finished>,
}

impl Worker {
    pub(crate) async fn run(self, order: WorkOrder, lease: Lease) {
        let execution = order.execution;
        let finished = self.finished.clone();
        let live = self.live.clone();
        let outcome = match self.begin(&order).await {
            Ok(Some(record)) => {
                let order = WorkOrder {
                    record: record.clone(),
                    ..order
                };
                let report = self.attempt(order).await;
                Outcome::Ended {
                    record: Box::new(record),
                    report: Box::new(report),
                }
            }
            Ok(None) => Outcome::Stale,
            Err(error) => Outcome::NotBegun(error),
        };
        live.remove(execution);
        // The loop outlives its workers; when it is gone the process is ending.
        let _closed = finished
            .send(Finished {
                execution,
                lease,
                outcome,
            })
            .await;
    }

    /// Commits the start. None when the execution has ended meanwhile.
    async fn begin(&self, order: &WorkOrder) -> Result<Option<ExecutionRecord>, String> {
        // A conflict means that the record changed under us, by a cancellation: once is enough.
        for _ in 0..3 {
            match self.try_begin(order).await {
                Ok(begun) => return Ok(begun),
                Err(BeginError::Commit(CommitError::Conflict { .. })) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the record keeps changing".to_owned())
    }

    async fn try_begin(&self, order: &WorkOrder) -> Result<Option<ExecutionRecord>, BeginError> {
        let Some(before) = self.store.execution_bytes(order.execution)? else {
            return Ok(None);
        };
        let mut record: ExecutionRecord = crate::store::decode("execution", &before)?;
        if record
            .status
            .parse::<ExecutionStatus>()
            .is_ok_and(ExecutionStatus::is_terminal)
        {
            return Ok(None);
        }
        let now = Timestamp::now();
        let lost = close_lost_attempts(&mut record, now);
        record.attempts.push(AttemptRecord {
            number: order.attempt,
            started: now,
            finished: None,
            ending: None,
            problem: None,
            usage: UsageRecord::default(),
        });
        record.status = ExecutionStatus::Running.as_str().to_owned();
        record.started.get_or_insert(now);
        let mut transaction = self
            .store
            .transaction()
            .check(
                Table::EXECUTIONS,
                execution_key(order.execution),
                Expect::Equals(before),
            )
            .put(
                Table::EXECUTIONS,
                execution_key(order.execution),
                encode("execution", &record)?,
            )
            .event(NewEvent::new(
                "execution.started",
                topics(&record),
                json!({
                    "execution_id": record.id,
                    "job_id": record.job_id,
                    "task": record.task,
                    "status": record.status,
                    "attempt": order.attempt,
                    "previous_attempt_lost": lost,
                }),
            ));
        if let Ok(job) = record.job_id.parse()
            && let Some(mut job_record) = self.store.job(job)?
        {
            job_record.status.clone_from(&record.status);
            transaction = transaction
                .put(Table::JOBS, job_key(job), encode("job", &job_record)?)
                .event(NewEvent::new(
                    "job.updated",
                    topics(&record),
                    json!({ "job_id": record.job_id, "status": record.status }),
                ));
        }
        self.datastore.commit(transaction).await?;
        Ok(Some(record))
    }

    async fn attempt(&self, order: WorkOrder) -> AttemptReport {
        let execution = order.execution;
        self.live.set(execution, Live::default());
        let sink = Sink::default();
        let stop = CancellationToken::new();
        let teller = Teller {
            store: self.store.clone(),
            datastore: Arc::clone(&self.datastore),
            live: self.live.clone(),
            execution,
            job_id: order.record.job_id.clone(),
            topics: topics(&order.record),
            attempt: order.attempt,
            sink: sink.clone(),
            stop: stop.clone(),
        };
        let telling = tokio::spawn(teller.run());
        let report = self.executor.run(order, &sink, self.cancel.clone()).await;
        stop.cancel();
        // No progress may be told after the end.
        let _ended = telling.await;
        report
    }
}

/// Ends attempts that a dead host left open. True when there was one.
fn close_lost_attempts(record: &mut ExecutionRecord, now: Timestamp) -> bool {
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
