//! The vocabulary of the port: databases, tables, transactions, queue entries, events.
//!
//! A *transaction* belongs to one *database* and is applied whole. A *position* numbers every
//! committed change of the whole store and stays inside this crate; a *seq* numbers the events of
//! one database, gap-free, and is what clients see.

use std::{fmt, str::FromStr, time::Duration};

use bindery_core::ids::OrgId;
use bytes::Bytes;
use jiff::Timestamp;

/// Longest key, in bytes. sled copies keys into its index nodes; long ones make every lookup dear.
pub const KEY_BYTES_MAX: usize = 1024;
/// Largest transaction, in bytes of keys, values and events. Two of them fit in the journal's
/// group of at most 16 MiB, which in turn fits in one segment.
pub const TRANSACTION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most topics that one event may carry: each is an index entry.
pub const TOPICS_PER_EVENT_MAX: usize = 16;
/// Longest topic, event name, queue name or worker name, in bytes.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Most rows that one `range` returns; larger limits are lowered to it.
pub const RANGE_LIMIT_MAX: usize = 10_000;
/// Most events that one `events` returns; larger limits are lowered to it.
pub const EVENTS_LIMIT_MAX: usize = 1_000;
/// Most entries that one `claim` leases; larger counts are lowered to it.
pub const CLAIM_ENTRIES_MAX: usize = 1_024;

/// Largest payload of a queue entry, in bytes: a claim rewrites the payloads of up to
/// [`CLAIM_ENTRIES_MAX`] entries in one record, which must fit in a journal group.
pub const PAYLOAD_BYTES_MAX: usize = 4 * 1024;

/// Where a row, a queue or an event lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Database {
    /// What belongs to no organisation: organisations, users, tasks, services.
    Meta,
    /// What belongs to one organisation.
    Org(OrgId),
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Meta => f.write_str("meta"),
            Self::Org(org) => org.fmt(f),
        }
    }
}

impl FromStr for Database {
    type Err = bindery_core::ids::ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "meta" {
            return Ok(Self::Meta);
        }
        text.parse().map(Self::Org)
    }
}

/// A group of rows, told apart by the first byte of the stored key.
///
/// Numbers below 0x10 are the store's own. A number, once released, is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(u8);

impl Table {
    /// The store's own: marker and catalogue.
    pub(crate) const INTERNAL: Self = Self(0x01);
    /// The store's own: entries that can be claimed now, in the order of claiming.
    pub(crate) const QUEUE: Self = Self(0x02);
    /// The store's own: entries that can be claimed later, by time.
    pub(crate) const DELAYED: Self = Self(0x03);
    /// The store's own: entries that are leased.
    pub(crate) const LEASES: Self = Self(0x04);
    /// The store's own: which events carry a topic.
    pub(crate) const EVENTS: Self = Self(0x05);

    pub const ORGS: Self = Self(0x10);
    pub const USERS: Self = Self(0x11);
    pub const TOKENS: Self = Self(0x12);
    pub const TASKS: Self = Self(0x13);
    pub const SERVICES: Self = Self(0x14);
    pub const PIPELINES: Self = Self(0x15);
    pub const SETTINGS: Self = Self(0x16);
    pub const PLUGINS: Self = Self(0x17);
    pub const PLUGIN_HISTORY: Self = Self(0x18);

    pub const JOBS: Self = Self(0x20);
    pub const EXECUTIONS: Self = Self(0x21);
    pub const ATTEMPTS: Self = Self(0x22);
    pub const RESULTS: Self = Self(0x23);
    pub const FILES: Self = Self(0x24);
    pub const ARTIFACTS: Self = Self(0x25);
    pub const LOGS: Self = Self(0x26);
    pub const IDEMPOTENCY: Self = Self(0x27);
    pub const CACHE: Self = Self(0x28);
    pub const DATASETS: Self = Self(0x29);

    pub const INDEX_JOBS_NEWEST: Self = Self(0x40);
    pub const INDEX_JOBS_STATUS: Self = Self(0x41);
    pub const INDEX_JOBS_TASK: Self = Self(0x42);
    pub const INDEX_EXECUTIONS_NEWEST: Self = Self(0x43);
    pub const INDEX_EXECUTIONS_STATUS: Self = Self(0x44);
    pub const INDEX_EXECUTIONS_JOB: Self = Self(0x45);
    pub const INDEX_FILES_NEWEST: Self = Self(0x46);
    pub const INDEX_FILES_DIGEST: Self = Self(0x47);
    pub const INDEX_ARTIFACTS_EXECUTION: Self = Self(0x48);
    pub const INDEX_JOBS_LABEL: Self = Self(0x49);

    /// A table of the caller's own; `None` for the store's own numbers.
    #[must_use]
    pub const fn custom(number: u8) -> Option<Self> {
        if number < 0x10 {
            None
        } else {
            Some(Self(number))
        }
    }

    pub(crate) const fn is_internal(self) -> bool {
        self.0 < 0x10
    }

    pub(crate) const fn prefix(self) -> u8 {
        self.0
    }

    /// The stored form of a key of this table.
    pub(crate) fn key(self, key: &[u8]) -> Bytes {
        let mut full = Vec::with_capacity(key.len() + 1);
        full.push(self.0);
        full.extend_from_slice(key);
        full.into()
    }
}

/// What a row must be for the transaction to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    Absent,
    Present,
    /// The value is exactly this one: optimistic locking without a version column.
    Equals(Bytes),
}

/// A condition of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub table: Table,
    pub key: Bytes,
    pub expect: Expect,
}

/// A write of a transaction. Writes are applied in order; the last one to a key wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Values of more than 4 KiB are stored but make sled slow and fat: put them in blobs.
    Put {
        table: Table,
        key: Bytes,
        value: Bytes,
    },
    Delete {
        table: Table,
        key: Bytes,
    },
}

/// Something to be claimed by a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// Which queue of the database; no zero byte in it.
    pub queue: String,
    /// Class of priority: higher is claimed first; within a class, older first.
    pub priority: u8,
    /// What the worker gets; a reference, not the work itself: at most [`PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
    /// How many times it was tried before; each claim adds one.
    pub attempt: u32,
    /// Not to be claimed before this time: backoff. Wall clock, because it survives restarts.
    pub available: Option<Timestamp>,
}

impl QueueEntry {
    /// An entry of middle priority that can be claimed at once.
    pub fn new(queue: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            queue: queue.into(),
            priority: 128,
            payload: payload.into(),
            attempt: 0,
            available: None,
        }
    }

    #[must_use]
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    #[must_use]
    pub const fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    #[must_use]
    pub const fn available(mut self, at: Timestamp) -> Self {
        self.available = Some(at);
        self
    }
}

/// Names one queue entry of a database, for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub(crate) queue: String,
    pub(crate) priority: u8,
    /// Position of the commit that queued it, and its index therein: together the age.
    pub(crate) position: u64,
    pub(crate) index: u32,
    pub(crate) available_us: Option<i64>,
}

impl EntryId {
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }
}

/// A queue entry that waits, as [`Datastore::queued`](crate::Datastore::queued) lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedEntry {
    pub id: EntryId,
    pub priority: u8,
    pub attempt: u32,
    pub payload: Bytes,
    pub available: Option<Timestamp>,
}

/// The right to complete one entry, until a later claim of the same entry takes it away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseToken {
    pub database: Database,
    pub entry: EntryId,
    /// Greater for each later claim, across restarts.
    pub fence: u64,
}

/// A claimed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub token: LeaseToken,
    pub payload: Bytes,
    /// 1 for the first claim of an entry queued with attempt 0.
    pub attempt: u32,
    pub priority: u8,
    /// How long after the claim another worker may take the entry. Measured on a clock that no one
    /// can set, hence a duration and not a time.
    pub lasts: Duration,
}

/// Something that happened, to be told to whoever watches one of the topics.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// No zero byte in them; at most [`TOPICS_PER_EVENT_MAX`]. An event without topics is seen
    /// only by readers of the whole database.
    pub topics: Vec<String>,
    pub name: String,
    pub data: serde_json::Value,
}

impl NewEvent {
    pub fn new(
        name: impl Into<String>,
        topics: impl IntoIterator<Item = impl Into<String>>,
        data: serde_json::Value,
    ) -> Self {
        Self {
            topics: topics.into_iter().map(Into::into).collect(),
            name: name.into(),
            data,
        }
    }
}

/// An event as it was committed.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRecord {
    /// Grows by one per event of the database, from 1, without gaps.
    pub seq: u64,
    pub time: Timestamp,
    pub name: String,
    pub topics: Vec<String>,
    pub data: serde_json::Value,
}

/// Which events to read, in the order of their seq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventQuery {
    pub after_seq: u64,
    /// Only events of this topic; all of the database when `None`.
    pub topic: Option<String>,
    /// At most [`EVENTS_LIMIT_MAX`].
    pub limit: usize,
}

impl EventQuery {
    #[must_use]
    pub const fn all(after_seq: u64, limit: usize) -> Self {
        Self {
            after_seq,
            topic: None,
            limit,
        }
    }

    pub fn topic(topic: impl Into<String>, after_seq: u64, limit: usize) -> Self {
        Self {
            after_seq,
            topic: Some(topic.into()),
            limit,
        }
    }
}

/// Which rows of a table to read, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// Only keys that start so.
    pub prefix: Bytes,
    /// Only keys beyond this one (a whole key, the last of the page before), in the direction of
    /// reading.
    pub after: Option<Bytes>,
    pub reverse: bool,
    /// At most [`RANGE_LIMIT_MAX`].
    pub limit: usize,
}

impl RangeQuery {
    pub fn prefix(prefix: impl Into<Bytes>, limit: usize) -> Self {
        Self {
            prefix: prefix.into(),
            after: None,
            reverse: false,
            limit,
        }
    }

    #[must_use]
    pub fn after(mut self, key: Option<Bytes>) -> Self {
        self.after = key;
        self
    }

    #[must_use]
    pub const fn reverse(mut self) -> Self {
        self.reverse = true;
        self
    }
}

/// Checks, writes, queue entries and events that are committed together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Transaction {
    pub database: Database,
    pub checks: Vec<Check>,
    pub operations: Vec<Operation>,
    pub enqueue: Vec<QueueEntry>,
    /// Entries to take out of their queue. One that is leased loses its lease (its worker will be
    /// fenced off); one that is gone is passed over.
    pub dequeue: Vec<EntryId>,
    pub events: Vec<NewEvent>,
}

impl Transaction {
    #[must_use]
    pub const fn new(database: Database) -> Self {
        Self {
            database,
            checks: Vec::new(),
            operations: Vec::new(),
            enqueue: Vec::new(),
            dequeue: Vec::new(),
            events: Vec::new(),
        }
    }

    #[must_use]
    pub fn check(mut self, table: Table, key: impl Into<Bytes>, expect: Expect) -> Self {
        self.checks.push(Check {
            table,
            key: key.into(),
            expect,
        });
        self
    }

    #[must_use]
    pub fn put(mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.operations.push(Operation::Put {
            table,
            key: key.into(),
            value: value.into(),
        });
        self
    }

    #[must_use]
    pub fn delete(mut self, table: Table, key: impl Into<Bytes>) -> Self {
        self.operations.push(Operation::Delete {
            table,
            key: key.into(),
        });
        self
    }

    #[must_use]
    pub fn enqueue(mut self, entry: QueueEntry) -> Self {
        self.enqueue.push(entry);
        self
    }

    #[must_use]
    pub fn dequeue(mut self, entry: EntryId) -> Self {
        self.dequeue.push(entry);
        self
    }

    #[must_use]
    pub fn event(mut self, event: NewEvent) -> Self {
        self.events.push(event);
        self
    }
}

/// What a commit was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Seq of the first event of the transaction; `last_seq + 1` when it has none.
    pub first_seq: u64,
    /// Seq of its last event; the seq before it when it has none.
    pub last_seq: u64,
    /// One per entry that was queued, in order.
    pub entries: Vec<EntryId>,
    /// Time that its events carry.
    pub time: Timestamp,
}
