//! Log lines of one call, bounded in size and number.

/// A log line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestLine {
    pub level: &'static str,
    /// Untrusted text.
    pub message: String,
}

/// One log line; the contract's number.
const LINE_BYTES_MAX: usize = 64 << 10;
/// All log lines of one call; the contract's number.
const BYTES_MAX: usize = 1 << 20;
/// Empty lines cost memory as well: a thousand of the longest kind, or this many short ones.
const LINES_MAX: usize = 10_000;

/// The lines of one call so far.
#[derive(Debug, Default)]
pub(crate) struct GuestLines {
    kept: Vec<GuestLine>,
    bytes: usize,
    dropped: u64,
}

impl GuestLines {
    /// Keeps a line, or counts it where there is no room.
    pub(crate) fn push(&mut self, level: &'static str, message: String) {
        let bytes = self.bytes.saturating_add(message.len());
        if message.len() > LINE_BYTES_MAX || bytes > BYTES_MAX || self.kept.len() >= LINES_MAX {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.bytes = bytes;
        self.kept.push(GuestLine { level, message });
    }

    /// The lines, with a last one that says how many are missing.
    pub(crate) fn take(&mut self) -> Vec<GuestLine> {
        let mut lines = std::mem::take(&mut self.kept);
        if self.dropped > 0 {
            lines.push(GuestLine {
                level: "warn",
                message: format!("{} more lines were dropped by the host", self.dropped),
            });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_in_size_sum_and_number() {
        let mut lines = GuestLines::default();
        lines.push("info", "x".repeat(LINE_BYTES_MAX + 1));
        assert_eq!(lines.take().len(), 1, "only the note that one is missing");

        let mut lines = GuestLines::default();
        for _ in 0..20 {
            lines.push("info", "x".repeat(LINE_BYTES_MAX));
        }
        assert_eq!(lines.take().len(), 16 + 1);

        let mut lines = GuestLines::default();
        for _ in 0..20_000 {
            lines.push("info", String::new());
        }
        let kept = lines.take();
        assert_eq!(kept.len(), LINES_MAX + 1);
        assert!(
            kept.last()
                .is_some_and(|line| line.message.starts_with("10000 more lines"))
        );
    }
}
