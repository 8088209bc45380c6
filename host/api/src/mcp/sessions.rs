//! Whose session is whose.
//!
//! The SDK keeps sessions and knows no callers. An id is hard to guess, but it is not a
//! credential: it stands in logs of proxies.

use std::collections::HashMap;

use axum::http::{HeaderValue, StatusCode, header};
use bindery_identity::Principal;
use parking_lot::Mutex;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;

use crate::Problem;

/// Of one token: an agent has one, a person some agents.
const OF_TOKEN_MAX: usize = 64;
/// Of all: each has a task and a queue of some KiB.
const ALL_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    owners: Mutex<HashMap<String, Principal>>,
}

impl Sessions {
    /// Another one's session is no session.
    pub(super) fn is_of(&self, id: &str, caller: &Principal) -> bool {
        self.owners.lock().get(id) == Some(caller)
    }

    pub(super) fn open(&self, id: &str, caller: Principal) {
        self.owners.lock().entry(id.to_owned()).or_insert(caller);
    }

    pub(super) fn close(&self, id: &str) {
        self.owners.lock().remove(id);
    }

    /// Forgets sessions that have ended by themselves, and refuses one more where there are too
    /// many.
    pub(super) async fn make_room(
        &self,
        manager: &LocalSessionManager,
        caller: &Principal,
    ) -> Result<(), Problem> {
        if !self.is_full(caller) {
            return Ok(());
        }
        let alive: Vec<String> = manager
            .sessions
            .read()
            .await
            .keys()
            .map(ToString::to_string)
            .collect();
        self.owners
            .lock()
            .retain(|id, _| alive.iter().any(|alive| alive == id));
        if self.is_full(caller) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_sessions",
                "close sessions that are no longer used (`DELETE /mcp`)",
            )
            .header(header::RETRY_AFTER, HeaderValue::from_static("60")));
        }
        Ok(())
    }

    fn is_full(&self, caller: &Principal) -> bool {
        let owners = self.owners.lock();
        let own = owners
            .values()
            .filter(|owner| owner.token == caller.token)
            .count();
        owners.len() >= ALL_MAX || own >= OF_TOKEN_MAX
    }
}
