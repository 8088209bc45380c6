//! A client of OCI registries: pushes and pulls packages.
//!
//! Our own and small, for what a package needs (`docs/design/registry.md` compares). TLS is rustls;
//! plain HTTP is spoken to this machine, and elsewhere only when the caller says so. Credentials go
//! to the registry and to the token service it names, never along with a redirect to another host.

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bindery_core::Digest;
use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE},
};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{
    Artifact, ArtifactError, BLOB_BYTES_MAX, MANIFEST_BYTES_MAX, OciReference, PACKAGE_MEDIA_TYPE,
    Tag,
    artifact::{self, Part},
    manifest::{Descriptor, INDEX_MEDIA_TYPE, Manifest, OCI_MANIFEST_MEDIA_TYPE},
    reference::is_loopback,
};
use crate::Package;

/// Until a connection stands.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two pieces of an answer.
const READ_WAIT_MAX: Duration = Duration::from_secs(60);
/// Words of an error that are kept.
const FAULT_BYTES_MAX: u64 = 16 << 10;

/// What is shown to a registry.
#[derive(Clone, Default)]
pub enum Credentials {
    #[default]
    None,
    Basic {
        user: String,
        password: String,
    },
    /// As it is, for registries that give tokens out themselves; a Bindery host is one.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Basic { .. } => "Basic(secret)",
            Self::Bearer(_) => "Bearer(secret)",
        })
    }
}

/// What was not pushed or pulled.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "{authority} is not this machine: plain HTTP would show the credentials and the package to anyone on the way (--insecure-http allows it)"
    )]
    PlainHttp { authority: String },
    #[error("failed to talk to {authority}")]
    Transport {
        authority: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("{authority} wants credentials, or does not take these (HTTP {status}): {message}")]
    Unauthorized {
        authority: String,
        status: u16,
        message: String,
    },
    #[error("the registry has no {0}")]
    NotFound(String),
    #[error("the registry refused {what} (HTTP {status}, {code}): {message}")]
    Refused {
        what: String,
        status: u16,
        code: String,
        message: String,
    },
    #[error("the registry's answer is not understood: {0}")]
    Protocol(String),
    #[error("{what} does not have the digest {expected}")]
    Digest { what: String, expected: Digest },
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge { what: String, limit_bytes: u64 },
    #[error(
        "{0} is a component without a package: its registry has no package manifest that refers to it"
    )]
    NoPackage(String),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// What a push left in the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Of the image, which the tag names.
    pub image: Digest,
    pub tag: Tag,
    /// Blobs that were there already.
    pub reused: usize,
}

/// Talks to one registry.
pub struct Client {
    http: reqwest::Client,
    authority: String,
    base: String,
    credentials: Credentials,
    /// What the registry's challenge led to: the value of `Authorization`, by scope.
    granted: Mutex<BTreeMap<String, String>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the registry of a reference. `plain_http` speaks HTTP without TLS to hosts that
    /// are not this machine.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        reference: &OciReference,
        credentials: Credentials,
        plain_http: bool,
    ) -> Result<Self, ClientError> {
        let authority = reference.authority.clone();
        let plain = plain_http || reference.is_loopback();
        let transport = |source| ClientError::Transport {
            authority: reference.authority.clone(),
            source,
        };
        let redirects = reqwest::redirect::Policy::custom(move |attempt| {
            let downgrade = attempt.url().scheme() != "https" && !plain;
            if attempt.previous().len() > 5 || downgrade {
                attempt.stop()
            } else {
                attempt.follow()
            }
        });
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_WAIT_MAX)
            .read_timeout(READ_WAIT_MAX)
            .redirect(redirects)
            .user_agent(concat!("bindery/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(transport)?;
        let scheme = if plain { "http" } else { "https" };
        Ok(Self {
            http,
            base: format!("{scheme}://{authority}"),
            authority,
            credentials,
            granted: Mutex::default(),
        })
    }

    /// Pushes a package: blobs, the image, the package manifest, and last the tag, so that whoever
    /// finds the tag finds all of it.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push(
        &self,
        reference: &OciReference,
        package: &Package,
    ) -> Result<Pushed, ClientError> {
        let artifact = Artifact::of(package)?;
        let of_version = Tag::of_version(package.version());
        let tag = reference.tag.clone().or(of_version).ok_or_else(|| {
            ClientError::Protocol("the version cannot be written as a tag".to_owned())
        })?;
        let name = reference.repository.as_str();
        let mut reused = 0;
        for blob in &artifact.blobs {
            if self.has_blob(name, &blob.descriptor).await? {
                reused += 1;
            } else {
                self.push_blob(name, blob).await?;
            }
        }
        let digest_of = |part: &Part| part.descriptor.digest.to_string();
        self.push_manifest(name, &digest_of(&artifact.image), &artifact.image)
            .await?;
        let headers = self
            .push_manifest(name, &digest_of(&artifact.package), &artifact.package)
            .await?;
        // A registry that knows about subjects says so; another one gets the list by hand.
        if !headers.contains_key("oci-subject") {
            self.list_referrer(name, &artifact).await?;
        }
        self.push_manifest(name, tag.as_str(), &artifact.image)
            .await?;
        Ok(Pushed {
            image: artifact.image.descriptor.digest,
            tag,
            reused,
        })
    }

    /// Pulls a package. Everything is checked against its digest; whether the package may be
    /// trusted is for [`judge`](crate::judge).
    ///
    /// # Errors
    /// When the registry does not have it, or has something else.
    pub async fn pull(&self, reference: &OciReference) -> Result<Package, ClientError> {
        let name = reference.repository.as_str();
        let wanted = reference
            .wanted()
            .map_or_else(|| "latest".to_owned(), |wanted| wanted.to_string());
        let (digest, image) = self
            .manifest(name, &wanted)
            .await?
            .ok_or_else(|| ClientError::NotFound(format!("{name}:{wanted}")))?;
        let component = artifact::component_layer(&image)?.clone();
        let expected = artifact::package_digest(&image);
        let files = self.package_manifest(name, digest, expected).await?;
        let files = files.ok_or_else(|| ClientError::NoPackage(format!("{name}:{wanted}")))?;
        let component = self.blob(name, &component).await?;
        let files = self.blob(name, &files).await?;
        Ok(artifact::assemble(component, &files, expected)?)
    }

    /// The layer of files of the package manifest that refers to an image.
    async fn package_manifest(
        &self,
        name: &str,
        image: Digest,
        expected: Option<Digest>,
    ) -> Result<Option<Descriptor>, ClientError> {
        for referrer in self.referrers(name, image).await? {
            if referrer.artifact_type.as_deref() != Some(PACKAGE_MEDIA_TYPE) {
                continue;
            }
            let found = self.manifest(name, &referrer.digest.to_string()).await?;
            let Some((_, manifest)) = found else { continue };
            let subject = manifest.subject.as_ref().map(|subject| subject.digest);
            if subject == Some(image) && artifact::package_digest(&manifest) == expected {
                return Ok(Some(artifact::files_layer(&manifest)?.clone()));
            }
        }
        Ok(None)
    }

    /// By the referrers API, or where a registry has none, by the tag that stands in for it.
    async fn referrers(&self, name: &str, image: Digest) -> Result<Vec<Descriptor>, ClientError> {
        let path = format!("/v2/{name}/referrers/{image}");
        let scope = pull_scope(name);
        let answer = self
            .send(&scope, |http| {
                http.get(self.url(&path)).header(ACCEPT, INDEX_MEDIA_TYPE)
            })
            .await?;
        let index = if answer.status() == StatusCode::OK {
            let bytes = self
                .body(answer, "the list of referrers", MANIFEST_BYTES_MAX as u64)
                .await?;
            serde_json::from_slice(&bytes)
                .map_err(|error| ClientError::Protocol(format!("referrers: {error}")))?
        } else {
            match self.manifest(name, &fallback_tag(image)).await? {
                Some((_, index)) => index,
                None => return Ok(Vec::new()),
            }
        };
        Ok(index.manifests.unwrap_or_default())
    }

    async fn list_referrer(&self, name: &str, artifact: &Artifact) -> Result<(), ClientError> {
        let tag = fallback_tag(artifact.image.descriptor.digest);
        let listed = self.manifest(name, &tag).await?;
        let mut manifests = listed
            .and_then(|(_, index)| index.manifests)
            .unwrap_or_default();
        let new = &artifact.package.descriptor;
        if manifests.iter().any(|one| one.digest == new.digest) {
            return Ok(());
        }
        manifests.push(new.clone());
        let index = serde_json::to_vec(&Manifest::index(manifests)).map_err(ArtifactError::from)?;
        let index = Part::new(INDEX_MEDIA_TYPE, index.into());
        self.push_manifest(name, &tag, &index).await.map(drop)
    }

    async fn has_blob(&self, name: &str, blob: &Descriptor) -> Result<bool, ClientError> {
        let path = format!("/v2/{name}/blobs/{}", blob.digest);
        let answer = self
            .send(&push_scope(name), |http| http.head(self.url(&path)))
            .await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.fault(answer, "a look at a blob").await),
        }
    }

    async fn push_blob(&self, name: &str, blob: &Part) -> Result<(), ClientError> {
        let scope = push_scope(name);
        let path = format!("/v2/{name}/blobs/uploads/");
        let answer = self.send(&scope, |http| http.post(self.url(&path))).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.fault(answer, "an upload").await);
        }
        let location = self.location(&answer)?;
        let answer = self
            .send(&scope, |http| {
                let mut url = location.clone();
                url.query_pairs_mut()
                    .append_pair("digest", &blob.descriptor.digest.to_string());
                http.put(url)
                    .header(CONTENT_TYPE, "application/octet-stream")
                    .body(blob.content.clone())
            })
            .await?;
        match answer.status() {
            StatusCode::CREATED => Ok(()),
            _ => Err(self.fault(answer, "a blob").await),
        }
    }

    /// Where an upload goes on: on the same host, unless it is somebody else's with TLS.
    fn location(&self, answer: &Response) -> Result<Url, ClientError> {
        let wrong = || ClientError::Protocol("an upload without a usable Location".to_owned());
        let location = answer.headers().get(LOCATION).ok_or_else(wrong)?;
        let location = location.to_str().map_err(|_| wrong())?;
        let url = answer.url().join(location).map_err(|_| wrong())?;
        // The credentials go along.
        if url.origin() != answer.url().origin() {
            return Err(wrong());
        }
        Ok(url)
    }

    async fn push_manifest(
        &self,
        name: &str,
        reference: &str,
        part: &Part,
    ) -> Result<HeaderMap, ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let answer = self
            .send(&push_scope(name), |http| {
                http.put(self.url(&path))
                    .header(CONTENT_TYPE, part.descriptor.media_type.as_str())
                    .body(part.content.clone())
            })
            .await?;
        match answer.status() {
            StatusCode::CREATED => Ok(answer.headers().clone()),
            _ => Err(self.fault(answer, "a manifest").await),
        }
    }

    async fn manifest(
        &self,
        name: &str,
        reference: &str,
    ) -> Result<Option<(Digest, Manifest)>, ClientError> {
        let path = format!("/v2/{name}/manifests/{reference}");
        let accept = format!("{OCI_MANIFEST_MEDIA_TYPE}, {INDEX_MEDIA_TYPE}");
        let answer = self
            .send(&pull_scope(name), |http| {
                http.get(self.url(&path)).header(ACCEPT, &accept)
            })
            .await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.fault(answer, "a manifest").await),
        }
        let media_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let what = format!("the manifest {name}:{reference}");
        let bytes = self.body(answer, &what, MANIFEST_BYTES_MAX as u64).await?;
        let digest = Digest::of(&bytes);
        if let Ok(expected) = reference.parse::<Digest>()
            && expected != digest
        {
            return Err(ClientError::Digest { what, expected });
        }
        let manifest = Manifest::parse(&media_type, &bytes)
            .map_err(|error| ClientError::Protocol(error.to_string()))?;
        Ok(Some((digest, manifest)))
    }

    async fn blob(&self, name: &str, blob: &Descriptor) -> Result<Bytes, ClientError> {
        let what = format!("the blob {}", blob.digest);
        if blob.size > BLOB_BYTES_MAX {
            return Err(ClientError::TooLarge {
                what,
                limit_bytes: BLOB_BYTES_MAX,
            });
        }
        let path = format!("/v2/{name}/blobs/{}", blob.digest);
        let answer = self
            .send(&pull_scope(name), |http| http.get(self.url(&path)))
            .await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(ClientError::NotFound(what)),
            _ => return Err(self.fault(answer, "a blob").await),
        }
        let bytes = self.body(answer, &what, blob.size).await?;
        if Digest::of(&bytes) != blob.digest {
            return Err(ClientError::Digest {
                what,
                expected: blob.digest,
            });
        }
        Ok(bytes)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends a request; when the registry challenges it, gets what it wants and sends it again.
    async fn send(
        &self,
        scope: &str,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let known = self.granted.lock().await.get(scope).cloned();
        let first = known.or_else(|| match &self.credentials {
            Credentials::Bearer(token) => Some(format!("Bearer {token}")),
            _ => None,
        });
        let answer = self.send_with(&request, first.as_deref()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(authorization) = self.answer_challenge(&answer, scope).await? else {
            return Err(self.unauthorized(answer).await);
        };
        let answer = self.send_with(&request, Some(&authorization)).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized(answer).await);
        }
        let mut granted = self.granted.lock().await;
        granted.insert(scope.to_owned(), authorization);
        Ok(answer)
    }

    async fn send_with(
        &self,
        request: &impl Fn(&reqwest::Client) -> RequestBuilder,
        authorization: Option<&str>,
    ) -> Result<Response, ClientError> {
        let mut request = request(&self.http);
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request
            .send()
            .await
            .map_err(|source| self.transport(source))
    }

    /// What to show, by the challenge in an answer. Nothing when there is nothing to show.
    async fn answer_challenge(
        &self,
        answer: &Response,
        scope: &str,
    ) -> Result<Option<String>, ClientError> {
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> = challenges
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .collect();
        if let Some(bearer) = challenges.iter().find(|one| one.scheme == "bearer")
            && let Some(realm) = bearer.parameters.get("realm")
            && !matches!(self.credentials, Credentials::Bearer(_))
        {
            return self.fetch_token(realm, bearer, scope).await.map(Some);
        }
        let takes_basic = challenges.iter().any(|one| one.scheme == "basic");
        Ok(match &self.credentials {
            Credentials::Basic { user, password } if takes_basic => Some(basic(user, password)),
            _ => None,
        })
    }

    async fn fetch_token(
        &self,
        realm: &str,
        challenge: &Challenge,
        scope: &str,
    ) -> Result<String, ClientError> {
        let mut url = Url::parse(realm)
            .map_err(|_| ClientError::Protocol(format!("the realm `{realm}` is no address")))?;
        let host = url.host_str().unwrap_or_default();
        let secure = url.scheme() == "https"
            || url.scheme() == "http" && (is_loopback(host) || self.base.starts_with("http://"));
        if !secure {
            return Err(ClientError::PlainHttp {
                authority: host.to_owned(),
            });
        }
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = challenge.parameters.get("service") {
                query.append_pair("service", service);
            }
            // What is needed for all that follows, where the registry speaks of scopes as the
            // field does; its own words otherwise.
            let asked = challenge.parameters.get("scope").map(String::as_str);
            let asked = asked.filter(|asked| !asked.starts_with("repository:"));
            query.append_pair("scope", asked.unwrap_or(scope));
        }
        let mut request = self.http.request(Method::GET, url);
        if let Credentials::Basic { user, password } = &self.credentials {
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        let answer = request
            .send()
            .await
            .map_err(|source| self.transport(source))?;
        if answer.status() != StatusCode::OK {
            return Err(self.unauthorized(answer).await);
        }
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let bytes = self.body(answer, "a token", FAULT_BYTES_MAX * 4).await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| ClientError::Protocol(format!("token: {error}")))?;
        let token = token.token.or(token.access_token);
        let token = token
            .ok_or_else(|| ClientError::Protocol("the token service gave no token".to_owned()))?;
        Ok(format!("Bearer {token}"))
    }

    /// A body of at most so many bytes, whatever its header says.
    async fn body(
        &self,
        mut answer: Response,
        what: &str,
        limit_bytes: u64,
    ) -> Result<Bytes, ClientError> {
        let too_large = || ClientError::TooLarge {
            what: what.to_owned(),
            limit_bytes,
        };
        if answer.content_length().is_some_and(|len| len > limit_bytes) {
            return Err(too_large());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|source| self.transport(source))?
        {
            if (body.len() + chunk.len()) as u64 > limit_bytes {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn transport(&self, source: reqwest::Error) -> ClientError {
        ClientError::Transport {
            authority: self.authority.clone(),
            // It may hold a signed address.
            source: source.without_url(),
        }
    }

    async fn unauthorized(&self, answer: Response) -> ClientError {
        let status = answer.status().as_u16();
        let (_, message) = self.words(answer).await;
        ClientError::Unauthorized {
            authority: self.authority.clone(),
            status,
            message,
        }
    }

    async fn fault(&self, answer: Response, what: &str) -> ClientError {
        let status = answer.status().as_u16();
        let (code, message) = self.words(answer).await;
        ClientError::Refused {
            what: what.to_owned(),
            status,
            code,
            message,
        }
    }

    /// Code and words of an error document; a Bindery host's own code wins over the general one.
    async fn words(&self, answer: Response) -> (String, String) {
        #[derive(Deserialize)]
        struct Document {
            errors: Vec<Fault>,
        }
        #[derive(Deserialize)]
        struct Fault {
            code: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            detail: serde_json::Value,
        }
        let body = self.body(answer, "an error", FAULT_BYTES_MAX).await;
        let document = body
            .ok()
            .and_then(|body| serde_json::from_slice::<Document>(&body).ok());
        match document.and_then(|document| document.errors.into_iter().next()) {
            Some(fault) => {
                let own = fault.detail.get("code").and_then(|code| code.as_str());
                let code = own.map_or(fault.code, str::to_owned);
                (code, printable(&fault.message))
            }
            None => ("no code".to_owned(), "no reason is given".to_owned()),
        }
    }
}

/// Untrusted words for a terminal.
fn printable(text: &str) -> String {
    text.chars()
        .take(1000)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}")))
}

fn pull_scope(name: &str) -> String {
    format!("repository:{name}:pull")
}

fn push_scope(name: &str) -> String {
    format!("repository:{name}:pull,push")
}

/// The tag under which referrers are listed where the API is not there.
fn fallback_tag(digest: Digest) -> String {
    digest.to_string().replace(':', "-")
}

/// `Bearer realm="…",service="…",scope="…"`.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = BTreeMap::new();
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            let Some((name, value)) = rest.split_once('=') else {
                break;
            };
            let value = value.trim_start();
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            parameters.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            rest = after;
        }
        Some(Self {
            scheme: scheme.to_ascii_lowercase(),
            parameters,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn challenges_are_read() {
        let challenge = Challenge::parse(
            r#"Bearer realm="https://auth.example.org/token",service="registry",scope="repository:a/b:pull,push""#,
        )
        .unwrap();
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(
            challenge.parameters["realm"],
            "https://auth.example.org/token"
        );
        assert_eq!(challenge.parameters["scope"], "repository:a/b:pull,push");
        let basic = Challenge::parse("Basic realm=bindery, charset=\"UTF-8\"").unwrap();
        assert_eq!(basic.scheme, "basic");
        assert_eq!(basic.parameters["realm"], "bindery");
        assert_eq!(basic.parameters["charset"], "UTF-8");
        assert_eq!(Challenge::parse("Basic").unwrap().parameters.len(), 0);
        assert_eq!(Challenge::parse("Bearer realm=\"open"), None);
    }

    #[test]
    fn plain_http_is_for_this_machine_or_on_request() {
        for (text, plain, base) in [
            (
                "oci://registry.example.org/a",
                false,
                "https://registry.example.org",
            ),
            (
                "oci://registry.example.org/a",
                true,
                "http://registry.example.org",
            ),
            ("oci://127.0.0.1:5000/a", false, "http://127.0.0.1:5000"),
        ] {
            let reference = text.parse().unwrap();
            let client = Client::new(&reference, Credentials::None, plain).unwrap();
            assert_eq!(client.base, base);
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let reference = "oci://127.0.0.1/a".parse().unwrap();
        for credentials in [
            Credentials::Bearer("hunter2".to_owned()),
            Credentials::Basic {
                user: "u".to_owned(),
                password: "hunter2".to_owned(),
            },
        ] {
            let client = Client::new(&reference, credentials, false).unwrap();
            assert!(!format!("{client:?}").contains("hunter2"));
        }
    }
}
