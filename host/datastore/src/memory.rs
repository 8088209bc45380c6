//! The store that forgets: everything in memory, for tests and for runs that leave nothing behind.
//!
//! It keeps all promises of the port but durability. It never drops an event, so its memory grows
//! with its history.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{
    clock::{Clock, SystemClock},
    datastore::{Datastore, Wakeup},
    error::{CommitError, CompleteError, ReadError, RenewError},
    model::{
        Committed, Database, EVENTS_LIMIT_MAX, EventQuery, EventRecord, Lease, LeaseToken,
        QueuedEntry, RANGE_LIMIT_MAX, RangeQuery, Table, Transaction,
    },
    plan::{Change, Prepared, Scan, View, check_name},
    queue::{ClaimSpec, Heads, LeaseTable, held, plan_claim, plan_release, waiting},
};

/// Hints that a slow subscriber may be behind before it loses some; a hint is not an event.
const WAKEUPS_MAX: usize = 1_024;

/// The in-memory store.
#[derive(Debug)]
pub struct MemoryDatastore {
    clock: Arc<dyn Clock>,
    epoch: [u8; 16],
    state: Mutex<State>,
    /// Sent by whoever commits; received by whoever watches.
    wakeups: broadcast::Sender<Wakeup>,
}

#[derive(Debug, Default)]
struct State {
    position: u64,
    leases: LeaseTable,
    databases: BTreeMap<Database, Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    rows: BTreeMap<Bytes, Bytes>,
    /// All events; the one with seq n is at n - 1.
    events: Vec<Arc<EventRecord>>,
    topics: HashMap<String, Vec<Arc<EventRecord>>>,
}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Ok(self.rows.get(key).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let Some(bounds) = scan.bounds() else {
            return Ok(Vec::new());
        };
        let range = self.rows.range::<[u8], _>(bounds);
        let copy = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        Ok(if scan.reverse {
            range.rev().take(scan.limit).map(copy).collect()
        } else {
            range.take(scan.limit).map(copy).collect()
        })
    }
}

impl Default for MemoryDatastore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryDatastore {
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::new()))
    }

    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let mut epoch = [0; 16];
        // Two stores of one process may share an epoch of zeros; nobody resumes across them.
        if getrandom::fill(&mut epoch).is_err() {
            tracing::warn!("no random source for the epoch of an in-memory store");
        }
        Self {
            clock,
            epoch,
            state: Mutex::default(),
            wakeups: broadcast::Sender::new(WAKEUPS_MAX),
        }
    }

    fn commit_now(
        &self,
        prepared: Prepared,
        token: Option<&LeaseToken>,
    ) -> Result<Committed, CompleteError> {
        let database = prepared.database;
        let mut state = self.state.lock();
        let position = state.position + 1;
        let empty = Rows::default();
        let view = state.databases.get(&database).unwrap_or(&empty);
        if let Some(token) = token {
            let holds = held(view, token)
                .map_err(|error| CompleteError::Commit(CommitError::Read(error)))?;
            if !holds {
                return Err(CompleteError::Fenced {
                    database,
                    fence: token.fence,
                });
            }
        }
        let mut change = prepared
            .plan(view, position)
            .map_err(CompleteError::Commit)?;
        let entries = std::mem::take(&mut change.entries);
        let (first_seq, last_seq, time) = self.apply(&mut state, database, change);
        Ok(Committed {
            first_seq,
            last_seq,
            entries,
            time,
        })
    }

    fn apply(
        &self,
        state: &mut State,
        database: Database,
        change: Change,
    ) -> (u64, u64, Timestamp) {
        state.position += 1;
        let now = self.clock.now();
        // To the microsecond, as other stores keep it.
        let time = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let rows = state.databases.entry(database).or_default();
        for write in change.writes {
            match write.value {
                Some(value) => rows.rows.insert(write.key, value),
                None => rows.rows.remove(&write.key),
            };
        }
        let first_seq = rows.events.len() as u64 + 1;
        for (seq, event) in (first_seq..).zip(change.events) {
            let record = Arc::new(EventRecord {
                seq,
                time,
                name: event.name,
                topics: event.topics,
                data: event.data,
            });
            for topic in &record.topics {
                let of_topic = rows.topics.entry(topic.clone()).or_default();
                of_topic.push(Arc::clone(&record));
            }
            rows.events.push(record);
        }
        let last_seq = rows.events.len() as u64;
        for key in change.leases_ended {
            state.leases.remove(database, key);
        }
        if last_seq >= first_seq {
            // Without receivers there is nobody to tell.
            drop(self.wakeups.send(Wakeup { database, last_seq }));
        }
        (first_seq, last_seq, time)
    }
}

#[async_trait]
impl Datastore for MemoryDatastore {
    async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let prepared = Prepared::new(transaction)?;
        self.commit_now(prepared, None)
            .map_err(|error| match error {
                CompleteError::Commit(error) => error,
                CompleteError::Fenced { .. } => CommitError::Closed,
            })
    }

    fn get(
        &self,
        database: Database,
        table: Table,
        key: &[u8],
    ) -> Result<Option<Bytes>, ReadError> {
        let state = self.state.lock();
        match state.databases.get(&database) {
            Some(rows) => rows.get(&table.key(key)),
            None => Ok(None),
        }
    }

    fn range(
        &self,
        database: Database,
        table: Table,
        query: &RangeQuery,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let state = self.state.lock();
        let Some(rows) = state.databases.get(&database) else {
            return Ok(Vec::new());
        };
        let rows = rows.scan(&Scan::of(table, query))?;
        Ok(rows
            .into_iter()
            .map(|(key, value)| (key.slice(1..), value))
            .collect())
    }

    async fn claim(
        &self,
        database: Database,
        queue: &str,
        worker: &str,
        count: usize,
        lease: Duration,
    ) -> Result<Vec<Lease>, CommitError> {
        let spec = ClaimSpec::new(queue, worker, count, lease)?;
        let mut state = self.state.lock();
        let Some(rows) = state.databases.get(&database) else {
            return Ok(Vec::new());
        };
        let times = (self.clock.now(), self.clock.elapsed());
        let position = state.position + 1;
        let (change, claimed) = {
            // Nothing is left behind in this store, so that there is nothing to step over.
            let leases = (&state.leases, &mut Heads::default());
            plan_claim(rows, database, &spec, leases, position, times)
        }
        .map_err(CommitError::Read)?;
        if claimed.is_empty() {
            return Ok(Vec::new());
        }
        self.apply(&mut state, database, change);
        let mut leases = Vec::with_capacity(claimed.len());
        for (lease, row) in claimed {
            let deadline = times.1.saturating_add(row.lasts);
            state.leases.insert(database, &row, deadline);
            leases.push(lease);
        }
        Ok(leases)
    }

    async fn renew(
        &self,
        leases: &[LeaseToken],
        lease: Duration,
    ) -> Result<Vec<LeaseToken>, RenewError> {
        let deadline = self.clock.elapsed().saturating_add(lease);
        Ok(self.state.lock().leases.renew(leases, deadline))
    }

    async fn complete(
        &self,
        lease: LeaseToken,
        transaction: Transaction,
    ) -> Result<Committed, CompleteError> {
        let prepared = Prepared::completing(transaction, &lease).map_err(CompleteError::Commit)?;
        self.commit_now(prepared, Some(&lease))
    }

    async fn release(&self, worker: &str) -> Result<usize, CommitError> {
        check_name("worker", worker)?;
        let mut state = self.state.lock();
        let names: Vec<Database> = state.databases.keys().copied().collect();
        let mut released = 0;
        for database in names {
            // Each round releases at least one lease of finitely many.
            while let Some(rows) = state.databases.get(&database) {
                let change = plan_release(rows, database, worker).map_err(CommitError::Read)?;
                if change.leases_ended.is_empty() {
                    break;
                }
                released += change.leases_ended.len();
                self.apply(&mut state, database, change);
            }
        }
        Ok(released)
    }

    fn queued(
        &self,
        database: Database,
        queue: &str,
        limit: usize,
    ) -> Result<Vec<QueuedEntry>, ReadError> {
        let state = self.state.lock();
        match state.databases.get(&database) {
            Some(rows) => waiting(rows, database, queue, limit.min(RANGE_LIMIT_MAX)),
            None => Ok(Vec::new()),
        }
    }

    fn events(
        &self,
        database: Database,
        query: &EventQuery,
    ) -> Result<Vec<Arc<EventRecord>>, ReadError> {
        let state = self.state.lock();
        let Some(rows) = state.databases.get(&database) else {
            return Ok(Vec::new());
        };
        let events = match &query.topic {
            Some(topic) => rows.topics.get(topic).map_or(&[][..], Vec::as_slice),
            None => rows.events.as_slice(),
        };
        let start = events.partition_point(|event| event.seq <= query.after_seq);
        let limit = query.limit.min(EVENTS_LIMIT_MAX);
        Ok(events.iter().skip(start).take(limit).cloned().collect())
    }

    fn last_seq(&self, database: Database) -> u64 {
        let state = self.state.lock();
        state
            .databases
            .get(&database)
            .map_or(0, |rows| rows.events.len() as u64)
    }

    fn databases(&self) -> Vec<Database> {
        let mut names: Vec<Database> = self.state.lock().databases.keys().copied().collect();
        if names.first() != Some(&Database::Meta) {
            names.insert(0, Database::Meta);
        }
        names
    }

    fn epoch(&self) -> [u8; 16] {
        self.epoch
    }

    fn subscribe(&self) -> broadcast::Receiver<Wakeup> {
        self.wakeups.subscribe()
    }
}
