//! Validators, made once and kept.
//!
//! In memory for as long as they are asked for, in files between starts. A file is no more
//! trusted than the component it was made of: it runs in the browser of whoever asks for it, so
//! whoever may write into the cache directory may as well replace the host.

use std::{
    collections::VecDeque,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use bindery_core::{Digest, TaskDefinition};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::module::{COMPONENT_BYTES_MAX, GENERATION, TranspileError, Validator, validator};

/// Modules at the same time in the making: each holds some ten times its component's size.
const MAKING_MAX: usize = 2;
/// Those who wait for a turn; beyond that a request is sent away.
const WAITING_MAX: usize = 64;
/// Modules in memory, least recently asked for first to go.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Where the bytes of components are.
pub trait ComponentSource: std::fmt::Debug + Send + Sync {
    /// The component with this digest; none when it is not kept. Blocks.
    ///
    /// # Errors
    /// When it cannot be read.
    fn component(&self, digest: &Digest, size_bytes_max: u64) -> std::io::Result<Option<Vec<u8>>>;
}

/// A validator that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ValidatorError {
    #[error(transparent)]
    Transpile(#[from] TranspileError),
    #[error("the component of this task is not kept")]
    NoComponent,
    #[error("too many validators are being made")]
    Busy,
    #[error("host fault while making a validator: {0}")]
    Host(String),
}

type Key = (Digest, String, String);

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Validators(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn ComponentSource>,
    directory: Option<PathBuf>,
    /// Least recently asked for first.
    kept: Mutex<VecDeque<(Key, Arc<Validator>)>>,
    making: Semaphore,
    waiting: Semaphore,
}

impl Validators {
    /// `directory` keeps modules between starts; without, they are made again.
    #[must_use]
    pub fn new(source: Arc<dyn ComponentSource>, directory: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner {
            source,
            directory,
            kept: Mutex::default(),
            making: Semaphore::new(MAKING_MAX),
            waiting: Semaphore::new(WAITING_MAX),
        }))
    }

    /// The module of one task version of a plugin.
    ///
    /// # Errors
    /// When none can be made of it.
    pub async fn get(
        &self,
        plugin: Digest,
        definition: &Arc<TaskDefinition>,
    ) -> Result<Arc<Validator>, ValidatorError> {
        let key: Key = (
            plugin,
            definition.id.clone(),
            definition.version.to_string(),
        );
        if let Some(kept) = self.kept(&key) {
            return Ok(kept);
        }
        let _waiting = self
            .0
            .waiting
            .try_acquire()
            .map_err(|_| ValidatorError::Busy)?;
        let _turn = self
            .0
            .making
            .acquire()
            .await
            .map_err(|error| ValidatorError::Host(error.to_string()))?;
        // Somebody else may have made it meanwhile.
        if let Some(kept) = self.kept(&key) {
            return Ok(kept);
        }
        let inner = Arc::clone(&self.0);
        let definition = Arc::clone(definition);
        let made = tokio::task::spawn_blocking(move || inner.make(plugin, &definition))
            .await
            .map_err(|error| ValidatorError::Host(error.to_string()))??;
        let made = Arc::new(made);
        self.keep(key, Arc::clone(&made));
        Ok(made)
    }

    fn kept(&self, key: &Key) -> Option<Arc<Validator>> {
        let mut kept = self.0.kept.lock();
        let position = kept.iter().position(|(known, _)| known == key)?;
        let entry = kept.remove(position)?;
        let validator = Arc::clone(&entry.1);
        kept.push_back(entry);
        Some(validator)
    }

    fn keep(&self, key: Key, validator: Arc<Validator>) {
        let mut kept = self.0.kept.lock();
        if kept.iter().any(|(known, _)| *known == key) {
            return;
        }
        kept.push_back((key, validator));
        let size = |kept: &VecDeque<(Key, Arc<Validator>)>| -> usize {
            kept.iter()
                .map(|(_, validator)| validator.source.len())
                .sum()
        };
        while kept.len() > 1 && size(&kept) > KEPT_BYTES_MAX {
            kept.pop_front();
        }
    }
}

impl Inner {
    fn make(
        &self,
        plugin: Digest,
        definition: &TaskDefinition,
    ) -> Result<Validator, ValidatorError> {
        let path = self.directory.as_ref().map(|directory| {
            // A task's id and version have no separators in them.
            directory.join(format!(
                "{}-{}@{}-{GENERATION}.js",
                plugin.hex(),
                definition.id,
                definition.version
            ))
        });
        if let Some(source) = path
            .as_ref()
            .and_then(|path| std::fs::read_to_string(path).ok())
        {
            return Ok(Validator::new(source));
        }
        let component = self
            .source
            .component(&plugin, COMPONENT_BYTES_MAX)
            .map_err(|error| ValidatorError::Host(error.to_string()))?
            .ok_or(ValidatorError::NoComponent)?;
        let made = validator(&component, &plugin, definition)?;
        if let Some(path) = path
            && let Err(error) = store(&path, made.source.as_bytes())
        {
            tracing::warn!(%plugin, %error, "validator not cached");
        }
        Ok(made)
    }
}

fn store(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    std::fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
