//! Native engines: manifests, discovery, version probes, and running one step.
//!
//! An engine is data: a manifest (`engines/*.toml`) says which program it is, how to ask for its
//! version, what it may see, and how to install it. This crate finds the program, asks it, and
//! runs steps in the sandbox. It does not know what an engine computes.
//!
//! Invariants:
//! - A program is started in the sandbox only, for the version probe too.
//! - The argument vector is built element by element; there is no shell.
//! - All paths an engine sees are relative to its working directory: `in/…` for inputs.

mod discover;
mod manifest;
mod step;

pub use self::{
    discover::{Engine, EngineStatus, Engines, MissingEngine, program_override},
    manifest::{EngineManifest, ManifestError},
    step::{StepFiles, StepReport, StepRunError, StepSink},
};
