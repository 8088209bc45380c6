//! The `bindery` binary: server and command line.
//!
//! - [`host`] is the composition root: it opens the parts and joins them, for the server and for
//!   `bindery run` alike.
//! - [`cli`] says what can be typed, [`task_cli`] what the definition of a task adds to it, and
//!   [`invocation`] reads it; the other modules do it, one for each command.
//!
//! Standard output is for results (with `--json` one document and nothing else), standard error
//! for people. Exit codes are listed in [`exit`].
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line prints"
)]

mod admin;
mod author;
mod cli;
mod client;
mod engines;
mod exit;
mod host;
mod invocation;
mod job;
mod paths;
mod plugin;
mod plugin_registry;
mod plugins;
mod progress;
mod publishing;
mod request;
mod run;
mod serve;
mod settings;
mod task_cli;
mod tasks;
mod trust;
mod words;

use std::{io::IsTerminal, process::ExitCode};

use crate::{
    cli::{Command, EngineCommand, PluginCommand, TaskCommand},
    exit::Exit,
    invocation::Invocation,
};

/// How long a server's tasks and its store get to come to rest. Whatever is cut off then is found in
/// the journal.
const CLOSE_MAX: std::time::Duration = std::time::Duration::from_secs(10);

fn main() -> ExitCode {
    let invocation = invocation::read();
    // Before there is a log, a runtime or a thread: it runs under tight limits.
    if let Invocation::Plain(cli) = &invocation
        && let Command::CompileComponent(arguments) = &cli.command
    {
        let order = bindery_plugins::CompileOrder {
            component: arguments.component.clone(),
            output: arguments.output.clone(),
            memory_bytes: arguments.memory_bytes,
            cpu_seconds: arguments.cpu_seconds,
            output_bytes: arguments.output_bytes,
        };
        return ExitCode::from(bindery_plugins::run_compiler(&order));
    }
    let serving =
        matches!(&invocation, Invocation::Plain(cli) if matches!(cli.command, Command::Serve(_)));
    match &invocation {
        Invocation::Plain(cli) => start_log(cli.verbose, serving),
        Invocation::OfTask(words) => start_log(words.verbose(), false),
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("bindery: failed to start: {error}");
            return Exit::Failed.into();
        }
    };
    let outcome = runtime.block_on(async {
        let cli = match invocation {
            Invocation::Plain(cli) => *cli,
            Invocation::OfTask(words) => words.read().await?,
        };
        match cli.command {
            Command::Serve(arguments) => serve::serve(arguments).await,
            Command::Run(arguments) => run::run(arguments).await,
            Command::Task {
                command: TaskCommand::List(arguments),
            } => tasks::list(arguments).await,
            Command::Task {
                command: TaskCommand::Show(arguments),
            } => tasks::show(arguments).await,
            Command::Task {
                command: TaskCommand::Validate(arguments),
            } => run::validate(arguments).await,
            Command::Engine {
                command: EngineCommand::List(arguments),
            } => engines::list(arguments).await,
            Command::Engine {
                command: EngineCommand::Doctor(arguments),
            } => engines::doctor(arguments).await,
            Command::Job { command } => job::command(command).await,
            Command::Plugin { command } => plugin_command(command).await,
            Command::Admin { command } => admin::command(command).await,
            // Done above.
            Command::CompileComponent(_) => Ok(Exit::Failed),
        }
    });
    if serving {
        // Whoever lets go of the store last closes it, be it a task: its index is brought up then,
        // and the next start has nothing to replay.
        runtime.shutdown_timeout(CLOSE_MAX);
    } else {
        // What blocking threads still do is worth nothing once the answer is out.
        runtime.shutdown_background();
    }
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("bindery: {error:#}");
            Exit::Failed.into()
        }
    }
}

async fn plugin_command(command: PluginCommand) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::Author(command) => author::command(command).await,
        PluginCommand::Publish(arguments) => plugin::publish(arguments).await,
        PluginCommand::List(arguments) => plugin::list(arguments).await,
        PluginCommand::Rollback(arguments) => {
            plugin::change(arguments, plugin::Change::RollBack).await
        }
        PluginCommand::Disable(arguments) => {
            plugin::change(arguments, plugin::Change::Disable).await
        }
        PluginCommand::Enable(arguments) => plugin::change(arguments, plugin::Change::Enable).await,
        PluginCommand::Approve(arguments) => {
            plugin::change(arguments, plugin::Change::Approve).await
        }
        PluginCommand::History(arguments) => plugin::history(arguments).await,
        PluginCommand::Pull(arguments) => plugin_registry::pull(arguments).await,
        PluginCommand::Key { command } => plugin_registry::key(command),
        PluginCommand::Sign(arguments) => plugin_registry::sign(&arguments),
        PluginCommand::Revoke(arguments) => plugin_registry::revoke(&arguments),
    }
}

/// `NO_COLOR` with any word in it asks for plain text (no-color.org).
fn no_colour() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The server logs by default; a command only what went wrong.
fn start_log(verbose: u8, serving: bool) {
    use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

    let default = match (serving, verbose) {
        (_, 2..) => "debug",
        (true, _) | (false, 1) => "info",
        (false, 0) => "error",
    };
    let filter = EnvFilter::try_from_env("BINDERY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::registry()
        .with(filter)
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal() && !no_colour())
                .with_target(false),
        )
        .init();
}
