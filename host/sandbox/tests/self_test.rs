//! What the self-test says of machines and configurations, and what follows from it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use bindery_sandbox::{
    Ending, RunError, RunSpec, Sandbox, SandboxConfig, SandboxLevel, TrialOutcome, UidRange,
};
use common::Fixture;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn the_strongest_level_that_works_is_chosen_and_stands_on_each_report() {
    if !common::offered(SandboxLevel::L2).await {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config = SandboxConfig {
        minimum: SandboxLevel::L1,
        ..common::config(directory.path())
    };
    let sandbox = Sandbox::probe(config).await;
    let status = sandbox.status();
    assert_eq!(status.level, Some(SandboxLevel::L2));
    assert_eq!(status.unavailable, None);
    for wall in [
        "user",
        "mount",
        "pid",
        "network",
        "bounded-work",
        "landlock",
        "seccomp",
        "limits",
    ] {
        assert!(
            status.layers.iter().any(|layer| layer == wall),
            "{wall} is missing in {:?}",
            status.layers
        );
    }
    let TrialOutcome::Passed(cases) = &status.trials[0].outcome else {
        panic!("{status:?}")
    };
    assert!(cases.len() >= 20);
    let spec = RunSpec::new("/bin/true", directory.path());
    let report = sandbox
        .run(spec, &mut (), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(
        (report.ending, report.level),
        (Ending::Exited(0), SandboxLevel::L2)
    );
    assert_eq!(
        (&report.layers, report.landlock_abi),
        (&status.layers, status.landlock_abi)
    );
}

async fn refused(config: SandboxConfig, reason_part: &str, fix_part: &str) {
    let sandbox = Sandbox::probe(config).await;
    assert_eq!(sandbox.status().level, None);
    let why = sandbox.status().unavailable.clone().unwrap();
    assert!(why.reason.contains(reason_part), "{why:?}");
    assert!(why.fix.contains(fix_part), "{why:?}");
    let spec = RunSpec::new("/bin/true", "/nowhere");
    let result = sandbox.run(spec, &mut (), CancellationToken::new()).await;
    assert!(
        matches!(&result, Err(RunError::Unavailable { reason, .. }) if *reason == why.reason),
        "{result:?}"
    );
}

#[tokio::test]
async fn nothing_runs_where_the_required_level_cannot_be_had() {
    let directory = tempfile::tempdir().unwrap();
    let config = || common::config(directory.path());
    let absent = SandboxConfig {
        helper: "/no/such/helper".into(),
        ..config()
    };
    refused(absent, "/no/such/helper", "sandbox.helper").await;
    let wrong = SandboxConfig {
        helper: "/bin/true".into(),
        ..config()
    };
    refused(wrong, "without a report", "").await;
    let silent = SandboxConfig {
        minimum: SandboxLevel::None,
        ..config()
    };
    refused(silent, "--insecure-no-sandbox", "sandbox.minimum").await;
    if rustix::process::geteuid().is_root() {
        let root = UidRange {
            first: 0,
            count: 10,
        };
        refused(
            SandboxConfig {
                uids: Some(root),
                ..config()
            },
            "root",
            "sandbox.uids",
        )
        .await;
    }
}

#[tokio::test]
async fn no_sandbox_at_all_must_be_asked_for_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = common::config(directory.path());
    config.helper = common::HELPER.into();
    config.minimum = SandboxLevel::None;
    config.insecure_no_sandbox = true;
    // Even then a level that works is preferred.
    let best = Sandbox::probe(config.clone()).await.status().level.unwrap();
    if common::offered(SandboxLevel::L2).await {
        assert_eq!(best, SandboxLevel::L2);
    }
    config.test_knobs.without_seccomp = true;
    config.test_knobs.without_landlock = true;
    let sandbox = Sandbox::probe(config).await;
    assert_eq!(
        sandbox.status().level,
        Some(SandboxLevel::None),
        "{:?}",
        sandbox.status()
    );
    assert_eq!(sandbox.status().trials.len(), 2);
    let spec = RunSpec::new("/bin/true", directory.path());
    let report = sandbox
        .run(spec, &mut (), CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(
        (report.ending, report.level),
        (Ending::Exited(0), SandboxLevel::None)
    );
}

#[tokio::test]
async fn a_root_host_gives_each_running_job_a_user_of_its_own() {
    let Some(fixture) = Fixture::new(SandboxLevel::L1).await else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut spec = RunSpec::new("/usr/bin/id", fixture.directory.path().join("out"));
    spec.arguments = vec!["-u".into()];
    let first = fixture.run(spec.clone()).await.unwrap();
    let second = fixture.run(spec).await.unwrap();
    let number = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim()
            .parse::<u32>()
            .unwrap()
    };
    assert!(number(&first.stdout.bytes) >= 64_000, "{first:?}");
    assert_ne!(number(&first.stdout.bytes), number(&second.stdout.bytes));
    assert!(first.layers.iter().any(|layer| layer == "job-user"));
}
