//! Writing to the journal.
//!
//! One thread owns the [`Journal`]. A group is one write and one `fdatasync`; a group that fails
//! is cut off again, and when that fails too the journal is *poisoned*: nobody can say what is on
//! disk, so nothing more is written until the journal is opened, and thereby read, again.

use std::{
    fmt::Debug,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Location,
    format::{Hash, Kind, SEGMENT_HEADER_BYTES, SegmentHeader, encode_frame},
    read::JournalReader,
    recover::Recovered,
};
use crate::error::CommitError;

/// Settings of a journal.
#[derive(Clone)]
pub(crate) struct JournalOptions {
    /// When a new segment is begun, in bytes.
    pub(crate) segment_bytes_max: u64,
    /// Writes are refused when the file system has less space than this, in bytes: the index needs
    /// room to follow, and a full disk must not find it in the middle of a write.
    pub(crate) free_bytes_min: u64,
    /// Puts something between the journal and its files; tests inject faults here.
    pub(crate) wrap: WrapSegment,
}

impl Debug for JournalOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalOptions")
            .field("segment_bytes_max", &self.segment_bytes_max)
            .field("free_bytes_min", &self.free_bytes_min)
            .finish_non_exhaustive()
    }
}

/// Puts something between the journal and the file of a segment.
pub(crate) type WrapSegment = Arc<dyn Fn(File) -> Box<dyn SegmentIo> + Send + Sync>;

/// What the journal does to the file of a segment.
pub(crate) trait SegmentIo: Send {
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    fn sync_data(&self) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
}

impl SegmentIo for File {
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }
}

/// Why a group was not written.
#[derive(Debug, Clone)]
pub(crate) enum AppendError {
    /// The journal is as it was before.
    Failed(Arc<io::Error>),
    /// The write could not be taken back.
    Indeterminate(Arc<io::Error>),
    /// Poisoned by an earlier group.
    Poisoned(String),
}

impl From<AppendError> for CommitError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Failed(source) if is_full(&source) => Self::StorageFull { source },
            AppendError::Failed(source) => Self::Journal { source },
            AppendError::Indeterminate(source) => Self::Indeterminate { source },
            AppendError::Poisoned(reason) => Self::ReadOnly { reason },
        }
    }
}

/// Whether more space would help.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// The writing end.
pub(crate) struct Journal {
    dir: PathBuf,
    options: JournalOptions,
    reader: Arc<JournalReader>,
    file: Box<dyn SegmentIo>,
    header: SegmentHeader,
    /// Bytes of the segment that are synced; the next group begins here.
    len: u64,
    next_position: u64,
    hash: Hash,
    poisoned: Option<String>,
    group: Vec<u8>,
}

impl Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal")
            .field("segment", &self.header.number)
            .field("len", &self.len)
            .field("next_position", &self.next_position)
            .field("poisoned", &self.poisoned)
            .finish_non_exhaustive()
    }
}

impl Journal {
    /// Continues a journal that was recovered, or begins one.
    pub(crate) fn resume(
        dir: &Path,
        options: JournalOptions,
        recovered: Option<Recovered>,
        reader: Arc<JournalReader>,
        created_us: i64,
    ) -> io::Result<Self> {
        if let Some(tail) = recovered {
            let file = OpenOptions::new()
                .write(true)
                .open(segment_path(dir, tail.header.number))?;
            return Ok(Self {
                dir: dir.to_owned(),
                file: (options.wrap)(file),
                options,
                reader,
                header: tail.header,
                len: tail.len,
                next_position: tail.next_position,
                hash: tail.hash,
                poisoned: None,
                group: Vec::new(),
            });
        }
        let header = SegmentHeader {
            number: 1,
            epoch: random()?,
            salt: random()?,
            first_position: 1,
            hash: [0; 32],
            created_us,
        };
        let file = create_segment(dir, &header, &options)?;
        reader.set_epoch(header.epoch);
        reader.add_segment(1, 1);
        Ok(Self {
            dir: dir.to_owned(),
            file,
            options,
            reader,
            header,
            len: SEGMENT_HEADER_BYTES as u64,
            next_position: 1,
            hash: [0; 32],
            poisoned: None,
            group: Vec::new(),
        })
    }

    pub(crate) const fn next_position(&self) -> u64 {
        self.next_position
    }

    /// Writes and syncs bodies of records as one group. When it returns `Ok`, they are durable.
    pub(crate) fn append(
        &mut self,
        bodies: &[Vec<u8>],
        created_us: i64,
    ) -> Result<Vec<Location>, AppendError> {
        self.append_frames(Kind::Record, bodies, created_us)
    }

    /// Marks what was written as complete. A journal that ends so can prove that nothing is
    /// missing from its end.
    pub(crate) fn seal(&mut self, created_us: i64) -> Result<(), AppendError> {
        self.append_frames(Kind::Seal, &[Vec::new()], created_us)
            .map(|_| ())
    }

    fn append_frames(
        &mut self,
        kind: Kind,
        bodies: &[Vec<u8>],
        created_us: i64,
    ) -> Result<Vec<Location>, AppendError> {
        if let Some(reason) = &self.poisoned {
            return Err(AppendError::Poisoned(reason.clone()));
        }
        let failed = |error| AppendError::Failed(Arc::new(error));
        let size: usize = bodies.iter().map(|body| body.len() + 128).sum();
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        // The seal is written even where space is short: it is what frees the mind.
        if kind == Kind::Record {
            self.check_space(size).map_err(failed)?;
        }
        if self.len > SEGMENT_HEADER_BYTES as u64
            && self.len.saturating_add(size) > self.options.segment_bytes_max
        {
            self.rotate(created_us).map_err(failed)?;
        }

        let mut group = std::mem::take(&mut self.group);
        group.clear();
        let mut hash = self.hash;
        let mut locations = Vec::with_capacity(bodies.len());
        for (position, body) in (self.next_position..).zip(bodies) {
            locations.push(Location {
                segment: self.header.number,
                offset: self.len + group.len() as u64,
            });
            hash = encode_frame(
                &mut group,
                self.header.salt,
                kind,
                (position, self.next_position),
                &hash,
                body,
            )
            .map_err(|error| failed(io::Error::other(error)))?;
        }

        let written = self
            .file
            .write_all_at(&group, self.len)
            .and_then(|()| self.file.sync_data());
        let size = group.len() as u64;
        self.group = group;
        // One largest group must not pin its memory for ever.
        self.group.shrink_to(1024 * 1024);
        if let Err(error) = written {
            return Err(self.take_back(error));
        }
        self.len += size;
        self.next_position += bodies.len() as u64;
        self.hash = hash;
        Ok(locations)
    }

    /// Cuts off a group that was not written or not synced. After a failed sync the kernel may
    /// have dropped the pages, so the group is never synced again: it is removed, and the removal
    /// is synced.
    fn take_back(&mut self, error: io::Error) -> AppendError {
        let error = Arc::new(error);
        match self
            .file
            .set_len(self.len)
            .and_then(|()| self.file.sync_data())
        {
            Ok(()) => {
                tracing::error!(
                    error = %error,
                    segment = self.header.number,
                    offset = self.len,
                    "could not write to the journal; the write was taken back"
                );
                AppendError::Failed(error)
            }
            Err(second) => {
                let reason =
                    format!("journal write failed ({error}), taking it back too ({second})");
                tracing::error!(
                    segment = self.header.number,
                    offset = self.len,
                    "{reason}; refusing all writes until the store is opened again"
                );
                self.poisoned = Some(reason);
                AppendError::Indeterminate(error)
            }
        }
    }

    fn check_space(&self, size: u64) -> io::Result<()> {
        if free_bytes(&self.dir)? < self.options.free_bytes_min.saturating_add(size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn rotate(&mut self, created_us: i64) -> io::Result<()> {
        let number = self
            .header
            .number
            .checked_add(1)
            .ok_or_else(|| io::Error::other("segment numbers are used up"))?;
        let header = SegmentHeader {
            number,
            epoch: self.header.epoch,
            salt: random()?,
            first_position: self.next_position,
            hash: self.hash,
            created_us,
        };
        self.file = create_segment(&self.dir, &header, &self.options)?;
        self.reader.add_segment(number, header.first_position);
        self.header = header;
        self.len = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }
}

/// Space that this user may still fill, in bytes.
pub(crate) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// A new segment with its header, durable, or nothing.
fn create_segment(
    dir: &Path,
    header: &SegmentHeader,
    options: &JournalOptions,
) -> io::Result<Box<dyn SegmentIo>> {
    let path = segment_path(dir, header.number);
    // A leftover of a creation that failed has no frames, or it would have been recovered.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let io = (options.wrap)(file);
    let created = io
        .write_all_at(&header.encode(), 0)
        .and_then(|()| io.sync_data())
        .and_then(|()| File::open(dir)?.sync_all());
    if let Err(error) = created {
        // Best effort: an empty segment is recognised and removed at the next opening.
        if let Err(removal) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), error = %removal, "left an empty journal segment");
        }
        return Err(error);
    }
    Ok(io)
}

pub(super) fn segment_path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
