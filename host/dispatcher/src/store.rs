//! Reading and writing of records: keys, encoding, pages.

use std::sync::Arc;

use bindery_core::{ArtifactId, ExecutionId, JobId, OrgId};
use bindery_datastore::{Database, Datastore, RangeQuery, ReadError, Table, Transaction};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    job_index::{JobKeys, JobQuery},
    records::{
        ArtifactRecord, ExecutionRecord, IdempotencyRecord, JobRecord, RECORD_VERSION, ResultRecord,
    },
};

/// Rows that are looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    #[error("stored {what} cannot be read: {fault}")]
    Damaged { what: &'static str, fault: String },
    #[error("failed to encode {what}")]
    Encode {
        what: &'static str,
        source: serde_json::Error,
    },
}

/// A page of a listing, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Id to go on after; none at the end.
    pub next: Option<String>,
}

/// Records of executions, jobs, results and artifacts of one organisation.
#[derive(Debug, Clone)]
pub struct ExecutionStore {
    datastore: Arc<dyn Datastore>,
    org: OrgId,
}

/// Keys in the order "newest first": ids grow with time, their complement shrinks.
fn newest_first(id: &[u8; 16]) -> Bytes {
    Bytes::copy_from_slice(&id.map(|byte| !byte))
}

pub(crate) fn execution_key(id: ExecutionId) -> Bytes {
    newest_first(id.as_bytes())
}

pub(crate) fn job_key(id: JobId) -> Bytes {
    newest_first(id.as_bytes())
}

pub(crate) fn artifact_key(id: ArtifactId) -> Bytes {
    newest_first(id.as_bytes())
}

pub(crate) fn encode<T: Serialize>(what: &'static str, record: &T) -> Result<Bytes, StoreError> {
    serde_json::to_vec(record)
        .map(Into::into)
        .map_err(|source| StoreError::Encode { what, source })
}

pub(crate) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: u16,
    }
    let damaged = |error: serde_json::Error| StoreError::Damaged {
        what,
        fault: error.to_string(),
    };
    let Versioned { v } = serde_json::from_slice(bytes).map_err(damaged)?;
    if v != RECORD_VERSION {
        return Err(StoreError::Damaged {
            what,
            fault: format!("version {v}, this host reads {RECORD_VERSION}"),
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

impl ExecutionStore {
    #[must_use]
    pub fn new(datastore: Arc<dyn Datastore>, org: OrgId) -> Self {
        Self { datastore, org }
    }

    pub(crate) fn database(&self) -> Database {
        Database::Org(self.org)
    }

    pub(crate) fn transaction(&self) -> Transaction {
        Transaction::new(self.database())
    }

    fn one<T: DeserializeOwned>(
        &self,
        what: &'static str,
        table: Table,
        key: &[u8],
    ) -> Result<Option<T>, StoreError> {
        self.datastore
            .get(self.database(), table, key)?
            .map(|bytes| decode(what, &bytes))
            .transpose()
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn execution(&self, id: ExecutionId) -> Result<Option<ExecutionRecord>, StoreError> {
        self.one("execution", Table::EXECUTIONS, &execution_key(id))
    }

    pub(crate) fn execution_bytes(&self, id: ExecutionId) -> Result<Option<Bytes>, StoreError> {
        Ok(self
            .datastore
            .get(self.database(), Table::EXECUTIONS, &execution_key(id))?)
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn job(&self, id: JobId) -> Result<Option<JobRecord>, StoreError> {
        self.one("job", Table::JOBS, &job_key(id))
    }

    /// A job, and how it is stored: what a change checks.
    pub(crate) fn job_to_change(
        &self,
        id: JobId,
    ) -> Result<Option<(Bytes, JobRecord)>, StoreError> {
        let found = self
            .datastore
            .get(self.database(), Table::JOBS, &job_key(id))?;
        found
            .map(|bytes| decode("job", &bytes).map(|record| (bytes, record)))
            .transpose()
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn result(&self, id: ExecutionId) -> Result<Option<ResultRecord>, StoreError> {
        self.one("result", Table::RESULTS, &execution_key(id))
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn artifact(&self, id: ArtifactId) -> Result<Option<ArtifactRecord>, StoreError> {
        self.one("artifact", Table::ARTIFACTS, &artifact_key(id))
    }

    pub(crate) fn idempotency(&self, key: &str) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.one("idempotency key", Table::IDEMPOTENCY, key.as_bytes())
    }

    /// Jobs, newest first, those that `query` names and `wanted` lets through. Looks at no more
    /// than `LOOKED_AT_MAX` rows for one page, so that a rare filter costs a bounded time; the
    /// cursor then goes on where it stopped, and a page may be short or empty without being the
    /// last.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn jobs(
        &self,
        after: Option<JobId>,
        limit: usize,
        query: &JobQuery,
        wanted: impl Fn(&JobRecord) -> bool,
    ) -> Result<Page<JobRecord>, StoreError> {
        let after = after.map(job_key);
        let (datastore, database) = (self.datastore.as_ref(), self.database());
        let Some(mut keys) = JobKeys::new(datastore, database, query, after.as_deref()) else {
            let id = |job: &JobRecord| job.id.clone();
            return self.page("job", Table::JOBS, after, limit, id, wanted);
        };
        let mut items = Vec::new();
        let mut looked_at = 0;
        while let Some(key) = keys.next()? {
            let Some(record) = self.one::<JobRecord>("job", Table::JOBS, &key)? else {
                continue;
            };
            looked_at += 1;
            let next = record.id.clone();
            // It may have changed since its word was read.
            if query.matches(&record) && wanted(&record) {
                items.push(record);
            }
            if items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                return Ok(Page {
                    items,
                    next: Some(next),
                });
            }
        }
        Ok(Page { items, next: None })
    }

    /// Executions, newest first, as [`ExecutionStore::jobs`].
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn executions(
        &self,
        after: Option<ExecutionId>,
        limit: usize,
        wanted: impl Fn(&ExecutionRecord) -> bool,
    ) -> Result<Page<ExecutionRecord>, StoreError> {
        let id = |execution: &ExecutionRecord| execution.id.clone();
        self.page(
            "execution",
            Table::EXECUTIONS,
            after.map(execution_key),
            limit,
            id,
            wanted,
        )
    }

    fn page<T: DeserializeOwned>(
        &self,
        what: &'static str,
        table: Table,
        after: Option<Bytes>,
        limit: usize,
        id: impl Fn(&T) -> String,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<Page<T>, StoreError> {
        const BATCH: usize = 256;
        let mut items = Vec::new();
        let mut cursor = after;
        let mut looked_at = 0;
        loop {
            let query = RangeQuery::prefix(Bytes::new(), BATCH).after(cursor.clone());
            let rows = self.datastore.range(self.database(), table, &query)?;
            let last = rows.len() < BATCH;
            for (key, value) in rows {
                let record: T = decode(what, &value)?;
                cursor = Some(key);
                looked_at += 1;
                let next = id(&record);
                if wanted(&record) {
                    items.push(record);
                }
                if items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                    return Ok(Page {
                        items,
                        next: Some(next),
                    });
                }
            }
            if last {
                return Ok(Page { items, next: None });
            }
        }
    }
}
