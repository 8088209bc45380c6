//! One call: from its arguments to its result.
//!
//! What the caller did wrong, or what the task says no to, is a result that says so, since an
//! agent can read it and do better; an error of the protocol is for calls that cannot be
//! understood.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use bindery_api_types::{InputRef, Results};
use bindery_core::{ExecutionId, ExecutionStatus, OrgId, TaskRef, Violation};
use bindery_datastore::{Database, EventQuery};
use bindery_dispatcher::Cancelled;
use bindery_executor::{Draft, FileRecord, Mode};
use bytes::Bytes;
use futures::StreamExt;
use rmcp::{
    Peer, RoleServer,
    model::{CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam, ProgressToken},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    resources,
    tools::{GET_EXECUTION, WAIT_SECONDS_DEFAULT, WAIT_SECONDS_MAX},
};
use crate::{
    Problem,
    app::{App, blocking},
    documents,
    extract::{escape, parse_id},
    ports::UploadError,
    routes::{PRIORITY_DEFAULT, find_execution, find_inputs, status_document},
};

/// Events of one execution that are looked at together.
const EVENTS_MAX: usize = 256;
/// A hint of the store that was lost costs no more than this.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Longer outputs are left to `structuredContent`, which has them anyway.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// One file of a call; a message is not much larger.
const INLINE_BYTES_MAX: u64 = 8 << 20;
/// Label of executions that an agent asked for.
const LABEL: (&str, &str) = ("via", "mcp");

/// Who is told about progress, and who may stop it.
pub(super) struct Line {
    pub(super) peer: Peer<RoleServer>,
    pub(super) progress: Option<ProgressToken>,
    pub(super) cancelled: CancellationToken,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskArguments {
    #[serde(default)]
    inputs: BTreeMap<String, Given>,
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default)]
    wait_seconds: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Given {
    One(GivenFile),
    Many(Vec<GivenFile>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum GivenFile {
    Id(String),
    Text(InlineText),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InlineText {
    text: String,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadArguments {
    name: String,
    text: Option<String>,
    base64: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecutionArguments {
    execution_id: String,
    #[serde(default)]
    wait_seconds: Option<u64>,
}

/// Runs a task and waits for its result, for as long as the caller wants to.
pub(super) async fn run_task(
    app: &App,
    org: OrgId,
    task: TaskRef,
    arguments: Option<JsonObject>,
    line: &Line,
) -> Result<CallToolResult, Problem> {
    let arguments: TaskArguments = read(arguments)?;
    let wait = wait(arguments.wait_seconds, WAIT_SECONDS_DEFAULT)?;
    let inputs = take_inputs(app, org, arguments.inputs).await?;
    let draft = Draft {
        task,
        inputs: find_inputs(app, org, inputs).await?,
        parameters: arguments.parameters.unwrap_or_else(|| json!({})),
        labels: BTreeMap::from([(LABEL.0.to_owned(), LABEL.1.to_owned())]),
        priority: PRIORITY_DEFAULT,
        idempotency: None,
    };
    let services = app.services();
    let checked = services.intake.check(org, draft, Mode::Execute).await?;
    let submitted = services.dispatcher.submit(checked.submission).await?;
    follow(app, org, submitted.execution, wait, line).await?;
    answer(app, org, submitted.execution).await
}

/// Where an execution is, after waiting for its end for a while.
pub(super) async fn get_execution(
    app: &App,
    org: OrgId,
    arguments: Option<JsonObject>,
    line: &Line,
) -> Result<CallToolResult, Problem> {
    let arguments: ExecutionArguments = read(arguments)?;
    let wait = wait(arguments.wait_seconds, 0)?;
    let (id, _) = find_execution(app, org, &arguments.execution_id).await?;
    wait_for_end(app, org, id, wait, line).await?;
    answer(app, org, id).await
}

pub(super) async fn cancel_execution(
    app: &App,
    org: OrgId,
    arguments: Option<JsonObject>,
) -> Result<CallToolResult, Problem> {
    let arguments: ExecutionArguments = read(arguments)?;
    let id: ExecutionId = parse_id(&arguments.execution_id, "execution")?;
    let cancelled = app.services().dispatcher.cancel(org, id).await?;
    let (status, stopping) = match cancelled {
        Cancelled::Now => (ExecutionStatus::Cancelled, false),
        Cancelled::Stopping => (ExecutionStatus::Running, true),
        Cancelled::AlreadyEnded(status) => (status, false),
    };
    let document = json!({
        "execution_id": id.to_string(),
        "status": status.as_str(),
        "stopping": stopping,
    });
    Ok(CallToolResult::structured(document))
}

/// Keeps a file.
pub(super) async fn upload_file(
    app: &App,
    org: OrgId,
    arguments: Option<JsonObject>,
) -> Result<CallToolResult, Problem> {
    let arguments: UploadArguments = read(arguments)?;
    let content = match (arguments.text, arguments.base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(encoded)) => BASE64_STANDARD.decode(encoded.trim()).map_err(|error| {
            let message = format!("not base64: {error}");
            Problem::invalid(vec![Violation::new("/base64", "invalid", message)])
        })?,
        _ => {
            let message = "give either `text` or `base64`";
            return Err(Problem::invalid(vec![Violation::new(
                "", "invalid", message,
            )]));
        }
    };
    let record = ingest(app, org, &arguments.name, content).await?;
    let document = serde_json::to_value(documents::file(record))
        .map_err(|error| Problem::internal(format!("a file's document: {error}")))?;
    Ok(CallToolResult::structured(document))
}

/// A failure as a result that an agent can read.
pub(super) fn refused(problem: &Problem) -> CallToolResult {
    let document = problem.document();
    let mut text = format!("{} [{}]", document.detail, document.code);
    for violation in &document.violations {
        text.push_str(&format!(
            "\n- {}: {} [{}]",
            violation.pointer, violation.message, violation.code
        ));
    }
    if let Some(hint) = &document.hint {
        text.push_str(&format!("\nTo mend it: {hint}"));
    }
    let mut result = CallToolResult::error(vec![ContentBlock::text(text)]);
    result.structured_content = serde_json::to_value(&document).ok();
    result
}

fn read<T: DeserializeOwned>(arguments: Option<JsonObject>) -> Result<T, Problem> {
    let arguments = Value::Object(arguments.unwrap_or_default());
    serde_path_to_error::deserialize(arguments).map_err(|error| {
        let pointer: String = error
            .path()
            .to_string()
            .split('.')
            .filter(|part| !part.is_empty())
            .map(|part| format!("/{}", escape(part)))
            .collect();
        let message = error.inner().to_string();
        Problem::invalid(vec![Violation::new(pointer, "invalid", message)])
    })
}

fn wait(seconds: Option<u64>, default: u64) -> Result<Duration, Problem> {
    let seconds = seconds.unwrap_or(default);
    if seconds > WAIT_SECONDS_MAX {
        let message = format!("must be at most {WAIT_SECONDS_MAX}");
        let violation = Violation::new("/wait_seconds", "out_of_range", message);
        return Err(Problem::invalid(vec![violation]));
    }
    Ok(Duration::from_secs(seconds))
}

/// Files that stand in the call become uploaded ones.
async fn take_inputs(
    app: &App,
    org: OrgId,
    given: BTreeMap<String, Given>,
) -> Result<BTreeMap<String, InputRef>, Problem> {
    let mut inputs = BTreeMap::new();
    for (slot, given) in given {
        let input = match given {
            Given::One(file) => InputRef::One(take_file(app, org, &slot, file).await?),
            Given::Many(files) => {
                let mut ids = Vec::with_capacity(files.len());
                for file in files {
                    ids.push(take_file(app, org, &slot, file).await?);
                }
                InputRef::Many(ids)
            }
        };
        inputs.insert(slot, input);
    }
    Ok(inputs)
}

async fn take_file(app: &App, org: OrgId, slot: &str, file: GivenFile) -> Result<String, Problem> {
    match file {
        GivenFile::Id(id) => Ok(id),
        GivenFile::Text(inline) => {
            let name = inline.name.as_deref().unwrap_or(slot);
            let record = ingest(app, org, name, inline.text.into_bytes()).await?;
            Ok(record.id)
        }
    }
}

async fn ingest(
    app: &App,
    org: OrgId,
    name: &str,
    content: Vec<u8>,
) -> Result<FileRecord, Problem> {
    let services = app.services();
    let limit = INLINE_BYTES_MAX.min(services.config.upload_bytes_max);
    let content = futures::stream::iter([Ok::<_, UploadError>(Bytes::from(content))]).boxed();
    Ok(services
        .library
        .ingest(org, name, None, content, limit)
        .await?)
}

/// Waits, and cancels the execution when the call is.
async fn follow(
    app: &App,
    org: OrgId,
    id: ExecutionId,
    wait: Duration,
    line: &Line,
) -> Result<(), Problem> {
    if !wait_for_end(app, org, id, wait, line).await? && line.cancelled.is_cancelled() {
        app.services().dispatcher.cancel(org, id).await?;
    }
    Ok(())
}

/// Tells progress until the execution has ended (true), or the time is over or the call is
/// cancelled (false).
async fn wait_for_end(
    app: &App,
    org: OrgId,
    id: ExecutionId,
    wait: Duration,
    line: &Line,
) -> Result<bool, Problem> {
    let datastore = &app.services().datastore;
    let mut wakeups = datastore.subscribe();
    let deadline = tokio::time::Instant::now() + wait;
    let topic = format!("execution:{id}");
    let mut seq = 0;
    let mut told = 0.0;
    loop {
        let reader = std::sync::Arc::clone(datastore);
        let query = EventQuery::topic(&topic, seq, EVENTS_MAX);
        let events = blocking(move || reader.events(Database::Org(org), &query)).await?;
        let more = events.len() >= EVENTS_MAX;
        let mut progress = None;
        for event in events {
            seq = event.seq;
            match event.name.as_str() {
                "execution.finished" => return Ok(true),
                "execution.progress" => progress = Some(event.data.clone()),
                _ => {}
            }
        }
        if let (Some(data), Some(token)) = (progress, &line.progress) {
            tell(line, token.clone(), &data, &mut told).await;
        }
        if more {
            continue;
        }
        tokio::select! {
            // A hint that was lost only means: look again.
            _ = wakeups.recv() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = tokio::time::sleep_until(deadline) => return Ok(false),
            () = line.cancelled.cancelled() => return Ok(false),
        }
    }
}

/// The protocol wants progress to grow with every word of it.
async fn tell(line: &Line, token: ProgressToken, data: &Value, told: &mut f64) {
    let Some(done) = data.get("progress").and_then(Value::as_f64) else {
        return;
    };
    if done <= *told {
        return;
    }
    *told = done;
    let mut words = ProgressNotificationParam::new(token, done).with_total(1.0);
    if let Some(stage) = data.get("stage").and_then(Value::as_str) {
        words = words.with_message(stage);
    }
    // Whoever has gone needs no progress.
    let _ = line.peer.notify_progress(words).await;
}

/// The results document of an execution that has ended, the status of one that has not.
async fn answer(app: &App, org: OrgId, id: ExecutionId) -> Result<CallToolResult, Problem> {
    let (id, record) = find_execution(app, org, &id.to_string()).await?;
    let ended = record
        .status
        .parse::<ExecutionStatus>()
        .is_ok_and(ExecutionStatus::is_terminal);
    if !ended {
        let status = status_document(app, org, id, record).await?;
        let text = format!(
            "{id} is {}{}. Ask `{GET_EXECUTION}` with this id for its result.",
            status.status,
            status
                .stage
                .as_ref()
                .map(|stage| format!(" ({stage})"))
                .unwrap_or_default()
        );
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = serde_json::to_value(&status).ok();
        return Ok(result);
    }
    let store = app.services().dispatcher.store(org);
    let results = documents::results(&store, &app.services().blobs, record).await?;
    let content = content(&results);
    let mut result = if results.status == ExecutionStatus::Succeeded.as_str() {
        CallToolResult::success(content)
    } else {
        CallToolResult::error(content)
    };
    result.structured_content = serde_json::to_value(&results).ok();
    Ok(result)
}

/// A sentence, the output where it is short, and where the files are.
fn content(results: &Results) -> Vec<ContentBlock> {
    let mut text = format!(
        "{}@{} {}: {}",
        results.task, results.task_version, results.status, results.execution_id
    );
    if let Some(seconds) = results.metrics.get("wall_seconds").and_then(Value::as_f64) {
        text.push_str(&format!(" ({seconds:.2} s)"));
    }
    if let Some(problem) = &results.problem {
        text.push_str(&format!("\n{} [{}]", problem.message, problem.code));
        if !problem.detail.is_empty() {
            let detail: String = problem.detail.chars().take(2_000).collect();
            text.push_str(&format!("\n{detail}"));
        }
    }
    if !results.output.is_null() {
        let output = results.output.to_string();
        if output.len() <= TEXT_BYTES_MAX {
            text.push_str(&format!("\noutput: {output}"));
        } else {
            text.push_str("\nThe output is long: see `output` of the structured content.");
        }
    }
    let mut content = vec![ContentBlock::text(text)];
    content.extend(
        results
            .artifacts
            .iter()
            .map(|artifact| ContentBlock::ResourceLink(resources::artifact(artifact))),
    );
    content
}
