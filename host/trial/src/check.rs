//! What can be said of a plugin before anybody uses it.

use std::{path::PathBuf, sync::Arc};

use bindery_core::{Item, Request};
use bindery_runtime::{GuestFailure, Plugin};
use serde_json::Value;

use crate::{ProfileFault, lint_parameters};

/// A fault that a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeFault {
    pub task: String,
    /// Stable.
    pub code: &'static str,
    pub message: String,
}

/// The schemas of all tasks against the profile: faults by task. That `describe` gives the same
/// twice was seen when the plugin was loaded.
#[must_use]
pub fn check_definitions(plugin: &Plugin) -> Vec<(String, ProfileFault)> {
    plugin
        .tasks()
        .iter()
        .flat_map(|definition| {
            lint_parameters(&definition.parameters)
                .into_iter()
                .map(|fault| (definition.id.clone(), fault))
        })
        .collect()
}

/// Asks `validate` every request twice, on fresh instances, and tells where the answers differ or
/// the guest breaks. To the requests given, those of the definitions' examples are added, and an
/// empty one of every task; without files, as these lie elsewhere.
pub async fn probe_determinism(
    plugin: &Arc<Plugin>,
    requests: &[(Request, Option<PathBuf>)],
) -> Vec<ProbeFault> {
    let mut asked: Vec<(Request, Option<PathBuf>)> = requests.to_vec();
    for definition in plugin.tasks() {
        let bare = |parameters: &Value| Request {
            task: definition.id.clone(),
            parameters: parameters.clone(),
            inputs: Vec::new(),
            items: vec![Item::single()],
            seed: 1,
        };
        asked.push((bare(&Value::Object(serde_json::Map::new())), None));
        let examples = definition.examples.iter();
        asked.extend(examples.map(|example| (bare(&example.parameters), None)));
    }
    let mut faults = Vec::new();
    for (request, input) in asked {
        let task = request.task.clone();
        let first = plugin.validate(request.clone(), input.clone()).await;
        let second = plugin.validate(request, input).await;
        if let Err(failure @ (GuestFailure::Broke(_) | GuestFailure::Host { .. })) = &first {
            faults.push(ProbeFault {
                task,
                code: "validate_broke",
                message: failure.to_string(),
            });
            continue;
        }
        if words(&first) != words(&second) {
            faults.push(ProbeFault {
                task,
                code: "not_deterministic",
                message: format!(
                    "`validate` answers the same request differently: {} and {}",
                    words(&first),
                    words(&second)
                ),
            });
        }
    }
    faults.dedup();
    faults
}

/// An answer as text, without what it cost.
fn words(answer: &Result<bindery_runtime::Validated, GuestFailure>) -> String {
    match answer {
        Ok(validated) => format!("{} {:?}", validated.parameters, validated.notices),
        Err(failure) => format!("{failure:?}"),
    }
}
