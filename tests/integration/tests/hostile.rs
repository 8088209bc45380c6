//! Hostile engines and misbehaving plugins under a real server: each is contained, each has its
//! own typed ending, the server stays healthy.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{fs, time::Duration};

use anyhow::Result;
use bindery_testkit::{HostBuilder, TestHost, wait_for_condition};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two seconds of CPU at most; machines are shared.
const SOON: Duration = Duration::from_secs(60);

/// The stand-in with little of everything.
const MANIFEST: &str = r#"
name = "sleep"
title = "A hostile stand-in"
homepage = "https://example.org"
licence = "MIT"
programs = ["sleep"]
search = []

[version]
arguments = ["--version"]
pattern = 'sleep \([^)]*\) ([0-9.]+)'
stream = "stdout"

[defaults]
memory_bytes = 268_435_456
disk_bytes = 1_048_576
wall_ms = 86_460_000
cpu_ms = 2_000
cpu_cores = 1

[install]
hint = "built with the tests"
"#;

/// A server whose engine `sleep` is the stand-in.
async fn hostile_engine() -> Result<(TestHost, TempDir)> {
    let engines = tempfile::tempdir()?;
    fs::write(engines.path().join("sleep.toml"), MANIFEST)?;
    let host = HostBuilder::default()
        .argument("--engines")
        .argument(engines.path())
        .environment("BINDERY_ENGINE_SLEEP", env!("CARGO_BIN_EXE_hostile"))
        .environment("SECRET_OF_THE_SERVER", "do not tell")
        .start()
        .await?;
    Ok((host, engines))
}

async fn attempt(host: &TestHost, number: u32) -> Result<Value> {
    let run = host
        .execute("system.sleep", json!({}), json!({ "seconds": number }))
        .await?;
    let record = host.wait_for_end(&run.execution, SOON).await?;
    assert_eq!(record["sandbox"]["level"], "L2", "{record}");
    assert_eq!(
        record["engines"],
        json!([{ "name": "sleep", "version": "9.9" }])
    );
    host.is_healthy().await?;
    Ok(record)
}

#[tokio::test]
async fn forks_sockets_and_looks_around_are_denied() -> Result<()> {
    let (host, _engines) = hostile_engine().await?;
    for (number, what) in [(1, "forks"), (2, "sockets"), (3, "reading"), (4, "writing")] {
        let record = attempt(&host, number).await?;
        // The stand-in says by its exit whether everything was denied, and what was not.
        let path = format!("/api/v1/executions/{}/logs", record["id"].as_str().unwrap());
        let log = host.get(&path).await?.text();
        assert_eq!(
            record["status"], "succeeded",
            "{what}: {}\n{log}",
            record["problem"]
        );
    }
    Ok(())
}

#[tokio::test]
async fn each_excess_has_its_own_ending() -> Result<()> {
    let (host, _engines) = hostile_engine().await?;
    for (number, ending) in [
        (5, "disk_exceeded"),
        (8, "memory_exceeded"),
        (9, "cpu_exceeded"),
        (10, "crashed"),
        (11, "rejected"),
    ] {
        let record = attempt(&host, number).await?;
        assert_eq!(record["status"], "failed", "{number}: {record}");
        assert_eq!(
            record["attempts"][0]["ending"], ending,
            "{number}: {record}"
        );
        assert!(
            !record["problem"]["message"].as_str().unwrap().is_empty(),
            "{record}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_flood_of_output_is_bounded() -> Result<()> {
    let (host, _engines) = hostile_engine().await?;
    let record = attempt(&host, 6).await?;
    assert_eq!(record["status"], "succeeded", "{record}");
    let id = record["id"].as_str().unwrap();
    let log = host
        .get(&format!("/api/v1/executions/{id}/logs"))
        .await?
        .expect_status(200)?;
    // 256 MB were written.
    assert!(
        log.bytes.len() < 20 << 20,
        "a log of {} bytes",
        log.bytes.len()
    );
    assert!(
        !log.bytes.contains(&0x1b),
        "control sequences are escaped when served"
    );
    Ok(())
}

#[tokio::test]
async fn an_engine_that_ignores_signals_is_cancelled_all_the_same() -> Result<()> {
    let (mut host, _engines) = hostile_engine().await?;
    let run = host
        .execute("system.sleep", json!({}), json!({ "seconds": 7 }))
        .await?;
    wait_for_condition("the engine to run", SOON, async || {
        host.note_processes();
        Ok((host.processes().len() >= 3).then_some(()))
    })
    .await?;
    let path = format!("/api/v1/executions/{}/cancel", run.execution);
    assert!(host.post(&path, &json!({})).await?.status.is_success());
    let record = host.wait_for_end(&run.execution, SOON).await?;
    assert_eq!(record["status"], "cancelled", "{record}");
    host.no_process_left().await?;
    host.is_healthy().await
}

/// A server with one test guest, which is the task `test.guest`.
async fn with_guest(name: &str) -> Result<(TestHost, TempDir)> {
    let plugins = tempfile::tempdir()?;
    fs::write(
        plugins.path().join("guest.wasm"),
        bindery_guests_build::guest(name)?,
    )?;
    let host = HostBuilder::default()
        .argument("--dev")
        .argument("--plugins")
        .argument(plugins.path())
        .start()
        .await?;
    Ok((host, plugins))
}

/// Validates and executes with a guest that breaks at it; gives the way in which it broke.
async fn validate(guest: &str, parameters: Value) -> Result<String> {
    let (host, _plugins) = with_guest(guest).await?;
    let body = json!({ "inputs": {}, "parameters": parameters });
    let mut ways = Vec::new();
    for route in ["validate", "execute"] {
        let answer = host
            .post(&format!("/api/v1/tasks/test.guest/{route}"), &body)
            .await?;
        let answer = answer.expect_status(502)?;
        let problem = answer.problem()?;
        ways.push(problem["code"].as_str().unwrap().to_owned());
        host.is_healthy().await?;
    }
    assert_eq!(ways[0], ways[1]);
    let all = host.get("/api/v1/executions").await?.json()?;
    assert_eq!(all["items"], json!([]), "nothing was queued");
    Ok(ways.remove(0))
}

#[tokio::test]
async fn a_plugin_that_breaks_in_validation_is_told_by_the_way_it_broke() -> Result<()> {
    for (guest, kind, way) in [
        ("loop_in_validate", "", "deadline_exceeded"),
        ("memory_bomb", "", "memory_exceeded"),
        ("deep_recursion", "", "stack_overflow"),
        ("traps", "unreachable", "trap"),
        ("panics", "", "trap"),
        ("rubbish_in_validate", "not_json", "contract_broken"),
    ] {
        assert_eq!(
            validate(guest, json!({ "kind": kind })).await?,
            way,
            "{guest} {kind}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_plugin_that_gives_rubbish_for_results_fails_its_execution() -> Result<()> {
    let (host, _plugins) = with_guest("rubbish_in_results").await?;
    for kind in [
        "output_not_json",
        "nan_metric",
        "artifact_escapes",
        "no_outcomes",
    ] {
        let run = host
            .execute("test.guest", json!({}), json!({ "kind": kind }))
            .await?;
        let record = host.wait_for_end(&run.execution, SOON).await?;
        assert_eq!(record["status"], "failed", "{kind}: {record}");
        assert_eq!(
            record["attempts"][0]["ending"], "output_invalid",
            "{kind}: {record}"
        );
    }
    // The plugin itself is none the worse for it.
    let run = host
        .execute("test.guest", json!({}), json!({ "kind": "good" }))
        .await?;
    host.wait_for_status(&run.execution, &["succeeded"], SOON)
        .await?;
    host.is_healthy().await
}

#[tokio::test]
async fn a_plugin_that_loops_at_work_is_cancelled_and_others_go_on() -> Result<()> {
    let (host, _plugins) = with_guest("loop_in_compute").await?;
    let run = host.execute("test.guest", json!({}), json!({})).await?;
    host.wait_for_status(&run.execution, &["running"], SOON)
        .await?;
    host.is_healthy().await?;
    let path = format!("/api/v1/executions/{}/cancel", run.execution);
    assert!(host.post(&path, &json!({})).await?.status.is_success());
    let record = host.wait_for_end(&run.execution, SOON).await?;
    assert_eq!(record["status"], "cancelled", "{record}");
    host.is_healthy().await
}

#[tokio::test]
async fn a_plugin_that_loops_when_it_is_loaded_is_left_out() -> Result<()> {
    let (host, _plugins) = with_guest("loop_in_describe").await?;
    assert_eq!(host.get("/api/v1/tasks/test.guest").await?.status, 404);
    assert!(host.log().contains("not loaded"), "{}", host.log());
    Ok(())
}
