//! `bindery serve`.

use std::{
    io::Write,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use bindery_api::{ApiConfig, NoMetrics, Services, ports::BlobComponents};
use bindery_identity::Identity;
use bindery_registry::oci::{DirectoryStorage, OciError, Registry};
use bindery_transpile::Validators;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    cli::ServeArguments,
    exit::Exit,
    host::{Host, Storage},
    publishing,
    settings::Settings,
};

const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
/// What the registry at `/v2/` may hold: some thousand versions of an ordinary plugin.
const OCI_BYTES_MAX: u64 = 16 << 30;
/// What runs gets this long after a termination signal; a second signal ends at once.
const GRACE: Duration = Duration::from_secs(30);

pub(crate) async fn serve(arguments: ServeArguments) -> anyhow::Result<Exit> {
    let settings = Settings::read(&arguments.local)?;
    let listen = arguments.listen.or(settings.file.listen).unwrap_or(LISTEN);
    let data = arguments
        .data
        .or_else(|| settings.file.data.clone())
        .unwrap_or_else(|| PathBuf::from("bindery-data"));
    let _lock = DataLock::take(&data)?;
    let cache = data.join("cache");
    let oci = DirectoryStorage::open(data.join("oci"))
        .map_err(OciError::from)
        .and_then(|storage| Registry::open(Arc::new(storage), OCI_BYTES_MAX))
        .context("failed to open the registry")?;
    let mut host = Host::open(&settings, &Storage::Directory(data), Some(cache.clone())).await?;
    let (plugins, folders) = host
        .publishing
        .take()
        .context("the host has no store of plugins")?;
    let identity = Identity::new(Arc::clone(&host.datastore));
    let token = identity
        .ensure_admin_token()
        .await
        .context("failed to make the admin token")?;
    let stop = CancellationToken::new();
    let services = Services {
        datastore: Arc::clone(&host.datastore),
        blobs: host.blobs.clone(),
        dispatcher: host.dispatcher.clone(),
        catalog: Arc::<bindery_runtime::Catalog>::clone(&host.parts.catalog),
        plugins: Arc::new(plugins.clone()),
        oci: Arc::new(oci),
        library: Arc::new(host.library.clone()),
        intake: Arc::new(host.intake.clone()),
        engines: Arc::<bindery_engines::Engines>::clone(&host.parts.engines),
        identity,
        logs: host.logs.clone(),
        validators: Validators::new(
            Arc::new(BlobComponents(host.blobs.clone())),
            Some(cache.join("validators")),
        ),
        metrics: Arc::new(NoMetrics),
        stop: stop.clone(),
        config: ApiConfig {
            upload_bytes_max: settings
                .file
                .upload_bytes_max
                .unwrap_or(ApiConfig::UPLOAD_BYTES_MAX),
            dev: settings.dev,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
    };
    tokio::spawn(folders.run(stop.clone()));
    tokio::spawn(publishing::watch_trust(
        settings,
        plugins,
        Arc::clone(&host.datastore),
        stop.clone(),
    ));
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("failed to listen on {listen}"))?;
    let address = listener.local_addr()?;
    if let Some(token) = token {
        // Once, and only here: what is stored is a hash.
        println!("admin token: {}", token.expose());
        if let Some(path) = &arguments.admin_token_file {
            write_token(path, token.expose())?;
        }
    }
    println!("listening on http://{address}");
    std::io::stdout().flush()?;
    let serving = axum::serve(listener, bindery_api::router(services))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let serving = tokio::spawn(serving.into_future());
    wait_for_signal().await?;
    tracing::info!("stopping: taking no more work, waiting for what runs");
    stop.cancel();
    tokio::select! {
        () = host.dispatcher.shutdown(GRACE) => {}
        again = wait_for_signal() => again?,
    }
    // Connections that are still open after the work is done are somebody's idle ones.
    let _open = tokio::time::timeout(Duration::from_secs(2), serving).await;
    Ok(Exit::Done)
}

async fn wait_for_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn write_token(path: &Path, token: &str) -> anyhow::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("failed to write {}", path.display()))?;
    writeln!(file, "{token}").with_context(|| format!("failed to write {}", path.display()))
}

/// Makes a directory that nobody else on this machine can look into: uploads, results and
/// credentials are below. One that is there keeps the rights its owner gave it.
fn make_private(directory: &Path) -> std::io::Result<()> {
    if let Some(parent) = directory.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
    match made {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && directory.is_dir() => {
            Ok(())
        }
        other => other,
    }
}

/// One server for one data directory: two would each hold the truth.
struct DataLock {
    _file: std::fs::File,
}

impl DataLock {
    fn take(data: &Path) -> anyhow::Result<Self> {
        make_private(data).with_context(|| format!("failed to make {}", data.display()))?;
        let path = data.join("lock");
        let file = std::fs::File::create(&path)
            .with_context(|| format!("failed to use {}", path.display()))?;
        file.try_lock().with_context(|| {
            format!("another server uses {} (its lock is held)", data.display())
        })?;
        Ok(Self { _file: file })
    }
}
