//! `/mcp` with a client that is not ours: the official one, in a Python environment that the test
//! makes for itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bindery_integration::{project, python_with};
use bindery_testkit::{TestHost, wait_for_condition};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

fn example(name: &str) -> PathBuf {
    project()
        .join("plugins/docking/vina/examples/1uw6")
        .join(name)
}

async fn use_as_agent(host: &TestHost, python: &Path, mode: &str) -> Result<Value> {
    let token = std::fs::read_to_string(host.path("token"))?;
    let mut command = tokio::process::Command::new(python);
    command
        .arg(project().join("tests/integration/mcp/client.py"))
        .arg(format!("http://{}/mcp", host.address()))
        .arg(mode)
        .args(["receptor.pdb", "ligand.sdf", "box.json"].map(example))
        .env("BINDERY_TOKEN", token.trim())
        .kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(480), command.output())
        .await
        .context("the client does not end")??;
    ensure!(
        output.status.success(),
        "{mode}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("the client's document")
}

async fn check(host: &TestHost, python: &Path, mode: &str) -> Result<()> {
    let seen = use_as_agent(host, python, mode).await?;
    eprintln!("{mode}: protocol {}", seen["protocol"]);
    let tools: Vec<&str> = seen["tools"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for tool in [
        "bindery_cancel_execution",
        "bindery_get_execution",
        "bindery_upload_file",
        "docking_vina",
        "system_noop",
        "system_sleep",
    ] {
        assert!(tools.contains(&tool), "{tool}: {tools:?}");
    }
    assert_eq!(seen["noop"]["status"], "succeeded");
    assert_eq!(seen["noop"]["output"], json!({ "say": "hello" }));
    let violations = seen["wrong"]["violations"].as_array().unwrap();
    let pointers: Vec<&Value> = violations.iter().map(|fault| &fault["pointer"]).collect();
    assert_eq!(pointers, ["/parameters/seconds", "/parameters/x"]);
    let text = seen["wrong_text"].as_str().unwrap();
    assert!(text.contains("/parameters/seconds"), "{text}");

    let docked = &seen["docked"];
    assert_eq!(docked["status"], "succeeded");
    assert!(docked["output"]["best_affinity_kcal_mol"].as_f64().unwrap() < 0.0);
    let progress = seen["progress"].as_array().unwrap();
    assert!(!progress.is_empty(), "progress was told");
    let done: Vec<f64> = progress
        .iter()
        .map(|word| word[0].as_f64().unwrap())
        .collect();
    assert!(done.is_sorted() && done.last().unwrap() <= &1.0, "{done:?}");
    let links = seen["links"].as_object().unwrap();
    assert!(links.contains_key("complex.pdb"), "{links:?}");
    assert!(seen["poses"].as_str().unwrap().contains("M  END"));
    let resources = seen["resources"].as_array().unwrap();
    assert!(resources.contains(&json!("bindery://tasks/docking.vina")));
    assert!(seen["docs"].as_str().unwrap().starts_with("# "));

    assert!(["queued", "running"].contains(&seen["slow"]["status"].as_str().unwrap()));
    assert_eq!(seen["stopped"]["status"], "cancelled");
    // The one that was given up, found by what it was asked.
    wait_for_condition(
        "the call that was given up to be stopped",
        SOON,
        async || {
            let page = host
                .get("/api/v1/executions?limit=1&task=system.sleep")
                .await?
                .expect_status(200)?
                .json()?;
            Ok((page["items"][0]["status"] == "cancelled").then_some(()))
        },
    )
    .await?;
    let newest = host
        .get("/api/v1/executions?limit=1&task=system.sleep")
        .await?
        .json()?;
    let newest = host
        .execution(newest["items"][0]["id"].as_str().unwrap())
        .await?;
    assert_eq!(newest["parameters"]["seconds"], 599, "{newest}");
    assert_eq!(newest["labels"]["via"], "mcp");
    Ok(())
}

#[tokio::test]
async fn an_agent_of_others_uses_every_task() -> Result<()> {
    let Some(python) = python_with("mcp") else {
        return Ok(());
    };
    let host = TestHost::start().await?;
    // With initialize and sessions, and in the newest revision, which has neither.
    check(&host, &python, "legacy").await?;
    check(&host, &python, "auto").await?;
    host.is_healthy().await
}
