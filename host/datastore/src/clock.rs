//! Time, as the store sees it.
//!
//! Two clocks, never mixed: wall time stamps what people read, monotonic time decides when a lease
//! ends, so that setting the machine's clock neither steals a lease nor keeps one.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Where the store gets the time from.
pub trait Clock: Send + Sync + Debug {
    /// Wall time; may jump.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment in this process; never goes back.
    fn elapsed(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Clocks that move only when told to, for tests.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            state: Mutex::new((now, Duration::ZERO)),
        }
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        let wall = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        state.0 = state.0.saturating_add(wall).unwrap_or(state.0);
        state.1 = state.1.saturating_add(by);
    }

    /// Sets the wall clock only, as an operator or NTP does.
    pub fn set_wall(&self, now: Timestamp) {
        self.state.lock().0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.state.lock().0
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().1
    }
}
