//! From what a task gave to what is stored.

use bindery_blobs::Blobs;
use bindery_core::{Artifact, ItemResult};
use bindery_dispatcher::{ProducedArtifact, ResultBody};
use bindery_runtime::{RunDirectories, refuse_links};
use bytes::Bytes;
use serde_json::{Value, json};

/// Bodies up to this size stand in the result's row; larger ones are blobs. sled wants values
/// below 4 KiB, and the row holds receipts and artifacts besides.
const INLINE_BYTES_MAX: usize = 2 << 10;
/// One artifact. The guest's disk limit and the engine's are lower; this is the last wall.
const ARTIFACT_BYTES_MAX: u64 = 4 << 30;

/// A result that cannot be stored, and whose fault it is.
#[derive(Debug)]
pub(crate) enum StoreFault {
    /// The task named a file that is not there or not a file.
    Task(String),
    Host(String),
}

/// Stores the artifacts a task named.
pub(crate) async fn store_artifacts(
    blobs: &Blobs,
    directories: &RunDirectories,
    artifacts: &[Artifact],
) -> Result<Vec<ProducedArtifact>, StoreFault> {
    let roots = [directories.work(), directories.out()];
    tokio::task::spawn_blocking(move || roots.iter().try_for_each(|root| refuse_links(root)))
        .await
        .map_err(|error| StoreFault::Host(error.to_string()))?
        .map_err(StoreFault::Task)?;
    let mut produced = Vec::with_capacity(artifacts.len());
    for artifact in artifacts {
        let path = directories.artifact(artifact).ok_or_else(|| {
            StoreFault::Task(format!(
                "the artifact `{}` names {}, which is not there",
                artifact.name, artifact.path
            ))
        })?;
        let stored = blobs
            .put_file(&path, ARTIFACT_BYTES_MAX)
            .await
            .map_err(|error| StoreFault::Host(format!("artifact `{}`: {error}", artifact.name)))?;
        produced.push(ProducedArtifact {
            name: artifact.name.clone(),
            title: artifact.title.clone(),
            media_type: artifact.media_type.clone(),
            size_bytes: stored.size_bytes,
            digest: stored.digest,
        });
    }
    Ok(produced)
}

/// Stores the task's part of the result document.
pub(crate) async fn store_body(
    blobs: &Blobs,
    result: &ItemResult,
) -> Result<ResultBody, StoreFault> {
    let body = body(result);
    let encoded = serde_json::to_vec(&body).map_err(|error| StoreFault::Host(error.to_string()))?;
    if encoded.len() <= INLINE_BYTES_MAX {
        return Ok(ResultBody::Inline(body));
    }
    let stored = blobs
        .put_bytes(Bytes::from(encoded))
        .await
        .map_err(|error| StoreFault::Host(format!("result: {error}")))?;
    Ok(ResultBody::Blob(stored.digest))
}

fn body(result: &ItemResult) -> Value {
    json!({
        "output": result.output,
        "confidence": result.confidence,
        "metrics": result.metrics.iter().map(|metric| json!({
            "name": metric.name,
            "value": metric.value,
            "unit": metric.unit,
            "better": metric.better.as_str(),
        })).collect::<Vec<_>>(),
        "views": result.views.iter().map(|view| json!({
            "kind": view.kind,
            "title": view.title,
            "spec": view.spec,
            "artifacts": view.artifacts,
        })).collect::<Vec<_>>(),
        "notices": result.notices.iter().map(|notice| json!({
            "severity": notice.severity.as_str(),
            "code": notice.code,
            "message": notice.message,
        })).collect::<Vec<_>>(),
    })
}
