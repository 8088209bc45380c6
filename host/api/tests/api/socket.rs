//! The WebSocket, over real sockets.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bindery_api_types::ServerFrame;
use bindery_core::OrgId;
use bindery_datastore::{Database, NewEvent, Transaction};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, client_async, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::{HeaderValue, Request, StatusCode},
        protocol::frame::coding::CloseCode,
    },
};

use crate::support::{DEADLINE, TestHost};

const DATABASE: Database = Database::Org(OrgId::BUILT_IN);

struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// Serves the host on a real socket.
async fn serve(host: &TestHost) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = host.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn request(address: SocketAddr, headers: &[(&'static str, &str)]) -> Request<()> {
    request_to(address, "", headers)
}

fn request_to(address: SocketAddr, query: &str, headers: &[(&'static str, &str)]) -> Request<()> {
    let mut request = format!("ws://{address}/api/v1/ws{query}")
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .insert(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// The status with which a WebSocket is refused.
async fn refused(request: Request<()>) -> StatusCode {
    match connect_async(request).await {
        Err(tungstenite::Error::Http(response)) => response.status(),
        other => panic!("{other:?}"),
    }
}

impl Client {
    async fn connect(host: &TestHost, address: SocketAddr) -> Self {
        let bearer = format!("Bearer {}", host.token);
        let (socket, _) = connect_async(request(address, &[("authorization", &bearer)]))
            .await
            .unwrap();
        Self { socket }
    }

    async fn say(&mut self, frame: Value) {
        self.socket
            .send(Message::text(frame.to_string()))
            .await
            .unwrap();
    }

    /// The next frame; none when the server closes.
    async fn next(&mut self) -> Option<ServerFrame> {
        loop {
            let message = timeout(DEADLINE, self.socket.next())
                .await
                .expect("a frame in time");
            match message? {
                Ok(Message::Text(text)) => {
                    return Some(
                        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")),
                    );
                }
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Subscribes and gives the seq of the answer.
    async fn subscribe(&mut self, topics: &[&str], since: Option<u64>) -> u64 {
        self.say(json!({ "type": "subscribe", "id": "s", "topics": topics, "since": since }))
            .await;
        match self.next().await.unwrap() {
            ServerFrame::Subscribed { id, seq, epoch } => {
                assert_eq!((id.as_str(), epoch.len()), ("s", 32));
                seq
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next event.
    async fn event(&mut self) -> (u64, String, String, Value) {
        match self.next().await.unwrap() {
            ServerFrame::Event {
                topic,
                seq,
                event,
                data,
                ..
            } => (seq, topic, event, data),
            other => panic!("{other:?}"),
        }
    }

    /// Nothing comes before the answer to a ping.
    async fn is_quiet(&mut self) {
        self.say(json!({ "type": "ping", "id": "quiet" })).await;
        assert_eq!(
            self.next().await,
            Some(ServerFrame::Pong {
                id: Some("quiet".into())
            })
        );
    }

    async fn error(&mut self) -> (Option<String>, String) {
        match self.next().await.unwrap() {
            ServerFrame::Error { id, code, .. } => (id, code),
            other => panic!("{other:?}"),
        }
    }
}

/// Commits events of the organisation, in one transaction.
async fn commit(host: &TestHost, names: &[&str], topics: &[&str], data: Value) -> u64 {
    let transaction = names
        .iter()
        .fold(Transaction::new(DATABASE), |transaction, name| {
            transaction.event(NewEvent::new(*name, topics.iter().copied(), data.clone()))
        });
    host.services
        .datastore
        .commit(transaction)
        .await
        .unwrap()
        .last_seq
}

#[tokio::test]
async fn a_run_is_seen_from_its_queue_to_its_end() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let mut client = Client::connect(&host, address).await;
    let position = client.subscribe(&["org"], None).await;
    let (execution, job) = host.execute(json!({ "steps": 12 })).await;
    let mut seen = Vec::new();
    let mut progress = Vec::new();
    loop {
        let (seq, topic, event, data) = client.event().await;
        assert_eq!(topic, "org");
        assert_eq!(seq, position + 1 + seen.len() as u64, "no gap: {seen:?}");
        assert_eq!(data["job_id"], job);
        if event == "execution.progress" {
            assert_eq!(data["execution_id"], execution);
            progress.push(data["progress"].as_f64().unwrap());
        }
        seen.push(event.clone());
        if event == "job.finished" {
            break;
        }
    }
    let order: Vec<usize> = [
        "job.created",
        "execution.queued",
        "execution.started",
        "execution.progress",
        "execution.finished",
        "job.finished",
    ]
    .iter()
    .map(|name| {
        seen.iter()
            .position(|event| event == name)
            .unwrap_or_else(|| panic!("{name} not in {seen:?}"))
    })
    .collect();
    assert!(order.is_sorted(), "{seen:?}");
    assert!(progress.len() >= 10 && progress.is_sorted(), "{progress:?}");
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_sees_nothing_twice() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let (execution, _) = host.execute(json!({ "steps": 20 })).await;
    let topic = format!("execution:{execution}");
    let mut seqs = Vec::new();
    let mut names = Vec::new();
    let mut since = 0;
    // Drops the connection after every third event.
    'run: loop {
        let mut client = Client::connect(&host, address).await;
        assert_eq!(client.subscribe(&[&topic], Some(since)).await, since);
        for _ in 0..3 {
            let (seq, told, name, _) = client.event().await;
            assert_eq!(told, topic);
            since = seq;
            seqs.push(seq);
            names.push(name.clone());
            if name == "job.finished" {
                break 'run;
            }
        }
    }
    let all = host
        .get(&format!("/api/v1/executions/{execution}/events?limit=200"))
        .await
        .json();
    let stored: Vec<u64> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs, stored);
    assert!(names.len() > 10, "{names:?}");
}

/// Many writers, many clients that come and go: each sees each event once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_resume_under_load() {
    const EVENTS: u64 = 600;
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let first = commit(&host, &["job.created"], &["org"], json!({})).await;
    let last = first + EVENTS;
    let writer = async {
        for n in 0..EVENTS / 3 {
            commit(
                &host,
                &["execution.started"; 3],
                &["org", "tasks"],
                json!({ "n": n }),
            )
            .await;
            if n % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let reader = async |every: usize| {
        let mut since = first;
        let mut seen = Vec::new();
        while since < last {
            let mut client = Client::connect(&host, address).await;
            client.subscribe(&["org", "tasks"], Some(since)).await;
            for _ in 0..every {
                let (seq, ..) = client.event().await;
                seen.push(seq);
                since = seq;
                if since >= last {
                    break;
                }
            }
        }
        seen
    };
    let (_, one, two, three) = tokio::join!(
        writer,
        reader(7),
        reader(50),
        reader(usize::try_from(EVENTS).unwrap())
    );
    let expected: Vec<u64> = (first + 1..=last).collect();
    assert!(one == expected && two == expected && three == expected);
}

/// While one topic covers all events, other subscriptions come and go without loss or repetition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_change_under_load() {
    const EVENTS: u64 = 3_000;
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let first = commit(&host, &["job.created"], &["org"], json!({})).await;
    let last = first + EVENTS;
    let mut client = Client::connect(&host, address).await;
    client.subscribe(&["org"], None).await;
    let reached = AtomicU64::new(first);
    let writer = async {
        for n in 0..EVENTS / 10 {
            let topics = if n % 3 == 0 {
                &["org"][..]
            } else {
                &["org", "services", "tasks"]
            };
            commit(&host, &["execution.started"; 10], topics, json!({ "n": n })).await;
            // Never so far ahead that the client would have to catch up.
            while first + n * 10 > reached.load(Ordering::Relaxed) + 150 {
                tokio::task::yield_now().await;
            }
        }
    };
    let reader = async {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            match client.next().await.unwrap() {
                ServerFrame::Event { seq, .. } => {
                    seen.push(seq);
                    reached.store(seq, Ordering::Relaxed);
                    let frame = match seq % 8 {
                        1 => {
                            json!({ "type": "subscribe", "id": "t", "topics": ["tasks"], "since": seq.saturating_sub(6) })
                        }
                        3 => json!({ "type": "subscribe", "id": "t", "topics": ["services"] }),
                        5 => json!({ "type": "unsubscribe", "id": "t", "topics": ["tasks"] }),
                        7 => {
                            json!({ "type": "unsubscribe", "id": "t", "topics": ["services", "tasks"] })
                        }
                        _ => continue,
                    };
                    client.say(frame).await;
                }
                ServerFrame::Subscribed { .. } | ServerFrame::Unsubscribed { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        seen
    };
    let (_, seen) = timeout(DEADLINE, async { tokio::join!(writer, reader) })
        .await
        .unwrap();
    assert_eq!(seen, (first + 1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn topics_come_and_go_and_events_come_once() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let job = "job:job_00000000000000000000000000000001";
    let execution = "execution:exe_00000000000000000000000000000001";
    let mut client = Client::connect(&host, address).await;
    client.subscribe(&[job], None).await;
    let seq = commit(&host, &["job.updated"], &[execution, job, "org"], json!({})).await;
    let (told, topic, ..) = client.event().await;
    assert_eq!((told, topic.as_str()), (seq, job));
    // An event of two watched topics comes once, under the first of them.
    client.subscribe(&["org", execution], None).await;
    let seq = commit(&host, &["job.updated"], &[execution, job, "org"], json!({})).await;
    let (told, topic, ..) = client.event().await;
    assert_eq!((told, topic.as_str()), (seq, execution));
    client.is_quiet().await;
    // History of another topic does not repeat what was told.
    client.subscribe(&["tasks", "org"], Some(0)).await;
    client.is_quiet().await;
    client
        .say(json!({ "type": "unsubscribe", "id": "u", "topics": [execution, "org", "never"] }))
        .await;
    assert_eq!(
        client.next().await,
        Some(ServerFrame::Unsubscribed { id: "u".into() })
    );
    commit(&host, &["job.updated"], &["org"], json!({})).await;
    let seq = commit(&host, &["job.updated"], &[execution, job, "org"], json!({})).await;
    let (told, topic, ..) = client.event().await;
    assert_eq!((told, topic.as_str()), (seq, job));
    // After it was left, a topic's history comes again when it is asked for.
    client
        .say(json!({ "type": "unsubscribe", "id": "u", "topics": [job] }))
        .await;
    client.next().await.unwrap();
    client.subscribe(&["org"], Some(0)).await;
    for expected in 1..=seq {
        assert_eq!(client.event().await.0, expected);
    }
    client.is_quiet().await;
}

#[tokio::test]
async fn a_seq_that_cannot_be_resumed_gives_the_state() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let (execution, job) = host.finished(json!({})).await;
    let mut client = Client::connect(&host, address).await;
    let topics = [
        format!("execution:{execution}"),
        format!("job:{job}"),
        "org".into(),
        "services".into(),
        "tasks".into(),
    ];
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let position = client.subscribe(&topics, Some(1_000_000)).await;
    let mut snapshots = Vec::new();
    for expected in &topics {
        match client.next().await.unwrap() {
            ServerFrame::Resync {
                topic,
                seq,
                snapshot,
            } => {
                assert_eq!((topic.as_str(), seq), (*expected, position));
                snapshots.push(snapshot);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        (&snapshots[0]["id"], &snapshots[0]["status"]),
        (&json!(execution), &json!("succeeded"))
    );
    assert_eq!(
        (&snapshots[1]["id"], &snapshots[1]["status"]),
        (&json!(job), &json!("succeeded"))
    );
    assert_eq!(snapshots[2]["jobs"][0]["id"], json!(job));
    assert_eq!(snapshots[3], json!({ "items": [] }));
    assert_eq!(snapshots[4]["items"][1]["id"], "test.count");
    let seq = commit(&host, &["job.updated"], &["org"], json!({})).await;
    assert_eq!(client.event().await.0, seq);

    // Another history.
    let mut client = Client::connect(&host, address).await;
    client.say(json!({ "type": "subscribe", "id": "s", "topics": ["services"], "since": 1, "epoch": "other" })).await;
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Subscribed { .. })
    ));
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Resync { .. })
    ));
    client.is_quiet().await;
}

#[tokio::test]
async fn frames_that_are_wrong_are_answered_and_do_no_harm() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let mut client = Client::connect(&host, address).await;
    for text in [
        "",
        "{",
        "[]",
        "{\"type\":\"dance\"}",
        "{\"type\":\"subscribe\"}",
        "{\"type\":\"subscribe\",\"id\":\"1\",\"topics\":[],\"since\":-1}",
    ] {
        client.socket.send(Message::text(text)).await.unwrap();
        assert_eq!(
            client.error().await,
            (None, "malformed_frame".into()),
            "{text}"
        );
    }
    client
        .socket
        .send(Message::binary(vec![1, 2]))
        .await
        .unwrap();
    assert_eq!(client.error().await.1, "text_expected");
    for topic in [
        "",
        "job",
        "job:",
        "job:x",
        "execution:job_00000000000000000000000000000001",
        "org ",
        "ORG",
        "events:x",
    ] {
        client
            .say(json!({ "type": "subscribe", "id": "1", "topics": ["org", topic] }))
            .await;
        assert_eq!(
            client.error().await,
            (Some("1".into()), "unknown_topic".into()),
            "{topic}"
        );
    }
    let many: Vec<String> = (0..257).map(|n| format!("job:job_{n:032x}")).collect();
    client
        .say(json!({ "type": "subscribe", "id": "1", "topics": many }))
        .await;
    assert_eq!(client.error().await.1, "too_many_topics");
    client
        .say(json!({ "type": "subscribe", "id": "1", "topics": many[..256] }))
        .await;
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Subscribed { .. })
    ));
    client
        .say(json!({ "type": "subscribe", "id": "1", "topics": many[..10] }))
        .await;
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Subscribed { .. })
    ));
    client
        .say(json!({ "type": "subscribe", "id": "2", "topics": ["org"] }))
        .await;
    assert_eq!(client.error().await.1, "too_many_topics");
    client
        .say(json!({ "type": "subscribe", "id": "x".repeat(200), "topics": ["org"] }))
        .await;
    assert_eq!(client.error().await.1, "malformed_frame");
    client.say(json!({ "type": "ping" })).await;
    assert_eq!(client.next().await, Some(ServerFrame::Pong { id: None }));
    // Too large a frame ends the connection, and only this one.
    let mut other = Client::connect(&host, address).await;
    let _ = client
        .socket
        .send(Message::text("x".repeat(100 << 10)))
        .await;
    assert_eq!(client.next().await, None);
    other.is_quiet().await;
}

#[tokio::test]
async fn ways_to_get_in() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let bearer = format!("Bearer {}", host.token);
    assert_eq!(refused(request(address, &[])).await, 401);
    assert_eq!(
        refused(request(address, &[("authorization", "Bearer x")])).await,
        401
    );
    let token = format!("bearer.{}", host.token);
    for (offered, chosen) in [
        (token.clone(), token.clone()),
        (format!("bindery.v1, {token}"), "bindery.v1".to_owned()),
        (format!("{token}, bindery.v1"), "bindery.v1".to_owned()),
    ] {
        let (_, answer) = connect_async(request(address, &[("sec-websocket-protocol", &offered)]))
            .await
            .unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], chosen);
    }
    assert_eq!(
        refused(request(address, &[("sec-websocket-protocol", "bearer.x")])).await,
        401
    );

    let ticket = host.post("/api/v1/ws/ticket", json!({})).await.json();
    assert_eq!(ticket["expires_in_seconds"], 30);
    let query = format!("?ticket={}", ticket["ticket"].as_str().unwrap());
    let (socket, _) = connect_async(request_to(address, &query, &[]))
        .await
        .unwrap();
    Client { socket }.is_quiet().await;
    assert_eq!(refused(request_to(address, &query, &[])).await, 401);
    assert_eq!(refused(request_to(address, "?ticket=", &[])).await, 401);

    let own = format!("http://{address}");
    let origin = |origin| {
        request(
            address,
            &[("authorization", bearer.as_str()), ("origin", origin)],
        )
    };
    assert!(connect_async(origin(&own)).await.is_ok());
    assert_eq!(refused(origin("http://evil.test")).await, 403);
    assert_eq!(refused(origin("null")).await, 403);
    assert_eq!(
        host.get("/api/v1/ws").await.problem(426),
        "websocket_expected"
    );
}

#[tokio::test]
async fn another_organisation_hears_nothing() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let (execution, job) = host.execute(json!({ "hold": true })).await;
    let bearer = format!("Bearer {}", host.stranger().await);
    let (socket, _) = connect_async(request(address, &[("authorization", &bearer)]))
        .await
        .unwrap();
    let mut client = Client { socket };
    let topics = [
        format!("execution:{execution}"),
        format!("job:{job}"),
        "org".to_owned(),
    ];
    client
        .say(json!({ "type": "subscribe", "id": "1", "topics": topics, "since": 0 }))
        .await;
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Subscribed { seq: 0, .. })
    ));
    host.release.add_permits(1);
    host.wait_for(&execution, "succeeded").await;
    client.is_quiet().await;
    client
        .say(json!({ "type": "subscribe", "id": "2", "topics": topics, "since": 99 }))
        .await;
    assert!(matches!(
        client.next().await,
        Some(ServerFrame::Subscribed { .. })
    ));
    let mut snapshots = Vec::new();
    for _ in 0..3 {
        match client.next().await.unwrap() {
            ServerFrame::Resync { snapshot, .. } => snapshots.push(snapshot),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(snapshots[0], Value::Null);
    assert_eq!(snapshots[1], Value::Null);
    assert_eq!(snapshots[2]["jobs"], json!([]));
}

/// A client that does not read is told the state when it reads again, and slows nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_gets_a_resync_and_slows_nobody() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    // Small buffers, so that the server feels it soon.
    let stream = {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        socket.connect(address).await.unwrap()
    };
    let bearer = format!("Bearer {}", host.token);
    let (mut slow, _) = client_async(request(address, &[("authorization", &bearer)]), stream)
        .await
        .unwrap();
    let subscribe = json!({ "type": "subscribe", "id": "s", "topics": ["org"] }).to_string();
    slow.send(Message::text(subscribe)).await.unwrap();
    let answer = timeout(DEADLINE, slow.next())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(answer.to_text().unwrap().contains("subscribed"));
    let mut fast = Client::connect(&host, address).await;
    let first = fast.subscribe(&["org"], None).await;

    // 32 MiB of state changes: more than all buffers between the two, and than is caught up with.
    const EVENTS: u64 = 4_000;
    let data = json!({ "execution_id": "x", "filler": "y".repeat(8 << 10) });
    let writer = async {
        for _ in 0..EVENTS {
            commit(&host, &["execution.started"], &["org"], data.clone()).await;
        }
    };
    let reader = async {
        for expected in first + 1..=first + EVENTS {
            match fast.next().await.unwrap() {
                ServerFrame::Event { seq, .. } => assert_eq!(seq, expected),
                // A loaded machine may make the reader late too; it must never miss silently.
                ServerFrame::Resync { seq, .. } => return seq,
                other => panic!("{other:?}"),
            }
        }
        first + EVENTS
    };
    timeout(DEADLINE, async { tokio::join!(writer, reader) })
        .await
        .expect("nobody is slowed");

    // What was on its way comes first, in order; then the state; then what is new.
    let mut before = first;
    let position = loop {
        let message = timeout(DEADLINE, slow.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let Message::Text(text) = message else {
            continue;
        };
        match serde_json::from_str(&text).unwrap() {
            ServerFrame::Event { seq, .. } => {
                assert_eq!(seq, before + 1);
                before = seq;
            }
            ServerFrame::Resync {
                topic,
                seq,
                snapshot,
            } => {
                assert_eq!(topic, "org");
                assert!(snapshot["jobs"].is_array());
                break seq;
            }
            other => panic!("{other:?}"),
        }
    };
    assert!(
        before < position && position <= first + EVENTS,
        "{before} {position}"
    );
    let last = commit(&host, &["execution.started"], &["org"], json!({})).await;
    let mut before = position;
    loop {
        let message = timeout(DEADLINE, slow.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let Message::Text(text) = message else {
            continue;
        };
        match serde_json::from_str(&text).unwrap() {
            ServerFrame::Event { seq, .. } => {
                assert_eq!(seq, before + 1);
                before = seq;
            }
            ServerFrame::Resync { seq, .. } => before = seq,
            other => panic!("{other:?}"),
        }
        if before == last {
            break;
        }
    }
}

#[tokio::test]
async fn connections_end_with_the_host_and_leave_nothing_behind() {
    let host = TestHost::start().await;
    let address = serve(&host).await;
    let connections = async || {
        let metrics = host.get("/metrics").await.text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("bindery_websocket_connections "));
        line.unwrap()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let mut client = Client::connect(&host, address).await;
    client.subscribe(&["org"], None).await;
    {
        let mut short = Client::connect(&host, address).await;
        short.subscribe(&["org"], Some(0)).await;
        assert_eq!(connections().await, 2);
    }
    let gone = async {
        while connections().await != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, gone).await.unwrap();
    host.services.stop.cancel();
    let close = loop {
        let message = timeout(DEADLINE, client.socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        if let Message::Close(frame) = message {
            break frame.unwrap();
        }
    };
    assert_eq!(close.code, CloseCode::Away);
}
