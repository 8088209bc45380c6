//! The list of what ships: `target/dist/shipped-plugins`.
//!
//! A host loads unsigned packages only when it finds their digests there, beside itself. The
//! digest of a package is computed as anybody would with `sha256sum`, see `registry`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Files that a package's digest does not cover.
const NOT_COVERED: [&str; 1] = ["bindery.sig"];

/// Writes the list for the packages of a directory.
pub(crate) fn write(plugins: &Path, list: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(plugins)? {
        let package = entry?.path();
        let manifest = package.join("bindery.toml");
        if !manifest.is_file() {
            continue;
        }
        let mut files = BTreeMap::new();
        digests(&package, String::new(), &mut files)?;
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        lines.push(format!("sha256:{} {name}\n", package_digest(&files)));
    }
    lines.sort();
    let content = lines.concat();
    if fs::read_to_string(list).is_ok_and(|there| there == content) {
        return Ok(());
    }
    fs::write(list, content).with_context(|| format!("failed to write {}", list.display()))
}

fn digests(directory: &Path, prefix: String, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path: PathBuf = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            digests(&path, format!("{name}/"), files)?;
        } else if !NOT_COVERED.contains(&name.as_str()) {
            let content =
                fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            files.insert(name, hex::encode(Sha256::digest(content)));
        }
    }
    Ok(())
}

fn package_digest(files: &BTreeMap<String, String>) -> String {
    let mut listing = String::new();
    for (path, digest) in files {
        listing.push_str(&format!("{digest}  {path}\n"));
    }
    hex::encode(Sha256::digest(listing))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn each_package_has_its_line() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("plugins/text.shout");
        fs::create_dir_all(package.join("examples")).unwrap();
        for (name, content) in [
            ("bindery.toml", "x"),
            ("component.wasm", "y"),
            ("examples/a", "z"),
            ("bindery.sig", "not covered"),
        ] {
            fs::write(package.join(name), content).unwrap();
        }
        let list = root.path().join("list");
        write(&root.path().join("plugins"), &list).unwrap();
        let first = fs::read_to_string(&list).unwrap();
        let hash = |text: &str| hex::encode(Sha256::digest(text));
        let listing = format!(
            "{}  bindery.toml\n{}  component.wasm\n{}  examples/a\n",
            hash("x"),
            hash("y"),
            hash("z")
        );
        assert_eq!(first, format!("sha256:{} text.shout\n", hash(&listing)));
        fs::write(package.join("bindery.sig"), "another").unwrap();
        write(&root.path().join("plugins"), &list).unwrap();
        assert_eq!(fs::read_to_string(&list).unwrap(), first);
    }
}
