//! What Rust cannot say: a good plugin with one more core module in it, written in WAT, which is
//! instantiated with it. Its start function runs before any function of the plugin is called.

use bindery_runtime::{GuestFailure, LoadError, TrapKind};
use wasmparser::{Parser, Payload};

use crate::{
    common::{MEMORY_BYTES, assert_unharmed, bytes, runtime},
    components::{number, section},
};

/// A good plugin that also instantiates this module so many times.
fn with_module(wat: &str, instances: usize) -> Vec<u8> {
    let mut component = bytes("good_validate");
    // Modules of this component and not of those inside it.
    let mut depth = 0;
    let mut modules = 0;
    for payload in Parser::new(0).parse_all(&component) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } => {
                modules += usize::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    component.extend(section(1, &wat::parse_str(wat).unwrap()));
    let mut list = number(instances);
    for _ in 0..instances {
        // `instantiate` of this module with no arguments.
        list.push(0);
        list.extend(number(modules));
        list.push(0);
    }
    component.extend(section(2, &list));
    component
}

async fn loaded(wat: &str, instances: usize) -> Result<(), LoadError> {
    runtime().load(with_module(wat, instances)).await.map(drop)
}

/// How it broke when it was asked what it is.
#[track_caller]
fn broke_at_start(outcome: Result<(), LoadError>, kind: TrapKind) -> String {
    match outcome {
        Err(LoadError::Describe(GuestFailure::Broke(broke))) => {
            assert_eq!(broke.kind, kind, "{broke:?}");
            broke.message
        }
        other => panic!("expected {kind:?}, not {other:?}"),
    }
}

/// Grows its table as far as that goes, then does what `after` says.
fn grows_a_table(after: &str) -> String {
    format!(
        "(module
            (table $t 0 funcref)
            (func $start
                (loop $again
                    (br_if $again (i32.ne
                        (table.grow $t (ref.null func) (i32.const 1000))
                        (i32.const -1))))
                {after})
            (start $start))"
    )
}

#[tokio::test]
async fn one_more_module_does_no_harm_by_itself() {
    loaded("(module)", 1).await.unwrap();
    loaded("(module (memory 1) (table 10 funcref))", 3)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_grows_to_its_bound() {
    // It was told no, and not later than at the bound.
    let bounded = "(if (i32.gt_u (table.size $t) (i32.const 200000)) (then (unreachable)))";
    loaded(&grows_a_table(bounded), 1).await.unwrap();
    let grown = "(if (i32.gt_u (table.size $t) (i32.const 199000)) (then (unreachable)))";
    let message = broke_at_start(loaded(&grows_a_table(grown), 1).await, TrapKind::Trap);
    assert!(message.contains("unreachable"), "{message}");
    assert_unharmed().await;
}

/// Each of them is within its bound, and all of them together are memory like any other.
#[tokio::test]
async fn many_tables_count_as_memory() {
    let message = broke_at_start(loaded(&grows_a_table(""), 60).await, TrapKind::Memory);
    assert!(
        message.contains(&format!("memory limit of {MEMORY_BYTES} bytes")),
        "{message}"
    );
    assert_unharmed().await;
}

#[tokio::test]
async fn many_memories_share_one_limit() {
    // 16 MiB each, and the plugin has one of its own.
    loaded("(module (memory 256))", 3).await.unwrap();
    broke_at_start(loaded("(module (memory 256))", 4).await, TrapKind::Memory);
    let grows = "(module
        (memory 1)
        (func $start
            (loop $again
                (drop (memory.grow (i32.const 16)))
                (br $again)))
        (start $start))";
    broke_at_start(loaded(grows, 4).await, TrapKind::Memory);
    assert_unharmed().await;
}

#[tokio::test]
async fn as_many_instances_as_a_pool_holds_and_no_more() {
    loaded("(module)", 200).await.unwrap();
    for instances in [301, 100_000] {
        match loaded("(module)", instances).await {
            Err(LoadError::NotAComponent(fault)) => {
                assert!(fault.contains("instances"), "{instances}: {fault}");
            }
            other => panic!("{instances}: {other:?}"),
        }
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn a_start_function_has_a_deadline() {
    let endless = "(module (func $start (loop $again (br $again))) (start $start))";
    broke_at_start(loaded(endless, 1).await, TrapKind::Deadline);
    let traps = "(module (func $start (unreachable)) (start $start))";
    broke_at_start(loaded(traps, 1).await, TrapKind::Trap);
    let recurses = "(module (func $start (call $start)) (start $start))";
    broke_at_start(loaded(recurses, 1).await, TrapKind::Stack);
    assert_unharmed().await;
}
