//! Manifests and indexes, as far as a registry looks into them.

use std::collections::BTreeMap;

use bindery_core::Digest;
use serde::{Deserialize, Serialize};

use super::OciError;
use crate::text;

pub const OCI_MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX_MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_MANIFEST_MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST_MEDIA_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Names in an index or layers of an image: more than any package or image has.
const DESCRIPTORS_MAX: usize = 512;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    #[serde(with = "text")]
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    #[must_use]
    pub fn new(media_type: &str, content: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn annotate(mut self, name: &str, value: &str) -> Self {
        self.annotations.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// Both an image manifest and an index: what an index has not is empty, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An image manifest with nothing in it.
    #[must_use]
    pub(crate) fn image(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST_MEDIA_TYPE.to_owned()),
            artifact_type: None,
            config: Some(config),
            layers: Some(layers),
            manifests: None,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    #[must_use]
    pub(crate) fn index(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(INDEX_MEDIA_TYPE.to_owned()),
            artifact_type: None,
            config: None,
            layers: None,
            manifests: Some(manifests),
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Reads a manifest of one of the types that are known.
    ///
    /// # Errors
    /// When it is of none, or not what its type says.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, OciError> {
        let invalid = |fault: String| OciError::ManifestInvalid(fault);
        let is_index = match media_type {
            OCI_MANIFEST_MEDIA_TYPE | DOCKER_MANIFEST_MEDIA_TYPE => false,
            INDEX_MEDIA_TYPE | DOCKER_LIST_MEDIA_TYPE => true,
            other => {
                let shown: String = other.chars().take(80).collect();
                return Err(invalid(format!(
                    "manifests of the type `{shown}` are not kept"
                )));
            }
        };
        let manifest: Self = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("the manifest is not read: {error}")))?;
        if manifest.schema_version != 2 {
            return Err(invalid("schemaVersion is not 2".to_owned()));
        }
        // Read as the one by a client and as the other by the next, it would be two things.
        if manifest
            .media_type
            .as_deref()
            .is_some_and(|inner| inner != media_type)
        {
            return Err(invalid("mediaType is not the content type".to_owned()));
        }
        let fits = if is_index {
            manifest.manifests.is_some() && manifest.config.is_none() && manifest.layers.is_none()
        } else {
            manifest.manifests.is_none() && manifest.config.is_some() && manifest.layers.is_some()
        };
        if !fits {
            return Err(invalid(
                "the manifest has other fields than its type".to_owned(),
            ));
        }
        if manifest.blobs().count() + manifest.children().count() > DESCRIPTORS_MAX {
            return Err(invalid(format!("more than {DESCRIPTORS_MAX} descriptors")));
        }
        Ok(manifest)
    }

    /// Of an image: config and layers.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(self.layers.iter().flatten())
    }

    /// Of an index.
    pub(crate) fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().flatten()
    }

    /// As referrers are asked for: its own type, or that of its config.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.artifact_type
            .as_deref()
            .or_else(|| Some(self.config.as_ref()?.media_type.as_str()))
    }
}
