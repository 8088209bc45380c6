//! The writer: the one thread that changes the store.
//!
//! It owns the journal. Each round is a *group*: plan all, write and sync once, publish, answer.
//! Answers wait for the sync even when they are refusals, because a refusal may rest on a change
//! of the same group. When the sync fails, nothing of the group has happened.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::{
    Shared, catalogue_row,
    database::{DatabaseState, IndexState, Overlay},
    flush::{self, LAYER_BRAKE_BYTES, LAYER_BYTES_MAX, LAYER_FLUSH_BYTES, index_path},
    index::Index,
    layer::{Layer, Posting},
};
use crate::{
    datastore::Wakeup,
    error::{CommitError, CompleteError},
    journal::{AppendError, Journal, encode_record},
    model::{Committed, Database, EventRecord, Lease, LeaseToken, TRANSACTION_BYTES_MAX},
    plan::{Change, Prepared},
    queue::{ClaimSpec, EntryKey, Heads, LeaseRow, held, plan_claim, plan_release},
};

/// Requests per group: beyond this, one sync is shared well enough, and the first should not wait
/// for the last.
const GROUP_REQUESTS_MAX: usize = 256;
/// Bytes after which a group is closed; the request that goes beyond it is its last.
const GROUP_BYTES: usize = TRANSACTION_BYTES_MAX;
/// How long commits wait for an index that cannot keep up before they are refused.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest delay of one group by the brake. Groups of 256 then come at 2,560 requests per second,
/// fewer than sled takes.
const BRAKE_MAX: Duration = Duration::from_millis(100);

type Reply<T> = oneshot::Sender<T>;

/// What the writer is asked.
pub(super) enum Request {
    Commit {
        prepared: Prepared,
        /// When given, only while this lease holds.
        token: Option<LeaseToken>,
        reply: Reply<Result<Committed, CompleteError>>,
    },
    Claim {
        database: Database,
        spec: ClaimSpec,
        reply: Reply<Result<Vec<Lease>, CommitError>>,
    },
    Release {
        worker: String,
        reply: Reply<Result<usize, CommitError>>,
    },
}

/// An answer that waits for its group.
enum Answer {
    Commit(
        Reply<Result<Committed, CompleteError>>,
        Result<Committed, CompleteError>,
    ),
    Claim(
        Reply<Result<Vec<Lease>, CommitError>>,
        Result<Vec<Lease>, CommitError>,
    ),
}

impl Answer {
    // A caller that no longer waits has lost interest in the answer, not in the commit.
    fn send(self) {
        match self {
            Self::Commit(reply, result) => drop(reply.send(result)),
            Self::Claim(reply, result) => drop(reply.send(result)),
        }
    }

    fn fail(self, error: CommitError) {
        match self {
            Self::Commit(reply, _) => drop(reply.send(Err(CompleteError::Commit(error)))),
            Self::Claim(reply, _) => drop(reply.send(Err(error))),
        }
    }
}

/// Until all senders are gone; then brings everything to rest.
pub(super) fn run(
    shared: &Arc<Shared>,
    journal: Journal,
    mut requests: mpsc::Receiver<Request>,
    lock: File,
) {
    let for_flusher = Arc::clone(shared);
    let flusher = std::thread::Builder::new()
        .name("datastore-flusher".to_owned())
        .spawn(move || flush::run(&for_flusher))
        .inspect_err(|error| tracing::error!(%error, "could not start the flusher"));
    let mut writer = Writer {
        shared,
        journal,
        heads: Heads::default(),
    };
    while let Some(first) = requests.blocking_recv() {
        writer.round(first, &mut requests);
    }

    shared.flush_signal.close();
    if let Ok(flusher) = flusher
        && flusher.join().is_err()
    {
        tracing::error!("the flusher of the store panicked");
    }
    let now_us = shared.options.clock.now().as_microsecond();
    match writer.journal.seal(now_us) {
        Ok(()) => {
            let position = writer.journal.next_position() - 1;
            shared.published_position.store(position, Ordering::Release);
        }
        Err(error) => tracing::error!(?error, "could not seal the journal"),
    }
    if !flush::flush_all(shared, 0) {
        tracing::warn!("closed with the index behind; the next opening brings it up");
    }
    // Indexes are closed before the lock is given up, so that the next opening finds them free.
    let closed = std::mem::take(&mut *shared.databases.write());
    let grown: Vec<Database> = closed
        .iter()
        .filter(|(_, state)| match &*state.index.read() {
            IndexState::Ready(index) => index.wants_summary(),
            _ => false,
        })
        .map(|(name, _)| *name)
        .collect();
    drop(closed);
    for name in grown {
        flush::summarise(shared, name);
    }
    drop(lock);
}

struct Writer<'a> {
    shared: &'a Arc<Shared>,
    journal: Journal,
    heads: Heads,
}

/// Changes of one group to one database.
struct Pending {
    state: Arc<DatabaseState>,
    /// Whether the database is made by this group.
    is_new: bool,
    layer: Layer,
    last_seq: u64,
}

/// What happens when one record is durable.
struct Effect {
    database: Database,
    events: Vec<(Arc<EventRecord>, usize)>,
    leases_ended: Vec<EntryKey>,
    leases_begun: Vec<LeaseRow>,
}

#[derive(Default)]
struct Group {
    bodies: Vec<Vec<u8>>,
    bytes: usize,
    effects: Vec<Effect>,
    answers: Vec<Answer>,
    pending: BTreeMap<Database, Pending>,
}

impl Writer<'_> {
    fn round(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut next = Some(first);
        let mut group = Group::default();
        let mut count = 0;
        while let Some(request) = next {
            count += 1;
            match request {
                Request::Commit {
                    prepared,
                    token,
                    reply,
                } => {
                    let result = self.plan_commit(&mut group, prepared, token.as_ref());
                    group.answers.push(Answer::Commit(reply, result));
                }
                Request::Claim {
                    database,
                    spec,
                    reply,
                } => {
                    let result = self.plan_claim(&mut group, database, &spec);
                    group.answers.push(Answer::Claim(reply, result));
                }
                Request::Release { worker, reply } => {
                    self.finish(std::mem::take(&mut group));
                    drop(reply.send(self.release(&worker)));
                }
            }
            let full = count >= GROUP_REQUESTS_MAX || group.bytes >= GROUP_BYTES;
            next = if full { None } else { requests.try_recv().ok() };
        }
        self.finish(group);
    }

    fn plan_commit(
        &mut self,
        group: &mut Group,
        prepared: Prepared,
        token: Option<&LeaseToken>,
    ) -> Result<Committed, CompleteError> {
        let database = prepared.database;
        let position = self.position(group);
        let pending = self
            .pending(group, database)
            .map_err(CompleteError::Commit)?;
        let view = Overlay {
            pending: &pending.layer,
            below: &pending.state,
        };
        if let Some(token) = token {
            let holds = held(&view, token)
                .map_err(|error| CompleteError::Commit(CommitError::Read(error)))?;
            if !holds {
                return Err(CompleteError::Fenced {
                    database,
                    fence: token.fence,
                });
            }
        }
        let mut change = prepared
            .plan(&view, position)
            .map_err(CompleteError::Commit)?;
        let entries = std::mem::take(&mut change.entries);
        let (first_seq, last_seq, time) = self.record(group, database, change, Vec::new());
        Ok(Committed {
            first_seq,
            last_seq,
            entries,
            time,
        })
    }

    fn plan_claim(
        &mut self,
        group: &mut Group,
        database: Database,
        spec: &ClaimSpec,
    ) -> Result<Vec<Lease>, CommitError> {
        // A claim of nothing must not make a database.
        if self.shared.database(database).is_none() && !group.pending.contains_key(&database) {
            return Ok(Vec::new());
        }
        let position = self.position(group);
        let pending = self.pending(group, database)?;
        let view = Overlay {
            pending: &pending.layer,
            below: &pending.state,
        };
        let clock = &self.shared.options.clock;
        let times = (clock.now(), clock.elapsed());
        let (change, claimed) = {
            let leases = self.shared.leases.lock();
            let state = (&*leases, &mut self.heads);
            plan_claim(&view, database, spec, state, position, times).map_err(CommitError::Read)?
        };
        let (leases, rows): (Vec<Lease>, Vec<LeaseRow>) = claimed.into_iter().unzip();
        if !leases.is_empty() {
            self.record(group, database, change, rows);
        }
        Ok(leases)
    }

    /// Gives back leases, as many as one record takes at a time, until there is none.
    fn release(&mut self, worker: &str) -> Result<usize, CommitError> {
        let names: Vec<Database> = self.shared.databases.read().keys().copied().collect();
        let mut released = 0;
        for database in names {
            // Each round releases at least one lease of finitely many.
            loop {
                let mut group = Group::default();
                let pending = self.pending(&mut group, database)?;
                let change =
                    plan_release(&*pending.state, database, worker).map_err(CommitError::Read)?;
                let count = change.leases_ended.len();
                if count == 0 {
                    break;
                }
                self.record(&mut group, database, change, Vec::new());
                self.append(&mut group).map_err(CommitError::from)?;
                self.publish(&mut group);
                released += count;
            }
        }
        Ok(released)
    }

    /// Position of the next record of a group.
    fn position(&self, group: &Group) -> u64 {
        self.journal.next_position() + group.bodies.len() as u64
    }

    fn pending<'g>(
        &self,
        group: &'g mut Group,
        database: Database,
    ) -> Result<&'g Pending, CommitError> {
        let vacant = match group.pending.entry(database) {
            Entry::Occupied(occupied) => return Ok(occupied.into_mut()),
            Entry::Vacant(vacant) => vacant,
        };
        let known = self.shared.database(database);
        let is_new = known.is_none();
        let state = match known {
            Some(state) => state,
            None => self.new_database(database),
        };
        self.wait_for_index(&state)?;
        Ok(vacant.insert(Pending {
            last_seq: state.last_seq(),
            state,
            is_new,
            layer: Layer::default(),
        }))
    }

    /// A database that nothing was committed to yet. Its index is made at once: what is in the
    /// catalogue then has one, and its absence later on means damage.
    fn new_database(&self, name: Database) -> Arc<DatabaseState> {
        let position = self.shared.published_position.load(Ordering::Acquire);
        let path = index_path(&self.shared.index_dir, name);
        let cache_bytes = self.shared.options.index_cache_bytes;
        let epoch = self.shared.reader.epoch();
        let index = match Index::create(&path, cache_bytes, epoch, position) {
            Ok((index, _)) => IndexState::Ready(Arc::new(index)),
            Err(error) => {
                tracing::warn!(database = %name, reason = %error, "could not make an index yet");
                IndexState::Absent
            }
        };
        let signal = Arc::clone(&self.shared.flush_signal);
        Arc::new(DatabaseState::new(name, index, position, 0, signal))
    }

    /// Waits while the layers of a database are as large as they may get.
    fn wait_for_index(&self, state: &DatabaseState) -> Result<(), CommitError> {
        let over = state
            .layers
            .read()
            .bytes()
            .saturating_sub(LAYER_BRAKE_BYTES);
        if over > 0 {
            // Grows with the square: hardly felt at first, and stronger than any load at the end.
            let share = over as f64 / (LAYER_BYTES_MAX - LAYER_BRAKE_BYTES) as f64;
            let delay = BRAKE_MAX.mul_f64((share * share).min(1.0));
            self.shared.flush_signal.wait_for_round(delay);
        }
        let deadline = Instant::now() + INDEX_WAIT_MAX;
        loop {
            let behind_bytes = state.layers.read().bytes();
            if behind_bytes < LAYER_BYTES_MAX {
                return Ok(());
            }
            if self.shared.short_of_space.load(Ordering::Relaxed) {
                return Err(CommitError::StorageFull {
                    source: Arc::new(std::io::ErrorKind::StorageFull.into()),
                });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.shared.flush_signal.wait_for_round(left) {
                return Err(CommitError::Overloaded {
                    database: state.name,
                    behind_bytes,
                });
            }
        }
    }

    /// Adds a record to the group: its seqs, its body, and what it will do.
    fn record(
        &mut self,
        group: &mut Group,
        database: Database,
        change: Change,
        leases_begun: Vec<LeaseRow>,
    ) -> (u64, u64, Timestamp) {
        // As it is read back from the journal.
        let now = self.shared.options.clock.now();
        let time = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        let before = group.pending.get(&database).map_or(0, |p| p.last_seq);
        let first_seq = before + 1;
        let last_seq = before + change.events.len() as u64;
        self.heads.note(database, &change.writes);
        let mut body = Vec::with_capacity(256);
        encode_record(&mut body, database, time, first_seq, &change);
        group.bytes += body.len();
        group.bodies.push(body);

        if let Some(pending) = group.pending.get_mut(&database) {
            pending.last_seq = last_seq;
            for write in change.writes {
                pending.layer.write(write);
            }
        }
        let events = (first_seq..)
            .zip(change.events)
            .map(|(seq, event)| {
                // A value tree takes a few times its text.
                let bytes = 256 + 3 * event.data_text.len() + event.name.len();
                let record = EventRecord {
                    seq,
                    time,
                    name: event.name,
                    topics: event.topics,
                    data: event.data,
                };
                (Arc::new(record), bytes)
            })
            .collect();
        group.effects.push(Effect {
            database,
            events,
            leases_ended: change.leases_ended,
            leases_begun,
        });
        (first_seq, last_seq, time)
    }

    fn finish(&mut self, mut group: Group) {
        if !group.bodies.is_empty() {
            if let Err(error) = self.append(&mut group) {
                let error = CommitError::from(error);
                for answer in group.answers {
                    answer.fail(error.clone());
                }
                return;
            }
            self.publish(&mut group);
        }
        for answer in group.answers {
            answer.send();
        }
    }

    /// Makes the group durable, and notes where its events are.
    fn append(&mut self, group: &mut Group) -> Result<(), AppendError> {
        let result = self.try_append(group);
        if result.is_err() {
            // They may rest on what now did not happen.
            self.heads.clear();
        }
        result
    }

    fn try_append(&mut self, group: &mut Group) -> Result<(), AppendError> {
        if !self.shared.reserve.is_held() {
            let full = std::io::ErrorKind::StorageFull.into();
            return Err(AppendError::Failed(Arc::new(full)));
        }
        let now_us = self.shared.options.clock.now().as_microsecond();
        let locations = self.journal.append(&group.bodies, now_us)?;
        for (effect, location) in group.effects.iter_mut().zip(locations) {
            let Some(pending) = group.pending.get_mut(&effect.database) else {
                continue;
            };
            for (event, bytes) in effect.events.drain(..) {
                let posting = Posting {
                    seq: event.seq,
                    location,
                    event: Some(Arc::clone(&event)),
                };
                pending.layer.post(&event.topics, &posting, bytes);
            }
        }
        Ok(())
    }

    /// Makes the group visible.
    fn publish(&self, group: &mut Group) {
        self.announce_new_databases(group);
        let mut flush = false;
        let mut wakeups = Vec::new();
        for (database, pending) in std::mem::take(&mut group.pending) {
            let layer = pending.layer;
            wakeups.extend(layer.last_seq.map(|last_seq| Wakeup { database, last_seq }));
            pending.state.publish(layer);
            flush |= pending.state.layers.read().active.bytes >= LAYER_FLUSH_BYTES;
        }
        {
            let mut leases = self.shared.leases.lock();
            let elapsed = self.shared.options.clock.elapsed();
            for effect in &group.effects {
                for key in &effect.leases_ended {
                    leases.remove(effect.database, *key);
                }
                for row in &effect.leases_begun {
                    leases.insert(effect.database, row, elapsed.saturating_add(row.lasts));
                }
            }
        }
        let position = self.journal.next_position() - 1;
        self.shared
            .published_position
            .store(position, Ordering::Release);
        for wakeup in wakeups {
            // Without receivers there is nobody to tell.
            drop(self.shared.wakeups.send(wakeup));
        }
        if flush {
            self.shared.flush_signal.want();
        }
    }

    /// Puts databases that the group made into the catalogue, before the position that makes them
    /// real is published.
    fn announce_new_databases(&self, group: &Group) {
        let new: Vec<Arc<DatabaseState>> = group
            .pending
            .values()
            .filter(|pending| pending.is_new)
            .map(|pending| Arc::clone(&pending.state))
            .collect();
        if new.is_empty() {
            return;
        }
        let mut rows = Layer::default();
        for state in &new {
            if state.name != Database::Meta {
                rows.write(catalogue_row(state.name));
            }
        }
        if let Some(meta) = self.shared.database(Database::Meta) {
            meta.publish(rows);
        }
        let mut databases = self.shared.databases.write();
        for state in new {
            databases.insert(state.name, state);
        }
    }
}
