//! `bindery plugin new`, `build`, `test`, `check` and `run`: the author's way from an idea to a
//! package that runs.
//!
//! - [`project`]: a plugin's sources, in one of three languages, and `dist/`, the package made of
//!   them.
//! - [`scaffold`]: writes a project from what is embedded in this program.
//! - [`build`]: calls the language's own tools, and packs.
//! - [`mod@test`], [`check`], [`run`]: on the real runtime.

pub(crate) mod arguments;
mod build;
mod check;
pub(crate) mod project;
mod run;
mod scaffold;
mod test;
mod tools;

use crate::{cli::AuthorCommand, exit::Exit};

pub(crate) async fn command(command: AuthorCommand) -> anyhow::Result<Exit> {
    match command {
        AuthorCommand::New(arguments) => scaffold::new(&arguments),
        AuthorCommand::Build(arguments) => build::command(arguments).await,
        AuthorCommand::Test(arguments) => test::command(arguments).await,
        AuthorCommand::Check(arguments) => check::command(arguments).await,
        AuthorCommand::Run(arguments) => run::command(arguments).await,
    }
}
