//! The runnable tree in `target/dist`.
//!
//! ```text
//! target/dist/
//!   bindery            the program
//!   bindery-sandbox    its helper
//!   plugins/NAME/      packages
//!   engines/NAME.toml  manifests
//!   shipped-plugins    digests of the packages
//! ```
//!
//! Files are replaced by renaming, and only when they differ: a server that runs from the tree
//! is not disturbed, and one that watches it is not woken for nothing.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{
    command::run,
    guests,
    project::{Project, Workspace},
    setup, shipped,
};

const PROGRAMS: [&str; 2] = ["bindery", "bindery-sandbox"];

pub(crate) fn build(project: &Project) -> Result<()> {
    setup::wasm_target(project)?;
    guests::build(project)?;
    let mut command = project.cargo(Workspace::Host, "build");
    command.args(["--locked", "--release"]);
    // The whole workspace: for a part of it that asks for fewer features, cargo would build the
    // large dependencies once more beside those of the tests.
    run(command.args(["--workspace", "--bins"]))?;
    assemble(project)
}

/// Lays the tree out from what was built; the plugins are there already.
pub(crate) fn assemble(project: &Project) -> Result<()> {
    let dist = project.dist();
    for program in PROGRAMS {
        install(&project.release().join(program), &dist.join(program))?;
    }
    for licence in guests::licences(project.root())? {
        install(
            &licence,
            &dist.join(licence.file_name().unwrap_or_default()),
        )?;
    }
    let mut manifests = Vec::new();
    for entry in fs::read_dir(project.root().join("engines"))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            install(&path, &dist.join("engines").join(&name))?;
            manifests.push(name);
        }
    }
    prune(&dist.join("engines"), |name| {
        manifests.iter().any(|one| one == name)
    })?;
    shipped::write(&dist.join("plugins"), &dist.join("shipped-plugins"))?;
    eprintln!("target/dist is ready");
    Ok(())
}

/// Copies a file unless the same bytes are there already.
pub(crate) fn install(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("failed to read {}", from.display()))?;
    let permissions = fs::metadata(from)?.permissions();
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let context = || format!("failed to write {}", to.display());
    let directory = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).with_context(context)?;
    let temporary = tempfile::NamedTempFile::new_in(directory).with_context(context)?;
    fs::write(temporary.path(), content).with_context(context)?;
    fs::set_permissions(temporary.path(), permissions).with_context(context)?;
    temporary.persist(to).with_context(context)?;
    Ok(())
}

/// Removes from a directory what is not to be kept: left-overs of earlier builds.
pub(crate) fn prune(directory: &Path, keep: impl Fn(&str) -> bool) -> Result<()> {
    // Nothing was ever laid there.
    if !directory.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if keep(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.with_context(|| format!("failed to remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_file_is_replaced_only_when_it_differs() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("a"), directory.path().join("x/b"));
        fs::write(&from, "one").unwrap();
        install(&from, &to).unwrap();
        let first = fs::metadata(&to).unwrap().ino();
        install(&from, &to).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().ino(), first);
        fs::write(&from, "two").unwrap();
        install(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
    }

    #[test]
    fn left_overs_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("old")).unwrap();
        fs::write(directory.path().join("kept"), "").unwrap();
        prune(directory.path(), |name| name == "kept").unwrap();
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(left.len(), 1);
    }
}
