//! What was committed but is not in the index yet.
//!
//! A *layer* holds the newest rows and events of one database in memory. It keeps the index off
//! the path of a commit, and spares it rows that live only shortly: of ten writes to a key within
//! a second, one reaches sled, and of an entry queued and completed, none.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;

use crate::{
    journal::{Entry, Location},
    model::EventRecord,
    plan::Write,
};

/// Estimated memory of a row beside its bytes: map node, two handles, allocations.
const ROW_OVERHEAD_BYTES: usize = 128;
const POSTING_OVERHEAD_BYTES: usize = 64;

/// Newest state of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// `None` when it was deleted.
    pub(super) value: Option<Bytes>,
    /// Whether nothing below has the key, so that a delete need leave no trace.
    fresh: bool,
}

/// One event under one topic.
#[derive(Debug, Clone)]
pub(super) struct Posting {
    pub(super) seq: u64,
    pub(super) location: Location,
    /// Kept while it is new; otherwise read from the journal.
    pub(super) event: Option<Arc<EventRecord>>,
}

#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) rows: BTreeMap<Bytes, Slot>,
    /// Events by topic, in the order of seq; under the empty topic, all of them.
    pub(super) topics: HashMap<String, Vec<Posting>>,
    /// Estimated memory, in bytes.
    pub(super) bytes: usize,
    /// The part of it that events take.
    event_bytes: usize,
    /// Seq of the newest event, if there is one.
    pub(super) last_seq: Option<u64>,
    /// Of a frozen layer: the position that the index has when it has this layer.
    pub(super) position: u64,
}

impl Layer {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.topics.is_empty()
    }

    pub(super) fn write(&mut self, write: Write) {
        let value_bytes = write.value.as_ref().map_or(0, Bytes::len);
        let key_bytes = write.key.len() + ROW_OVERHEAD_BYTES;
        match self.rows.get_mut(&write.key) {
            Some(slot) if slot.fresh && write.value.is_none() => {
                let old = slot.value.as_ref().map_or(0, Bytes::len);
                self.rows.remove(&write.key);
                self.bytes = self.bytes.saturating_sub(old + key_bytes);
            }
            Some(slot) => {
                let old = slot.value.as_ref().map_or(0, Bytes::len);
                slot.value = write.value;
                self.bytes = (self.bytes + value_bytes).saturating_sub(old);
            }
            None => {
                self.bytes += key_bytes + value_bytes;
                self.rows.insert(
                    write.key,
                    Slot {
                        value: write.value,
                        fresh: write.fresh,
                    },
                );
            }
        }
    }

    /// Adds an event, which takes `event_bytes` of memory. Events come in the order of their seq.
    pub(super) fn post(&mut self, topics: &[String], posting: &Posting, event_bytes: usize) {
        let before = self.bytes;
        self.bytes += event_bytes;
        self.last_seq = Some(posting.seq);
        let all = String::new();
        for topic in topics.iter().chain([&all]) {
            self.bytes += POSTING_OVERHEAD_BYTES;
            match self.topics.get_mut(topic) {
                Some(postings) => postings.push(posting.clone()),
                None => {
                    self.bytes += topic.len() + POSTING_OVERHEAD_BYTES;
                    self.topics.insert(topic.clone(), vec![posting.clone()]);
                }
            }
        }
        self.event_bytes += self.bytes - before;
    }

    /// Puts a newer layer on top of this one.
    pub(super) fn absorb(&mut self, newer: Self) {
        for (key, slot) in newer.rows {
            self.write(Write {
                key,
                value: slot.value,
                fresh: slot.fresh,
            });
        }
        self.bytes += newer.event_bytes;
        self.event_bytes += newer.event_bytes;
        for (topic, mut postings) in newer.topics {
            match self.topics.get_mut(&topic) {
                Some(before) => before.append(&mut postings),
                None => {
                    self.topics.insert(topic, postings);
                }
            }
        }
        if newer.last_seq.is_some() {
            self.last_seq = newer.last_seq;
        }
    }

    /// Adds a record read from the journal. Its hints are unknown: a crash may have left the
    /// index with newer rows than its marker says, so every delete is kept.
    pub(super) fn replay(&mut self, entry: &Entry) {
        for write in &entry.record.writes {
            self.write(Write {
                // Copies: the record borrows the memory of a whole segment.
                key: Bytes::copy_from_slice(&write.key),
                value: write.value.as_deref().map(Bytes::copy_from_slice),
                fresh: false,
            });
        }
        for (seq, event) in (entry.record.first_seq..).zip(&entry.record.events) {
            self.post(
                &event.topics,
                &Posting {
                    seq,
                    location: entry.location,
                    event: None,
                },
                0,
            );
        }
    }

    /// Events of a topic after a seq.
    pub(super) fn postings(&self, topic: &str, after_seq: u64) -> &[Posting] {
        let postings = self.topics.get(topic).map_or(&[][..], Vec::as_slice);
        let start = postings.partition_point(|posting| posting.seq <= after_seq);
        postings.get(start..).unwrap_or_default()
    }
}

/// The layers of a database, newest first: `active` takes commits, `frozen` is on its way into
/// the index and does not change.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) active: Layer,
    pub(super) frozen: Option<Arc<Layer>>,
}

impl Layers {
    pub(super) fn get(&self, key: &[u8]) -> Option<&Slot> {
        self.active
            .rows
            .get(key)
            .or_else(|| self.frozen.as_ref().and_then(|frozen| frozen.rows.get(key)))
    }

    pub(super) fn bytes(&self) -> usize {
        self.active.bytes + self.frozen.as_ref().map_or(0, |frozen| frozen.bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.frozen.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &'static str, fresh: bool) -> Write {
        Write {
            key: Bytes::from_static(key.as_bytes()),
            value: Some(Bytes::from_static(b"value")),
            fresh,
        }
    }

    #[test]
    fn a_fresh_row_that_is_deleted_leaves_nothing() {
        let mut layer = Layer::default();
        layer.write(put("a", true));
        layer.write(put("a", false));
        layer.write(Write::delete(Bytes::from_static(b"a")));
        assert!(layer.is_empty());
        assert_eq!(layer.bytes, 0);
    }

    #[test]
    fn another_row_that_is_deleted_leaves_a_mark() {
        let mut layer = Layer::default();
        layer.write(put("a", false));
        let mut newer = Layer::default();
        newer.write(Write::delete(Bytes::from_static(b"a")));
        layer.absorb(newer);
        assert_eq!(
            layer
                .rows
                .get(b"a".as_slice())
                .map(|slot| slot.value.clone()),
            Some(None)
        );
    }
}
