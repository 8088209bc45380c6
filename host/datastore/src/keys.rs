//! How keys are built, so that the order of bytes is the order wanted.
//!
//! Integers are big-endian. "Newest first" is a forward scan, because times are stored inverted.
//! Texts inside a key end with a zero byte, so that no text is a prefix of another.

use bytes::Bytes;
use jiff::Timestamp;

/// Puts together a key from parts.
#[derive(Debug, Default, Clone)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
}

impl KeyBuilder {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends bytes of fixed length, such as an id.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends a text and a zero byte. Zero bytes inside the text become 0x01: keys must stay
    /// unambiguous, and no name we store has one.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.bytes
            .extend(text.bytes().map(|byte| if byte == 0 { 1 } else { byte }));
        self.bytes.push(0);
        self
    }

    #[must_use]
    pub fn byte(mut self, byte: u8) -> Self {
        self.bytes.push(byte);
        self
    }

    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.fixed(&number.to_be_bytes())
    }

    /// Appends a time such that older comes first.
    #[must_use]
    pub fn oldest_first(self, time: Timestamp) -> Self {
        self.fixed(&ordered_time(time))
    }

    /// Appends a time such that newer comes first.
    #[must_use]
    pub fn newest_first(self, time: Timestamp) -> Self {
        self.fixed(&ordered_time(time).map(|byte| !byte))
    }

    #[must_use]
    pub fn build(self) -> Bytes {
        self.bytes.into()
    }
}

/// Microseconds with the sign bit flipped: the order of bytes is the order of times.
fn ordered_time(time: Timestamp) -> [u8; 8] {
    ordered_i64(time.as_microsecond())
}

pub(crate) fn ordered_i64(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

pub(crate) fn from_ordered_i64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

/// The smallest key that is greater than all that start with `prefix`; `None` when there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end: Vec<u8> = prefix.iter().take(kept + 1).copied().collect();
    if let Some(last) = end.last_mut() {
        *last = last.wrapping_add(1);
    }
    Some(end.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn times_sort_both_ways_across_the_epoch() {
        let times: Vec<Timestamp> = [-5_000_000, -1, 0, 1, 7, 1_800_000_000_000_000]
            .into_iter()
            .map(|us| Timestamp::from_microsecond(us).unwrap())
            .collect();
        let old: Vec<Bytes> = times
            .iter()
            .map(|time| KeyBuilder::new().oldest_first(*time).build())
            .collect();
        let new: Vec<Bytes> = times
            .iter()
            .map(|time| KeyBuilder::new().newest_first(*time).build())
            .collect();
        assert!(old.is_sorted());
        assert!(new.iter().rev().is_sorted());
        assert_eq!(from_ordered_i64(ordered_i64(-42)), -42);
    }

    #[test]
    fn no_text_is_a_prefix_of_another() {
        let short = KeyBuilder::new().text("ab").build();
        let long = KeyBuilder::new().text("abc").build();
        assert!(!long.starts_with(&short));
    }

    #[test]
    fn prefix_end_skips_trailing_ff() {
        assert_eq!(prefix_end(b"a\xff\xff").unwrap().as_ref(), b"b");
        assert_eq!(prefix_end(b"ab").unwrap().as_ref(), b"ac");
        assert_eq!(prefix_end(b"\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
