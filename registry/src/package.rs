//! Reading a package from a directory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bindery_core::Digest;

use crate::{Manifest, ManifestError, package_digest};

/// Files of one package.
const FILES_MAX: usize = 1024;
/// All files of one package.
const SIZE_BYTES_MAX: u64 = 512 << 20;

/// A package that was read.
#[derive(Debug, Clone)]
pub struct Package {
    pub directory: PathBuf,
    pub manifest: Manifest,
    pub component: Vec<u8>,
    pub component_digest: Digest,
    /// Of all its files.
    pub digest: Digest,
}

/// A directory that is no usable package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("failed to read {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path}: {source}")]
    Manifest {
        path: PathBuf,
        source: ManifestError,
    },
    #[error("{path}: more than {FILES_MAX} files or {SIZE_BYTES_MAX} bytes")]
    TooLarge { path: PathBuf },
    #[error("{path} is neither a file nor a directory")]
    NotAFile { path: PathBuf },
}

impl Package {
    /// Whether a directory looks like a package.
    #[must_use]
    pub fn is_package(directory: &Path) -> bool {
        directory.join("bindery.toml").is_file()
    }

    /// Reads a package and computes its digests.
    ///
    /// # Errors
    /// When a file is missing, unreadable or not allowed.
    pub fn read(directory: &Path) -> Result<Self, PackageError> {
        let read = |name: &str| {
            let path = directory.join(name);
            fs::read(&path).map_err(|source| PackageError::Read { path, source })
        };
        let manifest_path = directory.join("bindery.toml");
        let text = read("bindery.toml")?;
        let manifest = Manifest::parse(&String::from_utf8_lossy(&text)).map_err(|source| {
            PackageError::Manifest {
                path: manifest_path,
                source,
            }
        })?;
        let component = read("component.wasm")?;
        let mut files = Vec::new();
        let mut size_bytes = 0;
        list(directory, directory, &mut files, &mut size_bytes)?;
        Ok(Self {
            directory: directory.to_owned(),
            manifest,
            component_digest: Digest::of(&component),
            component,
            digest: package_digest(files.iter().map(|(path, digest)| (path.as_str(), *digest))),
        })
    }
}

fn list(
    root: &Path,
    directory: &Path,
    files: &mut Vec<(String, Digest)>,
    size_bytes: &mut u64,
) -> Result<(), PackageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PackageError::Read { path, source }
    };
    for entry in fs::read_dir(directory).map_err(failed(directory))? {
        let entry = entry.map_err(failed(directory))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(failed(&path))?;
        if kind.is_dir() {
            list(root, &path, files, size_bytes)?;
        } else if kind.is_file() {
            let content = fs::read(&path).map_err(failed(&path))?;
            *size_bytes += content.len() as u64;
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            files.push((name, Digest::of(&content)));
            if files.len() > FILES_MAX || *size_bytes > SIZE_BYTES_MAX {
                return Err(PackageError::TooLarge {
                    path: root.to_owned(),
                });
            }
        } else {
            return Err(PackageError::NotAFile { path });
        }
    }
    Ok(())
}
