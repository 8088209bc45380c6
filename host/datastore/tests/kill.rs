//! A process that is killed at any moment loses nothing that it acknowledged.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "test"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_datastore::{
    Datastore, EventQuery, LocalDatastore, NewEvent, QueueEntry, Table, Transaction, verify,
};
use serde_json::json;
use support::{ORG, Random, child, open, options};

const LANES: u64 = 4;

/// Commits in several lanes for ever, and prints each commit after its acknowledgement.
#[test]
#[ignore = "the child of the tests below"]
fn child_commits_until_killed() {
    let Ok(dir) = std::env::var("BINDERY_TEST_DIR") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(LocalDatastore::open(Path::new(&dir), options()).unwrap());
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..LANES {
            let store = Arc::clone(&store);
            lanes.spawn(async move {
                // Continues where the lane was when it was killed.
                let counter = format!("counter/{lane}").into_bytes();
                let before = store.get(ORG, Table::SETTINGS, &counter).unwrap();
                let mut n = before.map_or(0, |value| {
                    u64::from_be_bytes(value.as_ref().try_into().unwrap())
                });
                // Longer than any child lives.
                loop {
                    n += 1;
                    let committed = store
                        .commit(
                            Transaction::new(ORG)
                                .put(Table::SETTINGS, counter.clone(), n.to_be_bytes().to_vec())
                                .put(Table::JOBS, format!("{lane}/{n}"), vec![1; 200])
                                .enqueue(QueueEntry::new("q", format!("{lane}/{n}")))
                                .event(NewEvent::new(
                                    "n",
                                    [format!("lane/{lane}")],
                                    json!([lane, n]),
                                )),
                        )
                        .await
                        .unwrap();
                    println!("acked {lane} {n} {}", committed.last_seq);
                    if n % 3 == 0 {
                        let minute = Duration::from_secs(60);
                        let leases = store.claim(ORG, "q", "w", 2, minute).await.unwrap();
                        for lease in leases {
                            let name = String::from_utf8(lease.payload.to_vec()).unwrap();
                            store
                                .complete(
                                    lease.token,
                                    Transaction::new(ORG).put(Table::RESULTS, name.clone(), "done"),
                                )
                                .await
                                .unwrap();
                            println!("done {name}");
                        }
                    }
                }
            });
        }
        lanes.join_all().await;
    });
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let rounds = std::env::var("BINDERY_TEST_KILLS").map_or(20, |text| text.parse().unwrap());
    let mut acked = [0_u64; LANES as usize];
    let mut done = std::collections::BTreeSet::new();
    let (mut torn, mut replayed) = (0, 0);
    for round in 0..rounds {
        let mut process = child(
            "child_commits_until_killed",
            &[("BINDERY_TEST_DIR", dir.path().to_str().unwrap())],
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        // The reader waits when the round falls behind, and the child with it: a pipe has a bound too.
        let (lines, received) = std::sync::mpsc::sync_channel(1024);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                lines.send(line).unwrap();
            }
        });
        // From the first acknowledgement on, so that kills hit commits and not the start.
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut seen = Vec::new();
        while !seen.iter().any(|line: &String| line.contains("acked")) {
            let left = deadline.saturating_duration_since(Instant::now());
            seen.push(received.recv_timeout(left).expect("child commits"));
        }
        let lifetime = Duration::from_micros(random.below(150_000));
        let end = Instant::now() + lifetime;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            seen.extend(received.recv_timeout(left));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        // Until the reader is at the end of the pipe and gone.
        seen.extend(received);
        reader.join().unwrap();

        let mut last_seq_acked = 0;
        for line in seen {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The test harness prints on the same lines.
            if let Some(at) = words.iter().position(|word| *word == "acked") {
                let [lane, n, seq] = [1, 2, 3].map(|by| words[at + by].parse::<u64>().unwrap());
                acked[lane as usize] = n;
                last_seq_acked = last_seq_acked.max(seq);
            } else if let Some(at) = words.iter().position(|word| *word == "done") {
                done.insert(words[at + 1].to_owned());
            }
        }

        let store = open(dir.path()).unwrap();
        torn += store.open_report().torn_bytes;
        replayed += store.open_report().replayed_records;
        assert!(
            store.open_report().rebuilt.is_empty(),
            "round {round}: a kill damaged an index: {:?}",
            store.open_report()
        );
        let mut after_seq = 0;
        let mut last = [0_u64; LANES as usize];
        loop {
            let events = store
                .events(ORG, &EventQuery::all(after_seq, 1_000))
                .unwrap();
            if events.is_empty() {
                break;
            }
            for event in events {
                assert_eq!(event.seq, after_seq + 1, "gap in seq");
                after_seq = event.seq;
                let lane = event.data[0].as_u64().unwrap() as usize;
                last[lane] += 1;
                assert_eq!(
                    event.data[1].as_u64().unwrap(),
                    last[lane],
                    "event lost or doubled"
                );
            }
        }
        assert_eq!(after_seq, store.last_seq(ORG));
        assert!(after_seq >= last_seq_acked);
        for lane in 0..LANES {
            let at = lane as usize;
            assert!(
                last[at] >= acked[at],
                "lane {lane} lost acknowledged commits"
            );
            let counter = format!("counter/{lane}");
            let value = store.get(ORG, Table::SETTINGS, counter.as_bytes()).unwrap();
            let value = value.map_or(0, |v| u64::from_be_bytes(v.as_ref().try_into().unwrap()));
            assert_eq!(value, last[at], "rows and events differ");
            for n in 1..=last[at] {
                let key = format!("{lane}/{n}");
                assert!(
                    store
                        .get(ORG, Table::JOBS, key.as_bytes())
                        .unwrap()
                        .is_some()
                );
            }
        }
        // What was completed is done and in no queue; all else is in it, once.
        let results = |name: &str| store.get(ORG, Table::RESULTS, name.as_bytes()).unwrap();
        assert!(done.iter().all(|name| results(name).is_some()));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(store.release("w")).unwrap();
        let total: u64 = last.iter().sum();
        let mut waiting: Vec<String> = store
            .queued(ORG, "q", usize::MAX)
            .unwrap()
            .into_iter()
            .map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap())
            .collect();
        waiting.sort();
        waiting.dedup();
        let completed = (0..LANES)
            .flat_map(|lane| (1..=last[lane as usize]).map(move |n| format!("{lane}/{n}")))
            .filter(|name| {
                let is_done = results(name).is_some();
                assert_ne!(is_done, waiting.binary_search(name).is_ok(), "{name}");
                is_done
            })
            .count() as u64;
        // The queue is read up to 10,000 entries.
        assert!(waiting.len() == 10_000 || waiting.len() as u64 + completed == total);
        acked = last;
        drop(store);
        verify(dir.path()).unwrap();
    }
    std::io::stderr()
        .write_all(
            format!("{rounds} kills, {acked:?} commits, {replayed} replayed, {torn} bytes torn\n")
                .as_bytes(),
        )
        .unwrap();
    assert!(replayed > 0, "no kill left anything to replay");
}
