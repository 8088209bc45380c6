//! Who may publish what, and whether a package may be loaded.
//!
//! The trust store is a file that an admin keeps:
//!
//! ```toml
//! revocation_keys = ["ed25519:…"]   # who may revoke
//!
//! [[publisher]]
//! name = "acme"
//! prefixes = ["acme", "text.shout"] # `acme` is `acme` and all of `acme.…`; `*` is everything
//! keys = ["ed25519:…", "ed25519:…"] # more than one while keys are changed
//! ```
//!
//! Everything that is known is put into a [`TrustPolicy`], and [`judge`] decides. It is pure: at
//! publishing, at loading and before a job it is asked again, and a package that was good may be
//! revoked by then.

use std::collections::{BTreeMap, BTreeSet};

use bindery_core::{Digest, definition::is_task_id};
use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Package, Revocations, Signature,
    signature::{KeyId, PublicKey},
    text,
};

/// The prefix that covers every name.
const EVERYTHING: &str = "*";

/// Publishers and their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustStore {
    /// Keys that may sign revocation lists.
    #[serde(default, with = "text::list", skip_serializing_if = "Vec::is_empty")]
    pub revocation_keys: Vec<PublicKey>,
    #[serde(default, rename = "publisher", skip_serializing_if = "Vec::is_empty")]
    pub publishers: Vec<Publisher>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publisher {
    pub name: String,
    /// Names of packages that this publisher may sign.
    #[serde(deserialize_with = "prefixes")]
    pub prefixes: Vec<String>,
    #[serde(with = "text::list")]
    pub keys: Vec<PublicKey>,
}

/// A trust store that cannot be used. Nothing of it is used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    #[error("failed to parse the trust store: {0}")]
    Parse(String),
    #[error("the key {0} belongs to two publishers")]
    SharedKey(KeyId),
    #[error("the publisher `{0}` is there twice")]
    Duplicate(String),
}

/// All that a decision depends on.
#[derive(Debug, Clone, Default)]
pub struct TrustPolicy {
    pub store: TrustStore,
    pub revocations: Option<Revocations>,
    /// Digests of packages that came with the host.
    pub shipped: BTreeSet<Digest>,
    /// The lowest version that may be published, by package name: the highest that ever was.
    /// Going back to a version that is kept is no publishing; leave it empty there.
    pub floors: BTreeMap<String, Version>,
    /// `--dev`: unsigned packages are loaded, and marked.
    pub development: bool,
    /// Refuse everything but what was shipped when the revocation list has expired, instead of
    /// warning.
    pub strict: bool,
}

/// Why a package may be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    Signed {
        publisher: String,
        key: KeyId,
    },
    /// It came with the host.
    Shipped,
    /// Nobody answers for it; the host runs with `--dev`.
    Development,
}

impl Trust {
    /// Stable; for records.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signed { .. } => "signed",
            Self::Shipped => "shipped",
            Self::Development => "development",
        }
    }
}

/// Why a package may not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{name} {version} is not signed")]
    Unsigned { name: String, version: Version },
    #[error("the signature of {name} was not made with the key {key} that it names")]
    SignatureInvalid { name: String, key: KeyId },
    #[error("the signature in {name} is one of {signed}")]
    SignatureMoved { name: String, signed: String },
    #[error("{name} is signed with the key {key}, which no publisher in the trust store has")]
    PublisherUnknown { name: String, key: KeyId },
    #[error("{publisher} may not sign {name}")]
    PublisherNotAllowed { name: String, publisher: String },
    #[error("{name} says that it is of {claimed}, and is signed by {publisher}")]
    PublisherOther {
        name: String,
        claimed: String,
        publisher: String,
    },
    #[error("{what} is revoked: {reason}")]
    Revoked { what: String, reason: String },
    #[error("{name} was changed after it was signed: signed {signed}, found {found}")]
    Tampered {
        name: String,
        signed: Digest,
        found: Digest,
    },
    #[error("{name} {version} is older than {floor}, which was published before")]
    Downgrade {
        name: String,
        version: Version,
        floor: Version,
    },
    #[error("{name} is built for contract {contract}, which this host does not run")]
    ContractUnsupported { name: String, contract: String },
    #[error("the revocation list {number} expired at {expired}")]
    RevocationsExpired { number: u64, expired: Timestamp },
}

impl Refusal {
    /// Stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => "unsigned",
            Self::SignatureInvalid { .. } | Self::SignatureMoved { .. } => "signature_invalid",
            Self::PublisherUnknown { .. } => "publisher_unknown",
            Self::PublisherNotAllowed { .. } | Self::PublisherOther { .. } => {
                "publisher_not_allowed"
            }
            Self::Revoked { .. } => "revoked",
            Self::Tampered { .. } => "tampered",
            Self::Downgrade { .. } => "downgrade",
            Self::ContractUnsupported { .. } => "contract_unsupported",
            Self::RevocationsExpired { .. } => "revocations_expired",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn cure(&self) -> &'static str {
        match self {
            Self::Unsigned { .. } => {
                "sign it with `bindery plugin sign`, or run the server with --dev while you write it"
            }
            Self::SignatureInvalid { .. } => {
                "fetch the package again from its publisher, or sign it again"
            }
            Self::SignatureMoved { .. } => {
                "each package and version has a signature of its own: sign this one"
            }
            Self::PublisherUnknown { .. } => {
                "if you trust its publisher, an admin adds the public key to the trust store, with the names it may sign"
            }
            Self::PublisherNotAllowed { .. } => {
                "name the package below one of the publisher's prefixes, or an admin adds the prefix in the trust store"
            }
            Self::PublisherOther { .. } => {
                "correct `publisher` in bindery.toml, or have the publisher it names sign it"
            }
            Self::Revoked { .. } => "use a later version of it, signed with a key that is in force",
            Self::Tampered { .. } => {
                "fetch the package again from its publisher; if the change is yours, sign it again"
            }
            Self::Downgrade { .. } => {
                "publish a higher version; to go back to one that was loaded here, use `bindery plugin rollback`"
            }
            Self::ContractUnsupported { .. } => {
                "update the host, or build the plugin for a contract that it runs"
            }
            Self::RevocationsExpired { .. } => "fetch the current revocation list",
        }
    }
}

/// Something an admin should see; nothing is refused for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error(
        "the revocation list {number} expired at {expired}: what was revoked since is not known"
    )]
    RevocationsExpired { number: u64, expired: Timestamp },
    #[error("unsigned plugins are loaded (--dev)")]
    Development,
}

impl TrustStore {
    /// # Errors
    /// When the text is no trust store.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let store: Self =
            toml::from_str(text).map_err(|error| TrustError::Parse(error.to_string()))?;
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for publisher in &store.publishers {
            if !names.insert(&publisher.name) {
                return Err(TrustError::Duplicate(publisher.name.clone()));
            }
            for key in &publisher.keys {
                if !keys.insert(key.id()) {
                    return Err(TrustError::SharedKey(key.id()));
                }
            }
        }
        Ok(store)
    }

    fn find(&self, id: KeyId) -> Option<(&Publisher, &PublicKey)> {
        self.publishers.iter().find_map(|publisher| {
            let key = publisher.keys.iter().find(|key| key.id() == id)?;
            Some((publisher, key))
        })
    }
}

impl Publisher {
    /// Whether it may sign packages of this name.
    #[must_use]
    pub fn may_sign(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| {
            prefix == EVERYTHING
                || name
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

impl TrustPolicy {
    /// What is worth a warning whatever package it is about.
    #[must_use]
    pub fn warnings(&self, now: Timestamp) -> Vec<Warning> {
        let expired = self.expired(now).map(|list| Warning::RevocationsExpired {
            number: list.number,
            expired: list.expires,
        });
        let development = self.development.then_some(Warning::Development);
        expired.into_iter().chain(development).collect()
    }

    fn expired(&self, now: Timestamp) -> Option<&Revocations> {
        self.revocations
            .as_ref()
            .filter(|list| list.is_expired(now))
    }
}

/// Whether a package may be loaded, and on whose word.
///
/// What is revoked is refused however it came here. What was shipped needs no signature. A
/// signature that is there must hold, with `--dev` too: one that does not is a sign of damage or
/// of an attack, not of a package that is being written.
///
/// # Errors
/// When it may not.
pub fn judge(package: &Package, policy: &TrustPolicy, now: Timestamp) -> Result<Trust, Refusal> {
    let contract = package.manifest().package.contract;
    if !contract.is_supported() {
        return Err(Refusal::ContractUnsupported {
            name: package.name().to_owned(),
            contract: contract.to_string(),
        });
    }
    if let Some(revoked) = policy
        .revocations
        .as_ref()
        .and_then(|list| list.revokes(package))
    {
        return Err(Refusal::Revoked {
            what: format!("{} ({})", package.name(), revoked.digest),
            reason: reason(&revoked.reason),
        });
    }
    if policy.shipped.contains(&package.digest()) {
        check_floor(package, policy)?;
        return Ok(Trust::Shipped);
    }
    if let Some(list) = policy.expired(now).filter(|_| policy.strict) {
        return Err(Refusal::RevocationsExpired {
            number: list.number,
            expired: list.expires,
        });
    }
    let trust = match package.signature() {
        Some(signature) => judge_signature(package, signature, policy)?,
        None if policy.development => Trust::Development,
        None => {
            return Err(Refusal::Unsigned {
                name: package.name().to_owned(),
                version: package.version().clone(),
            });
        }
    };
    // What an author publishes over and over while writing it has no order that could be kept.
    if trust != Trust::Development {
        check_floor(package, policy)?;
    }
    Ok(trust)
}

fn judge_signature(
    package: &Package,
    signature: &Signature,
    policy: &TrustPolicy,
) -> Result<Trust, Refusal> {
    let name = || package.name().to_owned();
    let key_id = signature.key_id;
    let revoked = policy
        .revocations
        .as_ref()
        .and_then(|list| list.revokes_key(key_id));
    if let Some(revoked) = revoked {
        return Err(Refusal::Revoked {
            what: format!("the key {key_id} that signed {}", package.name()),
            reason: reason(&revoked.reason),
        });
    }
    let Some((publisher, key)) = policy.store.find(key_id) else {
        return if policy.development {
            Ok(Trust::Development)
        } else {
            Err(Refusal::PublisherUnknown {
                name: name(),
                key: key_id,
            })
        };
    };
    if key.verify(signature).is_err() {
        return Err(Refusal::SignatureInvalid {
            name: name(),
            key: key_id,
        });
    }
    // From here on the statement is the publisher's; is it about these files?
    if signature.name != package.name() {
        return Err(Refusal::SignatureMoved {
            name: name(),
            signed: format!("{} {}", signature.name, signature.version),
        });
    }
    if signature.digest != package.digest() || signature.version != *package.version() {
        return Err(Refusal::Tampered {
            name: name(),
            signed: signature.digest,
            found: package.digest(),
        });
    }
    if !publisher.may_sign(package.name()) {
        return Err(Refusal::PublisherNotAllowed {
            name: name(),
            publisher: publisher.name.clone(),
        });
    }
    match &package.manifest().package.publisher {
        Some(claimed) if *claimed != publisher.name => Err(Refusal::PublisherOther {
            name: name(),
            claimed: claimed.clone(),
            publisher: publisher.name.clone(),
        }),
        _ => Ok(Trust::Signed {
            publisher: publisher.name.clone(),
            key: key_id,
        }),
    }
}

fn check_floor(package: &Package, policy: &TrustPolicy) -> Result<(), Refusal> {
    match policy.floors.get(package.name()) {
        Some(floor) if package.version() < floor => Err(Refusal::Downgrade {
            name: package.name().to_owned(),
            version: package.version().clone(),
            floor: floor.clone(),
        }),
        _ => Ok(()),
    }
}

fn reason(text: &str) -> String {
    if text.is_empty() {
        "no reason is given".to_owned()
    } else {
        text.to_owned()
    }
}

fn prefixes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let prefixes = Vec::<String>::deserialize(deserializer)?;
    match prefixes
        .iter()
        .find(|prefix| *prefix != EVERYTHING && !is_task_id(prefix))
    {
        None => Ok(prefixes),
        Some(prefix) => Err(serde::de::Error::custom(format!(
            "`{prefix}` is no prefix: dotted kebab-case without a dot at the end, or `*`"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bytes::Bytes;

    use super::*;
    use crate::{
        COMPONENT_FILE, MANIFEST_FILE, RevokedDigest, RevokedKey, SIGNATURE_FILE, SigningKey,
        package::tests::{COMPONENT, files, manifest, package},
        revocation::tests::list,
    };

    struct Setting {
        key: SigningKey,
        policy: TrustPolicy,
    }

    fn now() -> Timestamp {
        "2026-11-15T00:00:00Z".parse().unwrap()
    }

    fn setting() -> Setting {
        let key = SigningKey::generate().unwrap();
        let text = format!(
            "[[publisher]]\nname = \"acme\"\nprefixes = [\"text\"]\nkeys = [\"{}\"]\n",
            key.public()
        );
        let store = TrustStore::parse(&text).unwrap();
        let policy = TrustPolicy {
            store,
            ..TrustPolicy::default()
        };
        Setting { key, policy }
    }

    fn good(setting: &Setting) -> Package {
        package("text.shout", "1.0.0").sign(&setting.key)
    }

    fn refused(package: &Package, policy: &TrustPolicy) -> &'static str {
        let refusal = judge(package, policy, now()).unwrap_err();
        assert!(!refusal.cure().is_empty());
        refusal.code()
    }

    /// The package with one file changed and the signature as it was.
    fn tampered(package: &Package, path: &str, content: &[u8]) -> Package {
        let mut files: BTreeMap<String, Bytes> = package
            .files()
            .map(|(path, content)| (path.to_owned(), content.clone()))
            .collect();
        files.insert(path.to_owned(), Bytes::copy_from_slice(content));
        Package::from_files(files).unwrap()
    }

    #[test]
    fn a_good_signature_is_trusted() {
        let setting = setting();
        let expect = Trust::Signed {
            publisher: "acme".to_owned(),
            key: setting.key.public().id(),
        };
        assert_eq!(judge(&good(&setting), &setting.policy, now()), Ok(expect));
    }

    #[test]
    fn an_unsigned_package_is_loaded_if_shipped_or_in_development() {
        let mut setting = setting();
        let plain = package("text.shout", "1.0.0");
        assert_eq!(refused(&plain, &setting.policy), "unsigned");
        setting.policy.development = true;
        assert_eq!(
            judge(&plain, &setting.policy, now()),
            Ok(Trust::Development)
        );
        assert_eq!(setting.policy.warnings(now()), [Warning::Development]);
        setting.policy.development = false;
        setting.policy.shipped.insert(plain.digest());
        assert_eq!(judge(&plain, &setting.policy, now()), Ok(Trust::Shipped));
        let other = package("text.shout", "1.0.1");
        assert_eq!(refused(&other, &setting.policy), "unsigned");
    }

    #[test]
    fn whatever_was_changed_after_signing_is_noticed() {
        let mut setting = setting();
        let good = good(&setting);
        let mut component = COMPONENT.to_vec();
        component.push(0);
        let summary = manifest("text.shout", "1.0.0") + "summary = \"better\"\n";
        let version = manifest("text.shout", "2.0.0");
        for package in [
            tampered(&good, COMPONENT_FILE, &component),
            tampered(&good, MANIFEST_FILE, summary.as_bytes()),
            tampered(&good, MANIFEST_FILE, version.as_bytes()),
            tampered(&good, "cases/one/case.toml", b"x = 2\n"),
            tampered(&good, "cases/two/case.toml", b""),
        ] {
            assert_eq!(refused(&package, &setting.policy), "tampered");
            // Not excused in development.
            setting.policy.development = true;
            assert_eq!(refused(&package, &setting.policy), "tampered");
            setting.policy.development = false;
        }
    }

    #[test]
    fn a_file_taken_away_is_noticed() {
        let setting = setting();
        let good = good(&setting);
        let mut files = files("text.shout", "1.0.0");
        files.remove("cases/one/case.toml");
        files.insert(
            SIGNATURE_FILE.to_owned(),
            good.file(SIGNATURE_FILE).unwrap().clone(),
        );
        let package = Package::from_files(files).unwrap();
        assert_eq!(refused(&package, &setting.policy), "tampered");
    }

    #[test]
    fn a_signature_moved_to_another_package_does_not_hold() {
        let setting = setting();
        let signature = good(&setting).signature().cloned();
        let other = package("text.whisper", "1.0.0").with_signature(signature.clone());
        assert_eq!(refused(&other, &setting.policy), "signature_invalid");
        // The statement rewritten to fit, without the key.
        let text = signature.unwrap().to_string();
        let text = text.replace("text.shout", "text.whisper");
        let forged = crate::Signature::parse(&text).unwrap();
        let other = package("text.whisper", "1.0.0").with_signature(Some(forged));
        assert_eq!(refused(&other, &setting.policy), "signature_invalid");
    }

    #[test]
    fn an_unknown_key_and_a_key_for_other_names_are_told_apart() {
        let mut setting = setting();
        let stranger = SigningKey::generate().unwrap();
        let unknown = package("text.shout", "1.0.0").sign(&stranger);
        assert_eq!(refused(&unknown, &setting.policy), "publisher_unknown");
        // Claiming the known key without having it.
        let mine = good(&setting).signature().unwrap().to_string();
        let theirs = unknown.signature().unwrap().to_string();
        let claimed = theirs.replace(
            &stranger.public().id().to_string(),
            &setting.key.public().id().to_string(),
        );
        assert_ne!(mine, claimed);
        let claimed = crate::Signature::parse(&claimed).unwrap();
        let package_claimed = unknown.with_signature(Some(claimed));
        assert_eq!(
            refused(&package_claimed, &setting.policy),
            "signature_invalid"
        );

        for name in ["docking.vina", "textual", "tex"] {
            let package = package(name, "1.0.0").sign(&setting.key);
            assert_eq!(refused(&package, &setting.policy), "publisher_not_allowed");
        }
        for name in ["text", "text.a.b"] {
            let package = package(name, "1.0.0").sign(&setting.key);
            assert!(judge(&package, &setting.policy, now()).is_ok());
        }
        setting.policy.development = true;
        let unknown = package("text.shout", "1.0.0").sign(&stranger);
        assert_eq!(
            judge(&unknown, &setting.policy, now()),
            Ok(Trust::Development)
        );
    }

    #[test]
    fn a_package_of_a_named_publisher_is_signed_by_that_one() {
        let setting = setting();
        let with = |publisher: &str| {
            let text = manifest("text.shout", "1.0.0") + &format!("publisher = \"{publisher}\"\n");
            let mut files = files("text.shout", "1.0.0");
            files.insert(MANIFEST_FILE.to_owned(), text.into());
            Package::from_files(files).unwrap().sign(&setting.key)
        };
        assert!(judge(&with("acme"), &setting.policy, now()).is_ok());
        assert_eq!(
            refused(&with("other"), &setting.policy),
            "publisher_not_allowed"
        );
    }

    #[test]
    fn what_is_revoked_is_refused_however_it_came() {
        let mut setting = setting();
        let good = good(&setting);
        setting.policy.shipped.insert(good.digest());
        setting.policy.development = true;
        for digest in [good.digest(), good.component_digest()] {
            let mut revocations = list(1);
            revocations.digests.push(RevokedDigest {
                digest,
                reason: String::new(),
            });
            setting.policy.revocations = Some(revocations);
            assert_eq!(refused(&good, &setting.policy), "revoked");
        }
        setting.policy.revocations = Some(list(2));
        assert_eq!(judge(&good, &setting.policy, now()), Ok(Trust::Shipped));
        let mut revocations = list(3);
        revocations.keys.push(RevokedKey {
            key_id: setting.key.public().id(),
            reason: "stolen".to_owned(),
        });
        setting.policy.revocations = Some(revocations);
        setting.policy.shipped.clear();
        assert_eq!(refused(&good, &setting.policy), "revoked");
    }

    #[test]
    fn an_expired_list_warns_and_refuses_when_strict() {
        let mut setting = setting();
        let good = good(&setting);
        setting.policy.revocations = Some(list(4));
        let late = "2026-12-01T00:00:00Z".parse().unwrap();
        assert_eq!(setting.policy.warnings(now()), []);
        assert!(matches!(
            setting.policy.warnings(late).as_slice(),
            [Warning::RevocationsExpired { number: 4, .. }]
        ));
        assert!(judge(&good, &setting.policy, late).is_ok());
        setting.policy.strict = true;
        assert!(judge(&good, &setting.policy, now()).is_ok());
        let refusal = judge(&good, &setting.policy, late).unwrap_err();
        assert_eq!(refusal.code(), "revocations_expired");
        setting.policy.shipped.insert(good.digest());
        assert_eq!(judge(&good, &setting.policy, late), Ok(Trust::Shipped));
    }

    #[test]
    fn versions_do_not_go_back() {
        let mut setting = setting();
        let good = good(&setting);
        let mut floor = |version: &str| {
            let version = version.parse().unwrap();
            setting
                .policy
                .floors
                .insert("text.shout".to_owned(), version);
            judge(&good, &setting.policy, now()).map_err(|refusal| refusal.code())
        };
        for fine in ["0.9.0", "1.0.0", "1.0.0-rc.1"] {
            assert!(floor(fine).is_ok());
        }
        for higher in ["1.0.1", "2.0.0-rc.1"] {
            assert_eq!(floor(higher), Err("downgrade"));
        }
        let other = package("text.whisper", "0.1.0").sign(&setting.key);
        assert!(judge(&other, &setting.policy, now()).is_ok());
    }

    #[test]
    fn a_trust_store_is_read_whole_or_not_at_all() {
        let key = SigningKey::generate().unwrap().public();
        let publisher = |name: &str, prefix: &str, key: &str| {
            format!(
                "[[publisher]]\nname = \"{name}\"\nprefixes = [\"{prefix}\"]\nkeys = [\"{key}\"]\n"
            )
        };
        let one = publisher("acme", "*", &key.to_string());
        let store = TrustStore::parse(&one).unwrap();
        assert_eq!(
            TrustStore::parse(&toml::to_string(&store).unwrap()),
            Ok(store)
        );
        let shared = one.clone() + &publisher("other", "x", &key.to_string());
        assert_eq!(
            TrustStore::parse(&shared),
            Err(TrustError::SharedKey(key.id()))
        );
        let twice = one.clone() + &publisher("acme", "x", "").replace("[\"\"]", "[]");
        assert_eq!(
            TrustStore::parse(&twice),
            Err(TrustError::Duplicate("acme".to_owned()))
        );
        for wrong in [
            publisher("acme", "text.", &key.to_string()),
            publisher("acme", "", &key.to_string()),
            publisher("acme", "text", "ed25519:short"),
            one.replace("prefixes", "prefix"),
        ] {
            let error = TrustStore::parse(&wrong).unwrap_err();
            assert!(error.to_string().contains("line "), "{error}");
        }
    }
}
