//! Ids, definitions, states and limits of Bindery: pure, without IO.
//!
//! Every other host crate speaks in these types. They are neither stored nor sent as they are:
//! stored records live in `bindery-datastore`, request and response bodies in
//! `bindery-api-types`, and the guest's view in `bindery-bindings`.
//!
//! Invariant: this crate knows no chemistry, no geography, no database and no HTTP.

pub mod columns;
pub mod definition;
pub mod digest;
pub mod execution;
pub mod ids;
pub mod limits;
pub mod request;
pub mod result;
pub mod schema_words;
pub mod step;
pub mod usage;

pub use self::{
    columns::{Batch, Column, ColumnData, SessionProfile},
    definition::{Collection, TaskDefinition, TaskRef},
    digest::Digest,
    execution::{AttemptEnding, ExecutionStatus},
    ids::{ArtifactId, ExecutionId, FileId, JobId, OrgId, TokenId},
    request::{Estimate, InputFile, Item, Notice, Request, Severity, Violation},
    result::{Artifact, GuestError, ItemOutcome, ItemResult, Metric, View},
    usage::{CostReceipt, Usage},
};
