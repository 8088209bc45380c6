//! File formats.

use std::path::Path;

use serde_json::Value;

/// See `format-definition` in `wit/format.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub media_type: String,
    pub title: String,
    pub extensions: Vec<String>,
    pub multi_record: bool,
}

/// See `collection` in `wit/format.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub name: String,
    pub title: String,
    pub media_types: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    pub id: String,
    pub version: String,
    pub formats: Vec<Format>,
    pub collections: Vec<Collection>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sniffed {
    pub media_type: String,
    /// `gzip` or empty.
    pub encoding: String,
    /// 0..=1.
    pub confidence: f32,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: String,
    pub message: String,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Counted from 0.
    pub record: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    pub media_type: String,
    pub encoding: String,
    pub records: u64,
    pub bad_records: u64,
    pub details: Value,
    pub warnings: Vec<Fault>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RecordInfo {
    pub label: String,
    pub details: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct RecordEntry {
    pub index: u64,
    pub offset: u64,
    pub length: u64,
    pub verdict: Result<RecordInfo, Fault>,
    pub content: Vec<u8>,
}

/// A plugin part that reads files; see `format` in `wit/format.wit`.
pub trait FileFormat: 'static {
    type Records: RecordStream;

    fn describe() -> FormatDescription;

    fn sniff(head: &[u8], file_name: &str) -> Option<Sniffed>;

    /// # Errors
    /// All faults, when nothing in the file can be used.
    fn inspect(path: &Path, file_name: &str) -> Result<Inspection, Vec<Fault>>;

    /// # Errors
    /// All faults, when the file cannot be split at all.
    fn records(path: &Path, file_name: &str) -> Result<Self::Records, Vec<Fault>>;
}

/// The records of one file, in order.
pub trait RecordStream: 'static {
    /// At most `max` entries; none at the end.
    fn next(&mut self, max: u32, with_content: bool) -> Vec<RecordEntry>;
}
