//! Where blobs are while they are written.
//!
//! Each file is locked by its writer for as long as it is there, so that a stale one can be told
//! from another process's: the kernel gives the lock of a dead process up.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bindery_core::digest::Digest;
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest as _, Sha256};

use crate::error::PutError;

/// Bytes between two looks at the space that is left.
const SPACE_CHECK_BYTES: u64 = 8 * 1024 * 1024;

/// A blob on its way. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staged {
    /// Taken when it is published.
    path: Option<PathBuf>,
    file: File,
    hash: Sha256,
    size_bytes: u64,
    size_bytes_max: u64,
    free_bytes_min: u64,
    check_space_at: u64,
}

impl Staged {
    /// A new, empty blob in `dir`. Blocks, as all methods do.
    pub(crate) fn create(
        dir: &Path,
        size_bytes_max: u64,
        free_bytes_min: u64,
    ) -> Result<Self, PutError> {
        let io = |source| PutError::io("create a staging file", source);
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(|error| io(io::Error::other(error.to_string())))?;
        let path = dir.join(format!("{}.part", hex::encode(name)));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        let staged = Self {
            path: Some(path),
            file,
            hash: Sha256::new(),
            size_bytes: 0,
            size_bytes_max,
            free_bytes_min,
            check_space_at: 0,
        };
        flock(&staged.file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| io(error.into()))?;
        Ok(staged)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        let io = |source| PutError::io("write a staging file", source);
        let size_bytes = self.size_bytes + bytes.len() as u64;
        if size_bytes > self.size_bytes_max {
            return Err(PutError::TooLarge {
                size_bytes_max: self.size_bytes_max,
            });
        }
        // Blobs are the first to be refused when space runs short, so that the state of the
        // system can still be written.
        if size_bytes >= self.check_space_at {
            self.check_space_at = size_bytes + SPACE_CHECK_BYTES;
            let stat = rustix::fs::fstatvfs(&self.file).map_err(|error| io(error.into()))?;
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            if free < self.free_bytes_min {
                return Err(io(io::ErrorKind::StorageFull.into()));
            }
        }
        self.file.write_all(bytes).map_err(io)?;
        self.hash.update(bytes);
        self.size_bytes = size_bytes;
        Ok(())
    }

    /// Makes it durable and moves it to `target(digest)`. Says whether that was there before.
    pub(crate) fn publish(
        mut self,
        target: impl FnOnce(&Digest) -> PathBuf,
    ) -> Result<(Digest, u64, bool), PutError> {
        let io = |action| move |source| PutError::io(action, source);
        let digest = Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        let target = target(&digest);
        let parent = target.parent().unwrap_or(&target);

        // One of another size was damaged outside of our control: then ours replaces it.
        let existed = fs::symlink_metadata(&target)
            .is_ok_and(|meta| meta.is_file() && meta.len() == self.size_bytes);
        if !existed {
            self.file
                .set_permissions(fs::Permissions::from_mode(0o444))
                .map_err(io("make a blob read-only"))?;
            self.file.sync_all().map_err(io("sync a blob"))?;
            match fs::create_dir(parent) {
                Ok(()) => {
                    let above = parent.parent().unwrap_or(parent);
                    sync_dir(above).map_err(io("sync a directory of blobs"))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io("create a directory of blobs")(error)),
            }
            if let Some(path) = &self.path {
                fs::rename(path, &target).map_err(io("publish a blob"))?;
            }
            self.path = None;
        }
        // Also when it existed: whoever put it may not have come to this yet.
        sync_dir(parent).map_err(io("sync a directory of blobs"))?;
        Ok((digest, self.size_bytes, existed))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "could not remove a staging file");
        }
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Removes what dead processes left, and returns how many files that were.
pub(crate) fn remove_stale(dir: &Path) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "part") {
            continue;
        }
        // It may be published or removed at any moment by its owner.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match fs::remove_file(&path) {
                Ok(()) => removed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}
