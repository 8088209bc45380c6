//! The protocol without HTTP.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use super::*;
use crate::{
    SigningKey,
    oci::{DirectoryStorage, OCI_MANIFEST_MEDIA_TYPE},
    package::tests::package,
};

struct Setting {
    _place: tempfile::TempDir,
    registry: Registry,
    name: Repository,
}

fn setting(size_bytes_max: u64) -> Setting {
    let place = tempfile::tempdir().unwrap();
    let storage = DirectoryStorage::open(place.path().to_owned()).unwrap();
    Setting {
        registry: Registry::open(Arc::new(storage), size_bytes_max).unwrap(),
        name: "text.shout".parse().unwrap(),
        _place: place,
    }
}

impl Setting {
    fn upload(&self, content: &[u8]) -> Result<Digest, OciError> {
        let id = self.registry.begin_upload(&self.name)?;
        self.registry.append(&self.name, &id, 0, content)?;
        let digest = Digest::of(content).to_string();
        self.registry.finish_upload(&self.name, &id, &digest)
    }

    fn push(&self, artifact: &Artifact) -> Result<Pending, OciError> {
        for blob in &artifact.blobs {
            self.upload(&blob.content)?;
        }
        let prepare = |part: &Part| {
            let reference = part.descriptor.digest.to_string();
            let content = part.content.clone();
            self.registry
                .prepare(&self.name, &reference, OCI_MANIFEST_MEDIA_TYPE, content)
        };
        let image = prepare(&artifact.image)?;
        assert!(image.pushed().is_none());
        self.registry.store(&image)?;
        prepare(&artifact.package)
    }
}

#[test]
fn a_pushed_package_is_the_one_that_was_laid_out() {
    let setting = setting(1 << 20);
    let package = package("text.shout", "1.0.0").sign(&SigningKey::generate().unwrap());
    let artifact = Artifact::of(&package).unwrap();
    let pending = setting.push(&artifact).unwrap();
    let Some(PushedContent::Package(pushed)) = pending.pushed() else {
        unreachable!("{pending:?}");
    };
    assert_eq!(pushed.to_archive().unwrap(), package.to_archive().unwrap());
    setting.registry.store(&pending).unwrap();
    // The host lays it out once more, and nothing is there twice.
    let image = setting.registry.add_package(&package).unwrap();
    assert_eq!(image, artifact.image.descriptor.digest);
    let referrers = setting
        .registry
        .referrers(&setting.name, &image.to_string(), Some(PACKAGE_MEDIA_TYPE))
        .unwrap();
    let index: Manifest = serde_json::from_slice(&referrers).unwrap();
    assert_eq!(index.children().count(), 1);
    let tags = setting.registry.tags(&setting.name, None, None).unwrap();
    assert_eq!(tags.tags, ["1.0.0"]);
    assert!(matches!(
        setting.registry.delete_manifest(&setting.name, "1.0.0"),
        Err(OciError::Unsupported(_))
    ));
}

#[test]
fn a_withdrawn_package_is_gone_and_the_others_stay() {
    let setting = setting(1 << 20);
    let (registry, name) = (&setting.registry, &setting.name);
    let (old, new) = (
        package("text.shout", "1.0.0"),
        package("text.shout", "1.1.0"),
    );
    let images = [&old, &new].map(|package| registry.add_package(package).unwrap());
    let both = [old.digest(), new.digest()];
    registry.settle(name, &both, Some(new.digest())).unwrap();
    assert_eq!(registry.manifest(name, "latest").unwrap().digest, images[1]);
    let full = *registry.change();
    registry
        .settle(name, &both[..1], Some(old.digest()))
        .unwrap();
    assert_eq!(registry.manifest(name, "latest").unwrap().digest, images[0]);
    assert!(registry.manifest(name, "1.1.0").is_err());
    assert!(registry.manifest(name, &images[1].to_string()).is_err());
    assert_eq!(registry.manifest(name, "1.0.0").unwrap().digest, images[0]);
    // The component is the old one's too.
    let component = old.component_digest().to_string();
    assert!(registry.blob(name, &component).is_ok());
    assert!(*registry.change() < full);
    registry.settle(name, &[], None).unwrap();
    assert!(registry.blob(name, &component).is_err());
    assert_eq!(*registry.change(), 0);
    assert_eq!(registry.storage.size_bytes().unwrap(), 0);
}

#[test]
fn a_package_for_another_repository_is_refused() {
    let setting = setting(1 << 20);
    let artifact = Artifact::of(&package("text.whisper", "1.0.0")).unwrap();
    let error = setting.push(&artifact).unwrap_err();
    assert!(matches!(error, OciError::Refused { code, .. } if code == "name_mismatch"));
}

#[test]
fn a_component_alone_is_brought_to_be_published() {
    let setting = setting(1 << 20);
    let artifact = Artifact::of(&package("text.shout", "1.0.0")).unwrap();
    for blob in &artifact.blobs {
        setting.upload(&blob.content).unwrap();
    }
    let mut image: Manifest = serde_json::from_slice(&artifact.image.content).unwrap();
    image.annotations.clear();
    let content = Bytes::from(serde_json::to_vec(&image).unwrap());
    let pending = setting
        .registry
        .prepare(&setting.name, "v1", OCI_MANIFEST_MEDIA_TYPE, content)
        .unwrap();
    assert!(matches!(
        pending.pushed(),
        Some(PushedContent::Component(_))
    ));
}

#[test]
fn a_chunk_continues_what_is_there_or_is_refused() {
    let setting = setting(1 << 20);
    let (registry, name) = (&setting.registry, &setting.name);
    let id = registry.begin_upload(name).unwrap();
    assert_eq!(registry.append(name, &id, 0, b"abc").unwrap(), 3);
    for at in [0, 2, 4] {
        assert!(matches!(
            registry.append(name, &id, at, b"x"),
            Err(OciError::OutOfOrder { have: 3 })
        ));
    }
    let other = "other".parse().unwrap();
    assert!(matches!(
        registry.append(&other, &id, 3, b"x"),
        Err(OciError::BlobUploadUnknown)
    ));
    // Another digest: the upload is gone, and no blob came of it.
    let wrong = Digest::of(b"abcd").to_string();
    assert!(matches!(
        registry.finish_upload(name, &id, &wrong),
        Err(OciError::DigestInvalid(_))
    ));
    assert!(registry.upload(name, &id.to_string()).is_err());
    assert!(registry.blob(name, &wrong).is_err());
}

#[test]
fn a_repository_sees_its_own_blobs_and_content_is_kept_once() {
    let setting = setting(1 << 20);
    let (registry, name) = (&setting.registry, &setting.name);
    let other: Repository = "other/one".parse().unwrap();
    let digest = setting.upload(b"content").unwrap();
    let text = digest.to_string();
    assert!(registry.blob(&other, &text).is_err());
    assert!(!registry.mount(name, &other, Digest::of(b"none")).unwrap());
    assert!(registry.mount(&other, name, digest).unwrap());
    assert_eq!(*registry.change(), 7);
    registry.delete_blob(name, &text).unwrap();
    assert!(registry.blob(name, &text).is_err());
    assert_eq!(registry.blob(&other, &text).unwrap().1, 7);
    registry.delete_blob(&other, &text).unwrap();
    assert_eq!(*registry.change(), 0);
    assert_eq!(registry.storage.blob_size(digest).unwrap(), None);
}

#[test]
fn it_is_bounded() {
    let setting = setting(100);
    assert!(matches!(
        setting.upload(&[0; 101]),
        Err(OciError::Full { .. })
    ));
    setting.upload(&[0; 60]).unwrap();
    assert!(matches!(
        setting.upload(&[1; 60]),
        Err(OciError::Full { .. })
    ));
    for _ in 0..UPLOADS_MAX - 2 {
        setting.registry.begin_upload(&setting.name).unwrap();
    }
    assert!(matches!(
        setting.registry.begin_upload(&setting.name),
        Err(OciError::TooMany(_))
    ));
}
