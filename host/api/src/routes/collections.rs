//! Collections: kinds of files that plugins declare. The host looks names up and knows none.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use bindery_api_types::{CollectionItem, CollectionPage, Upload};
use bindery_core::{Collection, FileId, Violation};
use bindery_executor::{FaultRecord, FileRecord};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    files::find_file,
    page::{contains, documents},
    upload::{UploadQuery, take_file},
};
use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    documents::{collection_item, recognised},
    extract::{ApiPath, ApiQuery, PageQuery},
    openapi::{BadPage, BadUpload, Failures, NotFound},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ItemFilter {
    /// Part of the name.
    q: Option<String>,
}

/// Uploads a file into a collection.
///
/// It is refused when it is not of one of the collection's formats, or nothing in it can be used.
#[utoipa::path(post, path = "/api/v1/{collection}/upload", tag = "collections",
    params(("collection" = String, Path, description = "As a plugin declares it."), UploadQuery),
    request_body(content(
        (Upload = "multipart/form-data"),
        (Vec<u8> = "application/octet-stream"),
    )),
    responses(
        (status = 201, description = "Kept, with warnings if there are any.", body = CollectionItem,
            headers(("location" = String, description = "Of the item."))),
        BadUpload, NotFound, Failures,
    ))]
pub(super) async fn upload_item(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<UploadQuery>,
    request: Request,
) -> Result<impl IntoResponse, Problem> {
    let collection = find_collection(&app, &name)?;
    let record = take_file(&app, caller.org, &query, request).await?;
    refuse_unusable(&collection, &record)?;
    let location = format!("/api/v1/{}/{}", collection.name, record.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(collection_item(record)),
    ))
}

/// Files of a collection, newest first.
#[utoipa::path(get, path = "/api/v1/{collection}", tag = "collections",
    params(
        ("collection" = String, Path, description = "As a plugin declares it."),
        PageQuery, ItemFilter,
    ),
    responses(
        (status = 200, description = "A page.", body = CollectionPage), BadPage, NotFound, Failures,
    ))]
pub(super) async fn list_items(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(page): ApiQuery<PageQuery>,
    ApiQuery(filter): ApiQuery<ItemFilter>,
) -> Result<Json<CollectionPage>, Problem> {
    let collection = find_collection(&app, &name)?;
    let (limit, after) = (page.limit()?, page.after::<FileId>()?);
    let library = Arc::clone(&app.services().library);
    let q = filter.q.map(|q| q.to_lowercase());
    let found = blocking(move || {
        library.list(caller.org, after, limit, &|file: &FileRecord| {
            belongs(&collection, file) && q.as_ref().is_none_or(|q| contains(&file.name, q))
        })
    })
    .await?;
    let (items, next_cursor) = documents(found, collection_item);
    Ok(Json(CollectionPage { items, next_cursor }))
}

/// One file of a collection.
#[utoipa::path(get, path = "/api/v1/{collection}/{id}", tag = "collections",
    params(
        ("collection" = String, Path, description = "As a plugin declares it."),
        ("id" = String, Path),
    ),
    responses((status = 200, description = "The item.", body = CollectionItem), NotFound, Failures))]
pub(super) async fn get_item(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath((name, id)): ApiPath<(String, String)>,
) -> Result<Json<CollectionItem>, Problem> {
    let collection = find_collection(&app, &name)?;
    let record = find_file(&app, caller.org, &id).await?;
    if !belongs(&collection, &record) {
        return Err(Problem::not_found("item"));
    }
    Ok(Json(collection_item(record)))
}

fn find_collection(app: &App, name: &str) -> Result<Collection, Problem> {
    app.services()
        .catalog
        .collection(name)
        .ok_or_else(|| Problem::not_found("path"))
}

/// Whether a file is an item: recognised as one of the formats, and of use.
fn belongs(collection: &Collection, file: &FileRecord) -> bool {
    recognised(file) && file.faults.is_empty() && collection.media_types.contains(&file.media_type)
}

fn refuse_unusable(collection: &Collection, file: &FileRecord) -> Result<(), Problem> {
    if belongs(collection, file) {
        return Ok(());
    }
    let violations = if !recognised(file) {
        vec![Violation::new(
            "/file",
            "unknown_format",
            format!(
                "{} is of no known format ({} takes {})",
                file.name,
                collection.title,
                collection.media_types.join(", ")
            ),
        )]
    } else if file.faults.is_empty() {
        vec![Violation::new(
            "/file",
            "unsupported_media_type",
            format!(
                "{} is {}, {} takes {}",
                file.name,
                file.media_type,
                collection.title,
                collection.media_types.join(", ")
            ),
        )]
    } else {
        file.faults
            .iter()
            .map(|fault| {
                Violation::new(
                    "/file",
                    &fault.code,
                    format!("{}: {}", file.name, place(fault)),
                )
            })
            .collect()
    };
    Err(Problem::violating(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_file",
        violations,
    ))
}

/// A fault with where it is, as people count.
fn place(fault: &FaultRecord) -> String {
    let message = &fault.message;
    match (
        fault.record.map(|record| record.saturating_add(1)),
        fault.line,
    ) {
        (Some(record), Some(line)) => format!("{message} (record {record}, line {line})"),
        (Some(record), None) => format!("{message} (record {record})"),
        (None, Some(line)) => format!("{message} (line {line})"),
        (None, None) => message.clone(),
    }
}
