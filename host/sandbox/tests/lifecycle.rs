//! Nothing outlives a run, however it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bindery_sandbox::{Ending, RunError, SandboxLevel};
use common::{Fixture, at_each_level, token, wait_for};
use tokio_util::sync::CancellationToken;

/// N52 for the sandbox' part: at any moment, and nothing is left.
#[tokio::test]
async fn cancelling_at_any_moment_leaves_nothing() {
    at_each_level(async |fixture, level| {
        for delay_us in [0, 100, 500, 1000, 2000, 3000, 5000, 10_000, 50_000] {
            let word = token("cancel");
            let cancel = CancellationToken::new();
            let trigger = cancel.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(delay_us)).await;
                trigger.cancel();
            });
            let started = Instant::now();
            let report = fixture
                .sandbox
                .run(fixture.probe(&["sleep", &word]), &mut (), cancel)
                .await
                .unwrap();
            assert_eq!(
                report.ending,
                Ending::Cancelled,
                "{level} after {delay_us} us"
            );
            assert!(started.elapsed() < Duration::from_secs(5));
            assert_eq!(
                common::processes_with(&word),
                [],
                "{level} after {delay_us} us"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn dropping_a_run_kills_it() {
    at_each_level(async |fixture, _| {
        let word = token("dropped");
        let spec = fixture.probe(&["sleep", &word]);
        let sandbox = fixture.sandbox.clone();
        let running =
            tokio::spawn(async move { sandbox.run(spec, &mut (), CancellationToken::new()).await });
        wait_for("the engine", || !common::processes_with(&word).is_empty()).await;
        running.abort();
        wait_for("its death", || common::processes_with(&word).is_empty()).await;
    })
    .await;
}

#[tokio::test]
async fn without_a_sandbox_nothing_is_left_either() {
    let fixture = Fixture::new(SandboxLevel::None).await.unwrap();
    let word = token("none");
    let report = fixture
        .run(fixture.probe(&["grandchild", &word]))
        .await
        .unwrap();
    assert_eq!(
        (report.ending, report.level),
        (Ending::Exited(0), SandboxLevel::None)
    );
    assert_eq!(common::processes_with(&word), []);
    let mut spec = fixture.probe(&["spin"]);
    spec.limits.cpu = Duration::from_secs(1);
    assert_eq!(fixture.run(spec).await.unwrap().ending, Ending::CpuExceeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_at_once_are_all_right_and_leave_no_descriptors() {
    at_each_level(async |fixture, level| {
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let runs = async || {
            let mut running = tokio::task::JoinSet::new();
            for number in 0..60 {
                let (sandbox, spec) = (
                    fixture.sandbox.clone(),
                    fixture.probe(&["echo", &number.to_string()]),
                );
                running.spawn(async move {
                    let report = sandbox.run(spec, &mut (), CancellationToken::new()).await;
                    let report = report.unwrap();
                    assert_eq!(report.stdout.bytes, number.to_string().as_bytes());
                });
            }
            while let Some(result) = running.join_next().await {
                result.unwrap();
            }
        };
        // Other tests of this process open some too; a leak would be sixty and more.
        let before = open();
        runs().await;
        let after = open();
        assert!(
            after < before + 50,
            "{level}: {before} before, {after} after"
        );
    })
    .await;
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

fn children(pid: i32) -> Vec<i32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default()
        .split_whitespace()
        .map(|child| child.parse().unwrap())
        .collect()
}

fn parent(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()
}

/// Gone, or dead and not yet buried by whoever inherited it.
fn is_dead(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.is_empty()
        || status
            .lines()
            .any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX"))
}

/// N40, first half.
#[tokio::test]
async fn killing_the_supervisor_kills_the_engine_and_is_reported() {
    at_each_level(async |fixture, level| {
        let word = token("supervisor");
        let spec = fixture.probe(&["sleep", &word]);
        let sandbox = fixture.sandbox.clone();
        let running =
            tokio::spawn(async move { sandbox.run(spec, &mut (), CancellationToken::new()).await });
        wait_for("the engine", || !common::processes_with(&word).is_empty()).await;
        let supervisor = parent(common::processes_with(&word)[0]).unwrap();
        let tree = children(supervisor);
        assert_eq!(
            tree.len(),
            if level == SandboxLevel::L2 { 2 } else { 1 },
            "init and engine"
        );
        // Until the host knows that the engine has started.
        tokio::time::sleep(Duration::from_millis(100)).await;
        kill(supervisor);
        let result = running.await.unwrap();
        assert!(
            matches!(
                result,
                Err(RunError::SupervisorLost {
                    tree_gone: true,
                    ..
                })
            ),
            "{result:?}"
        );
        assert!(tree.iter().all(|pid| is_dead(*pid)));
    })
    .await;
}

/// N40, second half.
#[tokio::test]
async fn killing_the_host_kills_everything() {
    for level in [SandboxLevel::L2, SandboxLevel::L1] {
        if !common::offered(level).await {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let word = token("host");
            let mut host = start_host(level, directory.path(), &word);
            let mut line = String::new();
            BufReader::new(host.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            assert_eq!(line, "started\n");
            let supervisor = children(host.id().try_into().unwrap())[0];
            let tree = [vec![supervisor], children(supervisor)].concat();
            host.kill().unwrap();
            let killed = Instant::now();
            wait_for("the death of all", || tree.iter().all(|pid| is_dead(*pid))).await;
            slowest = slowest.max(killed.elapsed());
            host.wait().unwrap();
            assert_eq!(common::processes_with(&word), []);
        }
        eprintln!("{level}: all dead at the latest {slowest:?} after the host");
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
}

/// The same at any moment, also while the walls are being built.
#[tokio::test]
async fn killing_the_host_at_any_moment_leaves_nothing() {
    for level in [SandboxLevel::L2, SandboxLevel::L1] {
        if !common::offered(level).await {
            continue;
        }
        let directory = tempfile::tempdir().unwrap();
        for trial in 0..40_u64 {
            let word = token("moment");
            let mut host = start_host(level, directory.path(), &word);
            // Spread over start-up, from before the helper to after the engine.
            tokio::time::sleep(Duration::from_micros(trial * 500)).await;
            host.kill().unwrap();
            host.wait().unwrap();
            wait_for("the death of the engine", || {
                common::processes_with(&word).is_empty()
            })
            .await;
        }
        wait_for("the death of all helpers", || {
            helpers_of_nobody().is_empty()
        })
        .await;
    }
}

fn start_host(level: SandboxLevel, scratch: &std::path::Path, word: &str) -> std::process::Child {
    Command::new(common::PROBE)
        .args(["host", common::HELPER, level.as_str()])
        .arg(scratch)
        .args([common::PROBE, "start-and-sleep", word])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Living helper processes that have lost their parent.
fn helpers_of_nobody() -> Vec<i32> {
    common::processes_with(common::HELPER)
        .into_iter()
        .filter(|pid| !is_dead(*pid))
        .filter(|pid| parent(*pid) == Some(1))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line == [common::HELPER.as_bytes(), b"\0"].concat()
        })
        .collect()
}
