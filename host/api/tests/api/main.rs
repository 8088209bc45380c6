//! The HTTP interface over an in-memory store and stand-ins for guests and engines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod access;
mod documents;
mod errors;
mod executions;
mod files;
mod login;
mod mcp;
mod oci;
mod openapi;
mod plugins;
mod socket;
mod support;
mod tasks;
