//! Opening a journal: what is there, where it ends, and what a crash left behind.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    append::{Journal, JournalOptions, segment_path},
    format::{FORMAT_VERSION, FrameCursor, Hash, HeaderError, Kind, SegmentHeader, Step},
    read::JournalReader,
};
use crate::error::OpenError;

/// What opening the journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Whether there was a journal before.
    pub(crate) existed: bool,
    /// Whether it was closed in order.
    pub(crate) sealed: bool,
    /// Bytes of an interrupted write that were cut off, and where they were put.
    pub(crate) torn_bytes: u64,
    /// Position of the last frame.
    pub(crate) last_position: u64,
}

/// Where writing continues.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(super) header: SegmentHeader,
    pub(super) len: u64,
    pub(super) next_position: u64,
    pub(super) hash: Hash,
}

impl Journal {
    /// Opens the journal in `dir`, or creates one. The caller holds the lock of the store.
    pub(crate) fn open(
        dir: &Path,
        options: JournalOptions,
        created_us: i64,
    ) -> Result<(Self, Arc<JournalReader>, Recovery), OpenError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Io {
                action,
                path,
                source,
            }
        };
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        let reader = Arc::new(JournalReader::new(dir));
        let mut numbers = list_segments(dir).map_err(io("list", dir))?;
        check_consecutive(&numbers)?;

        let mut torn_bytes = 0;
        let mut found: Option<(Recovered, bool)> = None;
        while let Some(last) = numbers.pop() {
            match recover_last(dir, last)? {
                Tail::Found {
                    recovered,
                    sealed,
                    torn,
                } => {
                    torn_bytes += torn;
                    numbers.push(last);
                    found = Some((recovered, sealed));
                    break;
                }
                // Its creation was interrupted; the one before is the last.
                Tail::NeverBegun { bytes } => torn_bytes += bytes,
            }
        }

        let sealed = found.as_ref().is_some_and(|(_, sealed)| *sealed);
        let recovered = found.map(|(recovered, _)| recovered);
        if let Some(tail) = &recovered {
            reader.set_epoch(tail.header.epoch);
            register_segments(dir, &numbers, &tail.header, &reader)?;
        }
        let existed = recovered.is_some();
        let journal = Self::resume(dir, options, recovered, Arc::clone(&reader), created_us)
            .map_err(io("write the journal in", dir))?;
        let recovery = Recovery {
            existed,
            sealed,
            torn_bytes,
            last_position: journal.next_position() - 1,
        };
        Ok((journal, reader, recovery))
    }
}

enum Tail {
    Found {
        recovered: Recovered,
        sealed: bool,
        torn: u64,
    },
    NeverBegun {
        bytes: u64,
    },
}

/// Numbers of the segments in `dir`, in order.
pub(super) fn list_segments(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number: Option<u32> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .filter(|stem| stem.len() == 8)
            .and_then(|stem| stem.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn check_consecutive(numbers: &[u32]) -> Result<(), OpenError> {
    for pair in numbers.windows(2) {
        if let [before, after] = pair
            && *after != before + 1
        {
            return Err(OpenError::SegmentMissing { number: before + 1 });
        }
    }
    Ok(())
}

/// Reads the headers of all segments but the last: each must follow the one before.
fn register_segments(
    dir: &Path,
    numbers: &[u32],
    last: &SegmentHeader,
    reader: &JournalReader,
) -> Result<(), OpenError> {
    let mut first_before = 0;
    for number in numbers {
        let path = segment_path(dir, *number);
        let header = if *number == last.number {
            last.clone()
        } else {
            let data = read_head(&path).map_err(|source| OpenError::Io {
                action: "read",
                path: path.clone(),
                source,
            })?;
            decode_header(&path, *number, &data)?
        };
        if header.epoch != last.epoch || header.first_position <= first_before {
            return Err(OpenError::JournalDamaged {
                path,
                offset: 0,
                position: header.first_position,
                reason: "segment does not follow the one before".to_owned(),
            });
        }
        first_before = header.first_position;
        reader.add_segment(*number, header.first_position);
    }
    Ok(())
}

fn read_head(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut data = Vec::new();
    File::open(path)?
        .take(super::format::SEGMENT_HEADER_BYTES as u64)
        .read_to_end(&mut data)?;
    Ok(data)
}

fn decode_header(path: &Path, number: u32, data: &[u8]) -> Result<SegmentHeader, OpenError> {
    let damaged = |reason: &str| OpenError::JournalDamaged {
        path: path.to_owned(),
        offset: 0,
        position: 0,
        reason: reason.to_owned(),
    };
    let header = SegmentHeader::decode(data).map_err(|error| match error {
        HeaderError::Damaged(reason) => damaged(reason),
        HeaderError::Version(found) => OpenError::Format {
            segment: number,
            found,
            known: FORMAT_VERSION,
        },
    })?;
    if header.number != number {
        return Err(damaged("segment has the name of another"));
    }
    Ok(header)
}

/// Walks the last segment to its end, and cuts off what an interrupted write left there.
fn recover_last(dir: &Path, number: u32) -> Result<Tail, OpenError> {
    let path = segment_path(dir, number);
    let io = |action| {
        let path = path.clone();
        move |source| OpenError::Io {
            action,
            path,
            source,
        }
    };
    let data = Bytes::from(fs::read(&path).map_err(io("read"))?);
    let header = match decode_header(&path, number, &data) {
        Ok(header) => header,
        // Nothing is appended before the header is synced, so that a short one means that there
        // was never a frame. Were the file cut to this by damage, the index would know of more.
        Err(OpenError::JournalDamaged { .. })
            if data.len() <= super::format::SEGMENT_HEADER_BYTES =>
        {
            tracing::warn!(path = %path.display(), "removed a journal segment without a frame");
            set_aside(&path, &data).map_err(io("set aside"))?;
            fs::remove_file(&path).map_err(io("remove"))?;
            return Ok(Tail::NeverBegun {
                bytes: data.len() as u64,
            });
        }
        Err(error) => return Err(error),
    };

    let mut cursor = FrameCursor::new(data.clone(), &header);
    let mut sealed = false;
    let torn = loop {
        match cursor.step() {
            Step::Frame(frame) => sealed = frame.header.kind == Kind::Seal,
            Step::End => break 0,
            Step::Invalid(reason) => {
                if cursor.later_group_exists() {
                    return Err(OpenError::JournalDamaged {
                        path,
                        offset: cursor.offset as u64,
                        position: cursor.next_position,
                        reason: reason.to_owned(),
                    });
                }
                let torn = data.get(cursor.offset..).unwrap_or_default();
                tracing::error!(
                    path = %path.display(),
                    offset = cursor.offset,
                    position = cursor.next_position,
                    bytes = torn.len(),
                    reason,
                    "cut off the end of the journal, which a crash left unfinished"
                );
                set_aside(&path, torn).map_err(io("set aside the end of"))?;
                let file = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .map_err(io("open"))?;
                file.set_len(cursor.offset as u64)
                    .and_then(|()| file.sync_all())
                    .map_err(io("cut"))?;
                sealed = false;
                break torn.len() as u64;
            }
        }
    };
    Ok(Tail::Found {
        recovered: Recovered {
            header,
            len: cursor.offset as u64,
            next_position: cursor.next_position,
            hash: cursor.hash,
        },
        sealed,
        torn,
    })
}

/// Keeps bytes that are cut off, for whoever wants to know what they were.
fn set_aside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    // A directory of crashes is no use: a hundred are kept, the last is overwritten after that.
    let aside: PathBuf = (1..100)
        .map(|n| path.with_extension(format!("log.torn-{n}")))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| path.with_extension("log.torn-100"));
    match fs::write(&aside, bytes) {
        // Bytes of no value must not keep the store from opening on a full disk.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::warn!(path = %aside.display(), "no space to keep the bytes cut off");
            Ok(())
        }
        other => other,
    }
}
