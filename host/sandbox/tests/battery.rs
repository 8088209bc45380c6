//! The abuse battery: what a hostile engine attempts, and what must come of it at each level.
//!
//! Numbers in the tables are those of the security specification.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use bindery_sandbox::{SandboxLevel, SyscallPolicy, TestKnobs};
use common::{Fixture, PROBE, at_each_level};

const EPERM: i32 = libc::EPERM;
const EACCES: i32 = libc::EACCES;
const ENOENT: i32 = libc::ENOENT;
const EROFS: i32 = libc::EROFS;
const ENOSYS: i32 = libc::ENOSYS;
const ESRCH: i32 = libc::ESRCH;

/// One attempt: number and arguments, and the errors that may refuse it at L2 and at L1. An empty
/// list says that it must succeed.
struct Case<'a>(&'a str, &'a [&'a str], &'a [i32], &'a [i32]);

impl Case<'_> {
    /// What went wrong, if anything.
    async fn fault(&self, fixture: &Fixture, level: SandboxLevel) -> Option<String> {
        let Case(number, arguments, at_l2, at_l1) = self;
        let expected = if level == SandboxLevel::L2 {
            at_l2
        } else {
            at_l1
        };
        let found = fixture.attempt(arguments).await;
        let right = if expected.is_empty() {
            found == "allowed"
        } else {
            expected
                .iter()
                .any(|errno| found == format!("denied {errno}"))
        };
        (!right).then(|| format!("{level} {number} {arguments:?}: {found}, not {expected:?}"))
    }
}

/// What the cases need on the host: another job's file, a listener, a world-writable directory.
struct Bait {
    directory: tempfile::TempDir,
    listener: TcpListener,
}

impl Bait {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "secret").unwrap();
        std::fs::set_permissions(secret, PermissionsExt::from_mode(0o644)).unwrap();
        Self {
            directory,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn port(&self) -> String {
        self.listener.local_addr().unwrap().port().to_string()
    }
}

/// All attempts that are one call, at one level; the faults.
async fn faults(fixture: &Fixture, level: SandboxLevel) -> Vec<String> {
    let bait = Bait::new();
    let (secret, outside, port) = (bait.path("secret"), bait.path("new"), bait.port());
    let host = std::process::id().to_string();
    let up = format!("../../../../../../../..{secret}");
    let cases = [
        // Files of the machine.
        Case("N1", &["read", "/etc/passwd"], &[ENOENT], &[EACCES]),
        Case("N2", &["read", "/etc/shadow"], &[ENOENT], &[EACCES]),
        Case("N3", &["read", "/proc/1/environ"], &[ENOENT], &[EACCES]),
        Case("N3", &["read", "/proc/self/maps"], &[ENOENT], &[EACCES]),
        Case("N4", &["read", "/dev/vda"], &[ENOENT], &[EACCES, ENOENT]),
        Case("N4", &["read", "/dev/tty"], &[ENOENT], &[EACCES, ENOENT]),
        Case("N5", &["read", &secret], &[ENOENT], &[EACCES]),
        Case("N5", &["read", &up], &[ENOENT], &[EACCES]),
        // At L2 that is the run's own /tmp.
        Case("N5", &["list", ".."], &[], &[EACCES]),
        Case("N5", &["list", "../.."], &[EACCES], &[EACCES]),
        // That L1 tells what exists is a known gap.
        Case("N6", &["stat", &secret], &[ENOENT], &[]),
        Case("N7", &["write", "/usr/abuse"], &[EROFS, EACCES], &[EACCES]),
        Case("N7", &["write", "/abuse"], &[EROFS, EACCES], &[EACCES]),
        Case("N7", &["append", PROBE], &[EROFS, EACCES], &[EACCES]),
        Case("N7", &["truncate", PROBE], &[EROFS, EACCES], &[EACCES]),
        Case("N8", &["write", "/tmp/abuse"], &[], &[EACCES]),
        Case("N8", &["write", &outside], &[ENOENT], &[EACCES]),
        Case(
            "N8",
            &["rename", PROBE, "stolen"],
            &[EROFS, EACCES, libc::EXDEV, libc::EBUSY],
            &[EACCES, libc::EXDEV],
        ),
        // What an engine needs.
        Case("-", &["read", "/dev/urandom"], &[], &[]),
        Case("-", &["write", "/dev/null"], &[], &[]),
        Case("-", &["write", "file"], &[], &[]),
        Case("-", &["read", "/usr/bin/true"], &[], &[]),
        Case("-", &["limits-of", "0"], &[], &[]),
        // Network and sockets.
        Case("N9", &["tcp", &port], &[EPERM], &[EPERM]),
        Case("N10", &["udp"], &[EPERM], &[EPERM]),
        Case("N11", &["abstract-socket"], &[EPERM], &[EPERM]),
        Case("N11", &["socket-pair"], &[EPERM], &[EPERM]),
        // The kernel.
        Case("N12", &["io-uring"], &[EPERM], &[EPERM]),
        Case("N13", &["user-namespace"], &[EPERM], &[EPERM]),
        Case("N13", &["clone-namespace"], &[EPERM], &[EPERM]),
        Case("N13", &["clone3"], &[ENOSYS], &[ENOSYS]),
        Case("N13", &["openat2"], &[ENOSYS], &[ENOSYS]),
        Case("N13", &["mount"], &[EPERM], &[EPERM]),
        Case("N13", &["chroot"], &[EPERM], &[EPERM]),
        Case("N14", &["bpf"], &[EPERM], &[EPERM]),
        Case("N15", &["keyctl"], &[EPERM], &[EPERM]),
        Case("N16", &["perf"], &[EPERM], &[EPERM]),
        Case("N17", &["set-time"], &[EPERM], &[EPERM]),
        Case("N17", &["setuid"], &[EPERM], &[EPERM]),
        // Other processes.
        Case("N18", &["trace", &host], &[EPERM, ESRCH], &[EPERM]),
        Case("N18", &["read-memory", &host], &[EPERM, ESRCH], &[EPERM]),
        Case("N19", &["kill", &host], &[EPERM, ESRCH], &[EPERM]),
        Case("N19", &["tgkill", &host], &[EPERM, ESRCH], &[EPERM]),
        Case("N19", &["kill", "1"], &[EPERM], &[EPERM]),
        Case("N20", &["kill", "-1"], &[EPERM, ESRCH], &[EPERM]),
        Case("N20", &["kill", "0"], &[EPERM, ESRCH], &[EPERM]),
        Case("N20", &["signal-owner", &host], &[EPERM], &[EPERM]),
        Case("N20", &["limits-of", &host], &[EPERM], &[EPERM]),
        Case("N20", &["outlive"], &[EPERM], &[EPERM]),
        Case("N20", &["type-into-terminal"], &[EPERM], &[EPERM]),
        Case("N21", &["fork"], &[EPERM], &[EPERM]),
        Case("N21", &["run-child", "/bin/true"], &[EPERM], &[EPERM]),
        Case("N23", &["raise-limit"], &[EPERM], &[EPERM]),
        // Names that mislead whoever collects.
        Case("N29", &["symlink"], &[EPERM], &[EPERM]),
        Case("N30", &["hardlink"], &[EPERM], &[EPERM]),
        Case("N31", &["fifo"], &[EPERM], &[EPERM]),
        Case("N31", &["device"], &[EPERM], &[EPERM]),
        Case("N31", &["attribute"], &[EPERM], &[EPERM]),
        Case("N32", &["setuid-bit"], &[EPERM], &[EPERM]),
        Case("N32", &["setgid-bit"], &[EPERM], &[EPERM]),
        Case("N32", &["setuid-create"], &[EPERM], &[EPERM]),
        Case("N33", &["execute-dropped"], &[EACCES], &[EACCES]),
        Case("N34", &["execute", "/bin/su"], &[EACCES], &[EACCES]),
        Case("N34", &["execute", "/bin/sh"], &[EACCES], &[EACCES]),
        Case("N35", &["inherited"], &[libc::EBADF], &[libc::EBADF]),
        Case("N36", &["memfd"], &[EPERM], &[EPERM]),
        Case("N36", &["sysv-memory"], &[EPERM], &[EPERM]),
        Case("N36", &["posix-memory"], &[ENOENT], &[EACCES]),
        Case("N36", &["x32"], &[ENOSYS], &[ENOSYS]),
        Case("N41", &["read-stdin"], &[], &[]),
    ];
    let mut faults = Vec::new();
    for case in &cases {
        faults.extend(case.fault(fixture, level).await);
    }
    if std::fs::exists(bait.path("new")).unwrap() {
        faults.push(format!("{level}: a file was written outside"));
    }
    faults
}

async fn level_holds(level: SandboxLevel) {
    let Some(fixture) = Fixture::new(level).await else {
        return;
    };
    // Held open by this process and not marked to close: N35.
    let leaked = std::fs::File::open("/dev/null").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let faults = faults(&fixture, level).await;
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn l2_refuses_every_attempt() {
    level_holds(SandboxLevel::L2).await;
}

#[tokio::test]
async fn l1_refuses_every_attempt() {
    level_holds(SandboxLevel::L1).await;
}

/// A battery that passes without a wall proves nothing about that wall.
#[tokio::test]
async fn the_battery_and_the_self_test_notice_a_missing_wall() {
    let missing: [(&str, SandboxLevel, TestKnobs, &[&str], &str); 4] = [
        (
            "seccomp",
            SandboxLevel::L2,
            TestKnobs {
                without_seccomp: true,
                ..TestKnobs::default()
            },
            &["N13", "N21", "N30", "N32", "N36"],
            "start-process",
        ),
        (
            "seccomp",
            SandboxLevel::L1,
            TestKnobs {
                without_seccomp: true,
                ..TestKnobs::default()
            },
            &["N10", "N13", "N21", "N30", "N32", "N36"],
            "start-process",
        ),
        (
            "landlock",
            SandboxLevel::L2,
            TestKnobs {
                without_landlock: true,
                ..TestKnobs::default()
            },
            &["N34"],
            "",
        ),
        (
            "landlock",
            SandboxLevel::L1,
            TestKnobs {
                without_landlock: true,
                ..TestKnobs::default()
            },
            &["N1", "N5", "N8", "N33"],
            "read-passwords",
        ),
    ];
    for (wall, level, knobs, numbers, self_test_case) in missing {
        if !common::offered(level).await {
            continue;
        }
        let fixture = Fixture::with(TestKnobs {
            force_level: Some(level),
            ..knobs
        })
        .await;
        let faults = faults(&fixture, level).await;
        // What gets through leaves traces.
        let _ = std::fs::remove_file("/tmp/abuse");
        let _ = std::fs::remove_file("/dev/shm/abuse");
        for number in numbers {
            assert!(
                faults
                    .iter()
                    .any(|fault| fault.starts_with(&format!("{level} {number} "))),
                "{level} without {wall}: {number} went unnoticed; noticed were {faults:#?}"
            );
        }
        // Landlock is the second wall at L2, so nothing falls there that the self-test looks at.
        if !self_test_case.is_empty() {
            let fixture = Fixture::with(TestKnobs {
                only_level: Some(level),
                ..knobs
            })
            .await;
            let reason = fixture
                .sandbox
                .status()
                .unavailable
                .clone()
                .map(|why| why.reason)
                .unwrap_or_default();
            assert_eq!(fixture.sandbox.status().level, None);
            assert!(reason.contains(self_test_case), "{reason}");
        }
    }
}

#[tokio::test]
async fn unexamined_programs_run_without_the_dangerous_calls() {
    at_each_level(async |fixture, _| {
        for (attempt, expected) in [
            (vec!["udp"], format!("denied {EPERM}")),
            (vec!["fork"], format!("denied {EPERM}")),
            (vec!["x32"], format!("denied {ENOSYS}")),
            (vec!["clone3"], format!("denied {ENOSYS}")),
            (vec!["openat2"], format!("denied {ENOSYS}")),
            (vec!["outlive"], format!("denied {EPERM}")),
            (vec!["setuid-create"], format!("denied {EPERM}")),
            (vec!["write", "file"], "allowed".to_owned()),
        ] {
            let mut spec = fixture.probe(&attempt);
            spec.profile.syscalls = SyscallPolicy::DenyList;
            let report = fixture.run(spec).await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&report.stdout.bytes).trim(),
                expected,
                "{attempt:?}"
            );
        }
    })
    .await;
}
