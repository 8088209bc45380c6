//! On random requests, both implementations answer alike, whatever the index is doing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use bindery_datastore::{
    CommitError, CompleteError, Database, Datastore, EntryId, EventQuery, Expect, LeaseToken,
    LocalDatastore, ManualClock, MemoryDatastore, NewEvent, Options, QueueEntry, RangeQuery, Table,
    Transaction, conformance::clock,
};
use proptest::prelude::*;
use serde_json::json;
use support::{META, ORG, content, options};

const TABLES: [Table; 2] = [Table::JOBS, Table::EXECUTIONS];

#[derive(Debug, Clone)]
enum Change {
    Put(usize, u8, u8),
    Delete(usize, u8),
    CheckAbsent(usize, u8),
    CheckEquals(usize, u8, u8),
    Enqueue { priority: u8, delay_s: Option<i64> },
    Dequeue(usize),
    Event(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Commit(bool, Vec<Change>),
    Claim {
        worker: u8,
        count: usize,
        lease_s: u64,
    },
    Complete(usize, Vec<Change>),
    Renew(usize),
    Release(u8),
    Advance(u64),
    Range {
        table: usize,
        prefix: Option<u8>,
        after: Option<u8>,
        reverse: bool,
        limit: usize,
    },
    Events {
        after: u64,
        topic: Option<u8>,
        limit: usize,
    },
    Flush,
    Reopen,
}

fn change() -> impl Strategy<Value = Change> {
    let key = 0_u8..24;
    prop_oneof![
        6 => (0..2_usize, key.clone(), 0_u8..4).prop_map(|(t, k, v)| Change::Put(t, k, v)),
        3 => (0..2_usize, key.clone()).prop_map(|(t, k)| Change::Delete(t, k)),
        1 => (0..2_usize, key.clone()).prop_map(|(t, k)| Change::CheckAbsent(t, k)),
        1 => (0..2_usize, key, 0_u8..4).prop_map(|(t, k, v)| Change::CheckEquals(t, k, v)),
        3 => (0_u8..3, proptest::option::weighted(0.3, 0_i64..20))
            .prop_map(|(priority, delay_s)| Change::Enqueue { priority, delay_s }),
        1 => (0..64_usize).prop_map(Change::Dequeue),
        4 => proptest::collection::vec(0_u8..4, 0..3).prop_map(Change::Event),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let changes = || proptest::collection::vec(change(), 0..6);
    prop_oneof![
        10 => (proptest::bool::weighted(0.8), changes()).prop_map(|(o, c)| Step::Commit(o, c)),
        4 => (0_u8..3, 0..5_usize, 1_u64..10)
            .prop_map(|(worker, count, lease_s)| Step::Claim { worker, count, lease_s }),
        4 => (0..64_usize, changes()).prop_map(|(l, c)| Step::Complete(l, c)),
        1 => (0..64_usize).prop_map(Step::Renew),
        1 => (0_u8..3).prop_map(Step::Release),
        3 => (0_u64..12).prop_map(Step::Advance),
        3 => (0..2_usize, proptest::option::of(0_u8..3), proptest::option::of(0_u8..24), any::<bool>(), 0..9_usize)
            .prop_map(|(table, prefix, after, reverse, limit)| Step::Range { table, prefix, after, reverse, limit }),
        2 => (0_u64..30, proptest::option::of(0_u8..4), 0..9_usize)
            .prop_map(|(after, topic, limit)| Step::Events { after, topic, limit }),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ]
}

/// Keys of two bytes, so that there are prefixes.
fn key(k: u8) -> Vec<u8> {
    vec![k / 8, k]
}

struct Pair {
    memory: MemoryDatastore,
    local: Option<LocalDatastore>,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
    tokens: Vec<LeaseToken>,
    entries: Vec<EntryId>,
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> LocalDatastore {
    let options = Options {
        clock: Arc::clone(clock) as _,
        // Flushed when the test says so.
        flush_interval: Duration::from_secs(3_600),
        segment_bytes_max: 1_024,
        ..options()
    };
    LocalDatastore::open(dir, options).unwrap()
}

/// What a caller can tell of an error.
fn kind(error: &CommitError) -> String {
    match error {
        CommitError::Conflict { index, found, .. } => format!("conflict {index} {found:?}"),
        other => panic!("{other}"),
    }
}

impl Pair {
    fn new() -> Self {
        let clock = clock();
        let dir = tempfile::tempdir().unwrap();
        Self {
            memory: MemoryDatastore::with_clock(Arc::clone(&clock) as _),
            local: Some(open(dir.path(), &clock)),
            clock,
            dir,
            tokens: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn local(&self) -> &LocalDatastore {
        self.local.as_ref().unwrap()
    }

    fn transaction(&self, database: Database, changes: Vec<Change>) -> Transaction {
        use bindery_datastore::Clock;
        let mut transaction = Transaction::new(database);
        for change in changes {
            transaction = match change {
                Change::Put(t, k, v) => transaction.put(TABLES[t], key(k), vec![v; 30]),
                Change::Delete(t, k) => transaction.delete(TABLES[t], key(k)),
                Change::CheckAbsent(t, k) => transaction.check(TABLES[t], key(k), Expect::Absent),
                Change::CheckEquals(t, k, v) => {
                    transaction.check(TABLES[t], key(k), Expect::Equals(vec![v; 30].into()))
                }
                Change::Enqueue { priority, delay_s } => {
                    let mut entry = QueueEntry::new("q", vec![priority]).priority(priority);
                    if let Some(delay_s) = delay_s {
                        let at = self.clock.now() + jiff::SignedDuration::from_secs(delay_s);
                        entry = entry.available(at);
                    }
                    transaction.enqueue(entry)
                }
                Change::Dequeue(at) => match self.entries.len() {
                    0 => transaction,
                    len => transaction.dequeue(self.entries[at % len].clone()),
                },
                Change::Event(topics) => transaction.event(NewEvent::new(
                    "n",
                    topics.iter().map(|topic| format!("topic/{topic}")),
                    json!(topics),
                )),
            };
        }
        transaction
    }

    /// Fences and positions are each store's own; all else is alike.
    async fn step(&mut self, step: Step) {
        match step {
            Step::Commit(org, changes) => {
                let database = if org { ORG } else { META };
                let transaction = self.transaction(database, changes);
                let a = self.memory.commit(transaction.clone()).await;
                let b = self.local().commit(transaction).await;
                assert_eq!(a.as_ref().map_err(kind), b.as_ref().map_err(kind));
                self.entries.extend(a.into_iter().flat_map(|c| c.entries));
            }
            Step::Claim {
                worker,
                count,
                lease_s,
            } => {
                let worker = format!("w{worker}");
                let lease = Duration::from_secs(lease_s);
                let a = self
                    .memory
                    .claim(ORG, "q", &worker, count, lease)
                    .await
                    .unwrap();
                let b = self
                    .local()
                    .claim(ORG, "q", &worker, count, lease)
                    .await
                    .unwrap();
                assert_eq!(a, b);
                self.tokens.extend(a.into_iter().map(|lease| lease.token));
            }
            Step::Complete(at, changes) => {
                let Some(token) = self.token(at) else { return };
                let transaction = self.transaction(ORG, changes);
                let a = self
                    .memory
                    .complete(token.clone(), transaction.clone())
                    .await;
                let b = self.local().complete(token, transaction).await;
                let kind = |error: &CompleteError| match error {
                    CompleteError::Fenced { .. } => "fenced".to_owned(),
                    CompleteError::Commit(error) => kind(error),
                    other => panic!("{other}"),
                };
                assert_eq!(a.as_ref().map_err(kind), b.as_ref().map_err(kind));
                self.entries.extend(a.into_iter().flat_map(|c| c.entries));
            }
            Step::Renew(at) => {
                let Some(token) = self.token(at) else { return };
                let lease = Duration::from_secs(5);
                let a = self
                    .memory
                    .renew(std::slice::from_ref(&token), lease)
                    .await
                    .unwrap();
                let b = self.local().renew(&[token], lease).await.unwrap();
                assert_eq!(a, b);
            }
            Step::Release(worker) => {
                let worker = format!("w{worker}");
                let a = self.memory.release(&worker).await.unwrap();
                let b = self.local().release(&worker).await.unwrap();
                assert_eq!(a, b);
            }
            Step::Advance(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Range {
                table,
                prefix,
                after,
                reverse,
                limit,
            } => {
                let query = RangeQuery {
                    prefix: prefix.into_iter().collect::<Vec<u8>>().into(),
                    after: after.map(|k| key(k).into()),
                    reverse,
                    limit,
                };
                let a = self.memory.range(ORG, TABLES[table], &query).unwrap();
                let b = self.local().range(ORG, TABLES[table], &query).unwrap();
                assert_eq!(a, b, "{query:?}");
            }
            Step::Events {
                after,
                topic,
                limit,
            } => {
                let query = EventQuery {
                    after_seq: after,
                    topic: topic.map(|topic| format!("topic/{topic}")),
                    limit,
                };
                let a = self.memory.events(ORG, &query).unwrap();
                let b = self.local().events(ORG, &query).unwrap();
                assert_eq!(a, b, "{query:?}");
            }
            Step::Flush => assert!(self.local().flush(Duration::from_secs(60))),
            Step::Reopen => {
                // Leases start anew when a store is opened; so that both have the same ones,
                // they are given back.
                for worker in ["w0", "w1", "w2"] {
                    self.memory.release(worker).await.unwrap();
                    self.local().release(worker).await.unwrap();
                }
                drop(self.local.take());
                // Closing takes a position of its own, which the other must take as well for
                // fences and entries to stay comparable.
                self.memory.commit(Transaction::new(META)).await.unwrap();
                self.local = Some(open(self.dir.path(), &self.clock));
                assert!(self.local().open_report().closed_in_order);
            }
        }
        for database in [META, ORG] {
            assert_eq!(
                self.memory.last_seq(database),
                self.local().last_seq(database)
            );
        }
    }

    fn token(&self, at: usize) -> Option<LeaseToken> {
        let len = self.tokens.len();
        (len > 0).then(|| self.tokens[at % len].clone())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn both_answer_alike(steps in proptest::collection::vec(step(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new();
            for step in steps {
                pair.step(step).await;
            }
            for database in [META, ORG] {
                let a = content(&pair.memory, database).unwrap();
                assert!(a == content(pair.local(), database).unwrap());
            }
            // And once more from the journal alone.
            drop(pair.local.take());
            std::fs::remove_dir_all(pair.dir.path().join("index")).unwrap();
            let rebuilt = open(pair.dir.path(), &pair.clock);
            for database in [META, ORG] {
                let a = content(&pair.memory, database).unwrap();
                assert!(a == content(&rebuilt, database).unwrap());
            }
        });
    }
}
