//! Tasks: listing, definition, checking, running.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::TestHost;

fn ids(page: &Value) -> Vec<&str> {
    page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn tasks_are_listed_and_filtered() {
    let host = TestHost::start().await;
    let all = host.get("/api/v1/tasks").await.json();
    assert_eq!(ids(&all), ["other.task", "test.count"]);
    assert_eq!(all["next_cursor"], Value::Null);
    assert_eq!(all["items"][0]["available"], false);
    assert!(
        all["items"][0]["unavailable"]
            .as_str()
            .unwrap()
            .contains("apt install missing")
    );
    assert_eq!(all["items"][1]["available"], true);
    assert_eq!(
        ids(&host.get("/api/v1/tasks?category=test").await.json()),
        ["test.count"]
    );
    assert_eq!(
        ids(&host.get("/api/v1/tasks?q=COUNTS").await.json()),
        ["other.task", "test.count"]
    );
    assert_eq!(
        ids(&host.get("/api/v1/tasks?q=else").await.json()),
        ["other.task"]
    );
    assert_eq!(
        ids(&host.get("/api/v1/tasks?q=nothing").await.json()),
        [""; 0]
    );
    let first = host.get("/api/v1/tasks?limit=1").await.json();
    assert_eq!(
        (ids(&first), &first["next_cursor"]),
        (vec!["other.task"], &json!("other.task"))
    );
    let second = host
        .get("/api/v1/tasks?limit=1&cursor=other.task")
        .await
        .json();
    assert_eq!(
        (ids(&second), &second["next_cursor"]),
        (vec!["test.count"], &Value::Null)
    );
}

#[tokio::test]
async fn a_definition_has_what_a_form_needs() {
    let host = TestHost::start().await;
    for name in ["test.count", "test.count@1.2.0"] {
        let task = host.get(&format!("/api/v1/tasks/{name}")).await.json();
        for field in [
            "id",
            "version",
            "title",
            "category",
            "summary",
            "parameters",
            "inputs",
            "outputs",
            "engines",
            "resources",
            "versions",
            "permissions",
            "openapi",
        ] {
            assert!(!task[field].is_null(), "{field}");
        }
        assert_eq!(task["versions"], json!(["1.2.0", "1.0.0"]));
        assert_eq!(task["inputs"][0]["cardinality"], "one");
        assert_eq!(
            task["engines"][0],
            json!({ "name": "abacus", "versions": ">=1", "available": true })
        );
        assert_eq!(task["parameters"]["properties"]["count"]["default"], 3);
    }
    for name in [
        "no.such",
        "test.count@9.9.9",
        "test.count@latest",
        "..",
        "%00",
        "UPPER",
    ] {
        let answer = host.get(&format!("/api/v1/tasks/{name}")).await;
        assert_eq!(answer.problem(404), "task_not_found", "{name}");
    }
}

#[tokio::test]
async fn validation_normalises_or_names_all_faults() {
    let host = TestHost::start().await;
    let path = "/api/v1/tasks/test.count/validate";
    let good = host.post(path, json!({})).await;
    assert_eq!(good.status, StatusCode::OK);
    assert_eq!(good.json()["parameters"], json!({ "count": 3 }));
    assert_eq!(good.json()["notices"][0]["code"], "seed_drawn");
    assert_eq!(
        good.json()["estimate"],
        json!({ "wall_ms": 5, "cpu_ms": 4, "memory_bytes": 3 })
    );
    let definition = host.get("/api/v1/tasks/test.count").await.json();
    assert_eq!(definition["citations"][0]["doi"], "10.1/x");
    let found = host.get("/api/v1/tasks?q=TALLY").await.json();
    assert!(!found["items"].as_array().unwrap().is_empty(), "{found}");
    let bad = host
        .post(path, json!({ "parameters": { "count": 0 } }))
        .await;
    assert_eq!(bad.problem(422), "validation_failed");
    assert_eq!(
        bad.json()["violations"],
        json!([{ "pointer": "/parameters/count", "code": "out_of_range", "message": "count is too small" }])
    );
    let unknown = json!({ "inputs": { "sample": ["file_x", "file_00000000000000000000000000000000"], "a/b": "x" } });
    let bad = host.post(path, unknown).await;
    assert_eq!(bad.problem(422), "validation_failed");
    let pointers: Vec<_> = bad.json()["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| (fault["pointer"].clone(), fault["code"].clone()))
        .collect();
    assert_eq!(
        pointers,
        [
            (json!("/inputs/a~1b"), json!("file_not_found")),
            (json!("/inputs/sample/0"), json!("file_not_found")),
            (json!("/inputs/sample/1"), json!("file_not_found")),
        ]
    );
    let many = json!({ "inputs": { "sample": vec!["file_x"; 2000] } });
    assert_eq!(
        host.post(path, many).await.json()["violations"][0]["code"],
        "too_many_files"
    );
}

#[tokio::test]
async fn a_task_runs_to_its_result() {
    let host = TestHost::start().await;
    let file = host.sample().await;
    let body = json!({
        "inputs": { "sample": file },
        "parameters": { "count": 5, "large": true },
        "labels": { "project": "x" },
        "priority": 200,
        "cache": false,
    });
    let answer = host.post("/api/v1/tasks/test.count/execute", body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
    let executed = answer.json();
    assert_eq!(executed["status"], "queued");
    let execution = executed["execution_id"].as_str().unwrap();
    assert_eq!(
        answer.header("location"),
        format!("/api/v1/executions/{execution}")
    );
    host.wait_for(execution, "succeeded").await;

    let results = host
        .get(&format!("/api/v1/executions/{execution}/results"))
        .await
        .json();
    assert_eq!(results["execution_id"], execution);
    assert_eq!(
        (&results["task"], &results["status"]),
        (&json!("test.count"), &json!("succeeded"))
    );
    assert_eq!(results["output"], json!({ "counted": 5 }));
    assert_eq!(results["confidence"], 0.9);
    assert_eq!(
        results["metrics"],
        json!({ "speed": 2.5, "wall_seconds": 1.5, "cpu_seconds": 0.25, "peak_memory_bytes": 4096 })
    );
    assert_eq!(
        results["metric_info"]["speed"],
        json!({ "unit": "1/s", "better": "higher" })
    );
    assert_eq!(results["views"][0]["kind"], "markdown");
    assert_eq!(results["cache"], "miss");
    let artifact = &results["artifacts"][0];
    for field in ["name", "id", "media_type", "size", "digest"] {
        assert!(!artifact[field].is_null(), "{field}");
    }
    for field in ["receipts", "engines", "sandbox"] {
        assert!(results.get(field).is_some(), "{field}");
    }
    let record = host
        .get(&format!("/api/v1/executions/{execution}"))
        .await
        .json();
    assert_eq!(record["priority"], 200);
    assert_eq!(record["labels"], json!({ "project": "x" }));
    assert_eq!(record["inputs"][0]["file_id"], file);
    assert_eq!(record["attempts"][0]["ending"], "succeeded");
    assert_eq!(record["progress"], 1.0);
}

#[tokio::test]
async fn an_idempotency_key_runs_a_request_once() {
    let host = TestHost::start().await;
    let file = host.sample().await;
    let path = "/api/v1/tasks/test.count/execute";
    let key = [("idempotency-key", "my-key-1")];
    let body = json!({ "inputs": { "sample": file }, "parameters": { "count": 2, "x": { "a": 1, "b": 2 } } });
    let first = host.post_with(path, body.clone(), &key).await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.header("idempotency-replayed"), "");
    let execution = first.json()["execution_id"].clone();
    host.wait_for(execution.as_str().unwrap(), "succeeded")
        .await;

    // The same request with its fields in another order.
    let again = json!({ "parameters": { "x": { "b": 2, "a": 1 }, "count": 2 }, "inputs": { "sample": file } });
    let second = host.post_with(path, again, &key).await;
    assert_eq!(second.status, StatusCode::ACCEPTED);
    assert_eq!(second.header("idempotency-replayed"), "true");
    assert_eq!(second.json()["execution_id"], execution);
    assert_eq!(second.json()["job_id"], first.json()["job_id"]);

    let other = json!({ "inputs": { "sample": file }, "parameters": { "count": 4 } });
    assert_eq!(
        host.post_with(path, other, &key).await.problem(409),
        "idempotency_key_reused"
    );
    let elsewhere = host
        .post_with("/api/v1/tasks/other.task/execute", body.clone(), &key)
        .await;
    assert_eq!(elsewhere.problem(409), "idempotency_key_reused");
    assert_eq!(
        host.get("/api/v1/jobs").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    for bad in ["", "a b", &"x".repeat(256)] {
        let answer = host
            .post_with(path, body.clone(), &[("idempotency-key", bad)])
            .await;
        assert_eq!(answer.problem(400), "invalid_idempotency_key", "{bad}");
    }
}

#[tokio::test]
async fn the_same_key_at_the_same_time_runs_once() {
    let host = TestHost::start().await;
    let file = host.sample().await;
    let body = json!({ "inputs": { "sample": file } });
    let key = [("idempotency-key", "race")];
    let answers = futures::future::join_all(
        (0..20).map(|_| host.post_with("/api/v1/tasks/test.count/execute", body.clone(), &key)),
    )
    .await;
    let first = answers[0].json()["execution_id"].clone();
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.json()["execution_id"], first);
    }
    assert_eq!(
        host.get("/api/v1/executions").await.json()["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn requests_that_may_not_run_are_refused() {
    let host = TestHost::start().await;
    let path = "/api/v1/tasks/test.count/execute";
    assert_eq!(
        host.post(path, json!({})).await.json()["violations"][0]["pointer"],
        "/inputs/sample"
    );
    let file = host.sample().await;
    let with =
        |parameters: Value| json!({ "inputs": { "sample": file }, "parameters": parameters });
    for (how, status, code) in [
        ("engine", 503, "engine_missing"),
        ("sandbox", 503, "sandbox_unavailable"),
        ("plugin", 502, "trap"),
        ("host", 500, "internal"),
        ("panic", 500, "internal"),
    ] {
        let answer = host.post(path, with(json!({ "break": how }))).await;
        assert_eq!(answer.problem(status), code);
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
    let answer = host.post(path, with(json!({ "break": "engine" }))).await;
    assert_eq!(answer.json()["hint"], "apt install abacus");
    let labels: serde_json::Map<String, Value> =
        (0..40).map(|n| (format!("k{n}"), json!("v"))).collect();
    let answer = host.post(path, json!({ "labels": labels })).await;
    assert_eq!(answer.json()["violations"][0]["code"], "too_many");
    let answer = host.post(path, json!({ "labels": { "a=b": "x" } })).await;
    assert_eq!(answer.json()["violations"][0]["pointer"], "/labels/a=b");
    assert_eq!(host.get("/api/v1/jobs").await.json()["items"], json!([]));
}
