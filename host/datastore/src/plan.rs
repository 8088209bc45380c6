//! From a transaction to the plain writes and events that are recorded.
//!
//! Both implementations plan with this code: checks, queue rows and seqs are decided here, once,
//! against a [`View`] of one database; what is left to them is to keep rows and events.
//! Planning changes nothing.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use bytes::Bytes;
use serde_json::Value;

use crate::{
    error::{CommitError, ReadError},
    keys::prefix_end,
    model::{
        Check, Database, EntryId, Expect, KEY_BYTES_MAX, LeaseToken, Operation, PAYLOAD_BYTES_MAX,
        QueueEntry, RANGE_LIMIT_MAX, RangeQuery, TOPIC_BYTES_MAX, TOPICS_PER_EVENT_MAX,
        TRANSACTION_BYTES_MAX, Table, Transaction,
    },
    queue::{EntryKey, WaitingRow},
};

/// A put or delete of one stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
    /// Whether the key is known never to have been written before: then a later delete leaves
    /// nothing behind. A hint for the live index only, not recorded.
    pub(crate) fresh: bool,
}

impl Write {
    pub(crate) const fn delete(key: Bytes) -> Self {
        Self {
            key,
            value: None,
            fresh: false,
        }
    }
}

/// Lower and upper end of a range of stored keys.
pub(crate) type KeyBounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Which stored keys to read, of one database.
#[derive(Debug, Clone)]
pub(crate) struct Scan {
    /// Inclusive lower end.
    pub(crate) from: Bytes,
    /// Exclusive cursor in the direction of reading.
    pub(crate) after: Option<Bytes>,
    /// Exclusive upper end.
    pub(crate) to: Option<Bytes>,
    pub(crate) reverse: bool,
    pub(crate) limit: usize,
}

impl Scan {
    /// The scan of a query, in stored keys.
    pub(crate) fn of(table: Table, query: &RangeQuery) -> Self {
        let from = table.key(&query.prefix);
        Self {
            to: prefix_end(&from),
            from,
            after: query.after.as_ref().map(|key| table.key(key)),
            reverse: query.reverse,
            limit: query.limit.min(RANGE_LIMIT_MAX),
        }
    }

    /// The scan as an ordered pair of bounds; `None` when nothing can be in it.
    pub(crate) fn bounds(&self) -> Option<KeyBounds<'_>> {
        let after = self.after.as_deref();
        let lower = match after {
            Some(after) if !self.reverse && after >= self.from.as_ref() => Excluded(after),
            _ => Included(self.from.as_ref()),
        };
        let upper = match (after, self.to.as_deref()) {
            (Some(after), Some(to)) if self.reverse => Excluded(after.min(to)),
            (Some(after), None) if self.reverse => Excluded(after),
            (_, Some(to)) => Excluded(to),
            (_, None) => Unbounded,
        };
        let empty = match (lower, upper) {
            (Included(low), Excluded(high)) => low >= high,
            (Excluded(low), Excluded(high)) => low >= high,
            _ => false,
        };
        (!empty).then_some((lower, upper))
    }
}

/// The rows of one database, as planning sees them: with all that was planned before.
pub(crate) trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError>;
    fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, ReadError>;
}

/// An event that has no seq yet, with its data both as text (for the journal) and as value.
#[derive(Debug, Clone)]
pub(crate) struct PlannedEvent {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    pub(crate) data: Value,
    pub(crate) data_text: String,
}

/// What one request changes in its database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Change {
    pub(crate) writes: Vec<Write>,
    pub(crate) events: Vec<PlannedEvent>,
    pub(crate) entries: Vec<EntryId>,
    /// Leases that end with it.
    pub(crate) leases_ended: Vec<EntryKey>,
}

/// A transaction that was checked for form and made ready off the writer's thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) database: Database,
    checks: Vec<Check>,
    writes: Vec<Write>,
    enqueue: Vec<QueueEntry>,
    dequeue: Vec<EntryId>,
    events: Vec<PlannedEvent>,
    /// The leased entry that is done with it.
    completes: Option<EntryId>,
}

impl Prepared {
    pub(crate) fn new(transaction: Transaction) -> Result<Self, CommitError> {
        let mut size_bytes = 64;
        for check in &transaction.checks {
            check_key(check.table, &check.key)?;
        }
        let mut writes = Vec::with_capacity(transaction.operations.len());
        for operation in transaction.operations {
            let (table, key, value) = match operation {
                Operation::Put { table, key, value } => (table, key, Some(value)),
                Operation::Delete { table, key } => (table, key, None),
            };
            check_key(table, &key)?;
            size_bytes += key.len() + value.as_ref().map_or(0, Bytes::len) + 16;
            writes.push(Write {
                key: table.key(&key),
                value,
                fresh: false,
            });
        }
        for entry in &transaction.enqueue {
            check_name("queue", &entry.queue)?;
            if entry.payload.len() > PAYLOAD_BYTES_MAX {
                return Err(invalid(format!(
                    "payload of {} bytes is larger than {PAYLOAD_BYTES_MAX}",
                    entry.payload.len()
                )));
            }
            size_bytes += entry.queue.len() + entry.payload.len() + 64;
        }
        for entry in &transaction.dequeue {
            size_bytes += 2 * entry.queue.len() + 128;
        }
        let mut events = Vec::with_capacity(transaction.events.len());
        for event in transaction.events {
            check_name("event name", &event.name)?;
            if event.topics.len() > TOPICS_PER_EVENT_MAX {
                return Err(invalid(format!(
                    "event `{}` has {} topics, more than {TOPICS_PER_EVENT_MAX}",
                    event.name,
                    event.topics.len(),
                )));
            }
            for topic in &event.topics {
                check_name("topic", topic)?;
                size_bytes += topic.len() + 4;
            }
            let data_text = event.data.to_string();
            size_bytes += data_text.len() + event.name.len() + 16;
            let mut topics = event.topics;
            // An event is told once per topic, however often it names it.
            topics.sort_unstable();
            topics.dedup();
            events.push(PlannedEvent {
                name: event.name,
                topics,
                data: event.data,
                data_text,
            });
        }
        if size_bytes > TRANSACTION_BYTES_MAX {
            return Err(CommitError::TooLarge {
                size_bytes,
                size_bytes_max: TRANSACTION_BYTES_MAX,
            });
        }
        Ok(Self {
            database: transaction.database,
            checks: transaction.checks,
            writes,
            enqueue: transaction.enqueue,
            dequeue: transaction.dequeue,
            events,
            completes: None,
        })
    }

    /// A transaction that also ends a lease.
    pub(crate) fn completing(
        transaction: Transaction,
        lease: &LeaseToken,
    ) -> Result<Self, CommitError> {
        if transaction.database != lease.database {
            return Err(invalid(format!(
                "transaction is of {}, the lease of {}",
                transaction.database, lease.database
            )));
        }
        let mut prepared = Self::new(transaction)?;
        prepared.completes = Some(lease.entry.clone());
        Ok(prepared)
    }

    /// What the transaction changes when it is committed at `position`.
    pub(crate) fn plan(self, view: &dyn View, position: u64) -> Result<Change, CommitError> {
        for (index, check) in self.checks.into_iter().enumerate() {
            let found = view
                .get(&check.table.key(&check.key))
                .map_err(CommitError::Read)?;
            let holds = match (&check.expect, &found) {
                (Expect::Absent, None) | (Expect::Present, Some(_)) => true,
                (Expect::Equals(wanted), Some(found)) => wanted == found,
                _ => false,
            };
            if !holds {
                return Err(CommitError::Conflict {
                    database: self.database,
                    index,
                    check: Box::new(check),
                    found,
                });
            }
        }

        let mut change = Change {
            writes: self.writes,
            events: self.events,
            entries: Vec::with_capacity(self.enqueue.len()),
            leases_ended: Vec::new(),
        };
        if let Some(entry) = self.completes {
            change.writes.push(Write::delete(entry.lease_key()));
            change.leases_ended.push(entry.key());
        }
        for entry in self.dequeue {
            for key in [entry.waiting_key(), entry.ready_key()] {
                if view.get(&key).map_err(CommitError::Read)?.is_some() {
                    change.writes.push(Write::delete(key));
                    break;
                }
            }
            let key = entry.lease_key();
            if view.get(&key).map_err(CommitError::Read)?.is_some() {
                change.writes.push(Write::delete(key));
                change.leases_ended.push(entry.key());
            }
        }
        for (index, entry) in (0_u32..).zip(self.enqueue) {
            let id = EntryId {
                queue: entry.queue,
                priority: entry.priority,
                position,
                index,
                available_us: entry.available.map(jiff::Timestamp::as_microsecond),
            };
            let row = WaitingRow {
                attempt: entry.attempt,
                leased_before: false,
                payload: entry.payload,
            };
            change.writes.push(Write {
                key: id.waiting_key(),
                value: Some(row.encode()),
                fresh: true,
            });
            change.entries.push(id);
        }
        Ok(change)
    }
}

/// Refuses names that cannot be part of a key.
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), CommitError> {
    if name.is_empty() || name.len() > TOPIC_BYTES_MAX || name.contains('\0') {
        return Err(invalid(format!(
            "{what} {name:?} is empty, longer than {TOPIC_BYTES_MAX} bytes, or has a zero byte"
        )));
    }
    Ok(())
}

fn check_key(table: Table, key: &[u8]) -> Result<(), CommitError> {
    if table.is_internal() {
        return Err(invalid("table is the store's own".to_owned()));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(invalid(format!(
            "key of {} bytes is longer than {KEY_BYTES_MAX}",
            key.len()
        )));
    }
    Ok(())
}

const fn invalid(reason: String) -> CommitError {
    CommitError::Invalid { reason }
}
