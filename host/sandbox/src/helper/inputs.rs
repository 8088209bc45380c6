//! The host's files that become the engine's inputs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::BuildError;
use super::materials::detached;
use crate::sys::{self, MountWalls};
use crate::wire::{Order, Staged};

/// Inputs from this size on are mounted instead of copied, if the job's user may read them.
/// Copying 1 MiB costs about as much as a mount.
const MOUNT_BYTES_MIN: u64 = 1 << 20;

/// The host's files that become inputs, sorted into copies and mounts.
pub(super) struct Inputs<'a> {
    copied: Vec<Copied<'a>>,
    mounted: Vec<&'a Staged>,
    parents: BTreeSet<PathBuf>,
    /// What the copies take in whole pages.
    pub(super) copied_bytes: u64,
}

struct Copied<'a> {
    staged: &'a Staged,
    /// Opened while the caller still may.
    held: Option<File>,
}

/// Who will place the inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// This process with the rights that it has now.
    Now,
    /// This process after giving up its rights, so that it must open everything before.
    Later,
}

/// An input to mount over an empty file of the work directory.
pub(super) struct MountedInput {
    pub(super) mount: OwnedFd,
    /// Below the work directory.
    pub(super) at: PathBuf,
}

impl<'a> Inputs<'a> {
    pub(super) fn inspect(order: &'a Order, placed: Placed) -> Result<Self, BuildError> {
        let mut inputs = Self {
            copied: Vec::new(),
            mounted: Vec::new(),
            parents: BTreeSet::new(),
            copied_bytes: 0,
        };
        for staged in &order.stage {
            let from = Path::new(OsStr::from_bytes(&staged.from));
            let found = rustix::fs::stat(from)
                .map_err(|e| BuildError::of("inputs", format!("cannot find input {from:?}"), e))?;
            if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
                return Err(BuildError::new(
                    "inputs",
                    format!("input {from:?} is no regular file"),
                ));
            }
            let bytes = u64::try_from(found.st_size).unwrap_or(0);
            // A mount keeps owner and mode, and the job's user is a stranger to a root host's files.
            let readable = order.uid.is_none() || found.st_mode & libc::S_IROTH != 0;
            let mountable = order.walls.namespaces && placed == Placed::Now && readable;
            if mountable && bytes >= MOUNT_BYTES_MIN && !staged.is_output {
                inputs.mounted.push(staged);
            } else {
                let held = match placed {
                    Placed::Now => None,
                    Placed::Later => Some(open(from)?),
                };
                inputs.copied.push(Copied { staged, held });
                let page = rustix::param::page_size() as u64;
                inputs.copied_bytes = inputs
                    .copied_bytes
                    .saturating_add(bytes.div_ceil(page).saturating_mul(page));
            }
            let to = Path::new(OsStr::from_bytes(&staged.to));
            inputs.parents.extend(
                to.ancestors()
                    .skip(1)
                    .filter(|p| !p.as_os_str().is_empty())
                    .map(Path::to_owned),
            );
        }
        Ok(inputs)
    }

    /// Files and directories that the inputs take.
    pub(super) fn entries(&self) -> u64 {
        [self.copied.len(), self.mounted.len(), self.parents.len()]
            .iter()
            .map(|&n| n as u64)
            .sum()
    }

    /// Copies what is copied into the work directory, and prepares the rest.
    pub(super) fn place(
        &self,
        work: &OwnedFd,
        owner: Option<u32>,
    ) -> Result<Vec<MountedInput>, BuildError> {
        for parent in &self.parents {
            make_directory(work.as_fd(), parent, owner)?;
        }
        for copied in &self.copied {
            copy(work.as_fd(), copied, owner)?;
        }
        self.mounted
            .iter()
            .map(|staged| {
                let (from, to) = paths(staged);
                let failed =
                    |e: Errno| BuildError::of("inputs", format!("cannot mount input {from:?}"), e);
                // The empty file over which it is mounted.
                create(work.as_fd(), to, owner, false)?;
                let mount = detached(CWD, from, false).map_err(failed)?;
                let walls = MountWalls {
                    read_only: true,
                    no_execute: true,
                    no_devices: true,
                    recursive: false,
                };
                sys::wall_mount(mount.as_fd(), walls).map_err(failed)?;
                Ok(MountedInput {
                    mount,
                    at: to.to_owned(),
                })
            })
            .collect()
    }
}

fn paths(staged: &Staged) -> (&Path, &Path) {
    (
        Path::new(OsStr::from_bytes(&staged.from)),
        Path::new(OsStr::from_bytes(&staged.to)),
    )
}

pub(super) fn make_directory(
    base: BorrowedFd<'_>,
    path: &Path,
    owner: Option<u32>,
) -> Result<(), BuildError> {
    let failed = |e: Errno| BuildError::of("inputs", format!("cannot make directory {path:?}"), e);
    rustix::fs::mkdirat(base, path, Mode::from_raw_mode(0o700)).map_err(failed)?;
    if let Some(uid) = owner {
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
        rustix::fs::chownat(base, path, user, group, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    }
    Ok(())
}

fn open(from: &Path) -> Result<File, BuildError> {
    File::open(from)
        .map_err(|e| BuildError::io("inputs", format!("cannot open input {from:?}"), &e))
}

fn copy(work: BorrowedFd<'_>, copied: &Copied<'_>, owner: Option<u32>) -> Result<(), BuildError> {
    let (from, to) = paths(copied.staged);
    let mut target = File::from(create(work, to, owner, copied.staged.is_output)?);
    let result = match &copied.held {
        Some(file) => std::io::copy(&mut &*file, &mut target),
        None => std::io::copy(&mut open(from)?, &mut target),
    };
    result
        .map(|_| ())
        .map_err(|e| BuildError::io("inputs", format!("cannot copy input {from:?}"), &e))
}

fn create(
    work: BorrowedFd<'_>,
    to: &Path,
    owner: Option<u32>,
    writable: bool,
) -> Result<OwnedFd, BuildError> {
    let failed = |e: Errno| BuildError::of("inputs", format!("cannot create input {to:?}"), e);
    let file = rustix::fs::openat(
        work,
        to,
        OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::from_raw_mode(if writable { 0o600 } else { 0o400 }),
    )
    .map_err(failed)?;
    if let Some(uid) = owner {
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))
            .map_err(failed)?;
    }
    Ok(file)
}
