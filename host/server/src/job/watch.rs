//! Follows a job over the WebSocket: it takes up again what a broken connection missed.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bindery_api_types::{ClientFrame, JobStatusDocument, ServerFrame};
use futures::{SinkExt, StreamExt};
use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{in_path, job};
use crate::{client::Client, exit::Exit, progress};

/// A server that is silent for so long is asked whether it is still there.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// How long a server may be away, for a restart or an upgrade.
const AWAY_MAX: Duration = Duration::from_secs(300);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Where one was in a history.
#[derive(Debug, Default)]
struct Place {
    seq: Option<u64>,
    epoch: Option<String>,
}

/// Shows progress until the job has ended, and says how.
pub(super) async fn watch(client: &Client, id: &str, as_json: bool) -> anyhow::Result<Exit> {
    let id = in_path(id)?;
    let bar = progress::bar(as_json);
    let mut place = Place::default();
    let mut away: Option<Instant> = None;
    let ended = loop {
        match follow(client, id, &bar, &mut place).await {
            Ok(ended) => break ended,
            Err(Broken::Refused(error)) => return Err(error),
            Err(Broken::Connection(error)) => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_MAX {
                    return Err(error.context("the server stays away"));
                }
                bar.set_message("the connection broke, trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    bar.finish_and_clear();
    if as_json {
        println!("{:#}", serde_json::to_value(job(client, id).await?)?);
    } else {
        println!("{id} {}", ended.status);
    }
    let problem = ended
        .executions
        .iter()
        .next_back()
        .and_then(|execution| execution.problem.as_ref());
    if let Some(problem) = problem {
        eprintln!("{}: {} [{}]", ended.status, problem.message, problem.code);
    }
    Ok(match ended.status.as_str() {
        "succeeded" => Exit::Done,
        "cancelled" => Exit::Cancelled,
        _ => match problem.map(|problem| problem.code.as_str()) {
            Some("engine_missing" | "sandbox_unavailable") => Exit::EngineMissing,
            _ => Exit::Failed,
        },
    })
}

enum Broken {
    /// Another try gives the same.
    Refused(anyhow::Error),
    Connection(anyhow::Error),
}

impl From<anyhow::Error> for Broken {
    fn from(error: anyhow::Error) -> Self {
        Self::Connection(error)
    }
}

/// Follows over one connection. Subscribing comes before looking, so that an end in between is
/// not missed.
async fn follow(
    client: &Client,
    id: &str,
    bar: &ProgressBar,
    place: &mut Place,
) -> Result<JobStatusDocument, Broken> {
    let mut socket = connect(client).await?;
    let frame = ClientFrame::Subscribe {
        id: "watch".to_owned(),
        topics: vec![format!("job:{id}")],
        since: place.seq,
        epoch: place.epoch.clone(),
    };
    say(&mut socket, &frame).await?;
    loop {
        match next(&mut socket).await? {
            ServerFrame::Subscribed { epoch, .. } => {
                place.epoch = Some(epoch);
                if let Some(ended) = look(client, id, bar).await? {
                    return Ok(ended);
                }
            }
            ServerFrame::Event {
                seq, event, data, ..
            } => {
                place.seq = Some(seq);
                show(bar, &data);
                if event == "job.finished"
                    && let Some(ended) = look(client, id, bar).await?
                {
                    return Ok(ended);
                }
            }
            ServerFrame::Resync { seq, .. } => {
                place.seq = Some(seq);
                if let Some(ended) = look(client, id, bar).await? {
                    return Ok(ended);
                }
            }
            ServerFrame::Error { code, message, .. } => {
                return Err(Broken::Refused(anyhow::anyhow!("{message} ({code})")));
            }
            ServerFrame::Unsubscribed { .. } | ServerFrame::Pong { .. } => {}
        }
    }
}

/// Asks for the status; gives it when it is the last one.
async fn look(
    client: &Client,
    id: &str,
    bar: &ProgressBar,
) -> Result<Option<JobStatusDocument>, Broken> {
    let request = client.request(Method::GET, &format!("jobs/{id}/status"));
    let now = match client.send::<JobStatusDocument>(request).await {
        Ok(answer) => answer.body,
        Err(error) if error.is::<crate::client::Refused>() => return Err(Broken::Refused(error)),
        Err(error) => return Err(Broken::Connection(error)),
    };
    let waits = now.executions.last().and_then(|last| last.queue_position);
    match waits {
        Some(position) => bar.set_message(format!("queued, number {position}")),
        None => bar.set_message(now.status.clone()),
    }
    let ended = !matches!(now.status.as_str(), "queued" | "running");
    Ok(ended.then_some(now))
}

/// What an event says of progress, or where the job is now.
fn show(bar: &ProgressBar, data: &Value) {
    progress::show(bar, data);
    let without_stage = data.get("stage").is_none();
    if let Some(status) = data.get("status").and_then(Value::as_str)
        && without_stage
    {
        bar.set_message(status.to_owned());
    }
}

async fn connect(client: &Client) -> anyhow::Result<Socket> {
    let mut request = client.socket_address()?.into_client_request()?;
    let bearer = HeaderValue::from_str(&format!("Bearer {}", client.token()))?;
    request.headers_mut().insert("authorization", bearer);
    let (socket, _) = timeout(SILENCE_MAX, connect_async(request))
        .await
        .context("the server does not answer")??;
    Ok(socket)
}

async fn say(socket: &mut Socket, frame: &ClientFrame) -> anyhow::Result<()> {
    let text = serde_json::to_string(frame)?;
    Ok(socket.send(Message::text(text)).await?)
}

async fn next(socket: &mut Socket) -> anyhow::Result<ServerFrame> {
    let mut asked = false;
    loop {
        match timeout(SILENCE_MAX, socket.next()).await {
            Err(_) if asked => bail!("the server is silent"),
            Err(_) => {
                asked = true;
                say(socket, &ClientFrame::Ping { id: None }).await?;
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                return serde_json::from_str(&text).context("a frame that nobody knows");
            }
            Ok(Some(Ok(Message::Close(_))) | None) => bail!("the server closed"),
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(error))) => return Err(error.into()),
        }
    }
}
