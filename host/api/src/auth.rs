//! Who is calling: the one place that decides.
//!
//! A credential is a token in the `Authorization` header or the session cookie that signing in
//! with a token gives. A browser sends cookies by itself, so with one, whatever changes something
//! must come from our own pages. Handlers take a [`Caller`]; the WebSocket, which browsers cannot
//! give a header, takes a [`SocketCaller`].

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bindery_identity::Principal;

use crate::{Problem, app::App};

/// Name of the session cookie.
pub(crate) const COOKIE: &str = "bindery_session";
/// Before a token in a WebSocket subprotocol.
const BEARER_PROTOCOL: &str = "bearer.";
/// Subprotocol of the frames: a client that offers it gets it, and its token is not echoed.
pub(crate) const FRAMES_PROTOCOL: &str = "bindery.v1";

/// The principal of a request; 401 without one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller(pub(crate) Principal);

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        if let Some(token) = bearer(&parts.headers) {
            return by_token(app, token).map(Self);
        }
        let principal = by_cookie(app, &parts.headers)?;
        let safe = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !safe && !is_same_site(parts) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "cross_site",
                "with a session, changes are taken from this host's own pages only",
            ));
        }
        Ok(Self(principal))
    }
}

/// The principal of a WebSocket, and the subprotocol to answer with.
#[derive(Debug, Clone)]
pub(crate) struct SocketCaller {
    pub(crate) principal: Principal,
    pub(crate) protocol: Option<HeaderValue>,
}

impl FromRequestParts<App> for SocketCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let offered = offered_protocols(&parts.headers);
        let frames = offered
            .iter()
            .find(|name| **name == FRAMES_PROTOCOL)
            .copied();
        let token = offered
            .iter()
            .find(|name| name.starts_with(BEARER_PROTOCOL))
            .copied();
        let principal = if let Some(token) = bearer(&parts.headers) {
            by_token(app, token)?
        } else if let Some(token) = token.and_then(|name| name.strip_prefix(BEARER_PROTOCOL)) {
            by_token(app, token)?
        } else if let Some(ticket) = ticket(parts) {
            app.tickets
                .redeem(ticket)
                .ok_or_else(Problem::unauthorized)?
        } else {
            by_cookie(app, &parts.headers)?
        };
        // Browsers always say where a page is from, and let any page open a WebSocket.
        if parts.headers.contains_key(header::ORIGIN) && !has_own_origin(parts) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "WebSockets are taken from this host's own pages only",
            ));
        }
        // A browser gives up when what it offered is not answered with one of its names.
        let protocol = frames
            .or(token)
            .and_then(|name| HeaderValue::from_str(name).ok());
        Ok(Self {
            principal,
            protocol,
        })
    }
}

/// The principal of a request from a client of registries: a token as a bearer, or as the password
/// of whatever user, which is all that such clients can send. No cookies.
pub(crate) fn by_bearer_or_basic(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    match basic_password(headers) {
        Some(token) => by_token(app, &token),
        None => by_token(app, bearer(headers).ok_or_else(Problem::unauthorized)?),
    }
}

/// The password of an `Authorization: Basic` header.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

fn by_token(app: &App, token: &str) -> Result<Principal, Problem> {
    app.services()
        .identity
        .authenticate(token)?
        .ok_or_else(Problem::unauthorized)
}

fn by_cookie(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let session = session(headers).ok_or_else(Problem::unauthorized)?;
    app.services()
        .identity
        .authenticate_session(session)?
        .ok_or_else(Problem::unauthorized)
}

/// The token of an `Authorization: Bearer` header; another scheme is a token that is not good.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .unwrap_or_default();
    Some(match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    })
}

/// The text of the session cookie.
pub(crate) fn session(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

fn offered_protocols(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect()
}

fn ticket(parts: &Parts) -> Option<&str> {
    parts
        .uri
        .query()?
        .split('&')
        .find_map(|pair| pair.strip_prefix("ticket="))
}

/// Whether a request that a browser sent comes from one of our pages.
pub(crate) fn is_same_site(parts: &Parts) -> bool {
    match parts
        .headers
        .get("sec-fetch-site")
        .map(HeaderValue::as_bytes)
    {
        Some(site) => site == b"same-origin" || site == b"none",
        None => has_own_origin(parts),
    }
}

pub(crate) fn has_own_origin(parts: &Parts) -> bool {
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| {
            parts
                .uri
                .authority()
                .map(axum::http::uri::Authority::as_str)
        });
    let origin = parts
        .headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    match (origin.and_then(|origin| origin.split_once("://")), host) {
        (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}
