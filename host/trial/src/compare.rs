//! Two versions of a plugin on the same requests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bindery_core::{Digest, Request, definition::Determinism};
use bindery_runtime::{GuestFailure, Plugin, RunDirectories};
use serde_json::{Value, json};

use crate::{Difference, differences};

/// A request that was asked before.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// To find it again: an execution's id, a case's name.
    pub label: String,
    /// As it was sent.
    pub request: Request,
    /// Where its files lie: for each of `request.inputs`, at its `path` below this directory.
    pub input: Option<PathBuf>,
}

/// What is compared, and what it may cost.
#[derive(Debug, Clone, Copy)]
pub struct CompareOptions {
    /// Run compute tasks as well; otherwise only what `validate` says is compared.
    pub compute: bool,
    /// Longest run of one compute task; a longer one is told apart from a difference.
    pub wall_max: Duration,
    /// See [`differences`].
    pub tolerance: f64,
}

impl Default for CompareOptions {
    fn default() -> Self {
        Self {
            compute: true,
            wall_max: Duration::from_secs(10),
            tolerance: 0.0,
        }
    }
}

/// Where the answers of two versions to one request differ: `expected` is the old one's.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionDifference {
    pub label: String,
    pub task: String,
    pub difference: Difference,
}

/// Asks both versions the same and gives where their answers differ. A request for a task that
/// the new version no longer has is a difference; one that neither has is none. Engine tasks are
/// compared by what `validate` says: their steps are not run.
pub async fn compare(
    old: &Arc<Plugin>,
    new: &Arc<Plugin>,
    requests: &[ReplayRequest],
    options: &CompareOptions,
    scratch: &Path,
) -> Vec<VersionDifference> {
    let mut found = Vec::new();
    for replay in requests {
        let before = answer(old, replay, options, scratch).await;
        let after = answer(new, replay, options, scratch).await;
        let differences = differences("", &before, &after, options.tolerance);
        found.extend(differences.into_iter().map(|difference| VersionDifference {
            label: replay.label.clone(),
            task: replay.request.task.clone(),
            difference,
        }));
    }
    found
}

/// What a version says to a request, as a document. Times, costs and words for people are left
/// out: they may change without anybody counting on them.
async fn answer(
    plugin: &Arc<Plugin>,
    replay: &ReplayRequest,
    options: &CompareOptions,
    scratch: &Path,
) -> Value {
    let task = &replay.request.task;
    let Some(definition) = plugin.tasks().iter().find(|known| known.id == *task) else {
        return json!({ "error": "unknown_task" });
    };
    let mut request = replay.request.clone();
    let validated = match plugin.validate(request.clone(), replay.input.clone()).await {
        Ok(validated) => validated,
        Err(failure) => return refusal(failure),
    };
    let mut document = json!({ "parameters": validated.parameters });
    // What may differ from run to run says nothing about versions.
    let comparable = definition.determinism != Determinism::Varying;
    if !options.compute || !plugin.facets().compute || !comparable {
        return document;
    }
    request.parameters = validated.parameters;
    let wall = Duration::from_millis(definition.resources.wall_ms).min(options.wall_max);
    let given = compute(plugin, &request, replay.input.as_deref(), wall, scratch).await;
    if let (Some(object), Some(given)) = (document.as_object_mut(), given.as_object()) {
        object.extend(given.clone());
    }
    document
}

async fn compute(
    plugin: &Arc<Plugin>,
    request: &Request,
    input: Option<&Path>,
    wall: Duration,
    scratch: &Path,
) -> Value {
    let directories = match RunDirectories::create(scratch) {
        Ok(directories) => directories,
        Err(error) => return json!({ "error": format!("host_fault: {error}") }),
    };
    let mut grants = directories.grants();
    if let Some(input) = input {
        grants.input = Some(input.to_owned());
    }
    let outcomes = match plugin
        .compute(request, grants, wall, Box::new(|_done, _word| {}))
        .await
    {
        Ok((outcomes, _receipt, _lines)) => outcomes,
        Err(failure) => return refusal(failure),
    };
    let results: Vec<Value> = outcomes
        .into_iter()
        .map(|outcome| match outcome.verdict {
            Err(error) => json!({ "error": error.code() }),
            Ok(result) => {
                let artifacts: serde_json::Map<String, Value> = result
                    .artifacts
                    .iter()
                    .map(|artifact| {
                        // By digest: what differs within a file is the author's to see.
                        let digest = directories
                            .artifact(artifact)
                            .and_then(|path| fs::read(path).ok())
                            .map(|content| Digest::of(&content).to_string());
                        (artifact.name.clone(), json!(digest))
                    })
                    .collect();
                json!({ "output": result.output, "artifacts": artifacts })
            }
        })
        .collect();
    match <[Value; 1]>::try_from(results) {
        Ok([only]) => only,
        Err(results) => json!({ "items": results }),
    }
}

fn refusal(failure: GuestFailure) -> Value {
    match failure {
        GuestFailure::Refused(bindery_core::GuestError::InvalidInput(violations)) => {
            let mut words: Vec<String> = violations
                .iter()
                .map(|violation| format!("{} [{}]", violation.pointer, violation.code))
                .collect();
            words.sort();
            json!({ "violations": words })
        }
        GuestFailure::Refused(error) => json!({ "error": error.code() }),
        GuestFailure::Broke(broke) => json!({ "error": broke.kind.as_str() }),
        GuestFailure::Host { .. } => json!({ "error": "host_fault" }),
    }
}
