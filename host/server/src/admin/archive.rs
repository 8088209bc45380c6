//! The form of a backup: files below a directory, or the same in one tar file.
//!
//! Beside the files there are `SHA256SUMS`, which `sha256sum --check` understands, and, written
//! last, `backup.json`. One that has no `backup.json` was not finished.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use bindery_blobs::digest_of;
use bindery_core::Digest;

/// Digests of all files but `backup.json` and itself.
pub(crate) const SUMS: &str = "SHA256SUMS";
pub(crate) const MANIFEST: &str = "backup.json";
const BLOCK: u64 = 512;
/// Largest size that eleven octal digits hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// Digest and size in bytes of each file, by its name.
pub(crate) type Sums = BTreeMap<String, (Digest, u64)>;

/// Where a backup is written to.
#[derive(Debug)]
pub(crate) struct Sink {
    target: PathBuf,
    partial: PathBuf,
    tar: Option<BufWriter<File>>,
    finished: bool,
}

impl Sink {
    /// Begins a backup; under its name it appears when it is whole.
    pub(crate) fn create(target: &Path) -> anyhow::Result<Self> {
        ensure!(
            !target.exists(),
            "{} is there already; a backup does not replace another",
            target.display()
        );
        let mut partial = target.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let failed = || format!("failed to write {}", partial.display());
        let is_tar = target.extension().is_some_and(|end| end == "tar");
        let tar = if is_tar {
            // Tokens' hashes and everybody's files: for its owner alone.
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&partial)
                .with_context(failed)?;
            Some(BufWriter::with_capacity(1 << 20, file))
        } else {
            use std::os::unix::fs::DirBuilderExt;
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&partial)
                .with_context(failed)?;
            None
        };
        Ok(Self {
            target: target.to_owned(),
            partial,
            tar,
            finished: false,
        })
    }

    /// Writes a file of exactly so many bytes. What a reader has beyond is left.
    pub(crate) fn put(
        &mut self,
        name: &str,
        reader: &mut impl Read,
        size_bytes: u64,
    ) -> anyhow::Result<Digest> {
        let failed = || format!("failed to back up {name}");
        let mut reader = reader.take(size_bytes);
        let (digest, read_bytes) = if let Some(tar) = &mut self.tar {
            tar.write_all(&header(name, size_bytes)?)
                .with_context(failed)?;
            let read = digest_of(&mut reader, |bytes| tar.write_all(bytes)).with_context(failed)?;
            pad(tar, size_bytes).with_context(failed)?;
            read
        } else {
            write_file(&self.partial.join(name), &mut reader).with_context(failed)?
        };
        ensure!(
            read_bytes == size_bytes,
            "{name} became shorter while it was read: {read_bytes} bytes of {size_bytes}"
        );
        Ok(digest)
    }

    /// Makes it durable and gives it its name.
    pub(crate) fn finish(mut self) -> anyhow::Result<()> {
        let failed = || format!("failed to write {}", self.partial.display());
        if let Some(mut tar) = self.tar.take() {
            tar.write_all(&[0; 2 * BLOCK as usize])
                .with_context(failed)?;
            let file = tar
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .with_context(failed)?;
            file.sync_all().with_context(failed)?;
        } else {
            sync_directories(&self.partial).with_context(failed)?;
        }
        fs::rename(&self.partial, &self.target).with_context(failed)?;
        sync_parent(&self.target).with_context(failed)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let removed = if self.partial.is_dir() {
            fs::remove_dir_all(&self.partial)
        } else {
            fs::remove_file(&self.partial)
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.partial.display(), %error, "left an unfinished backup");
        }
    }
}

/// Puts all files of a backup below `to`, except its own two, and gives what `SUMS` and
/// `MANIFEST` say after comparing every file with its digest.
pub(crate) fn unpack(from: &Path, to: &Path) -> anyhow::Result<(Sums, String)> {
    let mut found = Sums::new();
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    let mut take = |name: &str, reader: &mut dyn Read| -> anyhow::Result<()> {
        if [SUMS, MANIFEST].contains(&name) {
            let mut text = String::new();
            reader.read_to_string(&mut text)?;
            own.insert(name.to_owned(), text);
            return Ok(());
        }
        check_name(name)?;
        let written = write_file(&to.join(name), &mut BufReader::new(reader))
            .with_context(|| format!("failed to restore {name}"))?;
        ensure!(
            found.insert(name.to_owned(), written).is_none(),
            "{name} is there twice"
        );
        Ok(())
    };
    if from.is_dir() {
        for name in files_below(from)? {
            let mut file = open_plain(&from.join(&name))
                .with_context(|| format!("failed to read {name} of the backup"))?;
            take(&name, &mut file)?;
        }
    } else {
        read_tar(from, &mut take)?;
    }
    let manifest = own
        .remove(MANIFEST)
        .with_context(|| format!("no {MANIFEST}: it is no backup, or an unfinished one"))?;
    let sums = own.remove(SUMS).with_context(|| format!("no {SUMS}"))?;
    compare(&sums, &found)?;
    Ok((found, manifest))
}

/// Text of `SUMS`.
pub(crate) fn sums_text(sums: &Sums) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for (name, (digest, _)) in sums {
        let _ = writeln!(text, "{}  {name}", digest.hex());
    }
    text
}

fn compare(text: &str, found: &Sums) -> anyhow::Result<()> {
    let mut listed = 0;
    for line in text.lines() {
        let (digits, name) = line
            .split_once("  ")
            .with_context(|| format!("{SUMS} has a line that is none of its own: {line:?}"))?;
        let (digest, _) = found
            .get(name)
            .with_context(|| format!("{name} is missing from the backup"))?;
        ensure!(
            digest.hex() == digits,
            "{name} of the backup is damaged: its digest is {}, not {digits}",
            digest.hex()
        );
        listed += 1;
    }
    ensure!(
        listed == found.len(),
        "the backup has {} files, and {SUMS} lists {listed}",
        found.len()
    );
    Ok(())
}

/// Names come from a file that someone gave us: they must not lead anywhere else.
fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let top = name.split('/').next().unwrap_or_default();
    ensure!(
        plain && super::PARTS.contains(&top) && name.len() > top.len(),
        "{name:?} is no name of a file of a backup"
    );
    Ok(())
}

/// Writes a new file, with the directories above it, durably.
fn write_file(path: &Path, reader: &mut impl Read) -> io::Result<(Digest, u64)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = digest_of(reader, |bytes| file.write_all(bytes))?;
    file.sync_all()?;
    Ok(written)
}

/// Opens a file, and never what a link leads to.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is not a regular file",
        ));
    }
    File::open(path)
}

/// All files below a directory, as relative names, in order. Links are passed over.
pub(crate) fn files_below(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut waiting = vec![String::new()];
    while let Some(below) = waiting.pop() {
        let path = dir.join(&below);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        for entry in entries {
            let entry = entry.with_context(|| path.display().to_string())?;
            let Ok(name) = entry.file_name().into_string() else {
                bail!(
                    "{} has no name that can be backed up",
                    entry.path().display()
                );
            };
            let name = match below.as_str() {
                "" => name,
                below => format!("{below}/{name}"),
            };
            let kind = entry.file_type().with_context(|| name.clone())?;
            if kind.is_dir() {
                waiting.push(name);
            } else if kind.is_file() {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes the names of all files below a directory durable.
pub(crate) fn sync_directories(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    File::open(dir)?.sync_all()
}

pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// A ustar header of a regular file.
fn header(name: &str, size_bytes: u64) -> anyhow::Result<[u8; BLOCK as usize]> {
    let (prefix, rest) = if name.len() <= 100 {
        ("", name)
    } else {
        name.match_indices('/')
            .map(|(at, _)| (name.get(..at), name.get(at + 1..)))
            .find_map(|parts| match parts {
                (Some(prefix), Some(rest)) if prefix.len() <= 155 && rest.len() <= 100 => {
                    Some((prefix, rest))
                }
                _ => None,
            })
            .with_context(|| format!("{name} is too long a name for a tar file"))?
    };
    let mut block = [0; BLOCK as usize];
    let mut set = |at: usize, bytes: &[u8]| {
        if let Some(field) = block.get_mut(at..at + bytes.len()) {
            field.copy_from_slice(bytes);
        }
    };
    set(0, rest.as_bytes());
    set(100, b"0000600\0");
    set(108, b"0000000\0");
    set(116, b"0000000\0");
    if size_bytes <= OCTAL_MAX {
        set(124, format!("{size_bytes:011o}\0").as_bytes());
    } else {
        // As GNU tar and its readers have it: base 256, marked by the first bit.
        set(124, &[0x80, 0, 0, 0]);
        set(128, &size_bytes.to_be_bytes());
    }
    set(136, b"00000000000\0");
    set(148, b"        ");
    set(156, b"0");
    set(257, b"ustar\x0000");
    set(345, prefix.as_bytes());
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    Ok(block)
}

const fn padding(size_bytes: u64) -> u64 {
    (BLOCK - size_bytes % BLOCK) % BLOCK
}

fn pad(tar: &mut impl Write, size_bytes: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(padding(size_bytes)), tar).map(|_| ())
}

fn read_tar(
    path: &Path,
    take: &mut dyn FnMut(&str, &mut dyn Read) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let failed = || format!("failed to read {}", path.display());
    let file = File::open(path).with_context(failed)?;
    let mut tar = BufReader::with_capacity(1 << 20, file);
    loop {
        let mut block = [0; BLOCK as usize];
        tar.read_exact(&mut block)
            .with_context(|| format!("{} is cut short", path.display()))?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let (name, size_bytes) = parse(&block)
            .with_context(|| format!("{} is no tar file of a backup", path.display()))?;
        let mut content = (&mut tar).take(size_bytes);
        take(&name, &mut content)?;
        ensure!(
            content.limit() == 0,
            "{} is cut short in {name}",
            path.display()
        );
        let skipped = io::copy(&mut (&mut tar).take(padding(size_bytes)), &mut io::sink())
            .with_context(failed)?;
        ensure!(
            skipped == padding(size_bytes),
            "{} is cut short",
            path.display()
        );
    }
}

/// Name and size of a header's file; `None` for what [`header`] never writes.
fn parse(block: &[u8; BLOCK as usize]) -> Option<(String, u64)> {
    let text = |from: usize, len: usize| {
        let field = block.get(from..from + len)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
        std::str::from_utf8(field.get(..end)?).ok()
    };
    let number =
        |from: usize, len: usize| u64::from_str_radix(text(from, len)?.trim_matches(' '), 8).ok();
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum();
    if number(148, 8)? != sum || block.get(257..262)? != b"ustar" {
        return None;
    }
    if !matches!(block.get(156)?, b'0' | 0) {
        return None;
    }
    let size_bytes = if block.get(124)? & 0x80 == 0 {
        number(124, 12)?
    } else {
        u64::from_be_bytes(block.get(128..136)?.try_into().ok()?)
    };
    let name = match text(345, 155)? {
        "" => text(0, 100)?.to_owned(),
        prefix => format!("{prefix}/{}", text(0, 100)?),
    };
    Some((name, size_bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn headers_say_what_they_were_made_of() {
        let long = format!("oci/{}/{}", "a".repeat(90), "b".repeat(90));
        for (name, size) in [
            ("blobs/aa/bb", 0),
            ("store/journal/00000001.log", OCTAL_MAX),
            (long.as_str(), OCTAL_MAX + 1),
            ("x", u64::MAX),
        ] {
            let mut block = header(name, size).unwrap();
            assert_eq!(parse(&block).unwrap(), (name.to_owned(), size));
            block[3] ^= 1;
            assert_eq!(parse(&block), None);
        }
        assert!(header(&"n".repeat(300), 1).is_err());
    }

    #[test]
    fn both_forms_give_back_what_was_put_and_refuse_what_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let contents = [
            ("blobs/aa/one", vec![7_u8; 100_000]),
            ("logs/empty", Vec::new()),
            ("store/journal/00000001.log", vec![1; 512]),
        ];
        for form in ["files", "one.tar"] {
            let target = dir.path().join(form);
            let mut sink = Sink::create(&target).unwrap();
            let mut sums = Sums::new();
            for (name, content) in &contents {
                // More than it is said to be: the rest is left.
                let mut longer = content.clone();
                longer.extend([9; 9]);
                let size = content.len() as u64;
                let digest = sink.put(name, &mut longer.as_slice(), size).unwrap();
                sums.insert((*name).to_owned(), (digest, size));
            }
            let text = sums_text(&sums);
            sink.put(SUMS, &mut text.as_bytes(), text.len() as u64)
                .unwrap();
            sink.put(MANIFEST, &mut b"{}".as_slice(), 2).unwrap();
            sink.finish().unwrap();
            assert!(Sink::create(&target).is_err());

            let out = dir.path().join(format!("out-{form}"));
            let (found, manifest) = unpack(&target, &out).unwrap();
            assert_eq!((found, manifest.as_str()), (sums, "{}"));
            for (name, content) in &contents {
                assert_eq!(&fs::read(out.join(name)).unwrap(), content);
            }

            // One byte of one file.
            let damaged = if form == "files" {
                target.join("blobs/aa/one")
            } else {
                target.clone()
            };
            let mut data = fs::read(&damaged).unwrap();
            data[5_000] ^= 1;
            fs::write(&damaged, &data).unwrap();
            let error = unpack(&target, &dir.path().join(format!("bad-{form}"))).unwrap_err();
            assert!(error.to_string().contains("is damaged"), "{error:#}");
            // Cut short.
            if form == "one.tar" {
                data.truncate(90_000);
                fs::write(&damaged, &data).unwrap();
                assert!(unpack(&target, &dir.path().join("cut")).is_err());
            }
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [
            "../x",
            "/etc/passwd",
            "store/../../x",
            "other/x",
            "store",
            "",
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        check_name("store/journal/00000001.log").unwrap();
    }
}
