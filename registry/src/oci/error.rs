//! What a registry says no with. The codes are those of the OCI distribution specification.

use std::io;

use bindery_core::Digest;

/// An operation on the registry that was not done.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    #[error("the repository has no blob {0}")]
    BlobUnknown(Digest),
    #[error("{0}")]
    BlobUploadInvalid(String),
    /// A chunk that does not continue what is there.
    #[error("the upload has {have} bytes; a chunk has to start there")]
    OutOfOrder { have: u64 },
    #[error("there is no such upload; it may have expired")]
    BlobUploadUnknown,
    #[error("{0}")]
    DigestInvalid(String),
    #[error("the manifest names {0}, which the repository does not have")]
    ManifestBlobUnknown(Digest),
    #[error("{0}")]
    ManifestInvalid(String),
    #[error("the repository has no manifest {0}")]
    ManifestUnknown(String),
    #[error("`{0}` is no repository name")]
    NameInvalid(String),
    #[error("there is no repository {0}")]
    NameUnknown(String),
    #[error("larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("{0}")]
    Unsupported(&'static str),
    #[error("{0}")]
    TooMany(&'static str),
    #[error("the registry is full: {limit_bytes} bytes")]
    Full { limit_bytes: u64 },
    /// A package that was not published.
    #[error("{message}")]
    Refused { code: String, message: String },
    #[error("failed to use the registry's storage")]
    Storage(#[from] io::Error),
}

impl OciError {
    /// Of the specification, or of distributions that are widely used where that has none.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BlobUnknown(_) => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid(_) | Self::OutOfOrder { .. } => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid(_) => "DIGEST_INVALID",
            Self::ManifestBlobUnknown(_) => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid(_) => "MANIFEST_INVALID",
            Self::ManifestUnknown(_) => "MANIFEST_UNKNOWN",
            Self::NameInvalid(_) => "NAME_INVALID",
            Self::NameUnknown(_) => "NAME_UNKNOWN",
            Self::TooLarge { .. } => "SIZE_INVALID",
            Self::Unsupported(_) => "UNSUPPORTED",
            Self::TooMany(_) => "TOOMANYREQUESTS",
            Self::Full { .. } | Self::Refused { .. } => "DENIED",
            Self::Storage(_) => "UNKNOWN",
        }
    }
}
