//! A loaded component.

use std::{collections::HashSet, sync::Arc, time::Duration};

use bindery_bindings::{
    convert,
    facets::{self, Contract},
};
use bindery_core::{
    Digest, TaskDefinition,
    definition::{CONTRACTS, FormatDescription},
    limits,
};
use wasmtime::component::Component;

use crate::{
    CallGrants, CallLimits, GuestFailure, HttpHosts, LimitClasses, ParameterSchema, Runtime,
    call::{CallSpec, thread_cpu_us},
    health::Health,
    state::GuestState,
    warm::{StartCost, WarmPool},
};

/// A component larger than this is refused before it is looked at.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// Interfaces any component may import: what Rust's standard library pulls in, and the contract.
/// Matched by prefix. Sockets are not among them, and nothing grants them.
const IMPORTS_ALLOWED: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
    // Of which versions is decided before.
    "bindery:task/types@",
    "bindery:task/log@",
    "bindery:task/progress@",
    "bindery:task/assets@",
    // Types only; every world that uses them imports them.
    "bindery:task/engine-task@",
    "bindery:task/compute-task@",
    "bindery:task/format@",
];

/// Interfaces that a component may import when its package was granted hosts. Matched by prefix.
const IMPORTS_OF_HTTP: &[&str] = &["wasi:http/types@", "wasi:http/outgoing-handler@"];

/// A component that cannot be a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("component of {size_bytes} bytes is larger than {COMPONENT_BYTES_MAX}")]
    TooLarge { size_bytes: usize },
    #[error("not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("imports `{0}`, which is not granted")]
    ImportNotGranted(String),
    #[error(
        "exports no interface of bindery:task (expected `definition` with a task interface, or `format`)"
    )]
    NothingExported,
    #[error("built for contract `{0}`; this host runs {supported}", supported = CONTRACTS.join(", "))]
    ContractUnsupported(String),
    #[error("exports interfaces of two versions of the contract")]
    ContractsMixed,
    #[error("exports `definition` but no task interface that this host runs")]
    NoTaskInterface,
    #[error("does not fit the contract: {0}")]
    Contract(String),
    #[error("describes itself differently when asked twice")]
    NotDeterministic,
    #[error("parameter schema of `{task}` cannot be used: {fault}")]
    Schema { task: String, fault: String },
    #[error("output schema of `{task}` cannot be used: {fault}")]
    OutputSchema { task: String, fault: String },
    #[error("failed to ask the component what it is")]
    Describe(#[source] GuestFailure),
    #[error("compiled code does not fit this host: {0}")]
    Compiled(String),
    #[error("host fault while loading: {0}")]
    Host(String),
}

/// Which interfaces a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginFacets {
    pub engine: bool,
    pub compute: bool,
    pub format: bool,
}

/// A loaded component. Shared by `Arc`: work that has begun keeps the version it began with.
pub struct Plugin {
    pub(crate) runtime: Runtime,
    digest: Digest,
    size_bytes: u64,
    contract: Contract,
    pub(crate) definition: Option<facets::Definition<GuestState>>,
    pub(crate) engine: Option<facets::Engine<GuestState>>,
    pub(crate) compute: Option<facets::Compute<GuestState>>,
    pub(crate) format: Option<facets::Format<GuestState>>,
    tasks: Vec<Arc<TaskDefinition>>,
    schemas: Vec<ParameterSchema>,
    output_schemas: Vec<ParameterSchema>,
    formats: Option<FormatDescription>,
    imports: Vec<String>,
    pub(crate) health: Health,
    /// For instances that are kept, when it starts so slowly that this is worth it.
    pub(crate) warm: Option<Arc<WarmPool>>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.digest)
            .field("facets", &self.facets())
            .field(
                "tasks",
                &self.tasks.iter().map(|task| &task.id).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// Of the component's bytes.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The version of the contract that it was built for.
    #[must_use]
    pub const fn contract(&self) -> &'static str {
        self.contract.as_str()
    }

    #[must_use]
    pub const fn facets(&self) -> PluginFacets {
        PluginFacets {
            engine: self.engine.is_some(),
            compute: self.compute.is_some(),
            format: self.format.is_some(),
        }
    }

    #[must_use]
    pub fn tasks(&self) -> &[Arc<TaskDefinition>] {
        &self.tasks
    }

    /// Interfaces that the component imports, sorted: all that it can reach.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Whether it starts so slowly that instances are kept for checks of an organisation's
    /// requests.
    #[must_use]
    pub const fn keeps_instances(&self) -> bool {
        self.warm.is_some()
    }

    /// Instances that wait for their next call now.
    #[must_use]
    pub fn instances_kept(&self) -> usize {
        self.warm.as_ref().map_or(0, |pool| pool.kept())
    }

    /// The first import that only a package with granted hosts may have.
    #[must_use]
    pub fn import_of_http(&self) -> Option<&str> {
        self.imports
            .iter()
            .find(|name| IMPORTS_OF_HTTP.iter().any(|of| name.starts_with(of)))
            .map(String::as_str)
    }

    #[must_use]
    pub const fn formats(&self) -> Option<&FormatDescription> {
        self.formats.as_ref()
    }

    /// The compiled parameter schema of one of its tasks.
    #[must_use]
    pub fn schema(&self, task: &str) -> Option<&ParameterSchema> {
        let position = self
            .tasks
            .iter()
            .position(|definition| definition.id == task)?;
        self.schemas.get(position)
    }

    /// The limits of each class of calls, as the runtime was set up with.
    pub(crate) fn limits(&self) -> &LimitClasses {
        &self.runtime.shared.limits
    }

    /// Where an output does not conform to the schema that the task promised, in words.
    #[must_use]
    pub fn output_faults(&self, task: &str, output: &serde_json::Value) -> Vec<String> {
        let position = self
            .tasks
            .iter()
            .position(|definition| definition.id == task);
        let Some(schema) = position.and_then(|position| self.output_schemas.get(position)) else {
            return Vec::new();
        };
        schema.faults(output)
    }

    /// A call that answers from its arguments and files alone: whatever hosts were granted, it
    /// reaches none.
    pub(crate) fn spec(
        &self,
        phase: &'static str,
        limits: CallLimits,
        grants: CallGrants,
        seed: u64,
    ) -> CallSpec {
        let grants = CallGrants {
            hosts: HttpHosts::default(),
            ..grants
        };
        self.spec_with_hosts(phase, limits, grants, seed)
    }

    pub(crate) fn spec_with_hosts(
        &self,
        phase: &'static str,
        limits: CallLimits,
        grants: CallGrants,
        seed: u64,
    ) -> CallSpec {
        CallSpec {
            phase,
            limits,
            grants,
            seed,
            digest: self.digest,
        }
    }
}

impl Runtime {
    /// Compiles a component (or takes it from the cache), links it and asks it what it is.
    ///
    /// # Errors
    /// When it is no plugin, asks for what is not granted, or breaks the contract.
    pub async fn load(&self, bytes: Vec<u8>) -> Result<Arc<Plugin>, LoadError> {
        if bytes.len() > COMPONENT_BYTES_MAX {
            return Err(LoadError::TooLarge {
                size_bytes: bytes.len(),
            });
        }
        let size_bytes = bytes.len() as u64;
        let (digest, component) = self
            .blocking(move |shared| {
                let digest = Digest::of(&bytes);
                shared
                    .cache
                    .component(&shared.engine, &digest, &bytes)
                    .map(|found| (digest, found))
                    .map_err(|error| LoadError::NotAComponent(format!("{error:#}")))
            })
            .await?;
        self.introduce(digest, size_bytes, component).await
    }

    /// Loads a component that this host has compiled before; none when its compiled code is not
    /// in the cache, is damaged, or was written by somebody else.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn load_cached(
        &self,
        digest: Digest,
        size_bytes: u64,
    ) -> Result<Option<Arc<Plugin>>, LoadError> {
        let found = self
            .blocking(move |shared| Ok(shared.cache.load(&shared.engine, &digest)))
            .await?;
        match found {
            Some(component) => self
                .introduce(digest, size_bytes, component)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Loads a component from code that [`compile_component`](crate::compile_component) gave, in
    /// a process of ours that was told nothing but the component, and keeps it in the cache.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the code is not for this engine.
    pub async fn load_compiled(
        &self,
        digest: Digest,
        size_bytes: u64,
        compiled: Vec<u8>,
    ) -> Result<Arc<Plugin>, LoadError> {
        let component = self
            .blocking(move |shared| {
                shared
                    .cache
                    .adopt(&shared.engine, &digest, &compiled)
                    .map_err(|error| LoadError::Compiled(format!("{error:#}")))
            })
            .await?;
        self.introduce(digest, size_bytes, component).await
    }

    /// Whether compiled components outlive this process.
    #[must_use]
    pub fn has_cache(&self) -> bool {
        self.shared.cache.is_kept()
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&crate::engine::Shared) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared))
            .await
            .map_err(|error| LoadError::Host(error.to_string()))?
    }

    /// Links a component and asks it what it is.
    async fn introduce(
        &self,
        digest: Digest,
        size_bytes: u64,
        component: Component,
    ) -> Result<Arc<Plugin>, LoadError> {
        let contract = self.contract(&component)?;
        let imports = self.imports_of(&component)?;
        let pre = self
            .shared
            .linker
            .instantiate_pre(&component)
            .map_err(|error| LoadError::Contract(format!("{error:#}")))?;
        let exports: HashSet<String> = component
            .component_type()
            .exports(&self.shared.engine)
            .filter_map(|(name, _)| interface(name).map(|(interface, _)| interface.to_owned()))
            .collect();
        let exported = |name: &str| exports.contains(name);
        let failed = |error: wasmtime::Error| LoadError::Contract(format!("{error:#}"));
        let mut plugin = Plugin {
            runtime: self.clone(),
            digest,
            size_bytes,
            contract,
            definition: exported("definition")
                .then(|| facets::Definition::new(contract, pre.clone()))
                .transpose()
                .map_err(failed)?,
            engine: exported("engine-task")
                .then(|| facets::Engine::new(contract, pre.clone()))
                .transpose()
                .map_err(failed)?,
            compute: exported("compute-task")
                .then(|| facets::Compute::new(contract, pre.clone()))
                .transpose()
                .map_err(failed)?,
            format: exported("format")
                .then(|| facets::Format::new(contract, pre))
                .transpose()
                .map_err(failed)?,
            tasks: Vec::new(),
            schemas: Vec::new(),
            output_schemas: Vec::new(),
            formats: None,
            imports,
            health: Health::default(),
            warm: None,
        };
        if plugin.definition.is_none() && plugin.format.is_none() {
            return Err(LoadError::NothingExported);
        }
        if plugin.definition.is_some() && plugin.engine.is_none() && plugin.compute.is_none() {
            return Err(LoadError::NoTaskInterface);
        }
        let start;
        (plugin.tasks, start) = plugin.describe_tasks().await?;
        plugin.warm = start
            .filter(|start| start.is_worth_keeping())
            .map(|_| Arc::default());
        plugin.formats = plugin.describe_formats().await?;
        plugin.schemas = plugin
            .tasks
            .iter()
            .map(|task| {
                ParameterSchema::compile(&task.parameters).map_err(|fault| LoadError::Schema {
                    task: task.id.clone(),
                    fault,
                })
            })
            .collect::<Result<_, _>>()?;
        plugin.output_schemas = plugin
            .tasks
            .iter()
            .map(|task| {
                ParameterSchema::compile(&task.output).map_err(|fault| LoadError::OutputSchema {
                    task: task.id.clone(),
                    fault,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Arc::new(plugin))
    }

    /// The one version of the contract that a component was built for.
    fn contract(&self, component: &Component) -> Result<Contract, LoadError> {
        let kind = component.component_type();
        let imported = kind.imports(&self.shared.engine).map(|(name, _)| name);
        let exported = kind.exports(&self.shared.engine).map(|(name, _)| name);
        let mut found = None;
        for (_, version) in imported.chain(exported).filter_map(interface) {
            let contract = Contract::of(version)
                .ok_or_else(|| LoadError::ContractUnsupported(format!("bindery:task@{version}")))?;
            if *found.get_or_insert(contract) != contract {
                return Err(LoadError::ContractsMixed);
            }
        }
        found.ok_or(LoadError::NothingExported)
    }

    /// What the component imports, when all of it is granted.
    fn imports_of(&self, component: &Component) -> Result<Vec<String>, LoadError> {
        let mut imports: Vec<String> = component
            .component_type()
            .imports(&self.shared.engine)
            .map(|(name, _)| name.to_owned())
            .collect();
        let lent = IMPORTS_OF_HTTP.iter().filter(|_| self.lends_http);
        let allowed: Vec<&str> = IMPORTS_ALLOWED.iter().chain(lent).copied().collect();
        let refused = imports
            .iter()
            .find(|name| !allowed.iter().any(|allowed| name.starts_with(allowed)));
        if let Some(name) = refused {
            return Err(LoadError::ImportNotGranted(name.clone()));
        }
        imports.sort_unstable();
        Ok(imports)
    }
}

/// `definition` and `0.1.0` of `bindery:task/definition@0.1.0`.
fn interface(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("bindery:task/")?.split_once('@')
}

impl Plugin {
    /// Its tasks, and what starting it costs beside asking it again.
    async fn describe_tasks(
        &self,
    ) -> Result<(Vec<Arc<TaskDefinition>>, Option<StartCost>), LoadError> {
        let Some(definition) = &self.definition else {
            return Ok((Vec::new(), None));
        };
        let mut answers = Vec::new();
        // Of the second round, when what the first one read from disk is in memory.
        let mut start = None;
        for _ in 0..2 {
            let definition = definition.clone();
            let spec = self.spec(
                "describe",
                self.limits().interactive,
                CallGrants::default(),
                0,
            );
            let answer = self
                .runtime
                .call(spec, async move |store| {
                    let began = thread_cpu_us();
                    let facet = definition.instantiate(store).await?;
                    let said = facet.describe(store).await?;
                    let first = thread_cpu_us();
                    // What cannot be asked twice is no fault, and keeps no instance either.
                    let again = facet.describe(store).await;
                    let start = again.is_ok_and(|again| again == said).then(|| StartCost {
                        first: Duration::from_micros(first.saturating_sub(began)),
                        second: Duration::from_micros(thread_cpu_us().saturating_sub(first)),
                    });
                    Ok(Ok((said, start)))
                })
                .await
                .map_err(LoadError::Describe)?;
            let (said, cost) = answer.value;
            answers.push(said);
            start = cost;
        }
        let (Some(first), Some(second)) = (answers.pop(), answers.pop()) else {
            return Err(LoadError::NotDeterministic);
        };
        if first != second {
            return Err(LoadError::NotDeterministic);
        }
        if first.is_empty() || first.len() > limits::TASKS_PER_PLUGIN_MAX {
            return Err(LoadError::Contract(format!(
                "defines {} tasks (1 to {} are allowed)",
                first.len(),
                limits::TASKS_PER_PLUGIN_MAX
            )));
        }
        let tasks = first
            .into_iter()
            .map(|task| convert::definition(task).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| LoadError::Contract(fault.to_string()))?;
        let distinct: HashSet<&str> = tasks.iter().map(|task| task.id.as_str()).collect();
        if distinct.len() != tasks.len() {
            return Err(LoadError::Contract("two tasks have the same id".to_owned()));
        }
        Ok((tasks, start))
    }

    async fn describe_formats(&self) -> Result<Option<FormatDescription>, LoadError> {
        let Some(format) = self.format.clone() else {
            return Ok(None);
        };
        let spec = self.spec(
            "describe-formats",
            self.limits().interactive,
            CallGrants::default(),
            0,
        );
        let answer = self
            .runtime
            .call(spec, async move |store| {
                let facet = format.instantiate(store).await?;
                Ok(Ok(facet.describe(store).await?))
            })
            .await
            .map_err(LoadError::Describe)?;
        convert::formats(answer.value)
            .map(Some)
            .map_err(|fault| LoadError::Contract(fault.to_string()))
    }
}
