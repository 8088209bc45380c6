//! What the guests in `examples/` share: the task around one behaviour.
//!
//! One file is one behaviour, good or bad, and has a test of the same name in
//! `host/runtime/tests/guests/`. All of them define the task `test.guest`, which takes any
//! parameters, so that a test can say by parameters which variant of a behaviour it wants.

use bindery_sdk::prelude::*;

pub mod http;

pub use wasip2;

pub mod prelude {
    pub use bindery_sdk::prelude::*;

    pub use crate::{compute_guest, engine_guest, given, kind, single, validate_guest};
}

/// The task of every guest.
pub const TASK: &str = "test.guest";

/// A definition with any parameters.
#[must_use]
pub fn any() -> TaskDefinition {
    TaskDefinition::new(TASK, "1.0.0", "Guest")
        .category("Test")
        .parameters(json!({ "type": "object", "additionalProperties": true }))
        .output(json!({ "type": "object" }))
}

/// The parameter `kind`: which variant of the behaviour is wanted.
#[must_use]
pub fn kind(request: &Request) -> String {
    given(request, "kind")
}

/// A text parameter; empty when it is absent.
#[must_use]
pub fn given(request: &Request, name: &str) -> String {
    let value = request.parameters_value();
    value
        .get(name)
        .and_then(|value| value.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// The outcome of a request with one item.
#[must_use]
pub fn single(result: ItemResult) -> Vec<ItemOutcome> {
    vec![ItemOutcome {
        index: 0,
        verdict: Ok(result),
    }]
}

/// A compute task that gives its parameters back and validates by this function.
#[macro_export]
macro_rules! validate_guest {
    ($validate:expr) => {
        $crate::validate_guest!($validate, $crate::any());
    };
    ($validate:expr, $definition:expr) => {
        struct Guest;

        impl Task for Guest {
            fn definition() -> TaskDefinition {
                $definition
            }

            fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
                let validate: fn(&Request) -> Result<Normalised, Vec<Violation>> = $validate;
                validate(request)
            }
        }

        impl ComputeTask for Guest {
            type Session = Immediate<Self>;
        }

        impl Compute for Guest {
            fn compute(request: &Request) -> Result<ItemResult, Error> {
                Ok(ItemResult::json(&request.parameters_value()))
            }
        }

        bindery_sdk::register_compute_tasks!(Guest);
    };
}

/// A compute task that accepts everything and computes by this function.
#[macro_export]
macro_rules! compute_guest {
    ($compute:expr) => {
        struct Guest;

        impl Task for Guest {
            fn definition() -> TaskDefinition {
                $crate::any()
            }
        }

        impl ComputeTask for Guest {
            type Session = Immediate<Self>;
        }

        impl Compute for Guest {
            fn compute(request: &Request) -> Result<ItemResult, Error> {
                let compute: fn(&Request) -> Result<ItemResult, Error> = $compute;
                compute(request)
            }
        }

        bindery_sdk::register_compute_tasks!(Guest);
    };
}

/// An engine task of the engine `echo` with these functions and this monitor.
#[macro_export]
macro_rules! engine_guest {
    (next: $next:expr, parse: $parse:expr, monitor: $monitor:ty) => {
        struct Guest;

        impl Task for Guest {
            fn definition() -> TaskDefinition {
                $crate::any().engine("echo", "")
            }
        }

        impl EngineTask for Guest {
            type Monitor = $monitor;

            fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
                let next: fn(&Request, &[StepOutcome]) -> Result<Decision, Error> = $next;
                next(request, done)
            }

            fn parse(
                request: &Request,
                outcomes: &[StepOutcome],
            ) -> Result<Vec<ItemOutcome>, Error> {
                let parse: fn(&Request, &[StepOutcome]) -> Result<Vec<ItemOutcome>, Error> = $parse;
                parse(request, outcomes)
            }
        }

        bindery_sdk::register_engine_tasks!(Guest);
    };
}
