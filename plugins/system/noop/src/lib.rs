//! The task `system.noop`: gives its parameters back. For probes and benchmarks of the host.

use bindery_sdk::prelude::*;

/// See the module.
#[derive(Debug)]
pub struct Noop;

impl Task for Noop {
    fn definition() -> TaskDefinition {
        TaskDefinition::new("system.noop", env!("CARGO_PKG_VERSION"), "No operation")
            .category("System")
            .summary("Gives its parameters back; for probes and benchmarks")
            .docs("Takes any parameters and returns them as `output`, without engine or files.")
            .parameters(json!({ "type": "object", "additionalProperties": true }))
            .output(json!({ "type": "object" }))
    }
}

impl ComputeTask for Noop {
    type Session = Immediate<Self>;
}

impl Compute for Noop {
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        Ok(ItemResult::json(&request.parameters_value()))
    }
}

bindery_sdk::register_compute_tasks!(Noop);
