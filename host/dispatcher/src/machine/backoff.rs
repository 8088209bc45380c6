//! Exponential with a ceiling and full jitter (Brooker, "Exponential Backoff And Jitter"): tries
//! that failed together do not come back together.

use std::time::Duration;

const BASE: Duration = Duration::from_millis(200);
const CEILING: Duration = Duration::from_secs(30);
/// Attempts from which on the wait grows no more.
pub(super) const LAST: u32 = 10;

/// The longest wait after this attempt, counted from 1.
pub(super) fn ceiling(attempt: u32) -> Duration {
    BASE.saturating_mul(1 << attempt.min(LAST)).min(CEILING)
}

/// A wait below a ceiling, evenly spread over chances.
pub(super) fn jitter(ceiling: Duration, chance: u64) -> Duration {
    let micros = u64::try_from(ceiling.as_micros())
        .unwrap_or(u64::MAX)
        .max(1);
    Duration::from_micros(chance % micros)
}
