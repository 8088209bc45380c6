//! A task that says which version of itself answers, so that a test sees whether two were mixed.
//!
//! Its version and its manners are texts of a fixed length in the data of the component: a test
//! makes another version by replacing them, without a compiler.

use std::hint::black_box;

use bindery_test_guests::prelude::*;

/// Replaced by another patch number of four digits.
static VERSION: &str = "1.0.1000";
/// `good`, or `trap`: then every check of a request breaks.
static MANNERS: &str = "manners=good";

fn version() -> &'static str {
    black_box(VERSION)
}

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        TaskDefinition::new("test.hot-load", version(), "Hot load")
            .category("Test")
            .parameters(json!({ "type": "object", "additionalProperties": true }))
            .output(json!({ "type": "object" }))
    }

    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        assert!(black_box(MANNERS).ends_with("good"), "bad manners");
        assert!(kind(request) != "trap", "asked to break");
        let mut parameters = request.parameters_value();
        if let Some(object) = parameters.as_object_mut() {
            object.insert("checked_by".to_owned(), json!(version()));
        }
        Ok(Normalised {
            parameters: parameters.to_string(),
            notices: Vec::new(),
        })
    }
}

impl ComputeTask for Guest {
    type Session = Immediate<Self>;
}

impl Compute for Guest {
    /// With `spin`, for about as many billions of steps.
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        let value = request.parameters_value();
        let spin = value.get("spin").and_then(|spin| spin.as_u64());
        let mut sum = 0_u64;
        for step in 0..spin.unwrap_or(0) * 1_000_000_000 {
            sum = black_box(sum.wrapping_mul(31).wrapping_add(step));
        }
        Ok(ItemResult::json(&json!({
            "computed_by": version(),
            "checked_by": value.get("checked_by"),
            "sum": sum.to_string(),
        })))
    }
}

bindery_sdk::register_compute_tasks!(Guest);
