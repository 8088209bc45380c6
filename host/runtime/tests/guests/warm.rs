//! A guest that starts slowly keeps its instances, and nothing else of a call.

use std::sync::Arc;

use bindery_core::{OrgId, Request};
use bindery_runtime::{GuestFailure, Plugin, Runtime, TrapKind, Validated};

use crate::common::{assert_unharmed, broke, bytes, config, good_parameters, kind, load, runtime};

fn org(n: u8) -> OrgId {
    OrgId::from_bytes([n; 16])
}

async fn heavy() -> Arc<Plugin> {
    // One of its own: what is kept in it is looked at.
    let plugin = runtime().load(bytes("heavy_start")).await.unwrap();
    assert!(plugin.keeps_instances());
    plugin
}

async fn ask(plugin: &Arc<Plugin>, tenant: OrgId, request: Request) -> Validated {
    plugin
        .validate_for(Some(tenant), request, None)
        .await
        .unwrap()
}

/// How often the instance had been asked with this, and whether it was made for this.
async fn asked(plugin: &Arc<Plugin>, tenant: OrgId, variant: &str) -> (u64, bool) {
    let validated = ask(plugin, tenant, kind(variant)).await;
    let asked = validated.parameters["asked"].as_u64().unwrap();
    (asked, validated.receipt.fresh.unwrap())
}

#[tokio::test]
pub(crate) async fn heavy_start() {
    let plugin = heavy().await;
    assert_eq!(asked(&plugin, org(1), "").await, (1, true));
    assert_eq!(asked(&plugin, org(1), "").await, (2, false));
    // A refusal is an answer.
    let refused = plugin
        .validate_for(Some(org(1)), kind("refuse"), None)
        .await;
    assert!(
        matches!(refused, Err(GuestFailure::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(asked(&plugin, org(1), "").await, (4, false));
    // Another tenant has another instance, and nobody's is nobody's.
    assert_eq!(asked(&plugin, org(2), "").await, (1, true));
    let nobodys = plugin.validate(kind(""), None).await.unwrap();
    assert_eq!(nobodys.parameters["asked"], 1);
    assert_eq!(nobodys.receipt.fresh, Some(true));
    assert_eq!(asked(&plugin, org(1), "").await, (5, false));
    assert_eq!(asked(&plugin, org(2), "").await, (2, false));
    assert_eq!(plugin.instances_kept(), 2);
    assert_unharmed().await;
}

#[tokio::test]
async fn an_instance_that_failed_is_not_used_again() {
    let plugin = heavy().await;
    for (variant, how) in [
        ("trap", TrapKind::Trap),
        ("loop", TrapKind::Deadline),
        ("rubbish", TrapKind::Rubbish),
    ] {
        asked(&plugin, org(1), "").await;
        assert!(asked(&plugin, org(1), "").await.0 >= 2);
        let outcome = plugin.validate_for(Some(org(1)), kind(variant), None).await;
        broke(outcome, how, "validate");
        assert_eq!(plugin.instances_kept(), 0);
        assert_eq!(
            asked(&plugin, org(1), "").await,
            (1, true),
            "after {variant}"
        );
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn limits_and_words_are_those_of_one_call() {
    let plugin = heavy().await;
    let said = ask(&plugin, org(1), kind("say")).await;
    assert_eq!(said.lines.len(), 1);
    let silent = ask(&plugin, org(1), kind("")).await;
    assert_eq!((silent.lines.len(), silent.receipt.fresh), (0, Some(false)));
    ask(&plugin, org(1), kind("say")).await;
    let outcome = plugin.validate_for(Some(org(1)), kind("trap"), None).await;
    let broke = broke(outcome, TrapKind::Trap, "validate");
    assert!(broke.stderr.contains("asked to"), "{}", broke.stderr);
    assert!(!broke.stderr.contains("said"), "{}", broke.stderr);
    // Of 64 MiB, 40 are much; the call itself is answered.
    assert_eq!(asked(&plugin, org(1), "hold").await, (1, true));
    assert_eq!(plugin.instances_kept(), 0);
    assert_eq!(asked(&plugin, org(1), "").await, (1, true));
}

#[tokio::test]
async fn no_instance_lives_for_ever_and_only_some_at_a_time() {
    let plugin = heavy().await;
    let mut fresh = 0;
    let mut most = 0;
    for _ in 0..600 {
        let (asked, is_fresh) = asked(&plugin, org(1), "").await;
        fresh += u32::from(is_fresh);
        most = most.max(asked);
    }
    assert_eq!((fresh, most), (3, 256));
    for tenant in 0..10 {
        asked(&plugin, org(tenant), "").await;
        assert!(plugin.instances_kept() <= 4);
    }
    assert_eq!(plugin.instances_kept(), 4);
}

/// Instances that wait must not take the places of those that are needed.
#[tokio::test]
async fn what_starts_quickly_is_fresh_each_time() {
    let good = load("good_validate").await;
    assert!(!good.keeps_instances());
    for _ in 0..2 {
        let validated = ask(&good, org(1), good_parameters()).await;
        assert_eq!(validated.receipt.fresh, Some(true));
    }
    assert_eq!(good.instances_kept(), 0);
    let runtime = Runtime::new(&config()).unwrap();
    let heavy = runtime.load(bytes("heavy_start")).await.unwrap();
    ask(&heavy, org(1), kind("")).await;
    let others = runtime.load(bytes("good_validate")).await.unwrap();
    others.validate(good_parameters(), None).await.unwrap();
    assert_eq!(heavy.instances_kept(), 1);
}
