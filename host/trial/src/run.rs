//! Running one case.
#![expect(
    clippy::result_large_err,
    reason = "a failure is made once for a case, and is what the case is about"
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_core::{
    CostReceipt, Digest, InputFile, Item, ItemOutcome, ItemResult, Request, TaskDefinition,
    Violation,
    definition::{Cardinality, InputSlot},
};
use bindery_engines::Engines;
use bindery_runtime::{GuestLine, PlanEnd, Plugin, RunDirectories, refuse_links};
use serde_json::{Value, json};

use crate::{
    Case, CaseFailure, CaseReport, Difference, Expect, FailureKind, Recording, StepSource,
    difference::{Closeness, differences_by},
    steps::{Source, StepRunner, Stop},
};

/// How the engine steps of cases are run.
#[derive(Debug, Clone)]
pub enum Steps {
    /// As each case says. Without engines, a case that wants real ones fails with the code
    /// `engine_missing`.
    AsWritten(Option<Arc<Engines>>),
    /// All of them for real.
    Real(Arc<Engines>),
    /// For real, and kept: see [`CaseReport::recording`].
    Record(Arc<Engines>),
}

/// What the parts of one run share and leave behind.
#[derive(Default)]
struct Traces {
    differences: Vec<Difference>,
    receipts: Vec<CostReceipt>,
    lines: Vec<GuestLine>,
    recording: Option<Recording>,
}

/// What a run came to.
struct Given {
    output: Value,
    artifacts: BTreeSet<String>,
}

/// Runs a case on a plugin, in a directory below `scratch` that is gone afterwards. Whatever
/// happens is in the report: a case that cannot be run has not passed.
pub async fn run_case(
    plugin: &Arc<Plugin>,
    steps: &Steps,
    case: &Case,
    scratch: &Path,
) -> CaseReport {
    let started = Instant::now();
    let mut traces = Traces::default();
    let (task, outcome) = match task(plugin, case) {
        Ok(definition) => {
            let outcome = run(plugin, &definition, steps, case, scratch, &mut traces).await;
            (definition.id.clone(), outcome)
        }
        Err(failure) => (case.task.clone().unwrap_or_default(), Err(failure)),
    };
    let (given, failure) = match outcome {
        Ok(given) => (given, None),
        Err(failure) => (None, Some(failure)),
    };
    let mut differences = std::mem::take(&mut traces.differences);
    differences.extend(judge(&case.expect, given.as_ref(), failure.as_ref()));
    CaseReport {
        case: case.name.clone(),
        title: case.title.clone(),
        task,
        passed: differences.is_empty(),
        differences,
        failure,
        output: given.map(|given| given.output),
        receipts: traces.receipts,
        duration: started.elapsed(),
        lines: traces.lines,
        recording: traces.recording,
    }
}

fn task(plugin: &Plugin, case: &Case) -> Result<Arc<TaskDefinition>, CaseFailure> {
    let missing = |message: String| CaseFailure::host("unknown_task", message, String::new());
    match (&case.task, plugin.tasks()) {
        (Some(task), tasks) => tasks
            .iter()
            .find(|definition| definition.id == *task)
            .cloned()
            .ok_or_else(|| missing(format!("the plugin has no task `{task}`"))),
        (None, [only]) => Ok(Arc::clone(only)),
        (None, tasks) => Err(missing(format!(
            "the plugin has {} tasks: the case must name one (`task = \"…\"`)",
            tasks.len()
        ))),
    }
}

/// Checks the request and, where more than that is expected, runs it. Gives nothing when checking
/// was all.
async fn run(
    plugin: &Arc<Plugin>,
    definition: &TaskDefinition,
    steps: &Steps,
    case: &Case,
    scratch: &Path,
    traces: &mut Traces,
) -> Result<Option<Given>, CaseFailure> {
    let host = |error: std::io::Error| CaseFailure::host("host_fault", error, String::new());
    let directories = RunDirectories::create(scratch).map_err(host)?;
    let (mut request, mut faults) = request(definition, case, &directories).map_err(host)?;
    let input = (!request.inputs.is_empty()).then(|| directories.input());
    let validated = match plugin.validate(request.clone(), input).await {
        Ok(validated) => validated,
        Err(failure) => {
            let mut failure = CaseFailure::from(failure);
            // An empty slot is told by the host; the task may have its own word for it.
            faults.retain(|fault| {
                !failure
                    .violations
                    .iter()
                    .any(|known| known.pointer == fault.pointer)
            });
            failure.violations.extend(faults);
            return Err(failure);
        }
    };
    if !faults.is_empty() {
        return Err(CaseFailure::refused(
            bindery_core::GuestError::InvalidInput(faults),
        ));
    }
    traces.receipts.push(validated.receipt);
    traces.lines.extend(validated.lines);
    if let Some(expected) = &case.expect.parameters {
        let closeness = Closeness {
            tolerance: case.expect.tolerance,
            subset: case.expect.subset,
        };
        traces.differences.extend(differences_by(
            "/parameters",
            expected,
            &validated.parameters,
            closeness,
        ));
    }
    if !case.expect.needs_run() && case.expect.violations.is_none() {
        return Ok(None);
    }
    if case.expect.violations.is_some() {
        // Accepted although it should not be: `judge` says so, and running it says no more.
        return Ok(None);
    }
    request.parameters = validated.parameters;
    let outcomes = if plugin.facets().engine {
        run_plan(plugin, &request, &directories, steps, case, traces).await?
    } else {
        let wall = Duration::from_millis(definition.resources.wall_ms);
        let (outcomes, receipt, lines) = plugin
            .compute(
                &request,
                directories.grants(),
                wall,
                Box::new(|_done, _word| {}),
            )
            .await
            .map_err(CaseFailure::from)?;
        traces.receipts.push(receipt);
        traces.lines.extend(lines);
        outcomes
    };
    given(plugin, definition, &directories, outcomes).map(Some)
}

async fn run_plan(
    plugin: &Arc<Plugin>,
    request: &Request,
    directories: &RunDirectories,
    steps: &Steps,
    case: &Case,
    traces: &mut Traces,
) -> Result<Vec<ItemOutcome>, CaseFailure> {
    let source = match (steps, case.steps) {
        (Steps::Record(engines), _) => Source::Record(engines, Recording::default()),
        (Steps::Real(engines), _) | (Steps::AsWritten(Some(engines)), StepSource::Real) => {
            Source::Real(engines)
        }
        (Steps::AsWritten(None), StepSource::Real) => {
            return Err(CaseFailure::host(
                "engine_missing",
                "the case wants real steps, and there are no engines here",
                String::new(),
            ));
        }
        (Steps::AsWritten(_), StepSource::Recorded) => {
            Source::Replay(case.recording.as_ref().ok_or_else(|| {
                CaseFailure::host(
                    "recording",
                    "the case has no recording: make one with `bindery plugin test --record`",
                    String::new(),
                )
            })?)
        }
    };
    let mut runner = StepRunner {
        plugin,
        request,
        directories,
        source,
        receipts: &mut traces.receipts,
        lines: &mut traces.lines,
    };
    let ended = plugin
        .run_plan(request, directories.grants(), &mut runner)
        .await;
    let source = runner.source;
    // A run that failed as expected is worth keeping too.
    let keep = !matches!(ended, Err(PlanEnd::Stopped(_) | PlanEnd::Invalid(_)));
    if let Source::Record(_, recording) = source
        && keep
    {
        traces.recording = Some(recording);
    }
    match ended {
        Ok((outcomes, _done)) => Ok(outcomes),
        Err(PlanEnd::Guest { failure, .. }) => Err(failure.into()),
        Err(PlanEnd::Invalid(invalid)) => {
            Err(CaseFailure::broke(invalid.code(), invalid.to_string()))
        }
        Err(PlanEnd::Stopped(Stop::Failed(failure))) => Err(failure),
        Err(PlanEnd::Stopped(Stop::Changed(changes))) => {
            traces.differences.extend(changes);
            Err(CaseFailure::host(
                "recording",
                "the plan asks for something else than was recorded; if that is meant, record it \
                 anew with `bindery plugin test --record`",
                String::new(),
            ))
        }
    }
}

/// The result of the only item, checked as the host checks it.
fn given(
    plugin: &Plugin,
    definition: &TaskDefinition,
    directories: &RunDirectories,
    outcomes: Vec<ItemOutcome>,
) -> Result<Given, CaseFailure> {
    let result: ItemResult = match outcomes.into_iter().next().map(|outcome| outcome.verdict) {
        Some(Ok(result)) => result,
        Some(Err(error)) => return Err(CaseFailure::refused(error)),
        None => {
            return Err(CaseFailure::broke(
                "no_result",
                "the task gave no outcome for its only item",
            ));
        }
    };
    if let Some(fault) = plugin
        .output_faults(&definition.id, &result.output)
        .into_iter()
        .next()
    {
        return Err(CaseFailure::broke(
            "output_schema",
            format!("the output does not conform to the task's schema: {fault}"),
        ));
    }
    for root in [directories.work(), directories.out()] {
        refuse_links(&root).map_err(|fault| CaseFailure::broke("output_invalid", fault))?;
    }
    let mut artifacts = BTreeSet::new();
    for artifact in &result.artifacts {
        if directories.artifact(artifact).is_none() {
            return Err(CaseFailure::broke(
                "output_invalid",
                format!(
                    "the artifact `{}` names {}, which is not there",
                    artifact.name, artifact.path
                ),
            ));
        }
        artifacts.insert(artifact.name.clone());
    }
    Ok(Given {
        output: result.output,
        artifacts,
    })
}

/// Makes the request and lays its files below `/in`; gives what the host itself would refuse.
fn request(
    definition: &TaskDefinition,
    case: &Case,
    directories: &RunDirectories,
) -> std::io::Result<(Request, Vec<Violation>)> {
    let mut faults = Vec::new();
    let mut inputs = Vec::new();
    for input in &case.inputs {
        if definition.input(&input.slot).is_none() {
            faults.push(Violation::new(
                format!("/inputs/{}", crate::difference::escape(&input.slot)),
                "unknown_input",
                format!("the task has no input `{}`", input.slot),
            ));
        }
    }
    for slot in &definition.inputs {
        let pointer = format!("/inputs/{}", slot.name);
        let files: Vec<_> = case
            .inputs
            .iter()
            .filter(|input| input.slot == slot.name)
            .collect();
        if files.is_empty() && slot.cardinality != Cardinality::Optional {
            let message = format!("{} is missing", slot.title);
            faults.push(Violation::new(pointer, "required", message));
            continue;
        }
        if files.len() > 1 && slot.cardinality != Cardinality::Many {
            let message = format!("{} takes one file, {} were given", slot.title, files.len());
            faults.push(Violation::new(pointer, "too_many_files", message));
            continue;
        }
        for (position, file) in files.into_iter().enumerate() {
            let media_type = file
                .media_type
                .clone()
                .unwrap_or_else(|| usual_media_type(slot));
            if !slot.accepts(&media_type) {
                faults.push(Violation::new(
                    &pointer,
                    "unsupported_media_type",
                    format!("{} does not take {media_type}", slot.title),
                ));
                continue;
            }
            let path = format!("{}/{position}{}", slot.name, extension(&file.name));
            let target = directories.input().join(&path);
            if let Some(parent) = target.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&target, &file.content)?;
            inputs.push(InputFile {
                slot: slot.name.clone(),
                path,
                original_name: file.name.clone(),
                media_type,
                size_bytes: file.content.len() as u64,
                digest: Digest::of(&file.content),
            });
        }
    }
    let request = Request {
        task: definition.id.clone(),
        parameters: case.parameters.clone(),
        inputs,
        items: vec![Item::single()],
        seed: case.seed,
    };
    Ok((request, faults))
}

/// A format plugin tells a host which type a file has; a case says it, or means the usual one.
fn usual_media_type(slot: &InputSlot) -> String {
    slot.accepts
        .first()
        .filter(|accepted| *accepted != "*/*")
        .cloned()
        .unwrap_or_else(|| "application/octet-stream".to_owned())
}

/// `.csv` of `a.csv`, `.sdf.gz` of `a.sdf.gz`, for plain extensions.
fn extension(name: &str) -> String {
    let plain = |word: &&str| {
        !word.is_empty() && word.len() <= 8 && word.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let mut parts = name.rsplit('.');
    let last = parts.next().filter(plain);
    match (last, parts.next()) {
        (Some("gz"), Some(inner)) if plain(&inner) && parts.next().is_some() => {
            format!(".{inner}.gz")
        }
        (Some(last), Some(_)) => format!(".{}", last.to_ascii_lowercase()),
        _ => ".dat".to_owned(),
    }
}

/// What was expected and did not come, and the other way round.
fn judge(expect: &Expect, given: Option<&Given>, failure: Option<&CaseFailure>) -> Vec<Difference> {
    let mut found = Vec::new();
    let words = |failure: &CaseFailure| json!(format!("{}: {}", failure.code, failure.message));
    if let Some(expected) = &expect.violations {
        match failure {
            Some(failure) if failure.kind == FailureKind::Refused => {
                found.extend(violation_differences(expected, &failure.violations));
            }
            Some(failure) => {
                found.push(Difference::new("/error", None, Some(words(failure))));
            }
            None => found.push(Difference::new(
                "/violations",
                Some(json!(
                    expected
                        .iter()
                        .map(|(pointer, code)| format!("{pointer} [{code}]"))
                        .collect::<Vec<_>>()
                )),
                None,
            )),
        }
        return found;
    }
    if let Some(code) = &expect.error {
        match failure {
            Some(failure) if failure.code == *code => {}
            Some(failure) => found.push(Difference::new(
                "/error",
                Some(json!(code)),
                Some(words(failure)),
            )),
            None => found.push(Difference::new("/error", Some(json!(code)), None)),
        }
        return found;
    }
    if let Some(failure) = failure {
        found.push(Difference::new("/error", None, Some(words(failure))));
        for violation in &failure.violations {
            found.push(Difference::new(
                "/violations",
                None,
                Some(json!(format!(
                    "{} [{}]: {}",
                    violation.pointer, violation.code, violation.message
                ))),
            ));
        }
        return found;
    }
    let Some(given) = given else { return found };
    if let Some(expected) = &expect.output {
        let closeness = Closeness {
            tolerance: expect.tolerance,
            subset: expect.subset,
        };
        found.extend(differences_by(
            "/output",
            expected,
            &given.output,
            closeness,
        ));
    }
    for name in &expect.artifacts {
        if !given.artifacts.contains(name) {
            found.push(Difference::new("/artifacts", Some(json!(name)), None));
        }
    }
    found
}

fn violation_differences(
    expected: &BTreeSet<(String, String)>,
    got: &[Violation],
) -> Vec<Difference> {
    let pair = |violation: &Violation| (violation.pointer.clone(), violation.code.clone());
    let there: BTreeSet<(String, String)> = got.iter().map(pair).collect();
    let absent = expected.difference(&there).map(|(pointer, code)| {
        let words = json!(format!("{pointer} [{code}]"));
        Difference::new("/violations", Some(words), None)
    });
    let surplus = got
        .iter()
        .filter(|violation| !expected.contains(&pair(violation)))
        .map(|violation| {
            let words = json!(format!(
                "{} [{}]: {}",
                violation.pointer, violation.code, violation.message
            ));
            Difference::new("/violations", None, Some(words))
        });
    absent.chain(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_plain_extensions_only() {
        for (name, expected) in [
            ("a.csv", ".csv"),
            ("a.b.SDF", ".sdf"),
            ("a.sdf.gz", ".sdf.gz"),
            ("a.gz", ".gz"),
            ("noext", ".dat"),
            ("a.", ".dat"),
            ("a.b c", ".dat"),
        ] {
            assert_eq!(extension(name), expected, "{name}");
        }
    }
}
