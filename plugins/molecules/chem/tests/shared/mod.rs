//! Where the shared test data is.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};

/// A directory or file below the shared `data`; says loudly when it is not there.
pub(crate) fn data(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BINDERY_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared"),
        PathBuf::from,
    );
    let found = root.join("data").join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!(
        "SKIPPED: {} is not there; set BINDERY_SHARED",
        found.display()
    );
    None
}
