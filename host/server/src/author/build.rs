//! `bindery plugin build`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{
    arguments::{BuildArguments, Language},
    project::{Project, Target, package_of},
    scaffold,
    tools::{self, CARGO, NODE, NPM, PYTHON, RUSTC},
};
use crate::exit::Exit;

const RUST_TARGET: &str = "wasm32-wasip2";
/// The world of `wit/plugin.wit`.
const WORLD: &str = "plugin";

pub(crate) async fn command(arguments: BuildArguments) -> anyhow::Result<Exit> {
    let project = Project::find(&arguments.directory)?;
    let package = tokio::task::spawn_blocking(move || build(&project)).await??;
    println!("{}", package.display());
    Ok(Exit::Done)
}

/// The package of a project, built anew, or a package that was there.
pub(crate) async fn package(directory: &Path, no_build: bool) -> anyhow::Result<PathBuf> {
    match Target::find(directory)? {
        Target::Project(project) if !no_build => {
            tokio::task::spawn_blocking(move || build(&project)).await?
        }
        _ => package_of(directory),
    }
}

/// Builds the component with the language's own tools and packs it; gives the package.
fn build(project: &Project) -> anyhow::Result<PathBuf> {
    scaffold::restore(project)?;
    let directory = tempfile::Builder::new().prefix("bindery-").tempdir()?;
    let made = directory.path().join("component.wasm");
    let component = match project.language {
        Language::Rust => rust(project)?,
        Language::Js => {
            javascript(project, &made)?;
            made
        }
        Language::Python => {
            python(project, &made)?;
            made
        }
    };
    project.pack(&component)
}

fn rust(project: &Project) -> anyhow::Result<PathBuf> {
    let mut probe = RUSTC.command(&project.root);
    probe.args(["--print", "target-libdir", "--target", RUST_TARGET]);
    let libraries = RUSTC.run(&mut probe, false)?;
    let libraries = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if !Path::new(&libraries).is_dir() {
        bail!(
            "Rust has no target {RUST_TARGET}; to mend it: `rustup target add {RUST_TARGET}`, or \
             your distribution's package for it"
        );
    }
    let mut command = CARGO.command(&project.root);
    command.args([
        "build",
        "--release",
        "--target",
        RUST_TARGET,
        "--lib",
        "--message-format",
        "json-render-diagnostics",
    ]);
    // Its diagnostics, with places, go straight to the author.
    let output = CARGO.run(&mut command, true)?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let manifest = project.root.join("Cargo.toml");
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| {
            let of = message.get("manifest_path").and_then(Value::as_str);
            of.is_some_and(|path| Path::new(path) == manifest)
        })
        .find_map(|message| {
            let files = message.get("filenames")?.as_array()?;
            let wasm = files
                .iter()
                .filter_map(Value::as_str)
                .find(|path| path.ends_with(".wasm"))?;
            Some(PathBuf::from(wasm))
        })
        .context("cargo made no component: does Cargo.toml say `crate-type = [\"cdylib\", …]`?")
}

fn javascript(project: &Project, component: &Path) -> anyhow::Result<()> {
    let tool = project
        .root
        .join("node_modules/componentize-qjs/bin/componentize-qjs");
    if !tool.is_file() {
        // The lock file, when there is one, says what exactly is installed.
        let how = if project.root.join("package-lock.json").is_file() {
            "ci"
        } else {
            "install"
        };
        eprintln!("installing the tools of package.json (npm {how})");
        let mut command = NPM.command(&project.root);
        command.args([how, "--no-audit", "--no-fund"]);
        NPM.run(&mut command, false).context(
            "failed to install the tools of package.json; to try by hand: `npm install`",
        )?;
    }
    if !tool.is_file() {
        bail!(
            "package.json does not name `componentize-qjs`; to mend it: `npm install --save-dev \
             componentize-qjs`"
        );
    }
    let mut command = NODE.command(&project.root);
    command
        .arg(&tool)
        .args(["--wit", "wit", "--world", WORLD, "--js", "task.js"])
        // Without it the component wants an async host.
        .args(["--sync", "--output"])
        .arg(component);
    let output = NODE.run(&mut command, false)?;
    if !component.is_file() {
        bail!("the component was not made:\n{}", tools::words(&output));
    }
    Ok(())
}

fn python(project: &Project, component: &Path) -> anyhow::Result<()> {
    let tool = project.root.join(".venv/bin/componentize-py");
    if !tool.is_file() {
        eprintln!("installing the tools of requirements.txt into .venv");
        let mut command = PYTHON.command(&project.root);
        command.args(["-m", "venv", ".venv"]);
        PYTHON.run(&mut command, false).context(
            "failed to make .venv; to try by hand: `python3 -m venv .venv` (Debian and Ubuntu \
             need `apt-get install python3-venv`)",
        )?;
        let pip = project.root.join(".venv/bin/pip");
        let mut command = tools::command(&pip, &project.root);
        command.args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            "requirements.txt",
        ]);
        tools::run(&mut command, false, PYTHON.install).context(
            "failed to install the tools of requirements.txt; to try by hand: `.venv/bin/pip \
             install -r requirements.txt`",
        )?;
    }
    if !tool.is_file() {
        bail!(
            "requirements.txt does not name `componentize-py`; to mend it: add \
             `componentize-py==0.25.1` to it"
        );
    }
    let mut command = tools::command(&tool, &project.root);
    command
        .args(["--quiet", "-d", "wit", "-w", WORLD, "componentize"])
        // What Python's library would reach of the system (sockets among it) traps; files and
        // standard error come through the SDK, by the interfaces that the world names.
        .arg("--stub-wasi")
        .args(["-p", ".", "-p", "vendor/bindery", "bindery_entry", "-o"])
        .arg(component);
    tools::run(&mut command, false, PYTHON.install)?;
    let made = fs::read(component).context("failed to read the component")?;
    fs::write(component, name_wasi(made)).context("failed to write the component")
}

/// Gives the interfaces that a Python plugin's world names their real names.
///
/// componentize-py replaces all of WASI by traps, or nothing: then a component imports sockets,
/// which no plugin is granted. So the world names files and standard error by another namespace,
/// which is left alone, and is renamed afterwards; both names have one length, so that nothing
/// else in the component changes. To be removed when componentize-py can stub by interface.
fn name_wasi(mut component: Vec<u8>) -> Vec<u8> {
    for package in ["filesystem/", "io/", "clocks/", "cli/"] {
        let from = format!("{}{package}", scaffold::HOST_NAMESPACE);
        let to = format!("wasi:{package}");
        let mut start = 0;
        while let Some(at) = find(component.get(start..).unwrap_or_default(), from.as_bytes()) {
            let (begin, end) = (start + at, start + at + from.len());
            if let Some(name) = component.get_mut(begin..end) {
                name.copy_from_slice(to.as_bytes());
            }
            start = end;
        }
    }
    component
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_nothing_moves() {
        let made = b"a host:io/streams@0.2.12 host:other host:cli/x".to_vec();
        let named = name_wasi(made.clone());
        assert_eq!(named, b"a wasi:io/streams@0.2.12 host:other wasi:cli/x");
        assert_eq!(named.len(), made.len());
    }
}
