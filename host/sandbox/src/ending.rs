//! From what the kernel says to what it means.
//!
//! The kernel says plainly that a file's size ran out: by a signal of its own. Cpu time ends with
//! the plain SIGKILL, which inside the walls nobody else can send; the kernel counts it by clock
//! ticks and more coarsely than the usage it reports, so half the limit in the report is enough to
//! tell it from a kill by an administrator or for want of the machine's memory.
//!
//! It does not say that a run's own memory ran out: an allocation fails, and what follows is the engine's affair. So that
//! is inferred, from a failed run (a signal, or an exit code other than 0) with either a peak
//! resident set of three quarters of the limit, or the words with which the usual language
//! runtimes report a failed allocation at the end of standard error. A program that asks for too
//! much at once and then exits in silence is taken for one that failed by itself.

use std::time::Duration;

use crate::wire::{Death, End, KillReason};
use crate::{Ending, Limits, OutputOutcome, OutputReport, Usage};

/// How runtimes say that an allocation failed: C++, the C library, Rust, Python.
const MEMORY_WORDS: [&[u8]; 5] = [
    b"bad_alloc",
    b"Cannot allocate memory",
    b"memory allocation of",
    b"MemoryError",
    b"ut of memory",
];
/// `ENOSPC` and `EFBIG` in words.
const DISK_WORDS: [&[u8]; 2] = [b"No space left on device", b"File too large"];
/// Last words are short.
const LAST_WORDS_BYTES: usize = 4096;

pub(crate) fn usage(end: &End) -> Usage {
    Usage {
        wall: Duration::from_micros(end.wall_us),
        cpu_user: Duration::from_micros(end.cpu_user_us),
        cpu_system: Duration::from_micros(end.cpu_system_us),
        peak_memory_bytes: end.peak_memory_bytes,
    }
}

/// `stderr` is the kept part of standard error.
pub(crate) fn classify(end: &End, limits: &Limits, stderr: &[u8]) -> Ending {
    match end.killed_for {
        Some(KillReason::Stopped) => return Ending::Cancelled,
        Some(KillReason::Deadline) => return Ending::TimedOut,
        Some(KillReason::WorkFull) => return Ending::DiskExceeded,
        None => {}
    }
    let used = usage(end);
    let cpu_spent = used.cpu_user.saturating_add(used.cpu_system)
        >= Duration::from_secs(cpu_seconds(limits)) / 2;
    match end.death {
        Death::Signaled(libc::SIGXCPU) => return Ending::CpuExceeded,
        Death::Signaled(libc::SIGKILL) if cpu_spent => return Ending::CpuExceeded,
        Death::Signaled(libc::SIGXFSZ) => return Ending::DiskExceeded,
        _ => {}
    }
    if end.work_full {
        return Ending::DiskExceeded;
    }
    if end.death == Death::Exited(0) {
        return Ending::Exited(0);
    }
    let last_words = stderr
        .get(stderr.len().saturating_sub(LAST_WORDS_BYTES)..)
        .unwrap_or_default();
    let says = |words: &[&[u8]]| words.iter().any(|words| contains(last_words, words));
    if used.peak_memory_bytes >= limits.memory_bytes / 4 * 3 || says(&MEMORY_WORDS) {
        return Ending::MemoryExceeded;
    }
    if says(&DISK_WORDS) {
        return Ending::DiskExceeded;
    }
    match end.death {
        Death::Exited(code) => Ending::Exited(code),
        Death::Signaled(signal) => Ending::Crashed { signal },
    }
}

/// The cpu limit as the kernel takes it.
pub(crate) fn cpu_seconds(limits: &Limits) -> u64 {
    limits
        .cpu
        .as_secs()
        .saturating_add(u64::from(limits.cpu.subsec_nanos() > 0))
}

/// Whether an output ends where the limit of a file's size is, and so perhaps too early.
pub(crate) fn is_cut(outputs: &[OutputReport], file_bytes: u64) -> bool {
    outputs.iter().any(|output| match output.outcome {
        OutputOutcome::Collected { size_bytes, .. } => size_bytes >= file_bytes,
        _ => false,
    })
}

fn contains(text: &[u8], words: &[u8]) -> bool {
    text.windows(words.len()).any(|window| window == words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: fn() -> Limits = || Limits {
        cpu: Duration::from_millis(1500),
        memory_bytes: 1 << 30,
        ..Limits::default()
    };

    fn death(death: Death) -> End {
        End {
            killed_for: None,
            death,
            wall_us: 1000,
            cpu_user_us: 1000,
            cpu_system_us: 0,
            peak_memory_bytes: 4 << 20,
            work_full: false,
        }
    }

    fn check(end: &End, stderr: &str, expected: Ending) {
        assert_eq!(
            classify(end, &LIMITS(), stderr.as_bytes()),
            expected,
            "{end:?} {stderr:?}"
        );
    }

    #[test]
    fn plain_ends_keep_their_codes() {
        for code in [0, 1, 125, 137] {
            check(&death(Death::Exited(code)), "", Ending::Exited(code));
        }
        check(
            &death(Death::Signaled(11)),
            "",
            Ending::Crashed { signal: 11 },
        );
        check(
            &death(Death::Signaled(9)),
            "",
            Ending::Crashed { signal: 9 },
        );
    }

    #[test]
    fn what_the_supervisor_did_comes_first() {
        let reasons = [
            (KillReason::Stopped, Ending::Cancelled),
            (KillReason::Deadline, Ending::TimedOut),
            (KillReason::WorkFull, Ending::DiskExceeded),
        ];
        for (reason, expected) in reasons {
            let end = End {
                killed_for: Some(reason),
                work_full: true,
                ..death(Death::Signaled(9))
            };
            check(&end, "std::bad_alloc", expected);
        }
    }

    #[test]
    fn limits_that_the_kernel_reports() {
        check(
            &death(Death::Signaled(libc::SIGXCPU)),
            "",
            Ending::CpuExceeded,
        );
        check(
            &death(Death::Signaled(libc::SIGXFSZ)),
            "",
            Ending::DiskExceeded,
        );
        let spent = End {
            cpu_user_us: 1_000_000,
            cpu_system_us: 10_000,
            ..death(Death::Signaled(9))
        };
        check(&spent, "", Ending::CpuExceeded);
        check(
            &End {
                death: Death::Exited(137),
                ..spent
            },
            "",
            Ending::Exited(137),
        );
    }

    #[test]
    fn memory_is_inferred_from_size_or_words() {
        let large = End {
            peak_memory_bytes: 900 << 20,
            ..death(Death::Exited(1))
        };
        check(&large, "", Ending::MemoryExceeded);
        check(
            &End {
                death: Death::Exited(0),
                ..large
            },
            "",
            Ending::Exited(0),
        );
        let aborted = death(Death::Signaled(6));
        check(
            &aborted,
            "terminate called after throwing 'std::bad_alloc'",
            Ending::MemoryExceeded,
        );
        check(
            &death(Death::Exited(0)),
            "std::bad_alloc",
            Ending::Exited(0),
        );
        let early = format!("std::bad_alloc{}", " ".repeat(LAST_WORDS_BYTES));
        check(&aborted, &early, Ending::Crashed { signal: 6 });
    }

    #[test]
    fn a_full_work_directory_spoils_even_success() {
        check(
            &End {
                work_full: true,
                ..death(Death::Exited(0))
            },
            "",
            Ending::DiskExceeded,
        );
        check(
            &death(Death::Exited(1)),
            "write: No space left on device",
            Ending::DiskExceeded,
        );
    }
}
