//! `bindery task list` and `show`.

use bindery_core::{TaskDefinition, TaskRef};
use bindery_runtime::{Catalog, TaskEntry};
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
    let task: TaskRef = match arguments.task.parse() {
        Ok(task) => task,
        Err(error) => {
            eprintln!("bindery: {error}");
            return Ok(Exit::Usage);
        }
    };
    let Some(entry) = parts.catalog.task(&task) else {
        let cure = cure(&parts.catalog, &task);
        eprintln!("bindery: there is no task `{task}`\n  to mend it: {cure}");
        return Ok(Exit::Usage);
    };
    if arguments.json {
        println!("{:#}", document(&parts, &entry));
    } else {
        print_definition(&parts, &entry);
    }
    Ok(Exit::Done)
}

/// What may have been meant by a task that is not there.
pub(crate) fn cure(catalog: &Catalog, task: &TaskRef) -> String {
    let versions = catalog.versions(&task.id);
    if let Some(newest) = versions.first() {
        let all: Vec<String> = versions.iter().map(ToString::to_string).collect();
        return format!(
            "its versions are {}; did you mean `{}@{newest}`?",
            all.join(", "),
            task.id
        );
    }
    let tasks = catalog.tasks();
    let ids = tasks.iter().map(|entry| entry.definition.id.as_str());
    match nearest(&task.id, ids) {
        Some(near) => format!("did you mean `{near}`? (`bindery task list` shows all)"),
        None => "`bindery task list` shows all tasks".to_owned(),
    }
}

/// The name that is most like a word, when it is like it. The last part of a dotted name counts as
/// the name, too: that is what people remember.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // 0..=1; two slips of the hand in a word of ten letters are above it, other words below.
    const LIKE: f64 = 0.84;
    let likeness = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        strsim::jaro_winkler(word, name).max(strsim::jaro_winkler(word, last))
    };
    names
        .map(|name| (likeness(name), name))
        .filter(|(likeness, _)| *likeness >= LIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_hand_is_seen_and_another_word_is_not() {
        let names = ["system.sleep", "system.noop", "text.count"];
        for (word, meant) in [
            ("system.slep", Some("system.sleep")),
            ("sytsem.noop", Some("system.noop")),
            ("count", Some("text.count")),
            ("cuont", Some("text.count")),
            ("nosuch", None),
            ("weather.map", None),
        ] {
            assert_eq!(nearest(word, names.into_iter()), meant, "{word}");
        }
    }
}
