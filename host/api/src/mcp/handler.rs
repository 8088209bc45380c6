//! What is offered and how it is answered.

use axum::http::request::Parts;
use bindery_identity::Principal;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, Extensions, Implementation,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
        SubscriptionFilter, Tool,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde_json::json;

use super::{
    call::{self, Line},
    changes::ToolChanges,
    resources,
    tools::{self, Named},
};
use crate::{Problem, app::App};

const INSTRUCTIONS: &str = "Each task of this host is a tool. Give files as ids of uploaded files \
or as text. A call waits for the result; one that takes longer answers with an `execution_id`, \
and the run goes on. Results link to the files that were made. Parameters that are wrong are \
answered with all faults at once, each with a pointer to its place.";

/// One session, or one request where there are none.
pub(super) struct McpHandler {
    app: App,
    changes: ToolChanges,
}

impl McpHandler {
    pub(super) const fn new(app: App, changes: ToolChanges) -> Self {
        Self { app, changes }
    }
}

/// The principal of the HTTP request that a message came in.
fn caller(extensions: &Extensions) -> Result<Principal, ErrorData> {
    extensions
        .get::<Parts>()
        .and_then(|parts| parts.extensions.get::<Principal>())
        .copied()
        .ok_or_else(|| ErrorData::internal_error("a message without a caller", None))
}

fn protocol_error(problem: &Problem) -> ErrorData {
    let document = problem.document();
    let data = json!({ "code": document.code, "status": document.status });
    if document.status == 404 {
        ErrorData::resource_not_found(document.detail, Some(data))
    } else if document.status < 500 {
        ErrorData::invalid_params(document.detail, Some(data))
    } else {
        ErrorData::internal_error(document.detail, Some(data))
    }
}

impl ServerHandler for McpHandler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .build();
        let version = self.app.services().config.version.clone();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("bindery", version))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        caller(&context.extensions)?;
        Ok(ListToolsResult::with_all_items(tools::list(&self.app)))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::list(&self.app)
            .into_iter()
            .find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let org = caller(&context.extensions)?.org;
        let named = tools::find(&self.app, &request.name).ok_or_else(|| {
            let name: String = request.name.chars().take(200).collect();
            ErrorData::invalid_params(format!("there is no tool `{name}`"), None)
        })?;
        let line = Line {
            progress: context.meta.get_progress_token(),
            cancelled: context.ct.clone(),
            peer: context.peer.clone(),
        };
        let arguments = request.arguments;
        let app = &self.app;
        let answer = match named {
            Named::Task(task) => call::run_task(app, org, task, arguments, &line).await,
            Named::Upload => call::upload_file(app, org, arguments).await,
            Named::Get => call::get_execution(app, org, arguments, &line).await,
            Named::Cancel => call::cancel_execution(app, org, arguments).await,
        };
        Ok(answer
            .unwrap_or_else(|problem| {
                problem.log();
                call::refused(&problem)
            })
            .into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        caller(&context.extensions)?;
        let resources = resources::list(&self.app);
        Ok(ListResourcesResult::with_all_items(resources))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        caller(&context.extensions)?;
        let templates = resources::templates();
        Ok(ListResourceTemplatesResult::with_all_items(templates))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let org = caller(&context.extensions)?.org;
        resources::read(&self.app, org, &request.uri)
            .await
            .map(Into::into)
            .map_err(|problem| {
                problem.log();
                protocol_error(&problem)
            })
    }

    /// Sessions: whoever opened one is told of new tools until it closes.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let mut changes = self.changes.watch();
        let stop = self.app.services().stop.clone();
        let peer = context.peer;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = changes.changed() => {
                        if changed.is_err() || peer.notify_tool_list_changed().await.is_err() {
                            return;
                        }
                    }
                    // Nobody says that a session has closed.
                    () = tokio::time::sleep(super::KEEP_ALIVE) => {
                        if peer.is_transport_closed() {
                            return;
                        }
                    }
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    /// Without sessions: whoever asked for it is told of new tools while the request is open.
    fn accepted_subscription_filter(&self, _: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(SubscriptionFilter::builder().tools_list_changed().build())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.watch();
        let stop = self.app.services().stop.clone();
        loop {
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err()
                        || context.sink().notify_tool_list_changed().await.is_err()
                    {
                        return Ok(());
                    }
                }
                () = context.cancelled() => return Ok(()),
                () = stop.cancelled() => return Ok(()),
            }
        }
    }
}
