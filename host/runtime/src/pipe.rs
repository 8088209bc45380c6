//! Standard output and error of a guest: captured, bounded, never blocking.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// The first bytes that are kept: what a guest says at first is often why.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// The last bytes that are kept: a panic's message is the last that a guest says.
const TAIL_BYTES_MAX: usize = 48 << 10;

/// A writer that keeps the beginning and the end and swallows what is between. Never full: a
/// guest that prints much is no reason to break it.
#[derive(Clone, Default)]
pub(crate) struct CappedPipe {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl CappedPipe {
    /// What was kept, with a note where something is missing.
    pub(crate) fn text(&self) -> String {
        let kept = self.kept.lock();
        let tail: Vec<u8> = kept.tail.iter().copied().collect();
        if kept.dropped == 0 {
            let mut all = kept.head.clone();
            all.extend(tail);
            return String::from_utf8_lossy(&all).into_owned();
        }
        format!(
            "{}\n[{} bytes dropped]\n{}",
            String::from_utf8_lossy(&kept.head),
            kept.dropped,
            String::from_utf8_lossy(&tail)
        )
    }

    /// Forgets what was written.
    pub(crate) fn clear(&self) {
        *self.kept.lock() = Kept::default();
    }

    fn append(&self, bytes: &[u8]) {
        let mut kept = self.kept.lock();
        let room = HEAD_BYTES_MAX
            .saturating_sub(kept.head.len())
            .min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        kept.head.extend(head);
        // Only the end of a long piece can stay.
        let skipped = rest.len().saturating_sub(TAIL_BYTES_MAX);
        let rest = rest.get(skipped..).unwrap_or_default();
        let over = (kept.tail.len() + rest.len()).saturating_sub(TAIL_BYTES_MAX);
        kept.tail.drain(..over);
        kept.tail.extend(rest);
        kept.dropped += (skipped + over) as u64;
    }
}

impl IsTerminal for CappedPipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for CappedPipe {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl tokio::io::AsyncWrite for CappedPipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CappedPipe {
    async fn ready(&mut self) {}
}

impl OutputStream for CappedPipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let pipe = CappedPipe::default();
        pipe.append(b"first\n");
        assert_eq!(pipe.text(), "first\n");
        for _ in 0..100 {
            pipe.append(&[b'x'; 10_000]);
        }
        pipe.append(&[b'y'; 100_000]);
        pipe.append(b"last\n");
        let text = pipe.text();
        assert!(text.starts_with("first\nxxx"));
        assert!(text.ends_with("yyylast\n"));
        let dropped = 6 + 1_000_000 + 100_000 + 5 - HEAD_BYTES_MAX - TAIL_BYTES_MAX;
        assert!(text.contains(&format!("[{dropped} bytes dropped]")));
        assert!(text.len() < HEAD_BYTES_MAX + TAIL_BYTES_MAX + 100);
    }
}
