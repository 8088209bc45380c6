//! Tells organisations what happened to tasks.
//!
//! Tasks belong to no organisation, but clients watch the events of theirs, numbered without gaps.
//! So an event is committed to the common database together with the change that it tells of, and
//! copied into every organisation's from there. How far that has got is kept beside the copies, in
//! the same transaction: a crash in between loses no event and tells none twice.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bindery_core::OrgId;
use bindery_datastore::{
    Database, Datastore, EventQuery, NewEvent, RangeQuery, Table, Transaction,
};
use semver::Version;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    error::StoreFault,
    records::{VersionRecord, VersionStatus},
};

/// What clients watch.
pub(crate) const TOPIC: &str = "tasks";
/// Where an organisation's database says how far it was told.
const TOLD: &[u8] = b"plugins/told";
/// Events copied at once.
const BATCH: usize = 128;
/// After a failure of the store.
const AGAIN: Duration = Duration::from_secs(1);

/// What changed for each task of a package, as events. `reason` is the word for what was done.
pub(crate) fn events(
    before: &[VersionRecord],
    after: &[VersionRecord],
    reason: &str,
) -> Vec<NewEvent> {
    let (old, new) = (meant(before), meant(after));
    let mut ids: Vec<&String> = old.keys().chain(new.keys()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .filter_map(|id| {
            let (name, (version, record)) = match (old.get(id), new.get(id)) {
                (None, Some(now)) => ("task.loaded", now),
                (Some(was), None) => ("task.unloaded", was),
                (Some(was), Some(now)) if was.1.digest != now.1.digest => ("task.updated", now),
                _ => return None,
            };
            let data = json!({
                "task": id,
                "version": version.to_string(),
                "plugin": record.name,
                "plugin_version": record.version.to_string(),
                "digest": record.digest.0.to_string(),
                "reason": reason,
            });
            Some(NewEvent::new(name, [TOPIC], data))
        })
        .collect()
}

/// The version that each task's name means, and where it comes from.
fn meant(records: &[VersionRecord]) -> BTreeMap<String, (Version, &VersionRecord)> {
    let mut enabled: Vec<&VersionRecord> = records
        .iter()
        .filter(|record| record.status == VersionStatus::Enabled)
        .collect();
    enabled.sort_by_key(|record| age(record));
    let mut meant: BTreeMap<String, (Version, &VersionRecord)> = BTreeMap::new();
    for record in enabled {
        for task in &record.tasks {
            let newer = meant.get(&task.id).is_none_or(|(known, _)| {
                (task.version.pre.is_empty(), &task.version) >= (known.pre.is_empty(), known)
            });
            if newer {
                meant.insert(task.id.clone(), (task.version.clone(), record));
            }
        }
    }
    meant
}

/// The order of the versions of a package: pre-releases, then releases, each by version, then as
/// they were published.
pub(crate) fn age(record: &VersionRecord) -> (bool, Version, u64) {
    let version = record.version.clone();
    (version.pre.is_empty(), version, record.number)
}

/// Copies events to organisations.
#[derive(Debug)]
pub(crate) struct Teller {
    datastore: Arc<dyn Datastore>,
    /// Told when there is something new.
    pub(crate) news: Arc<Notify>,
    /// Where an organisation begins that was never told anything: it was not there before.
    first: u64,
}

impl Teller {
    pub(crate) fn new(datastore: Arc<dyn Datastore>, news: Arc<Notify>) -> Self {
        let first = datastore.last_seq(Database::Meta);
        Self {
            datastore,
            news,
            first,
        }
    }

    /// Copies until the process ends; begins with what a dead host did not get to.
    pub(crate) async fn run(self) {
        loop {
            if let Err(error) = self.tell_all().await {
                tracing::error!(%error, "events of tasks are not told yet, trying again");
                tokio::time::sleep(AGAIN).await;
                continue;
            }
            self.news.notified().await;
        }
    }

    async fn tell_all(&self) -> Result<(), StoreFault> {
        let mut orgs = vec![OrgId::BUILT_IN];
        for database in self.datastore.databases() {
            if let Database::Org(org) = database
                && org != OrgId::BUILT_IN
            {
                orgs.push(org);
            }
        }
        for org in orgs {
            while self.tell(org).await? {}
        }
        Ok(())
    }

    /// Copies a batch; true when there may be more.
    async fn tell(&self, org: OrgId) -> Result<bool, StoreFault> {
        let datastore = Arc::clone(&self.datastore);
        let first = self.first;
        let (told, events) = tokio::task::spawn_blocking(move || {
            let told = datastore
                .get(Database::Org(org), Table::SETTINGS, TOLD)?
                .and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok())
                .map(u64::from_be_bytes);
            let query = EventQuery::topic(TOPIC, told.unwrap_or(first), BATCH);
            let events = datastore.events(Database::Meta, &query)?;
            Ok::<_, StoreFault>((told, events))
        })
        .await
        .map_err(|error| StoreFault::Host(error.to_string()))??;
        let until = match (events.last(), told) {
            (Some(last), _) => last.seq,
            // From here on it is known what it was told.
            (None, None) => first,
            (None, Some(_)) => return Ok(false),
        };
        let mut transaction = Transaction::new(Database::Org(org)).put(
            Table::SETTINGS,
            TOLD,
            until.to_be_bytes().to_vec(),
        );
        for event in &events {
            transaction = transaction.event(NewEvent::new(
                event.name.clone(),
                [TOPIC],
                event.data.clone(),
            ));
        }
        self.datastore.commit(transaction).await?;
        Ok(events.len() == BATCH)
    }
}

/// All rows of a table, page by page.
pub(crate) fn rows(
    datastore: &dyn Datastore,
    table: Table,
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, StoreFault> {
    const PAGE: usize = 1000;
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|(key, _): &(bytes::Bytes, _)| key.clone());
        let query = RangeQuery::prefix(Vec::new(), PAGE).after(after);
        let page = datastore.range(Database::Meta, table, &query)?;
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return Ok(all);
        }
    }
}
