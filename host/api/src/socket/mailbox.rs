//! What waits for one connection.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::event::{SharedEvent, merge_key};

/// Events that wait for one client: twelve seconds of the fastest execution.
pub(super) const EVENTS_MAX: usize = 256;
/// Their size; with 10,000 clients behind, all of them full, this is 2.5 GiB, so it is no larger.
pub(super) const EVENTS_BYTES_MAX: usize = 256 << 10;
/// Events taken out at once.
const TAKEN_MAX: usize = 32;

/// Filled by the hub, which never waits; emptied by the connection. Closes with the connection.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    /// Rung by the hub; heard by the connection.
    pub(super) bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<SharedEvent>>,
    size_bytes: usize,
    /// Of the newest event that was offered.
    last_seq: u64,
    /// Events were lost: the connection must look for them in the store.
    behind: bool,
}

/// What a connection finds in its mailbox.
#[derive(Debug)]
pub(super) enum Taken {
    Nothing,
    Events(Vec<Arc<SharedEvent>>),
    /// It was too slow.
    Behind,
}

impl Mailbox {
    /// Adds an event. Offered again, under another of its topics, it is passed over.
    pub(super) fn push(&self, event: &Arc<SharedEvent>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if event.seq() <= state.last_seq {
            return;
        }
        state.last_seq = event.seq();
        if state.behind {
            return;
        }
        state.events.push_back(Arc::clone(event));
        state.size_bytes += event.size_bytes();
        if state.is_full() {
            state.merge();
        }
        if state.is_full() {
            state.give_up();
        }
        drop(state);
        self.bell.notify_one();
    }

    /// Declares that events were lost.
    pub(super) fn fall_behind(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .give_up();
        self.bell.notify_one();
    }

    /// Starts anew. Called under the hub's lock, so that nothing is pushed meanwhile.
    pub(super) fn reset(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.give_up();
        state.behind = false;
    }

    pub(super) fn take(&self) -> Taken {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.behind {
            return Taken::Behind;
        }
        let count = state.events.len().min(TAKEN_MAX);
        if count == 0 {
            return Taken::Nothing;
        }
        let events: Vec<_> = state.events.drain(..count).collect();
        state.size_bytes -= events.iter().map(|event| event.size_bytes()).sum::<usize>();
        Taken::Events(events)
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.events.len() > EVENTS_MAX || self.size_bytes > EVENTS_BYTES_MAX
    }

    /// Keeps the last of those that replace each other.
    fn merge(&mut self) {
        let mut seen = HashSet::new();
        let mut kept: VecDeque<Arc<SharedEvent>> = VecDeque::with_capacity(self.events.len());
        for event in self.events.iter().rev() {
            if merge_key(&event.record).is_none_or(|key| seen.insert(key)) {
                kept.push_front(Arc::clone(event));
            }
        }
        self.size_bytes = kept.iter().map(|event| event.size_bytes()).sum();
        self.events = kept;
    }

    fn give_up(&mut self) {
        self.events = VecDeque::new();
        self.size_bytes = 0;
        self.behind = true;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "test")]

    use bindery_datastore::EventRecord;
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn event(seq: u64, name: &str, execution: &str) -> Arc<SharedEvent> {
        Arc::new(SharedEvent::new(Arc::new(EventRecord {
            seq,
            time: Timestamp::UNIX_EPOCH,
            name: name.into(),
            topics: vec!["org".into()],
            data: json!({ "execution_id": execution, "at": seq }),
        })))
    }

    fn all(mailbox: &Mailbox) -> Vec<u64> {
        let mut seqs = Vec::new();
        loop {
            match mailbox.take() {
                Taken::Nothing => return seqs,
                Taken::Events(events) => seqs.extend(events.iter().map(|event| event.seq())),
                Taken::Behind => panic!("behind"),
            }
        }
    }

    #[test]
    fn nothing_is_merged_for_a_client_that_keeps_up() {
        let mailbox = Mailbox::default();
        for seq in 1..=EVENTS_MAX as u64 {
            mailbox.push(&event(seq, "execution.progress", "a"));
        }
        assert_eq!(all(&mailbox), (1..=EVENTS_MAX as u64).collect::<Vec<_>>());
    }

    #[test]
    fn progress_is_merged_and_state_changes_never() {
        let mailbox = Mailbox::default();
        let mut states = Vec::new();
        for seq in 1..=1000 {
            if seq % 10 == 0 {
                states.push(seq);
                mailbox.push(&event(seq, "execution.started", "a"));
            } else {
                mailbox.push(&event(
                    seq,
                    "execution.progress",
                    if seq % 2 == 0 { "a" } else { "b" },
                ));
            }
        }
        let seqs = all(&mailbox);
        assert!(seqs.len() <= EVENTS_MAX);
        assert!(states.iter().all(|seq| seqs.contains(seq)));
        assert!(
            seqs.contains(&999) && seqs.contains(&998),
            "the last of each"
        );
        assert!(seqs.is_sorted());
    }

    #[test]
    fn too_many_state_changes_put_it_behind_until_it_starts_anew() {
        let mailbox = Mailbox::default();
        for seq in 1..=EVENTS_MAX as u64 + 1 {
            mailbox.push(&event(seq, "execution.started", "a"));
        }
        assert!(matches!(mailbox.take(), Taken::Behind));
        mailbox.push(&event(1000, "execution.started", "a"));
        assert!(matches!(mailbox.take(), Taken::Behind));
        mailbox.reset();
        mailbox.push(&event(1000, "execution.started", "a"));
        assert_eq!(all(&mailbox), Vec::<u64>::new(), "it was offered before");
        mailbox.push(&event(1001, "execution.started", "a"));
        assert_eq!(all(&mailbox), [1001]);
    }

    #[test]
    fn an_event_of_two_topics_comes_once() {
        let mailbox = Mailbox::default();
        let event = event(1, "execution.started", "a");
        mailbox.push(&event);
        mailbox.push(&event);
        assert_eq!(all(&mailbox), [1]);
    }

    #[test]
    fn large_events_count_by_their_size() {
        let mailbox = Mailbox::default();
        for seq in 1..=3 {
            mailbox.push(&event(
                seq,
                "execution.finished",
                &"x".repeat(EVENTS_BYTES_MAX / 3),
            ));
        }
        assert!(matches!(mailbox.take(), Taken::Behind));
    }
}
