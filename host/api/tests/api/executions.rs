//! Executions and jobs.

use axum::{
    body::Body,
    http::{Method, StatusCode},
};
use serde_json::{Value, json};

use crate::support::{TestHost, fields};

#[tokio::test]
async fn statuses_of_what_waits_and_what_runs() {
    let host = TestHost::start().await;
    let mut ids = Vec::new();
    // Two fit, two wait.
    for _ in 0..4 {
        ids.push(host.execute(json!({ "hold": true })).await.0);
    }
    host.wait_for(&ids[0], "running").await;
    host.wait_for(&ids[1], "running").await;
    let status = async |id: &str| {
        host.get(&format!("/api/v1/executions/{id}/status"))
            .await
            .json()
    };
    let running = status(&ids[0]).await;
    assert_eq!(
        (&running["attempt"], &running["progress"]),
        (&json!(1), &json!(0.0))
    );
    let waiting = status(&ids[3]).await;
    assert_eq!(
        (&waiting["status"], &waiting["progress"]),
        (&json!("queued"), &Value::Null)
    );
    assert!(
        waiting["queue_position"].as_u64().is_some_and(|at| at >= 1),
        "{waiting}"
    );
    let metrics = host.get("/metrics").await.text();
    assert!(
        metrics.contains("bindery_executions{status=\"running\"} 2"),
        "{metrics}"
    );

    let early = host
        .get(&format!("/api/v1/executions/{}/results", ids[0]))
        .await;
    assert_eq!(early.problem(409), "not_finished");
    assert_eq!(early.header("retry-after"), "1");
    let artifacts = host
        .get(&format!("/api/v1/executions/{}/artifacts", ids[0]))
        .await
        .json();
    assert_eq!(artifacts["items"], json!([]));
    host.release.add_permits(4);
    for id in &ids {
        host.wait_for(id, "succeeded").await;
    }
    let metrics = host.get("/metrics").await.text();
    for line in [
        "bindery_executions{status=\"running\"} 0",
        "bindery_executions{status=\"queued\"} 0",
        "# TYPE bindery_build_info gauge",
        "bindery_http_requests_total{method=\"POST\",route=\"/api/v1/tasks/{task}/execute\",status=\"202\"} 4",
    ] {
        assert!(metrics.contains(line), "{line} not in\n{metrics}");
    }
}

#[tokio::test]
async fn what_ended_without_success_is_tried_again_by_hand() {
    let host = TestHost::start().await;
    let (execution, job) = host.execute(json!({ "hold": true })).await;
    host.wait_for(&execution, "running").await;
    let retry = format!("/api/v1/jobs/{job}/retry");
    assert_eq!(
        host.post(&retry, json!({})).await.problem(409),
        "not_finished"
    );
    host.post(&format!("/api/v1/jobs/{job}/cancel"), json!({}))
        .await;
    host.wait_for(&execution, "cancelled").await;

    let again = host.post(&retry, json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text());
    let again = again.json();
    let second = again["execution_id"].as_str().unwrap().to_owned();
    assert_eq!(again["job_id"], job.as_str());
    assert_ne!(second, execution);
    host.wait_for(&second, "running").await;
    assert_eq!(
        host.post(&retry, json!({})).await.problem(409),
        "not_finished"
    );
    host.release.add_permits(1);
    host.wait_for(&second, "succeeded").await;
    let whole = host.get(&format!("/api/v1/jobs/{job}")).await.json();
    assert_eq!(whole["status"], "succeeded");
    let statuses: Vec<&Value> = whole["executions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|execution| &execution["status"])
        .collect();
    assert_eq!(statuses, ["cancelled", "succeeded"]);
    assert_eq!(
        host.post(&retry, json!({})).await.problem(409),
        "already_ended"
    );
    let none = "/api/v1/jobs/job_00000000000000000000000000/retry";
    assert_eq!(
        host.post(none, json!({})).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn cancelling_is_idempotent_and_too_late_is_said() {
    let host = TestHost::start().await;
    let (running, job) = host.execute(json!({ "hold": true })).await;
    host.wait_for(&running, "running").await;
    let answer = host
        .post(&format!("/api/v1/executions/{running}/cancel"), json!({}))
        .await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    assert_eq!(answer.json()["stopping"], true);
    host.wait_for(&running, "cancelled").await;
    for path in [
        format!("/api/v1/executions/{running}/cancel"),
        format!("/api/v1/jobs/{job}/cancel"),
    ] {
        let request = host
            .request(Method::POST, &path)
            .body(Body::empty())
            .unwrap();
        let again = host.send(request).await;
        assert_eq!(
            (again.status, &again.json()["status"]),
            (StatusCode::OK, &json!("cancelled"))
        );
    }
    let results = host
        .get(&format!("/api/v1/executions/{running}/results"))
        .await
        .json();
    assert_eq!(
        (&results["status"], &results["output"]),
        (&json!("cancelled"), &Value::Null)
    );

    let (done, job) = host.finished(json!({})).await;
    let late = host
        .post(&format!("/api/v1/executions/{done}/cancel"), json!({}))
        .await;
    assert_eq!(late.problem(409), "already_ended");
    let late = host
        .post(&format!("/api/v1/jobs/{job}/cancel"), json!({}))
        .await;
    assert_eq!(late.problem(409), "already_ended");

    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(host.execute(json!({ "hold": true })).await);
    }
    host.wait_for(&held[1].0, "running").await;
    let (waiting, job) = &held[2];
    let answer = host
        .post(&format!("/api/v1/jobs/{job}/cancel"), json!({}))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["job_id"]),
        (StatusCode::OK, &json!(job))
    );
    host.wait_for(waiting, "cancelled").await;
    host.release.add_permits(2);
}

#[tokio::test]
async fn a_failure_says_why() {
    let host = TestHost::start().await;
    let (execution, job) = host.execute(json!({ "fail": true })).await;
    host.wait_for(&execution, "failed").await;
    let results = host
        .get(&format!("/api/v1/executions/{execution}/results"))
        .await
        .json();
    assert_eq!(results["problem"]["code"], "crashed");
    assert_eq!(
        (&results["output"], &results["artifacts"]),
        (&Value::Null, &json!([]))
    );
    let results = host
        .get(&format!("/api/v1/jobs/{job}/results"))
        .await
        .json();
    assert_eq!(
        (
            &results["status"],
            &results["items"][0]["problem"]["message"]
        ),
        (&json!("failed"), &json!("it fell over"))
    );
}

#[tokio::test]
async fn jobs_show_their_execution() {
    let host = TestHost::start().await;
    let (execution, job) = host.finished(json!({ "log": "hello\n" })).await;
    let document = host.get(&format!("/api/v1/jobs/{job}")).await.json();
    assert_eq!(
        (&document["status"], &document["executions"][0]["id"]),
        (&json!("succeeded"), &json!(execution))
    );
    let status = host.get(&format!("/api/v1/jobs/{job}/status")).await.json();
    assert_eq!(
        (&status["progress"], &status["counts"]),
        (&json!(1.0), &json!({ "succeeded": 1 }))
    );
    let results = host
        .get(&format!("/api/v1/jobs/{job}/results"))
        .await
        .json();
    let single = host
        .get(&format!("/api/v1/executions/{execution}/results"))
        .await
        .json();
    assert_eq!(results["items"], json!([single]));
    assert_eq!(
        host.get(&format!("/api/v1/jobs/{job}/logs")).await.text(),
        "hello\n"
    );
    for path in ["", "/status", "/results", "/events", "/logs"] {
        for id in [
            "job_x",
            "job_00000000000000000000000000000000",
            &execution,
            "%FF",
        ] {
            let answer = host.get(&format!("/api/v1/jobs/{id}{path}")).await;
            assert_eq!(answer.problem(404), "not_found", "{id}{path}");
            let answer = host.get(&format!("/api/v1/executions/job_x{path}")).await;
            assert_eq!(answer.problem(404), "not_found", "{path}");
        }
    }
}

#[tokio::test]
async fn events_come_in_order_page_by_page() {
    let host = TestHost::start().await;
    let (execution, job) = host.finished(json!({ "steps": 3 })).await;
    for topic in [format!("executions/{execution}"), format!("jobs/{job}")] {
        let all = host
            .get(&format!("/api/v1/{topic}/events?limit=200"))
            .await
            .json();
        let names: Vec<&str> = all["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event"].as_str().unwrap())
            .collect();
        assert_eq!(names.first(), Some(&"job.created"));
        assert_eq!(names.last(), Some(&"job.finished"));
        for name in [
            "execution.queued",
            "execution.started",
            "execution.progress",
            "execution.finished",
        ] {
            assert!(names.contains(&name), "{name} not in {names:?}");
        }
        let mut paged = Vec::new();
        let mut path = format!("/api/v1/{topic}/events?limit=2");
        loop {
            let page = host.get(&path).await.json();
            paged.extend(page["items"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/api/v1/{topic}/events?limit=2&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(json!(paged), all["items"]);
        assert!(
            fields(&paged[0])
                .keys()
                .all(|key| ["seq", "time", "event", "data"].contains(&key.as_str()))
        );
    }
}

#[tokio::test]
async fn the_history_is_filtered() {
    let host = TestHost::start().await;
    let file = host.sample().await;
    let mut jobs = Vec::new();
    for n in 0..6 {
        let body = json!({
            "inputs": { "sample": file },
            "parameters": { "fail": n == 1 },
            "labels": { "n": n.to_string(), "even": (n % 2 == 0).to_string() },
        });
        let task = if n == 5 { "other.task" } else { "test.count" };
        let executed = host
            .post(&format!("/api/v1/tasks/{task}/execute"), body)
            .await
            .json();
        let status = if n == 1 { "failed" } else { "succeeded" };
        host.wait_for(executed["execution_id"].as_str().unwrap(), status)
            .await;
        jobs.insert(0, executed["job_id"].as_str().unwrap().to_owned());
    }
    let list = async |query: &str| {
        let page = host.get(&format!("/api/v1/jobs?{query}")).await.json();
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list("").await, jobs);
    assert_eq!(list("status=failed").await, jobs[4..5]);
    assert_eq!(list("task=other.task").await, jobs[0..1]);
    assert_eq!(list("label=even%3Dtrue").await.len(), 3);
    assert_eq!(list("label=even").await.len(), 6);
    assert_eq!(list("label=odd").await.len(), 0);
    assert_eq!(list("q=OTHER").await, jobs[0..1]);
    assert_eq!(list(&format!("q={}", jobs[3])).await, jobs[3..4]);
    assert_eq!(list("status=partial").await.len(), 0);
    assert_eq!(
        host.get("/api/v1/jobs?status=nonsense").await.problem(400),
        "invalid_query"
    );
    let page = host.get("/api/v1/jobs?limit=4").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(list(&format!("limit=4&cursor={cursor}")).await, jobs[4..]);

    let executions = async |query: &str| {
        host.get(&format!("/api/v1/executions?{query}"))
            .await
            .json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(executions("").await, 6);
    assert_eq!(executions("status=succeeded").await, 5);
    assert_eq!(executions("task=other.task").await, 1);
    assert_eq!(executions(&format!("job={}", jobs[2])).await, 1);
}

#[tokio::test]
async fn logs_are_safe_to_show_and_read_by_range() {
    let host = TestHost::start().await;
    let log = "line 1\n\u{1b}[31mred\u{1b}[0m\r50%\r\nend \u{202e}x\n";
    let (execution, _) = host.finished(json!({ "log": log })).await;
    let path = format!("/api/v1/executions/{execution}/logs");
    let shown = "line 1\n?[31mred?[0m\n50% \nend ???x\n";
    let answer = host.get(&path).await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (StatusCode::OK, shown)
    );
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("content-length"), log.len().to_string());
    assert_eq!(answer.header("x-log-size"), log.len().to_string());
    let raw = host.get(&format!("{path}?raw=1")).await;
    assert_eq!(raw.text(), log);
    assert!(raw.header("content-disposition").starts_with("attachment"));
    let part = host.get_with(&path, &[("range", "bytes=7-11")]).await;
    assert_eq!(
        (part.status, part.text().as_str()),
        (StatusCode::PARTIAL_CONTENT, &shown[7..12])
    );
    assert_eq!(
        part.header("content-range"),
        format!("bytes 7-11/{}", log.len())
    );
    let part = host.get(&format!("{path}?offset=7&limit=5")).await;
    assert_eq!(
        (part.status, part.text().as_str()),
        (StatusCode::OK, &shown[7..12])
    );
    assert_eq!(part.header("content-length"), "5");
    let tail = host.get(&format!("{path}?offset=100000")).await;
    assert_eq!((tail.status, tail.body.len()), (StatusCode::OK, 0));
    let beyond = host.get_with(&path, &[("range", "bytes=100000-")]).await;
    assert_eq!(beyond.problem(416), "range_not_satisfiable");
    assert_eq!(
        host.get(&format!("{path}?offset=-1")).await.problem(400),
        "invalid_query"
    );
    let (silent, _) = host.finished(json!({})).await;
    let answer = host.get(&format!("/api/v1/executions/{silent}/logs")).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 0));
}
