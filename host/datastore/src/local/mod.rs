//! The single-node store: a journal that is the truth, and sled as its index.
//!
//! ```text
//! DIR/LOCK                 held while the store is open
//! DIR/RESERVE              space for hard times
//! DIR/journal/00000001.log segments
//! DIR/index/meta/          sled, one per database
//! DIR/index/org_…/
//! DIR/index/NAME.damaged-N indexes set aside
//! ```
//!
//! # The way of a commit
//! The *writer* thread takes what waits (up to 256 requests or 8 MiB; a lone one does not wait for
//! company), plans each against what is there, appends all as one group to the journal, syncs it,
//! publishes it to the in-memory layers and answers. The *flusher* thread brings layers into sled
//! about once a second. So sled is off the path of a commit, and after a crash the journal is
//! applied from sled's marker on.
//!
//! # Invariants
//! - Nothing is visible to readers before it is durable.
//! - Whatever is in sled can be rebuilt from the journal. An index that is damaged, empty, foreign
//!   or without a marker is set aside and rebuilt, loudly, at opening or while running.
//! - An index that is ahead of the journal means that the journal lost acknowledged data: the store
//!   does not open.
//!
//! # Not here yet
//! Checkpoints (so a rebuild reads the whole journal: about a minute per million jobs), retention,
//! and opening databases of idle organisations only when they are used.

mod audit;
mod database;
mod flush;
mod index;
mod layer;
mod open;
mod postings;
mod replay;
mod reserve;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, mpsc, oneshot};

pub use self::audit::{Audit, AuditedWrite, Difference, DifferenceKind, IndexAudit, audit};
use self::{
    database::{DatabaseState, IndexState},
    flush::{FlushSignal, ShortOfSpace},
    reserve::Reserve,
    writer::Request,
};
use crate::{
    clock::{Clock, SystemClock},
    datastore::{Datastore, Wakeup},
    error::{CommitError, CompleteError, OpenError, ReadError, RenewError},
    journal::{Entry, JournalReader, SEGMENT_BYTES_MAX},
    model::{
        CLAIM_ENTRIES_MAX, Committed, Database, EVENTS_LIMIT_MAX, EventQuery, EventRecord, Lease,
        LeaseToken, QueuedEntry, RANGE_LIMIT_MAX, RangeQuery, Table, Transaction,
    },
    plan::{Prepared, Scan, Write, check_name},
    queue::{ClaimSpec, LeaseTable, waiting},
};

pub(crate) const JOURNAL_DIR: &str = "journal";
const INDEX_DIR: &str = "index";

/// Requests that may wait for the writer: four groups. Those who come later wait to be queued.
const REQUESTS_MAX: usize = 1_024;
/// Hints that a slow subscriber may be behind before it loses some; a hint is not an event.
const WAKEUPS_MAX: usize = 1_024;
/// Bodies of events in one answer, in bytes: what a client may be sent in one go.
const EVENTS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Settings of a [`LocalDatastore`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Page cache of each sled database, in bytes. Its process takes three to five times that.
    pub index_cache_bytes: u64,
    /// When a new segment of the journal is begun, in bytes.
    pub segment_bytes_max: u64,
    /// Commits are refused with `StorageFull` when the file system has less than this, in bytes,
    /// so that the index, and whoever cleans up, has some.
    pub free_bytes_min: u64,
    /// Space set aside in a file, in bytes, with which a full disk is survived without losing
    /// the ability to read. 0 for none.
    pub reserve_bytes: u64,
    /// How long committed rows stay in memory before they are written to the index. Longer spares
    /// more writes and makes opening after a crash slower.
    pub flush_interval: Duration,
    /// Whether it is as it should be that there is no index: after a restore. Otherwise its making
    /// is told as the fault that it is.
    pub index_is_new: bool,
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index_cache_bytes: 64 * 1024 * 1024,
            segment_bytes_max: SEGMENT_BYTES_MAX,
            free_bytes_min: 64 * 1024 * 1024,
            reserve_bytes: 16 * 1024 * 1024,
            flush_interval: Duration::from_secs(1),
            index_is_new: false,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// What opening a store found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenReport {
    /// Whether there was no store before.
    pub created: bool,
    /// Whether it had been closed in order.
    pub closed_in_order: bool,
    /// Bytes of an interrupted write that were cut off the end of the journal and kept aside.
    pub torn_bytes: u64,
    /// Records that were applied to an index again.
    pub replayed_records: u64,
    /// Databases whose index was rebuilt from the beginning, and why.
    pub rebuilt: Vec<(Database, String)>,
    pub took: Duration,
}

/// What the threads of a store share.
#[derive(Debug)]
struct Shared {
    options: Options,
    index_dir: PathBuf,
    reader: Arc<JournalReader>,
    /// Grows when the writer sees a new database; never shrinks.
    databases: RwLock<BTreeMap<Database, Arc<DatabaseState>>>,
    /// Changed by the writer after publishing, and by renewals.
    leases: Mutex<LeaseTable>,
    /// Position up to which everything is published.
    published_position: AtomicU64,
    short_of_space: ShortOfSpace,
    reserve: Reserve,
    flush_signal: Arc<FlushSignal>,
    /// Sent by the writer, once per group and database; received by whoever watches.
    wakeups: broadcast::Sender<Wakeup>,
}

impl Shared {
    fn database(&self, name: Database) -> Option<Arc<DatabaseState>> {
        self.databases.read().get(&name).cloned()
    }
}

/// The catalogue's row of a database: it is in the index of `Meta`, so that the loss of a
/// database's whole directory is noticed.
fn catalogue_row(database: Database) -> Write {
    Write {
        key: catalogue_key(&database.to_string()),
        value: Some(Bytes::new()),
        fresh: false,
    }
}

fn catalogue_key(name: &str) -> Bytes {
    Table::INTERNAL.key(format!("database/{name}").as_bytes())
}

/// The single-node store. Dropping it closes it and waits for that, some milliseconds.
#[derive(Debug)]
pub struct LocalDatastore {
    shared: Arc<Shared>,
    /// To the writer, which ends when this is dropped. `None` once closed.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
    report: OpenReport,
}

impl LocalDatastore {
    /// Opens the store in `dir`, or makes one. Blocks while it reads the disk.
    pub fn open(dir: &Path, options: Options) -> Result<Self, OpenError> {
        open::open(dir, options, Arc::new(|file| Box::new(file)))
    }

    #[must_use]
    pub const fn open_report(&self) -> &OpenReport {
        &self.report
    }

    /// Brings the index up to what is committed now, so that opening after a crash is quick.
    /// Blocks. Says whether it came to that within `wait_max`.
    pub fn flush(&self, wait_max: Duration) -> bool {
        self.shared.flush_signal.want_and_wait(wait_max)
            && !self
                .shared
                .databases
                .read()
                .values()
                .any(|state| matches!(*state.index.read(), IndexState::Unavailable(_)))
    }

    /// Closes the store in order: what waits is committed, the index is brought up, the journal is
    /// sealed. Blocks.
    pub fn close(mut self) {
        self.close_now();
    }

    fn close_now(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the store panicked");
        }
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request + Send,
    ) -> Result<T, CommitError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(CommitError::Closed)?;
        requests
            .send(request(reply))
            .await
            .map_err(|_| CommitError::Closed)?;
        answer.await.map_err(|_| CommitError::Closed)
    }
}

impl Drop for LocalDatastore {
    fn drop(&mut self) {
        self.close_now();
    }
}

#[async_trait]
impl Datastore for LocalDatastore {
    async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError> {
        let prepared = Prepared::new(transaction)?;
        self.ask(|reply| Request::Commit {
            prepared,
            token: None,
            reply,
        })
        .await?
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
        match self.shared.database(database) {
            Some(state) => state.get(&table.key(key)),
            None => Ok(None),
        }
    }

    fn range(
        &self,
        database: Database,
        table: Table,
        query: &RangeQuery,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let Some(state) = self.shared.database(database) else {
            return Ok(Vec::new());
        };
        let rows = state.scan(&Scan::of(table, query), None)?;
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
        self.ask(|reply| Request::Claim {
            database,
            spec,
            reply,
        })
        .await?
    }

    async fn renew(
        &self,
        leases: &[LeaseToken],
        lease: Duration,
    ) -> Result<Vec<LeaseToken>, RenewError> {
        if self.requests.is_none() {
            return Err(RenewError::Closed);
        }
        let deadline = self.shared.options.clock.elapsed().saturating_add(lease);
        Ok(self.shared.leases.lock().renew(leases, deadline))
    }

    async fn complete(
        &self,
        lease: LeaseToken,
        transaction: Transaction,
    ) -> Result<Committed, CompleteError> {
        let prepared = Prepared::completing(transaction, &lease).map_err(CompleteError::Commit)?;
        self.ask(|reply| Request::Commit {
            prepared,
            token: Some(lease),
            reply,
        })
        .await
        .map_err(CompleteError::Commit)?
    }

    async fn release(&self, worker: &str) -> Result<usize, CommitError> {
        check_name("worker", worker)?;
        let worker = worker.to_owned();
        self.ask(|reply| Request::Release { worker, reply }).await?
    }

    fn queued(
        &self,
        database: Database,
        queue: &str,
        limit: usize,
    ) -> Result<Vec<QueuedEntry>, ReadError> {
        match self.shared.database(database) {
            Some(state) => waiting(&*state, database, queue, limit.min(RANGE_LIMIT_MAX)),
            None => Ok(Vec::new()),
        }
    }

    fn events(
        &self,
        database: Database,
        query: &EventQuery,
    ) -> Result<Vec<Arc<EventRecord>>, ReadError> {
        let Some(state) = self.shared.database(database) else {
            return Ok(Vec::new());
        };
        let topic = query.topic.as_deref().unwrap_or("");
        let limit = query.limit.min(EVENTS_LIMIT_MAX);
        let postings = state.postings(topic, query.after_seq, limit)?;
        let mut events = Vec::with_capacity(postings.len());
        let mut bytes = 0;
        // Events of one transaction are in one record.
        let mut last: Option<Entry> = None;
        for posting in postings {
            if bytes > EVENTS_BYTES_MAX {
                break;
            }
            if let Some(event) = posting.event {
                events.push(event);
                continue;
            }
            let entry = match last.take() {
                Some(entry) if entry.location == posting.location => entry,
                _ => self.shared.reader.read(posting.location)?,
            };
            let (event, size) = event_of(&entry, database, posting.seq)?;
            bytes += size;
            events.push(Arc::new(event));
            last = Some(entry);
        }
        Ok(events)
    }

    fn last_seq(&self, database: Database) -> u64 {
        self.shared
            .database(database)
            .map_or(0, |state| state.last_seq())
    }

    fn databases(&self) -> Vec<Database> {
        self.shared.databases.read().keys().copied().collect()
    }

    fn epoch(&self) -> [u8; 16] {
        self.shared.reader.epoch()
    }

    fn subscribe(&self) -> broadcast::Receiver<Wakeup> {
        self.shared.wakeups.subscribe()
    }
}

/// An event of a record, and its size in bytes.
fn event_of(
    entry: &Entry,
    database: Database,
    seq: u64,
) -> Result<(EventRecord, usize), ReadError> {
    let damaged = |reason: String| ReadError::JournalDamaged {
        segment: entry.location.segment,
        offset: entry.location.offset,
        reason,
    };
    let record = &entry.record;
    let event = seq
        .checked_sub(record.first_seq)
        .and_then(|index| record.events.get(usize::try_from(index).ok()?))
        .filter(|_| record.database == database)
        .ok_or_else(|| damaged(format!("event {seq} of {database} is not there")))?;
    let data = serde_json::from_slice(&event.data)
        .map_err(|error| damaged(format!("data of event {seq} is not JSON: {error}")))?;
    let size = event.data.len() + event.name.len();
    Ok((
        EventRecord {
            seq,
            time: record.time,
            name: event.name.clone(),
            topics: event.topics.clone(),
            data,
        },
        size,
    ))
}

impl ClaimSpec {
    pub(crate) fn new(
        queue: &str,
        worker: &str,
        count: usize,
        lease: Duration,
    ) -> Result<Self, CommitError> {
        check_name("queue", queue)?;
        check_name("worker", worker)?;
        Ok(Self {
            queue: queue.to_owned(),
            worker: worker.to_owned(),
            count: count.min(CLAIM_ENTRIES_MAX),
            lease,
        })
    }
}
