//! The host after very many broken guests: nothing grows.

use std::{sync::Arc, time::Duration};

use bindery_runtime::{CallGrants, GuestFailure, Runtime, TrapKind};
use serde_json::json;

use crate::common::{broke, bytes, compute, config, good_parameters, kind, request, validate};

/// Resident memory, open files and threads of this process.
fn figures() -> (u64, usize, usize) {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    (pages * 4096, files, threads)
}

#[tokio::test]
async fn a_hundred_of_each_leave_nothing_behind() {
    let runtime = Runtime::new(&config()).unwrap();
    let mut broken = Vec::new();
    for name in [
        "memory_bomb",
        "panics",
        "deep_recursion",
        "rubbish_in_validate",
        "drops_twice",
    ] {
        broken.push(runtime.load(bytes(name)).await.unwrap());
    }
    let good = runtime.load(bytes("good_validate")).await.unwrap();
    let computing = runtime.load(bytes("good_compute")).await.unwrap();
    let mut after_first = None;
    for _ in 0..100 {
        for plugin in &broken {
            match validate(plugin, kind("not_json")).await {
                Err(GuestFailure::Broke(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        validate(&good, good_parameters()).await.unwrap();
        compute(&computing, &request(json!({})), CallGrants::default())
            .await
            .unwrap();
        assert_eq!(runtime.calls_running(), 0);
        after_first.get_or_insert_with(figures);
    }
    let (memory_before, files_before, threads_before) = after_first.unwrap();
    let (memory, files, threads) = figures();
    // The memory bombs alone have taken 6.4 GiB by now. The bounds leave room for the other tests
    // of this process, which come and go.
    assert!(
        memory < memory_before + (512 << 20),
        "{memory_before} -> {memory} bytes"
    );
    assert!(
        files < files_before + 200,
        "{files_before} -> {files} files"
    );
    assert!(
        threads < threads_before + 100,
        "{threads_before} -> {threads} threads"
    );
}

/// Loops take their time, so many run at once; each ends by its own deadline.
#[tokio::test]
async fn a_hundred_loops_leave_no_call_behind() {
    let mut config = config();
    config.limits.interactive.wall = Duration::from_millis(300);
    let runtime = Runtime::new(&config).unwrap();
    let plugin = runtime.load(bytes("loop_in_validate")).await.unwrap();
    let loops: Vec<_> = (0..100)
        .map(|_| {
            let plugin = Arc::clone(&plugin);
            tokio::spawn(async move { validate(&plugin, kind("")).await })
        })
        .collect();
    for looping in loops {
        broke(looping.await.unwrap(), TrapKind::Deadline, "validate");
    }
    assert_eq!(runtime.calls_running(), 0);
}
