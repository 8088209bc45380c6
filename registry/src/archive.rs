//! The `.bindery` archive: a plain POSIX tar (ustar) of a package's files.
//!
//! What is written is a function of the files alone: sorted by path, no times, no owners, no
//! directories. `tar tf` lists it, `tar xf` unpacks it, `tar --format=ustar -cf` can make one.
//!
//! What is read is only that: regular files and directories in ustar headers. Extensions (pax
//! records, GNU long names, sparse files) are refused rather than understood, for they are where
//! two readers of one archive see two different packages. Nothing is allocated by a size that a
//! header claims; file contents are slices of the archive that was given.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    limits::{FILE_BYTES_MAX, FILES_MAX, SIZE_BYTES_MAX},
    path::{self, PathError, Paths},
};

const BLOCK: usize = 512;
/// Each file may stand in a directory of its own, and an archive names it before.
const ENTRIES_MAX: usize = 2 * FILES_MAX;

/// Bytes that are no archive of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("not a tar archive in ustar format (at byte {at})")]
    Format { at: usize },
    #[error("the archive is cut off (at byte {at})")]
    Truncated { at: usize },
    #[error("`{path}` is {what}; a package has regular files only")]
    NotAFile { path: String, what: &'static str },
    #[error("more than {FILES_MAX} files")]
    TooManyFiles,
    #[error("`{path}` is too large: {FILE_BYTES_MAX} bytes in a file, {SIZE_BYTES_MAX} in all")]
    TooLarge { path: String },
    #[error("there are bytes after the end of the archive (at byte {at})")]
    Trailing { at: usize },
    #[error(transparent)]
    Path(#[from] PathError),
}

/// # Errors
/// When the bytes are not what [`write`] could have written, directories and times apart.
pub(crate) fn read(archive: &Bytes) -> Result<BTreeMap<String, Bytes>, ArchiveError> {
    let mut files = BTreeMap::new();
    let mut paths = Paths::default();
    let (mut at, mut entries, mut total) = (0_usize, 0_usize, 0_u64);
    loop {
        let header = Header::at(archive, at)?;
        let Some(header) = header else {
            return end(archive, at).map(|()| files);
        };
        entries += 1;
        if entries > ENTRIES_MAX {
            return Err(ArchiveError::TooManyFiles);
        }
        at += BLOCK;
        let name = header.path(at - BLOCK)?;
        match header.kind() {
            Kind::File => {}
            Kind::Directory => {
                let name = name.strip_suffix('/').unwrap_or(&name);
                path::check(name)?;
                if header.size != 0 {
                    return Err(ArchiveError::Format { at: at - BLOCK });
                }
                continue;
            }
            Kind::Other(what) => return Err(ArchiveError::NotAFile { path: name, what }),
        }
        paths.insert(&name)?;
        total = total.saturating_add(header.size);
        if header.size > FILE_BYTES_MAX || total > SIZE_BYTES_MAX {
            return Err(ArchiveError::TooLarge { path: name });
        }
        if files.len() == FILES_MAX {
            return Err(ArchiveError::TooManyFiles);
        }
        // Below the bound, so it fits.
        let size = usize::try_from(header.size).map_err(|_| ArchiveError::Format { at })?;
        let end = at + size;
        let padded = at + size.next_multiple_of(BLOCK);
        if padded > archive.len() {
            return Err(ArchiveError::Truncated { at: archive.len() });
        }
        files.insert(name, archive.slice(at..end));
        at = padded;
    }
}

/// After the last file: two blocks of zeros, and nothing but zeros up to the end, which pads to
/// whole records.
fn end(archive: &Bytes, at: usize) -> Result<(), ArchiveError> {
    let rest = archive.get(at..).unwrap_or_default();
    if rest.len() < 2 * BLOCK {
        return Err(ArchiveError::Truncated { at: archive.len() });
    }
    match rest.iter().position(|byte| *byte != 0) {
        None => Ok(()),
        Some(offset) => Err(ArchiveError::Trailing { at: at + offset }),
    }
}

enum Kind {
    File,
    Directory,
    Other(&'static str),
}

struct Header<'a> {
    block: &'a [u8; BLOCK],
    size: u64,
}

impl<'a> Header<'a> {
    /// Nothing at a block of zeros, which ends an archive.
    fn at(archive: &'a [u8], at: usize) -> Result<Option<Self>, ArchiveError> {
        let block: &[u8; BLOCK] = archive
            .get(at..)
            .and_then(<[u8]>::first_chunk)
            .ok_or(ArchiveError::Truncated { at: archive.len() })?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Self { block, size: 0 };
        let wrong = ArchiveError::Format { at };
        if header.field(257, 6) != b"ustar\0" || header.octal(148, 8) != Some(checksum(block)) {
            return Err(wrong);
        }
        let size = header.octal(124, 12).ok_or(wrong)?;
        Ok(Some(Self { block, size }))
    }

    fn field(&self, from: usize, len: usize) -> &'a [u8] {
        self.block.get(from..from + len).unwrap_or_default()
    }

    /// Digits, then spaces or zeros to the end of the field. Sizes in base 256 are an extension.
    fn octal(&self, from: usize, len: usize) -> Option<u64> {
        let text = std::str::from_utf8(self.field(from, len)).ok()?;
        let digits = text.trim_matches(['\0', ' ']);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        u64::from_str_radix(digits, 8).ok()
    }

    fn path(&self, at: usize) -> Result<String, ArchiveError> {
        let text = |from, len| {
            let field = self.field(from, len);
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
            let (text, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
            // Something hidden behind the end of the name would be seen by other readers.
            if rest.iter().any(|byte| *byte != 0) {
                return Err(ArchiveError::Format { at });
            }
            std::str::from_utf8(text)
                .map_err(|_| PathError::NotText(String::from_utf8_lossy(text).into_owned()).into())
        };
        let (prefix, name) = (text(345, 155)?, text(0, 100)?);
        Ok(if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}/{name}")
        })
    }

    fn kind(&self) -> Kind {
        match self.field(156, 1).first() {
            Some(b'0' | 0) => Kind::File,
            Some(b'5') => Kind::Directory,
            Some(b'1') => Kind::Other("a hard link"),
            Some(b'2') => Kind::Other("a symbolic link"),
            Some(b'3' | b'4') => Kind::Other("a device"),
            Some(b'6') => Kind::Other("a named pipe"),
            Some(b'x' | b'g') => Kind::Other("a pax extension"),
            Some(b'L' | b'K' | b'S' | b'N' | b'M' | b'D') => Kind::Other("a GNU extension"),
            _ => Kind::Other("of an unknown type"),
        }
    }
}

/// Sum of all bytes, with the field of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                u64::from(b' ')
            } else {
                u64::from(*byte)
            }
        })
        .sum()
}

/// # Errors
/// When a path is too long for a header, which [`path::check`] rules out.
pub(crate) fn write<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<u8>, ArchiveError> {
    let files: BTreeMap<&str, &[u8]> = files.into_iter().collect();
    let size: usize = files
        .values()
        .map(|content| BLOCK + content.len().next_multiple_of(BLOCK))
        .sum();
    let mut archive = Vec::with_capacity(size + 2 * BLOCK);
    for (path, content) in files {
        archive.extend_from_slice(&header(path, content.len() as u64)?);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    Ok(archive)
}

fn header(path: &str, size: u64) -> Result<[u8; BLOCK], ArchiveError> {
    let (prefix, name) = split(path).ok_or_else(|| PathError::TooLong(path.to_owned()))?;
    let mut block = [0; BLOCK];
    let mut put = |from: usize, text: &str| {
        if let Some(field) = block.get_mut(from..from + text.len()) {
            field.copy_from_slice(text.as_bytes());
        }
    };
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    put(329, "0000000\0");
    put(337, "0000000\0");
    put(345, prefix);
    let sum = format!("{:06o}\0 ", checksum(&block));
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(sum.as_bytes());
    }
    Ok(block)
}

/// What goes into the prefix and the name of a header.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.len() <= 100 {
        return Some(("", path));
    }
    path.match_indices('/')
        .filter_map(|(at, _)| Some((path.get(..at)?, path.get(at + 1..)?)))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use proptest::prelude::*;

    use super::*;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        write(files.iter().copied()).unwrap()
    }

    fn reread(bytes: Vec<u8>) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
        let files = read(&Bytes::from(bytes))?;
        Ok(files
            .into_iter()
            .map(|(path, content)| (path, content.to_vec()))
            .collect())
    }

    /// An archive of one entry whose header was changed, with a right checksum.
    fn forged(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut bytes = archive(&[("victim", b"content")]);
        change(&mut bytes[..BLOCK]);
        resum(&mut bytes[..BLOCK]);
        bytes
    }

    fn resum(block: &mut [u8]) {
        let sum = checksum(block.first_chunk().unwrap());
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn order_is_by_path_and_bytes_depend_on_files_alone() {
        let one = archive(&[("b", b"2"), ("a/x", b""), ("a.b", b"3")]);
        assert_eq!(one, archive(&[("a.b", b"3"), ("b", b"2"), ("a/x", b"")]));
        let names: Vec<String> = reread(one)
            .unwrap()
            .into_iter()
            .map(|file| file.0)
            .collect();
        assert_eq!(names, ["a.b", "a/x", "b"]);
    }

    #[test]
    fn the_longest_path_fits_a_header() {
        let path = format!("{}/{}", "d".repeat(49), "f".repeat(100));
        let all = archive(&[(&path, b"x")]);
        assert_eq!(reread(all).unwrap(), [(path, b"x".to_vec())]);
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        for name in ["/etc/passwd", "../up", "a/../b", "a//b"] {
            let bytes = forged(|header| {
                header[..100].fill(0);
                header[..name.len()].copy_from_slice(name.as_bytes());
            });
            assert!(
                matches!(reread(bytes), Err(ArchiveError::Path(_))),
                "{name}"
            );
        }
        let bytes = forged(|header| header[..6].copy_from_slice(b"\xff\xfeabcd"));
        assert!(matches!(
            reread(bytes),
            Err(ArchiveError::Path(PathError::NotText(_)))
        ));
        // Behind a NUL, other readers might find another name.
        let bytes = forged(|header| header[8..12].copy_from_slice(b"evil"));
        assert_eq!(reread(bytes), Err(ArchiveError::Format { at: 0 }));
        let bytes = forged(|header| header[345..349].copy_from_slice(b"/etc"));
        assert!(matches!(
            reread(bytes),
            Err(ArchiveError::Path(PathError::Absolute(_)))
        ));
    }

    #[test]
    fn only_regular_files_are_read() {
        for kind in *b"12346xgLKSDV7" {
            let bytes = forged(|header| header[156] = kind);
            assert!(
                matches!(reread(bytes), Err(ArchiveError::NotAFile { .. })),
                "{}",
                char::from(kind)
            );
        }
        // A directory is passed over, but not one that brings content along.
        let bytes = forged(|header| header[156] = b'5');
        assert_eq!(reread(bytes), Err(ArchiveError::Format { at: 0 }));
    }

    #[test]
    fn twins_are_refused() {
        let mut bytes = archive(&[("a", b"1"), ("b", b"2")]);
        bytes[2 * BLOCK] = b'A';
        resum(&mut bytes[2 * BLOCK..3 * BLOCK]);
        assert!(matches!(
            reread(bytes.clone()),
            Err(ArchiveError::Path(PathError::Twins(_, _)))
        ));
        bytes[2 * BLOCK] = b'a';
        resum(&mut bytes[2 * BLOCK..3 * BLOCK]);
        assert!(matches!(
            reread(bytes),
            Err(ArchiveError::Path(PathError::Duplicate(_)))
        ));
    }

    #[test]
    fn sizes_are_not_believed() {
        let sized = |size: &[u8; 12]| forged(|header| header[124..136].copy_from_slice(size));
        // 8 GiB, of which nothing is there.
        assert!(matches!(
            reread(sized(b"77777777777\0")),
            Err(ArchiveError::TooLarge { .. })
        ));
        assert!(matches!(
            reread(sized(b"00000077777\0")),
            Err(ArchiveError::Truncated { .. })
        ));
        for size in [
            b"-0000000001\0",
            b"           \0",
            b"0000000000x\0",
            b"\x80\0\0\0\0\0\0\0\0\0\0\x01",
        ] {
            assert_eq!(reread(sized(size)), Err(ArchiveError::Format { at: 0 }));
        }
    }

    #[test]
    fn a_million_entries_are_stopped_early() {
        let entry = archive(&[("f", b"")]);
        let header = &entry[..BLOCK];
        let mut many = Vec::with_capacity(1_000_000 * BLOCK);
        for number in 0..1_000_000_u32 {
            let at = many.len();
            many.extend_from_slice(header);
            many[at..at + 8].copy_from_slice(format!("{number:08}").as_bytes());
            if number <= 4 * u32::try_from(FILES_MAX).unwrap() {
                resum(&mut many[at..at + BLOCK]);
            }
        }
        assert_eq!(reread(many), Err(ArchiveError::TooManyFiles));
        // Directories count as well.
        let mut many = Vec::new();
        for number in 0..10_000_u32 {
            let at = many.len();
            many.extend_from_slice(header);
            many[at..at + 8].copy_from_slice(format!("{number:08}").as_bytes());
            many[at + 156] = b'5';
            resum(&mut many[at..at + BLOCK]);
        }
        assert_eq!(reread(many), Err(ArchiveError::TooManyFiles));
    }

    #[test]
    fn it_ends_where_it_says() {
        let good = archive(&[("a", b"content")]);
        for len in 0..good.len() {
            assert!(
                matches!(
                    reread(good[..len].to_vec()),
                    Err(ArchiveError::Truncated { .. })
                ),
                "{len}"
            );
        }
        let mut more = good.clone();
        more.resize(10_240, 0);
        assert!(reread(more.clone()).is_ok());
        more.extend_from_slice(b"more");
        assert_eq!(reread(more), Err(ArchiveError::Trailing { at: 10_240 }));
        assert!(reread(b"PK\x03\x04".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            files in proptest::collection::btree_map(
                "[a-z]{1,8}(/[a-z0-9 ]{0,30}[a-z0-9]){0,3}", proptest::collection::vec(any::<u8>(), 0..1500), 0..20)
        ) {
            let mut paths = Paths::default();
            prop_assume!(files.keys().all(|path| paths.insert(path).is_ok()));
            let bytes = write(files.iter().map(|(path, content)| (path.as_str(), content.as_slice()))).unwrap();
            let read = reread(bytes).unwrap();
            prop_assert_eq!(read, files.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn damage_never_panics(at in 0_usize..3000, byte in any::<u8>()) {
            let mut bytes = archive(&[("a", &[1; 600]), ("b/c", b"x")]);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = reread(bytes);
        }
    }
}
