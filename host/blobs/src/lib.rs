//! Content-addressed files: inputs, artifacts, packages.
//!
//! A *blob* is bytes, named by their SHA-256. Blobs are written once and never change, so that a
//! digest in a record is enough to find, share and check them.
//!
//! # Invariants
//! - A blob appears under its name whole and durable, or not at all: it is hashed while it is
//!   written to *staging*, synced, and renamed.
//! - Blobs are read-only files (mode 0444); putting one again leaves it as it is.
//! - What a crash leaves in staging is removed at the next opening; what another living process
//!   has there is not.
//!
//! Reads go through `object_store`, so that another store can come; only publishing (and
//! [`Blobs::local_path`], for sandboxes that mount a blob) knows that this one is local.
//!
//! Quotas, references and the removal of blobs that nobody names are the caller's.

mod error;
mod list;
mod read;
mod staging;
mod store;

pub use error::{OpenError, PutError, ReadError, VerifyError};
pub use list::{Listed, digest_of, list};
pub use read::BlobReader;
pub use store::{Blobs, Options, Stored};
