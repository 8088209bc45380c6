//! `validate` in process, on a fresh instance for every call: through Bindery's API against bare
//! wasmtime with the same component, pool and request.
//!
//! ```text
//! cargo run --release -p bindery-benches --bin validate [calls]
//! ```
#![expect(clippy::print_stdout, reason = "a table for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bindery_benches::{Samples, table};
use bindery_bindings::{
    definition::{DefinitionFacetPre, exports::bindery::task::definition::Normalised},
    host::bindery::task::types::{Request as WitRequest, Violation},
};
use bindery_core::{Item, Request};
use bindery_runtime::{Plugin, Runtime, RuntimeConfig};
use serde_json::{Value, json};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    StoreLimits, StoreLimitsBuilder, UpdateDeadline,
    component::{
        Component, ComponentExportIndex, InstancePre, Linker, ResourceTable, types::ComponentItem,
    },
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Calls of one variant before the next has its turn, so that all see the same machine.
const TURN: usize = 100;

fn main() -> Result<()> {
    let calls = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |text| text.parse())
        .context("calls")?;
    for (name, task, component) in [
        (
            "good_validate",
            "test.guest",
            bindery_guests_build::guest("good_validate")?,
        ),
        (
            "system.noop",
            "system.noop",
            bindery_guests_build::plugin("system-noop")?,
        ),
    ] {
        println!(
            "\n{name}, {} bytes, fresh instance for each of {calls} calls\n",
            component.len()
        );
        println!("{}", compare(&component, &request(task), calls)?);
    }
    Ok(())
}

fn request(task: &str) -> Request {
    // 197 bytes, as in the measurements of other runtimes this is compared with.
    let mut parameters = json!({
        "size": 22.5, "effort": 8, "count": 9, "range": 3.0, "label": ""
    });
    let missing = 197_usize.saturating_sub(parameters.to_string().len());
    if let Some(label) = parameters.get_mut("label") {
        *label = Value::String("x".repeat(missing));
    }
    Request {
        task: task.to_owned(),
        parameters,
        inputs: Vec::new(),
        items: vec![Item::single()],
        seed: 42,
    }
}

fn compare(component: &[u8], request: &Request, calls: usize) -> Result<String> {
    let sync = BareSync::new(component)?;
    let limited = BareLimited::new(component)?;
    let runtime = Runtime::new(&RuntimeConfig::default())?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let plugin = tokio.block_on(runtime.load(component.to_vec()))?;
    let asked = WitRequest::from(request);

    let mut bare = Samples::default();
    let mut bare_limited = Samples::default();
    let mut ours_here = Samples::default();
    let mut ours = Samples::default();
    for turn in 0..calls.div_ceil(TURN) + 1 {
        // The first turn warms up.
        let note = |samples: &mut Samples, started: Instant| {
            if turn > 0 {
                samples.push(started.elapsed());
            }
        };
        for _ in 0..TURN {
            let started = Instant::now();
            sync.validate(&asked)?;
            note(&mut bare, started);
        }
        tokio.block_on(async {
            for _ in 0..TURN {
                let started = Instant::now();
                limited.validate(&asked).await?;
                note(&mut bare_limited, started);
            }
            anyhow::Ok(())
        })?;
        for _ in 0..TURN {
            let started = Instant::now();
            plugin.validate_here(tokio.handle(), request.clone(), None)?;
            note(&mut ours_here, started);
        }
        // As in a server: the caller is a task on one of tokio's workers.
        let times = tokio.block_on(tokio.spawn(times(Arc::clone(&plugin), request.clone())))??;
        if turn > 0 {
            times.into_iter().for_each(|time| ours.push(time));
        }
    }
    Ok(table(&[
        ("bare wasmtime: sync, no limits", &bare),
        (
            "bare wasmtime: async, epoch, memory limit, hostcall fuel",
            &bare_limited,
        ),
        ("Plugin::validate_here", &ours_here),
        ("Plugin::validate, on a tokio worker", &ours),
    ]))
}

async fn times(plugin: Arc<Plugin>, request: Request) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(TURN);
    for _ in 0..TURN {
        let started = Instant::now();
        plugin.validate(request.clone(), None).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// What a store needs when nothing is captured and nothing granted.
struct BareState {
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

struct BareSync {
    engine: Engine,
    pre: InstancePre<BareState>,
    validate: ComponentExportIndex,
}

impl BareSync {
    fn new(bytes: &[u8]) -> Result<Self> {
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

    fn validate(&self, request: &WitRequest) -> Result<Value> {
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

struct BareLimited {
    engine: Engine,
    pre: DefinitionFacetPre<BareState>,
}

impl BareLimited {
    fn new(bytes: &[u8]) -> Result<Self> {
        let engine = Engine::new(settings().epoch_interruption(true))?;
        let component = Component::from_binary(&engine, bytes)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        add_types(&mut linker)?;
        let pre = DefinitionFacetPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre })
    }

    async fn validate(&self, request: &WitRequest) -> Result<Value> {
        let mut store = Store::new(&self.engine, BareState::new());
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(16 << 20);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let facet = self.pre.instantiate_async(&mut store).await?;
        let answer = facet
            .bindery_task_definition()
            .call_validate(&mut store, request)
            .await?;
        parameters(answer)
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
