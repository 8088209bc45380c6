//! The list of what must not run any more.
//!
//! ```toml
//! number = 7
//! issued = "2026-11-01T00:00:00Z"
//! expires = "2026-12-01T00:00:00Z"
//!
//! [[digest]]
//! digest = "sha256:…"               # of a package or of a component
//! reason = "writes wrong scores"
//!
//! [[key]]
//! key_id = "0123456789abcdef"
//! reason = "stolen"
//! # --- signature ---
//! key_id = "…"
//! signature = "…"
//! ```
//!
//! One file, so that list and signature are replaced together. The number only grows: whoever
//! serves an older list would bring back what was revoked since. It expires, so that a list which
//! no longer comes is noticed.

use bindery_core::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Package, SigningKey,
    signature::{KeyId, PublicKey, SignatureBytes},
    text,
};

const DOMAIN: &str = "bindery revocations v1\n";
const SEPARATOR: &str = "# --- signature ---\n";
/// Some ten thousand entries.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// A list whose signature was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    pub number: u64,
    pub issued: Timestamp,
    pub expires: Timestamp,
    #[serde(default, rename = "digest", skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<RevokedDigest>,
    #[serde(default, rename = "key", skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<RevokedKey>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedDigest {
    /// Of a package or of a component.
    #[serde(with = "text")]
    pub digest: Digest,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedKey {
    #[serde(with = "text")]
    pub key_id: KeyId,
    #[serde(default)]
    pub reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    #[serde(with = "text")]
    key_id: KeyId,
    #[serde(with = "text")]
    signature: SignatureBytes,
}

/// A list that is not accepted; the one before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    #[error("failed to parse the revocation list: {0}")]
    Parse(String),
    #[error("the revocation list is signed with the key {0}, which is not one of its keys")]
    Key(KeyId),
    #[error("the revocation list was changed after it was signed")]
    Signature,
    #[error("revocation list {number} is older than {last_seen}, which was seen already")]
    Older { number: u64, last_seen: u64 },
}

impl RevocationError {
    /// Stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Parse(_) => "revocations_invalid",
            Self::Key(_) | Self::Signature => "revocations_signature_invalid",
            Self::Older { .. } => "revocations_older",
        }
    }
}

impl Revocations {
    /// Reads a signed list. `last_seen` is the number of the list in force; the caller keeps it
    /// where a restart finds it again. A list that has expired is accepted: it still names what
    /// is revoked; see [`TrustPolicy::strict`](crate::TrustPolicy::strict).
    ///
    /// # Errors
    /// When it is not signed with one of the keys, or older than what was seen.
    pub fn accept(
        text: &str,
        keys: &[PublicKey],
        last_seen: Option<u64>,
    ) -> Result<Self, RevocationError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(RevocationError::Parse("it is too long".to_owned()));
        }
        let parse = |error: toml::de::Error| RevocationError::Parse(error.to_string());
        let (body, seal) = text
            .split_once(SEPARATOR)
            .ok_or_else(|| RevocationError::Parse("it is not signed".to_owned()))?;
        let seal: Seal = toml::from_str(seal).map_err(parse)?;
        let key = keys
            .iter()
            .find(|key| key.id() == seal.key_id)
            .ok_or(RevocationError::Key(seal.key_id))?;
        key.verify_message(&message(body), &seal.signature)
            .map_err(|_| RevocationError::Signature)?;
        let list: Self = toml::from_str(body).map_err(parse)?;
        match last_seen {
            Some(last_seen) if list.number < last_seen => Err(RevocationError::Older {
                number: list.number,
                last_seen,
            }),
            _ => Ok(list),
        }
    }

    /// As the signed file.
    ///
    /// # Errors
    /// When a value cannot be written as TOML.
    pub fn sign(&self, key: &SigningKey) -> Result<String, RevocationError> {
        let write = |error: toml::ser::Error| RevocationError::Parse(error.to_string());
        let body = toml::to_string(self).map_err(write)?;
        // It could end the body early for a reader.
        if body.contains(SEPARATOR) {
            return Err(RevocationError::Parse(
                "a reason holds the line before the signature".to_owned(),
            ));
        }
        let seal = Seal {
            key_id: key.public().id(),
            signature: key.sign_message(&message(&body)),
        };
        let seal = toml::to_string(&seal).map_err(write)?;
        Ok(format!("{body}{SEPARATOR}{seal}"))
    }

    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Why the package or its component is revoked, if it is.
    #[must_use]
    pub fn revokes(&self, package: &Package) -> Option<&RevokedDigest> {
        self.digests.iter().find(|revoked| {
            revoked.digest == package.digest() || revoked.digest == package.component_digest()
        })
    }

    #[must_use]
    pub fn revokes_key(&self, key_id: KeyId) -> Option<&RevokedKey> {
        self.keys.iter().find(|revoked| revoked.key_id == key_id)
    }
}

fn message(body: &str) -> Vec<u8> {
    [DOMAIN, body].concat().into_bytes()
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    pub(crate) fn list(number: u64) -> Revocations {
        Revocations {
            number,
            issued: "2026-11-01T00:00:00Z".parse().unwrap(),
            expires: "2026-12-01T00:00:00Z".parse().unwrap(),
            digests: vec![RevokedDigest {
                digest: Digest::of(b"bad"),
                reason: "writes wrong scores".to_owned(),
            }],
            keys: vec![],
        }
    }

    #[test]
    fn a_signed_list_is_accepted_and_numbers_only_grow() {
        let key = SigningKey::generate().unwrap();
        let keys = [key.public()];
        let text = list(7).sign(&key).unwrap();
        for last_seen in [None, Some(6), Some(7)] {
            assert_eq!(Revocations::accept(&text, &keys, last_seen), Ok(list(7)));
        }
        let error = Revocations::accept(&text, &keys, Some(8)).unwrap_err();
        assert_eq!(error.code(), "revocations_older");
    }

    #[test]
    fn a_list_of_somebody_else_or_a_changed_one_is_not() {
        let key = SigningKey::generate().unwrap();
        let other = SigningKey::generate().unwrap();
        let keys = [key.public()];
        let text = list(7).sign(&key).unwrap();
        let code = |text: &str| Revocations::accept(text, &keys, None).unwrap_err().code();
        assert_eq!(
            code(&list(7).sign(&other).unwrap()),
            "revocations_signature_invalid"
        );
        for (from, to) in [
            ("number = 7", "number = 8"),
            ("2026-12", "2027-12"),
            ("wrong", "right"),
        ] {
            assert_eq!(
                code(&text.replace(from, to)),
                "revocations_signature_invalid"
            );
        }
        let body = text.split_once(SEPARATOR).unwrap().0;
        assert_eq!(code(body), "revocations_invalid");
        // A signature of a package is none of a list.
        let package = crate::package::tests::package("text.shout", "1.0.0").sign(&key);
        let seal = package.signature().unwrap().to_string();
        let moved = seal
            .lines()
            .filter(|line| line.starts_with("key_id") || line.starts_with("signature"))
            .collect::<Vec<_>>()
            .join("\n");
        assert_eq!(
            code(&format!("{body}{SEPARATOR}{moved}")),
            "revocations_signature_invalid"
        );
    }
}
