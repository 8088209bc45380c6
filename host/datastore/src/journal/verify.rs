//! Proving a journal whole.

use std::{fs, path::Path};

use bytes::Bytes;

use super::{
    append::segment_path,
    format::{FrameCursor, HeaderError, Kind, Record, SegmentHeader, Step},
    recover::list_segments,
};
use crate::error::VerifyError;

/// What a whole journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    pub segments: usize,
    pub records: u64,
    pub size_bytes: u64,
    pub last_position: u64,
    /// Whether it ends with a seal: then nothing is missing from its end either.
    pub sealed: bool,
    /// Hash over everything: two journals with the same one are the same.
    pub hash: [u8; 32],
}

/// Reads the journal of the store in `dir` from end to end, and checks every checksum, every
/// position and the chain of hashes. The store may be open, but then its newest group may look
/// interrupted.
pub fn verify(dir: &Path) -> Result<VerifyReport, VerifyError> {
    let dir = &dir.join(crate::local::JOURNAL_DIR);
    let numbers = list_segments(dir).map_err(|source| VerifyError::Io {
        path: dir.clone(),
        source,
    })?;
    let mut report = VerifyReport {
        segments: 0,
        records: 0,
        size_bytes: 0,
        last_position: 0,
        sealed: false,
        hash: [0; 32],
    };
    let mut before: Option<SegmentHeader> = None;
    for number in numbers {
        let path = segment_path(dir, number);
        let damaged = |offset: usize, position: u64, reason: &str| VerifyError::Damaged {
            path: path.clone(),
            offset: offset as u64,
            position,
            reason: reason.to_owned(),
        };
        let data = Bytes::from(fs::read(&path).map_err(|source| VerifyError::Io {
            path: path.clone(),
            source,
        })?);
        let header = SegmentHeader::decode(&data).map_err(|error| match error {
            HeaderError::Damaged(reason) => damaged(0, 0, reason),
            HeaderError::Version(_) => damaged(0, 0, "format is unknown"),
        })?;
        if header.number != number {
            return Err(damaged(0, 0, "segment has the name of another"));
        }
        if let Some(before) = &before {
            if number != before.number + 1 {
                return Err(VerifyError::SegmentMissing {
                    number: before.number + 1,
                });
            }
            if header.epoch != before.epoch
                || header.first_position != report.last_position + 1
                || header.hash != report.hash
            {
                return Err(damaged(
                    0,
                    header.first_position,
                    "segment does not follow the one before",
                ));
            }
        }
        report.segments += 1;
        report.size_bytes += data.len() as u64;
        let mut cursor = FrameCursor::new(data, &header);
        loop {
            match cursor.step() {
                Step::End => break,
                Step::Invalid(reason) => {
                    return Err(damaged(cursor.offset, cursor.next_position, reason));
                }
                Step::Frame(frame) => {
                    report.sealed = frame.header.kind == Kind::Seal;
                    if frame.header.kind == Kind::Record {
                        report.records += 1;
                        Record::decode(frame.body).map_err(|error| {
                            damaged(cursor.offset, frame.header.position, error.reason)
                        })?;
                    }
                }
            }
        }
        report.last_position = cursor.next_position - 1;
        report.hash = cursor.hash;
        before = Some(header);
    }
    Ok(report)
}
