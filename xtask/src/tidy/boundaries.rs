//! Who may depend on whom, and where heavy packages live.
//!
//! Everything is read from `cargo metadata`, resolved for this machine. Dependencies of tests
//! and build scripts are left out: they are not part of what ships.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Fault;
use crate::{
    command::output,
    project::{Project, Workspace},
};

/// The arrows between crates of the host workspace: each may use those listed and no others.
/// A new crate, and a new arrow, is an architecture change: it is entered here and in
/// ARCHITECTURE.md.
const ARROWS: [(&str, &[&str]); 22] = [
    ("bindery-core", &[]),
    ("bindery-api-types", &["bindery-core"]),
    ("bindery-bindings", &["bindery-core"]),
    ("bindery-runtime", &["bindery-bindings", "bindery-core"]),
    ("bindery-sandbox", &["bindery-core"]),
    ("bindery-engines", &["bindery-core", "bindery-sandbox"]),
    ("bindery-datastore", &["bindery-core"]),
    ("bindery-blobs", &["bindery-core"]),
    ("bindery-dispatcher", &["bindery-core", "bindery-datastore"]),
    ("bindery-identity", &["bindery-core", "bindery-datastore"]),
    ("bindery-registry", &["bindery-core"]),
    ("bindery-transpile", &["bindery-core"]),
    (
        "bindery-executor",
        &[
            "bindery-blobs",
            "bindery-core",
            "bindery-datastore",
            "bindery-dispatcher",
            "bindery-engines",
            "bindery-runtime",
            "bindery-sandbox",
        ],
    ),
    (
        "bindery-trial",
        &["bindery-core", "bindery-engines", "bindery-runtime"],
    ),
    (
        "bindery-plugins",
        &[
            "bindery-blobs",
            "bindery-core",
            "bindery-datastore",
            "bindery-engines",
            "bindery-registry",
            "bindery-runtime",
            "bindery-sandbox",
            "bindery-trial",
        ],
    ),
    (
        "bindery-api",
        &[
            "bindery-api-types",
            "bindery-blobs",
            "bindery-core",
            "bindery-datastore",
            "bindery-dispatcher",
            "bindery-engines",
            "bindery-executor",
            "bindery-identity",
            "bindery-plugins",
            "bindery-registry",
            "bindery-runtime",
            "bindery-transpile",
        ],
    ),
    (
        "bindery-server",
        &[
            "bindery-api",
            "bindery-api-types",
            "bindery-blobs",
            "bindery-core",
            "bindery-datastore",
            "bindery-dispatcher",
            "bindery-engines",
            "bindery-executor",
            "bindery-identity",
            "bindery-plugins",
            "bindery-registry",
            "bindery-runtime",
            "bindery-sandbox",
            "bindery-trial",
            "bindery-transpile",
        ],
    ),
    // Black-box tests see the programs and nothing of their insides.
    ("bindery-guests-build", &[]),
    ("bindery-testkit", &[]),
    (
        "bindery-integration",
        &["bindery-guests-build", "bindery-testkit"],
    ),
    (
        "bindery-benches",
        &[
            "bindery-bindings",
            "bindery-core",
            "bindery-datastore",
            "bindery-dispatcher",
            "bindery-guests-build",
            "bindery-runtime",
            "bindery-testkit",
        ],
    ),
    // Must build in seconds in a fresh clone.
    ("xtask", &[]),
];

/// A package that many others come with, and the crates that may use it directly.
struct Home {
    package: &'static str,
    crates: &'static [&'static str],
}

const HOMES: [Home; 18] = [
    Home {
        package: "wasmtime",
        crates: &["bindery-bindings", "bindery-runtime", "bindery-benches"],
    },
    Home {
        package: "wasmtime-wasi",
        crates: &["bindery-runtime", "bindery-benches"],
    },
    // The way of guests' requests; everybody else has a client or a server.
    Home {
        package: "wasmtime-wasi-http",
        crates: &["bindery-runtime"],
    },
    Home {
        package: "hyper",
        crates: &["bindery-runtime"],
    },
    // The composition root hands the router to `axum::serve`; benchmarks have a service to compare
    // with.
    Home {
        package: "axum",
        crates: &["bindery-api", "bindery-benches", "bindery-server"],
    },
    Home {
        package: "utoipa",
        crates: &["bindery-api", "bindery-api-types"],
    },
    Home {
        package: "sled",
        crates: &["bindery-datastore"],
    },
    Home {
        package: "object_store",
        crates: &["bindery-blobs"],
    },
    Home {
        package: "jsonschema",
        crates: &["bindery-runtime"],
    },
    // It speaks to insides of wasmtime, so one version of the two must fit.
    Home {
        package: "js-component-bindgen",
        crates: &["bindery-transpile"],
    },
    Home {
        package: "rmcp",
        crates: &["bindery-api"],
    },
    Home {
        package: "landlock",
        crates: &["bindery-sandbox"],
    },
    Home {
        package: "seccompiler",
        crates: &["bindery-sandbox"],
    },
    // Of the host; programs of tests and benchmarks that misbehave or measure use it too.
    Home {
        package: "libc",
        crates: &["bindery-sandbox", "bindery-benches", "bindery-integration"],
    },
    // axum serves WebSockets and HTTP itself; these are for clients. The registry's pulls from
    // and pushes to other registries.
    Home {
        package: "reqwest",
        crates: &[
            "bindery-registry",
            "bindery-server",
            "bindery-testkit",
            "bindery-integration",
        ],
    },
    Home {
        package: "ed25519-dalek",
        crates: &["bindery-registry"],
    },
    Home {
        package: "tokio-tungstenite",
        crates: &["bindery-server", "bindery-testkit"],
    },
    Home {
        package: "ureq",
        crates: &["xtask"],
    },
];

/// Packages that must not be part of a crate at all, by whatever way.
const OUT_OF_REACH: [(&str, &[&str]); 9] = [
    (
        "bindery-core",
        &["tokio", "rustix", "sled", "axum", "wasmtime"],
    ),
    (
        "bindery-api-types",
        &["tokio", "rustix", "sled", "axum", "wasmtime"],
    ),
    ("bindery-datastore", &["axum", "wasmtime"]),
    ("bindery-dispatcher", &["axum", "wasmtime"]),
    ("bindery-identity", &["axum", "wasmtime"]),
    ("bindery-transpile", &["axum", "sled", "wasmtime"]),
    ("bindery-registry", &["sled", "axum", "wasmtime"]),
    ("bindery-sandbox", &["sled", "axum", "wasmtime"]),
    ("xtask", &["tokio", "sled", "axum", "wasmtime"]),
];

/// Workspaces of guests, and where the local packages they use may stand.
const GUESTS: [(Workspace, &[&str]); 5] = [
    (Workspace::Plugins, &["plugins/", "sdk/"]),
    (Workspace::Sdk, &["sdk/"]),
    (Workspace::Example, &["examples/", "sdk/"]),
    (Workspace::TestGuests, &["tests/guests/", "sdk/"]),
    // Not even the SDK, which moves on.
    (Workspace::FrozenGuest, &["tests/guests-0.1/"]),
];

pub(super) fn check(project: &Project) -> Result<Vec<Fault>> {
    let machine = machine()?;
    let arguments = ["--locked", "--filter-platform", &machine];
    let host = Graph::read(&project.metadata(Workspace::Host, &arguments)?)?;
    let mut faults = host.check();
    for (workspace, allowed) in GUESTS {
        let graph = Graph::read(&project.metadata(workspace, &arguments)?)?;
        faults.extend(graph.check_places(project.root(), workspace, allowed));
    }
    Ok(faults)
}

/// The target triple of this machine.
fn machine() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = output(Command::new(rustc).arg("-vV"))?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not name its host")?.to_owned())
}

/// Packages by name. Of several versions of one name, a rule means each.
#[derive(Debug, Default)]
struct Graph {
    members: BTreeSet<String>,
    /// Normal dependencies.
    uses: BTreeMap<String, BTreeSet<String>>,
    /// Directories of packages that come from no registry.
    places: BTreeMap<String, String>,
    /// All that the lock file knows.
    locked: BTreeSet<String>,
}

impl Graph {
    fn read(metadata: &Value) -> Result<Self> {
        let list = |value: &Value, name: &str| -> Result<Vec<Value>> {
            let list = value.get(name).and_then(Value::as_array);
            Ok(list
                .with_context(|| format!("cargo metadata has no {name}"))?
                .clone())
        };
        let text = |value: &Value, name: &str| {
            value
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut graph = Self::default();
        let mut names = BTreeMap::new();
        for package in list(metadata, "packages")? {
            let name = text(&package, "name");
            if package.get("source").is_some_and(Value::is_null) {
                graph
                    .places
                    .insert(name.clone(), text(&package, "manifest_path"));
            }
            graph.locked.insert(name.clone());
            names.insert(text(&package, "id"), name);
        }
        let name_of = |id: &Value| names.get(id.as_str()?).cloned();
        graph.members = list(metadata, "workspace_members")?
            .iter()
            .filter_map(name_of)
            .collect();
        let resolve = metadata
            .get("resolve")
            .context("cargo metadata resolves nothing")?;
        for node in list(resolve, "nodes")? {
            let Some(name) = node.get("id").and_then(name_of) else {
                continue;
            };
            let uses = graph.uses.entry(name).or_default();
            for dependency in list(&node, "deps")? {
                // A normal dependency has the kind `null`.
                let kinds = list(&dependency, "dep_kinds")?;
                if kinds
                    .iter()
                    .any(|kind| kind.get("kind").is_some_and(Value::is_null))
                {
                    uses.extend(dependency.get("pkg").and_then(name_of));
                }
            }
        }
        Ok(graph)
    }

    fn uses(&self, package: &str) -> impl Iterator<Item = &str> {
        self.uses
            .get(package)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    fn check(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.check_arrows(&mut faults);
        self.check_homes(&mut faults);
        self.check_reach(&mut faults);
        faults
    }

    fn check_arrows(&self, faults: &mut Vec<Fault>) {
        for member in &self.members {
            let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| name == member) else {
                faults.push(Fault::new(
                    member,
                    "is in no layer: enter it in xtask/src/tidy/boundaries.rs",
                ));
                continue;
            };
            for used in self
                .uses(member)
                .filter(|used| self.members.contains(*used))
            {
                if !allowed.contains(&used) {
                    faults.push(Fault::new(member, format!("may not depend on {used}")));
                }
            }
        }
        for (name, allowed) in ARROWS {
            for name in allowed.iter().copied().chain([name]) {
                if !self.members.contains(name) {
                    faults.push(Fault::new(
                        name,
                        "has a rule and is no crate of this workspace",
                    ));
                }
            }
        }
    }

    fn check_homes(&self, faults: &mut Vec<Fault>) {
        for Home { package, crates } in HOMES {
            self.check_name(package, faults);
            for member in &self.members {
                if !crates.contains(&member.as_str())
                    && self.uses(member).any(|used| used == package)
                {
                    let homes = crates.join(", ");
                    faults.push(Fault::new(
                        member,
                        format!("may not use {package}, which lives in {homes}"),
                    ));
                }
            }
        }
    }

    fn check_reach(&self, faults: &mut Vec<Fault>) {
        for (member, packages) in OUT_OF_REACH {
            for package in packages {
                self.check_name(package, faults);
                if let Some(way) = self.way(member, package) {
                    let way = way.join(" -> ");
                    faults.push(Fault::new(
                        member,
                        format!("must not contain {package}: {way}"),
                    ));
                }
            }
        }
    }

    /// A misspelt name would obey every rule.
    fn check_name(&self, package: &str, faults: &mut Vec<Fault>) {
        if !self.locked.contains(package) {
            faults.push(Fault::new(
                package,
                "has a rule and is not in Cargo.lock: misspelt?",
            ));
        }
    }

    /// The shortest way of normal dependencies from one package to another.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut reached = BTreeSet::from([from]);
        let mut ways = vec![vec![from]];
        // Every package is reached once at most.
        while !ways.is_empty() {
            let mut longer = Vec::new();
            for way in &ways {
                for used in way.last().into_iter().flat_map(|last| self.uses(last)) {
                    if reached.insert(used) {
                        let mut way = way.clone();
                        way.push(used);
                        if used == to {
                            return Some(way);
                        }
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        None
    }

    /// Guests use the SDK and each other, never the host.
    fn check_places(&self, root: &Path, workspace: Workspace, allowed: &[&str]) -> Vec<Fault> {
        let inside = |manifest: &str| {
            Path::new(manifest)
                .strip_prefix(root)
                .is_ok_and(|path| allowed.iter().any(|place| path.starts_with(place)))
        };
        self.places
            .iter()
            .filter(|(_, manifest)| !inside(manifest))
            .map(|(name, _)| {
                let message = format!("must not use {name}: guests know the SDK alone");
                Fault::new(workspace.directory(), message)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use serde_json::json;

    use super::*;

    fn graph() -> Graph {
        let node = |id: &str, uses: &[(&str, Option<&str>)]| {
            let deps: Vec<Value> = uses
                .iter()
                .map(|(id, kind)| json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] }))
                .collect();
            json!({ "id": id, "deps": deps })
        };
        let package = |name: &str, source: Option<&str>| json!({ "id": name, "name": name, "source": source, "manifest_path": format!("/p/host/{name}/Cargo.toml") });
        Graph::read(&json!({
            "packages": [
                package("bindery-core", None), package("bindery-dispatcher", None),
                package("middle", Some("registry")), package("wasmtime", Some("registry")),
                package("sled", Some("registry")),
            ],
            "workspace_members": ["bindery-core", "bindery-dispatcher"],
            "resolve": { "nodes": [
                node("bindery-core", &[("bindery-dispatcher", None), ("sled", Some("dev"))]),
                node("bindery-dispatcher", &[("middle", None), ("sled", None)]),
                node("middle", &[("wasmtime", None)]),
                node("wasmtime", &[]),
                node("sled", &[]),
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        let faults: Vec<String> = graph().check().iter().map(ToString::to_string).collect();
        let has = |text: &str| {
            assert!(
                faults.iter().any(|fault| fault == text),
                "{text}: {faults:#?}"
            )
        };
        has("bindery-core: may not depend on bindery-dispatcher");
        has("bindery-dispatcher: may not use sled, which lives in bindery-datastore");
        has(
            "bindery-dispatcher: must not contain wasmtime: bindery-dispatcher -> middle -> wasmtime",
        );
        has("axum: has a rule and is not in Cargo.lock: misspelt?");
        has("bindery-api: has a rule and is no crate of this workspace");
    }

    #[test]
    fn dependencies_of_tests_are_free() {
        let graph = graph();
        assert!(!graph.uses("bindery-core").any(|used| used == "sled"));
    }

    #[test]
    fn guests_do_not_use_the_host() {
        let faults = graph().check_places(Path::new("/p"), Workspace::Plugins, &["plugins/"]);
        assert_eq!(faults.len(), 2);
        let faults = graph().check_places(Path::new("/p"), Workspace::Plugins, &["host/"]);
        assert_eq!(faults, []);
    }
}
