//! Builds the components that tests and benchmarks load, once per process.
//!
//! Three workspaces hold guests: `tests/guests` (one file, one behaviour), `tests/guests-0.1` and
//! `plugins`. Where the
//! variable `BINDERY_GUESTS_DIR` names a directory, components are taken from there as
//! `NAME.wasm` and nothing is built. Several processes may ask at once: cargo's own lock on the
//! target directory lets one build and the others wait.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

include!(concat!(env!("OUT_DIR"), "/foreach_guest.rs"));

const TARGET: &str = "wasm32-wasip2";

/// A component that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum GuestBuildError {
    #[error("failed to start cargo")]
    Start(#[source] std::io::Error),
    #[error("failed to build {what} (is the target {TARGET} installed?): {output}")]
    Build { what: String, output: String },
    #[error("failed to read the component at {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// The component of `tests/guests/examples/NAME.rs`.
///
/// # Errors
/// When it cannot be built or read.
pub fn guest(name: &str) -> Result<Vec<u8>, GuestBuildError> {
    component("tests/guests", &["--examples"], "examples", name)
}

/// The component of a package of `plugins`, for example `system-noop`.
///
/// # Errors
/// When it cannot be built or read.
pub fn plugin(package: &str) -> Result<Vec<u8>, GuestBuildError> {
    component(
        "plugins",
        &["--package", package],
        "",
        &package.replace('-', "_"),
    )
}

/// The component of `tests/guests-0.1`: of the first published contract, built as it was then.
///
/// # Errors
/// When it cannot be built or read.
pub fn frozen() -> Result<Vec<u8>, GuestBuildError> {
    component("tests/guests-0.1", &["--lib"], "", "frozen_0_1")
}

fn component(
    workspace: &str,
    selection: &[&str],
    folder: &str,
    name: &str,
) -> Result<Vec<u8>, GuestBuildError> {
    let file = format!("{name}.wasm");
    let path = match std::env::var_os("BINDERY_GUESTS_DIR") {
        Some(directory) => Path::new(&directory).join(file),
        None => {
            let target = project()
                .join("target/guests")
                .join(workspace.replace('/', "-"));
            build(&project().join(workspace), selection, &target)?;
            target.join(TARGET).join("release").join(folder).join(file)
        }
    };
    std::fs::read(&path).map_err(|source| GuestBuildError::Read { path, source })
}

fn build(workspace: &Path, selection: &[&str], target: &Path) -> Result<(), GuestBuildError> {
    // Held while cargo runs: the other tests of this process need what it builds.
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let what = format!("{} {}", workspace.display(), selection.join(" "));
    let mut built = BUILT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if built.contains(&what) {
        return Ok(());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(target)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"))
        .args(selection)
        // Those of the host's build that surrounds this one.
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .output()
        .map_err(GuestBuildError::Start)?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(GuestBuildError::Build { what, output });
    }
    built.insert(what);
    Ok(())
}

/// The project's root, from where this crate stands in it.
fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}
