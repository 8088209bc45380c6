//! Published versions of the contract do not change.
//!
//! `wit/FROZEN.sha256` lists the files of published versions as `sha256sum` prints them, with
//! paths below `wit/`. It is written when a version is published; while it is absent, nothing is
//! frozen. Versions in work are not listed.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Fault;
use crate::project::Project;

const LIST: &str = "FROZEN.sha256";

pub(super) fn check(project: &Project) -> Result<Vec<Fault>> {
    check_directory(&project.root().join("wit"))
}

fn check_directory(wit: &Path) -> Result<Vec<Fault>> {
    let list = match fs::read_to_string(wit.join(LIST)) {
        Ok(list) => list,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("failed to read the list of frozen files"),
    };
    let mut faults = Vec::new();
    for line in list.lines() {
        let Some((digest, path)) = line.split_once("  ") else {
            faults.push(Fault::new(
                format!("wit/{LIST}"),
                format!("`{line}` is no `HEX  PATH`"),
            ));
            continue;
        };
        match fs::read(wit.join(path)) {
            Ok(content) if hex::encode(Sha256::digest(&content)) == digest => {}
            Ok(_) => faults.push(Fault::new(
                format!("wit/{path}"),
                "a published version changed; make a new version instead",
            )),
            Err(error) => faults.push(Fault::new(format!("wit/{path}"), error.to_string())),
        }
    }
    Ok(faults)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn a_change_of_a_frozen_file_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let wit = directory.path();
        fs::write(wit.join("a.wit"), "one").unwrap();
        assert_eq!(check_directory(wit).unwrap(), []);
        let digest = hex::encode(Sha256::digest(b"one"));
        fs::write(wit.join(LIST), format!("{digest}  a.wit\n")).unwrap();
        assert_eq!(check_directory(wit).unwrap(), []);
        fs::write(wit.join("a.wit"), "two").unwrap();
        assert_eq!(check_directory(wit).unwrap()[0].place, "wit/a.wit");
        fs::remove_file(wit.join("a.wit")).unwrap();
        assert_eq!(check_directory(wit).unwrap().len(), 1);
    }
}
