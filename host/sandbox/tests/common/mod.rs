//! What the tests of this crate share: a sandbox at a forced level and the hostile program in it.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test support; not every test file uses all of it"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use bindery_sandbox::{
    Limits, OutputSink, RunError, RunReport, RunSpec, Sandbox, SandboxConfig, SandboxLevel, Stream,
    TestKnobs, TrialOutcome,
};
use tokio_util::sync::CancellationToken;

pub(crate) const HELPER: &str = env!("CARGO_BIN_EXE_bindery-sandbox");
pub(crate) const PROBE: &str = env!("CARGO_BIN_EXE_abuse-probe");

/// A sandbox at one level, with its scratch directory.
pub(crate) struct Fixture {
    pub(crate) sandbox: Sandbox,
    pub(crate) directory: tempfile::TempDir,
}

/// Collects output and the time of each chunk.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) chunks: Vec<(Stream, Vec<u8>, Option<Instant>)>,
}

impl OutputSink for Recorder {
    fn bytes(&mut self, stream: Stream, chunk: &[u8]) {
        self.chunks
            .push((stream, chunk.to_vec(), Some(Instant::now())));
    }
}

impl Fixture {
    /// None, with a loud word, where the machine does not offer the level.
    pub(crate) async fn new(level: SandboxLevel) -> Option<Self> {
        if level > SandboxLevel::None && !offered(level).await {
            return None;
        }
        Some(
            Self::with(TestKnobs {
                force_level: Some(level),
                ..TestKnobs::default()
            })
            .await,
        )
    }

    pub(crate) async fn with(test_knobs: TestKnobs) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::probe(SandboxConfig {
            test_knobs,
            minimum: SandboxLevel::L1,
            ..config(directory.path())
        })
        .await;
        Self { sandbox, directory }
    }

    /// A run of the hostile program under small limits.
    pub(crate) fn probe(&self, arguments: &[&str]) -> RunSpec {
        let mut spec = RunSpec::new(PROBE, self.directory.path().join("out"));
        spec.arguments = arguments.iter().map(Into::into).collect();
        spec.limits = Limits {
            wall: Duration::from_secs(30),
            cpu: Duration::from_secs(20),
            memory_bytes: 256 << 20,
            work_bytes: 16 << 20,
            work_files: 200,
            file_bytes: 8 << 20,
            threads: 16,
            open_files: 64,
            output_bytes: 64 << 10,
        };
        spec
    }

    pub(crate) async fn run(&self, spec: RunSpec) -> Result<RunReport, RunError> {
        self.sandbox
            .run(spec, &mut (), CancellationToken::new())
            .await
    }

    /// Output of the hostile program, which must have exited with 0.
    pub(crate) async fn attempt(&self, arguments: &[&str]) -> String {
        let report = self.run(self.probe(arguments)).await.unwrap();
        let text = String::from_utf8_lossy(&report.stdout.bytes)
            .trim()
            .to_owned();
        if report.ending == bindery_sandbox::Ending::Exited(0) {
            text
        } else {
            format!("{text} {:?}", report.ending)
        }
    }
}

/// Runs one attempt at both levels.
pub(crate) async fn at_each_level(check: impl AsyncFn(&Fixture, SandboxLevel)) {
    for level in [SandboxLevel::L2, SandboxLevel::L1] {
        if let Some(fixture) = Fixture::new(level).await {
            check(&fixture, level).await;
        }
    }
}

pub(crate) fn config(scratch: &Path) -> SandboxConfig {
    SandboxConfig::new(HELPER, scratch.join("scratch"))
}

/// Whether the self-test passes here at this level.
pub(crate) async fn offered(level: SandboxLevel) -> bool {
    let directory = tempfile::tempdir().unwrap();
    let mut wanted = config(directory.path());
    wanted.minimum = level;
    wanted.test_knobs.only_level = Some(level);
    let sandbox = Sandbox::probe(wanted).await;
    let failed: Vec<String> = sandbox
        .status()
        .trials
        .iter()
        .filter(|trial| !matches!(trial.outcome, TrialOutcome::Passed(_)))
        .map(|trial| format!("{trial:?}"))
        .collect();
    // A machine that can build the walls must pass the test.
    assert!(
        !sandbox
            .status()
            .trials
            .iter()
            .any(|trial| matches!(trial.outcome, TrialOutcome::Failed(_))),
        "{failed:?}"
    );
    sandbox.status().level == Some(level) || skipped(level, &failed.join("; "))
}

fn skipped(level: SandboxLevel, why: &str) -> bool {
    assert!(
        std::env::var_os("BINDERY_REQUIRE_SANDBOX").is_none(),
        "level {level} is required but not there: {why}"
    );
    eprintln!("SKIPPED: level {level} does not work on this machine: {why}");
    false
}

/// Waits for a condition and fails with a word when it does not come true in time.
pub(crate) async fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Processes whose command line holds a word.
pub(crate) fn processes_with(word: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(word.len())
                .any(|window| window == word.as_bytes())
        })
        .collect()
}

/// A word that no other test has.
pub(crate) fn token(name: &str) -> String {
    format!("{name}-{}-{:?}", std::process::id(), Instant::now())
        .replace(|c: char| !c.is_ascii_alphanumeric(), "")
}
