//! Which system calls an engine may make.
//!
//! Every call has a verdict, perhaps with a look at its arguments. Calls that would reach outside
//! fail with `EPERM`. Under the *allow-list*, calls that are known and harmless pass, and whatever
//! is not known fails with `ENOSYS`, as on an old kernel, so that libraries fall back. Under the
//! *deny-list*, for programs that nobody examined, the unknown passes.
//!
//! `clone3` and `openat2` fail with `ENOSYS` under both: they hide flags in memory, where a filter
//! cannot look.

use std::collections::BTreeMap;

use libc::c_long;

use crate::SyscallPolicy;

mod calls;
mod program;

use calls::{ALLOWED, ALLOWED_WITH_CHILDREN, IOCTLS, PRCTLS, REFUSED};
use program::{Answer, Condition, Verdict};

const REFUSE: Answer = Answer::Fail(libc::EPERM);
const UNKNOWN: Answer = Answer::Fail(libc::ENOSYS);

#[derive(Debug, thiserror::Error)]
pub(super) enum FilterError {
    #[error("the filter is too long")]
    TooLong,
    #[error("cannot install the filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// Installs the filter for this process, for good. `own_pid` is the one process that it may signal
/// unless it may have children.
pub(super) fn apply(
    policy: SyscallPolicy,
    allow_fork: bool,
    own_pid: u32,
) -> Result<(), FilterError> {
    let (verdicts, otherwise) = verdicts(policy, allow_fork, own_pid);
    let program = program::assemble(&verdicts, otherwise).ok_or(FilterError::TooLong)?;
    Ok(seccompiler::apply_filter(&program)?)
}

/// The table, and the answer to what it does not hold.
fn verdicts(
    policy: SyscallPolicy,
    allow_fork: bool,
    own_pid: u32,
) -> (BTreeMap<u32, Verdict>, Answer) {
    let otherwise = match policy {
        SyscallPolicy::AllowList => UNKNOWN,
        SyscallPolicy::DenyList => Answer::Allow,
    };
    let mut table = BTreeMap::new();
    let mut set = |call: c_long, verdict: Verdict| {
        // All call numbers are small and positive.
        if let Ok(number) = u32::try_from(call) {
            table.insert(number, verdict);
        }
    };
    for &call in ALLOWED {
        set(call, Answer::Allow.into());
    }
    for &call in ALLOWED_WITH_CHILDREN {
        set(call, if allow_fork { Answer::Allow } else { REFUSE }.into());
    }
    for &call in REFUSED {
        set(call, REFUSE.into());
    }
    for call in [libc::SYS_clone3, libc::SYS_openat2] {
        set(call, UNKNOWN.into());
    }
    set(libc::SYS_clone, clone(allow_fork));
    // With children, signals reach what the process namespace holds; without, the only process to
    // signal is oneself, as `abort` does.
    if !allow_fork {
        for call in [libc::SYS_kill, libc::SYS_tgkill] {
            set(call, refuse_if(vec![vec![not_equal(0, own_pid)]]));
        }
    }
    // Another process' limits; the call with 0 is how libraries read their own.
    set(libc::SYS_prlimit64, refuse_if(vec![vec![not_equal(0, 0)]]));
    // What would loosen the ties to supervisor and init.
    set(
        libc::SYS_prctl,
        pick(0, &calls::PRCTLS_REFUSED, &PRCTLS, otherwise),
    );
    // Characters put into a terminal's input, and the consoles' clipboard.
    let terminals = [calls::TIOCSTI, calls::TIOCLINUX];
    set(libc::SYS_ioctl, pick(1, &terminals, &IOCTLS, otherwise));
    // Signals for events on a descriptor, of any number, to any process of the same user.
    let owners = [
        libc::F_SETOWN,
        calls::F_SETSIG,
        calls::F_SETOWN_EX,
        libc::F_SETLEASE,
        libc::F_NOTIFY,
    ];
    set(libc::SYS_fcntl, pick(1, &owners, &[], Answer::Allow));
    // Files that lend their owner's identity to whoever executes them.
    for (call, mode) in calls::MODE_ARGUMENTS {
        set(call, refuse_if(set_id_bits(&[], mode)));
    }
    for (call, flags, mode) in calls::CREATE_ARGUMENTS {
        // Without one of these flags the mode is not looked at and may hold anything.
        let creates = [libc::O_CREAT, libc::O_TMPFILE]
            .into_iter()
            .flat_map(|flag| set_id_bits(&[has(flags, flag)], mode));
        set(call, refuse_if(creates.collect()));
    }
    (table, otherwise)
}

/// New namespaces never, new processes if allowed, threads always.
fn clone(allow_fork: bool) -> Verdict {
    let namespaces = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    let mut refused: Vec<_> = namespaces.iter().map(|&flag| vec![has(0, flag)]).collect();
    if !allow_fork {
        let thread = libc::CLONE_THREAD.cast_unsigned();
        refused.push(vec![Condition {
            argument: 0,
            mask: thread,
            value: 0,
            equal: true,
        }]);
    }
    refuse_if(refused)
}

fn set_id_bits(first: &[Condition], mode: u8) -> Vec<Vec<Condition>> {
    [libc::S_ISUID, libc::S_ISGID]
        .iter()
        .map(|&bit| {
            let bit = Condition {
                argument: mode,
                mask: bit,
                value: bit,
                equal: true,
            };
            [first, &[bit]].concat()
        })
        .collect()
}

/// Refuses when all conditions of one of the groups hold.
fn refuse_if(groups: Vec<Vec<Condition>>) -> Verdict {
    Verdict {
        rules: groups.into_iter().map(|group| (group, REFUSE)).collect(),
        otherwise: Answer::Allow,
    }
}

/// Decides by the value of one argument.
fn pick(argument: u8, refused: &[i32], allowed: &[i32], otherwise: Answer) -> Verdict {
    let is = |value: &i32| {
        vec![Condition {
            argument,
            mask: u32::MAX,
            value: value.cast_unsigned(),
            equal: true,
        }]
    };
    let rules = refused.iter().map(|value| (is(value), REFUSE));
    let rules = rules.chain(allowed.iter().map(|value| (is(value), Answer::Allow)));
    Verdict {
        rules: rules.collect(),
        otherwise,
    }
}

const fn not_equal(argument: u8, value: u32) -> Condition {
    Condition {
        argument,
        mask: u32::MAX,
        value,
        equal: false,
    }
}

/// All bits of a flag are set.
const fn has(argument: u8, flag: i32) -> Condition {
    Condition {
        argument,
        mask: flag.cast_unsigned(),
        value: flag.cast_unsigned(),
        equal: true,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn every_table_fits_into_a_program() {
        for policy in [SyscallPolicy::AllowList, SyscallPolicy::DenyList] {
            for allow_fork in [false, true] {
                let (table, otherwise) = verdicts(policy, allow_fork, 2);
                assert!(program::assemble(&table, otherwise).is_some());
            }
        }
    }

    #[test]
    fn no_call_stands_in_two_lists() {
        let mut all = [ALLOWED, ALLOWED_WITH_CHILDREN, REFUSED].concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
