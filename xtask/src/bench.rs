//! `cargo xtask bench`: the programs of `benches/`, one after the other.

use std::{collections::BTreeSet, fs};

use anyhow::{Result, bail};

use crate::{
    command::run,
    dist,
    project::{Project, Workspace},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Benchmarks to run [default: all]
    names: Vec<String>,
}

pub(crate) fn bench(project: &Project, arguments: &Arguments) -> Result<()> {
    let known = names(project)?;
    if let Some(unknown) = arguments.names.iter().find(|name| !known.contains(*name)) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        bail!(
            "there is no benchmark `{unknown}`; there are: {}",
            known.join(", ")
        );
    }
    // Some of them measure the program that ships.
    dist::build(project)?;
    for name in known {
        if !arguments.names.is_empty() && !arguments.names.contains(&name) {
            continue;
        }
        let mut command = project.cargo(Workspace::Host, "run");
        command.args([
            "--locked",
            "--release",
            "--package",
            "bindery-benches",
            "--bin",
            &name,
        ]);
        command.env("BINDERY_GUESTS_DIR", project.components());
        run(&mut command)?;
    }
    Ok(())
}

fn names(project: &Project) -> Result<BTreeSet<String>> {
    let directory = project.root().join("benches/src/bin");
    let mut names = BTreeSet::new();
    if !directory.is_dir() {
        return Ok(names);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem() {
            names.insert(stem.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}
