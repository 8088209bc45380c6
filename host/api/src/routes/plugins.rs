//! Plugins: publish, look at, take back.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bindery_api_types as dto;
use bindery_identity::{Principal, Role};
use bindery_plugins::{
    ChangeError, HistoryRecord, PluginView, PublishOptions, Report, TrustRecord, VersionRecord,
    VersionStatus, VersionView,
};
use semver::Version;
use serde::Deserialize;
use utoipa::IntoParams;

use super::upload::take_bytes;
use crate::{
    Problem,
    app::App,
    auth::Caller,
    extract::{ApiPath, ApiQuery, PageQuery},
    openapi::{BadPage, BadPlugin, Failures, NotFound, NotSo},
};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PublishQuery {
    /// Also take what the version newly asks for.
    #[serde(default)]
    approve: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct VersionQuery {
    /// One version; see the route for what is meant without it.
    version: Option<String>,
}

impl VersionQuery {
    fn version(&self) -> Result<Option<Version>, Problem> {
        let Some(text) = &self.version else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Problem::query("version", "invalid", "the version is not a SemVer version")
        })
    }
}

/// Packages, by name.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "plugins", params(PageQuery),
    responses((status = 200, description = "A page.", body = dto::PluginList), BadPage, Failures))]
pub(super) async fn list_plugins(
    _: Caller,
    State(app): State<App>,
    ApiQuery(page): ApiQuery<PageQuery>,
) -> Result<Json<dto::PluginList>, Problem> {
    let (limit, after) = (page.limit()?, page.after::<String>()?);
    let mut items: Vec<dto::Plugin> = app
        .services()
        .plugins
        .list()
        .into_iter()
        .filter(|plugin| after.as_ref().is_none_or(|after| plugin.name > *after))
        .take(limit + 1)
        .map(plugin_document)
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next_cursor = items.last().filter(|_| more).map(|item| item.name.clone());
    Ok(Json(dto::PluginList { items, next_cursor }))
}

/// Publishes a package, or a single component: it is live when the answer comes.
///
/// The body is a `.bindery` archive or a component, raw or as the file of a form. A version that
/// asks for more than the one before waits for an approval, and the answer is 202. The number of a
/// signed version stays what it is: another content under it is refused (409, `version_taken`).
/// What nobody signed (`--dev`) replaces what was there under its number.
#[utoipa::path(post, path = "/api/v1/plugins", tag = "plugins", params(PublishQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "It is live.", body = dto::PublishedPlugin),
        (status = 202, description = "It waits for an approval.", body = dto::PublishedPlugin),
        (status = 200, description = "This digest was there already.", body = dto::PublishedPlugin),
        BadPlugin, NotSo, Failures,
    ))]
pub(super) async fn publish_plugin(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiQuery(query): ApiQuery<PublishQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let actor = admin(&caller)?;
    let (bytes, _in_memory) = take_bytes(&app, request).await?;
    let options = PublishOptions {
        approve: query.approve,
        folder: None,
    };
    let plugins = &app.services().plugins;
    let published = plugins.publish(bytes, &actor, options).await?;
    let pending = published.record.status == VersionStatus::Pending;
    let status = match (published.created, pending) {
        (false, _) => StatusCode::OK,
        (true, true) => StatusCode::ACCEPTED,
        (true, false) => StatusCode::CREATED,
    };
    let view = plugins
        .get(&published.record.name)
        .and_then(|plugin| {
            let digest = published.record.digest;
            let mut versions = plugin.versions.into_iter();
            versions.find(|version| version.record.digest == digest)
        })
        .unwrap_or(VersionView {
            record: published.record,
            current: false,
            health: None,
            fault: None,
        });
    let body = dto::PublishedPlugin {
        version: version_document(view),
        code: pending.then(|| "grants_grew".to_owned()),
        report: published.report.map(report_document),
    };
    Ok((status, Json(body)).into_response())
}

/// A package, its versions and what was done to it.
#[utoipa::path(get, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, description = "The package.", body = dto::PluginDetail),
        NotFound, Failures))]
pub(super) async fn get_plugin(
    _: Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<dto::PluginDetail>, Problem> {
    let plugins = &app.services().plugins;
    let plugin = plugins
        .get(&name)
        .ok_or_else(|| Problem::not_found("plugin"))?;
    let history = plugins.history(&name).await.map_err(ChangeError::Store)?;
    Ok(Json(dto::PluginDetail {
        plugin: plugin_document(plugin),
        history: history.into_iter().map(event_document).collect(),
    }))
}

/// Removes a package, or one version of it. What began with it still ends with it.
#[utoipa::path(delete, path = "/api/v1/plugins/{name}", tag = "plugins",
    params(("name" = String, Path), VersionQuery),
    responses((status = 204, description = "It is gone."), BadPage, NotFound, NotSo, Failures))]
pub(super) async fn delete_plugin(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<VersionQuery>,
) -> Result<StatusCode, Problem> {
    let actor = admin(&caller)?;
    let version = query.version()?;
    let plugins = &app.services().plugins;
    plugins.delete(&name, version.as_ref(), &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Back to the version that the name meant before; the newer one stays, disabled.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/rollback", tag = "plugins",
    params(("name" = String, Path)),
    responses((status = 200, description = "As it is now.", body = dto::Plugin),
        NotFound, NotSo, Failures))]
pub(super) async fn roll_plugin_back(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
) -> Result<Json<dto::Plugin>, Problem> {
    let actor = admin(&caller)?;
    let plugin = app.services().plugins.roll_back(&name, &actor).await?;
    Ok(Json(plugin_document(plugin)))
}

/// Takes a package, or one version of it, out of service.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/disable", tag = "plugins",
    params(("name" = String, Path), VersionQuery),
    responses((status = 200, description = "As it is now.", body = dto::Plugin),
        BadPage, NotFound, NotSo, Failures))]
pub(super) async fn disable_plugin(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<VersionQuery>,
) -> Result<Json<dto::Plugin>, Problem> {
    change(&caller, &app, &name, &query, Verb::Disable).await
}

/// Puts a disabled version into service again: the newest, or the one named.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/enable", tag = "plugins",
    params(("name" = String, Path), VersionQuery),
    responses((status = 200, description = "As it is now.", body = dto::Plugin),
        BadPage, NotFound, NotSo, Failures))]
pub(super) async fn enable_plugin(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<VersionQuery>,
) -> Result<Json<dto::Plugin>, Problem> {
    change(&caller, &app, &name, &query, Verb::Enable).await
}

/// Says yes to what a version newly asks for, and makes it live: the newest that waits, or the
/// one named.
#[utoipa::path(post, path = "/api/v1/plugins/{name}/approve", tag = "plugins",
    params(("name" = String, Path), VersionQuery),
    responses((status = 200, description = "As it is now.", body = dto::Plugin),
        BadPage, NotFound, NotSo, Failures))]
pub(super) async fn approve_plugin(
    Caller(caller): Caller,
    State(app): State<App>,
    ApiPath(name): ApiPath<String>,
    ApiQuery(query): ApiQuery<VersionQuery>,
) -> Result<Json<dto::Plugin>, Problem> {
    change(&caller, &app, &name, &query, Verb::Approve).await
}

/// What is done to a package, or to one version of it.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Disable,
    Enable,
    Approve,
}

async fn change(
    caller: &Principal,
    app: &App,
    name: &str,
    query: &VersionQuery,
    verb: Verb,
) -> Result<Json<dto::Plugin>, Problem> {
    let actor = admin(caller)?;
    let version = query.version()?;
    let version = version.as_ref();
    let plugins = &app.services().plugins;
    let plugin = match verb {
        Verb::Disable => plugins.disable(name, version, &actor).await,
        Verb::Enable => plugins.enable(name, version, &actor).await,
        Verb::Approve => plugins.approve(name, version, &actor).await,
    }?;
    Ok(Json(plugin_document(plugin)))
}

/// Plugins are the host's, not an organisation's: only admins change them. Gives what stands in
/// the history.
fn admin(caller: &Principal) -> Result<String, Problem> {
    if caller.role != Role::Admin {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only an admin changes plugins",
        ));
    }
    Ok(caller.token.to_string())
}

fn plugin_document(plugin: PluginView) -> dto::Plugin {
    let current = plugin.versions.iter().find(|version| version.current);
    dto::Plugin {
        version: current.map(|version| version.record.version.to_string()),
        digest: current.map(|version| version.record.digest.0.to_string()),
        name: plugin.name,
        versions: plugin.versions.into_iter().map(version_document).collect(),
    }
}

fn version_document(view: VersionView) -> dto::PluginVersion {
    let VersionRecord {
        name,
        version,
        digest,
        component,
        component_bytes,
        trust,
        folder,
        status,
        cause,
        sheet,
        growth,
        tasks,
        published,
        published_by,
        ..
    } = view.record;
    let word = trust.as_str().to_owned();
    let (publisher, key) = match trust {
        TrustRecord::Signed { publisher, key } => (Some(publisher), Some(key)),
        TrustRecord::Shipped | TrustRecord::Development => (None, None),
    };
    dto::PluginVersion {
        name,
        version: version.to_string(),
        digest: digest.0.to_string(),
        component: component.0.to_string(),
        component_bytes,
        status: status.as_str().to_owned(),
        cause: cause.as_str().to_owned(),
        current: view.current,
        trust: word,
        publisher,
        key,
        source: if folder.is_some() { "folder" } else { "upload" }.to_owned(),
        tasks: tasks
            .into_iter()
            .map(|task| dto::PluginTask {
                id: task.id,
                version: task.version.to_string(),
            })
            .collect(),
        permissions: dto::PermissionSheet {
            imports: sheet.imports,
            engines: sheet.engines,
            hosts: sheet.hosts,
            assets: sheet.assets,
        },
        growth,
        published: published.to_string(),
        published_by,
        health: view.health.map(|reading| dto::PluginHealth {
            calls: reading.calls,
            breaks: reading.breaks,
            breaks_in_a_row: reading.breaks_in_a_row,
        }),
        fault: view.fault,
    }
}

fn event_document(record: HistoryRecord) -> dto::PluginEvent {
    dto::PluginEvent {
        time: record.time.to_string(),
        actor: record.actor,
        action: record.action.as_str().to_owned(),
        version: record.version.to_string(),
        digest: record.digest.0.to_string(),
        from_version: record.from_version.map(|version| version.to_string()),
        from_digest: record.from_digest.map(|digest| digest.0.to_string()),
        reason: record.reason,
    }
}

fn report_document(report: Report) -> dto::PublishReport {
    dto::PublishReport {
        compile: dto::CompileReport {
            cached: report.compile.cached,
            confined: report.compile.confined,
            milliseconds: report.compile.milliseconds,
        },
        cases: report.cases.map(|cases| dto::CasesReport {
            total: cases.total,
            failed: cases.failed,
        }),
        replay: report.replay.map(|replay| dto::ReplayReport {
            validated: replay.validated,
            computed: replay.computed,
            skipped: replay.skipped,
            different: replay.different,
            differences: replay
                .differences
                .into_iter()
                .map(|difference| dto::ReplayDifference {
                    task: difference.task,
                    execution: difference.execution,
                    pointer: difference.pointer,
                    old: difference.old,
                    new: difference.new,
                })
                .collect(),
        }),
        growth: report.growth,
        shrinkage: report.shrinkage,
        milliseconds: report.milliseconds,
    }
}
