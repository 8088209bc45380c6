//! Whether the work directory is full.
//!
//! At L2 the file system itself is bounded, and it is enough to look once at the end: what is
//! full then may have cut an output, whatever the engine says. Below L2 a plain directory has no
//! bound, so the supervisor counts now and then and kills.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::root::Place;
use crate::wire::Order;

/// Deeper trees hold no results; each level keeps a descriptor open while it is counted.
const DEPTH_MAX: usize = 64;

pub(super) fn is_full(order: &Order, place: &Place) -> bool {
    if order.walls.namespaces {
        // An error would leave it unknown whether outputs are whole.
        rustix::fs::fstatvfs(&place.work)
            .map_or(true, |found| found.f_bavail == 0 || found.f_ffree == 0)
    } else {
        let mut count = Count {
            bytes_left: order.limits.work_bytes.saturating_add(place.input_bytes),
            entries_left: order.limits.work_files.saturating_add(place.input_entries),
        };
        count.directory(place.work.as_fd(), 0).is_err()
    }
}

/// The bound is reached, or the engine made its directory uncountable.
struct Full;

struct Count {
    bytes_left: u64,
    entries_left: u64,
}

impl Count {
    /// Bounded by `entries_left`.
    fn directory(&mut self, directory: BorrowedFd<'_>, depth: usize) -> Result<(), Full> {
        if depth > DEPTH_MAX {
            return Err(Full);
        }
        for entry in Dir::read_from(directory).map_err(|_| Full)? {
            let entry = entry.map_err(|_| Full)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries_left = self.entries_left.checked_sub(1).ok_or(Full)?;
            // What vanished meanwhile takes nothing.
            let Ok(found) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let bytes = u64::try_from(found.st_blocks)
                .unwrap_or(0)
                .saturating_mul(512);
            self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(Full)?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                let inner: OwnedFd = match rustix::fs::openat(
                    directory,
                    name,
                    OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                    Mode::empty(),
                ) {
                    Ok(inner) => inner,
                    Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => continue,
                    Err(_) => return Err(Full),
                };
                self.directory(inner.as_fd(), depth.saturating_add(1))?;
            }
        }
        Ok(())
    }
}
