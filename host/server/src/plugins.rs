//! Loading plugins from directories for one command: judged as the server judges them, and
//! nothing is recorded.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use bindery_registry::{Package, Trust, TrustPolicy, judge};
use bindery_runtime::{Catalog, HttpHost, HttpHosts, Plugin, Provenance, Resident, Runtime};
use jiff::Timestamp;
use semver::Version;

/// A plugin that could not be loaded.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) path: PathBuf,
    pub(crate) fault: String,
}

/// Loads every package of the directories, and single components where the policy is that of
/// development. One that cannot be loaded is reported and does not keep the others away.
pub(crate) async fn load(
    runtime: &Runtime,
    catalog: &Catalog,
    directories: &[PathBuf],
    policy: &TrustPolicy,
) -> anyhow::Result<Vec<Failed>> {
    let mut failed = Vec::new();
    for directory in directories {
        for path in entries(directory)? {
            let loaded = load_one(runtime, catalog, &path, policy).await;
            if let Err(error) = loaded {
                failed.push(Failed {
                    path,
                    fault: format!("{error:#}"),
                });
            }
        }
    }
    Ok(failed)
}

fn entries(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if Package::is_package(directory) {
        return Ok(vec![directory.to_owned()]);
    }
    let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
        .with_context(|| format!("failed to read plugin directory {}", directory.display()))?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    Ok(paths)
}

async fn load_one(
    runtime: &Runtime,
    catalog: &Catalog,
    path: &Path,
    policy: &TrustPolicy,
) -> anyhow::Result<()> {
    let is = |wanted: &str| {
        path.extension()
            .is_some_and(|extension| extension == wanted)
    };
    let package = if Package::is_package(path) {
        Package::read(path)?
    } else if is("bindery") {
        Package::from_archive(&std::fs::read(path)?.into())?
    } else if policy.development && is("wasm") {
        tracing::warn!(path = %path.display(), "loading a component without a package (--dev)");
        let plugin = runtime.load(std::fs::read(path)?).await?;
        return enter(catalog, provenance_of(&plugin), plugin);
    } else {
        return Ok(());
    };
    let trust = judge(&package, policy, Timestamp::now())
        .map_err(|refusal| anyhow::anyhow!("{refusal} ({}): {}", refusal.code(), refusal.cure()))?;
    let needs = &package.manifest().needs;
    let plugin = runtime
        .lending_http(!needs.hosts.is_empty())
        .load(package.component().to_vec())
        .await?;
    let provenance = Provenance {
        name: package.name().to_owned(),
        version: package.version().clone(),
        package: package.digest(),
        permissions: needs
            .engines
            .iter()
            .map(|engine| format!("engine:{engine}"))
            .chain(needs.hosts.iter().map(|host| format!("host:{host}")))
            .collect(),
        hosts: needs
            .hosts
            .iter()
            .map(|host| host.to_string().parse::<HttpHost>())
            .collect::<Result<_, _>>()
            .map_err(anyhow::Error::msg)?,
        unsigned: trust == Trust::Development,
    };
    enter(catalog, provenance, plugin)
}

fn enter(catalog: &Catalog, provenance: Provenance, plugin: Arc<Plugin>) -> anyhow::Result<()> {
    let resident = Resident {
        provenance: Arc::new(provenance),
        plugin,
    };
    catalog.change(|residents| residents.push(resident))?;
    Ok(())
}

/// Of a component without a package.
fn provenance_of(plugin: &Plugin) -> Provenance {
    let (name, version) = plugin.tasks().first().map_or_else(
        || (plugin.digest().to_string(), Version::new(0, 0, 0)),
        |task| (task.id.clone(), task.version.clone()),
    );
    Provenance {
        name,
        version,
        package: plugin.digest(),
        permissions: Vec::new(),
        hosts: HttpHosts::default(),
        unsigned: true,
    }
}
