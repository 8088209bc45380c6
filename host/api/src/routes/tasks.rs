//! Tasks: what can be run, is this request right, run it.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_api_types::{
    Citation, EngineRequirement, Estimate, ExecuteRequest, Executed, InputRef, InputSlot, Notice,
    OutputArtifact, Outputs, Resources, Task, TaskExample, TaskList, TaskSummary, ValidateRequest,
    Validated,
};
use bindery_core::{Digest, FileId, OrgId, TaskDefinition, TaskRef, Violation, limits};
use bindery_dispatcher::Submitted;
use bindery_executor::{Draft, FileRecord, Mode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::IntoParams;

use super::page::contains;
use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    extract::{ApiJson, ApiPath, ApiQuery, PageQuery, escape},
    openapi::{self, BadBody, BadPage, Failures, NotFound, NotNow},
    ports::TaskListing,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that the answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// A UUID, or what a workflow calls a step.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;
/// Between the lowest and the highest.
pub(crate) const PRIORITY_DEFAULT: u8 = 128;
const LABELS_MAX: usize = 32;
const LABEL_KEY_CHARS_MAX: usize = 63;
const LABEL_VALUE_CHARS_MAX: usize = 255;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TaskFilter {
    category: Option<String>,
    /// Part of the id, the title, the summary or a keyword.
    q: Option<String>,
}

/// Tasks, by id: the newest version of each.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(PageQuery, TaskFilter),
    responses((status = 200, description = "A page.", body = TaskList), BadPage, Failures))]
pub(super) async fn list_tasks(
    _: Caller,
    State(app): State<App>,
    ApiQuery(page): ApiQuery<PageQuery>,
    ApiQuery(filter): ApiQuery<TaskFilter>,
) -> Result<Json<TaskList>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let q = filter.q.map(|q| q.to_lowercase());
    let keywords: BTreeMap<String, Vec<String>> = match q {
        Some(_) => app
            .services()
            .catalog
            .tasks()
            .into_iter()
            .map(|listing| {
                let definition = &listing.definition;
                (definition.id.clone(), definition.keywords.clone())
            })
            .collect(),
        None => BTreeMap::new(),
    };
    let mut items: Vec<TaskSummary> = summaries(&app)
        .into_iter()
        .filter(|task| after.as_ref().is_none_or(|after| task.id > *after))
        .filter(|task| {
            filter
                .category
                .as_ref()
                .is_none_or(|wanted| task.category == *wanted)
        })
        .filter(|task| {
            q.as_ref().is_none_or(|q| {
                [&task.id, &task.title, &task.summary]
                    .into_iter()
                    .chain(keywords.get(&task.id).into_iter().flatten())
                    .any(|text| contains(text, q))
            })
        })
        .take(limit + 1)
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|task| task.id.clone());
    Ok(Json(TaskList { items, next_cursor }))
}

/// All tasks, by id.
pub(crate) fn summaries(app: &App) -> Vec<TaskSummary> {
    let services = app.services();
    let mut items: Vec<TaskSummary> = services
        .catalog
        .tasks()
        .into_iter()
        .map(|listing| {
            let unavailable = services.engines.unavailable(&listing.definition);
            TaskSummary {
                id: listing.definition.id.clone(),
                version: listing.definition.version.to_string(),
                title: listing.definition.title.clone(),
                category: listing.definition.category.clone(),
                summary: listing.definition.summary.clone(),
                available: unavailable.is_none(),
                unavailable,
            }
        })
        .collect();
    items.sort_by(|one, other| one.id.cmp(&other.id));
    items
}

/// The definition of a task: `NAME` is its newest enabled version, `NAME@VERSION` pins one.
#[utoipa::path(get, path = "/api/v1/tasks/{task}", tag = "tasks", params(("task" = String, Path)),
    responses((status = 200, description = "The definition.", body = Task), NotFound, Failures))]
pub(super) async fn get_task(
    _: Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<Task>, Problem> {
    let (_, listing) = find_task(&app, &name)?;
    let services = app.services();
    let definition = &listing.definition;
    let unavailable = services.engines.unavailable(definition);
    let versions = services.catalog.versions(&definition.id);
    let known = services.engines.engines();
    Ok(Json(Task {
        id: definition.id.clone(),
        version: definition.version.to_string(),
        title: definition.title.clone(),
        category: definition.category.clone(),
        summary: definition.summary.clone(),
        docs: definition.docs.clone(),
        parameters: definition.parameters.clone(),
        inputs: definition.inputs.iter().map(input_slot).collect(),
        outputs: outputs(definition),
        engines: definition
            .engines
            .iter()
            .map(|engine| EngineRequirement {
                name: engine.engine.clone(),
                versions: engine.versions.to_string(),
                available: known
                    .iter()
                    .any(|entry| entry.name == engine.engine && entry.version.is_some()),
            })
            .collect(),
        resources: Resources {
            cpu_cores: definition.resources.cpu_cores,
            memory_bytes: definition.resources.memory_bytes,
            disk_bytes: definition.resources.disk_bytes,
            wall_ms: definition.resources.wall_ms,
        },
        versions: versions.iter().rev().map(ToString::to_string).collect(),
        permissions: listing.permissions.clone(),
        determinism: definition.determinism.as_str().to_owned(),
        examples: definition.examples.iter().map(example).collect(),
        keywords: definition.keywords.clone(),
        citations: definition.citations.iter().map(citation).collect(),
        plugin: listing.plugin.to_string(),
        package: listing.package.clone(),
        available: unavailable.is_none(),
        unavailable,
        openapi: openapi::task_document(definition),
    }))
}

fn input_slot(slot: &bindery_core::definition::InputSlot) -> InputSlot {
    InputSlot {
        name: slot.name.clone(),
        title: slot.title.clone(),
        summary: slot.summary.clone(),
        accepts: slot.accepts.clone(),
        cardinality: slot.cardinality.as_str().to_owned(),
    }
}

fn outputs(definition: &TaskDefinition) -> Outputs {
    Outputs {
        schema: definition.output.clone(),
        artifacts: definition
            .artifacts
            .iter()
            .map(|slot| OutputArtifact {
                name: slot.name.clone(),
                title: slot.title.clone(),
                media_type: slot.media_type.clone(),
            })
            .collect(),
    }
}

fn citation(citation: &bindery_core::definition::Citation) -> Citation {
    Citation {
        text: citation.text.clone(),
        doi: citation.doi.clone(),
        url: citation.url.clone(),
    }
}

fn example(example: &bindery_core::definition::Example) -> TaskExample {
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (slot, path) in &example.inputs {
        inputs.entry(slot.clone()).or_default().push(path.clone());
    }
    TaskExample {
        title: example.title.clone(),
        parameters: example.parameters.clone(),
        inputs,
    }
}

/// Checks parameters, and the files that are given, without running anything.
#[utoipa::path(post, path = "/api/v1/tasks/{task}/validate", tag = "tasks",
    params(("task" = String, Path)), request_body = ValidateRequest,
    responses(
        (status = 200, description = "It may run so.", body = Validated),
        BadBody, NotFound, NotNow, Failures,
    ))]
pub(super) async fn validate_task(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiJson(request): ApiJson<ValidateRequest>,
) -> Result<Json<Validated>, Problem> {
    let (task, _) = find_task(&app, &name)?;
    let inputs = find_inputs(&app, caller.org, request.inputs).await?;
    let draft = Draft {
        task,
        inputs,
        parameters: request.parameters.unwrap_or_else(|| json!({})),
        labels: BTreeMap::new(),
        priority: PRIORITY_DEFAULT,
        idempotency: None,
    };
    let checked = app
        .services()
        .intake
        .check(caller.org, draft, Mode::Validate)
        .await?;
    Ok(Json(Validated {
        parameters: checked.submission.parameters,
        notices: checked.notices.iter().map(notice).collect(),
        estimate: checked.estimate.map(|estimate| Estimate {
            wall_ms: estimate.wall_ms,
            cpu_ms: estimate.cpu_ms,
            memory_bytes: estimate.memory_bytes,
        }),
    }))
}

/// Runs a task.
///
/// The answer comes when the request is checked and safely queued. With an `Idempotency-Key`, the
/// same request may be sent again and runs once.
#[utoipa::path(post, path = "/api/v1/tasks/{task}/execute", tag = "tasks",
    params(
        ("task" = String, Path),
        ("idempotency-key" = Option<String>, Header,
            description = "1 to 255 visible ASCII characters of your own."),
    ),
    request_body = ExecuteRequest,
    responses(
        (status = 202, description = "Queued.", body = Executed,
            headers(("location" = String, description = "Of the execution."))),
        (status = 200, description = "A stored result is reused.", body = Executed),
        (status = 409, description = "The idempotency key was used for another request.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        BadBody, NotFound, NotNow, Failures,
    ))]
pub(super) async fn execute_task(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    headers: HeaderMap,
    ApiJson(request): ApiJson<ExecuteRequest>,
) -> Result<Response, Problem> {
    let (task, _) = find_task(&app, &name)?;
    let idempotency = match idempotency_key(&headers)? {
        Some(key) => Some((key, fingerprint(&name, &request)?)),
        None => None,
    };
    if let Some((key, fingerprint)) = idempotency.clone() {
        let dispatcher = app.services().dispatcher.clone();
        let before =
            blocking(move || dispatcher.submitted_before(caller.org, &key, &fingerprint)).await?;
        if let Some(before) = before {
            return Ok(accepted(&before, Vec::new()));
        }
    }
    check_labels(&request.labels)?;
    let inputs = find_inputs(&app, caller.org, request.inputs).await?;
    let draft = Draft {
        task,
        inputs,
        parameters: request.parameters.unwrap_or_else(|| json!({})),
        labels: request.labels,
        priority: request.priority.unwrap_or(PRIORITY_DEFAULT),
        idempotency,
    };
    let checked = app
        .services()
        .intake
        .check(caller.org, draft, Mode::Execute)
        .await?;
    let submitted = app.services().dispatcher.submit(checked.submission).await?;
    Ok(accepted(
        &submitted,
        checked.notices.iter().map(notice).collect(),
    ))
}

pub(super) fn accepted(submitted: &Submitted, notices: Vec<Notice>) -> Response {
    let body = Executed {
        execution_id: submitted.execution.to_string(),
        job_id: submitted.job.to_string(),
        status: submitted.status.as_str().to_owned(),
        notices,
    };
    let location = format!("/api/v1/executions/{}", submitted.execution);
    let mut response = (
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(body),
    )
        .into_response();
    if submitted.repeated {
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

pub(crate) fn find_task(app: &App, name: &str) -> Result<(TaskRef, TaskListing), Problem> {
    let unknown = || {
        let name: String = name.chars().take(200).collect();
        Problem::new(
            StatusCode::NOT_FOUND,
            "task_not_found",
            format!("there is no task `{name}`"),
        )
    };
    let task: TaskRef = name.parse().map_err(|_| unknown())?;
    let listing = app.services().catalog.task(&task).ok_or_else(unknown)?;
    Ok((task, listing))
}

/// The files meant by their ids, all faults at once.
pub(crate) async fn find_inputs(
    app: &App,
    org: OrgId,
    inputs: BTreeMap<String, InputRef>,
) -> Result<Vec<(String, FileRecord)>, Problem> {
    let mut wanted: Vec<(String, String, String)> = Vec::new();
    for (slot, input) in inputs {
        let pointer = format!("/inputs/{}", escape(&slot));
        match input {
            InputRef::One(id) => wanted.push((slot, pointer, id)),
            InputRef::Many(ids) => wanted.extend(
                ids.into_iter()
                    .enumerate()
                    .map(|(index, id)| (slot.clone(), format!("{pointer}/{index}"), id)),
            ),
        }
    }
    if wanted.len() > limits::INPUT_FILES_MAX {
        return Err(Problem::invalid(vec![Violation::new(
            "/inputs",
            "too_many_files",
            format!(
                "{} files, at most {} are allowed",
                wanted.len(),
                limits::INPUT_FILES_MAX
            ),
        )]));
    }
    let library = Arc::clone(&app.services().library);
    blocking(move || {
        let mut found = Vec::with_capacity(wanted.len());
        let mut faults = Vec::new();
        for (slot, pointer, id) in wanted {
            let file = match id.parse::<FileId>() {
                Ok(id) => library.get(org, id)?,
                Err(_) => None,
            };
            match file {
                Some(file) => found.push((slot, file)),
                None => {
                    let id: String = id.chars().take(80).collect();
                    let message = format!("there is no file `{id}`");
                    faults.push(Violation::new(pointer, "file_not_found", message));
                }
            }
        }
        faults.truncate(limits::VIOLATIONS_MAX);
        if faults.is_empty() {
            Ok(found)
        } else {
            Err(Problem::invalid(faults))
        }
    })
    .await
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let fits = (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&value.len());
    match value.to_str() {
        Ok(key) if fits && key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(key.to_owned()))
        }
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_idempotency_key",
            format!(
                "the idempotency key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII \
                 characters"
            ),
        )),
    }
}

/// Same for two requests that ask for the same, however their fields are ordered.
fn fingerprint(task: &str, request: &ExecuteRequest) -> Result<String, Problem> {
    let mut asked = serde_json::to_value(request)
        .map_err(|error| Problem::internal(format!("fingerprint of a request: {error}")))?;
    sort(&mut asked);
    Ok(Digest::of(format!("{task}\n{asked}").as_bytes()).to_string())
}

/// Orders the fields of all objects. JSON that was parsed is at most 128 deep.
fn sort(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.sort_keys();
            object.values_mut().for_each(sort);
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Problem> {
    let mut faults = Vec::new();
    if labels.len() > LABELS_MAX {
        faults.push(Violation::new(
            "/labels",
            "too_many",
            format!("{} labels, at most {LABELS_MAX} are allowed", labels.len()),
        ));
    }
    for (key, value) in labels.iter().take(LABELS_MAX) {
        let pointer = format!("/labels/{}", escape(key));
        if key.is_empty() || key.chars().count() > LABEL_KEY_CHARS_MAX || key.contains('=') {
            let message = format!(
                "a label's key has 1 to {LABEL_KEY_CHARS_MAX} characters, none of them `=`"
            );
            faults.push(Violation::new(&pointer, "invalid", message));
        }
        if value.chars().count() > LABEL_VALUE_CHARS_MAX {
            let message = format!("a label's value has at most {LABEL_VALUE_CHARS_MAX} characters");
            faults.push(Violation::new(&pointer, "wrong_length", message));
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Problem::invalid(faults))
    }
}

fn notice(notice: &bindery_core::Notice) -> Notice {
    Notice {
        severity: notice.severity.as_str().to_owned(),
        code: notice.code.clone(),
        message: notice.message.clone(),
    }
}
