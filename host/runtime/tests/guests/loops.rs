//! Guests that do not come back.

use std::time::{Duration, Instant};

use bindery_runtime::{CallGrants, GuestFailure, LoadError, TrapKind};
use serde_json::json;

use crate::common::{
    FILES, INTERACTIVE, LATE, assert_unharmed, broke, compute, good_parameters, kind, load,
    request, runtime, try_load, validate, wait_for_condition,
};

#[track_caller]
fn assert_in_time(started: Instant, limit: Duration) {
    let elapsed = started.elapsed();
    assert!(
        elapsed >= limit,
        "stopped after {elapsed:?}, before its time"
    );
    assert!(
        elapsed < limit * LATE,
        "stopped after {elapsed:?}, {limit:?} were allowed"
    );
}

#[tokio::test]
pub(crate) async fn loop_in_validate() {
    let plugin = load("loop_in_validate").await;
    let started = Instant::now();
    let broke = broke(
        validate(&plugin, kind("")).await,
        TrapKind::Deadline,
        "validate",
    );
    assert_in_time(started, INTERACTIVE);
    assert!(broke.message.contains("1000 ms"), "{}", broke.message);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn loop_in_compute() {
    let plugin = load("loop_in_compute").await;
    let started = Instant::now();
    let outcome = compute(&plugin, &kind(""), CallGrants::default()).await;
    broke(outcome, TrapKind::Deadline, "compute");
    assert_in_time(started, FILES);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn loop_in_describe() {
    let started = Instant::now();
    match try_load("loop_in_describe").await {
        Err(LoadError::Describe(failure)) => {
            broke(Err::<(), _>(failure), TrapKind::Deadline, "describe");
        }
        other => panic!("{other:?}"),
    }
    assert!(started.elapsed() >= INTERACTIVE);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn loop_in_start() {
    match try_load("loop_in_start").await {
        Err(LoadError::Describe(failure)) => {
            broke(Err::<(), _>(failure), TrapKind::Deadline, "describe");
        }
        other => panic!("{other:?}"),
    }
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn loop_in_realloc() {
    let plugin = load("loop_in_realloc").await;
    validate(&plugin, request(json!({ "text": "short" })))
        .await
        .unwrap();
    // The parameters are handed over as JSON text of the very length that the allocator hangs on.
    let frame = json!({ "text": "" }).to_string().len();
    let asked = request(json!({ "text": "x".repeat(54_321 - frame) }));
    let started = Instant::now();
    broke(
        validate(&plugin, asked).await,
        TrapKind::Deadline,
        "validate",
    );
    assert_in_time(started, INTERACTIVE);
    assert_unharmed().await;
}

#[tokio::test]
pub(crate) async fn sleeps_an_hour() {
    let plugin = load("sleeps_an_hour").await;
    let started = Instant::now();
    broke(
        validate(&plugin, kind("validate")).await,
        TrapKind::Deadline,
        "validate",
    );
    assert_in_time(started, INTERACTIVE);
    let outcome = compute(&plugin, &kind(""), CallGrants::default()).await;
    broke(outcome, TrapKind::Deadline, "compute");
    assert_unharmed().await;
}

/// A runtime of its own, as the number of calls that run is looked at.
#[tokio::test]
async fn a_guest_nobody_waits_for_is_stopped() {
    let runtime = bindery_runtime::Runtime::new(&crate::common::config()).unwrap();
    for name in ["loop_in_compute", "sleeps_an_hour"] {
        let plugin = runtime.load(crate::common::bytes(name)).await.unwrap();
        let call = tokio::spawn(async move {
            let hour = Duration::from_secs(3600);
            plugin
                .compute(&kind(""), CallGrants::default(), hour, Box::new(|_, _| {}))
                .await
                .map(|_| ())
        });
        wait_for_condition("the call runs", || runtime.calls_running() == 1).await;
        call.abort();
        wait_for_condition("the call is stopped", || runtime.calls_running() == 0).await;
    }
}

/// More guests loop than calls may run: others wait for their turn, tokio's workers do not.
#[tokio::test]
async fn loops_wait_for_each_other_and_the_host_for_none() {
    let plugin = load("loop_in_validate").await;
    let loops: Vec<_> = (0..20)
        .map(|_| {
            let plugin = std::sync::Arc::clone(&plugin);
            tokio::spawn(async move { validate(&plugin, kind("")).await })
        })
        .collect();
    // This runtime has one worker thread: it still answers.
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(runtime().calls_running() <= 8);
    for looping in loops {
        assert!(matches!(
            looping.await.unwrap(),
            Err(GuestFailure::Broke(_))
        ));
    }
    let good = load("good_validate").await;
    validate(&good, good_parameters()).await.unwrap();
}
