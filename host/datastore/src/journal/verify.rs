//! Proving a journal whole, closed or while it is being written.

use std::{fmt, fs, io, path::Path, path::PathBuf, str::FromStr};

use bytes::Bytes;

use super::{
    Location,
    append::segment_path,
    format::{FrameCursor, HeaderError, Kind, Record, SEGMENT_HEADER_BYTES, SegmentHeader, Step},
    recover::list_segments,
};
use crate::error::VerifyError;

/// What a whole journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    pub segments: usize,
    pub records: u64,
    pub size_bytes: u64,
    /// Position of the first frame that is still there; 1 unless segments were retired.
    pub first_position: u64,
    pub last_position: u64,
    /// Whether it ends with a seal: then nothing is missing from its end either.
    pub sealed: bool,
    /// Hash over everything: two journals with the same one are the same.
    pub hash: [u8; 32],
    /// Bytes at the end that are no whole frame yet. Always 0 for a store that is closed: there
    /// they are damage.
    pub unfinished_bytes: u64,
}

impl VerifyReport {
    /// What to keep elsewhere, so that a later look can tell whether the past is still the same.
    #[must_use]
    pub const fn anchor(&self) -> Anchor {
        Anchor {
            position: self.last_position,
            hash: self.hash,
        }
    }
}

/// The hash that the journal had at a position, as `POSITION:HEX`.
///
/// Whoever can write the files can also compute the chain anew from any point on. One anchor that
/// is kept where they cannot write makes every change before it show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anchor {
    pub position: u64,
    pub hash: [u8; 32],
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.position)?;
        self.hash
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an anchor is POSITION:HEX with 64 hexadecimal digits, as `verify` prints it")]
pub struct ParseAnchorError;

impl FromStr for Anchor {
    type Err = ParseAnchorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (position, digits) = text.split_once(':').ok_or(ParseAnchorError)?;
        let position = position.parse().map_err(|_| ParseAnchorError)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseAnchorError);
        }
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or(ParseAnchorError)?;
        }
        Ok(Self { position, hash })
    }
}

/// How the end of a journal is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nobody writes: what is no whole frame is damage.
    Closed,
    /// Somebody may be writing: what is no whole frame at the very end is on its way.
    Open,
}

/// A segment, and how many of its bytes are whole frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) number: u32,
    pub(crate) path: PathBuf,
    pub(crate) size_bytes: u64,
}

/// A frame on the way of [`walk`].
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) location: Location,
    pub(crate) position: u64,
    pub(crate) record: Option<Record>,
}

/// Reads the journal of the store in `dir` from end to end, and checks every checksum, every
/// position and the chain of hashes. The store must be closed; see [`verify_open`].
pub fn verify(dir: &Path) -> Result<VerifyReport, VerifyError> {
    walk(dir, Tail::Closed, &[], &mut |_| Ok(())).map(|(report, _)| report)
}

/// The same for a store that may be in use. What is being written is left out, and reported as
/// `unfinished_bytes`.
pub fn verify_open(dir: &Path) -> Result<VerifyReport, VerifyError> {
    walk(dir, Tail::Open, &[], &mut |_| Ok(())).map(|(report, _)| report)
}

/// Walks all frames, and gives each to `each` after it was checked.
pub(crate) fn walk(
    dir: &Path,
    tail: Tail,
    anchors: &[Anchor],
    each: &mut dyn FnMut(Visit) -> Result<(), VerifyError>,
) -> Result<(VerifyReport, Vec<Extent>), VerifyError> {
    let dir = &dir.join(crate::local::JOURNAL_DIR);
    let numbers = list_segments(dir).map_err(|source| VerifyError::Io {
        path: dir.clone(),
        source,
    })?;
    let mut walk = Walk {
        tail,
        anchors: anchors.to_vec(),
        report: VerifyReport {
            segments: 0,
            records: 0,
            size_bytes: 0,
            first_position: 1,
            last_position: 0,
            sealed: false,
            hash: [0; 32],
            unfinished_bytes: 0,
        },
        extents: Vec::with_capacity(numbers.len()),
        before: None,
    };
    let last = numbers.last().copied();
    for number in numbers {
        let path = segment_path(dir, number);
        match fs::read(&path) {
            Ok(data) => walk.segment(number, path, data.into(), last == Some(number), each)?,
            // Its creation failed after it was listed, and the writer took it away.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && tail == Tail::Open
                    && last == Some(number) => {}
            Err(source) => return Err(VerifyError::Io { path, source }),
        }
    }
    if let Some(anchor) = walk.anchors.first() {
        return Err(VerifyError::AnchorNotReached {
            anchor: *anchor,
            first_position: walk.report.first_position,
            last_position: walk.report.last_position,
        });
    }
    Ok((walk.report, walk.extents))
}

struct Walk {
    tail: Tail,
    /// Those that were not met yet.
    anchors: Vec<Anchor>,
    report: VerifyReport,
    extents: Vec<Extent>,
    before: Option<SegmentHeader>,
}

impl Walk {
    fn segment(
        &mut self,
        number: u32,
        path: PathBuf,
        data: Bytes,
        is_last: bool,
        each: &mut dyn FnMut(Visit) -> Result<(), VerifyError>,
    ) -> Result<(), VerifyError> {
        let damaged = |offset: usize, position: u64, reason: &str| VerifyError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            position,
            reason: reason.to_owned(),
        };
        let may_be_unfinished = is_last && self.tail == Tail::Open;
        let header = match SegmentHeader::decode(&data) {
            Ok(header) => header,
            // Just made: its header is synced before anything comes after it.
            Err(HeaderError::Damaged(_))
                if may_be_unfinished && data.len() <= SEGMENT_HEADER_BYTES =>
            {
                self.report.unfinished_bytes = data.len() as u64;
                return Ok(());
            }
            Err(HeaderError::Damaged(reason)) => return Err(damaged(0, 0, reason)),
            Err(HeaderError::Version(_)) => return Err(damaged(0, 0, "format is unknown")),
        };
        if header.number != number {
            return Err(damaged(0, 0, "segment has the name of another"));
        }
        self.follows(&header, &path)?;
        let size_bytes = data.len() as u64;
        let mut cursor = FrameCursor::new(data, &header);
        let mut unfinished_bytes = 0;
        loop {
            let offset = cursor.offset as u64;
            match cursor.step() {
                Step::End => break,
                Step::Invalid(_) if may_be_unfinished && !cursor.later_group_exists() => {
                    unfinished_bytes = size_bytes.saturating_sub(offset);
                    break;
                }
                Step::Invalid(reason) => {
                    return Err(damaged(cursor.offset, cursor.next_position, reason));
                }
                Step::Frame(frame) => {
                    let position = frame.header.position;
                    self.report.sealed = frame.header.kind == Kind::Seal;
                    self.meet(position, frame.header.hash)?;
                    let record = match frame.header.kind {
                        Kind::Record => {
                            self.report.records += 1;
                            let record = Record::decode(frame.body)
                                .map_err(|error| damaged(cursor.offset, position, error.reason))?;
                            Some(record)
                        }
                        _ => None,
                    };
                    let location = Location {
                        segment: number,
                        offset,
                    };
                    each(Visit {
                        location,
                        position,
                        record,
                    })?;
                }
            }
        }
        let whole_bytes = size_bytes.saturating_sub(unfinished_bytes);
        self.report.segments += 1;
        self.report.size_bytes += whole_bytes;
        self.report.unfinished_bytes = unfinished_bytes;
        self.report.last_position = cursor.next_position - 1;
        self.report.hash = cursor.hash;
        self.before = Some(header);
        self.extents.push(Extent {
            number,
            path,
            size_bytes: whole_bytes,
        });
        Ok(())
    }

    fn follows(&mut self, header: &SegmentHeader, path: &Path) -> Result<(), VerifyError> {
        let Some(before) = &self.before else {
            self.report.first_position = header.first_position;
            self.report.last_position = header.first_position.saturating_sub(1);
            self.report.hash = header.hash;
            // What was before the first segment is vouched for by its header alone.
            return self.meet(self.report.last_position, header.hash);
        };
        if header.number != before.number + 1 {
            return Err(VerifyError::SegmentMissing {
                number: before.number + 1,
            });
        }
        if header.epoch != before.epoch
            || header.first_position != self.report.last_position + 1
            || header.hash != self.report.hash
        {
            return Err(VerifyError::Damaged {
                path: path.to_owned(),
                offset: 0,
                position: header.first_position,
                reason: "segment does not follow the one before".to_owned(),
            });
        }
        Ok(())
    }

    /// Compares anchors of a position with the hash there.
    fn meet(&mut self, position: u64, hash: [u8; 32]) -> Result<(), VerifyError> {
        let mut broken = None;
        self.anchors.retain(|anchor| {
            if anchor.position != position {
                return true;
            }
            if anchor.hash != hash {
                broken = Some(*anchor);
            }
            false
        });
        match broken {
            Some(anchor) => Err(VerifyError::AnchorBroken {
                anchor,
                found: Anchor { position, hash },
            }),
            None => Ok(()),
        }
    }
}
