//! `bindery admin`: a backup beside a server that is written to, and a server on what was restored.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test"
)]

use std::{
    fs,
    path::Path,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use bindery_testkit::{TestHost, dist, wait_for_condition};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;

const SOON: Duration = Duration::from_secs(120);

fn admin(words: &[&str], data: &Path) -> Output {
    std::process::Command::new(dist().unwrap().join("bindery"))
        .arg("admin")
        .args(words)
        .arg("--data")
        .arg(data)
        .output()
        .unwrap()
}

/// Its JSON document, after comparing the exit code.
fn document(output: &Output, code: i32) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {error}"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn rewrite(path: &Path, content: &[u8]) {
    // Blobs are read-only, and this may run without being root.
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_writers_becomes_a_server_that_has_all_that_was_acknowledged() -> Result<()>
{
    let mut host = TestHost::start().await?;
    let content = b"what somebody uploaded\n".repeat(1_000);
    let uploaded = host.upload("files", "notes.txt", content.clone()).await?;
    let file = uploaded.expect_status(201)?.json()?["id"]
        .as_str()
        .unwrap()
        .to_owned();

    let acked = Arc::new(Mutex::new(Vec::<String>::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let submit = async {
        while !stop.load(Ordering::Relaxed) {
            let taken = host.execute("system.noop", json!({}), json!({})).await?;
            acked.lock().await.push(taken.execution);
        }
        anyhow::Ok(())
    };
    let (data, directory, tar) = (host.data(), host.path("backup"), host.path("backup.tar"));
    let back_up = async {
        let mut known = Vec::new();
        for to in [directory.clone(), tar.clone()] {
            wait_for_condition("more submissions", SOON, async || {
                Ok((acked.lock().await.len() >= 20 + known.len() * 20).then_some(()))
            })
            .await?;
            let before = acked.lock().await.clone();
            let data = data.clone();
            let output =
                tokio::task::spawn_blocking(move || admin(&["backup", text(&to), "--json"], &data))
                    .await?;
            known.push((before, document(&output, 0)));
        }
        let data = data.clone();
        let online =
            tokio::task::spawn_blocking(move || admin(&["verify", "--json"], &data)).await?;
        stop.store(true, Ordering::Relaxed);
        anyhow::Ok((known, document(&online, 0)))
    };
    let (submitted, backed_up) = tokio::join!(submit, back_up);
    submitted?;
    let (known, online) = backed_up?;
    assert_eq!(online["online"], true);
    assert_eq!(online["sound"], true, "{online:#}");
    host.terminate()?;
    host.ended().await?;

    // The original, closed: everything is compared.
    let offline = document(&admin(&["verify", "--json"], &data), 0);
    assert_eq!(offline["online"], false);
    assert_eq!(offline["journal"]["sealed"], true);
    assert!(
        offline["indexes"].as_array().unwrap().len() >= 2,
        "{offline:#}"
    );
    // A server that ends in order leaves nothing to be replayed.
    for index in offline["indexes"].as_array().unwrap() {
        assert_eq!(index["unsettled"], 0, "{offline:#}");
    }
    assert!(offline["blobs"]["referenced"].as_u64().unwrap() > 0);
    // Its past is what the backup had.
    let anchor = known[0].1["anchor"].as_str().unwrap();
    document(&admin(&["verify", "--json", "--anchor", anchor], &data), 0);
    let other = anchor
        .replace(':', ":0")
        .chars()
        .take(anchor.len())
        .collect::<String>();
    let broken = admin(&["verify", "--anchor", &other], &data);
    assert_eq!(broken.status.code(), Some(1), "{broken:?}");

    let former = host.path("former");
    for (from, (before, _)) in [&directory, &tar].into_iter().zip(&known) {
        if !former.exists() {
            // Not into what is there.
            let refused = admin(&["restore", text(from)], &data);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            fs::rename(&data, &former)?;
        } else {
            fs::remove_dir_all(&data)?;
        }
        let restored = document(&admin(&["restore", text(from), "--json"], &data), 0);
        assert!(restored["records"].as_u64().unwrap() > 0, "{restored:#}");
        let found = document(&admin(&["verify", "--json"], &data), 0);
        assert_eq!(found["sound"], true, "{found:#}");

        // Compiled plugins are no part of a backup; here they save the test a minute.
        fs::rename(former.join("cache"), data.join("cache"))?;
        host.restart().await?;
        for id in before {
            host.wait_for_end(id, SOON).await?;
        }
        let answer = host
            .send(host.request(Method::GET, &format!("/api/v1/files/{file}/content")))
            .await?;
        assert_eq!(answer.expect_status(200)?.text().as_bytes(), content);
        let again = host.execute("system.noop", json!({}), json!({})).await?;
        let record = host.wait_for_end(&again.execution, SOON).await?;
        assert_eq!(record["status"], "succeeded");
        host.terminate()?;
        host.ended().await?;
        fs::rename(data.join("cache"), former.join("cache"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_named_and_a_damaged_backup_is_not_restored() -> Result<()> {
    let mut host = TestHost::start().await?;
    let uploaded = host.upload("files", "a.txt", b"abc".repeat(500)).await?;
    let name = uploaded.expect_status(201)?.json()?["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    host.terminate()?;
    host.ended().await?;
    let data = host.data();
    let tar = host.path("backup.tar");
    document(&admin(&["backup", text(&tar), "--json"], &data), 0);

    let (head, tail) = name.strip_prefix("sha256:").unwrap().split_at(2);
    let blob = data.join("blobs").join(head).join(tail);
    let good = fs::read(&blob)?;
    let mut bad = good.clone();
    bad[0] ^= 1;
    rewrite(&blob, &bad);
    let found = document(&admin(&["verify", "--json"], &data), 1);
    assert_eq!(found["sound"], false);
    assert_eq!(found["blobs"]["damaged"][0]["digest"], name.as_str());
    // For people, too.
    let told = admin(&["verify"], &data);
    assert!(
        String::from_utf8_lossy(&told.stdout).contains(&name),
        "{told:?}"
    );
    fs::remove_file(&blob)?;
    let found = document(&admin(&["verify", "--json"], &data), 1);
    assert_eq!(found["blobs"]["missing"][0]["digest"], name.as_str());
    fs::write(&blob, &good)?;
    document(&admin(&["verify", "--json"], &data), 0);

    let segment = data.join("store/journal/00000001.log");
    let mut journal = fs::read(&segment)?;
    journal[300] ^= 1;
    fs::write(&segment, &journal)?;
    let found = document(&admin(&["verify", "--json"], &data), 1);
    assert!(
        found["journal"]["fault"]
            .as_str()
            .unwrap()
            .contains("damaged"),
        "{found:#}"
    );
    // Nor can it be backed up.
    let refused = admin(&["backup", text(&host.path("other"))], &data);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(!host.path("other").exists() && !host.path("other.partial").exists());

    // A byte in the middle of the archive, and one that is cut short.
    let whole = fs::read(&tar)?;
    let target = host.path("restored");
    for (change, cut) in [(whole.len() / 2, whole.len()), (0, whole.len() / 2)] {
        let mut archive = whole[..cut].to_vec();
        if change > 0 {
            archive[change] ^= 1;
        }
        let damaged = host.path("damaged.tar");
        fs::write(&damaged, archive)?;
        let refused = admin(&["restore", text(&damaged)], &target);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(!target.exists());
    }
    let usage = admin(&["restore"], &target);
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    let nothing = admin(&["verify"], &host.path("nowhere"));
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
    document(&admin(&["restore", text(&tar), "--json"], &target), 0);
    document(&admin(&["verify", "--json"], &target), 0);
    Ok(())
}
