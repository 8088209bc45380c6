//! `wasi:http` to hosts that were granted by name.
//!
//! A *grant* is a list of names that a package asks for and an admin has seen. A request is let
//! through when its host is one of them, at every address that the name resolves to may be
//! reached, and the call has room left. The name is resolved once and the connection goes to an
//! address that was looked at, so a name that means another machine a moment later gains nothing.
//! Redirects are answers like any other: following one is a request of the guest's own, and is
//! checked as such.
//!
//! Only computing may ask (`compute`, sessions): what a plugin says of itself, of a request or of
//! an engine's output has to be the same tomorrow. There every request is answered with
//! `HTTP-request-denied`.

mod address;
mod hosts;
mod meter;
mod network;
mod send;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks,
    p2::bindings::http::types::ErrorCode,
};

use self::{hosts::Target, meter::Meter, network::SystemNetwork};
pub use self::{
    hosts::{HttpHost, HttpHosts},
    network::{HttpNetwork, NetworkFuture},
};

/// Fields that a guest makes: names, values, and what keeping them takes. A guest may hold as
/// many as it may hold handles (4096), so all of them together take 64 MiB at most.
const FIELDS_BYTES_MAX: usize = 16 << 10;
/// What a guest writes to a body at once, and what waits there until it is sent.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// What guests' requests may use, and where they may go beside the internet.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Names that may resolve to addresses of this machine or its network. An operator's word on
    /// services of their own; a package must be granted the name all the same.
    pub private_hosts: HttpHosts,
    /// How names are resolved and connections are made; the operating system's way if none.
    pub network: Option<Arc<dyn HttpNetwork>>,
    pub limits: HttpLimits,
}

/// Limits of the requests of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests that run at the same time, until their answer has been read or dropped.
    pub requests_at_once: usize,
    pub requests: usize,
    /// Bytes of all bodies together.
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Status line and fields of one answer.
    pub answer_head_bytes: usize,
    /// Resolving, connecting and the TLS handshake; a guest may ask for less.
    pub connect: Duration,
    /// Silence before an answer, or between two pieces of one; a guest may ask for less.
    pub silence: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            private_hosts: HttpHosts::default(),
            network: None,
            limits: HttpLimits {
                requests_at_once: 4,
                requests: 1000,
                sent_bytes: 64 << 20,
                received_bytes: 256 << 20,
                answer_head_bytes: 32 << 10,
                connect: Duration::from_secs(10),
                silence: Duration::from_secs(60),
            },
        }
    }
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct HttpShared {
    private_hosts: HttpHosts,
    network: Arc<dyn HttpNetwork>,
    limits: HttpLimits,
    /// Made at the first request that needs it: it reads the machine's root certificates.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl HttpShared {
    pub(crate) fn new(config: &HttpConfig) -> Self {
        let network = config.network.clone();
        Self {
            private_hosts: config.private_hosts.clone(),
            network: network.unwrap_or_else(|| Arc::new(SystemNetwork)),
            limits: config.limits,
            tls: OnceLock::new(),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let made = self.tls.get_or_init(|| {
            // The provider that the rest of the host uses: a second one is a second library of C.
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(BuilderVerifierExt::with_platform_verifier)
                .map(|builder| Arc::new(builder.with_no_client_auth()))
                .map_err(|error| error.to_string())
        });
        made.clone().map_err(|fault| {
            tracing::error!(fault, "no TLS for the requests of plugins");
            Error::ConfigurationError
        })
    }
}

/// The requests of one store.
#[derive(Debug)]
pub(crate) struct GuestHttp {
    context: WasiHttpCtx,
    hooks: Hooks,
}

/// Where `wasmtime-wasi-http` asks what to do.
#[derive(Debug)]
pub(crate) struct Hooks {
    shared: Arc<HttpShared>,
    hosts: HttpHosts,
    meter: Arc<Meter>,
}

impl GuestHttp {
    pub(crate) fn new(shared: &Arc<HttpShared>, hosts: &HttpHosts) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            context,
            hooks: Hooks {
                shared: Arc::clone(shared),
                hosts: hosts.clone(),
                meter: Arc::new(Meter::new(&shared.limits)),
            },
        }
    }

    pub(crate) fn parts(&mut self) -> (&mut WasiHttpCtx, &mut Hooks) {
        (&mut self.context, &mut self.hooks)
    }

    /// Bytes of bodies that came in and went out.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.hooks.meter.bytes()
    }
}

type Sent = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl Hooks {
    /// What can be said before anything is looked up.
    fn admit(&self, request: &http::Request<WasiBody>) -> Result<(Target, meter::Place), Error> {
        let target = Target::of(request.uri()).ok_or(Error::HttpRequestUriInvalid)?;
        if !self.hosts.allow(&target) {
            return Err(Error::HttpRequestDenied);
        }
        // A tunnel would be a connection to somewhere else; TRACE gives back what was sent, with
        // what others have put in.
        if matches!(
            *request.method(),
            http::Method::CONNECT | http::Method::TRACE
        ) {
            return Err(Error::HttpRequestDenied);
        }
        Ok((target, self.meter.place()?))
    }
}

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _received: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        match self.admit(&request) {
            Err(error) => Box::new(std::future::ready(Err(error))),
            Ok((target, place)) => {
                let shared = Arc::clone(&self.shared);
                let options = options.unwrap_or_default();
                Box::new(async move { send::send(&shared, &target, place, request, options).await })
            }
        }
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES_MAX
    }

    // What follows is between a plugin and a server: no operator has to read of it.

    fn p2_error_from_hyper(&mut self, error: &hyper::Error) -> ErrorCode {
        tracing::debug!(%error, "a plugin's request failed");
        ErrorCode::HttpProtocolError
    }

    fn p2_error_from_connect(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(%error, "a plugin's request found no connection");
        ErrorCode::ConnectionRefused
    }

    fn p2_error_from_tls(&mut self, error: &std::io::Error) -> ErrorCode {
        tracing::debug!(%error, "a plugin's request found no TLS");
        ErrorCode::TlsProtocolError
    }
}
