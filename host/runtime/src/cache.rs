//! Compiled components, kept between starts.
//!
//! A `.cwasm` is machine code that wasmtime runs without checking it, so one is only loaded when
//! its keyed MAC says that this host wrote it: an uploaded or tampered file is a miss. The name
//! holds the component's digest and the engine's compatibility hash, so that another version or
//! other settings are a miss as well. A miss is never a failure: the component is compiled.

use std::{
    hash::{Hash, Hasher},
    io::Write,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use bindery_core::Digest;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wasmtime::{Engine, component::Component};

use crate::RuntimeError;

const MAC_BYTES: usize = 32;

pub(crate) struct CompileCache {
    files: Option<Files>,
}

struct Files {
    directory: PathBuf,
    key: [u8; 32],
    compatibility: u64,
}

impl CompileCache {
    pub(crate) fn open(directory: Option<PathBuf>, engine: &Engine) -> Result<Self, RuntimeError> {
        let Some(directory) = directory else {
            return Ok(Self { files: None });
        };
        let failed = |source| RuntimeError::Cache {
            path: directory.clone(),
            source,
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(failed)?;
        let key = key(&directory).map_err(failed)?;
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let compatibility = hasher.finish();
        Ok(Self {
            files: Some(Files {
                directory,
                key,
                compatibility,
            }),
        })
    }

    /// The compiled component, from the cache or compiled now. Slow: not on a tokio worker.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        digest: &Digest,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        let Some(files) = &self.files else {
            return Component::from_binary(engine, bytes);
        };
        if let Some(component) = files.load(engine, digest) {
            return Ok(component);
        }
        let component = Component::from_binary(engine, bytes)?;
        match component.serialize() {
            Ok(compiled) => files.keep(digest, &compiled),
            Err(error) => tracing::warn!(%digest, %error, "compiled component not cached"),
        }
        Ok(component)
    }

    /// The compiled component from the cache; none is a miss.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        self.files.as_ref()?.load(engine, digest)
    }

    /// Takes over what a compiling process of ours gave.
    #[expect(unsafe_code, reason = "loading machine code is what the cache is for")]
    pub(crate) fn adopt(
        &self,
        engine: &Engine,
        digest: &Digest,
        compiled: &[u8],
    ) -> wasmtime::Result<Component> {
        // SAFETY: the bytes come over a private pipe or directory from a process that we started
        // with our own program and that ran our compiler on the component, and nothing else.
        // wasmtime checks that its version and settings are those of this engine. The sandbox
        // round that process bounds what compiling may use; as in this process, that the code is
        // right is the compiler's promise.
        let component = unsafe { Component::deserialize(engine, compiled) }?;
        if let Some(files) = &self.files {
            files.keep(digest, compiled);
        }
        Ok(component)
    }

    pub(crate) const fn is_kept(&self) -> bool {
        self.files.is_some()
    }
}

impl Files {
    fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!(
            "{}-{:016x}.cwasm",
            digest.hex(),
            self.compatibility
        ))
    }

    fn mac(&self, digest: &Digest, compiled: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(digest.as_bytes());
        mac.update(&self.compatibility.to_be_bytes());
        mac.update(compiled);
        Some(mac)
    }

    #[expect(unsafe_code, reason = "loading machine code is what the cache is for")]
    fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let content = std::fs::read(self.path(digest)).ok()?;
        let (tag, compiled) = content.split_at_checked(MAC_BYTES)?;
        if self.mac(digest, compiled)?.verify_slice(tag).is_err() {
            tracing::warn!(%digest, "cached component is not ours or damaged, compiling again");
            return None;
        }
        // SAFETY: the MAC shows that this host serialised these very bytes for this digest with
        // an engine of the same compatibility hash, and the buffer is private to this call.
        match unsafe { Component::deserialize(engine, compiled) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%digest, %error, "cached component does not load, compiling again");
                None
            }
        }
    }

    fn keep(&self, digest: &Digest, compiled: &[u8]) {
        if let Err(error) = self.store(digest, compiled) {
            tracing::warn!(%digest, %error, "compiled component not cached");
        }
    }

    fn store(&self, digest: &Digest, compiled: &[u8]) -> std::io::Result<()> {
        let mac = self
            .mac(digest, compiled)
            .ok_or_else(|| std::io::Error::other("the key cannot be used"))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        file.write_all(&mac.finalize().into_bytes())?;
        file.write_all(compiled)?;
        file.as_file().sync_data()?;
        file.persist(self.path(digest))
            .map_err(|error| error.error)?;
        Ok(())
    }
}

/// The key of this cache, made at first use. Whoever can read it can also replace the host.
fn key(directory: &Path) -> std::io::Result<[u8; 32]> {
    let path = directory.join("key");
    let read = || {
        std::fs::read(&path)
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
    };
    if let Some(key) = read() {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| std::io::Error::other(error.to_string()))?;
    // Created with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(key),
        // Another process was quicker: its key is the key.
        Err(error) => match read() {
            Some(key) => Ok(key),
            // What is there is no key.
            None => error
                .file
                .persist(&path)
                .map(|_| key)
                .map_err(|error| error.error),
        },
    }
}
