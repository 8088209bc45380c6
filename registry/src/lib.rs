//! Plugin packages: a directory with a component, its manifest and what belongs to it.
//!
//! ```text
//! docking.vina/
//!   bindery.toml      name, version, licence, what it asks for
//!   component.wasm
//!   examples/         files that the task definitions' examples name
//! ```
//!
//! A package is named by its digest, which covers every file; a component by its own. Signatures,
//! publishing and fetching build on both and come with the plugin platform.

mod digest;
mod manifest;
mod package;

pub use self::{
    digest::package_digest,
    manifest::{Manifest, ManifestError},
    package::{Package, PackageError},
};
