//! `bindery.toml`.
//!
//! ```toml
//! [package]
//! name = "text.shout"
//! version = "1.0.0"
//! licence = "MIT"
//! contract = "bindery:task@0.1"
//! publisher = "acme"                # optional, as are summary, homepage, keywords
//!
//! [needs]
//! engines = ["sleep"]
//! hosts = ["api.example.org", "data.example.org:8443"]
//!
//! [needs.assets.dictionary]
//! digest = "sha256:…"
//! size_bytes = 1024
//! path = "data/dictionary.bin"      # in the package; without it the host has to have it
//! ```

use std::{collections::BTreeMap, fmt, ops::Range, str::FromStr};

use bindery_core::{Digest, definition::is_task_id};
use semver::Version;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::{limits::MANIFEST_BYTES_MAX, path, text};

/// Its name in a package.
pub const MANIFEST_FILE: &str = "bindery.toml";

/// The contracts that this host runs, newest first: the newest patch of each minor version. A
/// plugin built for a lower patch of one of them runs too.
pub const SUPPORTED_CONTRACTS: &[Contract] = &[
    Contract {
        major: 0,
        minor: 2,
        patch: 0,
    },
    Contract {
        major: 0,
        minor: 1,
        patch: 0,
    },
];

const KEYWORDS_MAX: usize = 16;
const NEEDS_MAX: usize = 64;

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
    #[serde(deserialize_with = "name")]
    pub name: String,
    pub version: Version,
    /// SPDX expression.
    #[serde(deserialize_with = "licence")]
    pub licence: String,
    /// The contract it was built for, and with that the least that a host has to run.
    #[serde(with = "text")]
    pub contract: Contract,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(
        default,
        deserialize_with = "homepage",
        skip_serializing_if = "String::is_empty"
    )]
    pub homepage: String,
    /// Who answers for it, by the name that trust stores know. A signature by somebody else is
    /// then none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publisher: Option<String>,
    #[serde(
        default,
        deserialize_with = "keywords",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub keywords: Vec<String>,
}

/// What it asks for beyond computing; an admin sees this sheet before it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// Engines its tasks run.
    #[serde(deserialize_with = "engines", skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<String>,
    /// Hosts it talks to.
    #[serde(with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostName>,
    /// Reference data, by the name the plugin knows it under.
    #[serde(
        deserialize_with = "assets",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub assets: BTreeMap<String, Asset>,
}

/// Reference data that a plugin reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asset {
    #[serde(with = "text")]
    pub digest: Digest,
    pub size_bytes: u64,
    /// Where it is in the package. Without it, the host looks it up by digest.
    #[serde(
        default,
        deserialize_with = "asset_path",
        skip_serializing_if = "Option::is_none"
    )]
    pub path: Option<String>,
}

/// A version of the contract in `wit/`: `bindery:task@0.1`, or with a patch, `bindery:task@0.1.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contract {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

/// A host that a plugin talks to by `wasi:http` while it computes: `api.example.org` is TLS at port
/// 443, `api.example.org:8443` is that port. No patterns: an admin grants what is written there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName {
    pub host: String,
    pub port: Option<u16>,
}

/// A manifest that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The text names line and column, and shows them.
    #[error("failed to parse {MANIFEST_FILE}: {0}")]
    Parse(String),
    #[error(
        "line {line} of {MANIFEST_FILE}: built for contract {contract}, this host runs {}",
        supported()
    )]
    Contract { contract: Contract, line: usize },
    #[error("{MANIFEST_FILE} has more than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    #[error("{MANIFEST_FILE} is not UTF-8")]
    NotText,
}

impl ManifestError {
    /// Stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Contract { .. } => "contract_unsupported",
            Self::Parse(_) | Self::TooLarge | Self::NotText => "manifest_invalid",
        }
    }
}

impl Manifest {
    /// # Errors
    /// When the text is no manifest of a package that this host can load.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        if text.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        let manifest: Self =
            toml::from_str(text).map_err(|error| ManifestError::Parse(error.to_string()))?;
        if !manifest.package.contract.is_supported() {
            return Err(ManifestError::Contract {
                contract: manifest.package.contract,
                line: contract_line(text),
            });
        }
        Ok(manifest)
    }

    /// # Errors
    /// When the bytes are not such a text.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLarge);
        }
        Self::parse(std::str::from_utf8(bytes).map_err(|_| ManifestError::NotText)?)
    }

    /// As TOML, for a package that is put together by a program.
    ///
    /// # Errors
    /// When a value cannot be written as TOML.
    pub fn to_text(&self) -> Result<String, ManifestError> {
        toml::to_string(self).map_err(|error| ManifestError::Parse(error.to_string()))
    }
}

/// Where the contract stands; the first line if that is not to be found.
fn contract_line(text: &str) -> usize {
    #[derive(Deserialize)]
    struct Outer {
        package: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        contract: Spanned<String>,
    }
    let span: Range<usize> = toml::from_str::<Outer>(text)
        .map(|outer| outer.package.contract.span())
        .unwrap_or_default();
    let before = text.get(..span.start).unwrap_or_default();
    before.matches('\n').count() + 1
}

fn supported() -> String {
    let texts: Vec<String> = SUPPORTED_CONTRACTS
        .iter()
        .map(ToString::to_string)
        .collect();
    texts.join(", ")
}

impl Contract {
    /// Whether this host runs what was built for it. Before 1.0 every minor version is another
    /// contract, after it a lower minor version is contained in a higher one.
    #[must_use]
    pub fn is_supported(self) -> bool {
        SUPPORTED_CONTRACTS.iter().any(|ours| {
            ours.major == self.major
                && if self.major == 0 {
                    ours.minor == self.minor && ours.patch >= self.patch
                } else {
                    (ours.minor, ours.patch) >= (self.minor, self.patch)
                }
        })
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            major,
            minor,
            patch,
        } = self;
        write!(f, "bindery:task@{major}.{minor}")?;
        if *patch == 0 {
            Ok(())
        } else {
            write!(f, ".{patch}")
        }
    }
}

impl FromStr for Contract {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no contract; expected as in `bindery:task@0.1`");
        let numbers = text.strip_prefix("bindery:task@").ok_or_else(wrong)?;
        let mut parts = numbers.split('.').map(|part| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit());
            let canonical = part == "0" || !part.starts_with('0');
            part.parse().ok().filter(|_| plain && canonical)
        });
        let mut next = || parts.next();
        let (major, minor) = (next().flatten(), next().flatten());
        let patch = next().unwrap_or(Some(0));
        match (major, minor, patch, next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self {
                major,
                minor,
                patch,
            }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no host; expected as in `api.example.org:443`");
        let (host, port) = match text.split_once(':') {
            None => (text, None),
            Some((host, port)) => (host, Some(port.parse().map_err(|_| wrong())?)),
        };
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if host.len() > 253 || !host.split('.').all(is_label) || port == Some(0) {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// A string that passes a check, refused within the parser, so that the error names the line.
fn checked<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    fault: impl FnOnce(&str) -> Option<String>,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match fault(&text) {
        None => Ok(text),
        Some(fault) => Err(serde::de::Error::custom(fault)),
    }
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        (!is_task_id(text)).then(|| format!("`{text}` is not dotted kebab-case"))
    })
}

fn licence<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, |text| {
        (text.trim().is_empty() || text.len() > 256)
            .then(|| "the licence is empty or too long; expected an SPDX expression".to_owned())
    })
}

fn homepage<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    // It becomes a link on pages.
    checked(deserializer, |text| {
        let fine = text.is_empty()
            || (text.starts_with("https://") || text.starts_with("http://"))
                && text.len() <= 2048
                && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        (!fine).then(|| format!("`{text}` is no http(s) address"))
    })
}

fn asset_path<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    checked(deserializer, |text| {
        path::check(text).err().map(|error| error.to_string())
    })
    .map(Some)
}

fn keywords<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let fine = words.len() <= KEYWORDS_MAX
        && words
            .iter()
            .all(|word| !word.trim().is_empty() && word.len() <= 32);
    fine.then_some(words).ok_or_else(|| {
        serde::de::Error::custom(format!("at most {KEYWORDS_MAX} keywords of 32 bytes"))
    })
}

fn engines<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    if names.len() > NEEDS_MAX {
        return Err(serde::de::Error::custom(format!(
            "at most {NEEDS_MAX} engines"
        )));
    }
    match names.iter().find(|name| !is_task_id(name)) {
        None => Ok(names),
        Some(name) => Err(serde::de::Error::custom(format!(
            "`{name}` is no engine's name"
        ))),
    }
}

fn assets<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Asset>, D::Error> {
    let assets = BTreeMap::<String, Asset>::deserialize(deserializer)?;
    if assets.len() > NEEDS_MAX {
        return Err(serde::de::Error::custom(format!(
            "at most {NEEDS_MAX} assets"
        )));
    }
    match assets.keys().find(|name| !is_task_id(name)) {
        None => Ok(assets),
        Some(name) => Err(serde::de::Error::custom(format!(
            "asset `{name}` is not dotted kebab-case"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "test")]

    use super::*;

    const GOOD: &str = r#"[package]
name = "text.shout"
version = "1.0.0"
licence = "MIT"
contract = "bindery:task@0.1"
publisher = "acme"
homepage = "https://example.org/shout"
keywords = ["text", "loud"]

[needs]
engines = ["sleep"]
hosts = ["api.example.org", "cache.example.org:8443"]

[needs.assets.dictionary]
digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
size_bytes = 3
path = "data/dictionary"
"#;

    #[test]
    fn a_good_manifest_is_read_and_written_again() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.needs.engines, ["sleep"]);
        assert_eq!(manifest.needs.hosts.last().unwrap().port, Some(8443));
        let asset = manifest.needs.assets.get("dictionary").unwrap();
        assert_eq!(asset.digest, Digest::of(b"abc"));
        assert_eq!(Manifest::parse(&manifest.to_text().unwrap()), Ok(manifest));
    }

    #[test]
    fn what_is_optional_can_be_left_out() {
        let least = GOOD.lines().take(5).collect::<Vec<_>>().join("\n");
        let manifest = Manifest::parse(&least).unwrap();
        assert_eq!(manifest.needs, Needs::default());
        assert_eq!(manifest.package.publisher, None);
        assert_eq!(Manifest::parse(&manifest.to_text().unwrap()), Ok(manifest));
    }

    #[test]
    fn a_fault_is_named_with_its_line() {
        for (from, to, line, word) in [
            ("text.shout", "../shout", 2, "kebab-case"),
            ("\"1.0.0\"", "\"one\"", 3, "version"),
            ("\"MIT\"", "\"\"", 4, "licence"),
            ("bindery:task@0.1", "bindery:job@0.1", 5, "contract"),
            ("https://", "javascript:", 7, "address"),
            ("\"loud\"", "\"\"", 8, "keywords"),
            ("engines", "engine", 11, "unknown field"),
            ("\"sleep\"", "\"/bin/sh\"", 11, "engine"),
            (":8443", ":99999", 12, "host"),
            ("api.example.org", "*.example.org", 12, "host"),
            ("sha256:ba", "sha256:BA", 15, "digest"),
            ("data/dictionary", "../dictionary", 17, "leaves"),
        ] {
            let Err(ManifestError::Parse(message)) = Manifest::parse(&GOOD.replace(from, to))
            else {
                panic!("{to} was accepted");
            };
            assert!(message.contains(&format!("line {line},")), "{message}");
            assert!(message.contains(word), "{message}");
        }
        assert_eq!(
            Manifest::parse(&"#".repeat(MANIFEST_BYTES_MAX + 1)),
            Err(ManifestError::TooLarge)
        );
        assert_eq!(Manifest::from_bytes(b"\xff"), Err(ManifestError::NotText));
    }

    #[test]
    fn other_contracts_have_a_code_of_their_own() {
        for later in ["0.3", "0.2.1", "0.1.1", "1.0", "0.0"] {
            let text = GOOD.replace("task@0.1", &format!("task@{later}"));
            let error = Manifest::parse(&text).unwrap_err();
            assert_eq!(error.code(), "contract_unsupported", "{later}");
            let message = error.to_string();
            assert!(message.contains("line 5"), "{message}");
            assert!(
                message.contains("this host runs bindery:task@0.2"),
                "{message}"
            );
        }
        for same in ["0.1", "0.1.0", "0.2", "0.2.0"] {
            assert!(Manifest::parse(&GOOD.replace("task@0.1", &format!("task@{same}"))).is_ok());
        }
        for wrong in ["0", "0.1.0.0", "0.1.", "+0.1", "0.01", "0.1-rc", "0.1.x"] {
            assert!(
                format!("bindery:task@{wrong}").parse::<Contract>().is_err(),
                "{wrong}"
            );
        }
    }
}
