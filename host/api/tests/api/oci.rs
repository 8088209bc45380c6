//! The routes below `/v2/`, against the OCI distribution specification (v1.1). Each test names the
//! endpoints, as the specification numbers them, and the requirements that it checks.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bindery_api::ports::PluginStore;
use bindery_core::Digest;
use bindery_plugins::{
    Action, ChangeError, DigestText, HistoryRecord, PluginView, PublishError, PublishOptions,
    Published, Sheet, StoreFault, TrustRecord, VersionRecord, VersionStatus, VersionView,
};
use bindery_registry::{
    Manifest, Package, SigningKey, TrustPolicy, TrustStore, judge,
    oci::{
        self, Artifact, Client, ClientError, Credentials, INDEX_MEDIA_TYPE,
        OCI_MANIFEST_MEDIA_TYPE, OciReference, Part,
    },
};
use bytes::Bytes;
use jiff::Timestamp;
use semver::Version;
use serde_json::{Value, json};

use crate::support::{Answer, OCI_BYTES_MAX, TestHost};

/// What was published, and who may: the real judgement, on a shelf in memory.
#[derive(Debug, Default)]
struct Shelf {
    policy: TrustPolicy,
    versions: Mutex<Vec<(VersionRecord, Bytes)>>,
}

impl Shelf {
    fn set(&self, version: &str, status: VersionStatus) {
        for (record, _) in self.versions.lock().unwrap().iter_mut() {
            if record.version.to_string() == version {
                record.status = status;
            }
        }
    }
}

#[async_trait]
impl PluginStore for Shelf {
    fn list(&self) -> Vec<PluginView> {
        Vec::new()
    }

    fn get(&self, name: &str) -> Option<PluginView> {
        let versions = self.versions.lock().unwrap();
        let mine = versions.iter().map(|(record, _)| record);
        let mine: Vec<&VersionRecord> = mine.filter(|record| record.name == name).collect();
        let newest = mine
            .iter()
            .filter(|record| record.status == VersionStatus::Enabled)
            .map(|record| record.version.clone())
            .max();
        (!mine.is_empty()).then(|| PluginView {
            name: name.to_owned(),
            versions: mine
                .into_iter()
                .map(|record| VersionView {
                    current: Some(&record.version) == newest.as_ref(),
                    record: record.clone(),
                    health: None,
                    fault: None,
                })
                .collect(),
        })
    }

    async fn history(&self, _: &str) -> Result<Vec<HistoryRecord>, StoreFault> {
        Ok(Vec::new())
    }

    async fn archive(&self, wanted: &VersionRecord) -> Result<Bytes, StoreFault> {
        let versions = self.versions.lock().unwrap();
        let found = versions
            .iter()
            .find(|(record, _)| record.digest == wanted.digest);
        Ok(found.unwrap().1.clone())
    }

    async fn publish(
        &self,
        bytes: Bytes,
        actor: &str,
        _: PublishOptions,
    ) -> Result<Published, PublishError> {
        assert!(actor.starts_with("tok_"), "{actor}");
        let package = if bytes.starts_with(b"\0asm") {
            let manifest = Manifest::parse(&manifest("bare.component", "0.0.0")).unwrap();
            Package::from_component(&manifest, bytes)?
        } else {
            Package::from_archive(&bytes)?
        };
        judge(&package, &self.policy, Timestamp::now())?;
        let digest = DigestText(package.digest());
        let record = VersionRecord {
            v: 1,
            name: package.name().to_owned(),
            number: 1,
            version: package.version().clone(),
            digest,
            component: DigestText(package.component_digest()),
            component_bytes: package.component().len() as u64,
            archive: digest,
            trust: TrustRecord::Signed {
                publisher: "acme".into(),
                key: "0123".into(),
            },
            folder: None,
            status: VersionStatus::Enabled,
            cause: Action::Published,
            sheet: Sheet::default(),
            growth: Vec::new(),
            tasks: Vec::new(),
            published: Timestamp::UNIX_EPOCH,
            published_by: actor.into(),
        };
        let mut versions = self.versions.lock().unwrap();
        let created = !versions.iter().any(|(known, _)| known.digest == digest);
        if created {
            versions.push((record.clone(), package.to_archive()?));
        }
        Ok(Published {
            record,
            created,
            report: None,
        })
    }

    async fn roll_back(&self, _: &str, _: &str) -> Result<PluginView, ChangeError> {
        Err(ChangeError::NotFound)
    }

    async fn disable(
        &self,
        _: &str,
        _: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        Err(ChangeError::NotFound)
    }

    async fn enable(
        &self,
        _: &str,
        _: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        Err(ChangeError::NotFound)
    }

    async fn approve(
        &self,
        _: &str,
        _: Option<&Version>,
        _: &str,
    ) -> Result<PluginView, ChangeError> {
        Err(ChangeError::NotFound)
    }

    async fn delete(&self, _: &str, _: Option<&Version>, _: &str) -> Result<(), ChangeError> {
        Err(ChangeError::NotFound)
    }
}

fn manifest(name: &str, version: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nlicence = \"MIT\"\ncontract = \"bindery:task@0.1\"\n"
    )
}

fn package(name: &str, version: &str) -> Package {
    let files = [
        ("bindery.toml", manifest(name, version).into_bytes()),
        ("component.wasm", b"\0asm\x0d\0\x01\0".to_vec()),
        ("cases/one/case.toml", b"x = 1\n".to_vec()),
    ];
    let files = files.map(|(path, content)| (path.to_owned(), Bytes::from(content)));
    Package::from_files(files.into()).unwrap()
}

struct Setting {
    host: TestHost,
    shelf: Arc<Shelf>,
    key: SigningKey,
}

async fn setting() -> Setting {
    let key = SigningKey::generate().unwrap();
    let store = format!(
        "[[publisher]]\nname = \"acme\"\nprefixes = [\"text\"]\nkeys = [\"{}\"]\n",
        key.public()
    );
    let shelf = Arc::new(Shelf {
        policy: TrustPolicy {
            store: TrustStore::parse(&store).unwrap(),
            ..TrustPolicy::default()
        },
        ..Shelf::default()
    });
    let host = TestHost::start_with(Arc::clone(&shelf) as Arc<dyn PluginStore>).await;
    Setting { host, shelf, key }
}

impl Setting {
    async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.host.request(method, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.host.send(request.body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], Body::empty()).await
    }

    /// Uploads a blob at once.
    async fn blob(&self, name: &str, content: &[u8]) -> String {
        let digest = Digest::of(content).to_string();
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let answer = self.call("POST", &path, &[], content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        digest
    }

    async fn manifest(&self, name: &str, reference: &str, manifest: &Value) -> Answer {
        let media_type = manifest["mediaType"].as_str().unwrap();
        let path = format!("/v2/{name}/manifests/{reference}");
        let body = serde_json::to_vec(manifest).unwrap();
        self.call("PUT", &path, &[("content-type", media_type)], body)
            .await
    }

    async fn push(&self, name: &str, artifact: &Artifact) -> Answer {
        for blob in &artifact.blobs {
            self.blob(name, &blob.content).await;
        }
        let answer = self.push_part(name, None, &artifact.image).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        self.push_part(name, None, &artifact.package).await
    }

    async fn push_part(&self, name: &str, tag: Option<&str>, part: &Part) -> Answer {
        let digest = part.descriptor.digest.to_string();
        let path = format!("/v2/{name}/manifests/{}", tag.unwrap_or(&digest));
        let media_type = [("content-type", part.descriptor.media_type.as_str())];
        self.call("PUT", &path, &media_type, part.content.clone())
            .await
    }
}

/// An error in the form that the specification gives: status, and the code of the first.
#[track_caller]
fn error(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    let first = &document["errors"][0];
    assert!(!first["message"].as_str().unwrap().is_empty());
    first["code"].as_str().unwrap().to_owned()
}

fn image(config: &[u8], layers: &[&[u8]]) -> Value {
    let descriptor = |media_type: &str, content: &[u8]| {
        json!({
            "mediaType": media_type,
            "digest": Digest::of(content).to_string(),
            "size": content.len(),
        })
    };
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| descriptor("application/octet-stream", layer))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST_MEDIA_TYPE,
        "config": descriptor("application/vnd.example.config+json", config),
        "layers": layers,
    })
}

fn digest_of(manifest: &Value) -> String {
    Digest::of(&serde_json::to_vec(manifest).unwrap()).to_string()
}

/// end-1, and "a registry MUST answer 401 when it wants credentials", for every path and method.
#[tokio::test]
async fn nobody_comes_in_without_a_token_and_clients_are_told_how() {
    let setting = setting().await;
    let digest = Digest::of(b"").to_string();
    let paths = [
        "/v2".to_owned(),
        "/v2/".to_owned(),
        format!("/v2/a/blobs/{digest}"),
        "/v2/a/blobs/uploads/".to_owned(),
        "/v2/a/blobs/uploads/00".to_owned(),
        "/v2/a/manifests/latest".to_owned(),
        "/v2/a/tags/list".to_owned(),
        format!("/v2/a/referrers/{digest}"),
        "/v2/_catalog".to_owned(),
        "/v2/A/tags/list".to_owned(),
    ];
    let token = &setting.host.token;
    let basic = |text: String| format!("Basic {}", BASE64.encode(text));
    let bad = [
        String::new(),
        "Bearer".to_owned(),
        format!("Bearer x{token}"),
        basic(format!("user:x{token}")),
        basic(token.clone()),
        "Basic !!!".to_owned(),
        format!("Digest {token}"),
    ];
    for path in &paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            for credential in &bad {
                let mut request = axum::http::Request::builder().method(method).uri(path);
                if !credential.is_empty() {
                    request = request.header(header::AUTHORIZATION, credential);
                }
                let answer = setting
                    .host
                    .send(request.body(Body::empty()).unwrap())
                    .await;
                assert_eq!(
                    answer.status,
                    StatusCode::UNAUTHORIZED,
                    "{method} {path} {credential}"
                );
                if method != "HEAD" {
                    assert_eq!(error(&answer, 401), "UNAUTHORIZED");
                }
                assert!(
                    answer
                        .header("www-authenticate")
                        .starts_with("Basic realm=")
                );
            }
        }
    }
    for credential in [format!("Bearer {token}"), basic(format!("anyone:{token}"))] {
        let request = axum::http::Request::builder()
            .uri("/v2/")
            .header(header::AUTHORIZATION, credential);
        let answer = setting
            .host
            .send(request.body(Body::empty()).unwrap())
            .await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.header("docker-distribution-api-version"),
            "registry/2.0"
        );
    }
}

/// end-2, end-10: HEAD and GET with digest and length; Range; 404 BLOB_UNKNOWN; delete.
#[tokio::test]
async fn blobs_are_pulled_whole_in_part_and_by_their_digest_only() {
    let setting = setting().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let digest = setting.blob("some/where", &content).await;
    let path = format!("/v2/some/where/blobs/{digest}");
    let head = setting.call("HEAD", &path, &[], Body::empty()).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(head.header("content-length"), "3000000");
    assert_eq!(head.header("docker-content-digest"), digest);
    assert!(head.body.is_empty());
    let whole = setting.get(&path).await;
    assert_eq!(whole.header("docker-content-digest"), digest);
    assert_eq!(whole.header("content-length"), "3000000");
    assert!(whole.body == content);
    let range = [("range", "bytes=1048570-1048585")];
    let part = setting.call("GET", &path, &range, Body::empty()).await;
    assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        part.header("content-range"),
        "bytes 1048570-1048585/3000000"
    );
    assert_eq!(part.body, &content[1_048_570..=1_048_585]);
    let range = [("range", "bytes=3000000-")];
    let beyond = setting.call("GET", &path, &range, Body::empty()).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), "bytes */3000000");

    let other = Digest::of(b"other").to_string();
    let unknown = setting.get(&format!("/v2/some/where/blobs/{other}")).await;
    assert_eq!(error(&unknown, 404), "BLOB_UNKNOWN");
    // Of another repository.
    let hidden = setting.get(&format!("/v2/else/where/blobs/{digest}")).await;
    assert_eq!(error(&hidden, 404), "BLOB_UNKNOWN");
    for wrong in ["sha256:zz", "sha512:00", "latest"] {
        let answer = setting.get(&format!("/v2/some/where/blobs/{wrong}")).await;
        assert_eq!(error(&answer, 400), "DIGEST_INVALID", "{wrong}");
    }
    let deleted = setting.call("DELETE", &path, &[], Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    assert_eq!(error(&setting.get(&path).await, 404), "BLOB_UNKNOWN");
    let again = setting.call("DELETE", &path, &[], Body::empty()).await;
    assert_eq!(error(&again, 404), "BLOB_UNKNOWN");
}

/// end-4a, end-5, end-6, end-13: POST then PUT; chunks with Content-Range; 416 out of order, with
/// where it is; status; the closing chunk in the PUT.
#[tokio::test]
async fn blobs_are_pushed_in_chunks() {
    let setting = setting().await;
    let begin = setting
        .call(
            "POST",
            "/v2/a/blobs/uploads/",
            &[("content-length", "0")],
            "",
        )
        .await;
    assert_eq!(begin.status, StatusCode::ACCEPTED);
    let location = begin.header("location").to_owned();
    assert!(location.starts_with("/v2/a/blobs/uploads/"), "{location}");
    assert_eq!(begin.header("range"), "0-0");
    let chunk = |range: &'static str, body: &'static str| {
        let setting = &setting;
        let location = location.clone();
        async move {
            let headers = [("content-range", range)];
            setting.call("PATCH", &location, &headers, body).await
        }
    };
    let first = chunk("0-3", "abcd").await;
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(first.header("range"), "0-3");
    assert_eq!(first.header("location"), location);
    for wrong in ["0-3", "2-5", "5-8"] {
        let answer = chunk(wrong, "efgh").await;
        assert_eq!(error(&answer, 416), "BLOB_UPLOAD_INVALID", "{wrong}");
        assert_eq!(answer.header("range"), "0-3");
        assert_eq!(answer.header("location"), location);
    }
    assert_eq!(chunk("4-7", "efgh").await.header("range"), "0-7");
    let status = setting.get(&location).await;
    assert_eq!(status.status, StatusCode::NO_CONTENT);
    assert_eq!(status.header("range"), "0-7");
    // Not through another repository.
    let elsewhere = setting.get(&location.replacen("/v2/a/", "/v2/b/", 1)).await;
    assert_eq!(error(&elsewhere, 404), "BLOB_UPLOAD_UNKNOWN");
    let digest = Digest::of(b"abcdefghij").to_string();
    let none = setting.call("PUT", &location, &[], "ij").await;
    assert_eq!(error(&none, 400), "DIGEST_INVALID");
    let path = format!("{location}?digest={digest}");
    let end = setting
        .call("PUT", &path, &[("content-range", "8-9")], "ij")
        .await;
    assert_eq!(end.status, StatusCode::CREATED);
    assert_eq!(end.header("location"), format!("/v2/a/blobs/{digest}"));
    assert_eq!(end.header("docker-content-digest"), digest);
    assert_eq!(
        setting.get(end.header("location")).await.text(),
        "abcdefghij"
    );
    assert_eq!(
        error(&setting.get(&location).await, 404),
        "BLOB_UPLOAD_UNKNOWN"
    );
}

/// end-4b, end-6, end-14: a digest that does not match; cancelling; a blob without bytes.
#[tokio::test]
async fn an_upload_is_what_its_digest_says_or_nothing() {
    let setting = setting().await;
    let digest = Digest::of(b"right").to_string();
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let wrong = setting.call("POST", &path, &[], "wrong").await;
    assert_eq!(error(&wrong, 400), "DIGEST_INVALID");
    assert_eq!(
        error(&setting.get(&format!("/v2/a/blobs/{digest}")).await, 404),
        "BLOB_UNKNOWN"
    );
    let begin = setting.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let location = begin.header("location");
    let wrong = setting
        .call("PUT", &format!("{location}?digest={digest}"), &[], "wrong")
        .await;
    assert_eq!(error(&wrong, 400), "DIGEST_INVALID");
    let begin = setting.call("POST", "/v2/a/blobs/uploads/", &[], "").await;
    let location = begin.header("location");
    let cancelled = setting.call("DELETE", location, &[], "").await;
    assert_eq!(cancelled.status, StatusCode::NO_CONTENT);
    let gone = setting.call("PATCH", location, &[], "x").await;
    assert_eq!(error(&gone, 404), "BLOB_UPLOAD_UNKNOWN");
    let empty = setting.blob("a", b"").await;
    let answer = setting.get(&format!("/v2/a/blobs/{empty}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(answer.body.is_empty());
    // More than the registry holds is refused while it comes, and leaves nothing behind.
    let large = vec![0; usize::try_from(OCI_BYTES_MAX).unwrap() + 1];
    let digest = Digest::of(&large).to_string();
    let path = format!("/v2/a/blobs/uploads/?digest={digest}");
    let full = setting.call("POST", &path, &[], large).await;
    assert_eq!(error(&full, 507), "DENIED");
    setting.blob("a", b"still room").await;
}

/// end-11: a mount is 201; one that cannot be made is an upload, 202.
#[tokio::test]
async fn blobs_are_mounted_from_other_repositories() {
    let setting = setting().await;
    let digest = setting.blob("a", b"shared").await;
    let mount = |from: &str| format!("/v2/b/blobs/uploads/?mount={digest}&from={from}");
    for from in ["c", "..", "b"] {
        let answer = setting.call("POST", &mount(from), &[], "").await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{from}");
        assert!(
            answer
                .header("location")
                .starts_with("/v2/b/blobs/uploads/")
        );
    }
    let answer = setting.call("POST", &mount("a"), &[], "").await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(
        setting.get(answer.header("location")).await.text(),
        "shared"
    );
}

/// end-3, end-7, end-9: by tag and by digest; the bytes as they were pushed; what it names has to
/// be there; types and digests have to match; deleting a tag and a manifest.
#[tokio::test]
async fn manifests_are_kept_as_they_were_pushed() {
    let setting = setting().await;
    let (config, layer) = (b"{}".as_slice(), b"layer".as_slice());
    let manifest = image(config, &[layer]);
    let digest = digest_of(&manifest);
    let early = setting.manifest("a", "v1", &manifest).await;
    assert_eq!(error(&early, 400), "MANIFEST_BLOB_UNKNOWN");
    setting.blob("a", config).await;
    setting.blob("a", layer).await;
    let pushed = setting.manifest("a", "v1", &manifest).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    assert_eq!(pushed.header("docker-content-digest"), digest);
    assert_eq!(
        pushed.header("location"),
        format!("/v2/a/manifests/{digest}")
    );
    for reference in ["v1", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        let pulled = setting.get(&path).await;
        assert_eq!(pulled.status, StatusCode::OK);
        assert_eq!(pulled.header("content-type"), OCI_MANIFEST_MEDIA_TYPE);
        assert_eq!(pulled.header("docker-content-digest"), digest);
        assert_eq!(Digest::of(&pulled.body).to_string(), digest);
        let head = setting.call("HEAD", &path, &[], "").await;
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.header("content-length"), pulled.body.len().to_string());
        assert!(head.body.is_empty());
    }
    for reference in ["v2", "-bad", &Digest::of(b"").to_string()] {
        let answer = setting.get(&format!("/v2/a/manifests/{reference}")).await;
        assert_eq!(error(&answer, 404), "MANIFEST_UNKNOWN", "{reference}");
    }
    let other = Digest::of(b"").to_string();
    let answer = setting.manifest("a", &other, &manifest).await;
    assert_eq!(error(&answer, 400), "DIGEST_INVALID");
    for (field, value) in [
        ("schemaVersion", json!(1)),
        ("layers", json!(null)),
        ("manifests", json!([])),
        (
            "config",
            json!({ "mediaType": "x", "digest": "sha512:00", "size": 1 }),
        ),
    ] {
        let mut wrong = manifest.clone();
        wrong[field] = value;
        let answer = setting.manifest("a", "v2", &wrong).await;
        assert_eq!(error(&answer, 400), "MANIFEST_INVALID", "{field}");
    }
    let mut wrong = manifest.clone();
    wrong["layers"][0]["size"] = json!(6);
    assert_eq!(
        error(&setting.manifest("a", "v2", &wrong).await, 400),
        "MANIFEST_INVALID"
    );
    let body = serde_json::to_vec(&manifest).unwrap();
    for media_type in ["application/json", INDEX_MEDIA_TYPE] {
        let headers = [("content-type", media_type)];
        let answer = setting
            .call("PUT", "/v2/a/manifests/v2", &headers, body.clone())
            .await;
        assert_eq!(error(&answer, 400), "MANIFEST_INVALID", "{media_type}");
    }
    let headers = [("content-type", OCI_MANIFEST_MEDIA_TYPE)];
    let large = vec![b' '; (4 << 20) + 1];
    let answer = setting
        .call("PUT", "/v2/a/manifests/v2", &headers, large)
        .await;
    assert_eq!(error(&answer, 413), "SIZE_INVALID");
    let bad_name = setting.manifest("A", "v1", &manifest).await;
    assert_eq!(error(&bad_name, 400), "NAME_INVALID");

    let untagged = setting.call("DELETE", "/v2/a/manifests/v1", &[], "").await;
    assert_eq!(untagged.status, StatusCode::ACCEPTED);
    assert_eq!(
        error(&setting.get("/v2/a/manifests/v1").await, 404),
        "MANIFEST_UNKNOWN"
    );
    let path = format!("/v2/a/manifests/{digest}");
    assert_eq!(setting.get(&path).await.status, StatusCode::OK);
    let deleted = setting.call("DELETE", &path, &[], "").await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    assert_eq!(error(&setting.get(&path).await, 404), "MANIFEST_UNKNOWN");
    let again = setting.call("DELETE", &path, &[], "").await;
    assert_eq!(error(&again, 404), "MANIFEST_UNKNOWN");
}

/// end-8a, end-8b: order, `n`, `last`, `Link`; 404 NAME_UNKNOWN.
#[tokio::test]
async fn tags_are_listed_page_by_page() {
    let setting = setting().await;
    let missing = setting.get("/v2/a/tags/list").await;
    assert_eq!(error(&missing, 404), "NAME_UNKNOWN");
    let manifest = image(b"{}", &[]);
    setting.blob("a", b"{}").await;
    for tag in ["v10", "v2", "A", "latest", "v1"] {
        let answer = setting.manifest("a", tag, &manifest).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }
    let tags = |answer: &Answer| answer.json()["tags"].clone();
    let all = setting.get("/v2/a/tags/list").await;
    assert_eq!(all.json()["name"], "a");
    assert_eq!(tags(&all), json!(["A", "latest", "v1", "v10", "v2"]));
    assert_eq!(all.header("link"), "");
    let page = setting.get("/v2/a/tags/list?n=2").await;
    assert_eq!(tags(&page), json!(["A", "latest"]));
    let link = page.header("link").to_owned();
    assert_eq!(link, "</v2/a/tags/list?n=2&last=latest>; rel=\"next\"");
    let next = link[1..].split('>').next().unwrap().to_owned();
    assert_eq!(tags(&setting.get(&next).await), json!(["v1", "v10"]));
    let last = setting.get("/v2/a/tags/list?n=2&last=v10").await;
    assert_eq!(tags(&last), json!(["v2"]));
    assert_eq!(last.header("link"), "");
    assert_eq!(tags(&setting.get("/v2/a/tags/list?n=0").await), json!([]));
    let wrong = setting.get("/v2/a/tags/list?n=many").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
}

/// end-12a, end-12b: an index, empty for what has none; `OCI-Subject` on pushing; the filter, and
/// `OCI-Filters-Applied`; a subject that is not there; deleted referrers are not listed.
#[tokio::test]
async fn referrers_are_listed_by_subject() {
    let setting = setting().await;
    setting.blob("a", b"{}").await;
    let subject = image(b"{}", &[]);
    let subject_digest = digest_of(&subject);
    let path = format!("/v2/a/referrers/{subject_digest}");
    let none = setting.get(&path).await;
    assert_eq!(none.status, StatusCode::OK);
    assert_eq!(none.header("content-type"), INDEX_MEDIA_TYPE);
    assert_eq!(none.json()["manifests"], json!([]));
    let mut referrer = image(b"{}", &[]);
    referrer["artifactType"] = json!("application/vnd.example.sbom");
    referrer["annotations"] = json!({ "note": "one" });
    referrer["subject"] = json!({
        "mediaType": OCI_MANIFEST_MEDIA_TYPE, "digest": subject_digest, "size": 1,
    });
    // The subject may come later.
    let digest = digest_of(&referrer);
    let pushed = setting.manifest("a", &digest, &referrer).await;
    assert_eq!(pushed.status, StatusCode::CREATED);
    assert_eq!(pushed.header("oci-subject"), subject_digest);
    let mut other = referrer.clone();
    other.as_object_mut().unwrap().remove("artifactType");
    setting.manifest("a", &digest_of(&other), &other).await;
    let all = setting.get(&path).await.json();
    assert_eq!(all["manifests"].as_array().unwrap().len(), 2);
    let filtered = setting
        .get(&format!("{path}?artifactType=application/vnd.example.sbom"))
        .await;
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let listed = filtered.json()["manifests"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["digest"], digest);
    assert_eq!(listed[0]["annotations"]["note"], "one");
    // Without a type of its own, a manifest is of its config's type.
    let kinds: Vec<&str> = all["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["artifactType"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"application/vnd.example.config+json"));
    setting
        .call("DELETE", &format!("/v2/a/manifests/{digest}"), &[], "")
        .await;
    let left = setting.get(&path).await.json();
    assert_eq!(left["manifests"].as_array().unwrap().len(), 1);
    let wrong = setting.get("/v2/a/referrers/latest").await;
    assert_eq!(error(&wrong, 400), "DIGEST_INVALID");
}

/// Methods and paths that the specification does not have.
#[tokio::test]
async fn what_is_not_of_the_api_is_refused_in_its_form() {
    let setting = setting().await;
    for (method, path) in [
        ("POST", "/v2/"),
        ("PUT", "/v2/a/tags/list"),
        ("POST", "/v2/a/manifests/latest"),
        ("GET", "/v2/a/blobs/uploads/"),
    ] {
        let answer = setting.call(method, path, &[], "").await;
        assert_eq!(error(&answer, 405), "UNSUPPORTED", "{method} {path}");
    }
    let answer = setting.get("/v2/_catalog").await;
    assert_eq!(error(&answer, 404), "UNSUPPORTED");
}

#[tokio::test]
async fn a_pushed_package_is_published_and_one_that_is_not_trusted_is_refused() {
    let setting = setting().await;
    let unsigned = package("text.shout", "1.0.0");
    let artifact = Artifact::of(&unsigned).unwrap();
    let refused = setting.push("text.shout", &artifact).await;
    assert_eq!(error(&refused, 403), "DENIED");
    let detail = refused.json()["errors"][0]["detail"].clone();
    assert_eq!(detail["code"], "unsigned");
    assert!(detail["hint"].as_str().unwrap().contains("sign"));
    // Nor can its image get a tag.
    let tag = setting
        .push_part("text.shout", Some("1.0.0"), &artifact.image)
        .await;
    assert_eq!(tag.json()["errors"][0]["detail"]["code"], "not_published");

    let signed = unsigned.sign(&setting.key);
    let artifact = Artifact::of(&signed).unwrap();
    let published = setting.push("text.shout", &artifact).await;
    assert_eq!(
        published.status,
        StatusCode::CREATED,
        "{}",
        published.text()
    );
    let tag = setting
        .push_part("text.shout", Some("1.0.0"), &artifact.image)
        .await;
    assert_eq!(tag.status, StatusCode::CREATED);
    assert_eq!(setting.shelf.versions.lock().unwrap().len(), 1);
    // The version stays what it is.
    setting.blob("text.shout", b"{}").await;
    let taken = setting
        .manifest("text.shout", "1.0.0", &image(b"{}", &[]))
        .await;
    assert_eq!(taken.json()["errors"][0]["detail"]["code"], "version_taken");
    let elsewhere = setting.push("text.other", &artifact).await;
    let detail = elsewhere.json()["errors"][0]["detail"].clone();
    assert_eq!(detail["code"], "name_mismatch");
    let kept = setting
        .call("DELETE", "/v2/text.shout/manifests/1.0.0", &[], "")
        .await;
    assert_eq!(error(&kept, 405), "UNSUPPORTED");
}

/// A client that knows no packages pushes a component: it is published as it would be otherwise,
/// which is refused here, for nobody signed it.
#[tokio::test]
async fn a_component_alone_is_not_let_in_past_the_judgement() {
    let setting = setting().await;
    let artifact = Artifact::of(&package("text.shout", "1.0.0")).unwrap();
    for blob in &artifact.blobs {
        setting.blob("text.shout", &blob.content).await;
    }
    let mut image: Value = serde_json::from_slice(&artifact.image.content).unwrap();
    image.as_object_mut().unwrap().remove("annotations");
    let answer = setting.manifest("text.shout", "v1", &image).await;
    assert_eq!(error(&answer, 403), "DENIED");
    assert_eq!(answer.json()["errors"][0]["detail"]["code"], "unsigned");
}

#[tokio::test]
async fn what_was_published_another_way_is_pulled_and_what_was_withdrawn_is_not() {
    let setting = setting().await;
    for version in ["1.0.0", "1.1.0"] {
        let package = package("text.shout", version).sign(&setting.key);
        let archive = package.to_archive().unwrap();
        let options = PublishOptions::default();
        setting
            .shelf
            .publish(archive, "tok_1", options)
            .await
            .unwrap();
    }
    let tags = setting.get("/v2/text.shout/tags/list").await.json();
    assert_eq!(tags["tags"], json!(["1.0.0", "1.1.0", "latest"]));
    let digest = |answer: Answer| answer.header("docker-content-digest").to_owned();
    let newest = digest(setting.get("/v2/text.shout/manifests/1.1.0").await);
    let latest = digest(setting.get("/v2/text.shout/manifests/latest").await);
    assert_eq!(latest, newest);
    setting.shelf.set("1.1.0", VersionStatus::Disabled);
    for reference in ["1.1.0", &newest] {
        let gone = setting
            .get(&format!("/v2/text.shout/manifests/{reference}"))
            .await;
        assert_eq!(error(&gone, 404), "MANIFEST_UNKNOWN");
    }
    let latest = digest(setting.get("/v2/text.shout/manifests/latest").await);
    let older = digest(setting.get("/v2/text.shout/manifests/1.0.0").await);
    assert_eq!(latest, older);
    setting.shelf.set("1.1.0", VersionStatus::Enabled);
    let back = digest(setting.get("/v2/text.shout/manifests/1.1.0").await);
    assert_eq!(back, newest);
}

mod clients;
/// A registry with a token service, as most public ones have, and without the referrers API.
mod foreign;
