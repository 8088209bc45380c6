//! The store of plugins: which versions there are, what was done to them, and which are live.
//!
//! Records are kept in the common database and mirrored here. Every change takes the same way,
//! [`Inner::apply`]: it is checked against the catalog, committed with its history and its events,
//! and only then swapped in, so that what clients see is always something that survives a crash.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Weak},
};

use bindery_blobs::Blobs;
use bindery_core::Digest;
use bindery_datastore::{CommitError, Database, Datastore, RangeQuery, Transaction};
use bindery_engines::Engines;
use bindery_registry::{Package, TrustPolicy, judge};
use bindery_runtime::{
    COMPONENT_BYTES_MAX, Catalog, CatalogError, HealthReading, LoadError, Plugin, Provenance,
    Resident, Runtime,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use semver::Version;
use tokio::sync::{Notify, Semaphore};

use crate::{
    ChangeError, Compiler, PublishError, RecentRequests, StoreFault,
    compile::CompileError,
    error::chain,
    records::{
        Action, DigestText, HISTORY, HistoryRecord, RECORD_VERSION, TrustRecord, VERSIONS,
        VersionRecord, VersionStatus, decode, encode, history_key, name_prefix, version_key,
    },
    supervise::{Broken, Probation, Probations, Verdict, Watch, share, verdict},
    tell::{self, Teller, age},
};

/// Packages by different names: each has at least one plugin in memory.
const NAMES_MAX: usize = 4096;
/// Lines of history that are given at once.
const HISTORY_MAX: usize = 1000;

/// What an operator decides.
#[derive(Debug, Clone)]
pub struct PluginsConfig {
    /// Directories of this crate: of the compiler, of replays.
    pub scratch: PathBuf,
    pub compiler: Compiler,
    /// Versions of one package that are enabled side by side; older ones are disabled, and can be
    /// enabled again. Bounds the memory of a package that is published over and over.
    pub versions_kept: usize,
    /// Packages that are published or loaded at the same time.
    pub parallel: usize,
    /// Digests of components that come with this host, for uploads without a package.
    pub shipped_components: Vec<Digest>,
}

impl PluginsConfig {
    /// Eight versions side by side.
    pub const VERSIONS_KEPT: usize = 8;
}

/// What the store works with.
#[derive(Debug)]
pub struct PluginsParts {
    pub runtime: Runtime,
    pub catalog: Arc<Catalog>,
    pub datastore: Arc<dyn Datastore>,
    pub blobs: Blobs,
    pub policy: TrustPolicy,
    /// For golden cases that want them.
    pub engines: Option<Arc<Engines>>,
    pub recent: Arc<dyn RecentRequests>,
}

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PluginStore {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: PluginsConfig,
    pub(crate) runtime: Runtime,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) blobs: Blobs,
    pub(crate) policy: RwLock<Arc<TrustPolicy>>,
    pub(crate) engines: Option<Arc<Engines>>,
    pub(crate) recent: Arc<dyn RecentRequests>,
    /// By name, then number. Written by `apply` only.
    pub(crate) records: RwLock<BTreeMap<String, Vec<VersionRecord>>>,
    /// Enabled versions that are not loaded, by package digest, and why.
    held: Mutex<HashMap<Digest, String>>,
    /// One publish of a name at a time. Entries nobody holds are removed.
    pub(crate) publishing_names: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Permits to publish.
    pub(crate) publishing: Semaphore,
    /// Held from reading the records to swapping the catalog.
    changing: tokio::sync::Mutex<()>,
    /// Plugins that somebody still uses, by component: one that is not live any more is loaded
    /// once for all attempts that need it.
    loaded: Mutex<HashMap<Digest, Weak<Plugin>>>,
    pub(crate) probations: Probations,
    news: Arc<Notify>,
}

/// A package and its versions, newest first.
#[derive(Debug, Clone)]
pub struct PluginView {
    pub name: String,
    pub versions: Vec<VersionView>,
}

/// A version as it is now.
#[derive(Debug, Clone)]
pub struct VersionView {
    pub record: VersionRecord,
    /// What the name means.
    pub current: bool,
    /// None when it is not loaded.
    pub health: Option<HealthReading>,
    /// Why it is not loaded although it is enabled.
    pub fault: Option<String>,
}

/// What [`Inner::apply`] is to do.
pub(crate) struct Change {
    /// All versions of the name afterwards.
    pub(crate) after: Vec<VersionRecord>,
    pub(crate) lines: Vec<Line>,
}

/// A line of history to be.
pub(crate) struct Line {
    pub(crate) actor: String,
    pub(crate) action: Action,
    pub(crate) version: Version,
    pub(crate) digest: Digest,
    pub(crate) reason: String,
    pub(crate) report: Option<Digest>,
}

impl PluginStore {
    /// Opens the store and loads what is enabled, all at once. What cannot be loaded is held
    /// back, and said.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn open(parts: PluginsParts, config: PluginsConfig) -> Result<Self, StoreFault> {
        let datastore = Arc::clone(&parts.datastore);
        let records = tokio::task::spawn_blocking(move || read_records(&*datastore))
            .await
            .map_err(|error| StoreFault::Host(error.to_string()))??;
        let inner = Arc::new(Inner {
            publishing: Semaphore::new(config.parallel.max(1)),
            config,
            runtime: parts.runtime,
            catalog: parts.catalog,
            datastore: Arc::clone(&parts.datastore),
            blobs: parts.blobs,
            policy: RwLock::new(Arc::new(parts.policy)),
            engines: parts.engines,
            recent: parts.recent,
            records: RwLock::new(records),
            held: Mutex::default(),
            publishing_names: Mutex::default(),
            changing: tokio::sync::Mutex::new(()),
            loaded: Mutex::default(),
            probations: Probations::default(),
            news: Arc::new(Notify::new()),
        });
        inner.load_enabled().await;
        let (watch, broken) = Watch::new();
        if !inner.runtime.watch_breaks(Arc::new(watch)) {
            return Err(StoreFault::Host(
                "the runtime's breaks are watched already".to_owned(),
            ));
        }
        tokio::spawn(act(Arc::downgrade(&inner), broken));
        Ok(Self { inner })
    }

    /// Tells organisations from now on what happens to tasks, beginning with what they were not
    /// told before. Called once, after what lies in folders was published: where nobody was told
    /// anything yet, that is what tasks there are, and no news.
    pub fn start_telling(&self) {
        let teller = Teller::new(
            Arc::clone(&self.inner.datastore),
            Arc::clone(&self.inner.news),
        );
        tokio::spawn(teller.run());
    }

    /// All packages, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PluginView> {
        let records = self.inner.records.read();
        records
            .iter()
            .filter_map(|(name, versions)| self.inner.view(name, versions))
            .collect()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<PluginView> {
        let records = self.inner.records.read();
        self.inner.view(name, records.get(name)?)
    }

    /// What was done to a package, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn history(&self, name: &str) -> Result<Vec<HistoryRecord>, StoreFault> {
        let datastore = Arc::clone(&self.inner.datastore);
        let query = RangeQuery::prefix(name_prefix(name), HISTORY_MAX).reverse();
        tokio::task::spawn_blocking(move || {
            datastore
                .range(Database::Meta, HISTORY, &query)?
                .iter()
                .map(|(_, value)| decode("history", value).map_err(StoreFault::Host))
                .collect()
        })
        .await
        .map_err(|error| StoreFault::Host(error.to_string()))?
    }

    /// The package of a version, as it was published.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn archive(&self, record: &VersionRecord) -> Result<Bytes, StoreFault> {
        self.inner.archive(record).await
    }

    /// The report of a publish, by the digest in the history.
    ///
    /// # Errors
    /// When it is not there, or cannot be read.
    pub async fn report(&self, digest: &Digest) -> Result<crate::Report, StoreFault> {
        let bytes = self.inner.blob(digest).await?;
        decode("report", &bytes).map_err(StoreFault::Host)
    }

    /// Back to the version that the name meant before; the newer one stays, disabled. Nothing is
    /// compiled or tried: the version was live.
    ///
    /// # Errors
    /// When there is none.
    pub async fn roll_back(&self, name: &str, actor: &str) -> Result<PluginView, ChangeError> {
        let inner = &self.inner;
        let records = inner.records_of(name)?;
        let current = current(&records).ok_or(ChangeError::NothingBefore)?.clone();
        let target = before(&records, &current)
            .ok_or(ChangeError::NothingBefore)?
            .clone();
        let plugin = inner.plugin_of(&target).await?;
        inner
            .swap_back(&current, &target, plugin, Action::RolledBack, actor, "")
            .await?;
        self.get(name).ok_or(ChangeError::NotFound)
    }

    /// Takes a version, or all of a package, out of service. What runs with it goes on.
    ///
    /// # Errors
    /// When there is none.
    pub async fn disable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        self.withdraw(
            name,
            version,
            actor,
            Action::Disabled,
            VersionStatus::Disabled,
        )
        .await?;
        self.get(name).ok_or(ChangeError::NotFound)
    }

    /// Removes a version, or all of a package, for good. What began with it still ends with it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn delete(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<(), ChangeError> {
        self.withdraw(
            name,
            version,
            actor,
            Action::Deleted,
            VersionStatus::Deleted,
        )
        .await
    }

    async fn withdraw(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
        action: Action,
        status: VersionStatus,
    ) -> Result<(), ChangeError> {
        self.inner
            .apply(name, Vec::new(), |records| {
                let mut after = records.to_vec();
                let mut lines = Vec::new();
                let mut known = false;
                for record in &mut after {
                    let meant = version.is_none_or(|version| *version == record.version);
                    if !meant || record.status == VersionStatus::Deleted {
                        continue;
                    }
                    known = true;
                    let changes = match status {
                        VersionStatus::Disabled => record.status == VersionStatus::Enabled,
                        _ => true,
                    };
                    if changes {
                        record.status = status;
                        record.cause = action;
                        lines.push(Line::of(record, action, actor, ""));
                    }
                }
                if !known {
                    return Err(missing(records, version));
                }
                Ok(Change { after, lines })
            })
            .await
    }

    /// Puts a disabled version into service again: the one named, or the newest.
    ///
    /// # Errors
    /// When there is none, or it may not be loaded.
    pub async fn enable(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        let records = self.inner.records_of(name)?;
        let record = newest_where(&records, |record| {
            record.status == VersionStatus::Disabled
                && version.is_none_or(|version| *version == record.version)
        });
        let Some(record) = record else {
            let named = records.iter().find(|record| {
                record.status != VersionStatus::Deleted
                    && version.is_none_or(|version| *version == record.version)
            });
            return match named {
                Some(record) if record.status == VersionStatus::Pending => {
                    Err(ChangeError::Pending(record.version.clone()))
                }
                // It is enabled.
                Some(_) => self.get(name).ok_or(ChangeError::NotFound),
                None => Err(missing(&records, version)),
            };
        };
        self.inner
            .go_live(record.digest.0, name, Action::Enabled, actor, None)
            .await?;
        self.get(name).ok_or(ChangeError::NotFound)
    }

    /// An admin's yes to what a version newly asks for.
    ///
    /// # Errors
    /// When nothing waits for it.
    pub async fn approve(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
    ) -> Result<PluginView, ChangeError> {
        let records = self.inner.records_of(name)?;
        let record = newest_where(&records, |record| {
            record.status == VersionStatus::Pending
                && version.is_none_or(|version| *version == record.version)
        })
        .ok_or(ChangeError::NothingPending)?;
        let reason = format!("granted: {}", record.growth.join(", "));
        self.inner
            .go_live(record.digest.0, name, Action::Approved, actor, Some(reason))
            .await?;
        self.get(name).ok_or(ChangeError::NotFound)
    }

    /// The plugin with this component, live or not: for what began with it.
    ///
    /// # Errors
    /// When it is known and cannot be loaded, or must not be any more.
    pub async fn pinned(&self, component: &Digest) -> Result<Option<Arc<Plugin>>, ChangeError> {
        let record = {
            let records = self.inner.records.read();
            let found = records
                .values()
                .flatten()
                .find(|record| record.component.0 == *component);
            found.cloned()
        };
        match record {
            Some(record) => self.inner.plugin_of(&record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Judges everything that is live anew: what is revoked is taken out of service.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn set_policy(&self, policy: TrustPolicy) -> Result<(), StoreFault> {
        *self.inner.policy.write() = Arc::new(policy);
        self.inner.judge_residents().await
    }
}

impl Inner {
    fn view(&self, name: &str, versions: &[VersionRecord]) -> Option<PluginView> {
        let current = current(versions).map(|record| record.digest);
        let held = self.held.lock();
        let mut listed: Vec<&VersionRecord> = versions
            .iter()
            .filter(|record| record.status != VersionStatus::Deleted)
            .collect();
        listed.sort_by_key(|record| std::cmp::Reverse(age(record)));
        let versions: Vec<VersionView> = listed
            .into_iter()
            .map(|record| {
                let enabled = record.status == VersionStatus::Enabled;
                VersionView {
                    current: current == Some(record.digest),
                    health: self
                        .catalog
                        .resident(&record.component.0)
                        .filter(|_| enabled)
                        .map(|resident| resident.plugin.health()),
                    fault: held.get(&record.digest.0).filter(|_| enabled).cloned(),
                    record: record.clone(),
                }
            })
            .collect();
        (!versions.is_empty()).then(|| PluginView {
            name: name.to_owned(),
            versions,
        })
    }

    /// The versions of a name that were not deleted.
    fn records_of(&self, name: &str) -> Result<Vec<VersionRecord>, ChangeError> {
        let records = self.records.read();
        let of_name = records.get(name).ok_or(ChangeError::NotFound)?;
        let living: Vec<VersionRecord> = of_name
            .iter()
            .filter(|record| record.status != VersionStatus::Deleted)
            .cloned()
            .collect();
        match living.is_empty() {
            true => Err(ChangeError::NotFound),
            false => Ok(living),
        }
    }

    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Bytes, StoreFault> {
        let fault = |error: bindery_blobs::ReadError| StoreFault::Host(chain(&error));
        let reader = self.blobs.get(digest, None).await.map_err(fault)?;
        reader.bytes().await.map_err(fault)
    }

    async fn archive(&self, record: &VersionRecord) -> Result<Bytes, StoreFault> {
        self.blob(&record.archive.0).await
    }

    /// A plugin with this component that somebody uses.
    fn in_use(&self, component: &Digest) -> Option<Arc<Plugin>> {
        self.loaded.lock().get(component)?.upgrade()
    }

    pub(crate) fn note_loaded(&self, plugin: &Arc<Plugin>) {
        let mut loaded = self.loaded.lock();
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        loaded.insert(plugin.digest(), Arc::downgrade(plugin));
    }

    /// Whether a stored package may be loaded now, floors aside: it was published.
    fn judge_stored(&self, package: &Package) -> Result<(), bindery_registry::Refusal> {
        let mut policy = TrustPolicy::clone(&self.policy.read());
        policy.floors.clear();
        if self
            .config
            .shipped_components
            .contains(&package.component_digest())
        {
            policy.shipped.insert(package.digest());
        }
        judge(package, &policy, Timestamp::now()).map(drop)
    }

    /// Loads a stored version, from the cache where it can.
    async fn plugin_of(&self, record: &VersionRecord) -> Result<Arc<Plugin>, ChangeError> {
        let archive = self.archive(record).await?;
        let package = tokio::task::spawn_blocking(move || Package::from_archive(&archive))
            .await
            .map_err(|error| StoreFault::Host(error.to_string()))?
            .map_err(|error| StoreFault::Host(format!("stored package: {}", chain(&error))))?;
        self.judge_stored(&package).map_err(|refusal| {
            tracing::warn!(plugin = record.name, version = %record.version, %refusal, "not loaded");
            match refusal.code() {
                "revoked" => ChangeError::Revoked,
                _ => StoreFault::Host(refusal.to_string()).into(),
            }
        })?;
        // After the judgement: what is in use may have been revoked since.
        if let Some(plugin) = self.in_use(&record.component.0) {
            return Ok(plugin);
        }
        match self.load(package.component(), record.component.0).await {
            Ok((plugin, _)) => Ok(plugin),
            Err(PublishError::Load(error)) => Err(ChangeError::Load(error)),
            Err(PublishError::Store(fault)) => Err(fault.into()),
            Err(other) => Err(StoreFault::Host(chain(&other)).into()),
        }
    }

    /// Loads a component, compiled before or now; gives how it was compiled.
    pub(crate) async fn load(
        &self,
        component: &Bytes,
        digest: Digest,
    ) -> Result<(Arc<Plugin>, crate::CompileReport), PublishError> {
        if component.len() > COMPONENT_BYTES_MAX {
            return Err(PublishError::Load(LoadError::TooLarge {
                size_bytes: component.len(),
            }));
        }
        let size_bytes = component.len() as u64;
        let mut report = crate::CompileReport {
            cached: true,
            confined: String::new(),
            milliseconds: 0.0,
        };
        let runtime = &self.runtime;
        let cached = runtime
            .load_cached(digest, size_bytes)
            .await
            .map_err(PublishError::Load)?;
        let plugin = match (cached, &self.config.compiler) {
            (Some(plugin), _) => plugin,
            (None, Compiler::InProcess) => {
                let started = std::time::Instant::now();
                let plugin = runtime
                    .load(component.to_vec())
                    .await
                    .map_err(PublishError::Load)?;
                report.cached = false;
                report.confined = "in process".to_owned();
                report.milliseconds = crate::milliseconds(started.elapsed());
                plugin
            }
            (None, Compiler::Child(process)) => {
                let compiled = process
                    .compile(component)
                    .await
                    .map_err(|error| match error {
                        CompileError::Invalid(fault) => PublishError::NotCompilable(fault),
                        CompileError::Limit(what) => PublishError::CompileLimit(what),
                        CompileError::Host(fault) => StoreFault::Host(fault).into(),
                    })?;
                report.cached = false;
                report.confined = compiled.confined;
                report.milliseconds = crate::milliseconds(compiled.elapsed);
                runtime
                    .load_compiled(digest, size_bytes, compiled.code)
                    .await
                    .map_err(PublishError::Load)?
            }
        };
        self.note_loaded(&plugin);
        Ok((plugin, report))
    }

    /// At start: everything that is enabled, in parallel, and one swap.
    async fn load_enabled(&self) {
        let enabled: Vec<VersionRecord> = self
            .records
            .read()
            .values()
            .flatten()
            .filter(|record| record.status == VersionStatus::Enabled)
            .cloned()
            .collect();
        // Loading is mostly waiting for one disk and computing digests; the compile cache makes
        // the rest short.
        let at_once = self.config.parallel.max(1) * 4;
        let loaded: Vec<_> = stream::iter(&enabled)
            .map(|record| async move { (record, self.plugin_of(record).await) })
            .buffered(at_once)
            .collect()
            .await;
        for (record, outcome) in loaded {
            let swapped = match outcome {
                Ok(plugin) => {
                    let resident = resident(record, plugin);
                    self.catalog
                        .change(|residents| residents.push(resident))
                        .map_err(|error| error.to_string())
                }
                Err(error) => Err(chain(&error)),
            };
            if let Err(fault) = swapped {
                self.hold(record, fault);
            }
        }
    }

    fn hold(&self, record: &VersionRecord, fault: String) {
        tracing::error!(plugin = record.name, version = %record.version, fault, "plugin not loaded");
        self.held.lock().insert(record.digest.0, fault);
    }

    /// Takes out of service what must not be loaded any more.
    async fn judge_residents(&self) -> Result<(), StoreFault> {
        let enabled: Vec<VersionRecord> = self
            .records
            .read()
            .values()
            .flatten()
            .filter(|record| record.status == VersionStatus::Enabled)
            .cloned()
            .collect();
        for record in enabled {
            let archive = self.archive(&record).await?;
            let package =
                Package::from_archive(&archive).map_err(|error| StoreFault::Host(chain(&error)))?;
            let Err(refusal) = self.judge_stored(&package) else {
                continue;
            };
            tracing::warn!(plugin = record.name, version = %record.version, %refusal, "taken out of service");
            let withdrawn = self
                .set_status(&record, Action::Revoked, "host", &refusal.to_string())
                .await;
            if let Err(error) = withdrawn {
                return Err(StoreFault::Host(chain(&error)));
            }
        }
        Ok(())
    }

    /// Disables one version, if it is enabled or waits.
    pub(crate) async fn set_status(
        &self,
        target: &VersionRecord,
        action: Action,
        actor: &str,
        reason: &str,
    ) -> Result<(), ChangeError> {
        let digest = target.digest;
        self.apply(&target.name, Vec::new(), |records| {
            let mut after = records.to_vec();
            let mut lines = Vec::new();
            for record in &mut after {
                let live = matches!(
                    record.status,
                    VersionStatus::Enabled | VersionStatus::Pending
                );
                if record.digest == digest && live {
                    record.status = VersionStatus::Disabled;
                    record.cause = action;
                    lines.push(Line::of(record, action, actor, reason));
                }
            }
            Ok(Change { after, lines })
        })
        .await
    }

    /// Enables a stored version.
    pub(crate) async fn go_live(
        &self,
        digest: Digest,
        name: &str,
        action: Action,
        actor: &str,
        reason: Option<String>,
    ) -> Result<(), ChangeError> {
        let record = self
            .records_of(name)?
            .into_iter()
            .find(|record| record.digest.0 == digest)
            .ok_or(ChangeError::NoSuchVersion)?;
        let plugin = self.plugin_of(&record).await?;
        let meant = current(&self.records_of(name)?).cloned();
        self.watch_upgrade(&plugin, meant.as_ref());
        let kept = self.config.versions_kept.max(1);
        self.apply(name, vec![(digest, plugin)], |records| {
            let mut after = records.to_vec();
            let mut lines = Vec::new();
            let Some(record) = after.iter_mut().find(|record| record.digest.0 == digest) else {
                return Err(ChangeError::NoSuchVersion);
            };
            if record.status == VersionStatus::Deleted {
                return Err(ChangeError::NoSuchVersion);
            }
            record.status = VersionStatus::Enabled;
            record.cause = action;
            record.growth.clear();
            lines.push(Line::of(
                record,
                action,
                actor,
                reason.as_deref().unwrap_or_default(),
            ));
            supersede(&mut after, digest, kept, &mut lines);
            Ok(Change { after, lines })
        })
        .await
    }

    /// Disables `current` and sees to it that `target` is enabled.
    async fn swap_back(
        &self,
        current: &VersionRecord,
        target: &VersionRecord,
        plugin: Arc<Plugin>,
        action: Action,
        actor: &str,
        reason: &str,
    ) -> Result<(), ChangeError> {
        let (from, to) = (current.digest, target.digest);
        self.probations.lock().remove(&current.component.0);
        self.apply(&current.name, vec![(to.0, plugin)], |records| {
            let mut after = records.to_vec();
            // Somebody else has gone back meanwhile, or on.
            if self::current(records).is_none_or(|current| current.digest != from) {
                return Err(ChangeError::NothingBefore);
            }
            for record in &mut after {
                if record.digest == from {
                    record.status = VersionStatus::Disabled;
                    record.cause = action;
                } else if record.digest == to {
                    record.status = VersionStatus::Enabled;
                }
            }
            let lines = vec![Line::of(target, action, actor, reason)];
            Ok(Change { after, lines })
        })
        .await
    }

    /// The one way to change what is published; see the module. `plugins` are those that may
    /// become live, by package digest.
    pub(crate) async fn apply<E>(
        &self,
        name: &str,
        plugins: Vec<(Digest, Arc<Plugin>)>,
        change: impl FnOnce(&[VersionRecord]) -> Result<Change, E>,
    ) -> Result<(), E>
    where
        E: From<StoreFault> + From<CatalogError>,
    {
        let _changing = self.changing.lock().await;
        let before = self.records.read().get(name).cloned().unwrap_or_default();
        if before.is_empty() && self.records.read().len() >= NAMES_MAX {
            return Err(StoreFault::Host(format!("more than {NAMES_MAX} packages")).into());
        }
        let Change { after, lines } = change(&before)?;
        if after == before && lines.is_empty() {
            return Ok(());
        }
        let swap = |residents: &mut Vec<Resident>| {
            let enabled = |digest: &Digest| {
                after.iter().find(|record| {
                    record.digest.0 == *digest && record.status == VersionStatus::Enabled
                })
            };
            residents.retain(|resident| {
                resident.provenance.name != name || enabled(&resident.provenance.package).is_some()
            });
            for (digest, plugin) in &plugins {
                let there = residents
                    .iter()
                    .any(|resident| resident.provenance.package == *digest);
                if let (false, Some(record)) = (there, enabled(digest)) {
                    residents.push(resident(record, Arc::clone(plugin)));
                }
            }
        };
        self.catalog.check(swap)?;
        let transaction = transaction(name, &before, &after, &lines).map_err(StoreFault::Host)?;
        self.datastore
            .commit(transaction)
            .await
            .map_err(|error| match error {
                CommitError::StorageFull { .. } => StoreFault::StorageFull,
                other => StoreFault::Commit(other),
            })?;
        let swapped = self.catalog.change(swap);
        for (digest, _) in &plugins {
            self.held.lock().remove(digest);
        }
        self.records.write().insert(name.to_owned(), after);
        self.news.notify_one();
        Ok(swapped?)
    }

    /// Acts on a break that was told.
    async fn act_on(&self, broken: Broken) -> Result<(), ChangeError> {
        let found = {
            let records = self.records.read();
            let found = records.values().flatten().find(|record| {
                record.component.0 == broken.component && record.status == VersionStatus::Enabled
            });
            found.cloned()
        };
        // A version that is out of service already: its last calls are still coming in.
        let Some(record) = found else { return Ok(()) };
        let probation = self.probations.lock().get(&broken.component).copied();
        let reason = format!(
            "{} of {} calls broke; the last: {}",
            broken.reading.breaks, broken.reading.calls, broken.words
        );
        match (verdict(broken.reading, probation.as_ref()), probation) {
            (Verdict::RollBack, Some(probation)) => {
                let records = self.records_of(&record.name)?;
                let target = records
                    .iter()
                    .find(|other| other.digest.0 == probation.previous)
                    .ok_or(ChangeError::NothingBefore)?;
                let plugin = self.plugin_of(target).await?;
                tracing::warn!(plugin = record.name, version = %record.version, back_to = %target.version, reason, "rolled back");
                self.swap_back(
                    &record,
                    target,
                    plugin,
                    Action::RolledBackByHost,
                    "host",
                    &reason,
                )
                .await
            }
            (Verdict::PutAside, _) => {
                tracing::warn!(plugin = record.name, version = %record.version, reason, "put aside");
                self.set_status(&record, Action::PutAside, "host", &reason)
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Puts a version that takes another one's place on probation.
    pub(crate) fn watch_upgrade(&self, new: &Arc<Plugin>, old: Option<&VersionRecord>) {
        new.reset_health();
        let old = old.and_then(|record| {
            let resident = self.catalog.resident(&record.component.0)?;
            Some((record.digest.0, share(resident.plugin.health())))
        });
        let mut probations = self.probations.lock();
        probations.retain(|component, _| self.catalog.resident(component).is_some());
        match old {
            Some((previous, share_before)) => {
                probations.insert(
                    new.digest(),
                    Probation {
                        previous,
                        share_before,
                    },
                );
            }
            None => {
                probations.remove(&new.digest());
            }
        }
    }
}

/// Acts on breaks until the store is gone.
async fn act(inner: Weak<Inner>, mut broken: tokio::sync::mpsc::Receiver<Broken>) {
    while let Some(broken) = broken.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        match inner.act_on(broken).await {
            // Somebody was quicker.
            Ok(()) | Err(ChangeError::NothingBefore) => {}
            Err(error) => {
                tracing::error!(error = chain(&error), "a broken plugin is still in service");
            }
        }
    }
}

impl Line {
    pub(crate) fn of(record: &VersionRecord, action: Action, actor: &str, reason: &str) -> Self {
        Self {
            actor: actor.to_owned(),
            action,
            version: record.version.clone(),
            digest: record.digest.0,
            reason: reason.to_owned(),
            report: None,
        }
    }
}

/// What a name means.
pub(crate) fn current(records: &[VersionRecord]) -> Option<&VersionRecord> {
    newest_where(records, |record| record.status == VersionStatus::Enabled)
}

fn newest_where(
    records: &[VersionRecord],
    wanted: impl Fn(&VersionRecord) -> bool,
) -> Option<&VersionRecord> {
    records
        .iter()
        .filter(|record| wanted(record))
        .max_by_key(|record| age(record))
}

/// The version to go back to: the next older that is enabled, or was until a newer one came.
fn before<'a>(records: &'a [VersionRecord], current: &VersionRecord) -> Option<&'a VersionRecord> {
    newest_where(records, |record| {
        let was_live = match record.status {
            VersionStatus::Enabled => true,
            VersionStatus::Disabled => record.cause == Action::Superseded,
            VersionStatus::Pending | VersionStatus::Deleted => false,
        };
        was_live && age(record) < age(current)
    })
}

fn missing(records: &[VersionRecord], version: Option<&Version>) -> ChangeError {
    let any = records
        .iter()
        .any(|record| record.status != VersionStatus::Deleted);
    match version {
        Some(_) if any => ChangeError::NoSuchVersion,
        _ => ChangeError::NotFound,
    }
}

/// Disables what a version that is enabled now makes superfluous: another content under the same
/// number, and the oldest when there are more than are kept.
pub(crate) fn supersede(
    records: &mut [VersionRecord],
    enabled: Digest,
    kept: usize,
    lines: &mut Vec<Line>,
) {
    let Some(version) = records
        .iter()
        .find(|record| record.digest.0 == enabled)
        .map(|record| record.version.clone())
    else {
        return;
    };
    let mut oldest_first: Vec<&mut VersionRecord> = records
        .iter_mut()
        .filter(|record| record.status == VersionStatus::Enabled)
        .collect();
    oldest_first.sort_by_key(|record| age(record));
    let mut surplus = oldest_first.len().saturating_sub(kept);
    for record in oldest_first {
        if record.digest.0 == enabled {
            continue;
        }
        let same_number = record.version == version;
        if same_number || surplus > 0 {
            surplus = surplus.saturating_sub(1);
            record.status = VersionStatus::Disabled;
            record.cause = Action::Superseded;
            let reason = if same_number {
                "the same version with another content took its place".to_owned()
            } else {
                format!("{kept} newer versions are kept")
            };
            lines.push(Line::of(record, Action::Superseded, "host", &reason));
        }
    }
}

fn resident(record: &VersionRecord, plugin: Arc<Plugin>) -> Resident {
    Resident {
        provenance: Arc::new(Provenance {
            name: record.name.clone(),
            version: record.version.clone(),
            package: record.digest.0,
            permissions: record.sheet.grants(),
            unsigned: record.trust == TrustRecord::Development,
        }),
        plugin,
    }
}

fn transaction(
    name: &str,
    before: &[VersionRecord],
    after: &[VersionRecord],
    lines: &[Line],
) -> Result<Transaction, String> {
    let mut transaction = Transaction::new(Database::Meta);
    for record in after {
        if !before.contains(record) {
            transaction =
                transaction.put(VERSIONS, version_key(name, record.number), encode(record)?);
        }
    }
    let meant = current(before);
    let now = Timestamp::now();
    for (position, line) in lines.iter().enumerate() {
        let record = HistoryRecord {
            v: RECORD_VERSION,
            time: now,
            actor: line.actor.clone(),
            action: line.action,
            version: line.version.clone(),
            digest: DigestText(line.digest),
            from_version: meant.map(|record| record.version.clone()),
            from_digest: meant.map(|record| record.digest),
            reason: line.reason.clone(),
            report: line.report.map(DigestText),
        };
        // The first line is the one that led to the others: newest first, it comes last.
        let position = u16::try_from(position).unwrap_or(u16::MAX);
        transaction = transaction.put(HISTORY, history_key(name, now, position), encode(&record)?);
    }
    let word = lines.first().map_or("changed", |line| line.action.as_str());
    transaction.events = tell::events(before, after, word);
    Ok(transaction)
}

fn read_records(
    datastore: &dyn Datastore,
) -> Result<BTreeMap<String, Vec<VersionRecord>>, StoreFault> {
    let mut records: BTreeMap<String, Vec<VersionRecord>> = BTreeMap::new();
    for (_, value) in tell::rows(datastore, VERSIONS)? {
        let record: VersionRecord = decode("plugin version", &value).map_err(StoreFault::Host)?;
        records.entry(record.name.clone()).or_default().push(record);
    }
    Ok(records)
}
