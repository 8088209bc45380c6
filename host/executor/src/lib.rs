//! Takes requests in and makes attempts at them.
//!
//! - [`Library`]: uploaded files: content in blobs, records in the store, read by format plugins.
//! - [`Intake`]: checks a request against its task and its files, before it may be queued.
//! - [`HostExecutor`]: makes one attempt: the guest plans, engines work, the guest parses.
//! - [`LogDirectory`]: what executions print, readable while they run.
//!
//! This crate joins the runtime, the engines and the blobs; what it joins them for is the
//! plugins' business.

mod attempt;
mod intake;
mod library;
mod logs;
mod progress;
mod recent;
mod result;
mod staging;

pub use self::{
    attempt::{ExecutorConfig, HostExecutor, PinnedPlugins},
    intake::{Checked, Draft, Intake, IntakeError, Mode},
    library::{FaultRecord, FileRecord, IngestError, InspectionRecord, Library},
    logs::LogDirectory,
    recent::{PastRequest, past_requests},
};
