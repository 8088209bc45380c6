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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use bindery_core::Digest;
    use bindery_datastore::MemoryDatastore;
    use jiff::Timestamp;

    use super::*;
    use crate::{
        Sheet,
        records::{Action, DigestText, RECORD_VERSION, TaskName, TrustRecord},
    };

    fn record(number: u64, tasks: &[&str], status: VersionStatus) -> VersionRecord {
        let version = Version::new(1, 0, number);
        let digest = DigestText(Digest::of(&number.to_be_bytes()));
        VersionRecord {
            v: RECORD_VERSION,
            name: "pack".into(),
            number,
            version: version.clone(),
            digest,
            component: digest,
            component_bytes: 1,
            archive: digest,
            trust: TrustRecord::Shipped,
            folder: None,
            status,
            cause: Action::Published,
            sheet: Sheet::default(),
            growth: Vec::new(),
            tasks: tasks
                .iter()
                .map(|id| TaskName {
                    id: (*id).to_owned(),
                    version: version.clone(),
                })
                .collect(),
            published: Timestamp::UNIX_EPOCH,
            published_by: "test".into(),
        }
    }

    fn names(before: &[VersionRecord], after: &[VersionRecord]) -> Vec<(String, String)> {
        events(before, after, "test")
            .into_iter()
            .map(|event| {
                let word = |name: &str| event.data[name].as_str().unwrap().to_owned();
                (
                    event.name.clone(),
                    format!("{}@{}", word("task"), word("version")),
                )
            })
            .collect()
    }

    fn pair(name: &str, task: &str) -> (String, String) {
        (name.to_owned(), task.to_owned())
    }

    #[test]
    fn each_task_is_told_what_its_name_means_now() {
        use VersionStatus::{Disabled, Enabled};

        let first = [record(1, &["a", "b"], Enabled)];
        assert_eq!(
            names(&[], &first),
            [
                pair("task.loaded", "a@1.0.1"),
                pair("task.loaded", "b@1.0.1")
            ]
        );
        // The newer version has no `b` any more: the older one's is still there.
        let both = [first[0].clone(), record(2, &["a", "c"], Enabled)];
        assert_eq!(
            names(&first, &both),
            [
                pair("task.updated", "a@1.0.2"),
                pair("task.loaded", "c@1.0.2")
            ]
        );
        let back = [first[0].clone(), record(2, &["a", "c"], Disabled)];
        assert_eq!(
            names(&both, &back),
            [
                pair("task.updated", "a@1.0.1"),
                pair("task.unloaded", "c@1.0.2")
            ]
        );
        // An older version beside the newer one changes nothing that a name means.
        assert_eq!(names(&both[1..], &both), [pair("task.loaded", "b@1.0.1")]);
        assert_eq!(names(&both, &both), []);
    }

    #[tokio::test]
    async fn organisations_are_told_once_and_from_where_they_were() {
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let event = |number: u64| {
            let data = json!({ "number": number });
            Transaction::new(Database::Meta).event(NewEvent::new("task.loaded", [TOPIC], data))
        };
        let told = |datastore: &Arc<dyn Datastore>| -> Vec<u64> {
            let query = EventQuery::topic(TOPIC, 0, 100);
            let org = Database::Org(OrgId::BUILT_IN);
            let events = datastore.events(org, &query).unwrap();
            events
                .iter()
                .map(|event| event.data["number"].as_u64().unwrap())
                .collect()
        };
        // Before anybody is told anything.
        datastore.commit(event(1)).await.unwrap();
        let teller = || Teller::new(Arc::clone(&datastore), Arc::default());
        teller().tell_all().await.unwrap();
        assert_eq!(told(&datastore), Vec::<u64>::new());
        // Committed by a host that died before it told: the next one does.
        datastore.commit(event(2)).await.unwrap();
        let next = teller();
        next.tell_all().await.unwrap();
        next.tell_all().await.unwrap();
        assert_eq!(told(&datastore), [2]);
        for number in 3..=300 {
            datastore.commit(event(number)).await.unwrap();
        }
        next.tell_all().await.unwrap();
        let query = EventQuery::topic(TOPIC, 200, 1000);
        let org = Database::Org(OrgId::BUILT_IN);
        let last = datastore.events(org, &query).unwrap();
        assert_eq!(last.last().unwrap().data["number"], 300);
        assert_eq!(datastore.last_seq(org), 299, "each once");
    }
}
