//! One runtime for all tests, with limits small enough to be reached quickly.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use bindery_core::{Digest, InputFile, Item, Request};
use bindery_runtime::{
    CallGrants, CallLimits, GuestBreak, GuestFailure, HttpConfig, LimitClasses, LoadError, Plugin,
    Runtime, RuntimeConfig, TrapKind,
};
use serde_json::{Value, json};

/// Wall time of `validate` and of monitors.
pub(crate) const INTERACTIVE: Duration = Duration::from_millis(1000);
/// Wall time of `next`, `parse` and `compute`.
pub(crate) const FILES: Duration = Duration::from_millis(3000);
pub(crate) const MEMORY_BYTES: usize = 64 << 20;
pub(crate) const DISK_BYTES: u64 = 4 << 20;
/// A limit of time counts as kept when the failure comes before this many times the limit: other
/// tests share the two cores.
pub(crate) const LATE: u32 = 8;

pub(crate) fn config() -> RuntimeConfig {
    let limits = |wall, disk_bytes| CallLimits {
        wall,
        memory_bytes: MEMORY_BYTES,
        disk_bytes,
        hostcall_bytes: 16 << 20,
    };
    RuntimeConfig {
        cache_directory: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-guests")),
        calls_max: 8,
        sessions_max: 8,
        limits: LimitClasses {
            interactive: limits(INTERACTIVE, 0),
            files: limits(FILES, DISK_BYTES),
            compute: limits(FILES, DISK_BYTES),
        },
        http: HttpConfig::default(),
    }
}

pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new(&config()).unwrap());
    &RUNTIME
}

pub(crate) fn bytes(name: &str) -> Vec<u8> {
    bindery_guests_build::guest(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) async fn try_load(name: &str) -> Result<Arc<Plugin>, LoadError> {
    runtime().load(bytes(name)).await
}

pub(crate) async fn load(name: &str) -> Arc<Plugin> {
    try_load(name)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}: {error:?}"))
}

pub(crate) fn request(parameters: Value) -> Request {
    Request {
        task: "test.guest".to_owned(),
        parameters,
        inputs: vec![],
        items: vec![Item::single()],
        seed: 42,
    }
}

/// A request for one variant of a behaviour.
pub(crate) fn kind(kind: &str) -> Request {
    request(json!({ "kind": kind }))
}

pub(crate) fn input(slot: &str, path: &str, content: &[u8]) -> InputFile {
    InputFile {
        slot: slot.to_owned(),
        path: path.to_owned(),
        original_name: path.to_owned(),
        media_type: "text/plain".to_owned(),
        size_bytes: content.len() as u64,
        digest: Digest::of(content),
    }
}

/// The three directories of a guest, and what must stay out of its reach beside them.
pub(crate) struct Directories {
    pub(crate) root: tempfile::TempDir,
}

impl Directories {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["in", "work", "out"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        std::fs::write(root.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(root.path().join("in/a.txt"), "a").unwrap();
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn grants(&self) -> CallGrants {
        CallGrants {
            input: Some(self.path("in")),
            work: Some(self.path("work")),
            out: Some(self.path("out")),
            ..CallGrants::default()
        }
    }
}

/// How the guest broke; fails when it did not.
#[track_caller]
pub(crate) fn broke<T: std::fmt::Debug>(
    outcome: Result<T, GuestFailure>,
    kind: TrapKind,
    phase: &str,
) -> GuestBreak {
    match outcome {
        Err(GuestFailure::Broke(broke)) => {
            assert_eq!((broke.kind, broke.phase), (kind, phase), "{broke:?}");
            assert!(
                broke.message.len() < 20_000,
                "a message of {} bytes",
                broke.message.len()
            );
            assert!(
                broke.stderr.len() <= 65 << 10,
                "{} bytes of stderr",
                broke.stderr.len()
            );
            broke
        }
        other => panic!("expected {kind:?} in {phase}, not {other:?}"),
    }
}

pub(crate) async fn validate(
    plugin: &Arc<Plugin>,
    request: Request,
) -> Result<bindery_runtime::Validated, GuestFailure> {
    plugin.validate(request, None).await
}

pub(crate) async fn compute(
    plugin: &Plugin,
    request: &Request,
    grants: CallGrants,
) -> Result<Value, GuestFailure> {
    let (items, _, _) = plugin
        .compute(request, grants, FILES, Box::new(|_, _| {}))
        .await?;
    Ok(items[0].verdict.as_ref().unwrap().output.clone())
}

/// The host works as before: a good guest validates and computes.
pub(crate) async fn assert_unharmed() {
    let good = load("good_validate").await;
    let validated = validate(&good, good_parameters()).await.unwrap();
    assert_eq!(validated.parameters, good_parameters().parameters);
    let good = load("good_compute").await;
    let output = compute(&good, &request(json!({ "a": 1 })), CallGrants::default())
        .await
        .unwrap();
    assert_eq!(output["parameters"], json!({ "a": 1 }));
}

pub(crate) fn good_parameters() -> Request {
    request(json!({ "size": 20, "effort": 8, "count": 9, "range": 3.0 }))
}

/// Waits until a condition holds.
pub(crate) async fn wait_for_condition(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
