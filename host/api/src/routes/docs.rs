//! The OpenAPI document and the pages to browse it, all from this binary.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use super::login::PageCaller;
use crate::{Problem, app::App, auth::Caller, extract::ApiPath, openapi};

const DOCUMENT_PATH: &str = "/api/openapi.json";
/// Scripts of this host only; the pages style themselves inline.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; \
style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; connect-src 'self'; \
base-uri 'self'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(DOCUMENT_PATH, get(get_document))
        .route("/api/docs", get(show_index))
        .route("/api/docs/", get(show_index))
        .route("/api/docs/{*file}", get(show_file))
}

async fn get_document(_: Caller, State(app): State<App>) -> Result<Json<Value>, Problem> {
    let collections = app.services().catalog.collections();
    openapi::document_for(&collections)
        .map(Json)
        .map_err(|error| Problem::internal(format!("OpenAPI document: {error}")))
}

async fn show_index(_: PageCaller) -> Result<Response, Problem> {
    let mut response = file("index.html")?;
    // Its links are relative to the directory, whether or not the path ends with a slash.
    if let Ok(bytes) = axum::body::to_bytes(
        std::mem::take(response.body_mut()),
        crate::extract::JSON_BYTES_MAX,
    )
    .await
    {
        let page = String::from_utf8_lossy(&bytes).replacen(
            "<head>",
            "<head><base href=\"/api/docs/\">",
            1,
        );
        *response.body_mut() = page.into();
    }
    Ok(response)
}

async fn show_file(_: PageCaller, ApiPath(path): ApiPath<String>) -> Result<Response, Problem> {
    file(&path)
}

fn file(path: &str) -> Result<Response, Problem> {
    let config = Config::from(DOCUMENT_PATH)
        .validator_url("none")
        .deep_linking(true);
    let found = utoipa_swagger_ui::serve(path, Arc::new(config))
        .map_err(|error| Problem::internal(format!("documentation page: {error}")))?
        .ok_or_else(|| Problem::not_found("page"))?;
    let media_type = HeaderValue::from_str(&found.content_type)
        .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
    let policy = HeaderValue::from_static(PAGE_POLICY);
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    Ok((headers, found.bytes.into_owned()).into_response())
}
