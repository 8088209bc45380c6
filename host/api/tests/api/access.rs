//! Nobody gets in without a credential, wherever they knock.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};

use crate::support::TestHost;

/// Open to all; signing in takes the credential in its body.
const OPEN: [(&str, &str); 3] = [
    ("get", "/health"),
    ("get", "/ready"),
    ("post", "/api/v1/auth/login"),
];

/// Every route of the document, and those beside it.
fn all_routes() -> Vec<(String, String)> {
    let document = serde_json::to_value(bindery_api::openapi_document()).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes.push((method.clone(), path.clone()));
        }
    }
    assert!(routes.len() > 30, "{routes:?}");
    for (method, path) in [
        ("get", "/api/openapi.json"),
        ("get", "/api/docs"),
        ("get", "/api/docs/"),
        ("get", "/api/docs/swagger-ui.css"),
        ("get", "/api"),
        ("get", "/mcp"),
        ("post", "/mcp"),
        ("delete", "/mcp"),
        ("get", "/api/"),
        ("get", "/api/v1/no/such/path"),
        ("delete", "/api/v1/tasks"),
        ("put", "/api/v1/files/file_x"),
    ] {
        routes.push((method.to_owned(), path.to_owned()));
    }
    routes
}

async fn knock(host: &TestHost, method: &str, path: &str, credential: Option<&str>) -> StatusCode {
    let path = path
        .replace("{collection}", "samples")
        .replace("{task}", "test.count")
        .replace("{id}", "exe_01");
    let mut request = Request::builder()
        .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
        .uri(&path)
        .header(header::HOST, "host.test")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(credential) = credential {
        request = request.header(header::AUTHORIZATION, credential);
    }
    let answer = host.send(request.body(Body::from("{}")).unwrap()).await;
    if answer.status == StatusCode::UNAUTHORIZED {
        assert_eq!(answer.problem(401), "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    answer.status
}

#[tokio::test]
async fn every_route_but_the_open_ones_needs_a_credential() {
    let host = TestHost::start().await;
    let wrong = format!("Bearer {}", host.token.replace("bnd_", "bns_"));
    let mut other = host.token.clone();
    other.replace_range(40..41, if &other[40..41] == "0" { "1" } else { "0" });
    let bad = [
        None,
        Some(String::new()),
        Some("Bearer".into()),
        Some("Bearer ".into()),
        Some(format!("Basic {}", host.token)),
        Some(host.token.clone()),
        Some(wrong),
        Some(format!("Bearer {other}")),
    ];
    for (method, path) in all_routes() {
        let open = OPEN.contains(&(method.as_str(), path.as_str()));
        for credential in &bad {
            let status = knock(&host, &method, &path, credential.as_deref()).await;
            // What is said of a wrong token in the body is no matter of the header's.
            if path == "/api/v1/auth/login" {
                assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
            } else {
                assert_eq!(
                    status == StatusCode::UNAUTHORIZED,
                    !open,
                    "{method} {path} {credential:?}"
                );
            }
        }
        let good = format!("Bearer {}", host.token);
        let status = knock(&host, &method, &path, Some(&good)).await;
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(!status.is_server_error(), "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn other_organisations_things_do_not_exist() {
    let host = TestHost::start().await;
    let (execution, job) = host.finished(serde_json::json!({})).await;
    let file = host.sample().await;
    let artifact = host
        .get(&format!("/api/v1/executions/{execution}/artifacts"))
        .await
        .json();
    let artifact = artifact["items"][0]["id"].as_str().unwrap().to_owned();
    let stranger = format!("Bearer {}", host.stranger().await);
    for path in [
        format!("/api/v1/executions/{execution}"),
        format!("/api/v1/executions/{execution}/status"),
        format!("/api/v1/executions/{execution}/results"),
        format!("/api/v1/executions/{execution}/events"),
        format!("/api/v1/executions/{execution}/logs"),
        format!("/api/v1/executions/{execution}/artifacts"),
        format!("/api/v1/jobs/{job}"),
        format!("/api/v1/jobs/{job}/status"),
        format!("/api/v1/jobs/{job}/results"),
        format!("/api/v1/jobs/{job}/events"),
        format!("/api/v1/jobs/{job}/logs"),
        format!("/api/v1/artifacts/{artifact}"),
        format!("/api/v1/files/{file}"),
        format!("/api/v1/files/{file}/content"),
        format!("/api/v1/samples/{file}"),
    ] {
        assert_eq!(host.get(&path).await.status, StatusCode::OK, "{path}");
        assert_eq!(
            knock(&host, "get", &path, Some(&stranger)).await,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in [
        format!("/api/v1/executions/{execution}/cancel"),
        format!("/api/v1/jobs/{job}/cancel"),
    ] {
        assert_eq!(
            knock(&host, "post", &path, Some(&stranger)).await,
            StatusCode::NOT_FOUND
        );
    }
    for list in ["files", "jobs", "executions", "samples"] {
        let request = Request::get(format!("/api/v1/{list}"))
            .header(header::AUTHORIZATION, &stranger)
            .body(Body::empty())
            .unwrap();
        assert_eq!(
            host.send(request).await.json()["items"],
            serde_json::json!([]),
            "{list}"
        );
    }
}

#[tokio::test]
async fn a_revoked_token_is_no_good() {
    let host = TestHost::start().await;
    assert_eq!(host.get("/api/v1/jobs").await.status, StatusCode::OK);
    let principal = host
        .services
        .identity
        .authenticate(&host.token)
        .unwrap()
        .unwrap();
    host.services
        .identity
        .revoke_token(principal.token)
        .await
        .unwrap();
    assert_eq!(host.get("/api/v1/jobs").await.problem(401), "unauthorized");
}
