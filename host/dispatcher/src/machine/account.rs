//! What an organisation has had, and how long its work takes.

use std::time::Duration;

use super::{AHEAD_MAX, Resources};

/// Share of a new duration in the mean: the last ten or so count.
const NEWEST_SHARE: f64 = 0.2;
/// Retries that an organisation may make at once, and what each success adds to them: when its
/// surroundings are broken, its retries are a tenth of its work at most (Beyer et al., "Site
/// Reliability Engineering", chapter 21).
const BUDGET_MAX: f64 = 100.0;
const BUDGET_PER_SUCCESS: f64 = 0.1;

#[derive(Debug)]
pub(super) struct Account {
    pub(super) running: u32,
    pub(super) used: Resources,
    /// Core-microseconds that its work has occupied. Each start counts for one at least.
    pub(super) served: u64,
    /// Mean wall time of its attempts, in seconds; none before the first has ended.
    mean_seconds: Option<f64>,
    pub(super) budget: RetryBudget,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            running: 0,
            used: Resources::NONE,
            served: 0,
            mean_seconds: None,
            budget: RetryBudget(BUDGET_MAX),
        }
    }
}

impl Account {
    /// Nobody saves up while idle.
    pub(super) fn come_back(&mut self, virtual_time: u64) {
        self.served = self.served.max(virtual_time);
    }

    pub(super) fn begin(&mut self, needs: Resources) {
        self.running += 1;
        self.used = self.used.plus(needs);
        self.served = self.served.saturating_add(1);
    }

    pub(super) fn end(&mut self, needs: Resources, wall: Duration) {
        self.running = self.running.saturating_sub(1);
        self.used = self.used.minus(needs);
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        self.served = self
            .served
            .saturating_add(micros.saturating_mul(needs.cpu_cores.into()));
        let newest = wall.as_secs_f64();
        self.mean_seconds = Some(
            self.mean_seconds
                .map_or(newest, |mean| mean + NEWEST_SHARE * (newest - mean)),
        );
    }

    /// How many entries to have at hand so that `cores` have work for this time: one when the work
    /// is long or not known.
    pub(super) fn ahead(&self, time: Duration, cores: u32) -> usize {
        let Some(mean) = self.mean_seconds else {
            return 1;
        };
        let count = time.as_secs_f64() * f64::from(cores) / mean.max(1e-6);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and `as` saturates"
        )]
        let count = count as usize;
        count.clamp(1, AHEAD_MAX)
    }
}

#[derive(Debug)]
pub(super) struct RetryBudget(f64);

impl RetryBudget {
    pub(super) fn succeeded(&mut self) {
        self.0 = (self.0 + BUDGET_PER_SUCCESS).min(BUDGET_MAX);
    }

    /// False when it is used up.
    pub(super) fn take(&mut self) -> bool {
        let has = self.0 >= 1.0;
        if has {
            self.0 -= 1.0;
        }
        has
    }
}
