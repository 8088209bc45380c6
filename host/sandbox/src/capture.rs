//! Keeps the beginning and the end of a stream of any length in bounded memory.

use std::collections::VecDeque;

use crate::Captured;

/// Says what is worth reading of a log: how it began, and how it ended.
pub(crate) struct Capture {
    head: Vec<u8>,
    head_max: usize,
    /// Full once `tail_max` is reached, then loses its oldest byte for each new one.
    tail: VecDeque<u8>,
    tail_max: usize,
    dropped: u64,
}

impl Capture {
    pub(crate) fn new(max_bytes: u64) -> Self {
        let max = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let head_max = max / 2;
        Self {
            head: Vec::new(),
            head_max,
            tail: VecDeque::new(),
            tail_max: max.saturating_sub(head_max),
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        let room = self
            .head_max
            .saturating_sub(self.head.len())
            .min(chunk.len());
        let (first, rest) = chunk.split_at_checked(room).unwrap_or((chunk, &[]));
        self.head.extend_from_slice(first);
        // Of a chunk longer than the tail only its end can stay.
        let skipped = rest.len().saturating_sub(self.tail_max);
        let kept = rest.get(skipped..).unwrap_or_default();
        let excess = self
            .tail
            .len()
            .saturating_add(kept.len())
            .saturating_sub(self.tail_max);
        self.tail.drain(..excess.min(self.tail.len()));
        self.tail.extend(kept);
        self.dropped = self
            .dropped
            .saturating_add(skipped.saturating_add(excess) as u64);
    }

    pub(crate) fn finish(self) -> Captured {
        let dropped_at = self.head.len();
        let mut bytes = self.head;
        bytes.extend(self.tail);
        Captured {
            bytes,
            dropped: self.dropped,
            dropped_at,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;

    fn check(max: u64, chunks: &[&[u8]], bytes: &[u8], dropped: u64) {
        let mut capture = Capture::new(max);
        chunks.iter().for_each(|chunk| capture.push(chunk));
        let found = capture.finish();
        assert_eq!((found.bytes.as_slice(), found.dropped), (bytes, dropped));
    }

    #[test]
    fn short_streams_are_kept_whole_and_long_ones_lose_the_middle() {
        check(10, &[], b"", 0);
        check(10, &[b"0123456789"], b"0123456789", 0);
        check(10, &[b"01234", b"56789"], b"0123456789", 0);
        check(10, &[b"0123456789abc"], b"0123489abc", 3);
        check(10, &[b"012", b"345", b"6789a", b"bc"], b"0123489abc", 3);
        check(10, &[b"0123456", &[b'x'; 100], b"ab"], b"01234xxxab", 99);
        check(0, &[b"abc"], b"", 3);
    }

    #[test]
    fn nothing_is_lost_uncounted() {
        for size in 1..40 {
            let mut capture = Capture::new(16);
            let stream: Vec<u8> = (0..200).collect();
            stream.chunks(size).for_each(|chunk| capture.push(chunk));
            let found = capture.finish();
            assert_eq!(found.bytes.len() as u64 + found.dropped, 200);
            assert_eq!(found.bytes, [&stream[..8], &stream[192..]].concat());
            assert_eq!(found.dropped_at, 8);
        }
    }
}
