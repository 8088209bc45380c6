//! The OpenAPI document: committed, and true.

use std::path::Path;

use serde_json::Value;

use crate::support::TestHost;

const COMMITTED: &str = "../../docs/openapi.json";
const UPDATE: &str = "BINDERY_UPDATE=1 cargo test --release -p bindery-api openapi";

#[test]
fn the_committed_document_is_the_routers() {
    let mut document = serde_json::to_string_pretty(&bindery_api::openapi_document()).unwrap();
    document.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMITTED);
    if std::env::var_os("BINDERY_UPDATE").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "docs/openapi.json is not what the router serves; run\n  {UPDATE}"
    );
}

/// All values of a key anywhere in a document.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                if name == key {
                    found.push(value);
                }
                all(value, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(item, key, found)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut references = Vec::new();
    all(document, "$ref", &mut references);
    assert!(!references.is_empty());
    for reference in references.into_iter().filter(|found| **found != "#/x") {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn the_document_is_whole() {
    let document = serde_json::to_value(bindery_api::openapi_document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    check_references(&document);
    let mut ids = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let at = format!("{method} {path}");
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{at}");
            let responses = operation["responses"].as_object().unwrap();
            let open = operation["security"] == serde_json::json!([{}]);
            assert_eq!(
                open,
                ["/health", "/ready", "/api/v1/auth/login"].contains(&path.as_str()),
                "{at}"
            );
            if !open {
                for status in ["401", "403", "500", "503"] {
                    assert!(responses.contains_key(status), "{at}: {status}");
                }
            }
            for (status, response) in responses {
                if status.as_str() >= "400" && path != "/ready" {
                    assert!(
                        response["content"]["application/problem+json"].is_object(),
                        "{at}: {status}"
                    );
                }
            }
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = name.trim_end_matches('}');
                let parameters = operation["parameters"].as_array().unwrap();
                assert!(
                    parameters
                        .iter()
                        .any(|parameter| parameter["name"] == name && parameter["in"] == "path"),
                    "{at}"
                );
                assert!(responses.contains_key("404"), "{at}");
            }
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
}

#[tokio::test]
async fn a_running_host_names_its_collections() {
    let host = TestHost::start().await;
    let document = host.get("/api/openapi.json").await.json();
    check_references(&document);
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/api/v1/samples",
        "/api/v1/samples/upload",
        "/api/v1/samples/{id}",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    assert!(paths.keys().all(|path| !path.contains("{collection}")));
    let upload = &document["paths"]["/api/v1/samples/upload"]["post"];
    assert_eq!(upload["operationId"], "upload_item_samples");
    assert!(
        upload["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["name"] != "collection")
    );
}

#[tokio::test]
async fn a_task_has_a_document_of_its_own() {
    let host = TestHost::start().await;
    let document = host.get("/api/v1/tasks/test.count").await.json()["openapi"].clone();
    check_references(&document);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let execute = &document["paths"]["/api/v1/tasks/test.count/execute"]["post"];
    let body = &execute["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(
        body["properties"]["inputs"]["required"],
        serde_json::json!(["sample"])
    );
    assert_eq!(
        document["components"]["schemas"]["Parameters"]["properties"]["count"]["minimum"],
        1
    );
}

#[tokio::test]
async fn what_a_schema_refers_to_is_found_in_the_document() {
    let host = TestHost::start().await;
    let document = host
        .get("/api/v1/tasks/test.count/openapi.json")
        .await
        .json();
    assert_eq!(
        document,
        host.get("/api/v1/tasks/test.count").await.json()["openapi"]
    );
    check_references(&document);
    let parameters = &document["components"]["schemas"]["Parameters"];
    assert_eq!(
        parameters["properties"]["of"]["$ref"],
        "#/components/schemas/Parameters/$defs/word"
    );
    // Data that looks like a reference is none.
    assert_eq!(parameters["$defs"]["word"]["default"]["$ref"], "#/x");
    let examples = &document["paths"]["/api/v1/tasks/test.count/execute"]["post"]["requestBody"]["content"]
        ["application/json"]["examples"];
    assert_eq!(
        examples["example1"]["value"],
        serde_json::json!({ "parameters": { "count": 2 }, "inputs": { "sample": "id of a.sample" } })
    );
    assert_eq!(
        host.get("/api/v1/tasks/no.such/openapi.json")
            .await
            .problem(404),
        "task_not_found"
    );
}

#[tokio::test]
async fn without_its_component_a_task_has_no_validator() {
    let host = TestHost::start().await;
    let answer = host.get("/api/v1/tasks/test.count/validator.js").await;
    assert_eq!(answer.problem(404), "validator_unavailable");
}
