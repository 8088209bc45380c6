//! Files of the store below `/in`.

use std::fs;

use bindery_blobs::Blobs;
use bindery_core::Digest;
use bindery_runtime::RunDirectories;

/// A file for `/in`.
#[derive(Debug, Clone)]
pub(crate) struct Staged<'a> {
    /// Below `/in`.
    pub(crate) path: &'a str,
    pub(crate) digest: Digest,
}

/// Makes the content of blobs appear below `/in`: as links where the file system can, so that
/// a large file is not copied for every run.
pub(crate) fn stage(
    directories: &RunDirectories,
    blobs: &Blobs,
    files: &[Staged<'_>],
) -> std::io::Result<()> {
    for file in files {
        let target = directories.input().join(file.path);
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
