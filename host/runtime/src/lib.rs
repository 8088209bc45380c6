//! Hosts WASM components.
//!
//! - [`Runtime`]: one wasmtime engine for the process, its limits and its compile cache.
//! - [`Plugin`]: a loaded component with the facets it exports (tasks, formats).
//! - [`Catalog`]: which plugin answers for which task, format and collection.
//! - [`GuestFailure`]: the three kinds of failure, kept apart: the guest says no, the guest
//!   breaks, the host breaks.
//!
//! Invariants:
//! - Every call has limits of its own and runs on a bounded pool of blocking threads, never on a
//!   tokio worker, on a fresh instance; but checks of a request may use one again, for the same
//!   organisation, where a plugin starts slowly. An instance that failed is never used again.
//! - A guest sees no environment, no arguments, no real clock and no real chance: the random source
//!   is seeded from the request, so an answer can be repeated. Computing may talk to hosts that its
//!   package was granted by name; nothing else may.
//! - This crate does not know what tasks do.

mod cache;
mod call;
mod catalog;
mod compute;
mod directories;
mod disk;
mod drive;
mod engine;
mod failure;
mod format;
mod health;
mod http;
mod limits;
mod lines;
mod pipe;
mod place;
mod plan;
mod plugin;
mod schema;
mod session;
mod state;
mod validate;
mod warm;

pub use self::{
    call::CallGrants,
    catalog::{Catalog, CatalogError, FormatEntry, Provenance, Resident, Sniffed, TaskEntry},
    compute::ProgressSink,
    directories::{RunDirectories, refuse_links},
    drive::{PlanCall, PlanDriver, PlanEnd, PlanInvalid},
    engine::{Runtime, RuntimeConfig, RuntimeError, compile_component},
    failure::{GuestBreak, GuestFailure, TrapKind},
    format::{FileFault, Inspected, Record, RecordBatch},
    health::{BreakWatch, HealthReading},
    http::{HttpConfig, HttpHost, HttpHosts, HttpLimits, HttpNetwork, NetworkFuture},
    limits::{CallLimits, LimitClasses},
    lines::GuestLine,
    place::SourcePlace,
    plan::{Monitor, MonitorFeed, MonitorSignal},
    plugin::{COMPONENT_BYTES_MAX, LoadError, Plugin, PluginFacets},
    schema::ParameterSchema,
    session::{ComputeSession, Finished},
    validate::Validated,
};
