//! Lines of untrusted text, with their numbers and offsets.
//!
//! Ends of lines are LF, CRLF, or the end of the file. A NUL or another control character means
//! that the file is no text, and is refused with its line.

use std::io::{self, BufRead, ErrorKind};

use crate::fault::Fault;

/// One line without its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) text: &'a [u8],
    /// Counted from 1.
    pub(crate) number: u64,
    /// Of the line's first byte in the decoded file.
    pub(crate) offset: u64,
    /// The line with its end.
    pub(crate) raw: &'a [u8],
}

pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    offset: u64,
    line_bytes_max: usize,
}

impl<R: BufRead> Lines<R> {
    /// `first_line` is the number of the first line, 1 for a whole file.
    pub(crate) fn new(reader: R, first_line: u64, line_bytes_max: usize) -> Self {
        Lines {
            reader,
            buffer: Vec::new(),
            number: first_line - 1,
            offset: 0,
            line_bytes_max,
        }
    }

    /// Offset of the next line's first byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line, or none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Line<'_>>, Fault> {
        self.buffer.clear();
        let number = self.number + 1;
        let mut skipped = 0_u64;
        loop {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(fault_of(error).at_line(number)),
            };
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            // The rest of a line that is too long is passed over, so that its neighbours are read.
            let too_long = self.buffer.len() + taken > self.line_bytes_max;
            if !too_long && skipped == 0 {
                self.buffer
                    .extend_from_slice(available.get(..taken).unwrap_or(available));
            } else {
                skipped += taken as u64;
            }
            self.reader.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if self.buffer.is_empty() && skipped == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.offset += self.buffer.len() as u64 + skipped;
        self.number = number;
        if skipped > 0 {
            let message = format!("line is longer than {} bytes", self.line_bytes_max);
            return Err(Fault::error("line_too_long", message).at_line(number));
        }
        let raw = self.buffer.as_slice();
        let text = without_line_end(raw);
        check_text(text, number)?;
        Ok(Some(Line {
            text,
            number,
            offset,
            raw,
        }))
    }
}

pub(crate) fn without_line_end(raw: &[u8]) -> &[u8] {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let mut raw = raw;
    // Files that were converted twice end their lines in CR CR LF.
    while let Some(shorter) = raw.strip_suffix(b"\r") {
        raw = shorter;
    }
    raw
}

/// The lines of a record in memory, without their ends.
pub(crate) fn split_lines(record: &[u8]) -> Vec<&[u8]> {
    record
        .split_inclusive(|byte| *byte == b'\n')
        .map(without_line_end)
        .collect()
}

fn check_text(text: &[u8], number: u64) -> Result<(), Fault> {
    // Form feed and the end-of-file mark of old systems occur in files that are otherwise sound.
    let is_control = |byte: &u8| *byte < b' ' && !matches!(*byte, b'\t' | b'\r' | 0x0c | 0x1a);
    let Some(column) = text.iter().position(is_control) else {
        return Ok(());
    };
    let byte = text.get(column).copied().unwrap_or(0);
    let fault = if byte == 0 {
        Fault::error(
            "nul_byte",
            format!("NUL byte at column {}: this is not a text file", column + 1),
        )
    } else {
        let message = format!(
            "control character 0x{byte:02x} at column {}: this is not a text file",
            column + 1
        );
        Fault::error("binary_content", message)
    };
    Err(fault.at_line(number))
}

/// The fault behind an error of a reader: our own decoder wraps its faults, the rest is from the
/// system.
pub(crate) fn fault_of(error: io::Error) -> Fault {
    let unreadable =
        |error: &io::Error| Fault::error("unreadable", format!("could not be read: {error}"));
    if !error.get_ref().is_some_and(|inner| inner.is::<Fault>()) {
        return unreadable(&error);
    }
    match error.into_inner().map(|inner| inner.downcast::<Fault>()) {
        Some(Ok(fault)) => *fault,
        _ => Fault::error("unreadable", "could not be read"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn lines_end_in_lf_crlf_or_nothing() {
        let mut lines = Lines::new(b"a\r\n\nbc\r\r\nd".as_slice(), 1, 100);
        let mut seen = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            seen.push((line.number, line.offset, line.text.to_vec()));
        }
        let expected = [(1, 0, "a"), (2, 3, ""), (3, 4, "bc"), (4, 9, "d")];
        assert_eq!(
            seen,
            expected.map(|(n, o, t)| (n, o, t.as_bytes().to_vec()))
        );
    }

    #[test]
    fn nul_bytes_and_long_lines_are_refused_with_their_line() {
        let mut lines = Lines::new(b"a\nb\0\n".as_slice(), 1, 100);
        assert!(lines.next().unwrap().is_some());
        let fault = lines.next().unwrap_err();
        assert_eq!((fault.code, fault.line), ("nul_byte", Some(2)));
        let mut lines = Lines::new(b"aaaaaaaaaa".as_slice(), 1, 5);
        assert_eq!(lines.next().unwrap_err().code, "line_too_long");
    }
}
