//! A package as OCI blobs and manifests, and back.
//!
//! The same package always gives the same bytes, so whoever pushes it, and the host that serves a
//! package that was published another way, name it by the same digests.

use std::collections::BTreeMap;

use bindery_core::Digest;
use bytes::Bytes;
use serde::Serialize;
use wasmparser::{Parser, Payload};

use super::manifest::{Descriptor, Manifest, OCI_MANIFEST_MEDIA_TYPE};
use crate::{COMPONENT_FILE, Package, PackageError, archive};

/// Type of the package manifest.
pub const PACKAGE_MEDIA_TYPE: &str = "application/vnd.bindery.package.v1";
/// Of its layer: a tar of all files but the component.
pub(crate) const FILES_MEDIA_TYPE: &str = "application/vnd.bindery.package.files.v1.tar";
/// On both manifests, so that the one is known to belong to the other.
pub const PACKAGE_DIGEST_ANNOTATION: &str = "dev.bindery.package.digest";

pub(crate) const WASM_CONFIG_MEDIA_TYPE: &str = "application/vnd.wasm.config.v0+json";
pub(crate) const WASM_LAYER_MEDIA_TYPE: &str = "application/wasm";
const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";

/// A blob or manifest with its type.
#[derive(Debug, Clone)]
pub struct Part {
    pub descriptor: Descriptor,
    pub content: Bytes,
}

/// All that is pushed of a package.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// What the manifests name; these have to be there first.
    pub blobs: Vec<Part>,
    pub image: Part,
    pub package: Part,
}

/// A package that cannot be laid out, or what was pulled and is none.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the component cannot be read: {0}")]
    Component(String),
    #[error("failed to write a manifest: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a package: {0}")]
    NotAPackage(&'static str),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("the package has the digest {found}, its manifest says {expected}")]
    Digest { expected: Digest, found: Digest },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig {
    /// A package has no time, and its digest none either.
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [String; 1],
    component: ComponentSection,
}

#[derive(Serialize)]
struct ComponentSection {
    exports: Vec<String>,
    imports: Vec<String>,
    target: Option<String>,
}

impl Part {
    pub(crate) fn new(media_type: &str, content: Bytes) -> Self {
        Self {
            descriptor: Descriptor::new(media_type, &content),
            content,
        }
    }
}

impl Artifact {
    /// # Errors
    /// When the component cannot be read.
    pub fn of(package: &Package) -> Result<Self, ArtifactError> {
        let section = &package.manifest().package;
        let mut annotations = BTreeMap::from([
            (TITLE, section.name.clone()),
            (
                "org.opencontainers.image.version",
                section.version.to_string(),
            ),
            ("org.opencontainers.image.licenses", section.licence.clone()),
            (PACKAGE_DIGEST_ANNOTATION, package.digest().to_string()),
        ]);
        for (name, value) in [
            ("org.opencontainers.image.description", &section.summary),
            ("org.opencontainers.image.url", &section.homepage),
        ] {
            if !value.is_empty() {
                annotations.insert(name, value.clone());
            }
        }
        let annotations: BTreeMap<String, String> = annotations
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();

        let mut component = Part::new(WASM_LAYER_MEDIA_TYPE, package.component().clone());
        // The name under which a client that pulls files writes it.
        component.descriptor = component.descriptor.annotate(TITLE, COMPONENT_FILE);
        let config = Part::new(WASM_CONFIG_MEDIA_TYPE, config(package)?.into());
        let mut image = Manifest::image(
            config.descriptor.clone(),
            vec![component.descriptor.clone()],
        );
        image.annotations.clone_from(&annotations);
        let image = manifest_part(&image)?;

        let others = package
            .files()
            .filter(|(path, _)| *path != COMPONENT_FILE)
            .map(|(path, content)| (path, content.as_ref()));
        let files = archive::write(others).map_err(PackageError::from)?;
        let mut files = Part::new(FILES_MEDIA_TYPE, files.into());
        let title = format!("{}-{}.files.tar", section.name, section.version);
        files.descriptor = files.descriptor.annotate(TITLE, &title);
        let empty = Part::new(EMPTY_MEDIA_TYPE, Bytes::from_static(b"{}"));
        let mut manifest =
            Manifest::image(empty.descriptor.clone(), vec![files.descriptor.clone()]);
        manifest.artifact_type = Some(PACKAGE_MEDIA_TYPE.to_owned());
        manifest.subject = Some(image.descriptor.clone());
        manifest.annotations = annotations;
        let mut package = manifest_part(&manifest)?;
        package.descriptor.artifact_type = manifest.artifact_type.clone();
        package
            .descriptor
            .annotations
            .clone_from(&manifest.annotations);
        Ok(Self {
            blobs: vec![config, component, empty, files],
            image,
            package,
        })
    }
}

fn manifest_part(manifest: &Manifest) -> Result<Part, ArtifactError> {
    Ok(Part::new(
        OCI_MANIFEST_MEDIA_TYPE,
        serde_json::to_vec(manifest)?.into(),
    ))
}

fn config(package: &Package) -> Result<Vec<u8>, ArtifactError> {
    let config = WasmConfig {
        created: "1970-01-01T00:00:00Z",
        architecture: "wasm",
        os: "wasip2",
        layer_digests: [package.component_digest().to_string()],
        component: section(package.component())?,
    };
    Ok(serde_json::to_vec(&config)?)
}

/// Names of what the component itself imports and exports, not what is nested in it.
fn section(component: &[u8]) -> Result<ComponentSection, ArtifactError> {
    let broken = |error: wasmparser::BinaryReaderError| ArtifactError::Component(error.to_string());
    let (mut exports, mut imports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(broken)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(ComponentSection {
        exports,
        imports,
        target: None,
    })
}

/// The descriptor of the component in a wasm image, which has this one layer.
pub(crate) fn component_layer(image: &Manifest) -> Result<&Descriptor, ArtifactError> {
    let config = image
        .config
        .as_ref()
        .map(|config| config.media_type.as_str());
    if config != Some(WASM_CONFIG_MEDIA_TYPE) {
        return Err(ArtifactError::NotAPackage(
            "its config is not that of a WebAssembly component",
        ));
    }
    match image.layers.as_deref() {
        Some([layer]) if layer.media_type == WASM_LAYER_MEDIA_TYPE => Ok(layer),
        _ => Err(ArtifactError::NotAPackage(
            "it does not have one layer with a component",
        )),
    }
}

/// The descriptor of the files in a package manifest.
pub(crate) fn files_layer(manifest: &Manifest) -> Result<&Descriptor, ArtifactError> {
    match manifest.layers.as_deref() {
        Some([layer])
            if manifest.kind() == Some(PACKAGE_MEDIA_TYPE)
                && layer.media_type == FILES_MEDIA_TYPE =>
        {
            Ok(layer)
        }
        _ => Err(ArtifactError::NotAPackage(
            "it is no manifest of a Bindery package",
        )),
    }
}

/// The digest that a manifest gives the package.
pub(crate) fn package_digest(manifest: &Manifest) -> Option<Digest> {
    manifest
        .annotations
        .get(PACKAGE_DIGEST_ANNOTATION)?
        .parse()
        .ok()
}

/// Puts a package together and checks that it is the one that was meant.
pub(crate) fn assemble(
    component: Bytes,
    files: &Bytes,
    expected: Option<Digest>,
) -> Result<Package, ArtifactError> {
    let mut files = archive::read(files).map_err(PackageError::from)?;
    if files.insert(COMPONENT_FILE.to_owned(), component).is_some() {
        return Err(ArtifactError::NotAPackage("the component is there twice"));
    }
    let package = Package::from_files(files)?;
    match expected {
        Some(expected) if expected != package.digest() => Err(ArtifactError::Digest {
            expected,
            found: package.digest(),
        }),
        Some(_) => Ok(package),
        None => Err(ArtifactError::NotAPackage(
            "its manifest has no digest of the package",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;
    use crate::{SigningKey, package::tests::package};

    #[test]
    fn a_package_comes_back_as_it_was() {
        let package = package("text.shout", "1.0.0").sign(&SigningKey::generate().unwrap());
        let artifact = Artifact::of(&package).unwrap();
        let image = Manifest::parse(OCI_MANIFEST_MEDIA_TYPE, &artifact.image.content).unwrap();
        let manifest = Manifest::parse(OCI_MANIFEST_MEDIA_TYPE, &artifact.package.content).unwrap();
        assert_eq!(
            manifest.subject.as_ref().unwrap().digest,
            artifact.image.descriptor.digest
        );
        let blob = |descriptor: &Descriptor| {
            let part = artifact
                .blobs
                .iter()
                .find(|part| part.descriptor.digest == descriptor.digest);
            part.unwrap().content.clone()
        };
        let component = blob(component_layer(&image).unwrap());
        assert_eq!(&component, package.component());
        let files = blob(files_layer(&manifest).unwrap());
        let again = assemble(component.clone(), &files, package_digest(&image)).unwrap();
        assert_eq!(again.to_archive().unwrap(), package.to_archive().unwrap());
        // Another component under the same files is another package.
        let mut other = component.to_vec();
        other.push(0);
        assert!(matches!(
            assemble(other.into(), &files, package_digest(&image)),
            Err(ArtifactError::Digest { .. })
        ));
    }

    #[test]
    fn it_is_what_clients_of_the_field_expect() {
        let artifact = Artifact::of(&package("text.shout", "1.0.0")).unwrap();
        let image: serde_json::Value = serde_json::from_slice(&artifact.image.content).unwrap();
        assert_eq!(image["mediaType"], OCI_MANIFEST_MEDIA_TYPE);
        assert_eq!(image["config"]["mediaType"], WASM_CONFIG_MEDIA_TYPE);
        assert_eq!(image["layers"].as_array().unwrap().len(), 1);
        assert_eq!(image["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(image["layers"][0]["annotations"][TITLE], "component.wasm");
        let config: serde_json::Value = serde_json::from_slice(&artifact.blobs[0].content).unwrap();
        for (field, value) in [("architecture", "wasm"), ("os", "wasip2")] {
            assert_eq!(config[field], value);
        }
        assert!(config["created"].is_string());
        assert!(config["component"]["exports"].is_array());
        assert_eq!(
            config["layerDigests"][0],
            artifact.blobs[1].descriptor.digest.to_string()
        );
    }
}
