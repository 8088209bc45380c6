//! `bindery plugin publish`, `list` and the like: an admin's view of a server's plugins.

use std::path::Path;

use anyhow::Context;
use bindery_api_types::{Plugin, PluginDetail, PluginList, PluginVersion, PublishedPlugin};
use bindery_registry::Package;
use reqwest::{Method, StatusCode};

use crate::{
    author::project::package_of,
    cli::{ClientArguments, PluginListArguments, PluginNameArguments, PluginPublishArguments},
    client::Client,
    exit::Exit,
    plugin_registry,
};

pub(crate) async fn publish(mut arguments: PluginPublishArguments) -> anyhow::Result<Exit> {
    arguments.path = package_of(&arguments.path)?;
    plugin_registry::warn_of_sources(&arguments.path);
    if let Some(to) = &arguments.to {
        let (registry, client) = (&arguments.registry, &arguments.client);
        return plugin_registry::publish(&arguments.path, to, registry, client).await;
    }
    let client = Client::new(&arguments.client)?;
    let body = package_bytes(&arguments.path)?;
    let approve = if arguments.approve {
        "?approve=true"
    } else {
        ""
    };
    let request = client
        .request(Method::POST, &format!("plugins{approve}"))
        .header("content-type", "application/octet-stream")
        .body(body);
    let answer = client.send::<PublishedPlugin>(request).await?;
    let version = &answer.body.version;
    let exit = match version.status.as_str() {
        "enabled" if version.fault.is_none() => Exit::Done,
        _ => Exit::Failed,
    };
    for task in &version.tasks {
        if task.version != version.version {
            eprintln!(
                "warning: the package is {}, its task {} is {}",
                version.version, task.id, task.version
            );
        }
    }
    if exit == Exit::Failed {
        eprintln!("{}", not_live(version));
    }
    if arguments.json {
        println!("{:#}", serde_json::to_value(&answer.body)?);
        return Ok(exit);
    }
    let name = format!("{}@{}", version.name, version.version);
    match (answer.status, exit) {
        (_, Exit::Failed) => {}
        (StatusCode::OK, _) => println!("{name} is there already, and live ({})", version.digest),
        _ => println!("{name} is live ({})", version.digest),
    }
    if let Some(report) = &answer.body.report {
        let tasks: Vec<String> = version
            .tasks
            .iter()
            .map(|task| format!("{}@{}", task.id, task.version))
            .collect();
        println!("  tasks        {}", tasks.join(", "));
        print_sheet(version);
        if let Some(cases) = &report.cases {
            println!(
                "  cases        {} of {} passed",
                cases.total - cases.failed,
                cases.total
            );
        }
        if let Some(replay) = &report.replay {
            println!(
                "  replayed     {} requests, {} with other answers",
                replay.validated, replay.different
            );
            for difference in &replay.differences {
                let word = |value: &Option<serde_json::Value>| {
                    value
                        .as_ref()
                        .map_or_else(|| "nothing".to_owned(), ToString::to_string)
                };
                println!(
                    "    {} {}: {} -> {}",
                    difference.task,
                    difference.pointer,
                    word(&difference.old),
                    word(&difference.new)
                );
            }
        }
        println!("  took         {:.0} ms", report.milliseconds);
    }
    Ok(exit)
}

/// Why a version that was published is not in service, and what puts it there.
fn not_live(version: &PluginVersion) -> String {
    let name = format!("{}@{}", version.name, version.version);
    if let Some(fault) = &version.fault {
        return format!("{name} is there already, and cannot be loaded: {fault}");
    }
    match version.status.as_str() {
        "pending" => format!(
            "{name} waits for an approval of: {}\n  to approve it: bindery plugin approve {name}",
            version.growth.join(", ")
        ),
        status => format!(
            "{name} is there already, and is not in service: it is {status} ({})\n  to put it into \
             service: bindery plugin enable {name}",
            version.cause.replace('_', " ")
        ),
    }
}

/// A directory is packed; a file is sent as it is.
fn package_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path.is_dir() {
        return Ok(Package::read(path)?.to_archive()?.to_vec());
    }
    std::fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

fn print_sheet(version: &PluginVersion) {
    let sheet = &version.permissions;
    let kinds = [
        ("engines", &sheet.engines),
        ("hosts", &sheet.hosts),
        ("assets", &sheet.assets),
    ];
    let asked: Vec<String> = kinds
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind}: {}", names.join(", ")))
        .collect();
    let words = if asked.is_empty() {
        "nothing beyond its own files".to_owned()
    } else {
        asked.join("; ")
    };
    println!("  permissions  {words}");
}

pub(crate) async fn list(arguments: PluginListArguments) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
        let request = client.request(Method::GET, &format!("plugins?limit=200{after}"));
        let page = client.send::<PluginList>(request).await?.body;
        items.extend(page.items);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if arguments.json {
        println!("{:#}", serde_json::json!({ "items": items }));
        return Ok(Exit::Done);
    }
    items.iter().for_each(print_plugin);
    Ok(Exit::Done)
}

fn print_plugin(plugin: &Plugin) {
    for version in &plugin.versions {
        let name = format!("{}@{}", version.name, version.version);
        let mark = if version.current { "*" } else { " " };
        println!(
            "{mark} {name:32} {:9} {:12} {}",
            version.status, version.trust, version.digest
        );
        if let Some(fault) = &version.fault {
            println!("  {:32} not loaded: {fault}", "");
        }
        if !version.growth.is_empty() {
            println!("  {:32} asks for: {}", "", version.growth.join(", "));
        }
    }
}

/// What is done to one package by a POST.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    RollBack,
    Disable,
    Enable,
    Approve,
}

pub(crate) async fn change(arguments: PluginNameArguments, change: Change) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let action = match change {
        Change::RollBack => "rollback",
        Change::Disable => "disable",
        Change::Enable => "enable",
        Change::Approve => "approve",
    };
    let (name, version) = split(&arguments.name);
    if let (Change::RollBack, Some(version)) = (change, version) {
        eprintln!(
            "error: a rollback goes to the version before; to put {version} into service: bindery \
             plugin enable {name}@{version}"
        );
        return Ok(Exit::Usage);
    }
    // Of all that a version may hold, only the plus means something else in a query.
    let query = version.map_or_else(String::new, |version| {
        format!("?version={}", version.replace('+', "%2B"))
    });
    let request = client.request(Method::POST, &format!("plugins/{name}/{action}{query}"));
    let plugin = client.send::<Plugin>(request).await?.body;
    if arguments.json {
        println!("{:#}", serde_json::to_value(&plugin)?);
    } else {
        print_plugin(&plugin);
    }
    Ok(Exit::Done)
}

pub(crate) async fn history(arguments: PluginNameArguments) -> anyhow::Result<Exit> {
    let (name, _) = split(&arguments.name);
    let detail = detail(&arguments.client, name).await?;
    if arguments.json {
        println!("{:#}", serde_json::json!({ "items": detail.history }));
        return Ok(Exit::Done);
    }
    for event in detail.history {
        let from = event
            .from_version
            .filter(|from| *from != event.version)
            .map(|from| format!(" (was {from})"))
            .unwrap_or_default();
        println!(
            "{} {:20} {}{from} by {} {}",
            event.time, event.action, event.version, event.actor, event.digest
        );
        if !event.reason.is_empty() {
            println!("  {}", event.reason);
        }
    }
    Ok(Exit::Done)
}

async fn detail(arguments: &ClientArguments, name: &str) -> anyhow::Result<PluginDetail> {
    let client = Client::new(arguments)?;
    let request = client.request(Method::GET, &format!("plugins/{name}"));
    Ok(client.send(request).await?.body)
}

/// `NAME` or `NAME@VERSION`.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    }
}
