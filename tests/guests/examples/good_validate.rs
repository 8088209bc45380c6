//! A check as plugins have it: typed parameters, several faults at once, a normalised document.
//! The benchmark of `validate` uses it too.

use bindery_sdk::serde_json;
use bindery_test_guests::prelude::*;

fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
    let parameters = request.parameters_value();
    let mut faults = Vec::new();
    let number = |name: &str| parameters.get(name).and_then(serde_json::Value::as_f64);
    for (name, low, high) in [
        ("size", 0.0, 126.0),
        ("effort", 1.0, 64.0),
        ("count", 1.0, 100.0),
        ("range", 0.0, 10.0),
    ] {
        match number(name) {
            Some(value) if (low..=high).contains(&value) => {}
            Some(value) => faults.push(Violation::new(
                format!("/parameters/{name}"),
                "out_of_range",
                format!("{name} is {value}, but must be within {low}..={high}"),
            )),
            None => faults.push(Violation::new(
                format!("/parameters/{name}"),
                "required",
                format!("{name} is missing"),
            )),
        }
    }
    if faults.is_empty() {
        Ok(Normalised {
            parameters: parameters.to_string(),
            notices: Vec::new(),
        })
    } else {
        Err(faults)
    }
}

validate_guest!(validate);
