//! Defines the same task twice.

use bindery_test_guests::prelude::*;

struct First;
struct Second;

macro_rules! twin {
    ($name:ident) => {
        impl Task for $name {
            fn definition() -> TaskDefinition {
                bindery_test_guests::any()
            }
        }

        impl ComputeTask for $name {
            type Session = Immediate<Self>;
        }

        impl Compute for $name {
            fn compute(request: &Request) -> Result<ItemResult, Error> {
                Ok(ItemResult::json(&request.parameters_value()))
            }
        }
    };
}

twin!(First);
twin!(Second);

bindery_sdk::register_compute_tasks!(First, Second);
