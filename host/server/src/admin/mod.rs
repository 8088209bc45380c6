//! `bindery admin`: what is done to a data directory as a whole.
//!
//! These commands work on files, beside a server or without one, and need no token: whoever can
//! read the directory has all that is in it.

mod archive;
mod backup;
mod restore;
mod verify;

use std::path::{Path, PathBuf};

use bindery_datastore::{Anchor, ParseAnchorError};
use clap::{Args, Subcommand};

use crate::exit::Exit;

const STORE: &str = "store";
const BLOBS: &str = "blobs";
const LOGS: &str = "logs";
const OCI: &str = "oci";
/// The parts of a data directory that a backup has. The others are made anew.
const PARTS: [&str; 4] = [STORE, BLOBS, LOGS, OCI];

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Prove everything that is kept: journal, index, files
    Verify(VerifyArguments),
    /// Copy everything that is kept, while a server may be running
    Backup(BackupArguments),
    /// Make a data directory of a backup
    Restore(RestoreArguments),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    data: DataArguments,
    /// An anchor of an earlier look, kept elsewhere: that past must still be the same. Repeat for
    /// more
    #[arg(long = "anchor", value_name = "POSITION:HEX", value_parser = anchor)]
    anchors: Vec<Anchor>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// A directory that is made, or a file that ends with `.tar`
    #[arg(value_name = "DIR|FILE.tar")]
    to: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// A backup
    #[arg(value_name = "DIR|FILE.tar")]
    from: PathBuf,
    #[command(flatten)]
    data: DataArguments,
    /// An anchor that the backup must hold. Repeat for more
    #[arg(long = "anchor", value_name = "POSITION:HEX", value_parser = anchor)]
    anchors: Vec<Anchor>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct DataArguments {
    /// Where everything is kept
    #[arg(
        long,
        value_name = "DIR",
        env = "BINDERY_DATA",
        default_value = "bindery-data"
    )]
    data: PathBuf,
}

fn anchor(text: &str) -> Result<Anchor, ParseAnchorError> {
    text.parse()
}

pub(crate) async fn command(command: AdminCommand) -> anyhow::Result<Exit> {
    // All of them read and write files from end to end.
    tokio::task::spawn_blocking(move || match command {
        AdminCommand::Verify(arguments) => verify::verify(&arguments),
        AdminCommand::Backup(arguments) => backup::backup(&arguments),
        AdminCommand::Restore(arguments) => restore::restore(&arguments),
    })
    .await?
}

/// A directory that a server has kept things in, or an error that says so.
fn existing(data: &Path) -> anyhow::Result<&Path> {
    anyhow::ensure!(
        data.join(STORE).join("journal").is_dir(),
        "{} is no data directory (--data DIR)",
        data.display()
    );
    Ok(data)
}

/// Bytes, as people read them.
fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}
