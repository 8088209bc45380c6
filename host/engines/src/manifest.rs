//! `engines/*.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// One manifest; the fields are documented in `engines/README.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineManifest {
    /// What plugins call it: `[a-z0-9-]+`.
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub homepage: String,
    #[serde(default)]
    pub licence: String,
    /// File names, the first that is found wins.
    pub programs: Vec<String>,
    /// Directories looked in after `PATH`.
    #[serde(default)]
    pub search: Vec<PathBuf>,
    #[serde(default)]
    pub version: VersionProbe,
    #[serde(default)]
    pub sandbox: SandboxNeeds,
    #[serde(default)]
    pub defaults: Defaults,
    #[serde(default)]
    pub install: BTreeMap<String, String>,
}

/// How to ask for the version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VersionProbe {
    pub arguments: Vec<String>,
    /// Regular expression whose first group is the version.
    pub pattern: String,
    pub stream: ProbeStream,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeStream {
    Stdout,
    Stderr,
    #[default]
    Any,
}

/// What the engine needs to see and do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SandboxNeeds {
    /// Directories beside the system's libraries, read-only.
    pub read_only: Vec<PathBuf>,
    pub allow_fork: bool,
    pub environment: BTreeMap<String, String>,
}

/// Limits of a step that names none, and the most a step may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Defaults {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub cpu_cores: u32,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            wall_ms: 3_600_000,
            cpu_ms: 7_200_000,
            memory_bytes: 2 << 30,
            disk_bytes: 256 << 20,
            cpu_cores: 1,
        }
    }
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("failed to read {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("failed to parse {path}: {fault}")]
    Parse { path: PathBuf, fault: String },
    #[error("{path}: {fault}")]
    Invalid { path: PathBuf, fault: String },
}

impl EngineManifest {
    /// Reads and checks one manifest.
    ///
    /// # Errors
    /// When it cannot be read, has unknown fields, or names nothing to run.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text = std::fs::read_to_string(path).map_err(|source| ManifestError::Read {
            path: path.to_owned(),
            source,
        })?;
        let manifest: Self = toml::from_str(&text).map_err(|error| ManifestError::Parse {
            path: path.to_owned(),
            fault: error.to_string(),
        })?;
        let invalid = |fault: String| ManifestError::Invalid {
            path: path.to_owned(),
            fault,
        };
        let plain = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if !plain(&manifest.name) {
            return Err(invalid(format!(
                "name `{}` is not [a-z0-9-]+",
                manifest.name
            )));
        }
        if manifest.programs.is_empty() {
            return Err(invalid("no programs".to_owned()));
        }
        if manifest
            .programs
            .iter()
            .any(|program| program.contains('/'))
        {
            return Err(invalid("programs are file names, not paths".to_owned()));
        }
        regex_lite::Regex::new(&manifest.version.pattern)
            .map_err(|error| invalid(format!("version.pattern: {error}")))?;
        Ok(manifest)
    }
}
