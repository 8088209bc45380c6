//! Says no in every way the contract has: nothing is broken.

use bindery_test_guests::prelude::*;

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        bindery_test_guests::any()
    }

    fn validate(_request: &Request) -> Result<Normalised, Vec<Violation>> {
        Err(vec![
            Violation::new("/parameters/a", "first", "The first fault."),
            Violation::new("/parameters/b", "second", "The second fault."),
        ])
    }
}

impl ComputeTask for Guest {
    type Session = Immediate<Self>;
}

impl Compute for Guest {
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        Err(match kind(request).as_str() {
            "invalid_input" => {
                Error::InvalidInput(vec![Violation::new("/inputs/a", "bad", "Bad.")])
            }
            "step_failed" => Error::step("dock", "no_output", "It wrote nothing.", "segfault"),
            "output_invalid" => Error::OutputInvalid("not a table".to_owned()),
            "unsupported" => Error::Unsupported("not yet".to_owned()),
            _ => Error::Other("no reason".to_owned()),
        })
    }
}

bindery_sdk::register_compute_tasks!(Guest);
