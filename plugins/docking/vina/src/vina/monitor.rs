//! Progress from the engine's stars.

use bindery_sdk::Signal;

/// As many as the ruler is long.
const STARS: u32 = 51;
/// The ruler's last line; stars before it would be something else.
const RULER_END: &[u8] = b"----|\n";

/// Counts stars in raw pieces of stdout.
#[derive(Debug, Default)]
pub(crate) struct Stars {
    /// How much of [`RULER_END`] the bytes so far end with.
    ruler: usize,
    in_bar: bool,
    seen: u32,
}

impl Stars {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Option<Signal> {
        let before = self.seen;
        for &byte in bytes {
            if self.in_bar {
                if byte == b'*' && self.seen < STARS {
                    self.seen += 1;
                }
                // A new line ends the bar.
                self.in_bar = byte != b'\n';
            } else if self.seen == 0 {
                self.match_ruler(byte);
            }
        }
        // Both are at most 51.
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let share = self.seen as f32 / STARS as f32;
        (self.seen > before).then_some(Signal::Progress(share))
    }

    fn match_ruler(&mut self, byte: u8) {
        let matches = |at: usize| RULER_END.get(at) == Some(&byte);
        self.ruler = if matches(self.ruler) {
            self.ruler + 1
        } else if byte == b'-' && self.ruler == 4 {
            // Five dashes end with four.
            4
        } else {
            usize::from(matches(0))
        };
        if self.ruler == RULER_END.len() {
            self.in_bar = true;
            self.ruler = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "test")]

    use super::*;

    const START: &str = "#### *** ####\nPerforming docking (random seed: 42) ... \n\
                         0%   10   20   30   40   50   60   70   80   90   100%\n\
                         |----|----|----|----|----|----|----|----|----|----|\n";

    #[test]
    fn stars_count_only_below_the_ruler_and_in_any_pieces() {
        let text = format!("{START}{}\n\n* done *\n", "*".repeat(51));
        for piece in [1, 2, 7, 1000] {
            let mut stars = Stars::default();
            let mut shares = Vec::new();
            for bytes in text.as_bytes().chunks(piece) {
                match stars.feed(bytes) {
                    Some(Signal::Progress(share)) => shares.push(share),
                    Some(other) => panic!("{other:?}"),
                    None => {}
                }
            }
            assert_eq!(shares.last(), Some(&1.0), "in pieces of {piece}");
            assert!(shares.windows(2).all(|pair| pair.first() < pair.last()));
            if piece == 1 {
                assert_eq!(shares.len(), 51);
            }
        }
    }

    #[test]
    fn a_flood_of_stars_never_passes_the_end() {
        let mut stars = Stars::default();
        let text = format!("{START}{}", "*".repeat(5000));
        assert_eq!(stars.feed(text.as_bytes()), Some(Signal::Progress(1.0)));
        assert_eq!(stars.feed(b"***"), None);
    }
}
