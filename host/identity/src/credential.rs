//! The text form of secrets.
//!
//! `bnd_ID_SECRET_CRC` for tokens and `bns_ID_SECRET_CRC` for sessions: 32 hex digits that name
//! the record, 64 hex digits from the system's random source, and a CRC-32 of all before it. The
//! prefix lets scanners find leaked ones; the CRC tells a mistyped one from a wrong one without
//! asking the store.

use std::fmt;

use bindery_core::Digest;

const ID_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// Text that must not be shown but once. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(String);

impl SecretText {
    /// The text, for the one place that hands it to its owner.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// What a credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Token,
    Session,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Token => "bnd",
            Self::Session => "bns",
        }
    }
}

/// A credential taken apart; the secret is already hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) id: [u8; ID_BYTES],
    pub(crate) hash: Digest,
}

/// Makes a new credential for a record with this id.
pub(crate) fn generate(
    kind: Kind,
    id: &[u8; ID_BYTES],
) -> Result<(SecretText, Digest), getrandom::Error> {
    let mut secret = [0; SECRET_BYTES];
    getrandom::fill(&mut secret)?;
    let body = format!(
        "{}_{}_{}",
        kind.prefix(),
        hex::encode(id),
        hex::encode(secret)
    );
    let text = format!("{body}_{:08x}", crc32fast::hash(body.as_bytes()));
    Ok((SecretText(text.clone()), hash(&text)))
}

/// None when the text cannot be a credential of this kind.
pub(crate) fn parse(kind: Kind, text: &str) -> Option<Parsed> {
    // Longest form; longer input is not even split.
    const TEXT_BYTES: usize = 3 + 1 + 2 * ID_BYTES + 1 + 2 * SECRET_BYTES + 1 + 8;
    if text.len() != TEXT_BYTES {
        return None;
    }
    let (body, crc) = text.rsplit_once('_')?;
    if format!("{:08x}", crc32fast::hash(body.as_bytes())) != crc {
        return None;
    }
    let mut parts = body.split('_');
    let (prefix, id, secret) = (parts.next()?, parts.next()?, parts.next()?);
    if prefix != kind.prefix() || parts.next().is_some() || secret.len() != 2 * SECRET_BYTES {
        return None;
    }
    let mut bytes = [0; ID_BYTES];
    hex::decode_to_slice(id, &mut bytes).ok()?;
    Some(Parsed {
        id: bytes,
        hash: hash(text),
    })
}

/// A fast hash is enough: the secret has 256 random bits, so there is nothing to guess.
fn hash(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_credential_is_read_back_and_a_mistyped_one_is_not() {
        let id = [7; 16];
        let (text, hash) = generate(Kind::Token, &id).unwrap();
        assert_eq!(parse(Kind::Token, text.expose()), Some(Parsed { id, hash }));
        assert_eq!(parse(Kind::Session, text.expose()), None);
        assert!(!format!("{text:?}").contains(text.expose()));
        for position in 0..text.expose().len() {
            let mut wrong = text.expose().as_bytes().to_vec();
            if let Some(byte) = wrong.get_mut(position) {
                *byte = if *byte == b'0' { b'1' } else { b'0' };
            }
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(parse(Kind::Token, &wrong), None, "{position}");
        }
        for rubbish in [
            "",
            "bnd___",
            "bnd",
            "bnd_x_y_z",
            &"_".repeat(109),
            &"a".repeat(10_000),
        ] {
            assert_eq!(parse(Kind::Token, rubbish), None);
        }
    }
}
