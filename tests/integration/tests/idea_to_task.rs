//! From an idea to a task that others run: a new plugin in each language is built, tried and
//! published to a server that goes on, and is executed over HTTP. Then it is edited and published
//! again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

use std::{fs, path::Path, time::Duration, time::Instant};

use anyhow::{Context, Result, ensure};
use bindery_integration::{Cli, hot::development_host, language_tools};
use bindery_testkit::TestHost;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(60);

async fn bindery(arguments: &[&str], directory: &Path) -> Result<Value> {
    let mut cli = Cli::new(arguments)?;
    cli = cli.arg(directory);
    let finished = cli.finish().await?;
    ensure!(finished.code()? == 0, "{arguments:?}: {}", finished.stderr);
    finished.document().or(Ok(Value::Null))
}

/// Uploads a text and counts its words; gives the output.
async fn count(host: &TestHost, task: &str) -> Result<Value> {
    let file = host
        .upload("files", "text.txt", b"the cat and the dog".to_vec())
        .await?
        .expect_status(201)?
        .json()?;
    let id = file["id"].as_str().context("no id")?;
    let run = host
        .execute(task, json!({ "text": id }), json!({ "top": 1 }))
        .await?;
    let record = host.wait_for_end(&run.execution, SOON).await?;
    ensure!(record["status"] == "succeeded", "{record:#}");
    let results = host
        .get(&format!("/api/v1/executions/{}/results", run.execution))
        .await?
        .json()?;
    Ok(results["output"].clone())
}

async fn from_new_to_executed(language: &str, counts: [&str; 2], source: &str) -> Result<()> {
    if !language_tools(language) {
        return Ok(());
    }
    let (host, _folder) = development_host().await?;
    let home = tempfile::tempdir()?;
    let directory = home.path().join("words");
    let started = Instant::now();
    let mut times = Vec::new();
    let mut lap =
        |what: &str| times.push(format!("{what} {:.1} s", started.elapsed().as_secs_f64()));
    bindery(
        &["plugin", "new", "text.words", "--lang", language, "--dir"],
        &directory,
    )
    .await?;
    lap("new");
    bindery(&["plugin", "test", "--json"], &directory).await?;
    lap("built and tested");
    let publish = [
        "plugin",
        "publish",
        "--json",
        "--server",
        host.address(),
        "--token",
        host.token(),
    ];
    bindery(&publish, &directory.join("dist")).await?;
    lap("published");
    assert_eq!(count(&host, "text.words").await?["words"], 5);
    lap("executed");
    eprintln!("{language}: {}", times.join(", "));

    // The next version, while the server goes on and the first one stays.
    let file = directory.join(source);
    let text = fs::read_to_string(&file)?;
    assert_eq!(text.matches(counts[0]).count(), 1, "{text}");
    fs::write(&file, text.replace(counts[0], counts[1]))?;
    bump(&directory)?;
    bindery(&["plugin", "build"], &directory).await?;
    // Its own golden case keeps a version away that counts otherwise, until the case says so too.
    let refused = bindery(&publish, &directory.join("dist"))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("cases_failed"), "{refused}");
    assert_eq!(count(&host, "text.words").await?["words"], 5);
    let case = directory.join("cases/counts/case.toml");
    let text = fs::read_to_string(&case)?;
    assert_eq!(text.matches("words = 7").count(), 1, "{text}");
    fs::write(&case, text.replace("words = 7", "words = 8"))?;
    bindery(&["plugin", "build"], &directory).await?;
    bindery(&publish, &directory.join("dist")).await?;
    assert_eq!(count(&host, "text.words").await?["words"], 6);
    assert_eq!(count(&host, "text.words@0.1.0").await?["words"], 5);
    host.is_healthy().await
}

/// Raises the version wherever the project names it.
fn bump(directory: &Path) -> Result<()> {
    for name in ["bindery.toml", "Cargo.toml", "task.js", "task.py"] {
        let file = directory.join(name);
        if let Ok(text) = fs::read_to_string(&file) {
            fs::write(&file, text.replace("\"0.1.0\"", "\"0.2.0\""))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn rust_becomes_a_task_while_the_server_goes_on() -> Result<()> {
    let counts = ["\"words\": words,", "\"words\": words + 1,"];
    from_new_to_executed("rust", counts, "src/lib.rs").await
}

#[tokio::test]
async fn javascript_becomes_a_task_while_the_server_goes_on() -> Result<()> {
    let counts = ["output: { words,", "output: { words: words + 1,"];
    from_new_to_executed("js", counts, "task.js").await
}

#[tokio::test]
async fn python_becomes_a_task_while_the_server_goes_on() -> Result<()> {
    let counts = ["{\"words\": words,", "{\"words\": words + 1,"];
    from_new_to_executed("python", counts, "task.py").await
}
