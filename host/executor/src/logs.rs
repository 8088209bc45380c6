//! What executions print: one file each, written as it comes, read by range at any time.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bindery_core::ExecutionId;

/// Bytes of one execution's log. What comes after that is counted, not kept.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// The logs of all executions.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    directory: PathBuf,
}

impl LogDirectory {
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    /// Where the log of an execution is; it may not be there yet, or be empty.
    #[must_use]
    pub fn path(&self, execution: ExecutionId) -> PathBuf {
        self.directory.join(format!("{execution}.log"))
    }

    /// Goes on at the end of an execution's log: an earlier attempt's part is kept.
    pub(crate) fn writer(&self, execution: ExecutionId) -> io::Result<LogWriter> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(execution))?;
        let size_bytes = file.metadata()?.len();
        Ok(LogWriter {
            inner: Arc::new(Mutex::new(Inner {
                file,
                size_bytes,
                dropped_bytes: 0,
            })),
        })
    }
}

/// Writes one execution's log; shared by the steps that run at the same time.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    size_bytes: u64,
    dropped_bytes: u64,
}

impl LogWriter {
    /// Appends and gives the new size. A log that cannot be written is no reason to stop a run.
    pub(crate) fn append(&self, bytes: &[u8]) -> u64 {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LOG_BYTES_MAX.saturating_sub(inner.size_bytes);
        let kept = bytes
            .get(..usize::try_from(room).unwrap_or(usize::MAX))
            .unwrap_or(bytes);
        inner.dropped_bytes += (bytes.len() - kept.len()) as u64;
        match inner.file.write_all(kept) {
            Ok(()) => inner.size_bytes += kept.len() as u64,
            Err(error) => {
                tracing::warn!(%error, "a log cannot be written");
                inner.dropped_bytes += kept.len() as u64;
            }
        }
        inner.size_bytes
    }

    /// A line of the host's own, marked as such.
    pub(crate) fn line(&self, text: &str) -> u64 {
        self.append(format!("[bindery] {text}\n").as_bytes())
    }

    pub(crate) fn dropped_bytes(&self) -> u64 {
        self.inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dropped_bytes
    }
}
