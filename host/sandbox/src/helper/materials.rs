//! What the engine will see: read-only parts of the machine, a few devices, its inputs, and the
//! work directory.
//!
//! Collected before root is given up when the host is root, else inside the new namespaces: mounts
//! are made detached, so that they can be put in place afterwards by someone with fewer rights.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use super::BuildError;
use super::inputs::{Inputs, MountedInput, make_directory};
use crate::sys::{self, MountWalls};
use crate::wire::{JOB_DIRECTORY, Order, PROGRAM_MISSING};

/// Programs, libraries and what the dynamic linker reads. Those that exist are shown.
const SYSTEM_PATHS: [&str; 8] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/alternatives",
];

pub(super) const DEVICES: [&str; 5] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

/// Where the bounded file system is mounted, and the work directory's name in it.
pub(super) const TEMPORARY_DIRECTORY: &str = "/tmp";
const WORK_NAME: &str = "job";

pub(super) struct Materials {
    /// In the order in which they must be put in place.
    pub(super) grafts: Vec<Graft>,
    pub(super) links: Vec<Link>,
    /// Inputs to mount over empty files of the work directory.
    pub(super) mounted_inputs: Vec<MountedInput>,
    /// The bounded file system, at L2.
    pub(super) store: Option<OwnedFd>,
    pub(super) work: OwnedFd,
    /// Where Landlock allows reading.
    pub(super) visible: Vec<PathBuf>,
    /// Bytes and entries that inputs take of the work directory.
    pub(super) input_bytes: u64,
    pub(super) input_entries: u64,
}

impl Materials {
    pub(super) fn work_directory(&self) -> BorrowedFd<'_> {
        self.work.as_fd()
    }
}

/// A detached mount and the absolute path at which it belongs.
pub(super) struct Graft {
    pub(super) mount: OwnedFd,
    pub(super) at: PathBuf,
    pub(super) is_directory: bool,
}

pub(super) struct Link {
    pub(super) at: PathBuf,
    pub(super) to: PathBuf,
}

/// `owner` gets the work directory and what is in it, if it is not the caller.
pub(super) fn collect(
    order: &Order,
    inputs: &Inputs<'_>,
    owner: Option<u32>,
) -> Result<Materials, BuildError> {
    let (places, links) = visible_places(order)?;
    let (store, work) = if order.walls.namespaces {
        let (store, work) = bounded_work(
            order,
            inputs,
            owner,
            places.iter().chain(links.iter().map(|link| &link.at)),
        )?;
        (Some(store), work)
    } else {
        (None, plain_work(order, owner)?)
    };
    let mounted_inputs = inputs.place(&work, owner)?;
    let mut materials = Materials {
        grafts: Vec::new(),
        links: Vec::new(),
        mounted_inputs,
        store,
        work,
        visible: Vec::new(),
        input_bytes: inputs.copied_bytes,
        input_entries: inputs.entries(),
    };
    if order.walls.namespaces {
        for place in &places {
            materials.grafts.push(graft(place, false)?);
        }
        for device in DEVICES {
            materials.grafts.push(graft(Path::new(device), true)?);
        }
        materials.links = links;
    }
    materials.visible = places;
    Ok(materials)
}

/// The real paths to show, outermost first and none inside another, and the links that lead to
/// them.
fn visible_places(order: &Order) -> Result<(Vec<PathBuf>, Vec<Link>), BuildError> {
    let mut places = BTreeSet::new();
    let mut links = Vec::new();
    if order.system_directories {
        for path in SYSTEM_PATHS.map(Path::new) {
            match std::fs::symlink_metadata(path) {
                Ok(found) if found.is_symlink() => {
                    let to = std::fs::read_link(path).map_err(|e| {
                        BuildError::io("read-only", format!("cannot read link {path:?}"), &e)
                    })?;
                    links.push(Link {
                        at: path.to_owned(),
                        to,
                    });
                    // On some machines the target lies outside the other directories.
                    if let Ok(real) = path.canonicalize() {
                        places.insert(real);
                    }
                }
                Ok(_) => {
                    places.insert(path.to_owned());
                }
                // Machines differ in which of them they have.
                Err(_) => {}
            }
        }
    }
    let program = (PROGRAM_MISSING, &order.program);
    let directories = order.read_only.iter().map(|path| ("read-only", path));
    for (stage, bytes) in directories.chain([program]) {
        let path = Path::new(OsStr::from_bytes(bytes));
        let real = path
            .canonicalize()
            .map_err(|e| BuildError::io(stage, format!("cannot find {path:?}"), &e))?;
        if real != path {
            links.push(Link {
                at: path.to_owned(),
                to: real.clone(),
            });
        }
        places.insert(real);
    }
    // Ordered by path components, so a directory comes before what lies in it.
    let mut kept: Vec<PathBuf> = Vec::new();
    for place in places {
        if !kept.iter().any(|outer| place.starts_with(outer)) {
            kept.push(place);
        }
    }
    links.retain(|link| !kept.iter().any(|outer| link.at.starts_with(outer)));
    if let Some(place) = kept.iter().find(|place| place.starts_with(JOB_DIRECTORY)) {
        let detail = format!("{place:?} would lie in the engine's work directory");
        return Err(BuildError::new("read-only", detail));
    }
    Ok((kept, links))
}

fn graft(path: &Path, is_device: bool) -> Result<Graft, BuildError> {
    let failed = |what: &'static str| {
        let path = path.to_owned();
        move |e: Errno| BuildError::of("mounts", format!("cannot {what} {path:?}"), e)
    };
    let is_directory =
        rustix::fs::stat(path).map_err(failed("inspect"))?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let mount = detached(CWD, path, is_directory).map_err(failed("mount"))?;
    sys::wall_mount(
        mount.as_fd(),
        MountWalls {
            read_only: true,
            no_execute: is_device,
            no_devices: !is_device,
            recursive: is_directory,
        },
    )
    .map_err(failed("make read-only"))?;
    Ok(Graft {
        mount,
        at: path.to_owned(),
        is_directory,
    })
}

/// A detached copy of the mount at a path, with the mounts below it.
pub(super) fn detached(
    directory: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(directory, path, flags)
}

/// A file system in memory with as many bytes and entries as the limits say, for `/tmp` and the
/// work directory in it.
fn bounded_work(
    order: &Order,
    inputs: &Inputs<'_>,
    owner: Option<u32>,
    places: impl Iterator<Item = impl AsRef<Path>>,
) -> Result<(OwnedFd, OwnedFd), BuildError> {
    let failed =
        |e: Errno| BuildError::of("work-directory", "cannot make the bounded file system", e);
    let size = order.limits.work_bytes.saturating_add(inputs.copied_bytes);
    // What is shown of the host's /tmp takes places in this one.
    let shown: usize = places
        .filter(|place| place.as_ref().starts_with(TEMPORARY_DIRECTORY))
        .map(|place| place.as_ref().components().count())
        .sum();
    // Its root and the work directory take one each.
    let entries = order
        .limits
        .work_files
        .saturating_add(inputs.entries())
        .saturating_add(2)
        .saturating_add(shown as u64);
    let store = tmpfs(&[
        ("size", size.to_string()),
        ("nr_inodes", entries.to_string()),
        ("mode", "0700".to_owned()),
    ])
    .map_err(failed)?;
    make_directory(store.as_fd(), Path::new(WORK_NAME), owner)?;
    if let Some(uid) = owner {
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
        rustix::fs::chownat(&store, "", user, group, AtFlags::EMPTY_PATH).map_err(failed)?;
    }
    let work = rustix::fs::openat(
        &store,
        WORK_NAME,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(failed)?;
    Ok((store, work))
}

/// A detached file system in memory on which nothing can be executed.
pub(super) fn tmpfs(options: &[(&str, String)]) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        rustix::mount::fsconfig_set_string(context.as_fd(), *key, value.as_str())?;
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

/// The host's directory for this run, given to the job's user.
fn plain_work(order: &Order, owner: Option<u32>) -> Result<OwnedFd, BuildError> {
    let bytes = order
        .work_directory
        .as_deref()
        .ok_or_else(|| BuildError::new("work-directory", "the order names no work directory"))?;
    let failed = |e: Errno| BuildError::of("work-directory", "cannot use the work directory", e);
    let work = rustix::fs::open(
        Path::new(OsStr::from_bytes(bytes)),
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(failed)?;
    if let Some(uid) = owner {
        rustix::fs::fchown(&work, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)))
            .map_err(failed)?;
    }
    Ok(work)
}

/// An absolute path as seen from the root directory.
pub(super) fn relative(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}
