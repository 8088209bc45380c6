//! The hostile program: attempts one thing, named by its first argument, and says how it went on
//! standard output as `allowed` or `denied ERRNO`, or simply misbehaves.
//!
//! As `host` it plays the host instead, so that a test can kill a host.

#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test program that breaks rules on purpose"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use libc::c_long;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rest: Vec<&str> = arguments.iter().skip(2).map(String::as_str).collect();
    match arguments[1].as_str() {
        "host" => host(&rest),
        "exit" => std::process::exit(rest[0].parse().unwrap()),
        "die" => unsafe {
            let signal = rest[0].parse().unwrap();
            // Rust handles some itself.
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        },
        "sleep" => std::thread::sleep(Duration::from_secs(1_000_000)),
        "start-and-sleep" => {
            println!("started");
            std::thread::sleep(Duration::from_secs(1_000_000));
        }
        "spin" => spin(),
        "threads" => threads(rest[0].parse().unwrap()),
        "fork-bomb" => fork_bomb(),
        "grandchild" => grandchild(),
        "memory" => memory(),
        "shared-memory" => shared_memory(),
        "huge-allocation" => {
            println!("{:?}", vec![1_u8; 1 << 45].last());
        }
        "stack" => {
            std::hint::black_box(overflow(1));
        }
        "fill-file" => fill(1, 1 << 40, rest.first() == Some(&"quietly")),
        "sparse" => report(File::create("sparse").and_then(|file| file.set_len(1 << 40))),
        "fill-disk" => fill(100_000, 1 << 20, false),
        "many-files" => fill(100_000, 1, false),
        "fill-and-leave" => fill(100_000, 1 << 20, true),
        "flood" => flood(rest[0].parse().unwrap()),
        "noise" => io::stdout().write_all(&noise()).unwrap(),
        "echo" => print!("{}", rest.join("\n")),
        "environment" => {
            std::env::vars_os()
                .for_each(|(name, value)| println!("{}={}", name.display(), value.display()));
        }
        "streams" => streams(),
        "outputs" => outputs(),
        "int80" => int80(),
        attempt => report(try_one(attempt, &rest)),
    }
}

/// What must fail, one call each.
fn try_one(attempt: &str, rest: &[&str]) -> io::Result<()> {
    match attempt {
        "read" => File::open(rest[0]).and_then(|mut file| file.read(&mut [0; 16]).map(drop)),
        "read-all" => rest.iter().try_for_each(|path| fs::read(path).map(drop)),
        "stat" => fs::symlink_metadata(rest[0]).map(drop),
        "list" => fs::read_dir(rest[0]).map(drop),
        "write" => fs::write(rest[0], "x"),
        "append" => OpenOptions::new()
            .append(true)
            .open(rest[0])
            .and_then(|mut file| file.write_all(b"x")),
        "truncate" => File::options()
            .write(true)
            .truncate(true)
            .open(rest[0])
            .map(drop),
        "rename" => fs::rename(rest[0], rest[1]),
        "tcp" => TcpStream::connect(("127.0.0.1", rest[0].parse().unwrap())).map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "abstract-socket" => {
            UnixListener::bind_addr(&SocketAddr::from_abstract_name("abuse")?).map(drop)
        }
        "socket-pair" => std::os::unix::net::UnixStream::pair().map(drop),
        "io-uring" => call(libc::SYS_io_uring_setup, &[1, 0]),
        "user-namespace" => call(libc::SYS_unshare, &[libc::CLONE_NEWUSER.into()]),
        "clone-namespace" => clone((libc::CLONE_NEWUSER | libc::SIGCHLD).into()),
        "clone3" => call(libc::SYS_clone3, &[0, 0]),
        "openat2" => call(libc::SYS_openat2, &[0, 0, 0, 0]),
        "bpf" => call(libc::SYS_bpf, &[0, 0, 0]),
        "keyctl" => call(libc::SYS_keyctl, &[0, -3, 0]),
        "perf" => call(libc::SYS_perf_event_open, &[0, 0, -1, -1, 0]),
        "set-time" => call(libc::SYS_settimeofday, &[0, 0]),
        "mount" => call(libc::SYS_mount, &[0, 0, 0, 0, 0]),
        "chroot" => call(libc::SYS_chroot, &[0]),
        "setuid" => call(libc::SYS_setuid, &[0]),
        "trace" => call(
            libc::SYS_ptrace,
            &[libc::PTRACE_ATTACH.into(), rest[0].parse().unwrap()],
        ),
        "read-memory" => call(
            libc::SYS_process_vm_readv,
            &[rest[0].parse().unwrap(), 0, 0, 0, 0, 0],
        ),
        // Signal 0 asks only whether a signal would be delivered: the target may be real.
        "kill" => call(libc::SYS_kill, &[rest[0].parse().unwrap(), 0]),
        "tgkill" => call(
            libc::SYS_tgkill,
            &[rest[0].parse().unwrap(), rest[0].parse().unwrap(), 0],
        ),
        "raise-limit" => {
            let limit = libc::rlimit {
                rlim_cur: u64::MAX,
                rlim_max: u64::MAX,
            };
            outcome(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }.into())
        }
        "limits-of" => call(libc::SYS_prlimit64, &[rest[0].parse().unwrap(), 0, 0, 0]),
        "outlive" => call(
            libc::SYS_prctl,
            &[libc::PR_SET_PDEATHSIG.into(), 0, 0, 0, 0],
        ),
        "signal-owner" => call(
            libc::SYS_fcntl,
            &[1, libc::F_SETOWN.into(), rest[0].parse().unwrap()],
        ),
        "type-into-terminal" => call(libc::SYS_ioctl, &[1, 0x5412, 0]),
        "fork" => fork(),
        "symlink" => symlink("/etc/passwd", "symlink"),
        "hardlink" => fs::write("target", "x").and_then(|()| fs::hard_link("target", "hardlink")),
        "fifo" => outcome(unsafe { libc::mkfifo(c"fifo".as_ptr(), 0o600) }.into()),
        "device" => outcome(
            unsafe { libc::mknod(c"device".as_ptr(), libc::S_IFCHR | 0o600, 0x0103) }.into(),
        ),
        "attribute" => {
            fs::write("target", "x")?;
            let (path, name) = (c"target".as_ptr(), c"user.x".as_ptr());
            outcome(unsafe { libc::setxattr(path, name, name.cast(), 1, 0) }.into())
        }
        "setuid-bit" => fs::write("target", "x")
            .and_then(|()| fs::set_permissions("target", fs::Permissions::from_mode(0o4755))),
        "setgid-bit" => fs::write("target", "x")
            .and_then(|()| fs::set_permissions("target", fs::Permissions::from_mode(0o2755))),
        "setuid-create" => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o4755)
            .open("created")
            .map(drop),
        "execute-dropped" => {
            fs::copy("/usr/bin/true", "dropped")?;
            fs::set_permissions("dropped", fs::Permissions::from_mode(0o755))?;
            execute("./dropped", &[])
        }
        "execute" => execute(rest[0], &rest[1..]),
        "run-child" => std::process::Command::new(rest[0])
            .args(&rest[1..])
            .status()
            .map(drop),
        "inherited" => {
            let open =
                (3..4096).any(|descriptor| unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0);
            open.then_some(())
                .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))
        }
        "memfd" => call(libc::SYS_memfd_create, &[c"x".as_ptr() as c_long, 0]),
        "sysv-memory" => call(libc::SYS_shmget, &[libc::IPC_PRIVATE.into(), 4096, 0o600]),
        "posix-memory" => fs::write("/dev/shm/abuse", "x"),
        // getpid under the x32 interface.
        "x32" => call(0x4000_0000 + libc::SYS_getpid, &[]),
        "read-stdin" => io::stdin().read_to_end(&mut Vec::new()).map(drop),
        other => panic!("no such attempt: {other}"),
    }
}

fn report(result: io::Result<()>) {
    match result {
        Ok(()) => println!("allowed"),
        Err(error) => println!("denied {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn outcome(result: c_long) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn call(number: c_long, arguments: &[c_long]) -> io::Result<()> {
    let at = |index| arguments.get(index).copied().unwrap_or(0);
    outcome(unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) })
}

fn fork() -> io::Result<()> {
    match unsafe { libc::fork() } {
        0 => unsafe { libc::_exit(0) },
        pid => outcome(pid.into()),
    }
}

fn clone(flags: c_long) -> io::Result<()> {
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        0 => unsafe { libc::_exit(0) },
        pid => outcome(pid),
    }
}

fn execute(program: &str, arguments: &[&str]) -> io::Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(std::process::Command::new(program).args(arguments).exec())
}

fn spin() {
    for signal in [libc::SIGTERM, libc::SIGXCPU, libc::SIGINT] {
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    loop {
        std::hint::spin_loop();
    }
}

fn threads(wanted: usize) {
    let mut started = 0;
    for _ in 0..wanted {
        let thread = std::thread::Builder::new().stack_size(16 << 10).spawn(|| {
            loop {
                std::thread::park();
            }
        });
        match thread {
            Ok(_) => started += 1,
            Err(error) => {
                println!("{started} denied {}", error.raw_os_error().unwrap());
                return;
            }
        }
    }
    println!("{started} allowed");
}

/// Children start more; all wait to be killed.
fn fork_bomb() {
    let mut started = 0;
    loop {
        match unsafe { libc::fork() } {
            0 => started = 0,
            -1 => {
                println!(
                    "{started} denied {}",
                    io::Error::last_os_error().raw_os_error().unwrap()
                );
                std::thread::sleep(Duration::from_millis(if started > 0 {
                    100
                } else {
                    1_000_000
                }));
                return;
            }
            _ => started += 1,
        }
    }
}

/// Leaves a process in a session of its own that holds the streams open.
fn grandchild() {
    match unsafe { libc::fork() } {
        0 => {
            unsafe { libc::setsid() };
            std::thread::sleep(Duration::from_secs(1_000_000));
        }
        pid => println!("child {}", pid > 0),
    }
}

fn memory() {
    let mut kept = Vec::new();
    loop {
        kept.push(vec![1_u8; 8 << 20]);
        std::hint::black_box(&kept);
    }
}

fn shared_memory() {
    let size = 64 << 20;
    for _ in 0..1000 {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let found =
            unsafe { libc::mmap(std::ptr::null_mut(), size, libc::PROT_WRITE, flags, -1, 0) };
        if found == libc::MAP_FAILED {
            report(Err(io::Error::last_os_error()));
            return;
        }
        unsafe { std::ptr::write_bytes(found.cast::<u8>(), 1, size) };
    }
    report(Ok(()));
}

fn overflow(depth: u64) -> u64 {
    let pad = std::hint::black_box([depth; 512]);
    if depth == u64::MAX {
        return 0;
    }
    overflow(depth + 1) + pad[0]
}

/// Writes files of a size until one fails; `quietly` leaves out the complaint and succeeds.
fn fill(files: usize, size: u64, quietly: bool) {
    if quietly {
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    }
    let chunk = vec![7_u8; usize::try_from(size.min(1 << 20)).unwrap()];
    for number in 0..files {
        let written = File::create(format!("file{number}")).and_then(|file| {
            let mut offset = 0;
            while offset < size {
                offset += file.write_at(&chunk, offset)? as u64;
            }
            Ok(())
        });
        if let Err(error) = written {
            if quietly {
                return;
            }
            let _ = writeln!(io::stderr(), "{error}");
            std::process::exit(1);
        }
    }
}

fn flood(bytes: u64) {
    let chunk = vec![b'x'; 1 << 16];
    let mut left = bytes;
    let mut out = io::stdout();
    while left > 0 {
        let now = left.min(chunk.len() as u64);
        out.write_all(&chunk[..usize::try_from(now).unwrap()])
            .unwrap();
        left -= now;
    }
}

/// No line ends, invalid UTF-8, zero bytes, terminal sequences.
fn noise() -> Vec<u8> {
    (0..=255)
        .chain(*b"\x1b]52;c;ZXZpbA==\x07\x1b]8;;http://x\x07\r\xe2\x80\xae")
        .collect()
}

/// One star at a time on one stream, a word on the other.
fn streams() {
    for _ in 0..5 {
        io::stdout().write_all(b"*").unwrap();
        io::stdout().flush().unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    io::stderr().write_all(b"done").unwrap();
}

/// Results as they should be, and others.
fn outputs() {
    fs::write("good", "result").unwrap();
    fs::create_dir("sub").unwrap();
    fs::write("sub/deep", "deep").unwrap();
    fs::create_dir("directory").unwrap();
    fs::write("long", vec![0; 100]).unwrap();
    fs::write("locked", "x").unwrap();
    fs::set_permissions("locked", fs::Permissions::from_mode(0o0)).unwrap();
}

/// A socket through the interface of another architecture.
#[cfg(target_arch = "x86_64")]
fn int80() {
    let result: i32;
    unsafe {
        std::arch::asm!("push rbx", "mov ebx, 2", "int 0x80", "pop rbx",
            inlateout("eax") 359 => result, in("ecx") 1, in("edx") 0);
    }
    println!("allowed {result}");
}

#[cfg(not(target_arch = "x86_64"))]
fn int80() {
    unsafe { libc::raise(libc::SIGSYS) };
}

/// `host HELPER LEVEL SCRATCH ENGINE ARGUMENTS...`: runs the engine, telling when it has started.
fn host(arguments: &[&str]) {
    use bindery_sandbox::{OutputSink, RunSpec, Sandbox, SandboxConfig, Stream};

    struct Pass;
    impl OutputSink for Pass {
        fn bytes(&mut self, _: Stream, chunk: &[u8]) {
            io::stdout()
                .write_all(chunk)
                .and_then(|()| io::stdout().flush())
                .unwrap();
        }
    }
    let mut config = SandboxConfig::new(arguments[0], arguments[2]);
    config.test_knobs.force_level = Some(arguments[1].parse().unwrap());
    let mut spec = RunSpec::new(arguments[3], arguments[2]);
    spec.arguments = arguments[4..].iter().map(Into::into).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let report = runtime.block_on(async {
        Sandbox::probe(config)
            .await
            .run(spec, &mut Pass, tokio_util::sync::CancellationToken::new())
            .await
    });
    println!("{report:?}");
}
