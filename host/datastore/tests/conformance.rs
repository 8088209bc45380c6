//! Every implementation keeps every promise of the port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::{sync::Arc, time::Duration};

use bindery_datastore::{
    Datastore, LocalDatastore, MemoryDatastore, Options,
    conformance::{Fixture, clock},
};

fn local(options: Options) -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let options = Options {
        clock: Arc::clone(&clock) as _,
        ..options
    };
    let datastore: Arc<dyn Datastore> =
        Arc::new(LocalDatastore::open(dir.path(), options).unwrap());
    Fixture {
        datastore,
        clock,
        keep: Box::new(dir),
    }
}

mod memory {
    use super::*;

    fn fixture() -> Fixture {
        let clock = clock();
        Fixture {
            datastore: Arc::new(MemoryDatastore::with_clock(Arc::clone(&clock) as _)),
            clock,
            keep: Box::new(()),
        }
    }

    bindery_datastore::conformance_tests!(fixture());
}

mod local {
    bindery_datastore::conformance_tests!(super::local(super::Options::default()));
}

/// The same while the index is written all the time, from tiny segments: what is read comes from
/// sled, from the layers, and from both.
mod local_flushing {
    use super::*;

    fn options() -> Options {
        Options {
            flush_interval: Duration::from_millis(1),
            segment_bytes_max: 4 * 1024,
            ..Options::default()
        }
    }

    bindery_datastore::conformance_tests!(super::local(options()));
}
