//! Uploaded files.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_api_types::{FileInfo, FilePage, Upload};
use bindery_core::{FileId, OrgId};
use bindery_executor::FileRecord;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    page::{contains, documents},
    upload::{UploadQuery, take_file},
};
use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    content::{Download, serve_blob},
    documents::{file, recognised},
    extract::{ApiPath, ApiQuery, PageQuery, parse_id},
    openapi::{BadPage, BadUpload, Failures, NoRange, NotFound},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FileFilter {
    /// Part of the name.
    q: Option<String>,
    /// Media type that a plugin recognised.
    format: Option<String>,
}

/// Uploads a file.
///
/// Any bytes are taken. What a plugin knows is recognised by its content and inspected; `format`
/// is null for the rest. The body is the content, or a form with one part of that.
#[utoipa::path(post, path = "/api/v1/files", tag = "files", params(UploadQuery),
    request_body(content(
        (Upload = "multipart/form-data"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 201, description = "Kept.", body = FileInfo,
            headers(("location" = String, description = "Of the file."))),
        BadUpload, Failures,
    ))]
pub(super) async fn upload_file(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiQuery(query): ApiQuery<UploadQuery>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let record = take_file(&app, caller.org, &query, request).await?;
    let location = format!("/api/v1/files/{}", record.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(file(record)),
    ))
}

/// Files, newest first.
#[utoipa::path(get, path = "/api/v1/files", tag = "files", params(PageQuery, FileFilter),
    responses((status = 200, description = "A page.", body = FilePage), BadPage, Failures))]
pub(super) async fn list_files(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiQuery(page): ApiQuery<PageQuery>,
    ApiQuery(filter): ApiQuery<FileFilter>,
) -> Result<Json<FilePage>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<FileId>()?);
    let library = Arc::clone(&app.services().library);
    let q = filter.q.map(|q| q.to_lowercase());
    let found = blocking(move || {
        library.list(caller.org, after, limit, &|file: &FileRecord| {
            q.as_ref().is_none_or(|q| contains(&file.name, q))
                && filter
                    .format
                    .as_ref()
                    .is_none_or(|format| recognised(file) && file.media_type == *format)
        })
    })
    .await?;
    let (items, next_cursor) = documents(found, file);
    Ok(Json(FilePage { items, next_cursor }))
}

/// What is known of a file.
#[utoipa::path(get, path = "/api/v1/files/{id}", tag = "files", params(("id" = String, Path)),
    responses((status = 200, description = "The file.", body = FileInfo), NotFound, Failures))]
pub(super) async fn get_file(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<FileInfo>, Problem> {
    Ok(Json(file(find_file(&app, caller.org, &id).await?)))
}

/// The content of a file, as it was uploaded.
#[utoipa::path(get, path = "/api/v1/files/{id}/content", tag = "files",
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
pub(super) async fn download_file(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = find_file(&app, caller.org, &id).await?;
    let download = Download {
        digest: &record.digest,
        media_type: &record.media_type,
        file_name: &record.name,
        size_bytes: record.size_bytes,
    };
    serve_blob(&app.services().blobs, &headers, download).await
}

/// A file of an organisation; 404 without.
pub(super) async fn find_file(app: &App, org: OrgId, id: &str) -> Result<FileRecord, Problem> {
    let id: FileId = parse_id(id, "file")?;
    let library = Arc::clone(&app.services().library);
    blocking(move || library.get(org, id))
        .await?
        .ok_or_else(|| Problem::not_found("file"))
}
