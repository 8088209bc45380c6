//! Writes the validator module of a component, with a parameter schema from a file.
//!
//! `cargo run --release -p bindery-transpile --example validator -- COMPONENT TASK SCHEMA > x.mjs`
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use bindery_core::{
    Digest, TaskDefinition,
    definition::{Determinism, ResourceHints},
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [component, task, schema] = arguments.as_slice() else {
        return Err("usage: validator COMPONENT TASK SCHEMA".into());
    };
    let component = std::fs::read(component)?;
    let definition = TaskDefinition {
        id: task.clone(),
        version: semver::Version::new(0, 1, 0),
        title: task.clone(),
        category: String::new(),
        summary: String::new(),
        docs: String::new(),
        parameters: serde_json::from_str(&std::fs::read_to_string(schema)?)?,
        inputs: Vec::new(),
        output: serde_json::json!({}),
        artifacts: Vec::new(),
        engines: Vec::new(),
        resources: ResourceHints {
            cpu_cores: 1,
            memory_bytes: 0,
            disk_bytes: 0,
            wall_ms: 0,
        },
        determinism: Determinism::Deterministic,
        max_items_per_run: 1,
        examples: Vec::new(),
        keywords: Vec::new(),
        citations: Vec::new(),
    };
    let digest = Digest::of(&component);
    let validator = bindery_transpile::validator(&component, &digest, &definition)?;
    print!("{}", validator.source);
    Ok(())
}
