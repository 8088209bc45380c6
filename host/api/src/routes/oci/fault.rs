//! Errors and callers of `/v2/`.

use axum::{
    Json,
    extract::FromRequestParts,
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bindery_identity::Principal;
use bindery_registry::oci::OciError;
use serde_json::{Value, json};

use crate::{Problem, app::App, auth::by_bearer_or_basic};

pub(super) const API_VERSION: HeaderName =
    HeaderName::from_static("docker-distribution-api-version");

/// An error in the form of the specification.
#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Value,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Fault {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            code,
            message: message.into(),
            detail: Value::Null,
            headers: Vec::new(),
        }))
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    fn unauthorized() -> Self {
        let message = "a valid token is needed, as the password of any user or as a bearer token";
        // A challenge for bearer tokens would send clients to a token service.
        let challenge = HeaderValue::from_static("Basic realm=\"bindery\", charset=\"UTF-8\"");
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
            .header(header::WWW_AUTHENTICATE, challenge)
    }

    pub(super) fn unsupported() -> Self {
        let message = "this path does not take this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }
}

impl From<OciError> for Fault {
    fn from(error: OciError) -> Self {
        let status = match &error {
            OciError::BlobUnknown(_)
            | OciError::BlobUploadUnknown
            | OciError::ManifestUnknown(_)
            | OciError::NameUnknown(_) => StatusCode::NOT_FOUND,
            OciError::BlobUploadInvalid(_)
            | OciError::DigestInvalid(_)
            | OciError::ManifestBlobUnknown(_)
            | OciError::ManifestInvalid(_)
            | OciError::NameInvalid(_) => StatusCode::BAD_REQUEST,
            OciError::OutOfOrder { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            OciError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            OciError::Unsupported(_) => StatusCode::METHOD_NOT_ALLOWED,
            OciError::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            OciError::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            OciError::Refused { .. } => StatusCode::FORBIDDEN,
            OciError::Storage(source) => {
                return Problem::internal(format!("{error}: {source}")).into();
            }
        };
        let mut fault = Self::new(status, error.code(), error.to_string());
        if let OciError::Refused { code, .. } = &error {
            fault.0.detail = json!({ "code": code });
        }
        fault
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        let document = problem.document();
        let status = problem.status();
        // What is for the operator is logged where the problem is answered.
        drop(problem.into_response());
        let code = match status {
            StatusCode::UNAUTHORIZED => return Self::unauthorized(),
            StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
            _ if status.is_server_error() => "UNKNOWN",
            _ => "DENIED",
        };
        let mut fault = Self::new(status, code, document.detail);
        fault.0.detail = json!({
            "code": document.code,
            "hint": document.hint,
            "violations": document.violations,
        });
        fault
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{
            "code": self.0.code,
            "message": self.0.message,
            "detail": self.0.detail,
        }] });
        let mut response = (self.0.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.extend(
            self.0
                .headers
                .into_iter()
                .map(|(name, value)| (Some(name), value)),
        );
        response
    }
}

/// Who is calling: a token as a bearer, or as the password of any user, which is what clients of
/// registries can send. No cookies: these routes are for programs.
pub(super) struct OciCaller(pub(super) Principal);

impl FromRequestParts<App> for OciCaller {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Fault> {
        by_bearer_or_basic(app, &parts.headers)
            .map(Self)
            .map_err(Fault::from)
    }
}
