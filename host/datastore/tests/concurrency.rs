//! Readers see whole transactions, whatever the index is doing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bindery_core::ids::OrgId;
use bindery_datastore::{
    Database, Datastore, EventQuery, LocalDatastore, NewEvent, Options, RangeQuery, Table,
    Transaction,
};
use serde_json::json;
use support::{META, ORG, options};

const KEYS: u64 = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_of_one_moment() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        flush_interval: Duration::from_millis(1),
        index_cache_bytes: 64 * 1024,
        ..options()
    };
    let store = Arc::new(LocalDatastore::open(dir.path(), options).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for reader in 0..2 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        readers.push(std::thread::spawn(move || {
            let mut reads = 0_u64;
            let mut newest = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut query = RangeQuery::prefix("", 1_000);
                query.reverse = reader == 1;
                let rows = store.range(ORG, Table::JOBS, &query).unwrap();
                // Every transaction writes the same number everywhere it is not absent, and is
                // absent from one of four keys.
                if let Some((_, first)) = rows.first() {
                    assert!(rows.iter().all(|(_, value)| value == first), "torn read");
                    assert_eq!(rows.len() as u64, KEYS - KEYS / 4, "torn read");
                    let now = u64::from_be_bytes(first.as_ref().try_into().unwrap());
                    assert!(now >= newest, "went back in time");
                    newest = now;
                }
                let last = store.last_seq(ORG);
                let events = store
                    .events(ORG, &EventQuery::topic("t", last.saturating_sub(50), 100))
                    .unwrap();
                assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq));
                assert!(events.last().is_none_or(|event| event.seq >= last));
                assert!(last == 0 || !events.is_empty());
                reads += 1;
            }
            reads
        }));
    }
    let end = Instant::now() + Duration::from_secs(3);
    let mut n = 0_u64;
    while Instant::now() < end {
        n += 1;
        let mut transaction = Transaction::new(ORG);
        for key in 0..KEYS {
            let name = key.to_be_bytes().to_vec();
            transaction = if key % 4 == n % 4 {
                transaction.delete(Table::JOBS, name)
            } else {
                transaction.put(Table::JOBS, name, n.to_be_bytes().to_vec())
            };
        }
        let event = NewEvent::new("n", ["t"], json!(n));
        store.commit(transaction.event(event)).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 10);
    }
    assert!(n > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_databases_share_one_journal() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalDatastore::open(dir.path(), options()).unwrap());
    let orgs: Vec<Database> = (0..12).map(|_| Database::Org(OrgId::generate())).collect();
    let mut writers = tokio::task::JoinSet::new();
    for org in orgs.clone() {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..50_u64 {
                let event = NewEvent::new("n", ["t"], json!(n));
                let transaction = Transaction::new(org)
                    .put(Table::JOBS, n.to_be_bytes().to_vec(), "v")
                    .event(event);
                assert_eq!(store.commit(transaction).await.unwrap().last_seq, n + 1);
            }
        });
    }
    writers.join_all().await;
    let mut expected = orgs.clone();
    expected.insert(0, META);
    expected.sort();
    for _ in 0..2 {
        assert_eq!(store.databases(), expected);
    }
    drop(store);
    // One index is lost with its directory: the catalogue knows that it was there.
    std::fs::remove_dir_all(dir.path().join("index").join(orgs[3].to_string())).unwrap();
    let store = support::open(dir.path()).unwrap();
    assert_eq!(store.databases(), expected);
    assert_eq!(store.open_report().rebuilt.len(), 1);
    for org in orgs {
        assert_eq!(store.last_seq(org), 50);
        let rows = store.range(org, Table::JOBS, &RangeQuery::prefix("", 100));
        assert_eq!(rows.unwrap().len(), 50);
        let events = store.events(org, &EventQuery::topic("t", 0, 100)).unwrap();
        assert_eq!(events.len(), 50);
    }
}

/// Many blocks of events reach the index in several batches; whoever reads meanwhile misses none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_have_no_gap_while_the_index_catches_up() {
    const PER_TRANSACTION: u64 = 100;
    const TRANSACTIONS: u64 = 400;
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        flush_interval: Duration::from_millis(1),
        index_cache_bytes: 64 * 1024,
        ..options()
    };
    let store = Arc::new(LocalDatastore::open(dir.path(), options).unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..2 {
        let (store, stop) = (Arc::clone(&store), Arc::clone(&stop));
        readers.push(std::thread::spawn(move || {
            let (mut after_seq, mut reads) = (0, 0_u64);
            while !stop.load(Ordering::Relaxed) {
                let last = store.last_seq(ORG);
                let query = EventQuery::topic("t", after_seq, 1_000);
                let events = store.events(ORG, &query).unwrap();
                for event in &events {
                    after_seq += 1;
                    assert_eq!(event.seq, after_seq, "events are missing");
                }
                reads += 1;
                if after_seq >= last && last > 1_000 {
                    // From near the end again, where the index is being written.
                    after_seq = last - 1_000;
                }
            }
            reads
        }));
    }
    for n in 0..TRANSACTIONS {
        let mut transaction = Transaction::new(ORG);
        for event in 0..PER_TRANSACTION {
            // Rows as well, so that a layer takes several batches.
            transaction = transaction
                .put(
                    Table::JOBS,
                    (n * PER_TRANSACTION + event).to_be_bytes().to_vec(),
                    vec![7; 2_000],
                )
                .event(NewEvent::new("n", ["t"], json!(event)));
        }
        store.commit(transaction).await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
}
