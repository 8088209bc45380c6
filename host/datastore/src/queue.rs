//! How queue entries and leases are stored, and what claiming, completing and releasing writes.
//!
//! An entry is one row in one of three tables: ready (in the order of claiming), delayed (by
//! time), leased (by identity). Moving it from one to another is a delete and a put in the same
//! record, so it is never in two and never in none. A *fence* is the position of the record that
//! leased the entry: greater for each later claim.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    codec::{DecodeError, Decoder, Encoder, malformed},
    error::ReadError,
    keys::{KeyBuilder, from_ordered_i64, ordered_i64, prefix_end},
    model::{CLAIM_ENTRIES_MAX, Database, EntryId, Lease, LeaseToken, QueuedEntry, Table},
    plan::{Change, Scan, View, Write},
};

/// Delayed entries that are due and looked at per claim. More due at once than this are claimed by
/// later claims; a claim takes at most a third of it.
const DUE_SCAN_MAX: usize = 4_096;

/// Identity of an entry inside its database: position and index of its commit.
pub(crate) type EntryKey = (u64, u32);

impl EntryId {
    pub(crate) const fn key(&self) -> EntryKey {
        (self.position, self.index)
    }

    pub(crate) fn ready_key(&self) -> Bytes {
        KeyBuilder::new()
            .byte(Table::QUEUE.prefix())
            .text(&self.queue)
            .fixed(&self.order())
            .build()
    }

    fn delayed_key(&self, available_us: i64) -> Bytes {
        KeyBuilder::new()
            .byte(Table::DELAYED.prefix())
            .text(&self.queue)
            .fixed(&ordered_i64(available_us))
            .fixed(&self.order())
            .build()
    }

    /// Where the entry is stored when it is queued.
    pub(crate) fn waiting_key(&self) -> Bytes {
        self.available_us
            .map_or_else(|| self.ready_key(), |us| self.delayed_key(us))
    }

    pub(crate) fn lease_key(&self) -> Bytes {
        lease_key(self.key())
    }

    /// Orders entries of a queue for claiming: class, then age.
    fn order(&self) -> [u8; 13] {
        let mut order = [0; 13];
        order[0] = !self.priority;
        order[1..9].copy_from_slice(&self.position.to_be_bytes());
        order[9..].copy_from_slice(&self.index.to_be_bytes());
        order
    }
}

pub(crate) fn lease_key((position, index): EntryKey) -> Bytes {
    KeyBuilder::new()
        .byte(Table::LEASES.prefix())
        .number(position)
        .fixed(&index.to_be_bytes())
        .build()
}

fn queue_prefix(table: Table, queue: &str) -> Bytes {
    KeyBuilder::new().byte(table.prefix()).text(queue).build()
}

/// Takes apart the key of a waiting entry, whose prefix is known.
fn parse_waiting(queue: &str, delayed: bool, key: &Bytes) -> Result<EntryId, DecodeError> {
    let mut decoder = Decoder(key.clone());
    decoder.take(queue.len() + 2)?;
    let available_us = if delayed {
        Some(from_ordered_i64(decoder.fixed()?))
    } else {
        None
    };
    let priority = !decoder.byte()?;
    let position = u64::from_be_bytes(decoder.fixed()?);
    let index = u32::from_be_bytes(decoder.fixed()?);
    decoder.finish()?;
    Ok(EntryId {
        queue: queue.to_owned(),
        priority,
        position,
        index,
        available_us,
    })
}

/// Value of a waiting entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingRow {
    pub(crate) attempt: u32,
    /// Whether it was ever leased: then its lease row may exist further down in the index.
    pub(crate) leased_before: bool,
    pub(crate) payload: Bytes,
}

impl WaitingRow {
    pub(crate) fn encode(&self) -> Bytes {
        let mut buffer = Vec::with_capacity(self.payload.len() + 8);
        let mut encoder = Encoder(&mut buffer);
        encoder.byte(1);
        encoder.varint(self.attempt.into());
        encoder.byte(self.leased_before.into());
        encoder.bytes(&self.payload);
        buffer.into()
    }

    fn decode(value: &Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder(value.clone());
        if decoder.byte()? != 1 {
            return Err(malformed("unknown version"));
        }
        let row = Self {
            attempt: decoder.narrow()?,
            leased_before: decoder.byte()? != 0,
            payload: decoder.bytes()?,
        };
        decoder.finish()?;
        Ok(row)
    }
}

/// Value of a leased entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LeaseRow {
    pub(crate) entry: EntryId,
    pub(crate) fence: u64,
    pub(crate) worker: String,
    pub(crate) attempt: u32,
    pub(crate) lasts: Duration,
    pub(crate) payload: Bytes,
}

impl LeaseRow {
    fn encode(&self) -> Bytes {
        let mut buffer = Vec::with_capacity(self.payload.len() + 96);
        let mut encoder = Encoder(&mut buffer);
        encoder.byte(1);
        encoder.text(&self.entry.queue);
        encoder.byte(self.entry.priority);
        encoder.varint(self.entry.position);
        encoder.varint(self.entry.index.into());
        match self.entry.available_us {
            Some(us) => {
                encoder.byte(1);
                encoder.signed(us);
            }
            None => encoder.byte(0),
        }
        encoder.varint(self.fence);
        encoder.text(&self.worker);
        encoder.varint(self.attempt.into());
        encoder.varint(u64::try_from(self.lasts.as_micros()).unwrap_or(u64::MAX));
        encoder.bytes(&self.payload);
        buffer.into()
    }

    pub(crate) fn decode(value: &Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder(value.clone());
        if decoder.byte()? != 1 {
            return Err(malformed("unknown version"));
        }
        let entry = EntryId {
            queue: decoder.text()?,
            priority: decoder.byte()?,
            position: decoder.varint()?,
            index: decoder.narrow()?,
            available_us: match decoder.byte()? {
                0 => None,
                _ => Some(decoder.signed()?),
            },
        };
        let row = Self {
            entry,
            fence: decoder.varint()?,
            worker: decoder.text()?,
            attempt: decoder.narrow()?,
            lasts: Duration::from_micros(decoder.varint()?),
            payload: decoder.bytes()?,
        };
        decoder.finish()?;
        Ok(row)
    }
}

/// What is known of a lease without reading rows.
#[derive(Debug, Clone)]
struct LeaseState {
    queue: String,
    fence: u64,
    /// On the monotonic clock.
    deadline: Duration,
}

/// Deadlines of all leases, kept in memory only.
///
/// A deadline means something only to the process whose clock it is on; after a restart every
/// lease starts anew, which at worst delays another claim by one lease.
///
/// Bounded by the leased entries, of which each worker holds as many as it asked for.
#[derive(Debug, Default)]
pub(crate) struct LeaseTable {
    leases: BTreeMap<(Database, EntryKey), LeaseState>,
}

impl LeaseTable {
    pub(crate) fn insert(&mut self, database: Database, row: &LeaseRow, deadline: Duration) {
        self.leases.insert(
            (database, row.entry.key()),
            LeaseState {
                queue: row.entry.queue.clone(),
                fence: row.fence,
                deadline,
            },
        );
    }

    /// Forgets the lease, unless a later claim has replaced it.
    pub(crate) fn remove(&mut self, database: Database, key: EntryKey) {
        self.leases.remove(&(database, key));
    }

    /// Extends the leases that hold, and returns the others.
    pub(crate) fn renew(&mut self, tokens: &[LeaseToken], deadline: Duration) -> Vec<LeaseToken> {
        let mut lost = Vec::new();
        for token in tokens {
            match self.leases.get_mut(&(token.database, token.entry.key())) {
                Some(state) if state.fence == token.fence => state.deadline = deadline,
                _ => lost.push(token.clone()),
            }
        }
        lost
    }

    fn expired(&self, database: Database, queue: &str, now: Duration) -> Vec<(EntryKey, u64)> {
        self.leases
            .range((database, (0, 0))..=(database, (u64::MAX, u32::MAX)))
            .filter(|(_, state)| state.deadline <= now && state.queue == queue)
            .map(|((_, key), state)| (*key, state.fence))
            .collect()
    }
}

/// What to claim, and when.
#[derive(Debug, Clone)]
pub(crate) struct ClaimSpec {
    pub(crate) queue: String,
    pub(crate) worker: String,
    pub(crate) count: usize,
    pub(crate) lease: Duration,
}

struct Candidate {
    entry: EntryId,
    /// Row to delete; `None` when the lease row is overwritten.
    waiting_key: Option<Bytes>,
    attempt: u32,
    leased_before: bool,
    payload: Bytes,
}

/// Where the ready entries of queues begin, for those queues that were claimed from.
///
/// Claimed entries leave deletes behind until these reach the index; a claim that began at the
/// head of the queue would step over all of them. Kept by the writer, and forgotten whenever
/// something planned did not happen.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// By database and prefix of the queue's keys: no ready entry is before this key.
    heads: BTreeMap<(Database, Bytes), Bytes>,
}

/// Queues whose heads are remembered; beyond, all are forgotten, which costs a scan each.
const HEADS_MAX: usize = 4_096;

impl Heads {
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
    }

    /// Takes note of planned writes.
    pub(crate) fn note(&mut self, database: Database, writes: &[Write]) {
        if self.heads.is_empty() {
            return;
        }
        for write in writes {
            if write.value.is_none() || write.key.first() != Some(&Table::QUEUE.prefix()) {
                continue;
            }
            let Some(end) = write.key.iter().position(|byte| *byte == 0) else {
                continue;
            };
            let prefix = write.key.slice(..=end);
            if let Some(head) = self.heads.get_mut(&(database, prefix))
                && write.key < *head
            {
                *head = write.key.clone();
            }
        }
    }

    fn of(&self, database: Database, prefix: &Bytes) -> Option<Bytes> {
        self.heads.get(&(database, prefix.clone())).cloned()
    }

    fn set(&mut self, database: Database, prefix: Bytes, head: Bytes) {
        if self.heads.len() >= HEADS_MAX {
            self.heads.clear();
        }
        self.heads.insert((database, prefix), head);
    }
}

/// What a claim writes, and what it gives.
pub(crate) fn plan_claim(
    view: &dyn View,
    database: Database,
    spec: &ClaimSpec,
    (table, heads): (&LeaseTable, &mut Heads),
    position: u64,
    (now, elapsed): (Timestamp, Duration),
) -> Result<(Change, Vec<(Lease, LeaseRow)>), ReadError> {
    let malformed_in = |table: &'static str| {
        move |source| ReadError::Malformed {
            database,
            table,
            source,
        }
    };
    let mut candidates = Vec::new();

    let prefix = queue_prefix(Table::QUEUE, &spec.queue);
    let mut scan = Scan::prefix(prefix.clone(), spec.count);
    if let Some(head) = heads.of(database, &prefix) {
        scan.from = head;
    }
    let ready = view.scan(&scan)?;
    if let Some((first, _)) = ready.first() {
        heads.set(database, prefix, first.clone());
    }
    for (key, value) in ready {
        let row = WaitingRow::decode(&value).map_err(malformed_in("queue"))?;
        candidates.push(Candidate {
            entry: parse_waiting(&spec.queue, false, &key).map_err(malformed_in("queue"))?,
            waiting_key: Some(key),
            attempt: row.attempt,
            leased_before: row.leased_before,
            payload: row.payload,
        });
    }

    let prefix = queue_prefix(Table::DELAYED, &spec.queue);
    let due = KeyBuilder::new()
        .fixed(&prefix)
        .fixed(&ordered_i64(now.as_microsecond().saturating_add(1)))
        .build();
    for (key, value) in view.scan(&Scan::between(prefix, due, DUE_SCAN_MAX))? {
        let row = WaitingRow::decode(&value).map_err(malformed_in("delayed"))?;
        candidates.push(Candidate {
            entry: parse_waiting(&spec.queue, true, &key).map_err(malformed_in("delayed"))?,
            waiting_key: Some(key),
            attempt: row.attempt,
            leased_before: row.leased_before,
            payload: row.payload,
        });
    }

    for (key, fence) in table.expired(database, &spec.queue, elapsed) {
        let Some(value) = view.get(&lease_key(key))? else {
            continue;
        };
        let row = LeaseRow::decode(&value).map_err(malformed_in("leases"))?;
        // A claim before this one in the same group may have taken it already.
        if row.fence == fence {
            candidates.push(Candidate {
                entry: row.entry,
                waiting_key: None,
                attempt: row.attempt,
                leased_before: true,
                payload: row.payload,
            });
        }
    }

    candidates.sort_by_key(|candidate| candidate.entry.order());
    candidates.truncate(spec.count);

    let mut writes = Vec::with_capacity(candidates.len() * 2);
    let mut leases = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if let Some(key) = candidate.waiting_key {
            writes.push(Write::delete(key));
        }
        let row = LeaseRow {
            fence: position,
            worker: spec.worker.clone(),
            attempt: candidate.attempt.saturating_add(1),
            lasts: spec.lease,
            payload: candidate.payload,
            entry: candidate.entry,
        };
        writes.push(Write {
            key: row.entry.lease_key(),
            value: Some(row.encode()),
            fresh: !candidate.leased_before,
        });
        let lease = Lease {
            token: LeaseToken {
                database,
                entry: row.entry.clone(),
                fence: row.fence,
            },
            payload: row.payload.clone(),
            attempt: row.attempt,
            priority: row.entry.priority,
            lasts: row.lasts,
        };
        leases.push((lease, row));
    }
    let change = Change {
        writes,
        ..Change::default()
    };
    Ok((change, leases))
}

/// The row of a lease that holds; `None` when it is fenced.
pub(crate) fn held(view: &dyn View, token: &LeaseToken) -> Result<bool, ReadError> {
    let Some(value) = view.get(&token.entry.lease_key())? else {
        return Ok(false);
    };
    let row = LeaseRow::decode(&value).map_err(|source| ReadError::Malformed {
        database: token.database,
        table: "leases",
        source,
    })?;
    Ok(row.fence == token.fence)
}

/// What giving back up to [`CLAIM_ENTRIES_MAX`] of a worker's leases writes: entries return to
/// where they waited, without delay.
pub(crate) fn plan_release(
    view: &dyn View,
    database: Database,
    worker: &str,
) -> Result<Change, ReadError> {
    let mut change = Change::default();
    let mine = lease_rows(view, database)?
        .into_iter()
        .filter(|row| row.worker == worker);
    for row in mine.take(CLAIM_ENTRIES_MAX) {
        change.writes.push(Write::delete(row.entry.lease_key()));
        let waiting = WaitingRow {
            attempt: row.attempt,
            leased_before: true,
            payload: row.payload,
        };
        change.writes.push(Write {
            key: row.entry.ready_key(),
            value: Some(waiting.encode()),
            fresh: false,
        });
        change.leases_ended.push(row.entry.key());
    }
    Ok(change)
}

/// All leases of a database.
pub(crate) fn lease_rows(view: &dyn View, database: Database) -> Result<Vec<LeaseRow>, ReadError> {
    let prefix = Bytes::copy_from_slice(&[Table::LEASES.prefix()]);
    // Leases are bounded by what workers claimed, see `LeaseTable`.
    view.scan(&Scan::prefix(prefix, usize::MAX))?
        .iter()
        .map(|(_, value)| {
            LeaseRow::decode(value).map_err(|source| ReadError::Malformed {
                database,
                table: "leases",
                source,
            })
        })
        .collect()
}

/// Entries that wait in a queue.
pub(crate) fn waiting(
    view: &dyn View,
    database: Database,
    queue: &str,
    limit: usize,
) -> Result<Vec<QueuedEntry>, ReadError> {
    let mut entries = Vec::new();
    for (table, delayed) in [(Table::QUEUE, false), (Table::DELAYED, true)] {
        let left = limit.saturating_sub(entries.len());
        if left == 0 {
            break;
        }
        for (key, value) in view.scan(&Scan::prefix(queue_prefix(table, queue), left))? {
            let malformed = |source| ReadError::Malformed {
                database,
                table: "queue",
                source,
            };
            let id = parse_waiting(queue, delayed, &key).map_err(malformed)?;
            let row = WaitingRow::decode(&value).map_err(malformed)?;
            entries.push(QueuedEntry {
                priority: id.priority,
                attempt: row.attempt,
                payload: row.payload,
                available: id
                    .available_us
                    .and_then(|us| Timestamp::from_microsecond(us).ok()),
                id,
            });
        }
    }
    Ok(entries)
}

impl Scan {
    /// All keys with a prefix.
    pub(crate) fn prefix(prefix: Bytes, limit: usize) -> Self {
        let end = prefix_end(&prefix);
        Self {
            from: prefix,
            after: None,
            to: end,
            reverse: false,
            limit,
        }
    }

    fn between(from: Bytes, to: Bytes, limit: usize) -> Self {
        Self {
            from,
            after: None,
            to: Some(to),
            reverse: false,
            limit,
        }
    }
}
