//! The handle of the loop: what the rest of the host asks of the dispatcher.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bindery_core::{ExecutionId, ExecutionStatus, JobId, OrgId};
use bindery_datastore::{CommitError, Database, Datastore, Expect, Table};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    bell::Bell,
    event_loop::{Command, EventLoop, WORKER},
    executor::Executor,
    machine::{CancelFound, Rules},
    progress::{Live, LiveTable},
    records::{ExecutionRecord, IdempotencyRecord, InputRecord, NoticeRecord, ResourcesRecord},
    store::{ExecutionStore, StoreError, execution_key},
    transactions::{again_transaction, end_record, ending_transaction, submission_transaction},
    waiting::WaitingTable,
};

/// Queue of executions that wait.
pub(crate) const QUEUE: &str = "executions";
/// Commands in flight; each sender has at most one at a time, so this only has to be no smaller
/// than what keeps senders from waiting in turn.
const INBOX: usize = 1024;

/// A checked request on its way into the queue.
#[derive(Debug, Clone)]
pub struct Submission {
    pub org: OrgId,
    pub task: String,
    pub task_version: String,
    pub plugin: String,
    /// As the task normalised them.
    pub parameters: Value,
    pub inputs: Vec<InputRecord>,
    pub seed: u64,
    pub resources: ResourcesRecord,
    /// Higher first.
    pub priority: u8,
    pub labels: BTreeMap<String, String>,
    pub notices: Vec<NoticeRecord>,
    /// The client's key and a fingerprint of its request.
    pub idempotency: Option<(String, String)>,
}

/// Where a submission went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub job: JobId,
    pub execution: ExecutionId,
    pub status: ExecutionStatus,
    /// The same request had been submitted before, under the same idempotency key.
    pub repeated: bool,
}

/// Why a submission was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// What a cancellation met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It was queued and is cancelled now.
    Now,
    /// It runs; its processes are being stopped, and the status follows when they are gone.
    Stopping,
    /// It had ended before.
    AlreadyEnded(ExecutionStatus),
}

/// Why a cancellation was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CancelError {
    #[error("no such execution")]
    NotFound,
    #[error("the dispatcher has stopped")]
    Stopped,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Why a job is not tried again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    #[error("no such job")]
    NotFound,
    #[error("the job has not ended, it is {0}")]
    NotEnded(String),
    #[error("the job has succeeded")]
    Succeeded,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// Handle of the dispatcher; cheap to clone.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    datastore: Arc<dyn Datastore>,
    live: LiveTable,
    waiting: WaitingTable,
    bell: Arc<Bell>,
    /// To the loop; closed when the last handle is gone.
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Dispatcher {
    /// Takes back what a former host left running, and starts the loop.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn start(
        datastore: Arc<dyn Datastore>,
        executor: Arc<dyn Executor>,
        rules: Rules,
    ) -> Result<Self, CommitError> {
        let taken_back = datastore.release(WORKER).await?;
        if taken_back > 0 {
            tracing::warn!(
                executions = taken_back,
                "taken back from a host that stopped"
            );
        }
        let (commands, inbox) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared {
            datastore: Arc::clone(&datastore),
            live: LiveTable::default(),
            waiting: WaitingTable::default(),
            bell: Arc::new(Bell::default()),
            commands,
            stop: CancellationToken::new(),
            task: std::sync::Mutex::new(None),
        });
        let event_loop = EventLoop::new(
            datastore,
            executor,
            (shared.live.clone(), shared.waiting.clone()),
            Arc::clone(&shared.bell),
            shared.stop.clone(),
            rules,
        );
        let task = tokio::spawn(event_loop.run(inbox));
        if let Ok(mut slot) = shared.task.lock() {
            *slot = Some(task);
        }
        Ok(Self { shared })
    }

    /// Puts an execution into the queue. It is on disk when this returns.
    ///
    /// # Errors
    /// When nothing was taken.
    pub async fn submit(&self, submission: Submission) -> Result<Submitted, SubmitError> {
        let store = self.store(submission.org);
        if let Some((key, fingerprint)) = &submission.idempotency
            && let Some(before) = store.idempotency(key)?
        {
            return repeated(&store, &before, fingerprint);
        }
        let (job, execution) = (JobId::generate(), ExecutionId::generate());
        let transaction = submission_transaction(&store, job, execution, &submission)?;
        match self.shared.datastore.commit(transaction).await {
            Ok(_) => {}
            // Two submissions with the same key at the same time: the other one was first.
            Err(CommitError::Conflict { .. }) => {
                if let Some((key, fingerprint)) = &submission.idempotency
                    && let Some(before) = store.idempotency(key)?
                {
                    return repeated(&store, &before, fingerprint);
                }
                return Err(SubmitError::KeyReused);
            }
            Err(error) => return Err(error.into()),
        }
        self.shared.bell.ring(submission.org, submission.priority);
        Ok(Submitted {
            job,
            execution,
            status: ExecutionStatus::Queued,
            repeated: false,
        })
    }

    /// Cancels an execution at whatever stage it is.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub async fn cancel(
        &self,
        org: OrgId,
        execution: ExecutionId,
    ) -> Result<Cancelled, CancelError> {
        let store = self.store(org);
        // Each round either ends or has lost a race against the loop, which can win only once
        // for the start and once for the end of each attempt.
        const ROUNDS_MAX: usize = 32;
        for _ in 0..ROUNDS_MAX {
            let Some(before) = store.execution_bytes(execution)? else {
                return Err(CancelError::NotFound);
            };
            let mut record: ExecutionRecord = crate::store::decode("execution", before.as_ref())?;
            if let Ok(status) = record.status.parse::<ExecutionStatus>()
                && status.is_terminal()
            {
                return Ok(Cancelled::AlreadyEnded(status));
            }
            let (reply, answer) = oneshot::channel();
            self.shared
                .commands
                .send(Command::Cancel { execution, reply })
                .await
                .map_err(|_| CancelError::Stopped)?;
            if answer.await.map_err(|_| CancelError::Stopped)? == CancelFound::Running {
                return Ok(Cancelled::Stopping);
            }
            let now = Timestamp::now();
            end_record(&mut record, ExecutionStatus::Cancelled, now, None);
            let transaction =
                ending_transaction(store.transaction(), &store, execution, &record, None, now)?
                    .check(
                        Table::EXECUTIONS,
                        execution_key(execution),
                        Expect::Equals(before),
                    );
            match self.shared.datastore.commit(transaction).await {
                Ok(_) => return Ok(Cancelled::Now),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CancelError::Stopped)
    }

    /// Tries a job again that ended without success, by hand: a new execution of the same request,
    /// with the same plugin and seed. The one before stays as it ended.
    ///
    /// # Errors
    /// When there is nothing to try again.
    pub async fn retry(&self, org: OrgId, job: JobId) -> Result<Submitted, RetryError> {
        let store = self.store(org);
        let (before, record) = store.job_to_change(job)?.ok_or(RetryError::NotFound)?;
        match record.status.parse::<ExecutionStatus>() {
            Ok(ExecutionStatus::Succeeded) => return Err(RetryError::Succeeded),
            Ok(status) if status.is_terminal() => {}
            _ => return Err(RetryError::NotEnded(record.status)),
        }
        let last = record
            .executions
            .last()
            .and_then(|last| last.parse::<ExecutionId>().ok());
        let last = last.map(|last| store.execution(last)).transpose()?;
        let last = last.flatten().ok_or(RetryError::NotFound)?;
        let (execution, priority) = (ExecutionId::generate(), last.priority);
        let transaction = again_transaction(&store, (job, before, record), execution, last)?;
        match self.shared.datastore.commit(transaction).await {
            Ok(_) => {}
            // Somebody else tried it again at the same time.
            Err(CommitError::Conflict { .. }) => {
                return Err(RetryError::NotEnded(
                    ExecutionStatus::Queued.as_str().to_owned(),
                ));
            }
            Err(error) => return Err(error.into()),
        }
        self.shared.bell.ring(org, priority);
        Ok(Submitted {
            job,
            execution,
            status: ExecutionStatus::Queued,
            repeated: false,
        })
    }

    /// What an execution is doing right now; none when it does not run.
    #[must_use]
    pub fn live(&self, execution: ExecutionId) -> Option<Live> {
        self.shared.live.get(execution)
    }

    /// How many executions run right now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.live.len()
    }

    /// Executions of an organisation that wait, in the order in which they will start; at most
    /// `limit` of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn queued(&self, org: OrgId, limit: usize) -> Result<Vec<ExecutionId>, StoreError> {
        let mut found = self.shared.waiting.of(org);
        found.truncate(limit);
        let entries =
            self.shared
                .datastore
                .queued(Database::Org(org), QUEUE, limit - found.len())?;
        found.extend(
            entries
                .iter()
                .filter_map(|entry| <[u8; 16]>::try_from(entry.payload.as_ref()).ok())
                .map(ExecutionId::from_bytes),
        );
        Ok(found)
    }

    /// Where an earlier submission with this idempotency key went, so that a repeated request
    /// need not be checked again. None when there was none.
    ///
    /// # Errors
    /// `KeyReused` when the earlier request was another one.
    pub fn submitted_before(
        &self,
        org: OrgId,
        key: &str,
        fingerprint: &str,
    ) -> Result<Option<Submitted>, SubmitError> {
        let store = self.store(org);
        match store.idempotency(key)? {
            Some(before) => repeated(&store, &before, fingerprint).map(Some),
            None => Ok(None),
        }
    }

    /// Records of one organisation.
    #[must_use]
    pub fn store(&self, org: OrgId) -> ExecutionStore {
        ExecutionStore::new(Arc::clone(&self.shared.datastore), org)
    }

    /// Stops taking work from the queue, waits for what runs, at most for `grace`, and then stops
    /// it: it will be tried again after the next start.
    pub async fn shutdown(&self, grace: Duration) {
        self.shared.stop.cancel();
        let task = self
            .shared
            .task
            .lock()
            .ok()
            .and_then(|mut slot| slot.take());
        if let Some(task) = task {
            let abort = task.abort_handle();
            if tokio::time::timeout(grace, task).await.is_err() {
                tracing::warn!("work is still running, leaving it to the next start");
                abort.abort();
            }
        }
    }
}

fn repeated(
    store: &ExecutionStore,
    before: &IdempotencyRecord,
    fingerprint: &str,
) -> Result<Submitted, SubmitError> {
    if before.fingerprint != fingerprint {
        return Err(SubmitError::KeyReused);
    }
    let damaged = |fault: String| StoreError::Damaged {
        what: "idempotency key",
        fault,
    };
    let execution: ExecutionId = before
        .execution_id
        .parse()
        .map_err(|error| damaged(format!("{error}")))?;
    let job = before
        .job_id
        .parse()
        .map_err(|error| damaged(format!("{error}")))?;
    let status = store
        .execution(execution)?
        .and_then(|record| record.status.parse().ok())
        .unwrap_or(ExecutionStatus::Queued);
    Ok(Submitted {
        job,
        execution,
        status,
        repeated: true,
    })
}
