//! The port: what the rest of Bindery may ask of a store.

use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::broadcast;

use crate::{
    error::{CommitError, CompleteError, ReadError, RenewError},
    model::{
        Committed, Database, EventQuery, EventRecord, Lease, LeaseToken, QueuedEntry, RangeQuery,
        Table, Transaction,
    },
};

/// Says that a database has new events, up to `last_seq`. A hint: read them with
/// [`Datastore::events`]. One hint may stand for many events, and a receiver that lags loses
/// hints, never events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakeup {
    pub database: Database,
    pub last_seq: u64,
}

/// A store of rows, queues and events.
///
/// Asynchronous methods change the store; when one returns `Ok`, the change is durable, as far as
/// the implementation promises it, and every later read sees it. Dropping the future does not take
/// the change back. Synchronous methods read; they may wait for a disk, so call them from
/// blocking threads unless the rows are known to be few.
#[async_trait]
pub trait Datastore: Send + Sync + Debug {
    /// Applies a transaction whole, or not at all.
    async fn commit(&self, transaction: Transaction) -> Result<Committed, CommitError>;

    fn get(&self, database: Database, table: Table, key: &[u8])
    -> Result<Option<Bytes>, ReadError>;

    /// Rows of a table in the order of their keys, all as of one moment.
    fn range(
        &self,
        database: Database,
        table: Table,
        query: &RangeQuery,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError>;

    /// Leases up to `count` entries of a queue to `worker`: entries whose lease has run out count
    /// as waiting. Higher priority first, then older. Empty when there is nothing to do.
    async fn claim(
        &self,
        database: Database,
        queue: &str,
        worker: &str,
        count: usize,
        lease: Duration,
    ) -> Result<Vec<Lease>, CommitError>;

    /// Lets leases last for `lease` from now, and returns those that no longer hold: their work
    /// must be stopped.
    async fn renew(
        &self,
        leases: &[LeaseToken],
        lease: Duration,
    ) -> Result<Vec<LeaseToken>, RenewError>;

    /// Takes a claimed entry off its queue and applies `transaction`, both or neither, and only
    /// while the lease holds. A lease that has run out holds until another claim takes the entry.
    /// To try again later, put a new entry for the same work into the transaction.
    async fn complete(
        &self,
        lease: LeaseToken,
        transaction: Transaction,
    ) -> Result<Committed, CompleteError>;

    /// Gives back all leases of a worker, in all databases, and returns how many: at start, a
    /// single node calls it for its dead former self.
    async fn release(&self, worker: &str) -> Result<usize, CommitError>;

    /// Entries that wait in a queue, in the order of claiming; those with a time to wait for come
    /// last.
    fn queued(
        &self,
        database: Database,
        queue: &str,
        limit: usize,
    ) -> Result<Vec<QueuedEntry>, ReadError>;

    /// Events after a seq, in order: at most the limit, and at most about 8 MiB of them.
    fn events(
        &self,
        database: Database,
        query: &EventQuery,
    ) -> Result<Vec<Arc<EventRecord>>, ReadError>;

    /// Seq of the newest event; 0 when there is none.
    fn last_seq(&self, database: Database) -> u64;

    /// `Meta`, and the databases that were ever committed to.
    fn databases(&self) -> Vec<Database>;

    /// Names the history that `seq` counts in. Another epoch means another history (a store that
    /// was made anew): what a client remembers of seqs is void.
    fn epoch(&self) -> [u8; 16];

    /// Hints of new events, for all databases.
    fn subscribe(&self) -> broadcast::Receiver<Wakeup>;
}
