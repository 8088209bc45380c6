//! A client for the guests that use `wasi:http`: one request, no redirects, words for errors.

use wasip2::http::{
    outgoing_handler,
    types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, Scheme},
};
use wasip2::io::streams::StreamError;

/// What a server said.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

/// Asks, with a body of so many bytes if any; the error is the name of the code.
pub fn ask(url: &str, send_bytes: u64) -> Result<Answer, String> {
    let (scheme, rest) = url.split_once("://").ok_or("no scheme")?;
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let request = OutgoingRequest::new(Fields::new());
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| "bad scheme")?;
    request
        .set_authority(Some(authority))
        .map_err(|()| "bad authority")?;
    request
        .set_path_with_query(Some(path))
        .map_err(|()| "bad path")?;
    let body = if send_bytes > 0 {
        request
            .set_method(&Method::Post)
            .map_err(|()| "bad method")?;
        Some(request.body().map_err(|()| "no body")?)
    } else {
        None
    };
    let answer = outgoing_handler::handle(request, None).map_err(|code| format!("{code:?}"))?;
    // Where it cannot be sent, the answer says why.
    let sent = body.map_or(Ok(()), |body| send(body, send_bytes));
    answer.subscribe().block();
    let answer = match answer.get() {
        Some(Ok(Ok(answer))) => answer,
        Some(Ok(Err(code))) => return Err(format!("{code:?}")),
        _ => return Err("no answer".to_owned()),
    };
    sent?;
    let fields = answer.headers();
    let location = fields.get("location").into_iter().next();
    let body = answer.consume().map_err(|()| "no body")?;
    let (status, location) = (
        answer.status(),
        location.map(|text| String::from_utf8_lossy(&text).into_owned()),
    );
    Ok(Answer {
        status,
        location,
        body: receive(&body)?,
    })
}

fn send(body: OutgoingBody, bytes: u64) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream")?;
    let piece = [b'x'; 4096];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(4096);
        stream
            .blocking_write_and_flush(&piece[..now as usize])
            .map_err(|error| format!("sending: {error:?}"))?;
        left -= now;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))
}

fn receive(body: &IncomingBody) -> Result<Vec<u8>, String> {
    let stream = body.stream().map_err(|()| "no stream")?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(
                    code.map_or_else(|| error.to_debug_string(), |code| format!("{code:?}"))
                );
            }
        }
    }
}
