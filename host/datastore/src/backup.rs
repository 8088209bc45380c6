//! What a backup of a store is made of, and how one becomes a store again.
//!
//! The journal is the truth, so a backup is a *prefix* of it: all segments, the last one up to its
//! last whole frame. The writer need not be asked. Segments only grow at their end, a group is
//! written after the one before it was synced, and the chain of hashes shows whether what was read
//! is one unbroken history. So a prefix that was read after a commit was acknowledged holds that
//! commit. It may also hold the group that was being synced at that moment, as a crash might have.
//!
//! A restored store gets a new *epoch*: it forks history where the backup ends, and whoever
//! remembers a seq of the former one must not take it for one of this.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{
    error::VerifyError,
    journal::{Anchor, Tail, VerifyReport, give_epoch, walk},
    local::JOURNAL_DIR,
};

/// Locked shared by whoever copies files of a store, and alone by whoever removes some.
const PIN: &str = "PIN";

/// Holds the removal of old files off, in this and other processes, until it is dropped.
#[derive(Debug)]
pub struct Pin {
    _file: File,
}

impl Pin {
    /// Waits while files are being removed. Blocks.
    ///
    /// # Errors
    /// When the file of the lock cannot be used.
    pub fn hold(dir: &Path) -> io::Result<Self> {
        let file = Self::open(dir)?;
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self { _file: file })
    }

    /// For whoever wants to remove files: `None` while somebody holds a pin.
    ///
    /// # Errors
    /// When the file of the lock cannot be used.
    pub fn try_alone(dir: &Path) -> io::Result<Option<Self>> {
        let file = Self::open(dir)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(dir: &Path) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(PIN))
    }
}

/// A file of a store, and how many of its bytes belong to the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Relative to the directory of the store.
    pub name: PathBuf,
    pub size_bytes: u64,
}

/// A prefix of the journal of a store, verified and pinned.
#[derive(Debug)]
pub struct Snapshot {
    pub report: VerifyReport,
    pub files: Vec<BackupFile>,
    dir: PathBuf,
    _pin: Pin,
}

impl Snapshot {
    /// Fixes what there is now. The store may be open in another process, or in this one. Reads
    /// the whole journal. Blocks.
    ///
    /// # Errors
    /// When the journal is damaged or cannot be read.
    pub fn take(dir: &Path) -> Result<Self, VerifyError> {
        let pin = Pin::hold(dir).map_err(|source| VerifyError::Io {
            path: dir.join(PIN),
            source,
        })?;
        let (report, extents) = walk(dir, Tail::Open, &[], &mut |_| Ok(()))?;
        let files = extents
            .into_iter()
            .filter_map(|extent| {
                let name = extent.path.file_name()?;
                Some(BackupFile {
                    name: Path::new(JOURNAL_DIR).join(name),
                    size_bytes: extent.size_bytes,
                })
            })
            .collect();
        Ok(Self {
            report,
            files,
            dir: dir.to_owned(),
            _pin: pin,
        })
    }

    /// Opens a file of it, of which `size_bytes` are to be read.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(&self, file: &BackupFile) -> io::Result<File> {
        File::open(self.dir.join(&file.name))
    }
}

/// Verifies the files of a backup that were put into `dir`, and makes them a history of their own:
/// the store there can be opened then, which builds its index. Blocks.
///
/// # Errors
/// When the journal is damaged, an anchor does not hold, or files cannot be read or written.
pub fn adopt(dir: &Path, anchors: &[Anchor]) -> Result<VerifyReport, VerifyError> {
    let (report, extents) = walk(dir, Tail::Closed, anchors, &mut |_| Ok(()))?;
    let mut epoch = [0; 16];
    getrandom::fill(&mut epoch).map_err(|error| VerifyError::Io {
        path: dir.to_owned(),
        source: io::Error::other(error.to_string()),
    })?;
    for extent in extents {
        let rewrite = || -> io::Result<()> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&extent.path)?;
            let mut head = [0; crate::journal::SEGMENT_HEADER_BYTES];
            file.read_exact_at(&mut head, 0)?;
            file.write_all_at(&give_epoch(&head, epoch)?, 0)?;
            file.sync_all()
        };
        rewrite().map_err(|source| VerifyError::Io {
            path: extent.path.clone(),
            source,
        })?;
    }
    let journal = dir.join(JOURNAL_DIR);
    fs::File::open(&journal)
        .and_then(|journal| journal.sync_all())
        .map_err(|source| VerifyError::Io {
            path: journal,
            source,
        })?;
    Ok(report)
}
