//! Signing in with a browser.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::json;

use crate::support::{Answer, TestHost};

async fn plain(
    host: &TestHost,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "host.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    host.send(request.body(Body::from(body)).unwrap()).await
}

/// Signs in and gives the cookie.
async fn sign_in(host: &TestHost) -> String {
    let body = json!({ "token": host.token }).to_string();
    let json = [("content-type", "application/json")];
    let answer = plain(host, Method::POST, "/api/v1/auth/login", &json, body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.json()["role"], "admin");
    let cookie = answer.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains(&host.token));
    assert!(!answer.text().contains(&host.token));
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_reads_and_writes_from_our_own_pages_only() {
    let host = TestHost::start().await;
    let cookie = sign_in(&host).await;
    let with = |more: &[(&'static str, &'static str)]| {
        let mut headers = vec![
            ("cookie", cookie.as_str()),
            ("content-type", "application/json"),
        ];
        headers.extend_from_slice(more);
        headers
    };
    let read = plain(
        &host,
        Method::GET,
        "/api/v1/auth/session",
        &with(&[]),
        String::new(),
    )
    .await;
    assert_eq!(read.status, StatusCode::OK);
    let path = "/api/v1/tasks/test.count/validate";
    for (headers, allowed) in [
        (vec![], false),
        (vec![("origin", "http://evil.test")], false),
        (vec![("origin", "null")], false),
        (vec![("sec-fetch-site", "cross-site")], false),
        (
            vec![
                ("sec-fetch-site", "same-site"),
                ("origin", "http://host.test"),
            ],
            false,
        ),
        (vec![("origin", "http://host.test")], true),
        (vec![("sec-fetch-site", "same-origin")], true),
    ] {
        let answer = plain(&host, Method::POST, path, &with(&headers), "{}".into()).await;
        if allowed {
            assert_eq!(answer.status, StatusCode::OK, "{headers:?}");
        } else {
            assert_eq!(answer.problem(403), "cross_site", "{headers:?}");
        }
    }
}

#[tokio::test]
async fn signing_out_ends_the_session() {
    let host = TestHost::start().await;
    let cookie = sign_in(&host).await;
    let other = sign_in(&host).await;
    let headers = [
        ("cookie", cookie.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let out = plain(
        &host,
        Method::POST,
        "/api/v1/auth/logout",
        &headers,
        String::new(),
    )
    .await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    let read = plain(
        &host,
        Method::GET,
        "/api/v1/jobs",
        &headers[..1],
        String::new(),
    )
    .await;
    assert_eq!(read.problem(401), "unauthorized");
    let other = [("cookie", other.as_str())];
    let read = plain(&host, Method::GET, "/api/v1/jobs", &other, String::new()).await;
    assert_eq!(read.status, StatusCode::OK);
}

#[tokio::test]
async fn the_form_signs_in_and_goes_on() {
    let host = TestHost::start().await;
    let page = plain(
        &host,
        Method::GET,
        "/login?next=/api/docs",
        &[],
        String::new(),
    )
    .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("value=\"/api/docs\""));
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    let evil = plain(
        &host,
        Method::GET,
        "/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E",
        &[],
        String::new(),
    )
    .await;
    assert!(!evil.text().contains("<script>"));

    let form = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://host.test"),
    ];
    let send = |next: &str, token: &str| format!("token={token}&next={next}");
    let answer = plain(
        &host,
        Method::POST,
        "/api/v1/auth/login",
        &form,
        send("/api/docs", &host.token),
    )
    .await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (StatusCode::SEE_OTHER, "/api/docs")
    );
    assert!(answer.header("set-cookie").contains("; Secure"));
    let answer = plain(
        &host,
        Method::POST,
        "/api/v1/auth/login",
        &form,
        send("//evil.test", &host.token),
    )
    .await;
    assert_eq!(answer.header("location"), "/api/docs");
    let answer = plain(
        &host,
        Method::POST,
        "/api/v1/auth/login",
        &form,
        send("/", "wrong"),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.text().contains("not valid") && answer.header("set-cookie").is_empty());
    let foreign = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", "https://evil.test"),
    ];
    let answer = plain(
        &host,
        Method::POST,
        "/api/v1/auth/login",
        &foreign,
        send("/", &host.token),
    )
    .await;
    assert_eq!(answer.problem(403), "cross_site");
}

#[tokio::test]
async fn a_wrong_token_signs_nobody_in() {
    let host = TestHost::start().await;
    let json_type = [("content-type", "application/json")];
    let body = json!({ "token": "bnd_wrong" }).to_string();
    let answer = plain(&host, Method::POST, "/api/v1/auth/login", &json_type, body).await;
    assert_eq!(answer.problem(401), "unauthorized");
    assert!(answer.header("set-cookie").is_empty());
    for body in ["{", "[]", "{}"] {
        let answer = plain(
            &host,
            Method::POST,
            "/api/v1/auth/login",
            &json_type,
            body.into(),
        )
        .await;
        assert!(answer.status.is_client_error(), "{body}");
    }
    let cookie = [("cookie", "bindery_session=bns_wrong; other=1")];
    let answer = plain(&host, Method::GET, "/api/v1/jobs", &cookie, String::new()).await;
    assert_eq!(answer.problem(401), "unauthorized");
}

#[tokio::test]
async fn a_browser_gets_the_sign_in_page_in_place_of_the_docs() {
    let host = TestHost::start().await;
    let browser = [("accept", "text/html,application/xhtml+xml")];
    let answer = plain(&host, Method::GET, "/api/docs", &browser, String::new()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(
        answer.text().contains("value=\"/api/docs\""),
        "{}",
        answer.text()
    );
    let cookie = sign_in(&host).await;
    let session = [("accept", "text/html"), ("cookie", cookie.as_str())];
    let page = plain(&host, Method::GET, "/api/docs", &session, String::new()).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text().contains("<base href=\"/api/docs/\">"),
        "{}",
        page.text()
    );
    for (file, media_type) in [
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "javascript"),
        ("swagger-initializer.js", "javascript"),
    ] {
        let path = format!("/api/docs/{file}");
        let answer = plain(&host, Method::GET, &path, &session, String::new()).await;
        assert_eq!(answer.status, StatusCode::OK, "{file}");
        assert!(answer.header("content-type").contains(media_type), "{file}");
        assert!(!answer.text().contains("petstore"), "{file}");
    }
    let answer = plain(
        &host,
        Method::GET,
        "/api/docs/nothing",
        &session,
        String::new(),
    )
    .await;
    assert_eq!(answer.problem(404), "not_found");
}
