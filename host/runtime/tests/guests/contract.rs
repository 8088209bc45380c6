//! Contracts that were published before: a component of then does what it did.

use std::sync::Arc;

use bindery_core::{
    GuestError, Severity,
    definition::{CONTRACTS, Cardinality, Determinism},
    step::{Argument, Decision, OutputStream},
};
use bindery_runtime::{Catalog, GuestFailure, LoadError, Plugin};
use serde_json::json;

use crate::{
    common::{Directories, FILES, load, request, runtime},
    good::outcome,
};

async fn frozen() -> Arc<Plugin> {
    let bytes = bindery_guests_build::frozen().unwrap();
    runtime().load(bytes).await.unwrap()
}

/// The frozen component, as if it were built for another version: a version of as many bytes.
fn of_version(version: &str) -> Vec<u8> {
    let mut bytes = bindery_guests_build::frozen().unwrap();
    let (from, to) = (b"@0.1.0", format!("@{version}"));
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    assert!(places.len() > 5, "{places:?}");
    for at in places {
        // Names in the custom sections of tools have it too; they may say what they like.
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn a_component_of_the_first_contract_says_what_it_is() {
    let plugin = frozen().await;
    assert_eq!(plugin.contract(), "bindery:task@0.1");
    assert_eq!(load("good_engine").await.contract(), "bindery:task@0.2");
    let facets = plugin.facets();
    assert!(facets.engine && facets.compute && facets.format);
    let task = &plugin.tasks()[0];
    assert_eq!(
        (task.id.as_str(), task.version.to_string().as_str()),
        ("frozen.engine", "1.2.3")
    );
    assert_eq!(task.determinism, Determinism::Seeded);
    assert_eq!(task.inputs[0].cardinality, Cardinality::Optional);
    assert_eq!(task.engines[0].engine, "echo");
    assert_eq!(task.artifacts[0].name, "frozen.txt");
    assert_eq!(task.examples[0].parameters, json!({ "count": 3 }));
    // What came later is empty.
    assert!(task.keywords.is_empty() && task.citations.is_empty());
    let formats = plugin.formats().unwrap();
    assert_eq!(formats.collections[0].name, "frozen-things");
}

#[tokio::test]
async fn it_checks_and_computes() {
    let plugin = frozen().await;
    let mut asked = request(json!({ "text": "x" }));
    asked.task = "frozen.compute".to_owned();
    let validated = plugin.validate(asked.clone(), None).await.unwrap();
    assert_eq!(validated.parameters, json!({ "text": "x", "count": 3 }));
    assert_eq!(validated.notices[0].message, "42");
    assert_eq!(validated.notices[0].severity, Severity::Warning);
    assert_eq!(validated.lines[0].message, "checked");
    assert_eq!(validated.estimate, None);

    let mut refused = asked.clone();
    refused.parameters = json!({ "refuse": 1, "count": 0 });
    let Err(GuestFailure::Refused(GuestError::InvalidInput(faults))) =
        plugin.validate(refused, None).await
    else {
        panic!("accepted");
    };
    let pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/parameters/count", "/parameters/refuse"]);

    let directories = Directories::new();
    let silent = Box::new(|_, _: &str| {});
    let (items, _, _) = plugin
        .compute(&asked, directories.grants(), FILES, silent)
        .await
        .unwrap();
    let result = items[0].verdict.as_ref().unwrap();
    assert_eq!(result.output, json!({ "text": "x" }));
    assert_eq!(
        (result.confidence, result.metrics[0].value),
        (Some(0.5), 2.5)
    );
    assert_eq!(result.views[0].kind, "markdown");
}

#[tokio::test]
async fn it_plans_watches_and_parses() {
    let plugin = frozen().await;
    let directories = Directories::new();
    let mut asked = request(json!({}));
    asked.task = "frozen.engine".to_owned();
    let (decision, _, _) = plugin
        .next(&asked, &[], directories.grants())
        .await
        .unwrap();
    let Decision::Run(steps) = decision else {
        panic!("finished at once");
    };
    assert_eq!(
        steps[0].arguments,
        [
            Argument::Literal("hello".to_owned()),
            Argument::Work("a.txt".to_owned()),
            Argument::Output("b.txt".to_owned()),
        ]
    );
    assert_eq!(steps[0].outputs[0].max_bytes, 1 << 10);

    let (feed, mut signals) = plugin.monitor(&asked, "one").split();
    feed.feed(OutputStream::Stdout, b"**");
    feed.feed(OutputStream::Stderr, b"!");
    drop(feed);
    let mut heard = Vec::new();
    while let Some(signal) = signals.recv().await {
        heard.push(format!("{signal:?}"));
    }
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard[0].contains("0.2"), "{heard:?}");
    assert!(heard[1].contains("something was said"), "{heard:?}");

    let mut done = vec![outcome("one", &directories, "")];
    done[0].usage.cpu_ms = 7;
    let (decision, _, _) = plugin
        .next(&asked, &done, directories.grants())
        .await
        .unwrap();
    assert!(matches!(decision, Decision::Finished));
    let (items, _, _) = plugin
        .parse(&asked, &done, directories.grants())
        .await
        .unwrap();
    assert_eq!(
        items[0].verdict.as_ref().unwrap().output,
        json!({ "exit": 0, "said": done[0].stdout, "cpu": 7 })
    );
}

#[tokio::test]
async fn it_reads_its_files() {
    let plugin = frozen().await;
    let head = b"FROZEN one\nbad\n".to_vec();
    let sniffed = plugin.sniff(head.clone(), "a.frozen".to_owned()).await;
    let (media_type, _, confidence) = sniffed.unwrap().unwrap();
    assert_eq!((media_type.as_str(), confidence), ("text/x-frozen", 0.75));
    let directories = Directories::new();
    std::fs::write(directories.path("in/a.txt"), &head).unwrap();
    let inspect = plugin.inspect(directories.grants(), "a.txt".to_owned(), String::new());
    let found = inspect.await.unwrap().unwrap();
    assert_eq!((found.records, found.bad_records), (2, 1));
    assert_eq!(found.warnings[0].line, Some(1));
    let missing = plugin.inspect(directories.grants(), "b.txt".to_owned(), String::new());
    assert_eq!(missing.await.unwrap().unwrap_err()[0].code, "unreadable");
    let records = plugin.records(
        directories.grants(),
        "a.txt".to_owned(),
        String::new(),
        0,
        10,
    );
    let batch = records.await.unwrap().unwrap();
    assert_eq!(batch.records[0].verdict.as_ref().unwrap().0, "FROZEN one");
    assert_eq!(batch.records[1].verdict.as_ref().unwrap_err().line, Some(2));
    assert!(!batch.more);
}

#[tokio::test]
async fn old_and_new_stand_side_by_side() {
    let catalog = Catalog::default();
    catalog.add(&frozen().await).unwrap();
    catalog.add(&load("good_engine").await).unwrap();
    assert_eq!(catalog.tasks().len(), 3);
}

#[tokio::test]
async fn a_later_contract_is_refused_by_name_of_those_that_run() {
    for version in ["0.3.0", "1.0.0"] {
        let fault = runtime().load(of_version(version)).await.unwrap_err();
        assert!(
            matches!(&fault, LoadError::ContractUnsupported(found)
                if *found == format!("bindery:task@{version}")),
            "{fault:?}"
        );
        let words = fault.to_string();
        for contract in CONTRACTS {
            assert!(words.contains(contract), "{words}");
        }
    }
    // A later patch of a version that runs is that version.
    let patched = runtime().load(of_version("0.1.7")).await.unwrap();
    assert_eq!(patched.contract(), "bindery:task@0.1");
}
