//! The table of routes.

mod artifacts;
mod collections;
mod definitions;
mod docs;
mod engines;
mod executions;
mod files;
mod jobs;
mod login;
mod logs;
mod oci;
mod page;
mod plugins;
mod system;
mod tasks;
mod upload;

use axum::{
    Router,
    http::{StatusCode, Uri},
    middleware,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Problem, Services, app::App, auth::Caller, observe::observe, openapi, socket};

pub(crate) use self::executions::{find_execution, status_document};
pub(crate) use self::tasks::{PRIORITY_DEFAULT, find_inputs, summaries as task_summaries};

/// The whole HTTP interface. Must be called within a tokio runtime: the WebSocket's hub is a
/// tokio task.
pub fn router(services: Services) -> Router {
    let app = App::new(services);
    let (routes, _) = table().split_for_parts();
    routes
        .merge(docs::routes())
        .merge(login::pages())
        .merge(crate::mcp::routes(&app))
        .merge(oci::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Routes that are part of the OpenAPI document.
pub(crate) fn table() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(system::get_health))
        .routes(routes!(system::get_ready))
        .routes(routes!(system::get_metrics))
        .routes(routes!(login::log_in))
        .routes(routes!(login::log_out))
        .routes(routes!(login::get_session))
        .routes(routes!(engines::list_engines))
        .routes(routes!(tasks::list_tasks))
        .routes(routes!(tasks::get_task))
        .routes(routes!(tasks::validate_task))
        .routes(routes!(tasks::execute_task))
        .routes(routes!(plugins::list_plugins, plugins::publish_plugin))
        .routes(routes!(plugins::get_plugin, plugins::delete_plugin))
        .routes(routes!(plugins::roll_plugin_back))
        .routes(routes!(plugins::disable_plugin))
        .routes(routes!(plugins::enable_plugin))
        .routes(routes!(plugins::approve_plugin))
        .routes(routes!(definitions::get_validator))
        .routes(routes!(definitions::get_task_openapi))
        .routes(routes!(files::list_files, files::upload_file))
        .routes(routes!(files::get_file))
        .routes(routes!(files::download_file))
        .routes(routes!(collections::upload_item))
        .routes(routes!(collections::list_items))
        .routes(routes!(collections::get_item))
        .routes(routes!(jobs::list_jobs))
        .routes(routes!(jobs::get_job))
        .routes(routes!(jobs::get_job_status))
        .routes(routes!(jobs::get_job_results))
        .routes(routes!(jobs::list_job_events))
        .routes(routes!(jobs::get_job_logs))
        .routes(routes!(jobs::cancel_job))
        .routes(routes!(jobs::retry_job))
        .routes(routes!(executions::list_executions))
        .routes(routes!(executions::get_execution))
        .routes(routes!(executions::get_execution_status))
        .routes(routes!(executions::get_execution_results))
        .routes(routes!(executions::list_execution_events))
        .routes(routes!(executions::get_execution_logs))
        .routes(routes!(executions::list_execution_artifacts))
        .routes(routes!(executions::cancel_execution))
        .routes(routes!(artifacts::download_artifact))
        .routes(routes!(socket::open_socket))
        .routes(routes!(socket::issue_ticket))
}

/// Under `/api` nobody learns what is there without a credential.
async fn unknown_path(caller: Result<Caller, Problem>, uri: Uri) -> Problem {
    match caller {
        Err(problem) if uri.path().starts_with("/api") => problem,
        _ => Problem::not_found("path"),
    }
}

async fn unknown_method(caller: Result<Caller, Problem>, uri: Uri) -> Problem {
    match caller {
        Err(problem) if uri.path().starts_with("/api") => problem,
        _ => Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the path does not take this method; `Allow` lists those it takes",
        ),
    }
}
