//! Work that does nothing, through the queue: submitted durably, executed, its result stored.
//! Beside Celery on Redis in the same run, as it usually runs (nothing durable) and with the promise
//! that we make (`appendfsync always`).
//!
//! Needs `redis-server` (Debian: redis-server) and Python.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use bindery_benches::{
    Samples,
    http::{Connection, post},
};
use bindery_core::{AttemptEnding, OrgId};
use bindery_datastore::{Database, Datastore, LocalDatastore, Options};
use bindery_dispatcher::{
    AttemptReport, Dispatcher, Executor, Resources, ResultBody, Rules, Submission, UpdateSink,
    WorkOrder,
    records::{ResourcesRecord, UsageRecord},
};
use bindery_testkit::{HostBuilder, TestHost};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Executions of the busy measurement, and of the one that goes one by one.
const MANY: usize = 20_000;
const SINGLES: usize = 1_000;
/// Executions asked of Celery and over HTTP: they are slower, and the ratio is the same.
const FEWER: usize = 5_000;
const SUBMITTERS: usize = 64;
const CONNECTIONS: usize = 16;
const DEADLINE: Duration = Duration::from_secs(120);

struct Figures {
    name: &'static str,
    durable: bool,
    submit: Samples,
    submit_busy: Samples,
    one_at_a_time: Samples,
    per_second: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let figures = [
        in_process().await?,
        over_http().await?,
        celery("Celery 5.7, Redis", &[])?,
        celery(
            "Celery 5.7, Redis with `appendfsync always`",
            &["--appendonly", "yes", "--appendfsync", "always"],
        )?,
    ];
    println!("{}", table(&figures));
    Ok(())
}

fn table(rows: &[Figures]) -> String {
    let ms = |samples: &Samples, share| samples.percentile(share).as_secs_f64() * 1e3;
    let mut text = String::from(
        "| no-op executions | durable | submit p50 / p99 ms | the same, busy | one at a time p50 / p99 ms | per second |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in rows {
        text += &format!(
            "| {} | {} | {:.2} / {:.2} | {:.2} / {:.2} | {:.2} / {:.2} | {:.0} |\n",
            row.name,
            if row.durable { "yes" } else { "no" },
            ms(&row.submit, 0.5),
            ms(&row.submit, 0.99),
            ms(&row.submit_busy, 0.5),
            ms(&row.submit_busy, 0.99),
            ms(&row.one_at_a_time, 0.5),
            ms(&row.one_at_a_time, 0.99),
            row.per_second,
        );
    }
    text
}

/// Ends at once: what is left is the dispatcher and the store.
struct Nothing;

#[async_trait]
impl Executor for Nothing {
    async fn run(
        &self,
        order: WorkOrder,
        _updates: &dyn UpdateSink,
        _cancel: CancellationToken,
    ) -> AttemptReport {
        AttemptReport {
            ending: AttemptEnding::Succeeded,
            problem: None,
            body: Some(ResultBody::Inline(
                json!({ "output": order.record.parameters }),
            )),
            artifacts: Vec::new(),
            usage: UsageRecord::default(),
            receipts: Vec::new(),
            engines: Vec::new(),
            sandbox: None,
        }
    }
}

fn submission(number: usize) -> Submission {
    Submission {
        org: OrgId::BUILT_IN,
        task: "system.noop".to_owned(),
        task_version: "1.0.0".to_owned(),
        plugin: format!("sha256:{}", "0".repeat(64)),
        parameters: json!({ "n": number }),
        inputs: Vec::new(),
        seed: 42,
        resources: ResourcesRecord {
            cpu_cores: 1,
            memory_bytes: 1 << 20,
            wall_ms: 1_000,
        },
        priority: 128,
        labels: std::collections::BTreeMap::new(),
        notices: Vec::new(),
        idempotency: None,
    }
}

/// A directory that is not in memory, as that below /tmp may be.
fn on_disk() -> Result<tempfile::TempDir> {
    let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    std::fs::create_dir_all(&below)?;
    Ok(tempfile::tempdir_in(below)?)
}

async fn in_process() -> Result<Figures> {
    let directory = on_disk()?;
    let datastore: Arc<dyn Datastore> =
        Arc::new(LocalDatastore::open(directory.path(), Options::default())?);
    let capacity = Resources {
        cpu_cores: 2,
        memory_bytes: 1 << 30,
    };
    let config = Rules::shared(capacity, 3);
    let dispatcher = Dispatcher::start(Arc::clone(&datastore), Arc::new(Nothing), config).await?;
    let store = dispatcher.store(OrgId::BUILT_IN);
    let mut wakeups = datastore.subscribe();
    let (mut submit, mut one_at_a_time) = (Samples::default(), Samples::default());
    for number in 0..SINGLES {
        let start = Instant::now();
        let submitted = dispatcher.submit(submission(number)).await?;
        submit.push(start.elapsed());
        loop {
            let record = store
                .execution(submitted.execution)?
                .context("the execution is gone")?;
            if record.status == "succeeded" {
                break;
            }
            // A hint that was missed only makes it look again.
            let _ = tokio::time::timeout(DEADLINE, wakeups.recv()).await?;
        }
        one_at_a_time.push(start.elapsed());
    }
    let database = Database::Org(OrgId::BUILT_IN);
    let before = datastore.last_seq(database);
    let start = Instant::now();
    let mut submitters = Vec::new();
    for _ in 0..SUBMITTERS {
        let dispatcher = dispatcher.clone();
        submitters.push(tokio::spawn(async move {
            let mut times = Vec::new();
            for number in 0..MANY / SUBMITTERS {
                let start = Instant::now();
                dispatcher.submit(submission(number)).await?;
                times.push(start.elapsed());
            }
            anyhow::Ok(times)
        }));
    }
    let mut submit_busy = Samples::default();
    for submitter in submitters {
        for time in submitter.await?? {
            submit_busy.push(time);
        }
    }
    // Queued, started, finished; and its job created and finished.
    let expected = before + 5 * submit_busy.len() as u64;
    while datastore.last_seq(database) < expected {
        ensure!(start.elapsed() < DEADLINE, "not all executions ended");
        let _ = tokio::time::timeout(DEADLINE, wakeups.recv()).await?;
    }
    let per_second = submit_busy.len() as f64 / start.elapsed().as_secs_f64();
    dispatcher.shutdown(DEADLINE).await;
    Ok(Figures {
        name: "Bindery, dispatcher and store",
        durable: true,
        submit,
        submit_busy,
        one_at_a_time,
        per_second,
    })
}

/// A whole server: HTTP, checks by the guest, execution by the guest, logs, results.
async fn over_http() -> Result<Figures> {
    let host = HostBuilder::default().argument("--dev").start().await?;
    let address = host.address().to_owned();
    let token = host.token().to_owned();
    let figures = tokio::task::spawn_blocking(move || drive(&address, &token)).await??;
    drop::<TestHost>(host);
    Ok(figures)
}

const EXECUTE: &str = "/api/v1/tasks/system.noop/execute";

fn execute(token: &str, number: usize) -> Vec<u8> {
    let body = json!({ "parameters": {}, "labels": { "n": number.to_string() }, "cache": "off" });
    post(EXECUTE, Some(token), &body.to_string())
}

fn drive(address: &str, token: &str) -> Result<Figures> {
    let mut connection = Connection::open(address)?;
    let (mut submit, mut one_at_a_time) = (Samples::default(), Samples::default());
    for number in 0..SINGLES {
        let start = Instant::now();
        let answer: Value = serde_json::from_slice(&connection.ask(&execute(token, number))?)?;
        submit.push(start.elapsed());
        let id = answer
            .get("execution_id")
            .and_then(Value::as_str)
            .context("no execution id")?;
        let status = get(&format!("/api/v1/executions/{id}/status"), token);
        loop {
            let now: Value = serde_json::from_slice(&connection.ask(&status)?)?;
            match now.get("status").and_then(Value::as_str) {
                Some("succeeded") => break,
                Some("queued" | "running") => {}
                other => anyhow::bail!("ended as {other:?}"),
            }
            ensure!(start.elapsed() < DEADLINE, "an execution does not end");
        }
        one_at_a_time.push(start.elapsed());
    }
    let start = Instant::now();
    let mut submit_busy = Samples::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(address)?;
                    let mut times = Vec::new();
                    for number in 0..FEWER / CONNECTIONS {
                        let request = execute(token, number);
                        let start = Instant::now();
                        connection.ask(&request)?;
                        times.push(start.elapsed());
                    }
                    anyhow::Ok(times)
                })
            })
            .collect();
        for thread in threads {
            let times = thread
                .join()
                .map_err(|_| anyhow::anyhow!("a client panicked"))??;
            for time in times {
                submit_busy.push(time);
            }
        }
        anyhow::Ok(())
    })?;
    for status in ["queued", "running"] {
        let waiting = get(&format!("/api/v1/jobs?status={status}&limit=1"), token);
        loop {
            let page: Value = serde_json::from_slice(&connection.ask(&waiting)?)?;
            if page
                .get("items")
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty)
            {
                break;
            }
            ensure!(start.elapsed() < DEADLINE, "not all executions ended");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let per_second = submit_busy.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Figures {
        name: "Bindery, server over HTTP, one job each",
        durable: true,
        submit,
        submit_busy,
        one_at_a_time,
        per_second,
    })
}

fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
}

#[derive(serde::Deserialize)]
struct Measured {
    submit: Vec<f64>,
    submit_busy: Vec<f64>,
    one_at_a_time: Vec<f64>,
    whole: f64,
}

/// Celery with two processes, on a Redis of our own.
fn celery(name: &'static str, settings: &[&str]) -> Result<Figures> {
    let python = python()?;
    let directory = on_disk()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let _redis = Ended(
        Command::new("redis-server")
            .args([
                "--port",
                &port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
            ])
            .arg("--dir")
            .arg(directory.path())
            .args(settings)
            .stdout(Stdio::null())
            .spawn()
            .context("failed to start redis-server (Debian: apt-get install redis-server)")?,
    );
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(start.elapsed() < DEADLINE, "redis does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let peers = peers();
    let command = || {
        let mut command = Command::new(&python);
        command
            .env("REDIS_URL", format!("redis://127.0.0.1:{port}/0"))
            .env("PYTHONPATH", &peers)
            .current_dir(directory.path());
        command
    };
    let _worker = Ended(
        command()
            .args(["-m", "celery", "--app", "celery_calls", "worker"])
            .args(["--concurrency", "2", "--loglevel", "ERROR"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?,
    );
    let output = command()
        .arg(peers.join("celery_calls.py"))
        .args(["measure", &FEWER.to_string(), &SINGLES.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "celery_calls.py failed");
    let measured: Measured = serde_json::from_slice(&output.stdout)?;
    let samples = |seconds: &[f64]| {
        let mut samples = Samples::default();
        for time in seconds {
            samples.push(Duration::from_secs_f64(*time));
        }
        samples
    };
    Ok(Figures {
        name,
        durable: !settings.is_empty(),
        submit: samples(&measured.submit),
        submit_busy: samples(&measured.submit_busy),
        one_at_a_time: samples(&measured.one_at_a_time),
        per_second: FEWER as f64 / measured.whole,
    })
}

/// A process that is stopped when dropped, with time to stop its children.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // A kill would leave a worker's children behind. When this fails, the kill below does it.
        let _ = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may have ended by itself; there is nobody to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// A Python that has Celery.
fn python() -> Result<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/queue-venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--requirement"])
        .arg(peers().join("queue-requirements.txt")))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("failed to start {:?}", command.get_program()))?;
    ensure!(status.success(), "{:?} failed", command.get_program());
    Ok(())
}
