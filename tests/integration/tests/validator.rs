//! The browser's validator against the server: for thousands of generated requests, right and
//! wrong ones, both say the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test"
)]

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use bindery_guests_build::guest;
use bindery_integration::{program, project};
use bindery_testkit::{HostBuilder, TestHost};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Generated requests of each task.
const REQUESTS: usize = 400;
/// The same ones every time.
const SEED: u64 = 0x005e_ed0f_7357;

/// Small and good enough to choose among values.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Values that are odd in one way or another.
fn odd(chance: &mut Chance) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(0.1),
        json!(0.30000000000000004),
        json!(1.5),
        json!(1e21),
        json!(-2.5e-7),
        json!(9_007_199_254_740_991_u64),
        json!(1e300),
        json!(""),
        json!("one"),
        json!("é~/𝄞"),
        json!("a".repeat(300)),
        json!([]),
        json!([1, 1]),
        json!([[1], [1.0]]),
        json!({}),
        json!({ "__proto__": 1, "constructor": "x" }),
        json!({ "a": [1, 2] }),
    ];
    chance.pick(&values).clone()
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => root.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
        None => schema,
    }
}

/// A value that a schema asks for, more or less.
fn value(root: &Value, schema: &Value, chance: &mut Chance, depth: usize) -> Value {
    let schema = resolve(root, schema);
    if depth > 5 || chance.one_in(12) {
        return odd(chance);
    }
    for keyword in ["oneOf", "anyOf"] {
        if let Some(variants) = schema.get(keyword).and_then(Value::as_array) {
            return value(root, chance.pick(variants), chance, depth + 1);
        }
    }
    if let Some(options) = schema.get("enum").and_then(Value::as_array) {
        return chance.pick(options).clone();
    }
    if let Some(only) = schema.get("const") {
        return only.clone();
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(Value::Array(kinds)) => chance.pick(kinds).as_str().unwrap(),
        _ => return odd(chance),
    };
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    match kind {
        "object" => object(root, schema, chance, depth),
        "array" => {
            let wanted = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1);
            let count = if chance.one_in(8) {
                chance.below(6)
            } else {
                usize::try_from(wanted).unwrap()
            };
            let prefix = schema.get("prefixItems").and_then(Value::as_array);
            let items = schema.get("items").unwrap_or(&Value::Null);
            (0..count)
                .map(|index| {
                    let item = prefix.and_then(|prefix| prefix.get(index)).unwrap_or(items);
                    value(root, item, chance, depth + 1)
                })
                .collect()
        }
        "integer" | "number" => {
            let low = limit("minimum")
                .or(limit("exclusiveMinimum"))
                .unwrap_or(-10.0);
            let high = limit("maximum")
                .or(limit("exclusiveMaximum"))
                .unwrap_or(50.0);
            let share = f64::from(u32::try_from(chance.below(1001)).unwrap()) / 1000.0;
            let number = match chance.below(10) {
                0 => low,
                1 => high,
                2 => low - 1.0,
                3 => high + 1.0,
                _ => low + (high - low) * share,
            };
            let step = limit("multipleOf").filter(|_| !chance.one_in(4));
            let number = step.map_or(number, |step| (number / step).round() * step);
            if kind == "integer" && !chance.one_in(10) {
                json!(number.round())
            } else {
                json!(number)
            }
        }
        "string" => json!(*chance.pick(&["", "ab", "é/~", "word", "Capital", "𝄞𝄞"])),
        "boolean" => json!(chance.one_in(2)),
        _ => Value::Null,
    }
}

fn object(root: &Value, schema: &Value, chance: &mut Chance, depth: usize) -> Value {
    let mut object = Map::new();
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let needed = required.contains(&name.as_str());
        if (needed && !chance.one_in(10)) || (!needed && chance.one_in(4)) {
            object.insert(name.clone(), value(root, property, chance, depth + 1));
        }
    }
    for name in required {
        if !object.contains_key(name) && !chance.one_in(10) {
            object.insert(name.to_owned(), json!(3));
        }
    }
    if chance.one_in(10) {
        let names = ["more", "x-more", "𝄞", "z/~", "__proto__"];
        object.insert((*chance.pick(&names)).to_owned(), odd(chance));
    }
    Value::Object(object)
}

fn requests(schema: &Value, examples: &[Value]) -> Vec<Value> {
    let mut chance = Chance(SEED);
    let mut requests: Vec<Value> = examples
        .iter()
        .map(|parameters| json!({ "parameters": parameters }))
        .collect();
    requests.extend([
        json!({}),
        json!({ "parameters": {} }),
        json!({ "parameters": null }),
        json!({ "parameters": [] }),
        json!({ "parameters": 3 }),
    ]);
    while requests.len() < REQUESTS {
        let parameters = object(schema, schema, &mut chance, 0);
        requests.push(json!({ "parameters": parameters }));
    }
    requests
}

/// Equal as JSON is read by whoever has one kind of number: `3` is `3.0`.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .zip(other)
                    .all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

#[derive(Debug, Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    broke: usize,
}

/// Compares both for generated requests of one task.
async fn compare(host: &TestHost, task: &str, examples: &[Value]) -> Result<Tally> {
    let definition = host
        .get(&format!("/api/v1/tasks/{task}"))
        .await?
        .expect_status(200)?
        .json()?;
    let module = host
        .get(&format!("/api/v1/tasks/{task}/validator.js"))
        .await?
        .expect_status(200)?;
    ensure!(module.headers["content-type"] == "text/javascript; charset=utf-8");
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("validator.mjs"), &module.bytes)?;
    let requests = requests(&definition["parameters"], examples);
    std::fs::write(path("requests.json"), serde_json::to_vec(&requests)?)?;
    let output = Command::new(program("node")?)
        .arg(project().join("tests/integration/validator/differential.mjs"))
        .args([
            path("validator.mjs"),
            path("requests.json"),
            path("answers.json"),
        ])
        .output()?;
    ensure!(
        output.status.success(),
        "node: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let answers: Value = serde_json::from_slice(&std::fs::read(path("answers.json"))?)?;
    ensure!(answers["task"]["plugin"] == definition["plugin"]);
    eprintln!(
        "{task}: module of {} bytes, loaded in {:.0} ms, {:.1} us a call",
        module.bytes.len(),
        answers["loadMs"].as_f64().context("no time")?,
        answers["microseconds"].as_f64().context("no time")?
    );
    let has_inputs = !definition["inputs"]
        .as_array()
        .context("no inputs")?
        .is_empty();
    let mut tally = Tally::default();
    for entry in answers["answers"].as_array().context("no answers")? {
        let sent = entry["sent"].as_str().context("nothing sent")?;
        let request = host
            .request(Method::POST, &format!("/api/v1/tasks/{task}/validate"))
            .header("content-type", "application/json")
            .body(sent.to_owned());
        let server = host.send(request).await?;
        let verdict = server.json()?;
        let status = server.status.as_u16();
        if let Some(broke) = entry.get("broke") {
            ensure!(
                status == 502 && *broke == verdict["code"],
                "{sent}: browser {broke}, server {status} {verdict}"
            );
            tally.broke += 1;
            continue;
        }
        let mut expected = match status {
            200 => {
                tally.accepted += 1;
                let mut expected = verdict.clone();
                // Absent where the task cannot tell.
                expected
                    .as_object_mut()
                    .context("no object")?
                    .retain(|name, _| {
                        ["parameters", "notices", "estimate"].contains(&name.as_str())
                    });
                // Of the plugin, not of the request: the host's own word.
                if let Some(notices) = expected["notices"].as_array_mut() {
                    notices.retain(|notice| notice["code"] != "unsigned_plugin");
                }
                expected
            }
            422 => {
                tally.refused += 1;
                json!({ "violations": verdict["violations"] })
            }
            other => anyhow::bail!("{sent}: server answered {other}: {verdict}"),
        };
        if has_inputs {
            expected["left_to_server"] = json!(["inputs"]);
        }
        ensure!(
            is_same(&expected, &entry["answer"]),
            "{task}: {sent}\nserver:  {expected}\nbrowser: {}",
            entry["answer"]
        );
    }
    Ok(tally)
}

fn has_node() -> bool {
    let found = program("node").is_ok();
    if !found {
        eprintln!("SKIPPED: there is no node on PATH to run a browser's validator with");
    }
    found
}

#[tokio::test]
async fn the_browser_says_of_shipped_tasks_what_the_server_says() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let host = TestHost::start().await?;
    let explicit = json!({ "box": { "center": [1, 2.5, -3], "size": [20, 20, 20] } });
    let around = json!({ "box": { "around": "reference" }, "seed": 7 });
    let told_by_a_member = json!({ "box": { "padding": 3 } });
    let good = [explicit, around, told_by_a_member];
    let tally = compare(&host, "docking.vina", &good).await?;
    eprintln!("docking.vina: {tally:?}");
    assert!(tally.accepted > 5 && tally.refused > 100, "{tally:?}");
    let tally = compare(&host, "system.sleep", &[]).await?;
    assert!(tally.accepted > 20 && tally.refused > 20, "{tally:?}");
    let tally = compare(&host, "system.noop", &[]).await?;
    assert!(tally.accepted > 2, "{tally:?}");
    host.is_healthy().await
}

fn dev_host(directory: &Path, name: &str) -> Result<HostBuilder> {
    std::fs::write(directory.join(format!("{name}.wasm")), guest(name)?)?;
    Ok(HostBuilder::default()
        .argument("--dev")
        .argument("--plugins")
        .argument(directory))
}

#[tokio::test]
async fn every_keyword_is_checked_alike() -> Result<()> {
    if !has_node() {
        return Ok(());
    }
    let plugins = tempfile::tempdir()?;
    let host = dev_host(plugins.path(), "many_keywords")?.start().await?;
    let good = [
        json!({ "box": { "size": 1 }, "kind": "plain" }),
        json!({ "box": { "size": 1, "x-a": "b" }, "kind": "plain", "tag": "ab", "limit": 9,
            "step": 0.3, "shape": { "sides": 5 } }),
        json!({ "box": { "size": 1 }, "kind": "sized", "size": 9, "break": true }),
        // What breaks the guest, alone and beside faults of the schema.
        json!({ "box": { "size": 1 }, "kind": "plain", "break": true, "tag": "ab" }),
        json!({ "box": { "size": 1 }, "break": true, "tag": "ab", "count": 0 }),
    ];
    let tally = compare(&host, "test.guest", &good).await?;
    eprintln!("every keyword: {tally:?}");
    assert!(
        tally.accepted >= 3 && tally.refused > 200 && tally.broke >= 1,
        "{tally:?}"
    );
    host.is_healthy().await
}

#[tokio::test]
async fn a_validator_is_kept_by_whoever_has_it() -> Result<()> {
    let host = TestHost::start().await?;
    let newest = "/api/v1/tasks/system.sleep/validator.js";
    let first = host.get(newest).await?.expect_status(200)?;
    assert_eq!(first.headers["cache-control"], "private, no-cache");
    let etag = first.headers["etag"].to_str()?.to_owned();
    let again = host
        .send(
            host.request(Method::GET, newest)
                .header("if-none-match", &etag),
        )
        .await?
        .expect_status(304)?;
    assert!(again.bytes.is_empty());
    let version = host.get("/api/v1/tasks/system.sleep").await?.json()?["version"].clone();
    let pinned = format!(
        "/api/v1/tasks/system.sleep@{}/validator.js",
        version.as_str().unwrap()
    );
    let pinned = host.get(&pinned).await?.expect_status(200)?;
    assert_eq!(
        pinned.headers["cache-control"],
        "private, max-age=31536000, immutable"
    );
    assert_eq!(pinned.headers["etag"], etag);
    assert_eq!(pinned.bytes, first.bytes);
    assert_eq!(
        host.get("/api/v1/tasks/no.such/validator.js").await?.status,
        404
    );
    assert_eq!(
        host.get("/api/v1/tasks/system.sleep@9.9.9/validator.js")
            .await?
            .status,
        404
    );
    host.is_healthy().await
}
