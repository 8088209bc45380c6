//! Requests that were really made, for whoever wants to make them again.

use std::{sync::Arc, time::Duration};

use bindery_core::{InputFile, Item, OrgId, Request};
use bindery_datastore::{Database, Datastore};
use bindery_dispatcher::{ExecutionStore, StoreError, records::ExecutionRecord};

/// A request and how it went.
#[derive(Debug, Clone)]
pub struct PastRequest {
    /// Id of the execution.
    pub execution: String,
    pub request: Request,
    /// How long it took; none when it has not succeeded.
    pub wall: Option<Duration>,
}

/// The newest requests for a task, whatever organisation made them, newest first. Blocks.
///
/// # Errors
/// When the store cannot be read.
pub fn past_requests(
    datastore: &Arc<dyn Datastore>,
    task: &str,
    count: usize,
) -> Result<Vec<PastRequest>, StoreError> {
    let mut found = Vec::new();
    for database in datastore.databases() {
        let Database::Org(org) = database else {
            continue;
        };
        found.extend(of_org(datastore, org, task, count)?);
    }
    found.sort_by_key(|(record, _)| std::cmp::Reverse(record.created));
    found.truncate(count);
    Ok(found.into_iter().map(|(_, past)| past).collect())
}

fn of_org(
    datastore: &Arc<dyn Datastore>,
    org: OrgId,
    task: &str,
    count: usize,
) -> Result<Vec<(ExecutionRecord, PastRequest)>, StoreError> {
    let store = ExecutionStore::new(Arc::clone(datastore), org);
    let page = store.executions(None, count, |record| record.task == task)?;
    Ok(page
        .items
        .into_iter()
        .filter_map(|record| {
            let past = PastRequest {
                execution: record.id.clone(),
                request: request_of(&record)?,
                wall: wall(&record),
            };
            Some((record, past))
        })
        .collect())
}

fn wall(record: &ExecutionRecord) -> Option<Duration> {
    let (started, finished) = (record.started?, record.finished?);
    let succeeded = record.status == "succeeded";
    succeeded
        .then(|| Duration::try_from(finished.duration_since(started)).ok())
        .flatten()
}

/// The request of an execution; none when a digest in its record cannot be read.
fn request_of(record: &ExecutionRecord) -> Option<Request> {
    let inputs = record
        .inputs
        .iter()
        .map(|input| {
            Some(InputFile {
                slot: input.slot.clone(),
                path: input.path.clone(),
                original_name: input.name.clone(),
                media_type: input.media_type.clone(),
                size_bytes: input.size_bytes,
                digest: input.digest.parse().ok()?,
            })
        })
        .collect::<Option<_>>()?;
    Some(Request {
        task: record.task.clone(),
        parameters: record.parameters.clone(),
        inputs,
        items: vec![Item::single()],
        seed: record.seed,
    })
}
