//! Uploaded files.

use std::{io, sync::Arc};

use bindery_blobs::{Blobs, PutError};
use bindery_core::{Digest, FileId, OrgId};
use bindery_datastore::{
    CommitError, Database, Datastore, RangeQuery, ReadError, Table, Transaction,
};
use bindery_dispatcher::Page;
use bindery_runtime::{Catalog, FileFault, RunDirectories};
use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::staging::{Staged, stage};

/// Version of the stored record.
const RECORD_VERSION: u16 = 1;
/// First bytes of a file that format plugins decide by.
const HEAD_BYTES: usize = 64 << 10;
/// Longest file name kept; it is only ever shown.
const NAME_CHARS_MAX: usize = 255;
/// Faults and warnings kept of one file.
const FAULTS_MAX: usize = 100;

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    pub code: String,
    pub message: String,
    /// Counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
}

/// What a format plugin found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InspectionRecord {
    pub records: u64,
    pub bad_records: u64,
    pub details: Value,
    pub warnings: Vec<FaultRecord>,
}

/// One uploaded file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    pub v: u16,
    pub id: String,
    /// As uploaded; untrusted text.
    pub name: String,
    /// As sniffed; `application/octet-stream` when no plugin knows the file.
    pub media_type: String,
    /// `gzip` or empty.
    pub encoding: String,
    pub size_bytes: u64,
    pub digest: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspection: Option<InspectionRecord>,
    /// Why nothing in the file can be used; empty when something can.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultRecord>,
}

/// A file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    #[error("file is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("storage is full")]
    StorageFull,
    #[error("failed to read the upload: {0}")]
    Read(String),
    #[error("failed to keep the file")]
    Store(#[from] CommitError),
    #[error("host fault while taking a file: {0}")]
    Host(String),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Library {
    datastore: Arc<dyn Datastore>,
    blobs: Blobs,
    catalog: Arc<Catalog>,
    scratch: std::path::PathBuf,
}

fn key(id: FileId) -> Bytes {
    Bytes::copy_from_slice(&id.as_bytes().map(|byte| !byte))
}

impl Library {
    #[must_use]
    pub fn new(
        datastore: Arc<dyn Datastore>,
        blobs: Blobs,
        catalog: Arc<Catalog>,
        scratch: std::path::PathBuf,
    ) -> Self {
        Self {
            datastore,
            blobs,
            catalog,
            scratch,
        }
    }

    /// Takes a file: streams it into the blobs, asks the format plugins what it is and what is in
    /// it, and records it. A file that no plugin knows is kept all the same.
    ///
    /// # Errors
    /// When it was not kept.
    pub async fn ingest<S, E>(
        &self,
        org: OrgId,
        name: &str,
        declared_media_type: Option<&str>,
        content: S,
        max_bytes: u64,
    ) -> Result<FileRecord, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stored =
            self.blobs
                .put_stream(content, max_bytes)
                .await
                .map_err(|error| match error {
                    PutError::TooLarge { .. } => IngestError::TooLarge {
                        limit_bytes: max_bytes,
                    },
                    PutError::StorageFull { .. } => IngestError::StorageFull,
                    PutError::Source { .. } => IngestError::Read(error.to_string()),
                    other => IngestError::Host(other.to_string()),
                })?;
        let name: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(NAME_CHARS_MAX)
            .collect();
        let mut record = FileRecord {
            v: RECORD_VERSION,
            id: FileId::generate().to_string(),
            name,
            media_type: declared_media_type
                .unwrap_or("application/octet-stream")
                .to_owned(),
            encoding: String::new(),
            size_bytes: stored.size_bytes,
            digest: stored.digest.to_string(),
            created: Timestamp::now(),
            inspection: None,
            faults: Vec::new(),
        };
        self.examine(stored.digest, &mut record).await?;
        self.record(org, &record).await?;
        Ok(record)
    }

    /// Asks the format plugins about a stored file.
    async fn examine(&self, digest: Digest, record: &mut FileRecord) -> Result<(), IngestError> {
        let host = |error: io::Error| IngestError::Host(error.to_string());
        let path = self
            .blobs
            .local_path(&digest)
            .ok_or_else(|| IngestError::Host("the content just stored is gone".to_owned()))?;
        let head = tokio::task::spawn_blocking(move || read_head(&path))
            .await
            .map_err(|error| IngestError::Host(error.to_string()))?
            .map_err(host)?;
        let Some(sniffed) = self.catalog.sniff(&head, &record.name).await else {
            return Ok(());
        };
        record.media_type = sniffed.media_type;
        record.encoding = sniffed.encoding;
        let directories = RunDirectories::create(&self.scratch).map_err(host)?;
        stage(
            &directories,
            &self.blobs,
            &[Staged {
                path: "file",
                digest,
            }],
        )
        .map_err(host)?;
        let inspected = self
            .catalog
            .inspect(
                &record.media_type,
                &directories.input(),
                "file",
                &record.name,
            )
            .await;
        match inspected {
            Ok(None) => {}
            Ok(Some(Ok(inspected))) => {
                record.media_type = inspected.media_type;
                record.encoding = inspected.encoding;
                record.inspection = Some(InspectionRecord {
                    records: inspected.records,
                    bad_records: inspected.bad_records,
                    details: inspected.details,
                    warnings: inspected
                        .warnings
                        .into_iter()
                        .take(FAULTS_MAX)
                        .map(fault)
                        .collect(),
                });
            }
            Ok(Some(Err(faults))) => {
                record.faults = faults.into_iter().take(FAULTS_MAX).map(fault).collect();
            }
            // A plugin that breaks on a file says nothing good about the file either.
            Err(failure) => {
                tracing::warn!(%failure, digest = %digest, "a format plugin broke on a file");
                record.faults = vec![FaultRecord {
                    code: "unreadable".to_owned(),
                    message: format!("the file could not be read: {failure}"),
                    line: None,
                    record: None,
                }];
            }
        }
        Ok(())
    }

    async fn record(&self, org: OrgId, record: &FileRecord) -> Result<(), IngestError> {
        let encoded =
            serde_json::to_vec(record).map_err(|error| IngestError::Host(error.to_string()))?;
        let id: FileId = record
            .id
            .parse()
            .map_err(|error| IngestError::Host(format!("{error}")))?;
        let transaction = Transaction::new(Database::Org(org)).put(Table::FILES, key(id), encoded);
        self.datastore.commit(transaction).await?;
        Ok(())
    }

    /// # Errors
    /// When the store cannot be read.
    pub fn get(
        &self,
        org: OrgId,
        id: FileId,
    ) -> Result<Option<FileRecord>, bindery_dispatcher::StoreError> {
        self.datastore
            .get(Database::Org(org), Table::FILES, &key(id))?
            .map(|bytes| decode(&bytes))
            .transpose()
    }

    /// Files, newest first, those that `wanted` lets through. Looks at a bounded number of rows
    /// for one page, as [`ExecutionStore::jobs`](bindery_dispatcher::ExecutionStore::jobs) does.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn list(
        &self,
        org: OrgId,
        after: Option<FileId>,
        limit: usize,
        wanted: impl Fn(&FileRecord) -> bool,
    ) -> Result<Page<FileRecord>, bindery_dispatcher::StoreError> {
        const LOOKED_AT_MAX: usize = 10_000;
        const BATCH: usize = 256;
        let mut items = Vec::new();
        let mut cursor = after.map(key);
        let mut looked_at = 0;
        loop {
            let query = RangeQuery::prefix(Bytes::new(), BATCH).after(cursor.clone());
            let rows = self
                .datastore
                .range(Database::Org(org), Table::FILES, &query)?;
            let last = rows.len() < BATCH;
            for (row, value) in rows {
                let file = decode(&value)?;
                cursor = Some(row);
                looked_at += 1;
                let id = file.id.clone();
                if wanted(&file) {
                    items.push(file);
                }
                if items.len() >= limit || looked_at >= LOOKED_AT_MAX {
                    return Ok(Page {
                        items,
                        next: Some(id),
                    });
                }
            }
            if last {
                return Ok(Page { items, next: None });
            }
        }
    }

    /// The content of a file, when it is still there.
    #[must_use]
    pub const fn blobs(&self) -> &Blobs {
        &self.blobs
    }
}

fn decode(bytes: &[u8]) -> Result<FileRecord, bindery_dispatcher::StoreError> {
    let record: FileRecord =
        serde_json::from_slice(bytes).map_err(|error| bindery_dispatcher::StoreError::Damaged {
            what: "file",
            fault: error.to_string(),
        })?;
    if record.v == RECORD_VERSION {
        Ok(record)
    } else {
        Err(bindery_dispatcher::StoreError::Damaged {
            what: "file",
            fault: format!("version {}, this host reads {RECORD_VERSION}", record.v),
        })
    }
}

fn fault(fault: FileFault) -> FaultRecord {
    FaultRecord {
        code: fault.code,
        message: fault.message,
        line: fault.line,
        record: fault.record,
    }
}

fn read_head(path: &std::path::Path) -> io::Result<Vec<u8>> {
    use std::io::Read;

    let mut head = Vec::with_capacity(HEAD_BYTES);
    std::fs::File::open(path)?
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)?;
    Ok(head)
}

impl From<ReadError> for IngestError {
    fn from(error: ReadError) -> Self {
        Self::Host(error.to_string())
    }
}
