//! The composition root: one struct that opens and joins all parts.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use bindery_blobs::Blobs;
use bindery_datastore::{Datastore, LocalDatastore, MemoryDatastore, Options};
use bindery_dispatcher::{Dispatcher, Rules};
use bindery_engines::Engines;
use bindery_executor::{
    ExecutorConfig, HostExecutor, Intake, Library, LogDirectory, PinnedPlugins,
};
use bindery_plugins::{FolderWatch, PluginStore};
use bindery_runtime::{Catalog, Runtime, RuntimeConfig};
use bindery_sandbox::{Sandbox, SandboxConfig};

use crate::{
    plugins,
    publishing::{self, Pinned},
    settings::Settings,
    trust,
};

/// Tries of one execution when hosts die under it: one that kills its host must not do so for
/// ever, and one that was merely there when it died must not suffer.
const ATTEMPTS_MAX: u32 = 5;

/// Where state lives.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// In this directory, for good.
    Directory(PathBuf),
    /// In memory, with files in this directory: one run, then gone.
    Memory(PathBuf),
}

impl Storage {
    const fn directory(&self) -> &PathBuf {
        match self {
            Self::Directory(path) | Self::Memory(path) => path,
        }
    }
}

/// Tasks and engines: all that is needed to look at things.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) runtime: Runtime,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) engines: Arc<Engines>,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) parts: Parts,
    /// None where state is in memory: plugins are then loaded and not published.
    pub(crate) publishing: Option<(PluginStore, FolderWatch)>,
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) blobs: Blobs,
    pub(crate) library: Library,
    pub(crate) intake: Intake,
    pub(crate) logs: LogDirectory,
    pub(crate) dispatcher: Dispatcher,
}

impl Parts {
    /// Sets the runtime and the sandbox up, loads plugins and asks engines for their versions.
    /// `cache` keeps compiled plugins, `keep` their components; `scratch` is for probes.
    pub(crate) async fn open(
        settings: &Settings,
        cache: Option<PathBuf>,
        scratch: PathBuf,
    ) -> anyhow::Result<Self> {
        let parts = Self::without_plugins(settings, cache, scratch).await?;
        let policy = trust::policy(settings, None)?;
        let failed =
            plugins::load(&parts.runtime, &parts.catalog, &settings.plugins, &policy).await?;
        for plugin in failed {
            tracing::error!(path = %plugin.path.display(), fault = plugin.fault, "plugin not loaded");
            eprintln!(
                "bindery: plugin {} not loaded: {}",
                plugin.path.display(),
                plugin.fault
            );
        }
        Ok(parts)
    }

    async fn without_plugins(
        settings: &Settings,
        cache: Option<PathBuf>,
        scratch: PathBuf,
    ) -> anyhow::Result<Self> {
        let runtime = Runtime::new(&RuntimeConfig {
            cache_directory: cache.map(|cache| cache.join("components")),
            http: settings.http()?,
            ..RuntimeConfig::default()
        })?;
        Ok(Self {
            runtime,
            catalog: Arc::new(Catalog::default()),
            engines: engines(settings, scratch).await?,
        })
    }
}

/// Sets the sandbox up and asks engines for their versions.
pub(crate) async fn engines(settings: &Settings, scratch: PathBuf) -> anyhow::Result<Arc<Engines>> {
    let sandbox = sandbox(settings, scratch.clone()).await?;
    let engines = Engines::discover(&settings.engines, sandbox, &scratch).await?;
    Ok(Arc::new(engines))
}

async fn sandbox(settings: &Settings, scratch: PathBuf) -> anyhow::Result<Sandbox> {
    std::fs::create_dir_all(&scratch)
        .with_context(|| format!("failed to make {}", scratch.display()))?;
    // A helper that is not there is a level that does not work: the doctor says so.
    let helper = bindery_sandbox::find_helper().unwrap_or_else(|| PathBuf::from("bindery-sandbox"));
    let mut config = SandboxConfig::new(helper, scratch);
    config.minimum = settings.sandbox_minimum;
    config.insecure_no_sandbox = settings.insecure_no_sandbox;
    let sandbox = Sandbox::probe(config).await;
    if settings.insecure_no_sandbox {
        tracing::warn!("engines may run WITHOUT a sandbox (--insecure-no-sandbox)");
    }
    Ok(sandbox)
}

impl Host {
    pub(crate) async fn open(
        settings: &Settings,
        storage: &Storage,
        cache: Option<PathBuf>,
    ) -> anyhow::Result<Self> {
        let directory = storage.directory();
        std::fs::create_dir_all(directory)
            .with_context(|| format!("failed to make {}", directory.display()))?;
        let directory = directory
            .canonicalize()
            .with_context(|| format!("failed to use {}", directory.display()))?;
        let datastore: Arc<dyn Datastore> = match storage {
            Storage::Memory(_) => Arc::new(MemoryDatastore::new()),
            Storage::Directory(_) => {
                let store = directory.join("store");
                let opened = tokio::task::spawn_blocking(move || {
                    LocalDatastore::open(&store, Options::default())
                });
                Arc::new(opened.await?.context("failed to open the store")?)
            }
        };
        let blobs = Blobs::open(&directory.join("blobs")).context("failed to open the blobs")?;
        let logs = LogDirectory::open(directory.join("logs"))?;
        let scratch = directory.join("scratch");
        let probe = directory.join("probe");
        let (parts, publishing) = match storage {
            Storage::Memory(_) => (Parts::open(settings, cache, probe).await?, None),
            Storage::Directory(_) => {
                let parts = Parts::without_plugins(settings, cache, probe).await?;
                let scratch = directory.join("publishing");
                let publishing =
                    publishing::open(settings, &parts, &datastore, &blobs, scratch).await?;
                (parts, Some(publishing))
            }
        };
        let pinned = publishing
            .as_ref()
            .map(|(store, _)| Arc::new(Pinned(store.clone())) as Arc<dyn PinnedPlugins>);
        let executor = HostExecutor::open(
            Arc::clone(&parts.catalog),
            Arc::clone(&parts.engines),
            blobs.clone(),
            logs.clone(),
            ExecutorConfig {
                scratch: scratch.clone(),
                pinned,
            },
        )
        .with_context(|| format!("failed to use {}", scratch.display()))?;
        let library = Library::new(
            Arc::clone(&datastore),
            blobs.clone(),
            Arc::clone(&parts.catalog),
            scratch.clone(),
        );
        let intake = Intake::new(
            Arc::clone(&parts.catalog),
            Arc::clone(&parts.engines),
            blobs.clone(),
            scratch,
        );
        let dispatcher = Dispatcher::start(
            Arc::clone(&datastore),
            Arc::new(executor),
            Rules::shared(settings.capacity(), ATTEMPTS_MAX),
        )
        .await
        .context("failed to start the dispatcher")?;
        Ok(Self {
            parts,
            publishing,
            datastore,
            blobs,
            library,
            intake,
            logs,
            dispatcher,
        })
    }
}
