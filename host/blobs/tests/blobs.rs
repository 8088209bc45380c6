//! What content-addressed files promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use bindery_blobs::{Blobs, Options, PutError, ReadError, VerifyError};
use bindery_core::digest::Digest;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

const MAX: u64 = 1 << 30;

fn open(dir: &Path) -> Blobs {
    let options = Options { free_bytes_min: 0 };
    Blobs::open_with(dir, options).unwrap()
}

fn chunks(texts: &[&'static str]) -> impl futures::Stream<Item = Result<Bytes, String>> {
    stream::iter(
        texts
            .iter()
            .map(|text| Ok(Bytes::from_static(text.as_bytes())))
            .collect::<Vec<_>>(),
    )
}

fn staged(dir: &Path) -> usize {
    fs::read_dir(dir.join("staging")).unwrap().count()
}

/// Waits for a condition that another thread brings about.
async fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "condition not met in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_blob_is_named_by_its_content_and_read_only() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let stored = blobs
        .put_stream(chunks(&["ab", "", "c"]), MAX)
        .await
        .unwrap();
    assert_eq!(stored.digest, Digest::of(b"abc"));
    assert_eq!((stored.size_bytes, stored.existed), (3, false));
    let again = blobs.put_bytes(Bytes::from_static(b"abc")).await.unwrap();
    assert!(again.existed);
    assert_eq!(again.digest, stored.digest);

    let path = blobs.local_path(&stored.digest).unwrap();
    let hex = stored.digest.hex();
    assert_eq!(path, dir.path().join(&hex[..2]).join(&hex[2..]));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);
    assert_eq!(staged(dir.path()), 0);
    assert_eq!(blobs.verify(&stored.digest).await.unwrap(), 3);
}

#[tokio::test]
async fn empty_blobs_are_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let stored = blobs.put_stream(chunks(&[]), 0).await.unwrap();
    assert_eq!(stored.digest, Digest::of(b""));
    let reader = blobs.get(&stored.digest, None).await.unwrap();
    assert_eq!(reader.bytes().await.unwrap(), "");
    blobs.verify(&stored.digest).await.unwrap();
    let past = blobs.get(&stored.digest, Some(0..1)).await.unwrap_err();
    assert!(matches!(past, ReadError::RangeNotSatisfiable { .. }));
}

#[tokio::test]
async fn ranges_are_cut_to_the_blob() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 253) as u8).collect();
    let digest = blobs
        .put_bytes(content.clone().into())
        .await
        .unwrap()
        .digest;
    for (asked, given) in [
        (None, 0..1_000_000),
        (Some(0..1), 0..1),
        (Some(999_999..1_000_000), 999_999..1_000_000),
        (Some(500_000..u64::MAX), 500_000..1_000_000),
        (Some(0..1_000_000), 0..1_000_000),
    ] {
        let reader = blobs.get(&digest, asked).await.unwrap();
        assert_eq!(reader.size_bytes(), 1_000_000);
        assert_eq!(*reader.range(), given);
        let range = given.start as usize..given.end as usize;
        assert_eq!(reader.bytes().await.unwrap(), &content[range]);
    }
    for asked in [1_000_000..1_000_001, 5..5, u64::MAX - 1..u64::MAX] {
        let error = blobs.get(&digest, Some(asked)).await.unwrap_err();
        assert!(matches!(error, ReadError::RangeNotSatisfiable { .. }));
    }
    let stream = blobs.get(&digest, None).await.unwrap().into_stream();
    let total: usize = stream
        .map_ok(|c| c.len())
        .try_fold(0, |a, n| async move { Ok(a + n) })
        .await
        .unwrap();
    assert_eq!(total, 1_000_000);
}

#[tokio::test]
async fn missing_blobs_are_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let digest = Digest::of(b"never put");
    assert!(blobs.local_path(&digest).is_none());
    assert!(!blobs.contains(&digest).await.unwrap());
    assert!(matches!(
        blobs.get(&digest, None).await.unwrap_err(),
        ReadError::NotFound { .. }
    ));
    assert!(matches!(
        blobs.verify(&digest).await.unwrap_err(),
        VerifyError::Read(ReadError::NotFound { .. })
    ));
}

#[tokio::test]
async fn what_is_too_large_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let endless = stream::repeat_with(|| Ok::<_, String>(Bytes::from_static(&[7; 4096])));
    let error = blobs.put_stream(endless, 100_000).await.unwrap_err();
    assert!(matches!(
        error,
        PutError::TooLarge {
            size_bytes_max: 100_000
        }
    ));
    assert_eq!(staged(dir.path()), 0);
    blobs.put_stream(chunks(&["12345"]), 5).await.unwrap();
    let source = dir.path().join("source");
    fs::write(&source, "123456").unwrap();
    assert!(matches!(
        blobs.put_file(&source, 5).await.unwrap_err(),
        PutError::TooLarge { .. }
    ));
}

#[tokio::test]
async fn a_stream_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let broken = stream::iter([Ok(Bytes::from_static(b"abc")), Err("connection reset")]);
    let error = blobs.put_stream(broken, MAX).await.unwrap_err();
    assert!(matches!(error, PutError::Source(source) if source.to_string() == "connection reset"));
    assert_eq!(staged(dir.path()), 0);
    assert!(!blobs.contains(&Digest::of(b"abc")).await.unwrap());
}

#[tokio::test]
async fn a_put_that_is_dropped_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let stalled = chunks(&["abc"]).chain(stream::pending());
    let put = tokio::spawn({
        let blobs = blobs.clone();
        async move { blobs.put_stream(stalled, MAX).await }
    });
    eventually(|| staged(dir.path()) == 1).await;
    put.abort();
    eventually(|| staged(dir.path()) == 0).await;
    assert!(!blobs.contains(&Digest::of(b"abc")).await.unwrap());
}

#[tokio::test]
async fn files_are_copied_and_links_refused() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(&dir.path().join("blobs"));
    let file = dir.path().join("file");
    fs::write(&file, "content").unwrap();
    let stored = blobs.put_file(&file, MAX).await.unwrap();
    assert_eq!(stored.digest, Digest::of(b"content"));
    fs::write(&file, "changed").unwrap();
    blobs.verify(&stored.digest).await.unwrap();
    let open = fs::File::open(&file).unwrap();
    let stored = blobs.put_open_file(open, &file, MAX).await.unwrap();
    assert_eq!(stored.digest, Digest::of(b"changed"));

    let link = dir.path().join("link");
    symlink("/etc/passwd", &link).unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [&link, &pipe, &dir.path().join("blobs")] {
        let error = blobs.put_file(path, MAX).await.unwrap_err();
        assert!(
            matches!(error, PutError::NotAFile { .. }),
            "{path:?}: {error}"
        );
    }
    let missing = dir.path().join("missing");
    assert!(matches!(
        blobs.put_file(&missing, MAX).await.unwrap_err(),
        PutError::Io { .. }
    ));
}

#[tokio::test]
async fn damage_is_found_and_healed_by_putting_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let digest = blobs
        .put_bytes(Bytes::from_static(b"content"))
        .await
        .unwrap()
        .digest;
    let path = blobs.local_path(&digest).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "c0ntent").unwrap();
    let error = blobs.verify(&digest).await.unwrap_err();
    assert!(matches!(error, VerifyError::Damaged { found, .. } if found == Digest::of(b"c0ntent")));
    fs::write(&path, "cont").unwrap();
    let again = blobs
        .put_bytes(Bytes::from_static(b"content"))
        .await
        .unwrap();
    assert!(!again.existed);
    blobs.verify(&digest).await.unwrap();
}

#[tokio::test]
async fn opening_removes_what_the_dead_left_and_spares_the_living() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    fs::write(dir.path().join("staging/dead.part"), "half").unwrap();
    let put = tokio::spawn({
        let blobs = blobs.clone();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let stream = chunks(&["ab"]).chain(stream::once(async move {
            drop(wait.await);
            Ok(Bytes::from_static(b"c"))
        }));
        let put = async move { blobs.put_stream(stream, MAX).await };
        let dir = dir.path().to_owned();
        async move {
            let put = tokio::spawn(put);
            eventually(|| staged(&dir) == 2).await;
            let reopened = open(&dir);
            assert_eq!(staged(&dir), 1);
            go.send(()).unwrap();
            let stored = put.await.unwrap().unwrap();
            reopened.verify(&stored.digest).await.unwrap();
        }
    });
    put.await.unwrap();
    assert_eq!(staged(dir.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_content_put_at_once_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let mut puts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let blobs = blobs.clone();
        puts.spawn(async move { blobs.put_bytes(Bytes::from(vec![9; 100_000])).await });
    }
    for stored in puts.join_all().await {
        blobs.verify(&stored.unwrap().digest).await.unwrap();
    }
    assert_eq!(staged(dir.path()), 0);
}

/// On a small file system of its own, for which one must be root.
#[tokio::test]
async fn a_full_disk_is_said_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if !mounted {
        eprintln!("SKIPPED: cannot mount a tmpfs here");
        return;
    }
    let result = tokio::spawn({
        let blobs = open(dir.path());
        let dir = dir.path().to_owned();
        async move {
            let kept = blobs.put_bytes(Bytes::from_static(b"kept")).await.unwrap();
            let large = Bytes::from(vec![1; 8 << 20]);
            let error = blobs.put_bytes(large.clone()).await.unwrap_err();
            assert!(matches!(error, PutError::StorageFull { .. }), "{error}");
            assert_eq!(staged(&dir), 0);
            blobs.verify(&kept.digest).await.unwrap();
            blobs.put_bytes(large.slice(..1 << 20)).await.unwrap();

            let reserving = Options {
                free_bytes_min: 3 << 20,
            };
            let blobs = Blobs::open_with(&dir, reserving).unwrap();
            let error = blobs.put_bytes(large.slice(..10)).await.unwrap_err();
            assert!(matches!(error, PutError::StorageFull { .. }), "{error}");
        }
    })
    .await;
    assert!(
        Command::new("umount")
            .arg("-l")
            .arg(dir.path())
            .status()
            .unwrap()
            .success()
    );
    result.unwrap();
}
