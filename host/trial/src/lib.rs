//! Tries a plugin out before anybody counts on it.
//!
//! - [`Case`]: a golden case of a package, `cases/NAME/case.toml`: a request and what is expected.
//! - [`run_case`]: runs one against the real runtime; engine steps run for real, or are replayed
//!   from a [`Recording`] as long as the plan asks for exactly what was recorded.
//! - [`compare`]: the same requests on two versions of a plugin, and where their answers differ.
//! - [`check_definitions`], [`lint_parameters`]: what can be said of a plugin without a request.
//!
//! Invariants:
//! - What a case sees is what an execution sees: the same calls in the same order, with the same
//!   limits, by the same loop. Nothing here stands in for the runtime.
//! - A case comes from a package, which is not trusted: paths in it never leave the package, and
//!   what a recording holds is written only where the plan has declared an output.
//! - This crate keeps nothing; who asked decides what a failed case means.

mod case;
mod check;
mod compare;
mod difference;
mod files;
mod profile;
mod recording;
mod report;
mod run;
mod steps;

pub use self::{
    case::{Case, CaseError, CaseInput, Expect, StepSource},
    check::{ProbeFault, check_definitions, probe_determinism},
    compare::{CompareOptions, ReplayRequest, VersionDifference, compare},
    difference::{Difference, differences},
    files::{DirectoryFiles, PackageFiles},
    profile::{ProfileFault, lint_parameters},
    recording::{RecordedStep, Recording, RecordingError},
    report::{CaseFailure, CaseReport, FailureKind},
    run::{Steps, run_case},
};
