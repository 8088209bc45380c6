//! A host for tests: real router, store, dispatcher and blobs; stand-ins for the rest.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use bindery_api::{
    ApiConfig, NoMetrics, Services,
    ports::{
        EngineDirectory, EngineEntry, FileLibrary, PluginStore, RequestIntake, TaskCatalog,
        TaskListing, UploadError,
    },
    router,
};
use bindery_blobs::{Blobs, PutError};
use bindery_core::{
    AttemptEnding, Collection, Digest, Estimate, FileId, Notice, OrgId, Severity, TaskDefinition,
    TaskRef, Violation,
    definition::{
        Cardinality, Citation, Determinism, EngineRequirement, Example, InputSlot, OutputSlot,
        ResourceHints,
    },
};
use bindery_datastore::{Datastore, MemoryDatastore};
use bindery_dispatcher::{
    AttemptReport, AttemptUpdate, Dispatcher, Executor, Page, ProducedArtifact, Resources,
    ResultBody, Rules, StoreError, Submission, UpdateSink, WorkOrder,
    records::{InputRecord, NoticeRecord, ProblemRecord, ResourcesRecord, UsageRecord},
};
use bindery_executor::{
    Checked, Draft, FaultRecord, FileRecord, IngestError, InspectionRecord, IntakeError,
    LogDirectory, Mode,
};
use bindery_identity::{Identity, NewToken, Role};
use bindery_registry::oci::{DirectoryStorage, Registry};
use bindery_runtime::{GuestBreak, TrapKind};
use bindery_transpile::{ComponentSource, Validators};
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use semver::Version;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Anything a test waits for comes within this time, or never.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// What the registry may hold.
pub(crate) const OCI_BYTES_MAX: u64 = 8 << 20;
pub(crate) const UPLOAD_BYTES_MAX: u64 = 1 << 20;
/// Files that start so are of the collection's format.
pub(crate) const SAMPLE: &str = "SAMPLE";
/// Media type of the collection's format.
pub(crate) const SAMPLE_TYPE: &str = "text/x-sample";

pub(crate) struct TestHost {
    pub(crate) router: Router,
    pub(crate) token: String,
    pub(crate) services: Services,
    /// A permit lets one held execution go on.
    pub(crate) release: Arc<Semaphore>,
    catalog: Arc<FakeCatalog>,
    _directory: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The code of a problem document of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl TestHost {
    pub(crate) async fn start() -> Self {
        Self::start_with(Arc::new(crate::plugins::FakePlugins::default())).await
    }

    pub(crate) async fn start_with(plugins: Arc<dyn PluginStore>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let blobs = Blobs::open(&directory.path().join("blobs")).unwrap();
        let logs = LogDirectory::open(directory.path().join("logs")).unwrap();
        let release = Arc::new(Semaphore::new(0));
        let executor = FakeExecutor {
            blobs: blobs.clone(),
            logs: logs.clone(),
            release: Arc::clone(&release),
        };
        let capacity = Resources {
            cpu_cores: 2,
            memory_bytes: 1 << 30,
        };
        let config = Rules::shared(capacity, 2);
        let dispatcher = Dispatcher::start(Arc::clone(&datastore), Arc::new(executor), config)
            .await
            .unwrap();
        let identity = Identity::new(Arc::clone(&datastore));
        let token = identity
            .ensure_admin_token()
            .await
            .unwrap()
            .unwrap()
            .expose()
            .to_owned();
        let catalog = Arc::new(FakeCatalog::default());
        let services = Services {
            datastore,
            blobs: blobs.clone(),
            dispatcher,
            catalog: catalog.clone(),
            plugins,
            oci: Arc::new(
                Registry::open(
                    Arc::new(DirectoryStorage::open(directory.path().join("oci")).unwrap()),
                    OCI_BYTES_MAX,
                )
                .unwrap(),
            ),
            library: Arc::new(FakeLibrary {
                blobs,
                files: Mutex::default(),
            }),
            intake: Arc::new(FakeIntake {
                catalog: catalog.clone(),
            }),
            engines: Arc::new(FakeEngines),
            validators: Validators::new(Arc::new(NoComponents), None),
            identity,
            logs,
            metrics: Arc::new(NoMetrics),
            stop: CancellationToken::new(),
            config: ApiConfig {
                upload_bytes_max: UPLOAD_BYTES_MAX,
                ..ApiConfig::default()
            },
        };
        let router = router(services.clone());
        Self {
            router,
            token,
            services,
            release,
            catalog,
            _directory: directory,
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let mut router = self.router.clone();
        poll_fn(|context| Service::<Request<Body>>::poll_ready(&mut router, context))
            .await
            .unwrap_or_else(|never: Infallible| match never {});
        let response = router.call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 64 << 20).await.unwrap().to_vec();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "host.test")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    pub(crate) async fn post_with(
        &self,
        path: &str,
        body: Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    pub(crate) async fn upload(&self, path: &str, name: &str, content: impl Into<Body>) -> Answer {
        let request = self
            .request(Method::POST, &format!("{path}?name={name}"))
            .header(header::CONTENT_TYPE, "application/octet-stream");
        self.send(request.body(content.into()).unwrap()).await
    }

    /// Uploads a file of the collection's format and gives its id.
    pub(crate) async fn sample(&self) -> String {
        let answer = self
            .upload("/api/v1/files", "a.sample", format!("{SAMPLE} one"))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Runs the task and gives execution and job.
    pub(crate) async fn execute(&self, parameters: Value) -> (String, String) {
        let file = self.sample().await;
        let body = json!({ "inputs": { "sample": file }, "parameters": parameters });
        let answer = self.post("/api/v1/tasks/test.count/execute", body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text());
        let answer = answer.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (text("execution_id"), text("job_id"))
    }

    /// Waits until an execution has a status.
    pub(crate) async fn wait_for(&self, execution: &str, status: &str) {
        let path = format!("/api/v1/executions/{execution}/status");
        tokio::time::timeout(DEADLINE, async {
            while self.get(&path).await.json()["status"] != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{execution} does not become {status}"));
    }

    pub(crate) async fn finished(&self, parameters: Value) -> (String, String) {
        let ids = self.execute(parameters).await;
        self.wait_for(&ids.0, "succeeded").await;
        ids
    }

    /// Another task, as if a plugin had been loaded.
    pub(crate) fn load_task(&self, id: &str) {
        let mut task = definition();
        task.id = id.to_owned();
        self.catalog.tasks.lock().unwrap().push(Arc::new(task));
    }

    /// A token of another organisation.
    pub(crate) async fn stranger(&self) -> String {
        let new = NewToken {
            org: "org_00000000000000000000000000000099".parse().unwrap(),
            role: Role::Admin,
            name: "stranger".into(),
            expires: None,
        };
        let (_, text) = self.services.identity.create_token(&new).await.unwrap();
        text.expose().to_owned()
    }
}

fn definition() -> TaskDefinition {
    TaskDefinition {
        id: "test.count".into(),
        version: Version::new(1, 2, 0),
        title: "Count things".into(),
        category: "test".into(),
        summary: "Counts what is in a sample.".into(),
        docs: "# Counting".into(),
        parameters: json!({
            "type": "object",
            "$defs": { "word": { "default": { "$ref": "#/x" } } },
            "properties": {
                "count": { "type": "integer", "minimum": 1, "default": 3 },
                "of": { "$ref": "#/$defs/word" },
            },
        }),
        inputs: vec![InputSlot {
            name: "sample".into(),
            title: "Sample".into(),
            summary: "What is counted.".into(),
            accepts: vec![SAMPLE_TYPE.into()],
            cardinality: Cardinality::One,
        }],
        output: json!({ "type": "object" }),
        artifacts: vec![OutputSlot {
            name: "counted.txt".into(),
            title: "Counted".into(),
            media_type: "text/plain".into(),
        }],
        engines: vec![EngineRequirement {
            engine: "abacus".into(),
            versions: ">=1".parse().unwrap(),
        }],
        resources: ResourceHints {
            cpu_cores: 1,
            memory_bytes: 1 << 20,
            disk_bytes: 1 << 20,
            wall_ms: 1000,
        },
        determinism: Determinism::Seeded,
        max_items_per_run: 1,
        examples: vec![Example {
            title: "Two".into(),
            parameters: json!({ "count": 2 }),
            inputs: vec![("sample".into(), "a.sample".into())],
        }],
        keywords: vec!["tally".into()],
        citations: vec![Citation {
            text: "Someone, On counting, 1900".into(),
            doi: "10.1/x".into(),
            url: String::new(),
        }],
    }
}

#[derive(Debug)]
struct FakeCatalog {
    tasks: Mutex<Vec<Arc<TaskDefinition>>>,
}

/// Components are not kept here.
#[derive(Debug)]
struct NoComponents;

impl ComponentSource for NoComponents {
    fn component(&self, _: &Digest, _: u64) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl Default for FakeCatalog {
    fn default() -> Self {
        let mut other = definition();
        other.id = "other.task".into();
        other.category = "other".into();
        other.title = "Something else".into();
        other.engines = vec![EngineRequirement {
            engine: "missing".into(),
            versions: ">=1".parse().unwrap(),
        }];
        Self {
            tasks: Mutex::new(vec![Arc::new(other), Arc::new(definition())]),
        }
    }
}

fn collection() -> Collection {
    Collection {
        name: "samples".into(),
        title: "Samples".into(),
        media_types: vec![SAMPLE_TYPE.into()],
    }
}

impl TaskCatalog for FakeCatalog {
    fn task(&self, task: &TaskRef) -> Option<TaskListing> {
        self.tasks().into_iter().find(|listing| {
            listing.definition.id == task.id
                && task
                    .version
                    .as_ref()
                    .is_none_or(|wanted| *wanted == listing.definition.version)
        })
    }

    fn tasks(&self) -> Vec<TaskListing> {
        self.tasks
            .lock()
            .unwrap()
            .iter()
            .map(|task| TaskListing {
                definition: Arc::clone(task),
                plugin: Digest::of(task.id.as_bytes()),
                package: format!("{}@{}", task.id, task.version),
                permissions: vec!["engine:abacus".into()],
            })
            .collect()
    }

    fn versions(&self, task: &str) -> Vec<Version> {
        self.tasks
            .lock()
            .unwrap()
            .iter()
            .filter(|definition| definition.id == task)
            .flat_map(|definition| [Version::new(1, 0, 0), definition.version.clone()])
            .collect()
    }

    fn collection(&self, name: &str) -> Option<Collection> {
        (name == "samples").then(collection)
    }

    fn collections(&self) -> Vec<Collection> {
        vec![collection()]
    }

    fn plugin_count(&self) -> usize {
        2
    }
}

#[derive(Debug)]
struct FakeLibrary {
    blobs: Blobs,
    /// Oldest first.
    files: Mutex<Vec<(OrgId, FileRecord)>>,
}

#[async_trait]
impl FileLibrary for FakeLibrary {
    async fn ingest(
        &self,
        org: OrgId,
        name: &str,
        declared_media_type: Option<&str>,
        content: BoxStream<'_, Result<Bytes, UploadError>>,
        size_bytes_max: u64,
    ) -> Result<FileRecord, IngestError> {
        let stored = self
            .blobs
            .put_stream(content, size_bytes_max)
            .await
            .map_err(|error| match error {
                PutError::TooLarge { .. } => IngestError::TooLarge {
                    limit_bytes: size_bytes_max,
                },
                PutError::Source { .. } => IngestError::Read(error.to_string()),
                other => IngestError::Host(other.to_string()),
            })?;
        let bytes = self
            .blobs
            .get(&stored.digest, None)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let known = text.starts_with(SAMPLE);
        let bad = text.contains("bad");
        let fault = |code: &str, message: &str| FaultRecord {
            code: code.into(),
            message: message.into(),
            line: Some(2),
            record: Some(0),
        };
        let record = FileRecord {
            v: 1,
            id: FileId::generate().to_string(),
            name: name.to_owned(),
            media_type: match known {
                true => SAMPLE_TYPE.to_owned(),
                false => declared_media_type
                    .unwrap_or("application/octet-stream")
                    .to_owned(),
            },
            encoding: String::new(),
            size_bytes: stored.size_bytes,
            digest: stored.digest.to_string(),
            created: Timestamp::now(),
            inspection: (known && !bad).then(|| InspectionRecord {
                records: 1,
                bad_records: 0,
                details: json!({ "words": text.split_whitespace().count(), "id": "not this" }),
                warnings: vec![fault("odd", "this is odd")],
            }),
            faults: if known && bad {
                vec![fault("bad_word", "a bad word")]
            } else {
                vec![]
            },
        };
        self.files.lock().unwrap().push((org, record.clone()));
        Ok(record)
    }

    fn get(&self, org: OrgId, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        let id = id.to_string();
        let files = self.files.lock().unwrap();
        Ok(files
            .iter()
            .find(|(of, file)| *of == org && file.id == id)
            .map(|(_, file)| file.clone()))
    }

    fn list(
        &self,
        org: OrgId,
        after: Option<FileId>,
        limit: usize,
        wanted: &dyn Fn(&FileRecord) -> bool,
    ) -> Result<Page<FileRecord>, StoreError> {
        let after = after.map(|id| id.to_string());
        let files = self.files.lock().unwrap();
        let items: Vec<FileRecord> = files
            .iter()
            .rev()
            .filter(|(of, file)| *of == org && after.as_ref().is_none_or(|after| file.id < *after))
            .map(|(_, file)| file.clone())
            .filter(|file| wanted(file))
            .take(limit)
            .collect();
        let next = items
            .last()
            .filter(|_| items.len() == limit)
            .map(|file| file.id.clone());
        Ok(Page { items, next })
    }
}

#[derive(Debug)]
struct FakeIntake {
    catalog: Arc<FakeCatalog>,
}

#[async_trait]
impl RequestIntake for FakeIntake {
    async fn check(&self, org: OrgId, draft: Draft, mode: Mode) -> Result<Checked, IntakeError> {
        let listing = self
            .catalog
            .task(&draft.task)
            .ok_or_else(|| IntakeError::UnknownTask(draft.task.clone()))?;
        let mut parameters = draft.parameters;
        match parameters.get("break").and_then(Value::as_str) {
            Some("plugin") => {
                return Err(IntakeError::PluginBroke(GuestBreak {
                    kind: TrapKind::Trap,
                    phase: "validate",
                    message: "unreachable".into(),
                    stderr: "secret of the plugin".into(),
                }));
            }
            Some("engine") => {
                return Err(IntakeError::EngineMissing {
                    engine: "abacus".into(),
                    fault: "was not found".into(),
                    hint: "apt install abacus".into(),
                });
            }
            Some("sandbox") => {
                return Err(IntakeError::SandboxUnavailable {
                    reason: "no namespaces".into(),
                    fix: "sysctl".into(),
                });
            }
            Some("host") => return Err(IntakeError::Host("secret of the host".into())),
            Some("panic") => panic!("a handler that panics"),
            _ => {}
        }
        let mut faults = Vec::new();
        if !parameters.is_object() {
            faults.push(Violation::new("/parameters", "wrong_type", "not an object"));
        } else if parameters.get("count").is_none() {
            parameters["count"] = json!(3);
        }
        if parameters
            .get("count")
            .and_then(Value::as_i64)
            .is_some_and(|count| count < 1)
        {
            faults.push(Violation::new(
                "/parameters/count",
                "out_of_range",
                "count is too small",
            ));
        }
        if mode == Mode::Execute && draft.inputs.is_empty() {
            faults.push(Violation::new(
                "/inputs/sample",
                "required",
                "Sample is missing",
            ));
        }
        if !faults.is_empty() {
            return Err(IntakeError::Invalid(faults));
        }
        let definition = listing.definition;
        let notice = Notice {
            severity: Severity::Info,
            code: "seed_drawn".into(),
            message: "a seed was drawn".into(),
        };
        let submission = Submission {
            org,
            task: definition.id.clone(),
            task_version: definition.version.to_string(),
            plugin: listing.plugin.to_string(),
            parameters,
            inputs: draft
                .inputs
                .iter()
                .map(|(slot, file)| InputRecord {
                    slot: slot.clone(),
                    file_id: file.id.clone(),
                    path: format!("{slot}/0"),
                    name: file.name.clone(),
                    media_type: file.media_type.clone(),
                    size_bytes: file.size_bytes,
                    digest: file.digest.clone(),
                })
                .collect(),
            seed: 42,
            resources: ResourcesRecord {
                cpu_cores: 1,
                memory_bytes: 1 << 20,
                wall_ms: 1000,
            },
            priority: draft.priority,
            labels: draft.labels,
            notices: vec![NoticeRecord {
                severity: "info".into(),
                code: notice.code.clone(),
                message: notice.message.clone(),
            }],
            idempotency: draft.idempotency,
        };
        Ok(Checked {
            submission,
            definition,
            notices: vec![notice],
            estimate: Some(Estimate {
                wall_ms: 5,
                cpu_ms: 4,
                memory_bytes: 3,
            }),
        })
    }
}

#[derive(Debug)]
struct FakeEngines;

impl EngineDirectory for FakeEngines {
    fn engines(&self) -> Vec<EngineEntry> {
        let entry = |name: &str, version: Option<&str>, hint: &str| EngineEntry {
            name: name.into(),
            title: name.to_uppercase(),
            version: version.map(Into::into),
            hint: hint.into(),
        };
        vec![
            entry("abacus", Some("1.4"), ""),
            entry("missing", None, "apt install missing"),
        ]
    }

    fn sandbox_level(&self) -> Option<String> {
        Some("L2".into())
    }

    fn unavailable(&self, definition: &TaskDefinition) -> Option<String> {
        definition
            .engines
            .iter()
            .find(|engine| engine.engine == "missing")
            .map(|_| "engine `missing` was not found; to install it: apt install missing".into())
    }
}

struct FakeExecutor {
    blobs: Blobs,
    logs: LogDirectory,
    release: Arc<Semaphore>,
}

#[async_trait]
impl Executor for FakeExecutor {
    /// Parameters: `hold` waits for a permit or the cancellation; `fail` ends badly; `steps` of
    /// progress, one every 60 ms; `log` is what it prints.
    async fn run(
        &self,
        order: WorkOrder,
        updates: &dyn UpdateSink,
        cancel: CancellationToken,
    ) -> AttemptReport {
        let parameters = &order.record.parameters;
        if let Some(log) = parameters["log"].as_str() {
            std::fs::write(self.logs.path(order.execution), log).unwrap();
            updates.update(AttemptUpdate::Log {
                size_bytes: log.len() as u64,
            });
        }
        let steps = parameters["steps"].as_u64().unwrap_or(0);
        for step in 1..=steps {
            let done = step as f32 / steps as f32;
            updates.update(AttemptUpdate::Progress {
                done,
                stage: "counting".into(),
            });
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        if parameters["hold"] == true {
            tokio::select! {
                permit = self.release.acquire() => permit.unwrap().forget(),
                () = cancel.cancelled() => return report(AttemptEnding::Cancelled),
            }
        }
        if parameters["fail"] == true {
            let problem = ProblemRecord {
                code: "crashed".into(),
                message: "it fell over".into(),
                detail: String::new(),
                violations: vec![],
            };
            return AttemptReport {
                problem: Some(problem),
                ..report(AttemptEnding::Crashed)
            };
        }
        let count = parameters["count"].as_i64().unwrap_or(0);
        let stored = self
            .blobs
            .put_bytes(Bytes::from(format!("counted {count}")))
            .await
            .unwrap();
        let body = json!({
            "output": { "counted": count },
            "confidence": 0.9,
            "metrics": [
                { "name": "speed", "value": 2.5, "unit": "1/s", "better": "higher" },
                { "name": "wall_seconds", "value": 999, "unit": "s", "better": "lower" },
            ],
            "views": [{ "kind": "markdown", "title": "Text", "spec": "x", "artifacts": [] }],
            "notices": [],
        });
        let body = match parameters["large"] == true {
            true => {
                let bytes = Bytes::from(body.to_string());
                ResultBody::Blob(self.blobs.put_bytes(bytes).await.unwrap().digest)
            }
            false => ResultBody::Inline(body),
        };
        AttemptReport {
            body: Some(body),
            artifacts: vec![ProducedArtifact {
                name: "counted.txt".into(),
                title: "Counted".into(),
                media_type: "text/html".into(),
                size_bytes: stored.size_bytes,
                digest: stored.digest,
            }],
            usage: UsageRecord {
                wall_ms: 1500,
                cpu_ms: 250,
                peak_memory_bytes: 4096,
            },
            ..report(AttemptEnding::Succeeded)
        }
    }
}

fn report(ending: AttemptEnding) -> AttemptReport {
    AttemptReport {
        ending,
        problem: None,
        body: None,
        artifacts: vec![],
        usage: UsageRecord::default(),
        receipts: vec![],
        engines: vec![],
        sandbox: None,
    }
}

/// Fields of a JSON object.
pub(crate) fn fields(value: &Value) -> BTreeMap<String, Value> {
    value.as_object().unwrap().clone().into_iter().collect()
}
