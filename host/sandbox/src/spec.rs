//! What the host asks for: one run of one program.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Relative paths below the work directory; the kernel's `PATH_MAX` is 4,096 for the whole one.
const PATH_BYTES_MAX: usize = 1024;
/// Twice what one step of a task may name, so that the task's own bound speaks first.
const FILES_MAX: usize = 16_384;
/// Bytes of all arguments and variables: the kernel takes a quarter of the stack limit.
const ARGUMENT_BYTES_MAX: usize = 2 << 20;

/// One run of one program in the sandbox. Its current directory is an empty work directory, and
/// all names of files are relative to it, so that results do not depend on the level.
#[derive(Debug, Clone)]
pub struct RunSpec {
    /// Absolute path. Visible inside even when no directory of `read_only` holds it.
    pub program: PathBuf,
    /// Without the program's own name.
    pub arguments: Vec<OsString>,
    /// The whole environment: nothing is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Absolute paths visible read-only besides the system's programs and libraries.
    pub read_only: Vec<PathBuf>,
    /// Whether `/usr`, `/lib` and the linker's cache are visible. Off for static programs only.
    pub system_directories: bool,
    /// Files of the host and where they appear in the work directory; parents are made.
    pub stage: Vec<(PathBuf, PathBuf)>,
    /// Files to take from the work directory after the run.
    pub outputs: Vec<OutputSpec>,
    /// Directory of the host that receives the outputs under their own names.
    pub collect_into: PathBuf,
    pub limits: Limits,
    pub profile: Profile,
}

impl RunSpec {
    /// A run without arguments, inputs and outputs, under the default limits.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>, collect_into: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            read_only: Vec::new(),
            system_directories: true,
            stage: Vec::new(),
            outputs: Vec::new(),
            collect_into: collect_into.into(),
            limits: Limits::default(),
            profile: Profile::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SpecError> {
        for path in self.read_only.iter().chain([&self.program]) {
            if !path.is_absolute() {
                return Err(SpecError::NotAbsolute { path: path.clone() });
            }
        }
        let inside = || {
            self.stage
                .iter()
                .map(|(_, to)| to)
                .chain(self.outputs.iter().map(|o| &o.path))
        };
        inside().try_for_each(|path| check_inside(path))?;
        let files = inside().count();
        if files > FILES_MAX {
            return Err(SpecError::TooManyFiles {
                found: files,
                max: FILES_MAX,
            });
        }
        let argument_bytes: usize = self
            .arguments
            .iter()
            .chain(
                self.environment
                    .iter()
                    .flat_map(|(name, value)| [name, value]),
            )
            .map(|text| text.len().saturating_add(1))
            .sum();
        if argument_bytes > ARGUMENT_BYTES_MAX {
            return Err(SpecError::ArgumentsTooLong {
                found: argument_bytes,
                max: ARGUMENT_BYTES_MAX,
            });
        }
        let texts = self
            .arguments
            .iter()
            .chain(self.environment.iter().flat_map(|(n, v)| [n, v]));
        if texts
            .chain([&self.program.clone().into_os_string()])
            .any(|t| t.as_bytes().contains(&0))
        {
            return Err(SpecError::ZeroByte);
        }
        if let Some((name, _)) = self
            .environment
            .iter()
            .find(|(name, _)| name.is_empty() || name.as_bytes().contains(&b'='))
        {
            return Err(SpecError::VariableName { name: name.clone() });
        }
        let limits = &self.limits;
        let zero = [
            ("wall", limits.wall.is_zero()),
            ("cpu", limits.cpu.is_zero()),
            ("memory_bytes", limits.memory_bytes == 0),
            ("work_bytes", limits.work_bytes == 0),
            ("work_files", limits.work_files == 0),
            ("threads", limits.threads == 0),
            ("open_files", limits.open_files == 0),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(SpecError::ZeroLimit { name }),
            None => Ok(()),
        }
    }
}

/// A relative path of plain names, so that nothing can lead out of the work directory.
fn check_inside(path: &Path) -> Result<(), SpecError> {
    let bytes = path.as_os_str().as_bytes();
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if bytes.is_empty() || bytes.len() > PATH_BYTES_MAX || bytes.contains(&0) || !plain {
        return Err(SpecError::NotInside {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// What an order cannot ask for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    #[error("path {path:?} is not absolute")]
    NotAbsolute { path: PathBuf },
    #[error("path {path:?} is not a plain relative path of at most {PATH_BYTES_MAX} bytes")]
    NotInside { path: PathBuf },
    #[error("{found} files named, more than {max}")]
    TooManyFiles { found: usize, max: usize },
    #[error("arguments and environment take {found} bytes, more than {max}")]
    ArgumentsTooLong { found: usize, max: usize },
    #[error("an argument, variable or path holds a zero byte")]
    ZeroByte,
    #[error("{name:?} is no name of an environment variable")]
    VariableName { name: OsString },
    #[error("a limit is zero: {name}")]
    ZeroLimit { name: &'static str },
}

/// One file to take from the work directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// Below the work directory.
    pub path: PathBuf,
    /// A longer file is rejected, never cut.
    pub max_bytes: u64,
}

/// Bounds of one run. All are enforced by the kernel or the supervisor, none by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the engine's start.
    pub wall: Duration,
    /// User and system time of one process with all its threads; whole seconds, rounded up.
    pub cpu: Duration,
    /// Address space of one process.
    pub memory_bytes: u64,
    /// Everything in the work directory and `/tmp` besides the inputs. Held in memory at L2, so a
    /// job takes up to `memory_bytes + work_bytes`.
    pub work_bytes: u64,
    /// Files and directories besides the inputs.
    pub work_files: u64,
    /// One file.
    pub file_bytes: u64,
    /// Threads, and processes where the profile allows them.
    pub threads: u32,
    pub open_files: u32,
    /// Kept of each of the engine's two streams: the first and the last half. All of it passes
    /// through the sink.
    pub output_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(600),
            cpu: Duration::from_secs(1200),
            memory_bytes: 2 << 30,
            work_bytes: 256 << 20,
            work_files: 4096,
            file_bytes: 128 << 20,
            threads: 64,
            open_files: 256,
            output_bytes: 1 << 20,
        }
    }
}

/// What an engine may do besides computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    /// May start processes. Needs L2, where the process namespace bounds and kills them.
    pub allow_fork: bool,
    pub execute: Execute,
    pub syscalls: SyscallPolicy,
}

/// Which files the kernel lets the engine execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Execute {
    /// The program and the interpreter it names.
    #[default]
    ProgramOnly,
    /// Anything in the read-only directories.
    ReadOnlyDirectories,
}

/// How system calls are filtered. Dangerous calls fail with `EPERM` either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum SyscallPolicy {
    /// Known harmless calls pass, unknown ones fail with `ENOSYS`.
    #[default]
    AllowList,
    /// All but dangerous calls pass: for engines nobody has examined.
    DenyList,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    fn spec() -> RunSpec {
        RunSpec::new("/usr/bin/true", "/nowhere")
    }

    #[test]
    fn plain_relative_paths_pass_and_others_do_not() {
        for good in [
            "a",
            "in/structure.txt",
            "-leading",
            "with space",
            "new\nline",
        ] {
            check_inside(Path::new(good)).unwrap();
        }
        let long = "x".repeat(PATH_BYTES_MAX + 1);
        for bad in [
            "",
            "/etc/passwd",
            "../up",
            "a/../../b",
            "./a",
            long.as_str(),
            "nul\0",
        ] {
            assert!(check_inside(Path::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn orders_that_cannot_be_carried_out_are_refused() {
        spec().check().unwrap();
        let relative = RunSpec {
            program: "true".into(),
            ..spec()
        };
        assert!(matches!(
            relative.check(),
            Err(SpecError::NotAbsolute { .. })
        ));
        let zero = RunSpec {
            arguments: vec!["a\0b".into()],
            ..spec()
        };
        assert_eq!(zero.check(), Err(SpecError::ZeroByte));
        let variable = RunSpec {
            environment: vec![("A=B".into(), "c".into())],
            ..spec()
        };
        assert!(matches!(
            variable.check(),
            Err(SpecError::VariableName { .. })
        ));
        let many = RunSpec {
            arguments: vec!["x".repeat(ARGUMENT_BYTES_MAX).into()],
            ..spec()
        };
        assert!(matches!(
            many.check(),
            Err(SpecError::ArgumentsTooLong { .. })
        ));
    }
}
