//! Request and response bodies of the HTTP API.
//!
//! What is on the wire and nothing else: these types are neither stored nor reasoned with. Fields
//! may be added, never renamed, since clients in other languages are generated from them.
//!
//! Conventions: times are RFC 3339 in UTC; sizes are in bytes, unless the name says otherwise;
//! ids are opaque; an absent field and `null` mean the same in requests.

mod common;
mod execution;
mod file;
mod job;
mod plugin;
mod socket;
mod system;
mod task;

pub use self::{
    common::{FileProblem, Notice, Problem, Violation},
    execution::{
        Artifact, ArtifactList, Attempt, Cancellation, EngineUsed, Event, EventPage, Execution,
        ExecutionPage, ExecutionStatusDocument, ExecutionSummary, Failure, InputFile, Receipt,
        Results, Sandbox, Usage,
    },
    file::{CollectionItem, CollectionPage, FileInfo, FilePage, Inspection, Upload},
    job::{Job, JobPage, JobResults, JobStatusDocument, JobSummary},
    plugin::{
        CasesReport, CompileReport, PermissionSheet, Plugin, PluginDetail, PluginEvent,
        PluginHealth, PluginList, PluginTask, PluginVersion, PublishReport, PublishedPlugin,
        ReplayDifference, ReplayReport,
    },
    socket::{ClientFrame, ServerFrame, Ticket},
    system::{EngineInfo, EngineList, Health, Login, Readiness, ReadinessCheck, SessionInfo},
    task::{
        Cache, Citation, EngineRequirement, Estimate, ExecuteRequest, Executed, InputRef,
        InputSlot, OutputArtifact, Outputs, Resources, Task, TaskExample, TaskList, TaskSummary,
        ValidateRequest, Validated,
    },
};
