//! Running the tools of a plugin's language.
//!
//! What is missing is said with the command that brings it; what a tool says is passed on without
//! the traces of its own insides.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, bail};

/// The last lines that a failed tool printed.
const LINES_MAX: usize = 60;

/// A program and what to do when it is not there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) program: &'static str,
    /// Sentence with the exact command.
    pub(crate) install: &'static str,
}

pub(crate) const CARGO: Tool = Tool {
    program: "cargo",
    install: "install Rust: `curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh`",
};
pub(crate) const RUSTC: Tool = Tool {
    program: "rustc",
    install: CARGO.install,
};
pub(crate) const NODE: Tool = Tool {
    program: "node",
    install: "install Node 18 or later: `apt-get install nodejs npm` or your system's way",
};
pub(crate) const NPM: Tool = Tool {
    program: "npm",
    install: NODE.install,
};
pub(crate) const PYTHON: Tool = Tool {
    program: "python3",
    install: "install Python 3.10 or later: `apt-get install python3 python3-venv` or your system's way",
};

impl Tool {
    pub(crate) fn command(self, directory: &Path) -> Command {
        command(self.program, directory)
    }

    /// Runs it; its standard error goes to ours when `loud`.
    ///
    /// # Errors
    /// When it is missing or fails.
    pub(crate) fn run(self, command: &mut Command, loud: bool) -> anyhow::Result<Output> {
        run(command, loud, self.install)
    }
}

/// A command in a project.
pub(crate) fn command(program: impl AsRef<OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).stdin(Stdio::null());
    command
}

/// Runs a command to its end; gives what it printed.
///
/// # Errors
/// When it is missing, with `install`, or fails, with its words.
pub(crate) fn run(command: &mut Command, loud: bool, install: &str) -> anyhow::Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = name.rsplit('/').next().unwrap_or(&name).to_owned();
    command.stdout(Stdio::piped()).stderr(if loud {
        Stdio::inherit()
    } else {
        Stdio::piped()
    });
    let output = match command.spawn() {
        Ok(child) => child
            .wait_with_output()
            .with_context(|| format!("failed to run `{name}`"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("`{name}` is not there; to mend it: {install}");
        }
        Err(error) => return Err(error).with_context(|| format!("failed to start `{name}`")),
    };
    if !output.status.success() {
        let said = words(&output);
        let colon = if said.is_empty() { "" } else { ":\n" };
        bail!("`{name}` failed ({}){colon}{said}", output.status);
    }
    Ok(output)
}

/// What a tool said of its failure, without its own call stack.
pub(crate) fn words(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    clean(&text)
}

fn clean(text: &str) -> String {
    // componentize-py is Rust inside Python: two stacks of its own surround the author's error.
    let text = text
        .split_once("AssertionError: ")
        .map_or(text, |(_, rest)| rest);
    let end = ["\nCaused by:", "\nStack backtrace:"]
        .iter()
        .filter_map(|mark| text.find(mark))
        .min()
        .unwrap_or(text.len());
    let text = text.get(..end).unwrap_or(text);
    // Where it has put the sources: the project, and the SDK.
    let text = text
        .replace("File \"/0/", "File \"")
        .replace("File \"/1/", "File \"vendor/bindery/");
    let lines: Vec<&str> = text.trim().lines().collect();
    let start = lines.len().saturating_sub(LINES_MAX);
    lines.get(start..).unwrap_or_default().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authors_error_is_left() {
        let printed = "Traceback (most recent call last):\n  File \"/x/bin/componentize-py\", line 8, \
                       in <module>\nAssertionError: Traceback (most recent call last):\n  File \
                       \"/0/task.py\", line 4, in <module>\n    import nosuch\nModuleNotFoundError: \
                       No module named 'nosuch'\n\n\nCaused by:\n    ModuleNotFoundError\n\nStack \
                       backtrace:\n   0: x\n";
        assert_eq!(
            clean(printed),
            "Traceback (most recent call last):\n  File \"task.py\", line 4, in <module>\n    \
             import nosuch\nModuleNotFoundError: No module named 'nosuch'"
        );
        assert_eq!(clean("plain words\n"), "plain words");
    }
}
