//! Running programs.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context, Result, bail};

/// The program and its arguments, to be read by people.
pub(crate) fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let mut text = program.rsplit('/').next().unwrap_or(&program).to_owned();
    for argument in command.get_args() {
        // Writing to a string does not fail.
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}

/// Runs a program with our streams, after saying so; fails when it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words = words(command);
    eprintln!("+ {words}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("failed to start `{words}`"))?;
    if !status.success() {
        bail!("`{words}` failed: {status}");
    }
    Ok(())
}

/// What a program prints on standard output; fails, with its standard error, when it does.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let words = words(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start `{words}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{words}` failed: {}\n{}", output.status, said.trim_end());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Whether a program is there and runs.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Runs a program, passes on what it prints and hands every line to `look`. Gives whether it
/// succeeded.
pub(crate) fn watch(command: &mut Command, look: impl FnMut(&str) + Send) -> Result<bool> {
    let words = words(command);
    eprintln!("+ {words}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start `{words}`"))?;
    let streams = child.stdout.take().zip(child.stderr.take());
    let (stdout, stderr) = streams.context("the program has no streams")?;
    let look = std::sync::Mutex::new(look);
    thread::scope(|scope| {
        scope.spawn(|| pass_on(stdout, std::io::stdout(), &look));
        scope.spawn(|| pass_on(stderr, std::io::stderr(), &look));
    });
    Ok(child.wait()?.success())
}

fn pass_on(from: impl Read, mut to: impl Write, look: &std::sync::Mutex<impl FnMut(&str)>) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        // That nobody reads us does not stop the program that we run.
        let _ = writeln!(to, "{line}");
        let mut look = look
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&line);
    }
}
