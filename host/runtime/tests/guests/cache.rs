//! The compile cache: what is compiled once is not compiled again, and nothing is loaded that
//! this host did not write itself. Whether a component was compiled shows in its file: a compiled
//! one is written anew, as another inode.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bindery_runtime::{Runtime, RuntimeConfig, RuntimeError};

use crate::common::{bytes, config, good_parameters, validate};

fn runtime(directory: &Path) -> Runtime {
    let config = RuntimeConfig {
        cache_directory: Some(directory.to_owned()),
        ..config()
    };
    Runtime::new(&config).unwrap()
}

fn compiled(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cwasm")
        })
        .collect();
    found.sort();
    found
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Loads the good guest and proves that it works.
async fn load(runtime: &Runtime) {
    let plugin = runtime.load(bytes("good_validate")).await.unwrap();
    validate(&plugin, good_parameters()).await.unwrap();
}

#[tokio::test]
async fn a_component_is_compiled_once() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("a/b");
    let first = runtime(&cache);
    load(&first).await;
    let files = compiled(&cache);
    assert_eq!(files.len(), 1);
    let before = inode(&files[0]);
    load(&first).await;
    load(&runtime(&cache)).await;
    assert_eq!(inode(&files[0]), before, "compiled again");
    assert_eq!(compiled(&cache), files);

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache), 0o700);
    assert_eq!(mode(&cache.join("key")), 0o600);
    assert_eq!(mode(&files[0]), 0o600);
    let name = files[0].file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with(&bindery_core::Digest::of(&bytes("good_validate")).hex()));

    first.load(bytes("good_compute")).await.unwrap();
    assert_eq!(compiled(&cache).len(), 2);
}

#[tokio::test]
async fn what_this_host_did_not_write_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path();
    let host = runtime(cache);
    load(&host).await;
    let path = compiled(cache)[0].clone();
    host.load(bytes("good_compute")).await.unwrap();
    let foreign = compiled(cache)
        .into_iter()
        .find(|other| *other != path)
        .unwrap();
    let good = fs::read(&path).unwrap();
    let flip = |at: usize| {
        let mut flipped = good.clone();
        flipped[at] ^= 0x40;
        flipped
    };
    let unsigned = {
        let engine = wasmtime::Engine::default();
        let component =
            wasmtime::component::Component::new(&engine, bytes("good_validate")).unwrap();
        component.serialize().unwrap()
    };
    for (what, content) in [
        ("a flipped byte in the MAC", flip(3)),
        ("a flipped byte in the code", flip(good.len() / 2)),
        ("a flipped last byte", flip(good.len() - 1)),
        ("a byte more", [good.as_slice(), b"x"].concat()),
        ("cut short", good[..good.len() - 1].to_vec()),
        ("only half a MAC", good[..16].to_vec()),
        ("nothing", Vec::new()),
        ("another component's file", fs::read(&foreign).unwrap()),
        ("machine code without a MAC", unsigned),
    ] {
        fs::write(&path, content).unwrap();
        let before = inode(&path);
        load(&host).await;
        assert_ne!(inode(&path), before, "loaded: {what}");
        assert_eq!(fs::read(&path).unwrap().len(), good.len());
        let repaired = inode(&path);
        load(&host).await;
        assert_eq!(inode(&path), repaired, "not repaired: {what}");
    }
}

#[tokio::test]
async fn another_key_loads_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path();
    load(&runtime(cache)).await;
    let path = compiled(cache)[0].clone();
    for key in [vec![7; 32], vec![7; 31], Vec::new()] {
        let before = inode(&path);
        fs::write(cache.join("key"), &key).unwrap();
        load(&runtime(cache)).await;
        assert_ne!(inode(&path), before, "a key of {} bytes", key.len());
        assert_eq!(fs::read(cache.join("key")).unwrap().len(), 32);
    }
    let before = inode(&path);
    fs::remove_file(cache.join("key")).unwrap();
    load(&runtime(cache)).await;
    assert_ne!(inode(&path), before);
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_said_at_once_or_missed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let config = RuntimeConfig {
        cache_directory: Some(file.clone()),
        ..config()
    };
    match Runtime::new(&config) {
        Err(RuntimeError::Cache { path, .. }) => assert_eq!(path, file),
        other => panic!("{other:?}"),
    }

    let cache = directory.path().join("cache");
    let host = runtime(&cache);
    load(&host).await;
    fs::remove_dir_all(&cache).unwrap();
    load(&host).await;
}

/// Two hosts that start at the same time on the same new directory agree on a key.
#[tokio::test]
async fn hosts_that_start_together_share_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().to_owned();
    let hosts: Vec<Runtime> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| runtime(&cache))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    load(&hosts[0]).await;
    let path = compiled(&cache)[0].clone();
    let before = inode(&path);
    for host in &hosts {
        load(host).await;
    }
    assert_eq!(inode(&path), before, "compiled again");
}
