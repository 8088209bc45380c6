//! What the interface asks of the crates below.
//!
//! Each trait is what one concrete type offers, cut down to what routes need; the
//! implementations are here too, so that the composition root only hands the types over.

use std::{
    fmt::Debug,
    io::{self, Read},
};

use async_trait::async_trait;
use bindery_blobs::Blobs;
use bindery_core::{Collection, Digest, FileId, OrgId, TaskDefinition, TaskRef};
use bindery_dispatcher::{Page, StoreError};
use bindery_engines::Engines;
use bindery_executor::{
    Checked, Draft, FileRecord, IngestError, Intake, IntakeError, Library, Mode,
};
use bindery_plugins::{
    ChangeError, HistoryRecord, PluginView, PublishError, PublishOptions, Published, StoreFault,
    VersionRecord,
};
use bindery_runtime::{Catalog, Runtime, TaskEntry};
use bindery_transpile::ComponentSource;
use bytes::Bytes;
use futures::stream::BoxStream;
use semver::Version;
use std::sync::Arc;

use crate::{MetricSample, MetricsSource};

/// One task version and the plugin that defines it.
#[derive(Debug, Clone)]
pub struct TaskListing {
    pub definition: Arc<TaskDefinition>,
    /// Of the plugin.
    pub plugin: Digest,
    /// The package that it came in, as `NAME@VERSION`.
    pub package: String,
    /// What it was granted, as `KIND:NAME`.
    pub permissions: Vec<String>,
}

/// Which tasks and collections there are; see [`Catalog`].
pub trait TaskCatalog: Debug + Send + Sync {
    fn task(&self, task: &TaskRef) -> Option<TaskListing>;
    /// The newest version of every task, by id.
    fn tasks(&self) -> Vec<TaskListing>;
    /// All versions of a task, oldest first.
    fn versions(&self, task: &str) -> Vec<Version>;
    fn collection(&self, name: &str) -> Option<Collection>;
    fn collections(&self) -> Vec<Collection>;
    fn plugin_count(&self) -> usize;
}

/// Components among the blobs, under their digests.
#[derive(Debug, Clone)]
pub struct BlobComponents(pub Blobs);

impl ComponentSource for BlobComponents {
    fn component(&self, digest: &Digest, size_bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.0.local_path(digest) else {
            return Ok(None);
        };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        // One byte more than is taken, so that too large is seen as such.
        file.take(size_bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// An error of whoever sends an upload.
pub type UploadError = Box<dyn std::error::Error + Send + Sync>;

/// Uploaded files; see [`Library`].
#[async_trait]
pub trait FileLibrary: Debug + Send + Sync {
    async fn ingest(
        &self,
        org: OrgId,
        name: &str,
        declared_media_type: Option<&str>,
        content: BoxStream<'_, Result<Bytes, UploadError>>,
        size_bytes_max: u64,
    ) -> Result<FileRecord, IngestError>;

    /// # Errors
    /// When the store cannot be read.
    fn get(&self, org: OrgId, id: FileId) -> Result<Option<FileRecord>, StoreError>;

    /// # Errors
    /// When the store cannot be read.
    fn list(
        &self,
        org: OrgId,
        after: Option<FileId>,
        limit: usize,
        wanted: &dyn Fn(&FileRecord) -> bool,
    ) -> Result<Page<FileRecord>, StoreError>;
}

/// Checks requests before they are queued; see [`Intake`].
#[async_trait]
pub trait RequestIntake: Debug + Send + Sync {
    async fn check(&self, org: OrgId, draft: Draft, mode: Mode) -> Result<Checked, IntakeError>;
}

/// What is published; see [`bindery_plugins::PluginStore`].
#[async_trait]
pub trait PluginStore: Debug + Send + Sync {
    fn list(&self) -> Vec<PluginView>;
    fn get(&self, name: &str) -> Option<PluginView>;
    async fn history(&self, name: &str) -> Result<Vec<HistoryRecord>, StoreFault>;
    async fn publish(
        &self,
        bytes: Bytes,
        actor: &str,
        options: PublishOptions,
    ) -> Result<Published, PublishError>;
    /// A version's package, as a `.bindery` archive.
    async fn archive(&self, record: &VersionRecord) -> Result<Bytes, StoreFault>;
    async fn roll_back(&self, name: &str, actor: &str) -> Result<PluginView, ChangeError>;
    async fn disable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError>;
    async fn enable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError>;
    async fn approve(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError>;
    async fn delete(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<(), ChangeError>;
}

/// What is known of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineEntry {
    pub name: String,
    pub title: String,
    /// None when it cannot be used.
    pub version: Option<String>,
    /// How to get it; empty when nobody said.
    pub hint: String,
}

/// Which engines there are; see [`Engines`].
pub trait EngineDirectory: Debug + Send + Sync {
    /// By name.
    fn engines(&self) -> Vec<EngineEntry>;
    /// Level at which they are confined; none when they cannot be, and so do not run.
    fn sandbox_level(&self) -> Option<String>;
    /// Why a task cannot run here, with the cure; none when it can.
    fn unavailable(&self, definition: &TaskDefinition) -> Option<String>;
}

impl From<TaskEntry> for TaskListing {
    fn from(entry: TaskEntry) -> Self {
        Self {
            plugin: entry.plugin.digest(),
            package: format!("{}@{}", entry.provenance.name, entry.provenance.version),
            permissions: entry.provenance.permissions.clone(),
            definition: entry.definition,
        }
    }
}

impl TaskCatalog for Catalog {
    fn task(&self, task: &TaskRef) -> Option<TaskListing> {
        Self::task(self, task).map(Into::into)
    }

    fn tasks(&self) -> Vec<TaskListing> {
        Self::tasks(self).into_iter().map(Into::into).collect()
    }

    fn versions(&self, task: &str) -> Vec<Version> {
        Self::versions(self, task)
    }

    fn collection(&self, name: &str) -> Option<Collection> {
        Self::collection(self, name)
    }

    fn collections(&self) -> Vec<Collection> {
        Self::collections(self)
    }

    fn plugin_count(&self) -> usize {
        self.plugins().len()
    }
}

#[async_trait]
impl FileLibrary for Library {
    async fn ingest(
        &self,
        org: OrgId,
        name: &str,
        declared_media_type: Option<&str>,
        content: BoxStream<'_, Result<Bytes, UploadError>>,
        size_bytes_max: u64,
    ) -> Result<FileRecord, IngestError> {
        Self::ingest(
            self,
            org,
            name,
            declared_media_type,
            content,
            size_bytes_max,
        )
        .await
    }

    fn get(&self, org: OrgId, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        Self::get(self, org, id)
    }

    fn list(
        &self,
        org: OrgId,
        after: Option<FileId>,
        limit: usize,
        wanted: &dyn Fn(&FileRecord) -> bool,
    ) -> Result<Page<FileRecord>, StoreError> {
        Self::list(self, org, after, limit, wanted)
    }
}

#[async_trait]
impl RequestIntake for Intake {
    async fn check(&self, org: OrgId, draft: Draft, mode: Mode) -> Result<Checked, IntakeError> {
        Self::check(self, org, draft, mode).await
    }
}

#[async_trait]
impl PluginStore for bindery_plugins::PluginStore {
    fn list(&self) -> Vec<PluginView> {
        Self::list(self)
    }

    fn get(&self, name: &str) -> Option<PluginView> {
        Self::get(self, name)
    }

    async fn history(&self, name: &str) -> Result<Vec<HistoryRecord>, StoreFault> {
        Self::history(self, name).await
    }

    async fn publish(
        &self,
        bytes: Bytes,
        actor: &str,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        Self::publish(self, bytes, actor, options).await
    }

    async fn archive(&self, record: &VersionRecord) -> Result<Bytes, StoreFault> {
        Self::archive(self, record).await
    }

    async fn roll_back(&self, name: &str, actor: &str) -> Result<PluginView, ChangeError> {
        Self::roll_back(self, name, actor).await
    }

    async fn disable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        Self::disable(self, name, version, actor).await
    }

    async fn enable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        Self::enable(self, name, version, actor).await
    }

    async fn approve(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        Self::approve(self, name, version, actor).await
    }

    async fn delete(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<(), ChangeError> {
        Self::delete(self, name, version, actor).await
    }
}

impl EngineDirectory for Engines {
    fn engines(&self) -> Vec<EngineEntry> {
        self.statuses()
            .map(|status| {
                let (version, hint) = match self.get(&status.manifest.name) {
                    Ok(engine) => (Some(engine.version), String::new()),
                    Err(missing) => (None, missing.hint),
                };
                EngineEntry {
                    name: status.manifest.name.clone(),
                    title: status.manifest.title.clone(),
                    version,
                    hint,
                }
            })
            .collect()
    }

    fn sandbox_level(&self) -> Option<String> {
        self.sandbox()
            .status()
            .level
            .map(|level| level.as_str().to_owned())
    }

    fn unavailable(&self, definition: &TaskDefinition) -> Option<String> {
        if definition.engines.is_empty() {
            return None;
        }
        if let Some(unavailable) = &self.sandbox().status().unavailable {
            return Some(format!(
                "no sandbox: {} ({})",
                unavailable.reason, unavailable.fix
            ));
        }
        let missing = self.satisfy(&definition.engines).err()?;
        Some(match missing.hint.as_str() {
            "" => missing.to_string(),
            hint => format!("{missing}; to install it: {hint}"),
        })
    }
}

impl MetricsSource for Runtime {
    fn samples(&self) -> Vec<MetricSample> {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let value = self.calls_running() as f64;
        vec![MetricSample {
            name: "guest_calls_running",
            help: "Calls into plugins that run now.",
            kind: "gauge",
            labels: Vec::new(),
            value,
        }]
    }
}
