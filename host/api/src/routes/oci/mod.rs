//! `/v2/`: the OCI distribution API (v1.1) over the host's packages.
//!
//! Clients of the field (`oras`, `wkg`, `docker`) pull what is published here, and push packages
//! that are then published like any other. The protocol is `bindery_registry::oci`; here it meets
//! HTTP, callers and the store of plugins. Errors have the form of that specification, not that of
//! the rest of the interface, so these routes are not part of the OpenAPI document.

mod fault;

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use bindery_identity::{Principal, Role};
use bindery_plugins::{PluginView, PublishOptions, VersionStatus};
use bindery_registry::{
    Package,
    oci::{
        INDEX_MEDIA_TYPE, MANIFEST_BYTES_MAX, OciError, PushedContent, Registry, Repository, Tag,
        Target, UploadId,
    },
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use self::fault::{API_VERSION, Fault, OciCaller};
use super::upload::timed;
use crate::{
    Problem,
    app::App,
    content::{Wanted, partial, wanted},
};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

/// What is written or read at a time.
const CHUNK_BYTES: usize = 1 << 20;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/v2", any(check_api))
        .route("/v2/", any(check_api))
        .route("/v2/{*path}", any(serve))
}

/// Who may change what is here.
fn pusher(caller: Principal) -> Result<String, Fault> {
    if caller.role == Role::Admin {
        Ok(caller.token.to_string())
    } else {
        let message = "only an admin pushes packages";
        Err(Fault::new(StatusCode::FORBIDDEN, "DENIED", message))
    }
}

/// end-1: whether this is a registry.
async fn check_api(_: OciCaller, method: Method) -> Result<Response, Fault> {
    if method != Method::GET && method != Method::HEAD {
        return Err(Fault::unsupported());
    }
    let version = [(API_VERSION, HeaderValue::from_static("registry/2.0"))];
    Ok((StatusCode::OK, version, Json(json!({}))).into_response())
}

/// What a query may hold; of the whole API, so that one type does.
#[derive(Debug, Default, Deserialize)]
struct OciQuery {
    digest: Option<String>,
    mount: Option<String>,
    from: Option<String>,
    n: Option<String>,
    last: Option<String>,
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

async fn serve(
    caller: OciCaller,
    State(app): State<App>,
    request: Request,
) -> Result<Response, Fault> {
    let OciCaller(caller) = caller;
    let path = request.uri().path();
    let path = path.strip_prefix("/v2/").unwrap_or(path);
    let target = Target::parse(path)?;
    let Some(target) = target else {
        return Err(Fault::new(
            StatusCode::NOT_FOUND,
            "UNSUPPORTED",
            "there is no such path in a registry",
        ));
    };
    let Query(query) = Query::<OciQuery>::try_from_uri(request.uri())
        .map_err(|error| Fault::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", error.to_string()))?;
    let (parts, body) = request.into_parts();
    let call = Call {
        app,
        caller,
        headers: parts.headers,
        query,
    };
    let get = parts.method == Method::GET;
    match (parts.method, target) {
        (Method::GET | Method::HEAD, Target::Blob(name, digest)) => {
            call.get_blob(name, digest, get).await
        }
        (Method::DELETE, Target::Blob(name, digest)) => call.delete_blob(name, digest).await,
        (Method::POST, Target::Uploads(name)) => call.begin_upload(name, body).await,
        (Method::GET, Target::Upload(name, id)) => call.get_upload(name, id).await,
        (Method::PATCH, Target::Upload(name, id)) => call.continue_upload(name, id, body).await,
        (Method::PUT, Target::Upload(name, id)) => call.finish_upload(name, id, body).await,
        (Method::DELETE, Target::Upload(name, id)) => call.cancel_upload(name, id).await,
        (Method::GET | Method::HEAD, Target::Manifest(name, reference)) => {
            call.get_manifest(name, reference, get).await
        }
        (Method::PUT, Target::Manifest(name, reference)) => {
            call.put_manifest(name, reference, body).await
        }
        (Method::DELETE, Target::Manifest(name, reference)) => {
            call.delete_manifest(name, reference).await
        }
        (Method::GET, Target::Tags(name)) => call.list_tags(name).await,
        (Method::GET, Target::Referrers(name, digest)) => call.list_referrers(name, digest).await,
        _ => Err(Fault::unsupported()),
    }
}

/// One request, after it is known what it is about.
struct Call {
    app: App,
    caller: Principal,
    headers: HeaderMap,
    query: OciQuery,
}

impl Call {
    fn registry(&self) -> &Arc<Registry> {
        &self.app.services().oci
    }

    /// Asks the registry on a thread that may wait for a disk.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Registry) -> Result<T, OciError> + Send + 'static,
    ) -> Result<T, Fault> {
        ask_registry(Arc::clone(self.registry()), ask).await
    }

    /// Lays out what was published another way, and takes away what is no longer published.
    async fn settle(&self, name: &Repository) -> Result<(), Fault> {
        let view = self.app.services().plugins.get(name.as_str());
        let view = view.unwrap_or(PluginView {
            name: name.to_string(),
            versions: Vec::new(),
        });
        let mut published = Vec::new();
        let mut current = None;
        for version in view.versions {
            let record = version.record;
            if record.status != VersionStatus::Enabled {
                continue;
            }
            let digest = record.digest.0;
            published.push(digest);
            if version.current {
                current = Some(digest);
            }
            let repository = name.clone();
            if self
                .ask(move |registry| registry.has_package(&repository, digest))
                .await?
            {
                continue;
            }
            let _in_memory = self.permit().await?;
            let archive = self.app.services().plugins.archive(&record).await;
            let archive = archive.map_err(Problem::from)?;
            self.ask(move |registry| {
                let package = Package::from_archive(&archive)
                    .map_err(|error| std::io::Error::other(error.to_string()))?;
                registry.add_package(&package)
            })
            .await?;
        }
        let repository = name.clone();
        self.ask(move |registry| registry.settle(&repository, &published, current))
            .await
    }

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Fault> {
        let permit = self.app.packages.acquire().await;
        permit.map_err(|error| Problem::internal(error.to_string()).into())
    }

    /// end-2.
    async fn get_blob(
        self,
        name: Repository,
        digest: String,
        content: bool,
    ) -> Result<Response, Fault> {
        self.settle(&name).await?;
        let (digest, size_bytes) = self
            .ask(move |registry| registry.blob(&name, &digest))
            .await?;
        let named = value(&digest.to_string())?;
        if !content {
            let length = HeaderValue::from(size_bytes);
            let headers = [
                (CONTENT_DIGEST, named),
                (header::CONTENT_LENGTH, length),
                (header::CONTENT_TYPE, octets()),
                (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            ];
            return Ok((headers, Body::empty()).into_response());
        }
        let (status, range) = match wanted(&self.headers, size_bytes, None) {
            Wanted::All => (StatusCode::OK, None),
            Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
            Wanted::Beyond => {
                let message = format!("the blob has {size_bytes} bytes");
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                let range = value(&format!("bytes */{size_bytes}"))?;
                return Err(Fault::new(status, "SIZE_INVALID", message)
                    .header(header::CONTENT_RANGE, range));
            }
        };
        let part = range.clone().unwrap_or(0..size_bytes);
        let registry = Arc::clone(self.registry());
        let chunks = stream::unfold(part.start, move |at| {
            let registry = Arc::clone(&registry);
            async move {
                if at >= part.end {
                    return None;
                }
                let len = usize::try_from(part.end - at).unwrap_or(CHUNK_BYTES);
                let read = tokio::task::spawn_blocking(move || {
                    registry.read_blob(digest, at, len.min(CHUNK_BYTES))
                });
                let chunk = match read.await {
                    Ok(Ok(chunk)) if chunk.is_empty() => Err("the blob is cut off".to_owned()),
                    Ok(chunk) => chunk.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                let next = match &chunk {
                    Ok(chunk) => at + chunk.len() as u64,
                    Err(_) => part.end,
                };
                Some((chunk.map_err(std::io::Error::other), next))
            }
        });
        let mut response = partial(status, range.as_ref(), size_bytes, chunks);
        let headers = response.headers_mut();
        headers.insert(CONTENT_DIGEST, named);
        headers.insert(header::CONTENT_TYPE, octets());
        Ok(response)
    }

    /// end-10.
    async fn delete_blob(self, name: Repository, digest: String) -> Result<Response, Fault> {
        pusher(self.caller)?;
        if self.is_published(&name) {
            return Err(OciError::Unsupported("it may be a part of a published package").into());
        }
        self.ask(move |registry| registry.delete_blob(&name, &digest))
            .await?;
        Ok(StatusCode::ACCEPTED.into_response())
    }

    fn is_published(&self, name: &Repository) -> bool {
        self.app.services().plugins.get(name.as_str()).is_some()
    }

    /// end-4a, end-4b and end-11: begins an upload, takes a blob at once, or mounts one.
    async fn begin_upload(self, name: Repository, body: Body) -> Result<Response, Fault> {
        pusher(self.caller)?;
        if let Some(mount) = &self.query.mount {
            // A mount that cannot be made is an upload, by the specification.
            let from = self.query.from.as_ref().and_then(|from| from.parse().ok());
            if let (Ok(digest), Some(from)) = (mount.parse(), from) {
                let repository = name.clone();
                self.settle(&from).await?;
                let mounted = self
                    .ask(move |registry| registry.mount(&repository, &from, digest))
                    .await?;
                if mounted {
                    return created(&name, "blobs", &digest.to_string());
                }
            }
        }
        let repository = name.clone();
        let id = self
            .ask(move |registry| registry.begin_upload(&repository))
            .await?;
        let Some(digest) = self.query.digest.clone() else {
            return accepted(&name, &id, 0);
        };
        let repository = name.clone();
        if let Err(fault) = self.take(&name, &id, 0, body).await {
            // Nobody knows its name, so nobody could go on with it.
            let _ = self
                .ask(move |registry| registry.cancel_upload(&repository, &id.to_string()))
                .await;
            return Err(fault);
        }
        let finished = self
            .ask(move |registry| registry.finish_upload(&repository, &id, &digest))
            .await?;
        created(&name, "blobs", &finished.to_string())
    }

    /// end-13.
    async fn get_upload(self, name: Repository, id: String) -> Result<Response, Fault> {
        pusher(self.caller)?;
        let repository = name.clone();
        let (id, size) = self
            .ask(move |registry| registry.upload(&repository, &id))
            .await?;
        let mut response = accepted(&name, &id, size)?;
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// end-5.
    async fn continue_upload(
        self,
        name: Repository,
        id: String,
        body: Body,
    ) -> Result<Response, Fault> {
        pusher(self.caller)?;
        let (id, have) = self.continued(&name, id).await?;
        let size = self.take(&name, &id, have, body).await?;
        accepted(&name, &id, size)
    }

    /// end-6.
    async fn finish_upload(
        self,
        name: Repository,
        id: String,
        body: Body,
    ) -> Result<Response, Fault> {
        pusher(self.caller)?;
        let digest = self.query.digest.clone();
        let digest = digest.ok_or_else(|| {
            OciError::DigestInvalid("the query names no digest to finish with".to_owned())
        })?;
        let (id, have) = self.continued(&name, id).await?;
        self.take(&name, &id, have, body).await?;
        let repository = name.clone();
        let digest = self
            .ask(move |registry| registry.finish_upload(&repository, &id, &digest))
            .await?;
        created(&name, "blobs", &digest.to_string())
    }

    /// The upload, and that the body begins where it ends.
    async fn continued(&self, name: &Repository, id: String) -> Result<(UploadId, u64), Fault> {
        let repository = name.clone();
        let (id, have) = self
            .ask(move |registry| registry.upload(&repository, &id))
            .await?;
        let range = self.headers.get(header::CONTENT_RANGE);
        let Some(range) = range.and_then(|range| range.to_str().ok()) else {
            return Ok((id, have));
        };
        // `0-9` in this API; `bytes 0-9/*` from clients that go by RFC 9110.
        let range = range.trim().trim_start_matches("bytes").trim();
        let begin = range.split('-').next().unwrap_or_default();
        if begin.parse() == Ok(have) {
            return Ok((id, have));
        }
        let mut fault = Fault::from(OciError::OutOfOrder { have });
        let where_it_is = accepted(name, &id, have)?;
        for header in [header::LOCATION, header::RANGE] {
            if let Some(value) = where_it_is.headers().get(&header) {
                fault = fault.header(header, value.clone());
            }
        }
        Err(fault)
    }

    /// Adds the body to an upload, piece by piece, and gives its size.
    async fn take(
        &self,
        name: &Repository,
        id: &UploadId,
        mut at: u64,
        body: Body,
    ) -> Result<u64, Fault> {
        let chunks = timed(body.into_data_stream());
        let mut chunks = std::pin::pin!(chunks);
        let mut buffer = BytesMut::new();
        loop {
            let chunk = chunks.next().await.transpose().map_err(|error| {
                let fault = format!("the body could not be read to its end: {error}");
                Fault::from(OciError::BlobUploadInvalid(fault))
            })?;
            let last = chunk.is_none();
            buffer.extend_from_slice(&chunk.unwrap_or_default());
            if buffer.len() >= CHUNK_BYTES || last && !buffer.is_empty() {
                let (repository, id) = (name.clone(), id.clone());
                let piece = buffer.split().freeze();
                at = self
                    .ask(move |registry| registry.append(&repository, &id, at, &piece))
                    .await?;
            }
            if last {
                return Ok(at);
            }
        }
    }

    /// end-14.
    async fn cancel_upload(self, name: Repository, id: String) -> Result<Response, Fault> {
        pusher(self.caller)?;
        self.ask(move |registry| registry.cancel_upload(&name, &id))
            .await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }

    /// end-3.
    async fn get_manifest(
        self,
        name: Repository,
        reference: String,
        content: bool,
    ) -> Result<Response, Fault> {
        self.settle(&name).await?;
        let found = self
            .ask(move |registry| registry.manifest(&name, &reference))
            .await?;
        let headers = [
            (CONTENT_DIGEST, value(&found.digest.to_string())?),
            (header::CONTENT_TYPE, value(&found.media_type)?),
            (
                header::CONTENT_LENGTH,
                HeaderValue::from(found.content.len()),
            ),
        ];
        let body = if content {
            Body::from(found.content)
        } else {
            Body::empty()
        };
        Ok((headers, body).into_response())
    }

    /// end-7: a manifest of a package is stored when the package is published.
    async fn put_manifest(
        self,
        name: Repository,
        reference: String,
        body: Body,
    ) -> Result<Response, Fault> {
        let actor = pusher(self.caller)?;
        let media_type = self.headers.get(header::CONTENT_TYPE);
        let media_type = media_type
            .and_then(|media_type| media_type.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let content = collect(timed(body.into_data_stream())).await?;
        let in_memory = self.permit().await?;
        let (repository, asked) = (name.clone(), reference.clone());
        let pending = self
            .ask(move |registry| registry.prepare(&repository, &asked, &media_type, content))
            .await?;
        match pending.pushed() {
            Some(PushedContent::Package(package)) => {
                let archive = package.to_archive().map_err(|error| {
                    Fault::new(
                        StatusCode::BAD_REQUEST,
                        "MANIFEST_INVALID",
                        error.to_string(),
                    )
                })?;
                self.publish(archive, &actor).await?;
            }
            Some(PushedContent::Component(component)) => {
                self.publish(component.clone(), &actor).await?;
            }
            None => self.check_tag(&name, &reference, pending.package_digest())?,
        }
        let stored = self.ask(move |registry| registry.store(&pending)).await?;
        drop(in_memory);
        let mut response = created(&name, "manifests", &stored.digest.to_string())?;
        if let Some(subject) = stored.subject {
            let subject = value(&subject.to_string())?;
            response.headers_mut().insert(SUBJECT, subject);
        }
        Ok(response)
    }

    async fn publish(&self, bytes: Bytes, actor: &str) -> Result<(), Fault> {
        let plugins = &self.app.services().plugins;
        let published = plugins
            .publish(bytes, actor, PublishOptions::default())
            .await;
        published
            .map(drop)
            .map_err(|error| Problem::from(error).into())
    }

    /// The tag of an image of a package stands for a version, so the version must be published,
    /// and with this content.
    fn check_tag(
        &self,
        name: &Repository,
        reference: &str,
        package: Option<bindery_core::Digest>,
    ) -> Result<(), Fault> {
        let refuse = |code: &str, message: &str| {
            Err(Fault::from(OciError::Refused {
                code: code.to_owned(),
                message: message.to_owned(),
            }))
        };
        let Ok(tag) = reference.parse::<Tag>() else {
            return Ok(());
        };
        let view = self.app.services().plugins.get(name.as_str());
        let versions = view.map(|view| view.versions).unwrap_or_default();
        let mut versions = versions.iter().map(|version| &version.record);
        if versions.clone().any(|record| {
            Tag::of_version(&record.version).as_ref() == Some(&tag)
                && Some(record.digest.0) != package
        }) {
            return refuse(
                "version_taken",
                "this version was published with another content",
            );
        }
        match package {
            Some(digest) if !versions.any(|record| record.digest.0 == digest) => refuse(
                "not_published",
                "push the package manifest that refers to this image before its tag",
            ),
            _ => Ok(()),
        }
    }

    /// end-9.
    async fn delete_manifest(self, name: Repository, reference: String) -> Result<Response, Fault> {
        pusher(self.caller)?;
        self.settle(&name).await?;
        self.ask(move |registry| registry.delete_manifest(&name, &reference))
            .await?;
        Ok(StatusCode::ACCEPTED.into_response())
    }

    /// end-8a, end-8b.
    async fn list_tags(self, name: Repository) -> Result<Response, Fault> {
        let limit = match &self.query.n {
            None => None,
            Some(text) => Some(text.parse::<usize>().map_err(|_| {
                Fault::new(
                    StatusCode::BAD_REQUEST,
                    "UNSUPPORTED",
                    "`n` is no number of tags",
                )
            })?),
        };
        self.settle(&name).await?;
        let (repository, last) = (name.clone(), self.query.last.clone());
        let page = self
            .ask(move |registry| registry.tags(&repository, limit, last.as_deref()))
            .await?;
        let more = page.tags.last().filter(|_| page.more);
        let link = more.map(|last| {
            let n = page.tags.len();
            format!("</v2/{name}/tags/list?n={n}&last={last}>; rel=\"next\"")
        });
        let body = Json(json!({ "name": name.as_str(), "tags": page.tags }));
        let mut response = body.into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, value(&link)?);
        }
        Ok(response)
    }

    /// end-12a, end-12b.
    async fn list_referrers(self, name: Repository, digest: String) -> Result<Response, Fault> {
        self.settle(&name).await?;
        let kind = self.query.artifact_type.clone();
        let filtered = kind.is_some();
        let index = self
            .ask(move |registry| registry.referrers(&name, &digest, kind.as_deref()))
            .await?;
        let mut response = index.into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(INDEX_MEDIA_TYPE),
        );
        if filtered {
            headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        Ok(response)
    }
}

async fn ask_registry<T: Send + 'static>(
    registry: Arc<Registry>,
    ask: impl FnOnce(&Registry) -> Result<T, OciError> + Send + 'static,
) -> Result<T, Fault> {
    match tokio::task::spawn_blocking(move || ask(&registry)).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Problem::internal(format!("the registry ended early: {error}")).into()),
    }
}

async fn collect(
    chunks: impl Stream<Item = Result<Bytes, crate::ports::UploadError>>,
) -> Result<Bytes, Fault> {
    let mut chunks = std::pin::pin!(chunks);
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            let fault = format!("the body could not be read to its end: {error}");
            Fault::from(OciError::ManifestInvalid(fault))
        })?;
        if all.len() + chunk.len() > MANIFEST_BYTES_MAX {
            return Err(OciError::TooLarge {
                limit_bytes: MANIFEST_BYTES_MAX as u64,
            }
            .into());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

/// 201, with where it is.
fn created(name: &Repository, kind: &str, digest: &str) -> Result<Response, Fault> {
    let headers = [
        (
            header::LOCATION,
            value(&format!("/v2/{name}/{kind}/{digest}"))?,
        ),
        (CONTENT_DIGEST, value(digest)?),
    ];
    Ok((StatusCode::CREATED, headers).into_response())
}

/// 202, with where it goes on and how much is there.
fn accepted(name: &Repository, id: &UploadId, size: u64) -> Result<Response, Fault> {
    let headers = [
        (
            header::LOCATION,
            value(&format!("/v2/{name}/blobs/uploads/{id}"))?,
        ),
        // The last byte that is there; of none, 0 as well, as registries do.
        (
            header::RANGE,
            value(&format!("0-{}", size.saturating_sub(1)))?,
        ),
        (UPLOAD_ID, value(&id.to_string())?),
    ];
    Ok((StatusCode::ACCEPTED, headers).into_response())
}

fn octets() -> HeaderValue {
    HeaderValue::from_static("application/octet-stream")
}

fn value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|error| Problem::internal(error.to_string()).into())
}
