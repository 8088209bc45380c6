//! Cases on real components: what passes, and that nothing else does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use bindery_core::{Item, Request};
use bindery_runtime::{Plugin, Runtime, RuntimeConfig};
use bindery_trial::{
    Case, CaseReport, CompareOptions, FailureKind, ReplayRequest, Steps, compare,
    probe_determinism, run_case,
};
use serde_json::{Value, json};

async fn load(guest: &str) -> Arc<Plugin> {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        Runtime::new(&RuntimeConfig {
            cache_directory: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled")),
            ..RuntimeConfig::default()
        })
        .unwrap()
    });
    let bytes = bindery_guests_build::guest(guest).unwrap();
    RUNTIME.load(bytes).await.unwrap()
}

fn case(text: &str, files: &[(&str, &str)]) -> Case {
    let mut package: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(path, content)| (format!("cases/one/{path}"), content.as_bytes().to_vec()))
        .collect();
    package.insert("cases/one/case.toml".to_owned(), text.as_bytes().to_vec());
    Case::all(&package).unwrap().remove(0)
}

async fn run(plugin: &Arc<Plugin>, case: &Case) -> CaseReport {
    let scratch = tempfile::tempdir().unwrap();
    let report = run_case(plugin, &Steps::AsWritten(None), case, scratch.path()).await;
    let left = std::fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left, 0, "directories were left behind");
    assert_eq!(report.passed, report.differences.is_empty());
    report
}

/// Differences in words.
async fn differences(guest: &str, text: &str, files: &[(&str, &str)]) -> Vec<String> {
    let report = run(&load(guest).await, &case(text, files)).await;
    report.differences.iter().map(ToString::to_string).collect()
}

const GOOD: &str = "seed = 5\n[parameters]\nx = 1\n[expect]\nsubset = true\nartifacts = \
                    ['text.txt']\nparameters = { x = 1 }\noutput = { text = '', seed = '5' }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_compute_task_gives_what_is_expected() {
    let report = run(&load("good_compute").await, &case(GOOD, &[])).await;
    assert!(report.passed, "{:?}", report.differences);
    assert_eq!(report.lines[0].message, "computing");
    let phases: Vec<&str> = report
        .receipts
        .iter()
        .map(|receipt| receipt.phase.as_str())
        .collect();
    assert_eq!(phases, ["validate", "compute"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expectation_can_fail() {
    let wrong = GOOD
        .replace("seed = '5'", "seed = '6'")
        .replace("{ x = 1 }", "{ x = 2 }")
        .replace("'text.txt'", "'other.txt'");
    assert_eq!(
        differences("good_compute", &wrong, &[]).await,
        [
            "/parameters/x: expected 2, got 1",
            "/output/seed: expected 6, got 5",
            "/artifacts: expected other.txt, got nothing",
        ]
    );
    // Without `subset`, members that nobody expects are told.
    let whole = differences("good_compute", &GOOD.replace("subset = true\n", ""), &[]).await;
    assert_eq!(whole.len(), 2, "{whole:?}");
    assert_eq!(
        differences("good_compute", "[expect]\nerror = 'trap'\n", &[]).await,
        ["/error: expected trap, got nothing"]
    );
    let unknown = "task = 'test.other'\n[expect]\noutput = {}\n";
    let told = differences("good_compute", unknown, &[]).await;
    assert!(told[0].contains("unknown_task"), "{told:?}");
    let slot = "[inputs]\nnowhere = 'a.txt'\n[expect]\noutput = {}\nsubset = true\n";
    let told = differences("good_compute", slot, &[("a.txt", "a")]).await;
    assert!(
        told[1].contains("/inputs/nowhere [unknown_input]"),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_are_compared_as_a_set() {
    let exact = "[expect]\nviolations = [{ pointer = '/parameters/b', code = 'second' }, { \
                 pointer = '/parameters/a', code = 'first' }]\n";
    assert_eq!(differences("refuses", exact, &[]).await, [""; 0]);
    let other = exact.replace("'second'", "'third'");
    assert_eq!(
        differences("refuses", &other, &[]).await,
        [
            "/violations: expected /parameters/b [third], got nothing",
            "/violations: expected nothing, got /parameters/b [second]: The second fault.",
        ]
    );
    let accepted = "[expect]\nviolations = [{ pointer = '/parameters/b', code = 'second' }]\n";
    assert_eq!(
        differences("good_compute", accepted, &[]).await,
        [r#"/violations: expected ["/parameters/b [second]"], got nothing"#]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_breaks_is_shown_with_file_and_line() {
    let text = "parameters = { word = 'here' }\n[expect]\noutput = {}\n";
    let report = run(&load("panics").await, &case(text, &[])).await;
    let failure = report.failure.unwrap();
    assert_eq!(
        (failure.kind, failure.code.as_str()),
        (FailureKind::Broke, "trap")
    );
    assert!(failure.detail.contains("the guest panics: here"));
    let place = failure.place.unwrap();
    assert_eq!(
        (place.file.rsplit('/').next().unwrap(), place.line),
        ("panics.rs", 5)
    );
    // And it can be what is expected.
    let text = "[expect]\nerror = 'trap'\n";
    assert!(run(&load("panics").await, &case(text, &[])).await.passed);
}

/// `steps.json` of the two steps of `good_engine` for the text `hello`.
fn recording() -> Value {
    let step = |id: &str, arguments: Value, reads: Value, files: &[&str]| {
        json!({
            "id": id, "engine": "echo", "engine_version": "9.1", "ending": { "exited": 0 },
            "arguments": arguments, "reads": reads,
            "outputs": [if id == "first" { "first.txt" } else { "second.txt" }],
            "wall_ms": 1, "cpu_ms": 1, "peak_memory_bytes": 1, "dropped_bytes": 0, "files": files,
        })
    };
    json!({ "format": 1, "steps": [
        step("first", json!([{ "literal": "hello" }, { "output": "first.txt" }]), json!({}), &["first.txt"]),
        step("second", json!([{ "literal": "heard again" }, { "work": "first.txt" }]),
            json!({ "first.txt": bindery_core::Digest::of(b"heard").to_string() }), &[]),
    ]})
}

fn engine_case(text: &str, index: &Value, heard: &str) -> Case {
    let index = index.to_string();
    case(
        &format!(
            "[parameters]\ntext = '{text}'\n[expect]\noutput = {{ said = ['one*\n', 'two'] }}\n"
        )
        .replace("\n',", "\\n\",")
        .replace("['one", "[\"one"),
        &[
            ("recording/steps.json", &index),
            ("recording/first/stdout", "one*\n"),
            ("recording/first/stderr", ""),
            ("recording/first/files/first.txt", heard),
            ("recording/second/stdout", "two"),
            ("recording/second/stderr", ""),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_steps_are_replayed() {
    let plugin = load("good_engine").await;
    let report = run(&plugin, &engine_case("hello", &recording(), "heard")).await;
    assert!(report.passed, "{:?}", report.differences);
    assert_eq!(
        report.receipts.len(),
        5,
        "validate, three times next, parse"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_asks_for_something_else_than_was_recorded_fails() {
    let plugin = load("good_engine").await;
    let told = |report: CaseReport| -> Vec<String> {
        assert!(!report.passed);
        assert_eq!(report.failure.unwrap().code, "recording");
        let differences = report.differences.iter();
        differences
            .map(ToString::to_string)
            .filter(|words| words.starts_with("/steps"))
            .collect()
    };
    let report = run(&plugin, &engine_case("goodbye", &recording(), "heard")).await;
    assert_eq!(
        told(report),
        ["/steps/first/arguments/0/literal: expected hello, got goodbye"]
    );
    // The first step's file is another one: what the second was asked, and what it read.
    let report = run(&plugin, &engine_case("hello", &recording(), "other")).await;
    assert_eq!(told(report).len(), 2);
    let mut short = recording();
    short["steps"].as_array_mut().unwrap().truncate(1);
    let report = run(&plugin, &engine_case("hello", &short, "heard")).await;
    assert_eq!(
        told(report),
        ["/steps/second: expected nothing, got a step that was not recorded"]
    );
    let bare = case("[expect]\noutput = {}\n", &[]);
    assert!(told(run(&plugin, &bare).await).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn real_steps_need_engines() {
    let text = "steps = 'real'\n[parameters]\ntext = 'x'\n[expect]\noutput = {}\n";
    let report = run(&load("good_engine").await, &case(text, &[])).await;
    assert_eq!(report.failure.unwrap().code, "engine_missing");
}

fn asked(parameters: Value) -> ReplayRequest {
    ReplayRequest {
        label: "one".to_owned(),
        request: Request {
            task: "test.guest".to_owned(),
            parameters,
            inputs: Vec::new(),
            items: vec![Item::single()],
            seed: 3,
        },
        input: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_are_compared_by_what_they_answer() {
    let (computes, validates, refuses) = (
        load("good_compute").await,
        load("good_validate").await,
        load("refuses").await,
    );
    let scratch = tempfile::tempdir().unwrap();
    let options = CompareOptions::default();
    let requests = [asked(json!({ "size": 1 }))];
    let same = compare(&computes, &computes, &requests, &options, scratch.path()).await;
    assert_eq!(same, []);
    let pointers = |found: Vec<bindery_trial::VersionDifference>| -> Vec<String> {
        found
            .into_iter()
            .map(|found| found.difference.pointer)
            .collect()
    };
    let found = compare(&computes, &refuses, &requests, &options, scratch.path()).await;
    assert_eq!(
        pointers(found),
        ["/parameters", "/output", "/artifacts", "/violations"]
    );
    let full = [asked(
        json!({ "size": 1, "effort": 1, "count": 1, "range": 1 }),
    )];
    let found = compare(&computes, &validates, &full, &options, scratch.path()).await;
    assert!(
        pointers(found).iter().all(|pointer| {
            pointer.starts_with("/output/") || pointer.starts_with("/artifacts")
        })
    );
    let checked_only = CompareOptions {
        compute: false,
        ..options
    };
    let found = compare(&computes, &validates, &full, &checked_only, scratch.path()).await;
    assert_eq!(found, []);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_finds_a_validate_that_breaks() {
    assert_eq!(
        probe_determinism(&load("good_compute").await, &[]).await,
        []
    );
    let faults = probe_determinism(&load("panics").await, &[]).await;
    assert_eq!(faults[0].code, "validate_broke");
    assert!(faults[0].message.contains("panics.rs:5"), "{faults:?}");
}
