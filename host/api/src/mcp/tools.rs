//! Tools: one for each task that can run here, and the host's own for what a call of a task alone
//! cannot do.

use std::sync::Arc;

use bindery_core::{
    TaskDefinition, TaskRef,
    definition::{Cardinality, Determinism, InputSlot},
};
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    openapi::{embedded, required_members, required_slots},
};

/// Longest wait for a result within one call: clients give up after a minute or more.
pub(super) const WAIT_SECONDS_MAX: u64 = 600;
/// As most clients wait a minute for an answer.
pub(super) const WAIT_SECONDS_DEFAULT: u64 = 45;

pub(super) const UPLOAD_FILE: &str = "bindery_upload_file";
pub(super) const GET_EXECUTION: &str = "bindery_get_execution";
pub(super) const CANCEL_EXECUTION: &str = "bindery_cancel_execution";
const OWN: [&str; 3] = [UPLOAD_FILE, GET_EXECUTION, CANCEL_EXECUTION];

/// What a name means.
pub(super) enum Named {
    Upload,
    Get,
    Cancel,
    Task(TaskRef),
}

/// The name of a task's tool. Ids have no `_`, so that no two tasks share one; many clients take
/// no dots.
pub(super) fn tool_name(task: &str) -> String {
    task.replace('.', "_")
}

pub(super) fn find(app: &App, name: &str) -> Option<Named> {
    match name {
        UPLOAD_FILE => return Some(Named::Upload),
        GET_EXECUTION => return Some(Named::Get),
        CANCEL_EXECUTION => return Some(Named::Cancel),
        _ => {}
    }
    // A name with dots as it is an id is understood as well.
    let task: TaskRef = name.replace('_', ".").parse().ok()?;
    app.services().catalog.task(&task)?;
    Some(Named::Task(task))
}

/// All tools that the caller may use, by name.
pub(super) fn list(app: &App) -> Vec<Tool> {
    let services = app.services();
    let mut tools: Vec<Tool> = services
        .catalog
        .tasks()
        .iter()
        // A tool that cannot work is worse than none: an agent would try it.
        .filter(|listing| services.engines.unavailable(&listing.definition).is_none())
        .map(|listing| task_tool(&listing.definition))
        .filter(|tool| !OWN.contains(&&*tool.name))
        .collect();
    tools.sort_by(|one, other| one.name.cmp(&other.name));
    tools.extend([upload_tool(), get_tool(), cancel_tool()]);
    tools
}

pub(super) fn task_tool(definition: &TaskDefinition) -> Tool {
    let mut description = format!("{}. {}", definition.title, definition.summary);
    if !definition.docs.is_empty() {
        description.push_str(&format!(
            "\n\nMore: resource {}",
            super::resources::task_uri(&definition.id)
        ));
    }
    let deterministic = definition.determinism == Determinism::Deterministic;
    Tool::new(
        tool_name(&definition.id),
        description,
        Arc::new(input_schema(definition)),
    )
    .with_title(definition.title.clone())
    .with_raw_output_schema(Arc::new(output_schema(definition)))
    .with_annotations(
        ToolAnnotations::with_title(definition.title.clone())
            // An execution is added; nothing is changed or taken away.
            .read_only(false)
            .destructive(false)
            .idempotent(deterministic)
            .open_world(false),
    )
}

fn input_schema(definition: &TaskDefinition) -> JsonObject {
    let mut properties = Map::new();
    if !definition.inputs.is_empty() {
        let slots: Map<String, Value> = definition
            .inputs
            .iter()
            .map(|slot| (slot.name.clone(), slot_schema(slot)))
            .collect();
        let inputs = json!({
            "type": "object",
            "description": format!(
                "Files by slot: the id of an uploaded file ({UPLOAD_FILE}), or the text itself."
            ),
            "properties": slots,
            "required": required_slots(definition).collect::<Vec<_>>(),
            "additionalProperties": false,
        });
        properties.insert("inputs".to_owned(), inputs);
    }
    let parameters = embedded(&definition.parameters, "#/properties/parameters");
    properties.insert("parameters".to_owned(), parameters);
    properties.insert("wait_seconds".to_owned(), wait_schema(WAIT_SECONDS_DEFAULT));
    object(json!({
        "type": "object",
        "properties": properties,
        "required": required_members(definition),
        "additionalProperties": false,
    }))
}

fn wait_schema(default: u64) -> Value {
    json!({
        "type": "integer",
        "description": format!(
            "How long to wait for the result. A run that takes longer goes on; ask {GET_EXECUTION} \
             for it by `execution_id`."
        ),
        "minimum": 0,
        "maximum": WAIT_SECONDS_MAX,
        "default": default,
    })
}

fn slot_schema(slot: &InputSlot) -> Value {
    let words = format!("{}. {}", slot.title, slot.summary);
    let formats = format!("{} Formats: {}", words.trim_end(), slot.accepts.join(", "));
    let one = json!({
        "description": formats.trim_end(),
        "anyOf": [
            { "type": "string", "description": "Id of an uploaded file." },
            {
                "type": "object",
                "properties": {
                    "text": { "type": "string", "description": "The content of the file." },
                    "name": { "type": "string", "description": "A file name, for people." },
                },
                "required": ["text"],
                "additionalProperties": false,
            },
        ],
    });
    match slot.cardinality {
        Cardinality::Many => json!({ "type": "array", "items": one, "minItems": 1 }),
        Cardinality::One | Cardinality::Optional => one,
    }
}

/// The results document, or where the execution is.
fn output_schema(definition: &TaskDefinition) -> JsonObject {
    let output = embedded(&definition.output, "#/properties/output/anyOf/0");
    object(json!({
        "type": "object",
        "properties": {
            "execution_id": { "type": "string" },
            "status": {
                "type": "string",
                "description": "`succeeded`, or `queued` or `running` when it takes longer.",
            },
            "output": { "anyOf": [output, { "type": "null" }] },
            "artifacts": { "type": "array", "items": { "type": "object" } },
        },
        "required": ["execution_id", "status"],
    }))
}

fn upload_tool() -> Tool {
    let schema = object(json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "File name, for people." },
            "text": { "type": "string", "description": "The content, when it is text." },
            "base64": { "type": "string", "description": "The content, when it is not." },
        },
        "required": ["name"],
        "additionalProperties": false,
    }));
    let words = "Keeps a file, to be used as an input of tasks by its `id`. Tells its format and \
                 what is wrong with it. Larger files are uploaded by `POST /api/v1/files`.";
    Tool::new(UPLOAD_FILE, words, Arc::new(schema))
        .with_title("Upload a file")
        .with_annotations(
            ToolAnnotations::with_title("Upload a file")
                .read_only(false)
                .destructive(false)
                .idempotent(false)
                .open_world(false),
        )
}

fn execution_schema(with_wait: bool) -> JsonObject {
    let mut properties = Map::new();
    properties.insert("execution_id".to_owned(), json!({ "type": "string" }));
    if with_wait {
        properties.insert("wait_seconds".to_owned(), wait_schema(0));
    }
    object(json!({
        "type": "object",
        "properties": properties,
        "required": ["execution_id"],
        "additionalProperties": false,
    }))
}

fn get_tool() -> Tool {
    let words = "Where an execution is, and its result once it has ended.";
    Tool::new(GET_EXECUTION, words, Arc::new(execution_schema(true)))
        .with_title("Get an execution")
        .with_annotations(
            ToolAnnotations::with_title("Get an execution")
                .read_only(true)
                .open_world(false),
        )
}

fn cancel_tool() -> Tool {
    let words = "Stops an execution that is queued or running.";
    Tool::new(CANCEL_EXECUTION, words, Arc::new(execution_schema(false)))
        .with_title("Cancel an execution")
        .with_annotations(
            ToolAnnotations::with_title("Cancel an execution")
                .read_only(false)
                .destructive(true)
                .idempotent(true)
                .open_world(false),
        )
}

fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}
