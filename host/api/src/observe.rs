//! Around every request: an id, a span, a count, a wall against panics, headers of every answer.

use std::{any::Any, panic::AssertUnwindSafe, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use tracing::Instrument;

use crate::{Problem, app::App};

/// Of requests and answers; a client's own is kept when it is plain.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id taken from a client: a UUID fits, a log line does not.
const REQUEST_ID_BYTES_MAX: usize = 64;

pub(crate) async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, route);
    let answer = async {
        let guarded = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = guarded.unwrap_or_else(|panic| {
            Problem::internal(format!("a handler panicked: {}", message(&*panic))).into_response()
        });
        tracing::debug!(status = response.status().as_u16(), took = ?begun.elapsed(), "answered");
        response
    };
    let mut response = answer.instrument(span).await;
    app.http.count(
        method.as_str(),
        &route,
        response.status().as_u16(),
        begun.elapsed(),
    );
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        // What a page may do, unless its handler says otherwise: nothing.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len())
            && value
                .as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    };
    headers
        .get(REQUEST_ID)
        .filter(plain)
        .cloned()
        .unwrap_or_else(|| {
            let mut bytes = [0; 8];
            // Without random bytes ids repeat, which only makes logs harder to read.
            let _ = getrandom::fill(&mut bytes);
            HeaderValue::from_str(&hex::encode(bytes))
                .unwrap_or_else(|_| HeaderValue::from_static("none"))
        })
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
