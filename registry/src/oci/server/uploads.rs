//! Uploads: content that comes in pieces and becomes a blob at the end.

use bindery_core::Digest;

use super::{BLOB_BYTES_MAX, Registry, UPLOAD_IDLE_MAX, UPLOADS_MAX, UploadId, parse_digest};
use crate::oci::{OciError, Repository};

impl Registry {
    /// # Errors
    /// When there are too many already.
    pub fn begin_upload(&self, repository: &Repository) -> Result<UploadId, OciError> {
        let _changing = self.change();
        self.sweep()?;
        if self.storage.uploads()?.len() >= UPLOADS_MAX {
            return Err(OciError::TooMany("too many uploads are open; finish some"));
        }
        let id = UploadId(fresh_id()?);
        self.storage
            .put(&["uploads", &id.0], repository.as_str().as_bytes())?;
        self.storage.create_upload(&id.0)?;
        Ok(id)
    }

    fn sweep(&self) -> Result<(), OciError> {
        for (id, idle) in self.storage.uploads()? {
            if idle > UPLOAD_IDLE_MAX {
                self.storage.delete_upload(&id)?;
                self.storage.delete(&["uploads", &id])?;
            }
        }
        Ok(())
    }

    /// The upload with this name, and how much of it is there.
    ///
    /// # Errors
    /// When the repository has no such upload.
    pub fn upload(&self, repository: &Repository, id: &str) -> Result<(UploadId, u64), OciError> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(OciError::BlobUploadUnknown);
        }
        let owner = self.storage.get(&["uploads", id])?;
        if owner.as_deref() != Some(repository.as_str().as_bytes()) {
            return Err(OciError::BlobUploadUnknown);
        }
        let size = self.storage.upload_size(id)?;
        let size = size.ok_or(OciError::BlobUploadUnknown)?;
        Ok((UploadId(id.to_owned()), size))
    }

    /// Adds bytes that continue what is there, and gives the new size.
    ///
    /// # Errors
    /// When they do not, or it becomes too large.
    pub fn append(
        &self,
        repository: &Repository,
        id: &UploadId,
        at: u64,
        bytes: &[u8],
    ) -> Result<u64, OciError> {
        let size_bytes = self.change();
        let (_, have) = self.upload(repository, &id.0)?;
        if at != have {
            return Err(OciError::OutOfOrder { have });
        }
        let size = have.saturating_add(bytes.len() as u64);
        if size > BLOB_BYTES_MAX {
            return Err(OciError::TooLarge {
                limit_bytes: BLOB_BYTES_MAX,
            });
        }
        if size_bytes.saturating_add(size) > self.size_bytes_max {
            return Err(OciError::Full {
                limit_bytes: self.size_bytes_max,
            });
        }
        self.storage.append_upload(&id.0, bytes)?;
        Ok(size)
    }

    /// Makes the upload a blob of the repository, if it has the digest.
    ///
    /// # Errors
    /// When it has another.
    pub fn finish_upload(
        &self,
        repository: &Repository,
        id: &UploadId,
        digest: &str,
    ) -> Result<Digest, OciError> {
        let digest = parse_digest(digest)?;
        let (_, size) = self.upload(repository, &id.0)?;
        // Outside of the lock: it takes as long as the blob is large.
        let found = self.storage.hash_upload(&id.0)?;
        let mut size_bytes = self.change();
        if self.upload(repository, &id.0)?.1 != size {
            return Err(OciError::BlobUploadInvalid(
                "something was added while the upload was finished".to_owned(),
            ));
        }
        if found != digest {
            self.storage.delete_upload(&id.0)?;
            self.storage.delete(&["uploads", &id.0])?;
            return Err(OciError::DigestInvalid(format!(
                "what was uploaded has the digest {found}"
            )));
        }
        let new = self.storage.blob_size(digest)?.is_none();
        self.storage.keep_upload(&id.0, digest)?;
        if new {
            *size_bytes = size_bytes.saturating_add(size);
        }
        self.storage.delete(&["uploads", &id.0])?;
        self.link_blob(repository, digest)?;
        Ok(digest)
    }

    /// # Errors
    /// When the repository has no such upload.
    pub fn cancel_upload(&self, repository: &Repository, id: &str) -> Result<(), OciError> {
        let _changing = self.change();
        let (id, _) = self.upload(repository, id)?;
        self.storage.delete_upload(&id.0)?;
        self.storage.delete(&["uploads", &id.0])?;
        Ok(())
    }

    /// Puts a content where blobs are.
    pub(super) fn keep(&self, size_bytes: &mut u64, content: &[u8]) -> Result<Digest, OciError> {
        let digest = Digest::of(content);
        if self.storage.blob_size(digest)?.is_some() {
            return Ok(digest);
        }
        let size = content.len() as u64;
        if size_bytes.saturating_add(size) > self.size_bytes_max {
            return Err(OciError::Full {
                limit_bytes: self.size_bytes_max,
            });
        }
        let id = fresh_id()?;
        self.storage.create_upload(&id)?;
        self.storage.append_upload(&id, content)?;
        self.storage.keep_upload(&id, digest)?;
        *size_bytes = size_bytes.saturating_add(size);
        Ok(digest)
    }
}

fn fresh_id() -> Result<String, OciError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex::encode(id))
}
