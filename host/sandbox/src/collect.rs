//! Takes results out of a work directory that the engine filled as it liked.
//!
//! Works on a descriptor of the directory after everything inside is dead. No name is resolved
//! through a link or out of the directory, what is opened is checked on the same descriptor, and
//! nothing but the bytes is taken over: not the mode, not the times.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::{OutputOutcome, OutputReport, OutputSpec, Rejection};

const CHUNK_BYTES: usize = 128 << 10;

/// Blocking. Fails only when the receiving side does.
pub(crate) fn collect(
    work: &OwnedFd,
    outputs: &[OutputSpec],
    into: &Path,
) -> io::Result<Vec<OutputReport>> {
    if outputs.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(into)?;
    let into = rustix::fs::openat(
        CWD,
        into,
        OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    outputs
        .iter()
        .map(|output| {
            let outcome = match open(work, &output.path) {
                Ok(Some(file)) => copy(file, output, &into)?,
                Ok(None) => OutputOutcome::Missing,
                Err(rejection) => OutputOutcome::Rejected(rejection),
            };
            Ok(OutputReport {
                path: output.path.clone(),
                outcome,
            })
        })
        .collect()
}

fn open(work: &OwnedFd, path: &Path) -> Result<Option<File>, Rejection> {
    let opened = rustix::fs::openat2(
        work,
        path,
        // NONBLOCK: a fifo without a writer would hang the host.
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    );
    match opened {
        Ok(descriptor) => {
            let found = rustix::fs::fstat(&descriptor).map_err(unreadable)?;
            match FileType::from_raw_mode(found.st_mode) {
                FileType::RegularFile => Ok(Some(File::from(descriptor))),
                _ => Err(Rejection::NotAFile),
            }
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(Errno::LOOP | Errno::XDEV) => Err(Rejection::Link),
        // A socket.
        Err(Errno::NXIO) => Err(Rejection::NotAFile),
        Err(e) => Err(unreadable(e)),
    }
}

fn unreadable(e: Errno) -> Rejection {
    Rejection::Unreadable {
        reason: io::Error::from(e).to_string(),
    }
}

fn copy(mut source: File, output: &OutputSpec, into: &OwnedFd) -> io::Result<OutputOutcome> {
    make_parents(into, &output.path)?;
    let target = rustix::fs::openat2(
        into,
        &output.path,
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )?;
    let mut target = File::from(target);
    let mut hash = Sha256::new();
    let mut size_bytes = 0_u64;
    let mut buffer = vec![0; CHUNK_BYTES];
    let rejection = loop {
        let chunk = match source.read(&mut buffer) {
            Ok(0) => break None,
            Ok(read) => buffer.get(..read).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                break Some(Rejection::Unreadable {
                    reason: e.to_string(),
                });
            }
        };
        size_bytes = size_bytes.saturating_add(chunk.len() as u64);
        if size_bytes > output.max_bytes {
            break Some(Rejection::TooLarge {
                max_bytes: output.max_bytes,
            });
        }
        hash.update(chunk);
        target.write_all(chunk)?;
    };
    Ok(match rejection {
        None => OutputOutcome::Collected {
            size_bytes,
            sha256: hash.finalize().into(),
        },
        Some(rejection) => {
            rustix::fs::unlinkat(into, &output.path, AtFlags::empty())?;
            OutputOutcome::Rejected(rejection)
        }
    })
}

fn make_parents(into: &OwnedFd, path: &Path) -> io::Result<()> {
    let mut parents: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|p| !p.as_os_str().is_empty())
        .collect();
    parents.reverse();
    for parent in parents {
        match rustix::fs::mkdirat(into.as_fd(), parent, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn outcomes(
        fill: impl FnOnce(&Path),
        paths: &[&str],
    ) -> (Vec<OutputOutcome>, tempfile::TempDir) {
        let (work, into) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(work.path());
        let work = OwnedFd::from(File::open(work.path()).unwrap());
        let outputs: Vec<_> = paths
            .iter()
            .map(|p| OutputSpec {
                path: p.into(),
                max_bytes: 8,
            })
            .collect();
        let found = collect(&work, &outputs, into.path()).unwrap();
        assert!(
            found
                .iter()
                .zip(paths)
                .all(|(report, path)| report.path == Path::new(path))
        );
        (
            found.into_iter().map(|report| report.outcome).collect(),
            into,
        )
    }

    #[test]
    fn files_are_copied_with_their_hash_and_nothing_else() {
        let (found, into) = outcomes(
            |work| {
                fs::create_dir(work.join("sub")).unwrap();
                fs::write(work.join("sub/a"), "12345678").unwrap();
                fs::write(work.join("empty"), "").unwrap();
            },
            &["sub/a", "empty", "absent", "empty/below"],
        );
        let hash = Sha256::digest("12345678").into();
        assert_eq!(
            found[0],
            OutputOutcome::Collected {
                size_bytes: 8,
                sha256: hash
            }
        );
        assert!(matches!(
            found[1],
            OutputOutcome::Collected { size_bytes: 0, .. }
        ));
        assert_eq!(found[2..], [OutputOutcome::Missing, OutputOutcome::Missing]);
        assert_eq!(fs::read(into.path().join("sub/a")).unwrap(), b"12345678");
    }

    #[test]
    fn links_directories_fifos_and_long_files_are_rejected() {
        let (found, into) = outcomes(
            |work| {
                fs::write(work.join("long"), "123456789").unwrap();
                fs::create_dir(work.join("directory")).unwrap();
                symlink("/etc/passwd", work.join("link")).unwrap();
                symlink("/etc", work.join("out")).unwrap();
                symlink("directory", work.join("in")).unwrap();
                fs::write(work.join("directory/x"), "x").unwrap();
                rustix::fs::mknodat(CWD, work.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            },
            &["long", "directory", "link", "out/passwd", "in/x", "fifo"],
        );
        let rejected = |rejection| OutputOutcome::Rejected(rejection);
        assert_eq!(
            found,
            [
                rejected(Rejection::TooLarge { max_bytes: 8 }),
                rejected(Rejection::NotAFile),
                rejected(Rejection::Link),
                rejected(Rejection::Link),
                rejected(Rejection::Link),
                rejected(Rejection::NotAFile),
            ]
        );
        assert!(
            !into.path().join("long").exists(),
            "no part of a rejected file is left"
        );
    }
}
