//! What is in a directory of blobs, by its files: for whoever proves it whole or copies it, beside a
//! process that uses it.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use bindery_core::digest::Digest;
use sha2::{Digest as _, Sha256};

use crate::store::STAGING_DIR;

/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// A file in a directory of blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// `None` when the file has no name of a blob: somebody else put it there.
    pub digest: Option<Digest>,
    pub path: PathBuf,
    pub size_bytes: u64,
}

/// Calls `each` for every file in the directory of blobs `dir`, in the order of digests, except
/// those that are still being written. Blobs that are put meanwhile may be among them or not;
/// those that were there before are. Blocks.
///
/// # Errors
/// When a directory cannot be read, or `each` says so.
pub fn list<E: From<io::Error>>(
    dir: &Path,
    mut each: impl FnMut(Listed) -> Result<(), E>,
) -> Result<(), E> {
    for head in sorted(dir)? {
        let name = head.file_name().unwrap_or_default().to_string_lossy();
        if name == STAGING_DIR {
            continue;
        }
        if !head.is_dir() {
            each(listed(None, head)?)?;
            continue;
        }
        for path in sorted(&head)? {
            let tail = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = format!("sha256:{name}{tail}").parse().ok();
            each(listed(digest.filter(|_| path.is_file()), path)?)?;
        }
    }
    Ok(())
}

fn listed(digest: Option<Digest>, path: PathBuf) -> io::Result<Listed> {
    let size_bytes = fs::symlink_metadata(&path)?.len();
    Ok(Listed {
        digest,
        path,
        size_bytes,
    })
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        paths.push(entry?.path());
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Digest of all that a reader gives, and how many bytes that was; `each` gets them as they are
/// read. Blocks.
///
/// # Errors
/// When it cannot be read, or `each` says so.
pub fn digest_of(
    reader: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let mut size_bytes = 0;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => buffer.get(..count).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(bytes);
        size_bytes += bytes.len() as u64;
        each(bytes)?;
    }
    Ok((Digest::from_bytes(hash.finalize().into()), size_bytes))
}
