//! Errors, one enum per operation.

use std::{io, path::PathBuf};

use bindery_core::digest::Digest;

/// Why the blobs could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    #[error("could not {action} `{path}`")]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("could not open `{path}` as an object store")]
    Store {
        path: PathBuf,
        #[source]
        source: object_store::Error,
    },
}

/// Why a blob was not stored. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    #[error("content exceeds {size_bytes_max} bytes")]
    TooLarge { size_bytes_max: u64 },
    /// Works again when there is space.
    #[error("storage is full")]
    StorageFull {
        #[source]
        source: io::Error,
    },
    /// Links, devices and pipes are refused: they would let whoever made them choose what is read.
    #[error("`{path}` is not a regular file")]
    NotAFile { path: PathBuf },
    #[error("could not read the content")]
    Source(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("could not {action}")]
    Io {
        action: &'static str,
        #[source]
        source: io::Error,
    },
    /// The thread that wrote it ended before its time.
    #[error("writing was interrupted")]
    Interrupted,
}

impl PutError {
    pub(crate) fn io(action: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::StorageFull { source },
            _ => Self::Io { action, source },
        }
    }
}

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("blob {digest} is not stored here")]
    NotFound { digest: Digest },
    /// RFC 9110: to be answered with 416.
    #[error("range begins at byte {start} of a blob of {size_bytes}")]
    RangeNotSatisfiable { start: u64, size_bytes: u64 },
    #[error("could not read blob {digest}")]
    Store {
        digest: Digest,
        #[source]
        source: object_store::Error,
    },
}

/// Why a blob is not what its name says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    #[error("blob {digest} is damaged: its content is {found}")]
    Damaged { digest: Digest, found: Digest },
    #[error(transparent)]
    Read(#[from] ReadError),
}
