//! Components that differ in their version, made without a compiler, and what is done with them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bindery_testkit::{Answer, HostBuilder, TestHost, wait_for_condition};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What stands in the guest's data.
const VERSION: &str = "1.0.1000";
const TASK: &str = "test.hot-load";
const GOOD: &str = "manners=good";
const TRAP: &str = "manners=trap";

/// A component of the guest `hot_load` with other texts in it.
#[derive(Debug, Clone)]
pub struct Component(Vec<u8>);

impl Component {
    /// # Errors
    /// When the guest cannot be built.
    pub fn built() -> Result<Self> {
        Ok(Self(bindery_guests_build::guest("hot_load")?))
    }

    /// The same with version `1.0.PATCH`, of four digits.
    ///
    /// # Errors
    /// When the text is not there.
    pub fn version(&self, patch: u32) -> Result<Self> {
        self.replaced(VERSION, &format!("1.0.{patch:04}"))
    }

    /// The same as another task.
    ///
    /// # Errors
    /// When the text is not there.
    pub fn task(&self, number: u32) -> Result<Self> {
        self.replaced(TASK, &format!("test.ht-p{number:04}"))
    }

    /// The same, but every check of a request breaks.
    ///
    /// # Errors
    /// When the text is not there.
    pub fn trapping(&self) -> Result<Self> {
        self.replaced(GOOD, TRAP)
    }

    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn replaced(&self, from: &str, to: &str) -> Result<Self> {
        ensure!(from.len() == to.len(), "{from} and {to} differ in length");
        let mut bytes = self.0.clone();
        let mut found = 0;
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..at + from.len()) {
            if rest == from.as_bytes() {
                rest.copy_from_slice(to.as_bytes());
                found += 1;
            }
            at += 1;
        }
        ensure!(found > 0, "{from} is not in the component");
        Ok(Self(bytes))
    }
}

/// A server that takes unsigned plugins, and a folder that it watches.
///
/// # Errors
/// When it does not start.
pub async fn development_host() -> Result<(TestHost, TempDir)> {
    let folder = tempfile::tempdir()?;
    let host = HostBuilder::default()
        .argument("--dev")
        .argument("--plugins")
        .argument(folder.path())
        .start()
        .await?;
    Ok((host, folder))
}

/// Publishes; gives the answer.
///
/// # Errors
/// When there is none.
pub async fn publish(host: &TestHost, bytes: Vec<u8>) -> Result<Answer> {
    let request = host
        .request(Method::POST, "/api/v1/plugins")
        .header("content-type", "application/octet-stream")
        .body(bytes);
    host.send(request).await
}

/// What a plugin's route says.
///
/// # Errors
/// When there is no such plugin.
pub async fn plugin(host: &TestHost, name: &str) -> Result<Value> {
    host.get(&format!("/api/v1/plugins/{name}"))
        .await?
        .expect_status(200)?
        .json()
}

/// A change by its route, for example `rollback`.
///
/// # Errors
/// When there is no answer.
pub async fn change(host: &TestHost, name: &str, action: &str) -> Result<Answer> {
    host.post(&format!("/api/v1/plugins/{name}/{action}"), &json!({}))
        .await
}

/// Waits until the task means this version; none when it is not there.
///
/// # Errors
/// When it does not in time.
pub async fn wait_for_version(host: &TestHost, task: &str, version: Option<&str>) -> Result<()> {
    let what = format!("{task} to be {version:?}");
    wait_for_condition(&what, Duration::from_secs(60), async || {
        let answer = host.get(&format!("/api/v1/tasks/{task}")).await?;
        let now = match answer.status.as_u16() {
            200 => Some(
                answer
                    .json()?
                    .get("version")
                    .and_then(Value::as_str)
                    .context("no version")?
                    .to_owned(),
            ),
            _ => None,
        };
        Ok((now.as_deref() == version).then_some(()))
    })
    .await
}
