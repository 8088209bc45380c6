//! Jobs: one submission each. For now every job has one execution.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use bindery_api_types::{
    Cancellation, EventPage, Executed, Job, JobPage, JobResults, JobStatusDocument,
};
use bindery_core::{ExecutionId, ExecutionStatus, JobId, OrgId};
use bindery_dispatcher::{
    Cancelled, JobQuery,
    records::{ExecutionRecord, JobRecord},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    executions::{
        already_ended, check_status, job_id, list_events, refuse_unfinished, status_document,
    },
    logs::{LogQuery, serve_log},
    page::{contains, documents},
    tasks::accepted,
};
use crate::{
    Problem,
    app::{App, blocking},
    auth::Caller,
    documents,
    extract::{ApiPath, ApiQuery, PageQuery},
    openapi::{BadPage, Failures, NoRange, NotFinished, NotFound},
};

/// Statuses that jobs have and executions have not.
const JOB_STATUSES: [&str; 1] = ["partial"];

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct JobFilter {
    status: Option<String>,
    /// Task id.
    task: Option<String>,
    /// `KEY` or `KEY=VALUE`.
    label: Option<String>,
    /// Part of the id, the task or a label.
    q: Option<String>,
}

impl JobFilter {
    fn query(&self) -> JobQuery {
        JobQuery {
            status: self.status.clone(),
            task: self.task.clone(),
            label: self
                .label
                .as_ref()
                .map(|label| match label.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (label.clone(), None),
                }),
        }
    }

    fn wants(&self, job: &JobRecord) -> bool {
        self.q.as_ref().is_none_or(|q| {
            let labels = job.labels.iter().flat_map(|(key, value)| [key, value]);
            [&job.id, &job.task]
                .into_iter()
                .chain(labels)
                .any(|text| contains(text, q))
        })
    }
}

/// The history: jobs, newest first.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "jobs", params(PageQuery, JobFilter),
    responses((status = 200, description = "A page.", body = JobPage), BadPage, Failures))]
pub(super) async fn list_jobs(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiQuery(page): ApiQuery<PageQuery>,
    ApiQuery(mut filter): ApiQuery<JobFilter>,
) -> Result<Json<JobPage>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<JobId>()?);
    check_status(filter.status.as_deref(), &JOB_STATUSES)?;
    filter.q = filter.q.map(|q| q.to_lowercase());
    let store = app.services().dispatcher.store(caller.org);
    let query = filter.query();
    let found = blocking(move || store.jobs(after, limit, &query, |job| filter.wants(job))).await?;
    let (items, next_cursor) = documents(found, documents::job_summary);
    Ok(Json(JobPage { items, next_cursor }))
}

/// A job and its executions.
#[utoipa::path(get, path = "/api/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)),
    responses((status = 200, description = "It.", body = Job), NotFound, Failures))]
pub(super) async fn get_job(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<Job>, Problem> {
    let (_, job, executions) = find_job(&app, caller.org, &id).await?;
    Ok(Json(documents::job(job, &executions)))
}

/// Where a job is.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/status", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 200, description = "Its status.", body = JobStatusDocument), NotFound, Failures,
    ))]
pub(super) async fn get_job_status(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<JobStatusDocument>, Problem> {
    let (_, job, executions) = find_job(&app, caller.org, &id).await?;
    let mut statuses = Vec::with_capacity(executions.len());
    for record in executions {
        let id = execution_id(&record)?;
        statuses.push(status_document(&app, caller.org, id, record).await?);
    }
    Ok(Json(documents::job_status(job, statuses)))
}

/// Results of all executions of a job. 409 while it has not ended.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/results", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 200, description = "Its results.", body = JobResults),
        NotFinished, NotFound, Failures,
    ))]
pub(super) async fn get_job_results(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Json<JobResults>, Problem> {
    let (_, job, executions) = find_job(&app, caller.org, &id).await?;
    refuse_unfinished(&job.status)?;
    let store = app.services().dispatcher.store(caller.org);
    let mut items = Vec::with_capacity(executions.len());
    for record in executions {
        items.push(documents::results(&store, &app.services().blobs, record).await?);
    }
    Ok(Json(JobResults {
        job_id: job.id,
        status: job.status,
        items,
        next_cursor: None,
    }))
}

/// What happened to a job and its executions, in the order in which it happened.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/events", tag = "jobs",
    params(("id" = String, Path), PageQuery),
    responses((status = 200, description = "A page.", body = EventPage), BadPage, NotFound, Failures))]
pub(super) async fn list_job_events(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Json<EventPage>, Problem> {
    let (id, ..) = find_job(&app, caller.org, &id).await?;
    list_events(&app, caller.org, format!("job:{id}"), &page)
        .await
        .map(Json)
}

/// What the execution of a job printed, the last one where it was tried again; see the logs of
/// executions.
#[utoipa::path(get, path = "/api/v1/jobs/{id}/logs", tag = "jobs",
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
pub(super) async fn get_job_logs(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
    ApiQuery(query): ApiQuery<LogQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (_, _, executions) = find_job(&app, caller.org, &id).await?;
    // Those before it were tried again; their logs are theirs.
    let last = executions.last().ok_or_else(|| Problem::not_found("log"))?;
    serve_log(&app, execution_id(last)?, &query, &headers).await
}

/// Cancels all executions of a job that have not ended. Cancelling it again changes nothing.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is cancelled.", body = Cancellation),
        (status = 202, description = "Its processes are being stopped.", body = Cancellation),
        (status = 409, description = "It had ended otherwise.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        NotFound, Failures,
    ))]
pub(super) async fn cancel_job(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Response, Problem> {
    let (id, _, executions) = find_job(&app, caller.org, &id).await?;
    let (mut stopping, mut cancelled, mut ended) = (false, false, None);
    for record in &executions {
        match app
            .services()
            .dispatcher
            .cancel(caller.org, execution_id(record)?)
            .await?
        {
            Cancelled::Stopping => stopping = true,
            Cancelled::Now | Cancelled::AlreadyEnded(ExecutionStatus::Cancelled) => {
                cancelled = true;
            }
            Cancelled::AlreadyEnded(status) => ended = Some(status),
        }
    }
    let (status, word) = match (stopping, cancelled, ended) {
        (true, ..) => (StatusCode::ACCEPTED, ExecutionStatus::Running),
        (false, false, Some(status)) => return Err(already_ended("job", status.as_str())),
        _ => (StatusCode::OK, ExecutionStatus::Cancelled),
    };
    let body = Cancellation {
        execution_id: None,
        job_id: id.to_string(),
        status: word.as_str().to_owned(),
        stopping,
    };
    Ok((status, Json(body)).into_response())
}

/// Tries a job again that ended without success: a new execution of the same request, with the
/// same version of the task and the same seed.
#[utoipa::path(post, path = "/api/v1/jobs/{id}/retry", tag = "jobs", params(("id" = String, Path)),
    responses(
        (status = 202, description = "It is queued.", body = Executed,
            headers(("location" = String, description = "Of the new execution."))),
        (status = 409, description = "It has not ended, or has succeeded.",
            body = bindery_api_types::Problem, content_type = "application/problem+json"),
        NotFound, Failures,
    ))]
pub(super) async fn retry_job(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(id): ApiPath<String>,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let submitted = app.services().dispatcher.retry(caller.org, id).await?;
    Ok(accepted(&submitted, Vec::new()))
}

/// A job of an organisation with its executions; 404 without.
async fn find_job(
    app: &App,
    org: OrgId,
    id: &str,
) -> Result<(JobId, JobRecord, Vec<ExecutionRecord>), Problem> {
    let id = job_id(id)?;
    let store = app.services().dispatcher.store(org);
    let found = blocking(move || {
        let Some(job) = store.job(id)? else {
            return Ok::<_, Problem>(None);
        };
        let mut executions = Vec::with_capacity(job.executions.len());
        for execution in &job.executions {
            let execution: ExecutionId = execution
                .parse()
                .map_err(|error| Problem::internal(format!("job {id}: {error}")))?;
            executions.extend(store.execution(execution)?);
        }
        Ok(Some((id, job, executions)))
    })
    .await?;
    found.ok_or_else(|| Problem::not_found("job"))
}

fn execution_id(record: &ExecutionRecord) -> Result<ExecutionId, Problem> {
    record
        .id
        .parse()
        .map_err(|error| Problem::internal(format!("a stored execution: {error}")))
}
