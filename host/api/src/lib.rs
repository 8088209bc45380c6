//! HTTP routes, WebSocket and OpenAPI document.
//!
//! - [`router`] makes the whole interface out of [`Services`], the things it speaks for.
//! - [`ports`]: what it asks of the crates below, as traits, so that it can be tested without
//!   guests and engines.
//! - `mcp`: the same tasks as tools for agents (Model Context Protocol).
//! - [`Problem`]: every error a client sees (RFC 9457).
//! - [`documents`]: what a client sees of stored records; the command line gives the same ones.
//!
//! Invariants:
//! - No route is open without a credential but `/health`, `/ready` and the sign-in page: every
//!   other handler, the fallbacks among them, takes an `auth::Caller`, and a test asks all of them.
//! - Lower layers do not know status codes; they are chosen in `problem.rs` only.
//! - The store is the one source of events: the WebSocket reads what was committed and invents
//!   nothing. A slow client costs itself its history, and nobody else anything.
//! - This crate does not know what tasks or files are about; collections are looked up by name.

mod app;
mod auth;
mod content;
pub mod documents;
mod extract;
mod log_text;
mod mcp;
mod metrics;
mod observe;
mod openapi;
pub mod ports;
mod problem;
mod routes;
mod socket;
mod tickets;

pub use self::{
    app::{ApiConfig, Services},
    metrics::{MetricSample, MetricsSource, NoMetrics},
    openapi::document as openapi_document,
    problem::Problem,
    routes::router,
};
