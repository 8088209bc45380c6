//! The project's own commands: `cargo xtask COMMAND`.
//!
//! - [`setup`]: what a build and a run need beyond Rust itself, installed where it is missing.
//! - [`guests`], [`dist`]: the components, and the runnable tree in `target/dist`.
//! - [`demo`]: a real run through the HTTP interface, from nothing.
//! - [`check`]: everything that CI runs, ending in one line with the counts.
//! - [`tidy`]: rules of the project that no compiler knows.
//!
//! This crate needs no crate of the project: it must build in seconds in a fresh clone. Host
//! crates are always built in the release profile, so that wasmtime is compiled once for tests,
//! demo and distribution.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod bench;
mod check;
mod client;
mod command;
mod demo;
mod dist;
mod guests;
mod project;
mod server;
mod setup;
mod shipped;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

use crate::project::Project;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Commands of the project"
)]
enum Command {
    /// Install what is missing: the wasm target, the engines of the tasks that ship
    Setup,
    /// Build the components of `plugins` and `tests/guests`
    BuildGuests,
    /// Build everything that ships, into `target/dist`
    Build,
    /// Set up, build, start a server and run a real job through its HTTP interface
    Demo(demo::Arguments),
    /// Everything that CI runs; ends in `N passed, N failed`
    Test(check::Arguments),
    /// Check the rules of the project that no compiler knows
    Tidy,
    /// Run the benchmarks, or those named
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let command = Command::parse();
    let result = Project::find().and_then(|project| match command {
        Command::Setup => setup::setup(&project),
        Command::BuildGuests => guests::build(&project),
        Command::Build => dist::build(&project),
        Command::Demo(arguments) => demo::demo(&project, &arguments),
        Command::Test(arguments) => check::check(&project, &arguments),
        Command::Tidy => tidy::tidy(&project),
        Command::Bench(arguments) => bench::bench(&project, &arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
