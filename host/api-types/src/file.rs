//! Uploaded files and the collections that plugins declare.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::FileProblem;

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FileInfo {
    pub id: String,
    /// As uploaded; not to be trusted as a path.
    pub name: String,
    /// Media type that a plugin recognised by the content; null when none did.
    pub format: Option<String>,
    /// Recognised, declared or `application/octet-stream`.
    pub media_type: String,
    /// `gzip`, or empty.
    pub encoding: String,
    /// Bytes.
    pub size: u64,
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    #[schema(format = DateTime)]
    pub created: String,
    /// What the format's plugin found; null when no plugin looked, or it refused the file.
    pub inspection: Option<Inspection>,
    /// Why the file cannot be used as its format; empty when it can.
    pub faults: Vec<FileProblem>,
}

/// What a format's plugin found in a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Inspection {
    pub records: u64,
    pub bad_records: u64,
    /// The plugin's own.
    #[schema(value_type = Object)]
    pub details: Value,
    pub warnings: Vec<FileProblem>,
}

/// A page of files, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FilePage {
    pub items: Vec<FileInfo>,
    pub next_cursor: Option<String>,
}

/// A file of a collection. The plugin's details stand beside the host's fields; where a name is
/// taken, the host's field wins and the detail is in `details` only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CollectionItem {
    pub id: String,
    pub name: String,
    pub format: String,
    pub encoding: String,
    /// Bytes.
    pub size: u64,
    pub digest: String,
    #[schema(format = DateTime)]
    pub created: String,
    pub records: u64,
    pub bad_records: u64,
    pub warnings: Vec<FileProblem>,
    /// As the plugin gave them.
    #[schema(value_type = Object)]
    pub details: Value,
    /// The same, flattened.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, Object>)]
    pub extra: Map<String, Value>,
}

/// A page of a collection, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CollectionPage {
    pub items: Vec<CollectionItem>,
    pub next_cursor: Option<String>,
}

/// The form of an upload.
#[derive(Debug, Clone, ToSchema)]
#[expect(dead_code, reason = "documents the form; it is read as a stream")]
pub struct Upload {
    /// The content; the part's file name becomes the file's name.
    #[schema(content_media_type = "application/octet-stream")]
    file: Vec<u8>,
}
