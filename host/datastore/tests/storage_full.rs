//! A full disk is said to be full, costs nothing that was acknowledged, and is over when there is
//! space again. On a small file system of its own, for which one must be root.

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
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bindery_datastore::{
    CommitError, Datastore, EventQuery, LocalDatastore, NewEvent, OpenError, Options, ReadError,
    Table, Transaction, verify,
};
use serde_json::json;
use support::{ORG, options};

struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: cannot mount a tmpfs here");
        }
        mounted.then_some(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("could not unmount {}", self.path().display());
        }
    }
}

fn transaction(n: u64) -> Transaction {
    Transaction::new(ORG)
        .put(Table::JOBS, n.to_be_bytes().to_vec(), vec![n as u8; 3_000])
        .event(NewEvent::new("n", ["t"], json!(n)))
}

/// Commits until one is refused; how many were not.
async fn commit_until_full(store: &LocalDatastore, from: u64) -> u64 {
    for n in from.. {
        match store.commit(transaction(n)).await {
            Ok(committed) => assert_eq!(committed.last_seq, n + 1),
            Err(CommitError::StorageFull { .. }) => return n,
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("some disk is full some time")
}

/// An index that was caught by the full disk is opened again within moments.
fn when_repaired<T>(read: impl Fn() -> Result<T, ReadError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match read() {
            Ok(value) => return value,
            Err(ReadError::IndexUnavailable { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

fn assert_holds(store: &LocalDatastore, count: u64) {
    assert_eq!(store.last_seq(ORG), count);
    for n in 0..count {
        let value = when_repaired(|| store.get(ORG, Table::JOBS, &n.to_be_bytes()));
        assert_eq!(value.unwrap(), vec![n as u8; 3_000]);
    }
    let mut after_seq = 0;
    while after_seq < count {
        let events = store
            .events(ORG, &EventQuery::topic("t", after_seq, 500))
            .unwrap();
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event.data, json!(after_seq));
            after_seq += 1;
            assert_eq!(event.seq, after_seq);
        }
    }
}

async fn survives(free_bytes_min: u64) {
    let Some(disk) = SmallDisk::mount("96m") else {
        return;
    };
    let _guard = tracing_subscriber::fmt().with_test_writer().try_init();
    let dir = disk.path().join("store");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 32 << 20]).unwrap();
    let options = Options {
        free_bytes_min,
        segment_bytes_max: 1 << 20,
        ..options()
    };
    let store = LocalDatastore::open(&dir, options.clone()).unwrap();
    let full_at = commit_until_full(&store, 0).await;
    assert!(full_at > 100, "{full_at}");
    assert_holds(&store, full_at);

    // Someone else takes the rest. Not even the index has room then.
    let mut rest = Vec::new();
    for n in 0.. {
        let path = disk.path().join(format!("rest-{n}"));
        let taken = fs::write(&path, vec![2; 64 << 10]).is_ok();
        rest.push(path);
        if !taken {
            break;
        }
    }
    let mut full_at = full_at;
    let mut refusals = 0;
    while refusals < 20 {
        // Some last bytes may still be found.
        full_at = commit_until_full(&store, full_at).await;
        refusals += 1;
        store.flush(Duration::from_millis(50));
    }
    assert_holds(&store, full_at);

    // Space returns, and the store goes on as if nothing had been.
    for path in rest.iter().chain([&ballast]) {
        fs::remove_file(path).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let count = full_at + 200;
    for n in full_at..count {
        while let Err(error) = store.commit(transaction(n)).await {
            assert!(error.is_transient() && Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(store.flush(Duration::from_secs(20)));
    assert_holds(&store, count);
    store.close();
    verify(&dir).unwrap();
    let store = LocalDatastore::open(&dir, options).unwrap();
    assert_eq!(store.open_report().rebuilt, []);
    assert_holds(&store, count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived_with_a_reserve() {
    survives(8 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_survived_without_a_reserve() {
    survives(0).await;
}

/// A store on a disk that is full when it is opened loses nothing: it opens, or says why not.
#[tokio::test]
async fn opening_on_a_full_disk_loses_nothing() {
    let Some(disk) = SmallDisk::mount("96m") else {
        return;
    };
    let dir = disk.path().join("store");
    let store = LocalDatastore::open(&dir, options()).unwrap();
    for n in 0..500 {
        store.commit(transaction(n)).await.unwrap();
    }
    store.close();
    let mut rest = Vec::new();
    for size in [1 << 20, 64 << 10, 4 << 10, 1 << 10] {
        loop {
            let path = disk.path().join(format!("rest-{}", rest.len()));
            let taken = fs::write(&path, vec![2; size]).is_ok();
            rest.push(path);
            if !taken {
                break;
            }
        }
    }
    // Again and again, as a supervisor would, while space comes back bit by bit.
    let mut refused = 0;
    while let Some(path) = rest.pop() {
        match LocalDatastore::open(&dir, options()) {
            Ok(store) => {
                assert_eq!(store.open_report().rebuilt, []);
                assert_holds(&store, 500);
                break;
            }
            Err(OpenError::StorageFull { .. }) => refused += 1,
            Err(OpenError::Io { source, .. }) => {
                assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        fs::remove_file(path).unwrap();
    }
    eprintln!("{refused} times refused");
    for path in rest {
        fs::remove_file(path).unwrap();
    }
    let store = LocalDatastore::open(&dir, options()).unwrap();
    assert_holds(&store, 500);
    store.commit(transaction(500)).await.unwrap();
}
