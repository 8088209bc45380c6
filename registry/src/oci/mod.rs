//! Packages in OCI registries: how one is laid out there, a client, and the registry that the host
//! is itself.
//!
//! A package is two manifests (`docs/design/registry.md` says why):
//!
//! - the *image*, tagged with the version: config `application/vnd.wasm.config.v0+json`, one layer
//!   `application/wasm`. This is what the field's clients understand, and they get the component.
//! - the *package manifest*, which refers to the image as its `subject`: one layer, a tar of all
//!   other files. Our client finds it among the image's referrers and puts both together.
//!
//! Whatever is pulled is checked against its digest before it is looked at, and the package's own
//! digest, and then its signature, are checked as for any other.

mod artifact;
mod client;
mod error;
mod manifest;
mod name;
mod reference;
mod server;
mod storage;

pub use self::{
    artifact::{Artifact, ArtifactError, PACKAGE_DIGEST_ANNOTATION, PACKAGE_MEDIA_TYPE, Part},
    client::{Client, ClientError, Credentials, Pushed},
    error::OciError,
    manifest::{Descriptor, INDEX_MEDIA_TYPE, Manifest, OCI_MANIFEST_MEDIA_TYPE},
    name::{ManifestRef, Repository, Tag, Target},
    reference::{OciReference, ReferenceError},
    server::{
        BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, Pending, PushedContent, Registry, Stored,
        StoredManifest, TagPage, UploadId,
    },
    storage::{DirectoryStorage, Storage},
};
