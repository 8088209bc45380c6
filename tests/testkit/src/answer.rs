//! What a server answered.

use anyhow::{Context, Result, bail};
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::Value;

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Method and path: what was asked.
    pub request: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.bytes)
            .with_context(|| format!("{}: not JSON: {}", self.request, self.text()))
    }

    /// The answer, when it has this status.
    ///
    /// # Errors
    /// When it has another; the body is in the message.
    pub fn expect_status(self, status: u16) -> Result<Self> {
        if self.status.as_u16() != status {
            bail!(
                "{}: {} instead of {status}: {}",
                self.request,
                self.status,
                self.text()
            );
        }
        Ok(self)
    }

    /// The problem document of a refusal: RFC 9457 with a code.
    ///
    /// # Errors
    /// When it is none, or says another status than the answer has.
    pub fn problem(&self) -> Result<Value> {
        let kind = self
            .headers
            .get("content-type")
            .and_then(|value| value.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/problem+json")) {
            bail!(
                "{}: {} is no problem document ({kind:?})",
                self.request,
                self.text()
            );
        }
        let problem = self.json()?;
        let says = |name: &str| {
            problem
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        if says("code").is_empty()
            || says("title").is_empty()
            || problem.get("status").and_then(Value::as_u64) != Some(self.status.as_u16().into())
        {
            bail!(
                "{}: an incomplete problem document: {problem}",
                self.request
            );
        }
        Ok(problem)
    }
}
