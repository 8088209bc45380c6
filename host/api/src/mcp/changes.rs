//! When the list of tools has become another one.
//!
//! Whoever loads and unloads plugins swaps the catalog and owes nobody a word, so the catalog is
//! looked at: twice a second, and only while somebody wants to know.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::sync::watch;

use crate::app::App;

const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ToolChanges {
    app: App,
    /// The fingerprint last seen; one task writes it, while there are readers.
    seen: watch::Sender<u64>,
}

impl ToolChanges {
    pub(super) fn new(app: &App) -> Self {
        Self {
            seen: watch::Sender::new(fingerprint(app)),
            app: app.clone(),
        }
    }

    /// Changes from now on.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        let first = self.seen.receiver_count() == 0;
        if first {
            // What changed while nobody looked is no news to whoever comes now.
            self.seen.send_replace(fingerprint(&self.app));
        }
        let receiver = self.seen.subscribe();
        if first {
            let changes = self.clone();
            tokio::spawn(async move { changes.look().await });
        }
        receiver
    }

    async fn look(&self) {
        let stop = self.app.services().stop.clone();
        loop {
            let now = fingerprint(&self.app);
            self.seen.send_if_modified(|seen| {
                let changed = *seen != now;
                *seen = now;
                changed
            });
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.seen.closed() => return,
                () = stop.cancelled() => return,
            }
        }
    }
}

/// The same for the same tools.
fn fingerprint(app: &App) -> u64 {
    let services = app.services();
    let mut hasher = DefaultHasher::new();
    for listing in services.catalog.tasks() {
        listing.definition.id.hash(&mut hasher);
        listing.definition.version.hash(&mut hasher);
        listing.plugin.hash(&mut hasher);
        services
            .engines
            .unavailable(&listing.definition)
            .is_none()
            .hash(&mut hasher);
    }
    hasher.finish()
}
