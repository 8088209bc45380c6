//! One WebSocket: one tokio task that reads frames, writes events, and never holds up the hub.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bindery_api_types::{ClientFrame, ServerFrame};
use bindery_identity::Principal;
use futures::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use super::{
    event::SharedEvent,
    history::{self, History, Missed},
    hub::{Coverage, Subscriber},
    mailbox::{Mailbox, Taken},
    snapshot::snapshot,
    topic::Topic,
};
use crate::{
    Problem,
    app::{App, blocking},
};

/// Below the 30 s and 60 s after which proxies drop what is silent.
const PING_EVERY: Duration = Duration::from_secs(25);
/// A client that answered two pings with nothing is gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// A client that takes nothing for so long is gone, or might as well be.
const SEND_WAIT_MAX: Duration = Duration::from_secs(20);
/// A dashboard with a page of jobs watches 50; five of them fit.
const TOPICS_MAX: usize = 256;
/// Events replayed after a subscription: what the fastest execution tells in eight minutes. Who
/// missed more is told the state instead, which is shorter.
const REPLAYED_MAX: usize = 10_000;
/// Events that a slow client is made to catch up with, once they overran its mailbox.
const CAUGHT_UP_MAX: usize = 1_000;
/// Longest `id` of a client's frame: it is sent back.
const FRAME_ID_BYTES_MAX: usize = 128;

/// The connection is over; nobody needs to know why.
struct Gone;

struct Connection {
    app: App,
    principal: Principal,
    subscriber: Subscriber,
    sink: SplitSink<WebSocket, Message>,
    epoch: String,
    /// Seq of the last event out of the mailbox.
    delivered: u64,
}

pub(super) async fn run(socket: WebSocket, app: App, principal: Principal, subscriber: Subscriber) {
    let (sink, stream) = socket.split();
    let epoch = hex::encode(app.services().datastore.epoch());
    let connection = Connection {
        app,
        principal,
        subscriber,
        sink,
        epoch,
        delivered: 0,
    };
    // However it ends: the subscriber leaves the hub when the connection is dropped.
    let _over = connection.serve(stream).await;
}

impl Connection {
    async fn serve(mut self, mut stream: SplitStream<WebSocket>) -> Result<(), Gone> {
        let stop = self.app.services().stop.clone();
        let mailbox: Arc<Mailbox> = Arc::clone(&self.subscriber.mailbox);
        let mut ping = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                message = stream.next() => {
                    heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(text))) => self.obey(&text).await?,
                        Some(Ok(Message::Binary(_))) => {
                            self.refuse(None, "text_expected", "frames are JSON text").await?;
                        }
                        // tungstenite answers pings, and closes.
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    }
                }
                () = mailbox.bell.notified() => self.deliver().await?,
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return self.close(close_code::AWAY, "silent for too long").await;
                    }
                    if !self.is_still_allowed().await {
                        return self.close(close_code::POLICY, "the token is no longer valid").await;
                    }
                    self.send(Message::Ping(Vec::new().into())).await?;
                }
                () = stop.cancelled() => {
                    return self.close(close_code::AWAY, "the host is going down").await;
                }
            }
        }
    }

    async fn obey(&mut self, text: &str) -> Result<(), Gone> {
        let frame: ClientFrame = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => {
                let message = format!("not a frame of a client: {error}");
                return self.refuse(None, "malformed_frame", message).await;
            }
        };
        let id = match &frame {
            ClientFrame::Subscribe { id, .. } | ClientFrame::Unsubscribe { id, .. } => Some(id),
            ClientFrame::Ping { id } => id.as_ref(),
        };
        if id.is_some_and(|id| id.len() > FRAME_ID_BYTES_MAX) {
            return self
                .refuse(None, "malformed_frame", "the id is too long")
                .await;
        }
        match frame {
            ClientFrame::Subscribe {
                id,
                topics,
                since,
                epoch,
            } => self.subscribe(id, topics, since, epoch).await,
            ClientFrame::Unsubscribe { id, topics } => {
                // What was left out of one topic's history because another brings it must be out
                // before that other one is left.
                self.deliver().await?;
                self.subscriber.unwatch(&topics);
                self.say(&ServerFrame::Unsubscribed { id }).await
            }
            ClientFrame::Ping { id } => self.say(&ServerFrame::Pong { id }).await,
        }
    }

    async fn subscribe(
        &mut self,
        id: String,
        mut topics: Vec<String>,
        since: Option<u64>,
        epoch: Option<String>,
    ) -> Result<(), Gone> {
        topics.sort_unstable();
        topics.dedup();
        if let Some(unknown) = topics.iter().find(|topic| topic.parse::<Topic>().is_err()) {
            let unknown: String = unknown.chars().take(80).collect();
            let message = format!(
                "`{unknown}` is no topic (`job:ID`, `execution:ID`, `org`, `tasks`, `services`)"
            );
            return self.refuse(Some(id), "unknown_topic", message).await;
        }
        let new = topics
            .iter()
            .filter(|topic| !self.subscriber.coverage.contains_key(*topic));
        if self.subscriber.coverage.len() + new.count() > TOPICS_MAX {
            let message = format!("at most {TOPICS_MAX} topics for each connection");
            return self.refuse(Some(id), "too_many_topics", message).await;
        }
        let position = self.subscriber.watch(&topics);
        let Some(since) = since else {
            let coverage = Coverage {
                told_after: position,
                live_after: position,
            };
            for topic in topics {
                self.subscriber.coverage.entry(topic).or_insert(coverage);
            }
            return self.say_subscribed(id, position).await;
        };
        let same_history = epoch.is_none_or(|epoch| epoch == self.epoch);
        let missed = match same_history {
            true => {
                let (org, topics) = (self.subscriber.org, topics.clone());
                let count_max = REPLAYED_MAX;
                let until = position;
                self.find(Missed {
                    org,
                    topics,
                    since,
                    until,
                    count_max,
                    merged: false,
                })
                .await
            }
            false => History::Lost,
        };
        match missed {
            History::Events(seqs) => {
                self.say_subscribed(id, since).await?;
                self.replay(topics, since, position, &seqs).await
            }
            History::Lost => {
                self.cover(&topics, position);
                self.say_subscribed(id, position).await?;
                self.resync(&topics, position).await
            }
        }
    }

    /// All that came before is settled: told, or part of the state that is told.
    fn cover<'a>(&mut self, topics: impl IntoIterator<Item = &'a String>, position: u64) {
        let coverage = Coverage {
            told_after: position,
            live_after: position,
        };
        for topic in topics {
            self.subscriber.coverage.insert(topic.clone(), coverage);
        }
    }

    async fn find(&self, missed: Missed) -> History {
        // The semaphore is never closed.
        let Ok(_permit) = self.subscriber.hub.replays.acquire().await else {
            return History::Lost;
        };
        let datastore = Arc::clone(&self.app.services().datastore);
        let found = blocking(move || missed.find(&*datastore)).await;
        found.unwrap_or_else(|problem| {
            tracing::error!(
                code = problem.code(),
                "history cannot be read, sending the state"
            );
            History::Lost
        })
    }

    /// Events of these seqs, as they are sent.
    async fn read(&self, seqs: &[u64]) -> Result<Vec<SharedEvent>, Gone> {
        let datastore = Arc::clone(&self.app.services().datastore);
        let (org, seqs) = (self.subscriber.org, seqs.to_vec());
        let events = blocking(move || history::read(&*datastore, org, &seqs)).await;
        match events {
            Ok(events) => Ok(events.into_iter().map(SharedEvent::new).collect()),
            // A client that comes back asks again; a gap would stay.
            Err(_) => Err(Gone),
        }
    }

    /// Sends history up to `position`; what comes after it is in the mailbox.
    async fn replay(
        &mut self,
        topics: Vec<String>,
        since: u64,
        position: u64,
        seqs: &[u64],
    ) -> Result<(), Gone> {
        for page in seqs.chunks(history::PAGE) {
            for event in self.read(page).await? {
                let coverage = &self.subscriber.coverage;
                let seq = event.seq();
                // What an earlier subscription has told, or will tell, is not told again.
                let told = event.record.topics.iter().any(|topic| {
                    coverage
                        .get(topic)
                        .is_some_and(|coverage| coverage.told_after < seq)
                });
                let wanted = |topic: &str| topics.iter().any(|wanted| wanted == topic);
                if let Some(frame) = event.frame(wanted).filter(|_| !told) {
                    self.feed(frame).await?;
                }
            }
        }
        let coverage = Coverage {
            told_after: since,
            live_after: position.max(since),
        };
        for topic in topics {
            let known = self.subscriber.coverage.entry(topic).or_insert(coverage);
            known.told_after = known.told_after.min(since);
        }
        self.flush().await
    }

    /// Writes what is in the mailbox.
    async fn deliver(&mut self) -> Result<(), Gone> {
        loop {
            match self.subscriber.mailbox.take() {
                Taken::Nothing => return self.flush().await,
                Taken::Events(events) => {
                    for event in events {
                        self.tell(&event).await?;
                        self.delivered = event.seq();
                    }
                }
                Taken::Behind => self.catch_up().await?,
            }
        }
    }

    /// Sends a live event, once: history that was replayed for one topic leaves out what another
    /// one brings live.
    async fn tell(&mut self, event: &SharedEvent) -> Result<(), Gone> {
        let coverage = &self.subscriber.coverage;
        let frame = event.frame(|topic| {
            coverage
                .get(topic)
                .is_some_and(|coverage| coverage.live_after < event.seq())
        });
        match frame {
            Some(frame) => self.feed(frame).await,
            None => Ok(()),
        }
    }

    /// The mailbox was full, and is empty now: what was in it is taken from the store.
    async fn catch_up(&mut self) -> Result<(), Gone> {
        // What waits in the socket goes first: with a client that takes nothing, here is the end.
        self.flush().await?;
        let position = self.subscriber.rewind();
        let topics: Vec<String> = self.subscriber.coverage.keys().cloned().collect();
        let live = self
            .subscriber
            .coverage
            .values()
            .map(|coverage| coverage.live_after)
            .min();
        let missed = Missed {
            org: self.subscriber.org,
            topics: topics.clone(),
            since: self.delivered.max(live.unwrap_or(position)),
            until: position,
            count_max: CAUGHT_UP_MAX,
            merged: true,
        };
        tracing::debug!(since = missed.since, position, "a slow client is behind");
        match self.find(missed).await {
            History::Events(seqs) => {
                for page in seqs.chunks(history::PAGE) {
                    for event in self.read(page).await? {
                        self.tell(&event).await?;
                    }
                }
            }
            History::Lost => {
                let mut topics = topics;
                topics.sort_unstable();
                let late = |topic: &&String| {
                    let coverage = self.subscriber.coverage.get(*topic);
                    coverage.is_some_and(|coverage| coverage.live_after <= position)
                };
                let late: Vec<String> = topics.iter().filter(late).cloned().collect();
                self.cover(&late, position);
                self.resync(&late, position).await?;
            }
        }
        self.delivered = self.delivered.max(position);
        Ok(())
    }

    async fn resync(&mut self, topics: &[String], seq: u64) -> Result<(), Gone> {
        for name in topics {
            let Ok(topic) = name.parse::<Topic>() else {
                continue;
            };
            let (app, org) = (self.app.clone(), self.subscriber.org);
            let found = blocking(move || snapshot(&app, org, topic)).await;
            match found {
                Ok(snapshot) => {
                    let topic = name.clone();
                    self.say(&ServerFrame::Resync {
                        topic,
                        seq,
                        snapshot,
                    })
                    .await?;
                }
                Err(problem) => {
                    let message = format!("the state of `{name}` cannot be read");
                    self.refuse(None, problem.code(), message).await?;
                }
            }
        }
        Ok(())
    }

    async fn is_still_allowed(&self) -> bool {
        let (identity, principal) = (self.app.services().identity.clone(), self.principal);
        let current: Result<bool, Problem> =
            blocking(move || identity.is_current(&principal)).await;
        // A store that cannot be read is no reason to cut everybody off.
        current.unwrap_or(true)
    }

    async fn say_subscribed(&mut self, id: String, seq: u64) -> Result<(), Gone> {
        let epoch = self.epoch.clone();
        self.say(&ServerFrame::Subscribed { id, seq, epoch }).await
    }

    async fn refuse(
        &mut self,
        id: Option<String>,
        code: &str,
        message: impl Into<String>,
    ) -> Result<(), Gone> {
        let frame = ServerFrame::Error {
            id,
            code: code.to_owned(),
            message: message.into(),
        };
        self.say(&frame).await
    }

    async fn say(&mut self, frame: &ServerFrame) -> Result<(), Gone> {
        // Frames are strings, numbers and JSON values: they always encode.
        let text = serde_json::to_string(frame).map_err(|_| Gone)?;
        self.send(Message::Text(text.into())).await
    }

    /// Writes into the socket's buffer.
    async fn feed(&mut self, frame: Utf8Bytes) -> Result<(), Gone> {
        in_time(self.sink.feed(Message::Text(frame))).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        in_time(self.sink.flush()).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        in_time(self.sink.send(message)).await
    }

    async fn close(&mut self, code: u16, reason: &'static str) -> Result<(), Gone> {
        let reason = Utf8Bytes::from_static(reason);
        self.send(Message::Close(Some(CloseFrame { code, reason })))
            .await
    }
}

async fn in_time<T>(write: impl Future<Output = Result<T, axum::Error>>) -> Result<T, Gone> {
    match timeout(SEND_WAIT_MAX, write).await {
        Ok(Ok(done)) => Ok(done),
        _ => Err(Gone),
    }
}
