//! A folder as a registry: one archive for each version, `NAME-VERSION.bindery`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use semver::Version;

use crate::{ARCHIVE_BYTES_MAX, Package, PackageError};

const EXTENSION: &str = ".bindery";

/// See the module.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

/// A package that was not put into a folder or not found there.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("failed to use {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is there with another content; a version, once published, stays what it is")]
    VersionTaken { path: PathBuf },
    #[error("{path} has no version of {name} that was asked for")]
    NotFound { path: PathBuf, name: String },
    #[error("{path}: it is {found}, not what its name says")]
    Misnamed { path: PathBuf, found: String },
    #[error(transparent)]
    Package(#[from] PackageError),
}

impl Folder {
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where a version is.
    #[must_use]
    pub fn place(&self, name: &str, version: &Version) -> PathBuf {
        self.path.join(format!("{name}-{version}{EXTENSION}"))
    }

    /// Puts a package there, whole or not at all. False when it was there already.
    ///
    /// # Errors
    /// When the version is there with another content, or the folder cannot be written.
    pub fn push(&self, package: &Package) -> Result<bool, FolderError> {
        let place = self.place(package.name(), package.version());
        let failed = |source| FolderError::Io {
            path: place.clone(),
            source,
        };
        fs::create_dir_all(&self.path).map_err(failed)?;
        let archive = package.to_archive()?;
        let mut partial = place.as_os_str().to_owned();
        partial.push(format!(".{}.part", std::process::id()));
        let partial = PathBuf::from(partial);
        let linked = write(&partial, &archive).and_then(|()| {
            // Unlike a rename, it does not replace what another one has put there meanwhile.
            fs::hard_link(&partial, &place)
        });
        let _ = fs::remove_file(&partial);
        match linked {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let there = read(&place).map_err(failed)?;
                if there == archive {
                    Ok(false)
                } else {
                    Err(FolderError::VersionTaken { path: place })
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads a version, or the newest one.
    ///
    /// # Errors
    /// When it is not there, or no package.
    pub fn pull(&self, name: &str, version: Option<&Version>) -> Result<Package, FolderError> {
        let missing = || FolderError::NotFound {
            path: self.path.clone(),
            name: name.to_owned(),
        };
        let version = match version {
            Some(version) => version.clone(),
            None => self.versions(name)?.pop().ok_or_else(missing)?,
        };
        let path = self.place(name, &version);
        let archive = match read(&path) {
            Ok(archive) => archive,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
            Err(source) => return Err(FolderError::Io { path, source }),
        };
        let package = Package::from_archive(&archive)?;
        if package.name() != name || *package.version() != version {
            let found = format!("{} {}", package.name(), package.version());
            return Err(FolderError::Misnamed { path, found });
        }
        Ok(package)
    }

    /// Versions that are there, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn versions(&self, name: &str) -> Result<Vec<Version>, FolderError> {
        let failed = |source| FolderError::Io {
            path: self.path.clone(),
            source,
        };
        let mut versions = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let file = entry.map_err(failed)?.file_name();
            let version = file
                .to_str()
                .and_then(|file| file.strip_prefix(name)?.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(EXTENSION)?.parse().ok());
            versions.extend(version);
        }
        versions.sort();
        Ok(versions)
    }
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// One byte more than an archive may have, at most.
fn read(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    let file = fs::File::open(path)?;
    io::Read::read_to_end(
        &mut io::Read::take(file, ARCHIVE_BYTES_MAX + 1),
        &mut content,
    )?;
    Ok(content.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;
    use crate::{SigningKey, package::tests::package};

    #[test]
    fn what_is_pushed_is_pulled_and_a_version_stays_what_it_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().join("registry"));
        for version in ["1.10.0", "1.9.0", "2.0.0-rc.1"] {
            assert!(folder.push(&package("text.shout", version)).unwrap());
        }
        assert!(folder.push(&package("text", "3.0.0")).unwrap());
        assert!(!folder.push(&package("text.shout", "1.9.0")).unwrap());
        let signed = package("text.shout", "1.9.0").sign(&SigningKey::generate().unwrap());
        assert!(matches!(
            folder.push(&signed),
            Err(FolderError::VersionTaken { .. })
        ));
        let newest = folder.pull("text.shout", None).unwrap();
        assert_eq!(newest.version().to_string(), "2.0.0-rc.1");
        let one = folder
            .pull("text.shout", Some(&Version::new(1, 9, 0)))
            .unwrap();
        assert_eq!(one.digest(), package("text.shout", "1.9.0").digest());
        assert!(matches!(
            folder.pull("text.whisper", None),
            Err(FolderError::NotFound { .. })
        ));
        // Nothing else is left behind.
        assert_eq!(
            fs::read_dir(place.path().join("registry")).unwrap().count(),
            4
        );
    }

    #[test]
    fn a_file_with_a_wrong_name_is_not_taken_for_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path().to_owned());
        let archive = package("text.whisper", "1.0.0").to_archive().unwrap();
        fs::write(folder.place("text.shout", &Version::new(1, 0, 0)), archive).unwrap();
        assert!(matches!(
            folder.pull("text.shout", None),
            Err(FolderError::Misnamed { .. })
        ));
    }
}
