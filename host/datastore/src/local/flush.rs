//! Bringing the index up to the layers, and repairing it.
//!
//! One thread, the *flusher*, does this for all databases. Rows go in small batches (readers wait
//! for each), then they are synced, then the marker says so. A crash anywhere leaves an older
//! marker, and the journal is applied again from there: every step may be repeated.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use super::{
    Shared,
    database::{DatabaseState, IndexState},
    index::{self, Index, IndexError, Marker, Row, set_aside},
    layer::Layer,
    postings::{Block, block_key, block_of, decode_block, encode_block, merge},
    replay::rebuild,
    reserve::Reserve,
};
use crate::{error::ReadError, journal::JournalReader, model::Database};

/// A layer of this size is flushed at once, in bytes.
pub(super) const LAYER_FLUSH_BYTES: usize = 8 * 1024 * 1024;
/// Layers of a database never grow beyond this, in bytes: commits wait, then are refused.
pub(super) const LAYER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// From this size on, commits are slowed down, in bytes, so that a writer that is faster than sled
/// meets many short waits and not one of seconds.
pub(super) const LAYER_BRAKE_BYTES: usize = 16 * 1024 * 1024;
/// Rows and bytes per batch. 256 rows take sled about 4 ms, for which readers wait.
const BATCH_ROWS_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Room that sled is given for each flush, in bytes: some of its segments of 512 KiB, and so many
/// times what is flushed (measured: twice after a load, with pages written again and again more).
const SLED_ROOM_BYTES: u64 = 2 * 1024 * 1024;
const SLED_WRITES: u64 = 4;
/// How far the marker of an idle database may fall behind: so many records are read in vain at
/// the next opening after a crash.
const IDLE_POSITIONS_MAX: u64 = 16 * 1024;

/// How the flusher is woken, and how it tells that it did something.
#[derive(Debug, Default)]
pub(super) struct FlushSignal {
    state: Mutex<SignalState>,
    /// Writer and closers to flusher.
    wanted: Condvar,
    /// Flusher to writer: a round is over.
    done: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    wanted: bool,
    closing: bool,
    rounds: u64,
}

impl FlushSignal {
    pub(super) fn want(&self) {
        self.state.lock().wanted = true;
        self.wanted.notify_one();
    }

    pub(super) fn close(&self) {
        self.state.lock().closing = true;
        self.wanted.notify_one();
    }

    /// Asks for a round and waits for one that began after this. Whether it came within the time.
    pub(super) fn want_and_wait(&self, wait_max: Duration) -> bool {
        // The round under way may have begun before; the one after it did not.
        self.wait_for_rounds(2, wait_max)
    }

    /// Waits until a round is over, be it the one under way.
    pub(super) fn wait_for_round(&self, wait_max: Duration) -> bool {
        self.wait_for_rounds(1, wait_max)
    }

    fn wait_for_rounds(&self, count: u64, wait_max: Duration) -> bool {
        let deadline = Instant::now() + wait_max;
        let mut state = self.state.lock();
        let target = state.rounds + count;
        while state.rounds < target {
            state.wanted = true;
            self.wanted.notify_one();
            if state.closing || self.done.wait_until(&mut state, deadline).timed_out() {
                return state.rounds >= target;
            }
        }
        true
    }

    /// Sleeps until asked, or for `interval`; says whether to go on.
    fn sleep(&self, interval: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.wanted && !state.closing {
            self.wanted.wait_for(&mut state, interval);
        }
        state.wanted = false;
        !state.closing
    }

    fn round_done(&self) {
        self.state.lock().rounds += 1;
        self.done.notify_all();
    }
}

/// The flusher's thread: until the store is closed.
pub(super) fn run(shared: &Shared) {
    while shared.flush_signal.sleep(shared.options.flush_interval) {
        flush_all(shared, IDLE_POSITIONS_MAX);
        shared.flush_signal.round_done();
    }
}

/// One round over all databases. Whether all is in the index afterwards.
pub(super) fn flush_all(shared: &Shared, idle_positions_max: u64) -> bool {
    // Catalogue rows of the others are in `Meta`; order does not matter, see `Shared::database`.
    let states: Vec<Arc<DatabaseState>> = shared.databases.read().values().cloned().collect();
    let mut complete = true;
    for state in states {
        let result = flush_database(shared, &state, idle_positions_max);
        complete &= result.is_ok();
        report(&state, result.err().map(|error| error.to_string()));
    }
    complete
}

/// Tells when a database begins or ceases to be behind, not each time that it is.
fn report(state: &DatabaseState, reason: Option<String>) {
    let mut before = state.behind.lock();
    if *before == reason {
        return;
    }
    match &reason {
        Some(reason) => tracing::warn!(database = %state.name, reason, "index is behind"),
        None => tracing::info!(database = %state.name, "index keeps up again"),
    }
    *before = reason;
}

/// Why a database was not flushed. The next round tries again.
#[derive(Debug, thiserror::Error)]
pub(super) enum FlushError {
    #[error("no space for it")]
    NoSpace,
    #[error("{0}")]
    Index(IndexError),
    #[error("could not read the journal")]
    Journal(#[from] ReadError),
    #[error("could not set the damaged index aside")]
    SetAside(#[source] std::io::Error),
}

impl From<IndexError> for FlushError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

fn flush_database(
    shared: &Shared,
    state: &DatabaseState,
    idle_positions_max: u64,
) -> Result<(), FlushError> {
    // Everything up to here is in the layers or below: it was published before this was.
    let position = shared.published_position.load(Ordering::Acquire);
    let flushed = state.flushed_position.load(Ordering::Relaxed);
    let (empty, bytes) = {
        let layers = state.layers.read();
        (layers.is_empty(), layers.bytes())
    };
    let unavailable = matches!(*state.index.read(), IndexState::Unavailable(_));
    if empty && !unavailable && position - flushed <= idle_positions_max {
        return Ok(());
    }
    // Repaired first: what ran into a full disk can be read again with the help of the reserve.
    let index = usable_index(shared, state)?;
    make_room(shared, &index, bytes)?;

    let frozen = {
        let _gate = state.gate.write();
        let mut layers = state.layers.write();
        if layers.frozen.is_none() && !layers.active.is_empty() {
            let mut layer = std::mem::take(&mut layers.active);
            layer.position = position;
            layers.frozen = Some(Arc::new(layer));
        }
        layers.frozen.clone()
    };
    let mut marker = Marker {
        epoch: shared.reader.epoch(),
        // With nothing in the layers, nothing up to here is missing from the index.
        position,
        last_seq: state.flushed_seq.load(Ordering::Relaxed),
    };
    if let Some(layer) = &frozen {
        // It may have been frozen in an earlier round, which failed.
        marker.position = layer.position;
        marker.last_seq = layer.last_seq.unwrap_or(marker.last_seq);
        apply_layer(&index, layer).map_err(|error| fail(state, error))?;
    }
    index.mark(&marker).map_err(|error| fail(state, error))?;
    {
        let _gate = state.gate.write();
        state.layers.write().frozen = None;
    }
    state
        .flushed_position
        .store(marker.position, Ordering::Relaxed);
    state.flushed_seq.store(marker.last_seq, Ordering::Relaxed);
    Ok(())
}

fn fail(state: &DatabaseState, error: IndexError) -> FlushError {
    state.fail(error.clone());
    FlushError::Index(error)
}

/// sled must not meet a full disk. Gives it the room that flushing so much takes.
fn make_room(shared: &Shared, index: &Index, layer_bytes: usize) -> Result<(), FlushError> {
    let free = crate::journal::free_bytes(&shared.index_dir).unwrap_or(u64::MAX);
    // A quarter of what the journal leaves free is left to those who clean up.
    let kept = shared.options.free_bytes_min / 4;
    let wanted = SLED_ROOM_BYTES + layer_bytes as u64 * SLED_WRITES;
    let made = if free < kept || !shared.reserve.restore(free, kept + wanted) {
        Err(FlushError::NoSpace)
    } else {
        match index.make_room(wanted) {
            Err(IndexError::Full) => Err(FlushError::NoSpace),
            other => other.map_err(FlushError::Index),
        }
    };
    let short = matches!(made, Err(FlushError::NoSpace));
    if short != shared.short_of_space.swap(short, Ordering::Relaxed) && short {
        tracing::error!(
            free,
            wanted,
            "no space to keep the index up with the journal"
        );
    }
    made
}

/// Opening, sled writes a new summary of its pages. Without space for that it fails, and leaves
/// half a summary behind, which is damage. Spends the reserve when there is too little.
pub(super) fn has_room_to_open(path: &Path, reserve: &Reserve) -> bool {
    let size_bytes = std::fs::metadata(path.join("db")).map_or(0, |meta| meta.len());
    // Measured: 2.6 MB for a database of 257 MB; with a factor of six.
    let wanted = SLED_ROOM_BYTES + size_bytes / 16;
    let dir = path.parent().unwrap_or(path);
    let has_room = || crate::journal::free_bytes(dir).is_ok_and(|free| free >= wanted);
    has_room() || (reserve.spend() && has_room())
}

/// Spares the next opening what this run wrote. What goes wrong costs that opening its time only.
pub(super) fn summarise(shared: &Shared, database: Database) {
    let path = index_path(&shared.index_dir, database);
    if !has_room_to_open(&path, &shared.reserve) {
        return;
    }
    if let Err(error) = index::summarise(&path) {
        tracing::warn!(%database, reason = %error, "could not sum an index up");
    }
}

/// The index, made or repaired when need be.
fn usable_index(shared: &Shared, state: &DatabaseState) -> Result<Arc<Index>, FlushError> {
    let broken = match &*state.index.read() {
        IndexState::Ready(index) => return Ok(Arc::clone(index)),
        IndexState::Absent => None,
        IndexState::Unavailable(error) => Some(error.clone()),
    };
    let path = index_path(&shared.index_dir, state.name);
    if let Some(IndexError::Damaged(reason)) = &broken {
        tracing::error!(database = %state.name, reason, "index is damaged; rebuilding it from the journal");
        set_aside_and_report(&path, state.name)?;
    }
    let flushed = state.flushed_position.load(Ordering::Relaxed);
    // Without an index, everything is still in the layers; after damage, nothing is anywhere.
    let born = if broken.is_some() { 0 } else { flushed };
    let cache_bytes = shared.options.index_cache_bytes;
    if !has_room_to_open(&path, &shared.reserve) {
        return Err(FlushError::NoSpace);
    }
    let opened = open_or_create(&path, cache_bytes, &shared.reader, born);
    let (mut index, marker) = opened.inspect_err(|error| {
        *state.index.write() = IndexState::Unavailable(error.clone());
    })?;
    // What the layers do not have must be in the index before anyone reads it.
    if broken.is_some() {
        index = rebuild(index, &shared.reader, state.name, marker, flushed)?;
    }
    let index = Arc::new(index);
    *state.index.write() = IndexState::Ready(Arc::clone(&index));
    if broken.is_some() {
        tracing::warn!(database = %state.name, "index is usable again");
    }
    Ok(index)
}

pub(super) fn set_aside_and_report(path: &Path, database: Database) -> Result<(), FlushError> {
    match set_aside(path) {
        Ok(aside) => {
            tracing::error!(%database, aside = %aside.display(), "moved the damaged index aside");
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(FlushError::SetAside(error)),
    }
}

pub(super) fn index_path(index_dir: &Path, database: Database) -> PathBuf {
    index_dir.join(database.to_string())
}

/// Opens an index of this journal, or begins one where there is none. A damaged or foreign one is
/// an error.
fn open_or_create(
    path: &Path,
    cache_bytes: u64,
    reader: &JournalReader,
    born: u64,
) -> Result<(Index, Marker), IndexError> {
    if !path.join("db").exists() {
        return Index::create(path, cache_bytes, reader.epoch(), born);
    }
    let (index, marker) = Index::open(path, cache_bytes)?;
    if marker.epoch != reader.epoch() {
        return Err(IndexError::Damaged("belongs to another journal".to_owned()));
    }
    Ok((index, marker))
}

/// Applies a layer and syncs it.
pub(super) fn apply_layer(index: &Index, layer: &Layer) -> Result<(), IndexError> {
    let mut batch = Batch::new(index);
    for (key, slot) in &layer.rows {
        batch.add(key.clone(), slot.value.clone())?;
    }
    for (topic, postings) in &layer.topics {
        for chunk in postings.chunk_by(|a, b| block_of(a.seq) == block_of(b.seq)) {
            let Some(first) = chunk.first() else { continue };
            let key = block_key(topic, block_of(first.seq));
            let mut block = match index.get(&key)? {
                Some(value) => decode_block(value)
                    .map_err(|error| IndexError::Damaged(format!("events of a topic: {error}")))?,
                None => Block::new(),
            };
            merge(
                &mut block,
                chunk.iter().map(|posting| (posting.seq, posting.location)),
            );
            batch.add(key, Some(encode_block(&block)))?;
        }
    }
    batch.finish()?;
    index.sync()
}

struct Batch<'a> {
    index: &'a Index,
    rows: Vec<Row>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    const fn new(index: &'a Index) -> Self {
        Self {
            index,
            rows: Vec::new(),
            bytes: 0,
        }
    }

    fn add(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), IndexError> {
        self.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
        self.rows.push((key, value));
        if self.rows.len() >= BATCH_ROWS_MAX || self.bytes >= BATCH_BYTES_MAX {
            self.index.apply(&self.rows)?;
            self.rows.clear();
            self.bytes = 0;
        }
        Ok(())
    }

    fn finish(self) -> Result<(), IndexError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.index.apply(&self.rows)
    }
}

/// Whether the last look found the disk too full to flush.
pub(super) type ShortOfSpace = AtomicBool;
