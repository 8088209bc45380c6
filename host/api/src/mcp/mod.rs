//! The tasks as tools for agents: Model Context Protocol over streamable HTTP at `/mcp`.
//!
//! - [`handler`]: what is offered and how it is answered.
//! - [`tools`]: a task as a tool, and a few tools of the host's own.
//! - [`call`]: one call of a task: from its arguments to its result, with progress on the way.
//! - [`resources`]: what can be read: what tasks say of themselves, and what executions made.
//! - [`sessions`]: whose session is whose.
//! - [`changes`]: when the list of tools has become another one.
//!
//! The protocol itself is the official SDK's, for all revisions it knows: those with `initialize`
//! and sessions, and the one without. This module decides who may speak, and does nothing that
//! the HTTP interface cannot do: a call goes through the same intake and dispatcher.
//!
//! Invariants:
//! - Every HTTP request carries a credential; each message acts for the principal of the request
//!   it came in, and a session answers only the principal who opened it.
//! - Requests from pages of other sites are refused, whatever credential they carry.

mod call;
mod changes;
mod handler;
mod resources;
mod sessions;
mod tools;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use http_body_util::BodyExt;
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};

use self::{changes::ToolChanges, handler::McpHandler, sessions::Sessions};
use crate::{
    Problem,
    app::App,
    auth::{Caller, has_own_origin},
};

const PATH: &str = "/mcp";
const SESSION_ID: &str = "mcp-session-id";
/// A message: inline files are text in it, others are uploaded first.
const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// A session that is silent for so long is closed; clients open another one.
const SESSION_IDLE_MAX: Duration = Duration::from_secs(30 * 60);
/// An answer that takes its time stays open through proxies by a comment every so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Service = StreamableHttpService<McpHandler, LocalSessionManager>;

/// What the route needs.
#[derive(Clone)]
struct Mcp {
    service: Service,
    manager: Arc<LocalSessionManager>,
    sessions: Arc<Sessions>,
}

pub(crate) fn routes(app: &App) -> Router<App> {
    let mut manager = LocalSessionManager::default();
    manager.session_config.keep_alive = Some(SESSION_IDLE_MAX);
    let manager = Arc::new(manager);
    let config = StreamableHttpServerConfig::default()
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_max_request_body_bytes(MESSAGE_BYTES_MAX)
        .with_cancellation_token(app.services().stop.child_token())
        // Which names this host has is not known here; pages of others are refused below.
        .disable_allowed_hosts()
        .disable_allowed_origins();
    let changes = ToolChanges::new(app);
    let handler = {
        let app = app.clone();
        move || Ok(McpHandler::new(app.clone(), changes.clone()))
    };
    let mcp = Mcp {
        service: StreamableHttpService::new(handler, Arc::clone(&manager), config),
        manager,
        sessions: Arc::new(Sessions::default()),
    };
    Router::new().route(
        PATH,
        any(move |caller: Caller, state: State<App>, request: Request| {
            serve(mcp.clone(), caller, state, request)
        }),
    )
}

async fn serve(
    mcp: Mcp,
    Caller(caller): Caller,
    _: State<App>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    if parts.headers.contains_key(header::ORIGIN) && !has_own_origin(&parts) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "origin_not_allowed",
            "agents and this host's own pages only",
        ));
    }
    let session = session_id(&parts.headers);
    let mut in_use = match &session {
        Some(id) => Some(
            mcp.sessions
                .enter(id, &caller)
                .ok_or_else(|| Problem::not_found("session"))?,
        ),
        None => None,
    };
    let method = parts.method.clone();
    parts.extensions.insert(caller);
    let request = Request::from_parts(parts, body);
    let response = mcp.service.handle(request).await;
    if session.is_none()
        && let Some(opened) = session_id(response.headers())
    {
        let opened = mcp.sessions.open(&mcp.manager, &opened, caller).await?;
        in_use = Some(opened);
    }
    if let Some(id) = session
        && method == Method::DELETE
        && response.status().is_success()
    {
        mcp.sessions.close(&id);
    }
    // Streams take their time: a session is in use until its answer has been sent, or given up.
    let response = response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _until_here = &in_use;
            frame
        }))
    });
    Ok(response.into_response())
}

fn session_id(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(SESSION_ID)?.to_str().ok()?.to_owned())
}
