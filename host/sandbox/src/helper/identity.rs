//! Who the helper is: a user of the job's own, root only inside namespaces of its own.

use rustix::fs::{CWD, Gid, Uid};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use super::BuildError;
use crate::sys;

/// User and group of the engine inside the user namespace. Not root, so that executing a file
/// grants nothing even within the namespace.
const INSIDE_ID: u32 = 1000;

/// Gives up root for the job's user.
pub(super) fn become_job(uid: u32) -> Result<(), BuildError> {
    let failed = |what: &'static str| {
        move |e: Errno| BuildError::of("job-user", format!("cannot {what}"), e)
    };
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    rustix::thread::set_thread_groups(&[]).map_err(failed("leave the groups"))?;
    rustix::thread::set_thread_res_gid(group, group, group)
        .map_err(failed("become the job's group"))?;
    rustix::thread::set_thread_res_uid(user, user, user)
        .map_err(failed("become the job's user"))?;
    if !(rustix::process::getuid() == user && rustix::process::geteuid() == user) {
        return Err(BuildError::new(
            "job-user",
            "still the old user after changing it",
        ));
    }
    // The change has made /proc/self root's, and the id maps are written there.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(failed("own /proc/self"))
}

/// Whether this process may mount where it is. Found by trying: in a container, root can hold the
/// capability for another namespace than this one.
pub(super) fn may_mount() -> bool {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, "/dev/null", flags).is_ok()
}

/// Enters new namespaces of every kind that hides or bounds something. The process namespace
/// begins with the next child.
pub(super) fn enter_namespaces() -> Result<(), BuildError> {
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    sys::unshare_namespaces(
        UnshareFlags::NEWUSER
            | UnshareFlags::NEWNS
            | UnshareFlags::NEWPID
            | UnshareFlags::NEWNET
            | UnshareFlags::NEWIPC
            | UnshareFlags::NEWUTS
            | UnshareFlags::NEWCGROUP,
    )
    .map_err(|e| BuildError::of("namespaces", "cannot enter new namespaces", e))?;
    let write = |file: &str, text: String| {
        std::fs::write(file, text)
            .map_err(|e| BuildError::io("id-maps", format!("cannot write {file}"), &e))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{INSIDE_ID} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{INSIDE_ID} {gid} 1"))?;
    // The machine's name is nobody's business, and results must not depend on it.
    rustix::system::sethostname(b"sandbox")
        .map_err(|e| BuildError::of("namespaces", "cannot name the host", e))
}
