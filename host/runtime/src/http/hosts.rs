//! Names of hosts, as manifests ask for them and operators list them.

use std::{fmt, str::FromStr, sync::Arc};

use http::uri::{Scheme, Uri};

/// A host and where on it: `api.example.org` is TLS at port 443, `api.example.org:8080` is that
/// port, with TLS or without.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpHost {
    name: String,
    port: Option<u16>,
}

/// Hosts that a guest may talk to. Without any, none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpHosts(Arc<[HttpHost]>);

/// What a request asks for, as far as it decides where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) tls: bool,
}

impl Target {
    /// None where the address names no host, or one in a form that could be read in two ways.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        // `user@host`: no part of a request, and a way to make one host look like another.
        if authority.as_str().contains('@') {
            return None;
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // A colon without a number after it.
            None if authority.as_str() != authority.host() => return None,
            None if tls => 443,
            None => 80,
        };
        Some(Self {
            name: authority.host().to_ascii_lowercase(),
            port,
            tls,
        })
    }
}

impl HttpHosts {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn allow(&self, target: &Target) -> bool {
        self.0.iter().any(|host| {
            host.name == target.name
                && match host.port {
                    Some(port) => port == target.port,
                    None => target.tls && target.port == 443,
                }
        })
    }
}

impl FromIterator<HttpHost> for HttpHosts {
    fn from_iter<I: IntoIterator<Item = HttpHost>>(hosts: I) -> Self {
        Self(hosts.into_iter().collect())
    }
}

impl FromStr for HttpHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no host; expected as in `api.example.org:443`");
        let (name, port) = match text.split_once(':') {
            None => (text, None),
            Some((name, port)) => (name, Some(port.parse::<u16>().map_err(|_| wrong())?)),
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if name.is_empty() || !name.bytes().all(is_plain) || port == Some(0) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }
}

impl fmt::Display for HttpHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    fn hosts(names: &[&str]) -> HttpHosts {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn allowed(hosts: &HttpHosts, uri: &str) -> bool {
        uri.parse()
            .ok()
            .and_then(|uri| Target::of(&uri))
            .is_some_and(|target| hosts.allow(&target))
    }

    #[test]
    fn a_name_is_tls_at_its_usual_port_and_a_port_is_that_port() {
        let hosts = hosts(&["api.example.org", "data.example.org:8080"]);
        for uri in [
            "https://api.example.org/",
            "https://API.example.ORG/path?query",
            "https://api.example.org:443/",
            "http://data.example.org:8080/",
            "https://data.example.org:8080/",
        ] {
            assert!(allowed(&hosts, uri), "{uri}");
        }
        for uri in [
            "http://api.example.org/",
            "https://api.example.org:8443/",
            "http://api.example.org:443.evil.example/",
            "https://evil.api.example.org/",
            "https://api.example.org.evil.example/",
            "https://api.example.org./",
            "https://api.example.org@evil.example/",
            "https://evil.example@api.example.org/",
            "https://api.example.org:/",
            "https://example.org/",
            "http://data.example.org/",
            "https://data.example.org/",
            "https://[::1]/",
            "ftp://api.example.org/",
            "/path",
        ] {
            assert!(!allowed(&hosts, uri), "{uri}");
        }
        assert!(!allowed(&HttpHosts::default(), "https://api.example.org/"));
    }

    #[test]
    fn a_plain_port_443_is_not_what_a_name_alone_means() {
        assert!(!allowed(&hosts(&["a.example"]), "http://a.example:443/"));
        assert!(allowed(&hosts(&["a.example:80"]), "http://a.example/"));
    }

    #[test]
    fn names_are_names() {
        for text in [
            "", ":80", "a:0", "a:70000", "a b", "a/b", "[::1]", "a:1:2", "*.a",
        ] {
            assert!(text.parse::<HttpHost>().is_err(), "{text}");
        }
        assert_eq!("A.b:80".parse::<HttpHost>().unwrap().to_string(), "a.b:80");
    }
}
