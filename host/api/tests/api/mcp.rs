//! `/mcp`: who gets in, whose session is whose, and what the messages say.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use futures::StreamExt;
use serde_json::{Value, json};
use tower::Service;

use crate::support::{Answer, DEADLINE, TestHost};

const BOTH: &str = "application/json, text/event-stream";

fn message(token: &str, session: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri("/mcp")
        .header(header::HOST, "host.test")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, BOTH);
    if let Some(session) = session {
        request = request
            .header("mcp-session-id", session)
            .header("mcp-protocol-version", "2025-11-25");
    }
    request.body(Body::from(body.to_string())).unwrap()
}

/// The message with this id in an answer, be it a stream or a document.
fn reply(answer: &Answer, id: u64) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    messages(&answer.text())
        .into_iter()
        .find(|message| message["id"] == id)
        .unwrap_or_else(|| panic!("no reply {id}: {}", answer.text()))
}

fn messages(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| line.strip_prefix("data:").unwrap_or(line).trim())
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// The message that opens a session.
fn opening(token: &str) -> Request<Body> {
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        },
    });
    message(token, None, &initialize)
}

async fn open_session(host: &TestHost, token: &str) -> String {
    let answer = host.send(opening(token)).await;
    let result = reply(&answer, 1)["result"].clone();
    assert_eq!(result["protocolVersion"], "2025-11-25");
    assert_eq!(result["serverInfo"]["name"], "bindery");
    assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
    let session = answer.header("mcp-session-id").to_owned();
    assert!(!session.is_empty());
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let answer = host
        .send(message(token, Some(&session), &initialized))
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    session
}

async fn ask(host: &TestHost, session: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let request = message(&host.token, Some(session), &body);
    reply(&host.send(request).await, 7)
}

async fn call(host: &TestHost, session: &str, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments });
    ask(host, session, "tools/call", params).await["result"].clone()
}

#[tokio::test]
async fn a_task_is_a_tool() {
    let host = TestHost::start().await;
    let session = open_session(&host, &host.token).await;
    let listed = ask(&host, &session, "tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect();
    // The other task's engine is missing: a tool that cannot work is not offered.
    assert_eq!(
        names,
        [
            "test_count",
            "bindery_upload_file",
            "bindery_get_execution",
            "bindery_cancel_execution"
        ]
    );
    let schema = &tools[0]["inputSchema"];
    assert_eq!(schema["required"], json!(["inputs"]));
    assert_eq!(
        schema["properties"]["parameters"]["properties"]["count"]["minimum"],
        1
    );
    assert_eq!(
        schema["properties"]["inputs"]["required"],
        json!(["sample"])
    );
    assert_eq!(tools[0]["annotations"]["destructiveHint"], false);

    let arguments = json!({
        "inputs": { "sample": { "text": "SAMPLE one", "name": "a.sample" } },
        "parameters": { "count": 5 },
    });
    let result = call(&host, &session, "test_count", arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    let document = &result["structuredContent"];
    assert_eq!(document["output"], json!({ "counted": 5 }));
    let content = result["content"].as_array().unwrap();
    assert!(content[0]["text"].as_str().unwrap().contains("succeeded"));
    let link = content
        .iter()
        .find(|block| block["type"] == "resource_link")
        .unwrap();
    assert_eq!(link["name"], document["artifacts"][0]["name"]);
    let params = json!({ "uri": link["uri"] });
    let read = ask(&host, &session, "resources/read", params).await;
    assert!(read["result"]["contents"][0]["text"].is_string(), "{read}");

    // A file that was uploaded before, and faults of all kinds at once.
    let file = host.sample().await;
    let arguments = json!({ "inputs": { "sample": file }, "parameters": { "count": 0 } });
    let result = call(&host, &session, "test_count", arguments).await;
    assert_eq!(result["isError"], true);
    assert_eq!(
        result["structuredContent"]["violations"][0]["pointer"],
        "/parameters/count"
    );
    for (arguments, pointer) in [
        (json!({ "wait_seconds": 100_000 }), "/wait_seconds"),
        (
            json!({ "inputs": { "sample": "no-such" } }),
            "/inputs/sample",
        ),
    ] {
        let result = call(&host, &session, "test_count", arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(
            result["structuredContent"]["violations"][0]["pointer"],
            pointer
        );
    }
    let unknown = ask(
        &host,
        &session,
        "tools/call",
        json!({ "name": "no_such", "arguments": {} }),
    )
    .await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test]
async fn a_long_run_is_asked_for_later() {
    let host = TestHost::start().await;
    let session = open_session(&host, &host.token).await;
    let file = host.sample().await;
    let arguments = json!({
        "inputs": { "sample": file },
        "parameters": { "hold": true },
        "wait_seconds": 0,
    });
    let result = call(&host, &session, "test_count", arguments).await;
    assert_eq!(result["isError"], false, "{result}");
    let id = result["structuredContent"]["execution_id"].clone();
    assert_ne!(result["structuredContent"]["status"], "succeeded");
    host.release.add_permits(1);
    let arguments = json!({ "execution_id": id, "wait_seconds": 30 });
    let result = call(&host, &session, "bindery_get_execution", arguments).await;
    assert_eq!(
        result["structuredContent"]["status"], "succeeded",
        "{result}"
    );
    let arguments = json!({ "execution_id": id });
    let result = call(&host, &session, "bindery_cancel_execution", arguments).await;
    assert_eq!(
        result["structuredContent"]["status"], "succeeded",
        "{result}"
    );
}

#[tokio::test]
async fn a_session_is_its_owners_and_ends_when_told_to() {
    let host = TestHost::start().await;
    let session = open_session(&host, &host.token).await;
    let stranger = host.stranger().await;
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let answer = host.send(message(&stranger, Some(&session), &list)).await;
    assert_eq!(answer.problem(404), "not_found");
    let with = |method: Method, token: &str| {
        Request::builder()
            .method(method)
            .uri("/mcp")
            .header(header::HOST, "host.test")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::ACCEPT, "text/event-stream")
            .header("mcp-session-id", &session)
            .body(Body::empty())
            .unwrap()
    };
    for method in [Method::GET, Method::DELETE] {
        let answer = host.send(with(method, &stranger)).await;
        assert_eq!(answer.problem(404), "not_found");
    }
    let answer = host.send(with(Method::DELETE, &host.token)).await;
    assert!(answer.status.is_success(), "{}", answer.status);
    let answer = host.send(message(&host.token, Some(&session), &list)).await;
    assert_eq!(answer.problem(404), "not_found");
}

#[tokio::test]
async fn pages_of_others_and_strangers_stay_outside() {
    let host = TestHost::start().await;
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let mut request = message(&host.token, None, &list);
    request
        .headers_mut()
        .insert(header::ORIGIN, "https://evil.test".parse().unwrap());
    assert_eq!(host.send(request).await.problem(403), "origin_not_allowed");
    for token in ["", "bnd_0_0_0"] {
        let answer = host.send(message(token, None, &list)).await;
        assert_eq!(answer.problem(401), "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}

/// Opens the stream on which a session is told things.
async fn listen(host: &TestHost, session: &str) -> axum::response::Response {
    let request = Request::builder()
        .uri("/mcp")
        .header(header::HOST, "host.test")
        .header(header::AUTHORIZATION, format!("Bearer {}", host.token))
        .header(header::ACCEPT, "text/event-stream")
        .header("mcp-session-id", session)
        .body(Body::empty())
        .unwrap();
    let response = host.router.clone().call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
}

#[tokio::test]
async fn the_session_that_was_idle_for_longest_makes_room_for_a_new_one() {
    let host = TestHost::start().await;
    let list = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/list" });
    let mut sessions = Vec::new();
    for _ in 0..64 {
        sessions.push(open_session(&host, &host.token).await);
    }
    // The first is listened to, the second was used later than the third.
    let stream = listen(&host, &sessions[0]).await;
    ask(&host, &sessions[1], "tools/list", json!({})).await;
    // What needs no session is answered and costs nobody his.
    for _ in 0..3 {
        let answer = host.send(message(&host.token, None, &list)).await;
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    }
    let stranger = open_session(&host, &host.stranger().await).await;
    sessions.push(open_session(&host, &host.token).await);
    let gone = sessions.remove(2);
    let answer = host.send(message(&host.token, Some(&gone), &list)).await;
    assert_eq!(answer.problem(404), "not_found");
    assert!(!sessions.contains(&stranger));
    for session in &sessions {
        ask(&host, session, "tools/list", json!({})).await;
    }
    drop(stream);
}

#[tokio::test]
async fn sessions_that_are_in_use_are_not_put_aside_and_their_number_is_bounded() {
    let host = TestHost::start().await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        let session = open_session(&host, &host.token).await;
        streams.push(listen(&host, &session).await);
    }
    let answer = host.send(opening(&host.token)).await;
    assert_eq!(answer.problem(429), "too_many_sessions");
    assert_eq!(answer.header("retry-after"), "60");
    // Another's are not counted.
    open_session(&host, &host.stranger().await).await;
    // Whoever has gone away uses nothing.
    streams.pop();
    open_session(&host, &host.token).await;
}

#[tokio::test]
async fn a_new_task_is_told_to_whoever_listens() {
    let host = TestHost::start().await;
    let session = open_session(&host, &host.token).await;
    let response = listen(&host, &session).await;
    let mut stream = response.into_body().into_data_stream();
    host.load_task("new.task");
    let heard = tokio::time::timeout(DEADLINE, async {
        let mut text = String::new();
        while !text.contains("notifications/tools/list_changed") {
            let chunk = stream.next().await.expect("the stream ended").unwrap();
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
    });
    heard.await.expect("nobody was told");
    let listed = ask(&host, &session, "tools/list", json!({})).await;
    assert!(listed.to_string().contains("new_task"), "{listed}");
}
