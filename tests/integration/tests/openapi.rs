//! The OpenAPI documents of a server, and of each of its tasks, before a validator that others
//! wrote.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use anyhow::Result;
use bindery_integration::{project, python_with};
use bindery_testkit::TestHost;
use serde_json::{Value, json};

fn validate(python: &Path, documents: &[PathBuf]) -> Result<Output> {
    Ok(Command::new(python)
        .arg(project().join("tests/integration/openapi/validate.py"))
        .args(documents)
        .output()?)
}

#[tokio::test]
async fn documents_of_the_server_and_of_every_task_are_valid() -> Result<()> {
    let Some(python) = python_with("openapi") else {
        return Ok(());
    };
    let host = TestHost::start().await?;
    let place = tempfile::tempdir()?;
    let tasks = host
        .get("/api/v1/tasks")
        .await?
        .expect_status(200)?
        .json()?;
    let mut paths = vec!["/api/openapi.json".to_owned()];
    for task in tasks["items"].as_array().unwrap() {
        let id = task["id"].as_str().unwrap();
        paths.push(format!("/api/v1/tasks/{id}/openapi.json"));
    }
    assert!(paths.len() > 3, "{paths:?}");
    let mut files = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let document = host.get(path).await?.expect_status(200)?;
        let file = place.path().join(format!("{number}.json"));
        fs::write(&file, &document.bytes)?;
        files.push(file);
    }
    let judged = validate(&python, &files)?;
    let words = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success(), "{paths:?}:\n{words}");

    // It does see what is wrong.
    let mut document: Value = serde_json::from_slice(&fs::read(&files[1])?)?;
    let path = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .cloned();
    document["paths"][path.unwrap()]["post"]["responses"] = json!("none");
    fs::write(&files[1], document.to_string())?;
    let judged = validate(&python, &files[1..2])?;
    let words = String::from_utf8_lossy(&judged.stderr);
    assert!(
        !judged.status.success() && words.contains("responses"),
        "{words}"
    );
    Ok(())
}
