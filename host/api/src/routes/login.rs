//! Signing in with a browser: a token once, a session cookie from then on.
//!
//! The page needs no script, so that nothing on it can be made to run.

use std::time::Duration;

use axum::{
    Form, Json, Router,
    extract::{FromRequest, FromRequestParts, Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use bindery_api_types::{Login, SessionInfo};
use bindery_identity::{Principal, SESSION_LIFETIME};
use serde::Deserialize;

use crate::{
    Problem,
    app::App,
    auth::{COOKIE, Caller, is_same_site, session},
    extract::{ApiJson, is_json, timed_out},
    openapi::{BadBody, Failures, Unauthorized},
};

/// Where a browser goes after signing in, when it does not say.
const HOME: &str = "/api/docs";
/// A form with a token is sent at once.
const FORM_WAIT_MAX: Duration = Duration::from_secs(10);
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:15vh auto;\
padding:0 1rem;color:#1d2733;background:#f7f8fa}label{display:block;margin:1rem 0 .25rem}\
input{width:100%;box-sizing:border-box;padding:.5rem;font:inherit}button{margin-top:1rem;\
padding:.5rem 1.5rem;font:inherit}.fault{color:#b00020}";
/// Only the page's own style, and only a form to this host.
const PAGE_POLICY: &str = "default-src 'none'; \
style-src 'sha256-p6gcvBjGpkORU4MN7d51BcKKLquONFopraXrBQJ5j+E='; \
form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Pages for people: not part of the API.
pub(super) fn pages() -> Router<App> {
    Router::new().route("/login", get(show_login))
}

#[derive(Debug, Deserialize)]
struct Next {
    next: Option<String>,
}

async fn show_login(Query(query): Query<Next>) -> Response {
    sign_in_page(StatusCode::OK, query.next.as_deref().unwrap_or(HOME), None)
}

/// The sign-in page, as an answer in place of another page.
pub(super) fn sign_in_page(status: StatusCode, next: &str, fault: Option<&str>) -> Response {
    let next = escape_html(own_path(next));
    let fault = fault
        .map(|fault| {
            format!(
                "<p class=\"fault\" role=\"alert\">{}</p>",
                escape_html(fault)
            )
        })
        .unwrap_or_default();
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Bindery: sign in</title>\
         <style>{STYLE}</style></head><body><main><h1>Bindery</h1>{fault}\
         <form method=\"post\" action=\"/api/v1/auth/login\">\
         <input type=\"hidden\" name=\"next\" value=\"{next}\">\
         <label for=\"token\">API token</label>\
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" \
         required autofocus><button>Sign in</button></form></main></body></html>"
    );
    let policy = HeaderValue::from_static(PAGE_POLICY);
    (
        status,
        [(header::CONTENT_SECURITY_POLICY, policy)],
        Html(page),
    )
        .into_response()
}

/// Opens a session for a browser.
///
/// The body is JSON, or the form of the sign-in page, which is then sent on to `next`.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", security(()), request_body = Login,
    responses(
        (status = 200, description = "Signed in; the cookie is set.", body = SessionInfo,
            headers(("set-cookie" = String, description = "The session, HttpOnly."))),
        (status = 303, description = "Signed in by form."),
        (status = 403, description = "The form is another site's.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        BadBody, Unauthorized, Failures,
    ))]
pub(super) async fn log_in(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    // Signing somebody in as somebody else is an attack too.
    let from_browser =
        parts.headers.contains_key(header::ORIGIN) || parts.headers.contains_key("sec-fetch-site");
    if from_browser && !is_same_site(&parts) {
        let detail = "sign in on this host's own page";
        return Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail));
    }
    let json = is_json(&parts.headers);
    let secure = parts
        .headers
        .get(header::ORIGIN)
        .is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    let request = Request::from_parts(parts, body);
    let login = if json {
        ApiJson::<Login>::from_request(request, &app).await?.0
    } else {
        let form = Form::<Login>::from_request(request, &app);
        let form = tokio::time::timeout(FORM_WAIT_MAX, form)
            .await
            .map_err(|_| timed_out())?;
        let Form(login) = form.map_err(|_| {
            Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "the body must be `application/json` with a `token`, or the form of the page",
            )
        })?;
        login
    };
    let next = login.next.as_deref().unwrap_or(HOME);
    let Some(principal) = app.services().identity.authenticate(login.token.trim())? else {
        return if json {
            Err(Problem::unauthorized())
        } else {
            Ok(sign_in_page(
                StatusCode::UNAUTHORIZED,
                next,
                Some("This token is not valid."),
            ))
        };
    };
    let session = app.services().identity.open_session(&principal).await?;
    let cookie = cookie(session.expose(), SESSION_LIFETIME, secure)?;
    let mut response = if json {
        Json(session_info(&principal, Some(SESSION_LIFETIME))).into_response()
    } else {
        (
            StatusCode::SEE_OTHER,
            [(header::LOCATION, own_path(next).to_owned())],
        )
            .into_response()
    };
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Ends the session of a browser.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth",
    responses((status = 204, description = "Signed out."), Failures))]
pub(super) async fn log_out(
    _: Caller,
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(session) = session(&headers) {
        app.services().identity.close_session(session).await?;
    }
    let gone = cookie("", Duration::ZERO, false)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// Who is calling.
#[utoipa::path(get, path = "/api/v1/auth/session", tag = "auth",
    responses((status = 200, description = "You.", body = SessionInfo), Failures))]
pub(super) async fn get_session(Caller(caller): Caller) -> Json<SessionInfo> {
    Json(session_info(&caller, None))
}

fn session_info(principal: &Principal, lifetime: Option<Duration>) -> SessionInfo {
    SessionInfo {
        org: principal.org.to_string(),
        role: principal.role.as_str().to_owned(),
        expires_in_seconds: lifetime.map(|lifetime| lifetime.as_secs()),
    }
}

/// Not readable by scripts, not sent from other sites' pages; over TLS only when the page came so.
fn cookie(session: &str, lifetime: Duration, secure: bool) -> Result<HeaderValue, Problem> {
    let secure = if secure { "; Secure" } else { "" };
    let age = lifetime.as_secs();
    let text =
        format!("{COOKIE}={session}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).map_err(|error| Problem::internal(error.to_string()))
}

/// A path of this host; an address elsewhere becomes our own page.
fn own_path(next: &str) -> &str {
    let plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && next.starts_with('/') && !next.starts_with("//") {
        next
    } else {
        HOME
    }
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A page for people who are not signed in, a problem for programs.
pub(super) struct PageCaller;

impl FromRequestParts<App> for PageCaller {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        app: &App,
    ) -> Result<Self, Response> {
        match Caller::from_request_parts(parts, app).await {
            Ok(_) => Ok(Self),
            Err(problem) => {
                let wants_page = parts
                    .headers
                    .get(header::ACCEPT)
                    .and_then(|accept| accept.to_str().ok())
                    .is_some_and(|accept| accept.contains("text/html"));
                Err(
                    if wants_page && problem.status() == StatusCode::UNAUTHORIZED {
                        sign_in_page(StatusCode::UNAUTHORIZED, parts.uri.path(), None)
                    } else {
                        problem.into_response()
                    },
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn the_policy_allows_the_style_of_the_page() {
        let digest = bindery_core::Digest::of(STYLE.as_bytes());
        let hash = base64(digest.as_bytes());
        assert!(
            PAGE_POLICY.contains(&format!("'sha256-{hash}'")),
            "the style has hash {hash}"
        );
    }

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let group = chunk
                .iter()
                .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for index in 0..4 {
                let letter = LETTERS[(group >> (18 - 6 * index) & 63) as usize];
                text.push(if index <= chunk.len() {
                    char::from(letter)
                } else {
                    '='
                });
            }
        }
        text
    }

    #[test]
    fn nobody_is_sent_elsewhere() {
        assert_eq!(own_path("/api/docs?x=1"), "/api/docs?x=1");
        for elsewhere in [
            "//evil",
            "https://evil",
            "/\\evil",
            "",
            "javascript:x",
            "/a\nb",
            "evil",
        ] {
            assert_eq!(own_path(elsewhere), HOME, "{elsewhere}");
        }
    }
}
