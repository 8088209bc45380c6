//! Runs `bindery` as a user does, and looks at what it left behind.

use std::{
    ffi::OsStr,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bindery_testkit::{Processes, dist, wait_for_condition};
use serde_json::Value;
use tokio::process::{Child, Command};

/// Longest command of these tests: two minutes of CPU time on a core shared by three.
const WALL_MAX: Duration = Duration::from_secs(360);

/// One `bindery` command in an environment of its own: temporary files go to a directory that
/// must be empty again when it has ended.
#[derive(Debug)]
pub struct Cli {
    command: Command,
    scratch: tempfile::TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub wall: Duration,
}

impl Cli {
    /// # Errors
    /// When nothing has been built.
    pub fn new(arguments: &[&str]) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("cli-test-").tempdir()?;
        let mut command = Command::new(dist()?.join("bindery"));
        command
            .args(arguments)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Settings of whoever runs the tests must not reach what is tested.
        for (name, _) in std::env::vars_os() {
            let setting = name.to_str().is_some_and(|name| {
                name.starts_with("BINDERY_") && !name.starts_with("BINDERY_ENGINE_")
            });
            if setting {
                command.env_remove(name);
            }
        }
        Ok(Self { command, scratch })
    }

    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// `--input SLOT=PATH`.
    #[must_use]
    pub fn input(mut self, slot: &str, path: &Path) -> Self {
        self.command
            .arg("--input")
            .arg(format!("{slot}={}", path.display()));
        self
    }

    /// `--param KEY=VALUE`.
    #[must_use]
    pub fn param(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.command.arg("--param").arg(format!("{key}={value}"));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// When it does not end in time, or leaves temporary files behind.
    pub async fn finish(self) -> Result<Finished> {
        self.start()?.finish().await
    }

    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut self) -> Result<Running> {
        let started = Instant::now();
        let child = self.command.spawn().context("failed to start bindery")?;
        Ok(Running {
            child,
            started,
            scratch: self.scratch,
        })
    }
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    started: Instant,
    scratch: tempfile::TempDir,
}

impl Running {
    /// The processes below it, once one with this name is among them.
    ///
    /// # Errors
    /// When the command ends first, or the process does not appear in time.
    pub async fn wait_for_process(&mut self, name: &str) -> Result<Processes> {
        let pid = i32::try_from(self.child.id().context("the command has ended")?)?;
        let mut below = Processes::default();
        wait_for_condition(name, WALL_MAX, async || {
            below.note_those_of(pid);
            if let Some(status) = self.child.try_wait()? {
                bail!("the command ended with {status} before `{name}` ran");
            }
            let named = format!("({name}, ");
            Ok(below
                .alive()
                .iter()
                .any(|process| process.contains(&named))
                .then_some(()))
        })
        .await?;
        Ok(below)
    }

    /// What Ctrl-C does, for this process only.
    ///
    /// # Errors
    /// When the command has ended.
    pub fn interrupt(&self) -> Result<()> {
        let pid = self.child.id().context("the command has ended")?;
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).context("no process")?;
        rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
        Ok(())
    }

    /// # Errors
    /// As [`Cli::finish`].
    pub async fn finish(self) -> Result<Finished> {
        let output = tokio::time::timeout(WALL_MAX, self.child.wait_with_output())
            .await
            .with_context(|| format!("the command did not end within {WALL_MAX:?}"))??;
        let left: Vec<PathBuf> = std::fs::read_dir(self.scratch.path())?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        ensure!(
            left.is_empty(),
            "temporary files were left behind: {left:?}"
        );
        Ok(Finished {
            status: output.status,
            stdout: String::from_utf8(output.stdout).context("standard output is not text")?,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            wall: self.started.elapsed(),
        })
    }
}

impl Finished {
    /// The exit code, after checking that no signal ended it.
    ///
    /// # Errors
    /// When a signal did.
    pub fn code(&self) -> Result<i32> {
        self.status.code().with_context(|| {
            format!(
                "ended by signal {:?}: {}",
                self.status.signal(),
                self.stderr
            )
        })
    }

    /// Standard output as one JSON document.
    ///
    /// # Errors
    /// When it is something else, or more.
    pub fn document(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| {
            format!(
                "standard output is not one JSON document: {:?}; standard error: {}",
                self.stdout, self.stderr
            )
        })
    }

    /// The document of a command that must have succeeded.
    ///
    /// # Errors
    /// When it did not.
    pub fn success(&self) -> Result<Value> {
        let code = self.code()?;
        ensure!(
            code == 0,
            "exit code {code}: {}{}",
            self.stdout,
            self.stderr
        );
        self.document()
    }
}
