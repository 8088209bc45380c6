//! Reads new events once and hands them to those who watch.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bindery_core::OrgId;
use bindery_datastore::{Database, Datastore, EventQuery, EventRecord, Wakeup};
use tokio::sync::{Semaphore, broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use super::{event::SharedEvent, mailbox::Mailbox};

/// Open WebSockets: the goal is 10,000, at 16 KiB each when idle.
const CONNECTIONS_MAX: usize = 16_384;
/// Events read at once.
const BATCH: usize = 256;
/// A hint that was missed is made good after this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Histories read at once: each may hold `history::REPLAYED_MAX` events in memory.
const REPLAYS_MAX: usize = 16;

/// See the module above.
#[derive(Debug)]
pub(crate) struct Hub {
    datastore: Arc<dyn Datastore>,
    state: Mutex<State>,
    connections: AtomicUsize,
    /// Permits to read histories.
    pub(super) replays: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    connections_made: u64,
    orgs: HashMap<OrgId, Watched>,
}

/// An organisation that somebody watches.
#[derive(Debug)]
struct Watched {
    /// Seq up to which events were handed out.
    position: u64,
    topics: HashMap<String, HashMap<u64, Arc<Mailbox>>>,
}

impl Hub {
    /// Starts to listen. Ends when the hub is dropped, or `stop` is cancelled.
    pub(crate) fn start(datastore: Arc<dyn Datastore>, stop: CancellationToken) -> Arc<Self> {
        let wakeups = datastore.subscribe();
        let hub = Arc::new(Self {
            datastore,
            state: Mutex::default(),
            connections: AtomicUsize::new(0),
            replays: Semaphore::new(REPLAYS_MAX),
        });
        tokio::spawn(listen(Arc::downgrade(&hub), wakeups, stop));
        hub
    }

    /// Open WebSockets.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Lets one more connection in; none when there are too many.
    pub(super) fn connect(hub: &Arc<Self>, org: OrgId) -> Option<Subscriber> {
        let before = hub.connections.fetch_add(1, Ordering::Relaxed);
        if before >= CONNECTIONS_MAX {
            hub.connections.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let mut state = hub.lock();
        state.connections_made += 1;
        let id = state.connections_made;
        drop(state);
        Some(Subscriber {
            hub: Arc::clone(hub),
            org,
            id,
            mailbox: Arc::default(),
            registered: HashSet::new(),
            coverage: HashMap::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Organisations that are watched and have events that were not handed out.
    fn due(&self) -> Vec<OrgId> {
        let state = self.lock();
        state
            .orgs
            .iter()
            .filter(|(org, watched)| {
                self.datastore.last_seq(Database::Org(**org)) > watched.position
            })
            .map(|(org, _)| *org)
            .collect()
    }

    /// Reads and hands out what is new of an organisation.
    async fn pump(self: &Arc<Self>, org: OrgId) {
        loop {
            let Some(position) = self.lock().orgs.get(&org).map(|watched| watched.position) else {
                return;
            };
            let datastore = Arc::clone(&self.datastore);
            let query = EventQuery::all(position, BATCH);
            let read =
                tokio::task::spawn_blocking(move || datastore.events(Database::Org(org), &query));
            match read.await {
                Ok(Ok(events)) if events.is_empty() => return,
                Ok(Ok(events)) => self.hand_out(org, &events),
                Ok(Err(error)) => {
                    tracing::error!(%error, %org, "new events cannot be read, trying again");
                    return;
                }
                // The runtime is going down.
                Err(_) => return,
            }
        }
    }

    fn hand_out(&self, org: OrgId, events: &[Arc<EventRecord>]) {
        let mut state = self.lock();
        let Some(watched) = state.orgs.get_mut(&org) else {
            return;
        };
        for record in events {
            // The organisation may have been left and watched anew meanwhile.
            if record.seq <= watched.position {
                continue;
            }
            if record.seq > watched.position + 1 {
                tracing::error!(%org, seq = record.seq, "events are gone before they were told");
                watched
                    .mailboxes()
                    .for_each(|mailbox| mailbox.fall_behind());
            }
            watched.position = record.seq;
            let mut shared: Option<Arc<SharedEvent>> = None;
            for topic in &record.topics {
                let Some(mailboxes) = watched.topics.get(topic) else {
                    continue;
                };
                let event =
                    shared.get_or_insert_with(|| Arc::new(SharedEvent::new(Arc::clone(record))));
                mailboxes.values().for_each(|mailbox| mailbox.push(event));
            }
        }
    }
}

impl Watched {
    fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.topics.values().flat_map(HashMap::values)
    }
}

async fn listen(
    hub: Weak<Hub>,
    mut wakeups: tokio::sync::broadcast::Receiver<Wakeup>,
    stop: CancellationToken,
) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let wakeup = tokio::select! {
            wakeup = wakeups.recv() => wakeup,
            _ = look.tick() => Err(RecvError::Lagged(0)),
            () = stop.cancelled() => return,
        };
        let Some(hub) = hub.upgrade() else { return };
        match wakeup {
            Ok(Wakeup {
                database: Database::Org(org),
                ..
            }) => hub.pump(org).await,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                for org in hub.due() {
                    hub.pump(org).await;
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// One connection, as the hub knows it. Leaves the hub when it is dropped.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) hub: Arc<Hub>,
    pub(super) org: OrgId,
    id: u64,
    pub(super) mailbox: Arc<Mailbox>,
    /// Topics under which the mailbox stands in the hub.
    registered: HashSet<String>,
    /// The topics it watches.
    pub(super) coverage: HashMap<String, Coverage>,
}

/// What a connection is told of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coverage {
    /// All events after this seq were told, or will be.
    pub(super) told_after: u64,
    /// All events after this seq come by the mailbox; those between were replayed.
    pub(super) live_after: u64,
}

impl Subscriber {
    /// Watches topics from now on, and says from which seq. Their coverage is the caller's.
    pub(super) fn watch(&mut self, topics: &[String]) -> u64 {
        let mut state = self.hub.lock();
        let datastore = &self.hub.datastore;
        let watched = state.orgs.entry(self.org).or_insert_with(|| Watched {
            position: datastore.last_seq(Database::Org(self.org)),
            topics: HashMap::new(),
        });
        for topic in topics {
            watched
                .topics
                .entry(topic.clone())
                .or_default()
                .insert(self.id, Arc::clone(&self.mailbox));
        }
        let position = watched.position;
        drop(state);
        self.registered.extend(topics.iter().cloned());
        position
    }

    pub(super) fn unwatch(&mut self, topics: &[String]) {
        self.leave(topics);
        for topic in topics {
            self.coverage.remove(topic);
            self.registered.remove(topic);
        }
    }

    /// Throws away what waits, and says from which seq on events come again.
    pub(super) fn rewind(&self) -> u64 {
        let state = self.hub.lock();
        self.mailbox.reset();
        match state.orgs.get(&self.org) {
            Some(watched) => watched.position,
            None => self.hub.datastore.last_seq(Database::Org(self.org)),
        }
    }

    fn leave(&self, topics: &[String]) {
        let mut state = self.hub.lock();
        let Some(watched) = state.orgs.get_mut(&self.org) else {
            return;
        };
        for topic in topics {
            if let Some(mailboxes) = watched.topics.get_mut(topic) {
                mailboxes.remove(&self.id);
                if mailboxes.is_empty() {
                    watched.topics.remove(topic);
                }
            }
        }
        // Events that nobody watches are not read.
        if watched.topics.is_empty() {
            state.orgs.remove(&self.org);
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let topics: Vec<String> = self.registered.drain().collect();
        self.leave(&topics);
        self.hub.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
