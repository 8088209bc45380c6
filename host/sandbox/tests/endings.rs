//! How runs end: codes, signals, and every limit.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use std::time::{Duration, Instant};

use bindery_sandbox::{Ending, Execute, OutputSpec, Profile, RunError, RunSpec, SandboxLevel};
use common::{Fixture, at_each_level, token};

async fn ends(fixture: &Fixture, arguments: &[&str], expected: Ending) {
    let report = fixture.run(fixture.probe(arguments)).await.unwrap();
    assert_eq!(report.ending, expected, "{arguments:?} {report:?}");
}

#[tokio::test]
async fn codes_and_signals_are_told_apart() {
    at_each_level(async |fixture, _| {
        for code in [0, 1, 125, 137] {
            ends(fixture, &["exit", &code.to_string()], Ending::Exited(code)).await;
        }
        for signal in [
            libc::SIGSEGV,
            libc::SIGABRT,
            libc::SIGKILL,
            libc::SIGTERM,
            libc::SIGPIPE,
        ] {
            ends(
                fixture,
                &["die", &signal.to_string()],
                Ending::Crashed { signal },
            )
            .await;
        }
        // N24, N36.
        ends(
            fixture,
            &["stack"],
            Ending::Crashed {
                signal: libc::SIGSEGV,
            },
        )
        .await;
        ends(
            fixture,
            &["int80"],
            Ending::Crashed {
                signal: libc::SIGSYS,
            },
        )
        .await;
    })
    .await;
}

/// N22.
#[tokio::test]
async fn threads_are_limited() {
    at_each_level(async |fixture, level| {
        let found = fixture.attempt(&["threads", "5000"]).await;
        let (started, outcome) = found.split_once(' ').unwrap();
        assert_eq!(outcome, format!("denied {}", libc::EAGAIN));
        // An ordinary user's jobs share one count at L1, so there only bombs are stopped.
        let shared = level == SandboxLevel::L1 && !rustix::process::geteuid().is_root();
        let max = if shared { 4000 } else { 18 };
        assert!(
            (8..=max).contains(&started.parse::<u32>().unwrap()),
            "{found}"
        );
    })
    .await;
}

/// N23.
#[tokio::test]
async fn memory_is_limited() {
    at_each_level(async |fixture, _| {
        ends(fixture, &["memory"], Ending::MemoryExceeded).await;
        ends(fixture, &["huge-allocation"], Ending::MemoryExceeded).await;
        let found = fixture.attempt(&["shared-memory"]).await;
        assert_eq!(found, format!("denied {}", libc::ENOMEM));
    })
    .await;
}

/// N25 to N28.
#[tokio::test]
async fn disk_is_limited() {
    at_each_level(async |fixture, _| {
        for arguments in [["fill-file"], ["sparse"], ["fill-disk"], ["many-files"]] {
            let report = fixture.run(fixture.probe(&arguments)).await.unwrap();
            assert_eq!(
                report.ending,
                Ending::DiskExceeded,
                "{arguments:?} {report:?}"
            );
        }
        // A result that may be cut is no success, even if the engine thinks so.
        ends(fixture, &["fill-and-leave"], Ending::DiskExceeded).await;
        let mut spec = fixture.probe(&["fill-file", "quietly"]);
        spec.outputs = vec![OutputSpec {
            path: "file0".into(),
            max_bytes: 1 << 30,
        }];
        let report = fixture.run(spec).await.unwrap();
        assert_eq!(report.ending, Ending::DiskExceeded, "{report:?}");
    })
    .await;
}

/// N37.
#[tokio::test]
async fn cpu_time_is_limited() {
    at_each_level(async |fixture, _| {
        let mut spec = fixture.probe(&["spin"]);
        spec.limits.cpu = Duration::from_millis(500);
        let report = fixture.run(spec).await.unwrap();
        assert_eq!(report.ending, Ending::CpuExceeded, "{report:?}");
        let used = report.usage.cpu_user + report.usage.cpu_system;
        assert!((0.8..1.5).contains(&used.as_secs_f64()), "{used:?}");
    })
    .await;
}

/// N38.
#[tokio::test]
async fn wall_time_is_limited() {
    at_each_level(async |fixture, _| {
        let mut spec = fixture.probe(&["sleep"]);
        spec.limits.wall = Duration::from_millis(300);
        let started = Instant::now();
        let report = fixture.run(spec).await.unwrap();
        assert_eq!(report.ending, Ending::TimedOut);
        assert!(report.usage.wall >= Duration::from_millis(300));
        assert!(started.elapsed() < Duration::from_secs(3));
    })
    .await;
}

/// N21 with children allowed, N39.
#[tokio::test]
async fn children_are_bounded_and_die_with_the_engine() {
    let Some(fixture) = Fixture::new(SandboxLevel::L2).await else {
        return;
    };
    let profile = Profile {
        allow_fork: true,
        execute: Execute::ReadOnlyDirectories,
        ..Profile::default()
    };
    let word = token("children");
    let mut spec = RunSpec {
        profile,
        ..fixture.probe(&["fork-bomb", &word])
    };
    spec.limits.wall = Duration::from_secs(2);
    let report = fixture.run(spec).await.unwrap();
    let text = String::from_utf8_lossy(&report.stdout.bytes).into_owned();
    assert!(
        text.contains(&format!("denied {}", libc::EAGAIN)),
        "{report:?}"
    );
    assert_eq!(common::processes_with(&word), []);

    let started = Instant::now();
    let report = fixture
        .run(RunSpec {
            profile,
            ..fixture.probe(&["grandchild", &word])
        })
        .await
        .unwrap();
    assert_eq!(
        (report.ending, report.stdout.bytes.as_slice()),
        (Ending::Exited(0), b"child true\n".as_slice())
    );
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(common::processes_with(&word), []);

    let mut shell = RunSpec {
        profile,
        program: "/bin/sh".into(),
        ..fixture.probe(&[])
    };
    shell.arguments = vec![
        "-c".into(),
        "echo $(ls /usr | head -1); sleep 0.01; cat < /dev/null".into(),
    ];
    let report = fixture.run(shell).await.unwrap();
    assert_eq!(report.ending, Ending::Exited(0), "{report:?}");
    assert_eq!(report.stdout.bytes, b"bin\n");
}

#[tokio::test]
async fn l1_refuses_profiles_with_children() {
    let Some(fixture) = Fixture::new(SandboxLevel::L1).await else {
        return;
    };
    let mut spec = fixture.probe(&["exit", "0"]);
    spec.profile.allow_fork = true;
    let refused = fixture.run(spec).await;
    assert!(
        matches!(
            refused,
            Err(RunError::ForkNeedsNamespaces {
                level: SandboxLevel::L1
            })
        ),
        "{refused:?}"
    );
}
