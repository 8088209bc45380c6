//! The store of blobs in a local directory.
//!
//! ```text
//! DIR/aa/bbbb…            blobs: two hex digits of the digest, then the other 62
//! DIR/staging/….part      blobs being written
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::Read,
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bindery_core::digest::Digest;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::{
    error::{OpenError, PutError, ReadError, VerifyError},
    read::BlobReader,
    staging::{Staged, remove_stale},
};

pub(crate) const STAGING_DIR: &str = "staging";
/// Chunks between the stream that is read and the thread that writes: enough that neither waits
/// for every chunk of the other, at most a few hundred KiB at usual chunk sizes.
const CHUNKS_MAX: usize = 4;
/// Bytes copied at a time from a file.
const COPY_BYTES: usize = 256 * 1024;

/// Settings of [`Blobs`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Blobs are refused when the file system has less space than this, in bytes. More than what
    /// the store of state keeps free, so that uploads are refused before commits are.
    pub free_bytes_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            free_bytes_min: 128 * 1024 * 1024,
        }
    }
}

/// A blob that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub size_bytes: u64,
    /// Whether it was there before.
    pub existed: bool,
}

/// Content-addressed files in a directory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    dir: Arc<Path>,
    options: Options,
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Opens the blobs in `dir`, or makes the directory, and removes what a crash left half
    /// written. Blocks.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Self::open_with(dir, Options::default())
    }

    pub fn open_with(dir: &Path, options: Options) -> Result<Self, OpenError> {
        let staging = dir.join(STAGING_DIR);
        let io = |action| {
            let path = staging.clone();
            move |source| OpenError::Io {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(&staging).map_err(io("create"))?;
        let removed = remove_stale(&staging).map_err(io("clear"))?;
        if removed > 0 {
            tracing::warn!(removed, "removed blobs that a crash left half written");
        }
        let store = LocalFileSystem::new_with_prefix(dir).map_err(|source| OpenError::Store {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            dir: dir.into(),
            options,
            store: Arc::new(store),
        })
    }

    /// Stores what a stream gives, up to `size_bytes_max`. Dropping the future drops the blob.
    pub async fn put_stream<S, E>(&self, stream: S, size_bytes_max: u64) -> Result<Stored, PutError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // `None` says that the stream came to its end: one that is dropped on the way must not
        // pass for a whole one.
        let (sender, mut receiver) = mpsc::channel::<Option<Bytes>>(CHUNKS_MAX);
        let blobs = self.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let mut staged = blobs.stage(size_bytes_max)?;
            loop {
                match receiver.blocking_recv() {
                    Some(Some(chunk)) => staged.write(&chunk)?,
                    Some(None) => return blobs.publish(staged),
                    None => return Err(PutError::Interrupted),
                }
            }
        });
        let mut stream = std::pin::pin!(stream);
        let mut failure = None;
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => {
                    // Closed when writing failed; it says why below.
                    if sender.send(Some(chunk)).await.is_err() {
                        break;
                    }
                }
                Err(error) => {
                    failure = Some(PutError::Source(error.into()));
                    break;
                }
            }
        }
        if failure.is_none() {
            // When it is closed, writing failed.
            drop(sender.send(None).await);
        }
        drop(sender);
        let written = writing.await.map_err(|_| PutError::Interrupted)?;
        match failure {
            Some(failure) => Err(failure),
            None => written,
        }
    }

    /// Stores bytes.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Stored, PutError> {
        let size_bytes = bytes.len() as u64;
        let blobs = self.clone();
        in_thread(move || {
            let mut staged = blobs.stage(size_bytes)?;
            staged.write(&bytes)?;
            blobs.publish(staged)
        })
        .await
    }

    /// Stores a copy of a file, which must be a regular one and not a link.
    pub async fn put_file(&self, path: &Path, size_bytes_max: u64) -> Result<Stored, PutError> {
        let blobs = self.clone();
        let path = path.to_owned();
        in_thread(move || {
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            let opened = OpenOptions::new()
                .read(true)
                // Whoever made the file may be hostile: a link may lead anywhere, and opening a
                // pipe may never return.
                .custom_flags(flags.bits().cast_signed())
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) =>
                {
                    return Err(PutError::NotAFile { path });
                }
                Err(error) => return Err(PutError::io("open the file", error)),
            };
            blobs.copy(file, path, size_bytes_max)
        })
        .await
    }

    /// Stores a copy of an open file, from where it stands; `path` is for messages.
    pub async fn put_open_file(
        &self,
        file: File,
        path: &Path,
        size_bytes_max: u64,
    ) -> Result<Stored, PutError> {
        let blobs = self.clone();
        let path = path.to_owned();
        in_thread(move || blobs.copy(file, path, size_bytes_max)).await
    }

    /// Opens a blob, or some of its bytes. A range that ends beyond the blob is cut; one that
    /// begins there is an error.
    pub async fn get(
        &self,
        digest: &Digest,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader, ReadError> {
        // The size decides about ranges; blobs do not change in between.
        let size_bytes = self.size_bytes(digest).await?;
        let range = match range {
            None => 0..size_bytes,
            Some(range) if range.start >= size_bytes || range.end <= range.start => {
                return Err(ReadError::RangeNotSatisfiable {
                    start: range.start,
                    size_bytes,
                });
            }
            Some(range) => range.start..range.end.min(size_bytes),
        };
        let whole = range == (0..size_bytes);
        let options = GetOptions {
            range: (!whole).then(|| GetRange::Bounded(range.clone())),
            ..GetOptions::default()
        };
        let result = self
            .store
            .get_opts(&object_path(digest), options)
            .await
            .map_err(|source| read_error(digest, source))?;
        Ok(BlobReader {
            digest: *digest,
            size_bytes,
            range,
            stream: result.into_stream(),
        })
    }

    /// Size of a blob.
    pub async fn size_bytes(&self, digest: &Digest) -> Result<u64, ReadError> {
        let meta = self
            .store
            .head(&object_path(digest))
            .await
            .map_err(|source| read_error(digest, source))?;
        Ok(meta.size)
    }

    /// Whether a blob is stored here.
    pub async fn contains(&self, digest: &Digest) -> Result<bool, ReadError> {
        match self.size_bytes(digest).await {
            Ok(_) => Ok(true),
            Err(ReadError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where a blob is as a file, for those who mount or map it; `None` when it is not here.
    /// The file is read-only and must stay as it is.
    #[must_use]
    pub fn local_path(&self, digest: &Digest) -> Option<PathBuf> {
        let path = blob_path(&self.dir, digest);
        path.is_file().then_some(path)
    }

    /// Reads a blob and compares it with its name.
    pub async fn verify(&self, digest: &Digest) -> Result<u64, VerifyError> {
        let reader = self.get(digest, None).await?;
        let size_bytes = reader.size_bytes();
        let mut stream = std::pin::pin!(reader.into_stream());
        let mut hash = Sha256::new();
        while let Some(chunk) = stream.next().await {
            hash.update(&chunk?);
        }
        let found = Digest::from_bytes(hash.finalize().into());
        if found != *digest {
            return Err(VerifyError::Damaged {
                digest: *digest,
                found,
            });
        }
        Ok(size_bytes)
    }

    fn stage(&self, size_bytes_max: u64) -> Result<Staged, PutError> {
        let staging = self.dir.join(STAGING_DIR);
        Staged::create(&staging, size_bytes_max, self.options.free_bytes_min)
    }

    fn publish(&self, staged: Staged) -> Result<Stored, PutError> {
        let (digest, size_bytes, existed) =
            staged.publish(|digest| blob_path(&self.dir, digest))?;
        Ok(Stored {
            digest,
            size_bytes,
            existed,
        })
    }

    fn copy(&self, mut file: File, path: PathBuf, size_bytes_max: u64) -> Result<Stored, PutError> {
        let meta = file
            .metadata()
            .map_err(|error| PutError::io("inspect the file", error))?;
        if !meta.is_file() {
            return Err(PutError::NotAFile { path });
        }
        let mut staged = self.stage(size_bytes_max)?;
        let mut buffer = vec![0; COPY_BYTES];
        // A file that grows while it is read ends at the largest size.
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => staged.write(buffer.get(..count).unwrap_or_default())?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(PutError::Source(error.into())),
            }
        }
        self.publish(staged)
    }
}

async fn in_thread(
    put: impl FnOnce() -> Result<Stored, PutError> + Send + 'static,
) -> Result<Stored, PutError> {
    tokio::task::spawn_blocking(put)
        .await
        .map_err(|_| PutError::Interrupted)?
}

fn split(digest: &Digest) -> (String, String) {
    let mut head = digest.hex();
    let tail = head.split_off(2);
    (head, tail)
}

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    let (head, tail) = split(digest);
    dir.join(head).join(tail)
}

fn object_path(digest: &Digest) -> ObjectPath {
    let (head, tail) = split(digest);
    ObjectPath::from(format!("{head}/{tail}"))
}

fn read_error(digest: &Digest, source: object_store::Error) -> ReadError {
    match source {
        object_store::Error::NotFound { .. } => ReadError::NotFound { digest: *digest },
        source => ReadError::Store {
            digest: *digest,
            source,
        },
    }
}
