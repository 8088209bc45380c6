//! What can be read: the words of each task about itself, and the files that executions made.

use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_STANDARD};
use bindery_api_types::Artifact;
use bindery_core::{ArtifactId, Digest, OrgId, TaskDefinition, TaskRef};
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};

use crate::{
    Problem,
    app::{App, blocking},
    extract::parse_id,
};

const TASKS: &str = "bindery://tasks/";
const ARTIFACTS: &str = "bindery://artifacts/";
/// More does not fit what an agent can read; the rest is downloaded.
const CONTENT_BYTES_MAX: u64 = 4 << 20;
const MARKDOWN: &str = "text/markdown";

pub(super) fn task_uri(task: &str) -> String {
    format!("{TASKS}{task}")
}

/// The words of every task.
pub(super) fn list(app: &App) -> Vec<Resource> {
    let mut resources: Vec<Resource> = app
        .services()
        .catalog
        .tasks()
        .iter()
        .map(|listing| {
            let definition = &listing.definition;
            Resource::new(task_uri(&definition.id), definition.id.clone())
                .with_title(definition.title.clone())
                .with_description(definition.summary.clone())
                .with_mime_type(MARKDOWN)
        })
        .collect();
    resources.sort_by(|one, other| one.uri.cmp(&other.uri));
    resources
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new(format!("{TASKS}{{task}}"), "task")
            .with_title("A task")
            .with_description("What a task does, takes and gives. `NAME@VERSION` pins a version.")
            .with_mime_type(MARKDOWN),
        ResourceTemplate::new(format!("{ARTIFACTS}{{id}}"), "artifact")
            .with_title("An artifact")
            .with_description("A file that an execution made; results link to them."),
    ]
}

/// An artifact as a link.
pub(super) fn artifact(artifact: &Artifact) -> Resource {
    Resource::new(format!("{ARTIFACTS}{}", artifact.id), artifact.name.clone())
        .with_title(artifact.title.clone())
        .with_mime_type(artifact.media_type.clone())
        .with_size(artifact.size)
}

/// # Errors
/// When there is no such resource for this organisation, or it is too large to be read here.
pub(super) async fn read(app: &App, org: OrgId, uri: &str) -> Result<ReadResourceResult, Problem> {
    let unknown = || Problem::not_found("resource");
    if let Some(task) = uri.strip_prefix(TASKS) {
        let task: TaskRef = task.parse().map_err(|_| unknown())?;
        let listing = app.services().catalog.task(&task).ok_or_else(unknown)?;
        let text = words(&listing.definition);
        let contents = ResourceContents::text(text, uri).with_mime_type(MARKDOWN);
        return Ok(ReadResourceResult::new(vec![contents]));
    }
    let id = uri.strip_prefix(ARTIFACTS).ok_or_else(unknown)?;
    let id: ArtifactId = parse_id(id, "artifact")?;
    let store = app.services().dispatcher.store(org);
    let record = blocking(move || store.artifact(id))
        .await?
        .ok_or_else(unknown)?;
    if record.size_bytes > CONTENT_BYTES_MAX {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!(
                "{} has {} bytes; download it: GET /api/v1/artifacts/{}",
                record.name, record.size_bytes, record.id
            ),
        ));
    }
    let fault = |error: String| Problem::internal(format!("artifact {}: {error}", record.id));
    let digest: Digest = record
        .digest
        .parse()
        .map_err(|error| fault(format!("{error}")))?;
    let reader = app
        .services()
        .blobs
        .get(&digest, None)
        .await
        .map_err(|error| fault(error.to_string()))?;
    let bytes = reader
        .bytes()
        .await
        .map_err(|error| fault(error.to_string()))?;
    let contents = match String::from_utf8(bytes.to_vec()) {
        Ok(text) => ResourceContents::text(text, uri),
        Err(_) => ResourceContents::blob(BASE64_STANDARD.encode(&bytes), uri),
    };
    Ok(ReadResourceResult::new(vec![
        contents.with_mime_type(record.media_type.clone()),
    ]))
}

fn words(definition: &TaskDefinition) -> String {
    let mut text = format!(
        "# {}\n\n`{}@{}`. {}\n",
        definition.title, definition.id, definition.version, definition.summary
    );
    if !definition.inputs.is_empty() {
        text.push_str("\n## Inputs\n\n");
        for slot in &definition.inputs {
            text.push_str(&format!(
                "- `{}` ({}): {}. {} Formats: {}\n",
                slot.name,
                slot.cardinality.as_str(),
                slot.title,
                slot.summary,
                slot.accepts.join(", ")
            ));
        }
    }
    if !definition.artifacts.is_empty() {
        text.push_str("\n## Artifacts\n\n");
        for slot in &definition.artifacts {
            text.push_str(&format!(
                "- `{}` ({}): {}\n",
                slot.name, slot.media_type, slot.title
            ));
        }
    }
    if !definition.docs.is_empty() {
        text.push_str(&format!("\n{}\n", definition.docs.trim()));
    }
    text
}
