//! One request: the name looked up, its addresses looked at, a connection, the answer.

use std::{future::poll_fn, io, net::SocketAddr, pin::pin, task::Poll, time::Duration};

use http_body_util::BodyExt;
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, io::TokioIo};

use super::{
    HttpShared, Sent,
    address::{Reach, reach},
    hosts::Target,
    meter::Place,
};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;
/// Fields of one answer.
const FIELDS_MAX: usize = 128;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) async fn send(
    shared: &HttpShared,
    target: &Target,
    place: Place,
    request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Sent {
    let within = |asked: Option<Duration>, max: Duration| asked.map_or(max, |asked| asked.min(max));
    let limits = &shared.limits;
    let connecting = within(options.connect_timeout, limits.connect);
    let stream = timeout(connecting, connect(shared, target))
        .await
        .map_err(|_| Error::ConnectionTimeout)??;
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(FIELDS_MAX)
        .max_header_size(limits.answer_head_bytes)
        .handshake(TokioIo::new(stream))
        .await?;

    let request = relative(request)?.map(|body| place.counted_sending(body));
    let first = within(options.first_byte_timeout, limits.silence);
    let between = within(options.between_bytes_timeout, limits.silence);
    let head_bytes = u32::try_from(limits.answer_head_bytes).ok();
    let sending = async {
        timeout(first, sender.send_request(request))
            .await
            .map_err(|_| Error::HttpResponseTimeout)?
            .map_err(|error| {
                if error.is_parse_too_large() {
                    Error::HttpResponseHeaderSectionSize(head_bytes)
                } else {
                    error.into()
                }
            })
    };
    // Boxed, as it moves to whoever drives it after the answer has begun.
    let mut connection = Some(Box::pin(connection));
    let mut sending = pin!(sending);
    // The connection moves only while it is polled.
    let answer = poll_fn(|context| {
        if let Poll::Ready(answer) = sending.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        let Some(running) = connection.as_mut() else {
            return Poll::Pending;
        };
        if running.as_mut().poll(context).is_ready() {
            connection = None;
            // Its end, good or bad, is told to the sender.
            return sending.as_mut().poll(context);
        }
        Poll::Pending
    })
    .await
    .map_err(|error| place.sending_failed(error))?;
    let answer = answer.map(|body| place.counted_receiving(body, between).boxed_unsync());
    let rest = async move {
        match connection {
            Some(connection) => connection.await.map_err(Error::from),
            None => Ok(()),
        }
    };
    Ok((answer, Box::new(rest)))
}

/// With the path alone in its first line: the host stands in a field of its own, and an absolute
/// address is for proxies.
fn relative(mut request: http::Request<WasiBody>) -> Result<http::Request<WasiBody>, Error> {
    let path = request.uri().path_and_query();
    let path = path.map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = path.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    Ok(request)
}

async fn connect(shared: &HttpShared, target: &Target) -> Result<Box<dyn Stream>, Error> {
    let stream = reached(shared, target).await?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name =
        ServerName::try_from(target.name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?;
    let stream = TlsConnector::from(shared.tls()?)
        .connect(name, stream)
        .await
        .map_err(tls_error)?;
    Ok(Box::new(stream))
}

fn tls_error(error: io::Error) -> Error {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        _ => Error::Tls(error),
    }
}

/// A connection to the first address of the name that answers, when every one of them may be
/// reached: a name of which one address is public and another one is not is up to something.
async fn reached(shared: &HttpShared, target: &Target) -> Result<TcpStream, Error> {
    let addresses = shared
        .network
        .resolve(&target.name, target.port)
        .await
        .map_err(|error| {
            tracing::debug!(%error, host = target.name, "a plugin asks for an unknown host");
            Error::DnsError {
                rcode: None,
                info_code: None,
            }
        })?;
    let is_private_allowed = shared.private_hosts.allow(target);
    let forbidden = addresses.iter().find(|address| match reach(address.ip()) {
        Reach::Public => false,
        Reach::Private => !is_private_allowed,
        Reach::Never => true,
    });
    if let Some(address) = forbidden {
        tracing::warn!(
            host = target.name,
            %address,
            "a plugin's request is refused: its host resolves to an address that is not public"
        );
        return Err(Error::DestinationIpProhibited);
    }
    first_of(shared, &addresses).await
}

async fn first_of(shared: &HttpShared, addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let tried = addresses.len().clamp(1, ADDRESSES_MAX);
    // One that does not answer must not use up the time of the others.
    let share = shared.limits.connect / u32::try_from(tried).unwrap_or(1);
    let mut failed = Error::DestinationNotFound;
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match timeout(share, shared.network.connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = Error::Connect(error),
            Err(_) => failed = Error::ConnectionTimeout,
        }
    }
    Err(failed)
}
