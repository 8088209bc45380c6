//! `kill -9` of the server at random moments. What was acknowledged ends exactly once, and no
//! process outlives its server.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]
#![allow(clippy::print_stderr, reason = "says how to repeat a failure")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Result;
use bindery_testkit::{Submitted, TestHost, dist, is_terminal, wait_for_condition};
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(120);
/// A few seconds of CPU twice; machines are shared.
const DOCKED: Duration = Duration::from_secs(300);
/// Clients that submit at once.
const CLIENTS: usize = 3;
/// Kills of one test run, unless `BINDERY_TEST_KILLS` says otherwise.
const KILLS: u64 = 50;
/// The moment of a kill after the clients start: from before the first acknowledgement to well
/// into the first runs.
const LIFE_MAX_MS: u64 = 500;

/// SplitMix64: enough for moments, and its seed repeats them.
struct Moments(u64);

impl Moments {
    fn from_environment() -> Self {
        let seed = std::env::var("BINDERY_TEST_SEED").map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                now.map_or(1, |now| u64::from(now.subsec_nanos()))
            },
            |text| text.parse().unwrap(),
        );
        eprintln!("repeat with BINDERY_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Asserts that an execution is over, once, in its record and in its events.
async fn ended_once(host: &TestHost, id: &str, deadline: Duration) -> Result<Value> {
    let record = host.wait_for_end(id, deadline).await?;
    let status = record["status"].as_str().unwrap();
    assert!(!record["finished"].is_null(), "{record}");
    let attempts = record["attempts"].as_array().unwrap();
    for attempt in attempts {
        assert!(
            attempt["ending"].is_string(),
            "no attempt is left open: {record}"
        );
    }
    for attempt in &attempts[..attempts.len().saturating_sub(1)] {
        assert_eq!(
            attempt["ending"], "lost",
            "only lost attempts are repeated: {record}"
        );
    }
    let events = host.events(id).await?;
    let ends: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "execution.finished")
        .collect();
    assert_eq!(ends.len(), 1, "one end of {id}: {events:?}");
    assert_eq!(ends[0]["data"]["status"], status);
    let seqs: BTreeSet<u64> = events
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs.len(), events.len(), "no number twice: {events:?}");
    Ok(record)
}

#[tokio::test]
async fn a_docking_run_ends_once_though_its_server_is_killed() -> Result<()> {
    let mut host = TestHost::start().await?;
    let files = dist()?.join("plugins/docking.vina/examples/1uw6");
    let receptor = host.upload_file(&files.join("receptor.pdb")).await?;
    let ligand = host.upload_file(&files.join("ligand.sdf")).await?;
    let search: Value = serde_json::from_slice(&std::fs::read(files.join("box.json"))?)?;
    let inputs = json!({ "receptor": receptor, "ligand": ligand });
    let parameters = json!({ "box": search, "exhaustiveness": 2, "seed": 42 });
    let run = host.execute("docking.vina", inputs, parameters).await?;
    wait_for_condition("the search to be under way", DOCKED, async || {
        let record = host.execution(&run.execution).await?;
        assert!(
            !is_terminal(record["status"].as_str().unwrap()),
            "too quick to be killed"
        );
        Ok(record["progress"]
            .as_f64()
            .filter(|progress| *progress > 0.1))
    })
    .await?;
    host.note_processes();
    assert!(
        host.processes().len() >= 3,
        "helper, first process, engine: {:?}",
        host.processes()
    );
    host.kill()?;
    host.no_process_left().await?;
    host.restart().await?;
    let record = ended_once(&host, &run.execution, DOCKED).await?;
    assert_eq!(record["status"], "succeeded", "{record}");
    assert_eq!(record["attempts"].as_array().unwrap().len(), 2, "{record}");
    assert_eq!(record["attempts"][0]["ending"], "lost");
    host.is_healthy().await
}

#[tokio::test]
async fn a_sleeping_run_leaves_no_process_and_is_tried_again() -> Result<()> {
    let mut host = TestHost::start().await?;
    let run = host
        .execute("system.sleep", json!({}), json!({ "seconds": 600 }))
        .await?;
    for attempt in 1..=3_usize {
        wait_for_condition("the engine to run", SOON, async || {
            host.note_processes();
            Ok((host.processes().len() >= 3).then_some(()))
        })
        .await?;
        host.kill()?;
        host.no_process_left().await?;
        host.restart().await?;
        let record = wait_for_condition("the next attempt", SOON, async || {
            let record = host.execution(&run.execution).await?;
            let attempts = record["attempts"].as_array().unwrap().len();
            Ok((record["status"] == "running" && attempts > attempt).then_some(record))
        })
        .await?;
        assert_eq!(
            record["attempts"][attempt - 1]["ending"],
            "lost",
            "{record}"
        );
    }
    let path = format!("/api/v1/executions/{}/cancel", run.execution);
    assert!(host.post(&path, &json!({})).await?.status.is_success());
    let record = ended_once(&host, &run.execution, SOON).await?;
    assert_eq!(record["status"], "cancelled", "{record}");
    host.no_process_left().await
}

#[tokio::test]
async fn random_kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let kills = std::env::var("BINDERY_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let mut moments = Moments::from_environment();
    let mut host = TestHost::start().await?;
    let mut acknowledged: Vec<Submitted> = Vec::new();
    let mut keys: Vec<(String, Submitted)> = Vec::new();
    for round in 0..kills {
        let life = Duration::from_millis(moments.below(LIFE_MAX_MS));
        let tenths: Vec<u64> = (0..CLIENTS).map(|_| moments.below(4)).collect();
        // Each client submits until the server dies under it; all of them race with the kill.
        let clients = (0..CLIENTS).map(|client| {
            let (request, tenth) = (submission(&host), tenths[client]);
            tokio::spawn(submit_until_dead(
                request,
                format!("{round}-{client}"),
                tenth,
                life,
            ))
        });
        let clients: Vec<_> = clients.collect();
        let moment = Instant::now() + life;
        wait_for_condition("the moment", SOON, async || {
            Ok((Instant::now() >= moment).then_some(()))
        })
        .await?;
        host.kill()?;
        for client in clients {
            for (key, submitted) in client.await? {
                acknowledged.push(submitted.clone());
                keys.push((key, submitted));
            }
        }
        host.no_process_left().await?;
        host.restart().await?;
    }
    eprintln!("{} acknowledged in {kills} rounds", acknowledged.len());
    assert!(
        acknowledged.len() as u64 > kills / 4,
        "the clients hardly got anything in"
    );
    let mut statuses: Vec<String> = Vec::new();
    let mut lost = 0;
    for submitted in &acknowledged {
        let record = ended_once(&host, &submitted.execution, SOON).await?;
        // A run that was there at five deaths of its server is given up, and says so.
        let status = record["status"].as_str().unwrap();
        assert!(matches!(status, "succeeded" | "dead_letter"), "{record}");
        statuses.push(status.to_owned());
        lost += record["attempts"].as_array().unwrap().len() - 1;
    }
    // Idempotency keys outlive kills: the same request is the same execution.
    if let Some((key, submitted)) = keys.last() {
        let tenth = key.rsplit('-').next().unwrap().parse()?;
        let answer = host.send(
            submission(&host)
                .header("idempotency-key", key)
                .json(&body(tenth)),
        );
        let answer = answer.await?.expect_status(202)?.json()?;
        assert_eq!(answer["execution_id"], submitted.execution);
    }
    let succeeded = statuses
        .iter()
        .filter(|status| *status == "succeeded")
        .count();
    eprintln!(
        "{succeeded} of {} succeeded, {lost} attempts were lost on the way",
        statuses.len()
    );
    assert!(kills < KILLS || lost > 0, "no kill hit a run");
    host.is_healthy().await
}

fn submission(host: &TestHost) -> reqwest::RequestBuilder {
    host.request(Method::POST, "/api/v1/tasks/system.sleep/execute")
}

/// Every other one by name is instant, the others are at work when the server dies.
fn body(tenth: u64) -> Value {
    json!({ "inputs": {}, "parameters": { "seconds": tenth as f64 / 10.0 } })
}

/// What was acknowledged with 202 until an answer failed to come.
async fn submit_until_dead(
    request: reqwest::RequestBuilder,
    name: String,
    tenth: u64,
    life: Duration,
) -> Vec<(String, Submitted)> {
    // More than are acknowledged in the longest life; bounds the work of the end of the test.
    const SUBMISSIONS_MAX: u64 = 4;
    let pause = life / 5;
    let mut acknowledged = Vec::new();
    for number in 0..SUBMISSIONS_MAX {
        let key = format!("{name}-{number}-{tenth}");
        let request = request.try_clone().unwrap().header("idempotency-key", &key);
        let Ok(response) = request.json(&body(tenth)).send().await else {
            break;
        };
        if response.status() != 202 {
            break;
        }
        let Ok(answer) = response.json::<Value>().await else {
            break;
        };
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        let submitted = Submitted {
            execution: text("execution_id"),
            job: text("job_id"),
        };
        acknowledged.push((key, submitted));
        // Spreads the submissions over the server's life.
        tokio::time::sleep(pause).await;
    }
    acknowledged
}
