//! What work cost.

use crate::Digest;

/// Resources that one piece of work used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub wall_ms: u64,
    /// User and system time of all processes or of the guest's thread.
    pub cpu_ms: u64,
    pub peak_memory_bytes: u64,
}

impl Usage {
    /// The usage of two pieces of work done one after the other.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            wall_ms: self.wall_ms.saturating_add(later.wall_ms),
            cpu_ms: self.cpu_ms.saturating_add(later.cpu_ms),
            peak_memory_bytes: self.peak_memory_bytes.max(later.peak_memory_bytes),
        }
    }
}

/// What one phase of an execution cost: a guest call or an engine step.
#[derive(Debug, Clone, PartialEq)]
pub struct CostReceipt {
    /// `validate`, `next`, `parse`, `compute`, or `step:ID`.
    pub phase: String,
    pub wall_us: u64,
    pub cpu_us: u64,
    pub peak_memory_bytes: u64,
    /// Bytes given to and taken from the guest or the engine.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Whether a guest's instance was made for this call; none for engine steps.
    pub fresh: Option<bool>,
    /// Of the component.
    pub digest: Option<Digest>,
}
