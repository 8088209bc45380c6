//! From the bytes of a file to its text: gzip, byte order marks, and encodings we refuse.
//!
//! Decompression is bounded in size and in ratio while it runs, so a bomb costs no more than the
//! bound. UTF-16 is refused by name, as the text would look like one with NUL bytes.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::fault::Fault;
use crate::limits::Limits;
use crate::lines::fault_of;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const UTF8_BOM: [u8; 3] = [0xef, 0xbb, 0xbf];
/// One read from the system and one window of text; records are gathered elsewhere.
const BUFFER_BYTES: usize = 64 << 10;
/// What sniffing looks at; as much as the host hands over.
const HEAD_BYTES: usize = 64 << 10;
/// The ratio is looked at from here on, as the head of a small file may compress very well.
const RATIO_CHECKED_FROM_BYTES: u64 = 4 << 20;

/// The text of a file that may be gzipped, in a buffer of its own.
///
/// Faults of decoding come back as errors of [`Read`] and are turned into [`Fault`]s by the
/// readers of this crate.
pub struct Decoder<'a> {
    reader: BufReader<Box<dyn Read + 'a>>,
    head: Vec<u8>,
    gzip: bool,
}

impl<'a> Decoder<'a> {
    /// # Errors
    /// When the first bytes show that the file is not readable as text.
    pub fn new(mut reader: impl Read + 'a, limits: &Limits) -> Result<Decoder<'a>, Fault> {
        let magic = read_up_to(&mut reader, GZIP_MAGIC.len())?;
        let gzip = magic == GZIP_MAGIC;
        let reader = Cursor::new(magic).chain(reader);
        let mut text: Box<dyn Read + 'a> = if gzip {
            let counted = Counted {
                reader: BufReader::with_capacity(BUFFER_BYTES, reader),
                taken: 0,
            };
            Box::new(Bounded::new(MultiGzDecoder::new(counted), limits))
        } else {
            Box::new(Bounded::new(Plain(reader), limits))
        };
        let mut head = read_up_to(&mut text, HEAD_BYTES)?;
        if let Some(fault) = refused_encoding(&head) {
            return Err(fault);
        }
        if head.starts_with(&GZIP_MAGIC) {
            return Err(Fault::error(
                "gzip_twice",
                "is compressed twice; decompress it once before the upload",
            ));
        }
        if head.starts_with(&UTF8_BOM) {
            head.drain(..UTF8_BOM.len());
        }
        let text: Box<dyn Read + 'a> = Box::new(Cursor::new(head.clone()).chain(text));
        Ok(Decoder {
            reader: BufReader::with_capacity(BUFFER_BYTES, text),
            head,
            gzip,
        })
    }

    #[must_use]
    pub fn is_gzip(&self) -> bool {
        self.gzip
    }

    /// The first bytes of the text, at most 64 KiB, whatever has been read since.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }
}

impl std::fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder")
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl BufRead for Decoder<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

/// The text of a file in memory: unzipped, without a UTF-8 byte order mark.
///
/// # Errors
/// When it is UTF-16, damaged gzip, or larger than the limits allow. NUL bytes further on are
/// found by the readers, which know the line.
pub fn decode<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Cow<'a, [u8]>, Fault> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        if let Some(fault) = refused_encoding(bytes) {
            return Err(fault);
        }
        if bytes.len() as u64 > limits.decoded_bytes_max {
            return Err(too_large(limits.decoded_bytes_max));
        }
        return Ok(Cow::Borrowed(
            bytes.strip_prefix(&UTF8_BOM).unwrap_or(bytes),
        ));
    }
    let mut decoder = Decoder::new(Cursor::new(bytes), limits)?;
    let mut text = Vec::new();
    decoder.read_to_end(&mut text).map_err(fault_of)?;
    Ok(Cow::Owned(text))
}

/// The text of a file's first bytes, as far as it can be decoded; for sniffing.
pub(crate) fn decode_head(head: &[u8], length: usize) -> (Vec<u8>, bool) {
    let gzip = head.starts_with(&GZIP_MAGIC);
    let mut text = Vec::new();
    if gzip {
        let mut decoder = MultiGzDecoder::new(head).take(length as u64);
        // A head is cut anywhere, so an error only ends it.
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = decoder.read(&mut piece) {
            text.extend_from_slice(piece.get(..count).unwrap_or_default());
        }
    } else {
        text.extend_from_slice(head.get(..length).unwrap_or(head));
    }
    if text.starts_with(&UTF8_BOM) {
        text.drain(..UTF8_BOM.len());
    }
    (text, gzip)
}

fn refused_encoding(head: &[u8]) -> Option<Fault> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            Some(Fault::error("utf32", "is text in UTF-32; save it as UTF-8 or ASCII").at_line(1))
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
            Some(Fault::error("utf16", "is text in UTF-16; save it as UTF-8 or ASCII").at_line(1))
        }
        [b'P', b'K', 3, 4, ..] => Some(Fault::error(
            "zip_archive",
            "is a ZIP archive; upload the files in it",
        )),
        [b'B', b'Z', b'h', ..] => Some(Fault::error(
            "unsupported_compression",
            "is compressed with bzip2; use gzip or none",
        )),
        [0xfd, b'7', b'z', b'X', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Fault::error(
            "unsupported_compression",
            "is compressed with xz or zstd; use gzip or none",
        )),
        [b'%', b'P', b'D', b'F', ..] => Some(Fault::error(
            "binary_content",
            "is a PDF document, not a molecule file",
        )),
        _ => None,
    }
}

fn too_large(bytes_max: u64) -> Fault {
    Fault::error(
        "file_too_large",
        format!("is larger than {bytes_max} bytes of text"),
    )
}

fn read_up_to(reader: &mut impl Read, length: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    reader
        .take(length as u64)
        .read_to_end(&mut bytes)
        .map_err(fault_of)?;
    Ok(bytes)
}

/// Counts the compressed bytes a decoder takes.
struct Counted<R> {
    reader: R,
    taken: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.taken += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.taken += amount as u64;
        self.reader.consume(amount);
    }
}

trait Compressed {
    /// Bytes taken so far, if decompression is going on.
    fn compressed_bytes(&self) -> Option<u64>;
}

struct Plain<R>(R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R> Compressed for Plain<R> {
    fn compressed_bytes(&self) -> Option<u64> {
        None
    }
}

impl<R: BufRead> Compressed for MultiGzDecoder<Counted<R>> {
    fn compressed_bytes(&self) -> Option<u64> {
        Some(self.get_ref().taken)
    }
}

/// Refuses what grows beyond the limits.
struct Bounded<R> {
    reader: R,
    given: u64,
    bytes_max: u64,
    ratio_max: u64,
}

impl<R> Bounded<R> {
    fn new(reader: R, limits: &Limits) -> Self {
        let (bytes_max, ratio_max) = (limits.decoded_bytes_max, limits.compression_ratio_max);
        Bounded {
            reader,
            given: 0,
            bytes_max,
            ratio_max,
        }
    }
}

impl<R: Read + Compressed> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let compressed_before = self.reader.compressed_bytes();
        let count = match self.reader.read(buffer) {
            Ok(count) => count,
            Err(error)
                if compressed_before.is_some() && error.kind() != io::ErrorKind::Interrupted =>
            {
                let message = format!(
                    "gzip data is damaged or cut after {} bytes of text",
                    self.given
                );
                return Err(io::Error::other(Fault::error("gzip_damaged", message)));
            }
            Err(error) => return Err(error),
        };
        self.given += count as u64;
        if self.given > self.bytes_max {
            return Err(io::Error::other(too_large(self.bytes_max)));
        }
        if let Some(taken) = self.reader.compressed_bytes()
            && self.given > RATIO_CHECKED_FROM_BYTES
            && self.given / taken.max(1) > self.ratio_max
        {
            let message = format!(
                "expands to more than {} times its compressed size",
                self.ratio_max
            );
            return Err(io::Error::other(Fault::error("compression_ratio", message)));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_and_marks_are_taken_off() {
        let limits = Limits::default();
        assert_eq!(&*decode(b"plain", &limits).unwrap(), b"plain");
        assert_eq!(&*decode(b"\xef\xbb\xbfplain", &limits).unwrap(), b"plain");
        assert_eq!(
            &*decode(&gzipped(b"\xef\xbb\xbfplain"), &limits).unwrap(),
            b"plain"
        );
        let twice = gzipped(&gzipped(b"plain"));
        assert_eq!(decode(&twice, &limits).unwrap_err().code, "gzip_twice");
        // Members joined by `cat` are one file.
        assert_eq!(
            &*decode(&[gzipped(b"a"), gzipped(b"b")].concat(), &limits).unwrap(),
            b"ab"
        );
    }

    #[test]
    fn utf16_cut_gzip_and_bombs_are_refused_by_name() {
        let limits = Limits::default();
        assert_eq!(
            decode(b"\xff\xfeS\0T\0", &limits).unwrap_err().code,
            "utf16"
        );
        let mut cut = gzipped(&b"some text that is long enough".repeat(100));
        cut.truncate(cut.len() / 2);
        assert_eq!(decode(&cut, &limits).unwrap_err().code, "gzip_damaged");
        let bomb = gzipped(&vec![b'C'; 16 << 20]);
        assert_eq!(
            decode(&bomb, &limits).unwrap_err().code,
            "compression_ratio"
        );
        let small = Limits {
            decoded_bytes_max: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(decode(&bomb, &small).unwrap_err().code, "file_too_large");
    }
}
