//! One database: layers over an index, read as one.
//!
//! # Why a read is a snapshot
//! The index changes only while `frozen` is applied to it, and `frozen` hides every key that is
//! changing. `gate` keeps `frozen` from being swapped or dropped in the middle of a read; so a read
//! first takes the gate, then from the index, then locks the layers once and merges. Commits are
//! published under the lock of the layers alone, hence never wait for a reader's disk.
//!
//! Lock order: gate, layers, index.

use std::{
    collections::btree_map,
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::{
    flush::FlushSignal,
    index::{Index, IndexError},
    layer::{Layer, Layers, Posting, Slot},
    postings::{block_key, block_of, blocks_end, decode_block},
};
use crate::{
    error::ReadError,
    model::Database,
    plan::{KeyBounds, Scan, View},
};

/// Rows taken from the index at a time.
const INDEX_ROWS_MAX: usize = 1_024;
/// Blocks of event locations taken from the index at a time: full ones hold 8,192 events, more
/// than a page.
const INDEX_BLOCKS_MAX: usize = 16;

/// State of the index of a database.
#[derive(Debug)]
pub(super) enum IndexState {
    /// Nothing was ever flushed: everything is in the layers.
    Absent,
    Ready(Arc<Index>),
    /// Rows that are not in the layers cannot be read until it is repaired.
    Unavailable(IndexError),
}

#[derive(Debug)]
pub(super) struct DatabaseState {
    pub(super) name: Database,
    /// Held for reading by readers, for writing by the flusher while it swaps layers.
    pub(super) gate: RwLock<()>,
    /// Written by the writer (publishing) and the flusher (swapping).
    pub(super) layers: RwLock<Layers>,
    /// Written by the flusher, and by whoever finds it damaged.
    pub(super) index: RwLock<IndexState>,
    /// Seq of the newest published event.
    last_seq: AtomicU64,
    /// Position up to which everything is in the index; the rest is in the layers. Only the
    /// flusher and the opening touch it.
    pub(super) flushed_position: AtomicU64,
    /// Seq of the newest event in the index.
    pub(super) flushed_seq: AtomicU64,
    /// Why the last flush failed, if it did; only the flusher touches it.
    pub(super) behind: Mutex<Option<String>>,
    flush_signal: Arc<FlushSignal>,
}

impl DatabaseState {
    pub(super) fn new(
        name: Database,
        index: IndexState,
        position: u64,
        last_seq: u64,
        flush_signal: Arc<FlushSignal>,
    ) -> Self {
        Self {
            name,
            gate: RwLock::new(()),
            layers: RwLock::default(),
            index: RwLock::new(index),
            last_seq: AtomicU64::new(last_seq),
            flushed_position: AtomicU64::new(position),
            flushed_seq: AtomicU64::new(last_seq),
            behind: Mutex::new(None),
            flush_signal,
        }
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq.load(Ordering::Acquire)
    }

    /// Makes a durable layer visible, all at once.
    pub(super) fn publish(&self, newer: Layer) {
        let last_seq = newer.last_seq;
        self.layers.write().active.absorb(newer);
        if let Some(last_seq) = last_seq {
            self.last_seq.store(last_seq, Ordering::Release);
        }
    }

    fn index(&self) -> Result<Option<Arc<Index>>, ReadError> {
        match &*self.index.read() {
            IndexState::Absent => Ok(None),
            IndexState::Ready(index) => Ok(Some(Arc::clone(index))),
            IndexState::Unavailable(error) => Err(self.unavailable(error)),
        }
    }

    fn unavailable(&self, error: &IndexError) -> ReadError {
        ReadError::IndexUnavailable {
            database: self.name,
            reason: error.to_string(),
        }
    }

    /// Takes note of a fault of the index, and has the flusher repair it.
    pub(super) fn fail(&self, error: IndexError) -> ReadError {
        let read_error = self.unavailable(&error);
        let mut index = self.index.write();
        if matches!(*index, IndexState::Ready(_)) {
            tracing::error!(database = %self.name, reason = %error, "index failed");
            *index = IndexState::Unavailable(error);
            self.flush_signal.want();
        }
        read_error
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        let _gate = self.gate.read();
        if let Some(slot) = self.layers.read().get(key) {
            return Ok(slot.value.clone());
        }
        match self.index()? {
            Some(index) => index.get(key).map_err(|error| self.fail(error)),
            None => Ok(None),
        }
    }

    /// Rows of the index, the layers, and on top of them `pending`.
    pub(super) fn scan(
        &self,
        scan: &Scan,
        pending: Option<&Layer>,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let Some(bounds) = scan.bounds() else {
            return Ok(Vec::new());
        };
        let _gate = self.gate.read();
        let mut indexed = IndexRows::new(self, self.index()?, scan);
        indexed.fill()?;

        let layers = self.layers.read();
        let mut above: Vec<LayerRows<'_>> = Vec::with_capacity(3);
        // Newest first: of equal keys the first one counts.
        above.extend(pending.map(|layer| LayerRows::new(layer, bounds, scan.reverse)));
        above.push(LayerRows::new(&layers.active, bounds, scan.reverse));
        above.extend(
            layers
                .frozen
                .as_ref()
                .map(|layer| LayerRows::new(layer, bounds, scan.reverse)),
        );

        let mut rows = Vec::new();
        while rows.len() < scan.limit {
            let lowest = above
                .iter()
                .filter_map(|layer| layer.head.map(|(key, _)| key))
                .chain(indexed.head().map(|(key, _)| key))
                .reduce(|a, b| if (b < a) != scan.reverse { b } else { a });
            let Some(key) = lowest.cloned() else { break };
            let mut newest: Option<Option<Bytes>> = None;
            for layer in &mut above {
                if let Some((_, slot)) = layer.head.filter(|(head, _)| **head == key) {
                    newest.get_or_insert_with(|| slot.value.clone());
                    layer.advance();
                }
            }
            if indexed.head().is_some_and(|(head, _)| *head == key)
                && let Some((_, value)) = indexed.next()?
            {
                newest.get_or_insert(Some(value));
            }
            if let Some(Some(value)) = newest {
                rows.push((key, value));
            }
        }
        Ok(rows)
    }

    /// Where events of a topic (all, when it is empty) after a seq are, up to `limit`.
    pub(super) fn postings(
        &self,
        topic: &str,
        after_seq: u64,
        limit: usize,
    ) -> Result<Vec<Posting>, ReadError> {
        let _gate = self.gate.read();
        let mut found: Vec<Posting> = Vec::new();
        if let Some(index) = self.index()? {
            let mut from = block_key(topic, block_of(after_seq.saturating_add(1)));
            let end = blocks_end(topic);
            // Each round reads further blocks; it ends with the topic or the limit.
            while found.len() < limit {
                let rows = index
                    .scan(
                        (Bound::Included(&from), Bound::Excluded(&end)),
                        false,
                        INDEX_BLOCKS_MAX,
                    )
                    .map_err(|error| self.fail(error))?;
                let Some((last, _)) = rows.last() else { break };
                // The next key of this form is longer than the last one by nothing but a byte.
                from = [last.as_ref(), &[0]].concat().into();
                for (_, value) in rows {
                    let block = decode_block(value).map_err(|source| ReadError::Malformed {
                        database: self.name,
                        table: "events",
                        source,
                    })?;
                    found.extend(block.into_iter().filter(|(seq, _)| *seq > after_seq).map(
                        |(seq, location)| Posting {
                            seq,
                            location,
                            event: None,
                        },
                    ));
                }
            }
        }
        // While `frozen` is being applied, the index may have any part of it: of two blocks that
        // were read one after the other, the later one may have it and the earlier one not. So
        // what is the same is found by its seq, not by where the index ends.
        let layers = self.layers.read();
        let mut newer: Vec<Posting> = Vec::new();
        for layer in layers.frozen.as_deref().into_iter().chain([&layers.active]) {
            newer.extend(layer.postings(topic, after_seq).iter().take(limit).cloned());
        }
        drop(layers);
        if !newer.is_empty() {
            // Those of layers first: they have their event at hand.
            newer.append(&mut found);
            found = newer;
            found.sort_by_key(|posting| posting.seq);
            found.dedup_by_key(|posting| posting.seq);
        }
        found.truncate(limit);
        Ok(found)
    }
}

impl View for DatabaseState {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        Self::get(self, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        Self::scan(self, scan, None)
    }
}

/// A database with what is planned but not yet durable on top: what the writer plans against.
pub(super) struct Overlay<'a> {
    pub(super) pending: &'a Layer,
    pub(super) below: &'a DatabaseState,
}

impl View for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, ReadError> {
        match self.pending.rows.get(key) {
            Some(slot) => Ok(slot.value.clone()),
            None => self.below.get(key),
        }
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        self.below.scan(scan, Some(self.pending))
    }
}

/// Rows of one layer, in the direction of a scan.
struct LayerRows<'a> {
    range: btree_map::Range<'a, Bytes, Slot>,
    reverse: bool,
    head: Option<(&'a Bytes, &'a Slot)>,
}

impl<'a> LayerRows<'a> {
    fn new(layer: &'a Layer, bounds: KeyBounds<'_>, reverse: bool) -> Self {
        let mut rows = Self {
            range: layer.rows.range::<[u8], _>(bounds),
            reverse,
            head: None,
        };
        rows.advance();
        rows
    }

    fn advance(&mut self) {
        self.head = if self.reverse {
            self.range.next_back()
        } else {
            self.range.next()
        };
    }
}

/// Rows of the index, in the direction of a scan, taken some at a time.
struct IndexRows<'a> {
    state: &'a DatabaseState,
    index: Option<Arc<Index>>,
    /// What is still to be taken from the index.
    scan: Scan,
    /// Taken, in reverse order: the next one is the last.
    taken: Vec<(Bytes, Bytes)>,
    /// How many to take next.
    count: usize,
}

impl<'a> IndexRows<'a> {
    fn new(state: &'a DatabaseState, index: Option<Arc<Index>>, scan: &Scan) -> Self {
        Self {
            state,
            index,
            scan: scan.clone(),
            taken: Vec::new(),
            count: scan.limit.clamp(1, INDEX_ROWS_MAX),
        }
    }

    fn head(&self) -> Option<(&Bytes, &Bytes)> {
        self.taken.last().map(|(key, value)| (key, value))
    }

    fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, ReadError> {
        let next = self.taken.pop();
        if self.taken.is_empty() {
            self.fill()?;
        }
        Ok(next)
    }

    fn fill(&mut self) -> Result<(), ReadError> {
        let (Some(index), Some(bounds)) = (&self.index, self.scan.bounds()) else {
            return Ok(());
        };
        let count = self.count;
        // More each time: what was taken so far may have been deleted in the layers.
        self.count = (count * 2).min(INDEX_ROWS_MAX);
        let mut rows = index
            .scan(bounds, self.scan.reverse, count)
            .map_err(|error| self.state.fail(error))?;
        if rows.len() < count {
            self.index = None;
        }
        if let Some((last, _)) = rows.last() {
            self.scan.after = Some(last.clone());
        }
        rows.reverse();
        self.taken = rows;
        Ok(())
    }
}
