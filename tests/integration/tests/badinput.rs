//! Bad files through upload, inspection, validation and execution: each has its expected
//! outcome, each error says what and where, and the server is healthy after each.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]
#![allow(clippy::print_stderr, reason = "shows what each file came to")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bindery_testkit::{Answer, TestHost, shared};
use serde_json::{Value, json};

/// For one file through all its stations. The longest is the one of 8 MB.
const FILE_MAX: Duration = Duration::from_secs(120);

/// For the run of a file over which an engine may spin, before it is cancelled.
const RISK_MAX: Duration = Duration::from_secs(5);

/// What a file came to.
#[derive(Debug, Clone, PartialEq)]
enum Outcome {
    /// The upload was refused, with violations.
    Refused(String),
    /// Taken, so many bad records and warnings; and what docking says of it.
    Taken {
        bad_records: u64,
        warnings: usize,
        docking: Docking,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Docking {
    Valid,
    /// Queued as this execution.
    Queued(String),
    Invalid(String),
}

/// Asserts that a refusal names what and where; gives it as text.
fn explained(answer: &Answer) -> Result<String> {
    let problem = answer.problem()?;
    let violations = problem["violations"].as_array();
    let violations = violations.with_context(|| format!("no violations in {problem}"))?;
    assert!(!violations.is_empty(), "{problem}");
    let mut said = Vec::new();
    for violation in violations {
        let pointer = violation["pointer"].as_str().unwrap();
        let (code, message) = (
            violation["code"].as_str().unwrap(),
            violation["message"].as_str(),
        );
        assert!(
            pointer.is_empty() || pointer.starts_with('/'),
            "{violation}"
        );
        let message = message.unwrap();
        assert!(
            !code.is_empty() && message.len() >= 10,
            "says too little: {violation}"
        );
        assert!(
            !message.contains("/tmp") && !message.contains("panicked"),
            "{violation}"
        );
        said.push(format!("{pointer} {code}: {message}"));
    }
    Ok(said.join("; "))
}

/// Good partners, with which a bad file is docked.
struct Partners {
    receptor: String,
    ligand: String,
    search: Value,
}

async fn send(
    host: &TestHost,
    partners: &Partners,
    expected: &str,
    file: &Path,
) -> Result<Outcome> {
    let name = file.file_name().unwrap().to_str().unwrap();
    let answer = host
        .upload("molecules/upload", name, fs::read(file)?)
        .await?;
    assert!(
        !answer.status.is_server_error(),
        "{name}: {} {}",
        answer.status,
        answer.text()
    );
    if answer.status.is_client_error() {
        return Ok(Outcome::Refused(explained(&answer)?));
    }
    let item = answer.expect_status(201)?.json()?;
    let id = item["id"].as_str().unwrap();
    let again = host
        .get(&format!("/api/v1/molecules/{id}"))
        .await?
        .expect_status(200)?
        .json()?;
    assert_eq!(again["digest"], item["digest"]);
    // Proteins are receptors; all else is to be docked into one.
    let inputs = if name.starts_with("pdb_") {
        json!({ "receptor": id, "ligand": partners.ligand })
    } else {
        json!({ "receptor": partners.receptor, "ligand": id })
    };
    let parameters = json!({ "box": partners.search, "exhaustiveness": 1, "seed": 1 });
    let body = json!({ "inputs": inputs, "parameters": parameters });
    let answer = host
        .post("/api/v1/tasks/docking.vina/validate", &body)
        .await?;
    assert!(
        !answer.status.is_server_error(),
        "{name}: {} {}",
        answer.status,
        answer.text()
    );
    let docking = if answer.status == 200 && expected == "ok" {
        // Nothing is odd about it, and some are large: other tests dock what is good.
        Docking::Valid
    } else if answer.status == 200 {
        let queued = host
            .post("/api/v1/tasks/docking.vina/execute", &body)
            .await?;
        let queued = queued.expect_status(202)?.json()?;
        Docking::Queued(queued["execution_id"].as_str().unwrap().to_owned())
    } else {
        let said = explained(&answer.expect_status(422)?)?;
        let refused = host
            .post("/api/v1/tasks/docking.vina/execute", &body)
            .await?;
        explained(&refused.expect_status(422)?)?;
        Docking::Invalid(said)
    };
    Ok(Outcome::Taken {
        bad_records: item["bad_records"].as_u64().unwrap(),
        warnings: item["warnings"].as_array().unwrap().len(),
        docking,
    })
}

/// What is wrong with an outcome; none when it is as expected.
fn fault(expected: &str, outcome: &Outcome) -> Option<&'static str> {
    match (expected, outcome) {
        ("ok" | "ok-warn", Outcome::Refused(_)) => Some("refused though it is good"),
        (
            "ok",
            Outcome::Taken {
                bad_records: 1.., ..
            },
        ) => Some("good, yet has bad records"),
        (
            "error",
            Outcome::Taken {
                docking: Docking::Queued(_),
                ..
            },
        ) => Some("bad, yet taken"),
        ("error", Outcome::Taken { .. }) => Some("bad, yet its upload was taken"),
        (
            "error-for-docking",
            Outcome::Taken {
                docking: Docking::Queued(_),
                ..
            },
        ) => Some("cannot be docked, yet may be"),
        (
            "partial",
            Outcome::Taken {
                bad_records: 1.., ..
            },
        ) => None,
        ("partial", _) => Some("partly bad, and does not say so"),
        // Either is right, and so is any typed outcome for what is only a risk.
        _ => None,
    }
}

#[tokio::test]
async fn every_bad_file_has_its_expected_outcome() -> Result<()> {
    let Some(directory) = shared("data/docking/badinput") else {
        return Ok(());
    };
    let Some(case) = shared("data/docking/cases/184l") else {
        return Ok(());
    };
    let host = TestHost::start().await?;
    let partners = Partners {
        receptor: host.upload_file(&case.join("receptor.pdb")).await?,
        ligand: host.upload_file(&case.join("ligand.sdf")).await?,
        search: serde_json::from_slice(&fs::read(case.join("box.json"))?)?,
    };
    let mut faults = Vec::new();
    let mut queued = Vec::new();
    let mut checked = 0;
    let expected = fs::read_to_string(directory.join("EXPECTED.tsv"))?;
    for line in expected.lines().skip(1) {
        let (name, rest) = line.split_once('\t').unwrap();
        let expected = rest.split('\t').next().unwrap();
        if name.starts_with("box_") {
            continue;
        }
        let started = Instant::now();
        let file = directory.join(name);
        let outcome = tokio::time::timeout(FILE_MAX, send(&host, &partners, expected, &file));
        let outcome = outcome.await.with_context(|| format!("{name} hangs"))??;
        eprintln!("{name}\t{expected}\t{:?}\t{outcome:?}", started.elapsed());
        if let Outcome::Taken {
            docking: Docking::Queued(id),
            ..
        } = &outcome
        {
            queued.push((name, expected, id.clone()));
        }
        if let Some(fault) = fault(expected, &outcome) {
            faults.push(format!("{name} ({expected}): {fault}: {outcome:?}"));
        }
        host.is_healthy()
            .await
            .with_context(|| format!("after {name}"))?;
        checked += 1;
    }
    for (name, expected, id) in queued {
        let risky = expected.ends_with("-risk");
        if risky && host.wait_for_end(&id, RISK_MAX).await.is_err() {
            // The engine spins until its CPU limit, minutes away: it must be stoppable.
            let path = format!("/api/v1/executions/{id}/cancel");
            host.post(&path, &json!({})).await?;
        }
        let record = host
            .wait_for_end(&id, FILE_MAX)
            .await
            .with_context(|| name.to_owned())?;
        let (status, problem) = (record["status"].as_str().unwrap(), &record["problem"]);
        eprintln!("{name}\t{expected}\t{status}\t{problem}");
        if status == "succeeded" || (risky && status == "cancelled") {
            continue;
        }
        // A typed ending with words, and never the host's own fault.
        let ending = record["attempts"][0]["ending"].as_str().unwrap_or_default();
        let said = problem["message"].as_str().unwrap_or_default();
        if said.len() < 10 || matches!(ending, "" | "lost" | "host_fault") {
            faults.push(format!("{name} ({expected}): ended badly: {record}"));
        }
    }
    host.is_healthy().await?;
    assert!(checked > 80, "{checked} files");
    assert!(
        faults.is_empty(),
        "{} of {checked}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    Ok(())
}

#[tokio::test]
async fn bad_boxes_are_refused_with_all_their_faults() -> Result<()> {
    let Some(directory) = shared("data/docking/badinput") else {
        return Ok(());
    };
    let Some(case) = shared("data/docking/cases/184l") else {
        return Ok(());
    };
    let host = TestHost::start().await?;
    let receptor = host.upload_file(&case.join("receptor.pdb")).await?;
    let ligand = host.upload_file(&case.join("ligand.sdf")).await?;
    for route in ["validate", "execute"] {
        let path = format!("/api/v1/tasks/docking.vina/{route}");
        // NaN is not JSON: the request itself cannot be read, and says where.
        let text = fs::read_to_string(directory.join("box_nan.json"))?;
        let body = format!(
            r#"{{"inputs":{{"receptor":"{receptor}","ligand":"{ligand}"}},"parameters":{{"box":{text}}}}}"#
        );
        let request = host.request(reqwest::Method::POST, &path);
        let answer = host
            .send(
                request
                    .header("content-type", "application/json")
                    .body(body),
            )
            .await?;
        assert!(answer.status.is_client_error(), "{}", answer.text());
        answer.problem()?;

        let negative: Value =
            serde_json::from_slice(&fs::read(directory.join("box_negative.json"))?)?;
        let inputs = json!({ "receptor": receptor, "ligand": ligand });
        let body = json!({ "inputs": inputs, "parameters": { "box": negative } });
        let said = explained(&host.post(&path, &body).await?.expect_status(422)?)?;
        assert!(said.contains("/parameters/box/size"), "{said}");

        let all = json!({ "box": negative, "exhaustiveness": -1, "scoring": "guess", "ph": 99 });
        let body = json!({ "inputs": inputs, "parameters": all });
        let said = explained(&host.post(&path, &body).await?.expect_status(422)?)?;
        for name in ["box", "exhaustiveness", "scoring", "ph"] {
            assert!(
                said.contains(&format!("/parameters/{name}")),
                "{name} in {said}"
            );
        }
    }
    let all = host.get("/api/v1/executions").await?.json()?;
    assert_eq!(all["items"], json!([]), "nothing was launched");
    host.is_healthy().await
}
