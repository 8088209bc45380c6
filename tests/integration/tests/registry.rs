//! Packages on their way: signed by a publisher, pushed to a host and into a folder, pulled again,
//! by our program and by a client that we did not write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bindery_integration::{Cli, Finished, copy_tree, project};
use bindery_testkit::{HostBuilder, TestHost, dist};
use serde_json::Value;

const NAME: &str = "system.noop";

/// A publisher with a key, a package to publish, and a host that trusts the publisher.
struct Setting {
    place: tempfile::TempDir,
    host: TestHost,
    token: String,
}

impl Setting {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let key = cli(&["plugin", "key", "new"], &[&place.path().join("key")]).await;
        let trust = format!(
            "[[publisher]]\nname = \"acme\"\nprefixes = [\"system\"]\nkeys = [\"{}\"]\n",
            key.stdout.trim()
        );
        fs::write(place.path().join("trust.toml"), trust).unwrap();
        fs::create_dir(place.path().join("none")).unwrap();
        // One that ships, changed, so that the host trusts it for its signature only.
        let package = place.path().join("package");
        copy_tree(&dist().unwrap().join("plugins").join(NAME), &package).unwrap();
        let manifest = package.join("bindery.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let text = text.replace("[package]\n", "[package]\nkeywords = [\"probe\"]\n");
        fs::write(&manifest, text).unwrap();
        let host = HostBuilder::default()
            .argument("--plugins")
            .argument(place.path().join("none"))
            .argument("--trust")
            .argument(place.path().join("trust.toml"))
            .start()
            .await
            .unwrap();
        let token = fs::read_to_string(host.path("token")).unwrap();
        Self {
            place,
            host,
            token: token.trim().to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn registry(&self) -> String {
        format!("oci://{}/{NAME}", self.host.address())
    }

    async fn publish(&self, to: &str) -> Finished {
        let cli = Cli::new(&["plugin", "publish"]).unwrap();
        cli.arg(self.path("package"))
            .arg("--to")
            .arg(to)
            .env("BINDERY_SERVER", format!("http://{}", self.host.address()))
            .env("BINDERY_TOKEN", &self.token)
            .finish()
            .await
            .unwrap()
    }

    async fn pull(&self, from: &str, out: &str) -> Finished {
        let cli = Cli::new(&["plugin", "pull", from]).unwrap();
        cli.arg("--out")
            .arg(self.path(out))
            .arg("--trust")
            .arg(self.path("trust.toml"))
            .env("BINDERY_SERVER", format!("http://{}", self.host.address()))
            .env("BINDERY_TOKEN", &self.token)
            .finish()
            .await
            .unwrap()
    }

    async fn sign(&self) {
        let sign = Cli::new(&["plugin", "sign"]).unwrap();
        let sign = sign
            .arg(self.path("package"))
            .arg("--key")
            .arg(self.path("key"))
            .finish()
            .await
            .unwrap();
        assert!(sign.status.success(), "{}", sign.stderr);
    }
}

async fn cli(words: &[&str], paths: &[&Path]) -> Finished {
    let mut cli = Cli::new(words).unwrap();
    for path in paths {
        cli = cli.arg(path);
    }
    let finished = cli.finish().await.unwrap();
    assert!(finished.status.success(), "{}", finished.stderr);
    finished
}

/// The client that `cargo xtask setup` installs; none, with a loud word, where it is absent.
fn foreign_client() -> Option<PathBuf> {
    let python = project().join("target/clients/bin/python");
    if python.is_file() {
        return Some(python);
    }
    eprintln!("SKIPPED: {} is absent: cargo xtask setup", python.display());
    None
}

#[tokio::test]
async fn a_package_is_pushed_live_and_pulled_by_us_and_by_others() {
    let setting = Setting::new().await;
    let refused = setting.publish(&setting.registry()).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("unsigned"), "{}", refused.stderr);
    let task = setting
        .host
        .get(&format!("/api/v1/tasks/{NAME}"))
        .await
        .unwrap();
    assert_eq!(task.status, 404);

    setting.sign().await;
    let published = setting.publish(&setting.registry()).await;
    assert!(published.status.success(), "{}", published.stderr);
    let task = setting
        .host
        .get(&format!("/api/v1/tasks/{NAME}"))
        .await
        .unwrap();
    assert_eq!(task.status, 200);

    let pulled = setting.pull(&setting.registry(), "pulled.bindery").await;
    assert!(pulled.status.success(), "{}", pulled.stderr);
    assert!(
        pulled.stderr.contains("signed by acme"),
        "{}",
        pulled.stderr
    );

    // Without a token nobody pulls.
    let cli = Cli::new(&["plugin", "pull", &setting.registry()]).unwrap();
    let denied = cli
        .arg("--out")
        .arg(setting.path("denied"))
        .finish()
        .await
        .unwrap();
    assert_eq!(denied.status.code(), Some(1));
    assert!(!setting.path("denied").exists());

    // The archive is a tar that everybody can read, and holds what was signed.
    let unpacked = setting.path("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(setting.path("pulled.bindery"))
        .arg("-C")
        .arg(&unpacked)
        .status()
        .unwrap();
    assert!(tar.success());
    for file in ["bindery.toml", "bindery.sig", "component.wasm"] {
        let (here, there) = (setting.path("package").join(file), unpacked.join(file));
        assert!(
            fs::read(here).unwrap() == fs::read(there).unwrap(),
            "{file}"
        );
    }

    let Some(python) = foreign_client() else {
        return;
    };
    let out = setting.path("foreign");
    fs::create_dir(&out).unwrap();
    let client = Command::new(python)
        .arg(project().join("tests/integration/clients/oras_client.py"))
        .args([setting.host.address(), NAME, "latest"])
        .arg(&out)
        .env("ORAS_PASS", &setting.token)
        .env("HOME", setting.place.path())
        .output()
        .unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&client.stdout),
        String::from_utf8_lossy(&client.stderr),
    );
    assert!(client.status.success(), "{said}\n{complained}");
    let document: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(document["config"], "application/vnd.wasm.config.v0+json");
    assert_eq!(document["pulled"].as_array().unwrap().len(), 1);
    assert_eq!(document["tags"], serde_json::json!(["0.1.0", "latest"]));
    assert_eq!(document["pushed"], 201);
    assert_eq!(document["same"], true);
    let component = fs::read(out.join("component.wasm")).unwrap();
    assert!(component == fs::read(unpacked.join("component.wasm")).unwrap());
}

#[tokio::test]
async fn a_folder_is_a_registry_too_and_what_was_changed_there_is_noticed() {
    let setting = Setting::new().await;
    setting.sign().await;
    let folder = setting.path("folder");
    let to = format!("dir:{}", folder.display());
    let pushed = setting.publish(&to).await;
    assert!(pushed.status.success(), "{}", pushed.stderr);
    let from = format!("{to}/{NAME}");
    let pulled = setting.pull(&from, "pulled.bindery").await;
    assert!(pulled.status.success(), "{}", pulled.stderr);
    // A version stays what it is.
    let case = setting.path("package").join("note.txt");
    fs::write(case, "more").unwrap();
    setting.sign().await;
    let taken = setting.publish(&to).await;
    assert_eq!(taken.status.code(), Some(1));
    assert!(
        taken.stderr.contains("stays what it is"),
        "{}",
        taken.stderr
    );

    let archive = folder.join(format!("{NAME}-0.1.0.bindery"));
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes
        .windows(5)
        .position(|window| window == b"probe")
        .unwrap();
    bytes[at] = b'P';
    fs::write(&archive, bytes).unwrap();
    let tampered = setting.pull(&from, "tampered.bindery").await;
    assert_eq!(tampered.status.code(), Some(1));
    assert!(tampered.stderr.contains("tampered"), "{}", tampered.stderr);
    assert!(!setting.path("tampered.bindery").exists());
}
