//! Space set aside, so that a full disk can be lived with.
//!
//! sled writes even to open, and after a write that found no space it refuses to read. The reserve
//! is a file of allocated blocks: when sled ran into a full disk, the file is removed, which gives
//! sled the room to be opened again. While the reserve is spent, nothing is committed; it is
//! restored as soon as there is space.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate};

const NAME: &str = "RESERVE";

#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    size_bytes: u64,
    /// Changed by the opening and the flusher, read by the writer.
    held: Mutex<bool>,
}

impl Reserve {
    pub(super) fn new(dir: &Path, size_bytes: u64) -> Self {
        let path = dir.join(NAME);
        let held = fs::metadata(&path).is_ok_and(|meta| meta.len() >= size_bytes);
        Self {
            path,
            size_bytes,
            held: Mutex::new(held || size_bytes == 0),
        }
    }

    pub(super) fn is_held(&self) -> bool {
        *self.held.lock()
    }

    /// Gives the space to whoever needs it now. Says whether there was any.
    pub(super) fn spend(&self) -> bool {
        let mut held = self.held.lock();
        if !*held || self.size_bytes == 0 {
            return false;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::error!(%error, "could not give up the reserve of space");
            return false;
        }
        *held = false;
        tracing::error!(
            size_bytes = self.size_bytes,
            "storage is full: spent the reserve of space; refusing commits until it is restored"
        );
        true
    }

    /// Sets the space aside again, if there is that much and `spare_bytes` more. Says whether it
    /// is held.
    pub(super) fn restore(&self, free_bytes: u64, spare_bytes: u64) -> bool {
        let mut held = self.held.lock();
        if *held {
            return true;
        }
        if free_bytes < self.size_bytes.saturating_add(spare_bytes) {
            return false;
        }
        match self.allocate() {
            Ok(()) => {
                *held = true;
                tracing::info!(size_bytes = self.size_bytes, "set aside a reserve of space");
            }
            Err(error) => {
                tracing::warn!(%error, "could not set a reserve of space aside");
                // Half of a reserve is worse than none: it takes space and is not there.
                if let Err(error) = fs::remove_file(&self.path) {
                    tracing::warn!(%error, "could not remove what there is of the reserve");
                }
            }
        }
        *held
    }

    fn allocate(&self) -> io::Result<()> {
        let file = File::create(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, self.size_bytes) {
            Ok(()) => Ok(()),
            // A file system without it: a file of that length still says that there was space.
            Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(self.size_bytes),
            Err(error) => Err(error.into()),
        }
    }
}
