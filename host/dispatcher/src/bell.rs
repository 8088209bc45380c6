//! Rung by submissions, heard by the loop. Many rings that are not heard yet are one, so ringing
//! never waits and takes no room.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bindery_core::OrgId;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// The highest priority that each organisation rang for.
    rung: Mutex<BTreeMap<OrgId, u8>>,
    notify: Notify,
}

impl Bell {
    pub(crate) fn ring(&self, org: OrgId, priority: u8) {
        {
            let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
            let highest = rung.entry(org).or_default();
            *highest = (*highest).max(priority);
        }
        self.notify.notify_one();
    }

    /// Ends when the bell was rung since it last did.
    pub(crate) async fn heard(&self) {
        self.notify.notified().await;
    }

    /// Who rang since this was last called.
    pub(crate) fn take(&self) -> BTreeMap<OrgId, u8> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
