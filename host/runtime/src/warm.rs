//! Warm instances, for guests that take long to start.
//!
//! An interpreter (JavaScript, Python) takes milliseconds before it can answer anything, and then
//! answers in a fraction of one. Whether a component is such a guest is measured when it is
//! loaded. Its instances are then kept for the next check of a request, which by the contract
//! answers from its arguments alone; nothing else is called on them.
//!
//! An instance remembers. So it serves one *tenant* (an organisation) from its first call to its
//! last, and a call for nobody in particular gets a fresh one. It goes after any failure, after
//! so many calls, when it holds much memory, and when nobody has called for a while.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bindery_bindings::facets::RunningDefinition;
use bindery_core::OrgId;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit};
use wasmtime::Store;

use crate::{
    CallLimits, GuestFailure, Runtime,
    call::{Answer, BodyResult, CallSpec, Turn},
    state::GuestState,
};

/// A start that takes less is not worth keeping an instance for: it is as long as the rest of a
/// request's way through the host.
const START_MIN: Duration = Duration::from_millis(2);
/// How many times longer the first answer takes than the second.
const RATIO_MIN: u32 = 5;
/// Instances kept for one plugin: as many checks as run at the same time on a small machine.
const KEPT_MAX: usize = 4;
/// Calls of one instance. The share of one start in each of them is then below a hundredth.
const USES_MAX: u32 = 256;
/// Instances kept for all plugins together, beside those that work.
pub(crate) const KEPT_IN_ALL_MAX: usize = 16;
/// How long an instance waits for its next call.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// The share of its memory limit that an instance may hold and stay: interpreters collect their
/// garbage late, and one that is near its limit would break in a call that is not to blame.
const MEMORY_SHARE: usize = 2;

/// How long a component takes to its first answer and to its second, in processor time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartCost {
    pub(crate) first: Duration,
    pub(crate) second: Duration,
}

impl StartCost {
    pub(crate) fn is_worth_keeping(self) -> bool {
        self.first >= START_MIN && self.first >= self.second * RATIO_MIN
    }
}

/// An instance between two calls.
pub(crate) struct WarmInstance {
    store: Store<GuestState>,
    facet: RunningDefinition,
    tenant: OrgId,
    uses: u32,
    since: Instant,
    /// Its place among those of all plugins.
    permit: OwnedSemaphorePermit,
}

/// The warm instances of one plugin, the longest unused in front.
#[derive(Default)]
pub(crate) struct WarmPool {
    kept: Mutex<VecDeque<WarmInstance>>,
    /// Whether somebody looks after those that nobody calls any more.
    watched: AtomicBool,
}

/// An instance that has answered, for as long as it is not known whether the answer is one.
pub(crate) struct Answered {
    instance: WarmInstance,
    pool: Arc<WarmPool>,
    handle: Handle,
}

impl std::fmt::Debug for WarmPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarmPool")
            .field("kept", &self.kept.lock().len())
            .finish()
    }
}

impl WarmPool {
    pub(crate) fn kept(&self) -> usize {
        self.kept.lock().len()
    }

    fn take(&self, tenant: OrgId) -> Option<WarmInstance> {
        self.drop_idle();
        let mut kept = self.kept.lock();
        // The last one used: the others may then go.
        let at = kept.iter().rposition(|one| one.tenant == tenant)?;
        kept.remove(at)
    }

    fn put(&self, instance: WarmInstance) {
        let mut kept = self.kept.lock();
        kept.push_back(instance);
        let over = kept.len().saturating_sub(KEPT_MAX);
        let gone: Vec<_> = kept.drain(..over).collect();
        // Taking an instance down takes a moment, which nobody should wait for.
        drop(kept);
        drop(gone);
    }

    fn drop_idle(&self) {
        let mut kept = self.kept.lock();
        let idle = kept
            .iter()
            .take_while(|one| one.since.elapsed() >= IDLE_MAX)
            .count();
        let gone: Vec<_> = kept.drain(..idle).collect();
        drop(kept);
        drop(gone);
    }
}

impl Runtime {
    /// Makes one call for a tenant on an instance of theirs, or on a fresh one. The body gets
    /// the facet where there is one, and gives it back with its answer. The instance is given back
    /// too, where it may be kept.
    pub(crate) fn call_warm<T, F>(
        &self,
        turn: &mut Turn,
        spec: &CallSpec,
        pool: &Arc<WarmPool>,
        tenant: OrgId,
        body: F,
    ) -> Result<(Answer<T>, Option<Answered>), GuestFailure>
    where
        F: AsyncFnOnce(
            &mut Store<GuestState>,
            Option<RunningDefinition>,
        ) -> BodyResult<(T, RunningDefinition)>,
    {
        let (mut store, facet, uses, permit) = match pool.take(tenant) {
            None => {
                let permit = Arc::clone(&self.shared.warm).try_acquire_owned();
                (self.store(spec)?, None, 0, permit.ok())
            }
            Some(mut warm) => {
                self.rearm(&mut warm.store, spec)?;
                (warm.store, Some(warm.facet), warm.uses, Some(warm.permit))
            }
        };
        let is_fresh = facet.is_none();
        let answer = self.call_on(turn, spec, &mut store, async |store| {
            body(store, facet).await
        })?;
        let (value, facet) = answer.value;
        let mut receipt = answer.receipt;
        receipt.fresh = Some(is_fresh);
        let uses = uses + 1;
        let may_stay = uses < USES_MAX && holds_little(&store, &spec.limits);
        let answered = permit.filter(|_| may_stay).map(|permit| Answered {
            instance: WarmInstance {
                store,
                facet,
                tenant,
                uses,
                since: Instant::now(),
                permit,
            },
            pool: Arc::clone(pool),
            handle: turn.handle().clone(),
        });
        let answer = Answer {
            value,
            receipt,
            lines: answer.lines,
        };
        Ok((answer, answered))
    }
}

impl Answered {
    /// Keeps it for the next call.
    pub(crate) fn keep(self) {
        self.pool.put(self.instance);
        // One for all of the pool, however many calls there are.
        if !self.pool.watched.swap(true, Ordering::Relaxed) {
            self.handle.spawn(watch(Arc::downgrade(&self.pool)));
        }
    }
}

/// Looks after a pool until it is empty or gone.
async fn watch(pool: Weak<WarmPool>) {
    loop {
        tokio::time::sleep(IDLE_MAX).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        pool.drop_idle();
        let kept = pool.kept.lock();
        if kept.is_empty() {
            // Under the lock: what is put in after this finds nobody watching.
            pool.watched.store(false, Ordering::Relaxed);
            return;
        }
    }
}

fn holds_little(store: &Store<GuestState>, limits: &CallLimits) -> bool {
    let held = usize::try_from(store.data().memory.peak_bytes()).unwrap_or(usize::MAX);
    held <= limits.memory_bytes / MEMORY_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_start_is_worth_keeping() {
        let cost = |first_us, second_us| StartCost {
            first: Duration::from_micros(first_us),
            second: Duration::from_micros(second_us),
        };
        assert!(cost(10_000, 250).is_worth_keeping());
        // Quick, if many times slower than the second.
        assert!(!cost(1_900, 1).is_worth_keeping());
        // Slow, and no better the second time.
        assert!(!cost(10_000, 9_000).is_worth_keeping());
    }
}
