//! Who gets in and who does not, with real components, signatures and records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, LazyLock},
};

use async_trait::async_trait;
use bindery_blobs::Blobs;
use bindery_core::{Digest, TaskRef};
use bindery_datastore::{Database, Datastore, EventQuery, MemoryDatastore};
use bindery_plugins::{
    ChangeError, Compiler, PluginStore, PluginsConfig, PluginsParts, PublishError, PublishOptions,
    Published, RecentRequest, RecentRequests, VersionStatus,
};
use bindery_registry::{
    Manifest, Package, Publisher, Revocations, RevokedDigest, SigningKey, TrustPolicy, TrustStore,
};
use bindery_runtime::{Catalog, Runtime, RuntimeConfig};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

static COMPONENT: LazyLock<Bytes> =
    LazyLock::new(|| bindery_guests_build::guest("hot_load").unwrap().into());

/// The guest with another version in its data.
fn component(patch: u32) -> Bytes {
    replaced(&COMPONENT, "1.0.1000", &format!("1.0.{patch:04}"))
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes.into()
}

fn manifest(name: &str, version: &str, needs: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"{version}\"\nlicence = \"MIT\"\n\
         contract = \"bindery:task@0.1\"\n[needs]\n{needs}\n"
    )
}

fn package(version: &str, needs: &str, component: Bytes) -> Package {
    Package::from_component(
        &Manifest::parse(&manifest("test.hot-load", version, needs)).unwrap(),
        component,
    )
    .unwrap()
}

#[derive(Debug)]
struct Nothing;

#[async_trait]
impl RecentRequests for Nothing {
    async fn recent(&self, _: &str, _: usize) -> Vec<RecentRequest> {
        Vec::new()
    }
}

struct Shelf {
    store: PluginStore,
    catalog: Arc<Catalog>,
    datastore: Arc<dyn Datastore>,
    key: SigningKey,
    policy: TrustPolicy,
    _directory: TempDir,
}

impl Shelf {
    async fn open() -> Self {
        Self::open_on(
            Arc::new(MemoryDatastore::new()),
            tempfile::tempdir().unwrap(),
        )
        .await
    }

    async fn open_on(datastore: Arc<dyn Datastore>, directory: TempDir) -> Self {
        let key = SigningKey::generate().unwrap();
        let policy = TrustPolicy {
            store: TrustStore {
                publishers: vec![Publisher {
                    name: "acme".into(),
                    prefixes: vec!["test".into()],
                    keys: vec![key.public()],
                }],
                ..TrustStore::default()
            },
            ..TrustPolicy::default()
        };
        let catalog = Arc::new(Catalog::default());
        let runtime = Runtime::new(&RuntimeConfig {
            // Shared by the tests: what one has compiled the others load.
            cache_directory: Some(
                PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled-guests"),
            ),
            ..RuntimeConfig::default()
        })
        .unwrap();
        let store = PluginStore::open(
            PluginsParts {
                runtime,
                catalog: Arc::clone(&catalog),
                datastore: Arc::clone(&datastore),
                blobs: Blobs::open(&directory.path().join("blobs")).unwrap(),
                policy: policy.clone(),
                engines: None,
                recent: Arc::new(Nothing),
            },
            PluginsConfig {
                scratch: directory.path().join("scratch"),
                compiler: Compiler::InProcess,
                versions_kept: 3,
                parallel: 2,
            },
        )
        .await
        .unwrap();
        Self {
            store,
            catalog,
            datastore,
            key,
            policy,
            _directory: directory,
        }
    }

    async fn publish(&self, package: Package) -> Result<Published, PublishError> {
        let archive = package.to_archive().unwrap();
        self.store
            .publish(archive, "tester", PublishOptions::default())
            .await
    }

    /// Signed by the publisher that is trusted.
    async fn signed(&self, package: Package) -> Result<Published, PublishError> {
        self.publish(package.sign(&self.key)).await
    }

    /// The version that the task's name means.
    fn meant(&self) -> Option<String> {
        let task: TaskRef = "test.hot-load".parse().unwrap();
        let entry = self.catalog.task(&task)?;
        Some(entry.definition.version.to_string())
    }

    fn events(&self) -> Vec<String> {
        let query = EventQuery::topic("tasks", 0, 100);
        let events = self.datastore.events(Database::Meta, &query).unwrap();
        events.iter().map(|event| event.name.clone()).collect()
    }
}

#[track_caller]
fn refused(outcome: Result<Published, PublishError>, code: &str) {
    match outcome {
        Err(error) => assert_eq!(error.code(), code, "{error}"),
        Ok(published) => panic!("{code} expected, published {:?}", published.record),
    }
}

#[tokio::test]
async fn each_reason_to_refuse_has_its_code_and_changes_nothing() {
    let shelf = Shelf::open().await;
    let good = || package("1.0.1000", "", COMPONENT.clone());
    refused(shelf.publish(good()).await, "unsigned");
    refused(
        shelf
            .store
            .publish(COMPONENT.clone(), "tester", PublishOptions::default())
            .await,
        "unsigned",
    );
    let stranger = SigningKey::generate().unwrap();
    refused(
        shelf.publish(good().sign(&stranger)).await,
        "publisher_unknown",
    );

    // The files of one package with the signature of another.
    let signature = good().sign(&shelf.key).signature().cloned();
    let other_component = package("1.0.1000", "", component(1001));
    refused(
        shelf
            .publish(other_component.with_signature(signature.clone()))
            .await,
        "tampered",
    );
    let other_manifest = package("1.0.1000", "engines = [\"sleep\"]", COMPONENT.clone());
    refused(
        shelf
            .publish(other_manifest.with_signature(signature))
            .await,
        "tampered",
    );

    // A signature of which a digit was changed.
    let signed = good().sign(&shelf.key);
    let text = signed.signature().unwrap().to_string();
    let line = text
        .lines()
        .find(|line| line.starts_with("signature"))
        .unwrap();
    let digits = line.find(['"', ':']).unwrap() + 12;
    let flipped = match &line[digits..=digits] {
        "A" => "B",
        _ => "A",
    };
    let mut broken = line.to_owned();
    broken.replace_range(digits..=digits, flipped);
    let mut files: BTreeMap<String, Bytes> = signed
        .files()
        .map(|(path, content)| (path.to_owned(), content.clone()))
        .collect();
    files.insert(
        "bindery.sig".into(),
        Bytes::from(text.replace(line, &broken)),
    );
    let wrong = Package::from_files(files).unwrap();
    refused(shelf.publish(wrong).await, "signature_invalid");

    let foreign = Package::from_component(
        &Manifest::parse(&manifest("other.task", "1.0.0", "")).unwrap(),
        COMPONENT.clone(),
    )
    .unwrap();
    refused(shelf.signed(foreign).await, "publisher_not_allowed");
    refused(
        shelf
            .store
            .publish(
                Bytes::from_static(b"rubbish"),
                "tester",
                PublishOptions::default(),
            )
            .await,
        "package_invalid",
    );
    let no_code = Bytes::from_static(b"\0asm\x0d\0\x01\0\xff\xff");
    refused(
        shelf.signed(package("1.0.1000", "", no_code)).await,
        "component_invalid",
    );
    let nothing = Bytes::from_static(b"\0asm\x0d\0\x01\0");
    refused(
        shelf.signed(package("1.0.1000", "", nothing)).await,
        "contract_missing",
    );
    for (guest, code) in [
        ("imports_sockets", "import_not_granted"),
        ("describe_differs", "not_deterministic"),
        ("describe_bad_schema", "schema_invalid"),
        ("loop_in_describe", "describe_failed"),
    ] {
        let bytes = bindery_guests_build::guest(guest).unwrap().into();
        refused(shelf.signed(package("1.0.1000", "", bytes)).await, code);
    }
    let engines = bindery_guests_build::guest("good_engine").unwrap().into();
    refused(
        shelf.signed(package("1.0.1000", "", engines)).await,
        "needs_undeclared",
    );

    assert!(shelf.store.list().is_empty());
    assert_eq!(shelf.catalog.residents().len(), 0);
    assert_eq!(shelf.events(), Vec::<String>::new());

    shelf.signed(good()).await.unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1000"));
}

#[tokio::test]
async fn versions_do_not_go_back_or_change_and_another_package_takes_no_task() {
    let shelf = Shelf::open().await;
    let first = package("1.0.1000", "", component(1000));
    assert!(shelf.signed(first.clone()).await.unwrap().created);
    assert!(!shelf.signed(first.clone()).await.unwrap().created);
    let second = package("1.0.1001", "", component(1001));
    shelf.signed(second).await.unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1001"));

    refused(
        shelf.signed(package("1.0.999", "", component(1003))).await,
        "downgrade",
    );
    // The same number with another content: a lower number is refused before that.
    refused(
        shelf
            .signed(package(
                "1.0.1001",
                "engines = [\"sleep\"]",
                component(1001),
            ))
            .await,
        "version_taken",
    );
    let thief = Package::from_component(
        &Manifest::parse(&manifest("test.thief", "1.0.0", "")).unwrap(),
        component(1002),
    )
    .unwrap();
    refused(shelf.signed(thief).await, "task_taken");

    // To go back is an admin's call, and needs no publish.
    let back = shelf
        .store
        .roll_back("test.hot-load", "admin")
        .await
        .unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1000"));
    assert_eq!(back.versions.len(), 2);
    let history = shelf.store.history("test.hot-load").await.unwrap();
    assert_eq!(history[0].actor, "admin");
    assert_eq!(history[0].from_version.as_ref().unwrap().patch, 1001);
    assert_eq!(
        shelf.events(),
        ["task.loaded", "task.updated", "task.updated"]
    );
    let report = history[2].report.unwrap();
    let report = shelf.store.report(&report.0).await.unwrap();
    assert_eq!(report.growth, Vec::<String>::new());
}

/// `wasi:http` is for packages that name hosts, and each name is asked about.
#[tokio::test]
async fn requests_go_to_hosts_that_were_granted() {
    let shelf = Shelf::open().await;
    let asks = || Bytes::from(bindery_guests_build::guest("good_http").unwrap());
    let hosts = |names: &str| format!("hosts = [{names}]");
    refused(
        shelf.signed(package("1.0.1000", "", asks())).await,
        "import_not_granted",
    );
    let first = package("1.0.1000", &hosts("\"api.example.org\""), asks());
    let live = shelf.signed(first).await.unwrap();
    assert_eq!(live.record.status, VersionStatus::Enabled);
    assert_eq!(live.record.sheet.hosts, ["api.example.org"]);
    let granted = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
    let resident = || shelf.catalog.resident(&Digest::of(&asks())).unwrap();
    let provenance = resident().provenance;
    assert_eq!(provenance.hosts, granted(&["api.example.org"]));
    assert_eq!(provenance.permissions, ["host:api.example.org"]);

    let both = hosts("\"api.example.org\", \"cache.example.org:8443\"");
    let more = package("1.0.1001", &both, asks());
    let waits = shelf.signed(more).await.unwrap();
    assert_eq!(waits.record.status, VersionStatus::Pending);
    assert_eq!(waits.record.growth, ["host:cache.example.org:8443"]);
    // The component is the same, and what it may do is not.
    assert_eq!(
        resident().provenance.hosts,
        granted(&["api.example.org"]),
        "not yet"
    );
    let pinned = shelf.store.pinned(&Digest::of(&asks())).await.unwrap();
    assert_eq!(
        pinned.unwrap().provenance.hosts,
        granted(&["api.example.org"])
    );
    shelf
        .store
        .approve("test.hot-load", None, "admin")
        .await
        .unwrap();
    assert_eq!(
        resident().provenance.hosts,
        granted(&["api.example.org", "cache.example.org:8443"])
    );
    // It is loaded, and still not for a package that names no hosts.
    refused(
        shelf.signed(package("1.0.1002", "", asks())).await,
        "import_not_granted",
    );
}

#[tokio::test]
async fn a_number_means_one_content_also_while_it_is_written() {
    let shelf = Shelf::open().await;
    let development = TrustPolicy {
        development: true,
        ..shelf.policy.clone()
    };
    shelf.store.set_policy(development).await.unwrap();
    let before = package("1.0.1000", "", component(1000));
    let first = package("1.0.1001", "", component(1001));
    let written_anew = replaced(&component(1001), "manners=good", "manners=nice");
    let other = package("1.0.1001", "", written_anew);
    for package in [&before, &first, &other] {
        let published = shelf.publish(package.clone()).await.unwrap();
        assert!(published.created);
    }
    let listed = || {
        let view = shelf.store.get("test.hot-load").unwrap();
        let digests: Vec<_> = view.versions.iter().map(|it| it.record.digest.0).collect();
        digests
    };
    assert_eq!(listed(), [other.digest(), before.digest()]);
    let history = shelf.store.history("test.hot-load").await.unwrap();
    assert_eq!(history[0].action.as_str(), "superseded");
    assert_eq!(history[0].digest.0, first.digest());

    let back = shelf
        .store
        .roll_back("test.hot-load", "admin")
        .await
        .unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1000"));
    assert_eq!(back.versions.len(), 2);
    let number = other.version();
    shelf
        .store
        .enable("test.hot-load", Some(number), "admin")
        .await
        .unwrap();
    let view = shelf.store.get("test.hot-load").unwrap();
    assert!(view.versions[0].current);
    assert_eq!(view.versions[0].record.digest.0, other.digest());

    // Changed back: it is what the number means again, from wherever it comes.
    let archive = first.to_archive().unwrap();
    let options = PublishOptions {
        approve: false,
        folder: Some("/watched".to_owned()),
    };
    let again = shelf.store.publish(archive, "folder", options).await;
    assert!(again.unwrap().created);
    assert_eq!(listed(), [first.digest(), before.digest()]);
}

#[tokio::test]
async fn what_asks_for_more_waits_for_a_yes() {
    let shelf = Shelf::open().await;
    let first = package("1.0.1000", "", component(1000));
    shelf.signed(first).await.unwrap();
    let more = package("1.0.1001", "engines = [\"sleep\"]", component(1001));
    let waits = shelf.signed(more.clone()).await.unwrap();
    assert!(waits.created);
    assert_eq!(waits.record.status, VersionStatus::Pending);
    assert_eq!(waits.record.growth, ["engine:sleep"]);
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1000"), "not yet");
    assert!(matches!(
        shelf
            .store
            .enable("test.hot-load", Some(&waits.record.version), "admin")
            .await,
        Err(ChangeError::Pending(_))
    ));
    shelf
        .store
        .approve("test.hot-load", None, "admin")
        .await
        .unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1001"));
    assert!(matches!(
        shelf.store.approve("test.hot-load", None, "admin").await,
        Err(ChangeError::NothingPending)
    ));
    // No more than what was granted: nobody is asked again. At once, with the admin's yes.
    let same = package("1.0.1002", "engines = [\"sleep\"]", component(1002));
    let live = shelf.signed(same).await.unwrap();
    assert_eq!(live.record.status, VersionStatus::Enabled);
    let most = package(
        "1.0.1003",
        "engines = [\"sleep\", \"vina\"]",
        component(1003),
    );
    let archive = most.sign(&shelf.key).to_archive().unwrap();
    let options = PublishOptions {
        approve: true,
        folder: None,
    };
    let live = shelf
        .store
        .publish(archive, "admin", options)
        .await
        .unwrap();
    assert_eq!(live.record.status, VersionStatus::Enabled);
    assert_eq!(live.report.unwrap().growth, ["engine:vina"]);
}

#[tokio::test]
async fn what_is_revoked_is_taken_out_of_service_and_does_not_come_back() {
    let shelf = Shelf::open().await;
    let first = package("1.0.1000", "", component(1000));
    shelf.signed(first).await.unwrap();
    let second = package("1.0.1001", "", component(1001));
    let revoked = shelf.signed(second.clone()).await.unwrap().record;
    let now = Timestamp::now();
    let mut policy = shelf.policy.clone();
    policy.revocations = Some(Revocations {
        number: 1,
        issued: now,
        expires: now + SignedDuration::from_hours(24),
        digests: vec![RevokedDigest {
            digest: revoked.digest.0,
            reason: "wrong".into(),
        }],
        keys: Vec::new(),
    });
    shelf.store.set_policy(policy).await.unwrap();
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1000"));
    let view = shelf.store.get("test.hot-load").unwrap();
    assert_eq!(view.versions[0].record.cause.as_str(), "revoked");
    let enabled = shelf
        .store
        .enable("test.hot-load", Some(&revoked.version), "admin")
        .await;
    assert!(matches!(enabled, Err(ChangeError::Revoked)), "{enabled:?}");
    refused(shelf.signed(second).await, "revoked");
    let pinned = shelf.store.pinned(&revoked.component.0).await;
    assert!(matches!(pinned, Err(ChangeError::Revoked)), "{pinned:?}");
}

#[tokio::test]
async fn only_so_many_versions_stay_live_and_each_is_still_there() {
    let shelf = Shelf::open().await;
    let mut first = None;
    for patch in 1000..1005 {
        let version = format!("1.0.{patch}");
        let published = shelf
            .signed(package(&version, "", component(patch)))
            .await
            .unwrap();
        first.get_or_insert(published.record);
    }
    assert_eq!(shelf.catalog.residents().len(), 3);
    let view = shelf.store.get("test.hot-load").unwrap();
    assert_eq!(view.versions.len(), 5);
    let first = first.unwrap();
    // What began with it ends with it.
    let pinned = shelf.store.pinned(&first.component.0).await.unwrap();
    assert_eq!(pinned.unwrap().plugin.digest(), first.component.0);
    shelf
        .store
        .enable("test.hot-load", Some(&first.version), "admin")
        .await
        .unwrap();
    let task: TaskRef = "test.hot-load@1.0.1000".parse().unwrap();
    assert!(shelf.catalog.task(&task).is_some());
    assert_eq!(
        shelf.meant().as_deref(),
        Some("1.0.1004"),
        "the newest is meant"
    );
}

#[tokio::test]
async fn publishes_of_one_name_take_turns_and_all_are_recorded() {
    let shelf = Shelf::open().await;
    let publishes = (1000..1006).map(|patch| {
        let version = format!("1.0.{patch}");
        shelf.signed(package(&version, "", component(patch)))
    });
    let outcomes = futures::future::join_all(publishes).await;
    let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    // Whoever comes after a higher number is too late; nobody is lost or done by halves.
    for outcome in &outcomes {
        if let Err(error) = outcome {
            assert_eq!(error.code(), "downgrade", "{error}");
        }
    }
    let view = shelf.store.get("test.hot-load").unwrap();
    assert_eq!(view.versions.len(), taken);
    let mut numbers: Vec<u64> = view
        .versions
        .iter()
        .map(|version| version.record.number)
        .collect();
    numbers.sort_unstable();
    let expected: Vec<u64> = (1..=taken as u64).collect();
    assert_eq!(numbers, expected);
    assert_eq!(shelf.meant().as_deref(), Some("1.0.1005"));
}

#[tokio::test]
async fn a_restart_finds_what_was_there_and_holds_back_what_may_not_be() {
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let shelf = Shelf::open_on(Arc::clone(&datastore), tempfile::tempdir().unwrap()).await;
    shelf
        .signed(package("1.0.1000", "", component(1000)))
        .await
        .unwrap();
    let before = shelf.store.history("test.hot-load").await.unwrap();
    let Shelf {
        store, _directory, ..
    } = shelf;
    drop(store);
    // Another key in the trust store: the record stays, and nothing is loaded.
    let shelf = Shelf::open_on(datastore, _directory).await;
    assert_eq!(shelf.meant(), None);
    let view = shelf.store.get("test.hot-load").unwrap();
    assert_eq!(view.versions[0].record.status, VersionStatus::Enabled);
    let fault = view.versions[0].fault.as_ref().unwrap();
    assert!(fault.contains("no publisher"), "{fault}");
    assert_eq!(shelf.store.history("test.hot-load").await.unwrap(), before);
}
