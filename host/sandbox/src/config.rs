//! What an operator decides about the sandbox.

use std::path::{Path, PathBuf};

use crate::SandboxLevel;

/// File name of the helper binary.
const HELPER_NAME: &str = "bindery-sandbox";

/// How engines are confined on this machine.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The `bindery-sandbox` binary; see [`find_helper`].
    pub helper: PathBuf,
    /// Weaker levels are refused. L2 unless an operator says otherwise.
    pub minimum: SandboxLevel,
    /// Together with `minimum` = none: run engines without walls when no level works.
    pub insecure_no_sandbox: bool,
    /// Directory of the host, on a local file system: work directories below L2 and the files of
    /// the self-test. Made when absent.
    pub scratch: PathBuf,
    /// User ids for jobs when the host runs as root; chosen from those mapped here when absent.
    pub uids: Option<UidRange>,
    #[doc(hidden)]
    pub test_knobs: TestKnobs,
}

impl SandboxConfig {
    /// Nothing weaker than L2, job uids chosen here.
    #[must_use]
    pub fn new(helper: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            helper: helper.into(),
            minimum: SandboxLevel::L2,
            insecure_no_sandbox: false,
            scratch: scratch.into(),
            uids: None,
            test_knobs: TestKnobs::default(),
        }
    }
}

/// User ids of which each running job holds one, so that jobs of a root host share neither
/// process limits nor files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRange {
    pub first: u32,
    /// At least the number of jobs that run at once.
    pub count: u32,
}

/// Removes walls to prove that the battery notices. Set by tests only: no configuration file,
/// flag or environment variable reaches it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, Default)]
pub struct TestKnobs {
    /// Uses this level without a self-test.
    pub force_level: Option<SandboxLevel>,
    /// Tests this level and no other.
    pub only_level: Option<SandboxLevel>,
    pub without_seccomp: bool,
    pub without_landlock: bool,
}

/// The helper beside the running executable, or one directory up, where test binaries have it.
#[must_use]
pub fn find_helper() -> Option<PathBuf> {
    let executable = std::env::current_exe().ok()?;
    let directory = executable.parent()?;
    [Some(directory), directory.parent()]
        .into_iter()
        .flatten()
        .map(|place: &Path| place.join(HELPER_NAME))
        .find(|candidate| candidate.is_file())
}
