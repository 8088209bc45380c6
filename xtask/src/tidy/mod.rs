//! `cargo xtask tidy`: rules of the project that no compiler knows.
//!
//! - [`boundaries`]: who may depend on whom; where heavy packages live.
//! - [`text`]: words that must not be there, lengths of files.
//! - [`contract`]: published versions of the contract do not change.
//!
//! Every rule reports all its faults; the command fails when there is one.

mod boundaries;
mod contract;
mod text;

use std::fmt;

use anyhow::{Result, bail};

use crate::project::Project;

/// A broken rule, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    place: String,
    message: String,
}

impl Fault {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

pub(crate) fn tidy(project: &Project) -> Result<()> {
    let mut faults = boundaries::check(project)?;
    faults.extend(text::check(project)?);
    faults.extend(contract::check(project)?);
    for fault in &faults {
        eprintln!("tidy: {fault}");
    }
    match faults.len() {
        0 => {
            eprintln!("tidy: all rules hold");
            Ok(())
        }
        count => bail!("{count} rules are broken"),
    }
}
