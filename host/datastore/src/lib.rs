//! The store of all state.
//!
//! Everything that Bindery remembers passes through one port, the trait [`Datastore`]: checks,
//! writes, queue entries and events are committed together or not at all, and a commit that was
//! acknowledged survives a kill, a power cut and the loss of the index.
//!
//! - [`LocalDatastore`] is the single-node implementation: an append-only journal
//!   that is the truth, and sled databases that are a rebuildable index of it.
//! - [`MemoryDatastore`] keeps the same promises except durability, for tests and for runs that
//!   leave nothing behind.
//!
//! This crate knows keys, values, queues and events; what they mean is the caller's. It must not
//! learn of jobs, tasks or HTTP.

mod backup;
mod clock;
mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
mod datastore;
mod error;
mod journal;
pub mod keys;
pub mod local;
mod memory;
mod model;
mod plan;
mod queue;

pub use backup::{BackupFile, Pin, Snapshot, adopt};
pub use clock::{Clock, ManualClock, SystemClock};
pub use datastore::{Datastore, Wakeup};
pub use error::{CommitError, CompleteError, OpenError, ReadError, RenewError, VerifyError};
pub use journal::{Anchor, Location, ParseAnchorError, VerifyReport, verify, verify_open};
pub use local::{
    Audit, AuditedWrite, Difference, DifferenceKind, IndexAudit, LocalDatastore, OpenReport,
    Options, audit,
};
pub use memory::MemoryDatastore;
pub use model::{
    CLAIM_ENTRIES_MAX, Check, Committed, Database, EVENTS_LIMIT_MAX, EntryId, EventQuery,
    EventRecord, Expect, KEY_BYTES_MAX, Lease, LeaseToken, NewEvent, Operation, PAYLOAD_BYTES_MAX,
    QueueEntry, QueuedEntry, RANGE_LIMIT_MAX, RangeQuery, TOPIC_BYTES_MAX, TOPICS_PER_EVENT_MAX,
    TRANSACTION_BYTES_MAX, Table, Transaction,
};
