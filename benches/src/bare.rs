//! wasmtime alone, with the same component, pool and request: the baseline of guest calls.

use anyhow::{Context, Result};
use bindery_bindings::{
    compute::{
        ComputeFacet, ComputeFacetPre,
        exports::bindery::task::compute_task::{Batch, Session},
    },
    definition::{
        DefinitionFacet, DefinitionFacetPre, exports::bindery::task::definition::Normalised,
    },
    host::bindery::task::types::{Request as WitRequest, Violation},
};
use serde_json::Value;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    StoreLimits, StoreLimitsBuilder, UpdateDeadline,
    component::{
        Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, types::ComponentItem,
    },
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// What a store needs when nothing is captured and nothing granted.
pub struct BareState {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl BareState {
    fn new() -> Self {
        Self {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new()
                .memory_size(256 << 20)
                .trap_on_grow_failure(true)
                .build(),
        }
    }
}

impl WasiView for BareState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

/// The pool of Bindery's runtime, as far as it matters for one call.
fn settings() -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(260)
        .total_core_instances(1040)
        .total_memories(324)
        .total_tables(1040)
        .total_stacks(260)
        .max_memory_size(1 << 30)
        .table_elements(200_000)
        .max_unused_warm_slots(100)
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10);
    let mut settings = Config::new();
    settings.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    settings
}

/// Sync, without limits.
pub struct BareSync {
    engine: Engine,
    pre: InstancePre<BareState>,
    validate: ComponentExportIndex,
}

impl BareSync {
    /// # Errors
    /// When the component does not load.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let engine = Engine::new(&settings())?;
        let component = Component::from_binary(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
        add_types(&mut linker)?;
        let (_, interface) = component
            .get_export(None, "bindery:task/definition@0.2.0")
            .context("no definition")?;
        let (item, validate) = component
            .get_export(Some(&interface), "validate")
            .context("no validate")?;
        anyhow::ensure!(matches!(item, ComponentItem::ComponentFunc(_)));
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self {
            engine,
            pre,
            validate,
        })
    }

    /// On a fresh instance.
    ///
    /// # Errors
    /// When it breaks or refuses.
    pub fn validate(&self, request: &WitRequest) -> Result<Value> {
        let mut store = Store::new(&self.engine, BareState::new());
        let instance = self.pre.instantiate(&mut store)?;
        let function = instance
            .get_typed_func::<(&WitRequest,), (Result<Normalised, Vec<Violation>>,)>(
                &mut store,
                &self.validate,
            )?;
        let (answer,) = function.call(&mut store, (request,))?;
        parameters(answer)
    }
}

/// Async, with epoch, memory limit and hostcall fuel: what Bindery asks of it as well.
pub struct BareLimited {
    engine: Engine,
    pre: DefinitionFacetPre<BareState>,
}

impl BareLimited {
    /// # Errors
    /// When the component does not load.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let engine = Engine::new(settings().epoch_interruption(true))?;
        let component = Component::from_binary(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_types(&mut linker)?;
        let pre = DefinitionFacetPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    /// On a fresh instance.
    ///
    /// # Errors
    /// When it breaks or refuses.
    pub async fn validate(&self, request: &WitRequest) -> Result<Value> {
        self.instance().await?.validate(request).await
    }

    /// An instance to call again and again.
    ///
    /// # Errors
    /// When there is none to be had.
    pub async fn instance(&self) -> Result<BareInstance> {
        let mut store = self.store();
        let facet = self.pre.instantiate_async(&mut store).await?;
        Ok(BareInstance { store, facet })
    }

    fn store(&self) -> Store<BareState> {
        let mut store = Store::new(&self.engine, BareState::new());
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(16 << 20);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store
    }
}

/// An instance that lives on.
pub struct BareInstance {
    store: Store<BareState>,
    facet: DefinitionFacet,
}

impl BareInstance {
    /// # Errors
    /// When it breaks or refuses.
    pub async fn validate(&mut self, request: &WitRequest) -> Result<Value> {
        let answer = self
            .facet
            .bindery_task_definition()
            .call_validate(&mut self.store, request)
            .await?;
        parameters(answer)
    }
}

/// A session that lives on.
pub struct BareSession {
    store: Store<BareState>,
    facet: ComputeFacet,
    session: Session,
}

impl BareSession {
    /// # Errors
    /// When the component does not load or refuses the request.
    pub async fn open(bytes: &[u8], request: &WitRequest) -> Result<Self> {
        let engine = Engine::new(settings().epoch_interruption(true))?;
        let component = Component::from_binary(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_types(&mut linker)?;
        let pre = ComputeFacetPre::new(linker.instantiate_pre(&component)?)?;
        let mut store = Store::new(&engine, BareState::new());
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(64 << 20);
        store.set_epoch_deadline(u64::MAX / 2);
        let facet = pre.instantiate_async(&mut store).await?;
        let sessions = facet.bindery_task_compute_task().session();
        let session = sessions
            .call_open(&mut store, request)
            .await?
            .map_err(|error| anyhow::anyhow!("refused: {error:?}"))?;
        Ok(Self {
            store,
            facet,
            session,
        })
    }

    /// # Errors
    /// When it breaks or refuses.
    pub async fn push(&mut self, batch: &Batch) -> Result<Vec<Batch>> {
        let sessions = self.facet.bindery_task_compute_task().session();
        sessions
            .call_push(&mut self.store, self.session, batch)
            .await?
            .map_err(|error| anyhow::anyhow!("refused: {error:?}"))
    }
}

/// The one import of the contract that every guest has; it holds types only.
fn add_types(linker: &mut Linker<BareState>) -> Result<()> {
    linker.instance("bindery:task/types@0.2.0")?;
    Ok(())
}

/// Both sides end with parameters as a JSON value.
fn parameters(answer: Result<Normalised, Vec<Violation>>) -> Result<Value> {
    match answer {
        Ok(normalised) => Ok(serde_json::from_str(&normalised.parameters)?),
        Err(violations) => anyhow::bail!("refused: {violations:?}"),
    }
}

impl std::fmt::Debug for BareState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareState").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BareSync {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareSync").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BareLimited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareLimited").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BareInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareInstance").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for BareSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BareSession").finish_non_exhaustive()
    }
}
