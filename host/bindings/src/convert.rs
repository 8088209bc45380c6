//! Conversions between generated types and core types.
//!
//! Values that come from a guest are checked here: JSON is parsed, versions are read, numbers
//! that must be finite are. A guest that gives rubbish gets a [`Rubbish`], which the runtime
//! treats as a broken guest and never as a refusal.

use std::collections::BTreeSet;

use bindery_core::{
    TaskDefinition,
    columns::{Batch, Column, ColumnData, SessionProfile},
    definition::{
        Cardinality, Citation, Collection, Determinism, EngineRequirement, Example, FileFormat,
        FormatDescription, InputSlot, OutputSlot, ResourceHints,
    },
    limits,
    request::{Estimate, InputFile, Item, Notice, Request, Severity, Violation},
    result::{Artifact, Better, GuestError, ItemOutcome, ItemResult, Metric, View},
    step::{Argument, Decision, OutputFile, Step, StepEnding, StepLimits, StepOutcome, StepSignal},
};
use serde_json::Value;

use crate::{
    compute::exports::bindery::task::compute_task as wit_compute,
    definition::exports::bindery::task::definition as wit_definition,
    engine::exports::bindery::task::engine_task as wit_engine,
    format::exports::bindery::task::format as wit_format, host::bindery::task::types as wit,
};

/// A value that breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {fault}")]
pub struct Rubbish {
    what: String,
    fault: String,
}

impl Rubbish {
    pub fn new(what: impl Into<String>, fault: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fault: fault.into(),
        }
    }
}

/// More are not read by anybody.
const KEYWORDS_MAX: usize = 64;
const CITATIONS_MAX: usize = 64;

/// A sentence for a person; what is longer than any sentence is cut.
fn clipped(mut text: String) -> String {
    /// Some paragraphs. Notices wait in queues and are kept with executions.
    const BYTES_MAX: usize = 4 << 10;
    text.truncate(text.floor_char_boundary(BYTES_MAX));
    text
}

fn json(what: &str, text: &str) -> Result<Value, Rubbish> {
    serde_json::from_str(text).map_err(|error| Rubbish::new(what, format!("not JSON: {error}")))
}

fn share(what: &str, value: f32) -> Result<f32, Rubbish> {
    if value.is_finite() {
        Ok(value.clamp(0.0, 1.0))
    } else {
        Err(Rubbish::new(what, "not finite"))
    }
}

// --- Host to guest -------------------------------------------------------------------------

impl From<&InputFile> for wit::InputFile {
    fn from(file: &InputFile) -> Self {
        Self {
            slot: file.slot.clone(),
            path: file.path.clone(),
            original_name: file.original_name.clone(),
            media_type: file.media_type.clone(),
            size_bytes: file.size_bytes,
            digest: file.digest.to_string(),
        }
    }
}

impl From<&Item> for wit::Item {
    fn from(item: &Item) -> Self {
        Self {
            index: item.index,
            label: item.label.clone(),
            parameters: item.parameters.as_ref().map(Value::to_string),
            inputs: item.inputs.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Request> for wit::Request {
    fn from(request: &Request) -> Self {
        Self {
            task: request.task.clone(),
            parameters: request.parameters.to_string(),
            inputs: request.inputs.iter().map(Into::into).collect(),
            items: request.items.iter().map(Into::into).collect(),
            seed: request.seed,
        }
    }
}

impl From<&StepOutcome> for wit_engine::StepOutcome {
    fn from(outcome: &StepOutcome) -> Self {
        Self {
            step: outcome.step.clone(),
            engine: outcome.engine.clone(),
            engine_version: outcome.engine_version.clone(),
            ending: match &outcome.ending {
                StepEnding::Exited(code) => wit_engine::StepEnding::Exited(*code),
                StepEnding::Crashed(signal) => wit_engine::StepEnding::Crashed(*signal),
                StepEnding::MemoryExceeded => wit_engine::StepEnding::MemoryExceeded,
                StepEnding::CpuExceeded => wit_engine::StepEnding::CpuExceeded,
                StepEnding::DiskExceeded => wit_engine::StepEnding::DiskExceeded,
                StepEnding::TimedOut => wit_engine::StepEnding::TimedOut,
                StepEnding::OutputMissing(path) => {
                    wit_engine::StepEnding::OutputMissing(path.clone())
                }
            },
            usage: wit_engine::StepUsage {
                wall_ms: outcome.usage.wall_ms,
                cpu_ms: outcome.usage.cpu_ms,
                peak_memory_bytes: outcome.usage.peak_memory_bytes,
            },
            stdout: outcome.stdout.clone(),
            stderr: outcome.stderr.clone(),
            dropped_bytes: outcome.dropped_bytes,
        }
    }
}

// --- Guest to host -------------------------------------------------------------------------

impl From<wit::Violation> for Violation {
    fn from(violation: wit::Violation) -> Self {
        Self {
            pointer: clipped(violation.pointer),
            code: clipped(violation.code),
            message: clipped(violation.message),
        }
    }
}

/// The violations of a guest, bounded.
#[must_use]
pub fn violations(violations: Vec<wit::Violation>) -> Vec<Violation> {
    violations
        .into_iter()
        .take(limits::VIOLATIONS_MAX)
        .map(Into::into)
        .collect()
}

impl From<wit::Notice> for Notice {
    fn from(notice: wit::Notice) -> Self {
        Self {
            severity: match notice.severity {
                wit::Severity::Info => Severity::Info,
                wit::Severity::Warning => Severity::Warning,
                wit::Severity::Error => Severity::Error,
            },
            code: clipped(notice.code),
            message: clipped(notice.message),
        }
    }
}

impl From<wit::Error> for GuestError {
    fn from(error: wit::Error) -> Self {
        match error {
            wit::Error::InvalidInput(faults) => Self::InvalidInput(violations(faults)),
            wit::Error::StepFailed(fault) => Self::StepFailed {
                step: fault.step,
                code: fault.code,
                message: fault.message,
                detail: fault.detail,
            },
            wit::Error::OutputInvalid(message) => Self::OutputInvalid(message),
            wit::Error::Unsupported(message) => Self::Unsupported(message),
            wit::Error::Other(message) => Self::Other(message),
        }
    }
}

/// A normalised parameter document.
///
/// # Errors
/// When it is not a JSON object.
pub fn normalised(
    normalised: wit_definition::Normalised,
) -> Result<(Value, Vec<Notice>, Option<Estimate>), Rubbish> {
    let parameters = json("normalised parameters", &normalised.parameters)?;
    if !parameters.is_object() {
        return Err(Rubbish::new("normalised parameters", "not a JSON object"));
    }
    Ok((
        parameters,
        normalised.notices.into_iter().map(Into::into).collect(),
        normalised.estimate.map(|estimate| Estimate {
            wall_ms: estimate.wall_ms,
            cpu_ms: estimate.cpu_ms,
            memory_bytes: estimate.memory_bytes,
        }),
    ))
}

/// A definition as far as it can be checked without a JSON Schema library.
///
/// # Errors
/// When a part cannot be read, or a fault that makes the definition unusable.
pub fn definition(definition: wit_definition::TaskDefinition) -> Result<TaskDefinition, Rubbish> {
    let what = format!("definition of `{}`", definition.id);
    let version = definition.version.parse().map_err(|error| {
        Rubbish::new(&what, format!("version `{}`: {error}", definition.version))
    })?;
    let engines = definition
        .engines
        .into_iter()
        .map(|requirement| {
            let range = if requirement.versions.is_empty() {
                "*"
            } else {
                &requirement.versions
            };
            let versions = range.parse().map_err(|error| {
                Rubbish::new(&what, format!("engine version range `{range}`: {error}"))
            })?;
            Ok(EngineRequirement {
                engine: requirement.engine,
                versions,
            })
        })
        .collect::<Result<_, Rubbish>>()?;
    let examples = definition
        .examples
        .into_iter()
        .map(|example| {
            Ok(Example {
                title: example.title,
                parameters: json(&what, &example.parameters)?,
                inputs: example.inputs,
            })
        })
        .collect::<Result<_, Rubbish>>()?;
    let definition = TaskDefinition {
        id: definition.id,
        version,
        title: definition.title,
        category: definition.category,
        summary: definition.summary,
        docs: definition.docs,
        parameters: json(&format!("{what}: parameter schema"), &definition.parameters)?,
        inputs: definition
            .inputs
            .into_iter()
            .map(|slot| InputSlot {
                name: slot.name,
                title: slot.title,
                summary: slot.summary,
                accepts: slot.accepts,
                cardinality: match slot.cardinality {
                    wit_definition::Cardinality::One => Cardinality::One,
                    wit_definition::Cardinality::Optional => Cardinality::Optional,
                    wit_definition::Cardinality::Many => Cardinality::Many,
                },
            })
            .collect(),
        output: json(&format!("{what}: output schema"), &definition.output)?,
        artifacts: definition
            .artifacts
            .into_iter()
            .map(|slot| OutputSlot {
                name: slot.name,
                title: slot.title,
                media_type: slot.media_type,
            })
            .collect(),
        engines,
        resources: ResourceHints {
            cpu_cores: definition.resources.cpu_cores.max(1),
            memory_bytes: definition.resources.memory_bytes,
            disk_bytes: definition.resources.disk_bytes,
            wall_ms: definition.resources.wall_ms,
        },
        determinism: match definition.determinism {
            wit_definition::Determinism::Deterministic => Determinism::Deterministic,
            wit_definition::Determinism::Seeded => Determinism::Seeded,
            wit_definition::Determinism::Varying => Determinism::Varying,
        },
        max_items_per_run: definition.max_items_per_run,
        examples,
        keywords: definition
            .keywords
            .into_iter()
            .take(KEYWORDS_MAX)
            .map(clipped)
            .collect(),
        citations: definition
            .citations
            .into_iter()
            .take(CITATIONS_MAX)
            .map(|citation| Citation {
                text: clipped(citation.text),
                doi: clipped(citation.doi),
                url: clipped(citation.url),
            })
            .collect(),
    };
    match definition.faults().as_slice() {
        [] => Ok(definition),
        faults => Err(Rubbish::new(what, faults.join("; "))),
    }
}

/// The description of a format plugin.
///
/// # Errors
/// When its version or a collection's name cannot be used.
pub fn formats(description: wit_format::FormatDescription) -> Result<FormatDescription, Rubbish> {
    let what = format!("description of formats `{}`", description.id);
    let version = description
        .version
        .parse()
        .map_err(|error| Rubbish::new(&what, format!("version: {error}")))?;
    for collection in &description.collections {
        let plain = collection
            .name
            .starts_with(|c: char| c.is_ascii_lowercase())
            && collection
                .name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain {
            return Err(Rubbish::new(
                what,
                format!("collection name `{}` is not kebab-case", collection.name),
            ));
        }
    }
    Ok(FormatDescription {
        id: description.id,
        version,
        formats: description
            .formats
            .into_iter()
            .map(|format| FileFormat {
                media_type: format.media_type,
                title: format.title,
                extensions: format.extensions,
                multi_record: format.multi_record,
            })
            .collect(),
        collections: description
            .collections
            .into_iter()
            .map(|collection| Collection {
                name: collection.name,
                title: collection.title,
                media_types: collection.media_types,
            })
            .collect(),
    })
}

/// The next decision of a plan, with every step checked.
///
/// # Errors
/// When a step breaks the contract.
pub fn decision(decision: wit_engine::Decision) -> Result<Decision, Rubbish> {
    let wit_engine::Decision::Run(steps) = decision else {
        return Ok(Decision::Finished);
    };
    if steps.is_empty() {
        return Err(Rubbish::new("plan", "asks to run no steps"));
    }
    let steps: Vec<Step> = steps.into_iter().map(step).collect();
    if steps.len() > limits::STEPS_MAX {
        return Err(Rubbish::new(
            "plan",
            format!("more than {} steps", limits::STEPS_MAX),
        ));
    }
    let mut ids = BTreeSet::new();
    for step in &steps {
        step.check()
            .map_err(|fault| Rubbish::new("plan", fault.to_string()))?;
        if !ids.insert(step.id.as_str()) {
            return Err(Rubbish::new(
                "plan",
                format!("two steps have the id `{}`", step.id),
            ));
        }
    }
    Ok(Decision::Run(steps))
}

fn step(step: wit_engine::Step) -> Step {
    Step {
        id: step.id,
        title: step.title,
        engine: step.engine,
        arguments: step
            .arguments
            .into_iter()
            .map(|argument| match argument {
                wit_engine::Argument::Literal(text) => Argument::Literal(text),
                wit_engine::Argument::Input(path) => Argument::Input(path),
                wit_engine::Argument::Work(path) => Argument::Work(path),
                wit_engine::Argument::Output(path) => Argument::Output(path),
            })
            .collect(),
        reads: step.reads,
        outputs: step
            .outputs
            .into_iter()
            .map(|output| OutputFile {
                path: output.path,
                required: output.required,
                max_bytes: output.max_bytes,
            })
            .collect(),
        limits: StepLimits {
            wall_ms: step.limits.wall_ms,
            cpu_ms: step.limits.cpu_ms,
            memory_bytes: step.limits.memory_bytes,
            disk_bytes: step.limits.disk_bytes,
            cpu_cores: step.limits.cpu_cores,
        },
        items: step.items,
        weight: step.weight,
    }
}

/// What a monitor said.
///
/// # Errors
/// When a share is not finite.
pub fn signal(signal: wit_engine::Signal) -> Result<StepSignal, Rubbish> {
    match signal {
        wit_engine::Signal::Progress(done) => Ok(StepSignal::Progress(share("progress", done)?)),
        wit_engine::Signal::Notice(notice) => Ok(StepSignal::Notice(notice.into())),
    }
}

/// The results of a task: one for each item asked for.
///
/// # Errors
/// When an item has no outcome, or two, or was not asked for; when a document is not JSON, a
/// number is not finite, or an artifact's name or path is not allowed.
pub fn outcomes(
    asked: &[Item],
    outcomes: Vec<wit::ItemOutcome>,
) -> Result<Vec<ItemOutcome>, Rubbish> {
    let mut open: BTreeSet<u64> = asked.iter().map(|item| item.index).collect();
    for outcome in &outcomes {
        if !open.remove(&outcome.index) {
            return Err(Rubbish::new(
                "results",
                format!(
                    "item {} was not asked for or has two outcomes",
                    outcome.index
                ),
            ));
        }
    }
    if let Some(index) = open.first() {
        return Err(Rubbish::new(
            "results",
            format!("item {index} has no outcome"),
        ));
    }
    outcomes
        .into_iter()
        .map(|outcome| {
            let verdict = match outcome.verdict {
                Ok(result) => Ok(item_result(result)?),
                Err(error) => Err(error.into()),
            };
            Ok(ItemOutcome {
                index: outcome.index,
                verdict,
            })
        })
        .collect()
}

fn item_result(result: wit::ItemResult) -> Result<ItemResult, Rubbish> {
    if result.artifacts.len() > limits::ARTIFACTS_MAX {
        return Err(Rubbish::new(
            "artifacts",
            format!("more than {}", limits::ARTIFACTS_MAX),
        ));
    }
    let confidence = result
        .confidence
        .map(|confidence| {
            if (0.0..=1.0).contains(&confidence) {
                Ok(confidence)
            } else {
                Err(Rubbish::new("confidence", "not within 0..=1"))
            }
        })
        .transpose()?;
    Ok(ItemResult {
        output: json("output", &result.output)?,
        confidence,
        metrics: result
            .metrics
            .into_iter()
            .map(metric)
            .collect::<Result<_, _>>()?,
        artifacts: artifacts(result.artifacts)?,
        views: result
            .views
            .into_iter()
            .map(|view| {
                Ok(View {
                    spec: json(&format!("view `{}`", view.title), &view.spec)?,
                    kind: view.kind,
                    title: view.title,
                    artifacts: view.artifacts,
                })
            })
            .collect::<Result<_, Rubbish>>()?,
        notices: result.notices.into_iter().map(Into::into).collect(),
    })
}

fn metric(metric: wit::Metric) -> Result<Metric, Rubbish> {
    if !metric.value.is_finite() {
        return Err(Rubbish::new(
            format!("metric `{}`", metric.name),
            "not finite",
        ));
    }
    Ok(Metric {
        name: metric.name,
        value: metric.value,
        unit: metric.unit,
        better: match metric.better {
            wit::Better::Larger => Better::Higher,
            wit::Better::Smaller => Better::Lower,
            wit::Better::Neither => Better::Neither,
        },
    })
}

fn artifacts(artifacts: Vec<wit::Artifact>) -> Result<Vec<Artifact>, Rubbish> {
    let mut checked: Vec<Artifact> = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let fault = |fault: &str| Rubbish::new(format!("artifact `{}`", artifact.name), fault);
        if !bindery_core::definition::is_artifact_name(&artifact.name) {
            return Err(fault("the name is not a plain file name"));
        }
        if checked.iter().any(|other| other.name == artifact.name) {
            return Err(fault("two artifacts have this name"));
        }
        let below = artifact
            .path
            .strip_prefix("/out/")
            .or_else(|| artifact.path.strip_prefix("/work/"))
            .ok_or_else(|| fault("the path is not below /out or /work"))?;
        if !bindery_core::step::is_relative_path(below) {
            return Err(fault("the path is not allowed"));
        }
        checked.push(Artifact {
            name: artifact.name,
            path: artifact.path,
            media_type: artifact.media_type,
            title: artifact.title,
        });
    }
    Ok(checked)
}

// Lists of numbers move as they are: nothing is copied here.
impl From<Batch> for wit_compute::Batch {
    fn from(batch: Batch) -> Self {
        Self {
            rows: batch.rows,
            columns: batch
                .columns
                .into_iter()
                .map(|column| wit_compute::Column {
                    name: column.name,
                    data: match column.data {
                        ColumnData::F64s(values) => wit_compute::ColumnData::F64s(values),
                        ColumnData::F32s(values) => wit_compute::ColumnData::F32s(values),
                        ColumnData::S64s(values) => wit_compute::ColumnData::S64s(values),
                        ColumnData::S32s(values) => wit_compute::ColumnData::S32s(values),
                        ColumnData::U8s(values) => wit_compute::ColumnData::U8s(values),
                        ColumnData::Texts(values) => wit_compute::ColumnData::Texts(values),
                    },
                    validity: column.validity,
                })
                .collect(),
        }
    }
}

/// Rows that a guest gives. Numbers may be NaN: in a column that is an ordinary value.
///
/// # Errors
/// When columns differ in length, or two have one name.
pub fn batch(batch: wit_compute::Batch) -> Result<Batch, Rubbish> {
    let batch = Batch {
        rows: batch.rows,
        columns: batch
            .columns
            .into_iter()
            .map(|column| Column {
                name: column.name,
                data: match column.data {
                    wit_compute::ColumnData::F64s(values) => ColumnData::F64s(values),
                    wit_compute::ColumnData::F32s(values) => ColumnData::F32s(values),
                    wit_compute::ColumnData::S64s(values) => ColumnData::S64s(values),
                    wit_compute::ColumnData::S32s(values) => ColumnData::S32s(values),
                    wit_compute::ColumnData::U8s(values) => ColumnData::U8s(values),
                    wit_compute::ColumnData::Texts(values) => ColumnData::Texts(values),
                },
                validity: column.validity,
            })
            .collect(),
    };
    match batch.fault() {
        None => Ok(batch),
        Some(fault) => Err(Rubbish::new("rows", fault)),
    }
}

#[must_use]
pub fn session_profile(profile: wit_compute::SessionProfile) -> SessionProfile {
    let has = |wanted| profile.traits.contains(wanted);
    SessionProfile {
        resumable: has(wit_compute::Traits::RESUMABLE),
        mergeable: has(wit_compute::Traits::MERGEABLE),
        unordered: has(wit_compute::Traits::UNORDERED),
        columns: profile.columns,
    }
}
