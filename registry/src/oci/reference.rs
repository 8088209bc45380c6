//! Where in the world a package is: `oci://host[:port]/repository[:tag][@sha256:…]`.

use std::{fmt, net::IpAddr, str::FromStr};

use bindery_core::Digest;

use super::{ManifestRef, Repository, Tag};

const SCHEME: &str = "oci://";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciReference {
    /// With the port, if one is named; an IPv6 address in brackets.
    pub authority: String,
    pub repository: Repository,
    pub tag: Option<Tag>,
    /// Wins over the tag.
    pub digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no OCI reference ({fault}); expected `oci://host/repository:tag`")]
pub struct ReferenceError {
    text: String,
    fault: String,
}

impl OciReference {
    /// What to ask for: the digest, or the tag, or `latest`.
    #[must_use]
    pub fn wanted(&self) -> Option<ManifestRef> {
        let tag = || Some(ManifestRef::Tag(self.tag.clone()?));
        self.digest.map(ManifestRef::Digest).or_else(tag)
    }

    /// Whether it is this machine, where nobody listens on the way.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.authority)
    }
}

pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("v6", (!rest.is_empty()).then_some(rest))
        }
        None => match text.find(':') {
            Some(at) => text
                .split_at_checked(at)
                .map_or((text, None), |(host, port)| (host, Some(port))),
            None => (text, None),
        },
    };
    let port_is_fine = port.is_none_or(|port| {
        port.strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
    });
    port_is_fine
        && host.len() <= 253
        && host.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}

impl FromStr for OciReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |fault: &str| ReferenceError {
            text: text.to_owned(),
            fault: fault.to_owned(),
        };
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| wrong("it does not begin with `oci://`"))?;
        let (authority, rest) = rest
            .split_once('/')
            .ok_or_else(|| wrong("it names no repository"))?;
        if !is_authority(authority) {
            return Err(wrong("the host is none"));
        }
        let (rest, digest) = match rest.split_once('@') {
            None => (rest, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| wrong("the digest is none"))?;
                (rest, Some(digest))
            }
        };
        let (repository, tag) = match rest.split_once(':') {
            None => (rest, None),
            Some((repository, tag)) => {
                let tag = tag.parse().map_err(|_| wrong("the tag is none"))?;
                (repository, Some(tag))
            }
        };
        Ok(Self {
            authority: authority.to_owned(),
            repository: repository
                .parse()
                .map_err(|_| wrong("the repository's name is none"))?,
            tag,
            digest,
        })
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.authority, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let digest = Digest::of(b"");
        for text in [
            "oci://registry.example.org/acme/docking.vina".to_owned(),
            "oci://registry.example.org:5000/docking.vina:1.0.0".to_owned(),
            format!("oci://127.0.0.1:5000/a@{digest}"),
            format!("oci://[::1]:5000/a:b@{digest}"),
        ] {
            assert_eq!(text.parse::<OciReference>().unwrap().to_string(), text);
        }
        for text in [
            "registry.example.org/a",
            "oci://registry.example.org",
            "oci:///a",
            "oci://user@host/a",
            "oci://host:port/a",
            "oci://host:0/a",
            "oci://host/A",
            "oci://host/a:",
            "oci://host/a@sha256:0",
            "oci://ho st/a",
            "oci://[::1/a",
            "oci://[x]/a",
            "oci://host/../a",
        ] {
            assert!(text.parse::<OciReference>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_this_machine_only() {
        for (text, expect) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("localhost.example.org", false),
            ("127.0.0.1.example.org", false),
            ("10.0.0.1", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(is_loopback(text), expect, "{text}");
        }
    }
}
