//! Tickets for WebSockets: a browser cannot give a WebSocket a header, and a token must not stand
//! in a URL, where proxies and histories keep it. A ticket may: it lets one connection in, soon.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bindery_identity::Principal;

use crate::Problem;

/// Long enough for a page to open its connection.
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);
/// Outstanding tickets: 300 new connections a second, all of them slow. Beyond that the oldest
/// go first.
const TICKETS_MAX: usize = 10_000;

/// The tickets that were given out and not used. They need not survive a restart.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    open: Mutex<HashMap<String, (Principal, Instant)>>,
}

impl Tickets {
    pub(crate) fn issue(&self, principal: Principal) -> Result<String, Problem> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Problem::internal(format!("no random bytes: {error}")))?;
        let ticket = hex::encode(bytes);
        let now = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= TICKETS_MAX {
            open.retain(|_, (_, issued)| now.duration_since(*issued) < LIFETIME);
        }
        if open.len() >= TICKETS_MAX {
            let oldest = open.iter().min_by_key(|(_, (_, issued))| *issued);
            if let Some(oldest) = oldest.map(|(ticket, _)| ticket.clone()) {
                open.remove(&oldest);
            }
        }
        open.insert(ticket.clone(), (principal, now));
        Ok(ticket)
    }

    /// Who the ticket was given to; it is used up by this. The search by hash leaks at most that
    /// a ticket is outstanding, of 256 random bits that live for seconds.
    pub(crate) fn redeem(&self, ticket: &str) -> Option<Principal> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (principal, issued) = open.remove(ticket)?;
        (issued.elapsed() < LIFETIME).then_some(principal)
    }

    #[cfg(test)]
    fn age(&self, ticket: &str, by: Duration) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, issued)) = open.get_mut(ticket)
            && let Some(earlier) = issued.checked_sub(by)
        {
            *issued = earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bindery_core::{OrgId, TokenId};
    use bindery_identity::Role;

    use super::*;

    fn principal() -> Principal {
        Principal {
            org: OrgId::BUILT_IN,
            token: TokenId::generate(),
            role: Role::Admin,
        }
    }

    #[test]
    fn a_ticket_lets_one_in_once_and_soon() {
        let tickets = Tickets::default();
        let principal = principal();
        let ticket = tickets.issue(principal).unwrap();
        assert_eq!(tickets.redeem(&ticket), Some(principal));
        assert_eq!(tickets.redeem(&ticket), None);
        let late = tickets.issue(principal).unwrap();
        tickets.age(&late, LIFETIME);
        assert_eq!(tickets.redeem(&late), None);
        assert_eq!(tickets.redeem("rubbish"), None);
    }

    #[test]
    fn outstanding_tickets_are_bounded() {
        let tickets = Tickets::default();
        for _ in 0..TICKETS_MAX + 10 {
            tickets.issue(principal()).unwrap();
        }
        assert_eq!(tickets.open.lock().unwrap().len(), TICKETS_MAX);
    }
}
