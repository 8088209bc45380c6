//! The journal: an append-only, checksummed, hash-chained record of every change.
//!
//! # Words
//! - *segment*: a file `NNNNNNNN.log` of at most [`SEGMENT_BYTES_MAX`] by default.
//! - *record*: one change of one database; *frame*: a record (or a mark) with its checksums.
//! - *position*: numbers frames from 1, without gaps, across segments.
//! - *group*: frames that are written and synced together.
//!
//! # Invariants
//! - A group is written only after the group before it was synced. So an unreadable frame with a
//!   later group behind it is damage to acknowledged data, an error; one at the very end is a
//!   write that a crash interrupted, and is cut off, loudly, and kept aside.
//! - After an error the file holds exactly the groups acknowledged before, or the journal refuses
//!   all writes until it is opened again.
//! - Each frame carries a hash over all frames before it, so that a journal can be proven whole.
//!
//! # Not here yet
//! Checkpoints and retention. The format is ready for them: a segment knows the position, the hash
//! and the epoch that it starts with, and there is a kind of frame reserved for checkpoints.

mod append;
mod format;
mod read;
mod recover;
#[cfg(test)]
pub(crate) mod tests;
mod verify;

pub(crate) use append::{AppendError, Journal, JournalOptions, WrapSegment, free_bytes};
pub(crate) use format::{Record, RecordEvent, SEGMENT_HEADER_BYTES, encode_record, give_epoch};
pub(crate) use read::{Entry, JournalReader};
pub(crate) use recover::Recovery;
pub use verify::{Anchor, ParseAnchorError, VerifyReport, verify, verify_open};
pub(crate) use verify::{Tail, Visit, walk};

/// Where a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    pub segment: u32,
    /// In bytes from the start of the segment.
    pub offset: u64,
}

/// When a segment is full, in bytes: small enough to be read into memory whole and to be replayed
/// in a fraction of a second, large enough that a million changes are a few dozen files.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Largest group, in bytes: one largest transaction behind others that almost fill the writer's
/// group of 8 MiB. Nothing larger is ever read, so a damaged length costs nothing.
pub(crate) const GROUP_BYTES_MAX: usize = 2 * crate::model::TRANSACTION_BYTES_MAX + 64 * 1024;
