//! Guests that want more memory or stack than there is for them.

use bindery_runtime::TrapKind;

use crate::common::{MEMORY_BYTES, assert_unharmed, broke, kind, load, validate};

#[tokio::test]
pub(crate) async fn memory_bomb() {
    let plugin = load("memory_bomb").await;
    let broke = broke(
        validate(&plugin, kind("")).await,
        TrapKind::Memory,
        "validate",
    );
    assert!(
        broke
            .message
            .contains(&format!("memory limit of {MEMORY_BYTES} bytes")),
        "{broke}"
    );
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn memory_at_once() {
    let plugin = load("memory_at_once").await;
    broke(
        validate(&plugin, kind("")).await,
        TrapKind::Memory,
        "validate",
    );
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn deep_recursion() {
    let plugin = load("deep_recursion").await;
    let lean = broke(
        validate(&plugin, kind("lean")).await,
        TrapKind::Stack,
        "validate",
    );
    assert!(lean.message.len() <= 4000 * 4);
    // Frames that live in linear memory run out of it at its lower end.
    broke(
        validate(&plugin, kind("fat")).await,
        TrapKind::Trap,
        "validate",
    );
    assert_unharmed().await;
}
