//! `bindery.toml`.

use bindery_core::definition::{CONTRACTS, is_task_id};
use semver::Version;
use serde::{Deserialize, Serialize};

/// What a package says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub package: PackageSection,
    #[serde(default)]
    pub needs: Needs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSection {
    /// Dotted kebab-case, as task ids.
    pub name: String,
    pub version: Version,
    /// SPDX expression.
    pub licence: String,
    #[serde(default)]
    pub summary: String,
    #[serde(default)]
    pub homepage: String,
    /// The contract it was built for, for example `bindery:task@0.1`.
    pub contract: String,
}

/// What it asks for beyond computing; an admin sees this sheet before it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// Engines its tasks run.
    pub engines: Vec<String>,
    /// Hosts it talks to.
    pub hosts: Vec<String>,
    /// Reference data, by name.
    pub assets: Vec<String>,
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("failed to parse bindery.toml: {0}")]
    Parse(String),
    #[error("package name `{0}` is not dotted kebab-case")]
    Name(String),
    #[error("built for contract `{0}`, this host runs {}", CONTRACTS.join(", "))]
    Contract(String),
    #[error("the licence is empty")]
    Licence,
}

impl Manifest {
    /// # Errors
    /// When the text is no manifest of a package that this host can load.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Parse(error.to_string()))?;
        if !is_task_id(&manifest.package.name) {
            return Err(ManifestError::Name(manifest.package.name));
        }
        if !CONTRACTS.contains(&manifest.package.contract.as_str()) {
            return Err(ManifestError::Contract(manifest.package.contract));
        }
        if manifest.package.licence.trim().is_empty() {
            return Err(ManifestError::Licence);
        }
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    const GOOD: &str = r#"
        [package]
        name = "text.shout"
        version = "1.0.0"
        licence = "MIT"
        contract = "bindery:task@0.1"
        [needs]
        engines = ["sleep"]
    "#;

    #[test]
    fn a_good_manifest_is_read() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.needs.engines, ["sleep"]);
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        let later = GOOD.replace("task@0.1", "task@0.3");
        assert!(matches!(
            Manifest::parse(&later),
            Err(ManifestError::Contract(_))
        ));
        let name = GOOD.replace("text.shout", "../shout");
        assert!(matches!(
            Manifest::parse(&name),
            Err(ManifestError::Name(_))
        ));
        let unknown = GOOD.replace("engines", "engine");
        assert!(matches!(
            Manifest::parse(&unknown),
            Err(ManifestError::Parse(_))
        ));
    }
}
