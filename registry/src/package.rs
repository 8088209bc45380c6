//! A package in memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bindery_core::Digest;
use bytes::Bytes;

use crate::{
    ArchiveError, MANIFEST_FILE, Manifest, ManifestError, PathError, SIGNATURE_FILE, Signature,
    SignatureError, SigningKey, archive,
    digest::package_digest,
    limits::{FILE_BYTES_MAX, FILES_MAX, SIGNATURE_BYTES_MAX, SIZE_BYTES_MAX},
    path::Paths,
};

/// The component's name in a package.
pub const COMPONENT_FILE: &str = "component.wasm";

/// A package whose form was checked: paths, sizes, manifest, the form of its signature, the assets
/// it brings. Whether it may be trusted is [`judge`](crate::judge)'s to say.
///
/// Its digests always match its files. Cheap to clone.
#[derive(Clone)]
pub struct Package {
    manifest: Manifest,
    files: BTreeMap<String, Bytes>,
    signature: Option<Signature>,
    component_digest: Digest,
    digest: Digest,
}

/// What is no usable package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} is neither a file nor a directory")]
    NotAFile { path: PathBuf },
    #[error("the package has no {file}")]
    Missing { file: &'static str },
    #[error("more than {FILES_MAX} files, {SIZE_BYTES_MAX} bytes, or {FILE_BYTES_MAX} in a file")]
    TooLarge,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("{COMPONENT_FILE} is no WebAssembly component: {fault}")]
    Component { fault: &'static str },
    #[error("asset `{name}`: {fault}")]
    Asset { name: String, fault: String },
}

impl PackageError {
    /// Stable; what an answer to the publisher carries.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Manifest(error) => error.code(),
            Self::Signature(error) => error.code(),
            Self::TooLarge
            | Self::Archive(ArchiveError::TooLarge { .. } | ArchiveError::TooManyFiles) => {
                "package_too_large"
            }
            Self::Read { .. } | Self::Write { .. } => "package_io",
            Self::NotAFile { .. }
            | Self::Missing { .. }
            | Self::Path(_)
            | Self::Archive(_)
            | Self::Component { .. }
            | Self::Asset { .. } => "package_invalid",
        }
    }
}

impl Package {
    /// Whether a directory looks like a package.
    #[must_use]
    pub fn is_package(directory: &Path) -> bool {
        directory.join(MANIFEST_FILE).is_file()
    }

    /// Reads a package from its directory.
    ///
    /// # Errors
    /// When a file is missing, unreadable or not allowed.
    pub fn read(directory: &Path) -> Result<Self, PackageError> {
        let mut files = BTreeMap::new();
        let mut size_bytes = 0;
        list(directory, "", &mut files, &mut size_bytes)?;
        Self::from_files(files)
    }

    /// Reads a `.bindery` archive. File contents are slices of it.
    ///
    /// # Errors
    /// When the bytes are no archive of a package.
    pub fn from_archive(archive: &Bytes) -> Result<Self, PackageError> {
        Self::from_files(archive::read(archive)?)
    }

    /// Puts a package together of a component and a manifest, without anything else.
    ///
    /// # Errors
    /// When the manifest or the component is not allowed.
    pub fn from_component(manifest: &Manifest, component: Bytes) -> Result<Self, PackageError> {
        let text = manifest.to_text()?;
        Self::from_files(BTreeMap::from([
            (MANIFEST_FILE.to_owned(), Bytes::from(text)),
            (COMPONENT_FILE.to_owned(), component),
        ]))
    }

    /// # Errors
    /// When the files are no package.
    pub fn from_files(files: BTreeMap<String, Bytes>) -> Result<Self, PackageError> {
        check_sizes(&files)?;
        let mut paths = Paths::default();
        for path in files.keys() {
            paths.insert(path)?;
            for reserved in [MANIFEST_FILE, COMPONENT_FILE, SIGNATURE_FILE] {
                // One of these names in another case is that file on some systems.
                if path != reserved && path.to_lowercase() == reserved {
                    return Err(PathError::Twins(path.clone(), reserved.to_owned()).into());
                }
            }
        }
        let required = |file: &'static str| files.get(file).ok_or(PackageError::Missing { file });
        let manifest = Manifest::from_bytes(required(MANIFEST_FILE)?)?;
        let component = required(COMPONENT_FILE)?;
        check_component(component)?;
        let component_digest = Digest::of(component);
        check_assets(&manifest, &files)?;
        let signature = match files.get(SIGNATURE_FILE) {
            None => None,
            Some(text) if text.len() > SIGNATURE_BYTES_MAX => {
                return Err(SignatureError::Format("it is too long".to_owned()).into());
            }
            Some(text) => Some(Signature::parse(&String::from_utf8_lossy(text))?),
        };
        let digest = digest_of(&files);
        Ok(Self {
            manifest,
            files,
            signature,
            component_digest,
            digest,
        })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.package.name
    }

    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.manifest.package.version
    }

    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The component's bytes.
    #[must_use]
    pub fn component(&self) -> &Bytes {
        // `from_files` let none pass without.
        self.files.get(COMPONENT_FILE).unwrap_or(&EMPTY)
    }

    #[must_use]
    pub const fn component_digest(&self) -> Digest {
        self.component_digest
    }

    /// Of all its files but the signature.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    #[must_use]
    pub const fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    #[must_use]
    pub fn file(&self, path: &str) -> Option<&Bytes> {
        self.files.get(path)
    }

    /// All files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.files
            .iter()
            .map(|(path, content)| (path.as_str(), content))
    }

    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.values().map(|file| file.len() as u64).sum()
    }

    /// The same package with this signature in place of its own. The digest stays.
    #[must_use]
    pub fn with_signature(mut self, signature: Option<Signature>) -> Self {
        match &signature {
            Some(signature) => self.files.insert(
                SIGNATURE_FILE.to_owned(),
                Bytes::from(signature.to_string()),
            ),
            None => self.files.remove(SIGNATURE_FILE),
        };
        self.signature = signature;
        self
    }

    #[must_use]
    pub fn sign(self, key: &SigningKey) -> Self {
        let signature = key.sign(self.name(), self.version(), self.digest);
        self.with_signature(Some(signature))
    }

    /// As a `.bindery` archive; the same bytes for the same files.
    ///
    /// # Errors
    /// Not for a package that was checked.
    pub fn to_archive(&self) -> Result<Bytes, PackageError> {
        let files = self.files().map(|(path, content)| (path, content.as_ref()));
        Ok(Bytes::from(archive::write(files)?))
    }

    /// Writes the files into a directory that must not exist yet, whole or not at all.
    ///
    /// # Errors
    /// When the directory exists or cannot be written.
    pub fn write(&self, directory: &Path) -> Result<(), PackageError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PackageError::Write { path, source }
        };
        if directory.symlink_metadata().is_ok() {
            return Err(failed(directory)(io::ErrorKind::AlreadyExists.into()));
        }
        // Beside it, so that the last step is a rename.
        let mut name = directory.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let partial = directory.with_file_name(name);
        let written = self
            .write_into(&partial)
            .and_then(|()| fs::rename(&partial, directory).map_err(failed(directory)));
        if written.is_err() {
            // What is left of it is in nobody's way.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    fn write_into(&self, directory: &Path) -> Result<(), PackageError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| PackageError::Write { path, source }
        };
        for (path, content) in self.files() {
            let path = directory.join(path);
            let parent = path.parent().unwrap_or(directory);
            fs::create_dir_all(parent).map_err(failed(parent))?;
            fs::write(&path, content).map_err(failed(&path))?;
        }
        Ok(())
    }
}

static EMPTY: Bytes = Bytes::new();

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package")
            .field("name", &self.name())
            .field("version", &self.version())
            .field("digest", &self.digest)
            .field("files", &self.files.len())
            .finish_non_exhaustive()
    }
}

fn digest_of(files: &BTreeMap<String, Bytes>) -> Digest {
    let digests: Vec<(&str, Digest)> = files
        .iter()
        .filter(|(path, _)| *path != SIGNATURE_FILE)
        .map(|(path, content)| (path.as_str(), Digest::of(content)))
        .collect();
    package_digest(digests)
}

fn check_sizes(files: &BTreeMap<String, Bytes>) -> Result<(), PackageError> {
    let sizes = || files.values().map(|content| content.len() as u64);
    let fits = files.len() <= FILES_MAX
        && sizes().all(|size| size <= FILE_BYTES_MAX)
        && sizes().sum::<u64>() <= SIZE_BYTES_MAX;
    fits.then_some(()).ok_or(PackageError::TooLarge)
}

/// By its first eight bytes: the magic number, and a version whose layer is that of components.
fn check_component(component: &[u8]) -> Result<(), PackageError> {
    let fault = match component.first_chunk::<8>() {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => return Ok(()),
        Some([0, b'a', b's', b'm', _, _, 0, 0]) => "it is a core module; build for wasm32-wasip2",
        _ => "it does not begin as one",
    };
    Err(PackageError::Component { fault })
}

fn check_assets(manifest: &Manifest, files: &BTreeMap<String, Bytes>) -> Result<(), PackageError> {
    for (name, asset) in &manifest.needs.assets {
        let Some(path) = &asset.path else { continue };
        let fault = match files.get(path) {
            None => format!("the package has no {path}"),
            Some(content) if content.len() as u64 != asset.size_bytes => {
                format!("{path} has {} bytes", content.len())
            }
            Some(content) if Digest::of(content) != asset.digest => {
                format!("{path} has another digest")
            }
            Some(_) => continue,
        };
        return Err(PackageError::Asset {
            name: name.clone(),
            fault,
        });
    }
    Ok(())
}

fn list(
    directory: &Path,
    prefix: &str,
    files: &mut BTreeMap<String, Bytes>,
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
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| PathError::NotText(name.to_string_lossy().into_owned()))?;
        let name = format!("{prefix}{name}");
        // Before going down: it bounds the depth.
        crate::path::check(&name)?;
        if kind.is_dir() {
            list(&path, &format!("{name}/"), files, size_bytes)?;
        } else if kind.is_file() {
            let content = read_file(&path).map_err(failed(&path))?;
            *size_bytes += content.len() as u64;
            if content.len() as u64 > FILE_BYTES_MAX
                || *size_bytes > SIZE_BYTES_MAX
                || files.len() == FILES_MAX
            {
                return Err(PackageError::TooLarge);
            }
            files.insert(name, content);
        } else {
            return Err(PackageError::NotAFile { path });
        }
    }
    Ok(())
}

/// One byte more than is allowed, at most.
fn read_file(path: &Path) -> io::Result<Bytes> {
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)?;
    Ok(content.into())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    pub(crate) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    pub(crate) fn manifest(name: &str, version: &str) -> String {
        format!(
            "[package]\nname = \"{name}\"\nversion = \"{version}\"\nlicence = \"MIT\"\ncontract = \"bindery:task@0.1\"\n"
        )
    }

    pub(crate) fn files(name: &str, version: &str) -> BTreeMap<String, Bytes> {
        BTreeMap::from([
            (
                MANIFEST_FILE.to_owned(),
                Bytes::from(manifest(name, version)),
            ),
            (COMPONENT_FILE.to_owned(), Bytes::from_static(COMPONENT)),
            (
                "cases/one/case.toml".to_owned(),
                Bytes::from_static(b"x = 1\n"),
            ),
        ])
    }

    pub(crate) fn package(name: &str, version: &str) -> Package {
        Package::from_files(files(name, version)).unwrap()
    }

    fn changed(path: &str, content: &'static [u8]) -> Result<Package, PackageError> {
        let mut files = files("text.shout", "1.0.0");
        files.insert(path.to_owned(), Bytes::from_static(content));
        Package::from_files(files)
    }

    #[test]
    fn it_is_the_same_in_memory_in_an_archive_and_in_a_directory() {
        let package = package("text.shout", "1.0.0").sign(&SigningKey::generate().unwrap());
        let archive = package.to_archive().unwrap();
        let from_archive = Package::from_archive(&archive).unwrap();
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("text.shout");
        package.write(&directory).unwrap();
        let from_directory = Package::read(&directory).unwrap();
        for other in [from_archive, from_directory] {
            assert_eq!(other.digest(), package.digest());
            assert_eq!(other.signature(), package.signature());
            assert_eq!(other.to_archive().unwrap(), archive);
        }
        // Not over something that is there.
        assert!(package.write(&directory).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_signature_is_not_part_of_the_digest_and_all_else_is() {
        let plain = package("text.shout", "1.0.0");
        let signed = plain.clone().sign(&SigningKey::generate().unwrap());
        assert_eq!(signed.digest(), plain.digest());
        assert_eq!(signed.with_signature(None).files.len(), 3);
        let others = [
            changed("cases/one/case.toml", b"x = 2\n").unwrap(),
            changed("cases/two/case.toml", b"x = 1\n").unwrap(),
            changed(COMPONENT_FILE, b"\0asm\x0d\0\x01\0\0").unwrap(),
            package("text.shout", "1.0.1"),
        ];
        for other in others {
            assert_ne!(other.digest(), plain.digest());
        }
    }

    #[test]
    fn a_component_alone_becomes_a_package() {
        let manifest = Manifest::parse(&manifest("text.shout", "1.0.0")).unwrap();
        let package = Package::from_component(&manifest, Bytes::from_static(COMPONENT)).unwrap();
        assert_eq!(package.manifest(), &manifest);
        assert_eq!(package.component_digest(), Digest::of(COMPONENT));
    }

    #[test]
    fn what_is_no_package_is_refused_with_a_code() {
        let code = |result: Result<Package, PackageError>| result.unwrap_err().code();
        assert_eq!(code(changed("../up", b"")), "package_invalid");
        assert_eq!(code(changed("BINDERY.sig", b"")), "package_invalid");
        assert_eq!(code(changed("CASES/one/case.toml", b"")), "package_invalid");
        assert_eq!(code(changed(MANIFEST_FILE, b"")), "manifest_invalid");
        assert_eq!(code(changed(SIGNATURE_FILE, b"")), "signature_invalid");
        assert_eq!(
            code(changed(COMPONENT_FILE, b"\0asm\x01\0\0\0")),
            "package_invalid"
        );
        for missing in [MANIFEST_FILE, COMPONENT_FILE] {
            let mut files = files("text.shout", "1.0.0");
            files.remove(missing);
            assert_eq!(code(Package::from_files(files)), "package_invalid");
        }
        let mut many = files("text.shout", "1.0.0");
        many.extend((0..FILES_MAX).map(|number| (number.to_string(), Bytes::new())));
        assert_eq!(code(Package::from_files(many)), "package_too_large");
    }

    #[test]
    fn an_asset_in_the_package_is_what_the_manifest_says() {
        let with = |size: u64, path: &str, of: &[u8]| {
            let mut files = files("text.shout", "1.0.0");
            let text = manifest("text.shout", "1.0.0")
                + &format!(
                    "[needs.assets.words]\ndigest = \"{}\"\nsize_bytes = {size}\npath = \"{path}\"\n",
                    Digest::of(of)
                );
            files.insert(MANIFEST_FILE.to_owned(), Bytes::from(text));
            files.insert("data/words".to_owned(), Bytes::from_static(b"abc"));
            Package::from_files(files)
        };
        assert!(with(3, "data/words", b"abc").is_ok());
        for wrong in [
            with(4, "data/words", b"abc"),
            with(3, "data/word", b"abc"),
            with(3, "data/words", b"abd"),
        ] {
            assert!(matches!(wrong, Err(PackageError::Asset { .. })));
        }
    }

    #[test]
    fn links_in_a_directory_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("p");
        package("text.shout", "1.0.0").write(&directory).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", directory.join("cases/passwd")).unwrap();
        assert!(matches!(
            Package::read(&directory),
            Err(PackageError::NotAFile { .. })
        ));
    }
}
