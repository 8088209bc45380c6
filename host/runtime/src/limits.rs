//! What one guest call may use.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Limits of one call. Time is measured over the whole call, host calls included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallLimits {
    pub wall: Duration,
    /// Sum of all linear memories and tables.
    pub memory_bytes: usize,
    /// Bytes below `/work` and `/out` together that the guest may leave there.
    pub disk_bytes: u64,
    /// Bytes that may cross from guest to host in one call.
    pub hostcall_bytes: usize,
}

impl CallLimits {
    /// The same with another wall time.
    #[must_use]
    pub const fn with_wall(self, wall: Duration) -> Self {
        Self { wall, ..self }
    }
}

/// The limits of each class of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitClasses {
    /// `describe`, `validate`, `sniff`: somebody waits for the answer.
    pub interactive: CallLimits,
    /// `inspect`, `records`, `next`, `parse`: reads and writes files of some size.
    pub files: CallLimits,
    /// Computing in the guest; the wall time comes from the task's resource hints.
    pub compute: CallLimits,
}

impl Default for LimitClasses {
    fn default() -> Self {
        Self {
            interactive: CallLimits {
                wall: Duration::from_secs(2),
                memory_bytes: 256 << 20,
                disk_bytes: 0,
                hostcall_bytes: 16 << 20,
            },
            files: CallLimits {
                wall: Duration::from_secs(60),
                memory_bytes: 512 << 20,
                disk_bytes: 2 << 30,
                hostcall_bytes: 16 << 20,
            },
            compute: CallLimits {
                wall: Duration::from_secs(600),
                memory_bytes: 1 << 30,
                disk_bytes: 2 << 30,
                hostcall_bytes: 64 << 20,
            },
        }
    }
}

/// Elements of one table; a function table of a large component has some ten thousands.
const TABLE_ELEMENTS_MAX: usize = 200_000;

/// The guest asked for more memory than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("memory limit of {limit_bytes} bytes exceeded (asked for {asked_bytes})")]
pub(crate) struct MemoryLimitExceeded {
    pub(crate) limit_bytes: usize,
    pub(crate) asked_bytes: usize,
}

/// What the host keeps for one element of a table.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Counts the memory of one store, its tables included: a component may have hundreds. Growth over the limit traps instead of returning -1: most
/// guests would only panic with less to say.
#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit_bytes: usize,
    used_bytes: usize,
}

impl MemoryLimiter {
    pub(crate) const fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            used_bytes: 0,
        }
    }

    pub(crate) const fn set_limit(&mut self, limit_bytes: usize) {
        self.limit_bytes = limit_bytes;
    }

    fn take(&mut self, bytes: usize) -> Result<(), MemoryLimitExceeded> {
        let asked_bytes = self.used_bytes.saturating_add(bytes);
        if asked_bytes > self.limit_bytes {
            return Err(MemoryLimitExceeded {
                limit_bytes: self.limit_bytes,
                asked_bytes,
            });
        }
        self.used_bytes = asked_bytes;
        Ok(())
    }

    /// Neither memories nor tables shrink: what is used at the end is the peak.
    pub(crate) const fn peak_bytes(&self) -> u64 {
        self.used_bytes as u64
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take(desired.saturating_sub(current))?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current);
        self.take(elements.saturating_mul(ELEMENT_BYTES))?;
        Ok(true)
    }

    /// Core instances of one component; Python's have many.
    fn instances(&self) -> usize {
        300
    }

    fn tables(&self) -> usize {
        300
    }

    fn memories(&self) -> usize {
        8
    }
}
