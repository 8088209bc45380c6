//! Files, collections and downloads.

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};

use crate::support::{Answer, SAMPLE, SAMPLE_TYPE, TestHost, UPLOAD_BYTES_MAX};

async fn form(host: &TestHost, path: &str, parts: &[(&str, &str)]) -> Answer {
    let mut body = String::new();
    for (head, content) in parts {
        body.push_str(&format!(
            "--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n"
        ));
    }
    body.push_str("--XX--\r\n");
    let request = host
        .request(Method::POST, path)
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=XX");
    host.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn a_file_is_uploaded_raw_or_by_form() {
    let host = TestHost::start().await;
    let raw = host
        .upload("/api/v1/files", "a.sample", format!("{SAMPLE} one two"))
        .await;
    assert_eq!(raw.status, StatusCode::CREATED, "{}", raw.text());
    let file = raw.json();
    assert_eq!(
        raw.header("location"),
        format!("/api/v1/files/{}", file["id"].as_str().unwrap())
    );
    assert_eq!(
        (&file["format"], &file["name"]),
        (&json!(SAMPLE_TYPE), &json!("a.sample"))
    );
    assert_eq!(file["size"], 14);
    assert_eq!(file["inspection"]["details"]["words"], 3);
    assert_eq!(file["inspection"]["warnings"][0]["code"], "odd");

    let parts = [
        ("name=\"note\"", "hello"),
        ("name=\"file\"; filename=\"b.bin\"", "bytes"),
    ];
    let answer = form(&host, "/api/v1/files", &parts).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.json()["name"], "b.bin");
    assert_eq!(answer.json()["format"], Value::Null);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        host.get(&format!("/api/v1/files/{id}")).await.json(),
        answer.json()
    );

    let named = host
        .request(Method::POST, "/api/v1/files")
        .header(
            header::CONTENT_DISPOSITION,
            "attachment; filename*=UTF-8''%C3%A9.txt",
        )
        .header(header::CONTENT_TYPE, "text/plain");
    let answer = host.send(named.body(Body::from("x")).unwrap()).await.json();
    assert_eq!(
        (&answer["name"], &answer["media_type"]),
        (&json!("é.txt"), &json!("text/plain"))
    );
    let empty = host.upload("/api/v1/files", "empty", "").await;
    assert_eq!(
        (empty.status, &empty.json()["size"]),
        (StatusCode::CREATED, &json!(0))
    );
}

#[tokio::test]
async fn broken_uploads_are_refused() {
    let host = TestHost::start().await;
    let large = "x".repeat(usize::try_from(UPLOAD_BYTES_MAX).unwrap() + 1);
    let answer = host.upload("/api/v1/files", "a", large.clone()).await;
    assert_eq!(answer.problem(413), "too_large");
    let parts = [("name=\"file\"; filename=\"a\"", large.as_str())];
    assert_eq!(
        form(&host, "/api/v1/files", &parts).await.problem(413),
        "too_large"
    );
    let chunks = (0..100).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 << 10])));
    let answer = host
        .upload(
            "/api/v1/files",
            "a",
            Body::from_stream(stream::iter(chunks)),
        )
        .await;
    assert_eq!(answer.problem(413), "too_large");
    let claimed = host
        .request(Method::POST, "/api/v1/files")
        .header(header::CONTENT_LENGTH, u64::MAX)
        .body(Body::empty());
    assert_eq!(host.send(claimed.unwrap()).await.problem(413), "too_large");

    let cut = stream::iter([Ok(Bytes::from("some")), Err(std::io::Error::other("gone"))]);
    let answer = host
        .upload("/api/v1/files", "a", Body::from_stream(cut))
        .await;
    assert_eq!(answer.problem(400), "upload_broken");
    assert_eq!(
        form(&host, "/api/v1/files", &[]).await.problem(422),
        "validation_failed"
    );
    let many = [("name=\"x\"", "y"); 20];
    assert_eq!(
        form(&host, "/api/v1/files", &many).await.problem(400),
        "upload_broken"
    );
    for (content_type, body) in [
        ("multipart/form-data", "x"),
        ("multipart/form-data; boundary=XX", "rubbish"),
        (
            "multipart/form-data; boundary=XX",
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ncut",
        ),
    ] {
        let request = host
            .request(Method::POST, "/api/v1/files")
            .header(header::CONTENT_TYPE, content_type);
        let answer = host.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(
            answer.problem(400),
            "upload_broken",
            "{content_type} {body}"
        );
    }
}

#[tokio::test]
async fn lists_go_page_by_page_newest_first() {
    let host = TestHost::start().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        let content = if n % 2 == 0 {
            SAMPLE.to_owned()
        } else {
            "other".to_owned()
        };
        let file = host
            .upload("/api/v1/files", &format!("File{n}"), content)
            .await
            .json();
        ids.insert(0, file["id"].as_str().unwrap().to_owned());
    }
    let mut found = Vec::new();
    let mut path = "/api/v1/files?limit=3".to_owned();
    loop {
        let page = host.get(&path).await.json();
        let items = page["items"].as_array().unwrap().clone();
        assert!(items.len() <= 3);
        found.extend(
            items
                .iter()
                .map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/files?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    let count = async |query: &str| {
        let page = host.get(&format!("/api/v1/{query}")).await.json();
        page["items"].as_array().unwrap().len()
    };
    assert_eq!(count("files").await, 7);
    assert_eq!(count("files?q=file3").await, 1);
    assert_eq!(count(&format!("files?format={SAMPLE_TYPE}")).await, 4);
    assert_eq!(count("samples").await, 4);
    assert_eq!(count("samples?q=FILE4").await, 1);
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "cursor=x",
        "cursor=job_1",
    ] {
        let answer = host.get(&format!("/api/v1/files?{query}")).await;
        assert_eq!(answer.problem(400), "invalid_query", "{query}");
    }
}

#[tokio::test]
async fn content_is_a_download_with_ranges() {
    let host = TestHost::start().await;
    let request = host
        .request(Method::POST, "/api/v1/files?name=evil%22.html")
        .header(header::CONTENT_TYPE, "text/html");
    let file = host
        .send(request.body(Body::from("0123456789")).unwrap())
        .await
        .json();
    let path = format!("/api/v1/files/{}/content", file["id"].as_str().unwrap());
    let whole = host.get(&path).await;
    assert_eq!(
        (whole.status, whole.text().as_str()),
        (StatusCode::OK, "0123456789")
    );
    assert_eq!(whole.header("content-length"), "10");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    assert!(
        whole
            .header("content-disposition")
            .starts_with("attachment; filename=\"evil_.html\"")
    );
    assert!(whole.header("content-security-policy").contains("sandbox"));
    let tag = whole.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", file["digest"].as_str().unwrap()));

    let part = host.get_with(&path, &[("range", "bytes=2-4")]).await;
    assert_eq!(
        (part.status, part.text().as_str()),
        (StatusCode::PARTIAL_CONTENT, "234")
    );
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    assert_eq!(part.header("content-length"), "3");
    let end = host.get_with(&path, &[("range", "bytes=-3")]).await;
    assert_eq!(end.text(), "789");
    let beyond = host.get_with(&path, &[("range", "bytes=10-")]).await;
    assert_eq!(beyond.problem(416), "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), "bytes */10");
    let several = host.get_with(&path, &[("range", "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, several.body.len()), (StatusCode::OK, 10));
    let same = host
        .get_with(&path, &[("range", "bytes=0-1"), ("if-range", &tag)])
        .await;
    assert_eq!(same.status, StatusCode::PARTIAL_CONTENT);
    let changed = host
        .get_with(&path, &[("range", "bytes=0-1"), ("if-range", "\"x\"")])
        .await;
    assert_eq!(changed.status, StatusCode::OK);
    for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".into()] {
        let answer = host.get_with(&path, &[("if-none-match", &known)]).await;
        assert_eq!(
            (answer.status, answer.body.len()),
            (StatusCode::NOT_MODIFIED, 0)
        );
    }
    let head = host
        .send(
            host.request(Method::HEAD, &path)
                .body(Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), "10");
}

#[tokio::test]
async fn a_collection_takes_its_own_formats_only() {
    let host = TestHost::start().await;
    let good = host
        .upload("/api/v1/samples/upload", "a", format!("{SAMPLE} x"))
        .await;
    assert_eq!(good.status, StatusCode::CREATED, "{}", good.text());
    let item = good.json();
    let id = item["id"].as_str().unwrap().to_owned();
    assert_eq!(good.header("location"), format!("/api/v1/samples/{id}"));
    assert_eq!(
        (&item["words"], &item["details"]["words"]),
        (&json!(2), &json!(2))
    );
    assert_ne!(item["id"], "not this");
    assert_eq!(item["warnings"][0]["message"], "this is odd");
    assert_eq!(
        host.get(&format!("/api/v1/samples/{id}")).await.json(),
        item
    );

    let unknown = host
        .upload("/api/v1/samples/upload", "b.txt", "what is this")
        .await;
    assert_eq!(unknown.problem(422), "invalid_file");
    assert_eq!(unknown.json()["violations"][0]["code"], "unknown_format");
    let bad = host
        .upload("/api/v1/samples/upload", "c.txt", format!("{SAMPLE} bad"))
        .await;
    assert_eq!(bad.problem(422), "invalid_file");
    assert_eq!(
        bad.json()["violations"][0],
        json!({ "pointer": "/file", "code": "bad_word", "message": "c.txt: a bad word (record 1, line 2)" })
    );
    let plain = host.upload("/api/v1/files", "d", "plain").await.json();
    let plain = plain["id"].as_str().unwrap();
    assert_eq!(
        host.get(&format!("/api/v1/samples/{plain}"))
            .await
            .problem(404),
        "not_found"
    );
    for path in ["/api/v1/nothing", "/api/v1/nothing/x", "/api/v1/plugin"] {
        assert_eq!(host.get(path).await.problem(404), "not_found");
    }
    let answer = host.upload("/api/v1/nothing/upload", "a", SAMPLE).await;
    assert_eq!(answer.problem(404), "not_found");
}

#[tokio::test]
async fn an_artifact_is_a_download() {
    let host = TestHost::start().await;
    let (execution, _) = host.finished(json!({ "count": 7 })).await;
    let artifacts = host
        .get(&format!("/api/v1/executions/{execution}/artifacts"))
        .await
        .json();
    let artifact = &artifacts["items"][0];
    assert_eq!(artifact["name"], "counted.txt");
    let path = artifact["href"].as_str().unwrap();
    let answer = host.get(path).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, "counted 7")
    );
    assert!(
        answer
            .header("content-disposition")
            .contains("filename=\"counted.txt\"")
    );
    assert_eq!(answer.header("content-type"), "text/html");
    assert!(answer.header("content-security-policy").contains("sandbox"));
    let part = host.get_with(path, &[("range", "bytes=8-")]).await;
    assert_eq!(
        (part.status, part.text().as_str()),
        (StatusCode::PARTIAL_CONTENT, "7")
    );
    for id in ["art_x", "art_00000000000000000000000000000000", &execution] {
        assert_eq!(
            host.get(&format!("/api/v1/artifacts/{id}"))
                .await
                .problem(404),
            "not_found"
        );
    }
}
