//! Every error a client sees.
//!
//! A problem has a stable code and words for the client, and may have words for the operator,
//! which are logged when it is answered and never sent.

use std::borrow::Cow;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_api_types as dto;
use bindery_core::Violation;
use bindery_datastore::{CommitError, ReadError};
use bindery_dispatcher::{CancelError, RetryError, StoreError, SubmitError};
use bindery_executor::{IngestError, IntakeError};
use bindery_identity::IdentityError;
use bindery_plugins::{ChangeError, PublishError, StoreFault};

/// See the module.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    hint: Option<String>,
    violations: Vec<Violation>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the operator.
    internal: Option<String>,
}

/// Media type of problem documents.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            detail: detail.into(),
            hint: None,
            violations: Vec::new(),
            headers: Vec::new(),
            internal: None,
        }))
    }

    /// The host's own fault: the client learns only that it was.
    pub(crate) fn internal(fault: impl Into<String>) -> Self {
        let detail = "the host could not do this; its log says why";
        let mut problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        problem.0.internal = Some(fault.into());
        problem
    }

    pub(crate) fn unauthorized() -> Self {
        let detail = "a valid token is needed: `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no such {what}"),
        )
    }

    pub(crate) fn invalid(violations: Vec<Violation>) -> Self {
        Self::violating(
            StatusCode::UNPROCESSABLE_ENTITY,
            "validation_failed",
            violations,
        )
    }

    /// A fault of a query parameter.
    pub(crate) fn query(name: &str, code: &str, message: impl Into<String>) -> Self {
        let violation = Violation::new(format!("/query/{name}"), code, message);
        Self::violating(StatusCode::BAD_REQUEST, "invalid_query", vec![violation])
    }

    pub(crate) fn violating(
        status: StatusCode,
        code: &'static str,
        violations: Vec<Violation>,
    ) -> Self {
        let detail = match violations.as_slice() {
            [] => "the request has a fault".to_owned(),
            [only] => only.message.clone(),
            [first, rest @ ..] => format!("{} (and {} more)", first.message, rest.len()),
        };
        let mut problem = Self::new(status, code, detail);
        problem.0.violations = violations;
        problem
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.0.hint = (!hint.is_empty()).then_some(hint);
        self
    }

    pub(crate) fn for_operator(mut self, fault: impl Into<String>) -> Self {
        self.0.internal = Some(fault.into());
        self
    }

    fn retry_after(self, seconds: u16) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Says to the operator what only the operator may know.
    pub(crate) fn log(&self) {
        if let Some(fault) = &self.0.internal {
            tracing::error!(code = self.0.code, fault, "a request failed");
        }
    }

    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is sent.
    #[must_use]
    pub fn document(&self) -> dto::Problem {
        dto::Problem {
            kind: "about:blank".to_owned(),
            title: self
                .0
                .status
                .canonical_reason()
                .unwrap_or_default()
                .to_owned(),
            status: self.0.status.as_u16(),
            detail: self.0.detail.clone().into_owned(),
            code: self.0.code.to_owned(),
            violations: self.0.violations.iter().cloned().map(violation).collect(),
            hint: self.0.hint.clone(),
        }
    }
}

pub(crate) fn violation(violation: Violation) -> dto::Violation {
    dto::Violation {
        pointer: violation.pointer,
        code: violation.code,
        message: violation.message,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.log();
        // A document of strings and numbers always encodes.
        let body = serde_json::to_vec(&self.document()).unwrap_or_default();
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.extend(
            self.0
                .headers
                .into_iter()
                .map(|(name, value)| (Some(name), value)),
        );
        response
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match &error {
            ReadError::IndexUnavailable { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "the store is being rebuilt; try again later",
            )
            .retry_after(5)
            .for_operator(chain(&error)),
            _ => Self::internal(chain(&error)),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Read(error) => error.into(),
            other => Self::internal(chain(&other)),
        }
    }
}

impl From<CommitError> for Problem {
    fn from(error: CommitError) -> Self {
        let fault = chain(&error);
        let unavailable = |detail: &'static str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
                .for_operator(fault.clone())
        };
        match error {
            CommitError::StorageFull { .. } => storage_full().for_operator(fault),
            CommitError::Overloaded { .. } => {
                unavailable("the store is busy; try again later").retry_after(1)
            }
            CommitError::Closed => unavailable("the host is going down").retry_after(5),
            CommitError::ReadOnly { .. } => unavailable("the store is read-only"),
            CommitError::TooLarge { .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "the request is larger than the store takes",
            )
            .for_operator(fault),
            CommitError::Read(error) => error.into(),
            _ => Self::internal(fault),
        }
    }
}

fn storage_full() -> Problem {
    Problem::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "storage_full",
        "the host's storage is full",
    )
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Read(error) => error.into(),
            IdentityError::Commit(error) => error.into(),
            other => Self::internal(chain(&other)),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::KeyReused => Self::new(
                StatusCode::CONFLICT,
                "idempotency_key_reused",
                "this idempotency key was used for another request",
            ),
            SubmitError::Store(error) => error.into(),
            SubmitError::Commit(error) => error.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::NotFound => Self::not_found("execution"),
            CancelError::Stopped => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "stopping",
                "the host is going down",
            )
            .retry_after(5),
            CancelError::Store(error) => error.into(),
            CancelError::Commit(error) => error.into(),
        }
    }
}

impl From<RetryError> for Problem {
    fn from(error: RetryError) -> Self {
        match error {
            RetryError::NotFound => Self::not_found("job"),
            RetryError::NotEnded(status) => Self::new(
                StatusCode::CONFLICT,
                "not_finished",
                format!("the job has not ended: it is {status}"),
            ),
            RetryError::Succeeded => Self::new(
                StatusCode::CONFLICT,
                "already_ended",
                "the job has succeeded: there is nothing to try again",
            ),
            RetryError::Store(error) => error.into(),
            RetryError::Commit(error) => error.into(),
        }
    }
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::TooLarge { limit_bytes } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the file is larger than {limit_bytes} bytes"),
            ),
            IngestError::StorageFull => storage_full(),
            IngestError::Read(fault) => Self::new(
                StatusCode::BAD_REQUEST,
                "upload_broken",
                format!("the upload could not be read to its end: {fault}"),
            ),
            IngestError::Store(error) => error.into(),
            IngestError::Host(fault) => Self::internal(fault),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let code = error.code();
        let status = match &error {
            PublishError::Store(_) => return error_of_store(error),
            PublishError::Refused(_) => StatusCode::FORBIDDEN,
            PublishError::VersionTaken { .. } | PublishError::Taken(_) => StatusCode::CONFLICT,
            PublishError::Package(_) if code == "package_too_large" => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            PublishError::Load(_) if code == "internal" => return Self::internal(chain(&error)),
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let mut problem = Self::new(status, code, chain(&error));
        match error {
            PublishError::Refused(refusal) => problem = problem.hint(refusal.cure()),
            PublishError::CasesFailed(cases) => {
                problem.0.violations = cases
                    .faults
                    .into_iter()
                    .map(|fault| {
                        let pointer = format!("/cases/{}", crate::extract::escape(&fault.case));
                        Violation::new(pointer, "case_failed", fault.fault)
                    })
                    .collect();
            }
            _ => {}
        }
        problem
    }
}

fn error_of_store(error: PublishError) -> Problem {
    match error {
        PublishError::Store(fault) => fault.into(),
        other => Problem::internal(chain(&other)),
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        let code = error.code();
        let status = match error {
            ChangeError::Store(fault) => return fault.into(),
            ChangeError::NotFound => return Self::not_found("plugin"),
            ChangeError::NoSuchVersion => return Self::not_found("version"),
            ChangeError::Revoked => StatusCode::FORBIDDEN,
            ChangeError::Load(_) if code == "internal" => return Self::internal(chain(&error)),
            ChangeError::Load(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ChangeError::NothingBefore
            | ChangeError::NothingPending
            | ChangeError::Pending(_)
            | ChangeError::Taken(_) => StatusCode::CONFLICT,
        };
        Self::new(status, code, chain(&error))
    }
}

impl From<StoreFault> for Problem {
    fn from(fault: StoreFault) -> Self {
        match fault {
            StoreFault::StorageFull => storage_full(),
            StoreFault::Read(error) => error.into(),
            StoreFault::Commit(error) => error.into(),
            StoreFault::Host(fault) => Self::internal(fault),
        }
    }
}

impl From<IntakeError> for Problem {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::UnknownTask(task) => Self::new(
                StatusCode::NOT_FOUND,
                "task_not_found",
                format!("there is no task `{task}`"),
            ),
            IntakeError::Invalid(violations) => Self::invalid(violations),
            IntakeError::EngineMissing {
                engine,
                fault,
                hint,
            } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "engine_missing",
                format!("engine `{engine}` {fault}"),
            )
            .hint(hint),
            IntakeError::SandboxUnavailable { reason, fix } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "sandbox_unavailable",
                format!("engines cannot be confined on this host: {reason}"),
            )
            .hint(fix),
            // A gateway to the plugin: neither the client's fault nor the host's.
            IntakeError::PluginBroke(broke) => Self::new(
                StatusCode::BAD_GATEWAY,
                // The code that an attempt ends with when the same happens there.
                broke.kind.as_str(),
                format!("the task's plugin broke in `{}`{}", broke.phase, broke.at()),
            )
            .for_operator(format!("{broke}; stderr: {}", broke.stderr)),
            IntakeError::Host(fault) => Self::internal(fault),
        }
    }
}
