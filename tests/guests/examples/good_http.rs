//! Asks a host that it was granted, by `wasi:http`: gives what it heard, redirects and refusals
//! among it, and follows no redirect by itself.
//!
//! The parameters: `url`, and for a request with a body `send_bytes`. It asks in `validate` too
//! where `when` says so.

use bindery_test_guests::{http, prelude::*};

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        bindery_test_guests::any()
    }

    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        let mut parameters = request.parameters_value();
        if given(request, "when") == "validate" {
            parameters = heard(request);
        }
        Ok(Normalised {
            parameters: parameters.to_string(),
            notices: vec![],
        })
    }
}

fn heard(request: &Request) -> bindery_sdk::serde_json::Value {
    let parameters = request.parameters_value();
    let send_bytes = parameters["send_bytes"].as_u64().unwrap_or_default();
    match http::ask(&given(request, "url"), send_bytes) {
        Ok(answer) => json!({
            "status": answer.status,
            "location": answer.location,
            "bytes": answer.body.len(),
            "text": String::from_utf8_lossy(&answer.body[..answer.body.len().min(1000)]),
        }),
        Err(error) => json!({ "error": error }),
    }
}

impl ComputeTask for Guest {
    type Session = Immediate<Self>;
}

impl Compute for Guest {
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        Ok(ItemResult::json(&heard(request)))
    }
}

bindery_sdk::register_compute_tasks!(Guest);
