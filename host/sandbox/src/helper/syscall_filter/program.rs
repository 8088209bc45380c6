//! From verdicts to a program for the kernel.
//!
//! A search tree over the call numbers, with the tests of arguments at its leaves. The kernel runs
//! the program once for every known number when it is installed, and for each call whose verdict
//! depends on arguments after that: with a list in place of the tree, installing takes longer than
//! all other walls together.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, sock_filter};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Allow,
    /// An error number.
    Fail(i32),
}

/// What becomes of a call, with a look at its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The first whose conditions all hold decides.
    pub(super) rules: Vec<(Vec<Condition>, Answer)>,
    pub(super) otherwise: Answer,
}

impl From<Answer> for Verdict {
    fn from(otherwise: Answer) -> Self {
        Self {
            rules: Vec::new(),
            otherwise,
        }
    }
}

/// A test of the lower half of an argument, all that C's `int` and every flag here takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// Which argument, from 0 to 5.
    pub(super) argument: u8,
    pub(super) mask: u32,
    pub(super) value: u32,
    /// Whether the masked argument must equal the value, or must not.
    pub(super) equal: bool,
}

/// Offsets in `struct seccomp_data`, and the code that the kernel gives this architecture.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3;

/// Numbers from here on are the x32 interface's second names for calls, by which they would slip
/// past their verdicts. No other architecture has any.
const X32_BIT: u32 = 0x4000_0000;

/// Instruction codes of classic BPF: load a word, and with a constant, return a constant, and
/// jumps on equal, on at least, and always.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const JUMP: u16 = 0x05;

/// The program that gives each call its verdict and all others the answer `otherwise`. Calls of
/// another architecture kill the process, and those of x32 fail with `ENOSYS`. `None` when it is too long, which the lists here, by
/// test, are not.
pub(super) fn assemble(verdicts: &BTreeMap<u32, Verdict>, otherwise: Answer) -> Option<BpfProgram> {
    let mut program = vec![
        statement(LOAD, ARCHITECTURE_OFFSET),
        branch(IF_EQUAL, ARCHITECTURE, 1, 0),
        statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        statement(LOAD, NUMBER_OFFSET),
    ];
    program.extend(tree(&ranges(verdicts, &otherwise.into()))?);
    (program.len() <= usize::from(u16::MAX) && program.len() <= LENGTH_MAX).then_some(program)
}

/// The kernel's `BPF_MAXINSNS`.
const LENGTH_MAX: usize = 4096;

/// First numbers of runs of equal verdicts, from 0 on.
fn ranges<'a>(
    verdicts: &'a BTreeMap<u32, Verdict>,
    otherwise: &Verdict,
) -> Vec<(u32, std::borrow::Cow<'a, Verdict>)> {
    use std::borrow::Cow;
    let mut ranges: Vec<(u32, Cow<'a, Verdict>)> = Vec::new();
    let mut next = 0;
    let mut add = |first: u32, verdict: Cow<'a, Verdict>| {
        if ranges.last().is_none_or(|(_, last)| **last != *verdict) {
            ranges.push((first, verdict));
        }
    };
    for (number, verdict) in verdicts {
        if *number > next {
            add(next, Cow::Owned(otherwise.clone()));
        }
        add(*number, Cow::Borrowed(verdict));
        next = number.saturating_add(1);
    }
    add(next, Cow::Owned(otherwise.clone()));
    add(X32_BIT, Cow::Owned(Answer::Fail(libc::ENOSYS).into()));
    ranges
}

/// Finds the last range that begins at or below the loaded number.
fn tree(ranges: &[(u32, std::borrow::Cow<'_, Verdict>)]) -> Option<BpfProgram> {
    let (below, above) = match ranges {
        [] => return None,
        [(_, verdict)] => return leaf(verdict),
        _ => ranges.split_at_checked(ranges.len() / 2)?,
    };
    let (first_above, _) = above.first()?;
    let (below, above) = (tree(below)?, tree(above)?);
    // A conditional jump reaches 255 instructions; the plain one behind it reaches anywhere.
    let mut program = vec![
        branch(IF_AT_LEAST, *first_above, 0, 1),
        statement(JUMP, u32::try_from(below.len()).ok()?),
    ];
    program.extend(below);
    program.extend(above);
    Some(program)
}

fn leaf(verdict: &Verdict) -> Option<BpfProgram> {
    let mut program = Vec::new();
    for (conditions, answer) in &verdict.rules {
        // Each condition takes three instructions; the answer follows the last.
        for (index, condition) in conditions.iter().enumerate() {
            let behind = conditions.len().checked_sub(index)?.checked_sub(1)?;
            let to_next_rule = u8::try_from(behind.checked_mul(3)?.checked_add(1)?).ok()?;
            let offset = u32::from(condition.argument)
                .checked_mul(8)?
                .checked_add(ARGUMENTS_OFFSET)?;
            // The lower half comes first: every supported architecture is little-endian.
            program.push(statement(LOAD, offset));
            program.push(statement(AND, condition.mask));
            program.push(if condition.equal {
                branch(IF_EQUAL, condition.value, 0, to_next_rule)
            } else {
                branch(IF_EQUAL, condition.value, to_next_rule, 0)
            });
        }
        program.push(give(*answer));
    }
    program.push(give(verdict.otherwise));
    Some(program)
}

fn give(answer: Answer) -> sock_filter {
    match answer {
        Answer::Allow => statement(RETURN, libc::SECCOMP_RET_ALLOW),
        Answer::Fail(errno) => {
            let number = errno.cast_unsigned() & libc::SECCOMP_RET_DATA;
            statement(RETURN, libc::SECCOMP_RET_ERRNO | number)
        }
    }
}

const fn statement(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// `jt` and `jf` count the instructions to skip when the test holds and when it does not.
const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "test"
    )]

    use super::*;

    /// Runs a program as the kernel would.
    fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut word) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let mut jump = |test: bool| at += usize::from(if test { jt } else { jf });
            match code {
                LOAD if k == NUMBER_OFFSET => word = number,
                LOAD if k == ARCHITECTURE_OFFSET => word = architecture,
                LOAD => {
                    word = arguments[(k - ARGUMENTS_OFFSET) as usize / 8] as u32;
                }
                AND => word &= k,
                IF_EQUAL => jump(word == k),
                IF_AT_LEAST => jump(word >= k),
                JUMP => at += k as usize,
                RETURN => return k,
                _ => panic!("unknown code {code}"),
            }
        }
    }

    /// What a verdict says, read plainly.
    fn expected(verdict: &Verdict, arguments: [u64; 6]) -> u32 {
        let holds = |condition: &Condition| {
            let word = arguments[usize::from(condition.argument)] as u32 & condition.mask;
            (word == condition.value) == condition.equal
        };
        let rule = verdict
            .rules
            .iter()
            .find(|(conditions, _)| conditions.iter().all(holds));
        give(rule.map_or(verdict.otherwise, |(_, answer)| *answer)).k
    }

    fn condition(argument: u8, mask: u32, value: u32, equal: bool) -> Condition {
        Condition {
            argument,
            mask,
            value,
            equal,
        }
    }

    #[test]
    fn programs_give_each_number_its_verdict() {
        let looked_at = Verdict {
            rules: vec![
                (
                    vec![
                        condition(1, 0xff, 7, true),
                        condition(5, u32::MAX, 0, false),
                    ],
                    Answer::Fail(1),
                ),
                (vec![condition(0, u32::MAX, 9, true)], Answer::Fail(2)),
            ],
            otherwise: Answer::Allow,
        };
        let verdicts: BTreeMap<u32, Verdict> = [
            (0, Answer::Allow.into()),
            (1, Answer::Allow.into()),
            (2, looked_at.clone()),
            (5, Answer::Fail(1).into()),
            (400, looked_at),
            (401, Answer::Allow.into()),
        ]
        .into();
        let otherwise = Verdict::from(Answer::Allow);
        let program = assemble(&verdicts, otherwise.otherwise).unwrap();
        let foreign = Verdict::from(Answer::Fail(libc::ENOSYS));
        for number in (0..450).chain([X32_BIT - 1, X32_BIT, X32_BIT | 1, u32::MAX]) {
            let verdict = match number {
                X32_BIT.. => &foreign,
                _ => verdicts.get(&number).unwrap_or(&otherwise),
            };
            for arguments in [
                [0; 6],
                [9, 0, 0, 0, 0, 0],
                [9, 7, 0, 0, 0, 0],
                [9, 0x107, 0, 0, 0, 1],
                [0xf_0000_0009, 0, 0, 0, 0, 1],
            ] {
                let found = run(&program, ARCHITECTURE, number, arguments);
                assert_eq!(
                    found,
                    expected(verdict, arguments),
                    "{number} {arguments:?}"
                );
            }
        }
        let foreign = run(&program, 0x4000_0003, 0, [0; 6]);
        assert_eq!(foreign, libc::SECCOMP_RET_KILL_PROCESS);
    }
}
