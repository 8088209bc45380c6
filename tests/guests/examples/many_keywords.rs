//! A parameter schema with every keyword that is checked in a browser as well, and a task that
//! adds faults and notices of its own. Whether two checkers of it say the same is seen with it.

use bindery_sdk::serde_json::{self, Value};
use bindery_test_guests::{TASK, prelude::*};

const SCHEMA: &str = include_str!("../many_keywords.schema.json");

fn definition() -> TaskDefinition {
    // A schema that cannot be read is refused when the guest is loaded.
    let schema = serde_json::from_str(SCHEMA).unwrap_or(Value::Null);
    TaskDefinition::new(TASK, "1.0.0", "Guest")
        .category("Test")
        .parameters(schema)
        .output(json!({ "type": "object" }))
}

fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
    let parameters = request.parameters_value();
    let mut faults = Vec::new();
    // Inside of a variant, where the schema only knows that none fits.
    if let Some(shape) = parameters.get("shape").filter(|shape| shape.is_object())
        && shape.get("radius").is_none()
        && shape.get("sides").is_none()
    {
        let message = "neither `radius` nor `sides`: é".repeat(200);
        faults.push(Violation::new(
            "/parameters/shape/radius",
            "required",
            message,
        ));
    }
    if parameters.get("count") == parameters.get("limit") && parameters.get("count").is_some() {
        faults.push(Violation::new(
            "/parameters/count",
            "out_of_range",
            format!("count is as large as limit: {}", request.parameters.len()),
        ));
    }
    if parameters.get("break").is_some() {
        assert!(parameters.get("tag").is_none(), "broke as it was told to");
    }
    if faults.is_empty() {
        Ok(Normalised {
            // As it came, byte by byte: what defaults look like is seen in it.
            parameters: request.parameters.clone(),
            notices: vec![Notice::info("seen", request.parameters.clone())],
        })
    } else {
        Err(faults)
    }
}

validate_guest!(validate, definition());
