//! What `good_validate` and `good_columns` of `tests/guests` do, behind Extism's bytes.

use extism_pdk::*;
use serde_json::{Value, json};

#[plugin_fn]
pub fn validate(text: String) -> FnResult<String> {
    let parameters: Value = serde_json::from_str(&text)?;
    let mut faults = Vec::new();
    for (name, low, high) in [
        ("size", 0.0, 126.0),
        ("effort", 1.0, 64.0),
        ("count", 1.0, 100.0),
        ("range", 0.0, 10.0),
    ] {
        let code = match parameters.get(name).and_then(Value::as_f64) {
            Some(value) if (low..=high).contains(&value) => continue,
            Some(_) => "out_of_range",
            None => "required",
        };
        faults.push(json!({ "pointer": format!("/parameters/{name}"), "code": code }));
    }
    Ok(if faults.is_empty() {
        json!({ "parameters": parameters }).to_string()
    } else {
        json!({ "violations": faults }).to_string()
    })
}

/// Little-endian `f64`s in, their running total out.
#[plugin_fn]
pub fn totals(bytes: Vec<u8>) -> FnResult<Vec<u8>> {
    let mut sum = 0.0;
    let mut totals = bytes;
    for value in totals.chunks_exact_mut(8) {
        let mut number = [0; 8];
        number.copy_from_slice(value);
        sum += f64::from_le_bytes(number);
        value.copy_from_slice(&sum.to_le_bytes());
    }
    Ok(totals)
}
