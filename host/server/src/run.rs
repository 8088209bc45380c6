//! `bindery run` and `bindery task validate`: one request, in this process, no server.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use bindery_api::documents;
use bindery_core::{ExecutionId, ExecutionStatus, OrgId, Violation};
use bindery_datastore::{Database, EventQuery};
use bindery_executor::{IntakeError, Mode};
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    cli::RunArguments,
    exit::Exit,
    host::{Host, Storage},
    paths, progress, request,
    settings::Settings,
    tasks, words,
};

/// What a command says, for people on standard error or as a document on standard output.
pub(crate) struct Voice {
    pub(crate) json: bool,
}

impl Voice {
    fn say(&self, text: &str) {
        if !self.json {
            eprintln!("{text}");
        }
    }

    /// The one document of `--json`.
    fn document(&self, value: &Value) {
        if self.json {
            println!("{value:#}");
        }
    }
}

/// A host that is gone after the command, with its directory.
async fn temporary_host(arguments: &RunArguments) -> anyhow::Result<(Host, tempfile::TempDir)> {
    let settings = Settings::read(&arguments.local)?;
    let directory = tempfile::Builder::new().prefix("bindery-").tempdir()?;
    let storage = Storage::Memory(directory.path().to_owned());
    let host = Host::open(&settings, &storage, paths::user_cache()).await?;
    Ok((host, directory))
}

/// Reads the arguments; what is wrong with them is a usage error, and all of it is said.
pub(crate) fn typed(arguments: &RunArguments, voice: &Voice) -> Result<request::Typed, Exit> {
    request::typed(arguments).map_err(|faults| {
        for fault in &faults {
            eprintln!("error: {fault}");
        }
        eprintln!("see `bindery run {} --help`", arguments.task);
        voice.document(&json!({
            "status": "rejected",
            "code": "usage",
            "message": faults.join("; "),
            "faults": faults,
        }));
        Exit::Usage
    })
}

pub(crate) async fn validate(arguments: RunArguments) -> anyhow::Result<Exit> {
    let voice = Voice {
        json: arguments.request.json,
    };
    let checked = check_only(arguments, &voice).await;
    told(&voice, checked)
}

/// With `--json` there is one document whatever happens, a fault of the command itself included.
fn told(voice: &Voice, outcome: anyhow::Result<Exit>) -> anyhow::Result<Exit> {
    if let Err(error) = &outcome {
        voice.document(&json!({
            "status": "failed",
            "code": "command_failed",
            "message": format!("{error:#}"),
        }));
    }
    outcome
}

async fn check_only(arguments: RunArguments, voice: &Voice) -> anyhow::Result<Exit> {
    let typed = match typed(&arguments, voice) {
        Ok(typed) => typed,
        Err(exit) => return Ok(exit),
    };
    let (host, _directory) = temporary_host(&arguments).await?;
    let draft = typed.draft(&host.library).await?;
    match host
        .intake
        .check(OrgId::BUILT_IN, draft, Mode::Validate)
        .await
    {
        Ok(checked) => {
            for notice in &checked.notices {
                voice.say(&format!("{}: {}", notice.severity.as_str(), notice.message));
            }
            voice.document(&json!({
                "valid": true,
                "parameters": checked.submission.parameters,
                "notices": checked.submission.notices,
            }));
            if !voice.json {
                println!("{:#}", checked.submission.parameters);
            }
            Ok(Exit::Done)
        }
        Err(error) => Ok(refused(voice, &error, &host)),
    }
}

pub(crate) async fn run(arguments: RunArguments) -> anyhow::Result<Exit> {
    let voice = Voice {
        json: arguments.request.json,
    };
    let ran = run_once(arguments, &voice).await;
    told(&voice, ran)
}

async fn run_once(arguments: RunArguments, voice: &Voice) -> anyhow::Result<Exit> {
    let typed = match typed(&arguments, voice) {
        Ok(typed) => typed,
        Err(exit) => return Ok(exit),
    };
    // From the first moment on: an interrupt while files are read must clean up as well.
    let mut interrupts = Interrupts::listen()?;
    let (host, directory) = temporary_host(&arguments).await?;
    let draft = typed.draft(&host.library).await?;
    let checked = match host
        .intake
        .check(OrgId::BUILT_IN, draft, Mode::Execute)
        .await
    {
        Ok(checked) => checked,
        Err(error) => return Ok(refused(voice, &error, &host)),
    };
    for notice in &checked.notices {
        voice.say(&format!("{}: {}", notice.severity.as_str(), notice.message));
    }
    let submitted = host.dispatcher.submit(checked.submission).await?;
    let status = follow(&host, submitted.execution, voice, &mut interrupts).await?;
    let exit = finish(&host, submitted.execution, status, &arguments, voice).await?;
    host.dispatcher.shutdown(Duration::from_secs(5)).await;
    drop(directory);
    Ok(exit)
}

/// Says why a request may not run.
fn refused(voice: &Voice, error: &IntakeError, host: &Host) -> Exit {
    let (exit, code, violations): (Exit, &str, &[Violation]) = match error {
        IntakeError::Invalid(violations) => (Exit::Rejected, "invalid_request", violations),
        IntakeError::EngineMissing { .. } => (Exit::EngineMissing, "engine_missing", &[]),
        IntakeError::SandboxUnavailable { .. } => (Exit::EngineMissing, "sandbox_unavailable", &[]),
        IntakeError::UnknownTask(_) => (Exit::Usage, "unknown_task", &[]),
        IntakeError::PluginBroke(broke) => (Exit::Failed, broke.kind.as_str(), &[]),
        IntakeError::Host(_) => (Exit::Failed, "host_fault", &[]),
    };
    let fix = match error {
        IntakeError::EngineMissing { hint, .. } => hint.clone(),
        IntakeError::SandboxUnavailable { fix, .. } => fix.clone(),
        IntakeError::UnknownTask(task) => tasks::cure(&host.parts.catalog, task),
        _ => String::new(),
    };
    voice.say(&format!("error: {}", words::headline(&error.to_string())));
    for violation in violations {
        voice.say(&format!(
            "  {}: {} [{}]",
            violation.pointer, violation.message, violation.code
        ));
    }
    if !fix.is_empty() {
        voice.say(&format!("  to mend it: {fix}"));
    }
    let detail = match error {
        IntakeError::PluginBroke(broke) => broke.stderr.as_str(),
        _ => "",
    };
    if !detail.is_empty() {
        voice.say(&words::detail(code, detail));
    }
    voice.document(&json!({
        "status": "rejected",
        "code": code,
        "message": error.to_string(),
        "fix": fix,
        "detail": detail,
        "violations": violations.iter().map(|violation| json!({
            "pointer": violation.pointer,
            "code": violation.code,
            "message": violation.message,
        })).collect::<Vec<_>>(),
    }));
    exit
}

/// Interrupt and termination, which both mean: stop what runs, and say so.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Shows progress until the execution has ended.
async fn follow(
    host: &Host,
    execution: ExecutionId,
    voice: &Voice,
    interrupts: &mut Interrupts,
) -> anyhow::Result<ExecutionStatus> {
    let bar = progress::bar(voice.json);
    let database = Database::Org(OrgId::BUILT_IN);
    let mut wakeups = host.datastore.subscribe();
    let topic = format!("execution:{execution}");
    let mut seq = 0;
    loop {
        let events = host
            .datastore
            .events(database, &EventQuery::topic(&topic, seq, 256))?;
        for event in events {
            seq = event.seq;
            match event.name.as_str() {
                "execution.progress" => progress::show(&bar, &event.data),
                "execution.finished" => {
                    bar.finish_and_clear();
                    let status = event.data.get("status").and_then(Value::as_str);
                    return Ok(status.unwrap_or_default().parse()?);
                }
                _ => {}
            }
        }
        tokio::select! {
            // A hint that was lost only means: look again.
            _ = wakeups.recv() => {}
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = interrupts.next() => {
                voice.say("stopping …");
                host.dispatcher.cancel(OrgId::BUILT_IN, execution).await?;
            }
        }
    }
}

/// Writes results and artifacts, and says how it ended.
async fn finish(
    host: &Host,
    execution: ExecutionId,
    status: ExecutionStatus,
    arguments: &RunArguments,
    voice: &Voice,
) -> anyhow::Result<Exit> {
    let store = host.dispatcher.store(OrgId::BUILT_IN);
    let record = store
        .execution(execution)?
        .context("the execution is gone")?;
    let ending = record
        .attempts
        .last()
        .and_then(|attempt| attempt.ending.clone());
    let results = documents::results(&store, &host.blobs, record).await?;
    let document = serde_json::to_value(&results)?;
    let mut written = Vec::new();
    if let Some(out) = &arguments.request.out {
        written = write_out(host, out, &document, &results.artifacts).await?;
    }
    voice.document(&document);
    if let Some(problem) = &results.problem {
        let message = words::headline(&problem.message);
        voice.say(&format!("{status}: {message} [{}]", problem.code));
        if !problem.detail.is_empty() {
            voice.say(&words::detail(&problem.code, &problem.detail));
        }
    }
    if !voice.json {
        if status == ExecutionStatus::Succeeded {
            println!("{:#}", results.output);
        }
        for path in written {
            eprintln!("wrote {}", path.display());
        }
    }
    Ok(match (status, ending.as_deref()) {
        (ExecutionStatus::Succeeded, _) => Exit::Done,
        (ExecutionStatus::Cancelled, _) => Exit::Cancelled,
        (_, Some("engine_missing" | "sandbox_unavailable")) => Exit::EngineMissing,
        _ => Exit::Failed,
    })
}

async fn write_out(
    host: &Host,
    out: &Path,
    document: &Value,
    artifacts: &[bindery_api_types::Artifact],
) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let mut written = Vec::new();
    let result = out.join("result.json");
    std::fs::write(&result, format!("{document:#}\n"))
        .with_context(|| format!("failed to write {}", result.display()))?;
    written.push(result);
    for artifact in artifacts {
        // Names are checked when a task gives them: plain file names.
        let path = out.join(&artifact.name);
        let digest = artifact.digest.parse()?;
        let content = host.blobs.get(&digest, None).await?.bytes().await?;
        std::fs::write(&path, &content)
            .with_context(|| format!("failed to write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}
