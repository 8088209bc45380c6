//! Who is trusted: the trust store, the revocation list, and what ships with this program.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bindery_core::Digest;
use bindery_registry::{Revocations, TrustPolicy, TrustStore};

use crate::{paths, settings::Settings};

/// Beside this program: a line for each package that comes with it, with the digest of the
/// package, that of its component, and for people its name and version. Whoever can write there
/// can write the program too, so it needs no signature of its own.
const SHIPPED_FILE: &str = "shipped-plugins";

/// Everything that decides what may be loaded.
#[derive(Debug, Clone)]
pub(crate) struct Trusted {
    pub(crate) policy: TrustPolicy,
    pub(crate) shipped_components: Vec<Digest>,
}

impl Trusted {
    /// Reads the files. `revocations_seen` is the number of the list that was in force before.
    pub(crate) fn read(settings: &Settings, revocations_seen: Option<u64>) -> anyhow::Result<Self> {
        let store = match &settings.trust {
            Some(path) => TrustStore::parse(&read(path)?)
                .with_context(|| format!("failed to use {}", path.display()))?,
            None => TrustStore::default(),
        };
        let revocations = match &settings.revocations {
            Some(path) => {
                let list =
                    Revocations::accept(&read(path)?, &store.revocation_keys, revocations_seen);
                Some(list.with_context(|| format!("failed to use {}", path.display()))?)
            }
            None => None,
        };
        let (shipped, shipped_components) = match paths::file_beside_program(SHIPPED_FILE) {
            Some(path) => shipped(&read(&path)?)
                .with_context(|| format!("failed to use {}", path.display()))?,
            None => Default::default(),
        };
        Ok(Self {
            policy: TrustPolicy {
                store,
                revocations,
                shipped,
                development: settings.dev,
                strict: settings.strict_revocations,
                ..TrustPolicy::default()
            },
            shipped_components,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn shipped(text: &str) -> anyhow::Result<(BTreeSet<Digest>, Vec<Digest>)> {
    let mut packages = BTreeSet::new();
    let mut components = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_ascii_whitespace();
        let (Some(package), Some(component)) = (words.next(), words.next()) else {
            bail!("`{line}` is not two digests and a name");
        };
        packages.insert(package.parse()?);
        components.push(component.parse()?);
    }
    Ok((packages, components))
}

/// The files that decide may change while the server runs: when one does, it is noticed by these.
pub(crate) fn watched_files(settings: &Settings) -> Vec<PathBuf> {
    [&settings.trust, &settings.revocations]
        .into_iter()
        .flatten()
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn the_list_of_what_ships_is_read() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let (packages, components) = shipped(&format!("{a} {b} text.shout 1.0.0\n\n")).unwrap();
        assert!(packages.contains(&a));
        assert_eq!(components, [b]);
        assert!(shipped("sha256:12 text.shout").is_err());
    }
}
