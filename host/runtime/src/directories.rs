//! The directories of one attempt, and who may find what in them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bindery_blobs::Blobs;
use bindery_core::Digest;
use tempfile::TempDir;

/// Entries of a work directory; the guest's own limit is the same.
const ENTRIES_MAX: usize = 65_536;

/// `in`, `work` and `out` of one attempt; removed when dropped.
#[derive(Debug)]
pub(crate) struct Directories {
    root: TempDir,
}

/// A file for `/in`.
#[derive(Debug, Clone)]
pub(crate) struct Staged<'a> {
    /// Below `/in`.
    pub(crate) path: &'a str,
    pub(crate) digest: Digest,
}

impl Directories {
    pub(crate) fn create(scratch: &Path) -> std::io::Result<Self> {
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

    pub(crate) fn input(&self) -> PathBuf {
        self.root.path().join("in")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.root.path().join("work")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Makes the content of blobs appear below `/in`: as links where the file system can, so that
    /// a large receptor or library is not copied for every run.
    pub(crate) fn stage(&self, blobs: &Blobs, files: &[Staged<'_>]) -> std::io::Result<()> {
        for file in files {
            let target = self.input().join(file.path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            let source = blobs.local_path(&file.digest).ok_or_else(|| {
                std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    format!("the content of {} ({}) is gone", file.path, file.digest),
                )
            })?;
            if fs::hard_link(&source, &target).is_err() {
                fs::copy(&source, &target)?;
            }
        }
        Ok(())
    }
}

/// Refuses a tree with anything but plain files and directories in it. A guest may write what it
/// likes into its work directory; a link there must never make the host read or write elsewhere.
pub(crate) fn refuse_links(root: &Path) -> Result<(), String> {
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
        let directories = Directories::create(scratch.path()).unwrap();
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
        let directories = Directories::create(scratch.path()).unwrap();
        fs::write(directories.out().join("file"), b"x").unwrap();
        drop(directories);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    }
}
