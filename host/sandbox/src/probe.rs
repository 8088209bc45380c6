//! The self-test: which level works on this machine, found by trying, not by asking.
//!
//! At start the host sends the helper itself into the sandbox as an engine, where it attempts what
//! must be refused and what must be possible (see the helper's `attempts`). A level counts only
//! when every attempt went as it must. Without a level at or above the configured minimum nothing
//! will run, and the status says why and what an administrator can do.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::helper::ATTEMPTS_ARGUMENT;
use crate::scratch::{self, WorkDirectory};
use crate::uids::Uids;
use crate::{
    Ending, Limits, RunError, RunReport, RunSpec, Sandbox, SandboxConfig, SandboxLevel, UidRange,
    run::run_at,
};

/// What must be possible.
const ALLOWED: [&str; 3] = ["write-work", "read-random", "start-thread"];
/// What must be refused.
const DENIED: [&str; 16] = [
    "read-passwords",
    "read-process-list",
    "read-other-job",
    "write-outside",
    "write-system",
    "connect-loopback",
    "open-unix-socket",
    "start-process",
    "enter-user-namespace",
    "signal-host",
    "trace-host",
    "start-io-ring",
    "link",
    "lend-identity",
    "inherit-descriptor",
    "execute-own-file",
];
/// Closes a complete report.
const END: &str = "end";

/// What the self-test found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxStatus {
    /// At which engines run; none when the machine allows none of the required strength.
    pub level: Option<SandboxLevel>,
    /// Names of the walls that stand at that level.
    pub layers: Vec<String>,
    pub landlock_abi: Option<u32>,
    /// Why there is no level.
    pub unavailable: Option<Unavailable>,
    /// Every level that was tried, strongest first.
    pub trials: Vec<Trial>,
}

/// Why engines cannot run, and what would change that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unavailable {
    pub reason: String,
    /// For an administrator: a setting, with its exact name.
    pub fix: String,
}

/// One level's self-test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    pub level: SandboxLevel,
    pub outcome: TrialOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialOutcome {
    Passed(Vec<CaseResult>),
    /// Something went other than it must.
    Failed(Vec<CaseResult>),
    /// The walls could not be built.
    NotBuilt(Unavailable),
}

/// One attempt of the self-test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    pub name: String,
    pub must_be_allowed: bool,
    /// What happened, as the attempt reported it.
    pub observed: String,
    pub passed: bool,
}

impl Sandbox {
    /// Finds the strongest level that works and is allowed. Takes a few tens of milliseconds.
    ///
    /// Never fails: a machine on which nothing works gives a sandbox that refuses every run, with
    /// the reason in [`Sandbox::status`].
    pub async fn probe(config: SandboxConfig) -> Self {
        let (status, uids) = match job_users(&config) {
            Ok(uids) => (status_of(&config, uids.as_ref()).await, uids),
            Err(unavailable) => (no_level(unavailable, Vec::new()), None),
        };
        match &status.unavailable {
            Some(why) => tracing::error!(
                reason = why.reason,
                fix = why.fix,
                "no sandbox: engines will not run"
            ),
            None => {
                tracing::info!(level = ?status.level, layers = ?status.layers, "sandbox is ready")
            }
        }
        Self::new(config, status, uids)
    }
}

fn no_level(unavailable: Unavailable, trials: Vec<Trial>) -> SandboxStatus {
    SandboxStatus {
        level: None,
        layers: Vec::new(),
        landlock_abi: None,
        unavailable: Some(unavailable),
        trials,
    }
}

/// The ids for jobs, if the host is root and so must not lend its own.
fn job_users(config: &SandboxConfig) -> Result<Option<Uids>, Unavailable> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let range = config.uids.filter(|range| is_usable(*range)).or_else(|| {
        if config.uids.is_some() {
            None
        } else {
            Uids::usual()
        }
    });
    range.map(|range| Some(Uids::new(range))).ok_or_else(|| Unavailable {
        reason: "the host is root and has no user ids for its jobs".to_owned(),
        fix: "run the server as an ordinary user, or set sandbox.uids to a range of ids, without 0, that exists in \
              this container"
            .to_owned(),
    })
}

const fn is_usable(range: UidRange) -> bool {
    range.first > 0 && range.count > 0 && range.first.checked_add(range.count).is_some()
}

async fn status_of(config: &SandboxConfig, uids: Option<&Uids>) -> SandboxStatus {
    if let Some(level) = config.test_knobs.force_level {
        return SandboxStatus {
            level: Some(level),
            layers: Vec::new(),
            landlock_abi: None,
            unavailable: None,
            trials: Vec::new(),
        };
    }
    if config.minimum == SandboxLevel::None && !config.insecure_no_sandbox {
        let unavailable = Unavailable {
            reason: "sandbox.minimum is \"none\" without --insecure-no-sandbox".to_owned(),
            fix: "set sandbox.minimum to \"L2\" or \"L1\", or start with --insecure-no-sandbox"
                .to_owned(),
        };
        return no_level(unavailable, Vec::new());
    }
    let mut trials = Vec::new();
    let only = config.test_knobs.only_level;
    for level in [SandboxLevel::L2, SandboxLevel::L1]
        .into_iter()
        .filter(|level| *level >= config.minimum && only.is_none_or(|only| only == *level))
    {
        let (trial, report) = try_level(config, uids, level).await;
        trials.push(trial);
        if let Some(report) = report {
            return SandboxStatus {
                level: Some(level),
                layers: report.layers,
                landlock_abi: report.landlock_abi,
                unavailable: None,
                trials,
            };
        }
    }
    if config.minimum == SandboxLevel::None {
        tracing::warn!("engines run WITHOUT A SANDBOX, as asked by --insecure-no-sandbox");
        return SandboxStatus {
            level: Some(SandboxLevel::None),
            layers: vec!["limits".to_owned()],
            landlock_abi: None,
            unavailable: None,
            trials,
        };
    }
    no_level(explain(&trials), trials)
}

/// One level's self-test; the report only when it passed.
async fn try_level(
    config: &SandboxConfig,
    uids: Option<&Uids>,
    level: SandboxLevel,
) -> (Trial, Option<RunReport>) {
    let trial = |outcome| Trial { level, outcome };
    match attempt_all(config, uids, level).await {
        Ok(report) => {
            let cases = judge(&report);
            if cases.iter().all(|case| case.passed) {
                (trial(TrialOutcome::Passed(cases)), Some(report))
            } else {
                (trial(TrialOutcome::Failed(cases)), None)
            }
        }
        Err(error) => (trial(TrialOutcome::NotBuilt(advise(config, &error))), None),
    }
}

async fn attempt_all(
    config: &SandboxConfig,
    uids: Option<&Uids>,
    level: SandboxLevel,
) -> Result<RunReport, RunError> {
    let failed = || RunError::io("prepare the self-test");
    scratch::remove_stale(&config.scratch);
    // Guarded by its own mode and by no other: the directory that the engine must not write to is
    // open to all, so that only the walls can refuse.
    let outside = WorkDirectory::create(&config.scratch).map_err(failed())?;
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777))
        .map_err(failed())?;
    let secret = outside.path().join("secret");
    std::fs::write(&secret, "secret").map_err(failed())?;
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).map_err(failed())?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed())?;
    let port = listener.local_addr().map_err(failed())?.port();

    let mut spec = RunSpec::new(&config.helper, outside.path());
    spec.arguments = vec![
        ATTEMPTS_ARGUMENT.into(),
        secret.into(),
        outside.path().into(),
        port.to_string().into(),
        std::process::id().to_string().into(),
    ];
    spec.limits = Limits {
        wall: Duration::from_secs(10),
        cpu: Duration::from_secs(10),
        memory_bytes: 512 << 20,
        work_bytes: 1 << 20,
        work_files: 16,
        file_bytes: 1 << 20,
        threads: 8,
        ..Limits::default()
    };
    run_at(config, uids, level, spec, &mut (), CancellationToken::new()).await
}

/// Compares what happened with what must.
fn judge(report: &RunReport) -> Vec<CaseResult> {
    let text = String::from_utf8_lossy(&report.stdout.bytes);
    let observed = |name: &str| {
        text.lines()
            .map(|line| line.splitn(3, '\t').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&name))
            .map(|fields| {
                (
                    fields.get(1) == Some(&"allowed"),
                    fields.get(1..).unwrap_or_default().join(": "),
                )
            })
    };
    let mut cases: Vec<CaseResult> = ALLOWED
        .iter()
        .chain([&END])
        .map(|name| (*name, true))
        .chain(DENIED.iter().map(|name| (*name, false)))
        .map(|(name, must_be_allowed)| {
            let (allowed, observed) =
                observed(name).map_or((None, "no report".to_owned()), |(a, o)| (Some(a), o));
            CaseResult {
                name: name.to_owned(),
                must_be_allowed,
                observed,
                passed: allowed == Some(must_be_allowed),
            }
        })
        .collect();
    cases.push(CaseResult {
        name: "exit".to_owned(),
        must_be_allowed: true,
        observed: format!("{:?}", report.ending),
        passed: report.ending == Ending::Exited(0),
    });
    cases
}

/// Why no level works: the failure of the weakest allowed one, which needs least.
fn explain(trials: &[Trial]) -> Unavailable {
    match trials.last().map(|trial| (trial.level, &trial.outcome)) {
        Some((_, TrialOutcome::NotBuilt(why))) => why.clone(),
        Some((level, TrialOutcome::Failed(cases))) => {
            let mut reason = format!("the self-test of level {level} failed:");
            for case in cases.iter().filter(|case| !case.passed) {
                // Writing to a string cannot fail.
                let _ = write!(reason, " {} ({})", case.name, case.observed);
            }
            let fix = "run `bindery engine doctor` and report its output: this kernel behaves unlike any known";
            Unavailable {
                reason,
                fix: fix.to_owned(),
            }
        }
        _ => Unavailable {
            reason: "no level was tried".to_owned(),
            fix: "set sandbox.minimum to \"L2\" or \"L1\"".to_owned(),
        },
    }
}

/// What an administrator can do about a sandbox that cannot be built.
fn advise(config: &SandboxConfig, error: &RunError) -> Unavailable {
    let reason = full_text(error);
    let fix = match error {
        RunError::Helper { .. } | RunError::EngineMissing { .. } => format!(
            "install the binary bindery-sandbox beside bindery, or set sandbox.helper (now {})",
            config.helper.display()
        ),
        RunError::Build { stage, errno, .. } => advise_build(stage, *errno, &config.helper),
        RunError::Io { .. } => {
            format!(
                "make {} a directory that the server may write to",
                config.scratch.display()
            )
        }
        _ => "see the reason".to_owned(),
    };
    Unavailable { reason, fix }
}

fn advise_build(stage: &str, errno: Option<i32>, helper: &Path) -> String {
    let l1 = "or accept the weaker level with sandbox.minimum = \"L1\"";
    match (stage, errno) {
        ("namespaces", Some(libc::ENOSPC | libc::EUSERS)) => {
            format!("allow user namespaces: sysctl user.max_user_namespaces=15000; {l1}")
        }
        ("namespaces", Some(libc::EPERM)) => format!(
            "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 where that exists; in a container, run it \
             with a seccomp profile that permits unshare and mount (Docker: --security-opt seccomp=FILE, Kubernetes: \
             securityContext.seccompProfile); {l1}"
        ),
        ("id-maps" | "mounts" | "root" | "work-directory", Some(libc::EPERM | libc::EACCES)) => {
            format!(
                "on Ubuntu, install an AppArmor profile with `userns,` for {} (or sysctl \
             kernel.apparmor_restrict_unprivileged_userns=0); in a container, permit mount in the seccomp and AppArmor \
             profiles; {l1}",
                helper.display()
            )
        }
        ("landlock", _) => {
            "use a kernel from 5.13 on with Landlock enabled (boot parameter lsm=landlock,...)"
                .to_owned()
        }
        ("job-user", _) => {
            "run the server as an ordinary user, or give it the capabilities SETUID and SETGID"
                .to_owned()
        }
        ("version", _) => "install bindery and bindery-sandbox of the same version".to_owned(),
        _ => format!("see the reason; {l1}"),
    }
}

fn full_text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
