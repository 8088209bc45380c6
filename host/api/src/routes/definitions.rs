//! What is made from the definition of a task for clients that are not written by hand: a
//! validator for browsers, an OpenAPI document.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_transpile::ValidatorError;
use serde_json::Value;

use super::tasks::find_task;
use crate::{
    Problem,
    app::App,
    auth::Caller,
    extract::ApiPath,
    openapi::{self, Failures, NotFound},
};

/// A pinned version never changes, so a browser need not ask again.
const CACHE_PINNED: &str = "private, max-age=31536000, immutable";
/// The newest version may be another one next time.
const CACHE_NEWEST: &str = "private, no-cache";

/// The task's own check of parameters, for a browser.
///
/// An ES module without imports. `validate({ parameters })` gives what `POST …/validate` gives for
/// the same parameters: `{ parameters, notices }` or `{ violations }`. Files are left to the
/// server; where the task has input slots the answer says so in `left_to_server`. With
/// `NAME@VERSION` the module may be kept for ever. A task that is too large for a browser, or whose
/// parameter schema has keywords that only the host knows, has none: 404, `validator_unavailable`.
#[utoipa::path(get, path = "/api/v1/tasks/{task}/validator.js", tag = "tasks",
    params(
        ("task" = String, Path),
        ("if-none-match" = Option<String>, Header, description = "An `ETag` that is known."),
    ),
    responses(
        (status = 200, description = "The module.", body = String,
            content_type = "text/javascript",
            headers(("etag" = String, description = "Of the module."))),
        (status = 304, description = "The client has it."),
        NotFound, Failures,
    ))]
pub(super) async fn get_validator(
    _: Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (task, listing) = find_task(&app, &name)?;
    let validator = app
        .services()
        .validators
        .get(listing.plugin, &listing.definition)
        .await?;
    let etag = format!("\"{}\"", validator.digest.hex());
    let cache = match task.version {
        Some(_) => CACHE_PINNED,
        None => CACHE_NEWEST,
    };
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*");
    let etag = HeaderValue::from_str(&etag)
        .map_err(|error| Problem::internal(format!("etag of a validator: {error}")))?;
    let fixed = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    if known {
        return Ok((StatusCode::NOT_MODIFIED, fixed).into_response());
    }
    let media_type = HeaderValue::from_static("text/javascript; charset=utf-8");
    let body = validator.source.clone();
    Ok((fixed, [(header::CONTENT_TYPE, media_type)], body).into_response())
}

impl From<ValidatorError> for Problem {
    fn from(error: ValidatorError) -> Self {
        match error {
            ValidatorError::Transpile(error) => Self::new(
                StatusCode::NOT_FOUND,
                "validator_unavailable",
                error.to_string(),
            ),
            ValidatorError::NoComponent => Self::new(
                StatusCode::NOT_FOUND,
                "validator_unavailable",
                "the component of this task is not kept on this host",
            ),
            ValidatorError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "too many validators are being made; try again later",
            )
            .header(header::RETRY_AFTER, HeaderValue::from_static("1")),
            ValidatorError::Host(fault) => Self::internal(fault),
        }
    }
}

/// An OpenAPI 3.1 document of this task alone.
#[utoipa::path(get, path = "/api/v1/tasks/{task}/openapi.json", tag = "tasks",
    params(("task" = String, Path)),
    responses(
        (status = 200, description = "The document.", body = serde_json::Value),
        NotFound, Failures,
    ))]
pub(super) async fn get_task_openapi(
    _: Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Value>, Problem> {
    let (_, listing) = find_task(&app, &name)?;
    Ok(Json(openapi::task_document(&listing.definition)))
}
