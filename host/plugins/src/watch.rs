//! Watched folders: a package that is put there is published, one that is changed is published
//! again, one that is taken away is taken out of service.
//!
//! A folder is looked at every second, rather than by notices of the kernel: those are lost on
//! network and overlay file systems, need a fallback for when their number is used up, and a
//! folder of plugins has some dozens of files. An entry is read when two looks in a row find it
//! the same, so that nothing is read while it is being written. Being in the folder is no reason
//! to be trusted: packages are judged as any others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use bindery_registry::Package;
use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::{
    ChangeError, PluginStore, PublishOptions,
    error::chain,
    records::{Action, VersionRecord, VersionStatus},
};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Files of one entry that are looked at; a package has no more.
const FILES_MAX: usize = 2048;
const DEPTH_MAX: usize = 16;
const ACTOR: &str = "folder";

/// Something in a folder that may be a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    kind: Kind,
    /// Name, size, time of change and inode of each file.
    print: Vec<(PathBuf, u64, i64, i64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    /// An archive or a component.
    File,
}

/// Watches folders for a store.
#[derive(Debug)]
pub struct FolderWatch {
    store: PluginStore,
    folders: Vec<PathBuf>,
    /// Whether single components are taken.
    development: bool,
    /// What the last look found.
    seen: BTreeMap<PathBuf, Entry>,
    /// What was read, as it was then; what is bad is not read again until it changes.
    read: BTreeMap<PathBuf, Entry>,
}

/// An entry of a folder that could not be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFault {
    pub path: PathBuf,
    pub code: &'static str,
    pub fault: String,
}

impl FolderWatch {
    /// Folders are given as they will be compared: absolute and without links.
    #[must_use]
    pub fn new(store: PluginStore, folders: Vec<PathBuf>, development: bool) -> Self {
        Self {
            store,
            folders,
            development,
            seen: BTreeMap::new(),
            read: BTreeMap::new(),
        }
    }

    /// The first look: publishes everything that is there, and takes out of service what came
    /// from a folder and is in none. What could not be published is given back.
    pub async fn first_look(&mut self) -> Vec<FolderFault> {
        let found = self.look().await;
        self.seen = found.clone();
        let faults = self.publish(found).await;
        self.withdraw_missing().await;
        faults
    }

    /// Looks until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            for fault in self.look_again().await {
                tracing::error!(
                    path = %fault.path.display(),
                    code = fault.code,
                    fault = fault.fault,
                    "plugin not loaded"
                );
            }
        }
    }

    /// One more look.
    async fn look_again(&mut self) -> Vec<FolderFault> {
        let found = self.look().await;
        let settled: BTreeMap<PathBuf, Entry> = found
            .iter()
            .filter(|(path, entry)| {
                self.seen.get(*path) == Some(entry) && self.read.get(*path) != Some(entry)
            })
            .map(|(path, entry)| (path.clone(), entry.clone()))
            .collect();
        let gone = self.seen.keys().any(|path| !found.contains_key(path));
        self.read.retain(|path, _| found.contains_key(path));
        self.seen = found;
        let faults = if settled.is_empty() {
            Vec::new()
        } else {
            self.publish(settled).await
        };
        if gone {
            self.withdraw_missing().await;
        }
        faults
    }

    /// Looks at all folders, on a thread that may wait for a disk.
    async fn look(&self) -> BTreeMap<PathBuf, Entry> {
        let (folders, development) = (self.folders.clone(), self.development);
        let before = self.seen.clone();
        let looked = tokio::task::spawn_blocking(move || look(&folders, development, &before));
        // The runtime is going down: nothing has changed.
        looked.await.unwrap_or_else(|_| self.seen.clone())
    }

    async fn publish(&mut self, entries: BTreeMap<PathBuf, Entry>) -> Vec<FolderFault> {
        let store = &self.store;
        // The store has its own, lower bound.
        let outcomes: Vec<_> = stream::iter(entries)
            .map(|(path, entry)| async move {
                let outcome = publish_one(store, &path, entry.kind).await;
                (path, entry, outcome)
            })
            .buffered(64)
            .collect()
            .await;
        let mut faults = Vec::new();
        for (path, entry, outcome) in outcomes {
            if let Err((code, fault)) = outcome {
                faults.push(FolderFault {
                    path: path.clone(),
                    code,
                    fault,
                });
            }
            self.read.insert(path, entry);
        }
        faults
    }

    async fn withdraw_missing(&self) {
        let there: BTreeSet<&Path> = self.seen.keys().map(PathBuf::as_path).collect();
        let missing: Vec<VersionRecord> = {
            let records = self.store.inner.records.read();
            let of_folders = records.values().flatten().filter(|record| {
                matches!(
                    record.status,
                    VersionStatus::Enabled | VersionStatus::Pending
                ) && record
                    .folder
                    .as_ref()
                    .is_some_and(|folder| !there.contains(Path::new(folder)))
            });
            of_folders.cloned().collect()
        };
        for record in missing {
            let outcome = self
                .store
                .inner
                .set_status(&record, Action::RemovedFromFolder, ACTOR, "")
                .await;
            if let Err(error) = outcome {
                tracing::error!(
                    plugin = record.name,
                    error = chain(&error),
                    "still in service, though it is gone from its folder"
                );
            }
        }
    }
}

fn look(
    folders: &[PathBuf],
    development: bool,
    before: &BTreeMap<PathBuf, Entry>,
) -> BTreeMap<PathBuf, Entry> {
    let mut found = BTreeMap::new();
    for folder in folders {
        // A folder that is itself a package.
        if Package::is_package(folder) {
            found.extend(entry(folder, development));
            continue;
        }
        match fs::read_dir(folder) {
            Ok(listing) => {
                for listed in listing.flatten() {
                    found.extend(entry(&listed.path(), development));
                }
            }
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "folder not readable");
                // What was there is not gone because nobody can look.
                let below = before.iter().filter(|(path, _)| path.starts_with(folder));
                found.extend(below.map(|(path, entry)| (path.clone(), entry.clone())));
            }
        }
    }
    found
}

fn entry(path: &Path, development: bool) -> Option<(PathBuf, Entry)> {
    let is = |wanted: &str| {
        path.extension()
            .is_some_and(|extension| extension == wanted)
    };
    let kind = if Package::is_package(path) {
        Kind::Directory
    } else if path.is_file() && (is("bindery") || (development && is("wasm"))) {
        Kind::File
    } else {
        return None;
    };
    let mut print = Vec::new();
    fingerprint(path, 0, &mut print);
    print.sort();
    Some((path.to_owned(), Entry { kind, print }))
}

fn fingerprint(path: &Path, depth: usize, print: &mut Vec<(PathBuf, u64, i64, i64, u64)>) {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return;
    };
    if print.len() >= FILES_MAX || depth > DEPTH_MAX {
        return;
    }
    print.push((
        path.to_owned(),
        metadata.len(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ino(),
    ));
    if metadata.is_dir()
        && let Ok(listing) = fs::read_dir(path)
    {
        for listed in listing.flatten() {
            fingerprint(&listed.path(), depth + 1, print);
        }
    }
}

async fn publish_one(
    store: &PluginStore,
    path: &Path,
    kind: Kind,
) -> Result<(), (&'static str, String)> {
    let options = PublishOptions {
        approve: false,
        folder: Some(path.display().to_string()),
    };
    let published = match kind {
        Kind::Directory => {
            let directory = path.to_owned();
            let package = tokio::task::spawn_blocking(move || Package::read(&directory))
                .await
                .map_err(|error| ("internal", error.to_string()))?
                .map_err(|error| (error.code(), chain(&error)))?;
            store.publish_package(package, ACTOR, options).await
        }
        Kind::File => {
            let bytes = tokio::fs::read(path)
                .await
                .map_err(|error| ("package_io", error.to_string()))?;
            store.publish(Bytes::from(bytes), ACTOR, options).await
        }
    };
    let published = published.map_err(|error| (error.code(), chain(&error)))?;
    if published.created {
        return Ok(());
    }
    store
        .found_again(&published.record, path)
        .await
        .map_err(|error| (error.code(), chain(&error)))
}

impl PluginStore {
    /// A version that is known lies in a folder: it is enabled again when it was its going that
    /// disabled it.
    async fn found_again(&self, record: &VersionRecord, path: &Path) -> Result<(), ChangeError> {
        let folder = path.display().to_string();
        let digest = record.digest;
        if record.folder.as_ref() != Some(&folder) && record.folder.is_some() {
            self.inner
                .apply::<ChangeError>(&record.name, Vec::new(), |records| {
                    let mut after = records.to_vec();
                    for record in after.iter_mut().filter(|record| record.digest == digest) {
                        record.folder = Some(folder.clone());
                    }
                    Ok(crate::change::Change {
                        after,
                        lines: Vec::new(),
                    })
                })
                .await?;
        }
        if record.status == VersionStatus::Disabled && record.cause == Action::RemovedFromFolder {
            self.inner
                .go_live(digest.0, &record.name, Action::Enabled, ACTOR, None)
                .await?;
        }
        Ok(())
    }
}
