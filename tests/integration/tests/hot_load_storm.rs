//! Many publishes under load, and many plugins at start. Numbers are printed; how many there are
//! is set by `BINDERY_STORM` (publishes, default 40) and `BINDERY_LOADED` (plugins, default 20).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bindery_integration::hot::{Component, development_host, publish};
use bindery_testkit::{TestHost, wait_for_condition};
use serde_json::{Value, json};

const TASK: &str = "test.hot-load";
const CLIENTS: usize = 8;
/// Versions that stay enabled side by side, as the server is set up by default, and some more: from
/// then on each publish puts as much away as it brings.
const WARM_UP: u32 = 12;
/// What publishes may leave behind beyond what so many requests leave without them: records, and
/// what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 32 << 20;
const SOON: Duration = Duration::from_secs(120);

fn count(name: &str, default: u32) -> u32 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What the clients met.
#[derive(Debug, Default)]
struct Met {
    validate: Vec<Duration>,
    execute: Vec<Duration>,
    versions: BTreeSet<String>,
}

fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times[((last as f64) * share).round() as usize]
}

/// One client: checks a request, makes it, and looks at who answered.
async fn client(host: &TestHost, met: &Mutex<Met>, stop: &AtomicBool) -> Result<()> {
    let body = json!({ "inputs": {}, "parameters": { "a": 1 } });
    let path = |route: &str| format!("/api/v1/tasks/{TASK}/{route}");
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        let checked = host.post(&path("validate"), &body).await?;
        let validate = started.elapsed();
        let checked = checked.expect_status(200)?.json()?;
        let by = checked["parameters"]["checked_by"]
            .as_str()
            .context("nobody checked")?
            .to_owned();

        let started = Instant::now();
        let executed = host.post(&path("execute"), &body).await?;
        let execute = started.elapsed();
        let executed = executed.expect_status(202)?.json()?;
        let id = executed["execution_id"].as_str().context("no id")?;
        let record = host.wait_for_end(id, SOON).await?;
        ensure!(record["status"] == "succeeded", "{record}");
        let results = host
            .get(&format!("/api/v1/executions/{id}/results"))
            .await?
            .expect_status(200)?
            .json()?;
        let output = &results["output"];
        let version = &record["task_version"];
        ensure!(
            output["computed_by"] == *version && output["checked_by"] == *version,
            "mixed: {version} of the record, {output}"
        );
        let mut met = met.lock().unwrap();
        met.validate.push(validate);
        met.execute.push(execute);
        met.versions.insert(by);
        met.versions.insert(version.as_str().unwrap().to_owned());
    }
    Ok(())
}

/// Runs all clients while something else happens.
async fn with_clients<T>(
    host: &TestHost,
    meanwhile: impl AsyncFnOnce() -> Result<T>,
) -> Result<(T, Met)> {
    let met = Mutex::new(Met::default());
    let stop = AtomicBool::new(false);
    let clients = async {
        let all: Vec<_> = (0..CLIENTS).map(|_| client(host, &met, &stop)).collect();
        let ended = futures::future::join_all(all).await;
        ended.into_iter().collect::<Result<Vec<()>>>()
    };
    let doing = async {
        let outcome = meanwhile().await;
        stop.store(true, Ordering::Relaxed);
        outcome
    };
    let (clients, outcome) = tokio::join!(clients, doing);
    clients?;
    Ok((outcome?, met.into_inner().unwrap()))
}

fn tell(what: &str, met: &mut Met) {
    eprintln!(
        "{what}: {} validates, p50 {:?}, p99 {:?}; {} executes, p50 {:?}, p99 {:?}; {} versions met",
        met.validate.len(),
        percentile(&mut met.validate, 0.5),
        percentile(&mut met.validate, 0.99),
        met.execute.len(),
        percentile(&mut met.execute, 0.5),
        percentile(&mut met.execute, 0.99),
        met.versions.len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_under_load_fail_no_call_and_mix_no_versions() -> Result<()> {
    let publishes = count("BINDERY_STORM", 40);
    let (host, _folder) = development_host().await?;
    let component = Component::built()?;
    for patch in 0..WARM_UP {
        publish(&host, component.version(1000 + patch)?.bytes())
            .await?
            .expect_status(201)?;
    }
    // As long as publishes take, so that memory that grows with requests is seen here too.
    let at_first = host.resident_bytes()?;
    let quiet_for = Duration::from_millis(250) * publishes;
    let ((), mut quiet) = with_clients(&host, async || {
        tokio::time::sleep(quiet_for).await;
        Ok(())
    })
    .await?;
    let before = host.resident_bytes()?;
    let took = AtomicUsize::new(0);
    let started = Instant::now();
    let ((), mut storm) = with_clients(&host, async || {
        for patch in 0..publishes {
            let bytes = component.version(2000 + patch)?.bytes();
            let answer = publish(&host, bytes).await?.expect_status(201)?.json()?;
            let milliseconds = answer["report"]["milliseconds"]
                .as_f64()
                .context("no time")?;
            took.fetch_add(milliseconds as usize, Ordering::Relaxed);
        }
        Ok(())
    })
    .await?;
    let elapsed = started.elapsed();
    tell("quiet", &mut quiet);
    tell("storm", &mut storm);
    eprintln!(
        "{publishes} publishes in {elapsed:?}, {} ms each on average, beside {CLIENTS} clients",
        took.load(Ordering::Relaxed) / publishes as usize
    );
    // Clients met what was published while they ran.
    ensure!(storm.versions.len() > publishes as usize / 2);
    let plugin = bindery_integration::hot::plugin(&host, TASK).await?;
    let enabled = plugin["versions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|version| version["status"] == "enabled")
        .count();
    assert_eq!(enabled, 8, "only so many stay live");
    assert_eq!(
        plugin["version"],
        Value::from(format!("1.0.{}", 2000 + publishes - 1))
    );
    // The store keeps what it has read of executions, up to a bound: as much for each here as there.
    let each = before.saturating_sub(at_first) / quiet.execute.len().max(1) as u64;
    let level = before + each * storm.execute.len() as u64 + GROWTH_BYTES_MAX;
    let back = wait_for_condition("memory to be back at its level", SOON, async || {
        Ok((host.resident_bytes()? <= level).then_some(()))
    })
    .await;
    eprintln!(
        "memory: {} MiB before the clients, {} MiB after {} requests without a publish, {} MiB after {} \
         with {publishes}",
        at_first >> 20,
        before >> 20,
        quiet.execute.len(),
        host.resident_bytes()? >> 20,
        storm.execute.len(),
    );
    back?;
    host.is_healthy().await
}

#[tokio::test(flavor = "multi_thread")]
async fn many_plugins_cost_little_at_start() -> Result<()> {
    let plugins = count("BINDERY_LOADED", 20);
    let (mut host, _folder) = development_host().await?;
    host.kill()?;
    let started = Instant::now();
    host.restart().await?;
    let empty = started.elapsed();
    let component = Component::built()?;
    let host = Arc::new(host);
    // Of different names: side by side.
    let published = (0..plugins).map(|number| {
        let (host, component) = (Arc::clone(&host), component.clone());
        async move {
            publish(&host, component.task(number)?.bytes())
                .await?
                .expect_status(201)
                .map(drop)
        }
    });
    let published = futures::future::join_all(published).await;
    published.into_iter().collect::<Result<Vec<()>>>()?;
    let mut host = Arc::into_inner(host).context("still used")?;
    host.kill()?;
    let started = Instant::now();
    host.restart().await?;
    let full = started.elapsed();
    let tasks = host.get("/api/v1/plugins?limit=200").await?.json()?;
    assert_eq!(tasks["items"].as_array().unwrap().len(), plugins as usize);
    let last = format!("/api/v1/tasks/test.ht-p{:04}", plugins - 1);
    host.get(&last).await?.expect_status(200)?;
    let more = full.saturating_sub(empty);
    eprintln!("start: {empty:?} with no plugin, {full:?} with {plugins}: {more:?} more");
    // Ten milliseconds each on a quiet machine is the goal; tests share theirs.
    ensure!(
        more < Duration::from_secs(1) + Duration::from_millis(50) * plugins,
        "{more:?}"
    );
    Ok(())
}
