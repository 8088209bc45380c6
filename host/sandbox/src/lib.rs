//! Runs native programs in a sandbox: launcher library and helper binary.
//!
//! The host never becomes a sandbox itself. It starts `bindery-sandbox`, a small single-threaded
//! helper, which builds the walls, starts the engine inside and watches it:
//!
//! ```text
//! host ── control socket, stdout, stderr ── supervisor ─┬─ init of the process namespace (L2)
//!                                                       └─ engine
//! ```
//!
//! Vocabulary: the *supervisor* is the helper process outside the walls; *init* is process 1 of
//! the engine's process namespace, whose death kills everything inside; the *order* is what the
//! host asks of the helper; the *work directory* is the engine's current directory, the only
//! place it can write to; a *level* says which walls stand.
//!
//! Invariants:
//! - An engine starts only after every wall of its level stands. What cannot be built is
//!   [`RunError::Build`], and nothing ran.
//! - [`Sandbox::run`] returns after the engine and all its descendants are gone.
//! - When the host dies, the control socket closes and the supervisor kills everything; when the
//!   supervisor dies, init and the engine are killed by the kernel.
//! - Nothing is best effort: a level counts as available only when its self-test passed.
//!
//! It does not know what an engine computes, and it does not limit the network by address: an
//! engine has none.

mod capture;
mod channel;
mod collect;
mod config;
mod ending;
mod frame;
#[doc(hidden)]
pub mod helper;
mod level;
mod probe;
mod report;
mod run;
mod scratch;
mod spec;
mod sys;
mod uids;
mod wire;

pub use config::{SandboxConfig, TestKnobs, UidRange, find_helper};
pub use level::{ParseLevelError, SandboxLevel};
pub use probe::{CaseResult, SandboxStatus, Trial, TrialOutcome, Unavailable};
pub use report::{
    Captured, Ending, OutputOutcome, OutputReport, OutputSink, Rejection, RunError, RunReport,
    Stream, Usage,
};
pub use run::Sandbox;
pub use spec::{Execute, Limits, OutputSpec, Profile, RunSpec, SpecError, SyscallPolicy};
