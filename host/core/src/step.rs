//! Steps of an engine task: asked for by the guest, run by the host.

use crate::{Usage, limits};

/// One element of an engine's argument vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    Literal(String),
    /// Path below `/in`.
    Input(String),
    /// Path below `/work` of a file that is there.
    Work(String),
    /// Path below `/work` of a file the step writes.
    Output(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputFile {
    pub path: String,
    pub required: bool,
    /// 0 means the host's limit.
    pub max_bytes: u64,
}

/// Limits as asked; 0 means the engine's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StepLimits {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub cpu_cores: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub id: String,
    pub title: String,
    pub engine: String,
    pub arguments: Vec<Argument>,
    pub reads: Vec<String>,
    pub outputs: Vec<OutputFile>,
    pub limits: StepLimits,
    pub items: Vec<u64>,
    pub weight: f32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    Run(Vec<Step>),
    Finished,
}

/// How a step ended by what the host saw; the guest judges by what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnding {
    Exited(i32),
    /// By this signal.
    Crashed(i32),
    MemoryExceeded,
    CpuExceeded,
    DiskExceeded,
    TimedOut,
    /// Ended by itself without this required output.
    OutputMissing(String),
}

impl StepEnding {
    /// Stable word for records and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Crashed(_) => "crashed",
            Self::MemoryExceeded => "memory_exceeded",
            Self::CpuExceeded => "cpu_exceeded",
            Self::DiskExceeded => "disk_exceeded",
            Self::TimedOut => "timed_out",
            Self::OutputMissing(_) => "output_missing",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepOutcome {
    pub step: String,
    pub engine: String,
    pub engine_version: String,
    pub ending: StepEnding,
    pub usage: Usage,
    /// Path below the guest's root.
    pub stdout: String,
    pub stderr: String,
    pub dropped_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    Stdout,
    Stderr,
}

/// What a guest's monitor reads from an engine's output.
#[derive(Debug, Clone, PartialEq)]
pub enum StepSignal {
    /// Share of the step, 0..=1.
    Progress(f32),
    Notice(crate::Notice),
}

/// A step the host refuses to run: the guest broke the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step `{step}`: {fault}")]
pub struct StepFault {
    pub step: String,
    pub fault: String,
}

impl Step {
    /// Checks what the contract says of a step, before anything is started.
    ///
    /// # Errors
    /// The first fault; a guest that makes one is broken, not its user.
    pub fn check(&self) -> Result<(), StepFault> {
        let fault = |fault: String| StepFault {
            step: self.id.chars().take(63).collect(),
            fault,
        };
        if !is_step_id(&self.id) {
            return Err(fault(
                "the id is not `[a-z0-9][a-z0-9._-]*` of at most 63 bytes".into(),
            ));
        }
        if !self.weight.is_finite() || self.weight < 0.0 {
            return Err(fault("the weight is negative or not finite".into()));
        }
        if self.arguments.len() > limits::STEP_ARGUMENTS_MAX
            || self.reads.len() > limits::STEP_FILES_MAX
            || self.outputs.len() > limits::STEP_FILES_MAX
        {
            return Err(fault("too many arguments or files".into()));
        }
        for output in &self.outputs {
            if !is_relative_path(&output.path) || output.path.starts_with(".steps") {
                return Err(fault(format!(
                    "output path `{}` is not allowed",
                    output.path
                )));
            }
        }
        for path in &self.reads {
            if !is_relative_path(path) {
                return Err(fault(format!("path `{path}` is not allowed")));
            }
        }
        for argument in &self.arguments {
            match argument {
                Argument::Literal(text) => {
                    if text.contains('\0') || text.len() > limits::ARGUMENT_BYTES_MAX {
                        return Err(fault("an argument has a NUL byte or is too long".into()));
                    }
                }
                Argument::Input(path) | Argument::Work(path) => {
                    if !is_relative_path(path) {
                        return Err(fault(format!("path `{path}` is not allowed")));
                    }
                }
                Argument::Output(path) => {
                    if !self.outputs.iter().any(|output| output.path == *path) {
                        return Err(fault(format!("`{path}` is not one of the outputs")));
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_step_id(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-')
        })
}

/// A path that stays below its root: plain components of safe characters, none of them special.
/// A component never starts with a dash, as an engine could take it for an option.
#[must_use]
pub fn is_relative_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= limits::PATH_BYTES_MAX
        && path.split('/').all(|component| {
            !component.is_empty()
                && component != "."
                && component != ".."
                && component.len() <= 127
                && !component.starts_with('-')
                && component
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    fn step() -> Step {
        Step {
            id: "dock".into(),
            title: String::new(),
            engine: "e".into(),
            arguments: vec![],
            reads: vec![],
            outputs: vec![OutputFile {
                path: "out.txt".into(),
                required: true,
                max_bytes: 0,
            }],
            limits: StepLimits::default(),
            items: vec![0],
            weight: 1.0,
        }
    }

    #[test]
    fn paths_never_leave_their_root() {
        for good in ["a", "a/b.c", "a-b_c.d/0.pdb", ".steps/x/stdout"] {
            assert!(is_relative_path(good), "{good}");
        }
        for bad in [
            "", "/a", "a/", "a//b", "..", "a/../b", ".", "-a", "a/-b", "a b", "a\0", "a\nb",
        ] {
            assert!(!is_relative_path(bad), "{bad}");
        }
    }

    #[test]
    fn an_undeclared_output_argument_is_refused() {
        let mut step = step();
        step.arguments = vec![Argument::Output("other.txt".into())];
        assert!(
            step.check()
                .unwrap_err()
                .to_string()
                .contains("not one of the outputs")
        );
        step.arguments = vec![Argument::Output("out.txt".into())];
        step.check().unwrap();
    }

    #[test]
    fn nul_bytes_and_escapes_are_refused() {
        let mut step = step();
        step.arguments = vec![Argument::Literal("a\0b".into())];
        assert!(step.check().is_err());
        step.arguments = vec![Argument::Input("../../etc/passwd".into())];
        assert!(step.check().is_err());
        step.arguments = vec![];
        step.outputs = vec![OutputFile {
            path: ".steps/x".into(),
            required: true,
            max_bytes: 0,
        }];
        assert!(step.check().is_err());
    }
}
