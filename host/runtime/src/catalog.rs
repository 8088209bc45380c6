//! Which plugin answers for what.
//!
//! Readers take a snapshot without a lock; a change builds a new one and swaps it in. Work that
//! has begun keeps the `Arc<Plugin>` it began with.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use arc_swap::ArcSwap;
use bindery_core::{Collection, TaskDefinition, TaskRef, definition::FileFormat};
use parking_lot::Mutex;
use semver::Version;

use crate::{FileGrants, GuestFailure, Plugin};

/// One task version and the plugin that defines it.
#[derive(Debug, Clone)]
pub struct TaskEntry {
    pub definition: Arc<TaskDefinition>,
    pub plugin: Arc<Plugin>,
}

/// One format and the plugin that reads it.
#[derive(Debug, Clone)]
pub struct FormatEntry {
    pub format: FileFormat,
    pub plugin: Arc<Plugin>,
}

/// A plugin cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    #[error("task `{task}` version {version} is already defined by another plugin ({digest})")]
    TaskTaken {
        task: String,
        version: Version,
        digest: String,
    },
    #[error("collection `{0}` is already declared by another plugin")]
    CollectionTaken(String),
}

#[derive(Debug, Default)]
struct Snapshot {
    /// By id, then version: the last is the newest.
    tasks: BTreeMap<String, BTreeMap<Version, TaskEntry>>,
    formats: Vec<FormatEntry>,
    collections: BTreeMap<String, (Collection, Arc<Plugin>)>,
    plugins: Vec<Arc<Plugin>>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Catalog {
    snapshot: ArcSwap<Snapshot>,
    /// Held by whoever builds the next snapshot, so that no change is lost.
    changing: Mutex<()>,
}

/// A format plugin's answer to what a file is.
#[derive(Debug, Clone)]
pub struct Sniffed {
    pub media_type: String,
    pub encoding: String,
    pub plugin: Arc<Plugin>,
}

impl Catalog {
    /// Adds all that a plugin offers, or nothing.
    ///
    /// # Errors
    /// When another plugin has defined the same task version or collection.
    pub fn add(&self, plugin: &Arc<Plugin>) -> Result<(), CatalogError> {
        let _changing = self.changing.lock();
        let before = self.snapshot.load();
        if before
            .plugins
            .iter()
            .any(|known| known.digest() == plugin.digest())
        {
            return Ok(());
        }
        let mut tasks = before.tasks.clone();
        for definition in plugin.tasks() {
            let versions = tasks.entry(definition.id.clone()).or_default();
            if let Some(taken) = versions.get(&definition.version) {
                return Err(CatalogError::TaskTaken {
                    task: definition.id.clone(),
                    version: definition.version.clone(),
                    digest: taken.plugin.digest().to_string(),
                });
            }
            versions.insert(
                definition.version.clone(),
                TaskEntry {
                    definition: Arc::clone(definition),
                    plugin: Arc::clone(plugin),
                },
            );
        }
        let mut formats = before.formats.clone();
        let mut collections = before.collections.clone();
        if let Some(description) = plugin.formats() {
            formats.extend(description.formats.iter().map(|format| FormatEntry {
                format: format.clone(),
                plugin: Arc::clone(plugin),
            }));
            for collection in &description.collections {
                let entry = (collection.clone(), Arc::clone(plugin));
                if collections.insert(collection.name.clone(), entry).is_some() {
                    return Err(CatalogError::CollectionTaken(collection.name.clone()));
                }
            }
        }
        let mut plugins = before.plugins.clone();
        plugins.push(Arc::clone(plugin));
        self.snapshot.store(Arc::new(Snapshot {
            tasks,
            formats,
            collections,
            plugins,
        }));
        Ok(())
    }

    /// The version meant, or none when it is not loaded.
    #[must_use]
    pub fn task(&self, task: &TaskRef) -> Option<TaskEntry> {
        let snapshot = self.snapshot.load();
        let versions = snapshot.tasks.get(&task.id)?;
        match &task.version {
            Some(version) => versions.get(version).cloned(),
            None => newest(versions).cloned(),
        }
    }

    /// The newest version of every task, by id.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskEntry> {
        self.snapshot
            .load()
            .tasks
            .values()
            .filter_map(newest)
            .cloned()
            .collect()
    }

    /// All versions of a task, oldest first.
    #[must_use]
    pub fn versions(&self, task: &str) -> Vec<Version> {
        self.snapshot
            .load()
            .tasks
            .get(task)
            .map(|versions| versions.keys().cloned().collect())
            .unwrap_or_default()
    }

    #[must_use]
    pub fn collection(&self, name: &str) -> Option<Collection> {
        self.snapshot
            .load()
            .collections
            .get(name)
            .map(|(collection, _)| collection.clone())
    }

    #[must_use]
    pub fn collections(&self) -> Vec<Collection> {
        self.snapshot
            .load()
            .collections
            .values()
            .map(|(collection, _)| collection.clone())
            .collect()
    }

    #[must_use]
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.snapshot.load().plugins.clone()
    }

    /// The usual file name extension of a media type, without the dot.
    #[must_use]
    pub fn extension(&self, media_type: &str) -> Option<String> {
        let snapshot = self.snapshot.load();
        let entry = snapshot
            .formats
            .iter()
            .find(|entry| entry.format.media_type == media_type)?;
        entry.format.extensions.first().cloned()
    }

    /// Asks all format plugins what a file is; the most confident answer wins. A plugin that
    /// breaks has no answer.
    pub async fn sniff(&self, head: &[u8], file_name: &str) -> Option<Sniffed> {
        let plugins = self.plugins();
        let mut best: Option<(f32, Sniffed)> = None;
        for plugin in plugins.into_iter().filter(|plugin| plugin.facets().format) {
            match plugin.sniff(head.to_vec(), file_name.to_owned()).await {
                Ok(Some((media_type, encoding, confidence))) => {
                    if best.as_ref().is_none_or(|(before, _)| confidence > *before) {
                        best = Some((
                            confidence,
                            Sniffed {
                                media_type,
                                encoding,
                                plugin,
                            },
                        ));
                    }
                }
                Ok(None) => {}
                Err(failure) => {
                    tracing::warn!(%failure, digest = %plugin.digest(), "a format plugin broke");
                }
            }
        }
        best.map(|(_, sniffed)| sniffed)
    }

    /// Inspects a file that stands alone in a directory, by the plugin that knows its media type.
    /// None when no plugin does.
    ///
    /// # Errors
    /// When the guest or the host breaks.
    pub async fn inspect(
        &self,
        media_type: &str,
        directory: &Path,
        path: &str,
        file_name: &str,
    ) -> Result<Option<Result<crate::Inspected, Vec<crate::FileFault>>>, GuestFailure> {
        let plugin = self
            .snapshot
            .load()
            .formats
            .iter()
            .find(|entry| entry.format.media_type == media_type)
            .map(|entry| Arc::clone(&entry.plugin));
        let Some(plugin) = plugin else {
            return Ok(None);
        };
        let grants = FileGrants {
            input: Some(directory.to_owned()),
            work: None,
            out: None,
        };
        plugin
            .inspect(grants, path.to_owned(), file_name.to_owned())
            .await
            .map(Some)
    }
}

/// The newest release, or the newest pre-release when there is no release.
fn newest(versions: &BTreeMap<Version, TaskEntry>) -> Option<&TaskEntry> {
    versions
        .iter()
        .rev()
        .find(|(version, _)| version.pre.is_empty())
        .or_else(|| versions.last_key_value())
        .map(|(_, entry)| entry)
}
