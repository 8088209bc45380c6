//! Plugins: what is published, and what was done to it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A package and its versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Plugin {
    pub name: String,
    /// What the name means; null when no version is enabled.
    pub version: Option<String>,
    /// Of that version.
    pub digest: Option<String>,
    /// Newest first.
    pub versions: Vec<PluginVersion>,
}

/// All packages, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginList {
    pub items: Vec<Plugin>,
    pub next_cursor: Option<String>,
}

/// A package, its versions, and its history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginDetail {
    #[serde(flatten)]
    pub plugin: Plugin,
    /// Newest first.
    pub history: Vec<PluginEvent>,
}

/// One published version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginVersion {
    pub name: String,
    pub version: String,
    /// Of all files of the package.
    pub digest: String,
    /// Digest of the component: what executions name as their plugin.
    pub component: String,
    pub component_bytes: u64,
    /// `pending`, `enabled` or `disabled`.
    pub status: String,
    /// What led to it: `published`, `approved`, `enabled`, `disabled`, `rolled_back`,
    /// `rolled_back_by_host`, `put_aside`, `superseded`, `removed_from_folder`, `revoked`.
    pub cause: String,
    /// Whether it is what the name means.
    pub current: bool,
    /// `signed`, `shipped` or `development` (unsigned).
    pub trust: String,
    /// Who signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    /// Id of the key it was signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// `upload` or `folder`.
    pub source: String,
    pub tasks: Vec<PluginTask>,
    pub permissions: PermissionSheet,
    /// Grants that wait for an approval.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<String>,
    pub published: String,
    pub published_by: String,
    /// Since it was loaded; null when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<PluginHealth>,
    /// Why it is not loaded although it is enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A task that a version defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginTask {
    pub id: String,
    pub version: String,
}

/// What a version asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PermissionSheet {
    /// Interfaces that every plugin may import; they open nothing but a call's own directories.
    pub imports: Vec<String>,
    /// Native programs that its tasks run.
    pub engines: Vec<String>,
    /// Hosts that it talks to.
    pub hosts: Vec<String>,
    /// Reference data that it reads.
    pub assets: Vec<String>,
}

/// How the calls of a version went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PluginHealth {
    pub calls: u64,
    /// Calls in which the plugin broke; refusals are none.
    pub breaks: u64,
    pub breaks_in_a_row: u32,
}

/// Something that was done to a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PluginEvent {
    pub time: String,
    /// A token's id, `folder`, or `host`.
    pub actor: String,
    /// As `cause` of a version, and `deleted`.
    pub action: String,
    pub version: String,
    pub digest: String,
    /// What the name meant before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_digest: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What became of a publish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublishedPlugin {
    #[serde(flatten)]
    pub version: PluginVersion,
    /// `grants_grew` when the version waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Null when this digest was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<PublishReport>,
}

/// What was found out on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublishReport {
    pub compile: CompileReport,
    /// Null when they were not run: what ships was tried when it was built.
    pub cases: Option<CasesReport>,
    /// Null when there was no version before.
    pub replay: Option<ReplayReport>,
    /// Grants that the version before did not ask for.
    pub growth: Vec<String>,
    /// Grants that only the version before asked for.
    pub shrinkage: Vec<String>,
    /// From the end of the upload until the version was live.
    pub milliseconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CompileReport {
    /// It had been compiled before.
    pub cached: bool,
    /// What stood round the compiler: a sandbox level, or `limits`.
    pub confined: String,
    pub milliseconds: f64,
}

/// How the golden cases went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CasesReport {
    pub total: usize,
    pub failed: usize,
}

/// What the version before and this one make of requests that were really made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayReport {
    pub validated: usize,
    pub computed: usize,
    /// Their inputs are gone, or time was up.
    pub skipped: usize,
    /// Requests with different answers.
    pub different: usize,
    pub differences: Vec<ReplayDifference>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayDifference {
    pub task: String,
    /// The execution that made the request.
    pub execution: String,
    /// RFC 6901 pointer into the answer.
    pub pointer: String,
    #[schema(value_type = Option<Object>)]
    pub old: Option<serde_json::Value>,
    #[schema(value_type = Option<Object>)]
    pub new: Option<serde_json::Value>,
}
