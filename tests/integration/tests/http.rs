//! The HTTP interface from outside: one whole docking job, and what outlives a server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::time::Duration;

use anyhow::Result;
use bindery_testkit::{HostBuilder, TestHost, dist, wait_for_condition};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);
/// The small example docks in a few seconds of CPU; machines are shared.
const DOCKED: Duration = Duration::from_secs(240);

/// Uploads the example that ships with the plugin; gives inputs and parameters of a short run.
async fn example(host: &TestHost) -> Result<(Value, Value)> {
    let files = dist()?.join("plugins/docking.vina/examples/1uw6");
    let receptor = host.upload_file(&files.join("receptor.pdb")).await?;
    let ligand = host.upload_file(&files.join("ligand.sdf")).await?;
    let search: Value = serde_json::from_slice(&std::fs::read(files.join("box.json"))?)?;
    Ok((
        json!({ "receptor": receptor, "ligand": ligand }),
        json!({ "box": search, "exhaustiveness": 1, "num_modes": 3, "seed": 42 }),
    ))
}

#[tokio::test]
async fn what_a_server_keeps_is_its_owners_and_its_log_is_plain_text_in_a_file() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let none = tempfile::tempdir()?;
    let host = HostBuilder::default()
        .argument("--plugins")
        .argument(none.path())
        .environment("BINDERY_LOG", "debug")
        .start()
        .await?;
    let mode = std::fs::metadata(host.data())?.permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "{mode:o}");
    host.get("/api/v1/tasks").await?.expect_status(200)?;
    let log = host.log();
    assert!(log.contains("DEBUG") && !log.contains('\u{1b}'), "{log}");
    Ok(())
}

#[tokio::test]
async fn a_docking_job_is_served_from_upload_to_download() -> Result<()> {
    let host = TestHost::start().await?;
    let (inputs, parameters) = example(&host).await?;
    let task = "/api/v1/tasks/docking.vina";
    let definition = host.get(task).await?.expect_status(200)?.json()?;
    assert_eq!(definition["id"], "docking.vina");
    assert!(
        definition["openapi"]["openapi"]
            .as_str()
            .unwrap()
            .starts_with("3.1")
    );
    let body = json!({ "inputs": inputs, "parameters": parameters });
    let valid = host
        .post(&format!("{task}/validate"), &body)
        .await?
        .expect_status(200)?
        .json()?;
    assert_eq!(
        valid["parameters"]["energy_range"], 3.0,
        "defaults are filled in: {valid}"
    );

    let submitted = host.execute("docking.vina", inputs, parameters).await?;
    let record = host.wait_for_end(&submitted.execution, DOCKED).await?;
    assert_eq!(record["status"], "succeeded", "{record}");
    assert_eq!(record["sandbox"]["level"], "L2");

    let base = format!("/api/v1/executions/{}", submitted.execution);
    let results = host
        .get(&format!("{base}/results"))
        .await?
        .expect_status(200)?
        .json()?;
    assert_eq!(results["execution_id"], submitted.execution);
    assert_eq!(results["status"], "succeeded");
    let output = &results["output"];
    let poses = output["poses"].as_array().unwrap();
    assert!((1..=3).contains(&poses.len()), "{output}");
    for (rank, pose) in poses.iter().enumerate() {
        assert_eq!(pose["rank"], rank as u64 + 1);
        for name in ["affinity_kcal_mol", "rmsd_lb", "rmsd_ub"] {
            assert!(pose[name].as_f64().unwrap().is_finite(), "{pose}");
        }
    }
    assert_eq!(
        output["best_affinity_kcal_mol"],
        poses[0]["affinity_kcal_mol"]
    );
    assert_eq!(output["seed"], 42);
    assert!(
        output["box"]["center"].is_array() && output["preparation"].is_object(),
        "{output}"
    );
    for name in ["wall_seconds", "cpu_seconds", "peak_memory_bytes"] {
        assert!(
            results["metrics"][name].as_f64().unwrap() > 0.0,
            "{name}: {results}"
        );
    }
    let engines = results["engines"].as_array().unwrap();
    assert!(engines.len() >= 2 && engines.iter().all(|engine| engine["version"].is_string()));

    let artifacts = host
        .get(&format!("{base}/artifacts"))
        .await?
        .expect_status(200)?
        .json()?;
    let listed = artifacts["items"].as_array().unwrap();
    for name in [
        "poses.sdf",
        "poses.pdbqt",
        "complex.pdb",
        "receptor.pdbqt",
        "ligand.pdbqt",
        "engine.log",
    ] {
        let artifact = results["artifacts"].as_array().unwrap();
        let artifact = artifact
            .iter()
            .find(|artifact| artifact["name"] == name)
            .unwrap();
        assert!(
            listed.iter().any(|entry| entry["id"] == artifact["id"]),
            "{name}: {artifacts}"
        );
        let path = format!("/api/v1/artifacts/{}", artifact["id"].as_str().unwrap());
        let whole = host.get(&path).await?.expect_status(200)?;
        assert_eq!(
            whole.bytes.len() as u64,
            artifact["size"].as_u64().unwrap(),
            "{name}"
        );
        assert_eq!(whole.headers["x-content-type-options"], "nosniff");
        let part = host
            .request(Method::GET, &path)
            .header("range", "bytes=1-4");
        let part = host.send(part).await?.expect_status(206)?;
        assert_eq!(part.bytes, whole.bytes[1..5], "{name}");
    }
    let logs = host
        .get(&format!("{base}/logs"))
        .await?
        .expect_status(200)?;
    assert!(logs.text().contains("vina"), "{}", logs.text());
    let job = host
        .get(&format!("/api/v1/jobs/{}", submitted.job))
        .await?
        .expect_status(200)?;
    assert_eq!(job.json()?["status"], "succeeded");
    host.is_healthy().await
}

#[tokio::test]
async fn nothing_but_health_is_open_without_a_token() -> Result<()> {
    let host = TestHost::start().await?;
    let document = host
        .get("/api/openapi.json")
        .await?
        .expect_status(200)?
        .json()?;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled: String = path
            .split('/')
            .map(|part| if part.starts_with('{') { "x" } else { part })
            .fold(String::new(), |path, part| {
                if part.is_empty() {
                    path
                } else {
                    format!("{path}/{part}")
                }
            });
        for method in ["get", "post", "put", "patch", "delete"] {
            if item.get(method).is_none() {
                continue;
            }
            let open = matches!(path.as_str(), "/health" | "/ready" | "/metrics")
                // Where a token is changed for a cookie, and where one is asked who one is.
                || path.starts_with("/api/v1/auth/");
            for token in [None, Some("bnd_0_0_0"), Some("")] {
                let verb = Method::from_bytes(method.to_uppercase().as_bytes())?;
                let mut request = host.anonymous(verb, &filled);
                if let Some(token) = token {
                    request = request.bearer_auth(token);
                }
                let answer = host.send(request).await?;
                if !open {
                    assert_eq!(answer.status, 401, "{method} {path} with {token:?}");
                    answer.problem()?;
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "the document lists routes: {tried}");
    let unknown = host
        .send(host.anonymous(Method::GET, "/api/v1/no-such-thing"))
        .await?;
    assert_eq!(unknown.status, 401);
    assert_eq!(host.get("/api/v1/no-such-thing").await?.status, 404);
    Ok(())
}

#[tokio::test]
async fn files_results_and_idempotency_keys_outlive_a_restart() -> Result<()> {
    let mut host = TestHost::start().await?;
    let content =
        b"HEADER\nATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N\n";
    let file = host
        .upload("files", "a.pdb", content.to_vec())
        .await?
        .expect_status(201)?
        .json()?;
    let body = json!({ "inputs": {}, "parameters": { "say": "twice" } });
    let submit = async |host: &TestHost, body: &Value| {
        let path = "/api/v1/tasks/system.noop/execute";
        let request = host
            .request(Method::POST, path)
            .header("idempotency-key", "k-1");
        host.send(request.json(body)).await
    };
    let first = submit(&host, &body).await?.expect_status(202)?.json()?;
    let id = first["execution_id"].as_str().unwrap().to_owned();
    host.wait_for_status(&id, &["succeeded"], SOON).await?;
    let results = host
        .get(&format!("/api/v1/executions/{id}/results"))
        .await?
        .json()?;

    host.terminate()?;
    assert!(host.ended().await?.success(), "{}", host.log());
    host.restart().await?;

    let path = format!("/api/v1/files/{}/content", file["id"].as_str().unwrap());
    assert_eq!(host.get(&path).await?.expect_status(200)?.bytes, content);
    assert_eq!(
        host.get(&format!("/api/v1/executions/{id}/results"))
            .await?
            .json()?,
        results
    );
    let again = submit(&host, &body).await?.expect_status(202)?;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(again.json()?["execution_id"], id);
    let other = json!({ "inputs": {}, "parameters": { "say": "otherwise" } });
    let conflict = submit(&host, &other).await?.expect_status(409)?;
    conflict.problem()?;
    let all = host
        .get("/api/v1/executions")
        .await?
        .expect_status(200)?
        .json()?;
    assert_eq!(all["items"].as_array().unwrap().len(), 1, "{all}");
    Ok(())
}

#[tokio::test]
async fn sigterm_drains_what_runs_and_loses_nothing() -> Result<()> {
    let mut host = TestHost::start().await?;
    let run = host
        .execute("system.sleep", json!({}), json!({ "seconds": 2 }))
        .await?;
    host.wait_for_status(&run.execution, &["running"], SOON)
        .await?;
    host.terminate()?;
    assert!(host.ended().await?.success(), "{}", host.log());
    host.no_process_left().await?;
    host.restart().await?;
    let record = host.wait_for_end(&run.execution, SOON).await?;
    assert_eq!(record["status"], "succeeded", "{record}");
    assert_eq!(
        record["attempts"].as_array().unwrap().len(),
        1,
        "drained, not run again: {record}"
    );
    Ok(())
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    let host = TestHost::start().await?;
    let (status, log) = host.start_second().await?;
    assert!(!status.success(), "{log}");
    assert!(log.contains("another server uses"), "{log}");
    host.is_healthy().await
}

#[tokio::test]
async fn cancelling_ends_queued_and_running_executions_and_their_processes() -> Result<()> {
    let settings = tempfile::NamedTempFile::new()?;
    std::fs::write(settings.path(), "[capacity]\ncpu_cores = 1\n")?;
    let mut host = bindery_testkit::HostBuilder::default()
        .argument("--config")
        .argument(settings.path())
        .start()
        .await?;
    let running = host
        .execute("system.sleep", json!({}), json!({ "seconds": 600 }))
        .await?;
    host.wait_for_status(&running.execution, &["running"], SOON)
        .await?;
    wait_for_condition("the engine to run", SOON, async || {
        host.note_processes();
        // The helper, the first process of its namespace, the engine.
        Ok((host.processes().len() >= 3).then_some(()))
    })
    .await?;
    let queued = host
        .execute("system.sleep", json!({}), json!({ "seconds": 600 }))
        .await?;
    for submitted in [&queued, &running] {
        let path = format!("/api/v1/executions/{}/cancel", submitted.execution);
        let answer = host.post(&path, &json!({})).await?;
        assert!(answer.status.is_success(), "{}", answer.text());
        let record = host.wait_for_end(&submitted.execution, SOON).await?;
        assert_eq!(record["status"], "cancelled", "{record}");
    }
    let never = host.execution(&queued.execution).await?;
    assert!(never["started"].is_null() && never["attempts"].as_array().unwrap().is_empty());
    host.no_process_left().await?;
    host.is_healthy().await
}
