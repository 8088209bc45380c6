//! The pure part: what to claim, who may start, and what becomes of an attempt. No IO, no clock and
//! no chance of its own: time and chance are arguments, so that it is tested by simulation
//! (`tests/simulation.rs`).
//!
//! Times are durations since the host started, on a clock that nobody can set.
//!
//! # Who starts
//! - Room first: cores and memory of all that runs never exceed the host's, nor an organisation's
//!   share of it where it has a limit.
//! - Among organisations, the one that occupies the fewest cores right now; at a tie, the one that
//!   was served the least (start-time fair queueing: Goyal, Vin and Cheng, 1996). One that comes
//!   back after a pause gets no credit for the pause.
//! - Inside an organisation, higher priority first, then age.
//! - What does not fit lets smaller ones pass, but only for [`PATIENCE`]: then the host is kept
//!   free for it, so that a large one is never starved.

mod account;
mod backoff;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus, OrgId};

use self::account::Account;

/// How long what does not fit lets others pass.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// As much work is claimed ahead as is done in this time, so that short work never waits for a
/// claim, and long work is claimed one by one, when its turn has come.
const AHEAD: Duration = Duration::from_millis(20);
/// Most entries claimed ahead for one organisation.
pub const AHEAD_MAX: usize = 256;
/// Waiting executions of one organisation that are looked at for one that fits.
const LOOKED_AT_MAX: usize = 32;
/// An empty queue is looked at again after this time, doubled each time up to the second: bells
/// can be missed, and delayed entries of a former host ring none.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// A cancellation is in the store by then, or has failed.
const SUSPECT_FOR: Duration = Duration::from_secs(60);
/// An execution whose host died this often under it is not tried again: it may be what kills
/// hosts. More than other attempts, as most such deaths are nobody's fault.
pub const LOST_MAX: u32 = 20;

/// What a host has, or an execution needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
}

impl Resources {
    pub const NONE: Self = Self {
        cpu_cores: 0,
        memory_bytes: 0,
    };
    pub const UNLIMITED: Self = Self {
        cpu_cores: u32::MAX,
        memory_bytes: u64::MAX,
    };

    const fn fits_beside(self, used: Self, capacity: Self) -> bool {
        self.cpu_cores.saturating_add(used.cpu_cores) <= capacity.cpu_cores
            && self.memory_bytes.saturating_add(used.memory_bytes) <= capacity.memory_bytes
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_add(other.cpu_cores),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    const fn minus(self, other: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_sub(other.cpu_cores),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }

    /// At least one core, at most all there is: what needs more than there is gets the whole, as
    /// waiting for ever would tell nobody anything.
    fn within(self, capacity: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.clamp(1, capacity.cpu_cores.max(1)),
            memory_bytes: self.memory_bytes.min(capacity.memory_bytes),
        }
    }
}

/// Settings of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// What all executions together may use.
    pub capacity: Resources,
    /// What the executions of one organisation together may use.
    pub org_capacity: Resources,
    /// Executions of one organisation that may run at a time.
    pub org_running_max: u32,
    /// Tries of one execution, when each ending could be cured by another.
    pub attempts_max: u32,
}

impl Rules {
    /// A host that any organisation may have to itself while no other wants it.
    #[must_use]
    pub const fn shared(capacity: Resources, attempts_max: u32) -> Self {
        Self {
            capacity,
            org_capacity: Resources::UNLIMITED,
            org_running_max: u32::MAX,
            attempts_max,
        }
    }
}

/// An execution that was claimed from its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    pub execution: ExecutionId,
    pub org: OrgId,
    /// Higher first.
    pub priority: u8,
    pub needs: Resources,
}

/// A wish to claim up to `count` entries of an organisation's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub org: OrgId,
    pub count: usize,
}

/// What happens to an execution whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ended for good.
    End(ExecutionStatus),
    /// Tried again, not before this time has passed.
    Retry(Duration),
}

/// Where a cancellation found its execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelFound {
    /// It runs, and its attempt must be stopped.
    Running,
    /// It does not run here: whoever asked may end it in the store.
    NotRunning,
}

/// An execution to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub candidate: Candidate,
    /// A cancellation asked for it while it waited: it may have ended in the store.
    pub doubtful: bool,
}

#[derive(Debug)]
struct Waiting {
    candidate: Candidate,
    /// Since when it has found no room.
    blocked: Option<Duration>,
    doubtful: bool,
}

#[derive(Debug)]
struct Running {
    org: OrgId,
    needs: Resources,
    started: Duration,
    cancelled: bool,
}

/// Whether an organisation's queue in the store may have more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    MayHave,
    /// A claim is on its way; noticed again meanwhile or not.
    Asked {
        noticed: bool,
    },
    /// Nothing, until somebody notices or the time has come.
    Empty {
        look_at: Duration,
    },
}

#[derive(Debug)]
struct Org {
    /// By priority, then in the order of claiming.
    waiting: BTreeMap<(Reverse<u8>, u64), Waiting>,
    queue: Queue,
    /// Highest priority that was noticed since the last claim.
    noticed_priority: u8,
    /// How long its queue is left alone when it turns out to be empty.
    look_interval: Duration,
    account: Account,
}

/// Admission, fair share, cancellation and retries of the executions of this host.
#[derive(Debug)]
pub struct Machine {
    rules: Rules,
    orgs: BTreeMap<OrgId, Org>,
    /// Organisations with waiting executions.
    active: BTreeSet<OrgId>,
    /// Organisations whose queue in the store may have more.
    curious: BTreeSet<OrgId>,
    running: HashMap<ExecutionId, Running>,
    used: Resources,
    /// Numbers what is claimed.
    claimed: u64,
    claims_in_flight: usize,
    /// Asked to be cancelled while they were not here, and when: a claim may bring them before
    /// the cancellation is in the store.
    suspects: BTreeMap<ExecutionId, Duration>,
    /// Served to whoever started last: where one that comes back begins.
    virtual_time: u64,
    draining: bool,
}

impl Machine {
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules: Rules {
                attempts_max: rules.attempts_max.max(1),
                ..rules
            },
            orgs: BTreeMap::new(),
            active: BTreeSet::new(),
            curious: BTreeSet::new(),
            running: HashMap::new(),
            used: Resources::NONE,
            claimed: 0,
            claims_in_flight: 0,
            suspects: BTreeMap::new(),
            virtual_time: 0,
            draining: false,
        }
    }

    /// Takes note that an organisation's queue may have an entry of this priority.
    pub fn notice(&mut self, id: OrgId, priority: u8) {
        let org = self.org(id);
        org.noticed_priority = org.noticed_priority.max(priority);
        if let Queue::Asked { noticed } = &mut org.queue {
            *noticed = true;
        } else {
            org.queue = Queue::MayHave;
            self.curious.insert(id);
        }
    }

    /// Lets queues that were empty for a while be looked at again; to be called now and then.
    pub fn look(&mut self, now: Duration) {
        self.suspects
            .retain(|_, asked| asked.saturating_add(SUSPECT_FOR) > now);
        for (id, org) in &mut self.orgs {
            if let Queue::Empty { look_at } = org.queue
                && look_at <= now
            {
                org.queue = Queue::MayHave;
                self.curious.insert(*id);
            }
        }
    }

    /// What to claim now. Each claim must be answered with [`Machine::claimed`].
    pub fn claims(&mut self) -> Vec<Claim> {
        let mut claims = Vec::new();
        if self.draining {
            return claims;
        }
        for id in &self.curious {
            let Some(org) = self.orgs.get_mut(id) else {
                continue;
            };
            let target = org.account.ahead(AHEAD, self.rules.capacity.cpu_cores);
            let mut count = target.saturating_sub(org.waiting.len());
            let best = org.waiting.first_key_value().map(|((Reverse(p), _), _)| *p);
            if count == 0
                && best.is_some_and(|best| org.noticed_priority > best)
                && org.waiting.len() < AHEAD_MAX
            {
                // It must not wait for what was claimed before it came.
                count = 1;
            }
            if count > 0 {
                org.queue = Queue::Asked { noticed: false };
                org.noticed_priority = 0;
                self.claims_in_flight += 1;
                claims.push(Claim { org: *id, count });
            }
        }
        for claim in &claims {
            self.curious.remove(&claim.org);
        }
        claims
    }

    /// Takes what a claim gave. `more` when the queue may have more than that.
    pub fn claimed(&mut self, org: OrgId, got: &[Candidate], more: bool, now: Duration) {
        self.claims_in_flight = self.claims_in_flight.saturating_sub(1);
        let virtual_time = self.virtual_time;
        for candidate in got {
            self.claimed += 1;
            let number = self.claimed;
            let doubtful = self.suspects.contains_key(&candidate.execution);
            let needs = candidate.needs.within(self.rules.capacity);
            let needs = needs.within(self.rules.org_capacity);
            let entry = self.org(org);
            if entry.waiting.is_empty() && entry.account.used == Resources::NONE {
                entry.account.come_back(virtual_time);
            }
            entry.waiting.insert(
                (Reverse(candidate.priority), number),
                Waiting {
                    candidate: Candidate {
                        needs,
                        org,
                        ..*candidate
                    },
                    blocked: None,
                    doubtful,
                },
            );
            self.active.insert(org);
        }
        let entry = self.org(org);
        let noticed = matches!(entry.queue, Queue::Asked { noticed: true });
        let interval = entry.look_interval;
        entry.look_interval = if got.is_empty() {
            (interval * 2).min(LOOK_AGAIN.1)
        } else {
            LOOK_AGAIN.0
        };
        if more || noticed {
            entry.queue = Queue::MayHave;
            self.curious.insert(org);
        } else {
            entry.queue = Queue::Empty {
                look_at: now.saturating_add(interval),
            };
        }
    }

    /// A claim failed: it is made again after a while.
    pub fn claim_failed(&mut self, org: OrgId, now: Duration) {
        self.claimed(org, &[], false, now);
    }

    /// The next execution to start, if there is room; call it until there is none.
    pub fn start(&mut self, now: Duration) -> Option<Start> {
        if self.draining || self.is_full() {
            return None;
        }
        let (org, key) = match self.out_of_patience(now) {
            Some((org, key)) => {
                let needs = self.orgs.get(&org)?.waiting.get(&key)?.candidate.needs;
                // Nobody else, until it has its room.
                needs
                    .fits_beside(self.used, self.rules.capacity)
                    .then_some((org, key))?
            }
            None => self.fairest(now)?,
        };
        let entry = self.orgs.get_mut(&org)?;
        let waiting = entry.waiting.remove(&key)?;
        let needs = waiting.candidate.needs;
        entry.account.begin(needs);
        self.virtual_time = self.virtual_time.max(entry.account.served);
        if entry.waiting.is_empty() {
            self.active.remove(&org);
        }
        self.used = self.used.plus(needs);
        self.running.insert(
            waiting.candidate.execution,
            Running {
                org,
                needs,
                started: now,
                cancelled: false,
            },
        );
        Some(Start {
            candidate: waiting.candidate,
            doubtful: waiting.doubtful,
        })
    }

    /// The one that has been blocked longest, beyond patience.
    fn out_of_patience(&self, now: Duration) -> Option<(OrgId, (Reverse<u8>, u64))> {
        let mut longest: Option<(Duration, OrgId, (Reverse<u8>, u64))> = None;
        let rules = &self.rules;
        for org in &self.active {
            let entry = self.orgs.get(org)?;
            if entry.account.running >= rules.org_running_max {
                continue;
            }
            for (key, waiting) in entry.waiting.iter().take(LOOKED_AT_MAX) {
                let needs = waiting.candidate.needs;
                if let Some(since) = waiting.blocked
                    && since.saturating_add(PATIENCE) <= now
                    // Its own organisation is not in the way.
                    && needs.fits_beside(entry.account.used, rules.org_capacity)
                    && longest.is_none_or(|(before, ..)| since < before)
                {
                    longest = Some((since, *org, *key));
                }
            }
        }
        longest.map(|(_, org, key)| (org, key))
    }

    /// The first that fits, organisations in the order of fairness.
    fn fairest(&mut self, now: Duration) -> Option<(OrgId, (Reverse<u8>, u64))> {
        let mut order: Vec<(u32, u64, OrgId)> = self
            .active
            .iter()
            .filter_map(|id| {
                let account = &self.orgs.get(id)?.account;
                Some((account.used.cpu_cores, account.served, *id))
            })
            .collect();
        order.sort_unstable();
        let (used, rules) = (self.used, self.rules);
        for (.., id) in order {
            let Some(org) = self.orgs.get_mut(&id) else {
                continue;
            };
            if org.account.running >= rules.org_running_max {
                continue;
            }
            for (key, waiting) in org.waiting.iter_mut().take(LOOKED_AT_MAX) {
                let needs = waiting.candidate.needs;
                if !needs.fits_beside(org.account.used, rules.org_capacity) {
                    // Its own organisation is in the way: nobody else waits for that.
                    waiting.blocked = None;
                    continue;
                }
                if needs.fits_beside(used, rules.capacity) {
                    return Some((id, *key));
                }
                waiting.blocked.get_or_insert(now);
            }
        }
        None
    }

    /// Marks an execution as cancelled, wherever it is.
    pub fn cancel(&mut self, execution: ExecutionId, now: Duration) -> CancelFound {
        if let Some(running) = self.running.get_mut(&execution) {
            running.cancelled = true;
            return CancelFound::Running;
        }
        for org in &self.active {
            let waiting = self.orgs.get_mut(org).map(|org| org.waiting.values_mut());
            for waiting in waiting.into_iter().flatten() {
                if waiting.candidate.execution == execution {
                    waiting.doubtful = true;
                    return CancelFound::NotRunning;
                }
            }
        }
        self.suspects.insert(execution, now);
        CancelFound::NotRunning
    }

    /// Takes an attempt's ending, frees its resources and says what follows. `attempt` counts
    /// from 1; `chance` is any number, for the jitter.
    pub fn finish(
        &mut self,
        execution: ExecutionId,
        attempt: u32,
        ending: AttemptEnding,
        now: Duration,
        chance: u64,
    ) -> Verdict {
        let Some(running) = self.free(execution, now) else {
            return self.verdict(attempt, ending, false, 0);
        };
        let org = self.org(running.org);
        let delay = match ending {
            AttemptEnding::Succeeded => {
                org.account.budget.succeeded();
                0
            }
            // Without budget the wait is as if it had been tried many times.
            ending if ending.is_curable() && !org.account.budget.take() => backoff::LAST,
            _ => 0,
        };
        let verdict = self.verdict(attempt, ending, running.cancelled, delay);
        match verdict {
            Verdict::Retry(ceiling) => {
                let wait = backoff::jitter(ceiling, chance);
                let org = self.org(running.org);
                org.look_interval = LOOK_AGAIN.0;
                if let Queue::Empty { look_at } = &mut org.queue {
                    *look_at = (*look_at).min(now.saturating_add(wait));
                }
                Verdict::Retry(wait)
            }
            end @ Verdict::End(_) => end,
        }
    }

    /// Takes an execution off the host that turned out not to be an attempt: it had ended, or
    /// could not be begun.
    pub fn forget(&mut self, execution: ExecutionId, now: Duration) {
        self.free(execution, now);
    }

    fn free(&mut self, execution: ExecutionId, now: Duration) -> Option<Running> {
        let running = self.running.remove(&execution)?;
        self.used = self.used.minus(running.needs);
        let wall = now.saturating_sub(running.started);
        self.org(running.org).account.end(running.needs, wall);
        Some(running)
    }

    /// What follows an attempt that ended so. A cancellation that came too late changes nothing
    /// that is already a success.
    fn verdict(&self, attempt: u32, ending: AttemptEnding, cancelled: bool, delay: u32) -> Verdict {
        if cancelled && ending != AttemptEnding::Succeeded {
            return Verdict::End(ExecutionStatus::Cancelled);
        }
        if ending.is_curable() && attempt < self.rules.attempts_max {
            return Verdict::Retry(backoff::ceiling(attempt.saturating_add(delay)));
        }
        Verdict::End(ending.final_status())
    }

    /// Starts nothing more. Gives back what waits here, to be taken out of the claims.
    pub fn drain(&mut self) -> Vec<Candidate> {
        self.draining = true;
        self.active.clear();
        self.orgs
            .values_mut()
            .flat_map(|org| std::mem::take(&mut org.waiting).into_values())
            .map(|waiting| waiting.candidate)
            .collect()
    }

    /// Nothing runs, and no claim is on its way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.claims_in_flight == 0
    }

    /// Whether even the smallest execution would find no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.used.cpu_cores >= self.rules.capacity.cpu_cores
            || self.used.memory_bytes >= self.rules.capacity.memory_bytes
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// What all running executions occupy.
    #[must_use]
    pub const fn used(&self) -> Resources {
        self.used
    }

    /// What one organisation's running executions occupy.
    #[must_use]
    pub fn used_by(&self, org: OrgId) -> Resources {
        self.orgs
            .get(&org)
            .map_or(Resources::NONE, |org| org.account.used)
    }

    /// Executions claimed and not started, in the order in which an organisation starts them.
    pub fn waiting(&self, org: OrgId) -> impl Iterator<Item = ExecutionId> {
        self.orgs
            .get(&org)
            .into_iter()
            .flat_map(|org| org.waiting.values())
            .map(|waiting| waiting.candidate.execution)
    }

    fn org(&mut self, id: OrgId) -> &mut Org {
        self.orgs.entry(id).or_insert_with(|| Org {
            waiting: BTreeMap::new(),
            queue: Queue::Empty {
                look_at: Duration::ZERO,
            },
            noticed_priority: 0,
            look_interval: LOOK_AGAIN.0,
            account: Account::default(),
        })
    }
}

#[cfg(test)]
mod tests;
