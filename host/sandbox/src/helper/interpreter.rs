//! Which other files the kernel executes when it executes a program: the interpreter that a
//! script or an ELF file names.

use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The kernel follows four levels of scripts, and the last may be an ELF file with its loader.
const DEPTH_MAX: usize = 5;
/// The kernel reads this much to find a script's interpreter.
const SCRIPT_HEAD_BYTES: usize = 256;
/// Ordinary programs have about a dozen program headers.
const PROGRAM_HEADERS_MAX: usize = 128;
const PT_INTERP: u32 = 3;

/// The program's interpreters, outermost first. Unreadable or strange files have none: the kernel
/// will say what is wrong with them.
pub(super) fn chain(program: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut current = program.to_owned();
    for _ in 0..DEPTH_MAX {
        let Some(next) = interpreter_of(&current) else {
            break;
        };
        found.push(next.clone());
        current = next;
    }
    found
}

fn interpreter_of(program: &Path) -> Option<PathBuf> {
    let file = File::open(program).ok()?;
    let mut head = Vec::with_capacity(SCRIPT_HEAD_BYTES);
    (&file)
        .take(SCRIPT_HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .ok()?;
    match head.strip_prefix(b"#!") {
        Some(line) => {
            let line = line.split(|&byte| byte == b'\n').next()?;
            let path = line
                .split(|byte| byte.is_ascii_whitespace())
                .find(|word| !word.is_empty())?;
            Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
        }
        None => elf_interpreter(&file, &head),
    }
}

/// The loader that a little-endian 64-bit ELF file asks for.
fn elf_interpreter(file: &File, head: &[u8]) -> Option<PathBuf> {
    if head.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let table_offset = u64_at(head, 32)?;
    let entry_bytes = u64::from(u16_at(head, 54)?);
    let entries = usize::from(u16_at(head, 56)?).min(PROGRAM_HEADERS_MAX);
    (0..entries).find_map(|index| {
        let offset = table_offset.checked_add(entry_bytes.checked_mul(index as u64)?)?;
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, offset).ok()?;
        if u32_at(&entry, 0)? != PT_INTERP {
            return None;
        }
        let length = usize::try_from(u64_at(&entry, 32)?)
            .ok()
            .filter(|&n| n <= 4096)?;
        let mut path = vec![0; length];
        file.read_exact_at(&mut path, u64_at(&entry, 8)?).ok()?;
        let path = path.split(|&byte| byte == 0).next()?;
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    })
}

fn bytes_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes_at(bytes, offset).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes_at(bytes, offset).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes_at(bytes, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn programs_name_their_loader_and_scripts_their_interpreter() {
        let loader = chain(Path::new("/bin/sh"));
        assert_eq!(loader.len(), 1, "{loader:?}");
        assert!(
            loader
                .first()
                .unwrap()
                .to_string_lossy()
                .contains("ld-linux"),
            "{loader:?}"
        );

        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        std::fs::write(&script, "#! /bin/sh -e\nexit 0\n").unwrap();
        let found = chain(&script);
        assert_eq!(found.first().unwrap(), Path::new("/bin/sh"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn rubbish_has_no_interpreter_and_a_script_naming_itself_ends() {
        let directory = tempfile::tempdir().unwrap();
        let rubbish = directory.path().join("rubbish");
        std::fs::write(&rubbish, b"\x7fELF\x02\x01short").unwrap();
        assert!(chain(&rubbish).is_empty());
        std::fs::write(&rubbish, format!("#!{}\n", rubbish.display())).unwrap();
        assert_eq!(chain(&rubbish).len(), DEPTH_MAX);
    }
}
