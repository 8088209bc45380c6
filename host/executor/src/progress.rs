//! Progress of an execution from that of its steps.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bindery_dispatcher::{AttemptUpdate, UpdateSink};

/// Share told before an attempt has ended: only the end is the end.
const NEARLY_DONE: f32 = 0.99;

/// Adds up the shares of steps that are done and of those that run.
pub(crate) struct ProgressMeter<'a> {
    sink: &'a dyn UpdateSink,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    done: f32,
    /// Weight and share done of each running step.
    running: HashMap<String, (f32, f32)>,
}

impl<'a> ProgressMeter<'a> {
    pub(crate) fn new(sink: &'a dyn UpdateSink) -> Self {
        Self {
            sink,
            state: Mutex::new(State::default()),
        }
    }

    pub(crate) fn begin(&self, step: &str, title: &str, weight: f32) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.running.insert(step.to_owned(), (weight, 0.0));
        }
        self.tell(title);
    }

    pub(crate) fn advance(&self, step: &str, title: &str, share: f32) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, done)) = state.running.get_mut(step) {
                *done = done.max(share);
            }
        }
        self.tell(title);
    }

    pub(crate) fn end(&self, step: &str, title: &str) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((weight, _)) = state.running.remove(step) {
                state.done += weight;
            }
        }
        self.tell(title);
    }

    /// A task without steps tells its share itself.
    pub(crate) fn stage(&self, title: &str) {
        self.tell(title);
    }

    fn tell(&self, stage: &str) {
        let done = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let running: f32 = state
                .running
                .values()
                .map(|(weight, done)| weight * done)
                .sum();
            (state.done + running).clamp(0.0, NEARLY_DONE)
        };
        self.sink.update(AttemptUpdate::Progress {
            done,
            stage: stage.to_owned(),
        });
    }
}
