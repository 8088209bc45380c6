//! Plugin packages: a component with its manifest and what belongs to it, and who may be trusted
//! for it.
//!
//! ```text
//! docking.vina/
//!   bindery.toml      name, version, licence, what it asks for
//!   component.wasm
//!   bindery.sig       the publisher's signature, if it is signed
//!   cases/            golden cases
//!   examples/         files that the task definitions' examples name
//! ```
//!
//! A package is named by its digest, which covers every file but the signature; a component by its
//! own. The same package can be a directory, a `.bindery` archive, or an artifact in an OCI
//! registry; its digest is the same in each. Whether it may be loaded is decided in one place,
//! [`judge`]. Knows no engine and no host: what is done with a package is not its business.

mod archive;
mod digest;
mod folder;
mod limits;

mod manifest;
pub mod oci;
mod package;
mod path;
mod revocation;
mod signature;
mod text;
mod trust;

pub use self::{
    archive::ArchiveError,
    digest::package_digest,
    folder::{Folder, FolderError},
    limits::{
        ARCHIVE_BYTES_MAX, FILE_BYTES_MAX, FILES_MAX, MANIFEST_BYTES_MAX, PATH_BYTES_MAX,
        SIZE_BYTES_MAX,
    },
    manifest::{
        Asset, Contract, HostName, MANIFEST_FILE, Manifest, ManifestError, Needs, PackageSection,
        SUPPORTED_CONTRACTS,
    },
    package::{COMPONENT_FILE, Package, PackageError},
    path::PathError,
    revocation::{RevocationError, Revocations, RevokedDigest, RevokedKey},
    signature::{
        KeyError, KeyId, PublicKey, SIGNATURE_FILE, Signature, SignatureError, SigningKey,
    },
    trust::{Publisher, Refusal, Trust, TrustError, TrustPolicy, TrustStore, Warning, judge},
};
