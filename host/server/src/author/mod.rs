//! `bindery plugin new`, `build`, `test`, `check` and `run`: the author's way from an idea to a
//! package that runs.
//!
//! - [`project`]: a plugin's sources, in one of three languages, and `dist/`, the package made of
//!   them.
//! - [`scaffold`]: writes a project from what is embedded in this program.
//! - [`build`]: calls the language's own tools, and packs.
//! - [`test`], [`check`], [`run`]: on the real runtime.

pub(crate) mod arguments;
mod build;
mod check;
mod project;
mod run;
mod scaffold;
mod test;
mod tools;

use crate::{cli::PluginCommand, exit::Exit};

pub(crate) async fn command(command: PluginCommand) -> anyhow::Result<Exit> {
    match command {
        PluginCommand::New(arguments) => scaffold::new(&arguments),
        PluginCommand::Build(arguments) => build::command(arguments).await,
        PluginCommand::Test(arguments) => test::command(arguments).await,
        PluginCommand::Check(arguments) => check::command(arguments).await,
        PluginCommand::Run(arguments) => run::command(arguments).await,
    }
}
