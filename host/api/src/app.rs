//! What all routes share.

use std::{ops::Deref, sync::Arc};

use bindery_blobs::Blobs;
use bindery_datastore::Datastore;
use bindery_dispatcher::Dispatcher;
use bindery_executor::LogDirectory;
use bindery_identity::Identity;
use bindery_transpile::Validators;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    Problem,
    metrics::{HttpMetrics, MetricsSource},
    ports::{EngineDirectory, FileLibrary, PluginStore, RequestIntake, TaskCatalog},
    socket::Hub,
    tickets::Tickets,
};

/// Packages that are taken in at the same time. Each is in memory while it is published.
const PACKAGES_MAX: usize = 4;

/// Settings of the interface.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Largest upload.
    pub upload_bytes_max: u64,
    /// Whether the host runs with `--dev`.
    pub dev: bool,
    /// Of this program, for `/health` and the metrics.
    pub version: String,
}

impl ApiConfig {
    /// 1 GiB: what fits on a small disk beside the working copies of a run.
    pub const UPLOAD_BYTES_MAX: u64 = 1 << 30;
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            upload_bytes_max: Self::UPLOAD_BYTES_MAX,
            dev: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// What the interface speaks for. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    pub datastore: Arc<dyn Datastore>,
    pub blobs: Blobs,
    pub dispatcher: Dispatcher,
    pub catalog: Arc<dyn TaskCatalog>,
    pub plugins: Arc<dyn PluginStore>,
    /// What `/v2/` serves of them.
    pub oci: Arc<bindery_registry::oci::Registry>,
    pub library: Arc<dyn FileLibrary>,
    pub intake: Arc<dyn RequestIntake>,
    pub engines: Arc<dyn EngineDirectory>,
    /// What browsers check parameters with.
    pub validators: Validators,
    pub identity: Identity,
    pub logs: LogDirectory,
    /// More for `/metrics`, from whoever has it.
    pub metrics: Arc<dyn MetricsSource>,
    /// Cancelled when the host goes down: WebSockets are then closed.
    pub stop: CancellationToken,
    pub config: ApiConfig,
}

/// The state of the router.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) services: Services,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tickets: Tickets,
    pub(crate) http: HttpMetrics,
    /// Permits to hold a package in memory.
    pub(crate) packages: Semaphore,
}

impl App {
    pub(crate) fn new(services: Services) -> Self {
        let hub = Hub::start(Arc::clone(&services.datastore), services.stop.clone());
        Self(Arc::new(Inner {
            services,
            hub,
            tickets: Tickets::default(),
            http: HttpMetrics::default(),
            packages: Semaphore::new(PACKAGES_MAX),
        }))
    }

    pub(crate) fn services(&self) -> &Services {
        &self.0.services
    }
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Reads the store on a thread that may wait for a disk.
pub(crate) async fn blocking<T, E>(
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) => Err(Problem::internal(format!("a read ended early: {error}"))),
    }
}
