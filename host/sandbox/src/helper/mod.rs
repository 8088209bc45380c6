//! The helper: builds the walls, starts the engine, watches it, reports.
//!
//! One process with one thread, started by the host with the control socket as standard input and
//! the engine's two streams as its own. Order of work, by module: read the order (`control`);
//! collect what the engine will see (`inputs`, `materials`), as root when the host is root; give
//! up root and enter new namespaces (`identity`); put the new root directory together (`root`);
//! start the engine behind its last walls (`engine`, `landlock_rules`, `syscall_filter`); watch it
//! (`supervise`).
//!
//! The supervisor itself runs engine input nowhere: it reads neither the engine's output nor any
//! file that the engine wrote.

mod attempts;
mod control;
mod engine;
mod identity;
mod inputs;
mod interpreter;
mod landlock_rules;
mod materials;
mod root;
mod supervise;
mod syscall_filter;
mod usage_of_work;

use std::ffi::OsString;
use std::process::ExitCode;

use rustix::io::Errno;

use crate::sys;
use crate::wire::{EXIT_NOT_BUILT, Notice, Order, VERSION};
use control::Control;
use inputs::{Inputs, Placed};

/// First argument that makes the binary play the engine of the self-test.
pub(crate) const ATTEMPTS_ARGUMENT: &str = "attempts";

/// The helper's whole life. Called by the binary `bindery-sandbox` only.
#[doc(hidden)]
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        None => supervisor(),
        Some(first) if first == *ATTEMPTS_ARGUMENT => {
            attempts::main(&arguments.collect::<Vec<OsString>>())
        }
        Some(_) => ExitCode::from(EXIT_NOT_BUILT),
    }
}

/// What could not be built, and why.
#[derive(Debug, thiserror::Error)]
#[error("{stage}: {detail}")]
struct BuildError {
    /// A word of a fixed set that the host maps to advice.
    stage: &'static str,
    detail: String,
    errno: Option<Errno>,
}

impl BuildError {
    fn new(stage: &'static str, detail: impl Into<String>) -> Self {
        Self {
            stage,
            detail: detail.into(),
            errno: None,
        }
    }

    fn of(stage: &'static str, detail: impl Into<String>, errno: Errno) -> Self {
        Self {
            stage,
            detail: detail.into(),
            errno: Some(errno),
        }
    }

    fn io(stage: &'static str, detail: impl Into<String>, error: &std::io::Error) -> Self {
        Self {
            stage,
            detail: detail.into(),
            errno: Errno::from_io_error(error),
        }
    }
}

fn supervisor() -> ExitCode {
    // First of all: nothing that the host forgot to mark may reach an engine.
    if sys::close_from(3, false).is_err() {
        return ExitCode::from(EXIT_NOT_BUILT);
    }
    sys::block_signals();
    let Ok(mut control) = Control::take_stdin() else {
        return ExitCode::from(EXIT_NOT_BUILT);
    };
    match control
        .read_order()
        .and_then(|order| build_and_supervise(&mut control, &order))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The host learns it from the exit code when it cannot be told.
            let _ = control.send(
                &Notice::NotBuilt {
                    stage: error.stage.to_owned(),
                    detail: error.detail,
                    errno: error.errno.map(Errno::raw_os_error),
                },
                &[],
            );
            ExitCode::from(EXIT_NOT_BUILT)
        }
    }
}

fn build_and_supervise(control: &mut Control, order: &Order) -> Result<(), BuildError> {
    if order.version != VERSION {
        return Err(BuildError::new(
            "version",
            format!("helper speaks {VERSION}, host {}", order.version),
        ));
    }
    let null = rustix::fs::open(
        "/dev/null",
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(|e| BuildError::of("null", "cannot open /dev/null", e))?;
    // A root host's files may be readable to root only, so their mounts and copies are made before
    // root is given up. An ordinary user, and root in a container that may not mount, can do so
    // only in a namespace of their own; but root opens the inputs before.
    let materials = match order.uid {
        Some(uid) if !order.walls.namespaces || identity::may_mount() => {
            let inputs = Inputs::inspect(order, Placed::Now)?;
            let materials = materials::collect(order, &inputs, Some(uid))?;
            identity::become_job(uid)?;
            if order.walls.namespaces {
                identity::enter_namespaces()?;
            }
            materials
        }
        Some(uid) => {
            let inputs = Inputs::inspect(order, Placed::Later)?;
            identity::become_job(uid)?;
            identity::enter_namespaces()?;
            materials::collect(order, &inputs, None)?
        }
        None => {
            if order.walls.namespaces {
                identity::enter_namespaces()?;
            }
            materials::collect(order, &Inputs::inspect(order, Placed::Now)?, None)?
        }
    };
    control.send(&Notice::Work, &[materials.work_directory()])?;
    let place = root::assemble(materials)?;
    supervise::run(control, order, &place, &null)
}
