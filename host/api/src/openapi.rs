//! The OpenAPI 3.1 document: what is common to all routes, and documents made from the catalog.

use std::collections::BTreeMap;

use bindery_api_types::{ClientFrame, Problem, ServerFrame};
use bindery_core::{Collection, TaskDefinition};
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

/// An OpenAPI document of one task alone: checking and running it, with its own parameters.
pub(crate) fn task_document(definition: &TaskDefinition) -> Value {
    let inputs: Map<String, Value> = definition
        .inputs
        .iter()
        .map(|slot| {
            let one = json!({ "type": "string", "description": slot.summary });
            let schema = match slot.cardinality.as_str() {
                "many" => json!({ "type": "array", "items": one }),
                _ => one,
            };
            (slot.name.clone(), schema)
        })
        .collect();
    let required: Vec<&str> = definition
        .inputs
        .iter()
        .filter(|slot| slot.cardinality.as_str() != "optional")
        .map(|slot| slot.name.as_str())
        .collect();
    let inputs = |required: &[&str]| {
        json!({
            "type": "object",
            "description": "File ids by input slot.",
            "properties": inputs,
            "required": required,
            "additionalProperties": false,
        })
    };
    let problem = json!({
        "description": "A problem document (RFC 9457).",
        "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    });
    let operation = |id: &str, summary: &str, body: Value, status: &str, answer: Value| {
        json!({ "post": {
            "operationId": id,
            "summary": summary,
            "requestBody": {
                "required": true,
                "content": { "application/json": { "schema": body } },
            },
            "responses": {
                status: {
                    "description": "It may run.",
                    "content": { "application/json": { "schema": answer } },
                },
                "default": problem,
            },
        } })
    };
    let parameters = json!({ "$ref": "#/components/schemas/Parameters" });
    let string = json!({ "type": "string" });
    let execute = json!({
        "type": "object",
        "properties": {
            "inputs": inputs(&required),
            "parameters": parameters,
            "priority": { "type": "integer", "minimum": 0, "maximum": 255 },
            "labels": { "type": "object", "additionalProperties": string },
        },
        "additionalProperties": false,
    });
    let executed = json!({
        "type": "object",
        "properties": { "execution_id": string, "job_id": string, "status": string },
        "required": ["execution_id", "job_id", "status"],
    });
    let validate = json!({
        "type": "object",
        "properties": { "inputs": inputs(&[]), "parameters": parameters },
        "additionalProperties": false,
    });
    let validated = json!({
        "type": "object",
        "properties": { "parameters": parameters },
        "required": ["parameters"],
    });
    let path = format!("/api/v1/tasks/{}", definition.id);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": definition.title,
            "version": definition.version.to_string(),
            "summary": definition.summary,
        },
        "paths": {
            format!("{path}/validate"):
                operation("validate", "Checks a request.", validate, "200", validated),
            format!("{path}/execute"):
                operation("execute", "Runs the task.", execute, "202", executed),
        },
        "components": {
            "schemas": {
                "Parameters": definition.parameters,
                "Output": definition.output,
                "Problem": problem_schema(),
            },
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        "security": [{ "token": [] }],
    })
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
