//! Errors of form, and the headers of every answer.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::json;

use crate::support::TestHost;

#[tokio::test]
async fn bodies_of_the_wrong_form_are_refused() {
    let host = TestHost::start().await;
    let path = "/api/v1/tasks/test.count/validate";
    let send = async |content_type: Option<&str>, body: String| {
        let mut request = host.request(Method::POST, path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        host.send(request.body(Body::from(body)).unwrap()).await
    };
    let json_type = Some("application/json");
    assert_eq!(
        send(None, "{}".into()).await.problem(415),
        "unsupported_media_type"
    );
    assert_eq!(
        send(Some("text/plain"), "{}".into()).await.problem(415),
        "unsupported_media_type"
    );
    assert_eq!(
        send(Some("application/json; charset=utf-8"), "{}".into())
            .await
            .status,
        StatusCode::OK
    );
    assert_eq!(
        send(json_type, String::new()).await.problem(400),
        "malformed_json"
    );
    assert_eq!(
        send(json_type, "{\"a\":".into()).await.problem(400),
        "malformed_json"
    );
    assert_eq!(
        send(json_type, "[]".into()).await.problem(422),
        "validation_failed"
    );
    assert_eq!(
        send(json_type, "{\"parameters\": 3}".into())
            .await
            .problem(422),
        "validation_failed"
    );
    let unknown = send(json_type, "{\"paramters\": {}}".into()).await;
    assert_eq!(unknown.problem(422), "validation_failed");
    assert_eq!(unknown.json()["violations"][0]["pointer"], "/paramters");
    let long = format!("{{\"parameters\": {{\"x\": \"{}\"}}}}", "y".repeat(3 << 20));
    assert_eq!(send(json_type, long).await.problem(413), "too_large");
    let deep = format!(
        "{{\"parameters\": {}1{}}}",
        "[".repeat(5000),
        "]".repeat(5000)
    );
    assert_eq!(send(json_type, deep).await.problem(400), "malformed_json");
}

#[tokio::test]
async fn unknown_paths_and_methods() {
    let host = TestHost::start().await;
    for path in ["/nothing", "/api/v2/x", "/api/v1/a/b/c", "/"] {
        assert_eq!(host.get(path).await.problem(404), "not_found", "{path}");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/tasks", "GET,HEAD"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::GET, "/api/v1/tasks/test.count/execute", "POST"),
        (Method::PUT, "/api/v1/files", "GET,HEAD,POST"),
        (Method::POST, "/api/v1/jobs", "GET,HEAD"),
    ] {
        let answer = host
            .send(host.request(method, path).body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.problem(405), "method_not_allowed", "{path}");
        assert_eq!(answer.header("allow"), allow, "{path}");
    }
}

#[tokio::test]
async fn every_answer_has_an_id_and_safe_headers() {
    let host = TestHost::start().await;
    for path in [
        "/health",
        "/api/v1/tasks",
        "/nothing",
        "/login",
        "/api/docs",
    ] {
        let answer = host.get(path).await;
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{path}"
        );
    }
    let given = host
        .get_with("/health", &[("x-request-id", "my-id.1")])
        .await;
    assert_eq!(given.header("x-request-id"), "my-id.1");
    for bad in ["a b", "<script>", &"x".repeat(65)] {
        let answer = host.get_with("/health", &[("x-request-id", bad)]).await;
        assert_ne!(answer.header("x-request-id"), bad);
    }
}

#[tokio::test]
async fn health_and_readiness_are_open_and_say_little() {
    let host = TestHost::start().await;
    let open = async |path: &str| {
        host.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    };
    let health = open("/health").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (StatusCode::OK, &json!("ok"))
    );
    let ready = open("/ready").await;
    assert_eq!(
        (ready.status, &ready.json()["status"]),
        (StatusCode::OK, &json!("ready"))
    );
    for check in ["store", "registry", "engines"] {
        assert!(
            ready.json()["checks"][check]["status"].is_string(),
            "{check}"
        );
    }
    assert_eq!(ready.json()["checks"]["engines"]["status"], "degraded");
    let head = host
        .send(Request::head("/health").body(Body::empty()).unwrap())
        .await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn engines_are_listed() {
    let host = TestHost::start().await;
    let engines = host.get("/api/v1/engines").await.json();
    assert_eq!(engines["sandbox"], "L2");
    assert_eq!(
        engines["items"],
        json!([
            { "name": "abacus", "title": "ABACUS", "found": true, "version": "1.4" },
            { "name": "missing", "title": "MISSING", "found": false, "version": null, "hint": "apt install missing" },
        ])
    );
}
