//! Monitors that break: the step they watch goes on.

use bindery_core::step::{OutputStream, StepSignal};

use crate::common::{assert_unharmed, kind, load};

#[tokio::test]
pub(crate) async fn bad_monitor() {
    let plugin = load("bad_monitor").await;
    for variant in ["panic_in_new", "panic", "loop", "nan"] {
        let (feed, mut signals) = plugin.monitor(&kind(variant), "step").split();
        feed.feed(OutputStream::Stdout, b"piece");
        // The channel closes when the monitor is gone, with the feed still there.
        assert_eq!(signals.recv().await, None, "{variant}");
        feed.feed(OutputStream::Stdout, b"piece");
    }
    let (feed, mut signals) = plugin.monitor(&kind("beyond"), "step").split();
    feed.feed(OutputStream::Stdout, b"piece");
    assert_eq!(signals.recv().await, Some(StepSignal::Progress(0.0)));
    assert_eq!(signals.recv().await, Some(StepSignal::Progress(1.0)));
    assert_unharmed().await;
}

#[tokio::test]
async fn a_flood_of_signals_is_cut() {
    let plugin = load("bad_monitor").await;
    let (feed, mut signals) = plugin.monitor(&kind("flood"), "step").split();
    // Far more than the queue holds, and nobody listens yet.
    for _ in 0..2000 {
        feed.feed(OutputStream::Stdout, &[b'x'; 1000]);
    }
    drop(feed);
    let mut heard = 0;
    while signals.recv().await.is_some() {
        heard += 1;
    }
    assert!(heard > 0);
}

#[tokio::test]
async fn a_monitor_ends_when_nobody_listens() {
    let plugin = load("bad_monitor").await;
    let (feed, signals) = plugin.monitor(&kind("good"), "step").split();
    drop(signals);
    feed.feed(OutputStream::Stdout, b"piece");
    drop(feed);
    assert_unharmed().await;
}

/// Each monitor has a thread; beyond the bound a step has no progress, and no failure.
#[tokio::test]
async fn too_many_monitors_are_silent() {
    let runtime = bindery_runtime::Runtime::new(&crate::common::config()).unwrap();
    let plugin = runtime
        .load(crate::common::bytes("bad_monitor"))
        .await
        .unwrap();
    let monitors: Vec<_> = (0..12)
        .map(|_| plugin.monitor(&kind("good"), "step").split())
        .collect();
    let mut heard = 0;
    for (feed, mut signals) in monitors {
        feed.feed(OutputStream::Stdout, b"piece");
        drop(feed);
        heard += usize::from(signals.recv().await.is_some());
    }
    assert_eq!(heard, 8);
}
