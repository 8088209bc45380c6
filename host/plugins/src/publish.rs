//! Publishing: from bytes to a version that is live.
//!
//! ```text
//! bytes ─ package ─ judge ─ compile (child) ─ load ─ sheet ─ cases ─ replay ─ record ─ swap
//! ```
//!
//! Each stage may say no, with a code of its own, and then nothing has changed. What is recorded
//! is on disk before it is live. One name is published by one at a time; different names side by
//! side, up to a bound.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_core::Digest;
use bindery_registry::{
    Manifest, Needs, Package, PackageSection, Refusal, SUPPORTED_CONTRACTS, Trust, TrustPolicy,
    judge,
};
use bindery_runtime::Plugin;
use bytes::Bytes;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    CasesReport, ChangeError, PluginStore, PublishError, ReplayReport, Sheet, StoreFault,
    change::{Change, Line, current, supersede},
    error::chain,
    records::{
        Action, DigestText, RECORD_VERSION, TaskName, TrustRecord, VersionRecord, VersionStatus,
        encode,
    },
    store::Inner,
    trials::{cases, replay},
};

/// Requests of each task that are put to old and new.
const REPLAYED_PER_TASK: usize = 8;
/// Of all tasks of a package.
const REPLAYED_MAX: usize = 64;
/// How a component starts; an archive starts with the name of its first file.
const WASM_MAGIC: &[u8] = b"\0asm";

/// How a publish is meant.
#[derive(Debug, Clone, Default)]
pub struct PublishOptions {
    /// The admin's yes to whatever the version newly asks for.
    pub approve: bool,
    /// Where it lies, when it comes from a watched folder.
    pub folder: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone)]
pub struct Published {
    pub record: VersionRecord,
    /// False when this digest was there already.
    pub created: bool,
    /// None when it was there already.
    pub report: Option<Report>,
}

/// What was found out on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub compile: CompileReport,
    /// None when they were not run: what ships was tried when it was built.
    pub cases: Option<CasesReport>,
    /// None when there was no version before.
    pub replay: Option<ReplayReport>,
    pub sheet: Sheet,
    /// Grants that the version before did not ask for.
    pub growth: Vec<String>,
    /// Grants that the version before asked for and this one does not.
    pub shrinkage: Vec<String>,
    /// From the first byte that was looked at to the swap.
    pub milliseconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompileReport {
    /// It had been compiled before.
    pub cached: bool,
    /// What stood round the compiler: a sandbox level, `limits`, or nothing but the process.
    pub confined: String,
    pub milliseconds: f64,
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    // Thousandths are as fine as anybody looks.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl PluginStore {
    /// Publishes a package (a `.bindery` archive), or a bare component.
    ///
    /// # Errors
    /// Why it is not taken; nothing has changed then.
    pub async fn publish(
        &self,
        bytes: Bytes,
        actor: &str,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        let started = Instant::now();
        let _permit = self.inner.permit().await?;
        if !bytes.starts_with(WASM_MAGIC) {
            let package = tokio::task::spawn_blocking(move || Package::from_archive(&bytes))
                .await
                .map_err(|error| StoreFault::Host(error.to_string()))??;
            return self
                .inner
                .publish_package(package, actor, options, started)
                .await;
        }
        match self.inner.wrap(bytes, &options).await? {
            Wrapped::Known(record) => Ok(known(record)),
            Wrapped::Package {
                package,
                plugin,
                compile,
            } => {
                let published = self
                    .inner
                    .publish_package(package, actor, options, started)
                    .await;
                // Held until here, so that it was not loaded twice.
                drop(plugin);
                let mut published = published?;
                if let Some(report) = &mut published.report {
                    report.compile = compile;
                }
                Ok(published)
            }
        }
    }

    /// Publishes a package that is in memory.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_package(
        &self,
        package: Package,
        actor: &str,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        let started = Instant::now();
        let _permit = self.inner.permit().await?;
        self.inner
            .publish_package(package, actor, options, started)
            .await
    }
}

enum Wrapped {
    Known(VersionRecord),
    Package {
        package: Package,
        plugin: Arc<Plugin>,
        compile: CompileReport,
    },
}

fn known(record: VersionRecord) -> Published {
    Published {
        record,
        created: false,
        report: None,
    }
}

/// What an outcome of trying is; nothing has been recorded.
struct Tried {
    plugin: Arc<Plugin>,
    report: Report,
}

impl Inner {
    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, StoreFault> {
        self.publishing
            .acquire()
            .await
            .map_err(|error| StoreFault::Host(error.to_string()))
    }

    async fn publish_package(
        &self,
        package: Package,
        actor: &str,
        options: PublishOptions,
        started: Instant,
    ) -> Result<Published, PublishError> {
        let name = package.name().to_owned();
        let lock = self.name_lock(&name);
        let turn = lock.lock().await;
        let outcome = self.publish_in_turn(package, actor, options, started).await;
        drop(turn);
        drop(lock);
        self.forget_name_lock(&name);
        outcome
    }

    fn name_lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.publishing_names.lock();
        Arc::clone(locks.entry(name.to_owned()).or_default())
    }

    fn forget_name_lock(&self, name: &str) {
        let mut locks = self.publishing_names.lock();
        if locks
            .get(name)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(name);
        }
    }

    async fn publish_in_turn(
        &self,
        package: Package,
        actor: &str,
        options: PublishOptions,
        started: Instant,
    ) -> Result<Published, PublishError> {
        let digest = package.digest();
        let records = self.of_name(package.name());
        let trust = self.judge_new(&package, &records)?;
        let same = records.iter().find(|record| record.digest.0 == digest);
        // What an admin has deleted does not come back because it still lies in a folder. What
        // another content of the same number has replaced does: the file was changed back.
        if let Some(record) = same
            && (record.status != VersionStatus::Deleted
                || (options.folder.is_some() && record.cause != Action::Superseded))
        {
            return Ok(known(record.clone()));
        }
        let fixed = matches!(trust, Trust::Signed { .. });
        let taken = records.iter().any(|record| {
            record.version == *package.version()
                && record.digest.0 != digest
                && !matches!(record.trust, TrustRecord::Development)
        });
        if fixed && taken {
            return Err(PublishError::VersionTaken {
                name: package.name().to_owned(),
                version: package.version().clone(),
            });
        }
        let Tried { plugin, mut report } = self.try_out(&package, &trust, &records).await?;
        let archive = package.to_archive()?;
        let stored = self
            .blobs
            .put_bytes(archive)
            .await
            .map_err(|error| storage(&error))?;
        // By its own digest as well: other things are made of it, such as a browser's validator.
        self.blobs
            .put_bytes(package.component().clone())
            .await
            .map_err(|error| storage(&error))?;
        let asks = !report.growth.is_empty() && !options.approve;
        report.milliseconds = milliseconds(started.elapsed());
        let report_bytes = encode(&report).map_err(StoreFault::Host)?;
        let report_blob = self
            .blobs
            .put_bytes(report_bytes.into())
            .await
            .map_err(|error| storage(&error))?;
        let mut record = VersionRecord {
            v: RECORD_VERSION,
            name: package.name().to_owned(),
            number: records
                .iter()
                .map(|record| record.number)
                .max()
                .unwrap_or(0)
                + 1,
            version: package.version().clone(),
            digest: DigestText(digest),
            component: DigestText(package.component_digest()),
            component_bytes: package.component().len() as u64,
            archive: DigestText(stored.digest),
            trust: trust_record(trust),
            folder: options.folder,
            status: if asks {
                VersionStatus::Pending
            } else {
                VersionStatus::Enabled
            },
            cause: Action::Published,
            sheet: report.sheet.clone(),
            growth: if asks {
                report.growth.clone()
            } else {
                Vec::new()
            },
            tasks: plugin
                .tasks()
                .iter()
                .map(|task| TaskName {
                    id: task.id.clone(),
                    version: task.version.clone(),
                })
                .collect(),
            published: Timestamp::now(),
            published_by: actor.to_owned(),
        };
        // Deleted and published again: the same row, so that a digest stands there once.
        if let Some(same) = same {
            record.number = same.number;
        }
        if !asks {
            // Another content of the same number is replaced, and is nothing to go back to.
            let before = current(&records).filter(|before| before.version != record.version);
            self.watch_upgrade(&plugin, before);
        }
        let kept = self.config.versions_kept.max(1);
        let entered = record.clone();
        self.apply::<PublishError>(&record.name, vec![(digest, plugin)], |records| {
            let mut after: Vec<VersionRecord> = records
                .iter()
                .filter(|other| other.number != entered.number)
                .cloned()
                .collect();
            let mut line = Line::of(&entered, Action::Published, actor, "");
            line.report = Some(report_blob.digest);
            if asks {
                line.reason = format!("waits for an approval of {}", entered.growth.join(", "));
            }
            let mut lines = vec![line];
            let enabled = entered.digest.0;
            after.push(entered);
            after.sort_by_key(|record| record.number);
            if !asks {
                supersede(&mut after, enabled, kept, &mut lines);
            }
            Ok(Change { after, lines })
        })
        .await?;
        report.milliseconds = milliseconds(started.elapsed());
        tracing::info!(
            plugin = record.name,
            version = %record.version,
            %digest,
            status = record.status.as_str(),
            milliseconds = report.milliseconds,
            "published"
        );
        Ok(Published {
            record,
            created: true,
            report: Some(report),
        })
    }

    fn of_name(&self, name: &str) -> Vec<VersionRecord> {
        self.records.read().get(name).cloned().unwrap_or_default()
    }

    fn judge_new(
        &self,
        package: &Package,
        records: &[VersionRecord],
    ) -> Result<Trust, PublishError> {
        let mut policy = TrustPolicy::clone(&self.policy.read());
        // The highest that was ever vouched for, deleted ones among them. What is shipped may be
        // older than what was published since: it is then one more version beside it.
        let floor = records
            .iter()
            .filter(|record| record.digest.0 != package.digest())
            .filter(|record| record.trust != TrustRecord::Development)
            .map(|record| record.version.clone())
            .max();
        if let Some(floor) = floor
            && !policy.shipped.contains(&package.digest())
            // The same once more is no way back.
            && !records.iter().any(|record| {
                record.digest.0 == package.digest() && record.status != VersionStatus::Deleted
            })
        {
            policy.floors.insert(package.name().to_owned(), floor);
        }
        Ok(judge(package, &policy, Timestamp::now())?)
    }

    /// Everything that can be found out without changing anything.
    async fn try_out(
        &self,
        package: &Package,
        trust: &Trust,
        records: &[VersionRecord],
    ) -> Result<Tried, PublishError> {
        let (plugin, compile) = self
            .load(package.component(), package.component_digest())
            .await?;
        let sheet =
            Sheet::of(package.manifest(), &plugin).map_err(PublishError::NeedsUndeclared)?;
        let old = before(records);
        let (growth, shrinkage) = old.map_or_else(Default::default, |old| {
            (sheet.growth(&old.sheet), sheet.shrinkage(&old.sheet))
        });
        let tried = match trust {
            // They ran when it was built, and its digest says that it is that build.
            Trust::Shipped => None,
            Trust::Signed { .. } | Trust::Development => {
                let engines = self.engines.as_ref();
                Some(cases(package, &plugin, engines, &self.config.scratch).await)
            }
        };
        if let Some(cases) = tried.clone().filter(|cases| cases.failed > 0) {
            return Err(PublishError::CasesFailed(cases));
        }
        let live = current(records).and_then(|record| self.catalog.resident(&record.component.0));
        let replay = match live {
            Some(live) => Some(self.replay(&live.plugin, &plugin).await),
            None => None,
        };
        Ok(Tried {
            plugin,
            report: Report {
                compile,
                cases: tried,
                replay,
                sheet,
                growth,
                shrinkage,
                milliseconds: 0.0,
            },
        })
    }

    async fn replay(&self, old: &Arc<Plugin>, new: &Arc<Plugin>) -> ReplayReport {
        let mut recent = Vec::new();
        for task in old.tasks() {
            let of_task = self.recent.recent(&task.id, REPLAYED_PER_TASK).await;
            recent.extend(of_task);
            if recent.len() >= REPLAYED_MAX {
                recent.truncate(REPLAYED_MAX);
                break;
            }
        }
        replay(old, new, recent, &self.blobs, &self.config.scratch).await
    }

    /// Makes a package of a component, by what it says of itself. Only for development: a
    /// component alone cannot be signed, and what a manifest asks for belongs to what ships.
    async fn wrap(
        &self,
        component: Bytes,
        options: &PublishOptions,
    ) -> Result<Wrapped, PublishError> {
        let digest = Digest::of(&component);
        let there = {
            let records = self.records.read();
            let found = records.values().flatten().find(|record| {
                record.component.0 == digest && record.status != VersionStatus::Deleted
            });
            found.cloned()
        };
        if let (Some(record), None) = (there, &options.folder) {
            return Ok(Wrapped::Known(record));
        }
        if !self.policy.read().development {
            return Err(Refusal::Unsigned {
                name: "component".to_owned(),
                version: Version::new(0, 0, 0),
            }
            .into());
        }
        let (plugin, compile) = self.load(&component, digest).await?;
        let manifest = manifest_of(&plugin);
        Ok(Wrapped::Package {
            package: Package::from_component(&manifest, component)?,
            plugin,
            compile,
        })
    }
}

/// The version whose grants a new one is compared with: what is live, or was last.
fn before(records: &[VersionRecord]) -> Option<&VersionRecord> {
    current(records).or_else(|| {
        records
            .iter()
            .filter(|record| record.status == VersionStatus::Disabled)
            .max_by_key(|record| record.number)
    })
}

fn manifest_of(plugin: &Plugin) -> Manifest {
    let (name, version) = match (plugin.tasks().first(), plugin.formats()) {
        (Some(task), _) => (task.id.clone(), task.version.clone()),
        (None, Some(formats)) => (formats.id.clone(), formats.version.clone()),
        // A plugin has one or the other.
        (None, None) => ("plugin".to_owned(), Version::new(0, 0, 0)),
    };
    let mut engines: Vec<String> = plugin
        .tasks()
        .iter()
        .flat_map(|task| &task.engines)
        .map(|requirement| requirement.engine.clone())
        .collect();
    engines.sort_unstable();
    engines.dedup();
    Manifest {
        package: PackageSection {
            name,
            version,
            licence: "LicenseRef-unknown".to_owned(),
            contract: SUPPORTED_CONTRACTS
                .first()
                .copied()
                .unwrap_or(bindery_registry::Contract {
                    major: 0,
                    minor: 1,
                    patch: 0,
                }),
            summary: String::new(),
            homepage: String::new(),
            publisher: None,
            keywords: Vec::new(),
        },
        needs: Needs {
            engines,
            hosts: Vec::new(),
            assets: BTreeMap::new(),
        },
    }
}

fn trust_record(trust: Trust) -> TrustRecord {
    match trust {
        Trust::Signed { publisher, key } => TrustRecord::Signed {
            publisher,
            key: key.to_string(),
        },
        Trust::Shipped => TrustRecord::Shipped,
        Trust::Development => TrustRecord::Development,
    }
}

fn storage(error: &bindery_blobs::PutError) -> PublishError {
    match error {
        bindery_blobs::PutError::StorageFull { .. } => StoreFault::StorageFull.into(),
        other => StoreFault::Host(chain(other)).into(),
    }
}

impl From<PublishError> for ChangeError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Load(error) => Self::Load(error),
            PublishError::Taken(error) => Self::Taken(error),
            PublishError::Store(fault) => Self::Store(fault),
            other => Self::Store(StoreFault::Host(chain(&other))),
        }
    }
}
