//! Who breaks is put aside: the circuit breaker, and the way back from a bad upgrade.
//!
//! The runtime counts calls where they end and tells of breaks. Two rules follow, both on counts
//! alone, so that a clock has no say:
//!
//! - *Put aside*: [`IN_A_ROW_MAX`] breaks without a good answer between them. The version is
//!   disabled until an admin enables it; others are untouched, and where an earlier version of the
//!   package is enabled, the name means that one again.
//! - *Probation*: the first [`PROBATION_CALLS`] calls of a version that took the place of another.
//!   With at least [`PROBATION_BREAKS_MIN`] breaks among them, and a share of breaks that is
//!   [`PROBATION_MARGIN`] above the share that the old version had, the host goes back to the old
//!   one. Three breaks, because one bad request is not an upgrade's fault; a quarter, because the
//!   old version may have broken now and then too.

use std::collections::HashMap;

use bindery_core::Digest;
use bindery_runtime::{BreakWatch, GuestBreak, HealthReading};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// See the module.
pub const IN_A_ROW_MAX: u32 = 10;
/// See the module.
pub const PROBATION_CALLS: u64 = 20;
/// See the module.
pub const PROBATION_BREAKS_MIN: u64 = 3;
/// See the module.
pub const PROBATION_MARGIN: f64 = 0.25;

/// Breaks that wait to be looked at. When it is full the next break tells the same.
const QUEUE: usize = 256;

/// What follows from a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Nothing,
    RollBack,
    PutAside,
}

/// A version that took the place of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Probation {
    /// Package digest of the one before.
    pub(crate) previous: Digest,
    /// Share of the calls of the one before that broke.
    pub(crate) share_before: f64,
}

/// A break that may have to be acted on.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) component: Digest,
    pub(crate) reading: HealthReading,
    /// What the last break was.
    pub(crate) words: String,
}

/// Hears of breaks in the runtime and hands on those that matter.
#[derive(Debug)]
pub(crate) struct Watch {
    /// To the task that acts; it ends when this is dropped with the runtime.
    sender: mpsc::Sender<Broken>,
}

/// Versions on probation, by their component.
pub(crate) type Probations = Mutex<HashMap<Digest, Probation>>;

impl Watch {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Broken>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender }, receiver)
    }
}

impl BreakWatch for Watch {
    fn broke(&self, component: Digest, reading: HealthReading, broke: &GuestBreak) {
        let in_probation =
            reading.calls <= PROBATION_CALLS && reading.breaks >= PROBATION_BREAKS_MIN;
        if in_probation || reading.breaks_in_a_row >= IN_A_ROW_MAX {
            let broken = Broken {
                component,
                reading,
                words: broke.to_string(),
            };
            // Full: the next break comes soon.
            let _ = self.sender.try_send(broken);
        }
    }
}

pub(crate) fn share(reading: HealthReading) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let share = reading.breaks as f64 / reading.calls.max(1) as f64;
    share
}

pub(crate) fn verdict(reading: HealthReading, probation: Option<&Probation>) -> Verdict {
    if let Some(probation) = probation
        && reading.calls <= PROBATION_CALLS
        && reading.breaks >= PROBATION_BREAKS_MIN
        && share(reading) >= probation.share_before + PROBATION_MARGIN
    {
        return Verdict::RollBack;
    }
    if reading.breaks_in_a_row >= IN_A_ROW_MAX {
        return Verdict::PutAside;
    }
    Verdict::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(calls: u64, breaks: u64, breaks_in_a_row: u32) -> HealthReading {
        HealthReading {
            calls,
            breaks,
            breaks_in_a_row,
        }
    }

    fn after(share_before: f64) -> Probation {
        Probation {
            previous: Digest::of(b"old"),
            share_before,
        }
    }

    #[test]
    fn ten_in_a_row_are_put_aside_and_nine_are_not() {
        assert_eq!(verdict(reading(100, 9, 9), None), Verdict::Nothing);
        assert_eq!(verdict(reading(100, 10, 10), None), Verdict::PutAside);
        assert_eq!(
            verdict(reading(100, 50, 1), None),
            Verdict::Nothing,
            "not in a row"
        );
    }

    #[test]
    fn an_upgrade_that_breaks_more_often_is_taken_back() {
        assert_eq!(
            verdict(reading(2, 2, 2), Some(&after(0.0))),
            Verdict::Nothing
        );
        assert_eq!(
            verdict(reading(3, 3, 3), Some(&after(0.0))),
            Verdict::RollBack
        );
        assert_eq!(
            verdict(reading(20, 3, 1), Some(&after(0.0))),
            Verdict::Nothing,
            "0.15 more is not much more"
        );
        assert_eq!(
            verdict(reading(12, 3, 1), Some(&after(0.0))),
            Verdict::RollBack
        );
        assert_eq!(
            verdict(reading(4, 4, 4), Some(&after(0.9))),
            Verdict::Nothing,
            "no worse than before"
        );
        assert_eq!(
            verdict(reading(21, 21, 9), Some(&after(0.0))),
            Verdict::Nothing,
            "out of probation"
        );
    }
}
