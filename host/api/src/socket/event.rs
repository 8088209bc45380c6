//! Events on their way to connections: encoded once, shared by all.

use std::sync::{Arc, OnceLock};

use axum::extract::ws::Utf8Bytes;
use bindery_datastore::EventRecord;
use serde_json::{Value, json};

/// Names of events of which only the last matters, for each execution.
const MERGED: [&str; 2] = ["execution.progress", "execution.log"];

/// An event and its frames.
#[derive(Debug)]
pub(super) struct SharedEvent {
    pub(super) record: Arc<EventRecord>,
    /// The frame behind its topic.
    tail: String,
    /// One for each of the event's topics, made when it is first sent.
    frames: Box<[OnceLock<Utf8Bytes>]>,
}

impl SharedEvent {
    pub(super) fn new(record: Arc<EventRecord>) -> Self {
        let tail = format!(
            ",\"seq\":{},\"time\":\"{}\",\"event\":{},\"data\":{}}}",
            record.seq,
            record.time,
            json!(record.name),
            record.data
        );
        let frames = record.topics.iter().map(|_| OnceLock::new()).collect();
        Self {
            record,
            tail,
            frames,
        }
    }

    pub(super) fn seq(&self) -> u64 {
        self.record.seq
    }

    /// About how much a mailbox holds with it.
    pub(super) fn size_bytes(&self) -> usize {
        self.tail.len()
    }

    /// The frame under the first of its topics that is wanted; none when none is.
    pub(super) fn frame(&self, wanted: impl Fn(&str) -> bool) -> Option<Utf8Bytes> {
        let (topic, frame) = self
            .record
            .topics
            .iter()
            .zip(&self.frames)
            .find(|(topic, _)| wanted(topic))?;
        let make = || {
            format!(
                "{{\"type\":\"event\",\"topic\":{}{}",
                json!(topic),
                self.tail
            )
            .into()
        };
        Some(frame.get_or_init(make).clone())
    }
}

/// Events with the same key replace each other when a client is slow.
pub(super) fn merge_key(event: &EventRecord) -> Option<(&str, &str)> {
    let name = MERGED.into_iter().find(|name| *name == event.name)?;
    let execution = event.data.get("execution_id").and_then(Value::as_str)?;
    Some((name, execution))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bindery_api_types::ServerFrame;
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_frame_is_what_the_contract_says() {
        let event = SharedEvent::new(Arc::new(EventRecord {
            seq: 7,
            time: Timestamp::UNIX_EPOCH,
            name: "execution.progress".into(),
            topics: vec!["a\"b".into(), "org".into()],
            data: json!({ "execution_id": "x", "progress": 0.5 }),
        }));
        let frame = event.frame(|topic| topic != "org").unwrap();
        let parsed: ServerFrame = serde_json::from_str(&frame).unwrap();
        assert_eq!(
            parsed,
            ServerFrame::Event {
                topic: "a\"b".into(),
                seq: 7,
                time: "1970-01-01T00:00:00Z".into(),
                event: "execution.progress".into(),
                data: json!({ "execution_id": "x", "progress": 0.5 }),
            }
        );
        assert!(
            event
                .frame(|topic| topic == "org")
                .unwrap()
                .contains("\"org\"")
        );
        assert_eq!(event.frame(|_| false), None);
        assert_eq!(merge_key(&event.record), Some(("execution.progress", "x")));
    }
}
