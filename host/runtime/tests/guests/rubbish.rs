//! Guests that answer with what is no answer.

use bindery_core::{GuestError, Usage, step::StepEnding, step::StepOutcome};
use bindery_runtime::{CallGrants, GuestFailure, TrapKind};

use crate::common::{assert_unharmed, broke, compute, kind, load, validate};

#[tokio::test]
pub(crate) async fn rubbish_in_validate() {
    let plugin = load("rubbish_in_validate").await;
    for (variant, word) in [
        ("not_json", "not JSON"),
        ("empty", "not JSON"),
        ("deep_json", "recursion limit"),
        ("not_object", "not a JSON object"),
        ("no_violation", "without a violation"),
    ] {
        let broke = broke(
            validate(&plugin, kind(variant)).await,
            TrapKind::Rubbish,
            "validate",
        );
        assert!(broke.message.contains(word), "{variant}: {}", broke.message);
    }
    match validate(&plugin, kind("many_violations")).await {
        Err(GuestFailure::Refused(GuestError::InvalidInput(faults))) => {
            assert_eq!(faults.len(), bindery_core::limits::VIOLATIONS_MAX);
        }
        other => panic!("{other:?}"),
    }
    validate(&plugin, kind("none")).await.unwrap();
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn rubbish_in_plan() {
    let plugin = load("rubbish_in_plan").await;
    let done = StepOutcome {
        step: "step".to_owned(),
        engine: "echo".to_owned(),
        engine_version: "1.0.0".to_owned(),
        ending: StepEnding::Exited(0),
        usage: Usage::default(),
        stdout: "/work/.steps/step/stdout".to_owned(),
        stderr: "/work/.steps/step/stderr".to_owned(),
        dropped_bytes: 0,
    };
    for (variant, word) in [
        ("no_steps", "no steps"),
        ("undeclared_output", "not one of the outputs"),
        ("output_escapes", "not allowed"),
        ("output_over_log", "not allowed"),
        ("input_escapes", "not allowed"),
        ("absolute_path", "not allowed"),
        ("option_like_path", "not allowed"),
        ("nul_byte", "NUL"),
        ("bad_id", "id"),
        ("nan_weight", "weight"),
        ("negative_weight", "weight"),
        ("twin_steps", "two steps"),
        ("same_step_again", "run before"),
        ("undeclared_engine", "`sh`"),
        ("long_argument", "too long"),
        ("too_many_steps", "more than 4096"),
    ] {
        let done = if variant == "same_step_again" {
            std::slice::from_ref(&done)
        } else {
            &[]
        };
        let outcome = plugin
            .next(&kind(variant), done, CallGrants::default())
            .await;
        let broke = broke(outcome, TrapKind::Rubbish, "next");
        assert!(broke.message.contains(word), "{variant}: {}", broke.message);
    }
    let parsed = plugin.parse(&kind(""), &[], CallGrants::default()).await;
    broke(parsed, TrapKind::Rubbish, "parse");
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn rubbish_in_results() {
    let plugin = load("rubbish_in_results").await;
    for (variant, word) in [
        ("no_outcomes", "item 0 has no outcome"),
        ("unknown_item", "item 7 was not asked for"),
        ("item_twice", "two outcomes"),
        ("output_not_json", "not JSON"),
        ("nan_metric", "not finite"),
        ("infinite_metric", "not finite"),
        ("confidence_above_one", "0..=1"),
        ("confidence_nan", "0..=1"),
        ("artifact_escapes", "path"),
        ("artifact_escapes_below_out", "path"),
        ("artifact_absolute", "path"),
        ("artifact_of_the_input", "path"),
        ("artifact_name_is_a_path", "name"),
        ("artifact_name_is_hidden", "name"),
        ("artifact_names_twice", "two artifacts"),
        ("view_not_json", "not JSON"),
        ("too_many_artifacts", "more than"),
    ] {
        let outcome = compute(&plugin, &kind(variant), CallGrants::default()).await;
        let broke = broke(outcome, TrapKind::Rubbish, "compute");
        assert!(broke.message.contains(word), "{variant}: {}", broke.message);
    }
    compute(&plugin, &kind("none"), CallGrants::default())
        .await
        .unwrap();
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn rubbish_in_format() {
    let plugin = load("rubbish_in_format").await;
    assert!(plugin.facets().format && plugin.tasks().is_empty());
    let name = str::to_owned;
    for variant in ["nan", "very_sure", "negative"] {
        broke(
            plugin.sniff(vec![], name(variant)).await,
            TrapKind::Rubbish,
            "sniff",
        );
    }
    broke(
        plugin.sniff(vec![], name("panic")).await,
        TrapKind::Trap,
        "sniff",
    );
    assert_eq!(plugin.sniff(vec![], name("none")).await.unwrap(), None);

    let grants = || CallGrants::default();
    let inspected = plugin.inspect(grants(), name("a"), name("no_fault")).await;
    broke(inspected, TrapKind::Rubbish, "inspect");
    let faults = plugin
        .inspect(grants(), name("a"), name("many_faults"))
        .await
        .unwrap();
    assert_eq!(
        faults.unwrap_err().len(),
        bindery_core::limits::VIOLATIONS_MAX
    );

    let records = async |kind, skip, max| {
        plugin
            .records(grants(), name("a"), name(kind), skip, max)
            .await
    };
    broke(
        records("no_fault", 0, 10).await,
        TrapKind::Rubbish,
        "records",
    );
    broke(
        records("overfull", 0, 10).await,
        TrapKind::Rubbish,
        "records",
    );
    broke(
        records("huge_details", 0, 1000).await,
        TrapKind::Rubbish,
        "records",
    );
    // Pages without end: those asked for are given, and those beyond reach take too long.
    let page = records("endless", 300, 300).await.unwrap().unwrap();
    assert_eq!(
        (page.records.len(), page.records[0].index, page.more),
        (300, 300, true)
    );
    broke(
        records("endless", u64::MAX, 1).await,
        TrapKind::Deadline,
        "records",
    );

    let page = records("ten", 0, 4).await.unwrap().unwrap();
    assert_eq!((page.records.len(), page.more), (4, true));
    let page = records("ten", 8, 4).await.unwrap().unwrap();
    assert_eq!((page.records.len(), page.more), (2, false));

    // One bad plugin does not decide what a file is.
    let catalog = bindery_runtime::Catalog::default();
    catalog.add(&plugin).unwrap();
    assert!(catalog.sniff(b"", "nan").await.is_none());
    assert!(catalog.sniff(b"", "fair").await.is_some());
    assert_unharmed().await;
}
