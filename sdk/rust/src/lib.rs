//! Write Bindery tasks and file formats in Rust.
//!
//! A task is a type with a few functions; a macro turns it into a component:
//!
//! ```
//! use bindery_sdk::prelude::*;
//!
//! struct Shout;
//!
//! impl Task for Shout {
//!     fn definition() -> TaskDefinition {
//!         TaskDefinition::new("text.shout", "1.0.0", "Shout")
//!             .summary("Turns a text into capitals")
//!             .parameters(json!({
//!                 "type": "object",
//!                 "properties": { "text": { "type": "string", "title": "Text" } },
//!                 "required": ["text"],
//!                 "additionalProperties": false
//!             }))
//!     }
//! }
//!
//! impl ComputeTask for Shout {
//!     type Session = Immediate<Self>;
//! }
//!
//! impl Compute for Shout {
//!     fn compute(request: &Request) -> Result<ItemResult, Error> {
//!         let parameters = request.parameters_as::<serde_json::Value>()?;
//!         let text = parameters["text"].as_str().unwrap_or_default();
//!         Ok(ItemResult::json(&json!({ "text": text.to_uppercase() })))
//!     }
//! }
//!
//! bindery_sdk::register_compute_tasks!(Shout);
//! ```
//!
//! - Parameters with their schema in one place: [`parameters!`].
//! - Tasks of native engines: [`EngineTask`], [`Step`].
//! - Unit tests without a server: [`testing`].
//! - Errors: a fault of the request is a [`Violation`], told by `validate` or as
//!   [`Error::InvalidInput`]; what an engine did wrong is [`Error::step`]; a panic is a broken
//!   plugin, shown with file and line.
//! - Words for the log: [`log`]; progress: [`report_progress`].
//!
//! What every name means stands in the contract, `wit/*.wit`. The guest side depends on the
//! contract alone and never on the host.

#![warn(missing_docs)]

#[doc(hidden)]
pub mod bindings;
mod compute;
mod definition;
mod engine;
mod files;
mod format;
mod parameters;
#[macro_use]
mod register;
pub mod testing;
mod types;

#[doc(hidden)]
pub use self::parameters::object_schema;
#[doc(hidden)]
pub use self::register::{definition_glue, unknown_task, unknown_task_violation};
pub use self::{
    compute::{Compute, ComputeTask, Immediate, Session, SessionProfile},
    definition::{
        Cardinality, Citation, Determinism, EngineRequirement, Estimate, Example, InputSlot,
        Normalised, OutputSlot, ResourceHints, Task, TaskDefinition,
    },
    engine::{
        Argument, Decision, EngineTask, NoMonitor, OutputFile, OutputStream, Signal, Step,
        StepEnding, StepLimits, StepMonitor, StepOutcome, StepUsage,
    },
    files::{Root, input_path, out_path, read_text_lossy, work_path},
    format::{
        Collection, Fault, FileFormat, Format, FormatDescription, Inspection, RecordEntry,
        RecordInfo, RecordStream, Sniffed,
    },
    parameters::{Choices, Field, Parameters, field},
    types::{
        Artifact, Batch, Better, Column, ColumnData, Error, InputFile, Item, ItemOutcome,
        ItemResult, Metric, Notice, Request, Severity, StepFault, View, Violation,
    },
};
#[doc(hidden)]
pub use serde;
pub use serde_json::{self, json};

/// Everything a task usually needs.
pub mod prelude {
    pub use crate::{
        Argument, Artifact, Better, Cardinality, Citation, Compute, ComputeTask, Decision,
        Determinism, EngineRequirement, EngineTask, Error, Estimate, Example, Immediate, InputFile,
        InputSlot, Item, ItemOutcome, ItemResult, Metric, NoMonitor, Normalised, Notice,
        OutputFile, OutputSlot, OutputStream, Parameters, Request, ResourceHints, Severity, Signal,
        Step, StepEnding, StepFault, StepLimits, StepMonitor, StepOutcome, StepUsage, Task,
        TaskDefinition, View, Violation, choices, field, json, log, parameters, report_progress,
    };
    pub use serde_json;
}

/// Log lines that the host keeps with the execution.
pub mod log {
    use crate::bindings::host::bindery::task::log::{Level, log};

    fn write(level: Level, message: &str) {
        if cfg!(target_arch = "wasm32") {
            log(level, message);
        } else {
            // Natively (unit tests of a plugin) there is no host to tell.
            eprintln!("[{level:?}] {message}");
        }
    }

    /// What helps to find a fault.
    pub fn debug(message: &str) {
        write(Level::Debug, message);
    }

    /// What happens.
    pub fn info(message: &str) {
        write(Level::Info, message);
    }

    /// What a user should look at.
    pub fn warn(message: &str) {
        write(Level::Warn, message);
    }

    /// What failed.
    pub fn error(message: &str) {
        write(Level::Error, message);
    }
}

/// Progress of a compute task: share done (0..=1) and a word about it.
pub fn report_progress(done: f32, message: &str) {
    if cfg!(target_arch = "wasm32") {
        bindings::host::bindery::task::progress::report(done, message);
    }
}
