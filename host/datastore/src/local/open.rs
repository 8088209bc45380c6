//! Opening a store: lock, journal, indexes, replay, threads.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{broadcast, mpsc};

use super::{
    INDEX_DIR, JOURNAL_DIR, LocalDatastore, OpenReport, Options, REQUESTS_MAX, Shared, WAKEUPS_MAX,
    catalogue_key,
    database::{DatabaseState, IndexState},
    flush::{FlushError, FlushSignal, has_room_to_open, index_path, set_aside_and_report},
    index::{Index, IndexError, LOCK_WAIT_MAX, Marker},
    replay::{Progress, Replay},
    reserve::Reserve,
    writer,
};
use crate::{
    error::{OpenError, ReadError},
    journal::{Journal, JournalOptions, JournalReader, Recovery, WrapSegment, free_bytes},
    keys::prefix_end,
    model::Database,
    queue::{LeaseTable, lease_rows},
};

/// Opens the store in `dir`; `wrap` stands between the journal and its files.
pub(super) fn open(
    dir: &Path,
    options: Options,
    wrap: WrapSegment,
) -> Result<LocalDatastore, OpenError> {
    let start = Instant::now();
    let index_dir = dir.join(INDEX_DIR);
    for path in [dir, &index_dir] {
        fs::create_dir_all(path).map_err(|source| OpenError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
    }
    let lock = lock(dir)?;
    let names = list_indexes(&index_dir)?;
    let journal_options = JournalOptions {
        segment_bytes_max: options.segment_bytes_max,
        free_bytes_min: options.free_bytes_min,
        wrap,
    };
    let created_us = options.clock.now().as_microsecond();
    check_journal_exists(dir, &names)?;
    let (journal, reader, recovery) =
        Journal::open(&dir.join(JOURNAL_DIR), journal_options, created_us)?;

    let reserve = Reserve::new(dir, options.reserve_bytes);
    let mut opening = Opening {
        options: &options,
        index_dir: &index_dir,
        reserve: &reserve,
        reader: &reader,
        recovery: &recovery,
        indexes: BTreeMap::new(),
        rebuilt: Vec::new(),
        replayed_records: 0,
    };
    opening.open_indexes(names)?;
    opening.replay()?;

    let report = OpenReport {
        created: !recovery.existed,
        closed_in_order: recovery.sealed || !recovery.existed,
        torn_bytes: recovery.torn_bytes,
        replayed_records: opening.replayed_records,
        rebuilt: std::mem::take(&mut opening.rebuilt),
        took: start.elapsed(),
    };
    let free_bytes = free_bytes(dir).unwrap_or(u64::MAX);
    reserve.restore(free_bytes, options.free_bytes_min / 4);
    let flush_signal = Arc::new(FlushSignal::default());
    let databases: BTreeMap<Database, Arc<DatabaseState>> = opening
        .indexes
        .into_iter()
        .map(|(name, (index, marker))| {
            let ready = IndexState::Ready(Arc::new(index));
            let signal = Arc::clone(&flush_signal);
            let state = DatabaseState::new(name, ready, marker.position, marker.last_seq, signal);
            (name, Arc::new(state))
        })
        .collect();
    let leases = load_leases(&databases, &options)?;
    let shared = Arc::new(Shared {
        options,
        index_dir,
        reader,
        databases: RwLock::new(databases),
        leases: Mutex::new(leases),
        published_position: AtomicU64::new(recovery.last_position),
        short_of_space: AtomicBool::new(false),
        reserve,
        flush_signal,
        wakeups: broadcast::Sender::new(WAKEUPS_MAX),
    });
    start_threads(shared, journal, lock, report)
}

fn start_threads(
    shared: Arc<Shared>,
    journal: Journal,
    lock: File,
    report: OpenReport,
) -> Result<LocalDatastore, OpenError> {
    tracing::info!(
        created = report.created,
        closed_in_order = report.closed_in_order,
        torn_bytes = report.torn_bytes,
        replayed_records = report.replayed_records,
        rebuilt = report.rebuilt.len(),
        took_ms = report.took.as_millis(),
        "store is open"
    );
    let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
    let for_writer = Arc::clone(&shared);
    let writer = std::thread::Builder::new()
        .name("datastore-writer".to_owned())
        .spawn(move || writer::run(&for_writer, journal, receiver, lock))
        .map_err(|source| OpenError::Thread {
            thread: "writer",
            source,
        })?;
    Ok(LocalDatastore {
        shared,
        requests: Some(requests),
        writer: Some(writer),
        report,
    })
}

/// Two processes on one journal would destroy it.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("LOCK");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| OpenError::Io {
            action: "open",
            path: path.clone(),
            source,
        })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::Locked { path }),
        Err(error) => Err(OpenError::Io {
            action: "lock",
            path,
            source: error.into(),
        }),
    }
}

pub(super) fn list_indexes(index_dir: &Path) -> Result<BTreeSet<Database>, OpenError> {
    let io = |source| OpenError::Io {
        action: "list",
        path: index_dir.to_owned(),
        source,
    };
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(index_dir).map_err(io)? {
        // Others, such as indexes set aside, have names that are not a database's.
        let name = entry.map_err(io)?.file_name();
        names.extend(name.to_str().and_then(|name| name.parse::<Database>().ok()));
    }
    Ok(names)
}

/// Indexes without any journal: it was deleted or not restored. Starting with an empty one would
/// lose everything in silence.
fn check_journal_exists(dir: &Path, names: &BTreeSet<Database>) -> Result<(), OpenError> {
    let journal_dir = dir.join(JOURNAL_DIR);
    let is_empty = match fs::read_dir(&journal_dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(source) => {
            return Err(OpenError::Io {
                action: "list",
                path: journal_dir,
                source,
            });
        }
    };
    match names.first() {
        Some(database) if is_empty => Err(OpenError::JournalForeign {
            database: *database,
        }),
        _ => Ok(()),
    }
}

struct Opening<'a> {
    options: &'a Options,
    index_dir: &'a Path,
    reserve: &'a Reserve,
    reader: &'a JournalReader,
    recovery: &'a Recovery,
    indexes: BTreeMap<Database, (Index, Marker)>,
    rebuilt: Vec<(Database, String)>,
    replayed_records: u64,
}

impl Opening<'_> {
    fn open_indexes(&mut self, mut names: BTreeSet<Database>) -> Result<(), OpenError> {
        // It has the catalogue, so it comes first and always exists.
        names.insert(Database::Meta);
        self.open_index(Database::Meta)?;
        names.extend(self.catalogue()?);
        for name in names {
            if !self.indexes.contains_key(&name) {
                self.open_index(name)?;
            }
        }
        Ok(())
    }

    /// Opens an index; one that cannot be used is replaced by an empty one, to be filled from the
    /// journal.
    fn open_index(&mut self, name: Database) -> Result<(), OpenError> {
        let path = index_path(self.index_dir, name);
        let cache = self.options.index_cache_bytes;
        let reason = if path.join("db").exists() {
            if !has_room_to_open(&path, self.reserve) {
                return Err(OpenError::StorageFull { database: name });
            }
            let opened = Index::open(&path, cache);
            match opened {
                Ok((index, marker)) if marker.epoch == self.reader.epoch() => {
                    self.check_marker(name, &marker)?;
                    self.indexes.insert(name, (index, marker));
                    return Ok(());
                }
                Ok(_) => {
                    if !self.recovery.existed || self.recovery.last_position == 0 {
                        return Err(OpenError::JournalForeign { database: name });
                    }
                    "belongs to another journal".to_owned()
                }
                Err(IndexError::Damaged(reason)) => reason,
                Err(IndexError::Locked) => {
                    return Err(OpenError::IndexLocked {
                        database: name,
                        waited: LOCK_WAIT_MAX,
                    });
                }
                Err(IndexError::Full) => {
                    return Err(OpenError::StorageFull { database: name });
                }
                Err(IndexError::Io(reason)) => {
                    return Err(OpenError::Index {
                        database: name,
                        reason,
                    });
                }
            }
        } else {
            "is missing".to_owned()
        };

        if self.recovery.last_position > 0 {
            if self.reader.first_position() > 1 {
                return Err(OpenError::CannotRebuild {
                    database: name,
                    first_position: self.reader.first_position(),
                });
            }
            let records = self.recovery.last_position;
            if self.options.index_is_new {
                tracing::info!(database = %name, records, "building the index from the journal");
            } else {
                tracing::error!(
                    database = %name,
                    reason,
                    records,
                    "index cannot be used; rebuilding it from the journal"
                );
            }
            self.rebuilt.push((name, reason));
        }
        set_aside_and_report(&path, name).map_err(|error| self.replay_error(name, error))?;
        let created = Index::create(&path, cache, self.reader.epoch(), 0)
            .map_err(|error| self.replay_error(name, error.into()))?;
        self.indexes.insert(name, created);
        Ok(())
    }

    fn check_marker(&self, name: Database, marker: &Marker) -> Result<(), OpenError> {
        if marker.position > self.recovery.last_position {
            return Err(OpenError::JournalBehindIndex {
                database: name,
                journal_position: self.recovery.last_position,
                index_position: marker.position,
            });
        }
        if marker.position + 1 < self.reader.first_position() {
            return Err(OpenError::CannotRebuild {
                database: name,
                first_position: self.reader.first_position(),
            });
        }
        Ok(())
    }

    /// The databases that `Meta` knows of.
    fn catalogue(&self) -> Result<Vec<Database>, OpenError> {
        let Some((meta, _)) = self.indexes.get(&Database::Meta) else {
            return Ok(Vec::new());
        };
        let prefix = catalogue_key("");
        let end = prefix_end(&prefix).unwrap_or_default();
        let bounds = (
            std::ops::Bound::Included(prefix.as_ref()),
            std::ops::Bound::Excluded(end.as_ref()),
        );
        let rows = meta
            .scan(bounds, false, usize::MAX)
            .map_err(|error| OpenError::Index {
                database: Database::Meta,
                reason: error.to_string(),
            })?;
        Ok(rows
            .iter()
            .filter_map(|(key, _)| {
                let name = key.get(prefix.len()..)?;
                std::str::from_utf8(name).ok()?.parse().ok()
            })
            .collect())
    }

    /// Applies to each index what the journal has beyond its marker.
    fn replay(&mut self) -> Result<(), OpenError> {
        let last = self.recovery.last_position;
        let mut replays: BTreeMap<Database, Replay> = std::mem::take(&mut self.indexes)
            .into_iter()
            .map(|(name, (index, marker))| (name, Replay::new(index, marker)))
            .collect();
        let from = replays
            .values()
            .map(|replay| replay.marker().position)
            .min()
            .unwrap_or(0)
            + 1;
        let mut progress = Progress::new((last + 1).saturating_sub(from));
        // An error carries the database that it is about.
        let result = self
            .reader
            .replay(from, last, |entry| -> Result<(), ReplayError> {
                let name = entry.record.database;
                progress.step();
                if name != Database::Meta
                    && let Some(meta) = replays.get_mut(&Database::Meta)
                {
                    meta.catalogue(name, entry.position);
                }
                let replay = match replays.entry(name) {
                    Entry::Occupied(occupied) => occupied.into_mut(),
                    // Committed to for the first time shortly before a crash.
                    Entry::Vacant(vacant) => {
                        let path = index_path(self.index_dir, name);
                        let cache = self.options.index_cache_bytes;
                        let (epoch, position) = (self.reader.epoch(), entry.position - 1);
                        let (index, marker) = Index::create(&path, cache, epoch, position)
                            .map_err(|error| ReplayError(name, error.into()))?;
                        vacant.insert(Replay::new(index, marker))
                    }
                };
                let added = replay
                    .add(&entry)
                    .map_err(|error| ReplayError(name, error))?;
                self.replayed_records += u64::from(added);
                Ok(())
            });
        result.map_err(|ReplayError(name, error)| self.replay_error(name, error))?;
        for (name, replay) in replays {
            let finished = replay
                .finish(last)
                .map_err(|error| self.replay_error(name, error))?;
            self.indexes.insert(name, finished);
        }
        Ok(())
    }

    fn replay_error(&self, database: Database, error: FlushError) -> OpenError {
        match error {
            FlushError::Journal(ReadError::JournalDamaged {
                segment,
                offset,
                reason,
            }) => OpenError::JournalDamaged {
                path: self.reader.path(segment),
                offset,
                position: 0,
                reason,
            },
            FlushError::Journal(source) => OpenError::Read { database, source },
            FlushError::Index(IndexError::Full) => OpenError::StorageFull { database },
            other => OpenError::Index {
                database,
                reason: other.to_string(),
            },
        }
    }
}

struct ReplayError(Database, FlushError);

impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> Self {
        Self(Database::Meta, error.into())
    }
}

/// Leases that a former process left: each starts anew, on our clock.
fn load_leases(
    databases: &BTreeMap<Database, Arc<DatabaseState>>,
    options: &Options,
) -> Result<LeaseTable, OpenError> {
    let mut leases = LeaseTable::default();
    let now = options.clock.elapsed();
    for (database, state) in databases {
        let rows = lease_rows(&**state, *database).map_err(|source| OpenError::Read {
            database: *database,
            source,
        })?;
        for row in rows {
            leases.insert(*database, &row, now.saturating_add(row.lasts));
        }
    }
    Ok(leases)
}
