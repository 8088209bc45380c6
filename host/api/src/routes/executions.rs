//! Executions: where they are and what they gave.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bindery_api_types::{
    ArtifactList, Cancellation, Event, EventPage, Execution, ExecutionPage,
    ExecutionStatusDocument, Results,
};
use bindery_core::{ExecutionId, ExecutionStatus, JobId, OrgId};
use bindery_datastore::{Database, EventQuery, EventRecord};
use bindery_dispatcher::{Cancelled, records::ExecutionRecord};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    logs::{LogQuery, serve_log},
    page::documents,
};
use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    documents,
    extract::{ApiPath, ApiQuery, PageQuery, parse_id},
    openapi::{BadPage, Failures, NoRange, NotFinished, NotFound},
};

/// A position in the queue is looked for among so many; beyond that a number says nothing more.
const QUEUE_LOOKED_AT_MAX: usize = 1_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExecutionFilter {
    status: Option<String>,
    /// Task id.
    task: Option<String>,
    /// Job id.
    job: Option<String>,
}

/// Executions, newest first.
#[utoipa::path(get, path = "/api/v1/executions", tag = "executions",
    params(PageQuery, ExecutionFilter),
    responses((status = 200, description = "A page.", body = ExecutionPage), BadPage, Failures))]
pub(super) async fn list_executions(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiQuery(page): ApiQuery<PageQuery>,
    ApiQuery(filter): ApiQuery<ExecutionFilter>,
) -> Result<Json<ExecutionPage>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<ExecutionId>()?);
    check_status(filter.status.as_deref(), &[])?;
    let store = app.services().dispatcher.store(caller.org);
    let found = blocking(move || {
        store.executions(after, limit, |execution| {
            filter
                .status
                .as_ref()
                .is_none_or(|status| execution.status == *status)
                && filter
                    .task
                    .as_ref()
                    .is_none_or(|task| execution.task == *task)
                && filter
                    .job
                    .as_ref()
                    .is_none_or(|job| execution.job_id == *job)
        })
    })
    .await?;
    let (items, next_cursor) = documents(found, |record| documents::execution_summary(&record));
    Ok(Json(ExecutionPage { items, next_cursor }))
}

/// A word of a filter that is no status would only ever find nothing.
pub(super) fn check_status(status: Option<&str>, more: &[&str]) -> Result<(), Problem> {
    match status {
        Some(status) if status.parse::<ExecutionStatus>().is_err() && !more.contains(&status) => {
            let known: Vec<&str> = ExecutionStatus::ALL
                .iter()
                .map(|status| status.as_str())
                .chain(more.iter().copied())
                .collect();
            let message = format!("status must be one of: {}", known.join(", "));
            Err(Problem::query("status", "not_allowed", message))
        }
        _ => Ok(()),
    }
}

/// Everything about an execution but its result.
#[utoipa::path(get, path = "/api/v1/executions/{id}", tag = "executions",
    params(("id" = String, Path)),
    responses((status = 200, description = "It.", body = Execution), NotFound, Failures))]
pub(super) async fn get_execution(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Execution>, Problem> {
    let (id, record) = find_execution(&app, caller.org, &id).await?;
    let live = app.services().dispatcher.live(id);
    Ok(Json(documents::execution(record, live.as_ref())))
}

/// Where an execution is.
#[utoipa::path(get, path = "/api/v1/executions/{id}/status", tag = "executions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Its status.", body = ExecutionStatusDocument),
        NotFound, Failures,
    ))]
pub(super) async fn get_execution_status(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<ExecutionStatusDocument>, Problem> {
    let (id, record) = find_execution(&app, caller.org, &id).await?;
    status_document(&app, caller.org, id, record)
        .await
        .map(Json)
}

pub(crate) async fn status_document(
    app: &App,
    org: OrgId,
    id: ExecutionId,
    record: ExecutionRecord,
) -> Result<ExecutionStatusDocument, Problem> {
    let dispatcher = app.services().dispatcher.clone();
    let live = dispatcher.live(id);
    let position = if record.status == ExecutionStatus::Queued.as_str() {
        let queued = blocking(move || dispatcher.queued(org, QUEUE_LOOKED_AT_MAX)).await?;
        queued
            .iter()
            .position(|waiting| *waiting == id)
            .map(|position| position as u64 + 1)
    } else {
        None
    };
    Ok(documents::execution_status(record, live.as_ref(), position))
}

/// What an execution gave, or why it gave nothing. 409 while it has not ended.
#[utoipa::path(get, path = "/api/v1/executions/{id}/results", tag = "executions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "Its result.", body = Results),
        NotFinished, NotFound, Failures,
    ))]
pub(super) async fn get_execution_results(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Results>, Problem> {
    let (_, record) = find_execution(&app, caller.org, &id).await?;
    refuse_unfinished(&record.status)?;
    let store = app.services().dispatcher.store(caller.org);
    Ok(Json(
        documents::results(&store, &app.services().blobs, record).await?,
    ))
}

pub(super) fn refuse_unfinished(status: &str) -> Result<(), Problem> {
    if status
        .parse::<ExecutionStatus>()
        .is_ok_and(|status| !status.is_terminal())
    {
        let detail = format!("it has not ended: it is {status}");
        return Err(Problem::new(StatusCode::CONFLICT, "not_finished", detail)
            .header(header::RETRY_AFTER, HeaderValue::from_static("1")));
    }
    Ok(())
}

/// What happened to an execution, in the order in which it happened.
#[utoipa::path(get, path = "/api/v1/executions/{id}/events", tag = "executions",
    params(("id" = String, Path), PageQuery),
    responses((status = 200, description = "A page.", body = EventPage), BadPage, NotFound, Failures))]
pub(super) async fn list_execution_events(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Json<EventPage>, Problem> {
    let (id, _) = find_execution(&app, caller.org, &id).await?;
    list_events(&app, caller.org, format!("execution:{id}"), &page)
        .await
        .map(Json)
}

pub(super) async fn list_events(
    app: &App,
    org: OrgId,
    topic: String,
    page: &PageQuery,
) -> Result<EventPage, Problem> {
    let (limit, after) = (page.limit()?, page.after::<u64>()?.unwrap_or(0));
    let datastore = Arc::clone(&app.services().datastore);
    let query = EventQuery::topic(topic, after, limit);
    let found = blocking(move || datastore.events(Database::Org(org), &query)).await?;
    let next_cursor = found
        .last()
        .filter(|_| found.len() >= limit)
        .map(|event| event.seq.to_string());
    Ok(EventPage {
        items: found.iter().map(|event| event_document(event)).collect(),
        next_cursor,
    })
}

fn event_document(event: &EventRecord) -> Event {
    Event {
        seq: event.seq,
        time: documents::time(event.time),
        event: event.name.clone(),
        data: event.data.clone(),
    }
}

/// What an execution printed.
///
/// Control characters and bytes that are no text are shown as `?`, byte for byte, so that ranges
/// count the same; with `raw=1` the stored bytes are given as a download.
#[utoipa::path(get, path = "/api/v1/executions/{id}/logs", tag = "executions",
    params(
        ("id" = String, Path), LogQuery,
        ("range" = Option<String>, Header, description = "One range of bytes."),
    ),
    responses(
        (status = 200, description = "The log so far, or the part asked for.", body = String,
            content_type = "text/plain"),
        (status = 206, description = "The range.", body = String, content_type = "text/plain"),
        BadPage, NoRange, NotFound, Failures,
    ))]
pub(super) async fn get_execution_logs(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (id, _) = find_execution(&app, caller.org, &id).await?;
    serve_log(&app, id, &query, &headers).await
}

/// Files that an execution made; none while it has not ended.
#[utoipa::path(get, path = "/api/v1/executions/{id}/artifacts", tag = "executions",
    params(("id" = String, Path)),
    responses((status = 200, description = "All of them.", body = ArtifactList), NotFound, Failures))]
pub(super) async fn list_execution_artifacts(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<ArtifactList>, Problem> {
    let (id, _) = find_execution(&app, caller.org, &id).await?;
    let store = app.services().dispatcher.store(caller.org);
    let result = blocking(move || store.result(id)).await?;
    let items = result
        .map(|result| {
            result
                .artifacts
                .into_iter()
                .map(documents::artifact)
                .collect()
        })
        .unwrap_or_default();
    Ok(Json(ArtifactList {
        items,
        next_cursor: None,
    }))
}

/// Cancels an execution, at whatever stage it is. Cancelling it again changes nothing.
#[utoipa::path(post, path = "/api/v1/executions/{id}/cancel", tag = "executions",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is cancelled.", body = Cancellation),
        (status = 202, description = "Its processes are being stopped.", body = Cancellation),
        (status = 409, description = "It had ended otherwise.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        NotFound, Failures,
    ))]
pub(super) async fn cancel_execution(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Response, Problem> {
    let (id, record) = find_execution(&app, caller.org, &id).await?;
    let cancelled = app.services().dispatcher.cancel(caller.org, id).await?;
    let answer = |status: StatusCode, word: ExecutionStatus, stopping| {
        let body = Cancellation {
            execution_id: Some(id.to_string()),
            job_id: record.job_id.clone(),
            status: word.as_str().to_owned(),
            stopping,
        };
        (status, Json(body)).into_response()
    };
    match cancelled {
        Cancelled::Now | Cancelled::AlreadyEnded(ExecutionStatus::Cancelled) => {
            Ok(answer(StatusCode::OK, ExecutionStatus::Cancelled, false))
        }
        Cancelled::Stopping => Ok(answer(StatusCode::ACCEPTED, ExecutionStatus::Running, true)),
        Cancelled::AlreadyEnded(status) => Err(already_ended("execution", status.as_str())),
    }
}

pub(super) fn already_ended(what: &str, status: &str) -> Problem {
    let detail = format!("the {what} has ended: it is {status}");
    Problem::new(StatusCode::CONFLICT, "already_ended", detail)
}

/// An execution of an organisation; 404 without.
pub(crate) async fn find_execution(
    app: &App,
    org: OrgId,
    id: &str,
) -> Result<(ExecutionId, ExecutionRecord), Problem> {
    let id: ExecutionId = parse_id(id, "execution")?;
    let store = app.services().dispatcher.store(org);
    let record = blocking(move || store.execution(id)).await?;
    Ok((id, record.ok_or_else(|| Problem::not_found("execution"))?))
}

/// The id of a stored job.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    parse_id(text, "job")
}
