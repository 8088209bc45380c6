//! What a build and a run need beyond Rust itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{
    command::{output, run, works},
    project::{Project, WASM_TARGET},
};

/// A native program that tasks run, and the Debian package that brings it.
struct Engine {
    program: &'static str,
    probe: &'static str,
    package: &'static str,
}

const ENGINES: [Engine; 2] = [
    Engine {
        program: "vina",
        probe: "--version",
        package: "autodock-vina",
    },
    Engine {
        program: "obabel",
        probe: "-V",
        package: "openbabel",
    },
];

/// Version of the client of OCI registries that tests use.
const ORAS: &str = "0.2.43";

/// Installs what is missing, and says what it found.
pub(crate) fn setup(project: &Project) -> Result<()> {
    wasm_target(project)?;
    engines()?;
    clients(project);
    // Examples and tests of plugins in other languages; each project installs its own tool.
    for (program, argument, what) in [
        ("node", "--version", "plugins in JavaScript"),
        ("npm", "--version", "plugins in JavaScript"),
        ("python3", "--version", "plugins in Python"),
    ] {
        match output(Command::new(program).arg(argument)) {
            Ok(version) => eprintln!("setup: {program} {} is there", version.trim()),
            Err(_) => eprintln!("setup: {program} is absent; tests of {what} will be SKIPPED"),
        }
    }
    Ok(())
}

/// Programs that tests talk to us with, and that we did not write, in an environment of their own
/// in `target/clients`. Nothing that ships needs them: without them, their tests are skipped, with a
/// loud word.
fn clients(project: &Project) {
    let place = project.root().join("target/clients");
    let python = place.join("bin/python");
    let works_already = Command::new(&python)
        .args([
            "-c",
            &format!("import importlib.metadata as m; assert m.version('oras') == '{ORAS}'"),
        ])
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if works_already {
        eprintln!("setup: the client oras is there");
        return;
    }
    let installed = run(Command::new("python3").args(["-m", "venv"]).arg(&place)).and_then(|()| {
        run(Command::new(&python).args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            &format!("oras=={ORAS}"),
        ]))
    });
    if let Err(error) = installed {
        eprintln!("setup: no client oras, its tests will be SKIPPED: {error:#}");
    }
}

/// A toolchain that was already installed does not gain the target from `rust-toolchain.toml`.
pub(crate) fn wasm_target(project: &Project) -> Result<()> {
    if has_wasm_target(project)? {
        eprintln!("setup: target {WASM_TARGET} is there");
        return Ok(());
    }
    if !works("rustup", &["--version"]) {
        bail!(
            "the Rust target {WASM_TARGET} is missing and there is no rustup to add it: install \
             your distribution's package for it, or Rust through rustup (see README.md)"
        );
    }
    // In the root, so that rustup takes the toolchain of `rust-toolchain.toml`.
    run(Command::new("rustup")
        .args(["target", "add", WASM_TARGET])
        .current_dir(project.root()))?;
    if !has_wasm_target(project)? {
        bail!("rustup added {WASM_TARGET} to another toolchain than the one that runs this");
    }
    Ok(())
}

fn has_wasm_target(project: &Project) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let directory = output(command.current_dir(project.root()))?;
    Ok(Path::new(directory.trim()).is_dir())
}

/// Pinned: a later one may find faults that no change of ours made.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Where the project's own copy of cargo-deny is, once [`cargo_deny`] has built it.
pub(crate) fn cargo_deny_program(project: &Project) -> PathBuf {
    project.tools().join("bin/cargo-deny")
}

/// Builds the auditor of dependencies below `target/`, once.
pub(crate) fn cargo_deny(project: &Project) -> Result<PathBuf> {
    let program = cargo_deny_program(project);
    let wanted = format!("cargo-deny {CARGO_DENY_VERSION}");
    if output(Command::new(&program).arg("--version")).is_ok_and(|said| said.trim() == wanted) {
        return Ok(program);
    }
    let mut command = Command::new("cargo");
    command
        .args(["install", "--locked", "--force", "--root"])
        .arg(project.tools())
        .args(["--version", CARGO_DENY_VERSION, "cargo-deny"])
        .current_dir(project.root());
    run(&mut command)?;
    Ok(program)
}

fn engines() -> Result<()> {
    let mut missing = Vec::new();
    for engine in &ENGINES {
        if works(engine.program, &[engine.probe]) {
            eprintln!("setup: {} is there", engine.program);
        } else {
            missing.push(engine);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|engine| engine.package).collect();
    let packages = packages.join(" ");
    let by_hand = format!(
        "install {} by hand (Debian and Ubuntu: apt-get install {packages}; conda-forge and \
         Homebrew have them too)",
        missing
            .iter()
            .map(|engine| engine.program)
            .collect::<Vec<_>>()
            .join(" and "),
    );
    if find_program("apt-get").is_none() {
        bail!("there is no apt-get here: {by_hand}");
    }
    let privileged = privileged().with_context(|| by_hand.clone())?;
    let apt = |arguments: &str| -> Result<()> {
        let mut words = privileged.iter().copied().chain(arguments.split(' '));
        let mut command = Command::new(words.next().unwrap_or_default());
        run(command.args(words))
    };
    // Without fresh lists, a minimal image knows no packages at all; with stale ones of another
    // source the packages may still be there.
    if let Err(error) = apt("apt-get update --quiet") {
        eprintln!("setup: {error:#}; trying with the package lists that are there");
    }
    apt(&format!(
        "apt-get install --yes --no-install-recommends {packages}"
    ))
    .with_context(|| by_hand.clone())?;
    for engine in missing {
        if !works(engine.program, &[engine.probe]) {
            bail!(
                "{} does not run after its installation: {by_hand}",
                engine.program
            );
        }
    }
    Ok(())
}

/// Words to put before a command that needs root. `sudo` must not ask: nobody may be there.
fn privileged() -> Result<&'static [&'static str]> {
    // `env` passes its settings on where sudo clears them.
    if rustix::process::geteuid().is_root() {
        Ok(&["env", "DEBIAN_FRONTEND=noninteractive"])
    } else if works("sudo", &["-n", "true"]) {
        Ok(&["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"])
    } else {
        bail!("not root, and sudo would ask for a password")
    }
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}
