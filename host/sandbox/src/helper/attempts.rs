//! The engine of the self-test: tries what a sandbox must refuse and says how it went.
//!
//! Run inside the walls under test, as any engine is. One line per attempt on standard output:
//! name, `allowed` or `denied`, detail. What it may do is attempted too: walls that let nothing
//! through would pass otherwise.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::ExitCode;

use rustix::process::Pid;

use crate::sys::{self, Fork};

/// Descriptors looked at for one that was inherited; the host's own limit is far below.
const DESCRIPTORS_MAX: i32 = 1024;

const PTRACE_SEIZE: libc::c_long = 0x4206;

/// Arguments: a file of the host that nobody else may read, a directory of the host that is
/// writable to all, a loopback port with a listener, the host's process id.
pub(super) fn main(arguments: &[OsString]) -> ExitCode {
    let [secret, outside, port, host] = arguments else {
        return ExitCode::from(2);
    };
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse::<u32>().ok());
    let (Some(port), Some(host)) = (
        number(port).and_then(|p| u16::try_from(p).ok()),
        number(host),
    ) else {
        return ExitCode::from(2);
    };
    let mut out = io::stdout().lock();
    let mut tell = |name: &str, result: io::Result<()>| {
        let line = match result {
            Ok(()) => format!("{name}\tallowed\t\n"),
            Err(e) => format!("{name}\tdenied\t{e}\n"),
        };
        // A report that cannot be written is missing, which fails the test.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    };
    let outside = Path::new(outside);

    tell("write-work", fs::write("attempt", b"x"));
    tell(
        "read-random",
        File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut [0; 8])),
    );
    tell(
        "start-thread",
        std::thread::Builder::new().spawn(|| ()).map(|_| ()),
    );

    tell("read-passwords", fs::read("/etc/passwd").map(drop));
    tell("read-process-list", fs::read("/proc/self/status").map(drop));
    tell("read-other-job", fs::read(Path::new(secret)).map(drop));
    tell("write-outside", fs::write(outside.join("attempt"), b"x"));
    tell("write-system", fs::write("/usr/attempt", b"x"));
    tell(
        "connect-loopback",
        TcpStream::connect(("127.0.0.1", port)).map(drop),
    );
    tell(
        "open-unix-socket",
        std::os::unix::net::UnixDatagram::unbound().map(drop),
    );
    tell("start-process", start_process());
    tell(
        "enter-user-namespace",
        call(
            libc::SYS_unshare,
            [libc::c_long::from(libc::CLONE_NEWUSER), 0, 0, 0, 0],
        ),
    );
    tell("signal-host", signal(host));
    // Seizing does not stop the host, should it succeed.
    tell(
        "trace-host",
        call(libc::SYS_ptrace, [PTRACE_SEIZE, host.into(), 0, 0, 0]),
    );
    tell(
        "start-io-ring",
        call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    );
    tell("link", symlink("/etc/passwd", "link"));
    tell(
        "lend-identity",
        fs::set_permissions("attempt", fs::Permissions::from_mode(0o4755)),
    );
    tell("inherit-descriptor", inherited());
    // Last: success would replace this program, and the report would end without the closing line.
    tell("execute-own-file", execute_own());
    tell("end", Ok(()));
    ExitCode::SUCCESS
}

/// Refused for want of permission; a complaint about the null arguments would mean that the call
/// was looked at.
fn call(number: libc::c_long, arguments: [libc::c_long; 5]) -> io::Result<()> {
    use rustix::io::Errno;
    match sys::attempt(number, arguments) {
        Ok(_) | Err(Errno::FAULT | Errno::INVAL) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn start_process() -> io::Result<()> {
    match sys::fork()? {
        Fork::Child => sys::exit_now(0),
        Fork::Parent(pid) => sys::wait_for(pid).map(drop).map_err(Into::into),
    }
}

/// Signal 0 asks only whether a signal would be delivered.
fn signal(host: u32) -> io::Result<()> {
    let pid = i32::try_from(host)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::test_kill_process(pid)?)
}

fn inherited() -> io::Result<()> {
    (3..DESCRIPTORS_MAX)
        .any(|descriptor| {
            sys::attempt(
                libc::SYS_fcntl,
                [descriptor.into(), libc::F_GETFD.into(), 0, 0, 0],
            )
            .is_ok()
        })
        .then_some(())
        .ok_or_else(|| io::Error::other("none"))
}

fn execute_own() -> io::Result<()> {
    fs::write("program", b"#!/bin/true\n")?;
    // Already 0755 where the file system minds; the walls must mind anyway.
    fs::set_permissions("program", fs::Permissions::from_mode(0o755))?;
    Err(sys::execute(c"program", &[c"program".into()], &[]).into())
}
