//! Making logs safe to show.
//!
//! A log is what an untrusted program printed: escape sequences that type into a terminal, bytes
//! that are no text, characters that turn a line's direction. What is shown has the same length
//! as what is stored, byte for byte, so that ranges of one are ranges of the other: a byte that
//! must not be shown becomes `?`, and a lone carriage return, which would overwrite a line,
//! becomes a line end.

use bytes::{Bytes, BytesMut};

/// Makes a stream of chunks safe; characters may be cut by chunks.
#[derive(Debug, Default)]
pub(crate) struct LogText {
    /// The beginning of a character, or a carriage return, that the next chunk decides about.
    held: Vec<u8>,
}

const UNSAFE: u8 = b'?';
/// Longest UTF-8 sequence.
const CHAR_BYTES_MAX: usize = 4;

impl LogText {
    pub(crate) fn chunk(&mut self, chunk: &[u8]) -> Bytes {
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(chunk);
        let kept = text.len() - undecided(&text);
        self.held = text.split_off(kept);
        clean(&text)
    }

    /// What was held back, at the end.
    pub(crate) fn finish(&mut self) -> Bytes {
        clean(&std::mem::take(&mut self.held))
    }
}

/// Length of the end of a text that may belong to what comes next.
fn undecided(text: &[u8]) -> usize {
    if text.last() == Some(&b'\r') {
        return 1;
    }
    (1..CHAR_BYTES_MAX)
        .filter_map(|length| text.get(text.len().checked_sub(length)?..))
        .find(|end| match std::str::from_utf8(end) {
            Err(error) => error.valid_up_to() == 0 && error.error_len().is_none(),
            Ok(_) => false,
        })
        .map_or(0, <[u8]>::len)
}

fn clean(text: &[u8]) -> Bytes {
    let mut safe = BytesMut::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' if characters.peek() == Some(&'\n') => safe.extend_from_slice(b" "),
                '\r' => safe.extend_from_slice(b"\n"),
                '\n' | '\t' => safe.extend_from_slice(&[character as u8]),
                character if is_unsafe(character) => {
                    safe.extend(std::iter::repeat_n(UNSAFE, character.len_utf8()));
                }
                character => {
                    safe.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
        safe.extend(std::iter::repeat_n(UNSAFE, chunk.invalid().len()));
    }
    safe.freeze()
}

/// Controls, and characters that reorder or hide others (Unicode TR 36, "bidirectional text
/// spoofing"; CVE-2021-42574).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    fn shown(log: &[u8]) -> String {
        let mut text = LogText::default();
        let mut all = text.chunk(log).to_vec();
        all.extend_from_slice(&text.finish());
        assert_eq!(all.len(), log.len());
        String::from_utf8(all).unwrap()
    }

    #[test]
    fn nothing_a_terminal_would_obey_is_left() {
        assert_eq!(
            shown(b"plain \xc3\xa9 text\n\tmore\n"),
            "plain é text\n\tmore\n"
        );
        assert_eq!(
            shown(b"\x1b[31mred\x1b]52;c;aGk=\x07"),
            "?[31mred?]52;c;aGk=?"
        );
        assert_eq!(shown(b"10%\r20%\r\nend\r"), "10%\n20% \nend\n");
        assert_eq!(shown(b"a\0b\xffc\xc3"), "a?b?c?");
        assert_eq!(shown("x\u{202e}y\u{9b}z".as_bytes()), "x???y??z");
    }

    #[test]
    fn chunks_may_cut_anywhere() {
        let log = "é\r\n\u{202e}€\u{1F600}\x1b[2J\r!".as_bytes();
        let whole = shown(log);
        for first in 0..=log.len() {
            for second in first..=log.len() {
                let mut text = LogText::default();
                let mut all = text.chunk(&log[..first]).to_vec();
                all.extend_from_slice(&text.chunk(&log[first..second]));
                all.extend_from_slice(&text.chunk(&log[second..]));
                all.extend_from_slice(&text.finish());
                assert_eq!(String::from_utf8(all).unwrap(), whole, "{first} {second}");
            }
        }
    }
}
