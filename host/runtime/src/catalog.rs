//! Which plugin answers for what.
//!
//! Readers take a snapshot without a lock; a change builds a new one and swaps it in, so nobody
//! sees half of a change. Work that has begun keeps the `Arc<Plugin>` it began with.
//!
//! A *resident* is one version of a package that is loaded and enabled. Several versions of one
//! package stand side by side: `task` means what the newest of them defines, `task@version` the
//! version that is named. A task belongs to one package, and so do formats and collections, which
//! only the newest version of a package offers.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use arc_swap::ArcSwap;
use bindery_core::{Collection, Digest, TaskDefinition, TaskRef, definition::FileFormat};
use parking_lot::Mutex;
use semver::Version;

use crate::{CallGrants, GuestFailure, HttpHosts, Plugin};

/// What is known of the package that a plugin came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// Of the package.
    pub name: String,
    pub version: Version,
    /// Of the whole package; the component has its own digest.
    pub package: Digest,
    /// What it was granted, for people.
    pub permissions: Vec<String>,
    /// Hosts that its tasks may send requests to while they compute.
    pub hosts: HttpHosts,
    /// Nobody vouches for it: it is here because the host runs for development.
    pub unsigned: bool,
}

/// One loaded and enabled version of a package.
#[derive(Debug, Clone)]
pub struct Resident {
    pub provenance: Arc<Provenance>,
    pub plugin: Arc<Plugin>,
}

/// One task version and the plugin that defines it.
#[derive(Debug, Clone)]
pub struct TaskEntry {
    pub definition: Arc<TaskDefinition>,
    pub plugin: Arc<Plugin>,
    pub provenance: Arc<Provenance>,
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
    #[error("task `{task}` is already defined by the package `{package}`")]
    TaskTaken { task: String, package: String },
    #[error("collection `{collection}` is already declared by the package `{package}`")]
    CollectionTaken { collection: String, package: String },
}

#[derive(Debug, Default)]
struct Snapshot {
    /// In the order in which they came.
    residents: Vec<Resident>,
    /// By id, then version: the last is the newest.
    tasks: BTreeMap<String, BTreeMap<Version, TaskEntry>>,
    formats: Vec<FormatEntry>,
    collections: BTreeMap<String, (Collection, String)>,
    /// By the digest of the component.
    plugins: HashMap<Digest, Resident>,
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

impl Snapshot {
    fn build(residents: Vec<Resident>) -> Result<Self, CatalogError> {
        let mut snapshot = Self::default();
        for resident in by_age(&residents) {
            snapshot.enter_tasks(resident)?;
            snapshot
                .plugins
                .insert(resident.plugin.digest(), resident.clone());
        }
        for resident in newest_of_each(&residents) {
            snapshot.enter_formats(resident)?;
        }
        snapshot.residents = residents;
        Ok(snapshot)
    }

    fn enter_tasks(&mut self, resident: &Resident) -> Result<(), CatalogError> {
        for definition in resident.plugin.tasks() {
            let versions = self.tasks.entry(definition.id.clone()).or_default();
            if let Some(taken) = versions
                .values()
                .find(|entry| entry.provenance.name != resident.provenance.name)
            {
                return Err(CatalogError::TaskTaken {
                    task: definition.id.clone(),
                    package: taken.provenance.name.clone(),
                });
            }
            // Where two versions of a package define the same version of a task, the newer one is
            // meant; work that began with the other is pinned to its digest.
            versions.insert(
                definition.version.clone(),
                TaskEntry {
                    definition: Arc::clone(definition),
                    plugin: Arc::clone(&resident.plugin),
                    provenance: Arc::clone(&resident.provenance),
                },
            );
        }
        Ok(())
    }

    fn enter_formats(&mut self, resident: &Resident) -> Result<(), CatalogError> {
        let Some(description) = resident.plugin.formats() else {
            return Ok(());
        };
        self.formats
            .extend(description.formats.iter().map(|format| FormatEntry {
                format: format.clone(),
                plugin: Arc::clone(&resident.plugin),
            }));
        for collection in &description.collections {
            let name = resident.provenance.name.clone();
            let before = self
                .collections
                .insert(collection.name.clone(), (collection.clone(), name));
            if let Some((_, package)) = before {
                return Err(CatalogError::CollectionTaken {
                    collection: collection.name.clone(),
                    package,
                });
            }
        }
        Ok(())
    }
}

/// Oldest first: pre-releases before releases, then by version, then as they came.
fn by_age(residents: &[Resident]) -> Vec<&Resident> {
    let mut sorted: Vec<&Resident> = residents.iter().collect();
    sorted.sort_by_key(|resident| {
        let version = &resident.provenance.version;
        (version.pre.is_empty(), version.clone())
    });
    sorted
}

fn newest_of_each(residents: &[Resident]) -> Vec<&Resident> {
    let mut newest: BTreeMap<&str, &Resident> = BTreeMap::new();
    for resident in by_age(residents) {
        newest.insert(&resident.provenance.name, resident);
    }
    newest.into_values().collect()
}

impl Catalog {
    /// Adds all that a plugin offers under a package name of its own, or nothing.
    ///
    /// # Errors
    /// When another package has defined the same task or collection.
    pub fn add(&self, plugin: &Arc<Plugin>) -> Result<(), CatalogError> {
        let digest = plugin.digest();
        let resident = Resident {
            provenance: Arc::new(Provenance {
                name: digest.to_string(),
                version: Version::new(0, 0, 0),
                package: digest,
                permissions: Vec::new(),
                hosts: HttpHosts::default(),
                unsigned: true,
            }),
            plugin: Arc::clone(plugin),
        };
        self.change(|residents| {
            if !residents
                .iter()
                .any(|known| known.plugin.digest() == digest)
            {
                residents.push(resident);
            }
        })
    }

    /// Changes what is resident, whole or not at all: readers see the list from before or the one
    /// from after.
    ///
    /// # Errors
    /// When two packages of the changed list define the same task or collection; then nothing is
    /// changed.
    pub fn change(&self, change: impl FnOnce(&mut Vec<Resident>)) -> Result<(), CatalogError> {
        let _changing = self.changing.lock();
        let mut residents = self.snapshot.load().residents.clone();
        change(&mut residents);
        self.snapshot.store(Arc::new(Snapshot::build(residents)?));
        Ok(())
    }

    /// Whether a change would be taken, without making it.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn check(&self, change: impl FnOnce(&mut Vec<Resident>)) -> Result<(), CatalogError> {
        let mut residents = self.snapshot.load().residents.clone();
        change(&mut residents);
        Snapshot::build(residents).map(drop)
    }

    /// All that is loaded and enabled, in the order in which it came.
    #[must_use]
    pub fn residents(&self) -> Vec<Resident> {
        self.snapshot.load().residents.clone()
    }

    /// The resident with this component.
    #[must_use]
    pub fn resident(&self, component: &Digest) -> Option<Resident> {
        self.snapshot.load().plugins.get(component).cloned()
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
        self.snapshot
            .load()
            .residents
            .iter()
            .map(|resident| Arc::clone(&resident.plugin))
            .collect()
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

    /// Asks the format plugins what a file is; the most confident answer wins. A plugin that
    /// breaks has no answer.
    pub async fn sniff(&self, head: &[u8], file_name: &str) -> Option<Sniffed> {
        let plugins: Vec<Arc<Plugin>> = newest_of_each(&self.snapshot.load().residents)
            .into_iter()
            .map(|resident| Arc::clone(&resident.plugin))
            .collect();
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
        let grants = CallGrants {
            input: Some(directory.to_owned()),
            ..CallGrants::default()
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
