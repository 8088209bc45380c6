//! From what was typed to a request.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bindery_core::{OrgId, TaskRef};
use bindery_executor::{Draft, FileRecord, IngestError, Library};
use serde_json::{Map, Value};
use tokio_util::io::ReaderStream;

use crate::cli::RunArguments;

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
/// What is wrong with them, in words for the person who typed them.
pub(crate) fn typed(arguments: &RunArguments) -> anyhow::Result<Typed> {
    let task = arguments.task.parse()?;
    let inputs = arguments
        .inputs
        .iter()
        .map(|input| {
            let (slot, path) = input
                .split_once('=')
                .with_context(|| format!("`--input {input}` is not SLOT=PATH"))?;
            Ok((slot.to_owned(), PathBuf::from(path)))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut parameters = match &arguments.params {
        Some(path) => read_parameters(path)?,
        None => Value::Object(Map::new()),
    };
    for parameter in &arguments.parameters {
        let (key, value) = parameter
            .split_once('=')
            .with_context(|| format!("`--param {parameter}` is not KEY=VALUE"))?;
        set(&mut parameters, key, scalar(value))
            .with_context(|| format!("`--param {parameter}`"))?;
    }
    Ok(Typed {
        task,
        inputs,
        parameters,
    })
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

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Sets `a.b.c` in an object, making objects on the way.
fn set(target: &mut Value, key: &str, value: Value) -> anyhow::Result<()> {
    let mut at = target;
    let mut parts = key.split('.').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() {
            bail!("the name has an empty part");
        }
        let Value::Object(object) = at else {
            bail!("`{part}` is inside something that is not an object");
        };
        if parts.peek().is_none() {
            object.insert(part.to_owned(), value);
            return Ok(());
        }
        at = object
            .entry(part)
            .or_insert_with(|| Value::Object(Map::new()));
    }
    bail!("the name is empty")
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

    #[test]
    fn dots_reach_into_objects_and_values_are_json_or_text() {
        let mut parameters = json!({ "a": { "x": 1 } });
        set(&mut parameters, "a.y", scalar("2.5")).unwrap();
        set(&mut parameters, "b.c.d", scalar("[1,2]")).unwrap();
        set(&mut parameters, "name", scalar("vina")).unwrap();
        assert_eq!(
            parameters,
            json!({ "a": { "x": 1, "y": 2.5 }, "b": { "c": { "d": [1, 2] } }, "name": "vina" })
        );
        assert!(set(&mut parameters, "name.x", json!(1)).is_err());
        assert!(set(&mut parameters, "", json!(1)).is_err());
        assert!(set(&mut parameters, "a..b", json!(1)).is_err());
    }
}
