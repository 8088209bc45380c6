//! What every [`Datastore`] must do, as tests that run against any of them.
//!
//! Call [`conformance_tests!`](crate::conformance_tests) with an expression that makes a
//! [`Fixture`]; it becomes one `#[tokio::test]` per promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_debug_implementations,
    reason = "tests"
)]

use std::{any::Any, sync::Arc, time::Duration};

use bindery_core::ids::OrgId;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

use crate::{
    Check, CommitError, CompleteError, Database, Datastore, EventQuery, Expect, LeaseToken,
    ManualClock, NewEvent, QueueEntry, RangeQuery, Table, Transaction, Wakeup,
};

/// An empty store whose clock stands still until it is moved.
pub struct Fixture {
    pub datastore: Arc<dyn Datastore>,
    pub clock: Arc<ManualClock>,
    /// What must live as long as the store, such as its directory.
    pub keep: Box<dyn Any + Send + Sync>,
}

/// A clock for a fixture.
#[must_use]
pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(
        Timestamp::from_second(1_800_000_000).unwrap(),
    ))
}

/// One `#[tokio::test]` per promise, each on a new fixture.
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::conformance_tests!(@each $fixture;
            rows_are_read_as_written
            a_transaction_applies_whole_or_not_at_all
            checks_compare_with_what_is_there
            the_last_write_to_a_key_wins
            ranges_are_ordered_and_paged
            databases_and_tables_are_apart
            invalid_transactions_are_refused
            seqs_grow_by_one_per_database
            events_are_read_by_topic_and_resumed
            many_events_are_paged_without_gap
            subscribers_are_woken
            claims_follow_priority_then_age
            delayed_entries_wait
            a_lease_runs_out_and_the_next_claim_fences_it
            renewed_leases_last
            setting_the_wall_clock_moves_no_lease
            completing_applies_the_transaction_once
            a_refused_completion_keeps_the_lease
            released_leases_wait_again
            dequeued_entries_are_gone
            queues_are_apart
            concurrent_claims_never_share_an_entry
            concurrent_checks_let_one_win
            large_values_are_kept
        );
    };
    (@each $fixture:expr; $($name:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let fixture = $fixture;
                $crate::conformance::$name(&fixture).await;
            }
        )*
    };
}

const META: Database = Database::Meta;
const ORG: Database = Database::Org(OrgId::BUILT_IN);
const MINUTE: Duration = Duration::from_secs(60);

fn put(key: &str, value: &str) -> Transaction {
    Transaction::new(ORG).put(
        Table::JOBS,
        key.to_owned().into_bytes(),
        value.to_owned().into_bytes(),
    )
}

fn event(name: &str, topic: &str) -> NewEvent {
    NewEvent::new(name, [topic], json!({ "of": topic }))
}

fn get(store: &Arc<dyn Datastore>, key: &str) -> Option<Bytes> {
    store.get(ORG, Table::JOBS, key.as_bytes()).unwrap()
}

fn keys(store: &Arc<dyn Datastore>, query: &RangeQuery) -> Vec<String> {
    store
        .range(ORG, Table::JOBS, query)
        .unwrap()
        .into_iter()
        .map(|(key, _)| String::from_utf8(key.to_vec()).unwrap())
        .collect()
}

fn entry(name: &str) -> QueueEntry {
    QueueEntry::new("q", name.to_owned().into_bytes())
}

async fn enqueue(store: &Arc<dyn Datastore>, entries: impl IntoIterator<Item = QueueEntry>) {
    let mut transaction = Transaction::new(ORG);
    transaction.enqueue.extend(entries);
    store.commit(transaction).await.unwrap();
}

/// Claims up to `count` entries, and gives their names and tokens.
async fn claim(store: &Arc<dyn Datastore>, count: usize) -> Vec<(String, LeaseToken)> {
    let leases = store.claim(ORG, "q", "w1", count, MINUTE).await.unwrap();
    leases
        .into_iter()
        .map(|lease| {
            (
                String::from_utf8(lease.payload.to_vec()).unwrap(),
                lease.token,
            )
        })
        .collect()
}

async fn claim_names(store: &Arc<dyn Datastore>, count: usize) -> Vec<String> {
    let claimed = claim(store, count).await;
    claimed.into_iter().map(|(name, _)| name).collect()
}

pub async fn rows_are_read_as_written(fixture: &Fixture) {
    let store = &fixture.datastore;
    assert_eq!(get(store, "a"), None);
    store.commit(put("a", "1")).await.unwrap();
    assert_eq!(get(store, "a").unwrap(), "1");
    store.commit(put("a", "2")).await.unwrap();
    assert_eq!(get(store, "a").unwrap(), "2");
    store
        .commit(Transaction::new(ORG).delete(Table::JOBS, "a"))
        .await
        .unwrap();
    assert_eq!(get(store, "a"), None);
    store.commit(put("", "empty key")).await.unwrap();
    store.commit(put("empty value", "")).await.unwrap();
    assert_eq!(get(store, "").unwrap(), "empty key");
    assert_eq!(get(store, "empty value").unwrap(), "");
}

pub async fn a_transaction_applies_whole_or_not_at_all(fixture: &Fixture) {
    let store = &fixture.datastore;
    store.commit(put("taken", "1")).await.unwrap();
    let refused = put("b", "1")
        .check(Table::JOBS, "free", Expect::Absent)
        .check(Table::JOBS, "taken", Expect::Absent)
        .enqueue(entry("e"))
        .event(event("n", "t"));
    let error = store.commit(refused).await.unwrap_err();
    match error {
        CommitError::Conflict {
            database,
            index,
            check,
            found,
        } => {
            assert_eq!((database, index), (ORG, 1));
            let expected = Check {
                table: Table::JOBS,
                key: "taken".into(),
                expect: Expect::Absent,
            };
            assert_eq!(*check, expected);
            assert_eq!(found.unwrap(), "1");
        }
        other => panic!("not a conflict: {other}"),
    }
    assert_eq!(get(store, "b"), None);
    assert_eq!(store.last_seq(ORG), 0);
    assert!(claim_names(store, 1).await.is_empty());
}

pub async fn checks_compare_with_what_is_there(fixture: &Fixture) {
    let store = &fixture.datastore;
    store.commit(put("a", "1")).await.unwrap();
    let cases = [
        ("a", Expect::Present, true),
        ("a", Expect::Absent, false),
        ("a", Expect::Equals("1".into()), true),
        ("a", Expect::Equals("2".into()), false),
        ("x", Expect::Present, false),
        ("x", Expect::Absent, true),
        ("x", Expect::Equals("".into()), false),
    ];
    for (key, expect, holds) in cases {
        let transaction = Transaction::new(ORG).check(Table::JOBS, key, expect.clone());
        let result = store.commit(transaction).await;
        assert_eq!(result.is_ok(), holds, "{key} {expect:?}");
    }
}

pub async fn the_last_write_to_a_key_wins(fixture: &Fixture) {
    let store = &fixture.datastore;
    let transaction = put("a", "1")
        .delete(Table::JOBS, "a")
        .put(Table::JOBS, "a", "2")
        .put(Table::JOBS, "b", "1")
        .delete(Table::JOBS, "b");
    store.commit(transaction).await.unwrap();
    assert_eq!(get(store, "a").unwrap(), "2");
    assert_eq!(get(store, "b"), None);
}

pub async fn ranges_are_ordered_and_paged(fixture: &Fixture) {
    let store = &fixture.datastore;
    for n in [3, 1, 4, 0, 2] {
        store.commit(put(&format!("p/{n}"), "v")).await.unwrap();
    }
    store.commit(put("o", "v")).await.unwrap();
    store.commit(put("q", "v")).await.unwrap();
    store
        .commit(Transaction::new(ORG).delete(Table::JOBS, "p/2"))
        .await
        .unwrap();

    let all = RangeQuery::prefix("p/", 10);
    assert_eq!(keys(store, &all), ["p/0", "p/1", "p/3", "p/4"]);
    assert_eq!(
        keys(store, &all.clone().reverse()),
        ["p/4", "p/3", "p/1", "p/0"]
    );
    let page = RangeQuery::prefix("p/", 2);
    assert_eq!(keys(store, &page), ["p/0", "p/1"]);
    let next = page.clone().after(Some("p/1".into()));
    assert_eq!(keys(store, &next), ["p/3", "p/4"]);
    let back = page.clone().reverse().after(Some("p/3".into()));
    assert_eq!(keys(store, &back), ["p/1", "p/0"]);
    // Cursors beyond either end of the prefix.
    assert!(keys(store, &page.clone().after(Some("z".into()))).is_empty());
    assert_eq!(
        keys(store, &page.clone().after(Some("a".into()))),
        ["p/0", "p/1"]
    );
    assert_eq!(
        keys(store, &page.clone().reverse().after(Some("z".into()))),
        ["p/4", "p/3"]
    );
    assert!(keys(store, &page.reverse().after(Some("a".into()))).is_empty());
    assert!(keys(store, &RangeQuery::prefix("p/", 0)).is_empty());
    assert_eq!(keys(store, &RangeQuery::prefix("", 100)).len(), 6);
}

pub async fn databases_and_tables_are_apart(fixture: &Fixture) {
    let store = &fixture.datastore;
    let other = Database::Org(OrgId::generate());
    store.commit(put("k", "org")).await.unwrap();
    store
        .commit(Transaction::new(META).put(Table::JOBS, "k", "meta"))
        .await
        .unwrap();
    store
        .commit(Transaction::new(other).put(Table::FILES, "k", "other"))
        .await
        .unwrap();
    assert_eq!(get(store, "k").unwrap(), "org");
    assert_eq!(store.get(META, Table::JOBS, b"k").unwrap().unwrap(), "meta");
    assert_eq!(store.get(other, Table::JOBS, b"k").unwrap(), None);
    assert_eq!(
        store.get(other, Table::FILES, b"k").unwrap().unwrap(),
        "other"
    );
    assert_eq!(keys(store, &RangeQuery::prefix("", 9)), ["k"]);
    let nowhere = Database::Org(OrgId::generate());
    assert_eq!(store.get(nowhere, Table::JOBS, b"k").unwrap(), None);
    assert_eq!(store.last_seq(nowhere), 0);
    let claimed = store.claim(nowhere, "q", "w", 1, MINUTE).await.unwrap();
    assert!(claimed.is_empty());
    let mut names = vec![META, ORG, other];
    names.sort();
    assert_eq!(store.databases(), names);
}

pub async fn invalid_transactions_are_refused(fixture: &Fixture) {
    let store = &fixture.datastore;
    let cases = [
        put(&"k".repeat(crate::KEY_BYTES_MAX + 1), "v"),
        Transaction::new(ORG).event(event("", "t")),
        Transaction::new(ORG).event(event("n", "")),
        Transaction::new(ORG).event(event("n", "t\0")),
        Transaction::new(ORG).event(event("n", &"t".repeat(crate::TOPIC_BYTES_MAX + 1))),
        Transaction::new(ORG).event(NewEvent::new(
            "n",
            (0..=crate::TOPICS_PER_EVENT_MAX).map(|n| n.to_string()),
            json!(null),
        )),
        Transaction::new(ORG).enqueue(QueueEntry::new("", "p")),
        Transaction::new(ORG).enqueue(QueueEntry::new("q", vec![0; crate::PAYLOAD_BYTES_MAX + 1])),
    ];
    for transaction in cases {
        let error = store.commit(transaction.clone()).await.unwrap_err();
        assert!(
            matches!(error, CommitError::Invalid { .. }),
            "{transaction:?}: {error}"
        );
    }
    let large = Transaction::new(ORG).put(Table::JOBS, "k", vec![0; crate::TRANSACTION_BYTES_MAX]);
    assert!(matches!(
        store.commit(large).await.unwrap_err(),
        CommitError::TooLarge { .. }
    ));
    assert!(store.claim(ORG, "", "w", 1, MINUTE).await.is_err());
    assert!(store.claim(ORG, "q", "", 1, MINUTE).await.is_err());
    // An empty transaction is none of these.
    let committed = store.commit(Transaction::new(ORG)).await.unwrap();
    assert_eq!((committed.first_seq, committed.last_seq), (1, 0));
}

pub async fn seqs_grow_by_one_per_database(fixture: &Fixture) {
    let store = &fixture.datastore;
    let two = Transaction::new(ORG)
        .event(event("a", "t"))
        .event(event("b", "t"));
    let first = store.commit(two.clone()).await.unwrap();
    assert_eq!((first.first_seq, first.last_seq), (1, 2));
    let none = store.commit(put("k", "v")).await.unwrap();
    assert_eq!((none.first_seq, none.last_seq), (3, 2));
    let other = Transaction::new(META).event(event("m", "t"));
    assert_eq!(store.commit(other).await.unwrap().last_seq, 1);
    let second = store.commit(two).await.unwrap();
    assert_eq!((second.first_seq, second.last_seq), (3, 4));
    assert_eq!((store.last_seq(ORG), store.last_seq(META)), (4, 1));

    let events = store.events(ORG, &EventQuery::all(0, 10)).unwrap();
    let seen: Vec<(u64, &str)> = events.iter().map(|e| (e.seq, e.name.as_str())).collect();
    assert_eq!(seen, [(1, "a"), (2, "b"), (3, "a"), (4, "b")]);
    assert_eq!(events[0].time, first.time);
    assert_eq!(events[0].data, json!({ "of": "t" }));
    assert_eq!(events[0].topics, ["t"]);
}

pub async fn events_are_read_by_topic_and_resumed(fixture: &Fixture) {
    let store = &fixture.datastore;
    for n in 0..6 {
        let topics = if n % 2 == 0 {
            vec!["even", "all"]
        } else {
            // Naming a topic twice is telling it once.
            vec!["odd", "all", "odd"]
        };
        let event = NewEvent::new(format!("n{n}"), topics, json!(n));
        store
            .commit(Transaction::new(ORG).event(event))
            .await
            .unwrap();
    }
    let seqs = |query: &EventQuery| -> Vec<u64> {
        let events = store.events(ORG, query).unwrap();
        events.iter().map(|event| event.seq).collect()
    };
    assert_eq!(seqs(&EventQuery::topic("even", 0, 10)), [1, 3, 5]);
    assert_eq!(seqs(&EventQuery::topic("odd", 0, 10)), [2, 4, 6]);
    assert_eq!(seqs(&EventQuery::topic("odd", 2, 10)), [4, 6]);
    assert_eq!(seqs(&EventQuery::topic("odd", 3, 1)), [4]);
    assert_eq!(seqs(&EventQuery::topic("all", 4, 10)), [5, 6]);
    assert!(seqs(&EventQuery::topic("eve", 0, 10)).is_empty());
    assert!(seqs(&EventQuery::topic("odd", 6, 10)).is_empty());
    assert!(seqs(&EventQuery::all(6, 10)).is_empty());
    assert!(seqs(&EventQuery::all(u64::MAX, 10)).is_empty());
    assert_eq!(seqs(&EventQuery::all(4, 10)), [5, 6]);
}

pub async fn many_events_are_paged_without_gap(fixture: &Fixture) {
    let store = &fixture.datastore;
    let total = 3_000_u64;
    for chunk in 0..total / 50 {
        let mut transaction = Transaction::new(ORG);
        for n in 0..50 {
            let seq = chunk * 50 + n + 1;
            transaction
                .events
                .push(NewEvent::new("n", [format!("mod/{}", seq % 7)], json!(seq)));
        }
        store.commit(transaction).await.unwrap();
    }
    for topic in [None, Some(3)] {
        let mut after_seq = 0;
        let mut seen = Vec::new();
        loop {
            let query = EventQuery {
                after_seq,
                topic: topic.map(|n| format!("mod/{n}")),
                limit: 170,
            };
            let page = store.events(ORG, &query).unwrap();
            let Some(last) = page.last() else { break };
            after_seq = last.seq;
            seen.extend(page.iter().map(|event| event.data.as_u64().unwrap()));
        }
        let expected: Vec<u64> = (1..=total)
            .filter(|seq| topic.is_none_or(|n| seq % 7 == n))
            .collect();
        assert_eq!(seen, expected);
    }
}

pub async fn subscribers_are_woken(fixture: &Fixture) {
    let store = &fixture.datastore;
    let mut wakeups = store.subscribe();
    store.commit(put("k", "silent")).await.unwrap();
    store
        .commit(Transaction::new(ORG).event(event("n", "t")))
        .await
        .unwrap();
    let wakeup = tokio::time::timeout(MINUTE, wakeups.recv()).await;
    let expected = Wakeup {
        database: ORG,
        last_seq: 1,
    };
    assert_eq!(wakeup.unwrap().unwrap(), expected);
    assert!(wakeups.try_recv().is_err());
}

pub async fn claims_follow_priority_then_age(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a"), entry("low").priority(1), entry("b")]).await;
    enqueue(store, [entry("high").priority(200), entry("c")]).await;
    let queued: Vec<Bytes> = store
        .queued(ORG, "q", 10)
        .unwrap()
        .into_iter()
        .map(|entry| entry.payload)
        .collect();
    assert_eq!(queued, ["high", "a", "b", "c", "low"]);
    assert_eq!(claim_names(store, 2).await, ["high", "a"]);
    assert_eq!(claim_names(store, 10).await, ["b", "c", "low"]);
    assert!(claim_names(store, 10).await.is_empty());
    assert!(claim_names(store, 0).await.is_empty());
}

pub async fn delayed_entries_wait(fixture: &Fixture) {
    use crate::Clock;
    let store = &fixture.datastore;
    let soon = fixture.clock.now() + Duration::from_secs(10);
    let later = fixture.clock.now() + Duration::from_secs(20);
    enqueue(
        store,
        [
            entry("later").available(later).priority(255),
            entry("soon").available(soon),
        ],
    )
    .await;
    enqueue(store, [entry("now")]).await;
    assert_eq!(store.queued(ORG, "q", 10).unwrap().len(), 3);
    assert_eq!(claim_names(store, 10).await, ["now"]);
    fixture.clock.advance(Duration::from_secs(10));
    assert_eq!(claim_names(store, 10).await, ["soon"]);
    fixture.clock.advance(Duration::from_secs(10));
    enqueue(store, [entry("fresh")]).await;
    assert_eq!(claim_names(store, 10).await, ["later", "fresh"]);
}

pub async fn a_lease_runs_out_and_the_next_claim_fences_it(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a").attempt(4)]).await;
    let old = store.claim(ORG, "q", "w1", 1, MINUTE).await.unwrap();
    assert_eq!((old[0].attempt, old[0].lasts), (5, MINUTE));
    fixture.clock.advance(MINUTE / 2);
    assert!(claim_names(store, 1).await.is_empty());
    fixture.clock.advance(MINUTE);
    let new = store.claim(ORG, "q", "w2", 1, MINUTE).await.unwrap();
    assert_eq!(new[0].attempt, 6);
    assert!(new[0].token.fence > old[0].token.fence);

    let stale = store
        .complete(old[0].token.clone(), put("k", "stale"))
        .await;
    assert!(matches!(stale, Err(CompleteError::Fenced { .. })));
    assert_eq!(get(store, "k"), None);
    let lost = store
        .renew(&[old[0].token.clone(), new[0].token.clone()], MINUTE)
        .await
        .unwrap();
    assert_eq!(lost, [old[0].token.clone()]);
    store
        .complete(new[0].token.clone(), put("k", "new"))
        .await
        .unwrap();
    assert_eq!(get(store, "k").unwrap(), "new");
}

pub async fn renewed_leases_last(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a")]).await;
    let (_, token) = claim(store, 1).await.remove(0);
    for _ in 0..5 {
        fixture.clock.advance(MINUTE / 2);
        let lost = store.renew(std::slice::from_ref(&token), MINUTE).await;
        assert!(lost.unwrap().is_empty());
        assert!(claim_names(store, 1).await.is_empty());
    }
    fixture.clock.advance(MINUTE);
    // Run out, but not taken: it still counts.
    store.complete(token.clone(), put("k", "v")).await.unwrap();
    let lost = store.renew(std::slice::from_ref(&token), MINUTE).await;
    assert_eq!(lost.unwrap(), [token]);
    assert!(claim_names(store, 1).await.is_empty());
}

pub async fn setting_the_wall_clock_moves_no_lease(fixture: &Fixture) {
    use crate::Clock;
    let store = &fixture.datastore;
    enqueue(store, [entry("a")]).await;
    let (_, token) = claim(store, 1).await.remove(0);
    let day = Duration::from_secs(86_400);
    fixture.clock.set_wall(fixture.clock.now() + day);
    assert!(claim_names(store, 1).await.is_empty());
    fixture.clock.set_wall(fixture.clock.now() - 2 * day);
    assert!(claim_names(store, 1).await.is_empty());
    fixture.clock.advance(MINUTE);
    assert_eq!(claim_names(store, 1).await, ["a"]);
    let stale = store.complete(token, Transaction::new(ORG)).await;
    assert!(matches!(stale, Err(CompleteError::Fenced { .. })));
}

pub async fn completing_applies_the_transaction_once(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a")]).await;
    let (_, token) = claim(store, 1).await.remove(0);
    let outcome = put("k", "done")
        .event(event("done", "t"))
        .enqueue(entry("next"));
    let committed = store
        .complete(token.clone(), outcome.clone())
        .await
        .unwrap();
    assert_eq!(committed.last_seq, 1);
    assert_eq!(committed.entries.len(), 1);
    let again = store.complete(token.clone(), outcome).await;
    assert!(matches!(again, Err(CompleteError::Fenced { .. })));
    assert_eq!(store.last_seq(ORG), 1);
    assert_eq!(claim_names(store, 10).await, ["next"]);
    // The transaction must be of the lease's database.
    let elsewhere = store.complete(token, Transaction::new(META)).await;
    assert!(matches!(
        elsewhere,
        Err(CompleteError::Commit(CommitError::Invalid { .. }))
    ));
}

pub async fn a_refused_completion_keeps_the_lease(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a")]).await;
    let (_, token) = claim(store, 1).await.remove(0);
    let refused = put("k", "v").check(Table::JOBS, "absent", Expect::Present);
    let error = store.complete(token.clone(), refused).await.unwrap_err();
    assert!(matches!(
        error,
        CompleteError::Commit(CommitError::Conflict { .. })
    ));
    assert!(claim_names(store, 1).await.is_empty());
    store.complete(token, put("k", "v")).await.unwrap();
}

pub async fn released_leases_wait_again(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, [entry("a"), entry("b"), entry("c")]).await;
    let meta = Transaction::new(META).enqueue(QueueEntry::new("m", "in meta"));
    store.commit(meta).await.unwrap();
    let mine = store.claim(ORG, "q", "w1", 2, MINUTE).await.unwrap();
    store.claim(META, "m", "w1", 1, MINUTE).await.unwrap();
    let others = store.claim(ORG, "q", "w2", 1, MINUTE).await.unwrap();
    assert_eq!(store.release("w1").await.unwrap(), 3);
    assert_eq!(store.release("w1").await.unwrap(), 0);

    let stale = store
        .complete(mine[0].token.clone(), Transaction::new(ORG))
        .await;
    assert!(matches!(stale, Err(CompleteError::Fenced { .. })));
    let again = store.claim(ORG, "q", "w1", 10, MINUTE).await.unwrap();
    let names: Vec<(&Bytes, u32)> = again.iter().map(|l| (&l.payload, l.attempt)).collect();
    assert_eq!(names, [(&Bytes::from("a"), 2), (&Bytes::from("b"), 2)]);
    store
        .complete(others[0].token.clone(), Transaction::new(ORG))
        .await
        .unwrap();
}

pub async fn dequeued_entries_are_gone(fixture: &Fixture) {
    use crate::Clock;
    let store = &fixture.datastore;
    let later = fixture.clock.now() + MINUTE;
    let transaction = Transaction::new(ORG)
        .enqueue(entry("a"))
        .enqueue(entry("b"))
        .enqueue(entry("later").available(later));
    let entries = store.commit(transaction).await.unwrap().entries;
    let (name, token) = claim(store, 1).await.remove(0);
    assert_eq!(name, "a");
    let mut transaction = Transaction::new(ORG);
    transaction.dequeue = entries;
    store.commit(transaction.clone()).await.unwrap();
    fixture.clock.advance(2 * MINUTE);
    assert!(claim_names(store, 10).await.is_empty());
    assert!(store.queued(ORG, "q", 10).unwrap().is_empty());
    let stale = store.complete(token, Transaction::new(ORG)).await;
    assert!(matches!(stale, Err(CompleteError::Fenced { .. })));
    // Those that are gone are passed over.
    store.commit(transaction).await.unwrap();
}

pub async fn queues_are_apart(fixture: &Fixture) {
    let store = &fixture.datastore;
    let transaction = Transaction::new(ORG)
        .enqueue(QueueEntry::new("q", "1"))
        .enqueue(QueueEntry::new("qq", "2"));
    store.commit(transaction).await.unwrap();
    let claimed = store.claim(ORG, "qq", "w", 10, MINUTE).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].payload, "2");
    assert_eq!(claimed[0].token.entry.queue(), "qq");
    assert_eq!(claim_names(store, 10).await, ["1"]);
}

pub async fn concurrent_claims_never_share_an_entry(fixture: &Fixture) {
    let store = &fixture.datastore;
    enqueue(store, (0..200).map(|n| entry(&n.to_string()))).await;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let store = Arc::clone(store);
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let worker = format!("w{worker}");
                let leases = store.claim(ORG, "q", &worker, 7, MINUTE).await.unwrap();
                if leases.is_empty() {
                    return done;
                }
                for lease in leases {
                    let outcome = Transaction::new(ORG).event(event("done", "t"));
                    store.complete(lease.token, outcome).await.unwrap();
                    done.push(lease.payload);
                }
            }
        });
    }
    let mut done: Vec<Bytes> = workers.join_all().await.concat();
    assert_eq!(done.len(), 200);
    done.sort();
    done.dedup();
    assert_eq!(done.len(), 200);
    assert_eq!(store.last_seq(ORG), 200);
}

pub async fn concurrent_checks_let_one_win(fixture: &Fixture) {
    let store = &fixture.datastore;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..50 {
        let store = Arc::clone(store);
        callers.spawn(async move {
            let transaction = put("once", &caller.to_string())
                .check(Table::JOBS, "once", Expect::Absent)
                .event(event("won", "t"));
            let won = match store.commit(transaction).await {
                Ok(_) => true,
                Err(CommitError::Conflict { found, .. }) => {
                    // Whoever loses can read what won.
                    assert_eq!(get(&store, "once"), found);
                    false
                }
                Err(other) => panic!("{other}"),
            };
            usize::from(won)
        });
    }
    assert_eq!(callers.join_all().await.iter().sum::<usize>(), 1);
    assert_eq!(store.last_seq(ORG), 1);
}

pub async fn large_values_are_kept(fixture: &Fixture) {
    let store = &fixture.datastore;
    let value: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    store
        .commit(Transaction::new(ORG).put(Table::RESULTS, "large", value.clone()))
        .await
        .unwrap();
    let found = store.get(ORG, Table::RESULTS, b"large").unwrap();
    assert_eq!(found.unwrap(), value);
}
