//! The HTTP client of commands that talk to a server.

use anyhow::{Context, bail};
use bindery_api_types::Problem;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use crate::cli::ClientArguments;

/// Where a server is by default.
pub(crate) const SERVER: &str = "http://127.0.0.1:8080";

/// Speaks to one server with one token.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// An answer that is no failure.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) status: StatusCode,
    pub(crate) body: T,
}

/// A problem that the server answered with.
#[derive(Debug, thiserror::Error)]
#[error("{} ({}){}{}", .0.detail, .0.code, violations(.0), hint(.0))]
pub(crate) struct Refused(pub(crate) Problem);

fn violations(problem: &Problem) -> String {
    problem
        .violations
        .iter()
        .map(|fault| format!("\n  {}: {} ({})", fault.pointer, fault.message, fault.code))
        .collect()
}

fn hint(problem: &Problem) -> String {
    problem
        .hint
        .as_ref()
        .map(|hint| format!("\n  to mend it: {hint}"))
        .unwrap_or_default()
}

impl Client {
    pub(crate) fn new(arguments: &ClientArguments) -> anyhow::Result<Self> {
        let token = arguments
            .token
            .clone()
            .context("no token: give --token or set BINDERY_TOKEN")?;
        let base = arguments.server.as_deref().unwrap_or(SERVER);
        // `host:port`, as it is typed, means plain HTTP; whoever wants TLS says `https://`.
        let base = match base.contains("://") {
            true => base.to_owned(),
            false => format!("http://{base}"),
        };
        Ok(Self {
            // Without a time limit for all: a publish takes as long as its golden cases.
            http: reqwest::Client::builder()
                .connect_timeout(std::time::Duration::from_secs(10))
                .build()?,
            base: base.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// A request for a path below `/api/v1`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/v1/{path}", self.base);
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Where the WebSocket is.
    pub(crate) fn socket_address(&self) -> anyhow::Result<String> {
        // http becomes ws, https becomes wss.
        let rest = self
            .base
            .strip_prefix("http")
            .with_context(|| format!("{} is no http or https address", self.base))?;
        Ok(format!("ws{rest}/api/v1/ws"))
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request; a problem document is an error.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<Answer<T>> {
        let (status, bytes) = self.bytes(request).await?;
        let body = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} gave an unexpected answer", self.base))?;
        Ok(Answer { status, body })
    }

    /// The same, for an answer of any form.
    pub(crate) async fn bytes(
        &self,
        request: RequestBuilder,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let response = request
            .send()
            .await
            .with_context(|| format!("failed to reach {}", self.base))?;
        let status = response.status();
        let bytes = response
            .bytes()
            .await
            .with_context(|| format!("the answer of {} was cut short", self.base))?;
        if status.is_success() {
            return Ok((status, bytes.into()));
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Refused(problem).into()),
            Err(_) => bail!("{} answered {status}", self.base),
        }
    }
}
