//! Reading the journal while it is being written.
//!
//! Readers see only locations that were given out after their group was synced, so they never meet
//! the writer. Files are append-only and their bytes never change, so that a handle may be kept.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;

use super::{
    Location,
    append::segment_path,
    format::{
        FRAME_HEADER_BYTES, FrameCursor, FrameHeader, HeaderError, Kind, Record,
        SEGMENT_HEADER_BYTES, SegmentHeader, Step,
    },
};
use crate::error::ReadError;

/// Open segments kept for reading. A history spreads over few segments; each costs a descriptor.
const OPEN_FILES_MAX: usize = 16;

/// A record and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) position: u64,
    pub(crate) location: Location,
    pub(crate) record: Record,
}

#[derive(Debug)]
struct OpenSegment {
    file: File,
    header: SegmentHeader,
}

/// The reading end; any number of threads use it.
#[derive(Debug)]
pub(crate) struct JournalReader {
    dir: PathBuf,
    state: Mutex<ReaderState>,
}

#[derive(Debug, Default)]
struct ReaderState {
    epoch: [u8; 16],
    /// First position of each segment. The writer adds to it.
    segments: BTreeMap<u32, u64>,
    open: BTreeMap<u32, Arc<OpenSegment>>,
}

impl JournalReader {
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            state: Mutex::default(),
        }
    }

    pub(super) fn add_segment(&self, number: u32, first_position: u64) {
        self.state.lock().segments.insert(number, first_position);
    }

    pub(super) fn set_epoch(&self, epoch: [u8; 16]) {
        self.state.lock().epoch = epoch;
    }

    pub(crate) fn epoch(&self) -> [u8; 16] {
        self.state.lock().epoch
    }

    pub(crate) fn path(&self, segment: u32) -> PathBuf {
        segment_path(&self.dir, segment)
    }

    /// Where the journal begins.
    pub(crate) fn first_position(&self) -> u64 {
        let state = self.state.lock();
        state.segments.values().next().copied().unwrap_or(1)
    }

    /// Reads one record.
    pub(crate) fn read(&self, location: Location) -> Result<Entry, ReadError> {
        let segment = self.open(location.segment)?;
        let damaged = |reason: &str| ReadError::JournalDamaged {
            segment: location.segment,
            offset: location.offset,
            reason: reason.to_owned(),
        };
        let io = |source| self.io(location.segment, source, location.offset);
        let mut head = [0; FRAME_HEADER_BYTES];
        segment
            .file
            .read_exact_at(&mut head, location.offset)
            .map_err(io)?;
        let header = FrameHeader::decode(&head, segment.header.salt).map_err(damaged)?;
        if header.kind != Kind::Record {
            return Err(damaged("not a record"));
        }
        // Bounded by the check of the length in `FrameHeader::decode`.
        let mut body = vec![0; header.body_bytes];
        segment
            .file
            .read_exact_at(&mut body, location.offset + FRAME_HEADER_BYTES as u64)
            .map_err(io)?;
        if !header.body_is_whole(&body) {
            return Err(damaged("checksum of the frame is wrong"));
        }
        let record = Record::decode(body.into()).map_err(|error| damaged(error.reason))?;
        Ok(Entry {
            position: header.position,
            location,
            record,
        })
    }

    /// Reads all records from position `from` up to and with `to`, in order. A record borrows the
    /// memory of its whole segment: copy what is kept.
    pub(crate) fn replay<E: From<ReadError>>(
        &self,
        from: u64,
        to: u64,
        mut each: impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let segments: Vec<(u32, u64)> = {
            let state = self.state.lock();
            state.segments.iter().map(|(n, p)| (*n, *p)).collect()
        };
        let ends = segments.iter().skip(1).map(|(_, first)| *first - 1);
        for ((number, first), last) in segments.iter().zip(ends.chain([u64::MAX])) {
            if last < from || *first > to {
                continue;
            }
            self.replay_segment(*number, from, to.min(last), &mut each)?;
        }
        Ok(())
    }

    fn replay_segment<E: From<ReadError>>(
        &self,
        number: u32,
        from: u64,
        to: u64,
        each: &mut impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = std::fs::read(segment_path(&self.dir, number))
            .map_err(|source| self.io(number, source, 0))?;
        let data = Bytes::from(data);
        let header = self.decode_header(number, &data)?;
        let mut cursor = FrameCursor::new(data, &header);
        while cursor.next_position <= to {
            let damaged = |cursor: &FrameCursor, reason: &str| ReadError::JournalDamaged {
                segment: number,
                offset: cursor.offset as u64,
                reason: reason.to_owned(),
            };
            match cursor.step() {
                Step::End => {
                    if to != u64::MAX {
                        return Err(damaged(&cursor, "frames are missing at the end").into());
                    }
                    break;
                }
                Step::Invalid(reason) => return Err(damaged(&cursor, reason).into()),
                Step::Frame(frame) => {
                    if frame.header.position < from || frame.header.kind != Kind::Record {
                        continue;
                    }
                    let record = Record::decode(frame.body)
                        .map_err(|error| damaged(&cursor, error.reason))?;
                    each(Entry {
                        position: frame.header.position,
                        location: Location {
                            segment: number,
                            offset: frame.offset,
                        },
                        record,
                    })?;
                }
            }
        }
        Ok(())
    }

    fn open(&self, number: u32) -> Result<Arc<OpenSegment>, ReadError> {
        if let Some(open) = self.state.lock().open.get(&number) {
            return Ok(Arc::clone(open));
        }
        // Opened outside the lock: other readers must not wait for this one's disk.
        let io = |source| self.io(number, source, 0);
        let file = File::open(segment_path(&self.dir, number)).map_err(io)?;
        let mut head = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut head, 0).map_err(io)?;
        let header = self.decode_header(number, &head)?;
        let open = Arc::new(OpenSegment { file, header });
        let mut state = self.state.lock();
        if state.open.len() >= OPEN_FILES_MAX {
            state.open.pop_first();
        }
        state.open.insert(number, Arc::clone(&open));
        Ok(open)
    }

    fn decode_header(&self, number: u32, data: &[u8]) -> Result<SegmentHeader, ReadError> {
        let damaged = |reason: String| ReadError::JournalDamaged {
            segment: number,
            offset: 0,
            reason,
        };
        let header = SegmentHeader::decode(data).map_err(|error| match error {
            HeaderError::Damaged(reason) => damaged(reason.to_owned()),
            HeaderError::Version(version) => damaged(format!("format {version} is unknown")),
        })?;
        if header.number != number || header.epoch != self.epoch() {
            return Err(damaged("segment belongs elsewhere".to_owned()));
        }
        Ok(header)
    }

    #[expect(clippy::unused_self, reason = "reads as a method beside the others")]
    fn io(&self, segment: u32, source: io::Error, offset: u64) -> ReadError {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return ReadError::JournalDamaged {
                segment,
                offset,
                reason: "segment is cut short".to_owned(),
            };
        }
        ReadError::Journal {
            segment,
            source: Arc::new(source),
        }
    }
}
