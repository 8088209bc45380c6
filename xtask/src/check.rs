//! `cargo xtask test`: everything that CI runs, cheapest first.
//!
//! A *step* is a check (formatting, lints, rules, documentation) or a run of tests. A check
//! counts as one test; a run counts its own. The last line printed is always `N passed, N failed`.

use std::{process::Command, time::Instant};

use anyhow::{Result, bail};

use crate::{
    command::{watch, words, works},
    dist, guests,
    project::{Project, WASM_TARGET, Workspace},
    setup, tidy,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out what takes longest: black-box tests, documentation, dependency audit
    #[arg(long)]
    quick: bool,
    /// Go on after a step that failed
    #[arg(long)]
    keep_going: bool,
}

pub(crate) fn check(project: &Project, arguments: &Arguments) -> Result<()> {
    let mut session = Session {
        project,
        keep_going: arguments.keep_going,
        steps: Vec::new(),
        stopped: false,
    };
    steps(&mut session, arguments.quick);
    session.conclude()
}

fn steps(session: &mut Session<'_>, quick: bool) {
    let project = session.project;
    for workspace in Workspace::ALL {
        let mut command = project.cargo(workspace, "fmt");
        session.program(command.args(["--all", "--check"]));
    }
    session.function("tidy", || tidy::tidy(project));
    session.function("setup", || setup::setup(project));
    session.function("build-guests", || guests::build(project));
    guest_steps(session);
    host_steps(session, quick);
    if quick {
        session.skip(
            "black-box tests, documentation and dependency audit",
            "asked for with --quick",
        );
        return;
    }
    documentation_steps(session);
    audit_steps(session);
}

/// What may be part of the project (`deny.toml`), of every workspace.
fn audit_steps(session: &mut Session<'_>) {
    let project = session.project;
    session.function("cargo-deny", || setup::cargo_deny(project).map(drop));
    for workspace in Workspace::ALL {
        let mut command = Command::new(setup::cargo_deny_program(project));
        command.current_dir(project.root());
        command.arg("--manifest-path").arg(workspace.manifest());
        command
            .arg("--config")
            .arg(project.root().join("deny.toml"));
        // Advisories come from the network: a nightly job's, not every change's.
        session.program(command.args(["check", "bans", "licenses", "sources"]));
    }
}

/// Lints and tests of what runs in components; its logic is tested natively.
fn guest_steps(session: &mut Session<'_>) {
    let project = session.project;
    for workspace in [Workspace::Plugins, Workspace::Sdk, Workspace::Example] {
        let mut command = project.cargo(workspace, "clippy");
        command.args(["--locked", "--workspace", "--all-targets"]);
        session.program(command.args(["--", "-D", "warnings"]));
    }
    for (workspace, selection) in [
        (Workspace::Plugins, "--lib"),
        (Workspace::Example, "--lib"),
        (Workspace::TestGuests, "--examples"),
        (Workspace::FrozenGuest, "--lib"),
    ] {
        let mut command = project.cargo(workspace, "clippy");
        command.args(["--locked", "--release", "--target", WASM_TARGET, selection]);
        session.program(command.args(["--", "-D", "warnings"]));
    }
    for workspace in [Workspace::Plugins, Workspace::Sdk, Workspace::Example] {
        let mut command = project.cargo(workspace, "test");
        session.tests(command.args(["--locked", "--workspace", "--no-fail-fast"]));
    }
}

fn host_steps(session: &mut Session<'_>, quick: bool) {
    let project = session.project;
    let mut command = project.cargo(Workspace::Host, "clippy");
    command.args(["--locked", "--release", "--workspace", "--all-targets"]);
    session.program(command.args(["--", "-D", "warnings"]));
    // Tests and programs in one build: cargo would build dependencies anew for a part of the
    // workspace that asks for fewer of their features.
    let mut command = project.cargo(Workspace::Host, "build");
    session.program(command.args(["--locked", "--release", "--workspace", "--all-targets"]));
    session.function("target/dist", || dist::assemble(project));
    let selection: &[&str] = if quick {
        &["--exclude", "bindery-integration"]
    } else {
        &[]
    };
    let mut command = if works("cargo", &["nextest", "--version"]) {
        // cargo finds `nextest` as a program of its own, which takes the same options.
        let mut command = project.cargo(Workspace::Host, "nextest");
        command.args(["run", "--no-fail-fast"]);
        command
    } else {
        let mut command = project.cargo(Workspace::Host, "test");
        command.args(["--no-fail-fast", "--all-targets"]);
        command
    };
    command
        .args(["--locked", "--release", "--workspace"])
        .args(selection);
    session.tests(command.env("BINDERY_GUESTS_DIR", project.components()));
    let mut command = project.cargo(Workspace::Host, "test");
    command.args([
        "--locked",
        "--release",
        "--workspace",
        "--doc",
        "--no-fail-fast",
    ]);
    session.tests(&mut command);
}

fn documentation_steps(session: &mut Session<'_>) {
    for workspace in [Workspace::Host, Workspace::Plugins, Workspace::Sdk] {
        let mut command = session.project.cargo(workspace, "doc");
        command.args(["--locked", "--workspace", "--no-deps"]);
        if workspace == Workspace::Host {
            // Shares what clippy has checked of the dependencies.
            command.arg("--release");
        }
        session.program(command.env("RUSTDOCFLAGS", "-D warnings"));
    }
}

/// What happened so far.
struct Session<'a> {
    project: &'a Project,
    keep_going: bool,
    steps: Vec<Step>,
    /// A step failed, and the others are not to be run.
    stopped: bool,
}

struct Step {
    name: String,
    outcome: Outcome,
    seconds: f64,
}

enum Outcome {
    Ran(Counts),
    Skipped(&'static str),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

impl Counts {
    fn one(success: bool) -> Self {
        Self {
            passed: u64::from(success),
            failed: u64::from(!success),
        }
    }

    /// Adds what a line of a test runner says.
    fn read(&mut self, line: &str) {
        let summary = line
            .split_once("test result: ")
            .map(|(_, rest)| rest)
            .or_else(|| {
                // nextest: `Summary [ 1.2s] 4 tests run: 2 passed (1 slow), 1 failed, 1 timed out`.
                let (_, rest) = line.split_once("Summary [")?;
                Some(rest.split_once(" run: ")?.1)
            });
        let Some(summary) = summary else { return };
        for part in summary.split([';', ',', '.']) {
            let part = part.trim();
            let Some((number, word)) = part.split_once(' ') else {
                continue;
            };
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            if word.starts_with("passed") {
                self.passed += number;
            } else if ["failed", "timed out", "exec failed"]
                .iter()
                .any(|w| word.starts_with(w))
            {
                self.failed += number;
            }
        }
    }
}

impl Session<'_> {
    fn program(&mut self, command: &mut Command) {
        self.step(words(command), || Ok(Counts::one(watch(command, |_| {})?)));
    }

    fn tests(&mut self, command: &mut Command) {
        command.env("CARGO_TERM_COLOR", "never");
        self.step(words(command), || {
            let mut counts = Counts::default();
            let success = watch(command, |line| counts.read(line))?;
            // It did not build, or a test took its process down.
            if !success && counts.failed == 0 {
                counts.failed = 1;
            }
            Ok(counts)
        });
    }

    fn function(&mut self, name: &str, run: impl FnOnce() -> Result<()>) {
        self.step(name.to_owned(), || {
            run()?;
            Ok(Counts::one(true))
        });
    }

    fn skip(&mut self, name: &str, reason: &'static str) {
        if self.stopped {
            return;
        }
        eprintln!("SKIPPED: {name}: {reason}");
        self.steps.push(Step {
            name: name.to_owned(),
            outcome: Outcome::Skipped(reason),
            seconds: 0.0,
        });
    }

    fn step(&mut self, name: String, run: impl FnOnce() -> Result<Counts>) {
        if self.stopped {
            return;
        }
        eprintln!("\n== {name}");
        let start = Instant::now();
        let counts = run().unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            Counts::one(false)
        });
        self.stopped = counts.failed > 0 && !self.keep_going;
        self.steps.push(Step {
            name,
            outcome: Outcome::Ran(counts),
            seconds: start.elapsed().as_secs_f64(),
        });
    }

    /// Prints what was done, and the closing line.
    fn conclude(self) -> Result<()> {
        let mut all = Counts::default();
        println!("\n  time  passed  failed  step");
        for step in &self.steps {
            match step.outcome {
                Outcome::Ran(counts) => {
                    let Counts { passed, failed } = counts;
                    println!(
                        "{:>5.0}s  {passed:>6}  {failed:>6}  {}",
                        step.seconds, step.name
                    );
                    all.passed += passed;
                    all.failed += failed;
                }
                Outcome::Skipped(reason) => {
                    println!("       skipped          {}: {reason}", step.name)
                }
            }
        }
        if self.stopped {
            println!("stopped at the first failure; --keep-going runs the rest too");
        }
        println!("{} passed, {} failed", all.passed, all.failed);
        if all.failed > 0 {
            bail!("{} failed", all.failed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (u64, u64) {
        let mut counts = Counts::default();
        counts.read(line);
        (counts.passed, counts.failed)
    }

    #[test]
    fn counts_are_read_from_what_runners_print() {
        let ok = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(read(ok), (12, 0));
        let failed =
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(read(failed), (3, 2));
        let nextest = "     Summary [   9.123s] 7 tests run: 3 passed (1 slow, 1 flaky), 2 failed, 1 timed out, 1 exec failed, 5 skipped";
        assert_eq!(read(nextest), (3, 4));
        assert_eq!(
            read("     Summary [   0.002s] 1 test run: 1 passed, 0 skipped"),
            (1, 0)
        );
        assert_eq!(read("running 12 tests"), (0, 0));
        assert_eq!(read("test it::has 3 passed ... ok"), (0, 0));
    }
}
