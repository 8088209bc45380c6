//! The one way to change what is published.
//!
//! A change is worked out on the records of one name, checked against the catalog, committed with
//! its history and its events, and only then swapped in.

use std::sync::Arc;

use bindery_core::Digest;
use bindery_datastore::{CommitError, Database, Transaction};
use bindery_runtime::{CatalogError, HttpHost, Plugin, Provenance, Resident};
use jiff::Timestamp;
use semver::Version;

use crate::{
    ChangeError, StoreFault,
    records::{
        Action, DigestText, HISTORY, HistoryRecord, RECORD_VERSION, TrustRecord, VERSIONS,
        VersionRecord, VersionStatus, encode, history_key, version_key,
    },
    store::{Inner, NAMES_MAX},
    tell::{self, age},
};

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

impl Inner {
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
    pub(crate) async fn swap_back(
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
        // Before the swap: whoever sees that a task is gone finds here why.
        self.records.write().insert(name.to_owned(), after.clone());
        let swapped = self.catalog.change(swap);
        for (digest, _) in &plugins {
            self.held.lock().remove(digest);
        }
        self.news.notify_one();
        Ok(swapped?)
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

pub(crate) fn newest_where(
    records: &[VersionRecord],
    wanted: impl Fn(&VersionRecord) -> bool,
) -> Option<&VersionRecord> {
    records
        .iter()
        .filter(|record| wanted(record))
        .max_by_key(|record| age(record))
}

/// The version to go back to: the next older that is enabled, or was until a newer one came.
pub(crate) fn before<'a>(
    records: &'a [VersionRecord],
    current: &VersionRecord,
) -> Option<&'a VersionRecord> {
    newest_where(records, |record| {
        let was_live = match record.status {
            VersionStatus::Enabled => true,
            VersionStatus::Disabled => record.cause == Action::Superseded,
            VersionStatus::Pending | VersionStatus::Deleted => false,
        };
        was_live && record.version != current.version && age(record) < age(current)
    })
}

pub(crate) fn missing(records: &[VersionRecord], version: Option<&Version>) -> ChangeError {
    let any = records
        .iter()
        .any(|record| record.status != VersionStatus::Deleted);
    match version {
        Some(_) if any => ChangeError::NoSuchVersion,
        _ => ChangeError::NotFound,
    }
}

/// Takes away what a version that is enabled now makes superfluous: another content under the same
/// number, which is gone as if it was deleted (a number means one content, and there is nothing to
/// go back to or to enable), and the oldest when there are more than are kept, which are disabled.
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
    let mut withdraw = |record: &mut VersionRecord, status, reason: &str| {
        record.status = status;
        record.cause = Action::Superseded;
        lines.push(Line::of(record, Action::Superseded, "host", reason));
    };
    for record in records.iter_mut().filter(|record| {
        record.version == version
            && record.digest.0 != enabled
            && record.status != VersionStatus::Deleted
    }) {
        withdraw(
            record,
            VersionStatus::Deleted,
            "the same version with another content took its place",
        );
    }
    let mut oldest_first: Vec<&mut VersionRecord> = records
        .iter_mut()
        .filter(|record| record.status == VersionStatus::Enabled)
        .collect();
    oldest_first.sort_by_key(|record| age(record));
    let surplus = oldest_first.len().saturating_sub(kept);
    let others = oldest_first
        .into_iter()
        .filter(|record| record.digest.0 != enabled);
    for record in others.take(surplus) {
        withdraw(
            record,
            VersionStatus::Disabled,
            &format!("{kept} newer versions are kept"),
        );
    }
}

pub(crate) fn resident(record: &VersionRecord, plugin: Arc<Plugin>) -> Resident {
    Resident {
        provenance: Arc::new(Provenance {
            name: record.name.clone(),
            version: record.version.clone(),
            package: record.digest.0,
            permissions: record.sheet.grants(),
            // As the manifest's names are: one that is not, from a damaged record, grants nothing.
            hosts: record
                .sheet
                .hosts
                .iter()
                .filter_map(|host| host.parse::<HttpHost>().ok())
                .collect(),
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
