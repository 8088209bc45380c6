//! `bindery task list` and `show`.

use anyhow::Context;
use bindery_core::{TaskDefinition, TaskRef};
use bindery_runtime::TaskEntry;
use serde_json::{Value, json};

use crate::{
    cli::{LocalArguments, TaskListArguments, TaskShowArguments},
    exit::Exit,
    host::Parts,
    invocation, paths,
    settings::Settings,
};

/// Opens what is needed to look, in a directory that is gone afterwards.
pub(crate) async fn look(arguments: &LocalArguments) -> anyhow::Result<(Parts, tempfile::TempDir)> {
    let settings = Settings::read(arguments)?;
    let directory = tempfile::Builder::new().prefix("bindery-").tempdir()?;
    let parts = Parts::open(
        &settings,
        paths::user_cache(),
        directory.path().join("probe"),
    )
    .await?;
    Ok((parts, directory))
}

pub(crate) async fn list(arguments: TaskListArguments) -> anyhow::Result<Exit> {
    let (parts, _directory) = look(&arguments.local).await?;
    let tasks = parts.catalog.tasks();
    if arguments.json {
        let items: Vec<Value> = tasks
            .iter()
            .map(|entry| {
                let definition = &entry.definition;
                json!({
                    "id": definition.id,
                    "version": definition.version.to_string(),
                    "title": definition.title,
                    "category": definition.category,
                    "summary": definition.summary,
                    "available": unavailable(&parts, definition).is_none(),
                })
            })
            .collect();
        println!("{:#}", json!({ "items": items }));
        return Ok(Exit::Done);
    }
    if tasks.is_empty() {
        eprintln!("no tasks: is there a `plugins` directory beside this program? (--plugins DIR)");
    }
    for entry in tasks {
        let definition = &entry.definition;
        let name = format!("{}@{}", definition.id, definition.version);
        println!("{name:32} {}", definition.summary);
        if let Some(fault) = unavailable(&parts, definition) {
            println!("{:32} unavailable: {fault}", "");
        }
    }
    Ok(Exit::Done)
}

pub(crate) async fn show(arguments: TaskShowArguments) -> anyhow::Result<Exit> {
    let (parts, _directory) = look(&arguments.local).await?;
    let task: TaskRef = arguments.task.parse()?;
    let entry = parts
        .catalog
        .task(&task)
        .with_context(|| format!("no task `{task}` (see `bindery task list`)"))?;
    if arguments.json {
        println!("{:#}", document(&parts, &entry));
    } else {
        print_definition(&parts, &entry);
    }
    Ok(Exit::Done)
}

fn unavailable(parts: &Parts, definition: &TaskDefinition) -> Option<String> {
    if definition.engines.is_empty() {
        return None;
    }
    if let Some(unavailable) = &parts.engines.sandbox().status().unavailable {
        return Some(format!("{} ({})", unavailable.reason, unavailable.fix));
    }
    let missing = parts.engines.satisfy(&definition.engines).err()?;
    Some(format!("{missing} ({})", missing.hint))
}

fn document(parts: &Parts, entry: &TaskEntry) -> Value {
    let definition = &entry.definition;
    let versions: Vec<String> = parts
        .catalog
        .versions(&definition.id)
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "id": definition.id,
        "version": definition.version.to_string(),
        "versions": versions,
        "title": definition.title,
        "category": definition.category,
        "summary": definition.summary,
        "docs": definition.docs,
        "parameters": definition.parameters,
        "inputs": definition.inputs.iter().map(|slot| json!({
            "name": slot.name,
            "title": slot.title,
            "summary": slot.summary,
            "accepts": slot.accepts,
            "cardinality": slot.cardinality.as_str(),
        })).collect::<Vec<_>>(),
        "outputs": definition.output,
        "artifacts": definition.artifacts.iter().map(|slot| json!({
            "name": slot.name,
            "title": slot.title,
            "media_type": slot.media_type,
        })).collect::<Vec<_>>(),
        "engines": definition.engines.iter().map(|requirement| json!({
            "engine": requirement.engine,
            "versions": requirement.versions.to_string(),
        })).collect::<Vec<_>>(),
        "determinism": definition.determinism.as_str(),
        "plugin": entry.plugin.digest().to_string(),
        "unavailable": unavailable(parts, definition),
    })
}

fn print_definition(parts: &Parts, entry: &TaskEntry) {
    let definition = &entry.definition;
    println!("{}@{}", definition.id, definition.version);
    if let Some(fault) = unavailable(parts, definition) {
        println!("Unavailable here: {fault}");
    }
    println!();
    print!("{}", invocation::task_help(entry));
}
