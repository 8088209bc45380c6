//! What was missed, out of the store.
//!
//! First the seqs are found, then the events are read page by page as they are sent: a client that
//! takes them slowly holds some KiB here, not its whole history.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bindery_core::OrgId;
use bindery_datastore::{
    Database, Datastore, EVENTS_LIMIT_MAX, EventQuery, EventRecord, ReadError,
};

use super::event::merge_key;

/// Events read at once to be sent.
pub(super) const PAGE: usize = 64;

/// Which events are wanted.
#[derive(Debug, Clone)]
pub(super) struct Missed {
    pub(super) org: OrgId,
    pub(super) topics: Vec<String>,
    /// Later than this,
    pub(super) since: u64,
    /// up to this.
    pub(super) until: u64,
    /// At most so many; more are not worth replaying.
    pub(super) count_max: usize,
    /// Whether only the last is wanted of those that replace each other.
    pub(super) merged: bool,
}

/// What was missed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum History {
    /// Seqs of events of any of the topics, in order.
    Events(Vec<u64>),
    /// Too long ago, too much, or a seq that this store never gave.
    Lost,
}

impl Missed {
    pub(super) fn find(&self, datastore: &dyn Datastore) -> Result<History, ReadError> {
        let database = Database::Org(self.org);
        if self.since > datastore.last_seq(database) {
            return Ok(History::Lost);
        }
        if self.since >= self.until {
            return Ok(History::Events(Vec::new()));
        }
        // Seqs have no gaps, unless old events are no longer kept.
        let first = datastore.events(database, &EventQuery::all(self.since, 1))?;
        if first
            .first()
            .is_none_or(|event| event.seq != self.since + 1)
        {
            return Ok(History::Lost);
        }
        let mut found = BTreeSet::new();
        let mut last_of: HashMap<(String, String), u64> = HashMap::new();
        for topic in &self.topics {
            let mut after = self.since;
            while after < self.until {
                let query = EventQuery::topic(topic.clone(), after, EVENTS_LIMIT_MAX);
                let events = datastore.events(database, &query)?;
                let Some(last) = events.last() else { break };
                after = last.seq;
                for event in events.iter().filter(|event| event.seq <= self.until) {
                    found.insert(event.seq);
                    if self.merged
                        && let Some((name, execution)) = merge_key(event)
                    {
                        let last = last_of
                            .entry((name.to_owned(), execution.to_owned()))
                            .or_insert(event.seq);
                        // Another topic may give the same event again.
                        let earlier = event.seq.min(*last);
                        if event.seq != *last {
                            found.remove(&earlier);
                        }
                        *last = event.seq.max(*last);
                    }
                }
                if found.len() > self.count_max {
                    return Ok(History::Lost);
                }
            }
        }
        Ok(History::Events(found.into_iter().collect()))
    }
}

/// The events of these seqs; those that are gone meanwhile are not among them.
pub(super) fn read(
    datastore: &dyn Datastore,
    org: OrgId,
    seqs: &[u64],
) -> Result<Vec<Arc<EventRecord>>, ReadError> {
    let mut events = Vec::with_capacity(seqs.len());
    for seq in seqs {
        let query = EventQuery::all(seq.saturating_sub(1), 1);
        let found = datastore.events(Database::Org(org), &query)?;
        events.extend(found.into_iter().filter(|event| event.seq == *seq));
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bindery_datastore::{MemoryDatastore, NewEvent, Transaction};
    use serde_json::json;

    use super::*;

    const ORG: OrgId = OrgId::BUILT_IN;

    /// Events 1..=20; odd ones are progress of `a` on `org` and `x`, even ones starts on `org`.
    async fn store() -> MemoryDatastore {
        let datastore = MemoryDatastore::new();
        let mut transaction = Transaction::new(Database::Org(ORG));
        for seq in 1..=20 {
            let data = json!({ "execution_id": "a" });
            transaction = transaction.event(match seq % 2 {
                1 => NewEvent::new("execution.progress", ["org", "x"], data),
                _ => NewEvent::new("execution.started", ["org"], data),
            });
        }
        datastore.commit(transaction).await.unwrap();
        datastore
    }

    fn missed(topics: &[&str], since: u64, until: u64) -> Missed {
        let topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        Missed {
            org: ORG,
            topics,
            since,
            until,
            count_max: 100,
            merged: false,
        }
    }

    #[tokio::test]
    async fn each_event_once_in_order_within_the_bounds() {
        let store = store().await;
        let find = |missed: Missed| missed.find(&store).unwrap();
        assert_eq!(
            find(missed(&["org"], 3, 7)),
            History::Events(vec![4, 5, 6, 7])
        );
        assert_eq!(
            find(missed(&["x", "org"], 3, 7)),
            History::Events(vec![4, 5, 6, 7])
        );
        assert_eq!(find(missed(&["x"], 3, 7)), History::Events(vec![5, 7]));
        assert_eq!(find(missed(&["y"], 3, 7)), History::Events(vec![]));
        assert_eq!(find(missed(&["org"], 20, 20)), History::Events(vec![]));
        assert_eq!(find(missed(&["org"], 20, 15)), History::Events(vec![]));
        assert_eq!(find(missed(&["org"], 21, 20)), History::Lost);
        assert_eq!(
            find(Missed {
                count_max: 3,
                ..missed(&["org"], 3, 7)
            }),
            History::Lost
        );
        let seqs: Vec<u64> = read(&store, ORG, &[4, 5, 99])
            .unwrap()
            .iter()
            .map(|event| event.seq)
            .collect();
        assert_eq!(seqs, [4, 5]);
    }

    #[tokio::test]
    async fn merging_keeps_the_last_progress_and_all_states() {
        let store = store().await;
        for topics in [&["org"][..], &["org", "x"], &["x", "org"]] {
            let missed = Missed {
                merged: true,
                ..missed(topics, 0, 8)
            };
            assert_eq!(
                missed.find(&store).unwrap(),
                History::Events(vec![2, 4, 6, 7, 8])
            );
        }
    }
}
