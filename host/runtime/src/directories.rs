//! The directories of one run, and who may find what in them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bindery_core::Artifact;
use tempfile::TempDir;

use crate::{CallGrants, HttpHosts};

/// Entries of a work directory; the guest's own limit is the same.
const ENTRIES_MAX: usize = 65_536;

/// `in`, `work` and `out` of one run; removed when dropped.
#[derive(Debug)]
pub struct RunDirectories {
    root: TempDir,
}

impl RunDirectories {
    /// Makes them in a directory of their own below `scratch`.
    ///
    /// # Errors
    /// The operating system's.
    pub fn create(scratch: &Path) -> std::io::Result<Self> {
        fs::create_dir_all(scratch)?;
        let root = tempfile::Builder::new()
            .prefix("run-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(scratch)?;
        for name in ["in", "work", "out"] {
            fs::create_dir(root.path().join(name))?;
        }
        Ok(Self { root })
    }

    #[must_use]
    pub fn input(&self) -> PathBuf {
        self.root.path().join("in")
    }

    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    #[must_use]
    pub fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// All three, as a guest sees them, and no hosts.
    #[must_use]
    pub fn grants(&self) -> CallGrants {
        CallGrants {
            input: Some(self.input()),
            work: Some(self.work()),
            out: Some(self.out()),
            hosts: HttpHosts::default(),
        }
    }

    /// The file of an artifact, when it is a plain one. Links on the way are the business of
    /// [`refuse_links`].
    #[must_use]
    pub fn artifact(&self, artifact: &Artifact) -> Option<PathBuf> {
        let path = match artifact.path.strip_prefix("/out/") {
            Some(below) => self.out().join(below),
            None => self.work().join(artifact.path.strip_prefix("/work/")?),
        };
        path.symlink_metadata()
            .is_ok_and(|metadata| metadata.is_file())
            .then_some(path)
    }
}

/// Refuses a tree with anything but plain files and directories in it. A guest may write what it
/// likes into its work directory; a link there must never make the host read or write elsewhere.
///
/// # Errors
/// What is there instead.
pub fn refuse_links(root: &Path) -> Result<(), String> {
    let mut waiting = vec![root.to_owned()];
    let mut seen = 0;
    while let Some(directory) = waiting.pop() {
        let listing = fs::read_dir(&directory).map_err(|error| error.to_string())?;
        for entry in listing {
            let entry = entry.map_err(|error| error.to_string())?;
            let kind = entry.file_type().map_err(|error| error.to_string())?;
            seen += 1;
            if seen > ENTRIES_MAX {
                return Err(format!("more than {ENTRIES_MAX} files"));
            }
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if !kind.is_file() {
                let name = entry.file_name();
                return Err(format!("`{}` is not a plain file", name.to_string_lossy()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn links_are_refused_wherever_they_are() {
        let scratch = tempfile::tempdir().unwrap();
        let directories = RunDirectories::create(scratch.path()).unwrap();
        fs::create_dir_all(directories.work().join("a/b")).unwrap();
        fs::write(directories.work().join("a/b/plain"), b"x").unwrap();
        refuse_links(&directories.work()).unwrap();
        std::os::unix::fs::symlink("/etc", directories.work().join("a/b/link")).unwrap();
        assert!(
            refuse_links(&directories.work())
                .unwrap_err()
                .contains("link")
        );
    }

    #[test]
    fn everything_is_gone_after_a_run() {
        let scratch = tempfile::tempdir().unwrap();
        let directories = RunDirectories::create(scratch.path()).unwrap();
        fs::write(directories.out().join("file"), b"x").unwrap();
        drop(directories);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
