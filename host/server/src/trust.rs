//! Who is trusted: the trust store, the revocation list, and what ships with this program.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bindery_core::Digest;
use bindery_registry::{Revocations, TrustPolicy, TrustStore};

use crate::{paths, settings::Settings};

/// Beside this program: a line for each package that comes with it, with its digest and, for
/// people, its name. Whoever can write there can write the program too, so it needs no signature
/// of its own.
const SHIPPED_FILE: &str = "shipped-plugins";

/// Reads the files. `revocations_seen` is the number of the list that was in force before.
pub(crate) fn policy(
    settings: &Settings,
    revocations_seen: Option<u64>,
) -> anyhow::Result<TrustPolicy> {
    let store = match &settings.trust {
        Some(path) => TrustStore::parse(&read(path)?)
            .with_context(|| format!("failed to use {}", path.display()))?,
        None => TrustStore::default(),
    };
    let revocations = match &settings.revocations {
        Some(path) => {
            let list = Revocations::accept(&read(path)?, &store.revocation_keys, revocations_seen);
            Some(list.with_context(|| format!("failed to use {}", path.display()))?)
        }
        None => None,
    };
    let shipped = match paths::file_beside_program(SHIPPED_FILE) {
        Some(path) => {
            shipped(&read(&path)?).with_context(|| format!("failed to use {}", path.display()))?
        }
        None => BTreeSet::new(),
    };
    Ok(TrustPolicy {
        store,
        revocations,
        shipped,
        development: settings.dev,
        strict: settings.strict_revocations,
        ..TrustPolicy::default()
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

fn shipped(text: &str) -> anyhow::Result<BTreeSet<Digest>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let digest = line.split_ascii_whitespace().next().unwrap_or_default();
            digest
                .parse()
                .with_context(|| format!("`{line}` does not begin with a digest"))
        })
        .collect()
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
        let list = shipped(&format!("{a} text.shout\n\n{b} text.other\n")).unwrap();
        assert_eq!(list, BTreeSet::from([a, b]));
        assert!(shipped("sha256:12 text.shout").is_err());
    }
}
