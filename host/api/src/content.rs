//! Serving bytes: ranges, conditions, names.

use std::{fmt::Write, io, ops::Range};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_blobs::{Blobs, ReadError};
use bindery_core::Digest;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::Problem;

/// A stored file on its way to a client.
#[derive(Debug, Clone)]
pub(crate) struct Download<'a> {
    pub(crate) digest: &'a str,
    pub(crate) media_type: &'a str,
    /// Untrusted.
    pub(crate) file_name: &'a str,
    pub(crate) size_bytes: u64,
}

/// Which bytes of something with a length are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    Part(Range<u64>),
    /// Nothing of it is there.
    Beyond,
}

/// Serves a blob as a download: never rendered by a browser, whatever it is.
pub(crate) async fn serve_blob(
    blobs: &Blobs,
    headers: &HeaderMap,
    download: Download<'_>,
) -> Result<Response, Problem> {
    let digest: Digest = download
        .digest
        .parse()
        .map_err(|error| Problem::internal(format!("digest of a stored file: {error}")))?;
    let tag = HeaderValue::from_str(&format!("\"{digest}\""))
        .map_err(|error| Problem::internal(error.to_string()))?;
    if is_known(headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let wanted = wanted(headers, download.size_bytes, Some(&tag));
    let (status, range) = match &wanted {
        Wanted::All => (StatusCode::OK, None),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range.clone())),
        Wanted::Beyond => return Err(unsatisfiable(download.size_bytes)),
    };
    let reader = blobs
        .get(&digest, range.clone())
        .await
        .map_err(|error| match error {
            ReadError::NotFound { .. } => Problem::new(
                StatusCode::GONE,
                "content_gone",
                "the content is no longer kept",
            ),
            ReadError::RangeNotSatisfiable { size_bytes, .. } => unsatisfiable(size_bytes),
            other => Problem::internal(other.to_string()),
        })?;
    let size_bytes = reader.size_bytes();
    let mut response = partial(status, range.as_ref(), size_bytes, reader.into_stream());
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    headers.insert(header::CONTENT_TYPE, safe_media_type(download.media_type));
    headers.insert(header::CONTENT_DISPOSITION, attachment(download.file_name));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    Ok(response)
}

/// An answer with some bytes of something.
pub(crate) fn partial<S, E>(
    status: StatusCode,
    range: Option<&Range<u64>>,
    size_bytes: u64,
    content: S,
) -> Response
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let length = range.map_or(size_bytes, |range| range.end - range.start);
    // An error half-way breaks the connection: the client sees that it has not got all.
    let content = content.map(|chunk| chunk.map_err(io::Error::other));
    let mut response = (status, Body::from_stream(content)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(range) = range
        && let Ok(value) = HeaderValue::from_str(&format!(
            "bytes {}-{}/{size_bytes}",
            range.start,
            range.end.saturating_sub(1)
        ))
    {
        headers.insert(header::CONTENT_RANGE, value);
    }
    response
}

pub(crate) fn unsatisfiable(size_bytes: u64) -> Problem {
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        format!("the content has {size_bytes} bytes"),
    );
    match HeaderValue::from_str(&format!("bytes */{size_bytes}")) {
        Ok(value) => problem.header(header::CONTENT_RANGE, value),
        Err(_) => problem,
    }
}

fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let Some(known) = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    known.trim() == "*"
        || known
            .split(',')
            .any(|one| one.trim().trim_start_matches("W/").as_bytes() == tag.as_bytes())
}

/// What a `Range` header asks for. Several ranges, other units and malformed ones are answered
/// with everything, as RFC 9110, section 14.2, allows.
pub(crate) fn wanted(headers: &HeaderMap, size_bytes: u64, tag: Option<&HeaderValue>) -> Wanted {
    if let Some(condition) = headers.get(header::IF_RANGE)
        && tag != Some(condition)
    {
        return Wanted::All;
    }
    let Some(spec) = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.trim().strip_prefix("bytes="))
    else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::All;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Numbers too large to read are beyond every end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (digits(first), digits(last)) {
        (true, true) => {
            let (first, last) = (number(first), number(last));
            if first > last {
                return Wanted::All;
            }
            part(first..last.saturating_add(1), size_bytes)
        }
        (true, false) if last.is_empty() => part(number(first)..u64::MAX, size_bytes),
        (false, true) if first.is_empty() => {
            let length = number(last).min(size_bytes);
            part(size_bytes - length..size_bytes, size_bytes)
        }
        _ => Wanted::All,
    }
}

fn part(range: Range<u64>, size_bytes: u64) -> Wanted {
    let range = range.start..range.end.min(size_bytes);
    if range.is_empty() {
        Wanted::Beyond
    } else {
        Wanted::Part(range)
    }
}

/// A plugin's or an uploader's word: taken only when it is a media type.
fn safe_media_type(text: &str) -> HeaderValue {
    text.parse::<mime::Mime>()
        .ok()
        .and_then(|media_type| HeaderValue::from_str(media_type.as_ref()).ok())
        .unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"))
}

/// RFC 6266: a plain name for old readers, the real one in UTF-8.
pub(crate) fn attachment(file_name: &str) -> HeaderValue {
    const NAME_CHARS_MAX: usize = 200;
    let name: String = file_name
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '/' | '\\') {
                '_'
            } else {
                c
            }
        })
        .take(NAME_CHARS_MAX)
        .collect();
    let name = match name.trim_start_matches('.') {
        "" => "download",
        name => name,
    };
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() && !matches!(c, '"' | '%' | ';') || c == ' ' {
                c
            } else {
                '_'
            }
        })
        .collect();
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    HeaderValue::from_str(&format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    ))
    .unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// The file name of a `Content-Disposition`, for uploads with a raw body.
pub(crate) fn disposition_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_DISPOSITION)?.to_str().ok()?;
    let parameter = |name: &str| {
        value
            .split(';')
            .filter_map(|part| part.trim().split_once('='))
            .find_map(|(key, text)| {
                key.trim()
                    .eq_ignore_ascii_case(name)
                    .then(|| text.trim().trim_matches('"').to_owned())
            })
    };
    parameter("filename*")
        .and_then(|text| {
            let (_, encoded) = text.split_once("''")?;
            percent_encoding::percent_decode_str(encoded)
                .decode_utf8()
                .ok()
                .map(Into::into)
        })
        .or_else(|| parameter("filename"))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::single_range_in_vec_init, reason = "test")]

    use super::*;

    #[test]
    fn ranges() {
        let ask = |value: &str, size: u64| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(value).unwrap());
            wanted(&headers, size, None)
        };
        assert_eq!(ask("bytes=0-9", 100), Wanted::Part(0..10));
        assert_eq!(ask("bytes=90-", 100), Wanted::Part(90..100));
        assert_eq!(ask("bytes=-5", 100), Wanted::Part(95..100));
        assert_eq!(ask("bytes=-500", 100), Wanted::Part(0..100));
        assert_eq!(ask("bytes=50-5000", 100), Wanted::Part(50..100));
        assert_eq!(
            ask("bytes=0-99999999999999999999999", 100),
            Wanted::Part(0..100)
        );
        assert_eq!(ask("bytes=100-", 100), Wanted::Beyond);
        assert_eq!(ask("bytes=99999999999999999999999-", 100), Wanted::Beyond);
        assert_eq!(ask("bytes=-0", 100), Wanted::Beyond);
        assert_eq!(ask("bytes=0-", 0), Wanted::Beyond);
        for ignored in [
            "bytes=5-1",
            "bytes=a-b",
            "bytes=",
            "bytes=-",
            "lines=1-2",
            "bytes=0-1,5-6",
            "bytes=+1-2",
        ] {
            assert_eq!(ask(ignored, 100), Wanted::All, "{ignored}");
        }
    }

    #[test]
    fn names_are_made_harmless() {
        let text = |name: &str| attachment(name).to_str().unwrap().to_owned();
        assert_eq!(
            text("a.txt"),
            "attachment; filename=\"a.txt\"; filename*=UTF-8''a.txt"
        );
        assert_eq!(
            text("../é\"\n.txt"),
            "attachment; filename=\"____.txt\"; filename*=UTF-8''_%C3%A9%22_.txt"
        );
        assert_eq!(
            text(""),
            "attachment; filename=\"download\"; filename*=UTF-8''download"
        );
        assert!(text(&"x".repeat(10_000)).len() < 500);
    }

    #[test]
    fn names_of_raw_uploads() {
        let name = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::CONTENT_DISPOSITION,
                HeaderValue::from_str(value).unwrap(),
            );
            disposition_name(&headers)
        };
        assert_eq!(
            name("attachment; filename=\"a b.txt\""),
            Some("a b.txt".into())
        );
        assert_eq!(
            name("attachment; filename=x; filename*=UTF-8''%C3%A9.txt"),
            Some("é.txt".into())
        );
        assert_eq!(name("inline"), None);
    }
}
