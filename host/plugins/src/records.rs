//! Stored records, and what may be told of them. Each carries the version of its shape.

use bindery_core::Digest;
use bindery_datastore::Table;
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Sheet;

/// Version of all shapes in this module.
pub(crate) const RECORD_VERSION: u16 = 1;

/// Versions of packages, by name and the number of the publish.
pub(crate) const VERSIONS: Table = Table::PLUGINS;
/// What was done to a package, by name and time.
pub(crate) const HISTORY: Table = Table::PLUGIN_HISTORY;

/// Whether a stored version is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStatus {
    /// Waits for an admin's yes to what it newly asks for.
    Pending,
    Enabled,
    Disabled,
    /// Not listed and not enabled again; what began with it still ends with it.
    Deleted,
}

impl VersionStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Deleted => "deleted",
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Published,
    Approved,
    Enabled,
    Disabled,
    RolledBack,
    /// By the host itself, because a new version broke much more often than the one before.
    RolledBackByHost,
    /// By the host itself, because the plugin broke many times in a row.
    PutAside,
    /// Another content under its number took its place, or there were more than are kept.
    Superseded,
    RemovedFromFolder,
    Revoked,
    Deleted,
}

impl Action {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Approved => "approved",
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::RolledBack => "rolled_back",
            Self::RolledBackByHost => "rolled_back_by_host",
            Self::PutAside => "put_aside",
            Self::Superseded => "superseded",
            Self::RemovedFromFolder => "removed_from_folder",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }
}

/// A task that a version defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskName {
    pub id: String,
    pub version: Version,
}

/// Who vouches for a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TrustRecord {
    Signed {
        publisher: String,
        key: String,
    },
    /// One of those that come with this host.
    Shipped,
    /// Nobody: the host runs for development.
    Development,
}

impl TrustRecord {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Signed { .. } => "signed",
            Self::Shipped => "shipped",
            Self::Development => "development",
        }
    }
}

/// One published version of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRecord {
    pub v: u16,
    pub name: String,
    /// Counts the publishes of this name, from 1.
    pub number: u64,
    pub version: Version,
    /// Of the whole package.
    pub digest: DigestText,
    /// Of the component: what executions are pinned to.
    pub component: DigestText,
    pub component_bytes: u64,
    /// The blob that holds the package.
    pub archive: DigestText,
    pub trust: TrustRecord,
    /// Where it was read, when it came from a watched folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    pub status: VersionStatus,
    /// What led to the status.
    pub cause: Action,
    pub sheet: Sheet,
    /// What is new in the sheet, while an admin is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<String>,
    pub tasks: Vec<TaskName>,
    pub published: Timestamp,
    pub published_by: String,
}

/// A digest in its text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DigestText(pub Digest);

impl Serialize for DigestText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DigestText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// One line of a package's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    pub v: u16,
    pub time: Timestamp,
    pub actor: String,
    pub action: Action,
    pub version: Version,
    pub digest: DigestText,
    /// The version that was meant by the name before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<Version>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_digest: Option<DigestText>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The blob that holds the report of a publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<DigestText>,
}

/// Names have no zero byte, so all keys of one name stand together.
pub(crate) fn version_key(name: &str, number: u64) -> Vec<u8> {
    let mut key = name_prefix(name);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(crate) fn history_key(name: &str, time: Timestamp, position: u16) -> Vec<u8> {
    let mut key = name_prefix(name);
    let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
    key.extend_from_slice(&micros.to_be_bytes());
    key.extend_from_slice(&position.to_be_bytes());
    key
}

pub(crate) fn name_prefix(name: &str) -> Vec<u8> {
    let mut key = name.as_bytes().to_vec();
    key.push(0);
    key
}

pub(crate) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, String> {
    serde_json::to_vec(record).map_err(|error| error.to_string())
}

pub(crate) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("stored {what}: {error}"))
}
