//! Where what the tests work with is found; see also `bindery_testkit::{dist, shared}`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

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

/// A Python with the packages that `tests/integration/NAME/requirements.txt` pins, in an
/// environment that is made once, below `target`; none, with a loud word, where it cannot be had.
#[must_use]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
pub fn python_with(name: &str) -> Option<PathBuf> {
    match environment(name) {
        Ok(python) => Some(python),
        Err(fault) => {
            eprintln!("SKIPPED: no Python with what `{name}` needs: {fault:#}");
            None
        }
    }
}

fn environment(name: &str) -> Result<PathBuf> {
    let pins = project()
        .join("tests/integration")
        .join(name)
        .join("requirements.txt");
    let pinned = fs::read_to_string(&pins).with_context(|| pins.display().to_string())?;
    let place = project().join("target").join(format!("{name}-client"));
    let (python, mark) = (place.join("bin/python"), place.join("installed.txt"));
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == pinned) {
        return Ok(python);
    }
    let run = |command: &mut Command| {
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let mut make = Command::new(program("python3")?);
    run(make.args(["-m", "venv", "--clear"]).arg(&place))?;
    let mut install = Command::new(&python);
    run(install
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--requirement"])
        .arg(&pins))?;
    fs::write(&mark, pinned)?;
    Ok(python)
}

/// Copies a directory and all below it into one that is made where it is not there.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
