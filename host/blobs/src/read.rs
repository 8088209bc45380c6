//! Reading a blob.

use std::{fmt, ops::Range};

use bindery_core::digest::Digest;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};

use crate::error::ReadError;

/// Bytes of a blob, or of a part of it, as they come from the store.
pub struct BlobReader {
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) range: Range<u64>,
    pub(crate) stream: BoxStream<'static, Result<Bytes, object_store::Error>>,
}

impl BlobReader {
    /// Size of the whole blob.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Which of its bytes this gives: what was asked, cut to what there is.
    #[must_use]
    pub const fn range(&self) -> &Range<u64> {
        &self.range
    }

    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static {
        let digest = self.digest;
        self.stream
            .map(move |chunk| chunk.map_err(|source| ReadError::Store { digest, source }))
    }

    /// Collects all of it. For blobs that are known to be small.
    pub async fn bytes(self) -> Result<Bytes, ReadError> {
        let expected = self.range.end.saturating_sub(self.range.start);
        let mut stream = std::pin::pin!(self.into_stream());
        let mut all = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        while let Some(chunk) = stream.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.into())
    }
}

impl fmt::Debug for BlobReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobReader")
            .field("digest", &self.digest)
            .field("size_bytes", &self.size_bytes)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}
