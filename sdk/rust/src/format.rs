//! File formats.

use std::path::Path;

use serde_json::Value;

/// See `format-definition` in `wit/format.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// For example `chemical/x-mdl-sdfile`.
    pub media_type: String,
    /// What people see.
    pub title: String,
    /// Without the dot, lower case.
    pub extensions: Vec<String>,
    /// Whether a file may hold many records.
    pub multi_record: bool,
}

/// See `collection` in `wit/format.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Plural, `[a-z][a-z0-9-]*`.
    pub name: String,
    /// What people see.
    pub title: String,
    /// Of the files that belong to it.
    pub media_types: Vec<String>,
}

/// See `format-description` in `wit/format.wit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    /// Dotted kebab-case.
    pub id: String,
    /// SemVer.
    pub version: String,
    /// Formats that are read.
    pub formats: Vec<Format>,
    /// Kinds of things that users upload, list and pick.
    pub collections: Vec<Collection>,
}

/// What the first bytes of a file say.
#[derive(Debug, Clone, PartialEq)]
pub struct Sniffed {
    /// One of the described ones.
    pub media_type: String,
    /// `gzip` or empty.
    pub encoding: String,
    /// 0..=1.
    pub confidence: f32,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable `snake_case`.
    pub code: String,
    /// One sentence: what is wrong and what would be right.
    pub message: String,
    /// Counted from 1.
    pub line: Option<u64>,
    /// Counted from 0.
    pub record: Option<u64>,
}

/// What was found in a whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// One of the described ones.
    pub media_type: String,
    /// `gzip` or empty.
    pub encoding: String,
    /// Readable records.
    pub records: u64,
    /// Unreadable ones.
    pub bad_records: u64,
    /// For people, and for the collection's listing.
    pub details: Value,
    /// What a user should know of a file that can be used.
    pub warnings: Vec<Fault>,
}

/// Of a readable record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordInfo {
    /// Its name; may be empty.
    pub label: String,
    /// Few numbers and words, for listings and filters.
    pub details: Value,
}

/// One record of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordEntry {
    /// Counted from 0.
    pub index: u64,
    /// Where it stands in the decoded file.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// Whether it can be used.
    pub verdict: Result<RecordInfo, Fault>,
    /// The record as a file of its own; empty unless asked for.
    pub content: Vec<u8>,
}

/// A plugin part that reads files; see `format` in `wit/format.wit`.
pub trait FileFormat: 'static {
    /// The records of one file.
    type Records: RecordStream;

    /// Constant for one version.
    fn describe() -> FormatDescription;

    /// Decides by the first bytes, at most 64 KiB; the name only breaks ties.
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
