//! Files that executions made.

use axum::{extract::State, http::HeaderMap, response::Response};
use bindery_core::ArtifactId;

use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    content::{Download, serve_blob},
    extract::{ApiPath, parse_id},
    openapi::{Failures, NoRange, NotFound},
};

/// The content of an artifact.
#[utoipa::path(get, path = "/api/v1/artifacts/{id}", tag = "artifacts",
    params(
        ("id" = String, Path),
        ("range" = Option<String>, Header, description = "One range of bytes."),
    ),
    responses(
        (status = 200, description = "All of it.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 206, description = "The range.", body = Vec<u8>,
            content_type = "application/octet-stream"),
        (status = 304, description = "The client has it."),
        NoRange, NotFound, Failures,
    ))]
pub(super) async fn download_artifact(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let id: ArtifactId = parse_id(&id, "artifact")?;
    let store = app.services().dispatcher.store(caller.org);
    let record = blocking(move || store.artifact(id))
        .await?
        .ok_or_else(|| Problem::not_found("artifact"))?;
    let download = Download {
        digest: &record.digest,
        media_type: &record.media_type,
        file_name: &record.name,
        size_bytes: record.size_bytes,
    };
    serve_blob(&app.services().blobs, &headers, download).await
}
