//! The loop: feeds the machine with what happens, and does what it says.
//!
//! It waits for nothing but messages. Claims, starts and endings are committed by tasks of their
//! own, so that one commit to disk takes along all that wants to be written at that time.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus, OrgId};
use bindery_datastore::{
    CommitError, CompleteError, Database, Datastore, Expect, Lease, QueueEntry, Table, Transaction,
};
use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::MissedTickBehavior,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bell::Bell,
    dispatcher::QUEUE,
    executor::{AttemptReport, Executor, WorkOrder},
    machine::{CancelFound, Candidate, LOST_MAX, Machine, Resources, Rules, Verdict},
    progress::LiveTable,
    records::{ExecutionRecord, ProblemRecord},
    store::{ExecutionStore, StoreError, decode, execution_key},
    transactions::{
        after, chance, end_record, ending_transaction, result_record, retry_transaction,
        started_event,
    },
    waiting::WaitingTable,
    worker::{Finished, Outcome, Worker, open_attempt},
};

/// Name under which this host claims: there is one host, so a former self's leases are ours.
pub(crate) const WORKER: &str = "local";
/// Nobody else claims here, so a lease only has to outlast the time between two renewals.
const LEASE: Duration = Duration::from_secs(3600);
const RENEW_EVERY: Duration = Duration::from_secs(600);
/// How often queues that were empty are thought of, and patience is measured.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Messages from the loop's own tasks; each has at most one under way.
const REPORTS: usize = 1024;
/// An execution that was claimed this often without an ending is given up: it may be what kills
/// hosts, before its start was even recorded.
const CLAIMS_MAX: u32 = 100;

/// What a handle asks of the loop.
#[derive(Debug)]
pub(crate) enum Command {
    Cancel {
        execution: ExecutionId,
        reply: oneshot::Sender<CancelFound>,
    },
}

/// What the loop's own tasks tell it.
#[derive(Debug)]
pub(crate) enum Report {
    Claimed {
        org: OrgId,
        /// What was claimed, and whether the queue may have more; none when the store failed.
        got: Option<(Vec<Held>, bool)>,
    },
    Finished(Box<Finished>),
}

/// A claimed execution.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) lease: Lease,
    pub(crate) execution: ExecutionId,
    pub(crate) record: ExecutionRecord,
    /// The record as it is stored: what a change checks.
    pub(crate) before: Bytes,
}

/// State of the loop; nobody else touches it.
pub(crate) struct EventLoop {
    datastore: Arc<dyn Datastore>,
    executor: Arc<dyn Executor>,
    live: LiveTable,
    waiting: WaitingTable,
    bell: Arc<Bell>,
    stop: CancellationToken,
    machine: Machine,
    born: Instant,
    /// Claimed and waiting; bounded by what the machine claims ahead.
    held: HashMap<ExecutionId, Held>,
    /// Of what runs.
    tokens: HashMap<ExecutionId, (CancellationToken, Lease)>,
    /// Given to every task.
    reports: mpsc::Sender<Report>,
    inbox: mpsc::Receiver<Report>,
    /// Claims and endings under way.
    commits: TaskTracker,
}

impl EventLoop {
    pub(crate) fn new(
        datastore: Arc<dyn Datastore>,
        executor: Arc<dyn Executor>,
        (live, waiting): (LiveTable, WaitingTable),
        bell: Arc<Bell>,
        stop: CancellationToken,
        rules: Rules,
    ) -> Self {
        let (reports, inbox) = mpsc::channel(REPORTS);
        let mut machine = Machine::new(rules);
        for database in datastore.databases() {
            if let Database::Org(org) = database {
                machine.notice(org, 0);
            }
        }
        Self {
            datastore,
            executor,
            live,
            waiting,
            bell,
            stop,
            machine,
            born: Instant::now(),
            held: HashMap::new(),
            tokens: HashMap::new(),
            reports,
            inbox,
            commits: TaskTracker::new(),
        }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut renew = tokio::time::interval(RENEW_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.stop.is_cancelled() {
                self.drain();
                if self.machine.is_idle() {
                    break;
                }
            }
            self.pump();
            let bell = Arc::clone(&self.bell);
            tokio::select! {
                Some(report) = self.inbox.recv() => {
                    self.take(report);
                    // Whatever else is there already, before anything is started for it.
                    while let Ok(report) = self.inbox.try_recv() {
                        self.take(report);
                    }
                }
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // The last handle is gone: nobody can submit, cancel or ask any more.
                    None => break,
                },
                () = bell.heard() => {
                    for (org, priority) in bell.take() {
                        self.machine.notice(org, priority);
                    }
                }
                () = self.stop.cancelled(), if !self.stop.is_cancelled() => {}
                _ = renew.tick() => self.renew().await,
                _ = look.tick() => self.machine.look(self.now()),
            }
        }
        // What has ended is on disk before the dispatcher has.
        self.commits.close();
        self.commits.wait().await;
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn store(&self, org: OrgId) -> ExecutionStore {
        ExecutionStore::new(Arc::clone(&self.datastore), org)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Cancel { execution, reply } => {
                let found = self.machine.cancel(execution, self.now());
                if let Some((token, _)) = self.tokens.get(&execution) {
                    token.cancel();
                }
                // A caller that went away does not want to know.
                let _gone = reply.send(found);
            }
        }
    }

    /// Claims what the machine wishes for, and starts what it lets start.
    fn pump(&mut self) {
        for claim in self.machine.claims() {
            let (store, datastore) = (self.store(claim.org), Arc::clone(&self.datastore));
            let reports = self.reports.clone();
            self.commits.spawn(async move {
                let got = claim_some(&store, &datastore, claim.count).await;
                // The loop waits for every claim before it ends.
                let _closed = reports
                    .send(Report::Claimed {
                        org: claim.org,
                        got,
                    })
                    .await;
            });
        }
        while let Some(start) = self.machine.start(self.now()) {
            let execution = start.candidate.execution;
            self.waiting.remove(execution);
            if let Some(held) = self.held.remove(&execution) {
                self.start(start.candidate.org, held, start.doubtful);
            } else {
                self.machine.forget(execution, self.now());
            }
        }
    }

    fn start(&mut self, org: OrgId, mut held: Held, doubtful: bool) {
        let execution = held.execution;
        if doubtful && !self.still_stands(org, &mut held) {
            self.machine.forget(execution, self.now());
            self.settle(held.lease, self.store(org).transaction());
            return;
        }
        let lost = open_attempt(&mut held.record, Timestamp::now());
        let lost_count = count_lost(&held.record);
        if lost_count >= LOST_MAX || held.lease.attempt > CLAIMS_MAX {
            self.machine.forget(execution, self.now());
            self.give_up(org, held);
            return;
        }
        let cancel = CancellationToken::new();
        self.tokens
            .insert(execution, (cancel.clone(), held.lease.clone()));
        let worker = Worker {
            store: self.store(org),
            datastore: Arc::clone(&self.datastore),
            executor: Arc::clone(&self.executor),
            live: self.live.clone(),
            cancel,
            finished: self.reports.clone(),
        };
        let order = WorkOrder {
            org,
            execution,
            attempt: u32::try_from(held.record.attempts.len()).unwrap_or(u32::MAX),
            record: held.record,
        };
        tokio::spawn(worker.run(order, held.lease, held.before, lost));
    }

    /// Reads a record again that may have changed while it waited; false when it has ended.
    fn still_stands(&self, org: OrgId, held: &mut Held) -> bool {
        match self.store(org).execution_bytes(held.execution) {
            Ok(Some(bytes)) => match decode::<ExecutionRecord>("execution", &bytes) {
                Ok(record) => {
                    let stands = !has_ended(&record);
                    (held.record, held.before) = (record, bytes);
                    stands
                }
                Err(_) => true,
            },
            Ok(None) => false,
            // Its start will say so.
            Err(_) => true,
        }
    }

    /// Ends an execution that hosts die of.
    fn give_up(&self, org: OrgId, held: Held) {
        let Held {
            lease,
            execution,
            mut record,
            before,
        } = held;
        record.attempts.pop();
        let now = Timestamp::now();
        let problem = ProblemRecord {
            code: AttemptEnding::Lost.as_str().to_owned(),
            message: "the host stopped each time it was tried; it is not tried again".to_owned(),
            detail: String::new(),
            violations: Vec::new(),
        };
        tracing::error!(%execution, task = record.task, "given up: hosts stop when it runs");
        end_record(&mut record, ExecutionStatus::DeadLetter, now, Some(problem));
        let store = self.store(org);
        let begun = checked(store.transaction(), execution, before);
        match ending_transaction(begun, &store, execution, &record, None, now) {
            Ok(transaction) => self.settle(lease, transaction),
            Err(error) => tracing::error!(%execution, %error, "an ending cannot be recorded"),
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Claimed { org, got: None } => self.machine.claim_failed(org, self.now()),
            Report::Claimed {
                org,
                got: Some((got, more)),
            } => {
                let mut candidates = Vec::with_capacity(got.len());
                for held in got {
                    if self.tokens.contains_key(&held.execution) {
                        tracing::error!(execution = %held.execution, "claimed while it runs");
                        continue;
                    }
                    candidates.push(Candidate {
                        execution: held.execution,
                        org,
                        priority: held.lease.priority,
                        needs: Resources {
                            cpu_cores: held.record.resources.cpu_cores,
                            memory_bytes: held.record.resources.memory_bytes,
                        },
                    });
                    self.waiting
                        .insert(held.execution, org, held.lease.priority);
                    self.held.insert(held.execution, held);
                }
                self.machine.claimed(org, &candidates, more, self.now());
            }
            Report::Finished(finished) => self.finish(*finished),
        }
    }

    fn finish(&mut self, finished: Finished) {
        let Finished {
            execution,
            org,
            lease,
            outcome,
        } = finished;
        self.tokens.remove(&execution);
        let store = self.store(org);
        match outcome {
            Outcome::Stale => {
                self.machine.forget(execution, self.now());
                self.settle(lease, store.transaction());
            }
            Outcome::NotBegun(fault) => {
                tracing::error!(%execution, fault, "an attempt could not be begun");
                self.machine.forget(execution, self.now());
                // The attempt does not count: nothing was tried.
                let again = QueueEntry::new(QUEUE, execution.as_bytes().to_vec())
                    .priority(lease.priority)
                    .attempt(lease.attempt.saturating_sub(1))
                    .available(after(Duration::from_secs(1)));
                self.settle(lease, store.transaction().enqueue(again));
            }
            Outcome::Ended {
                record,
                before,
                untold,
                report,
            } => {
                let lost = count_lost(&record);
                let attempts = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
                let verdict = self.machine.finish(
                    execution,
                    attempts.saturating_sub(lost).max(1),
                    report.ending,
                    self.now(),
                    chance(),
                );
                let mut begun = checked(store.transaction(), execution, before);
                if let Some(lost) = untold {
                    begun = begun.event(started_event(&record, lost));
                }
                match ending(begun, &store, execution, *record, &report, verdict, &lease) {
                    Ok(transaction) => self.settle(lease, transaction),
                    Err(error) => {
                        tracing::error!(%execution, %error, "an ending cannot be recorded");
                    }
                }
            }
        }
    }

    /// Commits an ending, and goes on trying while the store is full or behind: work that was
    /// done is not thrown away for a full disk. The loop goes on meanwhile.
    fn settle(&self, lease: Lease, transaction: Transaction) {
        let datastore = Arc::clone(&self.datastore);
        self.commits.spawn(async move {
            let mut transaction = transaction;
            let mut wait = Duration::from_millis(100);
            loop {
                let token = lease.token.clone();
                match datastore.complete(token, transaction.clone()).await {
                    Ok(_) => return,
                    Err(CompleteError::Fenced { fence, .. }) => {
                        tracing::warn!(
                            fence,
                            "an attempt ended after its lease was taken: ignored"
                        );
                        return;
                    }
                    // It was cancelled while the attempt was on its last step, and has ended:
                    // only its entry is left.
                    Err(CompleteError::Commit(CommitError::Conflict { .. })) => {
                        transaction = Transaction::new(lease.token.database);
                    }
                    Err(CompleteError::Commit(error)) if error.is_transient() => {
                        tracing::error!(%error, "an ending cannot be recorded yet, trying again");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(Duration::from_secs(10));
                    }
                    Err(error) => {
                        tracing::error!(%error, "an ending cannot be recorded");
                        return;
                    }
                }
            }
        });
    }

    /// Starts nothing more, and puts what was claimed ahead back into the queue.
    fn drain(&mut self) {
        if self.machine.is_draining() && self.held.is_empty() {
            return;
        }
        for candidate in self.machine.drain() {
            let execution = candidate.execution;
            self.waiting.remove(execution);
            let Some(held) = self.held.remove(&execution) else {
                continue;
            };
            let again = QueueEntry::new(QUEUE, execution.as_bytes().to_vec())
                .priority(held.lease.priority)
                .attempt(held.lease.attempt.saturating_sub(1));
            let transaction = Transaction::new(held.lease.token.database).enqueue(again);
            self.settle(held.lease, transaction);
        }
    }

    async fn renew(&mut self) {
        let tokens: Vec<_> = self
            .tokens
            .values()
            .map(|(_, lease)| lease)
            .chain(self.held.values().map(|held| &held.lease))
            .map(|lease| lease.token.clone())
            .collect();
        if tokens.is_empty() {
            return;
        }
        match self.datastore.renew(&tokens, LEASE).await {
            Ok(gone) => {
                for (execution, (cancel, lease)) in &self.tokens {
                    if gone.contains(&lease.token) {
                        tracing::warn!(%execution, "lease lost, stopping the attempt");
                        cancel.cancel();
                    }
                }
            }
            Err(error) => tracing::error!(%error, "failed to renew leases"),
        }
    }
}

/// Claims up to `count` entries. None when the store failed, which it has said.
async fn claim_some(
    store: &ExecutionStore,
    datastore: &Arc<dyn Datastore>,
    count: usize,
) -> Option<(Vec<Held>, bool)> {
    let leases = match datastore
        .claim(store.database(), QUEUE, WORKER, count, LEASE)
        .await
    {
        Ok(leases) => leases,
        Err(error) => {
            tracing::error!(%error, "failed to claim work");
            return None;
        }
    };
    let more = leases.len() >= count;
    let mut got = Vec::with_capacity(leases.len());
    for lease in leases {
        match look_up(store, &lease) {
            Ok(Some((execution, record, before))) => got.push(Held {
                lease,
                execution,
                record,
                before,
            }),
            // Ended while it was queued, or an entry that names nothing: only the entry is left.
            Ok(None) => {
                if let Err(error) = datastore.complete(lease.token, store.transaction()).await {
                    tracing::warn!(%error, "a stale queue entry stays");
                }
            }
            Err(error) => {
                tracing::error!(%error, "an execution cannot be read, left in the queue");
            }
        }
    }
    Some((got, more))
}

type Found = (ExecutionId, ExecutionRecord, Bytes);

/// The execution of a queue entry, unless it has ended.
fn look_up(store: &ExecutionStore, lease: &Lease) -> Result<Option<Found>, StoreError> {
    let Ok(id) = <[u8; 16]>::try_from(lease.payload.as_ref()) else {
        return Ok(None);
    };
    let execution = ExecutionId::from_bytes(id);
    let Some(bytes) = store.execution_bytes(execution)? else {
        return Ok(None);
    };
    let record: ExecutionRecord = decode("execution", &bytes)?;
    Ok((!has_ended(&record)).then_some((execution, record, bytes)))
}

pub(crate) fn has_ended(record: &ExecutionRecord) -> bool {
    record
        .status
        .parse::<ExecutionStatus>()
        .is_ok_and(ExecutionStatus::is_terminal)
}

fn count_lost(record: &ExecutionRecord) -> u32 {
    let lost = record
        .attempts
        .iter()
        .filter(|attempt| attempt.ending.as_deref() == Some(AttemptEnding::Lost.as_str()));
    u32::try_from(lost.count()).unwrap_or(u32::MAX)
}

/// Only while the record is what it was.
fn checked(transaction: Transaction, execution: ExecutionId, before: Bytes) -> Transaction {
    transaction.check(
        Table::EXECUTIONS,
        execution_key(execution),
        Expect::Equals(before),
    )
}

fn ending(
    begun: Transaction,
    store: &ExecutionStore,
    execution: ExecutionId,
    mut record: ExecutionRecord,
    report: &AttemptReport,
    verdict: Verdict,
    lease: &Lease,
) -> Result<Transaction, StoreError> {
    let now = Timestamp::now();
    if let Some(attempt) = record.attempts.last_mut() {
        attempt.finished = Some(now);
        attempt.ending = Some(report.ending.as_str().to_owned());
        attempt.problem.clone_from(&report.problem);
        attempt.usage = report.usage;
    }
    record.engines.clone_from(&report.engines);
    record.sandbox.clone_from(&report.sandbox);
    match verdict {
        Verdict::Retry(wait) => {
            ExecutionStatus::Queued
                .as_str()
                .clone_into(&mut record.status);
            retry_transaction(begun, execution, &record, lease, wait)
        }
        Verdict::End(status) => {
            let problem = (status != ExecutionStatus::Succeeded).then(|| report.problem.clone());
            end_record(&mut record, status, now, problem.flatten());
            let result =
                (status == ExecutionStatus::Succeeded).then(|| result_record(&record, report, now));
            ending_transaction(begun, store, execution, &record, result.as_ref(), now)
        }
    }
}
