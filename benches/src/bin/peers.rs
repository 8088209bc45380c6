//! Guest calls and whole services beside others, in one run: the same check of the same request by
//! wasmtime alone, by Bindery, by Extism, and by services over loopback; the same running total of
//! a column.
//!
//! ```text
//! cargo run --release -p bindery-benches --bin peers [calls]
//! ```
//!
//! What the peers need (a virtual environment of Python, a Rust target) is installed below
//! `target/peers` at the first run.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table for people"
)]

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use axum::{Json, Router, http::StatusCode, routing::post};
use bindery_benches::{
    Samples,
    bare::{BareLimited, BareSession, BareSync},
    check_request, http, table,
};
use bindery_bindings::{
    compute::exports::bindery::task::compute_task as wit,
    host::bindery::task::types::Request as WitRequest,
};
use bindery_core::{Batch, Column, ColumnData, Request};
use bindery_runtime::{CallGrants, Runtime, RuntimeConfig};
use bindery_testkit::{HostBuilder, TestHost};
use serde_json::{Value, json};

/// Calls of one variant before the next has its turn, so that all see the same machine.
const TURN: usize = 100;
const BATCHES: [usize; 2] = [1_000, 1_000_000];
/// Services start within seconds.
const START: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("--axum") {
        return serve_axum();
    }
    let calls = argument
        .map_or(Ok(10_000), |text| text.parse())
        .context("calls")?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let peers = Peers::set_up()?;
    let request = check_request("test.guest");
    let extism = peers.extism(&request, calls)?;
    tokio.block_on(async {
        println!("\n## One check, in process: {calls} calls\n");
        println!("{}", checks(&request, calls, &extism).await?);
        for rows in BATCHES {
            println!("\n## A column of {rows} numbers in, its running total out\n");
            println!("{}", columns(&request, rows, &extism).await?);
        }
        println!("\n## The same check as a service, over loopback, one kept connection\n");
        println!("{}", services(&peers, &request, calls).await?);
        Ok(())
    })
}

/// Names of times to samples, as a peer's program printed them.
type Times = BTreeMap<String, Samples>;

async fn checks(request: &Request, calls: usize, extism: &Times) -> Result<String> {
    let component = bindery_guests_build::guest("good_validate")?;
    let sync = BareSync::new(&component)?;
    let limited = BareLimited::new(&component)?;
    let runtime = Runtime::new(&RuntimeConfig::default())?;
    let plugin = runtime.load(component).await?;
    let asked = WitRequest::from(request);
    let mut instance = limited.instance().await?;
    let mut samples: [Samples; 4] = Default::default();
    for turn in 0..calls.div_ceil(TURN) + 1 {
        let [bare, bare_limited, ours, reused] = &mut samples;
        for _ in 0..TURN {
            // The first turn warms up.
            let note = |samples: &mut Samples, started: Instant| {
                if turn > 0 {
                    samples.push(started.elapsed());
                }
            };
            let started = Instant::now();
            sync.validate(&asked)?;
            note(bare, started);
            let started = Instant::now();
            limited.validate(&asked).await?;
            note(bare_limited, started);
            let started = Instant::now();
            plugin.validate(request.clone(), None).await?;
            note(ours, started);
            let started = Instant::now();
            instance.validate(&asked).await?;
            note(reused, started);
        }
    }
    let [bare, bare_limited, ours, reused] = &samples;
    Ok(table(&[
        ("bare wasmtime, fresh instance, no limits", bare),
        (
            "bare wasmtime, fresh instance, limits as Bindery's",
            bare_limited,
        ),
        ("**Bindery**, fresh instance, schema, receipt", ours),
        (
            "Extism, fresh plugin of compiled code",
            of(extism, "fresh")?,
        ),
        ("bare wasmtime, reused instance", reused),
        ("Extism, reused plugin", of(extism, "reused")?),
    ]))
}

fn of<'a>(times: &'a Times, name: &str) -> Result<&'a Samples> {
    times
        .get(name)
        .with_context(|| format!("no times of {name}"))
}

async fn columns(request: &Request, rows: usize, extism: &Times) -> Result<String> {
    let component = bindery_guests_build::guest("good_columns")?;
    let calls = (1_000_000 / rows).clamp(20, 1_000);
    let mut bare_session = BareSession::open(&component, &WitRequest::from(request)).await?;
    let runtime = Runtime::new(&RuntimeConfig::default())?;
    let plugin = runtime.load(component).await?;
    let mut session = plugin
        .open_session(
            request,
            None,
            CallGrants::default(),
            Duration::from_secs(600),
            Box::new(|_, _| {}),
        )
        .await?;
    let values = vec![1.0; rows];
    let batch = Batch {
        rows: u32::try_from(rows)?,
        columns: vec![Column {
            name: "value".to_owned(),
            data: ColumnData::F64s(values.clone()),
            validity: None,
        }],
    };
    let bare_batch = wit::Batch::from(batch.clone());
    let mut native = Samples::default();
    let mut bare = Samples::default();
    let mut ours = Samples::default();
    for turn in 0..calls + calls / 10 {
        let counted = turn >= calls / 10;
        let note = |samples: &mut Samples, started: Instant| {
            if counted {
                samples.push(started.elapsed());
            }
        };
        let started = Instant::now();
        let mut sum = 0.0;
        let totals: Vec<f64> = std::hint::black_box(&values)
            .iter()
            .map(|value| {
                sum += value;
                sum
            })
            .collect();
        std::hint::black_box(totals);
        note(&mut native, started);
        let started = Instant::now();
        let given = bare_session.push(&bare_batch).await?;
        note(&mut bare, started);
        ensure!(given.len() == 1, "rows are missing");
        // What a caller hands over is gone: its copy is not the host's work.
        let handed = batch.clone();
        let started = Instant::now();
        let given = session.push(handed).await?;
        note(&mut ours, started);
        ensure!(given.len() == 1, "rows are missing");
    }
    Ok(table(&[
        ("native Rust, no boundary", &native),
        ("bare wasmtime, `list<f64>`", &bare),
        ("**Bindery**, a session's push", &ours),
        ("Extism, bytes", of(extism, &format!("rows_{rows}"))?),
    ]))
}

async fn services(peers: &Peers, request: &Request, calls: usize) -> Result<String> {
    let body = json!({ "parameters": request.parameters }).to_string();
    let (host, _plugins) = bindery().await?;
    let axum = Service::start(Command::new(std::env::current_exe()?).arg("--axum"), "axum")?;
    let fastapi = Service::start(
        Command::new(peers.python.with_file_name("uvicorn"))
            .args(["fastapi_service:app", "--log-level", "error"])
            .current_dir(directory()),
        "fastapi",
    )?;
    let ours = host.address().trim_start_matches("http://").to_owned();
    let asks = [
        (
            ours,
            http::post(
                "/api/v1/tasks/test.guest/validate",
                Some(host.token()),
                &body,
            ),
        ),
        (axum.address.clone(), http::post("/validate", None, &body)),
        (
            fastapi.address.clone(),
            http::post("/validate", None, &body),
        ),
    ];
    // The client blocks: it must not stand on the threads that serve nobody here.
    let samples = tokio::task::spawn_blocking(move || -> Result<Vec<Samples>> {
        let mut samples = Vec::new();
        let mut connections = Vec::new();
        for (address, _) in &asks {
            samples.push(Samples::default());
            connections.push(http::Connection::open(address)?);
        }
        for turn in 0..calls.div_ceil(TURN) + 1 {
            for (((_, ask), connection), samples) in
                asks.iter().zip(&mut connections).zip(&mut samples)
            {
                for _ in 0..TURN {
                    let started = Instant::now();
                    let answer = connection.ask(ask)?;
                    if turn > 0 {
                        samples.push(started.elapsed());
                    } else {
                        let answer: Value = serde_json::from_slice(&answer)?;
                        ensure!(answer.get("parameters").is_some(), "{answer}");
                    }
                }
            }
        }
        Ok(samples)
    })
    .await??;
    let mut rows = [
        "**Bindery**: token, schema, sandboxed guest",
        "axum: native code, no token",
        "FastAPI and uvicorn: pydantic, no token",
    ]
    .into_iter()
    .zip(&samples)
    .collect::<Vec<_>>();
    // Ratios to the leanest.
    rows.swap(0, 1);
    Ok(table(&rows))
}

/// A server of ours with the guest of the check.
async fn bindery() -> Result<(TestHost, tempfile::TempDir)> {
    let plugins = tempfile::tempdir()?;
    std::fs::write(
        plugins.path().join("good_validate.wasm"),
        bindery_guests_build::guest("good_validate")?,
    )?;
    let host = HostBuilder::default()
        .argument("--dev")
        .argument("--plugins")
        .argument(plugins.path())
        .start()
        .await?;
    Ok((host, plugins))
}

/// A service of a peer, ended when dropped.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts it on a free port, given as `--port N`.
    fn start(command: &mut Command, name: &str) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let child = command
            .args(["--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let service = Self { child, address };
        let deadline = Instant::now() + START;
        while std::net::TcpStream::connect(&service.address).is_err() {
            ensure!(Instant::now() < deadline, "{name} does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(serde::Deserialize)]
struct Asked {
    parameters: Value,
}

/// The check of `good_validate`, natively.
fn check(parameters: &Value) -> Vec<Value> {
    [
        ("size", 0.0, 126.0),
        ("effort", 1.0, 64.0),
        ("count", 1.0, 100.0),
        ("range", 0.0, 10.0),
    ]
    .into_iter()
    .filter_map(|(name, low, high)| {
        let code = match parameters.get(name).and_then(Value::as_f64) {
            Some(value) if (low..=high).contains(&value) => return None,
            Some(_) => "out_of_range",
            None => "required",
        };
        Some(json!({ "pointer": format!("/parameters/{name}"), "code": code }))
    })
    .collect()
}

#[tokio::main]
async fn serve_axum() -> Result<()> {
    let port: u16 = std::env::args().nth(3).context("--port N")?.parse()?;
    let service = Router::new().route(
        "/validate",
        post(|Json(asked): Json<Asked>| async move {
            let faults = check(&asked.parameters);
            if faults.is_empty() {
                (
                    StatusCode::OK,
                    Json(json!({ "parameters": asked.parameters })),
                )
            } else {
                (
                    StatusCode::UNPROCESSABLE_ENTITY,
                    Json(json!({ "violations": faults })),
                )
            }
        }),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, service).await?;
    Ok(())
}

/// What the peers need.
struct Peers {
    python: PathBuf,
    guest: PathBuf,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

impl Peers {
    fn set_up() -> Result<Self> {
        const TARGET: &str = "wasm32-unknown-unknown";
        let below = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers");
        let python = below.join("venv/bin/python");
        let requirements = directory().join("requirements.txt");
        if !python.exists() {
            run(Command::new("python3")
                .args(["-m", "venv"])
                .arg(below.join("venv")))?;
        }
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--requirement"])
            .arg(requirements))?;
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
        let target = below.join("extism-guest");
        run(Command::new("cargo")
            .args(["build", "--release", "--locked", "--target", TARGET])
            .arg("--manifest-path")
            .arg(directory().join("extism-guest/Cargo.toml"))
            .arg("--target-dir")
            .arg(&target))?;
        Ok(Self {
            python,
            guest: target.join(TARGET).join("release/extism_guest.wasm"),
        })
    }

    fn extism(&self, request: &Request, calls: usize) -> Result<Times> {
        let parameters = tempfile::NamedTempFile::new()?;
        std::fs::write(parameters.path(), request.parameters.to_string())?;
        let output = Command::new(&self.python)
            .arg(directory().join("extism_calls.py"))
            .args([&self.guest, parameters.path()])
            .arg(calls.to_string())
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "extism_calls.py failed");
        let seconds: BTreeMap<String, Vec<f64>> = serde_json::from_slice(&output.stdout)?;
        Ok(seconds
            .into_iter()
            .map(|(name, seconds)| {
                let mut samples = Samples::default();
                for time in seconds {
                    samples.push(Duration::from_secs_f64(time));
                }
                (name, samples)
            })
            .collect())
    }
}

fn run(command: &mut Command) -> Result<()> {
    eprintln!("+ {command:?}");
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "{command:?} failed: {status}");
    Ok(())
}
