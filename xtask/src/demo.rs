//! `cargo xtask demo`: a real run through the HTTP interface, from nothing.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{client::Client, dist, project::Project, server::Server, setup};

const TASK: &str = "docking.vina";
/// The complex, below the project's root. Its origin and licence stand beside it.
const COMPLEX: &str = "plugins/docking/vina/examples/1uw6";
/// Docking takes seconds; a machine that needs this long has another problem.
const RUN: Duration = Duration::from_secs(300);
const ASK_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop the server after the scores; otherwise it stays until it is interrupted
    #[arg(long)]
    exit: bool,
    /// Address to listen on; port 0 picks one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: String,
    /// Where the server keeps everything [default: ./bindery-data; with --exit a temporary
    /// directory]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(crate) fn demo(project: &Project, arguments: &Arguments) -> Result<()> {
    setup::setup(project)?;
    dist::build(project)?;
    // Removed last, after the server.
    let temporary = tempfile::Builder::new().prefix("bindery-demo-").tempdir()?;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None if arguments.exit => temporary.path().to_owned(),
        None => PathBuf::from("bindery-data"),
    };
    let token_file = data.join("admin-token");
    let program = project.dist().join("bindery");
    let mut server = Server::start(&program, &arguments.listen, &data, &token_file)?;
    println!("server: {}", server.address());
    let token = fs::read_to_string(&token_file).with_context(|| {
        format!(
            "failed to read the token from {} (was it made there?); start with an empty --data",
            token_file.display()
        )
    })?;
    let client = Client::new(server.address(), token.trim());
    let docked = dock(project, &client, &mut server);
    if arguments.exit {
        docked?;
        let status = server.stop()?;
        if !status.success() {
            bail!("the server stopped with {status}");
        }
        println!("server: stopped");
        return Ok(());
    }
    let execution = docked?;
    println!();
    println!("API, to try in a browser: {}/api/docs", server.address());
    println!("  sign in with the token in {}", token_file.display());
    println!(
        "files: {}/api/v1/executions/{execution}/artifacts",
        server.address()
    );
    println!("The dashboard comes in a later version. Interrupt (Ctrl-C) to stop.");
    server.wait()?;
    server.stop()?;
    Ok(())
}

/// Uploads the complex, runs the task, shows progress and prints the poses. Gives the execution.
fn dock(project: &Project, client: &Client, server: &mut Server) -> Result<String> {
    let complex = project.root().join(COMPLEX);
    let receptor = upload(client, &complex.join("receptor.pdb"))?;
    let ligand = upload(client, &complex.join("ligand.sdf"))?;
    let search_box: Value = serde_json::from_str(&fs::read_to_string(complex.join("box.json"))?)?;
    let request = json!({
        "inputs": { "receptor": receptor, "ligand": ligand },
        "parameters": { "box": search_box, "exhaustiveness": 8, "seed": 42 },
        "labels": { "from": "demo" },
    });
    let started = Instant::now();
    let answer = client.post(&format!("/api/v1/tasks/{TASK}/execute"), &request)?;
    let execution = text(&answer, "/execution_id")?.to_owned();
    println!("{TASK}: execution {execution}");
    follow(client, server, &execution)?;
    let results = client.get(&format!("/api/v1/executions/{execution}/results"))?;
    println!("{TASK}: done in {:.1} s", started.elapsed().as_secs_f64());
    print!("{}", report(&results)?);
    Ok(execution)
}

fn upload(client: &Client, file: &Path) -> Result<String> {
    let item = client.upload("/api/v1/molecules/upload", file)?;
    let detail = |pointer: &str| item.pointer(pointer).map_or_else(String::new, plain);
    println!(
        "uploaded {}: {}, {} atoms",
        detail("/name"),
        detail("/format"),
        detail("/details/atoms"),
    );
    Ok(text(&item, "/id")?.to_owned())
}

/// Shows progress until the execution has ended; fails unless it succeeded.
fn follow(client: &Client, server: &mut Server, execution: &str) -> Result<()> {
    let deadline = Instant::now() + RUN;
    let mut bar = Bar::default();
    loop {
        server.check()?;
        let status = client.get(&format!("/api/v1/executions/{execution}/status"))?;
        match text(&status, "/status")? {
            "queued" | "running" => {
                let done = status
                    .get("progress")
                    .and_then(Value::as_f64)
                    .unwrap_or(0.0);
                let stage = status
                    .get("stage")
                    .and_then(Value::as_str)
                    .unwrap_or("Preparing")
                    .to_owned();
                bar.show(done, &stage);
            }
            "succeeded" => {
                bar.finish();
                return Ok(());
            }
            other => {
                bar.finish();
                bail!("the execution ended as {other}: {status:#}");
            }
        }
        if Instant::now() > deadline {
            bail!("the execution still runs after {} s", RUN.as_secs());
        }
        thread::sleep(ASK_EVERY);
    }
}

/// Progress on standard error: one line that is rewritten on a terminal, else a line for each new
/// stage and each tenth.
#[derive(Debug, Default)]
struct Bar {
    shown: Option<(String, u32)>,
}

impl Bar {
    fn show(&mut self, done: f64, stage: &str) {
        const WIDTH: usize = 40;
        let done = done.clamp(0.0, 1.0);
        let terminal = std::io::stderr().is_terminal();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 100"
        )]
        let percent = (done * 100.0) as u32;
        let now = (
            stage.to_owned(),
            if terminal { percent } else { percent / 10 },
        );
        if self.shown.as_ref() == Some(&now) {
            return;
        }
        self.shown = Some(now);
        let filled = usize::try_from(percent).unwrap_or(0) * WIDTH / 100;
        let bar = format!("{}{}", "#".repeat(filled), "-".repeat(WIDTH - filled));
        if terminal {
            // Carriage return, and erase to the end of the line.
            eprint!("\r[{bar}] {percent:>3} % {stage}\x1b[K");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("[{bar}] {percent:>3} % {stage}");
        }
    }

    fn finish(&self) {
        if self.shown.is_some() && std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// The poses as a table, and what they were made with.
fn report(results: &Value) -> Result<String> {
    let poses = results.pointer("/output/poses").and_then(Value::as_array);
    let poses = poses
        .filter(|poses| !poses.is_empty())
        .context("the results have no poses")?;
    let mut lines = vec![
        "pose  affinity (kcal/mol)  RMSD to the best pose, lower and upper bound (angstrom)"
            .to_owned(),
    ];
    for pose in poses {
        let number = |name: &str| {
            let value = pose.get(name).and_then(Value::as_f64);
            value.with_context(|| format!("a pose has no {name}"))
        };
        lines.push(format!(
            "{:>4}  {:>19.3}  {:>8.3} {:>8.3}",
            number("rank")?,
            number("affinity_kcal_mol")?,
            number("rmsd_lb")?,
            number("rmsd_ub")?,
        ));
    }
    let engines = results
        .get("engines")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let engines: Vec<String> = engines
        .map(|engine| {
            let part = |name: &str| engine.get(name).map_or_else(String::new, plain);
            format!("{} {}", part("name"), part("version"))
        })
        .collect();
    let level = results
        .pointer("/sandbox/level")
        .map_or_else(String::new, plain);
    lines.push(format!("engines: {}; sandbox: {level}", engines.join(", ")));
    let artifacts = results
        .get("artifacts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let names: Vec<String> = artifacts
        .filter_map(|artifact| artifact.get("name"))
        .map(plain)
        .collect();
    lines.push(format!("artifacts: {}", names.join(", ")));
    Ok(lines.join("\n") + "\n")
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.with_context(|| format!("the answer has no {pointer}: {value}"))
}

/// A JSON value as people write it.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn poses_become_a_table() {
        let results = json!({
            "output": { "poses": [
                { "rank": 1, "affinity_kcal_mol": -5.6, "rmsd_lb": 0.0, "rmsd_ub": 0.0 },
            ]},
            "engines": [{ "name": "vina", "version": "1.2.3" }],
            "sandbox": { "level": "L2" },
            "artifacts": [{ "name": "poses.sdf" }],
        });
        let text = report(&results).unwrap();
        assert!(
            text.contains("   1               -5.600     0.000    0.000\n"),
            "{text}"
        );
        assert!(
            text.contains("engines: vina 1.2.3; sandbox: L2\nartifacts: poses.sdf\n"),
            "{text}"
        );
    }

    #[test]
    fn no_poses_are_a_failure() {
        assert!(report(&json!({ "output": { "poses": [] } })).is_err());
    }
}
