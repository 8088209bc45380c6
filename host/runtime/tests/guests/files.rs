//! What guests can see and reach; the assertions are inside the guests.

use std::os::unix::fs::symlink;

use bindery_runtime::TrapKind;
use serde_json::json;

use crate::common::{
    DISK_BYTES, Directories, assert_unharmed, broke, compute, kind, load, request, validate,
};

#[tokio::test]
pub(crate) async fn sees_nothing() {
    let plugin = load("sees_nothing").await;
    let drawn = async |seed| {
        let mut asked = request(json!({}));
        asked.seed = seed;
        validate(&plugin, asked).await.unwrap().parameters["drawn"].to_string()
    };
    assert_eq!(drawn(1).await, drawn(1).await);
    assert_ne!(drawn(1).await, drawn(2).await);
}

#[tokio::test]
pub(crate) async fn stays_in_preopens() {
    let plugin = load("stays_in_preopens").await;
    let directories = Directories::new();
    symlink("/etc/passwd", directories.path("in/passwd")).unwrap();
    symlink("..", directories.path("in/up")).unwrap();
    symlink("a.txt", directories.path("in/inside")).unwrap();
    std::fs::create_dir(directories.path("in/sub")).unwrap();
    let output = compute(&plugin, &kind(""), directories.grants())
        .await
        .unwrap();
    assert_eq!(output, json!({ "ok": true }));
    assert_eq!(
        std::fs::read_to_string(directories.path("secret.txt")).unwrap(),
        "secret"
    );
    assert_eq!(
        std::fs::read_to_string(directories.path("in/a.txt")).unwrap(),
        "a"
    );
    assert!(!directories.path("new.txt").exists());
    let mut names: Vec<_> = std::fs::read_dir(directories.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["in", "out", "secret.txt", "work"]);
}

#[tokio::test]
pub(crate) async fn fills_disk() {
    let plugin = load("fills_disk").await;
    for variant in ["written", "at_the_end", "sparse", "deep", "unlinked"] {
        let directories = Directories::new();
        let outcome = compute(&plugin, &kind(variant), directories.grants()).await;
        let broke = broke(outcome, TrapKind::Disk, "compute");
        assert!(
            broke.message.contains(&DISK_BYTES.to_string()),
            "{variant}: {broke}"
        );
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn what_was_there_before_is_not_counted() {
    let plugin = load("fills_disk").await;
    let directories = Directories::new();
    std::fs::File::create(directories.path("work/big"))
        .unwrap()
        .set_len(DISK_BYTES * 10)
        .unwrap();
    compute(&plugin, &kind("none"), directories.grants())
        .await
        .unwrap();
}
