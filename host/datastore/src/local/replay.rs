//! From the journal into an index: at opening, and when an index is rebuilt.
//!
//! Records may be applied again: they say what rows are afterwards, not how they change.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    flush::{FlushError, LAYER_FLUSH_BYTES, apply_layer},
    index::{Index, Marker},
    layer::Layer,
};
use crate::{
    journal::{Entry, JournalReader},
    model::Database,
};

/// How often progress of a rebuild is told.
const REBUILD_REPORT_EVERY: Duration = Duration::from_secs(5);

/// Applies the journal to an index from its marker up to a position, for one database.
pub(super) fn rebuild(
    index: Index,
    reader: &JournalReader,
    database: Database,
    marker: Marker,
    to: u64,
) -> Result<Index, FlushError> {
    let mut replay = Replay::new(index, marker);
    let mut progress = Progress::new(to.saturating_sub(marker.position));
    reader.replay(marker.position + 1, to, |entry| {
        progress.step();
        if entry.record.database == database {
            replay.add(&entry).map(|_| ())
        } else {
            if database == Database::Meta {
                replay.catalogue(entry.record.database, entry.position);
            }
            Ok(())
        }
    })?;
    Ok(replay.finish(to)?.0)
}

/// Says how far a long replay is.
pub(super) struct Progress {
    total: u64,
    done: u64,
    told: Instant,
}

impl Progress {
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            done: 0,
            told: Instant::now(),
        }
    }

    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.done.is_multiple_of(1024) && self.told.elapsed() > REBUILD_REPORT_EVERY {
            self.told = Instant::now();
            tracing::warn!(
                done = self.done,
                total = self.total,
                "applying the journal to the index"
            );
        }
    }
}

/// Records of one database on their way from the journal into its index.
pub(super) struct Replay {
    index: Index,
    marker: Marker,
    layer: Layer,
    /// Of `Meta`: databases whose catalogue row was written.
    catalogued: BTreeSet<Database>,
}

impl Replay {
    pub(super) fn new(index: Index, marker: Marker) -> Self {
        Self {
            index,
            marker,
            layer: Layer::default(),
            catalogued: BTreeSet::new(),
        }
    }

    pub(super) const fn marker(&self) -> &Marker {
        &self.marker
    }

    /// Adds a record of this database; says whether it was new to the index.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<bool, FlushError> {
        if entry.position <= self.marker.position {
            return Ok(false);
        }
        self.layer.replay(entry);
        if self.layer.bytes >= LAYER_FLUSH_BYTES {
            self.flush(entry.position)?;
        }
        Ok(true)
    }

    /// Notes a record of another database in the catalogue, which is not in the journal, but
    /// follows from it.
    pub(super) fn catalogue(&mut self, database: Database, position: u64) {
        if position > self.marker.position && self.catalogued.insert(database) {
            self.layer.write(super::catalogue_row(database));
        }
    }

    /// Says that there is nothing more up to `position`.
    pub(super) fn finish(mut self, position: u64) -> Result<(Index, Marker), FlushError> {
        if position > self.marker.position || !self.layer.is_empty() {
            self.flush(position)?;
        }
        Ok((self.index, self.marker))
    }

    fn flush(&mut self, position: u64) -> Result<(), FlushError> {
        let layer = std::mem::take(&mut self.layer);
        apply_layer(&self.index, &layer)?;
        self.marker.position = position.max(self.marker.position);
        self.marker.last_seq = layer.last_seq.unwrap_or(self.marker.last_seq);
        self.index.mark(&self.marker)?;
        Ok(())
    }
}
