//! Benchmarks against baselines in the same run.
//!
//! Figures of two machines, or of two moments on a shared one, say nothing about each other. So
//! every benchmark here measures its baseline as well, in turns with what it compares, and its
//! result is the ratio.

pub mod bare;
pub mod http;
mod samples;

use bindery_core::{Item, Request};
use serde_json::{Value, json};

pub use self::samples::{Samples, table};

/// A request to check that every program here asks with.
#[must_use]
pub fn check_request(task: &str) -> Request {
    // 197 bytes, as in the measurements of other runtimes this is compared with.
    let mut parameters = json!({
        "size": 22.5, "effort": 8, "count": 9, "range": 3.0, "label": ""
    });
    let missing = 197_usize.saturating_sub(parameters.to_string().len());
    if let Some(label) = parameters.get_mut("label") {
        *label = Value::String("x".repeat(missing));
    }
    Request {
        task: task.to_owned(),
        parameters,
        inputs: Vec::new(),
        items: vec![Item::single()],
        seed: 42,
    }
}
