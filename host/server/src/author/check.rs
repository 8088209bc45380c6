//! `bindery plugin check`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use bindery_registry::Manifest;
use bindery_runtime::Plugin;
use bindery_trial::{check_definitions, probe_determinism};
use serde_json::{Value, json};

use super::{arguments::CheckArguments, project::package_of, test};
use crate::{exit::Exit, plugin_registry};

/// What a person would call each group of imports.
const REACHES: [(&str, &str); 7] = [
    ("bindery:task/log", "writes log lines"),
    ("bindery:task/progress", "tells its progress"),
    ("bindery:task/assets", "reads assets that its package names"),
    ("wasi:filesystem/", "reads its inputs, writes its outputs"),
    ("wasi:clocks/", "a clock that stands still"),
    ("wasi:random/", "chance from the request's seed"),
    (
        "wasi:cli/",
        "standard streams; no arguments, no environment",
    ),
];

/// One thing that is wrong.
struct Fault {
    code: String,
    place: String,
    message: String,
    warning: bool,
}

pub(crate) async fn command(arguments: CheckArguments) -> anyhow::Result<Exit> {
    let unpacked = tempfile::Builder::new().prefix("bindery-").tempdir()?;
    let package = if arguments.path.is_file() {
        unpack(&arguments.path, &unpacked.path().join("package"))?
    } else {
        Some(package_of(&arguments.path)?)
    };
    let component = match &package {
        Some(package) => package.join("component.wasm"),
        None => arguments.path.clone(),
    };
    let size_bytes = fs::metadata(&component)
        .with_context(|| format!("failed to read {}", component.display()))?
        .len();
    let mut faults = Vec::new();
    let manifest = package
        .as_deref()
        .and_then(|package| manifest(package, &mut faults));
    let plugin = match test::load(&component).await {
        Ok(plugin) => Some(plugin),
        Err(error) => {
            faults.push(Fault {
                code: "not_loaded".to_owned(),
                place: "component.wasm".to_owned(),
                message: format!("{error:#}"),
                warning: false,
            });
            None
        }
    };
    if let Some(plugin) = &plugin {
        faults.extend(definition_faults(plugin));
        if let Some(manifest) = &manifest {
            faults.extend(manifest_faults(manifest, plugin));
        }
        for fault in probe_determinism(plugin, &[]).await {
            faults.push(Fault {
                code: fault.code.to_owned(),
                place: fault.task,
                message: fault.message,
                warning: false,
            });
        }
    }
    if let Some(package) = &package {
        case_faults(package, &mut faults);
    }
    let wrong = faults.iter().any(|fault| !fault.warning);
    if arguments.json {
        let document = document(size_bytes, manifest.as_ref(), plugin.as_deref(), &faults);
        println!("{document:#}");
    } else {
        print(size_bytes, manifest.as_ref(), plugin.as_deref(), &faults);
    }
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}

/// The files of an archive, in a directory that does not exist yet; none when it is a component.
fn unpack(file: &Path, directory: &Path) -> anyhow::Result<Option<PathBuf>> {
    if file.extension().is_none_or(|end| end != "bindery") {
        return Ok(None);
    }
    plugin_registry::read(file)?.write(directory)?;
    Ok(Some(directory.to_owned()))
}

fn manifest(package: &Path, faults: &mut Vec<Fault>) -> Option<Manifest> {
    let text = fs::read_to_string(package.join("bindery.toml"));
    let parsed = text
        .map_err(|error| error.to_string())
        .and_then(|text| Manifest::parse(&text).map_err(|error| error.to_string()));
    match parsed {
        Ok(manifest) => Some(manifest),
        Err(message) => {
            faults.push(Fault {
                code: "bad_manifest".to_owned(),
                place: "bindery.toml".to_owned(),
                message,
                warning: false,
            });
            None
        }
    }
}

fn definition_faults(plugin: &Plugin) -> Vec<Fault> {
    check_definitions(plugin)
        .into_iter()
        .map(|(task, fault)| Fault {
            code: fault.code.to_owned(),
            place: format!("{task} parameters{}", fault.pointer),
            message: fault.message,
            warning: fault.warning,
        })
        .collect()
}

/// What the manifest promises an admin must be what the tasks do.
fn manifest_faults(manifest: &Manifest, plugin: &Plugin) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut fault = |code: &str, message: String, warning| {
        faults.push(Fault {
            code: code.to_owned(),
            place: "bindery.toml".to_owned(),
            message,
            warning,
        });
    };
    let used: BTreeSet<&str> = plugin
        .tasks()
        .iter()
        .flat_map(|task| task.engines.iter().map(|needed| needed.engine.as_str()))
        .collect();
    let named: BTreeSet<&str> = manifest.needs.engines.iter().map(String::as_str).collect();
    for engine in used.difference(&named) {
        fault(
            "engine_not_named",
            format!("a task runs the engine `{engine}`, which [needs] does not name"),
            false,
        );
    }
    for engine in named.difference(&used) {
        fault(
            "engine_not_used",
            format!("[needs] names the engine `{engine}`, which no task runs"),
            true,
        );
    }
    for words in other_versions(manifest, plugin) {
        fault("version_differs", words, true);
    }
    faults
}

/// Tasks whose version is not that of their package, in words.
pub(crate) fn other_versions(manifest: &Manifest, plugin: &Plugin) -> Vec<String> {
    let of_package = &manifest.package.version;
    let others = plugin
        .tasks()
        .iter()
        .filter(|task| task.version != *of_package);
    others
        .map(|task| {
            format!(
                "the package is {of_package}, its task {} is {}",
                task.id, task.version
            )
        })
        .collect()
}

fn case_faults(package: &Path, faults: &mut Vec<Fault>) {
    let (code, message, warning) = match test::cases(package) {
        Ok(cases) if !cases.is_empty() => return,
        Ok(_) => (
            "no_cases",
            "without cases nobody can tell whether a new version still works".to_owned(),
            true,
        ),
        Err(error) => ("bad_case", error.to_string(), false),
    };
    faults.push(Fault {
        code: code.to_owned(),
        place: "cases".to_owned(),
        message,
        warning,
    });
}

fn print(size_bytes: u64, manifest: Option<&Manifest>, plugin: Option<&Plugin>, faults: &[Fault]) {
    if let Some(manifest) = manifest {
        let package = &manifest.package;
        println!(
            "{} {} ({}, {})",
            package.name, package.version, package.licence, package.contract
        );
    }
    println!("size      {} KiB", size_bytes.div_ceil(1024));
    if let Some(plugin) = plugin {
        println!("digest    {}", plugin.digest());
        for task in plugin.tasks() {
            println!(
                "task      {}@{} ({})",
                task.id,
                task.version,
                task.determinism.as_str()
            );
        }
        println!("reaches   {} interfaces:", plugin.imports().len());
        for (prefix, words) in REACHES {
            if plugin.imports().iter().any(|name| name.starts_with(prefix)) {
                println!("          {prefix:24} {words}");
            }
        }
    }
    if let Some(manifest) = manifest {
        let list = |names: Vec<String>| match names.as_slice() {
            [] => "none".to_owned(),
            names => names.join(", "),
        };
        println!("engines   {}", list(manifest.needs.engines.clone()));
        println!("hosts     {}", list(hosts(manifest)));
        println!("assets    {}", list(assets(manifest)));
    }
    for fault in faults {
        let word = if fault.warning { "warning" } else { "fault" };
        println!(
            "{word:9} {}: {} [{}]",
            fault.place, fault.message, fault.code
        );
    }
    if faults.is_empty() {
        println!("no faults");
    }
}

fn hosts(manifest: &Manifest) -> Vec<String> {
    let hosts = manifest.needs.hosts.iter();
    hosts.map(ToString::to_string).collect()
}

fn assets(manifest: &Manifest) -> Vec<String> {
    manifest.needs.assets.keys().cloned().collect()
}

fn document(
    size_bytes: u64,
    manifest: Option<&Manifest>,
    plugin: Option<&Plugin>,
    faults: &[Fault],
) -> Value {
    json!({
        "sound": faults.iter().all(|fault| fault.warning),
        "size_bytes": size_bytes,
        "package": manifest.map(|manifest| json!({
            "name": manifest.package.name,
            "version": manifest.package.version.to_string(),
            "licence": manifest.package.licence,
            "contract": manifest.package.contract.to_string(),
            "engines": manifest.needs.engines,
            "hosts": hosts(manifest),
            "assets": assets(manifest),
        })),
        "digest": plugin.map(|plugin| plugin.digest().to_string()),
        "imports": plugin.map(Plugin::imports),
        "tasks": plugin.map(|plugin| plugin.tasks().iter().map(|task| json!({
            "id": task.id,
            "version": task.version.to_string(),
        })).collect::<Vec<_>>()),
        "faults": faults.iter().map(|fault| json!({
            "code": fault.code,
            "place": fault.place,
            "message": fault.message,
            "severity": if fault.warning { "warning" } else { "error" },
        })).collect::<Vec<_>>(),
    })
}
