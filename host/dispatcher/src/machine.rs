//! The pure part: who may start, and what becomes of an attempt. No IO, no clock, no chance of
//! its own, so that it can be tested by simulation.

use std::collections::HashMap;

use bindery_core::{AttemptEnding, ExecutionId, ExecutionStatus};

/// What a host has, or an execution needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
}

impl Resources {
    const fn fits_beside(self, used: Self, capacity: Self) -> bool {
        self.cpu_cores.saturating_add(used.cpu_cores) <= capacity.cpu_cores
            && self.memory_bytes.saturating_add(used.memory_bytes) <= capacity.memory_bytes
    }
}

/// What happens to an execution whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Ended for good.
    End(ExecutionStatus),
    /// Tried again.
    Retry,
}

/// Admission and cancellation of the executions that run on this host.
#[derive(Debug)]
pub struct Machine {
    capacity: Resources,
    attempts_max: u32,
    running: HashMap<ExecutionId, Running>,
}

#[derive(Debug)]
struct Running {
    needs: Resources,
    cancelled: bool,
}

impl Machine {
    #[must_use]
    pub fn new(capacity: Resources, attempts_max: u32) -> Self {
        Self {
            capacity,
            attempts_max: attempts_max.max(1),
            running: HashMap::new(),
        }
    }

    /// Starts an execution if there is room for it. One that needs more than the host has gets
    /// the whole host: waiting for ever would tell nobody anything.
    pub fn admit(&mut self, execution: ExecutionId, needs: Resources) -> bool {
        let needs = Resources {
            cpu_cores: needs.cpu_cores.clamp(1, self.capacity.cpu_cores),
            memory_bytes: needs.memory_bytes.min(self.capacity.memory_bytes),
        };
        if self.running.contains_key(&execution) || !needs.fits_beside(self.used(), self.capacity) {
            return false;
        }
        self.running.insert(
            execution,
            Running {
                needs,
                cancelled: false,
            },
        );
        true
    }

    /// Whether even the smallest execution would find no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let used = self.used();
        used.cpu_cores >= self.capacity.cpu_cores || used.memory_bytes >= self.capacity.memory_bytes
    }

    #[must_use]
    pub fn is_running(&self, execution: ExecutionId) -> bool {
        self.running.contains_key(&execution)
    }

    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Marks a running execution as cancelled; false when it does not run here.
    pub fn cancel(&mut self, execution: ExecutionId) -> bool {
        match self.running.get_mut(&execution) {
            Some(running) => {
                running.cancelled = true;
                true
            }
            None => false,
        }
    }

    /// Takes an attempt's ending, frees its resources and says what follows.
    pub fn finish(
        &mut self,
        execution: ExecutionId,
        attempt: u32,
        ending: AttemptEnding,
    ) -> Verdict {
        let cancelled = self
            .running
            .remove(&execution)
            .is_some_and(|running| running.cancelled);
        self.verdict(attempt, ending, cancelled)
    }

    /// What follows an attempt that ended so. A cancellation that came too late changes nothing
    /// that is already a success.
    #[must_use]
    pub fn verdict(&self, attempt: u32, ending: AttemptEnding, cancelled: bool) -> Verdict {
        if cancelled && ending != AttemptEnding::Succeeded {
            return Verdict::End(ExecutionStatus::Cancelled);
        }
        if ending.is_curable() && attempt < self.attempts_max {
            return Verdict::Retry;
        }
        Verdict::End(ending.final_status())
    }

    fn used(&self) -> Resources {
        self.running.values().fold(
            Resources {
                cpu_cores: 0,
                memory_bytes: 0,
            },
            |used, running| Resources {
                cpu_cores: used.cpu_cores.saturating_add(running.needs.cpu_cores),
                memory_bytes: used.memory_bytes.saturating_add(running.needs.memory_bytes),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use proptest::prelude::*;

    use super::*;

    const CAPACITY: Resources = Resources {
        cpu_cores: 4,
        memory_bytes: 1000,
    };

    fn needs(cpu_cores: u32, memory_bytes: u64) -> Resources {
        Resources {
            cpu_cores,
            memory_bytes,
        }
    }

    #[test]
    fn a_curable_ending_is_retried_until_the_attempts_are_used_up() {
        let machine = Machine::new(CAPACITY, 3);
        assert_eq!(
            machine.verdict(1, AttemptEnding::Lost, false),
            Verdict::Retry
        );
        assert_eq!(
            machine.verdict(2, AttemptEnding::Lost, false),
            Verdict::Retry
        );
        assert_eq!(
            machine.verdict(3, AttemptEnding::Lost, false),
            Verdict::End(ExecutionStatus::DeadLetter)
        );
        assert_eq!(
            machine.verdict(1, AttemptEnding::Crashed, false),
            Verdict::End(ExecutionStatus::Failed)
        );
    }

    #[test]
    fn a_cancelled_execution_is_never_retried_and_a_success_is_kept() {
        let machine = Machine::new(CAPACITY, 3);
        assert_eq!(
            machine.verdict(1, AttemptEnding::Lost, true),
            Verdict::End(ExecutionStatus::Cancelled)
        );
        assert_eq!(
            machine.verdict(1, AttemptEnding::Succeeded, true),
            Verdict::End(ExecutionStatus::Succeeded)
        );
    }

    #[test]
    fn an_execution_larger_than_the_host_gets_the_whole_host() {
        let mut machine = Machine::new(CAPACITY, 3);
        assert!(machine.admit(ExecutionId::generate(), needs(64, 10_000)));
        assert!(machine.is_full());
        assert!(!machine.admit(ExecutionId::generate(), needs(1, 1)));
    }

    proptest! {
        /// Whatever comes and goes, the host is never overcommitted and empties again.
        #[test]
        fn never_overcommitted(asks in proptest::collection::vec((0_u32..6, 0_u64..1500, any::<bool>()), 1..200)) {
            let mut machine = Machine::new(CAPACITY, 3);
            let mut running = Vec::new();
            for (cores, memory, finish_one) in asks {
                let execution = ExecutionId::generate();
                if machine.admit(execution, needs(cores, memory)) {
                    running.push(execution);
                }
                let used = machine.used();
                prop_assert!(used.cpu_cores <= CAPACITY.cpu_cores);
                prop_assert!(used.memory_bytes <= CAPACITY.memory_bytes);
                prop_assert_eq!(machine.running(), running.len());
                if finish_one && !running.is_empty() {
                    machine.finish(running.remove(0), 1, AttemptEnding::Succeeded);
                }
            }
            for execution in running {
                machine.finish(execution, 1, AttemptEnding::Succeeded);
            }
            prop_assert_eq!(machine.used(), needs(0, 0));
        }
    }
}
