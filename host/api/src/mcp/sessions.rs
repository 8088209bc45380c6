//! Whose session is whose.
//!
//! The SDK keeps sessions and knows no callers. An id is hard to guess, but it is not a
//! credential: it stands in logs of proxies.
//!
//! Their number is bounded. Agents rarely close what they open, so where there are too many, the
//! one that nobody has used for the longest time is put aside; its client is told that there is
//! no such session, and opens another one. A session that is being answered, or listened to, is
//! in use.

use std::{collections::HashMap, sync::Arc};

use axum::http::{HeaderValue, StatusCode, header};
use bindery_identity::Principal;
use parking_lot::Mutex;
use rmcp::transport::streamable_http_server::session::{
    SessionManager, local::LocalSessionManager,
};

use crate::Problem;

/// Of one token: an agent has one, a person some agents.
const OF_TOKEN_MAX: usize = 64;
/// Of all: each has a task and a queue of some KiB.
const ALL_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<String, Session>,
    /// Grows with every use: the order of uses, which is all that is needed of time.
    uses: u64,
}

#[derive(Debug)]
struct Session {
    owner: Principal,
    /// Requests whose answers are not at their end.
    open: usize,
    last_use: u64,
}

/// A session is in use until this is dropped.
#[derive(Debug)]
pub(super) struct InUse {
    sessions: Arc<Sessions>,
    id: String,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.sessions.table.lock().touch(&self.id, |session| {
            session.open = session.open.saturating_sub(1);
        });
    }
}

impl Table {
    fn touch(&mut self, id: &str, change: impl FnOnce(&mut Session)) {
        self.uses += 1;
        if let Some(session) = self.sessions.get_mut(id) {
            session.last_use = self.uses;
            change(session);
        }
    }

    /// Takes out the session that has been idle for the longest time where there are too many;
    /// `kept` is not thought of. An error when all of them are in use.
    fn take_surplus(&mut self, caller: &Principal, kept: &str) -> Result<Option<String>, ()> {
        let is_own = |session: &Session| session.owner.token == caller.token;
        let own = self.sessions.values().filter(|it| is_own(it)).count();
        let too_many_own = own > OF_TOKEN_MAX;
        if !too_many_own && self.sessions.len() <= ALL_MAX {
            return Ok(None);
        }
        let oldest = self
            .sessions
            .iter()
            .filter(|(id, session)| {
                id.as_str() != kept && session.open == 0 && (!too_many_own || is_own(session))
            })
            .min_by_key(|(_, session)| session.last_use)
            .map(|(id, _)| id.clone())
            .ok_or(())?;
        self.sessions.remove(&oldest);
        Ok(Some(oldest))
    }
}

impl Sessions {
    /// The caller's own session, from now on in use. Another one's session is no session.
    pub(super) fn enter(self: &Arc<Self>, id: &str, caller: &Principal) -> Option<InUse> {
        let mut table = self.table.lock();
        if table.sessions.get(id)?.owner != *caller {
            return None;
        }
        table.touch(id, |session| session.open += 1);
        Some(self.in_use(id))
    }

    fn in_use(self: &Arc<Self>, id: &str) -> InUse {
        InUse {
            sessions: Arc::clone(self),
            id: id.to_owned(),
        }
    }

    /// A session that has just been opened, in use. Where there are too many with it, those that
    /// have been idle for the longest time are put aside.
    ///
    /// # Errors
    /// When all others are in use: then the new one is closed.
    pub(super) async fn open(
        self: &Arc<Self>,
        manager: &LocalSessionManager,
        id: &str,
        caller: Principal,
    ) -> Result<InUse, Problem> {
        {
            let mut table = self.table.lock();
            let uses = table.uses;
            table
                .sessions
                .entry(id.to_owned())
                .or_insert_with(|| Session {
                    owner: caller,
                    open: 0,
                    last_use: uses,
                });
            table.touch(id, |session| session.open += 1);
        }
        let in_use = self.in_use(id);
        self.forget_ended(manager).await;
        loop {
            let surplus = self.table.lock().take_surplus(&caller, id);
            match surplus {
                Ok(None) => return Ok(in_use),
                Ok(Some(surplus)) => {
                    tracing::info!("an agent's session is put aside: too many are open");
                    end(manager, &surplus).await;
                }
                Err(()) => {
                    self.close(id);
                    end(manager, id).await;
                    return Err(Problem::new(
                        StatusCode::TOO_MANY_REQUESTS,
                        "too_many_sessions",
                        "all sessions are in use: close some (`DELETE /mcp`)",
                    )
                    .header(header::RETRY_AFTER, HeaderValue::from_static("60")));
                }
            }
        }
    }

    pub(super) fn close(&self, id: &str) {
        self.table.lock().sessions.remove(id);
    }

    /// Forgets sessions that have ended by themselves.
    async fn forget_ended(&self, manager: &LocalSessionManager) {
        let alive = manager.sessions.read().await;
        self.table
            .lock()
            .sessions
            .retain(|id, _| alive.contains_key(id.as_str()));
    }
}

async fn end(manager: &LocalSessionManager, id: &str) {
    // One that has ended by itself meanwhile is ended.
    if let Err(error) = manager.close_session(&id.into()).await {
        tracing::debug!(%error, "a session has ended already");
    }
}
