//! Reading requests: bodies, ids, pages. Every fault becomes a problem document.

use std::{str::FromStr, time::Duration};

use axum::{
    body::{Body, HttpBody},
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
};
use bindery_core::Violation;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use utoipa::IntoParams;

use crate::Problem;

/// A JSON body: twice what the parameters may have, which leaves room for inputs and labels.
pub(crate) const JSON_BYTES_MAX: usize = 2 << 20;
/// Time in which a JSON body must be there: 2 MiB at 70 kB/s.
const JSON_WAIT_MAX: Duration = Duration::from_secs(30);

const PAGE_ITEMS_DEFAULT: usize = 50;
const PAGE_ITEMS_MAX: usize = 200;

/// A JSON body of a known shape.
#[derive(Debug)]
pub(crate) struct ApiJson<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for ApiJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be `application/json`",
            ));
        }
        let bytes = read_body(request.into_body()).await?;
        parse_json(&bytes).map(Self)
    }
}

/// All of a small body, in time.
pub(crate) async fn read_body(body: Body) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("the body is larger than {JSON_BYTES_MAX} bytes"),
        )
    };
    if body.size_hint().lower() > JSON_BYTES_MAX as u64 {
        return Err(too_large());
    }
    let collected = Limited::new(body, JSON_BYTES_MAX).collect();
    match tokio::time::timeout(JSON_WAIT_MAX, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "body_broken",
            format!("the body could not be read to its end: {error}"),
        )),
        Err(_) => Err(timed_out()),
    }
}

pub(crate) fn timed_out() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "timed_out",
        "the body did not come in time",
    )
}

/// 400 when it is no JSON, 422 with the place when it is JSON of another shape.
fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Before the shape is looked at, so that a cut-off document is not blamed for its fields.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| malformed(&error))?;
    // serde takes an array for a struct as well, field by field.
    if bytes
        .iter()
        .find(|byte| !byte.is_ascii_whitespace())
        .is_some_and(|first| *first != b'{')
    {
        let violation = Violation::new("", "wrong_type", "the body is not a JSON object");
        return Err(Problem::invalid(vec![violation]));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let cause = error.inner();
        if cause.is_data() {
            let violation = Violation::new(pointer(error.path()), "invalid", cause.to_string());
            Problem::invalid(vec![violation])
        } else {
            malformed(cause)
        }
    })
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "malformed_json",
        format!("the body is not JSON: {error}"),
    )
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;

    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            Segment::Seq { index } => pointer.push_str(&index.to_string()),
            Segment::Map { key } => pointer.push_str(&escape(key)),
            Segment::Enum { variant } => pointer.push_str(&escape(variant)),
            Segment::Unknown => pointer.push('?'),
        }
    }
    pointer
}

/// RFC 6901.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media_type| {
        media_type.type_() == mime::APPLICATION
            && (media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON))
    })
}

/// Of the `Content-Type`; none when it is absent or not one.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<mime::Mime> {
    headers
        .get(header::CONTENT_TYPE)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Path parameters. One that cannot be read names nothing.
#[derive(Debug)]
pub(crate) struct ApiPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for ApiPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::from_request_parts(parts, state)
            .await
            .map(|Path(value)| Self(value))
            .map_err(|_| Problem::not_found("thing"))
    }
}

/// Query parameters.
#[derive(Debug)]
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|rejection| {
                let violation = Violation::new("/query", "invalid", rejection.body_text());
                Problem::violating(StatusCode::BAD_REQUEST, "invalid_query", vec![violation])
            })
    }
}

/// Text that is no id of the wanted kind names nothing.
pub(crate) fn parse_id<T: FromStr>(text: &str, what: &'static str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// Which page of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items of a page; 50 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        let Some(limit) = &self.limit else {
            return Ok(PAGE_ITEMS_DEFAULT);
        };
        match limit.parse() {
            Ok(limit) if (1..=PAGE_ITEMS_MAX).contains(&limit) => Ok(limit),
            _ => Err(Problem::query(
                "limit",
                "out_of_range",
                format!("limit must be a whole number from 1 to {PAGE_ITEMS_MAX}"),
            )),
        }
    }

    /// What the page before ended with.
    pub(crate) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else {
            return Ok(None);
        };
        cursor
            .parse()
            .map(Some)
            .map_err(|_| Problem::query("cursor", "invalid", "the cursor is not one of this list"))
    }
}

/// A query parameter that is a number.
pub(crate) fn query_number(name: &str, text: Option<&str>) -> Result<Option<u64>, Problem> {
    text.map(|text| {
        text.parse().map_err(|_| {
            Problem::query(name, "wrong_type", format!("{name} is not a whole number"))
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use bindery_api_types::ExecuteRequest;

    use super::*;

    #[test]
    fn a_fault_in_a_body_names_its_place() {
        let fault = |text: &str| {
            parse_json::<ExecuteRequest>(text.as_bytes())
                .unwrap_err()
                .document()
        };
        assert_eq!(fault("{").code, "malformed_json");
        assert_eq!(fault("{} x").code, "malformed_json");
        assert_eq!(fault("").code, "malformed_json");
        let wrong = fault(r#"{"inputs": {"a/b": 3}}"#);
        assert_eq!(
            (wrong.status, wrong.violations[0].pointer.as_str()),
            (422, "/inputs/a~1b")
        );
        assert_eq!(fault(r#"{"params": {}}"#).violations[0].pointer, "/params");
        assert_eq!(
            fault(r#"{"priority": 300}"#).violations[0].pointer,
            "/priority"
        );
        assert_eq!(fault("[]").status, 422);
    }
}
