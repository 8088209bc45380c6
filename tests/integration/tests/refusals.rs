//! What a server that trusts somebody does not take, each with its own code, while it goes on
//! serving what it has: seen from outside, over HTTP and with the program that authors use.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bindery_integration::{
    Cli, Finished,
    hot::{Component, plugin, publish, wait_for_version},
};
use bindery_testkit::{HostBuilder, TestHost, wait_for_condition};
use reqwest::Method;
use serde_json::{Value, json};

const NAME: &str = "test.hot-load";
/// What is live while all else is refused.
const LIVE: u32 = 1001;
/// Machines are shared; the server looks at its trust files once in a second.
const SOON: Duration = Duration::from_secs(120);

/// Keys of publishers, files of trust, and a server that goes by them.
struct Setting {
    place: tempfile::TempDir,
    host: TestHost,
}

async fn succeed(cli: Cli) -> Result<Finished> {
    let finished = cli.finish().await?;
    ensure!(
        finished.code()? == 0,
        "{}{}",
        finished.stdout,
        finished.stderr
    );
    Ok(finished)
}

impl Setting {
    async fn new() -> Result<Self> {
        let place = tempfile::tempdir()?;
        let mut publics = Vec::new();
        for name in ["acme", "elsewhere", "stolen", "stranger", "revoker"] {
            let key = place.path().join(format!("{name}.key"));
            let made = succeed(Cli::new(&["plugin", "key", "new"])?.arg(key)).await?;
            publics.push(made.stdout.trim().to_owned());
        }
        let publisher = |name: &str, prefix: &str, key: &str| {
            format!(
                "[[publisher]]\nname = \"{name}\"\nprefixes = [\"{prefix}\"]\nkeys = [\"{key}\"]\n"
            )
        };
        let trust = [
            format!("revocation_keys = [\"{}\"]\n", publics[4]),
            publisher("acme", "test", &publics[0]),
            publisher("elsewhere", "other", &publics[1]),
            publisher("careless", "test", &publics[2]),
        ];
        fs::write(place.path().join("trust.toml"), trust.concat())?;
        fs::create_dir(place.path().join("none"))?;
        revoke(place.path(), &[]).await?;
        let host = HostBuilder::default()
            .argument("--plugins")
            .argument(place.path().join("none"))
            .argument("--trust")
            .argument(place.path().join("trust.toml"))
            .argument("--revocations")
            .argument(place.path().join("revoked.toml"))
            .start()
            .await?;
        Ok(Self { place, host })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The archive of a version, signed with one of the keys; `note` makes it another content.
    async fn package(&self, patch: u32, key: Option<&str>, note: &str) -> Result<Vec<u8>> {
        let directory = tempfile::tempdir_in(self.place.path())?;
        let package = directory.path().join("package");
        fs::create_dir(&package)?;
        let component = Component::built()?.version(patch)?;
        fs::write(package.join("component.wasm"), component.bytes())?;
        let manifest = format!(
            "[package]\nname = \"{NAME}\"\nversion = \"1.0.{patch}\"\nlicence = \"MIT\"\n\
             contract = \"bindery:task@0.1\"\nsummary = \"a probe {note}\"\n"
        );
        fs::write(package.join("bindery.toml"), manifest)?;
        if let Some(key) = key {
            let sign = Cli::new(&["plugin", "sign", "--key"])?
                .arg(self.path(&format!("{key}.key")))
                .arg(&package);
            succeed(sign).await?;
        }
        let folder = directory.path().join("folder");
        let push = Cli::new(&["plugin", "publish", "--to"])?
            .arg(format!("dir:{}", folder.display()))
            .arg(&package);
        succeed(push).await?;
        Ok(fs::read(
            folder.join(format!("{NAME}-1.0.{patch}.bindery")),
        )?)
    }

    /// The same package over HTTP and by the program; both say why not, and nothing has changed.
    async fn is_refused(&self, archive: &[u8], status: u16, code: &str) -> Result<()> {
        let answer = publish(&self.host, archive.to_vec()).await?;
        let problem = answer
            .expect_status(status)
            .with_context(|| code.to_owned())?
            .problem()?;
        assert_eq!(problem["code"], code, "{problem}");
        if status == 403 {
            assert!(!problem["hint"].as_str().unwrap().is_empty(), "{problem}");
        }

        let file = self.path("refused.bindery");
        fs::write(&file, archive)?;
        let finished = self.by_program(&file, &[]).await?;
        assert_eq!(finished.code()?, 1, "{code}: {finished:?}");
        assert_eq!(finished.stdout, "", "{code}");
        assert!(
            finished.stderr.contains(&format!("({code})")),
            "{finished:?}"
        );

        let plugin = plugin(&self.host, NAME).await?;
        assert_eq!(
            plugin["versions"].as_array().unwrap().len(),
            1,
            "{code}: {plugin}"
        );
        assert_eq!(plugin["history"].as_array().unwrap().len(), 1, "{plugin}");
        assert_eq!(plugin["version"], format!("1.0.{LIVE}"), "{plugin}");
        Ok(())
    }

    async fn by_program(&self, path: &Path, words: &[&str]) -> Result<Finished> {
        let mut cli = Cli::new(&["plugin", "publish"])?
            .arg(path)
            .env("BINDERY_SERVER", format!("http://{}", self.host.address()))
            .env("BINDERY_TOKEN", self.host.token());
        for word in words {
            cli = cli.arg(word);
        }
        cli.finish().await
    }

    /// Puts something on the list and waits until the server goes by it.
    async fn revoke(&self, what: &[&str]) -> Result<()> {
        const READ: &str = "trust files read again";
        let before = self.host.log().matches(READ).count();
        revoke(self.place.path(), what).await?;
        wait_for_condition("the list to be in force", SOON, async || {
            let now = self.host.log().matches(READ).count();
            Ok((now > before).then_some(()))
        })
        .await
    }
}

async fn revoke(place: &Path, what: &[&str]) -> Result<()> {
    let mut cli = Cli::new(&["plugin", "revoke", "--reason", "on purpose"])?
        .arg("--list")
        .arg(place.join("revoked.toml"))
        .arg("--key")
        .arg(place.join("revoker.key"));
    for what in what {
        cli = cli.arg(what);
    }
    succeed(cli).await.map(drop)
}

/// Digest of a package, as the server or a problem names it.
async fn digest_of(setting: &Setting, archive: &[u8]) -> Result<String> {
    let file = setting.path("digest.bindery");
    fs::write(&file, archive)?;
    let folder = setting.path("digests");
    let push = Cli::new(&["plugin", "publish", "--to"])?
        .arg(format!("dir:{}", folder.display()))
        .arg(&file);
    let said = succeed(push).await?.stdout;
    let at = said.find("sha256:").context("no digest")?;
    let digest = said[at..].split(')').next().unwrap_or_default();
    Ok(digest.to_owned())
}

/// The archive with one byte changed, in the only kind of place that holds these words.
fn changed(archive: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut archive = archive.to_vec();
    let at = archive
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    let differing = from.bytes().zip(to.bytes()).filter(|(a, b)| a != b).count();
    assert_eq!((from.len(), differing), (to.len(), 1), "one byte");
    archive[at..at + to.len()].copy_from_slice(to.as_bytes());
    archive
}

/// Asks the live version again and again until it is told to stop; gives how often it answered.
async fn keep_asking(request: reqwest::RequestBuilder, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut answers = 0;
    while !stop.load(Ordering::Relaxed) {
        let request = request.try_clone().context("a body that is read once")?;
        let answer = request.send().await?;
        let status = answer.status();
        let document: Value = answer.json().await?;
        ensure!(status == 200, "{status}: {document}");
        let by = &document["parameters"]["checked_by"];
        ensure!(*by == format!("1.0.{LIVE}"), "answered by {by}");
        answers += 1;
    }
    Ok(answers)
}

#[tokio::test]
async fn each_package_that_is_not_to_be_taken_is_refused_with_its_code_and_the_live_one_serves()
-> Result<()> {
    let setting = Setting::new().await?;
    let live = setting.package(LIVE, Some("acme"), "").await?;
    let published = publish(&setting.host, live.clone()).await?;
    let published = published.expect_status(201)?.json()?;
    assert_eq!(published["trust"], "signed");
    assert_eq!(published["publisher"], "acme");

    let stop = Arc::new(AtomicBool::new(false));
    let path = format!("/api/v1/tasks/{NAME}/validate");
    let body = json!({ "inputs": {}, "parameters": {} });
    let request = setting.host.request(Method::POST, &path).json(&body);
    let asking = tokio::spawn(keep_asking(request, Arc::clone(&stop)));

    let unsigned = setting.package(1002, None, "").await?;
    setting.is_refused(&unsigned, 403, "unsigned").await?;
    let unknown = setting.package(1002, Some("stranger"), "").await?;
    setting
        .is_refused(&unknown, 403, "publisher_unknown")
        .await?;
    let elsewhere = setting.package(1002, Some("elsewhere"), "").await?;
    setting
        .is_refused(&elsewhere, 403, "publisher_not_allowed")
        .await?;

    let good = setting.package(1002, Some("acme"), "").await?;
    // In the component's data, and in the manifest's text.
    let component = changed(&good, "manners=good", "manners=goad");
    setting.is_refused(&component, 403, "tampered").await?;
    let manifest = changed(&good, "a probe", "a prove");
    setting.is_refused(&manifest, 403, "tampered").await?;
    let signature = changed_signature(&good);
    setting
        .is_refused(&signature, 403, "signature_invalid")
        .await?;

    let old = setting.package(1000, Some("acme"), "").await?;
    setting.is_refused(&old, 403, "downgrade").await?;
    let other = setting
        .package(LIVE, Some("acme"), "of another kind")
        .await?;
    setting.is_refused(&other, 409, "version_taken").await?;

    let stolen = setting.package(1003, Some("stolen"), "").await?;
    let stolen_key = key_id(&setting, "stolen").await?;
    let withdrawn = setting.package(1004, Some("acme"), "").await?;
    let digest = digest_of(&setting, &withdrawn).await?;
    setting.revoke(&[&digest, &stolen_key]).await?;
    setting.is_refused(&withdrawn, 403, "revoked").await?;
    setting.is_refused(&stolen, 403, "revoked").await?;

    stop.store(true, Ordering::Relaxed);
    let answers = asking.await??;
    assert!(answers > 0, "nobody was answered meanwhile");

    // None of it was for another reason: what nobody changed is taken.
    let file = setting.path("good.bindery");
    fs::write(&file, &good)?;
    let taken = setting.by_program(&file, &["--json"]).await?.success()?;
    assert_eq!(taken["version"], "1.0.1002");
    wait_for_version(&setting.host, NAME, Some("1.0.1002")).await?;

    // What is live and revoked is taken out of service, and cannot be put back.
    let digest = taken["digest"].as_str().unwrap();
    setting.revoke(&[digest]).await?;
    wait_for_version(&setting.host, NAME, Some("1.0.1001")).await?;
    let back = setting.by_program(&file, &[]).await?;
    assert_eq!(back.code()?, 1, "{back:?}");
    assert!(back.stderr.contains("(revoked)"), "{back:?}");
    setting.host.is_healthy().await
}

/// The archive with one digit of its signature changed.
fn changed_signature(archive: &[u8]) -> Vec<u8> {
    let mark = b"\nsignature = \"";
    let at = archive
        .windows(mark.len())
        .position(|window| window == mark)
        .unwrap();
    let mut archive = archive.to_vec();
    let digit = &mut archive[at + mark.len() + 10];
    *digit = if *digit == b'A' { b'B' } else { b'A' };
    archive
}

async fn key_id(setting: &Setting, name: &str) -> Result<String> {
    let key = setting.path(&format!("{name}.key"));
    let shown = succeed(Cli::new(&["plugin", "key", "show"])?.arg(key)).await?;
    let id = shown.stderr.trim().rsplit(' ').next().unwrap_or_default();
    Ok(id.to_owned())
}

#[tokio::test]
async fn a_version_that_is_not_in_service_is_not_published_by_publishing_it_again() -> Result<()> {
    let setting = Setting::new().await?;
    let mut files = Vec::new();
    for patch in [LIVE, 1002] {
        let file = setting.path(&format!("{patch}.bindery"));
        fs::write(&file, setting.package(patch, Some("acme"), "").await?)?;
        let published = setting.by_program(&file, &[]).await?;
        assert_eq!(published.code()?, 0, "{published:?}");
        files.push(file);
    }
    let again = setting.by_program(&files[1], &[]).await?;
    assert_eq!(again.code()?, 0);
    assert!(again.stdout.contains("is there already, and live"));

    let back = bindery_integration::hot::change(&setting.host, NAME, "rollback").await?;
    back.expect_status(200)?;
    for words in [&[][..], &["--json"]] {
        let again = setting.by_program(&files[1], words).await?;
        assert_eq!(again.code()?, 1, "{again:?}");
        assert!(
            again
                .stderr
                .contains(&format!("bindery plugin enable {NAME}@1.0.1002")),
            "{again:?}"
        );
        assert!(again.stderr.contains("rolled back"), "{again:?}");
    }
    // What it says helps; a rollback to what was named would be something else.
    let name = format!("{NAME}@1.0.1002");
    let back = Cli::new(&["plugin", "rollback", &name, "--token", "none"])?;
    let back = back.finish().await?;
    assert_eq!(back.code()?, 2, "{back:?}");
    let enabled = Cli::new(&["plugin", "enable", &name])?
        .env("BINDERY_SERVER", setting.host.address())
        .env("BINDERY_TOKEN", setting.host.token());
    succeed(enabled).await?;
    let again = setting.by_program(&files[1], &[]).await?;
    assert_eq!(again.code()?, 0, "{again:?}");
    Ok(())
}

/// Files of compiled code, with their contents.
fn compiled(host: &TestHost) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(host.data().join("cache/components"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "cwasm") {
            let bytes = fs::read(&path)?;
            files.push((path, bytes));
        }
    }
    files.sort();
    Ok(files)
}

#[tokio::test]
async fn compiled_code_that_was_tampered_with_is_compiled_again_and_tasks_work() -> Result<()> {
    const SAID: &str = "cached component is not ours or damaged";
    let mut setting = Setting::new().await?;
    for patch in [LIVE, 1002] {
        let package = setting.package(patch, Some("acme"), "").await?;
        publish(&setting.host, package).await?.expect_status(201)?;
    }
    setting.host.terminate()?;
    assert!(setting.host.ended().await?.success());

    let before = compiled(&setting.host)?;
    assert_eq!(before.len(), 2);
    for (path, bytes) in &before {
        let mut bytes = bytes.clone();
        // Here and there: in what stands before the code, in the code, and at the end.
        let last = bytes.len() - 1;
        for at in [last / 64, last / 2, last] {
            bytes[at] ^= 0x10;
        }
        fs::write(path, bytes)?;
    }
    setting.host.restart().await?;
    let log = setting.host.log();
    assert_eq!(log.matches(SAID).count(), before.len(), "{log}");
    for version in ["1.0.1001", "1.0.1002"] {
        let run = setting
            .host
            .execute(&format!("{NAME}@{version}"), json!({}), json!({}))
            .await?;
        let record = setting.host.wait_for_end(&run.execution, SOON).await?;
        assert_eq!(record["status"], "succeeded", "{record}");
        let path = format!("/api/v1/executions/{}/results", run.execution);
        let results = setting.host.get(&path).await?.expect_status(200)?.json()?;
        assert_eq!(results["output"]["computed_by"], version);
    }

    // What was compiled again is kept, and found at the next start.
    let after = compiled(&setting.host)?;
    assert_eq!(after.len(), before.len());
    setting.host.terminate()?;
    assert!(setting.host.ended().await?.success());
    setting.host.restart().await?;
    assert_eq!(setting.host.log().matches(SAID).count(), before.len());
    assert_eq!(compiled(&setting.host)?, after);
    setting.host.is_healthy().await
}
