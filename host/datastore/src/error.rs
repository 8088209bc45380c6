//! Errors, one enum per operation.
//!
//! One write to disk serves many commits, so that one cause reaches many callers: IO errors are
//! shared behind an `Arc`.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    codec::DecodeError,
    journal::Anchor,
    model::{Check, Database},
};

/// Why a transaction, a claim or a release was not committed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// Nothing was changed; read again and decide anew.
    #[error("check {index} of the transaction does not hold for {database}")]
    Conflict {
        database: Database,
        /// Which of the transaction's checks.
        index: usize,
        check: Box<Check>,
        /// What the row is instead.
        found: Option<Bytes>,
    },
    /// The caller's mistake; trying again is of no use.
    #[error("transaction is invalid: {reason}")]
    Invalid { reason: String },
    #[error("transaction of {size_bytes} bytes exceeds {size_bytes_max}")]
    TooLarge {
        size_bytes: usize,
        size_bytes_max: usize,
    },
    /// Nothing was changed; works again when there is space.
    #[error("storage is full")]
    StorageFull {
        #[source]
        source: Arc<io::Error>,
    },
    /// Nothing was changed.
    #[error("could not write the journal")]
    Journal {
        #[source]
        source: Arc<io::Error>,
    },
    /// The write failed and could not be taken back: whether the transaction is in the journal is
    /// known only after the store was opened again.
    #[error("could not write the journal, nor take the write back")]
    Indeterminate {
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier write failed and could not be taken back. Nothing was changed.
    #[error("store is read-only until it is opened again: {reason}")]
    ReadOnly { reason: String },
    /// The index could not keep up, or cannot be written. Nothing was changed.
    #[error("index of {database} is {behind_bytes} bytes behind the journal")]
    Overloaded {
        database: Database,
        behind_bytes: usize,
    },
    #[error("could not read what the transaction depends on")]
    Read(#[source] ReadError),
    /// The store was closed. When it closed after taking the request, the outcome is unknown.
    #[error("store is closed")]
    Closed,
}

impl CommitError {
    /// Whether the caller may try the same transaction again later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::StorageFull { .. } | Self::Journal { .. } | Self::Overloaded { .. }
        )
    }
}

/// Why an entry was not completed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CompleteError {
    /// The entry was claimed by another, completed, or taken out of its queue. Nothing was
    /// changed, and nothing that the worker did may count.
    #[error("lease with fence {fence} of {database} no longer holds")]
    Fenced { database: Database, fence: u64 },
    #[error("could not commit the outcome")]
    Commit(#[source] CommitError),
}

/// Why leases were not renewed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    #[error("store is closed")]
    Closed,
}

/// Why rows or events could not be read.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    #[error("query is invalid: {reason}")]
    Invalid { reason: String },
    /// The index was found damaged and is being rebuilt from the journal; try again later.
    #[error("index of {database} is being rebuilt: {reason}")]
    IndexUnavailable { database: Database, reason: String },
    /// The journal does not hold what the index says it does.
    #[error("journal segment {segment} is damaged at byte {offset}: {reason}")]
    JournalDamaged {
        segment: u32,
        offset: u64,
        reason: String,
    },
    #[error("could not read journal segment {segment}")]
    Journal {
        segment: u32,
        #[source]
        source: Arc<io::Error>,
    },
    #[error("row of the store's own table {table} in {database}")]
    Malformed {
        database: Database,
        table: &'static str,
        #[source]
        source: DecodeError,
    },
}

/// Why a store could not be opened. None of them loses or changes data.
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
    /// Even to open, an index needs some space.
    #[error("storage is full, and the index of {database} needs some to be opened")]
    StorageFull { database: Database },
    #[error("`{path}` is in use by another process")]
    Locked { path: PathBuf },
    #[error("journal segment {segment} has format {found}, this program knows up to {known}")]
    Format {
        segment: u32,
        found: u32,
        known: u32,
    },
    /// An acknowledged part of the journal is damaged. Restore it from a backup.
    #[error("journal segment `{path}` is damaged at byte {offset} (position {position}): {reason}")]
    JournalDamaged {
        path: PathBuf,
        offset: u64,
        position: u64,
        reason: String,
    },
    #[error("journal segment {number} is missing")]
    SegmentMissing { number: u32 },
    /// The index knows of commits that the journal lacks, so acknowledged commits were lost from
    /// the journal. Restore the journal from a backup.
    #[error(
        "journal ends at position {journal_position}, but the index of {database} has applied \
         {index_position}"
    )]
    JournalBehindIndex {
        database: Database,
        journal_position: u64,
        index_position: u64,
    },
    /// There are indexes but no journal, which would silently start an empty store.
    #[error("journal is missing or belongs to another store, but there is an index of {database}")]
    JournalForeign { database: Database },
    /// The index is lost and the journal no longer reaches back to the beginning.
    #[error(
        "index of {database} cannot be rebuilt: the journal begins at position {first_position}"
    )]
    CannotRebuild {
        database: Database,
        first_position: u64,
    },
    #[error("could not open a new index of {database}: {reason}")]
    Index { database: Database, reason: String },
    #[error("index of {database} was not released within {waited:?}")]
    IndexLocked {
        database: Database,
        waited: Duration,
    },
    #[error("could not read the index of {database}")]
    Read {
        database: Database,
        #[source]
        source: ReadError,
    },
    #[error("could not start the {thread} thread")]
    Thread {
        thread: &'static str,
        #[source]
        source: io::Error,
    },
}

/// What [`verify`](crate::verify) found wrong, or could not look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    #[error("could not read `{path}`")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` is damaged at byte {offset} (position {position}): {reason}")]
    Damaged {
        path: PathBuf,
        offset: u64,
        position: u64,
        reason: String,
    },
    #[error("journal segment {number} is missing")]
    SegmentMissing { number: u32 },
    /// The past is not what it was when the anchor was taken: the files were changed by someone who
    /// computed the chain anew.
    #[error("the journal's hash at {anchor} is another now: {found}")]
    AnchorBroken { anchor: Anchor, found: Anchor },
    #[error(
        "{anchor} cannot be checked: the journal goes from position {first_position} to \
         {last_position}"
    )]
    AnchorNotReached {
        anchor: Anchor,
        first_position: u64,
        last_position: u64,
    },
    #[error("`{path}` is in use by another process")]
    InUse { path: PathBuf },
}
