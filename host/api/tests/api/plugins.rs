//! Plugins: each answer of the store has its status and its code.

use std::sync::Mutex;

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use bindery_api::ports::PluginStore;
use bindery_core::Digest;
use bindery_plugins::{
    Action, CaseFault, CasesReport, ChangeError, DigestText, HistoryRecord, PluginView,
    PublishError, PublishOptions, Published, Sheet, StoreFault, TaskName, TrustRecord,
    VersionRecord, VersionStatus, VersionView,
};
use bindery_registry::Refusal;
use bytes::Bytes;
use jiff::Timestamp;
use semver::Version;

use crate::support::{Answer, TestHost, UPLOAD_BYTES_MAX};

/// A shelf with one name. What is published says by its bytes what becomes of it.
#[derive(Debug, Default)]
pub(crate) struct FakePlugins {
    records: Mutex<Vec<VersionRecord>>,
}

const NAME: &str = "text.shout";

fn record(bytes: &[u8], status: VersionStatus) -> VersionRecord {
    let digest = DigestText(Digest::of(bytes));
    VersionRecord {
        v: 1,
        name: NAME.into(),
        number: 1,
        version: Version::new(1, 0, 0),
        digest,
        component: digest,
        component_bytes: bytes.len() as u64,
        archive: digest,
        trust: TrustRecord::Signed {
            publisher: "acme".into(),
            key: "0123".into(),
        },
        folder: None,
        status,
        cause: Action::Published,
        sheet: Sheet {
            engines: vec!["abacus".into()],
            ..Sheet::default()
        },
        growth: match status {
            VersionStatus::Pending => vec!["engine:abacus".into()],
            _ => Vec::new(),
        },
        tasks: vec![TaskName {
            id: NAME.into(),
            version: Version::new(1, 0, 0),
        }],
        published: Timestamp::UNIX_EPOCH,
        published_by: "test".into(),
    }
}

impl FakePlugins {
    fn known(&self, name: &str) -> Result<PluginView, ChangeError> {
        self.get(name).ok_or(ChangeError::NotFound)
    }
}

#[async_trait]
impl PluginStore for FakePlugins {
    fn list(&self) -> Vec<PluginView> {
        self.get(NAME).into_iter().collect()
    }

    fn get(&self, name: &str) -> Option<PluginView> {
        let records = self.records.lock().unwrap();
        (name == NAME && !records.is_empty()).then(|| PluginView {
            name: NAME.into(),
            versions: records
                .iter()
                .map(|record| VersionView {
                    record: record.clone(),
                    current: record.status == VersionStatus::Enabled,
                    health: None,
                    fault: None,
                })
                .collect(),
        })
    }

    async fn history(&self, name: &str) -> Result<Vec<HistoryRecord>, StoreFault> {
        let record = record(name.as_bytes(), VersionStatus::Enabled);
        Ok(vec![HistoryRecord {
            v: 1,
            time: Timestamp::UNIX_EPOCH,
            actor: "tok_1".into(),
            action: Action::Published,
            version: record.version,
            digest: record.digest,
            from_version: None,
            from_digest: None,
            reason: String::new(),
            report: None,
        }])
    }

    async fn publish(
        &self,
        bytes: Bytes,
        actor: &str,
        options: PublishOptions,
    ) -> Result<Published, PublishError> {
        assert!(actor.starts_with("tok_"), "{actor}");
        let published = |record: VersionRecord, created| {
            self.records.lock().unwrap().push(record.clone());
            Ok(Published {
                record,
                created,
                report: None,
            })
        };
        match &bytes[..] {
            b"unsigned" => Err(Refusal::Unsigned {
                name: NAME.into(),
                version: Version::new(1, 0, 0),
            }
            .into()),
            b"taken" => Err(PublishError::VersionTaken {
                name: NAME.into(),
                version: Version::new(1, 0, 0),
            }),
            b"cases" => Err(PublishError::CasesFailed(CasesReport {
                total: 2,
                failed: 1,
                faults: vec![CaseFault {
                    case: "a/b".into(),
                    fault: "expected 1, got 2".into(),
                }],
            })),
            b"bomb" => Err(PublishError::CompileLimit("time")),
            b"full" => Err(StoreFault::StorageFull.into()),
            b"grows" if !options.approve => published(record(&bytes, VersionStatus::Pending), true),
            b"again" => published(record(&bytes, VersionStatus::Enabled), false),
            _ => published(record(&bytes, VersionStatus::Enabled), true),
        }
    }

    async fn archive(&self, _: &VersionRecord) -> Result<Bytes, StoreFault> {
        Err(StoreFault::Host("nothing is kept".into()))
    }

    async fn roll_back(&self, name: &str, _: &str) -> Result<PluginView, ChangeError> {
        self.known(name)?;
        Err(ChangeError::NothingBefore)
    }

    async fn disable(
        &self,
        name: &str,
        version: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        match version {
            Some(version) if *version != Version::new(1, 0, 0) => Err(ChangeError::NoSuchVersion),
            _ => self.known(name),
        }
    }

    async fn enable(
        &self,
        name: &str,
        _: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        self.known(name)?;
        Err(ChangeError::Revoked)
    }

    async fn approve(
        &self,
        name: &str,
        _: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        self.known(name)?;
        Err(ChangeError::NothingPending)
    }

    async fn delete(&self, name: &str, _: Option<&Version>, _: &str) -> Result<(), ChangeError> {
        self.known(name).map(drop)
    }
}

async fn publish(host: &TestHost, query: &str, bytes: &'static str) -> Answer {
    let request = host
        .request(Method::POST, &format!("/api/v1/plugins{query}"))
        .header(header::CONTENT_TYPE, "application/octet-stream");
    host.send(request.body(Body::from(bytes)).unwrap()).await
}

async fn send(host: &TestHost, method: Method, path: &str) -> Answer {
    let request = host.request(method, &format!("/api/v1/plugins/{path}"));
    host.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn what_becomes_of_a_publish_is_told_by_its_status() {
    let host = TestHost::start().await;
    let answer = publish(&host, "", "good").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    let version = answer.json();
    assert_eq!(version["name"], NAME);
    assert_eq!(version["status"], "enabled");
    assert_eq!(version["current"], true);
    assert_eq!(version["publisher"], "acme");
    assert_eq!(version["permissions"]["engines"][0], "abacus");

    assert_eq!(publish(&host, "", "again").await.status, StatusCode::OK);

    let answer = publish(&host, "", "grows").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let waiting = answer.json();
    assert_eq!(waiting["code"], "grants_grew");
    assert_eq!(waiting["status"], "pending");
    assert_eq!(waiting["growth"][0], "engine:abacus");
    let answer = publish(&host, "?approve=true", "grows").await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn refusals_have_their_own_codes() {
    let host = TestHost::start().await;
    for (bytes, status, code) in [
        ("unsigned", 403, "unsigned"),
        ("taken", 409, "version_taken"),
        ("cases", 422, "cases_failed"),
        ("bomb", 422, "compile_limit_exceeded"),
        ("full", 507, "storage_full"),
    ] {
        let answer = publish(&host, "", bytes).await;
        assert_eq!(answer.problem(status), code, "{bytes}");
        if bytes == "cases" {
            let fault = &answer.json()["violations"][0];
            assert_eq!(fault["pointer"], "/cases/a~1b");
            assert_eq!(fault["message"], "expected 1, got 2");
        }
        if bytes == "unsigned" {
            assert!(answer.json()["hint"].as_str().unwrap().contains("sign"));
        }
    }
    let long = host
        .request(Method::POST, "/api/v1/plugins")
        .body(Body::from(vec![
            0;
            usize::try_from(UPLOAD_BYTES_MAX).unwrap()
                + 1
        ]))
        .unwrap();
    assert_eq!(host.send(long).await.problem(413), "too_large");
    assert_eq!(
        host.get("/api/v1/plugins").await.json()["items"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn a_package_may_come_as_the_file_of_a_form() {
    let host = TestHost::start().await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"p.bindery\"\r\n\r\n\
        unsigned\r\n--b--\r\n";
    let request = host
        .request(Method::POST, "/api/v1/plugins")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::from(form))
        .unwrap();
    assert_eq!(host.send(request).await.problem(403), "unsigned");
    let request = host
        .request(Method::POST, "/api/v1/plugins")
        .header(header::CONTENT_TYPE, "multipart/form-data; boundary=b")
        .body(Body::from("--b--\r\n"))
        .unwrap();
    assert_eq!(host.send(request).await.problem(422), "validation_failed");
}

#[tokio::test]
async fn a_plugin_is_shown_with_its_history_and_changed() {
    let host = TestHost::start().await;
    assert_eq!(
        send(&host, Method::GET, NAME).await.problem(404),
        "not_found"
    );
    publish(&host, "", "good").await;
    let shown = send(&host, Method::GET, NAME).await.json();
    assert_eq!(shown["version"], "1.0.0");
    assert_eq!(shown["versions"][0]["tasks"][0]["id"], NAME);
    assert_eq!(shown["history"][0]["action"], "published");
    let listed = host.get("/api/v1/plugins?limit=1").await.json();
    assert_eq!(listed["items"][0]["name"], NAME);

    let path = |action: &str| format!("{NAME}/{action}");
    let post = |path: String| {
        let host = &host;
        async move { send(host, Method::POST, &path).await }
    };
    assert_eq!(post(path("rollback")).await.problem(409), "nothing_before");
    assert_eq!(post(path("enable")).await.problem(403), "revoked");
    assert_eq!(post(path("approve")).await.problem(409), "nothing_pending");
    assert_eq!(post(path("disable")).await.status, StatusCode::OK);
    assert_eq!(
        post(path("disable?version=2.0.0")).await.problem(404),
        "not_found"
    );
    assert_eq!(
        post(path("disable?version=two")).await.problem(400),
        "invalid_query"
    );
    assert_eq!(
        send(&host, Method::DELETE, NAME).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        send(&host, Method::DELETE, "other").await.problem(404),
        "not_found"
    );
}
