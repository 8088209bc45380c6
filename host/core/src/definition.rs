//! What a plugin says it offers.

use std::{fmt, str::FromStr};

use semver::{Version, VersionReq};
use serde_json::Value;

use crate::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    One,
    Optional,
    Many,
}

impl Cardinality {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Optional => "optional",
            Self::Many => "many",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSlot {
    pub name: String,
    pub title: String,
    pub summary: String,
    /// Media types; `*/*` accepts all.
    pub accepts: Vec<String>,
    pub cardinality: Cardinality,
}

impl InputSlot {
    /// Whether a file of this media type may fill the slot.
    #[must_use]
    pub fn accepts(&self, media_type: &str) -> bool {
        self.accepts
            .iter()
            .any(|accepted| accepted == "*/*" || accepted == media_type)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSlot {
    pub name: String,
    pub title: String,
    pub media_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRequirement {
    pub engine: String,
    pub versions: VersionReq,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceHints {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub wall_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Determinism {
    Deterministic,
    Seeded,
    Varying,
}

impl Determinism {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deterministic => "deterministic",
            Self::Seeded => "seeded",
            Self::Varying => "varying",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub title: String,
    pub parameters: Value,
    /// Slot and path below the package's `examples/`.
    pub inputs: Vec<(String, String)>,
}

/// A publication that whoever uses a result has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    pub text: String,
    /// Empty when there is none.
    pub doi: String,
    /// Empty when there is none.
    pub url: String,
}

/// Versions of the contract that this host runs, newest first, as packages name them.
pub const CONTRACTS: [&str; 2] = ["bindery:task@0.2", "bindery:task@0.1"];

/// See `task-definition` in `wit/definition.wit`. A value of this type has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskDefinition {
    pub id: String,
    pub version: Version,
    pub title: String,
    pub category: String,
    pub summary: String,
    pub docs: String,
    pub parameters: Value,
    pub inputs: Vec<InputSlot>,
    pub output: Value,
    pub artifacts: Vec<OutputSlot>,
    pub engines: Vec<EngineRequirement>,
    pub resources: ResourceHints,
    pub determinism: Determinism,
    pub max_items_per_run: u32,
    pub examples: Vec<Example>,
    /// Words that it is found by.
    pub keywords: Vec<String>,
    pub citations: Vec<Citation>,
}

impl TaskDefinition {
    #[must_use]
    pub fn input(&self, slot: &str) -> Option<&InputSlot> {
        self.inputs.iter().find(|input| input.name == slot)
    }

    /// Faults that make a definition unusable, as far as they can be seen without a JSON Schema
    /// library. Empty when it is sound.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !is_task_id(&self.id) {
            faults.push(format!("task id `{}` is not dotted kebab-case", self.id));
        }
        if self.title.trim().is_empty() {
            faults.push("the title is empty".to_owned());
        }
        if self.parameters.get("type").and_then(Value::as_str) != Some("object") {
            faults.push("the parameter schema is not of type object".to_owned());
        }
        if !self.output.is_object() {
            faults.push("the output schema is not an object".to_owned());
        }
        if self.inputs.len() > limits::INPUT_SLOTS_MAX {
            faults.push(format!("more than {} input slots", limits::INPUT_SLOTS_MAX));
        }
        for (position, slot) in self.inputs.iter().enumerate() {
            if !is_slot_name(&slot.name) {
                faults.push(format!("input slot name `{}` is not snake_case", slot.name));
            }
            if slot.accepts.is_empty() {
                faults.push(format!("input slot `{}` accepts nothing", slot.name));
            }
            if self
                .inputs
                .iter()
                .take(position)
                .any(|other| other.name == slot.name)
            {
                faults.push(format!("two input slots are named `{}`", slot.name));
            }
        }
        for (position, slot) in self.artifacts.iter().enumerate() {
            if !is_artifact_name(&slot.name) {
                faults.push(format!(
                    "artifact name `{}` is not a plain file name",
                    slot.name
                ));
            }
            if self
                .artifacts
                .iter()
                .take(position)
                .any(|other| other.name == slot.name)
            {
                faults.push(format!("two artifacts are named `{}`", slot.name));
            }
        }
        if self.max_items_per_run == 0 {
            faults.push("max-items-per-run is 0".to_owned());
        }
        faults
    }
}

/// What a plugin's upload collection is called and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    pub name: String,
    pub title: String,
    pub media_types: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFormat {
    pub media_type: String,
    pub title: String,
    pub extensions: Vec<String>,
    pub multi_record: bool,
}

/// What a format plugin reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatDescription {
    pub id: String,
    pub version: Version,
    pub formats: Vec<FileFormat>,
    pub collections: Vec<Collection>,
}

/// Dotted namespaces of kebab-case words: `name.sub-name`.
#[must_use]
pub fn is_task_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= limits::TASK_ID_BYTES_MAX
        && text.split('.').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && !word.ends_with('-')
                && !word.contains("--")
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

fn is_slot_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A file name that is safe on every system: no separators, no leading dot or dash.
#[must_use]
pub fn is_artifact_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 127
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// A task as a user names it: `name` means the newest enabled version, `name@1.2.3` pins one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TaskRef {
    pub id: String,
    pub version: Option<Version>,
}

/// A text that names no task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTaskRefError {
    #[error("`{0}` is not a task id (dotted kebab-case, such as `group.name`)")]
    Id(String),
    #[error("`{0}` is not a version (such as `1.2.3`)")]
    Version(String),
}

impl FromStr for TaskRef {
    type Err = ParseTaskRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (id, version) = match text.split_once('@') {
            Some((id, version)) => (id, Some(version)),
            None => (text, None),
        };
        if !is_task_id(id) {
            return Err(ParseTaskRefError::Id(id.chars().take(80).collect()));
        }
        let version = version
            .map(|version| {
                Version::parse(version)
                    .map_err(|_| ParseTaskRefError::Version(version.chars().take(80).collect()))
            })
            .transpose()?;
        Ok(Self {
            id: id.to_owned(),
            version,
        })
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.id),
            None => f.write_str(&self.id),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn task_ids() {
        for good in ["a", "docking.vina", "trajectory.stay-points", "a1.b-2.c"] {
            assert!(is_task_id(good), "{good}");
        }
        for bad in [
            "", ".", "a.", ".a", "A", "a_b", "-a", "a-", "a--b", "a..b", "1a", "a b", "ä",
        ] {
            assert!(!is_task_id(bad), "{bad}");
        }
    }

    #[test]
    fn task_refs() {
        let pinned: TaskRef = "a.b@1.2.3".parse().unwrap();
        assert_eq!(pinned.version, Some(Version::new(1, 2, 3)));
        assert_eq!(pinned.to_string(), "a.b@1.2.3");
        assert!("a.b@".parse::<TaskRef>().is_err());
        assert!("a.b@latest".parse::<TaskRef>().is_err());
        assert!("../x".parse::<TaskRef>().is_err());
    }

    #[test]
    fn artifact_names() {
        assert!(is_artifact_name("poses.sdf"));
        for bad in ["", ".hidden", "-flag", "a/b", "a\\b", "a\nb", "..", "é"] {
            assert!(!is_artifact_name(bad), "{bad}");
        }
    }
}
