//! Components: the plugin packages that ship, and the guests of the tests.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{
    command::run,
    dist::{install, prune},
    project::{Project, WASM_TARGET, Workspace},
};

/// A plugin crate that ships.
#[derive(Debug)]
pub(crate) struct PluginCrate {
    /// Name of the package, from `bindery.toml`.
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    component: PathBuf,
}

/// Builds all components, packs the plugins into `target/dist/plugins` and lays every component
/// into one directory for the tests.
pub(crate) fn build(project: &Project) -> Result<()> {
    let release = |workspace, selection: &str| {
        let mut command = project.cargo(workspace, "build");
        command.args(["--locked", "--release", "--target", WASM_TARGET, selection]);
        run(&mut command)
    };
    // Libraries only: a plugin's examples are data or programs for people.
    release(Workspace::Plugins, "--lib")?;
    release(Workspace::TestGuests, "--examples")?;
    release(Workspace::FrozenGuest, "--lib")?;
    let plugins = plugin_crates(project)?;
    let mut components = BTreeMap::new();
    for plugin in &plugins {
        pack(
            project,
            plugin,
            &project.dist().join("plugins").join(&plugin.name),
        )?;
        collect(&mut components, plugin.component.clone())?;
    }
    prune(&project.dist().join("plugins"), |name| {
        plugins.iter().any(|one| one.name == name)
    })?;
    let examples = project
        .root()
        .join(Workspace::TestGuests.directory())
        .join("examples");
    let built = project
        .target(Workspace::TestGuests)
        .join(WASM_TARGET)
        .join("release/examples");
    for entry in fs::read_dir(&examples)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let stem = path.file_stem().unwrap_or_default();
            collect(&mut components, built.join(stem).with_extension("wasm"))?;
        }
    }
    let frozen = project.target(Workspace::FrozenGuest).join(WASM_TARGET);
    collect(&mut components, frozen.join("release/frozen_0_1.wasm"))?;
    for (name, from) in &components {
        install(from, &project.components().join(name))?;
    }
    prune(&project.components(), |name| components.contains_key(name))?;
    eprintln!(
        "built {} plugins and {} components",
        plugins.len(),
        components.len()
    );
    Ok(())
}

/// Those crates of the guest workspace that have a `bindery.toml`.
pub(crate) fn plugin_crates(project: &Project) -> Result<Vec<PluginCrate>> {
    let metadata = project.metadata(Workspace::Plugins, &["--no-deps"])?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let mut plugins = Vec::new();
    for package in packages.context("cargo lists no packages")? {
        let text = |name: &str| {
            package
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let directory = Path::new(text("manifest_path"))
            .parent()
            .unwrap_or(Path::new(""));
        let manifest = directory.join("bindery.toml");
        if !manifest.is_file() {
            continue;
        }
        let file = format!("{}.wasm", text("name").replace('-', "_"));
        plugins.push(PluginCrate {
            name: package_name(&manifest)?,
            directory: directory.to_owned(),
            component: project
                .target(Workspace::Plugins)
                .join(WASM_TARGET)
                .join("release")
                .join(file),
        });
    }
    plugins.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plugins)
}

fn package_name(manifest: &Path) -> Result<String> {
    let text = fs::read_to_string(manifest)?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("failed to parse {}", manifest.display()))?;
    let name = table
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(|n| n.as_str());
    let name = name.with_context(|| format!("{} names no package", manifest.display()))?;
    // It becomes a directory name; the host checks it whole.
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        bail!("{}: `{name}` is no package name", manifest.display());
    }
    Ok(name.to_owned())
}

/// Lays a package out: manifest, component, cases, examples and licence texts, its own or the project's.
fn pack(project: &Project, plugin: &PluginCrate, package: &Path) -> Result<()> {
    install(
        &plugin.directory.join("bindery.toml"),
        &package.join("bindery.toml"),
    )?;
    install(&plugin.component, &package.join("component.wasm"))?;
    let mut kept = vec!["bindery.toml".to_owned(), "component.wasm".to_owned()];
    for name in ["cases", "examples"] {
        let data = plugin.directory.join(name);
        if data.is_dir() {
            install_tree(&data, &package.join(name))?;
            kept.push(name.to_owned());
        }
    }
    let own = licences(&plugin.directory)?;
    let licences = if own.is_empty() {
        licences(project.root())?
    } else {
        own
    };
    for licence in licences {
        let name = licence
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        install(&licence, &package.join(&name))?;
        kept.push(name);
    }
    prune(package, |name| kept.iter().any(|one| one == name))
}

/// The licence texts in a directory.
pub(crate) fn licences(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("LICENSE") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Data files; programs among a crate's examples stay behind.
fn install_tree(from: &Path, to: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            install_tree(&path, &to.join(&name))?;
        } else if path.extension().is_none_or(|extension| extension != "rs") {
            install(&path, &to.join(&name))?;
        } else {
            continue;
        }
        names.push(name);
    }
    prune(to, |name| names.iter().any(|one| one == name))
}

fn collect(components: &mut BTreeMap<String, PathBuf>, path: PathBuf) -> Result<()> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if let Some(other) = components.insert(name, path.clone()) {
        bail!(
            "two components have one name: {} and {}",
            other.display(),
            path.display()
        );
    }
    Ok(())
}
