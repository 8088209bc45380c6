//! What the tests of durability share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "test; each uses a part"
)]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bindery_core::ids::OrgId;
use bindery_datastore::{
    Database, Datastore, EventQuery, LocalDatastore, NewEvent, OpenError, Options, QueueEntry,
    RangeQuery, ReadError, Table, Transaction,
};
use bytes::Bytes;
use serde_json::json;

pub(crate) const ORG: Database = Database::Org(OrgId::BUILT_IN);
pub(crate) const META: Database = Database::Meta;
const TABLES: [Table; 3] = [Table::JOBS, Table::EXECUTIONS, Table::FILES];

/// A small generator whose seed is printed, so that a failure can be repeated.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// From `BINDERY_TEST_SEED`, or the clock.
    pub(crate) fn from_env() -> Self {
        let seed = std::env::var("BINDERY_TEST_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| jiff::Timestamp::now().as_microsecond().cast_unsigned());
        eprintln!("repeat with BINDERY_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

pub(crate) fn options() -> Options {
    Options {
        index_cache_bytes: 4 * 1024 * 1024,
        segment_bytes_max: 16 * 1024,
        free_bytes_min: 0,
        reserve_bytes: 4 << 20,
        flush_interval: Duration::from_millis(20),
        ..Options::default()
    }
}

/// A transaction that touches everything, made from a number.
pub(crate) fn transaction(database: Database, n: u64) -> Transaction {
    let mut transaction = Transaction::new(database);
    for (at, table) in TABLES.into_iter().enumerate() {
        let key = format!("{:04}", (n * 7 + at as u64 * 13) % 300).into_bytes();
        transaction = if n % 5 == 4 {
            transaction.delete(table, key)
        } else {
            let value = format!("{n}-").repeat(1 + (n % 40) as usize);
            transaction.put(table, key, value.into_bytes())
        };
    }
    if n.is_multiple_of(3) {
        let payload = n.to_be_bytes().to_vec();
        transaction = transaction.enqueue(QueueEntry::new("q", payload).priority((n % 4) as u8));
    }
    for at in 0..n % 3 {
        let topics = [format!("topic/{}", n % 11), "all".to_owned()];
        transaction =
            transaction.event(NewEvent::new("event", topics, json!({ "n": n, "at": at })));
    }
    transaction
}

/// All that a store tells of a database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) rows: BTreeMap<(usize, Bytes), Bytes>,
    pub(crate) queued: Vec<Bytes>,
    pub(crate) events: Vec<(u64, String, serde_json::Value)>,
    pub(crate) of_topic: Vec<u64>,
    pub(crate) last_seq: u64,
}

pub(crate) fn content(store: &dyn Datastore, database: Database) -> Result<Content, ReadError> {
    let mut rows = BTreeMap::new();
    for (at, table) in TABLES.into_iter().enumerate() {
        let mut after = None;
        loop {
            let query = RangeQuery::prefix("", 70).after(after);
            let page = store.range(database, table, &query)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            rows.extend(page.into_iter().map(|(key, value)| ((at, key), value)));
        }
    }
    let queued = store.queued(database, "q", 10_000)?;
    let mut events = Vec::new();
    let mut of_topic = Vec::new();
    let mut after_seq = 0;
    loop {
        let page = store.events(database, &EventQuery::all(after_seq, 100))?;
        let Some(last) = page.last() else { break };
        after_seq = last.seq;
        events.extend(
            page.iter()
                .map(|event| (event.seq, event.name.clone(), event.data.clone())),
        );
    }
    let mut after_seq = 0;
    loop {
        let page = store.events(database, &EventQuery::topic("topic/4", after_seq, 10))?;
        let Some(last) = page.last() else { break };
        after_seq = last.seq;
        of_topic.extend(page.iter().map(|event| event.seq));
    }
    Ok(Content {
        rows,
        queued: queued.into_iter().map(|entry| entry.payload).collect(),
        events,
        of_topic,
        last_seq: store.last_seq(database),
    })
}

/// Fills a store with `count` transactions per database, and closes it in order.
pub(crate) async fn fill(store: &dyn Datastore, from: u64, count: u64) {
    for n in from..from + count {
        store.commit(transaction(ORG, n)).await.unwrap();
        if n % 4 == 1 {
            store.commit(transaction(META, n)).await.unwrap();
        }
    }
}

pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files under a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

pub(crate) fn open(dir: &Path) -> Result<Arc<LocalDatastore>, OpenError> {
    LocalDatastore::open(dir, options()).map(Arc::new)
}

/// Starts this test binary again, to run one ignored test as a process of its own.
pub(crate) fn child(test: &str, variables: &[(&str, &str)]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args([
            test,
            "--exact",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs(variables.iter().copied());
    command
}
