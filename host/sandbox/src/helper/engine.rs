//! The last steps before the engine: what runs between `fork` and `execve`.

use std::ffi::{CString, OsStr};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use super::root::Place;
use super::{landlock_rules, syscall_filter};
use crate::sys;
use crate::wire::{Order, Walls};

/// Stack of the first thread, and the address space of each further one: what distributions set.
const STACK_BYTES: u64 = 8 << 20;
/// The supervisor and init count among the user's processes.
const OWN_PROCESSES: u64 = 2;
/// Threads that other jobs of the same user may start during this one: some dozens of jobs on each
/// of some dozens of cores.
const NEIGHBOURS: u64 = 1024;
/// The highest capability number that could ever be; the kernel says where its own end.
const CAPABILITIES_MAX: u32 = 63;

/// What the child tells its supervisor before it becomes the engine. No message at all, but a
/// closed pipe, cannot happen: every path ends in one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Birth {
    /// All walls stand and `execve` is next; if it succeeds, nothing follows.
    Ready {
        landlock_abi: Option<u32>,
    },
    Failed {
        stage: String,
        detail: String,
        errno: Option<i32>,
    },
    NotExecuted {
        errno: i32,
    },
}

struct Failure {
    stage: &'static str,
    detail: String,
    errno: Option<Errno>,
}

/// Becomes the engine; does not return. `birth` closes at `execve`.
pub(super) fn become_engine(
    order: &Order,
    place: &Place,
    null: &OwnedFd,
    supervisor: Pid,
    birth: OwnedFd,
) -> ! {
    let mut birth = std::fs::File::from(birth);
    let mut tell = |message: &Birth| {
        if let Ok(bytes) = crate::frame::encode(message) {
            // Smaller than a pipe's atomic write; without a reader there is nobody to tell.
            let _ = birth.write_all(&bytes);
        }
    };
    match confine(order, place, null, supervisor, &mut tell) {
        Ok(errno) => tell(&Birth::NotExecuted {
            errno: errno.raw_os_error(),
        }),
        Err(failure) => tell(&Birth::Failed {
            stage: failure.stage.to_owned(),
            detail: failure.detail,
            errno: failure.errno.map(Errno::raw_os_error),
        }),
    }
    sys::exit_now(i32::from(crate::wire::EXIT_NOT_BUILT))
}

fn confine(
    order: &Order,
    place: &Place,
    null: &OwnedFd,
    supervisor: Pid,
    tell: &mut dyn FnMut(&Birth),
) -> Result<Errno, Failure> {
    let failed = |stage: &'static str, detail: &str| {
        let detail = detail.to_owned();
        move |errno: Errno| Failure {
            stage,
            detail,
            errno: Some(errno),
        }
    };
    die_with_supervisor(order.walls, supervisor)?;
    rustix::process::setsid().map_err(failed("session", "cannot begin a session"))?;
    rustix::stdio::dup2_stdin(null).map_err(failed("streams", "cannot redirect the input"))?;
    sys::close_from(3, true).map_err(failed("streams", "cannot mark descriptors"))?;
    sys::reset_signals();

    let text = |bytes: &[u8]| {
        CString::new(bytes).map_err(|_| Failure {
            stage: "order",
            detail: "an argument holds a zero byte".to_owned(),
            errno: None,
        })
    };
    let program = text(&order.program)?;
    let mut arguments = vec![program.clone()];
    for argument in &order.arguments {
        arguments.push(text(argument)?);
    }
    let environment = order
        .environment
        .iter()
        .map(|(name, value)| text(&[name.as_slice(), b"=", value.as_slice()].concat()))
        .collect::<Result<Vec<_>, _>>()?;

    // Before Landlock takes /proc away.
    let processes = processes_max(order);
    let rules = if order.walls.landlock {
        Some(
            landlock_rules::apply(
                place,
                Path::new(OsStr::from_bytes(&order.program)),
                order.execute,
            )
            .map_err(|e| Failure {
                stage: "landlock",
                detail: e.to_string(),
                errno: None,
            })?,
        )
    } else {
        None
    };
    if order.walls.namespaces || order.walls.seccomp {
        drop_capabilities().map_err(failed("capabilities", "cannot drop capabilities"))?;
    }
    rustix::thread::set_no_new_privs(true)
        .map_err(failed("no-new-privileges", "cannot forswear privileges"))?;
    set_limits(order, processes).map_err(failed("limits", "cannot set limits"))?;
    if order.walls.seccomp {
        let own_pid = rustix::process::getpid()
            .as_raw_nonzero()
            .get()
            .cast_unsigned();
        syscall_filter::apply(order.syscalls, order.allow_fork, own_pid).map_err(|e| Failure {
            stage: "seccomp",
            detail: e.to_string(),
            errno: None,
        })?;
    }
    tell(&Birth::Ready {
        landlock_abi: rules,
    });
    Ok(sys::execute(&program, &arguments, &environment))
}

/// The kernel kills the engine when the supervisor dies, however that happens. At L2 so does
/// init's death. After all changes of identity, which would undo it.
fn die_with_supervisor(walls: Walls, supervisor: Pid) -> Result<(), Failure> {
    let failed = |detail: &str, errno| Failure {
        stage: "death-signal",
        detail: detail.to_owned(),
        errno,
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| failed("cannot tie the engine to its supervisor", Some(e)))?;
    // It may have died before that. In a namespace of its own the parent has no number.
    let parent = rustix::process::getppid();
    let expected = if walls.namespaces {
        None
    } else {
        Some(supervisor)
    };
    if parent == expected {
        Ok(())
    } else {
        Err(failed("the supervisor is gone", None))
    }
}

pub(super) fn drop_capabilities() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    for number in 0..=CAPABILITIES_MAX {
        match sys::drop_bounding(number) {
            Ok(()) => {}
            // Past the last capability that this kernel has.
            Err(Errno::INVAL) => break,
            // Without the right to drop them there are none to regain either: below L2 an
            // ordinary user holds nothing, and no_new_privs keeps it so.
            Err(Errno::PERM) => break,
            Err(e) => return Err(e),
        }
    }
    rustix::thread::set_capabilities(
        None,
        rustix::thread::CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    )
}

/// Processes and threads that the job's user may have. Where that is the host's own user, it has
/// others, and more may start meanwhile: this then stops a bomb, not each thread too many.
fn processes_max(order: &Order) -> u64 {
    let own = if order.uid.is_some() || order.walls.namespaces {
        OWN_PROCESSES
    } else {
        own_threads().saturating_add(NEIGHBOURS)
    };
    order.limits.threads.saturating_add(own)
}

fn set_limits(order: &Order, processes: u64) -> Result<(), Errno> {
    let limits = &order.limits;
    for (resource, value) in [
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
        (Resource::Sigpending, 256),
        // Equal soft and hard limits: the kernel kills at once, with no signal to ignore before.
        (Resource::Cpu, limits.cpu_s),
        (Resource::Fsize, limits.file_bytes),
        (Resource::Nofile, limits.open_files),
        (Resource::Nproc, processes),
        (Resource::Stack, STACK_BYTES),
        // Last: from here on this process, too, may run out.
        (Resource::Data, limits.memory_bytes),
        (Resource::As, limits.memory_bytes),
    ] {
        // A hard limit that the host itself is under cannot be raised, nor need it be.
        let ceiling = rustix::process::getrlimit(resource)
            .maximum
            .unwrap_or(u64::MAX);
        let value = Some(value.min(ceiling));
        rustix::process::setrlimit(
            resource,
            Rlimit {
                current: value,
                maximum: value,
            },
        )?;
    }
    Ok(())
}

/// Threads of this user on the machine, as far as they can be seen. Taken from one listing of
/// `/proc`, whose length the kernel bounds; processes that vanish meanwhile do not count.
fn own_threads() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::getuid().as_raw();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return 0;
    };
    processes
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .as_bytes()
                .first()
                .is_some_and(u8::is_ascii_digit)
        })
        .filter(|entry| entry.metadata().is_ok_and(|found| found.uid() == own))
        .map(|entry| {
            std::fs::read_dir(entry.path().join("task")).map_or(1, |tasks| tasks.count() as u64)
        })
        .sum()
}
