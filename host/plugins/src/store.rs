//! The store of plugins: which versions there are, what was done to them, and which are live.
//!
//! Records are kept in the common database and mirrored here. Every change takes the way of
//! [`Inner::apply`](crate::change), so that what clients see is always something that survives a
//! crash.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Weak},
};

use bindery_blobs::Blobs;
use bindery_core::Digest;
use bindery_datastore::{Database, Datastore, RangeQuery};
use bindery_engines::Engines;
use bindery_registry::{Package, TrustPolicy, judge};
use bindery_runtime::{COMPONENT_BYTES_MAX, Catalog, HealthReading, LoadError, Plugin, Runtime};
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use semver::Version;
use tokio::sync::{Notify, Semaphore};

use crate::{
    ChangeError, Compiler, PublishError, RecentRequests, StoreFault,
    change::{Change, Line, before, current, missing, newest_where, resident},
    compile::CompileError,
    error::chain,
    records::{
        Action, HISTORY, HistoryRecord, VERSIONS, VersionRecord, VersionStatus, decode, name_prefix,
    },
    supervise::{Broken, Probation, Probations, Verdict, Watch, share, verdict},
    tell::{self, Teller, age},
};

/// Packages by different names: each has at least one plugin in memory.
pub(crate) const NAMES_MAX: usize = 4096;
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
    pub(crate) held: Mutex<HashMap<Digest, String>>,
    /// One publish of a name at a time. Entries nobody holds are removed.
    pub(crate) publishing_names: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Permits to publish.
    pub(crate) publishing: Semaphore,
    /// Held from reading the records to swapping the catalog.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// Plugins that somebody still uses, by component: one that is not live any more is loaded
    /// once for all attempts that need it.
    loaded: Mutex<HashMap<Digest, Weak<Plugin>>>,
    pub(crate) probations: Probations,
    pub(crate) news: Arc<Notify>,
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
        self.withdraw(name, version, actor, VersionStatus::Disabled)
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
        self.withdraw(name, version, actor, VersionStatus::Deleted)
            .await
    }

    async fn withdraw(
        &self,
        name: &str,
        version: Option<&Version>,
        actor: &str,
        status: VersionStatus,
    ) -> Result<(), ChangeError> {
        let action = match status {
            VersionStatus::Deleted => Action::Deleted,
            _ => Action::Disabled,
        };
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
    pub(crate) fn records_of(&self, name: &str) -> Result<Vec<VersionRecord>, ChangeError> {
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
        judge(package, &policy, Timestamp::now()).map(drop)
    }

    /// Loads a stored version, from the cache where it can.
    pub(crate) async fn plugin_of(
        &self,
        record: &VersionRecord,
    ) -> Result<Arc<Plugin>, ChangeError> {
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
        if let Some(plugin) = self.in_use(&digest) {
            return Ok((plugin, report));
        }
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

    /// Every version that is enabled, of all packages.
    fn enabled(&self) -> Vec<VersionRecord> {
        let records = self.records.read();
        let enabled = records
            .values()
            .flatten()
            .filter(|record| record.status == VersionStatus::Enabled);
        enabled.cloned().collect()
    }

    /// At start: everything that is enabled, in parallel, and one swap.
    async fn load_enabled(&self) {
        let enabled = self.enabled();
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
        for record in self.enabled() {
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
