//! Plain work directories, for levels without a bounded file system.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::Pid;

const PREFIX: &str = "run-";

static COUNTER: AtomicU64 = AtomicU64::new(0);

/// An empty directory that goes away with its contents when dropped.
#[derive(Debug)]
pub(crate) struct WorkDirectory {
    path: PathBuf,
}

impl WorkDirectory {
    pub(crate) fn create(scratch: &Path) -> std::io::Result<Self> {
        make_private(scratch)?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = scratch.join(format!("{PREFIX}{}-{number}", std::process::id()));
        // What a host that died under the same process id may have left.
        remove(&path);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The scratch directory itself, entered by nobody but the host.
pub(crate) fn make_private(scratch: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(scratch)
}

/// Removes work directories of hosts that are gone.
pub(crate) fn remove_stale(scratch: &Path) {
    let Ok(entries) = fs::read_dir(scratch) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse().ok())
            .and_then(Pid::from_raw);
        let Some(owner) = owner else { continue };
        if rustix::process::test_kill_process(owner) == Err(rustix::io::Errno::SRCH) {
            remove(&entry.path());
        }
    }
}

fn remove(path: &Path) {
    if fs::remove_dir_all(path).is_ok() || !path.exists() {
        return;
    }
    // An engine under the host's own user can lock its directories.
    unlock(path);
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove a work directory");
    }
}

/// Makes every directory below enterable. The tree is bounded by the run's limits.
fn unlock(directory: &Path) {
    if fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).is_err() {
        return;
    }
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        // Does not follow links.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unlock(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn locked_directories_go_too_and_only_those_of_dead_hosts_are_stale() {
        let scratch = tempfile::tempdir().unwrap();
        let work = WorkDirectory::create(scratch.path()).unwrap();
        fs::create_dir_all(work.path().join("a/b")).unwrap();
        fs::set_permissions(work.path().join("a"), fs::Permissions::from_mode(0o0)).unwrap();
        // Above the highest process id there can be.
        let stale = scratch.path().join("run-4194305-0");
        fs::create_dir(&stale).unwrap();
        let foreign = scratch.path().join("other");
        fs::create_dir(&foreign).unwrap();
        remove_stale(scratch.path());
        assert!(!stale.exists() && foreign.exists() && work.path().exists());
        let path = work.path().to_owned();
        drop(work);
        assert!(!path.exists());
    }
}
