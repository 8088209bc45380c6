//! A WebSocket client.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// One connection. Dropping it cuts it, without a closing handshake.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(crate) async fn connect(address: &str, token: &str) -> Result<Self> {
        let mut request = format!("ws://{address}/api/v1/ws").into_client_request()?;
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"))?;
        request.headers_mut().insert("authorization", bearer);
        let (stream, _) = connect_async(request).await?;
        Ok(Self { stream })
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn say(&mut self, frame: &Value) -> Result<()> {
        Ok(self.stream.send(Message::text(frame.to_string())).await?)
    }

    /// The next frame.
    ///
    /// # Errors
    /// When none comes by the deadline, or the server closes.
    pub async fn next(&mut self, deadline: Duration) -> Result<Value> {
        loop {
            let message = timeout(deadline, self.stream.next())
                .await
                .with_context(|| format!("no frame within {deadline:?}"))?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text)
                        .with_context(|| format!("a frame that is not JSON: {text}"));
                }
                Some(Ok(Message::Close(frame))) => bail!("the server closed: {frame:?}"),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the connection ended"),
            }
        }
    }

    /// Subscribes; gives the `seq` of the server's answer.
    ///
    /// # Errors
    /// When the answer is another.
    pub async fn subscribe(&mut self, topics: &[&str], since: Option<u64>) -> Result<u64> {
        let mut frame = json!({ "type": "subscribe", "id": "s", "topics": topics });
        if let (Some(since), Some(frame)) = (since, frame.as_object_mut()) {
            frame.insert("since".to_owned(), since.into());
        }
        self.say(&frame).await?;
        let answer = self.next(Duration::from_secs(10)).await?;
        match (
            answer.get("type").and_then(Value::as_str),
            answer.get("seq"),
        ) {
            (Some("subscribed"), Some(seq)) => seq.as_u64().context("seq is no number"),
            _ => bail!("not subscribed: {answer}"),
        }
    }
}
