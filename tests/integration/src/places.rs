//! Where what the tests work with is found; see also `bindery_testkit::{dist, shared}`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

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

/// Whether the tools of a language are on this machine; says so loudly when not.
#[must_use]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub fn language_tools(language: &str) -> bool {
    let works = |program: &str, argument: &[&str]| {
        let status = Command::new(program)
            .args(argument)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let there = match language {
        "js" => works("node", &["--version"]) && works("npm", &["--version"]),
        "python" => works("python3", &["-c", "import venv, ensurepip"]),
        _ => true,
    };
    if !there {
        eprintln!("SKIPPED: the tools for {language} are absent");
    }
    there
}
