//! Where the program and the shared data are.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The runnable tree under test: `BINDERY_DIST`, or `target/dist` of this project.
///
/// # Errors
/// When there is none.
pub fn dist() -> Result<PathBuf> {
    let dist = std::env::var_os("BINDERY_DIST")
        .map_or_else(|| project().join("target/dist"), PathBuf::from);
    if !dist.join("bindery").is_file() {
        bail!("no program in {}: run cargo xtask build", dist.display());
    }
    Ok(dist)
}

/// A file or directory of the shared test data (`BINDERY_SHARED`, or `shared` beside this
/// project); none, with a loud word, where it is absent.
#[must_use]
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BINDERY_SHARED")
        .map_or_else(|| project().join("../shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    say_skipped(&found);
    None
}

#[expect(
    clippy::print_stderr,
    reason = "a skipped test must not look like one that ran"
)]
fn say_skipped(missing: &Path) {
    eprintln!("SKIPPED: {} is absent", missing.display());
}

/// Where compiled plugins are kept between servers, as each has a fresh data directory: a cache
/// of the server's own making, used only for the very same program.
pub(crate) fn component_cache(program: &Path) -> Option<PathBuf> {
    let metadata = program.metadata().ok()?;
    let built = metadata
        .modified()
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    let name = format!("{}-{}", built.as_nanos(), metadata.len());
    Some(project().join("target/testkit-cache").join(name))
}
