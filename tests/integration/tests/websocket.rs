//! The WebSocket from outside: a whole run, and a connection that breaks in the middle of it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use bindery_testkit::{Socket, TestHost, dist};
use serde_json::{Value, json};

/// Between two events of a docking run; machines are shared.
const SILENCE_MAX: Duration = Duration::from_secs(120);

async fn submit(host: &TestHost) -> Result<String> {
    let files = dist()?.join("plugins/docking.vina/examples/1uw6");
    let receptor = host.upload_file(&files.join("receptor.pdb")).await?;
    let ligand = host.upload_file(&files.join("ligand.sdf")).await?;
    let search: Value = serde_json::from_slice(&std::fs::read(files.join("box.json"))?)?;
    let inputs = json!({ "receptor": receptor, "ligand": ligand });
    // Long enough to be seen at work.
    let parameters = json!({ "box": search, "exhaustiveness": 8, "seed": 42 });
    Ok(host
        .execute("docking.vina", inputs, parameters)
        .await?
        .execution)
}

/// The next event; a `resync` is none and fails.
async fn event(socket: &mut Socket) -> Result<Value> {
    let frame = socket.next(SILENCE_MAX).await?;
    assert_eq!(frame["type"], "event", "{frame}");
    assert_eq!(frame["topic"], "org", "{frame}");
    Ok(frame)
}

fn is(event: &Value, name: &str) -> bool {
    event["event"] == name
}

/// Asserts what a client must have seen of one run, from `start` on.
fn check(events: &[Value], start: u64, execution: &str) {
    for (index, event) in events.iter().enumerate() {
        assert_eq!(
            event["seq"],
            start + 1 + index as u64,
            "no gap, nothing twice: {event}"
        );
    }
    let of_it = |name: &str| -> Vec<usize> {
        events
            .iter()
            .enumerate()
            .filter(|(_, event)| is(event, name) && event["data"]["execution_id"] == execution)
            .map(|(index, _)| index)
            .collect()
    };
    let (queued, started, finished) = (
        of_it("execution.queued"),
        of_it("execution.started"),
        of_it("execution.finished"),
    );
    assert_eq!((queued.len(), started.len(), finished.len()), (1, 1, 1));
    assert!(queued[0] < started[0]);
    let progress = of_it("execution.progress");
    assert!(started[0] < progress[0] && *progress.last().unwrap() < finished[0]);
    assert_eq!(events[finished[0]]["data"]["status"], "succeeded");
    let mut last = 0.0;
    let mut distinct = BTreeSet::new();
    for index in progress {
        let value = events[index]["data"]["progress"].as_f64().unwrap();
        assert!(
            (last..=1.0).contains(&value),
            "progress only grows: {last}, then {value}"
        );
        last = value;
        distinct.insert(value.to_bits());
    }
    assert!(
        distinct.len() >= 10,
        "{} distinct values of progress",
        distinct.len()
    );
}

#[tokio::test]
async fn a_docking_run_is_seen_whole_and_a_broken_connection_misses_nothing() -> Result<()> {
    let host = TestHost::start().await?;
    let mut steady = host.socket().await?;
    let start = steady.subscribe(&["org"], None).await?;
    let mut broken = host.socket().await?;
    assert_eq!(broken.subscribe(&["org"], None).await?, start);
    let execution = submit(&host).await?;

    // One client has its connection cut at every fifth event, and resumes where it was.
    let cut = async {
        let mut seen: Vec<Value> = Vec::new();
        let mut cuts = 0;
        loop {
            let event = event(&mut broken).await?;
            let over = is(&event, "job.finished");
            seen.push(event);
            if over {
                return anyhow::Ok((seen, cuts));
            }
            if seen.len().is_multiple_of(5) {
                cuts += 1;
                broken = host.socket().await?;
                broken
                    .subscribe(&["org"], seen.last().unwrap()["seq"].as_u64())
                    .await?;
            }
        }
    };
    let watch = async {
        let mut seen = Vec::new();
        loop {
            let event = event(&mut steady).await?;
            let over = is(&event, "job.finished");
            seen.push(event);
            if over {
                return anyhow::Ok(seen);
            }
        }
    };
    let ((resumed, cuts), seen) = tokio::try_join!(cut, watch)?;
    assert!(cuts >= 2, "{cuts} cuts");
    check(&seen, start, &execution);
    check(&resumed, start, &execution);

    // From the beginning, after all is over.
    let mut late = host.socket().await?;
    late.subscribe(&["org"], Some(start)).await?;
    let mut replayed = Vec::new();
    for _ in 0..seen.len() {
        replayed.push(event(&mut late).await?);
    }
    assert_eq!(replayed, seen);
    host.is_healthy().await
}

#[tokio::test]
async fn seq_goes_on_after_a_restart() -> Result<()> {
    let mut host = TestHost::start().await?;
    let mut socket = host.socket().await?;
    let start = socket.subscribe(&["org"], None).await?;
    host.execute("system.noop", json!({}), json!({})).await?;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event| !is(event, "job.finished")) {
        seen.push(event(&mut socket).await?);
    }
    drop(socket);
    host.kill()?;
    host.restart().await?;
    let mut socket = host.socket().await?;
    socket.subscribe(&["org"], Some(start)).await?;
    host.execute("system.noop", json!({}), json!({})).await?;
    let mut all: Vec<Value> = Vec::new();
    while all.iter().filter(|event| is(event, "job.finished")).count() < 2 {
        all.push(event(&mut socket).await?);
    }
    assert_eq!(all[..seen.len()], seen);
    for (index, event) in all.iter().enumerate() {
        assert_eq!(event["seq"], start + 1 + index as u64, "{event}");
    }
    Ok(())
}
