//! Guests as they should be.

use std::sync::{Arc, Mutex};

use bindery_core::{
    GuestError, Usage,
    step::{Argument, Decision, OutputStream, StepEnding, StepOutcome, StepSignal},
};
use bindery_runtime::{CallGrants, GuestFailure};
use serde_json::json;

use crate::common::{
    Directories, FILES, assert_unharmed, compute, good_parameters, input, kind, load, request,
    validate,
};

#[tokio::test]
pub(crate) async fn good_validate() {
    let plugin = load("good_validate").await;
    assert!(plugin.facets().compute && !plugin.facets().engine && !plugin.facets().format);
    let validated = validate(&plugin, good_parameters()).await.unwrap();
    assert_eq!(validated.parameters, good_parameters().parameters);
    assert_eq!(validated.receipt.phase, "validate");
    assert_eq!(validated.receipt.digest, Some(plugin.digest()));
    assert!(validated.receipt.peak_memory_bytes > 0);
    assert!(validated.receipt.peak_memory_bytes < 8 << 20);

    let bad = request(json!({ "size": -1, "effort": "much", "count": 9 }));
    let Err(GuestFailure::Refused(GuestError::InvalidInput(faults))) = validate(&plugin, bad).await
    else {
        panic!("accepted");
    };
    let mut pointers: Vec<&str> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            "/parameters/effort",
            "/parameters/range",
            "/parameters/size"
        ]
    );
}

#[tokio::test]
pub(crate) async fn many_keywords() {
    let plugin = load("many_keywords").await;
    let validated = validate(
        &plugin,
        request(json!({ "box": { "size": 1 }, "kind": "plain" })),
    )
    .await
    .unwrap();
    // The text that the task saw, defaults as the schema writes them.
    assert_eq!(
        validated.notices[0].message,
        r#"{"box":{"size":1,"pad":4.0,"side":2},"kind":"plain","count":7,"ratio":1.0,"deep":false}"#
    );
    let bad = json!({ "limit": 4, "tag": "A", "pair": ["x", 1, 2], "shape": {}, "z": 1, "y": 2 });
    let Err(GuestFailure::Refused(GuestError::InvalidInput(faults))) =
        validate(&plugin, request(bad)).await
    else {
        panic!("accepted");
    };
    let found: Vec<(&str, &str)> = faults
        .iter()
        .map(|fault| (fault.pointer.as_str(), fault.code.as_str()))
        .collect();
    // One word for each place, in order of place (`tag` is too short as well); the schema's "no
    // variant" gives way to the task's finer word.
    assert_eq!(
        found,
        [
            ("/parameters/box", "required"),
            ("/parameters/kind", "required"),
            ("/parameters/limit", "out_of_range"),
            ("/parameters/pair/2", "invalid"),
            ("/parameters/tag", "invalid"),
            ("/parameters/y", "unknown_parameter"),
            ("/parameters/z", "unknown_parameter"),
            ("/parameters/shape/radius", "required"),
        ]
    );
    assert_eq!(faults[0].message, "`box` is missing");
}

#[tokio::test]
pub(crate) async fn good_compute() {
    let plugin = load("good_compute").await;
    let directories = Directories::new();
    std::fs::write(directories.path("in/t.txt"), "text").unwrap();
    let mut asked = request(json!({ "a": 1 }));
    asked.inputs = vec![input("text", "t.txt", b"text")];
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let (items, receipt, lines) = plugin
        .compute(
            &asked,
            directories.grants(),
            FILES,
            Box::new(move |done, word| sink.lock().unwrap().push((done, word.to_owned()))),
        )
        .await
        .unwrap();
    assert_eq!(items.len(), 1);
    let result = items[0].verdict.as_ref().unwrap();
    assert_eq!(result.output["text"], json!("TEXT"));
    assert_eq!(result.output["seed"], json!("42"));
    assert_eq!(result.metrics[0].value, 4.0);
    assert_eq!(result.artifacts[0].path, "/out/text.txt");
    assert_eq!(
        std::fs::read_to_string(directories.path("out/text.txt")).unwrap(),
        "TEXT"
    );
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (0.5, "half of it".to_owned()),
            (1.0, "all of it".to_owned())
        ]
    );
    assert_eq!(
        (lines[0].level, lines[0].message.as_str()),
        ("info", "computing")
    );
    assert_eq!(
        (receipt.phase.as_str(), receipt.fresh),
        ("compute", Some(true))
    );
}

pub(crate) fn outcome(step: &str, directories: &Directories, stdout: &str) -> StepOutcome {
    let below = format!("work/.steps/{step}");
    std::fs::create_dir_all(directories.path(&below)).unwrap();
    std::fs::write(directories.path(&format!("{below}/stdout")), stdout).unwrap();
    std::fs::write(directories.path(&format!("{below}/stderr")), "").unwrap();
    StepOutcome {
        step: step.to_owned(),
        engine: "echo".to_owned(),
        engine_version: "1.0.0".to_owned(),
        ending: StepEnding::Exited(0),
        usage: Usage::default(),
        stdout: format!("/{below}/stdout"),
        stderr: format!("/{below}/stderr"),
        dropped_bytes: 0,
    }
}

#[tokio::test]
pub(crate) async fn good_engine() {
    let plugin = load("good_engine").await;
    assert!(plugin.facets().engine && !plugin.facets().compute);
    let directories = Directories::new();
    let asked = request(json!({ "text": "hello" }));

    let (first, receipt, _) = plugin
        .next(&asked, &[], directories.grants())
        .await
        .unwrap();
    let Decision::Run(steps) = first else {
        panic!("finished at once")
    };
    assert_eq!(
        (steps.len(), steps[0].id.as_str(), steps[0].weight),
        (1, "first", 2.0)
    );
    assert_eq!(
        steps[0].arguments,
        [
            Argument::Literal("hello".to_owned()),
            Argument::Output("first.txt".to_owned())
        ]
    );
    assert_eq!(receipt.phase, "next");

    // What the engine would have done.
    std::fs::write(directories.path("work/first.txt"), "hello").unwrap();
    let mut done = vec![outcome("first", &directories, "1st")];
    let (second, _, _) = plugin
        .next(&asked, &done, directories.grants())
        .await
        .unwrap();
    let Decision::Run(steps) = second else {
        panic!("finished after one round")
    };
    assert_eq!(
        steps[0].arguments[0],
        Argument::Literal("hello again".to_owned())
    );

    done.push(outcome("second", &directories, "2nd"));
    let (third, _, _) = plugin
        .next(&asked, &done, directories.grants())
        .await
        .unwrap();
    assert_eq!(third, Decision::Finished);

    let (items, _, _) = plugin
        .parse(&asked, &done, directories.grants())
        .await
        .unwrap();
    assert_eq!(
        items[0].verdict.as_ref().unwrap().output,
        json!({ "said": ["1st", "2nd"] })
    );

    done[0].ending = StepEnding::Crashed(11);
    let failed = plugin.next(&asked, &done[..1], directories.grants()).await;
    let Err(GuestFailure::Refused(GuestError::StepFailed { step, code, .. })) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!((step.as_str(), code.as_str()), ("first", "echo_failed"));
}

#[tokio::test]
async fn a_monitor_keeps_its_state_from_piece_to_piece() {
    let plugin = load("good_engine").await;
    let (feed, mut signals) = plugin.monitor(&request(json!({})), "second").split();
    feed.feed(OutputStream::Stdout, b"*");
    feed.feed(OutputStream::Stderr, b"..*\n*");
    drop(feed);
    let mut heard = Vec::new();
    while let Some(signal) = signals.recv().await {
        heard.push(match signal {
            StepSignal::Progress(done) => format!("{done}"),
            StepSignal::Notice(notice) => notice.message,
        });
    }
    assert_eq!(heard, ["0.625", "0.75", "OutputStream::Stderr", "0.875"]);
}

#[tokio::test]
pub(crate) async fn refuses() {
    let plugin = load("refuses").await;
    let refused = validate(&plugin, request(json!({}))).await;
    let Err(GuestFailure::Refused(GuestError::InvalidInput(faults))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(faults.len(), 2);
    for (variant, code) in [
        ("invalid_input", "invalid_input"),
        ("step_failed", "no_output"),
        ("output_invalid", "output_invalid"),
        ("unsupported", "unsupported"),
        ("other", "task_failed"),
    ] {
        match compute(&plugin, &kind(variant), CallGrants::default()).await {
            Err(GuestFailure::Refused(error)) => assert_eq!(error.code(), code),
            other => panic!("{variant}: {other:?}"),
        }
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn what_is_not_there_is_the_hosts_fault() {
    let plugin = load("good_compute").await;
    let mut asked = request(json!({}));
    let next = plugin.next(&asked, &[], CallGrants::default()).await;
    assert!(
        matches!(next, Err(GuestFailure::Host { phase: "next", .. })),
        "{next:?}"
    );
    asked.task = "test.other".to_owned();
    let failed = validate(&plugin, asked).await;
    assert!(
        matches!(
            failed,
            Err(GuestFailure::Host {
                phase: "validate",
                ..
            })
        ),
        "{failed:?}"
    );
    let grants = CallGrants {
        input: Some("/nowhere/at/all".into()),
        ..CallGrants::default()
    };
    let failed = compute(&plugin, &request(json!({})), grants).await;
    assert!(
        matches!(
            failed,
            Err(GuestFailure::Host {
                phase: "compute",
                ..
            })
        ),
        "{failed:?}"
    );
}

#[tokio::test]
async fn the_same_seed_gives_the_same_chance() {
    let plugin = load("good_compute").await;
    let drawn = async |seed| {
        let mut asked = request(json!({}));
        asked.seed = seed;
        compute(&plugin, &asked, CallGrants::default())
            .await
            .unwrap()["drawn"]
            .to_string()
    };
    let first = drawn(1).await;
    assert_eq!(first, drawn(1).await);
    assert_ne!(first, drawn(2).await);
    assert_ne!(drawn(0).await, drawn(u64::MAX).await);
}

/// The same component with another text of the same length in its data.
fn patched(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut patched = component.to_vec();
    let mut found = 0;
    for at in 0..component.len().saturating_sub(from.len()) {
        if component[at..].starts_with(from.as_bytes()) {
            patched[at..at + to.len()].copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "{from} is not in the component");
    patched
}

#[tokio::test]
pub(crate) async fn hot_load() {
    let component = bindery_guests_build::guest("hot_load").unwrap();
    let runtime = crate::common::runtime();
    let good = runtime.load(component.clone()).await.unwrap();
    assert_eq!(good.tasks()[0].version.to_string(), "1.0.1000");

    let newer = patched(&component, "1.0.1000", "1.0.1001");
    let newer = runtime.load(newer).await.unwrap();
    assert_ne!(newer.digest(), good.digest());
    assert_eq!(newer.tasks()[0].version.to_string(), "1.0.1001");
    let mut asked = request(json!({ "a": 1 }));
    asked.task = "test.hot-load".to_owned();
    let validated = newer.validate(asked.clone(), None).await.unwrap();
    assert_eq!(validated.parameters["checked_by"], "1.0.1001");
    assert_eq!(newer.health().calls, 1);

    let bad = patched(&component, "manners=good", "manners=trap");
    let bad = runtime.load(bad).await.unwrap();
    for count in 1..=3 {
        let failure = bad.validate(asked.clone(), None).await.unwrap_err();
        assert!(matches!(failure, GuestFailure::Broke(_)), "{failure}");
        assert_eq!(bad.health().breaks_in_a_row, count);
    }
    assert_eq!(
        good.health().breaks,
        0,
        "another plugin's breaks are its own"
    );
}
