//! Guests that break.

use bindery_runtime::TrapKind;
use serde_json::json;

use crate::common::{assert_unharmed, broke, kind, load, request, validate};

#[tokio::test]
pub(crate) async fn panics() {
    let plugin = load("panics").await;
    let asked = request(json!({ "word": "flabbergasted" }));
    let broke = broke(validate(&plugin, asked).await, TrapKind::Trap, "validate");
    assert!(
        broke.stderr.contains("the guest panics: flabbergasted"),
        "{}",
        broke.stderr
    );
    assert!(broke.stderr.contains("panics.rs"), "{}", broke.stderr);
    // Names are kept in the component, so that the trace is of use.
    assert!(broke.message.contains("panic"), "{}", broke.message);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn traps() {
    let plugin = load("traps").await;
    for (variant, word) in [
        ("unreachable", "unreachable"),
        ("divide", "divide by zero"),
        ("out_of_bounds", "out of bounds"),
        ("wrong_function", "indirect call"),
        ("abort", "unreachable"),
        ("exit_0", "exit"),
        ("exit_1", "exit"),
    ] {
        let broke = broke(
            validate(&plugin, kind(variant)).await,
            TrapKind::Trap,
            "validate",
        );
        assert!(
            broke.message.to_lowercase().contains(word),
            "{variant}: {}",
            broke.message
        );
    }
    validate(&plugin, kind("none")).await.unwrap();
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn drops_twice() {
    let plugin = load("drops_twice").await;
    for variant in ["drop_twice", "use_after_drop", "never_given"] {
        let broke = broke(
            validate(&plugin, kind(variant)).await,
            TrapKind::Trap,
            "validate",
        );
        assert!(
            broke.message.contains("handle"),
            "{variant}: {}",
            broke.message
        );
    }
    assert_unharmed().await;
}
