//! `bindery engine list` and `doctor`.

use bindery_engines::EngineStatus;
use bindery_sandbox::{SandboxStatus, TrialOutcome};
use serde_json::{Value, json};

use crate::{cli::EngineArguments, exit::Exit, host::Parts, tasks::look};

pub(crate) async fn list(arguments: EngineArguments) -> anyhow::Result<Exit> {
    let (parts, _directory) = look(&arguments.local).await?;
    if arguments.json {
        println!("{:#}", json!({ "items": engine_documents(&parts) }));
    } else {
        print_engines(&parts);
    }
    Ok(Exit::Done)
}

/// Fails when something that a loaded task needs is missing, so that scripts can ask.
pub(crate) async fn doctor(arguments: EngineArguments) -> anyhow::Result<Exit> {
    let (parts, _directory) = look(&arguments.local).await?;
    let sandbox = parts.engines.sandbox().status();
    let needed: Vec<String> = parts
        .catalog
        .tasks()
        .iter()
        .filter_map(|entry| {
            let missing = parts.engines.satisfy(&entry.definition.engines).err()?;
            Some(format!(
                "{}: {missing} ({})",
                entry.definition.id, missing.hint
            ))
        })
        .collect();
    let healthy = sandbox.unavailable.is_none() && needed.is_empty();
    if arguments.json {
        println!(
            "{:#}",
            json!({
                "healthy": healthy,
                "sandbox": sandbox_document(sandbox),
                "engines": engine_documents(&parts),
                "tasks_unavailable": needed,
            })
        );
    } else {
        print_sandbox(sandbox);
        println!();
        print_engines(&parts);
        for fault in &needed {
            println!("unavailable task {fault}");
        }
    }
    Ok(if healthy {
        Exit::Done
    } else {
        Exit::EngineMissing
    })
}

fn engine_documents(parts: &Parts) -> Vec<Value> {
    parts
        .engines
        .statuses()
        .map(|status| {
            json!({
                "name": status.manifest.name,
                "title": status.manifest.title,
                "licence": status.manifest.licence,
                "homepage": status.manifest.homepage,
                "found": status.fault.is_none(),
                "program": status.program,
                "version": status.version,
                "fault": status.fault,
                "install": status.manifest.install,
            })
        })
        .collect()
}

fn print_engines(parts: &Parts) {
    let statuses: Vec<&EngineStatus> = parts.engines.statuses().collect();
    if statuses.is_empty() {
        eprintln!(
            "no engine manifests: is there an `engines` directory beside this program? (--engines DIR)"
        );
    }
    for status in statuses {
        let name = &status.manifest.name;
        match (&status.version, &status.program, &status.fault) {
            (Some(version), Some(program), None) => {
                println!("{name:14} {version:10} {}", program.display());
            }
            (_, _, fault) => {
                println!(
                    "{name:14} missing    {}",
                    fault.as_deref().unwrap_or_default()
                );
                for (system, how) in &status.manifest.install {
                    println!("{:14} {:10} {system}: {how}", "", "");
                }
            }
        }
    }
}

fn sandbox_document(status: &SandboxStatus) -> Value {
    json!({
        "level": status.level.map(|level| level.to_string()),
        "layers": status.layers,
        "landlock_abi": status.landlock_abi,
        "unavailable": status.unavailable.as_ref().map(|unavailable| json!({
            "reason": unavailable.reason,
            "fix": unavailable.fix,
        })),
    })
}

fn print_sandbox(status: &SandboxStatus) {
    match status.level {
        Some(level) => println!(
            "sandbox        {level} ({}{})",
            status.layers.join(", "),
            status
                .landlock_abi
                .map(|abi| format!("; Landlock ABI {abi}"))
                .unwrap_or_default()
        ),
        None => println!("sandbox        none: engines do not run"),
    }
    if let Some(unavailable) = &status.unavailable {
        println!("               {}", unavailable.reason);
        println!("               to mend it: {}", unavailable.fix);
    }
    for trial in &status.trials {
        let (word, cases) = match &trial.outcome {
            TrialOutcome::Passed(cases) => ("passed", cases.as_slice()),
            TrialOutcome::Failed(cases) => ("FAILED", cases.as_slice()),
            TrialOutcome::NotBuilt(unavailable) => {
                println!("  {} cannot be built: {}", trial.level, unavailable.reason);
                continue;
            }
        };
        println!(
            "  {} self-test {word}: {} attempts",
            trial.level,
            cases.len()
        );
        for case in cases.iter().filter(|case| !case.passed) {
            let must = if case.must_be_allowed {
                "must work"
            } else {
                "must be refused"
            };
            println!("    {} {must}, but: {}", case.name, case.observed);
        }
    }
}
