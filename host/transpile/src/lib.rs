//! Makes a validator for browsers out of a component.
//!
//! A task's own check, the very component that the host runs, becomes one ES module: the core
//! modules of the component in base64, the glue that an engine of JavaScript needs between them,
//! a WASI with nothing behind it, and the parameter schema as a list of checks with the host's own
//! words. The module imports nothing, evaluates no text, and answers what the host's
//! `/validate` answers for the same parameters.
//!
//! - [`validator`]: the module of one task version; CPU work of some ten milliseconds.
//! - [`Validators`]: the same behind a cache and a limit, for a server.
//!
//! Invariants:
//! - The host has the last word: what the module cannot check as the host does (files, keywords of
//!   JSON Schema outside of [`checks`]) is refused when the module is made, or named in its answer.
//! - No program is started, and no engine of JavaScript is part of the host.

mod cache;
pub mod checks;
mod module;

pub use self::{
    cache::{ComponentSource, ValidatorError, Validators},
    module::{TranspileError, Validator, validator},
};
