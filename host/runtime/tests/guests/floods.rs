//! Guests that say, ask for or hold far too much.

use bindery_runtime::{CallGrants, TrapKind};

use crate::common::{Directories, assert_unharmed, broke, compute, kind, load, validate};

#[tokio::test]
pub(crate) async fn log_flood() {
    let plugin = load("log_flood").await;
    for (variant, dropped) in [
        ("lines", 90_000),
        ("empty_lines", 290_000),
        ("long_lines", 100),
    ] {
        let validated = validate(&plugin, kind(variant)).await.unwrap();
        let bytes: usize = validated.lines.iter().map(|line| line.message.len()).sum();
        assert!(bytes <= (1 << 20) + 100, "{variant}: {bytes} bytes");
        assert!(
            validated.lines.len() <= 10_001,
            "{variant}: {} lines",
            validated.lines.len()
        );
        let last = &validated.lines.last().unwrap().message;
        assert_eq!(
            *last,
            format!("{dropped} more lines were dropped by the host")
        );
    }
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn stderr_flood() {
    let plugin = load("stderr_flood").await;
    validate(&plugin, kind("")).await.unwrap();
    // `broke` checks that what is kept of it is bounded.
    let broke = broke(
        validate(&plugin, kind("panic")).await,
        TrapKind::Trap,
        "validate",
    );
    assert!(
        broke.stderr.contains("after the flood"),
        "the end is what tells most"
    );
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn huge_string() {
    let plugin = load("huge_string").await;
    for variant in ["log", "parameters", "list"] {
        let broke = broke(
            validate(&plugin, kind(variant)).await,
            TrapKind::Trap,
            "validate",
        );
        assert!(
            broke.message.contains("fuel"),
            "{variant}: {}",
            broke.message
        );
    }
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn huge_random() {
    let plugin = load("huge_random").await;
    let broke = broke(
        validate(&plugin, kind("")).await,
        TrapKind::Trap,
        "validate",
    );
    assert!(broke.message.contains("random"), "{}", broke.message);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn leaks_handles() {
    let plugin = load("leaks_handles").await;
    let directories = Directories::new();
    for variant in ["files", "pollables"] {
        let outcome = compute(&plugin, &kind(variant), directories.grants()).await;
        let broke = broke(outcome, TrapKind::Trap, "compute");
        assert!(
            broke.message.contains("table"),
            "{variant}: {}",
            broke.message
        );
    }
    // Without the directory there is nothing to leak, and the guest can say so.
    let outcome = compute(&plugin, &kind("files"), CallGrants::default()).await;
    assert!(
        matches!(outcome, Err(bindery_runtime::GuestFailure::Refused(_))),
        "{outcome:?}"
    );
    assert_unharmed().await;
}
