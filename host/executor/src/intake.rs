//! Checking a request before it may be queued.

use std::{collections::BTreeMap, sync::Arc};

use bindery_blobs::Blobs;
use bindery_core::{
    Digest, Estimate, InputFile, Item, Notice, OrgId, Request, Severity, TaskDefinition, TaskRef,
    Violation, definition::Cardinality, limits,
};
use bindery_dispatcher::{
    Submission,
    records::{InputRecord, NoticeRecord, ResourcesRecord},
};
use bindery_engines::Engines;
use bindery_runtime::{Catalog, GuestBreak, GuestFailure, Provenance, RunDirectories};
use serde_json::Value;

use crate::{
    FileRecord,
    staging::{Staged, stage},
};

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct Draft {
    pub task: TaskRef,
    /// Slot and file, in the order given.
    pub inputs: Vec<(String, FileRecord)>,
    pub parameters: Value,
    pub labels: BTreeMap<String, String>,
    /// Higher first.
    pub priority: u8,
    /// The client's key and a fingerprint of its request.
    pub idempotency: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A form that is being filled in: slots may still be empty, engines missing.
    Validate,
    /// About to be queued: everything must be there.
    Execute,
}

/// A request that may run.
#[derive(Debug, Clone)]
pub struct Checked {
    pub submission: Submission,
    pub definition: Arc<TaskDefinition>,
    pub notices: Vec<Notice>,
    /// What it will need, when the task can tell.
    pub estimate: Option<Estimate>,
}

/// Why a request may not run.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("no task `{0}`")]
    UnknownTask(TaskRef),
    #[error("{} in the request", match .0.len() { 1 => "a fault".to_owned(), n => format!("{n} faults") })]
    Invalid(Vec<Violation>),
    #[error("engine `{engine}` {fault}")]
    EngineMissing {
        engine: String,
        fault: String,
        hint: String,
    },
    #[error("no sandbox for engines: {reason}")]
    SandboxUnavailable { reason: String, fix: String },
    #[error(transparent)]
    PluginBroke(GuestBreak),
    #[error("host fault: {0}")]
    Host(String),
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Intake {
    catalog: Arc<Catalog>,
    engines: Arc<Engines>,
    blobs: Blobs,
    scratch: std::path::PathBuf,
}

impl Intake {
    #[must_use]
    pub fn new(
        catalog: Arc<Catalog>,
        engines: Arc<Engines>,
        blobs: Blobs,
        scratch: std::path::PathBuf,
    ) -> Self {
        Self {
            catalog,
            engines,
            blobs,
            scratch,
        }
    }

    /// Checks a request: the slots against the files, the parameters against the schema, and all
    /// together by the task itself. All faults at once.
    ///
    /// # Errors
    /// Why it may not run.
    pub async fn check(
        &self,
        org: OrgId,
        draft: Draft,
        mode: Mode,
    ) -> Result<Checked, IntakeError> {
        let entry = self
            .catalog
            .task(&draft.task)
            .ok_or_else(|| IntakeError::UnknownTask(draft.task.clone()))?;
        let definition = Arc::clone(&entry.definition);
        let (inputs, mut faults) = self.fill_slots(&definition, &draft.inputs, mode)?;
        let seed = seed()?;
        let request = Request {
            task: definition.id.clone(),
            parameters: draft.parameters,
            inputs: inputs.iter().map(|(_, input)| input.clone()).collect(),
            items: vec![Item::single()],
            seed,
        };
        let directories = self.stage(&request.inputs)?;
        let input = directories.as_ref().map(RunDirectories::input);
        let verdict = entry.plugin.validate_for(Some(org), request, input).await;
        drop(directories);
        let mut validated = match verdict {
            Ok(validated) if faults.is_empty() => validated,
            Ok(_) => return Err(IntakeError::Invalid(faults)),
            Err(GuestFailure::Refused(bindery_core::GuestError::InvalidInput(found))) => {
                // An empty slot has been reported; the task may have its own word for it.
                found.into_iter().for_each(|fault| {
                    if !faults.iter().any(|known| known.pointer == fault.pointer) {
                        faults.push(fault);
                    }
                });
                return Err(IntakeError::Invalid(faults));
            }
            Err(_) if !faults.is_empty() => return Err(IntakeError::Invalid(faults)),
            Err(GuestFailure::Refused(error)) => {
                return Err(IntakeError::Invalid(vec![Violation::new(
                    "/parameters",
                    error.code(),
                    error.message(),
                )]));
            }
            Err(GuestFailure::Broke(broke)) => return Err(IntakeError::PluginBroke(broke)),
            Err(failure @ GuestFailure::Host { .. }) => {
                return Err(IntakeError::Host(failure.to_string()));
            }
        };
        if mode == Mode::Execute {
            self.check_engines(&definition)?;
        }
        if entry.provenance.unsigned {
            validated.notices.push(unsigned_notice(&entry.provenance));
        }
        let submission = Submission {
            org,
            task: definition.id.clone(),
            task_version: definition.version.to_string(),
            plugin: entry.plugin.digest().to_string(),
            parameters: validated.parameters,
            inputs: inputs
                .into_iter()
                .map(|(file, input)| input_record(file, &input))
                .collect(),
            seed,
            resources: ResourcesRecord {
                cpu_cores: definition.resources.cpu_cores,
                // What this request needs, where the task can tell, and not what a usual one does.
                memory_bytes: validated
                    .estimate
                    .map_or(definition.resources.memory_bytes, |estimate| {
                        estimate.memory_bytes
                    }),
                wall_ms: definition.resources.wall_ms,
            },
            priority: draft.priority,
            labels: draft.labels,
            notices: validated.notices.iter().map(notice_record).collect(),
            idempotency: draft.idempotency,
        };
        Ok(Checked {
            submission,
            definition,
            notices: validated.notices,
            estimate: validated.estimate,
        })
    }

    /// Whether the engines of a task can be used, and the sandbox to run them in.
    ///
    /// # Errors
    /// `EngineMissing` or `SandboxUnavailable`.
    pub fn check_engines(&self, definition: &TaskDefinition) -> Result<(), IntakeError> {
        if definition.engines.is_empty() {
            return Ok(());
        }
        if let Some(unavailable) = &self.engines.sandbox().status().unavailable {
            return Err(IntakeError::SandboxUnavailable {
                reason: unavailable.reason.clone(),
                fix: unavailable.fix.clone(),
            });
        }
        self.engines
            .satisfy(&definition.engines)
            .map_err(|missing| IntakeError::EngineMissing {
                engine: missing.engine,
                fault: missing.fault,
                hint: missing.hint,
            })
    }

    /// Which file goes where below `/in`, and what is wrong with the slots. A faulty file is not
    /// shown to the task.
    #[expect(clippy::type_complexity, reason = "a file and the input made of it")]
    fn fill_slots<'a>(
        &self,
        definition: &TaskDefinition,
        inputs: &'a [(String, FileRecord)],
        mode: Mode,
    ) -> Result<(Vec<(&'a FileRecord, InputFile)>, Vec<Violation>), IntakeError> {
        let mut faults = Vec::new();
        let mut filled = Vec::new();
        if inputs.len() > limits::INPUT_FILES_MAX {
            faults.push(Violation::new(
                "/inputs",
                "too_many_files",
                format!(
                    "{} files, at most {} are allowed",
                    inputs.len(),
                    limits::INPUT_FILES_MAX
                ),
            ));
            return Ok((filled, faults));
        }
        for (slot, _) in inputs {
            let pointer = format!("/inputs/{}", slot.replace('~', "~0").replace('/', "~1"));
            if definition.input(slot).is_none()
                && !faults
                    .iter()
                    .any(|fault: &Violation| fault.pointer == pointer)
            {
                let known: Vec<&str> = definition
                    .inputs
                    .iter()
                    .map(|input| input.name.as_str())
                    .collect();
                faults.push(Violation::new(
                    pointer,
                    "unknown_input",
                    format!(
                        "the task has no input `{slot}` (it has: {})",
                        known.join(", ")
                    ),
                ));
            }
        }
        for slot in &definition.inputs {
            let files: Vec<&FileRecord> = inputs
                .iter()
                .filter(|(name, _)| *name == slot.name)
                .map(|(_, file)| file)
                .collect();
            let pointer = format!("/inputs/{}", slot.name);
            let required = slot.cardinality != Cardinality::Optional;
            if files.is_empty() && required && mode == Mode::Execute {
                faults.push(Violation::new(
                    pointer,
                    "required",
                    format!("{} is missing", slot.title),
                ));
                continue;
            }
            if files.len() > 1 && slot.cardinality != Cardinality::Many {
                faults.push(Violation::new(
                    &pointer,
                    "too_many_files",
                    format!("{} takes one file, {} were given", slot.title, files.len()),
                ));
                continue;
            }
            for (position, file) in files.into_iter().enumerate() {
                let at = match slot.cardinality {
                    Cardinality::Many => format!("{pointer}/{position}"),
                    _ => pointer.clone(),
                };
                let found = file_faults(slot, file, &at);
                if !found.is_empty() {
                    faults.extend(found);
                    continue;
                }
                let digest: Digest = file
                    .digest
                    .parse()
                    .map_err(|error| IntakeError::Host(format!("file {}: {error}", file.id)))?;
                filled.push((
                    file,
                    InputFile {
                        slot: slot.name.clone(),
                        path: format!("{}/{position}{}", slot.name, self.extension(file)),
                        original_name: file.name.clone(),
                        media_type: file.media_type.clone(),
                        size_bytes: file.size_bytes,
                        digest,
                    },
                ));
            }
        }
        faults.truncate(limits::VIOLATIONS_MAX);
        Ok((filled, faults))
    }

    /// `.ext` or `.ext.gz` by the file's format, so that programs that go by names are not misled
    /// by what a user called it.
    fn extension(&self, file: &FileRecord) -> String {
        let by_format = self
            .catalog
            .extension(&file.media_type)
            .unwrap_or_else(|| "dat".to_owned());
        match file.encoding.as_str() {
            "gzip" => format!(".{by_format}.gz"),
            _ => format!(".{by_format}"),
        }
    }

    fn stage(&self, inputs: &[InputFile]) -> Result<Option<RunDirectories>, IntakeError> {
        if inputs.is_empty() {
            return Ok(None);
        }
        let host = |error: std::io::Error| IntakeError::Host(error.to_string());
        let directories = RunDirectories::create(&self.scratch).map_err(host)?;
        let files: Vec<Staged<'_>> = inputs
            .iter()
            .map(|file| Staged {
                path: &file.path,
                digest: file.digest,
            })
            .collect();
        stage(&directories, &self.blobs, &files).map_err(host)?;
        Ok(Some(directories))
    }
}

fn file_faults(
    slot: &bindery_core::definition::InputSlot,
    file: &FileRecord,
    pointer: &str,
) -> Vec<Violation> {
    if !file.faults.is_empty() {
        return file
            .faults
            .iter()
            .map(|fault| {
                Violation::new(
                    pointer,
                    &fault.code,
                    format!("{}: {}", file.name, place(fault)),
                )
            })
            .collect();
    }
    if slot.accepts(&file.media_type) {
        return Vec::new();
    }
    vec![Violation::new(
        pointer,
        "unsupported_media_type",
        format!(
            "{} takes {}; {} is {}",
            slot.title,
            slot.accepts.join(", "),
            file.name,
            file.media_type
        ),
    )]
}

/// A fault in words, with where it is.
fn place(fault: &crate::FaultRecord) -> String {
    let mut text = fault.message.clone();
    match (fault.record, fault.line) {
        (Some(record), Some(line)) => {
            text.push_str(&format!(" (record {}, line {line})", record + 1));
        }
        (Some(record), None) => text.push_str(&format!(" (record {})", record + 1)),
        (None, Some(line)) => text.push_str(&format!(" (line {line})")),
        (None, None) => {}
    }
    text
}

fn input_record(file: &FileRecord, input: &InputFile) -> InputRecord {
    InputRecord {
        slot: input.slot.clone(),
        file_id: file.id.clone(),
        path: input.path.clone(),
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size_bytes: file.size_bytes,
        digest: file.digest.clone(),
    }
}

pub(crate) fn notice_record(notice: &Notice) -> NoticeRecord {
    NoticeRecord {
        severity: notice.severity.as_str().to_owned(),
        code: notice.code.clone(),
        message: notice.message.clone(),
    }
}

/// Stands on every execution of a plugin that nobody vouches for.
fn unsigned_notice(provenance: &Provenance) -> Notice {
    Notice {
        severity: Severity::Warning,
        code: "unsigned_plugin".to_owned(),
        message: format!(
            "the plugin {}@{} is unsigned; this host runs with --dev",
            provenance.name, provenance.version
        ),
    }
}

/// Drawn once per execution; 53 bits, so that every JSON reader keeps it exact.
fn seed() -> Result<u64, IntakeError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| IntakeError::Host(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) >> 11)
}
