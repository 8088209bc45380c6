//! From what was typed to a request.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bindery_core::{OrgId, TaskRef};
use bindery_executor::{Draft, FileRecord, IngestError, Library};
use serde_json::{Map, Value};
use tokio_util::io::ReaderStream;

use crate::{cli::RunArguments, task_cli::any};

/// Largest file taken: what fits a machine that docks with it.
const INPUT_BYTES_MAX: u64 = 8 << 30;

/// A request as typed, before any file was read.
#[derive(Debug)]
pub(crate) struct Typed {
    pub(crate) task: TaskRef,
    pub(crate) inputs: Vec<(String, PathBuf)>,
    pub(crate) parameters: Value,
}

/// Reads the arguments.
///
/// # Errors
/// All that is wrong with them, in words for the person who typed them.
pub(crate) fn typed(arguments: &RunArguments) -> Result<Typed, Vec<String>> {
    let mut faults = Vec::new();
    let task = kept(arguments.task.parse::<TaskRef>(), &mut faults);
    let request = &arguments.request;
    let mut inputs: Vec<(String, PathBuf)> = Vec::new();
    for input in &request.inputs {
        match input.split_once('=') {
            Some((slot, path)) => inputs.push((slot.to_owned(), PathBuf::from(path))),
            None => faults.push(format!("`--input {input}` is not SLOT=PATH")),
        }
    }
    for (slot, path) in &arguments.own.inputs {
        let given = inputs.iter().any(|(known, _)| known == slot);
        if given && arguments.own.single_slots.contains(slot) {
            faults.push(format!(
                "a file for `{slot}` is given twice, by its flag and by `--input`"
            ));
        }
        inputs.push((slot.clone(), path.clone()));
    }
    for (slot, path) in &inputs {
        let readable = readable(path)
            .with_context(|| format!("failed to read {} (input `{slot}`)", path.display()));
        kept(readable, &mut faults);
    }
    let given = request.params.as_deref().map(read_parameters);
    let mut parameters = given
        .and_then(|given| kept(given, &mut faults))
        .unwrap_or_else(|| Value::Object(Map::new()));
    for parameter in &request.parameters {
        let Some((key, value)) = parameter.split_once('=') else {
            faults.push(format!("`--param {parameter}` is not KEY=VALUE"));
            continue;
        };
        let path: Vec<&str> = key.split('.').collect();
        let added = add(&mut parameters, &path, any(value))
            .with_context(|| format!("`--param {parameter}`"));
        kept(added, &mut faults);
    }
    for own in &arguments.own.parameters {
        let path: Vec<&str> = own.path.iter().map(String::as_str).collect();
        let added = add(&mut parameters, &path, own.value.clone())
            .with_context(|| format!("`{}`", own.flag));
        kept(added, &mut faults);
    }
    match task {
        Some(task) if faults.is_empty() => Ok(Typed {
            task,
            inputs,
            parameters,
        }),
        _ => Err(faults),
    }
}

/// What came out; what is wrong goes to the other faults.
fn kept<T, E: Into<anyhow::Error>>(outcome: Result<T, E>, faults: &mut Vec<String>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            faults.push(format!("{:#}", error.into()));
            None
        }
    }
}

/// Whether a file can be opened. Pipes are files too, and are not opened: that would take them
/// from whoever reads them afterwards.
fn readable(path: &Path) -> std::io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    if metadata.is_file() {
        std::fs::File::open(path)?;
    }
    Ok(())
}

fn read_parameters(path: &Path) -> anyhow::Result<Value> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).context("failed to read standard input")?
    } else {
        std::fs::read_to_string(path)
            .with_context(|| format!("failed to read {}", path.display()))?
    };
    let value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    if !value.is_object() {
        bail!("{} is not a JSON object", path.display());
    }
    Ok(value)
}

/// Adds a member of an object, making objects on the way. One that is there already is an error:
/// which of two values was meant is for nobody to guess.
fn add(target: &mut Value, path: &[&str], value: Value) -> anyhow::Result<()> {
    let Some((last, way)) = path.split_last() else {
        bail!("the name is empty");
    };
    if path.iter().any(|part| part.is_empty()) {
        bail!("the name has an empty part");
    }
    let mut at = target;
    for part in way {
        let Value::Object(object) = at else {
            bail!("`{part}` is inside something that is not an object");
        };
        at = object
            .entry(*part)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    let Value::Object(object) = at else {
        bail!("`{last}` is inside something that is not an object");
    };
    if object.contains_key(*last) {
        bail!("the parameter `{}` is given twice", path.join("."));
    }
    object.insert((*last).to_owned(), value);
    Ok(())
}

impl Typed {
    /// Takes the files in and makes the request of them.
    pub(crate) async fn draft(self, library: &Library) -> anyhow::Result<Draft> {
        let mut inputs: Vec<(String, FileRecord)> = Vec::with_capacity(self.inputs.len());
        for (slot, path) in self.inputs {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            let file = tokio::fs::File::open(&path)
                .await
                .with_context(|| format!("failed to read {}", path.display()))?;
            let record = library
                .ingest(
                    OrgId::BUILT_IN,
                    name.as_deref().unwrap_or("input"),
                    None,
                    ReaderStream::with_capacity(file, 256 << 10),
                    INPUT_BYTES_MAX,
                )
                .await
                .map_err(|error| match error {
                    IngestError::Read(fault) => {
                        anyhow::anyhow!("failed to read {}: {fault}", path.display())
                    }
                    other => anyhow::Error::new(other)
                        .context(format!("failed to take {} in", path.display())),
                })?;
            inputs.push((slot, record));
        }
        Ok(Draft {
            task: self.task,
            inputs,
            parameters: self.parameters,
            labels: std::collections::BTreeMap::new(),
            priority: 128,
            idempotency: None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use serde_json::json;

    use super::*;

    fn set(target: &mut Value, key: &str, value: Value) -> anyhow::Result<()> {
        let path: Vec<&str> = key.split('.').collect();
        add(target, &path, value)
    }

    #[test]
    fn dots_reach_into_objects_and_values_are_json_or_text() {
        let mut parameters = json!({ "a": { "x": 1 } });
        set(&mut parameters, "a.y", any("2.5")).unwrap();
        set(&mut parameters, "b.c.d", any("[1,2]")).unwrap();
        set(&mut parameters, "name", any("short")).unwrap();
        assert_eq!(
            parameters,
            json!({ "a": { "x": 1, "y": 2.5 }, "b": { "c": { "d": [1, 2] } }, "name": "short" })
        );
        assert!(set(&mut parameters, "name.x", json!(1)).is_err());
        assert!(set(&mut parameters, "", json!(1)).is_err());
        assert!(set(&mut parameters, "a..b", json!(1)).is_err());
    }

    #[test]
    fn nothing_wins_over_what_was_given_before() {
        let mut parameters = json!({ "a": { "x": 1 }, "n": 2 });
        for key in ["a", "a.x", "n"] {
            let error = set(&mut parameters, key, json!({})).unwrap_err();
            assert!(error.to_string().contains("given twice"), "{error}");
        }
        assert_eq!(parameters, json!({ "a": { "x": 1 }, "n": 2 }));
    }
}
