//! The bytes of segments and frames. Format version 1.
//!
//! Integers are little-endian. A segment is a header of 128 bytes and then frames without gaps:
//!
//! | header | bytes | | frame | bytes |
//! |---|---|---|---|---|
//! | magic `BINDERYJ` | 8 | | magic | 4 |
//! | format version | 4 | | kind, then zeros | 4 |
//! | segment number | 4 | | body length | 4 |
//! | epoch | 16 | | CRC-32 of the body | 4 |
//! | salt | 8 | | position | 8 |
//! | first position | 8 | | first position of its group | 8 |
//! | hash of all frames before | 32 | | hash of all frames up to this one | 32 |
//! | time of creation, µs | 8 | | CRC-32 of salt and the 64 bytes above | 4 |
//! | zeros | 36 | | body | |
//! | CRC-32 of the above | 4 | | | |
//!
//! The salt is random per segment and never leaves the file: a value that imitates a frame cannot
//! be mistaken for one when a torn tail is searched.

use bindery_core::ids::OrgId;
use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::GROUP_BYTES_MAX;
use crate::{
    codec::{DecodeError, Decoder, Encoder, malformed},
    model::Database,
    plan::Change,
};

pub(super) const FORMAT_VERSION: u32 = 1;
pub(crate) const SEGMENT_HEADER_BYTES: usize = 128;
pub(super) const FRAME_HEADER_BYTES: usize = 68;
const SEGMENT_MAGIC: [u8; 8] = *b"BINDERYJ";
pub(super) const FRAME_MAGIC: [u8; 4] = *b"\xb1frm";

pub(super) type Hash = [u8; 32];

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A [`Record`].
    Record,
    /// Written last when the store is closed in order: what precedes it is complete. No body.
    Seal,
}

impl Kind {
    // 3 is reserved for checkpoints.
    const fn number(self) -> u8 {
        match self {
            Self::Record => 1,
            Self::Seal => 2,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Record),
            2 => Some(Self::Seal),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) number: u32,
    pub(super) epoch: [u8; 16],
    pub(super) salt: [u8; 8],
    pub(super) first_position: u64,
    pub(super) hash: Hash,
    pub(super) created_us: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HeaderError {
    Damaged(&'static str),
    Version(u32),
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut buffer = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        buffer.extend_from_slice(&SEGMENT_MAGIC);
        buffer.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        buffer.extend_from_slice(&self.number.to_le_bytes());
        buffer.extend_from_slice(&self.epoch);
        buffer.extend_from_slice(&self.salt);
        buffer.extend_from_slice(&self.first_position.to_le_bytes());
        buffer.extend_from_slice(&self.hash);
        buffer.extend_from_slice(&self.created_us.to_le_bytes());
        buffer.resize(SEGMENT_HEADER_BYTES - 4, 0);
        let crc = crc32fast::hash(&buffer);
        buffer.extend_from_slice(&crc.to_le_bytes());
        buffer
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self, HeaderError> {
        let field = HeaderError::Damaged("segment header is cut short");
        let head = data.get(..SEGMENT_HEADER_BYTES).ok_or(field)?;
        let (sealed, crc) = head.split_at(SEGMENT_HEADER_BYTES - 4);
        if crc != crc32fast::hash(sealed).to_le_bytes() {
            return Err(HeaderError::Damaged(
                "checksum of the segment header is wrong",
            ));
        }
        let mut decoder = Decoder(Bytes::copy_from_slice(sealed));
        let mut parse = || -> Result<(u32, [u8; 8], Self), DecodeError> {
            let magic = decoder.fixed()?;
            let version = u32::from_le_bytes(decoder.fixed()?);
            Ok((
                version,
                magic,
                Self {
                    number: u32::from_le_bytes(decoder.fixed()?),
                    epoch: decoder.fixed()?,
                    salt: decoder.fixed()?,
                    first_position: u64::from_le_bytes(decoder.fixed()?),
                    hash: decoder.fixed()?,
                    created_us: decoder.signed()?,
                },
            ))
        };
        match parse() {
            Ok((_, magic, _)) if magic != SEGMENT_MAGIC => {
                Err(HeaderError::Damaged("not a journal segment"))
            }
            Ok((version, _, _)) if version != FORMAT_VERSION => Err(HeaderError::Version(version)),
            Ok((_, _, header)) => Ok(header),
            Err(error) => Err(HeaderError::Damaged(error.reason)),
        }
    }
}

/// A segment's header with another epoch. The chain of hashes is over frames, so it still holds.
pub(crate) fn give_epoch(header: &[u8], epoch: [u8; 16]) -> std::io::Result<Vec<u8>> {
    SegmentHeader::decode(header)
        .map(|header| SegmentHeader { epoch, ..header }.encode())
        .map_err(|_| std::io::ErrorKind::InvalidData.into())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: Kind,
    pub(super) body_bytes: usize,
    body_crc: u32,
    pub(super) position: u64,
    pub(super) group_first: u64,
    pub(super) hash: Hash,
}

impl FrameHeader {
    /// Reads a header, or says what is wrong with it.
    pub(super) fn decode(data: &[u8], salt: [u8; 8]) -> Result<Self, &'static str> {
        let head = data
            .get(..FRAME_HEADER_BYTES)
            .ok_or("frame header is cut short")?;
        let (sealed, crc) = head.split_at(FRAME_HEADER_BYTES - 4);
        if !sealed.starts_with(&FRAME_MAGIC) {
            return Err("no frame begins here");
        }
        if crc != frame_header_crc(salt, sealed).to_le_bytes() {
            return Err("checksum of the frame header is wrong");
        }
        let mut decoder = Decoder(Bytes::copy_from_slice(sealed));
        let mut parse = || -> Result<Self, DecodeError> {
            decoder.take(FRAME_MAGIC.len())?;
            let kind = Kind::of(decoder.byte()?).ok_or(malformed("unknown kind of frame"))?;
            if decoder.fixed::<3>()? != [0; 3] {
                return Err(malformed("unknown flags of a frame"));
            }
            let body_bytes = usize::try_from(u32::from_le_bytes(decoder.fixed()?))
                .map_err(|_| malformed("frame is too large"))?;
            if body_bytes > GROUP_BYTES_MAX {
                return Err(malformed("frame is too large"));
            }
            Ok(Self {
                kind,
                body_bytes,
                body_crc: u32::from_le_bytes(decoder.fixed()?),
                position: u64::from_le_bytes(decoder.fixed()?),
                group_first: u64::from_le_bytes(decoder.fixed()?),
                hash: decoder.fixed()?,
            })
        };
        parse().map_err(|error| error.reason)
    }

    pub(super) fn body_is_whole(&self, body: &[u8]) -> bool {
        body.len() == self.body_bytes && crc32fast::hash(body) == self.body_crc
    }

    /// Whether the frame continues what was hashed before.
    pub(super) fn continues(&self, previous: &Hash, body: &[u8]) -> bool {
        self.hash == chain(previous, self.kind, self.position, body)
    }
}

fn frame_header_crc(salt: [u8; 8], sealed: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt);
    crc.update(sealed);
    crc.finalize()
}

fn chain(previous: &Hash, kind: Kind, position: u64, body: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update([kind.number()]);
    hash.update(position.to_le_bytes());
    hash.update(body);
    hash.finalize().into()
}

/// Appends a frame to a group, and returns the hash that the next one continues.
pub(super) fn encode_frame(
    buffer: &mut Vec<u8>,
    salt: [u8; 8],
    kind: Kind,
    (position, group_first): (u64, u64),
    previous: &Hash,
    body: &[u8],
) -> Result<Hash, DecodeError> {
    let body_bytes = u32::try_from(body.len()).map_err(|_| malformed("frame is too large"))?;
    let hash = chain(previous, kind, position, body);
    let mut head = Vec::with_capacity(FRAME_HEADER_BYTES);
    head.extend_from_slice(&FRAME_MAGIC);
    head.extend_from_slice(&[kind.number(), 0, 0, 0]);
    head.extend_from_slice(&body_bytes.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    head.extend_from_slice(&position.to_le_bytes());
    head.extend_from_slice(&group_first.to_le_bytes());
    head.extend_from_slice(&hash);
    let crc = frame_header_crc(salt, &head);
    head.extend_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(body);
    Ok(hash)
}

/// One change of one database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) database: Database,
    pub(crate) time: Timestamp,
    /// Seq of the first event; those after it follow.
    pub(crate) first_seq: u64,
    pub(crate) writes: Vec<RecordWrite>,
    pub(crate) events: Vec<RecordEvent>,
}

/// A put, or a delete when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordWrite {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RecordEvent {
    pub(crate) name: String,
    pub(crate) topics: Vec<String>,
    /// JSON text.
    pub(crate) data: Bytes,
}

/// Writes the body of a record.
pub(crate) fn encode_record(
    buffer: &mut Vec<u8>,
    database: Database,
    time: Timestamp,
    first_seq: u64,
    change: &Change,
) {
    let mut encoder = Encoder(buffer);
    match database {
        Database::Meta => encoder.byte(0),
        Database::Org(org) => {
            encoder.byte(1);
            encoder.fixed(org.as_bytes());
        }
    }
    encoder.signed(time.as_microsecond());
    encoder.varint(first_seq);
    encoder.length(change.writes.len());
    for write in &change.writes {
        encoder.bytes(&write.key);
        match &write.value {
            Some(value) => {
                encoder.byte(1);
                encoder.bytes(value);
            }
            None => encoder.byte(0),
        }
    }
    encoder.length(change.events.len());
    for event in &change.events {
        encoder.text(&event.name);
        encoder.length(event.topics.len());
        for topic in &event.topics {
            encoder.text(topic);
        }
        encoder.text(&event.data_text);
    }
}

impl Record {
    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut decoder = Decoder(body);
        let database = match decoder.byte()? {
            0 => Database::Meta,
            1 => Database::Org(OrgId::from_bytes(decoder.fixed()?)),
            _ => return Err(malformed("unknown kind of database")),
        };
        let time = Timestamp::from_microsecond(decoder.signed()?)
            .map_err(|_| malformed("time out of range"))?;
        let first_seq = decoder.varint()?;
        let mut writes = Vec::new();
        for _ in 0..decoder.count()? {
            let key = decoder.bytes()?;
            let value = match decoder.byte()? {
                0 => None,
                1 => Some(decoder.bytes()?),
                _ => return Err(malformed("unknown kind of write")),
            };
            writes.push(RecordWrite { key, value });
        }
        let mut events = Vec::new();
        for _ in 0..decoder.count()? {
            let name = decoder.text()?;
            let mut topics = Vec::new();
            for _ in 0..decoder.count()? {
                topics.push(decoder.text()?);
            }
            events.push(RecordEvent {
                name,
                topics,
                data: decoder.bytes()?,
            });
        }
        decoder.finish()?;
        Ok(Self {
            database,
            time,
            first_seq,
            writes,
            events,
        })
    }
}

/// A whole frame found in a segment.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) offset: u64,
    pub(super) header: FrameHeader,
    pub(super) body: Bytes,
}

/// What comes next in a segment.
#[derive(Debug)]
pub(super) enum Step {
    Frame(Frame),
    End,
    Invalid(&'static str),
}

/// Walks the frames of a segment, checking each against the one before.
#[derive(Debug)]
pub(super) struct FrameCursor {
    data: Bytes,
    salt: [u8; 8],
    pub(super) offset: usize,
    pub(super) next_position: u64,
    pub(super) hash: Hash,
}

impl FrameCursor {
    pub(super) fn new(data: Bytes, header: &SegmentHeader) -> Self {
        Self {
            data,
            salt: header.salt,
            offset: SEGMENT_HEADER_BYTES,
            next_position: header.first_position,
            hash: header.hash,
        }
    }

    /// The next frame. After `Invalid` the cursor stays where it is.
    pub(super) fn step(&mut self) -> Step {
        let rest = self.data.get(self.offset..).unwrap_or_default();
        if rest.is_empty() {
            return Step::End;
        }
        let header = match FrameHeader::decode(rest, self.salt) {
            Ok(header) => header,
            Err(reason) => return Step::Invalid(reason),
        };
        let body_start = self.offset + FRAME_HEADER_BYTES;
        let body_end = body_start + header.body_bytes;
        if body_end > self.data.len() {
            return Step::Invalid("frame is cut short");
        }
        let body = self.data.slice(body_start..body_end);
        if !header.body_is_whole(&body) {
            return Step::Invalid("checksum of the frame is wrong");
        }
        if header.position != self.next_position {
            return Step::Invalid("frame is out of order");
        }
        if !header.continues(&self.hash, &body) {
            return Step::Invalid("hash chain is broken");
        }
        let frame = Frame {
            offset: u64::try_from(self.offset).unwrap_or(u64::MAX),
            header,
            body,
        };
        self.offset = body_end;
        self.next_position += 1;
        self.hash = frame.header.hash;
        Step::Frame(frame)
    }

    /// Whether a group later than the frame expected here was ever written to this segment: then
    /// that frame was synced, and its loss is damage, not an interrupted write.
    pub(super) fn later_group_exists(&self) -> bool {
        let rest = self.data.get(self.offset..).unwrap_or_default();
        rest.windows(FRAME_MAGIC.len())
            .enumerate()
            .filter(|(_, window)| *window == FRAME_MAGIC)
            .any(|(at, _)| {
                let candidate = rest.get(at..).unwrap_or_default();
                FrameHeader::decode(candidate, self.salt)
                    .is_ok_and(|header| header.group_first > self.next_position)
            })
    }
}
