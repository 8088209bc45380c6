//! Serving what executions printed.

use std::{
    io::{self, SeekFrom},
    ops::Range,
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bindery_core::ExecutionId;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use serde::Deserialize;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;

use crate::{
    Problem,
    app::App,
    content::{Wanted, attachment, partial, unsatisfiable, wanted},
    extract::query_number,
    log_text::LogText,
};

/// Size of the whole log, for those who read on where they were.
const LOG_SIZE: HeaderName = HeaderName::from_static("x-log-size");

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// First byte wanted; beyond the end there is nothing, which is no error.
    #[param(value_type = Option<u64>)]
    offset: Option<String>,
    /// Bytes wanted at most.
    #[param(value_type = Option<u64>)]
    limit: Option<String>,
    /// `1`: the stored bytes, as a download.
    raw: Option<String>,
}

/// Serves the log of an execution; one that has printed nothing yet is empty.
pub(super) async fn serve_log(
    app: &App,
    execution: ExecutionId,
    query: &LogQuery,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let offset = query_number("offset", query.offset.as_deref())?;
    let limit = query_number("limit", query.limit.as_deref())?;
    let raw = query
        .raw
        .as_deref()
        .is_some_and(|raw| matches!(raw, "1" | "true"));
    let fault = |error: io::Error| Problem::internal(format!("log of {execution}: {error}"));
    let file = match File::open(app.services().logs.path(execution)).await {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(fault(error)),
    };
    // The log may grow meanwhile; what is served is what is there now.
    let size_bytes = match &file {
        Some(file) => file.metadata().await.map_err(fault)?.len(),
        None => 0,
    };
    let (status, range) = if offset.is_some() || limit.is_some() {
        let start = offset.unwrap_or(0).min(size_bytes);
        let end = start
            .saturating_add(limit.unwrap_or(u64::MAX))
            .min(size_bytes);
        (StatusCode::OK, start..end)
    } else {
        match wanted(headers, size_bytes, None) {
            Wanted::All => (StatusCode::OK, 0..size_bytes),
            Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Wanted::Beyond => return Err(unsatisfiable(size_bytes)),
        }
    };
    let mut response = match file {
        Some(file) => read(file, status, range, size_bytes, raw)
            .await
            .map_err(fault)?,
        None => partial(status, None, 0, stream::empty::<io::Result<Bytes>>()),
    };
    let headers = response.headers_mut();
    headers.insert(LOG_SIZE, HeaderValue::from(size_bytes));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(match raw {
            true => "application/octet-stream",
            false => "text/plain; charset=utf-8",
        }),
    );
    if raw {
        headers.insert(
            header::CONTENT_DISPOSITION,
            attachment(&format!("{execution}.log")),
        );
    }
    Ok(response)
}

async fn read(
    mut file: File,
    status: StatusCode,
    range: Range<u64>,
    size_bytes: u64,
    raw: bool,
) -> io::Result<Response> {
    file.seek(SeekFrom::Start(range.start)).await?;
    let length = range.end - range.start;
    let stored = ReaderStream::new(file.take(length));
    let part = (status == StatusCode::PARTIAL_CONTENT).then_some(&range);
    // Without a `Content-Range`, the length is that of what is sent.
    let whole = if part.is_some() { size_bytes } else { length };
    if raw {
        return Ok(partial(status, part, whole, stored));
    }
    let mut text = LogText::default();
    let shown = stored
        .map(Some)
        .chain(stream::once(future::ready(None)))
        .map(move |chunk| match chunk {
            Some(chunk) => chunk.map(|chunk| text.chunk(&chunk)),
            None => Ok(text.finish()),
        });
    Ok(partial(status, part, whole, shown))
}
