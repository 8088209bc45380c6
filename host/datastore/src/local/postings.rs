//! Which events carry a topic, as the index stores it.
//!
//! Bodies of events stay in the journal. The index has, per topic and per *block* of 512 seqs, one
//! row that lists where they are, so that a topic's history is read without a scan. Blocks are
//! aligned to seqs: writing one again after a crash gives the same rows.

use bytes::Bytes;

use crate::{
    codec::{DecodeError, Decoder, Encoder, malformed},
    journal::Location,
    keys::KeyBuilder,
    model::Table,
};

/// Seqs per block: a full block of the whole database is about 3 KiB.
const BLOCK_SEQS: u64 = 512;

pub(super) const fn block_of(seq: u64) -> u64 {
    seq / BLOCK_SEQS
}

pub(super) fn block_key(topic: &str, block: u64) -> Bytes {
    KeyBuilder::new()
        .byte(Table::EVENTS.prefix())
        .text(topic)
        .number(block)
        .build()
}

/// The end of a topic's blocks, exclusive. No database gets to the last block.
pub(super) fn blocks_end(topic: &str) -> Bytes {
    block_key(topic, u64::MAX)
}

/// Seq and location of events, in the order of seq.
pub(super) type Block = Vec<(u64, Location)>;

pub(super) fn encode_block(block: &Block) -> Bytes {
    let mut buffer = Vec::with_capacity(block.len() * 6 + 4);
    let mut encoder = Encoder(&mut buffer);
    encoder.byte(1);
    encoder.length(block.len());
    let mut before = (0, 0, 0);
    for (seq, location) in block {
        encoder.varint(seq - before.0);
        // Where the segment stays the same, the offset only grows.
        encoder.varint(u64::from(location.segment) - before.1);
        if u64::from(location.segment) == before.1 {
            encoder.varint(location.offset - before.2);
        } else {
            encoder.varint(location.offset);
        }
        before = (*seq, location.segment.into(), location.offset);
    }
    buffer.into()
}

pub(super) fn decode_block(value: Bytes) -> Result<Block, DecodeError> {
    let mut decoder = Decoder(value);
    if decoder.byte()? != 1 {
        return Err(malformed("unknown version"));
    }
    let overflow = malformed("number too large");
    let mut block = Vec::new();
    let mut before = (0_u64, 0_u64, 0_u64);
    for _ in 0..decoder.count()? {
        let seq = before
            .0
            .checked_add(decoder.varint()?)
            .ok_or_else(|| overflow.clone())?;
        let step = decoder.varint()?;
        let segment = before.1.checked_add(step).ok_or_else(|| overflow.clone())?;
        let offset = decoder.varint()?;
        let offset = if step == 0 {
            before
                .2
                .checked_add(offset)
                .ok_or_else(|| overflow.clone())?
        } else {
            offset
        };
        let location = Location {
            segment: segment.try_into().map_err(|_| overflow.clone())?,
            offset,
        };
        block.push((seq, location));
        before = (seq, segment, offset);
    }
    decoder.finish()?;
    Ok(block)
}

/// Adds events to a block, which may have some of them already.
pub(super) fn merge(block: &mut Block, newer: impl Iterator<Item = (u64, Location)>) {
    block.extend(newer);
    block.sort_by_key(|(seq, _)| *seq);
    // The same event is at the same place.
    block.dedup_by_key(|(seq, _)| *seq);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn blocks_round_trip_and_merge() {
        let at = |segment, offset| Location { segment, offset };
        let mut block = vec![
            (1, at(1, 128)),
            (2, at(1, 128)),
            (9, at(1, 4000)),
            (10, at(2, 128)),
        ];
        assert_eq!(decode_block(encode_block(&block)).unwrap(), block);
        merge(&mut block, [(10, at(2, 128)), (11, at(2, 300))].into_iter());
        assert_eq!(block.len(), 5);
        assert!(decode_block(Bytes::from_static(&[1, 9, 1])).is_err());
        assert!(decode_block(Bytes::from_static(&[2])).is_err());
    }
}
