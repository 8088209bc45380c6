//! `bindery job`: work on a server from the command line, from submission to results.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

use std::time::Duration;

use anyhow::Result;
use bindery_integration::{Cli, Finished};
use bindery_testkit::{TestHost, wait_for_condition};

const SOON: Duration = Duration::from_secs(120);

fn job(host: &TestHost, arguments: &[&str]) -> Result<Cli> {
    let mut words = vec!["job"];
    words.extend(arguments);
    Ok(Cli::new(&words)?
        .env("BINDERY_SERVER", host.address())
        .env("BINDERY_TOKEN", host.token()))
}

async fn ran(host: &TestHost, arguments: &[&str]) -> Result<Finished> {
    job(host, arguments)?.finish().await
}

async fn wait_for_job(host: &TestHost, id: &str, status: &str) -> Result<()> {
    wait_for_condition(status, SOON, async || {
        let shown = ran(host, &["show", id, "--json"]).await?.success()?;
        Ok((shown["status"] == status).then_some(()))
    })
    .await
}

#[tokio::test]
async fn from_submission_to_results() -> Result<()> {
    let host = TestHost::start().await?;
    let out = tempfile::tempdir()?;
    let watched = job(
        &host,
        &[
            "submit",
            "system.sleep",
            "--watch",
            "--json",
            "--param",
            "seconds=0.2",
        ],
    )?
    .arg("--label")
    .arg("campaign=spring & autumn")
    .arg("--out")
    .arg(out.path())
    .finish()
    .await?
    .success()?;
    assert_eq!(watched["status"], "succeeded");
    let result: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.path().join("result.json"))?)?;
    assert_eq!(result["task"], "system.sleep");
    let id = watched["id"].as_str().unwrap();

    let submitted = ran(&host, &["submit", "system.sleep", "--param", "seconds=600"]).await?;
    assert_eq!(submitted.code()?, 0, "{}", submitted.stderr);
    let long = submitted.stdout.trim().to_owned();
    let listed = async |filter: &[&str]| -> Result<Vec<String>> {
        let mut words = vec!["list", "--json"];
        words.extend(filter);
        let page = ran(&host, &words).await?.success()?;
        let items = page["items"].as_array().unwrap();
        Ok(items
            .iter()
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect())
    };
    assert_eq!(listed(&[]).await?, [long.as_str(), id]);
    assert_eq!(
        listed(&["--label", "campaign=spring & autumn"]).await?,
        [id]
    );
    assert_eq!(listed(&["--label", "campaign"]).await?, [id]);
    assert!(listed(&["--label", "campaign=spring"]).await?.is_empty());
    assert_eq!(
        listed(&["--status", "succeeded", "--task", "system.sleep"]).await?,
        [id]
    );
    assert!(listed(&["--task", "system.noop"]).await?.is_empty());

    wait_for_job(&host, &long, "running").await?;
    let watching = job(&host, &["watch", &long])?.start()?;
    assert_eq!(ran(&host, &["cancel", &long]).await?.code()?, 0);
    let watched = watching.finish().await?;
    assert_eq!(watched.code()?, 130, "{}", watched.stderr);
    assert_eq!(watched.stdout.trim(), format!("{long} cancelled"));
    let again = ran(&host, &["retry", &long, "--json"]).await?.success()?;
    assert_eq!(again["status"], "queued");
    wait_for_job(&host, &long, "running").await?;
    assert_eq!(ran(&host, &["retry", &long]).await?.code()?, 1);
    assert_eq!(ran(&host, &["cancel", &long]).await?.code()?, 0);
    wait_for_job(&host, &long, "cancelled").await?;

    let missing = ran(&host, &["watch", "../tokens"]).await?;
    assert_eq!(missing.code()?, 1);
    assert!(
        missing.stderr.contains("is not the id of a job"),
        "{}",
        missing.stderr
    );
    let rejected = ran(&host, &["submit", "system.sleep", "--param", "seconds=-1"]).await?;
    assert_eq!(rejected.code()?, 3, "{}", rejected.stderr);
    assert!(
        rejected.stderr.contains("/parameters/seconds"),
        "{}",
        rejected.stderr
    );
    Ok(())
}

/// A watch goes on over the death of its server.
#[tokio::test]
async fn a_watch_survives_its_server() -> Result<()> {
    let mut host = TestHost::start().await?;
    let submitted = ran(&host, &["submit", "system.sleep", "--param", "seconds=2"]).await?;
    let id = submitted.stdout.trim().to_owned();
    wait_for_job(&host, &id, "running").await?;
    let watching = job(&host, &["watch", &id])?.start()?;
    host.kill()?;
    host.restart_in_place().await?;
    let watched = watching.finish().await?;
    assert_eq!(watched.code()?, 0, "{}", watched.stderr);
    assert_eq!(watched.stdout.trim(), format!("{id} succeeded"));
    Ok(())
}
