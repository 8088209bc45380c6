//! Starts init and the engine, waits for whatever ends the run, and sees everything gone.
//!
//! Init and the engine are both children of the supervisor, so that it learns the engine's end and
//! usage from the kernel itself, not from a process inside the walls.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::BuildError;
use super::control::Control;
use super::engine::{self, Birth};
use super::root::Place;
use super::usage_of_work;
use crate::frame;
use crate::sys::{self, Fork, Resources, Waited};
use crate::wire::{Death, End, KillReason, Notice, Order};

/// How often a plain work directory is counted. An engine fills a few hundred MB meanwhile.
const COUNT_PERIOD: Duration = Duration::from_millis(200);
/// Rounds of killing leftovers where nothing bounds them; each kills all that were born before.
const SWEEPS_MAX: usize = 1000;

/// A process that is being waited for.
struct Watched {
    pid: Pid,
    descriptor: OwnedFd,
}

impl Watched {
    fn new(pid: Pid) -> Result<Self, Errno> {
        Ok(Self {
            pid,
            descriptor: rustix::process::pidfd_open(pid, PidfdFlags::empty())?,
        })
    }

    fn kill(&self) {
        // Gone already is what is wanted.
        let _ = rustix::process::pidfd_send_signal(&self.descriptor, Signal::KILL);
    }
}

pub(super) fn run(
    control: &mut Control,
    order: &Order,
    place: &Place,
    null: &OwnedFd,
) -> Result<(), BuildError> {
    let failed =
        |what: &'static str| move |e: Errno| BuildError::of("start", format!("cannot {what}"), e);
    if !order.walls.namespaces {
        // Leftovers of an engine that forks become children here and can be seen.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(failed("adopt orphans"))?;
    }
    let init = if order.walls.namespaces {
        Some(start_init()?)
    } else {
        None
    };
    let (birth, told) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    let supervisor = rustix::process::getpid();
    let started = Instant::now();
    let pid = match sys::fork().map_err(failed("start the engine"))? {
        Fork::Child => engine::become_engine(order, place, null, supervisor, told),
        Fork::Parent(pid) => pid,
    };
    drop(told);
    let engine = Watched::new(pid).map_err(failed("watch the engine"))?;
    // The engine's streams must close when it ends.
    rustix::stdio::dup2_stdin(null).map_err(failed("close the streams"))?;
    rustix::stdio::dup2_stdout(null).map_err(failed("close the streams"))?;
    rustix::stdio::dup2_stderr(null).map_err(failed("close the streams"))?;

    let landlock_abi = match await_birth(birth) {
        Ok(abi) => abi,
        Err(notice) => {
            bury(order, &engine, init.as_ref())?;
            return control.send(&notice, &[]);
        }
    };
    let mut descriptors = vec![engine.descriptor.as_fd()];
    descriptors.extend(init.as_ref().map(|init| init.descriptor.as_fd()));
    // A host that is gone cannot be told; the watch sees that and kills.
    let _ = control.send(
        &Notice::Started {
            layers: layers(order),
            landlock_abi,
        },
        &descriptors,
    );
    let killed_for = watch(control, order, place, &engine, started)?;
    let wall = started.elapsed();
    let remains = bury(order, &engine, init.as_ref())?;
    control.send(
        &Notice::Ended(end(order, place, killed_for, wall, remains)),
        &[],
    )
}

/// Process 1 of the engine's process namespace. It does nothing but bury orphans; its death, which
/// the supervisor's brings about, kills all others.
fn start_init() -> Result<Watched, BuildError> {
    let failed =
        |what: &'static str| move |e: Errno| BuildError::of("start", format!("cannot {what}"), e);
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(failed("make a pipe"))?;
    match sys::fork().map_err(failed("start init"))? {
        Fork::Child => {
            drop(theirs);
            let tied = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
            // The supervisor holds the other end: if it is closed, the signal came too late.
            let alive = rustix::io::read(&ours, &mut [0_u8; 1]) == Err(Errno::AGAIN);
            if !(tied
                && alive
                && engine::drop_capabilities().is_ok()
                && sys::close_from(0, false).is_ok())
            {
                sys::exit_now(i32::from(crate::wire::EXIT_NOT_BUILT));
            }
            loop {
                while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
                sys::wait_for_child_signal();
            }
        }
        Fork::Parent(pid) => {
            let init = Watched::new(pid).map_err(failed("watch init"))?;
            // Held open for as long as the supervisor lives.
            std::mem::forget(theirs);
            Ok(init)
        }
    }
}

/// Waits until the child has become the engine, or says why it has not.
fn await_birth(birth: OwnedFd) -> Result<Option<u32>, Notice> {
    let not_built = |detail: String| Notice::NotBuilt {
        stage: "start".to_owned(),
        detail,
        errno: None,
    };
    let mut told = Vec::new();
    // Ends when `execve` or death closes the pipe. Three short messages at most.
    std::fs::File::from(birth)
        .take(64 << 10)
        .read_to_end(&mut told)
        .map_err(|e| not_built(format!("cannot hear from the engine's process: {e}")))?;
    let mut ready = None;
    while let Some(message) =
        frame::take::<Birth>(&mut told).map_err(|e| not_built(e.to_string()))?
    {
        match message {
            Birth::Ready { landlock_abi } => ready = Some(landlock_abi),
            Birth::Failed {
                stage,
                detail,
                errno,
            } => {
                return Err(Notice::NotBuilt {
                    stage,
                    detail,
                    errno,
                });
            }
            Birth::NotExecuted { errno } => return Err(Notice::NotExecuted { errno }),
        }
    }
    ready
        .ok_or_else(|| not_built("the engine's process died while its walls were built".to_owned()))
}

/// Waits for the engine's end or for a reason to kill it.
fn watch(
    control: &Control,
    order: &Order,
    place: &Place,
    engine: &Watched,
    started: Instant,
) -> Result<Option<KillReason>, BuildError> {
    let wall = Duration::from_millis(order.limits.wall_ms);
    loop {
        let left = wall.saturating_sub(started.elapsed());
        let timeout = if order.walls.namespaces {
            left
        } else {
            left.min(COUNT_PERIOD)
        };
        let timeout = Timespec::try_from(timeout)
            .map_err(|_| BuildError::new("limits", "wall limit out of range"))?;
        let mut polled = [
            PollFd::new(&engine.descriptor, PollFlags::IN),
            PollFd::new(control, PollFlags::IN),
        ];
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(BuildError::of("watch", "cannot wait for the engine", e)),
        }
        let [engine_ready, control_ready] = polled.map(|found| !found.revents().is_empty());
        if engine_ready {
            return Ok(None);
        }
        if control_ready {
            return Ok(Some(KillReason::Stopped));
        }
        if started.elapsed() >= wall {
            return Ok(Some(KillReason::Deadline));
        }
        if !order.walls.namespaces && usage_of_work::is_full(order, place) {
            return Ok(Some(KillReason::WorkFull));
        }
    }
}

/// How the engine ended, and what else of the namespace used.
struct Remains {
    engine: Waited,
    leftovers: Resources,
}

/// Kills what still lives and waits until nothing does.
fn bury(order: &Order, engine: &Watched, init: Option<&Watched>) -> Result<Remains, BuildError> {
    let failed = |e: Errno| BuildError::of("wait", "cannot wait for the engine", e);
    if let Some(init) = init {
        init.kill();
    }
    // Not reaped yet, so the number is still the engine's, and so is the group that it leads.
    let _ = rustix::process::kill_process_group(engine.pid, Signal::KILL);
    engine.kill();
    let waited = sys::wait_for(engine.pid).map_err(failed)?;
    let leftovers = match init {
        // Init ends only after everything in its namespace has.
        Some(init) => sys::wait_for(init.pid).map_err(failed)?.resources,
        None => {
            sweep()?;
            Resources::default()
        }
    };
    let leftovers = if order.allow_fork {
        leftovers
    } else {
        Resources::default()
    };
    Ok(Remains {
        engine: waited,
        leftovers,
    })
}

/// Kills orphans where no process namespace holds them: all have become children of this process.
fn sweep() -> Result<(), BuildError> {
    let list = format!(
        "/proc/self/task/{}/children",
        rustix::thread::gettid().as_raw_nonzero()
    );
    for _ in 0..SWEEPS_MAX {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Err(Errno::CHILD) => return Ok(()),
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Ok(None) => {}
            Err(e) => return Err(BuildError::of("wait", "cannot wait for orphans", e)),
        }
        for child in std::fs::read_to_string(&list)
            .unwrap_or_default()
            .split_whitespace()
        {
            if let Some(pid) = child.parse().ok().and_then(Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, Signal::KILL);
            }
        }
        // Until they are dead; a killed process is gone within a scheduling round.
        let pause = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&pause));
    }
    Err(BuildError::new("wait", "orphans outlive being killed"))
}

fn end(
    order: &Order,
    place: &Place,
    killed_for: Option<KillReason>,
    wall: Duration,
    remains: Remains,
) -> End {
    let Remains { engine, leftovers } = remains;
    let death = if libc::WIFSIGNALED(engine.status) {
        Death::Signaled(libc::WTERMSIG(engine.status))
    } else {
        Death::Exited(libc::WEXITSTATUS(engine.status))
    };
    End {
        killed_for,
        death,
        wall_us: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        cpu_user_us: engine.resources.user_us.saturating_add(leftovers.user_us),
        cpu_system_us: engine
            .resources
            .system_us
            .saturating_add(leftovers.system_us),
        peak_memory_bytes: engine
            .resources
            .peak_memory_bytes
            .max(leftovers.peak_memory_bytes),
        work_full: usage_of_work::is_full(order, place),
    }
}

/// The walls that stand, for the record of the run.
fn layers(order: &Order) -> Vec<String> {
    let walls = order.walls;
    let mut layers = Vec::new();
    if order.uid.is_some() {
        layers.push("job-user");
    }
    if walls.namespaces {
        layers.extend(["user", "mount", "pid", "network", "ipc", "uts", "cgroup"]);
        layers.push("bounded-work");
    }
    if walls.landlock {
        layers.push("landlock");
    }
    if walls.seccomp {
        layers.push("seccomp");
    }
    if walls.namespaces || walls.seccomp {
        layers.push("no-capabilities");
    }
    layers.extend(["no-new-privileges", "limits"]);
    layers.into_iter().map(str::to_owned).collect()
}
