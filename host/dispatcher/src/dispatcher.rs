//! The loop and its handle.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus, JobId, OrgId};
use bindery_datastore::{
    CommitError, CompleteError, Database, Datastore, Expect, Lease, QueueEntry, Table,
};
use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    executor::{Executor, WorkOrder},
    machine::{Machine, Resources, Verdict},
    progress::{Live, LiveTable},
    records::{ExecutionRecord, IdempotencyRecord, InputRecord, NoticeRecord, ResourcesRecord},
    store::{ExecutionStore, StoreError, execution_key},
    transactions::{
        after, backoff, end_record, ending_transaction, result_record, retry_transaction,
        submission_transaction,
    },
    worker::{Finished, Outcome, Worker},
};

/// Queue of executions that wait.
pub(crate) const QUEUE: &str = "executions";
/// Name under which this host claims: there is one host, so a former self's leases are ours.
const WORKER: &str = "local";
/// Nobody else claims here, so a lease only has to outlast the time between two renewals.
const LEASE: Duration = Duration::from_secs(3600);
const RENEW_EVERY: Duration = Duration::from_secs(600);
/// A missed bell is made good after this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Messages from workers and handles in flight; each sender has at most one at a time, so this
/// only has to be no smaller than what keeps senders from waiting in turn.
const INBOX: usize = 1024;

/// Settings of the dispatcher.
#[derive(Debug, Clone, Copy)]
pub struct DispatcherConfig {
    /// What all executions together may use.
    pub capacity: Resources,
    /// Tries of one execution, when each ending could be cured by another.
    pub attempts_max: u32,
}

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

/// Handle of the dispatcher; cheap to clone.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    datastore: Arc<dyn Datastore>,
    live: LiveTable,
    /// Rung by every submission; heard by the loop.
    bell: Arc<Notify>,
    /// To the loop; closed when the last handle is gone.
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    task: std::sync::Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Command {
    /// Answers whether the execution runs here (and is being stopped now).
    Cancel {
        execution: ExecutionId,
        reply: oneshot::Sender<bool>,
    },
}

impl Dispatcher {
    /// Takes back what a former host left running, and starts the loop.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn start(
        datastore: Arc<dyn Datastore>,
        executor: Arc<dyn Executor>,
        config: DispatcherConfig,
    ) -> Result<Self, CommitError> {
        let taken_back = datastore.release(WORKER).await?;
        if taken_back > 0 {
            tracing::warn!(
                executions = taken_back,
                "taken back from a host that stopped"
            );
        }
        let (commands, inbox) = mpsc::channel(INBOX);
        let (finished, reports) = mpsc::channel(INBOX);
        let shared = Arc::new(Shared {
            datastore: Arc::clone(&datastore),
            live: LiveTable::default(),
            bell: Arc::new(Notify::new()),
            commands,
            stop: CancellationToken::new(),
            task: std::sync::Mutex::new(None),
        });
        let event_loop = EventLoop {
            datastore,
            executor,
            live: shared.live.clone(),
            bell: Arc::clone(&shared.bell),
            stop: shared.stop.clone(),
            machine: Machine::new(config.capacity, config.attempts_max),
            waiting: VecDeque::new(),
            tokens: HashMap::new(),
            leases: HashMap::new(),
            finished,
        };
        let task = tokio::spawn(event_loop.run(inbox, reports));
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
        self.shared.bell.notify_one();
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
            if answer.await.map_err(|_| CancelError::Stopped)? {
                return Ok(Cancelled::Stopping);
            }
            let now = Timestamp::now();
            end_record(&mut record, ExecutionStatus::Cancelled, now, None);
            let transaction = ending_transaction(&store, execution, &record, None, now)?.check(
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
        let entries = self
            .shared
            .datastore
            .queued(Database::Org(org), QUEUE, limit)?;
        Ok(entries
            .iter()
            .filter_map(|entry| <[u8; 16]>::try_from(entry.payload.as_ref()).ok())
            .map(ExecutionId::from_bytes)
            .collect())
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

/// State of the loop; nobody else touches it.
struct EventLoop {
    datastore: Arc<dyn Datastore>,
    executor: Arc<dyn Executor>,
    live: LiveTable,
    bell: Arc<Notify>,
    stop: CancellationToken,
    machine: Machine,
    /// Claimed, but without room to start: at most one claim's worth.
    waiting: VecDeque<(Lease, OrgId, ExecutionRecord)>,
    tokens: HashMap<ExecutionId, CancellationToken>,
    leases: HashMap<ExecutionId, Lease>,
    /// Given to every worker.
    finished: mpsc::Sender<Finished>,
}

impl EventLoop {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut reports: mpsc::Receiver<Finished>,
    ) {
        let mut renew = tokio::time::interval(RENEW_EVERY);
        loop {
            if self.stop.is_cancelled() {
                if self.machine.running() == 0 {
                    return;
                }
            } else {
                self.fill().await;
            }
            let bell = Arc::clone(&self.bell);
            tokio::select! {
                Some(finished) = reports.recv() => self.take(finished).await,
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    // The last handle is gone: nobody can submit, cancel or ask any more.
                    None => return,
                },
                () = bell.notified() => {}
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
                _ = renew.tick() => self.renew().await,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Cancel { execution, reply } => {
                let runs = self.machine.cancel(execution);
                if let Some(token) = self.tokens.get(&execution) {
                    token.cancel();
                }
                // A caller that went away does not want to know.
                let _gone = reply.send(runs);
            }
        }
    }

    /// Starts as much as there is room for.
    async fn fill(&mut self) {
        while !self.machine.is_full() {
            if self.waiting.is_empty() && !self.claim().await {
                return;
            }
            let Some((lease, org, record)) = self.waiting.pop_front() else {
                return;
            };
            let Ok(execution) = record.id.parse::<ExecutionId>() else {
                continue;
            };
            let needs = Resources {
                cpu_cores: record.resources.cpu_cores,
                memory_bytes: record.resources.memory_bytes,
            };
            if self.machine.is_running(execution) {
                continue;
            }
            if !self.machine.admit(execution, needs) {
                // First come, first served: a small one behind it must not starve a large one.
                self.waiting.push_front((lease, org, record));
                return;
            }
            self.start(lease, org, execution, record);
        }
    }

    /// Claims one entry of one organisation's queue; false when all are empty.
    async fn claim(&mut self) -> bool {
        for database in self.datastore.databases() {
            let Database::Org(org) = database else {
                continue;
            };
            match self
                .datastore
                .claim(database, QUEUE, WORKER, 1, LEASE)
                .await
            {
                Ok(leases) => {
                    for lease in leases {
                        self.claimed(lease, org).await;
                    }
                    if !self.waiting.is_empty() {
                        return true;
                    }
                }
                Err(error) => tracing::error!(%error, "failed to claim work"),
            }
        }
        false
    }

    async fn claimed(&mut self, lease: Lease, org: OrgId) {
        let store = ExecutionStore::new(Arc::clone(&self.datastore), org);
        let execution = <[u8; 16]>::try_from(lease.payload.as_ref())
            .ok()
            .map(ExecutionId::from_bytes);
        let found = execution.map(|execution| store.execution(execution));
        match found {
            Some(Ok(Some(record)))
                if record
                    .status
                    .parse::<ExecutionStatus>()
                    .is_ok_and(|s| !s.is_terminal()) =>
            {
                self.waiting.push_back((lease, org, record));
            }
            // Ended while it was queued, or an entry that names nothing: only the entry is left.
            Some(Ok(_)) | None => {
                let empty = store.transaction();
                if let Err(error) = self.datastore.complete(lease.token, empty).await {
                    tracing::warn!(%error, "a stale queue entry stays");
                }
            }
            Some(Err(error)) => {
                tracing::error!(?execution, %error, "an execution cannot be read, left in the queue");
            }
        }
    }

    fn start(&mut self, lease: Lease, org: OrgId, execution: ExecutionId, record: ExecutionRecord) {
        let cancel = CancellationToken::new();
        self.tokens.insert(execution, cancel.clone());
        self.leases.insert(execution, lease.clone());
        let worker = Worker {
            store: ExecutionStore::new(Arc::clone(&self.datastore), org),
            datastore: Arc::clone(&self.datastore),
            executor: Arc::clone(&self.executor),
            live: self.live.clone(),
            cancel,
            finished: self.finished.clone(),
        };
        let order = WorkOrder {
            org,
            execution,
            attempt: lease.attempt,
            record,
        };
        tokio::spawn(worker.run(order, lease));
    }

    async fn take(&mut self, finished: Finished) {
        let Finished {
            execution,
            lease,
            outcome,
        } = finished;
        self.tokens.remove(&execution);
        self.leases.remove(&execution);
        let Database::Org(org) = lease.token.database else {
            return;
        };
        let store = ExecutionStore::new(Arc::clone(&self.datastore), org);
        match outcome {
            Outcome::Stale => {
                self.machine
                    .finish(execution, lease.attempt, AttemptEnding::Cancelled);
                self.complete(lease, store.transaction()).await;
            }
            Outcome::NotBegun(fault) => {
                tracing::error!(%execution, fault, "an attempt could not be begun");
                self.machine
                    .finish(execution, lease.attempt, AttemptEnding::HostFault);
                // The attempt does not count: nothing was tried.
                let again = QueueEntry::new(QUEUE, execution.as_bytes().to_vec())
                    .priority(lease.priority)
                    .attempt(lease.attempt.saturating_sub(1))
                    .available(after(backoff(1)));
                self.complete(lease, store.transaction().enqueue(again))
                    .await;
            }
            Outcome::Ended { mut record, report } => {
                let verdict = self.machine.finish(execution, lease.attempt, report.ending);
                let now = Timestamp::now();
                if let Some(attempt) = record.attempts.last_mut() {
                    attempt.finished = Some(now);
                    attempt.ending = Some(report.ending.as_str().to_owned());
                    attempt.problem.clone_from(&report.problem);
                    attempt.usage = report.usage;
                }
                record.engines.clone_from(&report.engines);
                record.sandbox.clone_from(&report.sandbox);
                let transaction = match verdict {
                    Verdict::Retry => {
                        ExecutionStatus::Queued
                            .as_str()
                            .clone_into(&mut record.status);
                        retry_transaction(&store, execution, &record, &lease)
                    }
                    Verdict::End(status) => {
                        let problem =
                            (status != ExecutionStatus::Succeeded).then(|| report.problem.clone());
                        end_record(&mut record, status, now, problem.flatten());
                        let result = (status == ExecutionStatus::Succeeded)
                            .then(|| result_record(&record, &report, now));
                        ending_transaction(&store, execution, &record, result.as_ref(), now)
                    }
                };
                match transaction {
                    Ok(transaction) => self.complete(lease, transaction).await,
                    Err(error) => {
                        tracing::error!(%execution, %error, "an ending cannot be recorded");
                    }
                }
            }
        }
    }

    /// Commits an ending, and goes on trying while the store is full or behind: work that was
    /// done is not thrown away for a full disk. The loop goes on meanwhile.
    async fn complete(&self, lease: Lease, transaction: bindery_datastore::Transaction) {
        let datastore = Arc::clone(&self.datastore);
        let bell = Arc::clone(&self.bell);
        let first = datastore
            .complete(lease.token.clone(), transaction.clone())
            .await;
        match first {
            Ok(_) => {}
            Err(CompleteError::Commit(error)) if error.is_transient() => {
                tracing::error!(%error, "an ending cannot be recorded yet, trying again");
                tokio::spawn(async move {
                    let mut tries = 1;
                    loop {
                        tokio::time::sleep(backoff(tries)).await;
                        tries += 1;
                        match datastore
                            .complete(lease.token.clone(), transaction.clone())
                            .await
                        {
                            Err(CompleteError::Commit(error)) if error.is_transient() => {}
                            Err(error) => {
                                tracing::error!(%error, "an ending cannot be recorded");
                                break;
                            }
                            Ok(_) => break,
                        }
                    }
                    bell.notify_one();
                });
            }
            Err(CompleteError::Fenced { fence, .. }) => {
                tracing::warn!(fence, "an attempt ended after its lease was taken: ignored");
            }
            Err(error) => tracing::error!(%error, "an ending cannot be recorded"),
        }
    }

    async fn renew(&mut self) {
        let tokens: Vec<_> = self
            .leases
            .values()
            .map(|lease| lease.token.clone())
            .collect();
        if tokens.is_empty() {
            return;
        }
        match self.datastore.renew(&tokens, LEASE).await {
            Ok(gone) => {
                for token in gone {
                    let lost = self
                        .leases
                        .iter()
                        .find(|(_, lease)| lease.token == token)
                        .map(|(execution, _)| *execution);
                    if let Some(cancel) = lost.and_then(|execution| self.tokens.get(&execution)) {
                        tracing::warn!(?lost, "lease lost, stopping the attempt");
                        cancel.cancel();
                    }
                }
            }
            Err(error) => tracing::error!(%error, "failed to renew leases"),
        }
    }
}
