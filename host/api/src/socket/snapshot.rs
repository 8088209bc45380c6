//! The state of a topic, in place of events that cannot be sent.

use bindery_core::OrgId;
use bindery_dispatcher::JobQuery;
use serde_json::{Value, json};

use super::topic::Topic;
use crate::{Problem, app::App, documents, routes::task_summaries};

/// Jobs in the snapshot of an organisation: a page of the history.
const JOBS_MAX: usize = 50;
/// Waiting executions that are counted.
const QUEUED_COUNTED_MAX: usize = 1_000;

/// What the routes would say of it now; null when there is no such thing. Reads the store.
pub(super) fn snapshot(app: &App, org: OrgId, topic: Topic) -> Result<Value, Problem> {
    let dispatcher = &app.services().dispatcher;
    let store = dispatcher.store(org);
    let encode = |value: serde_json::Result<Value>| {
        value.map_err(|error| Problem::internal(format!("snapshot: {error}")))
    };
    match topic {
        Topic::Job(id) => {
            let Some(job) = store.job(id)? else {
                return Ok(Value::Null);
            };
            let mut executions = Vec::with_capacity(job.executions.len());
            for id in job.executions.iter().filter_map(|id| id.parse().ok()) {
                executions.extend(store.execution(id)?);
            }
            encode(serde_json::to_value(documents::job(job, &executions)))
        }
        Topic::Execution(id) => {
            let Some(execution) = store.execution(id)? else {
                return Ok(Value::Null);
            };
            let live = dispatcher.live(id);
            encode(serde_json::to_value(documents::execution(
                execution,
                live.as_ref(),
            )))
        }
        Topic::Org => {
            let jobs = store
                .jobs(None, JOBS_MAX, &JobQuery::default(), |_| true)?
                .items;
            let jobs: Vec<_> = jobs.into_iter().map(documents::job_summary).collect();
            let queued = dispatcher.queued(org, QUEUED_COUNTED_MAX)?.len();
            Ok(json!({ "jobs": jobs, "queued": queued, "running": dispatcher.running() }))
        }
        Topic::Tasks => Ok(json!({ "items": task_summaries(app) })),
        Topic::Services => Ok(json!({ "items": [] })),
    }
}
