//! The store under faults of the journal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::sync::{Arc, atomic::Ordering};

use bindery_core::ids::OrgId;
use serde_json::json;

use super::{LocalDatastore, Options, open};
use crate::{
    CommitError, Database, Datastore, EventQuery, Expect, NewEvent, QueueEntry, Table, Transaction,
    journal::tests::Faults,
};

const ORG: Database = Database::Org(OrgId::BUILT_IN);

fn options() -> Options {
    Options {
        free_bytes_min: 0,
        segment_bytes_max: 4_096,
        ..Options::default()
    }
}

fn transaction(n: u64) -> Transaction {
    Transaction::new(ORG)
        .put(Table::JOBS, n.to_be_bytes().to_vec(), "v")
        .event(NewEvent::new("n", ["t"], json!(n)))
}

#[tokio::test]
async fn a_failed_commit_is_invisible_and_later_ones_work() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = open::open(dir.path(), options(), faults.wrap()).unwrap();
    let mut kept = Vec::new();
    for n in 0..100 {
        match n % 4 {
            1 => faults.writes.store(1, Ordering::SeqCst),
            3 => faults.syncs.store(1, Ordering::SeqCst),
            _ => {}
        }
        let result = store.commit(transaction(n)).await;
        faults.writes.store(0, Ordering::SeqCst);
        faults.syncs.store(0, Ordering::SeqCst);
        let found = store.get(ORG, Table::JOBS, &n.to_be_bytes()).unwrap();
        assert_eq!(found.is_some(), result.is_ok());
        match result {
            Ok(committed) => {
                kept.push(n);
                assert_eq!(committed.last_seq, kept.len() as u64);
            }
            Err(CommitError::StorageFull { .. }) => assert_eq!(n % 4, 1),
            Err(CommitError::Journal { .. }) => assert_eq!(n % 4, 3),
            Err(other) => panic!("{other}"),
        }
    }
    let numbers = |store: &LocalDatastore| -> Vec<u64> {
        let events = store.events(ORG, &EventQuery::all(0, 1_000)).unwrap();
        events.iter().map(|e| e.data.as_u64().unwrap()).collect()
    };
    assert_eq!(numbers(&store), kept);
    store.close();
    let store = LocalDatastore::open(dir.path(), options()).unwrap();
    assert!(store.open_report().closed_in_order);
    assert_eq!(numbers(&store), kept);
}

#[tokio::test]
async fn a_store_that_cannot_write_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = open::open(dir.path(), options(), faults.wrap()).unwrap();
    store.commit(transaction(0)).await.unwrap();
    faults.syncs.store(0b11, Ordering::SeqCst);
    let error = store.commit(transaction(1)).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Indeterminate { .. }),
        "{error}"
    );
    let error = store.commit(transaction(2)).await.unwrap_err();
    assert!(matches!(error, CommitError::ReadOnly { .. }), "{error}");
    assert!(!error.is_transient());
    assert!(store.get(ORG, Table::JOBS, &[0; 8]).unwrap().is_some());
    assert_eq!(store.last_seq(ORG), 1);
    store.close();
    let store = LocalDatastore::open(dir.path(), options()).unwrap();
    store.commit(transaction(3)).await.unwrap();
    let events = store.events(ORG, &EventQuery::all(0, 10)).unwrap();
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refusal_rests_on_a_change_that_failed() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = Arc::new(open::open(dir.path(), options(), faults.wrap()).unwrap());
    // Pairs contend for one key while every other sync fails.
    for n in 0..200_u64 {
        if n % 2 == 0 {
            faults.syncs.store(1, Ordering::SeqCst);
        }
        let once = transaction(n).check(Table::JOBS, n.to_be_bytes().to_vec(), Expect::Absent);
        let (a, b) = tokio::join!(store.commit(once.clone()), store.commit(once));
        faults.syncs.store(0, Ordering::SeqCst);
        let is_there = store
            .get(ORG, Table::JOBS, &n.to_be_bytes())
            .unwrap()
            .is_some();
        let won = [&a, &b].into_iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, usize::from(is_there), "{a:?} {b:?}");
        for result in [a, b] {
            if let Err(CommitError::Conflict { .. }) = result {
                assert!(is_there, "refused because of what never happened");
            }
        }
    }
}

#[tokio::test]
async fn a_database_whose_first_commit_fails_can_be_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = open::open(dir.path(), options(), faults.wrap()).unwrap();
    for _ in 0..3 {
        faults.syncs.store(1, Ordering::SeqCst);
        store.commit(transaction(0)).await.unwrap_err();
        assert_eq!(store.databases(), [Database::Meta]);
    }
    assert_eq!(store.commit(transaction(0)).await.unwrap().last_seq, 1);
    assert_eq!(store.databases(), [Database::Meta, ORG]);
    store.close();
    let store = LocalDatastore::open(dir.path(), options()).unwrap();
    assert_eq!(store.last_seq(ORG), 1);
}

#[tokio::test]
async fn claims_that_failed_leave_their_entries_claimable() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = open::open(dir.path(), options(), faults.wrap()).unwrap();
    let minute = std::time::Duration::from_secs(60);
    let mut transaction = Transaction::new(ORG);
    for n in 0..100_u8 {
        transaction.enqueue.push(QueueEntry::new("q", vec![n]));
    }
    store.commit(transaction).await.unwrap();
    let mut claimed = Vec::new();
    for round in 0..60 {
        if round % 2 == 0 {
            faults.syncs.store(1, Ordering::SeqCst);
            store.claim(ORG, "q", "w", 3, minute).await.unwrap_err();
        }
        if round == 10 {
            let urgent = QueueEntry::new("q", vec![200]).priority(255);
            store
                .commit(Transaction::new(ORG).enqueue(urgent))
                .await
                .unwrap();
            let leases = store.claim(ORG, "q", "w", 1, minute).await.unwrap();
            assert_eq!(leases[0].payload.as_ref(), [200]);
        }
        if round == 20 {
            // What is given back is before the head again.
            let count = store.release("w").await.unwrap();
            assert_eq!(count, claimed.len() + 1);
            claimed.clear();
            let leases = store.claim(ORG, "q", "w", 1, minute).await.unwrap();
            assert_eq!(leases[0].payload.as_ref(), [200]);
        }
        let leases = store.claim(ORG, "q", "w", 2, minute).await.unwrap();
        claimed.extend(leases.into_iter().map(|lease| lease.payload[0]));
    }
    assert_eq!(claimed, (0..80).collect::<Vec<u8>>());
}
