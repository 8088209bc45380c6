//! Names of the distribution API, checked once.

use std::{fmt, str::FromStr};

use bindery_core::Digest;

use super::OciError;

const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// `docking.vina`, `acme/docking.vina`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository(String);

/// `1.0.0`, `latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestRef {
    Tag(Tag),
    Digest(Digest),
}

/// What a path below `/v2/` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `blobs/DIGEST`
    Blob(Repository, String),
    /// `blobs/uploads/`
    Uploads(Repository),
    /// `blobs/uploads/ID`
    Upload(Repository, String),
    /// `manifests/REFERENCE`
    Manifest(Repository, String),
    /// `tags/list`
    Tags(Repository),
    /// `referrers/DIGEST`
    Referrers(Repository, String),
}

impl Repository {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = OciError;

    /// Words of lower-case letters and digits with `.`, `_`, `__` or dashes between them, joined
    /// with `/`. So no part is empty, and none is `.` or `..`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |word: &str| {
            let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            word.bytes().next().is_some_and(alphanumeric)
                && word.bytes().last().is_some_and(alphanumeric)
                && word
                    .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                    .all(|between| {
                        matches!(between, "" | "." | "_" | "__")
                            || between.bytes().all(|byte| byte == b'-')
                    })
        };
        if text.len() > REPOSITORY_BYTES_MAX || !text.split('/').all(is_word) {
            let shown = text.chars().take(80).collect();
            return Err(OciError::NameInvalid(shown));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Tag {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SemVer allows `+` for build metadata and tags do not; the field writes `_` instead.
    #[must_use]
    pub fn of_version(version: &semver::Version) -> Option<Self> {
        version.to_string().replace('+', "_").parse().ok()
    }
}

impl FromStr for Tag {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fine = (1..=TAG_BYTES_MAX).contains(&text.len())
            && !text.starts_with(['.', '-'])
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            let shown: String = text.chars().take(80).collect();
            Err(OciError::ManifestInvalid(format!("`{shown}` is no tag")))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ManifestRef {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A tag has no colon, so what has one is meant as a digest.
        if text.contains(':') {
            digest(text).map(Self::Digest)
        } else {
            text.parse().map(Self::Tag)
        }
    }
}

impl fmt::Display for ManifestRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// # Errors
/// For anything but SHA-256, the one algorithm that every client has to know.
pub(crate) fn digest(text: &str) -> Result<Digest, OciError> {
    text.parse().map_err(|_| {
        let shown: String = text.chars().take(80).collect();
        OciError::DigestInvalid(format!(
            "`{shown}` is no digest that this registry knows: `sha256:` and 64 hex digits"
        ))
    })
}

impl Target {
    /// Reads what follows `/v2/`. The name may hold slashes, so it is read from the end.
    ///
    /// # Errors
    /// When the path is of this form and the name is none. Nothing for another path.
    pub fn parse(path: &str) -> Result<Option<Self>, OciError> {
        if let Some(name) = path.strip_suffix("/tags/list") {
            return name.parse().map(|name| Some(Self::Tags(name)));
        }
        if let Some(name) = path
            .strip_suffix("/blobs/uploads/")
            .or_else(|| path.strip_suffix("/blobs/uploads"))
        {
            return name.parse().map(|name| Some(Self::Uploads(name)));
        }
        let Some((rest, last)) = path.rsplit_once('/') else {
            return Ok(None);
        };
        let last = last.to_owned();
        Ok(Some(
            if let Some(name) = rest.strip_suffix("/blobs/uploads") {
                Self::Upload(name.parse()?, last)
            } else if let Some(name) = rest.strip_suffix("/blobs") {
                Self::Blob(name.parse()?, last)
            } else if let Some(name) = rest.strip_suffix("/manifests") {
                Self::Manifest(name.parse()?, last)
            } else if let Some(name) = rest.strip_suffix("/referrers") {
                Self::Referrers(name.parse()?, last)
            } else {
                return Ok(None);
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for good in ["a", "docking.vina", "a/b/c", "a__b", "a---b", "a_b", "0"] {
            assert!(good.parse::<Repository>().is_ok(), "{good}");
        }
        for bad in [
            "", "A", "a//b", "/a", "a/", "..", "a/../b", ".a", "a.", "a..b", "a___b", "a-", "a b",
            "a:b", "a._b",
        ] {
            assert!(bad.parse::<Repository>().is_err(), "{bad}");
        }
        assert!("a".repeat(256).parse::<Repository>().is_err());
        for good in ["latest", "1.0.0-rc.1", "_x", "V1"] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in ["", ".x", "-x", "a/b", "a+b", ".."] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        let version = "1.0.0+build.7".parse().unwrap();
        assert_eq!(Tag::of_version(&version).unwrap().as_str(), "1.0.0_build.7");
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let name = |text: &str| text.parse::<Repository>().unwrap();
        let parse = |path: &str| Target::parse(path).unwrap();
        assert_eq!(
            parse("a/b/blobs/sha256:0"),
            Some(Target::Blob(name("a/b"), "sha256:0".into()))
        );
        assert_eq!(parse("a/blobs/uploads/"), Some(Target::Uploads(name("a"))));
        assert_eq!(
            parse("blobs/uploads/blobs/uploads/x"),
            Some(Target::Upload(name("blobs/uploads"), "x".into()))
        );
        assert_eq!(
            parse("a/manifests/manifests/tags/list"),
            Some(Target::Tags(name("a/manifests/manifests")))
        );
        assert_eq!(
            parse("a/referrers/x"),
            Some(Target::Referrers(name("a"), "x".into()))
        );
        assert_eq!(parse("_catalog"), None);
        assert_eq!(parse("a/b"), None);
        assert!(Target::parse("A/manifests/x").is_err());
        assert!(Target::parse("../manifests/x").is_err());
        assert!(Target::parse("/tags/list").is_err());
    }
}
