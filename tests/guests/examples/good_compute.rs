//! A task as it should be: computes from parameters, seed and an input file, says how far it is,
//! writes an artifact and a log line.

use std::hash::{BuildHasher, RandomState};

use bindery_test_guests::prelude::*;

compute_guest!(|request| {
    log::info("computing");
    bindery_sdk::report_progress(0.5, "half of it");
    let text = match request.input("text") {
        Some(file) => String::from_utf8_lossy(&file.read()?).to_uppercase(),
        None => String::new(),
    };
    // `RandomState` draws its keys from `wasi:random`.
    let drawn = RandomState::new().hash_one(1_u8);
    let out = bindery_sdk::out_path("text.txt");
    let mut artifacts = Vec::new();
    if out.parent().is_some_and(std::path::Path::is_dir) {
        std::fs::write(out, &text)?;
        artifacts.push(Artifact::new(
            "text.txt",
            "/out/text.txt",
            "text/plain",
            "Text",
        ));
    }
    bindery_sdk::report_progress(1.0, "all of it");
    Ok(ItemResult {
        confidence: Some(0.5),
        metrics: vec![Metric::new(
            "length",
            text.len() as f64,
            "",
            Better::Neither,
        )],
        artifacts,
        ..ItemResult::json(&json!({
            "parameters": request.parameters_value(),
            "text": text,
            "drawn": format!("{drawn:016x}"),
            "seed": request.seed.to_string(),
        }))
    })
});
