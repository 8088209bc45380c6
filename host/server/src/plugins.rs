//! Loading plugins from directories.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bindery_blobs::Blobs;
use bindery_registry::Package;
use bindery_runtime::{Catalog, Runtime};
use bytes::Bytes;

/// A plugin that could not be loaded.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) path: PathBuf,
    pub(crate) fault: String,
}

/// Loads every package of the directories, and single components where `dev` allows them. One
/// that cannot be loaded is reported and does not keep the others away. `keep` keeps the components
/// under their digests, for whatever is made of them later.
pub(crate) async fn load(
    runtime: &Runtime,
    catalog: &Catalog,
    directories: &[PathBuf],
    dev: bool,
    keep: Option<&Blobs>,
) -> anyhow::Result<Vec<Failed>> {
    let mut failed = Vec::new();
    for directory in directories {
        for path in entries(directory)? {
            let loaded = load_one(runtime, catalog, &path, dev, keep).await;
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
    dev: bool,
    keep: Option<&Blobs>,
) -> anyhow::Result<()> {
    let bytes = if Package::is_package(path) {
        Package::read(path)?.component
    } else if dev
        && path
            .extension()
            .is_some_and(|extension| extension == "wasm")
    {
        tracing::warn!(path = %path.display(), "loading a component without a package (--dev)");
        std::fs::read(path)?
    } else {
        return Ok(());
    };
    let bytes = Bytes::from(bytes);
    let plugin = runtime.load(bytes.to_vec()).await?;
    if let Some(blobs) = keep
        && !blobs.contains(&plugin.digest()).await?
    {
        blobs.put_bytes(bytes).await?;
    }
    catalog.add(&plugin)?;
    Ok(())
}
