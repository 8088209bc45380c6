//! The bytes of records: varints, length-prefixed bytes and texts.
//!
//! Written by hand because the bytes outlive the program: what is on disk is decided here and
//! nowhere else, and every malformed input is an error, never a panic or a large allocation.

use bytes::{Buf, Bytes};

/// Bytes that are not a record of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed record: {reason}")]
pub struct DecodeError {
    pub(crate) reason: &'static str,
}

pub(crate) const fn malformed(reason: &'static str) -> DecodeError {
    DecodeError { reason }
}

/// Appends fields to a buffer.
#[derive(Debug)]
pub(crate) struct Encoder<'a>(pub(crate) &'a mut Vec<u8>);

impl Encoder<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn fixed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            // The low seven bits; truncation is the point.
            self.0.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        self.0.push(number.to_le_bytes()[0]);
    }

    pub(crate) fn length(&mut self, length: usize) {
        self.varint(u64::try_from(length).unwrap_or(u64::MAX));
    }

    pub(crate) fn signed(&mut self, number: i64) {
        self.fixed(&number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.fixed(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Takes fields off the front of some bytes, without copying.
#[derive(Debug, Clone)]
pub(crate) struct Decoder(pub(crate) Bytes);

impl Decoder {
    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        if self.0.is_empty() {
            return Err(malformed("ends within a field"));
        }
        Ok(self.0.get_u8())
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if self.0.len() < length {
            return Err(malformed("ends within a field"));
        }
        Ok(self.0.split_to(length))
    }

    pub(crate) fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        taken
            .as_ref()
            .try_into()
            .map_err(|_| malformed("ends within a field"))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0_u64;
        // Ten groups of seven bits hold 64.
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(malformed("number too large"));
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(malformed("number too long"))
    }

    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        T::try_from(self.varint()?).map_err(|_| malformed("number too large"))
    }

    /// A count of things of which each takes at least one byte: bounded by what is left.
    pub(crate) fn count(&mut self) -> Result<usize, DecodeError> {
        let count: usize = self.narrow()?;
        if count > self.0.len() {
            return Err(malformed("count exceeds the record"));
        }
        Ok(count)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_le_bytes(self.fixed()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.narrow()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| malformed("text is not UTF-8"))
    }

    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(malformed("bytes after the end"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn varints_round_trip() {
        for number in [
            0,
            1,
            127,
            128,
            300,
            u64::from(u32::MAX),
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut buffer = Vec::new();
            Encoder(&mut buffer).varint(number);
            let mut decoder = Decoder(buffer.into());
            assert_eq!(decoder.varint(), Ok(number));
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn malformed_bytes_are_errors() {
        assert!(Decoder(Bytes::from_static(&[0xff; 11])).varint().is_err());
        assert!(Decoder(Bytes::from_static(&[0x80])).varint().is_err());
        assert!(Decoder(Bytes::from_static(&[200, 1, 2])).bytes().is_err());
        assert!(
            Decoder(Bytes::from_static(&[2, 0xff, 0xfe]))
                .text()
                .is_err()
        );
        assert!(Decoder(Bytes::from_static(&[100])).count().is_err());
    }
}
