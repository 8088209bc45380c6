//! `bindery plugin test`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use bindery_registry::Package;
use bindery_runtime::{Plugin, Runtime, RuntimeConfig};
use bindery_trial::{Case, CaseReport, DirectoryFiles, StepSource, Steps, run_case};
use serde_json::{Value, json};

use super::{
    arguments::TestArguments,
    build,
    check::other_versions,
    project::{Project, Target},
};
use crate::{exit::Exit, host, paths, settings::Settings, words};

pub(crate) async fn command(arguments: TestArguments) -> anyhow::Result<Exit> {
    let package = build::package(&arguments.directory, arguments.no_build).await?;
    let mut cases = cases(&package)?;
    if let Some(part) = &arguments.case {
        cases.retain(|case| case.name.contains(part.as_str()));
    }
    if cases.is_empty() {
        bail!("there is no case to run: write one in cases/NAME/case.toml");
    }
    let plugin = load(&package.join("component.wasm")).await?;
    for words in Package::read(&package)
        .map(|package| other_versions(package.manifest(), &plugin))
        .unwrap_or_default()
    {
        eprintln!("warning: {words}");
    }
    let scratch = tempfile::Builder::new().prefix("bindery-").tempdir()?;
    let steps = steps(&arguments, &plugin, &cases, scratch.path()).await?;
    let mut reports = Vec::with_capacity(cases.len());
    for case in &cases {
        let report = run_case(&plugin, &steps, case, &scratch.path().join("runs")).await;
        if !arguments.json {
            print(&report);
        }
        if let Some(recording) = &report.recording {
            let files = recording.files()?;
            for root in recording_places(&arguments.directory, &package) {
                keep(&root.join("cases").join(&case.name), &files)?;
            }
            if !arguments.json {
                println!("        recorded {} steps", recording.steps.len());
            }
        }
        reports.push(report);
    }
    let passed = reports.iter().filter(|report| report.passed).count();
    let failed = reports.len() - passed;
    if arguments.json {
        println!(
            "{:#}",
            json!({
                "passed": passed,
                "failed": failed,
                "cases": reports.iter().map(document).collect::<Vec<_>>(),
            })
        );
    } else {
        println!("{passed} passed, {failed} failed");
    }
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The cases of a package.
pub(crate) fn cases(package: &Path) -> anyhow::Result<Vec<Case>> {
    let files = DirectoryFiles::below(package, &["cases", "examples"])
        .with_context(|| format!("failed to read {}", package.display()))?;
    Ok(Case::all(&files)?)
}

/// A component on a runtime of its own.
pub(crate) async fn load(component: &Path) -> anyhow::Result<Arc<Plugin>> {
    let bytes =
        fs::read(component).with_context(|| format!("failed to read {}", component.display()))?;
    let runtime = Runtime::new(&RuntimeConfig {
        cache_directory: paths::user_cache().map(|cache| cache.join("components")),
        ..RuntimeConfig::default()
    })?;
    runtime.load(bytes).await.map_err(|error| {
        let why = std::error::Error::source(&error);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        anyhow::anyhow!("{} cannot be loaded: {error}{why}", component.display())
    })
}

/// Engines are looked for only where a case runs them.
async fn steps(
    arguments: &TestArguments,
    plugin: &Plugin,
    cases: &[Case],
    scratch: &Path,
) -> anyhow::Result<Steps> {
    let real = cases.iter().any(|case| case.steps == StepSource::Real);
    if !plugin.facets().engine || !(arguments.record || arguments.real || real) {
        return Ok(Steps::AsWritten(None));
    }
    let settings = Settings::read(&arguments.local)?;
    let engines = host::engines(&settings, scratch.join("probe")).await?;
    Ok(match (arguments.record, arguments.real) {
        (true, _) => Steps::Record(engines),
        (false, true) => Steps::Real(engines),
        (false, false) => Steps::AsWritten(Some(engines)),
    })
}

/// Recordings belong to the sources; the package that was built of them gets them too.
fn recording_places(directory: &Path, package: &Path) -> Vec<PathBuf> {
    match Target::find(directory) {
        Ok(Target::Project(Project { root, .. })) => vec![root, package.to_owned()],
        _ => vec![package.to_owned()],
    }
}

fn keep(case: &Path, files: &std::collections::BTreeMap<String, Vec<u8>>) -> anyhow::Result<()> {
    let directory = case.join("recording");
    if directory.is_dir() {
        fs::remove_dir_all(&directory)
            .with_context(|| format!("failed to remove {}", directory.display()))?;
    }
    for (path, content) in files {
        let path = directory.join(path);
        path.parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

fn print(report: &CaseReport) {
    let word = if report.passed { "ok  " } else { "FAIL" };
    println!(
        "  {word}  {:16} {} ({:.1} ms)",
        report.case,
        report.title,
        report.duration.as_secs_f64() * 1000.0
    );
    if report.passed {
        return;
    }
    for difference in &report.differences {
        println!("        {}", words::headline(&difference.to_string()));
    }
    if let Some(failure) = &report.failure {
        if let Some(place) = &failure.place {
            println!("        at {place}");
        }
        if !failure.detail.is_empty() {
            println!("{}", words::detail(&failure.code, &failure.detail));
        }
    }
    for line in &report.lines {
        println!("        [{}] {}", line.level, line.message.escape_debug());
    }
}

fn document(report: &CaseReport) -> Value {
    json!({
        "case": report.case,
        "title": report.title,
        "task": report.task,
        "passed": report.passed,
        "duration_ms": report.duration.as_secs_f64() * 1000.0,
        "differences": report.differences.iter().map(|difference| json!({
            "pointer": difference.pointer,
            "expected": difference.expected,
            "got": difference.got,
        })).collect::<Vec<_>>(),
        "failure": report.failure.as_ref().map(|failure| json!({
            "kind": failure.kind.as_str(),
            "code": failure.code,
            "message": failure.message,
            "detail": failure.detail,
            "place": failure.place.as_ref().map(ToString::to_string),
        })),
        "output": report.output,
        "receipts": report.receipts.iter().map(|receipt| json!({
            "phase": receipt.phase,
            "wall_us": receipt.wall_us,
            "cpu_us": receipt.cpu_us,
            "peak_memory_bytes": receipt.peak_memory_bytes,
        })).collect::<Vec<_>>(),
        "log": report.lines.iter().map(|line| json!({
            "level": line.level,
            "message": line.message,
        })).collect::<Vec<_>>(),
    })
}
