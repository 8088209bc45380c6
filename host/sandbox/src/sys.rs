//! The system calls for which no safe wrapper exists. All `unsafe` code of the crate is here.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

pub(crate) enum Fork {
    Child,
    Parent(Pid),
}

/// Cpu times and peak memory of a process that was waited for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Resources {
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_memory_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited {
    /// As `waitpid` gives it.
    pub(crate) status: i32,
    /// Of the process and those of its children that it waited for.
    pub(crate) resources: Resources,
}

/// The error of the last call as a value.
fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Splits the process. For the helper, which has one thread; elsewhere only to see it refused.
#[expect(unsafe_code, reason = "fork has no safe wrapper")]
pub(crate) fn fork() -> Result<Fork, Errno> {
    // SAFETY: the helper has one thread, so no lock can be held by a thread that the child lacks.
    // The self-test program, which has had a second one, only exits in the child.
    let pid = unsafe { libc::fork() };
    match pid {
        0 => Ok(Fork::Child),
        1.. => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::SRCH),
        _ => Err(errno()),
    }
}

/// Ends the process at once, without destructors or buffers: those are the parent's.
#[expect(unsafe_code, reason = "_exit has no safe wrapper")]
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes no pointers and does not return.
    unsafe { libc::_exit(code) }
}

/// Replaces the process; returns only on failure.
#[expect(unsafe_code, reason = "execve has no safe wrapper")]
pub(crate) fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect::<Vec<_>>()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer and, like the strings, outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    errno()
}

/// Waits for one child to end and says what it used.
#[expect(unsafe_code, reason = "wait4 has no safe wrapper")]
pub(crate) fn wait_for(pid: Pid) -> Result<Waited, Errno> {
    let mut status = 0;
    // SAFETY: plain integers, for which zeroes are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to live locals of the right type.
        let found = unsafe {
            libc::wait4(
                pid.as_raw_nonzero().get(),
                &raw mut status,
                0,
                &raw mut usage,
            )
        };
        if found >= 0 {
            return Ok(Waited {
                status,
                resources: resources(&usage),
            });
        }
        let error = errno();
        if error != Errno::INTR {
            return Err(error);
        }
    }
}

fn resources(usage: &libc::rusage) -> Resources {
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec)
            .unwrap_or(0)
            .saturating_mul(1_000_000)
            .saturating_add(u64::try_from(time.tv_usec).unwrap_or(0))
    };
    Resources {
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        // Linux counts it in KiB.
        peak_memory_bytes: u64::try_from(usage.ru_maxrss)
            .unwrap_or(0)
            .saturating_mul(1024),
    }
}

/// Leaves the namespaces named by `CLONE_NEW*` flags for new ones.
#[expect(unsafe_code, reason = "unshare of namespaces has no safe wrapper")]
pub(crate) fn unshare_namespaces(flags: rustix::thread::UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the hazard is CLONE_FILES, which no caller passes, and there is one thread.
    unsafe { rustix::thread::unshare_unsafe(flags - rustix::thread::UnshareFlags::FILES) }
}

/// `struct mount_attr`, which the C library's headers lack on some systems.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;
const MOUNT_ATTR_NOEXEC: u64 = 8;

/// What to forbid on a mount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MountWalls {
    pub(crate) read_only: bool,
    pub(crate) no_execute: bool,
    pub(crate) no_devices: bool,
    /// Also on the mounts below it.
    pub(crate) recursive: bool,
}

/// Sets attributes on a mount, cuts its propagation, and forbids set-user-id always.
#[expect(unsafe_code, reason = "mount_setattr has no wrapper")]
pub(crate) fn wall_mount(mount: BorrowedFd<'_>, walls: MountWalls) -> Result<(), Errno> {
    let flag = |wanted: bool, flag: u64| if wanted { flag } else { 0 };
    let attributes = MountAttributes {
        set: MOUNT_ATTR_NOSUID
            | flag(walls.read_only, MOUNT_ATTR_RDONLY)
            | flag(walls.no_execute, MOUNT_ATTR_NOEXEC)
            | flag(walls.no_devices, MOUNT_ATTR_NODEV),
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    let flags = libc::AT_EMPTY_PATH
        | if walls.recursive {
            libc::AT_RECURSIVE
        } else {
            0
        };
    // SAFETY: the descriptor is open, the path is a literal, and the structure outlives the call
    // and is described by its true size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

/// Takes a capability out of the set that bounds what executing a file can grant.
#[expect(unsafe_code, reason = "the safe wrapper knows no capability by number")]
pub(crate) fn drop_bounding(capability: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    let result = unsafe {
        libc::prctl(
            libc::PR_CAPBSET_DROP,
            libc::c_ulong::from(capability),
            0,
            0,
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

/// Closes all descriptors from `first` on, or marks them to close at the next `execve`.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(crate) fn close_from(first: u32, at_execute: bool) -> Result<(), Errno> {
    let flags = if at_execute {
        libc::CLOSE_RANGE_CLOEXEC
    } else {
        0
    };
    // SAFETY: takes no pointers. Callers close only descriptors that no live value owns: at the
    // start of a process, or in a child that from then on uses none of its parent's.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(errno()) }
}

/// Blocks every signal that can be blocked, so that a terminal cannot end the supervisor.
#[expect(unsafe_code, reason = "signal masks have no safe wrapper")]
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by sigfillset before use; both pointers are valid.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Gives every signal its default action and unblocks all: Rust programs start with an ignored
/// SIGPIPE, and ignored signals survive `execve`.
#[expect(unsafe_code, reason = "signal dispositions have no safe wrapper")]
pub(crate) fn reset_signals() {
    // SAFETY: SIG_DFL is a valid action for every signal; numbers without a signal, SIGKILL and
    // SIGSTOP make the call fail, which is harmless. The set is initialised before use.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Waits until a child has ended. All signals must be blocked.
#[expect(unsafe_code, reason = "sigwaitinfo has no safe wrapper")]
pub(crate) fn wait_for_child_signal() {
    // SAFETY: the set is initialised before use, and a null pointer for the details is allowed.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigwaitinfo(&raw const set, std::ptr::null_mut());
    }
}

/// Makes one system call by number with arguments that are no pointers. For the self-test, whose
/// business is calls that must fail.
#[expect(unsafe_code, reason = "the self-test makes forbidden calls")]
pub(crate) fn attempt(number: libc::c_long, arguments: [libc::c_long; 5]) -> Result<i64, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: callers pass integers and null pointers only, which the kernel refuses or accepts
    // without touching memory of this process.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result < 0 { Err(errno()) } else { Ok(result) }
}
