//! Where what the tests work with is found; see also `bindery_testkit::{dist, shared}`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The project's root, from where this crate stands in it.
#[must_use]
pub fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// A program on `PATH`.
///
/// # Errors
/// When it is not there.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("`{name}` is not on PATH: run cargo xtask setup"))
}
