//! Stands in for an engine and does what no engine should. The tests of hostile engines put it
//! in the place of `sleep`; the number of seconds says what to do.
//!
//! It exits with 0 when every attempt was denied, and else with 1 after saying on standard error
//! what it could do. Attempts that end a process instead (memory, disk, time) just try.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "its output is what is read"
)]

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    net::{TcpStream, UdpSocket},
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

/// Longest wait of an attempt that has to be ended from outside.
const FOREVER: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let breaches = match wanted.as_str() {
        "--version" => {
            println!("sleep (hostile stand-in) 9.9");
            Vec::new()
        }
        "1" => starts_processes(),
        "2" => opens_sockets(),
        "3" => reads_around(),
        "4" => writes_around(),
        "5" => fills_the_disk(),
        "6" => floods_its_output(),
        "7" => ignores_signals(),
        "8" => takes_memory(),
        "9" => spins(),
        "10" => aborts(),
        // What a shell reports for a killed process; here it is an ordinary exit.
        "11" => return ExitCode::from(137),
        other => vec![format!("no such attempt: {other}")],
    };
    for breach in &breaches {
        eprintln!("BREACH: {breach}");
    }
    if breaches.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A breach, when this was not denied.
fn denied<T>(what: &str, outcome: io::Result<T>) -> Option<String> {
    match outcome {
        Ok(_) => Some(what.to_owned()),
        // Refused by a peer means that the network was reached.
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Some(format!("{what}: {error}"))
        }
        Err(_) => None,
    }
}

fn starts_processes() -> Vec<String> {
    let mut breaches = Vec::new();
    for program in ["/usr/bin/true", "/bin/sh", "/usr/bin/setsid"] {
        breaches.extend(denied(program, Command::new(program).spawn()));
    }
    breaches
}

fn opens_sockets() -> Vec<String> {
    let mut breaches = Vec::new();
    for address in [
        "127.0.0.1:22",
        "127.0.0.1:80",
        "169.254.169.254:80",
        "[::1]:80",
    ] {
        breaches.extend(denied(address, TcpStream::connect(address)));
    }
    breaches.extend(denied("udp", UdpSocket::bind("0.0.0.0:0")));
    breaches.extend(denied("unix", UnixListener::bind("socket")));
    breaches
}

fn reads_around() -> Vec<String> {
    let mut breaches = Vec::new();
    for path in [
        "/etc/passwd",
        "/etc/shadow",
        "/etc/hostname",
        "/proc/1/environ",
        "/proc/self/maps",
        "/sys/kernel/version",
        "/root",
        "/home",
        "/var/log",
        "../../../../etc/passwd",
    ] {
        let path = Path::new(path);
        let outcome = if path.is_dir() {
            fs::read_dir(path).map(drop)
        } else {
            read(path)
        };
        breaches.extend(denied(&path.to_string_lossy(), outcome));
    }
    // No variable but those of the engine's manifest and the plain ones of the sandbox.
    for (name, value) in std::env::vars() {
        if name.contains("BINDERY") || name.contains("TOKEN") || name.contains("SECRET") {
            breaches.push(format!("the variable {name}={value}"));
        }
    }
    breaches
}

fn read(path: &Path) -> io::Result<()> {
    fs::read(path).map(drop)
}

fn writes_around() -> Vec<String> {
    let mut breaches = Vec::new();
    for path in [
        "/usr/bin/bindery-test",
        "/etc/bindery-test",
        "/dev/bindery-test",
        "/bindery-test",
    ] {
        breaches.extend(denied(path, File::create(path)));
    }
    breaches.extend(denied("a symbolic link", symlink("/etc/passwd", "link")));
    if File::create("dropped").is_ok() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode| fs::set_permissions("dropped", fs::Permissions::from_mode(mode));
        breaches.extend(denied("a setuid file", mode(0o4755)));
    }
    breaches
}

fn fills_the_disk() -> Vec<String> {
    let block = vec![0x5a_u8; 64 << 10];
    // A gigabyte in files of a megabyte: far more than it may have.
    for number in 0..1024 {
        let Ok(mut file) = File::create(format!("fill-{number}")) else {
            break;
        };
        for _ in 0..16 {
            if file.write_all(&block).is_err() {
                // As a program that does not look at its errors.
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Vec::new()
}

fn floods_its_output() -> Vec<String> {
    let mut block = vec![b'x'; 1 << 20];
    // No line end, no valid text, what terminals obey.
    block.splice(0..8, *b"\x1b]52;c;\xff");
    let mut output = io::stdout().lock();
    for _ in 0..256 {
        if output.write_all(&block).is_err() {
            break;
        }
    }
    Vec::new()
}

#[expect(unsafe_code, reason = "std cannot set signal dispositions")]
fn ignores_signals() -> Vec<String> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGXCPU] {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    thread::sleep(FOREVER);
    Vec::new()
}

fn takes_memory() -> Vec<String> {
    let mut taken = Vec::new();
    // 16 GB: far more than it may have.
    for _ in 0..1024 {
        taken.push(std::hint::black_box(vec![1_u8; 16 << 20]));
    }
    vec![format!("took {} blocks of 16 MB", taken.len())]
}

#[expect(clippy::disallowed_methods, reason = "it has nothing to leave behind")]
fn aborts() -> Vec<String> {
    std::process::abort()
}

fn spins() -> Vec<String> {
    let mut number = 0_u64;
    loop {
        number = std::hint::black_box(number.wrapping_add(1));
        if number == u64::MAX {
            return vec!["ran to the end".to_owned()];
        }
    }
}
