//! Executions that are claimed and wait for room: no longer in the store's queue, not yet running.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bindery_core::{ExecutionId, OrgId};

/// Written by the loop; read by whoever asks for a place in the queue.
#[derive(Debug, Clone, Default)]
pub(crate) struct WaitingTable {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    count: u64,
    entries: HashMap<ExecutionId, (OrgId, Reverse<u8>, u64)>,
}

impl WaitingTable {
    pub(crate) fn insert(&self, execution: ExecutionId, org: OrgId, priority: u8) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.count += 1;
        let number = inner.count;
        inner
            .entries
            .insert(execution, (org, Reverse(priority), number));
    }

    pub(crate) fn remove(&self, execution: ExecutionId) {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entries
            .remove(&execution);
    }

    /// Of one organisation, in the order of starting.
    pub(crate) fn of(&self, org: OrgId) -> Vec<ExecutionId> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = inner
            .entries
            .iter()
            .filter(|(_, (of, ..))| *of == org)
            .map(|(execution, (_, priority, number))| (*priority, *number, *execution))
            .collect();
        drop(inner);
        found.sort_unstable();
        found.into_iter().map(|(.., execution)| execution).collect()
    }
}
