//! Taking a file from a request, as a form or as the raw body.

use std::{future::Future, time::Duration};

use axum::{
    extract::{DefaultBodyLimit, FromRequest, Multipart, Request},
    http::{HeaderMap, StatusCode, header},
};
use bindery_core::{OrgId, Violation};
use bindery_executor::FileRecord;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    Problem, app::App, content::disposition_name, extract::media_type, ports::UploadError,
};

/// An upload that sends nothing for so long is given up: its connection is one that another
/// client could use.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Name of a file whose sender gave none.
const UNNAMED: &str = "upload";
/// Parts of a form that are passed over before the file.
const PARTS_MAX: usize = 16;
/// A part that is no file: words about it.
const PART_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// Name of the file, for a raw body; `Content-Disposition` may give it too.
    name: Option<String>,
}

/// Takes the one file of a request.
pub(super) async fn take_file(
    app: &App,
    org: OrgId,
    query: &UploadQuery,
    request: Request,
) -> Result<FileRecord, Problem> {
    let form = media_type(request.headers())
        .is_some_and(|media_type| media_type.essence_str() == mime::MULTIPART_FORM_DATA);
    if !form {
        return take_raw(app, org, query, request).await;
    }
    let bytes_max = app.services().config.upload_bytes_max;
    refuse_long(request.headers(), bytes_max)?;
    let mut form = Multipart::from_request(unlimited(request), &())
        .await
        .map_err(broken)?;
    for _ in 0..PARTS_MAX {
        let Some(field) = in_time(form.next_field()).await?.map_err(broken)? else {
            return Err(Problem::invalid(vec![Violation::new(
                "/file",
                "required",
                "the form has no file",
            )]));
        };
        if field.file_name().is_none() && field.name() != Some("file") {
            pass_over(field).await?;
            continue;
        }
        let name = field.file_name().unwrap_or(UNNAMED).to_owned();
        let declared = field.content_type().map(str::to_owned);
        let content = timed(field).boxed();
        let services = app.services();
        let file = services
            .library
            .ingest(org, &name, declared.as_deref(), content, bytes_max)
            .await?;
        return Ok(file);
    }
    Err(Problem::new(
        StatusCode::BAD_REQUEST,
        "upload_broken",
        format!("the form has no file among its first {PARTS_MAX} parts"),
    ))
}

/// Takes the one file of a request into memory: a package. Few at a time, because of the memory.
pub(super) async fn take_bytes(
    app: &App,
    request: Request,
) -> Result<(Bytes, Permit<'_>), Problem> {
    let permit = app
        .packages
        .acquire()
        .await
        .map_err(|error| Problem::internal(error.to_string()))?;
    let bytes_max = app
        .services()
        .config
        .upload_bytes_max
        .min(bindery_registry::ARCHIVE_BYTES_MAX);
    refuse_long(request.headers(), bytes_max)?;
    let form = media_type(request.headers())
        .is_some_and(|media_type| media_type.essence_str() == mime::MULTIPART_FORM_DATA);
    if !form {
        let content = timed(request.into_body().into_data_stream());
        return Ok((collect(content, bytes_max).await?, permit));
    }
    let mut form = Multipart::from_request(unlimited(request), &())
        .await
        .map_err(broken)?;
    for _ in 0..PARTS_MAX {
        let Some(field) = in_time(form.next_field()).await?.map_err(broken)? else {
            break;
        };
        if field.file_name().is_none() && field.name() != Some("file") {
            pass_over(field).await?;
            continue;
        }
        return Ok((collect(timed(field), bytes_max).await?, permit));
    }
    Err(Problem::invalid(vec![Violation::new(
        "/file",
        "required",
        "the form has no file",
    )]))
}

type Permit<'a> = tokio::sync::SemaphorePermit<'a>;

async fn collect(
    content: impl Stream<Item = Result<Bytes, UploadError>>,
    bytes_max: u64,
) -> Result<Bytes, Problem> {
    let mut content = std::pin::pin!(content);
    let mut all = Vec::new();
    while let Some(chunk) = content.next().await {
        let chunk = chunk.map_err(|error| broken_text(&*error))?;
        if (all.len() + chunk.len()) as u64 > bytes_max {
            return Err(bindery_executor::IngestError::TooLarge {
                limit_bytes: bytes_max,
            }
            .into());
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

async fn take_raw(
    app: &App,
    org: OrgId,
    query: &UploadQuery,
    request: Request,
) -> Result<FileRecord, Problem> {
    let headers = request.headers();
    let bytes_max = app.services().config.upload_bytes_max;
    refuse_long(headers, bytes_max)?;
    let name = query
        .name
        .clone()
        .or_else(|| disposition_name(headers))
        .unwrap_or_else(|| UNNAMED.to_owned());
    let declared = media_type(headers).map(|media_type| media_type.to_string());
    let content = timed(request.into_body().into_data_stream()).boxed();
    let library = &app.services().library;
    Ok(library
        .ingest(org, &name, declared.as_deref(), content, bytes_max)
        .await?)
}

/// A length that is already too much is refused before the client sends it.
fn refuse_long(headers: &HeaderMap, bytes_max: u64) -> Result<(), Problem> {
    // What a form needs besides its file.
    const FORM_BYTES_MAX: u64 = 1 << 20;
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > bytes_max.saturating_add(FORM_BYTES_MAX) => {
            Err(bindery_executor::IngestError::TooLarge {
                limit_bytes: bytes_max,
            }
            .into())
        }
        _ => Ok(()),
    }
}

/// The library bounds what is stored, so axum's own limit of 2 MB is lifted.
fn unlimited(mut request: Request) -> Request {
    DefaultBodyLimit::disable().apply(&mut request);
    request
}

async fn pass_over(field: axum::extract::multipart::Field<'_>) -> Result<(), Problem> {
    let mut content = std::pin::pin!(timed(field));
    let mut size_bytes = 0;
    while let Some(chunk) = content.next().await {
        size_bytes += chunk.map_err(|error| broken_text(&*error))?.len();
        if size_bytes > PART_BYTES_MAX {
            return Err(broken_text("a part that is no file is too long"));
        }
    }
    Ok(())
}

/// A stream that ends with an error when nothing comes for too long.
pub(super) fn timed<S, E>(content: S) -> impl Stream<Item = Result<Bytes, UploadError>> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<UploadError>,
{
    stream::unfold(
        (Box::pin(content), false),
        |(mut content, over)| async move {
            if over {
                return None;
            }
            match tokio::time::timeout(SILENCE_MAX, content.next()).await {
                Ok(None) => None,
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), (content, false))),
                Ok(Some(Err(error))) => Some((Err(error.into()), (content, true))),
                Err(_) => Some((Err("nothing came for a minute".into()), (content, true))),
            }
        },
    )
}

async fn in_time<T>(next: impl Future<Output = T>) -> Result<T, Problem> {
    tokio::time::timeout(SILENCE_MAX, next)
        .await
        .map_err(|_| crate::extract::timed_out())
}

fn broken(error: impl std::fmt::Display) -> Problem {
    broken_text(error)
}

fn broken_text(error: impl std::fmt::Display) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "upload_broken",
        format!("the upload could not be read: {error}"),
    )
}
