//! One sled database, with its faults contained.
//!
//! sled 0.34 may return an error, panic, or open empty after damage, and its `flush` is not an
//! fsync. Hence: every call runs under `catch_unwind`; a *marker* row says up to which position
//! the journal was applied, and is written only after what it covers was synced with a handle of
//! our own; whatever is wrong, the index can be thrown away.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};

use crate::{
    codec::{DecodeError, Decoder, Encoder, malformed},
    model::Table,
    plan::KeyBounds,
};

/// How long to wait for the lock of an index that was just closed in this process: sled's
/// background threads give it up a little after the last handle is dropped.
pub(super) const LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Rows applied since an opening, in bytes, from which on a summary is worth its time. sled writes a
/// few times that, and reads some 500 MB in a second.
const SUMMARY_AFTER_BYTES: u64 = 16 * 1024 * 1024;
/// Damaged indexes kept per database; each may be as large as the index.
const DAMAGED_KEPT_MAX: u32 = 3;

/// What an index holds of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) epoch: [u8; 16],
    /// Everything up to this position is applied.
    pub(super) position: u64,
    /// Seq of the newest event applied.
    pub(super) last_seq: u64,
}

impl Marker {
    pub(super) fn key() -> Bytes {
        Table::INTERNAL.key(b"marker")
    }

    fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(40);
        let mut encoder = Encoder(&mut buffer);
        encoder.byte(1);
        encoder.fixed(&self.epoch);
        encoder.varint(self.position);
        encoder.varint(self.last_seq);
        buffer
    }

    fn decode(value: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder(Bytes::copy_from_slice(value));
        if decoder.byte()? != 1 {
            return Err(malformed("unknown version"));
        }
        let marker = Self {
            epoch: decoder.fixed()?,
            position: decoder.varint()?,
            last_seq: decoder.varint()?,
        };
        decoder.finish()?;
        Ok(marker)
    }
}

/// What went wrong with an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IndexError {
    /// The bytes are wrong: rebuild it.
    Damaged(String),
    /// The machine would not: open it again.
    Io(String),
    /// There was no space. sled needs some even to open.
    Full,
    /// Another handle, maybe our own former one, has it.
    Locked,
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(reason) | Self::Io(reason) => f.write_str(reason),
            Self::Full => f.write_str("storage is full"),
            Self::Locked => f.write_str("in use by another process"),
        }
    }
}

/// Runs a call of sled such that nothing escapes from it.
fn contained<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, IndexError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(io_error(&error)),
        Ok(Err(error)) => Err(IndexError::Damaged(error.to_string())),
        Err(payload) => {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(IndexError::Damaged(format!("sled panicked: {text}")))
        }
    }
}

fn io_error(error: &io::Error) -> IndexError {
    let text = error.to_string();
    if text.contains("could not acquire lock") {
        IndexError::Locked
    } else if error.kind() == io::ErrorKind::StorageFull {
        IndexError::Full
    // sled reports unreadable files as IO errors of these kinds.
    } else if matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    ) {
        IndexError::Damaged(text)
    } else {
        IndexError::Io(text)
    }
}

pub(super) type Row = (Bytes, Option<Bytes>);

pub(super) struct Index {
    /// Taken out only when dropped.
    db: Option<sled::Db>,
    /// Our handle to sled's file, to sync it and to give it room.
    file: File,
    /// Up to where blocks were allocated for the file, in bytes. Only the flusher changes it.
    allocated_to: AtomicU64,
    /// Bytes of rows that were applied since it was opened.
    applied_bytes: AtomicU64,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens an index that has a marker.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<(Self, Marker), IndexError> {
        let index = Self::open_any(path, cache_bytes)?;
        let value = contained(|| index.db()?.get(Marker::key()))?
            .ok_or_else(|| IndexError::Damaged("marker is missing".to_owned()))?;
        let marker =
            Marker::decode(&value).map_err(|error| IndexError::Damaged(error.to_string()))?;
        Ok((index, marker))
    }

    /// Makes an empty index of a database that has nothing up to `position`.
    pub(super) fn create(
        path: &Path,
        cache_bytes: u64,
        epoch: [u8; 16],
        position: u64,
    ) -> Result<(Self, Marker), IndexError> {
        let index = Self::open_any(path, cache_bytes)?;
        let marker = Marker {
            epoch,
            position,
            last_seq: 0,
        };
        index.mark(&marker)?;
        index.sync()?;
        Ok((index, marker))
    }

    fn open_any(path: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let start = Instant::now();
        let db = loop {
            let opened = contained(|| {
                sled::Config::new()
                    .path(path)
                    .cache_capacity(cache_bytes)
                    // Written out by us, when there is space for it.
                    .flush_every_ms(None)
                    .open()
            });
            match opened {
                Err(IndexError::Locked) if start.elapsed() < LOCK_WAIT_MAX => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => break other?,
            }
        };
        let file = OpenOptions::new()
            .write(true)
            .open(path.join("db"))
            .map_err(|error| io_error(&error))?;
        Ok(Self {
            db: Some(db),
            file,
            allocated_to: AtomicU64::new(0),
            applied_bytes: AtomicU64::new(0),
        })
    }

    fn db(&self) -> sled::Result<&sled::Db> {
        self.db
            .as_ref()
            .ok_or_else(|| sled::Error::Unsupported("index is closed".to_owned()))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, IndexError> {
        let found = contained(|| self.db()?.get(key))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Up to `limit` rows.
    pub(super) fn scan(
        &self,
        bounds: KeyBounds<'_>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, IndexError> {
        contained(|| {
            let mut rows = Vec::new();
            let mut iter = self.db()?.range::<&[u8], _>(bounds);
            while rows.len() < limit {
                let next = if reverse {
                    iter.next_back()
                } else {
                    iter.next()
                };
                let Some(row) = next else { break };
                let (key, value) = row?;
                rows.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
            }
            Ok(rows)
        })
    }

    /// Applies writes at once. Others wait meanwhile (sled has one lock for this, shared by all
    /// its databases), so callers keep batches small.
    pub(super) fn apply(&self, rows: &[Row]) -> Result<(), IndexError> {
        let bytes: usize = rows
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len))
            .sum();
        self.applied_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        contained(|| {
            let mut batch = sled::Batch::default();
            for (key, value) in rows {
                match value {
                    Some(value) => batch.insert(key.as_ref(), value.as_ref()),
                    None => batch.remove(key.as_ref()),
                }
            }
            self.db()?.apply_batch(batch)
        })
    }

    pub(super) fn mark(&self, marker: &Marker) -> Result<(), IndexError> {
        self.apply(&[(Marker::key(), Some(marker.encode().into()))])
    }

    /// Allocates blocks for what sled is about to append: after a write that found no space, sled
    /// would refuse even to read.
    pub(super) fn make_room(&self, size_bytes: u64) -> Result<(), IndexError> {
        let len = self
            .file
            .metadata()
            .map_err(|error| io_error(&error))?
            .len();
        let wanted = len.saturating_add(size_bytes);
        if self.allocated_to.load(Ordering::Relaxed) >= wanted {
            return Ok(());
        }
        // Beyond the end, without moving it: sled finds its data by the length of the file.
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, len, size_bytes) {
            Ok(()) => self.allocated_to.store(wanted, Ordering::Relaxed),
            // A file system that cannot: then there is only the look at the free space.
            Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(io_error(&error.into())),
        }
        Ok(())
    }

    /// Whether so much was applied that the next opening will take long, see [`summarise`].
    pub(super) fn wants_summary(&self) -> bool {
        self.applied_bytes.load(Ordering::Relaxed) >= SUMMARY_AFTER_BYTES
    }

    /// Makes everything applied so far durable.
    pub(super) fn sync(&self) -> Result<(), IndexError> {
        contained(|| self.db()?.flush())?;
        self.file.sync_data().map_err(|error| io_error(&error))
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // Closing writes, which on a damaged index may panic.
        let db = self.db.take();
        if let Err(error) = contained(|| {
            drop(db);
            Ok(())
        }) {
            tracing::error!(reason = %error, "could not close an index in order");
        }
    }
}

/// Lets sled write a summary of its pages. It does so only when it is opened, by reading all that it
/// wrote since the last opening: 5 s after a million jobs, in which nobody should have to wait for a
/// start. So that is done at the end of the run that wrote them.
pub(super) fn summarise(path: &Path) -> Result<(), IndexError> {
    // Pages are not read for it.
    Index::open_any(path, 1024 * 1024).map(drop)
}

/// Moves an index out of the way, so that a new one can be built, and returns where it went.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{n}"));
        PathBuf::from(name)
    };
    let aside = (1..=DAMAGED_KEPT_MAX)
        .map(name)
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| name(DAMAGED_KEPT_MAX));
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::rename(path, &aside)?;
    Ok(aside)
}
