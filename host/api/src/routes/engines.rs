//! Native engines: what was found.

use axum::{Json, extract::State};
use bindery_api_types::{EngineInfo, EngineList};

use crate::{app::App, auth::Caller, openapi::Failures};

/// Engines, by name.
#[utoipa::path(get, path = "/api/v1/engines", tag = "engines",
    responses((status = 200, description = "All that have a manifest.", body = EngineList), Failures))]
pub(super) async fn list_engines(_: Caller, State(app): State<App>) -> Json<EngineList> {
    let engines = &app.services().engines;
    let items = engines
        .engines()
        .into_iter()
        .map(|engine| EngineInfo {
            name: engine.name,
            title: engine.title,
            found: engine.version.is_some(),
            hint: (engine.version.is_none() && !engine.hint.is_empty()).then_some(engine.hint),
            version: engine.version,
        })
        .collect();
    Json(EngineList {
        items,
        next_cursor: None,
        sandbox: engines.sandbox_level(),
    })
}
