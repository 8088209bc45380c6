//! The permission sheet: what a plugin asks for, and what is new in it.
//!
//! Every component may import what Rust's standard library pulls in and the contract itself; both
//! open nothing but the directories of a call. `wasi:http` is for packages that name hosts, and opens
//! those. Other imports do not load. Those are listed and
//! never asked about. What an admin is asked about is what reaches beyond the instance: engines,
//! hosts, reference data.

use std::collections::BTreeSet;

use bindery_registry::Manifest;
use bindery_runtime::Plugin;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// Interfaces without their versions.
    pub imports: Vec<String>,
    pub engines: Vec<String>,
    pub hosts: Vec<String>,
    pub assets: Vec<String>,
}

impl Sheet {
    /// What a loaded package asks for.
    ///
    /// # Errors
    /// The engines that its tasks run and its manifest does not name.
    pub fn of(manifest: &Manifest, plugin: &Plugin) -> Result<Self, Vec<String>> {
        let declared: BTreeSet<&String> = manifest.needs.engines.iter().collect();
        let hidden: BTreeSet<&String> = plugin
            .tasks()
            .iter()
            .flat_map(|task| &task.engines)
            .map(|requirement| &requirement.engine)
            .filter(|engine| !declared.contains(engine))
            .collect();
        if !hidden.is_empty() {
            return Err(hidden.into_iter().cloned().collect());
        }
        Ok(Self {
            imports: sorted(plugin.imports().iter().map(|name| interface(name))),
            engines: sorted(manifest.needs.engines.iter().cloned()),
            hosts: sorted(manifest.needs.hosts.iter().map(ToString::to_string)),
            assets: sorted(manifest.needs.assets.keys().cloned()),
        })
    }

    /// What reaches beyond the instance, as `KIND:NAME`.
    #[must_use]
    pub fn grants(&self) -> Vec<String> {
        let kinds = [
            ("engine", &self.engines),
            ("host", &self.hosts),
            ("asset", &self.assets),
        ];
        kinds
            .into_iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind}:{name}")))
            .collect()
    }

    /// The grants that are not among those of an earlier version.
    #[must_use]
    pub fn growth(&self, before: &Self) -> Vec<String> {
        let before: BTreeSet<String> = before.grants().into_iter().collect();
        let grants = self.grants().into_iter();
        grants.filter(|grant| !before.contains(grant)).collect()
    }

    /// The grants of an earlier version that are no longer asked for.
    #[must_use]
    pub fn shrinkage(&self, before: &Self) -> Vec<String> {
        before.growth(self)
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: BTreeSet<String> = names.collect();
    names.into_iter().collect()
}

fn interface(name: &str) -> String {
    name.split('@').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(engines: &[&str], hosts: &[&str], imports: &[&str]) -> Sheet {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Sheet {
            imports: own(imports),
            engines: own(engines),
            hosts: own(hosts),
            assets: Vec::new(),
        }
    }

    #[test]
    fn only_what_reaches_out_is_asked_about() {
        let before = sheet(&["a"], &[], &["wasi:io/streams"]);
        let after = sheet(
            &["a", "b"],
            &["x.org"],
            &["wasi:io/streams", "wasi:random/random"],
        );
        assert_eq!(after.growth(&before), ["engine:b", "host:x.org"]);
        assert_eq!(before.growth(&after), Vec::<String>::new());
        assert_eq!(before.shrinkage(&after), ["engine:b", "host:x.org"]);
    }
}
