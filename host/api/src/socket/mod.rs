//! The WebSocket: events as they happen, resumed without a gap after a dropped connection.
//!
//! One [`Hub`] reads new events from the store, once for all, and puts them into the mailboxes of
//! those who watch one of their topics. Each connection is one tokio task: it writes what is in
//! its mailbox, and replays history from the store itself.
//!
//! Vocabulary: a *seq* numbers the events of an organisation; the hub's *position* is the seq up
//! to which it has handed events out; a topic's *coverage* says after which seq a connection is
//! told everything of it.
//!
//! Invariants:
//! - Topics are registered and the position is read under one lock, so history up to it and live
//!   events after it leave no gap and overlap nowhere.
//! - The hub never waits for a connection. A mailbox is bounded; when it is full, progress is
//!   merged; when that does not help, it is emptied, and the connection catches up from the store,
//!   or, when that is too much, tells its client the state in place of events (`resync`).
//! - An event is sent to a connection at most once, under the first of its topics that the
//!   connection watches, and in the order of seqs within each subscription.

mod connection;
mod event;
mod history;
mod hub;
mod mailbox;
mod snapshot;
mod topic;

use axum::{
    Json,
    extract::{State, WebSocketUpgrade, ws::rejection::WebSocketUpgradeRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_api_types::Ticket;

pub(crate) use self::hub::Hub;
use crate::{
    Problem,
    app::App,
    auth::{Caller, SocketCaller},
    openapi::Failures,
    tickets,
};

/// Largest frame taken from a client: 256 topics fit in a quarter of it.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// Of the socket: with 10,000 clients every KiB counts, and frames are small.
const BUFFER_BYTES: usize = 4 << 10;

/// Gives a ticket for one WebSocket.
///
/// For browsers, which cannot give a WebSocket a header: open `/api/v1/ws?ticket=TICKET` with it.
#[utoipa::path(post, path = "/api/v1/ws/ticket", tag = "events",
    responses((status = 200, description = "Good once, for 30 seconds.", body = Ticket), Failures))]
pub(crate) async fn issue_ticket(
    Caller(caller): Caller,
    State(app): State<App>,
) -> Result<Json<Ticket>, Problem> {
    let ticket = app.tickets.issue(caller)?;
    Ok(Json(Ticket {
        ticket,
        expires_in_seconds: tickets::LIFETIME.as_secs(),
    }))
}

/// Opens a WebSocket.
///
/// Text frames, one JSON document each: `ClientFrame` from the client, `ServerFrame` from the
/// server. Besides the header, a token may stand in the subprotocol `bearer.TOKEN`; offer
/// `bindery.v1` with it, and that is what the server answers with.
#[utoipa::path(get, path = "/api/v1/ws", tag = "events",
    params(("ticket" = Option<String>, Query, description = "In place of a token.")),
    responses(
        (status = 101, description = "The WebSocket is open."),
        (status = 426, description = "The request does not ask for a WebSocket.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        Failures,
    ))]
pub(crate) async fn open_socket(
    caller: SocketCaller,
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(
            StatusCode::UPGRADE_REQUIRED,
            "websocket_expected",
            rejection.body_text(),
        )
        .header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    let Some(subscriber) = Hub::connect(&app.hub, caller.principal.org) else {
        let detail = "too many WebSockets are open";
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too_many_connections",
            detail,
        ));
    };
    let mut upgrade = upgrade
        .max_frame_size(FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    if let Some(protocol) = caller.protocol {
        upgrade.set_selected_protocol(protocol);
    }
    let principal = caller.principal;
    let response = upgrade
        .on_upgrade(move |socket| connection::run(socket, app, principal, subscriber))
        .into_response();
    Ok(response)
}
