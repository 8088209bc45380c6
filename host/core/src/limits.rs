//! Bounds that hold everywhere, each with its reason.

/// Ids go into file names and keys.
pub const TASK_ID_BYTES_MAX: usize = 127;
/// A form with more is no form.
pub const INPUT_SLOTS_MAX: usize = 64;
/// Definitions of one component.
pub const TASKS_PER_PLUGIN_MAX: usize = 64;
/// Rounds of `next` for one execution: a plan that needs more does not converge.
pub const PLAN_ROUNDS_MAX: usize = 64;
/// Steps of one execution over all rounds.
pub const STEPS_MAX: usize = 4096;
/// Well below the kernel's `MAX_ARG_STRINGS` and `ARG_MAX`.
pub const STEP_ARGUMENTS_MAX: usize = 8192;
/// Half the kernel's `MAX_ARG_STRLEN` of 128 KiB.
pub const ARGUMENT_BYTES_MAX: usize = 64 << 10;
pub const STEP_FILES_MAX: usize = 8192;
/// Relative paths; the kernel's `PATH_MAX` is 4,096 for the absolute one.
pub const PATH_BYTES_MAX: usize = 1024;
/// Parameters of one request as JSON text.
pub const PARAMETERS_BYTES_MAX: usize = 1 << 20;
/// Files of one request.
pub const INPUT_FILES_MAX: usize = 1024;
/// Faults reported for one request: beyond that a person fixes the first ones first.
pub const VIOLATIONS_MAX: usize = 256;
/// Artifacts of one execution.
pub const ARTIFACTS_MAX: usize = 1024;
