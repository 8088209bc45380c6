//! Where the host's registry keeps things: small records by key, and blobs by digest.

use std::{
    fmt, fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use bindery_core::Digest;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// What the registry needs of a disk. Calls may wait for it.
///
/// The registry calls what changes something from one place at a time; reading may happen
/// meanwhile, so a value appears whole.
pub trait Storage: fmt::Debug + Send + Sync {
    /// # Errors
    /// When the storage fails, as for all of these.
    fn get(&self, key: &[&str]) -> io::Result<Option<Vec<u8>>>;
    fn put(&self, key: &[&str], value: &[u8]) -> io::Result<()>;
    /// Whether it was there.
    fn delete(&self, key: &[&str]) -> io::Result<bool>;
    /// Names right below the key, sorted.
    fn list(&self, key: &[&str]) -> io::Result<Vec<String>>;

    fn blob_size(&self, digest: Digest) -> io::Result<Option<u64>>;
    /// At most `len` bytes; fewer at the end.
    fn read_blob(&self, digest: Digest, at: u64, len: usize) -> io::Result<Bytes>;
    fn delete_blob(&self, digest: Digest) -> io::Result<()>;
    /// Of all blobs.
    fn size_bytes(&self) -> io::Result<u64>;

    fn create_upload(&self, id: &str) -> io::Result<()>;
    fn upload_size(&self, id: &str) -> io::Result<Option<u64>>;
    fn append_upload(&self, id: &str, bytes: &[u8]) -> io::Result<()>;
    fn hash_upload(&self, id: &str) -> io::Result<Digest>;
    /// Makes it the blob of this digest, durable.
    fn keep_upload(&self, id: &str, digest: Digest) -> io::Result<()>;
    fn delete_upload(&self, id: &str) -> io::Result<bool>;
    /// With the time since something was last added.
    fn uploads(&self) -> io::Result<Vec<(String, Duration)>>;
}

/// Files below one directory: `records/`, `blobs/`, `uploads/`.
#[derive(Debug)]
pub struct DirectoryStorage {
    root: PathBuf,
}

impl DirectoryStorage {
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(root: PathBuf) -> io::Result<Self> {
        for name in ["records", "blobs", "uploads"] {
            fs::create_dir_all(root.join(name))?;
        }
        Ok(Self { root })
    }

    /// A second wall: names were checked when they were parsed.
    fn record(&self, key: &[&str]) -> io::Result<PathBuf> {
        let mut path = self.root.join("records");
        for part in key {
            let plain = !part.is_empty()
                && !part.starts_with('.')
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte));
            if !plain {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            path.push(part);
        }
        Ok(path)
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs").join(digest.hex())
    }

    fn upload(&self, id: &str) -> io::Result<PathBuf> {
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.root.join("uploads").join(id))
    }
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        // A record below a record, or none at all.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

impl Storage for DirectoryStorage {
    fn get(&self, key: &[&str]) -> io::Result<Option<Vec<u8>>> {
        if_there(fs::read(self.record(key)?))
    }

    fn put(&self, key: &[&str], value: &[u8]) -> io::Result<()> {
        let path = self.record(key)?;
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)?;
        // Names of records never begin with a dot, so this one is not listed as a record.
        let partial = parent.join(".part");
        let mut file = fs::File::create(&partial)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        sync_parent(&path)
    }

    fn delete(&self, key: &[&str]) -> io::Result<bool> {
        Ok(if_there(fs::remove_file(self.record(key)?))?.is_some())
    }

    fn list(&self, key: &[&str]) -> io::Result<Vec<String>> {
        let Some(entries) = if_there(fs::read_dir(self.record(key)?))? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string()
                && !name.starts_with('.')
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn blob_size(&self, digest: Digest) -> io::Result<Option<u64>> {
        let metadata = if_there(fs::metadata(self.blob(digest)))?;
        Ok(metadata.map(|metadata| metadata.len()))
    }

    fn read_blob(&self, digest: Digest, at: u64, len: usize) -> io::Result<Bytes> {
        let mut file = fs::File::open(self.blob(digest))?;
        file.seek(SeekFrom::Start(at))?;
        let mut content = Vec::new();
        file.take(len as u64).read_to_end(&mut content)?;
        Ok(content.into())
    }

    fn delete_blob(&self, digest: Digest) -> io::Result<()> {
        if_there(fs::remove_file(self.blob(digest))).map(drop)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        fs::read_dir(self.root.join("blobs"))?
            .map(|entry| Ok(entry?.metadata()?.len()))
            .sum()
    }

    fn create_upload(&self, id: &str) -> io::Result<()> {
        fs::File::create_new(self.upload(id)?).map(drop)
    }

    fn upload_size(&self, id: &str) -> io::Result<Option<u64>> {
        let metadata = if_there(fs::metadata(self.upload(id)?))?;
        Ok(metadata.map(|metadata| metadata.len()))
    }

    fn append_upload(&self, id: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).open(self.upload(id)?)?;
        file.write_all(bytes)
    }

    fn hash_upload(&self, id: &str) -> io::Result<Digest> {
        let mut file = fs::File::open(self.upload(id)?)?;
        let mut hasher = Sha256::new();
        io::copy(&mut file, &mut hasher)?;
        Ok(Digest::from_bytes(hasher.finalize().into()))
    }

    fn keep_upload(&self, id: &str, digest: Digest) -> io::Result<()> {
        let upload = self.upload(id)?;
        let blob = self.blob(digest);
        if blob.exists() {
            return fs::remove_file(upload);
        }
        fs::File::open(&upload)?.sync_all()?;
        fs::rename(upload, &blob)?;
        sync_parent(&blob)
    }

    fn delete_upload(&self, id: &str) -> io::Result<bool> {
        Ok(if_there(fs::remove_file(self.upload(id)?))?.is_some())
    }

    fn uploads(&self) -> io::Result<Vec<(String, Duration)>> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(self.root.join("uploads"))? {
            let entry = entry?;
            // One that ends meanwhile is no fault.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            // A clock that was set back makes it young.
            let age = metadata.modified()?.elapsed().unwrap_or_default();
            if let Ok(id) = entry.file_name().into_string() {
                uploads.push((id, age));
            }
        }
        Ok(uploads)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn no_key_leads_out_of_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let storage = DirectoryStorage::open(place.path().join("oci")).unwrap();
        for part in ["..", ".", "", "a/b", "/etc", ".part", "a\0"] {
            assert!(storage.put(&["x", part], b"").is_err(), "{part:?}");
            assert!(storage.get(&[part]).is_err(), "{part:?}");
        }
        for id in ["", "..", "../x", "g"] {
            assert!(storage.create_upload(id).is_err(), "{id:?}");
        }
        storage.put(&["x", "y"], b"1").unwrap();
        assert_eq!(storage.list(&["x"]).unwrap(), ["y"]);
        assert_eq!(storage.get(&["x", "y", "z"]).unwrap(), None);
    }
}
