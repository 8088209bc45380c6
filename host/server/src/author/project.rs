//! A plugin's project and the package made of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bindery_registry::Manifest;

use super::arguments::Language;

/// Directories of a project that belong to its package.
const DATA: [&str; 2] = ["cases", "examples"];

#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) root: PathBuf,
    pub(crate) language: Language,
}

/// Where the package of what somebody named is, and its sources, when there are any.
#[derive(Debug)]
pub(crate) enum Target {
    Project(Project),
    /// Has a component already.
    Package(PathBuf),
}

impl Target {
    /// # Errors
    /// When the directory is neither.
    pub(crate) fn find(directory: &Path) -> anyhow::Result<Self> {
        if directory.join("component.wasm").is_file() && directory.join("bindery.toml").is_file() {
            return Ok(Self::Package(directory.to_owned()));
        }
        Project::find(directory).map(Self::Project)
    }

    pub(crate) fn package(&self) -> PathBuf {
        match self {
            Self::Project(project) => project.package(),
            Self::Package(directory) => directory.clone(),
        }
    }
}

impl Project {
    /// # Errors
    /// When the directory is no project, with what is missing.
    pub(crate) fn find(directory: &Path) -> anyhow::Result<Self> {
        let root = directory
            .canonicalize()
            .with_context(|| format!("failed to use {}", directory.display()))?;
        if !root.join("bindery.toml").is_file() {
            bail!(
                "{} has no bindery.toml: is it a plugin? (`bindery plugin new NAME --lang \
                 rust|js|python` starts one)",
                directory.display()
            );
        }
        let language = [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::Js),
            ("requirements.txt", Language::Python),
        ]
        .into_iter()
        .find(|(file, _)| root.join(file).is_file());
        let Some((_, language)) = language else {
            bail!(
                "{} has none of Cargo.toml, package.json and requirements.txt, which tell the \
                 plugin's language",
                directory.display()
            );
        };
        Ok(Self { root, language })
    }

    pub(crate) fn package(&self) -> PathBuf {
        self.root.join("dist")
    }

    /// Lays the package out from the component and the project's data; gives its directory.
    pub(crate) fn pack(&self, component: &Path) -> anyhow::Result<PathBuf> {
        let manifest = self.root.join("bindery.toml");
        let text = fs::read_to_string(&manifest)
            .with_context(|| format!("failed to read {}", manifest.display()))?;
        Manifest::parse(&text).with_context(|| manifest.display().to_string())?;
        let dist = self.package();
        // Made beside, then put in place: a server that watches it sees whole packages only.
        let next = self.root.join(".dist-next");
        remove(&next)?;
        fs::create_dir_all(&next).with_context(|| format!("failed to make {}", next.display()))?;
        copy(component, &next.join("component.wasm"))?;
        copy(&manifest, &next.join("bindery.toml"))?;
        for name in DATA {
            let from = self.root.join(name);
            if from.is_dir() {
                copy_tree(&from, &next.join(name))?;
            }
        }
        for entry in fs::read_dir(&self.root)?.flatten() {
            let name = entry.file_name();
            let is_licence = name.to_string_lossy().starts_with("LICENSE");
            if is_licence && entry.path().is_file() {
                copy(&entry.path(), &next.join(name))?;
            }
        }
        remove(&dist)?;
        fs::rename(&next, &dist).with_context(|| format!("failed to make {}", dist.display()))?;
        Ok(dist)
    }
}

fn remove(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("failed to remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("failed to copy {} to {}", from.display(), to.display()))
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to make {}", to.display()))?;
    let listing =
        fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))?;
    for entry in listing {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            copy(&entry.path(), &target)?;
        }
    }
    Ok(())
}
