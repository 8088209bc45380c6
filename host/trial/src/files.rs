//! The files of a package, wherever they are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// Files by their path in the package, with `/` between the parts.
pub trait PackageFiles: Sync {
    /// All paths, sorted.
    fn paths(&self) -> Vec<String>;

    /// The content; none when there is no such file.
    fn content(&self, path: &str) -> Option<Vec<u8>>;
}

impl PackageFiles for BTreeMap<String, Vec<u8>> {
    fn paths(&self) -> Vec<String> {
        self.keys().cloned().collect()
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.get(path).cloned()
    }
}

/// A package that is a directory. Links are not followed.
#[derive(Debug, Clone)]
pub struct DirectoryFiles {
    root: PathBuf,
    paths: Vec<String>,
}

/// More is no package.
const FILES_MAX: usize = 4096;

impl DirectoryFiles {
    /// Lists the files below these entries of a package's directory, for example `cases`.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn below(root: &Path, entries: &[&str]) -> io::Result<Self> {
        let mut paths = Vec::new();
        for entry in entries {
            let path = root.join(entry);
            if path.is_dir() {
                list(root, &path, &mut paths)?;
            } else if path.is_file() {
                paths.push((*entry).to_owned());
            }
        }
        paths.sort();
        Ok(Self {
            root: root.to_owned(),
            paths,
        })
    }
}

impl PackageFiles for DirectoryFiles {
    fn paths(&self) -> Vec<String> {
        self.paths.clone()
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        // What was listed, or is named by its path from the root and stays below it.
        is_inside(path)
            .then(|| fs::read(self.root.join(path)).ok())
            .flatten()
    }
}

fn list(root: &Path, directory: &Path, paths: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(root, &entry.path(), paths)?;
        } else if kind.is_file()
            && let Ok(path) = entry.path().strip_prefix(root)
        {
            paths.push(path.to_string_lossy().into_owned());
        }
        if paths.len() > FILES_MAX {
            return Err(io::Error::other(format!("more than {FILES_MAX} files")));
        }
    }
    Ok(())
}

/// A relative path without `..`, that stays where it begins.
pub(crate) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}
