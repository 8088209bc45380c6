//! Which jobs have a status, a task or a label: rows without values, whose keys are the word and
//! the job's key, so that each word's jobs are one run of keys, newest first.
//!
//! A query by several words walks all their runs at once and leaps over what is not in each of
//! them (leapfrog join: Veldhuizen, 2014), so it reads about as many rows as the rarest word has.

use std::collections::VecDeque;

use bindery_core::JobId;
use bindery_datastore::{Database, Datastore, RangeQuery, Table, Transaction, keys::KeyBuilder};
use bytes::Bytes;

use crate::{
    records::JobRecord,
    store::{StoreError, encode, job_key},
};

/// Keys of one word that are read at a time.
const BATCH: usize = 128;

/// Which jobs are wanted. Everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQuery {
    pub status: Option<String>,
    pub task: Option<String>,
    /// A label's key, and its value unless any will do.
    pub label: Option<(String, Option<String>)>,
}

impl JobQuery {
    pub(crate) fn matches(&self, job: &JobRecord) -> bool {
        self.status
            .as_ref()
            .is_none_or(|status| job.status == *status)
            && self.task.as_ref().is_none_or(|task| job.task == *task)
            && self.label.as_ref().is_none_or(|(key, value)| {
                let found = job.labels.get(key);
                found.is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            })
    }

    /// Runs of keys in whose common part the wanted jobs are.
    fn runs(&self) -> Vec<(Table, Bytes)> {
        let mut runs = Vec::new();
        if let Some((key, value)) = &self.label {
            runs.push((Table::INDEX_JOBS_LABEL, label_word(key, value.as_deref())));
        }
        if let Some(task) = &self.task {
            runs.push((Table::INDEX_JOBS_TASK, word(task)));
        }
        if let Some(status) = &self.status {
            runs.push((Table::INDEX_JOBS_STATUS, word(status)));
        }
        runs
    }
}

fn word(text: &str) -> Bytes {
    // A zero byte ends a word, so none may be in it.
    KeyBuilder::new().text(&text.replace('\0', "")).build()
}

/// Labels are found with their value and without: both are words.
fn label_word(key: &str, value: Option<&str>) -> Bytes {
    let key = key.replace(['\0', '='], "");
    match value {
        Some(value) => word(&format!("{key}={value}")),
        None => word(&key),
    }
}

fn row(word: &Bytes, job: JobId) -> Bytes {
    KeyBuilder::new().fixed(word).fixed(&job_key(job)).build()
}

/// Writes a job and its words. `before`: its status as it is stored; none for a new job.
pub(crate) fn put_job(
    transaction: Transaction,
    job: JobId,
    record: &JobRecord,
    before: Option<&str>,
) -> Result<Transaction, StoreError> {
    let mut transaction = transaction.put(Table::JOBS, job_key(job), encode("job", record)?);
    let status = (Table::INDEX_JOBS_STATUS, row(&word(&record.status), job));
    let mut rows = vec![status];
    match before {
        Some(before) if before == record.status => return Ok(transaction),
        Some(before) => {
            transaction = transaction.delete(Table::INDEX_JOBS_STATUS, row(&word(before), job));
        }
        None => {
            rows.push((Table::INDEX_JOBS_TASK, row(&word(&record.task), job)));
            for (key, value) in &record.labels {
                for value in [None, Some(value.as_str())] {
                    rows.push((Table::INDEX_JOBS_LABEL, row(&label_word(key, value), job)));
                }
            }
        }
    }
    for (table, key) in rows {
        transaction = transaction.put(table, key, Bytes::new());
    }
    Ok(transaction)
}

/// Keys of the wanted jobs in the order of keys, that is newest first; none when the query names
/// no word.
pub(crate) struct JobKeys<'a> {
    runs: Vec<Run<'a>>,
    /// Where to go on: the smallest key that was not given yet.
    next: Option<[u8; 16]>,
}

impl<'a> JobKeys<'a> {
    pub(crate) fn new(
        datastore: &'a dyn Datastore,
        database: Database,
        query: &JobQuery,
        after: Option<&[u8]>,
    ) -> Option<Self> {
        let runs: Vec<Run<'a>> = query
            .runs()
            .into_iter()
            .map(|(table, prefix)| Run {
                datastore,
                database,
                table,
                prefix,
                keys: VecDeque::new(),
                read_to_end: false,
            })
            .collect();
        if runs.is_empty() {
            return None;
        }
        let next = match after {
            Some(after) => <[u8; 16]>::try_from(after).ok().and_then(successor),
            None => Some([0; 16]),
        };
        Some(Self { runs, next })
    }

    /// The next key; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<[u8; 16]>, StoreError> {
        let Some(mut target) = self.next else {
            return Ok(None);
        };
        let mut agreed = 0;
        // Each round either agrees, or moves the target forward in a finite run.
        while agreed < self.runs.len() {
            let index = agreed;
            let Some(run) = self.runs.get_mut(index) else {
                break;
            };
            match run.seek(target)? {
                None => {
                    self.next = None;
                    return Ok(None);
                }
                Some(key) if key == target => agreed += 1,
                Some(key) => {
                    target = key;
                    // Those before it have to agree again.
                    agreed = 0;
                }
            }
        }
        self.next = successor(target);
        Ok(Some(target))
    }
}

struct Run<'a> {
    datastore: &'a dyn Datastore,
    database: Database,
    table: Table,
    prefix: Bytes,
    /// Read and not passed yet.
    keys: VecDeque<[u8; 16]>,
    read_to_end: bool,
}

impl Run<'_> {
    /// The first key that is not before the target.
    fn seek(&mut self, target: [u8; 16]) -> Result<Option<[u8; 16]>, StoreError> {
        while self.keys.front().is_some_and(|key| *key < target) {
            self.keys.pop_front();
        }
        if self.keys.is_empty() && !self.read_to_end {
            let after = predecessor(target)
                .map(|before| KeyBuilder::new().fixed(&self.prefix).fixed(&before).build());
            let query = RangeQuery::prefix(self.prefix.clone(), BATCH).after(after);
            let rows = self.datastore.range(self.database, self.table, &query)?;
            self.read_to_end = rows.len() < BATCH;
            self.keys.extend(
                rows.iter().filter_map(|(key, _)| {
                    <[u8; 16]>::try_from(key.get(self.prefix.len()..)?).ok()
                }),
            );
        }
        Ok(self.keys.front().copied())
    }
}

fn successor(key: [u8; 16]) -> Option<[u8; 16]> {
    u128::from_be_bytes(key)
        .checked_add(1)
        .map(u128::to_be_bytes)
}

fn predecessor(key: [u8; 16]) -> Option<[u8; 16]> {
    u128::from_be_bytes(key)
        .checked_sub(1)
        .map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use std::{collections::BTreeMap, sync::Arc};

    use bindery_core::OrgId;
    use bindery_datastore::MemoryDatastore;
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::{ExecutionStore, records::RECORD_VERSION};

    fn record(job: JobId, status: &str, task: &str, label: Option<&str>) -> JobRecord {
        JobRecord {
            v: RECORD_VERSION,
            id: job.to_string(),
            task: task.to_owned(),
            task_version: "1.0.0".to_owned(),
            status: status.to_owned(),
            labels: label
                .map(|value| BTreeMap::from([("run".to_owned(), value.to_owned())]))
                .unwrap_or_default(),
            executions: Vec::new(),
            created: Timestamp::UNIX_EPOCH,
            finished: None,
        }
    }

    proptest! {
        /// Whatever is stored and changed, a query finds what looking at every job finds, page by
        /// page.
        #[test]
        fn finds_what_a_scan_finds(
            jobs in proptest::collection::vec((0_usize..3, 0_usize..3, 0_usize..4, any::<bool>()), 1..400),
            asked in (0_usize..4, 0_usize..4, 0_usize..5),
            page in 1_usize..40,
        ) {
            let statuses = ["queued", "running", "failed"];
            let tasks = ["a", "a.b", "c"];
            let labels = [None, Some("x"), Some("y"), Some("x=y")];
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
            let store = ExecutionStore::new(Arc::clone(&datastore), OrgId::BUILT_IN);
            let mut all = Vec::new();
            for (status, task, label, changes) in jobs {
                let job = JobId::generate();
                let mut one = record(job, statuses[status], tasks[task], labels[label]);
                let first = put_job(store.transaction(), job, &one, None).unwrap();
                runtime.block_on(datastore.commit(first)).unwrap();
                if changes {
                    let before = std::mem::replace(&mut one.status, "succeeded".to_owned());
                    let next = put_job(store.transaction(), job, &one, Some(&before)).unwrap();
                    runtime.block_on(datastore.commit(next)).unwrap();
                }
                all.push(one);
            }
            all.reverse();
            let query = JobQuery {
                status: ["queued", "running", "succeeded"].get(asked.0).map(|&s| s.to_owned()),
                task: tasks.get(asked.1).map(|&s| s.to_owned()),
                label: [Some(None), Some(Some("x")), Some(Some("x=y")), None]
                    .get(asked.2)
                    .copied()
                    .flatten()
                    .map(|value| ("run".to_owned(), value.map(str::to_owned))),
            };
            let expected: Vec<&JobRecord> = all
                .iter()
                .filter(|job| query.matches(job))
                .collect();
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let next = store.jobs(after, page, &query, |_| true).unwrap();
                found.extend(next.items);
                match next.next {
                    Some(id) => after = Some(id.parse().unwrap()),
                    None => break,
                }
            }
            prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
        }
    }
}
