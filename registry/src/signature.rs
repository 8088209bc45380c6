//! Keys and signatures.
//!
//! A signature is a small text beside the files, `bindery.sig`. It states what was signed, so that
//! a person can read it, and so that files that were changed afterwards can be told from a
//! signature that was never good. ed25519, verified strictly.

use std::{
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bindery_core::Digest;
use ed25519_dalek::{Signer as _, VerifyingKey};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::text;

/// Its name in a package.
pub const SIGNATURE_FILE: &str = "bindery.sig";

const PUBLIC_PREFIX: &str = "ed25519:";
const SECRET_PREFIX: &str = "ed25519-secret:";

/// What a signature is over, so that one made for one purpose is none for another.
const PACKAGE_DOMAIN: &str = "bindery package signature v1";

/// The first eight bytes of the SHA-256 of a public key, in hex. A name for people and for looking
/// a key up; what is verified is verified with the whole key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// Text form: `ed25519:` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Never shown, never logged.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// `bindery.sig`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    #[serde(with = "text")]
    pub key_id: KeyId,
    algorithm: Algorithm,
    /// What was signed.
    pub name: String,
    pub version: Version,
    #[serde(with = "text")]
    pub digest: Digest,
    #[serde(with = "text")]
    signature: SignatureBytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Algorithm {
    Ed25519,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignatureBytes([u8; 64]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("failed to parse {SIGNATURE_FILE}: {0}")]
    Format(String),
    #[error("the signature was not made with the key {0}")]
    Wrong(KeyId),
}

impl SignatureError {
    /// Stable.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "signature_invalid"
    }
}

/// A key that cannot be made, read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("not a public key (expected `{PUBLIC_PREFIX}` and base64 of 32 bytes)")]
    Public,
    #[error("a weak public key: anybody could sign for it")]
    Weak,
    #[error("not a secret key (expected `{SECRET_PREFIX}` and base64 of 32 bytes)")]
    Secret,
    #[error("not a key id (expected 16 lower-case hex digits)")]
    Id,
    #[error("failed to read {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("failed to write {path}")]
    Write { path: PathBuf, source: io::Error },
    #[error("{path} exists already, and a key is never written over: name another file")]
    Exists { path: PathBuf },
    #[error("{path} can be read by others; `chmod 600` it, and think about a new key")]
    Exposed { path: PathBuf },
    #[error("no random numbers from the system: {0}")]
    Random(String),
}

impl SigningKey {
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    #[must_use]
    pub fn sign(&self, name: &str, version: &Version, digest: Digest) -> Signature {
        let message = package_message(name, version, digest);
        Signature {
            key_id: self.public().id(),
            algorithm: Algorithm::Ed25519,
            name: name.to_owned(),
            version: version.clone(),
            digest,
            signature: self.sign_message(&message),
        }
    }

    pub(crate) fn sign_message(&self, message: &[u8]) -> SignatureBytes {
        SignatureBytes(self.0.sign(message).to_bytes())
    }

    /// Writes a new file that only its owner can read.
    ///
    /// # Errors
    /// When the file exists or cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let failed = |source| KeyError::Write {
            path: path.to_owned(),
            source,
        };
        let text = format!(
            "# Secret key of a publisher of Bindery packages. Whoever has it can sign in your name.\n# Public key: {}\n{SECRET_PREFIX}{}\n",
            self.public(),
            BASE64.encode(self.0.as_bytes()),
        );
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => KeyError::Exists {
                    path: path.to_owned(),
                },
                _ => failed(error),
            })?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)
    }

    /// # Errors
    /// When the file holds no key, or others can read it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
            });
        }
        fs::read_to_string(path).map_err(failed)?.parse()
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    /// Lines that begin with `#` are comments.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(KeyError::Secret);
        };
        let bytes = line.strip_prefix(SECRET_PREFIX).and_then(decode);
        let bytes = bytes.ok_or(KeyError::Secret)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, secret)", self.public().id())
    }
}

impl PublicKey {
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = Digest::of(self.0.as_bytes());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(digest.as_bytes()) {
            *to = *from;
        }
        KeyId(id)
    }

    /// Whether the signature's statement was signed with this key. Says nothing of whether the
    /// statement is about the package it lies in.
    ///
    /// # Errors
    /// When it was not.
    pub fn verify(&self, signature: &Signature) -> Result<(), SignatureError> {
        let message = package_message(&signature.name, &signature.version, signature.digest);
        self.verify_message(&message, &signature.signature)
    }

    pub(crate) fn verify_message(
        &self,
        message: &[u8],
        signature: &SignatureBytes,
    ) -> Result<(), SignatureError> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(message, &signature)
            .map_err(|_| SignatureError::Wrong(self.id()))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.strip_prefix(PUBLIC_PREFIX).and_then(decode);
        let bytes: [u8; 32] = bytes.ok_or(KeyError::Public)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Public)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self(key))
    }
}

impl Signature {
    /// # Errors
    /// When the text is no signature file.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        toml::from_str(text).map_err(|error| SignatureError::Format(error.to_string()))
    }
}

impl fmt::Display for Signature {
    /// As the file, in one way only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Signature of a Bindery package.")?;
        writeln!(f, "key_id = \"{}\"", self.key_id)?;
        writeln!(f, "algorithm = \"ed25519\"")?;
        writeln!(f, "name = \"{}\"", self.name.escape_default())?;
        writeln!(f, "version = \"{}\"", self.version)?;
        writeln!(f, "digest = \"{}\"", self.digest)?;
        writeln!(f, "signature = \"{}\"", self.signature)
    }
}

/// One line for each thing that is signed; none of them can hold a line break, so two statements
/// never have the same bytes.
fn package_message(name: &str, version: &Version, digest: Digest) -> Vec<u8> {
    let name = name.escape_default();
    format!("{PACKAGE_DOMAIN}\n{name}\n{version}\n{digest}\n").into_bytes()
}

fn decode<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

impl fmt::Display for SignatureBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for SignatureBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SignatureBytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = decode(text).ok_or("not base64 of 64 bytes")?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 8];
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(KeyError::Id);
        }
        hex::decode_to_slice(text, &mut id).map_err(|_| KeyError::Id)?;
        Ok(Self(id))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    fn statement() -> (&'static str, Version, Digest) {
        ("text.shout", Version::new(1, 0, 0), Digest::of(b"files"))
    }

    fn signed(key: &SigningKey) -> Signature {
        let (name, version, digest) = statement();
        key.sign(name, &version, digest)
    }

    #[test]
    fn a_signature_is_read_as_it_was_written_and_holds() {
        let key = SigningKey::generate().unwrap();
        let signature = signed(&key);
        let read = Signature::parse(&signature.to_string()).unwrap();
        assert_eq!(read, signature);
        assert_eq!(key.public().verify(&read), Ok(()));
    }

    #[test]
    fn it_holds_for_nothing_else() {
        let key = SigningKey::generate().unwrap();
        let good = signed(&key);
        let wrong = |change: fn(&mut Signature)| {
            let mut signature = good.clone();
            change(&mut signature);
            assert_eq!(
                key.public().verify(&signature),
                Err(SignatureError::Wrong(key.public().id()))
            );
        };
        wrong(|signature| signature.name = "text.shouts".to_owned());
        wrong(|signature| signature.version = Version::new(1, 0, 1));
        wrong(|signature| signature.digest = Digest::of(b"others"));
        wrong(|signature| signature.signature.0 = [0; 64]);
        let other = SigningKey::generate().unwrap();
        assert!(other.public().verify(&good).is_err());
        // The same bytes, signed for another purpose.
        let mut moved = good.clone();
        moved.signature = key.sign_message(good.digest.as_bytes());
        assert!(key.public().verify(&moved).is_err());
    }

    #[test]
    fn a_text_that_is_no_signature_is_refused() {
        let good = signed(&SigningKey::generate().unwrap()).to_string();
        for (from, to) in [
            ("ed25519", "none"),
            ("digest = \"sha256:", "digest = \"sha512:"),
            ("key_id = \"", "key_id = \"0"),
            ("signature = \"", "signature = \"AA"),
            ("name", "nom"),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good);
            assert!(Signature::parse(&text).is_err(), "{text}");
        }
        assert!(Signature::parse(&format!("{good}more = 1\n")).is_err());
    }

    #[test]
    fn a_key_is_kept_for_its_owner_alone_and_once() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        let key = SigningKey::generate().unwrap();
        key.save(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let loaded = SigningKey::load(&path).unwrap();
        assert_eq!(loaded.public(), key.public());
        assert!(matches!(key.save(&path), Err(KeyError::Exists { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            SigningKey::load(&path),
            Err(KeyError::Exposed { .. })
        ));
    }

    #[test]
    fn secrets_are_not_shown() {
        let key = SigningKey::generate().unwrap();
        let shown = format!("{key:?}");
        assert!(!shown.contains(&BASE64.encode(key.0.as_bytes())));
        assert!(!shown.contains(&hex::encode(key.0.as_bytes())));
        assert!(shown.contains("secret"));
    }

    #[test]
    fn keys_have_a_text_form_and_weak_ones_are_refused() {
        let public = SigningKey::generate().unwrap().public();
        assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
        assert_eq!(
            public.id().to_string().parse::<KeyId>().unwrap(),
            public.id()
        );
        // The identity of the curve: every signature with S = 0 would hold.
        let mut identity = [0; 32];
        identity[0] = 1;
        let weak = format!("{PUBLIC_PREFIX}{}", BASE64.encode(identity));
        assert!(matches!(weak.parse::<PublicKey>(), Err(KeyError::Weak)));
        assert!("ed25519:AAAA".parse::<PublicKey>().is_err());
    }
}
