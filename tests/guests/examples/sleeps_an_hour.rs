//! Waits in a host call, where no epoch reaches it.

use bindery_test_guests::prelude::*;

fn sleep() {
    std::thread::sleep(std::time::Duration::from_secs(3600));
}

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        bindery_test_guests::any()
    }

    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        if kind(request) == "validate" {
            sleep();
        }
        Ok(Normalised {
            parameters: request.parameters.clone(),
            notices: Vec::new(),
        })
    }
}

impl ComputeTask for Guest {
    type Session = Immediate<Self>;
}

impl Compute for Guest {
    fn compute(_request: &Request) -> Result<ItemResult, Error> {
        sleep();
        Ok(ItemResult::json(&json!({ "slept": true })))
    }
}

bindery_sdk::register_compute_tasks!(Guest);
