//! The OpenAPI 3.1 document: what is common to all routes, and documents made from the catalog.

use std::collections::BTreeMap;

use bindery_api_types::{ClientFrame, Problem, ServerFrame};
use bindery_core::{Collection, TaskDefinition, definition::Cardinality};
use serde_json::{Map, Value, json};
use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, Response, ResponseBuilder,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{app::App, auth::COOKIE, problem::PROBLEM_JSON, routes::table};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bindery",
        description = "Tasks published by WASM plugins, run on uploaded files.\n\nErrors are \
            RFC 9457 problem documents with a stable `code`. Lists are newest first and come in \
            pages: give `next_cursor` as `cursor` to go on.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(),
    ),
    components(schemas(Problem, ClientFrame, ServerFrame)),
    security(("token" = []), ("session" = [])),
    modifiers(&Credentials),
    tags(
        (name = "tasks", description = "What can be run, and running it."),
        (name = "plugins", description = "Where tasks come from: publishing and taking back."),
        (name = "files", description = "Uploaded, content-addressed inputs."),
        (name = "collections", description = "Kinds of files that plugins declare."),
        (name = "jobs", description = "Submissions."),
        (name = "executions", description = "Runs of tasks."),
        (name = "artifacts", description = "Outputs."),
        (name = "events", description = "What happens, as it happens."),
        (name = "engines", description = "Native programs that tasks use."),
        (name = "auth", description = "Signing in with a browser."),
        (name = "system", description = "The host itself."),
    ),
)]
struct Base;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token."))
            .build();
        let cookie = ApiKeyValue::with_description(COOKIE, "A session, see `/api/v1/auth/login`.");
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Of all routes, as far as they do not depend on what is loaded.
pub(crate) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// The document of all routes, with collections in general.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    let table: utoipa_axum::router::OpenApiRouter<App> = table();
    table.into_openapi()
}

/// The document of a running host: routes of collections under the names they have.
pub(crate) fn document_for(collections: &[Collection]) -> Result<Value, serde_json::Error> {
    const PARAMETER: &str = "{collection}";
    let mut document = serde_json::to_value(document())?;
    if collections.is_empty() {
        return Ok(document);
    }
    let Some(paths) = document.get_mut("paths").and_then(Value::as_object_mut) else {
        return Ok(document);
    };
    let (general, mut named): (Map<String, Value>, Map<String, Value>) = std::mem::take(paths)
        .into_iter()
        .partition(|(path, _)| path.contains(PARAMETER));
    for collection in collections {
        for (path, item) in &general {
            let item = name_collection(item.clone(), collection);
            named.insert(path.replace(PARAMETER, &collection.name), item);
        }
    }
    *paths = named;
    Ok(document)
}

/// A path item of collections in general, made one of this collection.
fn name_collection(mut item: Value, collection: &Collection) -> Value {
    for operation in item.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(parameters) = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut)
        {
            parameters.retain(|parameter| parameter.get("name") != Some(&json!("collection")));
        }
        if let Some(id) = operation.get("operationId").and_then(Value::as_str) {
            let id = format!("{id}_{}", collection.name.replace('-', "_"));
            operation["operationId"] = json!(id);
        }
        if let Some(tags) = operation.get_mut("tags") {
            *tags = json!([collection.name]);
        }
    }
    item
}

/// A schema that stood alone, as a part of a document: what it refers to within itself is found
/// below `pointer` (`#/components/schemas/Parameters`).
pub(crate) fn embedded(schema: &Value, pointer: &str) -> Value {
    let mut schema = schema.clone();
    if let Some(members) = schema.as_object_mut() {
        // A base address of its own would make the references relative to that again.
        members.shift_remove("$id");
        members.shift_remove("$schema");
    }
    rebase(&mut schema, pointer);
    schema
}

fn rebase(value: &mut Value, pointer: &str) {
    /// What stands below these is data, whatever it looks like.
    const DATA: [&str; 4] = ["const", "default", "enum", "examples"];
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(reference) if name == "$ref" => {
                        if let Some(local) = reference.strip_prefix('#') {
                            *reference = format!("{pointer}{local}");
                        }
                    }
                    _ if DATA.contains(&name.as_str()) => {}
                    member => rebase(member, pointer),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rebase(item, pointer)),
        _ => {}
    }
}

/// An OpenAPI document of one task alone: checking and running it, with its own parameters.
pub(crate) fn task_document(definition: &TaskDefinition) -> Value {
    let string = json!({ "type": "string" });
    let parameters = json!({ "$ref": "#/components/schemas/Parameters" });
    let notices = json!({ "type": "array", "items": {
        "type": "object",
        "properties": { "severity": string, "code": string, "message": string },
        "required": ["severity", "code", "message"],
    } });
    let execute = json!({
        "type": "object",
        "properties": {
            "inputs": inputs_schema(definition, true),
            "parameters": parameters,
            "priority": { "type": "integer", "minimum": 0, "maximum": 255 },
            "labels": { "type": "object", "additionalProperties": string },
            "cache": { "type": ["boolean", "string"] },
        },
        "required": required_members(definition),
        "additionalProperties": false,
    });
    let executed = json!({
        "type": "object",
        "properties": {
            "execution_id": string, "job_id": string, "status": string, "notices": notices,
        },
        "required": ["execution_id", "job_id", "status"],
    });
    let validate = json!({
        "type": "object",
        "properties": { "inputs": inputs_schema(definition, false), "parameters": parameters },
        "additionalProperties": false,
    });
    let validated = json!({
        "type": "object",
        "properties": { "parameters": parameters, "notices": notices },
        "required": ["parameters"],
    });
    let path = format!("/api/v1/tasks/{}", definition.id);
    let mut info = json!({
        "title": definition.title,
        "version": definition.version.to_string(),
        "summary": definition.summary,
    });
    if let Some(info) = info.as_object_mut()
        && !definition.docs.is_empty()
    {
        info.insert("description".to_owned(), json!(definition.docs));
    }
    json!({
        "openapi": "3.1.0",
        "info": info,
        "servers": [{ "url": "/" }],
        "paths": {
            format!("{path}/validate"): { "post": operation(Operation {
                id: "validate",
                summary: "Checks a request.",
                body: validate,
                examples: examples(definition, false),
                status: "200",
                answer: validated,
            }) },
            format!("{path}/execute"): { "post": operation(Operation {
                id: "execute",
                summary: "Runs the task.",
                body: execute,
                examples: examples(definition, true),
                status: "202",
                answer: executed,
            }) },
        },
        "components": {
            "schemas": {
                "Parameters": embedded(&definition.parameters, "#/components/schemas/Parameters"),
                "Output": embedded(&definition.output, "#/components/schemas/Output"),
                "Problem": problem_schema(),
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
}

struct Operation {
    id: &'static str,
    summary: &'static str,
    body: Value,
    examples: Map<String, Value>,
    status: &'static str,
    answer: Value,
}

fn operation(operation: Operation) -> Value {
    let problem = |description: &str| {
        json!({
            "description": description,
            "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    let mut content = Map::new();
    content.insert("schema".to_owned(), operation.body);
    if !operation.examples.is_empty() {
        content.insert("examples".to_owned(), Value::Object(operation.examples));
    }
    json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "requestBody": { "required": true, "content": { "application/json": content } },
        "responses": {
            operation.status: {
                "description": "It may run.",
                "content": { "application/json": { "schema": operation.answer } },
            },
            "401": problem("No valid credential."),
            "422": problem("The request is not valid; `violations` names all faults."),
            "default": problem("A problem document (RFC 9457) with a stable `code`."),
        },
    })
}

/// File ids by slot.
fn inputs_schema(definition: &TaskDefinition, all: bool) -> Value {
    let slots: Map<String, Value> = definition
        .inputs
        .iter()
        .map(|slot| {
            let words = format!("{}. {}", slot.title, slot.summary);
            let one = json!({ "type": "string", "description": words.trim_end() });
            let schema = match slot.cardinality {
                Cardinality::Many => json!({ "type": "array", "items": one }),
                Cardinality::One | Cardinality::Optional => one,
            };
            (slot.name.clone(), schema)
        })
        .collect();
    let required: Vec<&str> = if all {
        required_slots(definition).collect()
    } else {
        Vec::new()
    };
    json!({
        "type": "object",
        "description": "File ids by input slot.",
        "properties": slots,
        "required": required,
        "additionalProperties": false,
    })
}

pub(crate) fn required_slots(definition: &TaskDefinition) -> impl Iterator<Item = &str> {
    definition
        .inputs
        .iter()
        .filter(|slot| slot.cardinality != Cardinality::Optional)
        .map(|slot| slot.name.as_str())
}

/// Members of a request that cannot be left out.
pub(crate) fn required_members(definition: &TaskDefinition) -> Vec<&'static str> {
    let mut required = Vec::new();
    if required_slots(definition).next().is_some() {
        required.push("inputs");
    }
    let has_required = definition
        .parameters
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|names| !names.is_empty());
    if has_required {
        required.push("parameters");
    }
    required
}

/// The examples of the definition, by number, as bodies of a request.
fn examples(definition: &TaskDefinition, with_files: bool) -> Map<String, Value> {
    definition
        .examples
        .iter()
        .enumerate()
        .map(|(position, example)| {
            let mut value = Map::new();
            value.insert("parameters".to_owned(), example.parameters.clone());
            if with_files {
                // Files have ids once they are uploaded; what stands here says which is which.
                let files: Map<String, Value> = example
                    .inputs
                    .iter()
                    .map(|(slot, path)| (slot.clone(), json!(format!("id of {path}"))))
                    .collect();
                value.insert("inputs".to_owned(), Value::Object(files));
            }
            let entry = json!({ "summary": example.title, "value": value });
            (format!("example{}", position + 1), entry)
        })
        .collect()
}

fn problem_schema() -> Value {
    let string = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "type": string, "title": string, "status": { "type": "integer" }, "detail": string,
            "code": string,
            "violations": { "type": "array", "items": {
                "type": "object",
                "properties": { "pointer": string, "code": string, "message": string },
            } },
        },
        "required": ["code", "status", "detail"],
    })
}

/// Declares a group of problems that routes may answer with.
macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal: $description:literal),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([$(($status.to_owned(), problem($description))),+])
                }
            }
        )+
    };
}

problems! {
    /// What any route with a credential may answer.
    Failures {
        "401": "No valid credential.",
        "403": "Not allowed.",
        "405": "The path does not take this method.",
        "500": "The host's own fault.",
        "503": "The host cannot do this now.",
    }
    Unauthorized {
        "401": "The token is not valid.",
    }
    NotFound {
        "404": "There is no such thing here.",
    }
    /// A list's `limit`, `cursor` or filter.
    BadPage {
        "400": "A query parameter is wrong.",
    }
    BadBody {
        "400": "The body is not JSON, or a header is wrong.",
        "408": "The body did not come in time.",
        "413": "The body is too large.",
        "415": "The body is of another media type.",
        "422": "The request is not valid; `violations` says where.",
        "507": "The host's storage is full.",
    }
    BadUpload {
        "400": "The upload could not be read.",
        "408": "The upload did not come in time.",
        "413": "The file is too large.",
        "422": "The file is not usable; `violations` says why.",
        "507": "The host's storage is full.",
    }
    /// A package that is not taken.
    BadPlugin {
        "400": "The upload could not be read.",
        "403": "It may not be loaded here; `code` says why (`unsigned`, `signature_invalid`, \
            `publisher_unknown`, `publisher_not_allowed`, `revoked`, `tampered`, `downgrade`).",
        "408": "The upload did not come in time.",
        "413": "The package is too large.",
        "422": "It is no plugin that this host runs; `code` says why.",
        "507": "The host's storage is full.",
    }
    /// A change that does not fit what is there.
    NotSo {
        "409": "It does not fit what is there; `code` says why.",
    }
    NoRange {
        "410": "The content is no longer kept.",
        "416": "The range begins beyond the end.",
    }
    NotFinished {
        "409": "It has not ended.",
    }
    /// A task that cannot be run, through no fault of the client.
    NotNow {
        "502": "The task's plugin broke.",
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let content = ContentBuilder::new()
        .schema(Some(RefOr::Ref(Ref::from_schema_name("Problem"))))
        .build();
    ResponseBuilder::new()
        .description(description)
        .content(PROBLEM_JSON, content)
        .build()
        .into()
}
