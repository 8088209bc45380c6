//! The few requests of the HTTP interface that the demo makes.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::{
    Agent, Body, SendBody,
    http::{Response, header},
};

/// Every request of the demo is answered at once; the largest is an upload of some hundred KB.
const ANSWER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    address: String,
    authorization: String,
}

impl Client {
    pub(crate) fn new(address: &str, token: &str) -> Self {
        let config = Agent::config_builder()
            // Problem documents say more than a status.
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER))
            .build();
        Self {
            agent: config.into(),
            address: address.to_owned(),
            authorization: format!("Bearer {token}"),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.address));
        let response = request
            .header(header::AUTHORIZATION, &self.authorization)
            .call();
        document(path, response)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(path, "application/json", None, body.to_string())
    }

    /// Uploads a file as a raw body; gives what the host says of it.
    pub(crate) fn upload(&self, path: &str, file: &Path) -> Result<Value> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let disposition = format!("attachment; filename=\"{name}\"");
        let content =
            File::open(file).with_context(|| format!("failed to read {}", file.display()))?;
        self.send(
            path,
            "application/octet-stream",
            Some(&disposition),
            SendBody::from_owned_reader(content),
        )
    }

    fn send(
        &self,
        path: &str,
        media_type: &str,
        disposition: Option<&str>,
        body: impl ureq::AsSendBody,
    ) -> Result<Value> {
        let mut request = self
            .agent
            .post(format!("{}{path}", self.address))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, media_type);
        if let Some(disposition) = disposition {
            request = request.header(header::CONTENT_DISPOSITION, disposition);
        }
        document(path, request.send(body))
    }
}

/// The JSON of an answer; a problem is an error in the server's own words.
fn document(path: &str, response: Result<Response<Body>, ureq::Error>) -> Result<Value> {
    let mut response = response.with_context(|| format!("failed to ask for {path}"))?;
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{path}: {status} with an answer that is no JSON"))?;
    if !status.is_success() {
        bail!("{path}: {status}\n{value:#}");
    }
    Ok(value)
}
