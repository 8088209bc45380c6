//! The store of plugins of a server, and what keeps it up to date: folders and trust files.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use async_trait::async_trait;
use bindery_blobs::Blobs;
use bindery_core::Digest;
use bindery_datastore::{Database, Datastore, Table, Transaction};
use bindery_executor::{PinnedPlugins, past_requests};
use bindery_plugins::{
    CompileLimits, Compiler, CompilerProcess, FolderWatch, PluginStore, PluginsConfig,
    PluginsParts, RecentRequest, RecentRequests,
};
use bindery_registry::TrustPolicy;
use bindery_runtime::Resident;
use tokio_util::sync::CancellationToken;

use crate::{
    host::Parts,
    settings::Settings,
    trust::{self, watched_files},
};

/// Where the number of the revocation list in force is kept: an older one must not come back.
const REVOCATIONS_SEEN: &[u8] = b"plugins/revocations-seen";
/// How often trust files are looked at: a revocation is in force within this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Opens the store, loads what is enabled, and publishes what lies in the folders.
pub(crate) async fn open(
    settings: &Settings,
    parts: &Parts,
    datastore: &Arc<dyn Datastore>,
    blobs: &Blobs,
    scratch: PathBuf,
) -> anyhow::Result<(PluginStore, FolderWatch)> {
    let policy = read_policy(settings, datastore).await?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let section = &settings.file.plugins_section;
    let mut limits = CompileLimits::default();
    if let Some(seconds) = section.compile_seconds_max {
        limits.wall = Duration::from_secs(seconds);
        limits.cpu = Duration::from_secs(seconds);
    }
    if let Some(bytes) = section.compile_memory_bytes_max {
        limits.memory_bytes = bytes;
    }
    let compiler = CompilerProcess {
        program: std::env::current_exe()
            .and_then(|program| program.canonicalize())
            .context("failed to find this program, which compiles plugins")?,
        arguments: vec!["compile-component".into()],
        sandbox: parts.engines.sandbox().clone(),
        scratch: scratch.clone(),
        limits,
    };
    let store = PluginStore::open(
        PluginsParts {
            runtime: parts.runtime.clone(),
            catalog: Arc::clone(&parts.catalog),
            datastore: Arc::clone(datastore),
            blobs: blobs.clone(),
            policy,
            engines: Some(Arc::clone(&parts.engines)),
            recent: Arc::new(Recent(Arc::clone(datastore))),
        },
        PluginsConfig {
            scratch,
            compiler: Compiler::Child(compiler),
            versions_kept: section
                .versions_kept
                .unwrap_or(PluginsConfig::VERSIONS_KEPT),
            parallel: cores,
        },
    )
    .await?;
    let folders = settings
        .plugins
        .iter()
        .map(|folder| {
            folder
                .canonicalize()
                .with_context(|| format!("failed to use plugin directory {}", folder.display()))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut watch = FolderWatch::new(store.clone(), folders, settings.dev);
    for fault in watch.first_look().await {
        tracing::error!(
            path = %fault.path.display(),
            code = fault.code,
            fault = fault.fault,
            "plugin not loaded"
        );
        eprintln!(
            "bindery: plugin {} not loaded ({}): {}",
            fault.path.display(),
            fault.code,
            fault.fault
        );
    }
    store.start_telling();
    Ok((store, watch))
}

/// Judges everything anew whenever a trust file has changed, until it is told to stop.
pub(crate) async fn watch_trust(
    settings: Settings,
    store: PluginStore,
    datastore: Arc<dyn Datastore>,
    stop: CancellationToken,
) {
    let files = watched_files(&settings);
    if files.is_empty() {
        return;
    }
    let mut seen = times(&files);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        let now = times(&files);
        if now == seen {
            continue;
        }
        seen = now;
        let outcome = match read_policy(&settings, &datastore).await {
            Ok(policy) => store.set_policy(policy).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => tracing::info!("trust files read again"),
            // What was in force stays in force.
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "trust files have changed and cannot be used"
            ),
        }
    }
}

fn times(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let time = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    files.iter().map(|path| time(path)).collect()
}

async fn read_policy(
    settings: &Settings,
    datastore: &Arc<dyn Datastore>,
) -> anyhow::Result<TrustPolicy> {
    let seen = datastore
        .get(Database::Meta, Table::SETTINGS, REVOCATIONS_SEEN)?
        .and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok())
        .map(u64::from_be_bytes);
    let policy = trust::policy(settings, seen)?;
    if let Some(list) = &policy.revocations
        && Some(list.number) != seen
    {
        let transaction = Transaction::new(Database::Meta).put(
            Table::SETTINGS,
            REVOCATIONS_SEEN,
            list.number.to_be_bytes().to_vec(),
        );
        datastore.commit(transaction).await?;
    }
    for warning in policy.warnings(jiff::Timestamp::now()) {
        tracing::warn!("{warning}");
    }
    Ok(policy)
}

/// Requests out of the store of executions.
#[derive(Debug)]
struct Recent(Arc<dyn Datastore>);

#[async_trait]
impl RecentRequests for Recent {
    async fn recent(&self, task: &str, count: usize) -> Vec<RecentRequest> {
        let (datastore, task) = (Arc::clone(&self.0), task.to_owned());
        let read =
            tokio::task::spawn_blocking(move || past_requests(&datastore, &task, count)).await;
        let past = match read {
            Ok(Ok(past)) => past,
            Ok(Err(error)) => {
                tracing::warn!(%error, "past requests cannot be read, nothing is replayed");
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        past.into_iter()
            .map(|past| RecentRequest {
                execution: past.execution,
                request: past.request,
                wall: past.wall,
            })
            .collect()
    }
}

/// The store, as attempts see it.
#[derive(Debug)]
pub(crate) struct Pinned(pub(crate) PluginStore);

#[async_trait]
impl PinnedPlugins for Pinned {
    async fn pinned(&self, component: &Digest) -> Result<Option<Resident>, String> {
        self.0
            .pinned(component)
            .await
            .map_err(|error| error.to_string())
    }
}
