//! Frames of the WebSocket. Text frames, one JSON document each.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// What a client may say.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    Subscribe {
        id: String,
        /// `job:ID`, `execution:ID`, `org`, `tasks`, `services`.
        topics: Vec<String>,
        /// The last seq that was seen: what came after it is sent again.
        #[serde(default)]
        since: Option<u64>,
        /// `epoch` of an earlier `subscribed`: with another one, `since` is void.
        #[serde(default)]
        epoch: Option<String>,
    },
    Unsubscribe {
        id: String,
        topics: Vec<String>,
    },
    Ping {
        #[serde(default)]
        id: Option<String>,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// All events of the topics with a greater `seq` follow.
    Subscribed {
        id: String,
        seq: u64,
        /// Names the history that `seq` counts in.
        epoch: String,
    },
    Unsubscribed {
        id: String,
    },
    Event {
        topic: String,
        seq: u64,
        #[schema(format = DateTime)]
        time: String,
        event: String,
        #[schema(value_type = Object)]
        data: Value,
    },
    /// In place of events that cannot be sent: the state as of `seq`, or a little later.
    Resync {
        topic: String,
        seq: u64,
        #[schema(value_type = Object)]
        snapshot: Value,
    },
    Pong {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    Error {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        code: String,
        message: String,
    },
}

/// Lets one WebSocket in, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ticket {
    /// For `/api/v1/ws?ticket=`.
    pub ticket: String,
    pub expires_in_seconds: u64,
}
