//! The registry that the host is: uploads, blobs, manifests, tags, referrers.
//!
//! The protocol without HTTP: what the OCI distribution specification (v1.1) asks of a registry,
//! over a [`Storage`]. Calls may wait for a disk. Whoever serves it maps errors to status codes,
//! asks who is calling, and takes a [`PushedContent`](Pending::pushed) package through publishing between
//! [`Registry::prepare`] and [`Registry::store`].
//!
//! A repository sees its own blobs only; the same content is kept once for all of them. Records:
//!
//! ```text
//! repositories/NAME/blobs/HEX            that the repository has the blob
//! repositories/NAME/manifests/HEX        media type
//! repositories/NAME/tags/TAG             digest
//! repositories/NAME/referrers/HEX/HEX    descriptor of a manifest, by its subject
//! repositories/NAME/packages/HEX         image digest of a package that was laid out
//! links/HEX/NAME                         who has a content: none, and it is deleted
//! uploads/ID                             whose it is
//! ```

#[cfg(test)]
mod tests;
mod uploads;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bindery_core::Digest;
use bytes::Bytes;

use super::{
    Artifact, ManifestRef, OciError, PACKAGE_DIGEST_ANNOTATION, PACKAGE_MEDIA_TYPE, Repository,
    Storage, Tag,
    artifact::{self, ArtifactError, Part},
    manifest::{Descriptor, Manifest},
    name::digest as parse_digest,
};
use crate::{ARCHIVE_BYTES_MAX, Package};

/// A manifest; the specification asks for at least as much.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// A blob is one of a package's parts.
pub const BLOB_BYTES_MAX: u64 = ARCHIVE_BYTES_MAX;
/// Uploads at a time: each is a file on the disk that nobody may ever finish.
const UPLOADS_MAX: usize = 64;
/// After which an upload that nothing is added to is given up.
const UPLOAD_IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// Referrers of one manifest.
const REFERRERS_MAX: usize = 256;
/// Tags in one answer.
const TAGS_MAX: usize = 1000;

/// See the module.
#[derive(Debug)]
pub struct Registry {
    storage: Arc<dyn Storage>,
    size_bytes_max: u64,
    /// Bytes of all blobs. Held while something is changed, so that changes come one by one.
    size_bytes: Mutex<u64>,
}

/// Name of an upload: 16 random bytes in hex, so that nobody guesses another's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(String);

/// A manifest that may be stored.
#[derive(Debug)]
pub struct Pending {
    repository: Repository,
    reference: ManifestRef,
    media_type: String,
    content: Bytes,
    digest: Digest,
    manifest: Manifest,
    pushed: Option<PushedContent>,
}

/// What a manifest brings to be published.
#[derive(Debug, Clone)]
pub enum PushedContent {
    Package(Box<Package>),
    /// A component without a package, from a client that knows no packages.
    Component(Bytes),
}

/// A manifest that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    /// That the registry saw the subject, and will list it.
    pub subject: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub digest: Digest,
    pub media_type: String,
    pub content: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPage {
    pub tags: Vec<String>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Pending {
    #[must_use]
    pub const fn pushed(&self) -> Option<&PushedContent> {
        self.pushed.as_ref()
    }

    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The digest of the package that this image is of, as it says itself.
    #[must_use]
    pub fn package_digest(&self) -> Option<Digest> {
        artifact::package_digest(&self.manifest)
    }
}

impl Registry {
    /// `size_bytes_max` bounds the content of all repositories.
    ///
    /// # Errors
    /// When the storage cannot be read.
    pub fn open(storage: Arc<dyn Storage>, size_bytes_max: u64) -> Result<Self, OciError> {
        let size_bytes = storage.size_bytes()?;
        Ok(Self {
            storage,
            size_bytes_max,
            size_bytes: Mutex::new(size_bytes),
        })
    }

    fn change(&self) -> MutexGuard<'_, u64> {
        // What it guards is a number that is right between any two statements.
        self.size_bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    // Blobs.

    /// The size of a blob.
    ///
    /// # Errors
    /// When the repository does not have it.
    pub fn blob(&self, repository: &Repository, digest: &str) -> Result<(Digest, u64), OciError> {
        let digest = parse_digest(digest)?;
        let size = self.blob_size(repository, digest)?;
        Ok((digest, size.ok_or(OciError::BlobUnknown(digest))?))
    }

    fn blob_size(&self, repository: &Repository, digest: Digest) -> Result<Option<u64>, OciError> {
        let key = folded(repository);
        let known = self
            .storage
            .get(&["repositories", &key, "blobs", &digest.hex()])?;
        if known.is_none() {
            return Ok(None);
        }
        Ok(self.storage.blob_size(digest)?)
    }

    /// A part of a blob that [`Registry::blob`] found.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn read_blob(&self, digest: Digest, at: u64, len: usize) -> Result<Bytes, OciError> {
        Ok(self.storage.read_blob(digest, at, len)?)
    }

    /// # Errors
    /// When the repository does not have it, or the storage fails.
    pub fn delete_blob(&self, repository: &Repository, digest: &str) -> Result<(), OciError> {
        let digest = parse_digest(digest)?;
        let mut size_bytes = self.change();
        let key = folded(repository);
        if !self
            .storage
            .delete(&["repositories", &key, "blobs", &digest.hex()])?
        {
            return Err(OciError::BlobUnknown(digest));
        }
        self.unlink(&mut size_bytes, repository, digest)
    }

    /// Gives the repository a blob that another one has. False when that has none, and then the
    /// client uploads it.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn mount(
        &self,
        repository: &Repository,
        from: &Repository,
        digest: Digest,
    ) -> Result<bool, OciError> {
        let _changing = self.change();
        if self.blob_size(from, digest)?.is_none() {
            return Ok(false);
        }
        self.link_blob(repository, digest)?;
        Ok(true)
    }

    fn link_blob(&self, repository: &Repository, digest: Digest) -> Result<(), OciError> {
        let (key, hex) = (folded(repository), digest.hex());
        // The link first: a content that nobody reaches is a lesser evil than one that is gone.
        self.storage.put(&["links", &hex, &key], b"")?;
        self.storage
            .put(&["repositories", &key, "blobs", &hex], b"")?;
        Ok(())
    }

    /// Forgets that the repository has a content, unless as another thing, and deletes what nobody
    /// has.
    fn unlink(
        &self,
        size_bytes: &mut u64,
        repository: &Repository,
        digest: Digest,
    ) -> Result<(), OciError> {
        let (key, hex) = (folded(repository), digest.hex());
        for kind in ["blobs", "manifests"] {
            let other = self.storage.get(&["repositories", &key, kind, &hex])?;
            if other.is_some() {
                return Ok(());
            }
        }
        self.storage.delete(&["links", &hex, &key])?;
        if self.storage.list(&["links", &hex])?.is_empty() {
            let size = self.storage.blob_size(digest)?.unwrap_or_default();
            self.storage.delete_blob(digest)?;
            *size_bytes = size_bytes.saturating_sub(size);
        }
        Ok(())
    }

    // Manifests.

    /// Checks a manifest that is pushed, and what it refers to.
    ///
    /// # Errors
    /// When it may not be stored.
    pub fn prepare(
        &self,
        repository: &Repository,
        reference: &str,
        media_type: &str,
        content: Bytes,
    ) -> Result<Pending, OciError> {
        if content.len() > MANIFEST_BYTES_MAX {
            return Err(OciError::TooLarge {
                limit_bytes: MANIFEST_BYTES_MAX as u64,
            });
        }
        let reference: ManifestRef = reference.parse()?;
        let digest = Digest::of(&content);
        if let ManifestRef::Digest(named) = reference
            && named != digest
        {
            return Err(OciError::DigestInvalid(format!(
                "the manifest has the digest {digest}"
            )));
        }
        let manifest = Manifest::parse(media_type, &content)?;
        for blob in manifest.blobs() {
            let size = self.blob_size(repository, blob.digest)?;
            let size = size.ok_or(OciError::ManifestBlobUnknown(blob.digest))?;
            if size != blob.size {
                return Err(OciError::ManifestInvalid(format!(
                    "{} has {size} bytes, the manifest says {}",
                    blob.digest, blob.size
                )));
            }
        }
        for child in manifest.children() {
            if self.manifest_type(repository, child.digest)?.is_none() {
                return Err(OciError::ManifestBlobUnknown(child.digest));
            }
        }
        let pushed = self.pushed(repository, &manifest)?;
        Ok(Pending {
            repository: repository.clone(),
            reference,
            media_type: media_type.to_owned(),
            content,
            digest,
            manifest,
            pushed,
        })
    }

    /// A package manifest brings a package; an image that belongs to none, a component.
    fn pushed(
        &self,
        repository: &Repository,
        manifest: &Manifest,
    ) -> Result<Option<PushedContent>, OciError> {
        let invalid = |error: ArtifactError| match error {
            ArtifactError::Package(error) => OciError::Refused {
                code: error.code().to_owned(),
                message: error.to_string(),
            },
            other => OciError::ManifestInvalid(other.to_string()),
        };
        if manifest.kind() != Some(PACKAGE_MEDIA_TYPE) {
            let Ok(layer) = artifact::component_layer(manifest) else {
                return Ok(None);
            };
            if manifest.annotations.contains_key(PACKAGE_DIGEST_ANNOTATION) {
                return Ok(None);
            }
            return Ok(Some(PushedContent::Component(self.whole(layer)?)));
        }
        let subject = manifest.subject.as_ref().ok_or_else(|| {
            OciError::ManifestInvalid("a package manifest without a subject".to_owned())
        })?;
        let image = self
            .manifest_by_digest(repository, subject.digest)?
            .ok_or(OciError::ManifestBlobUnknown(subject.digest))?;
        let image = Manifest::parse(&image.media_type, &image.content)?;
        let component = artifact::component_layer(&image).map_err(invalid)?;
        let files = artifact::files_layer(manifest).map_err(invalid)?;
        let package = artifact::assemble(
            self.whole(component)?,
            &self.whole(files)?,
            artifact::package_digest(manifest),
        )
        .map_err(invalid)?;
        if package.name() != repository.as_str() {
            return Err(OciError::Refused {
                code: "name_mismatch".to_owned(),
                message: format!(
                    "the package is {}; push it to a repository of this name",
                    package.name()
                ),
            });
        }
        Ok(Some(PushedContent::Package(Box::new(package))))
    }

    fn whole(&self, blob: &Descriptor) -> Result<Bytes, OciError> {
        let size = usize::try_from(blob.size).unwrap_or(usize::MAX);
        Ok(self.storage.read_blob(blob.digest, 0, size)?)
    }

    /// Stores what was checked.
    ///
    /// # Errors
    /// When the storage fails or is full.
    pub fn store(&self, pending: &Pending) -> Result<Stored, OciError> {
        let mut size_bytes = self.change();
        self.store_manifest(
            &mut size_bytes,
            &pending.repository,
            &pending.media_type,
            &pending.content,
            &pending.manifest,
        )?;
        if let ManifestRef::Tag(tag) = &pending.reference {
            self.tag(&pending.repository, tag, pending.digest)?;
        }
        let subject = pending.manifest.subject.as_ref();
        Ok(Stored {
            digest: pending.digest,
            subject: subject.map(|subject| subject.digest),
        })
    }

    fn store_manifest(
        &self,
        size_bytes: &mut u64,
        repository: &Repository,
        media_type: &str,
        content: &Bytes,
        manifest: &Manifest,
    ) -> Result<Digest, OciError> {
        let digest = self.keep(size_bytes, content)?;
        let (key, hex) = (folded(repository), digest.hex());
        if let Some(subject) = &manifest.subject {
            let below = ["repositories", &key, "referrers", &subject.digest.hex()];
            if self.storage.list(&below)?.len() >= REFERRERS_MAX {
                return Err(OciError::TooMany("the manifest has too many referrers"));
            }
            let descriptor = Descriptor {
                media_type: media_type.to_owned(),
                digest,
                size: content.len() as u64,
                artifact_type: manifest.kind().map(str::to_owned),
                annotations: manifest.annotations.clone(),
            };
            let record = serde_json::to_vec(&descriptor).map_err(std::io::Error::other)?;
            let [a, b, c, d] = below;
            self.storage.put(&[a, b, c, d, &hex], &record)?;
        }
        self.storage.put(&["links", &hex, &key], b"")?;
        self.storage.put(
            &["repositories", &key, "manifests", &hex],
            media_type.as_bytes(),
        )?;
        Ok(digest)
    }

    fn tag(&self, repository: &Repository, tag: &Tag, digest: Digest) -> Result<(), OciError> {
        self.storage.put(
            &["repositories", &folded(repository), "tags", tag.as_str()],
            digest.to_string().as_bytes(),
        )?;
        Ok(())
    }

    fn tagged(&self, repository: &Repository, tag: &Tag) -> Result<Option<Digest>, OciError> {
        let record =
            self.storage
                .get(&["repositories", &folded(repository), "tags", tag.as_str()])?;
        Ok(record.and_then(|record| std::str::from_utf8(&record).ok()?.parse().ok()))
    }

    fn manifest_type(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Option<String>, OciError> {
        let key = folded(repository);
        let record = self
            .storage
            .get(&["repositories", &key, "manifests", &digest.hex()])?;
        Ok(record.map(|record| String::from_utf8_lossy(&record).into_owned()))
    }

    fn manifest_by_digest(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Option<StoredManifest>, OciError> {
        let Some(media_type) = self.manifest_type(repository, digest)? else {
            return Ok(None);
        };
        let content = self.storage.read_blob(digest, 0, MANIFEST_BYTES_MAX)?;
        Ok(Some(StoredManifest {
            digest,
            media_type,
            content,
        }))
    }

    /// # Errors
    /// When the repository does not have it.
    pub fn manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<StoredManifest, OciError> {
        let unknown = || OciError::ManifestUnknown(reference.chars().take(80).collect());
        let digest = match reference.parse() {
            Ok(ManifestRef::Digest(digest)) => digest,
            Ok(ManifestRef::Tag(tag)) => self.tagged(repository, &tag)?.ok_or_else(unknown)?,
            Err(OciError::DigestInvalid(fault)) => return Err(OciError::DigestInvalid(fault)),
            // There cannot be a manifest with a tag that is none.
            Err(_) => return Err(unknown()),
        };
        self.manifest_by_digest(repository, digest)?
            .ok_or_else(unknown)
    }

    /// By a tag, takes the tag away; by a digest, the manifest with all its tags.
    ///
    /// # Errors
    /// When the repository does not have it, or it is of a package that is published.
    pub fn delete_manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<(), OciError> {
        let mut size_bytes = self.change();
        let found = self.manifest(repository, reference)?;
        let (key, hex) = (folded(repository), found.digest.hex());
        if !self
            .storage
            .list(&["repositories", &key, "packages"])?
            .is_empty()
        {
            return Err(OciError::Unsupported(
                "versions of a published package are taken back with `bindery plugin disable`",
            ));
        }
        if let Ok(ManifestRef::Tag(tag)) = reference.parse() {
            self.storage
                .delete(&["repositories", &key, "tags", tag.as_str()])?;
            return Ok(());
        }
        self.forget_manifest(&mut size_bytes, repository, &hex)
    }

    /// With its tags, and its place among the referrers of its subject.
    fn forget_manifest(
        &self,
        size_bytes: &mut u64,
        repository: &Repository,
        hex: &str,
    ) -> Result<(), OciError> {
        let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else {
            return Ok(());
        };
        let Some(found) = self.manifest_by_digest(repository, digest)? else {
            return Ok(());
        };
        let key = folded(repository);
        for tag in self.storage.list(&["repositories", &key, "tags"])? {
            let below = ["repositories", key.as_str(), "tags", tag.as_str()];
            if self.storage.get(&below)?.as_deref() == Some(digest.to_string().as_bytes()) {
                self.storage.delete(&below)?;
            }
        }
        let manifest = Manifest::parse(&found.media_type, &found.content)?;
        if let Some(subject) = manifest.subject {
            let subject = subject.digest.hex();
            self.storage
                .delete(&["repositories", &key, "referrers", &subject, hex])?;
        }
        self.storage
            .delete(&["repositories", &key, "manifests", hex])?;
        self.unlink(size_bytes, repository, digest)
    }

    // Lists.

    /// Tags in order, those after `last`, at most `limit`.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn tags(
        &self,
        repository: &Repository,
        limit: Option<usize>,
        last: Option<&str>,
    ) -> Result<TagPage, OciError> {
        let key = folded(repository);
        if self.storage.list(&["repositories", &key])?.is_empty() {
            return Err(OciError::NameUnknown(repository.to_string()));
        }
        let mut tags = self.storage.list(&["repositories", &key, "tags"])?;
        if let Some(last) = last {
            tags.retain(|tag| tag.as_str() > last);
        }
        let limit = limit.unwrap_or(TAGS_MAX).min(TAGS_MAX);
        let more = tags.len() > limit && limit > 0;
        tags.truncate(limit);
        Ok(TagPage { tags, more })
    }

    /// An index of the manifests whose subject this is; empty when there are none, whether or not
    /// there is such a manifest.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn referrers(
        &self,
        repository: &Repository,
        digest: &str,
        artifact_type: Option<&str>,
    ) -> Result<Bytes, OciError> {
        let digest = parse_digest(digest)?;
        let (key, hex) = (folded(repository), digest.hex());
        let mut manifests = Vec::new();
        for referrer in self
            .storage
            .list(&["repositories", &key, "referrers", &hex])?
        {
            let below = ["repositories", &key, "referrers", &hex, &referrer];
            let Some(record) = self.storage.get(&below)? else {
                continue;
            };
            let descriptor: Descriptor =
                serde_json::from_slice(&record).map_err(std::io::Error::other)?;
            if artifact_type.is_none_or(|kind| descriptor.artifact_type.as_deref() == Some(kind)) {
                manifests.push(descriptor);
            }
        }
        let index = serde_json::to_vec(&Manifest::index(manifests));
        Ok(index.map_err(std::io::Error::other)?.into())
    }

    // Packages that were published, here or another way.

    /// Whether the package of this digest is laid out.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn has_package(&self, repository: &Repository, digest: Digest) -> Result<bool, OciError> {
        let key = folded(repository);
        let record = self
            .storage
            .get(&["repositories", &key, "packages", &digest.hex()])?;
        Ok(record.is_some())
    }

    /// Makes `latest` mean the package of this digest, and takes away those that are laid out and
    /// not among `published`.
    ///
    /// # Errors
    /// When the storage fails.
    pub fn settle(
        &self,
        repository: &Repository,
        published: &[Digest],
        current: Option<Digest>,
    ) -> Result<(), OciError> {
        let key = folded(repository);
        let packages = ["repositories", key.as_str(), "packages"];
        let names = self.storage.list(&packages)?;
        let kept: Vec<String> = published.iter().map(Digest::hex).collect();
        let mut withdrawn: Vec<&String> = names.iter().filter(|hex| !kept.contains(hex)).collect();
        let latest: Tag = "latest".parse()?;
        let image = match current {
            Some(digest) => self.image_of(&key, &digest.hex())?,
            None => None,
        };
        let tagged = self.tagged(repository, &latest)?;
        // Somebody's own `latest`, of what is no package, stays.
        let mut of_packages = false;
        for hex in &names {
            of_packages |= tagged.is_some() && self.image_of(&key, hex)? == tagged;
        }
        if withdrawn.is_empty() && (tagged == image || (image.is_none() && !of_packages)) {
            return Ok(());
        }
        let mut size_bytes = self.change();
        match image {
            Some(image) => self.tag(repository, &latest, image)?,
            None if of_packages => {
                self.storage
                    .delete(&["repositories", &key, "tags", "latest"])?;
            }
            None => {}
        }
        for hex in withdrawn.drain(..) {
            if let Some(image) = self.image_of(&key, hex)? {
                let image = image.hex();
                let below = ["repositories", key.as_str(), "referrers", image.as_str()];
                for referrer in self.storage.list(&below)? {
                    self.forget_manifest(&mut size_bytes, repository, &referrer)?;
                }
                self.forget_manifest(&mut size_bytes, repository, &image)?;
            }
            self.storage
                .delete(&["repositories", &key, "packages", hex])?;
        }
        self.sweep_blobs(&mut size_bytes, repository)
    }

    fn image_of(&self, key: &str, hex: &str) -> Result<Option<Digest>, OciError> {
        let record = self.storage.get(&["repositories", key, "packages", hex])?;
        Ok(record.and_then(|record| std::str::from_utf8(&record).ok()?.parse().ok()))
    }

    /// Unlinks the blobs that no manifest of the repository names.
    fn sweep_blobs(&self, size_bytes: &mut u64, repository: &Repository) -> Result<(), OciError> {
        let key = folded(repository);
        let mut named = BTreeSet::new();
        for hex in self.storage.list(&["repositories", &key, "manifests"])? {
            let found = match format!("sha256:{hex}").parse() {
                Ok(digest) => self.manifest_by_digest(repository, digest)?,
                Err(_) => None,
            };
            if let Some(found) = found {
                let manifest = Manifest::parse(&found.media_type, &found.content)?;
                named.extend(manifest.blobs().map(|blob| blob.digest.hex()));
            }
        }
        for hex in self.storage.list(&["repositories", &key, "blobs"])? {
            if let Ok(digest) = format!("sha256:{hex}").parse()
                && !named.contains(&hex)
            {
                self.storage
                    .delete(&["repositories", &key, "blobs", &hex])?;
                self.unlink(size_bytes, repository, digest)?;
            }
        }
        Ok(())
    }

    /// Lays a published package out, with its version as the tag.
    ///
    /// # Errors
    /// When it has no place in a registry: its name, its version, its size.
    pub fn add_package(&self, package: &Package) -> Result<Digest, OciError> {
        let repository: Repository = package.name().parse()?;
        let invalid = |error: ArtifactError| OciError::ManifestInvalid(error.to_string());
        let tag = Tag::of_version(package.version())
            .ok_or_else(|| OciError::ManifestInvalid("the version is no tag".to_owned()))?;
        let artifact = Artifact::of(package).map_err(invalid)?;
        let mut size_bytes = self.change();
        for blob in &artifact.blobs {
            let digest = self.keep(&mut size_bytes, &blob.content)?;
            self.link_blob(&repository, digest)?;
        }
        for part in [&artifact.image, &artifact.package] {
            let Part {
                descriptor,
                content,
            } = part;
            let manifest = Manifest::parse(&descriptor.media_type, content)?;
            self.store_manifest(
                &mut size_bytes,
                &repository,
                &descriptor.media_type,
                content,
                &manifest,
            )?;
        }
        let image = artifact.image.descriptor.digest;
        self.tag(&repository, &tag, image)?;
        // Last, so that what is marked as laid out is.
        self.storage.put(
            &[
                "repositories",
                &folded(&repository),
                "packages",
                &package.digest().hex(),
            ],
            image.to_string().as_bytes(),
        )?;
        Ok(image)
    }
}

/// A repository's name as one part of a key. Names have no `+`.
fn folded(repository: &Repository) -> String {
    repository.as_str().replace('/', "+")
}
