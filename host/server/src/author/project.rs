//! A plugin's project and the package made of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bindery_registry::{COMPONENT_FILE, Manifest, Package, SIGNATURE_FILE};

use super::arguments::Language;

/// Directories of a project that belong to its package.
const DATA: [&str; 2] = ["cases", "examples"];
/// The package that is made of a project, in its directory.
const DIST: &str = "dist";
/// Directories that tools put into a project.
const NO_SOURCES: [&str; 4] = [DIST, "target", "node_modules", "__pycache__"];
/// What a component is made of, beside all that lies in `src`.
const CODE: [&str; 5] = ["rs", "js", "mjs", "py", "wit"];
const CODE_FILES: [&str; 3] = ["Cargo.toml", "package.json", "requirements.txt"];
/// Files of a project that are looked at; a large project is not worth more for a warning.
const SOURCES_MAX: usize = 10_000;

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
        self.root.join(DIST)
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
        keep_signature(&dist, &next)?;
        remove(&dist)?;
        fs::rename(&next, &dist).with_context(|| format!("failed to make {}", dist.display()))?;
        Ok(dist)
    }
}

/// The package that is meant by a path: that of a project, or what it names.
///
/// # Errors
/// When it is a directory and neither a package nor a project that was built.
pub(crate) fn package_of(path: &Path) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let package = Target::find(path)?.package();
    if !package.join(COMPONENT_FILE).is_file() {
        bail!(
            "{} has no component: build it first with `bindery plugin build`",
            package.display()
        );
    }
    Ok(package)
}

/// A source that was changed since this package was made of its project; none where there is no
/// project round it. What is packed as it is, is compared; code is younger or older.
pub(crate) fn newer_source(package: &Path) -> Option<PathBuf> {
    let package = package.canonicalize().ok()?;
    let project = Project::find(package.parent()?).ok()?;
    if project.package() != package {
        return None;
    }
    let built = fs::metadata(package.join(COMPONENT_FILE))
        .and_then(|metadata| metadata.modified())
        .ok()?;
    let mut directories = vec![project.root.clone()];
    let mut seen = 0;
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).ok()?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            seen += 1;
            if seen > SOURCES_MAX {
                return None;
            }
            if name.starts_with('.') || NO_SOURCES.contains(&name.as_ref()) {
                continue;
            }
            let (Ok(kind), Ok(relative)) = (entry.file_type(), path.strip_prefix(&project.root))
            else {
                continue;
            };
            if kind.is_dir() {
                directories.push(path);
                continue;
            }
            let packed = package.join(relative);
            let is_data = DATA.iter().any(|data| relative.starts_with(data));
            let end = path.extension().and_then(|end| end.to_str());
            let is_code = relative.starts_with("src")
                || CODE_FILES.contains(&name.as_ref())
                || end.is_some_and(|end| CODE.contains(&end));
            let changed = if is_data || packed.is_file() {
                fs::read(&path).ok() != fs::read(&packed).ok()
            } else if !is_code {
                false
            } else {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                modified.is_ok_and(|modified| modified > built)
            };
            if changed {
                return Some(relative.to_owned());
            }
        }
    }
    None
}

/// A package that came out the same stays signed; of another one it is said that it is not.
fn keep_signature(before: &Path, next: &Path) -> anyhow::Result<()> {
    let signature = before.join(SIGNATURE_FILE);
    if !signature.is_file() {
        return Ok(());
    }
    let same = match (Package::read(before), Package::read(next)) {
        (Ok(before), Ok(next)) => before.digest() == next.digest(),
        _ => false,
    };
    if same {
        return copy(&signature, &next.join(SIGNATURE_FILE));
    }
    eprintln!(
        "note: the package has changed, so its signature is gone; sign it again with `bindery \
         plugin sign`"
    );
    Ok(())
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
