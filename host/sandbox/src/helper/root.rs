//! Puts the engine's root directory together and moves into it.
//!
//! The new root is an own file system in memory, read-only at the end, that holds nothing but
//! places for mounts. There is no `/proc`, no `/sys` and no `/etc` but the linker's files.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, UnmountFlags};

use super::BuildError;
use super::materials::{self, Materials, TEMPORARY_DIRECTORY};
use crate::sys::{self, MountWalls};
use crate::wire::JOB_DIRECTORY;

/// The finished surroundings of the engine.
pub(super) struct Place {
    pub(super) work: OwnedFd,
    /// Where Landlock allows writing.
    pub(super) writable: OwnedFd,
    /// Where Landlock allows reading.
    pub(super) visible: Vec<PathBuf>,
    pub(super) input_bytes: u64,
    pub(super) input_entries: u64,
}

pub(super) fn assemble(mut materials: Materials) -> Result<Place, BuildError> {
    let writable = match materials.store.take() {
        Some(store) => {
            enter_new_root(&materials, &store)?;
            for input in &materials.mounted_inputs {
                let at = Path::new(JOB_DIRECTORY).join(&input.at);
                attach(input.mount.as_fd(), CWD, &at).map_err(|e| {
                    BuildError::of("inputs", format!("cannot place input {:?}", input.at), e)
                })?;
            }
            open_directory(TEMPORARY_DIRECTORY)?
        }
        None => rustix::io::fcntl_dupfd_cloexec(&materials.work, 3)
            .map_err(|e| BuildError::of("work-directory", "cannot copy a descriptor", e))?,
    };
    rustix::process::fchdir(&materials.work)
        .map_err(|e| BuildError::of("work-directory", "cannot enter the work directory", e))?;
    Ok(Place {
        work: materials.work,
        writable,
        visible: materials.visible,
        input_bytes: materials.input_bytes,
        input_entries: materials.input_entries,
    })
}

fn enter_new_root(materials: &Materials, store: &OwnedFd) -> Result<(), BuildError> {
    let failed =
        |what: &'static str| move |e: Errno| BuildError::of("root", format!("cannot {what}"), e);
    // Room for some hundred directories and links; files are never written to it.
    let options = [
        ("size", "1m".to_owned()),
        ("nr_inodes", "4096".to_owned()),
        ("mode", "0755".to_owned()),
    ];
    let root = materials::tmpfs(&options).map_err(failed("make the root file system"))?;
    attach(root.as_fd(), CWD, Path::new("/")).map_err(failed("place the root file system"))?;
    // Before the rest, which may lie in the host's /tmp.
    let at = materials::relative(Path::new(TEMPORARY_DIRECTORY));
    make_directory(root.as_fd(), &at).map_err(failed("make a directory"))?;
    attach(store.as_fd(), root.as_fd(), &at).map_err(failed("place the work directory"))?;
    for graft in &materials.grafts {
        let at = materials::relative(&graft.at);
        let failed = |e: Errno| BuildError::of("root", format!("cannot place {:?}", graft.at), e);
        make_parents(root.as_fd(), &at).map_err(failed)?;
        if graft.is_directory {
            make_directory(root.as_fd(), &at).map_err(failed)?;
        } else {
            make_file(root.as_fd(), &at).map_err(failed)?;
        }
        attach(graft.mount.as_fd(), root.as_fd(), &at).map_err(failed)?;
    }
    for link in &materials.links {
        let at = materials::relative(&link.at);
        let failed = |e: Errno| BuildError::of("root", format!("cannot link {:?}", link.at), e);
        make_parents(root.as_fd(), &at).map_err(failed)?;
        match rustix::fs::symlinkat(&link.to, &root, &at) {
            // Named twice, or shown already as part of something else.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    seal_root(root.as_fd())?;
    rustix::process::fchdir(&root).map_err(failed("enter the new root"))?;
    // The old root ends up on top of the new one, from where it is taken away.
    rustix::process::pivot_root(".", ".").map_err(failed("change the root"))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(failed("leave the old root"))?;
    rustix::process::chdir("/").map_err(failed("enter the new root"))
}

/// Leaves nothing of the root file system to write to.
fn seal_root(root: BorrowedFd<'_>) -> Result<(), BuildError> {
    let walls = MountWalls {
        read_only: true,
        no_execute: true,
        no_devices: true,
        recursive: false,
    };
    sys::wall_mount(root, walls)
        .map_err(|e| BuildError::of("root", "cannot make the root read-only", e))
}

fn attach(mount: BorrowedFd<'_>, base: BorrowedFd<'_>, at: &Path) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, "", base, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn make_parents(base: BorrowedFd<'_>, at: &Path) -> Result<(), Errno> {
    let mut parents: Vec<&Path> = at
        .ancestors()
        .skip(1)
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    parents.reverse();
    parents
        .into_iter()
        .try_for_each(|parent| make_directory(base, parent))
}

fn make_directory(base: BorrowedFd<'_>, at: &Path) -> Result<(), Errno> {
    match rustix::fs::mkdirat(base, at, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e),
    }
}

fn make_file(base: BorrowedFd<'_>, at: &Path) -> Result<(), Errno> {
    rustix::fs::openat(
        base,
        at,
        OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o444),
    )
    .map(drop)
}

fn open_directory(path: &str) -> Result<OwnedFd, BuildError> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| BuildError::of("root", format!("cannot open {path}"), e))
}
