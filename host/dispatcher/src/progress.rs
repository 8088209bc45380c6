//! What is going on right now: kept in memory, as it is worth nothing after the run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bindery_core::ExecutionId;

/// The last word of a running execution.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Live {
    /// 0..=1; never less than before within one attempt.
    pub done: f32,
    pub stage: String,
    pub log_bytes: u64,
}

/// Shared between the workers (one writer for each execution) and readers of the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveTable {
    entries: Arc<Mutex<HashMap<ExecutionId, Live>>>,
}

impl LiveTable {
    pub(crate) fn get(&self, execution: ExecutionId) -> Option<Live> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&execution)
            .cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(crate) fn set(&self, execution: ExecutionId, live: Live) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(execution, live);
    }

    pub(crate) fn remove(&self, execution: ExecutionId) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&execution);
    }
}
