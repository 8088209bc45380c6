//! No descriptors left, and clocks that step back: both are survived without opening again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod support;

use std::{
    fs::File,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_datastore::{
    Clock, CommitError, Datastore, EventQuery, LocalDatastore, ManualClock, NewEvent, Options,
    QueueEntry, ReadError, Table, Transaction, audit,
};
use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use support::{ORG, child, content, options};

fn numbered(n: u64) -> Transaction {
    Transaction::new(ORG)
        .put(Table::JOBS, n.to_be_bytes().to_vec(), vec![n as u8; 400])
        .event(NewEvent::new("n", ["t"], json!(n)))
}

/// In a process of its own: the limit holds for all of it.
#[test]
#[ignore = "the child of the test below"]
fn child_runs_out_of_descriptors() {
    let Ok(dir) = std::env::var("BINDERY_TEST_DIR") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let small = Options {
        segment_bytes_max: 8 * 1024,
        ..options()
    };
    let store = LocalDatastore::open(dir.as_ref(), small.clone()).unwrap();
    let mut acked = Vec::new();
    for n in 0..100 {
        runtime.block_on(store.commit(numbered(n))).unwrap();
        acked.push(n);
    }
    assert!(store.flush(Duration::from_secs(20)));

    let before = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            maximum: before.maximum,
        },
    )
    .unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    // A new segment needs a descriptor: some commits still fit into the one that is open.
    let mut refused = 0;
    for n in 100..400 {
        match runtime.block_on(store.commit(numbered(n))) {
            Ok(_) => acked.push(n),
            Err(CommitError::Journal { source }) => {
                assert_eq!(source.raw_os_error(), Some(24), "{source}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        // Rows are read on; events too, as far as their segments are open.
        let row = store.get(ORG, Table::JOBS, &0_u64.to_be_bytes()).unwrap();
        assert!(row.is_some());
        let latest = acked.last().unwrap().to_be_bytes();
        assert!(store.get(ORG, Table::JOBS, &latest).unwrap().is_some());
        match store.events(ORG, &EventQuery::all(0, 10)) {
            Ok(events) => assert_eq!(events[0].seq, 1),
            Err(ReadError::Journal { source, .. }) => assert_eq!(source.raw_os_error(), Some(24)),
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the limit was never met");

    // Descriptors come back, and all goes on in the same store.
    drop(taken);
    for n in 400..500 {
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = runtime.block_on(store.commit(numbered(n))) {
            assert!(error.is_transient() && Instant::now() < deadline, "{error}");
        }
        acked.push(n);
    }
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(store.flush(Duration::from_secs(20)));
    let check = |store: &LocalDatastore| {
        let mut told = Vec::new();
        loop {
            let page = store
                .events(ORG, &EventQuery::all(told.len() as u64, 1_000))
                .unwrap();
            if page.is_empty() {
                break;
            }
            told.extend(page.iter().map(|event| event.data.as_u64().unwrap()));
        }
        assert_eq!(told, acked);
        for n in 0..500_u64 {
            let row = store.get(ORG, Table::JOBS, &n.to_be_bytes()).unwrap();
            assert_eq!(row.is_some(), acked.binary_search(&n).is_ok(), "{n}");
        }
    };
    check(&store);
    store.close();
    let store = LocalDatastore::open(dir.as_ref(), small).unwrap();
    assert_eq!(store.open_report().rebuilt, []);
    check(&store);
    eprintln!("{refused} commits refused, {} kept", acked.len());
}

#[test]
fn running_out_of_descriptors_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let output = child(
        "child_runs_out_of_descriptors",
        &[("BINDERY_TEST_DIR", dir.path().to_str().unwrap())],
    )
    .output()
    .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("commits refused"),
        "the child did nothing: {text}"
    );
    assert!(audit(dir.path(), &[], &mut |_| {}).unwrap().is_sound());
}

#[tokio::test]
async fn a_clock_that_steps_back_disturbs_neither_order_nor_leases() {
    let dir = tempfile::tempdir().unwrap();
    let start = Timestamp::from_second(1_800_000_000).unwrap();
    let clock = Arc::new(ManualClock::new(start));
    let minute = Duration::from_secs(60);
    let with_clock = || Options {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        segment_bytes_max: 4 * 1024,
        ..options()
    };
    let store = LocalDatastore::open(dir.path(), with_clock()).unwrap();
    let mut seq = 0;
    let mut names = Vec::new();
    // An hour back, a day forth, ten years back, between commits of one queue.
    let steps: [i64; 5] = [0, -3_600, 86_400, -315_360_000, 7];
    for (round, step) in steps.into_iter().enumerate() {
        let now = clock.now();
        clock.set_wall(now + jiff::SignedDuration::from_secs(step));
        for n in 0..20 {
            let name = format!("{round}/{n}");
            let committed = store
                .commit(
                    numbered(round as u64 * 100 + n)
                        .enqueue(QueueEntry::new("q", name.clone().into_bytes())),
                )
                .await
                .unwrap();
            seq += 1;
            assert_eq!(
                committed.last_seq, seq,
                "seq counts, whatever the clock says"
            );
            names.push(name);
        }
    }
    let events = store.events(ORG, &EventQuery::all(0, 1_000)).unwrap();
    assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq));
    assert_eq!(events.len(), 100);

    // Age is the order of commits, not of times.
    let leases = store.claim(ORG, "q", "w", 50, minute).await.unwrap();
    let claimed: Vec<_> = leases
        .iter()
        .map(|lease| String::from_utf8(lease.payload.to_vec()).unwrap())
        .collect();
    assert_eq!(claimed, names[..50]);
    let now = clock.now();
    clock.set_wall(now - 10_000 * minute);
    // A lease neither ends with the clock's step, nor outlives its time by it.
    let tokens: Vec<_> = leases.iter().map(|lease| lease.token.clone()).collect();
    assert!(
        store
            .renew(&tokens[..1], 2 * minute)
            .await
            .unwrap()
            .is_empty()
    );
    let others = store.claim(ORG, "q", "v", 100, minute).await.unwrap();
    assert_eq!(others.len(), 50);
    clock.advance(minute);
    let again = store.claim(ORG, "q", "v", 200, minute).await.unwrap();
    assert_eq!(again.len(), 99, "all but the renewed one");
    assert!(
        store
            .complete(tokens[0].clone(), numbered(900))
            .await
            .is_ok()
    );
    assert!(
        store
            .complete(tokens[1].clone(), numbered(901))
            .await
            .is_err()
    );

    let expected = content(&store, ORG).unwrap();
    store.close();
    // Opened by a process whose clock is behind the journal's times.
    let store = LocalDatastore::open(dir.path(), with_clock()).unwrap();
    assert!(store.open_report().closed_in_order);
    assert_eq!(content(&store, ORG).unwrap(), expected);
    assert_eq!(store.commit(numbered(902)).await.unwrap().last_seq, seq + 2);
    drop(store);
    assert!(audit(dir.path(), &[], &mut |_| {}).unwrap().is_sound());
}
