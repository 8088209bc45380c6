//! What became of a plugin's calls, counted where they end.
//!
//! A *break* is a guest that trapped, recursed too deeply or answered with rubbish; one that meets
//! a deadline or another limit breaks only where the limit has nothing to do with what it was
//! given: in calls that somebody waits for. A refusal is a good answer. Faults of the host are not
//! counted at all. What follows from the counts is for whoever watches.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use bindery_core::Digest;

use crate::{GuestBreak, GuestFailure, Plugin, TrapKind};

/// Counts of one loaded plugin.
#[derive(Debug, Default)]
pub(crate) struct Health {
    calls: AtomicU64,
    breaks: AtomicU64,
    breaks_in_a_row: AtomicU32,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealthReading {
    /// Calls that the guest answered or broke in.
    pub calls: u64,
    pub breaks: u64,
    /// Breaks since the last good answer.
    pub breaks_in_a_row: u32,
}

/// Hears of every break, on the thread that made the call: it must not wait.
pub trait BreakWatch: Debug + Send + Sync {
    fn broke(&self, plugin: Digest, reading: HealthReading, broke: &GuestBreak);
}

impl Health {
    pub(crate) fn reading(&self) -> HealthReading {
        HealthReading {
            calls: self.calls.load(Ordering::Relaxed),
            breaks: self.breaks.load(Ordering::Relaxed),
            breaks_in_a_row: self.breaks_in_a_row.load(Ordering::Relaxed),
        }
    }

    fn answered(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        // Mostly nothing was broken, and a shared line is read rather than written.
        if self.breaks_in_a_row.load(Ordering::Relaxed) != 0 {
            self.breaks_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    fn broke(&self) -> HealthReading {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.breaks.fetch_add(1, Ordering::Relaxed);
        self.breaks_in_a_row.fetch_add(1, Ordering::Relaxed);
        self.reading()
    }

    fn reset(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.breaks.store(0, Ordering::Relaxed);
        self.breaks_in_a_row.store(0, Ordering::Relaxed);
    }
}

impl GuestBreak {
    /// Whether the plugin is to blame, whatever it was given: a long computation that meets its
    /// deadline may be a large request.
    #[must_use]
    pub fn blames_plugin(&self) -> bool {
        match self.kind {
            TrapKind::Stack | TrapKind::Trap | TrapKind::Rubbish => true,
            TrapKind::Deadline | TrapKind::Memory | TrapKind::Disk => {
                matches!(self.phase, "validate" | "sniff" | "monitor")
            }
        }
    }
}

impl Plugin {
    /// What became of its calls since it was loaded or since [`reset_health`](Self::reset_health).
    #[must_use]
    pub fn health(&self) -> HealthReading {
        self.health.reading()
    }

    /// Begins to count anew: what was tried before it went live says nothing of its service.
    pub fn reset_health(&self) {
        self.health.reset();
    }

    /// Counts the outcome of a call and gives it back.
    pub(crate) fn counted<T>(&self, outcome: Result<T, GuestFailure>) -> Result<T, GuestFailure> {
        match &outcome {
            Ok(_) | Err(GuestFailure::Refused(_)) => self.health.answered(),
            Err(GuestFailure::Host { .. }) => {}
            Err(GuestFailure::Broke(broke)) if broke.blames_plugin() => {
                let reading = self.health.broke();
                if let Some(watch) = self.runtime.shared.watch.get() {
                    watch.broke(self.digest(), reading, broke);
                }
            }
            Err(GuestFailure::Broke(_)) => {}
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_answer_ends_a_row_of_breaks() {
        let health = Health::default();
        health.broke();
        assert_eq!(health.broke().breaks_in_a_row, 2);
        health.answered();
        let reading = health.reading();
        assert_eq!(
            (reading.calls, reading.breaks, reading.breaks_in_a_row),
            (3, 2, 0)
        );
        health.reset();
        assert_eq!(health.reading(), HealthReading::default());
    }

    #[test]
    fn large_requests_are_not_the_plugins_fault() {
        let broke = |kind, phase| GuestBreak {
            kind,
            phase,
            message: String::new(),
            stderr: String::new(),
        };
        assert!(broke(TrapKind::Trap, "compute").blames_plugin());
        assert!(broke(TrapKind::Deadline, "validate").blames_plugin());
        assert!(!broke(TrapKind::Deadline, "compute").blames_plugin());
        assert!(!broke(TrapKind::Memory, "parse").blames_plugin());
    }
}
