//! What goes in and what comes out: arguments, inputs, streams, outputs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use bindery_sandbox::{
    Ending, OutputOutcome, OutputSpec, Rejection, RunError, RunSpec, SandboxLevel,
};
use common::{Fixture, Recorder, at_each_level};
use tokio_util::sync::CancellationToken;

/// N42: what passes through is not kept.
#[tokio::test]
async fn floods_pass_through_in_bounded_memory() {
    let Some(fixture) = Fixture::new(SandboxLevel::L2).await else {
        return;
    };
    #[derive(Default)]
    struct Count(u64);
    impl bindery_sandbox::OutputSink for Count {
        fn bytes(&mut self, _: bindery_sandbox::Stream, chunk: &[u8]) {
            self.0 += chunk.len() as u64;
        }
    }
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let (before, mut count) = (peak(), Count::default());
    let flood = fixture.probe(&["flood", &(1_u64 << 30).to_string()]);
    let report = fixture
        .sandbox
        .run(flood, &mut count, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!((report.ending, count.0), (Ending::Exited(0), 1 << 30));
    assert_eq!(
        report.stdout.bytes.len() as u64 + report.stdout.dropped,
        1 << 30
    );
    assert_eq!(report.stdout.bytes.len(), 64 << 10);
    assert!(
        peak() - before < 32 << 10,
        "grew by {} KiB",
        peak() - before
    );
}

/// N42: a host that does not read delays nobody's deadline.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_does_not_stop_the_clock() {
    let Some(fixture) = Fixture::new(SandboxLevel::L2).await else {
        return;
    };
    struct Stalled;
    impl bindery_sandbox::OutputSink for Stalled {
        fn bytes(&mut self, _: bindery_sandbox::Stream, _: &[u8]) {
            std::thread::sleep(Duration::from_millis(1500));
        }
    }
    let mut spec = fixture.probe(&["flood", "1000000"]);
    spec.limits.wall = Duration::from_millis(300);
    let report = fixture
        .sandbox
        .run(spec, &mut Stalled, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.ending, Ending::TimedOut);
    assert!(
        report.usage.wall < Duration::from_millis(1200),
        "{:?}",
        report.usage
    );
}

/// N43.
#[tokio::test]
async fn output_arrives_unaltered_and_as_it_comes() {
    at_each_level(async |fixture, _| {
        let report = fixture.run(fixture.probe(&["noise"])).await.unwrap();
        assert!(
            report
                .stdout
                .bytes
                .starts_with(&(0..=255).collect::<Vec<u8>>()),
            "{report:?}"
        );
        let mut recorder = Recorder::default();
        let spec = fixture.probe(&["streams"]);
        let report = fixture
            .sandbox
            .run(spec, &mut recorder, CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(
            (
                report.stdout.bytes.as_slice(),
                report.stderr.bytes.as_slice()
            ),
            (&b"*****"[..], &b"done"[..])
        );
        assert!(
            recorder.chunks.len() >= 4,
            "stars came bundled: {:?}",
            recorder.chunks
        );
    })
    .await;
}

/// N44, N46, N47: the engine cannot make links here, see the collector's own tests for those.
#[tokio::test]
async fn outputs_are_collected_with_their_hashes() {
    at_each_level(async |fixture, level| {
        let mut spec = fixture.probe(&["outputs"]);
        spec.outputs = ["good", "sub/deep", "absent", "directory", "long"]
            .map(|path| OutputSpec {
                path: path.into(),
                max_bytes: 64,
            })
            .to_vec();
        let into = spec.collect_into.clone();
        let report = fixture.run(spec).await.unwrap();
        let outcomes: Vec<_> = report
            .outputs
            .iter()
            .map(|output| output.outcome.clone())
            .collect();
        assert!(
            matches!(outcomes[0], OutputOutcome::Collected { size_bytes: 6, .. }),
            "{level} {report:?}"
        );
        assert!(matches!(
            outcomes[1],
            OutputOutcome::Collected { size_bytes: 4, .. }
        ));
        assert_eq!(outcomes[2], OutputOutcome::Missing);
        assert_eq!(outcomes[3], OutputOutcome::Rejected(Rejection::NotAFile));
        assert_eq!(
            outcomes[4],
            OutputOutcome::Rejected(Rejection::TooLarge { max_bytes: 64 })
        );
        assert_eq!(std::fs::read(into.join("sub/deep")).unwrap(), b"deep");
        let left = std::fs::read_dir(fixture.directory.path().join("scratch"));
        assert_eq!(
            left.map_or(0, Iterator::count),
            0,
            "work directories are gone"
        );
    })
    .await;
}

#[tokio::test]
async fn inputs_are_staged_whatever_their_size_and_mode() {
    at_each_level(async |fixture, level| {
        let home = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..3_u32 << 20).map(|i| (i % 251) as u8).collect();
        for (name, content, mode) in [
            ("small", &b"small"[..], 0o600),
            ("large-open", &large, 0o644),
            ("large-private", &large, 0o600),
            ("replaced", b"old", 0o400),
        ] {
            std::fs::write(home.path().join(name), content).unwrap();
            std::fs::set_permissions(home.path().join(name), PermissionsExt::from_mode(mode))
                .unwrap();
        }
        let stage = |spec: &mut RunSpec| {
            spec.stage = ["small", "large-open", "large-private", "replaced"]
                .map(|name| (home.path().join(name), format!("in/{name}").into()))
                .to_vec();
        };
        let mut read =
            fixture.probe(&["read-all", "in/small", "in/large-open", "in/large-private"]);
        stage(&mut read);
        // The inputs are not charged to the run.
        read.limits.work_bytes = 1 << 20;
        let report = fixture.run(read).await.unwrap();
        assert_eq!(report.stdout.bytes, b"allowed\n", "{level} {report:?}");
        let mut replace = fixture.probe(&["write", "in/replaced"]);
        stage(&mut replace);
        replace.outputs = vec![OutputSpec {
            path: "in/replaced".into(),
            max_bytes: 10,
        }];
        let report = fixture.run(replace).await.unwrap();
        assert!(
            matches!(
                report.outputs[0].outcome,
                OutputOutcome::Collected { size_bytes: 1, .. }
            ),
            "{report:?}"
        );
        assert_eq!(
            std::fs::read(home.path().join("replaced")).unwrap(),
            b"old",
            "the host's file is untouched"
        );
    })
    .await;
}

#[tokio::test]
async fn the_environment_is_what_was_asked_for() {
    at_each_level(async |fixture, _| {
        let mut spec = fixture.probe(&["environment"]);
        spec.environment = vec![
            ("BABEL_DATADIR".into(), "/usr/share".into()),
            ("EMPTY".into(), "".into()),
        ];
        let report = fixture.run(spec).await.unwrap();
        assert_eq!(report.stdout.bytes, b"BABEL_DATADIR=/usr/share\nEMPTY=\n");
    })
    .await;
}

/// N50: there is no shell.
#[tokio::test]
async fn arguments_arrive_as_they_are() {
    use std::os::unix::ffi::OsStringExt as _;
    at_each_level(async |fixture, _| {
        let mut spec = fixture.probe(&[
            "echo",
            "; rm -rf /",
            "$(id)",
            "--config=/etc/passwd",
            "new\nline",
            "",
        ]);
        spec.arguments
            .push(std::ffi::OsString::from_vec(b"tail".to_vec()));
        let report = fixture.run(spec).await.unwrap();
        assert_eq!(
            report.stdout.bytes,
            b"; rm -rf /\n$(id)\n--config=/etc/passwd\nnew\nline\n\ntail"
        );
    })
    .await;
}

#[tokio::test]
async fn engines_that_cannot_start_are_named() {
    at_each_level(async |fixture, _| {
        let absent = RunSpec {
            program: "/usr/bin/no-such-engine".into(),
            ..fixture.probe(&[])
        };
        let found = fixture.run(absent).await;
        assert!(
            matches!(found, Err(RunError::EngineMissing { .. })),
            "{found:?}"
        );
        let text = fixture.directory.path().join("text");
        std::fs::write(&text, "no program").unwrap();
        std::fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::set_permissions(fixture.directory.path(), PermissionsExt::from_mode(0o755))
            .unwrap();
        let found = fixture
            .run(RunSpec {
                program: text.clone(),
                ..fixture.probe(&[])
            })
            .await;
        assert!(
            matches!(found, Err(RunError::EngineNotExecutable { .. })),
            "{found:?}"
        );
        let input = RunSpec {
            stage: vec![("/no/such/input".into(), "in".into())],
            ..fixture.probe(&["exit", "0"])
        };
        let found = fixture.run(input).await;
        assert!(
            matches!(&found, Err(RunError::Build { stage, .. }) if stage == "inputs"),
            "{found:?}"
        );
    })
    .await;
}
