//! The host itself: is it alive, can it work, what does it count.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use bindery_api_types::{Health, Readiness, ReadinessCheck};
use bindery_datastore::{Database, Table};

use crate::{
    MetricSample, Problem,
    app::{App, blocking},
    auth::Caller,
    metrics,
    openapi::Failures,
};

/// Waiting executions that are counted; more only say "very many".
const QUEUED_COUNTED_MAX: usize = 10_000;

/// Is the process alive?
#[utoipa::path(get, path = "/health", tag = "system", security(()),
    responses((status = 200, description = "It is.", body = Health)))]
pub(super) async fn get_health(State(app): State<App>) -> Json<Health> {
    let version = app.services().config.version.clone();
    Json(Health {
        status: "ok".to_owned(),
        version,
    })
}

/// Are store, registry and engines usable?
///
/// `ready` with a `degraded` check means that some tasks cannot be run here.
#[utoipa::path(get, path = "/ready", tag = "system", security(()),
    responses(
        (status = 200, description = "They are.", body = Readiness),
        (status = 503, description = "Not all of them.", body = Readiness),
    ))]
pub(super) async fn get_ready(State(app): State<App>) -> impl IntoResponse {
    let checks = BTreeMap::from([
        ("store".to_owned(), store_check(&app).await),
        ("registry".to_owned(), registry_check(&app)),
        ("engines".to_owned(), engines_check(&app)),
    ]);
    let failed = checks.values().any(|check| check.status == "failed");
    let (status, word) = match failed {
        true => (StatusCode::SERVICE_UNAVAILABLE, "unready"),
        false => (StatusCode::OK, "ready"),
    };
    (
        status,
        Json(Readiness {
            status: word.to_owned(),
            checks,
        }),
    )
}

// Anybody may ask: details name no organisation, path or version.
fn check(status: &str, detail: impl Into<String>) -> ReadinessCheck {
    ReadinessCheck {
        status: status.to_owned(),
        detail: detail.into(),
    }
}

async fn store_check(app: &App) -> ReadinessCheck {
    let datastore = Arc::clone(&app.services().datastore);
    let read = blocking(move || datastore.get(Database::Meta, Table::SETTINGS, b"ready")).await;
    match read {
        Ok(_) => check("ok", "readable"),
        Err(_) => check("failed", "cannot be read"),
    }
}

fn registry_check(app: &App) -> ReadinessCheck {
    match app.services().catalog.plugin_count() {
        0 => check("degraded", "no plugin is loaded"),
        count => check("ok", format!("{count} plugins")),
    }
}

fn engines_check(app: &App) -> ReadinessCheck {
    let engines = app.services().engines.engines();
    let found = engines
        .iter()
        .filter(|engine| engine.version.is_some())
        .count();
    let detail = format!("{found} of {} found", engines.len());
    match app.services().engines.sandbox_level() {
        None => check("degraded", format!("{detail}; no sandbox, so none runs")),
        Some(_) if found < engines.len() => check("degraded", detail),
        Some(_) => check("ok", detail),
    }
}

/// Numbers for operators.
#[utoipa::path(get, path = "/metrics", tag = "system",
    responses(
        (status = 200, description = "Prometheus text, version 0.0.4.", body = String,
            content_type = "text/plain"),
        Failures,
    ))]
pub(super) async fn get_metrics(
    Caller(caller): Caller,
    State(app): State<App>,
) -> Result<impl IntoResponse, Problem> {
    let services = app.services().clone();
    let dispatcher = services.dispatcher.clone();
    let queued = blocking(move || dispatcher.queued(caller.org, QUEUED_COUNTED_MAX))
        .await?
        .len();
    let gauge = |name, help, labels, value| MetricSample {
        name,
        help,
        kind: "gauge",
        labels,
        value,
    };
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let executions = [
        ("queued", queued),
        ("running", services.dispatcher.running()),
    ]
    .map(|(status, count)| {
        let help = "Executions that have not ended.";
        gauge(
            "executions",
            help,
            vec![("status", status.to_owned())],
            count as f64,
        )
    });
    let mut samples = vec![gauge(
        "build_info",
        "What runs.",
        vec![
            ("version", services.config.version.clone()),
            ("dev", services.config.dev.to_string()),
        ],
        1.0,
    )];
    samples.extend(executions);
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    samples.push(gauge(
        "websocket_connections",
        "Open WebSockets.",
        Vec::new(),
        app.hub.connections() as f64,
    ));
    samples.extend(services.metrics.samples());
    samples.extend(app.http.samples());
    let text = metrics::render(&samples);
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    ))
}
