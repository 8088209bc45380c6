//! Where things are on this machine.

use std::path::PathBuf;

/// Memory assumed where the system does not tell.
const MEMORY_BYTES_ASSUMED: u64 = 4 << 30;

/// A directory beside this program, when it is there.
pub(crate) fn beside_program(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let path = program.parent()?.join(name);
    path.is_dir().then_some(path)
}

/// A file beside this program, when it is there.
pub(crate) fn file_beside_program(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let path = program.parent()?.join(name);
    path.is_file().then_some(path)
}

/// Where one-off runs keep compiled plugins; none when there is no home.
pub(crate) fn user_cache() -> Option<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| {
            let home = PathBuf::from(std::env::var_os("HOME")?);
            home.is_absolute().then(|| home.join(".cache"))
        })
        .map(|cache| cache.join("bindery"))
}

/// Memory of the machine, from `/proc/meminfo`.
pub(crate) fn memory_bytes() -> u64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/meminfo").ok()?;
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some(kib * 1024)
    };
    read().unwrap_or(MEMORY_BYTES_ASSUMED)
}
