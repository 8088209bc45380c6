//! The process's one wasmtime engine.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    component::{HasSelf, Linker},
};

use crate::{
    BreakWatch, HttpConfig, LimitClasses, cache::CompileCache, disk::note_opened_files,
    http::HttpShared, state::GuestState, warm::KEPT_IN_ALL_MAX,
};

/// How often the epoch moves: a guest that loops is noticed within one tick of its deadline.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Settings of the runtime.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Where compiled components are kept between starts; none keeps them in memory only.
    pub cache_directory: Option<PathBuf>,
    /// Guest calls at the same time. A call is CPU work: a few more than there are cores keep
    /// them busy while some read files.
    pub calls_max: usize,
    /// Compute sessions and monitors at the same time, beside the calls. Each has a thread.
    pub sessions_max: usize,
    /// What calls may use.
    pub limits: LimitClasses,
    /// Requests of guests to hosts that they were granted.
    pub http: HttpConfig,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            cache_directory: None,
            calls_max: cores * 2,
            sessions_max: 256,
            limits: LimitClasses::default(),
            http: HttpConfig::default(),
        }
    }
}

/// The runtime cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("failed to set wasmtime up: {0}")]
    Engine(String),
    #[error("failed to use the compile cache at {path}")]
    Cache {
        path: PathBuf,
        source: std::io::Error,
    },
}

/// Cheap to clone; one per process.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
    /// Whether components that are loaded through this may import `wasi:http`.
    pub(crate) lends_http: bool,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<GuestState>,
    pub(crate) cache: CompileCache,
    /// Permits for calls; taken before a blocking thread is.
    pub(crate) calls: Arc<Semaphore>,
    calls_max: usize,
    /// Permits for monitors; a step whose monitor gets none runs without progress.
    pub(crate) sessions: Arc<Semaphore>,
    /// Permits for instances that are kept for their next call.
    pub(crate) warm: Arc<Semaphore>,
    pub(crate) limits: LimitClasses,
    pub(crate) http: Arc<HttpShared>,
    /// Told of breaks; set once, by whoever watches.
    pub(crate) watch: OnceLock<Arc<dyn BreakWatch>>,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime")
            .field("calls_running", &self.calls_running())
            .finish_non_exhaustive()
    }
}

impl Runtime {
    /// Sets the engine up and starts its clock.
    ///
    /// # Errors
    /// When wasmtime refuses the machine, or the cache directory cannot be used.
    pub fn new(config: &RuntimeConfig) -> Result<Self, RuntimeError> {
        let engine = engine(config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)
            .and_then(|()| note_opened_files(&mut linker))
            // Which component may import it is decided at load, what a request may do by the call.
            .and_then(|()| wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker))
            .and_then(|()| {
                bindery_bindings::host::Host_::add_to_linker::<_, HasSelf<_>>(
                    &mut linker,
                    |state: &mut GuestState| state,
                )
            })
            .and_then(|()| {
                bindery_bindings::v0_1::host::Host_::add_to_linker::<_, HasSelf<_>>(
                    &mut linker,
                    |state: &mut GuestState| state,
                )
            })
            .map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        let cache = CompileCache::open(config.cache_directory.clone(), &engine)?;
        let calls_max = config.calls_max.max(1);
        let stop = Arc::new(AtomicBool::new(false));
        start_clock(&engine, Arc::clone(&stop))?;
        Ok(Self {
            shared: Arc::new(Shared {
                engine,
                linker,
                cache,
                calls: Arc::new(Semaphore::new(calls_max)),
                calls_max,
                sessions: Arc::new(Semaphore::new(config.sessions_max)),
                warm: Arc::new(Semaphore::new(KEPT_IN_ALL_MAX)),
                limits: config.limits,
                http: Arc::new(HttpShared::new(&config.http)),
                watch: OnceLock::new(),
                stop,
            }),
            lends_http: false,
        })
    }

    /// The same runtime for components of a package that was granted hosts: they may import
    /// `wasi:http`. Without, such a component does not load.
    #[must_use]
    pub fn lending_http(&self, granted: bool) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            lends_http: granted,
        }
    }

    /// Guest calls that run now.
    #[must_use]
    pub fn calls_running(&self) -> usize {
        self.shared
            .calls_max
            .saturating_sub(self.shared.calls.available_permits())
    }
}

impl Runtime {
    /// Tells this watch of every break from now on. There is one watch; false when there was one
    /// already.
    pub fn watch_breaks(&self, watch: Arc<dyn BreakWatch>) -> bool {
        self.shared.watch.set(watch).is_ok()
    }
}

/// Compiles a component with the settings of [`Runtime`], without running anything: for a process
/// of its own, because compiling a hostile component may take any time and memory. What it gives
/// is machine code; it is loaded with [`Runtime::load_compiled`].
///
/// # Errors
/// When it is no valid component.
pub fn compile_component(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // No pool: it would reserve address space that the compiling process must not have. How
    // instances are allocated is no part of compiled code.
    Engine::new(&settings(&RuntimeConfig::default(), false))
        .and_then(|engine| engine.precompile_component(bytes))
        .map_err(|error| format!("{error:#}"))
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn engine(config: &RuntimeConfig) -> Result<Engine, RuntimeError> {
    match Engine::new(&settings(config, true)) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            // The pool reserves some TiB of address space, which `ulimit -v` may forbid.
            tracing::warn!(%error, "no pool of instances on this machine, using single ones");
            Engine::new(&settings(config, false))
                .map_err(|error| RuntimeError::Engine(format!("{error:#}")))
        }
    }
}

fn settings(config: &RuntimeConfig, pooled: bool) -> Config {
    let mut settings = Config::new();
    settings
        .epoch_interruption(true)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(1 << 20)
        .async_stack_size(2 << 20)
        // Proposals nobody needs here are surface to attack.
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        // Not for guests: wasmtime's own adapters between the parts of a component that was composed
        // of several, as those of JavaScript are, copy from one memory to another. Without it,
        // compiling such a component panics.
        .wasm_multi_memory(true)
        .memory_init_cow(true);
    if pooled {
        let instances =
            u32::try_from(config.calls_max.saturating_add(config.sessions_max)).unwrap_or(1000);
        // Instances that wait for their next call have places of their own, as many as the largest
        // component needs: they must not take those of instances that work.
        let warm = u32::try_from(KEPT_IN_ALL_MAX).unwrap_or(0);
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(instances.saturating_add(warm))
            // A Rust component has 2 to 4 core instances, one of Python many.
            .total_core_instances(instances.saturating_mul(4).max(300) + warm * 300)
            .total_memories(instances.saturating_add(64) + warm * 8)
            .total_tables(instances.saturating_mul(4).max(300) + warm * 300)
            .total_stacks(instances.saturating_add(warm))
            .max_core_instances_per_component(300)
            .max_tables_per_component(300)
            .max_memories_per_component(8)
            .max_memory_size(1 << 30)
            .table_elements(200_000)
            .max_unused_warm_slots(100)
            // Where the kernel can say which pages a guest has touched (since 6.7), only those are
            // cleared, and stay mapped: that halves the time of a short call.
            .pagemap_scan(Enabled::Auto)
            .linear_memory_keep_resident(512 << 10)
            .table_keep_resident(64 << 10)
            .async_stack_keep_resident(64 << 10);
        settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    settings
}

/// Moves the epoch from a thread of its own: a busy tokio worker must not stop the clock.
fn start_clock(engine: &Engine, stop: Arc<AtomicBool>) -> Result<(), RuntimeError> {
    let engine = engine.weak();
    std::thread::Builder::new()
        .name("bindery-epoch".to_owned())
        .spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map(drop)
        .map_err(|error| RuntimeError::Engine(format!("no thread for the clock: {error}")))
}
