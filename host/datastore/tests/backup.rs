//! A backup taken while others write is a whole history, and what was tampered with is found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod support;

use std::{
    fs,
    io::Read,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bindery_datastore::{
    Anchor, Audit, Datastore, DifferenceKind, EventQuery, Pin, Snapshot, VerifyError, adopt, audit,
    verify,
};
use support::{META, ORG, content, copy_dir, files, fill, open, transaction};

fn audited(dir: &Path) -> Result<Audit, VerifyError> {
    audit(dir, &[], &mut |_| {})
}

fn copy_out(snapshot: &Snapshot, to: &Path) {
    for file in &snapshot.files {
        let target = to.join(&file.name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut data = Vec::new();
        let source = snapshot.open(file).unwrap();
        source.take(file.size_bytes).read_to_end(&mut data).unwrap();
        assert_eq!(data.len() as u64, file.size_bytes);
        fs::write(target, data).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_beside_writers_holds_all_that_was_acknowledged_before() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let store = open(&original).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let writer = {
        let (store, stop, acked) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&acked));
        tokio::spawn(async move {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                let committed = store.commit(transaction(ORG, n)).await.unwrap();
                acked.store(committed.last_seq, Ordering::SeqCst);
                n += 1;
            }
        })
    };
    let mut taken = Vec::new();
    for round in 0..8 {
        // Each after at least some more commits.
        while acked.load(Ordering::SeqCst) < 60 * (round + 1) {
            tokio::task::yield_now().await;
        }
        let before = acked.load(Ordering::SeqCst);
        let copy = dir.path().join(format!("copy-{round}"));
        let source = original.clone();
        let target = copy.clone();
        let report = tokio::task::spawn_blocking(move || {
            let snapshot = Snapshot::take(&source).unwrap();
            copy_out(&snapshot, &target);
            snapshot.report
        })
        .await
        .unwrap();
        taken.push((before, copy, report));
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
    let all = store.events(ORG, &EventQuery::all(0, 1_000)).unwrap();
    let epoch = store.epoch();
    for (before, copy, report) in taken {
        let adopted = adopt(&copy, &[report.anchor()]).unwrap();
        assert_eq!(adopted.anchor(), report.anchor());
        let restored = open(&copy).unwrap();
        assert_ne!(
            restored.epoch(),
            epoch,
            "a fork must not pass for its origin"
        );
        let last = restored.last_seq(ORG);
        assert!(
            last >= before,
            "{last} < {before}: acknowledged, and not in the backup"
        );
        let events = restored.events(ORG, &EventQuery::all(0, 1_000)).unwrap();
        assert_eq!(events.len() as u64, last.min(1_000));
        assert_eq!(events, all[..events.len()]);
        fill(&*restored, 10_000, 8).await;
        drop(restored);
        assert!(audited(&copy).unwrap().is_sound());
        // What went on after the backup does not touch what was before it.
        audit(&copy, &[report.anchor()], &mut |_| {}).unwrap();
    }
}

#[tokio::test]
async fn an_audit_names_the_rows_that_differ() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    // In use, the index cannot be read, and nothing is wrong.
    fill(&*store, 0, 200).await;
    let in_use = audited(dir.path()).unwrap();
    assert!(in_use.indexes.is_none() && in_use.is_sound());
    let expected = content(&*store, ORG).unwrap();
    drop(store);
    let sound = audited(dir.path()).unwrap();
    assert!(sound.is_sound(), "{sound:?}");
    assert!(sound.journal.sealed);
    let indexes = sound.indexes.unwrap();
    assert_eq!(indexes.len(), 2);
    assert!(indexes.iter().all(|index| index.rows > 10));

    let path = dir.path().join("index").join(ORG.to_string());
    let [missing, changed] = [0, 1].map(|at| {
        let (table, key) = expected.rows.keys().nth(at * 7 + 3).unwrap();
        ([0x20, 0x21, 0x24][*table], key.clone())
    });
    let full = |(table, key): &(u8, bytes::Bytes)| [&[*table], key.as_ref()].concat();
    {
        let index = sled::open(&path).unwrap();
        assert!(index.remove(full(&missing)).unwrap().is_some());
        assert!(index.insert(full(&changed), b"forged").unwrap().is_some());
        assert!(index.insert([0x30, 7, 7], b"new").unwrap().is_none());
        index.flush().unwrap();
    }
    let found = audited(dir.path()).unwrap();
    assert!(!found.is_sound());
    let index = found
        .indexes
        .unwrap()
        .into_iter()
        .find(|index| index.database == ORG)
        .unwrap();
    assert_eq!((index.difference_count, index.fault), (3, None));
    let named: Vec<_> = index
        .differences
        .iter()
        .map(|difference| (difference.kind, (difference.table, difference.key.clone())))
        .collect();
    assert_eq!(named.len(), 3);
    assert!(named.contains(&(DifferenceKind::Missing, missing)));
    assert!(named.contains(&(DifferenceKind::Value, changed)));
    assert!(named.contains(&(
        DifferenceKind::Extra,
        (0x30, bytes::Bytes::from_static(&[7, 7]))
    )));

    // Rebuilt, it is sound again.
    fs::remove_dir_all(&path).unwrap();
    let gone = audited(dir.path()).unwrap();
    assert!(!gone.is_sound());
    drop(open(dir.path()).unwrap());
    assert!(audited(dir.path()).unwrap().is_sound());
}

#[tokio::test]
async fn an_index_that_is_behind_after_a_crash_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("original")).unwrap();
    let mut behind = 0;
    for round in 0..10 {
        fill(&*store, round * 20, 20).await;
        // As a power cut leaves it: files as they are at some moment, index last.
        let copy = dir.path().join("copy");
        copy_dir(&dir.path().join("original/index"), &copy.join("index"));
        copy_dir(&dir.path().join("original/journal"), &copy.join("journal"));
        let audit = audited(&copy).unwrap();
        for index in audit.indexes.unwrap() {
            behind += index.unsettled;
            // sled's file was copied while it was written: either it does not open, or it holds.
            assert!(
                index.fault.is_some() || index.difference_count == 0,
                "{index:?}"
            );
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    eprintln!("{behind} rows were unsettled");
}

#[tokio::test]
async fn an_anchor_shows_a_history_that_was_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let honest = dir.path().join("honest");
    let store = open(&honest).unwrap();
    fill(&*store, 0, 100).await;
    drop(store);
    let anchor = verify(&honest).unwrap().anchor();
    let store = open(&honest).unwrap();
    fill(&*store, 100, 50).await;
    drop(store);
    let later = audit(&honest, &[anchor], &mut |_| {}).unwrap().journal;
    assert!(later.last_position > anchor.position);

    // Another history, as whole as the first: without an anchor nobody could tell.
    let forged = dir.path().join("forged");
    let store = open(&forged).unwrap();
    fill(&*store, 1, 150).await;
    drop(store);
    assert!(audited(&forged).unwrap().is_sound());
    let error = audit(&forged, &[anchor], &mut |_| {}).unwrap_err();
    assert!(matches!(error, VerifyError::AnchorBroken { .. }), "{error}");

    // One that was cut off before it.
    let cut = dir.path().join("cut");
    let store = open(&cut).unwrap();
    fill(&*store, 0, 10).await;
    drop(store);
    let error = audit(&cut, &[anchor], &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, VerifyError::AnchorNotReached { .. }),
        "{error}"
    );

    let again: Anchor = anchor.to_string().parse().unwrap();
    assert_eq!(again, anchor);
    for wrong in ["", "1", "1:", "x:00", &anchor.to_string()[1..20]] {
        assert!(wrong.parse::<Anchor>().is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_backup_that_was_damaged_is_not_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let store = open(&original).unwrap();
    fill(&*store, 0, 100).await;
    fill(&*store, 0, 1).await;
    assert!(content(&*store, META).unwrap().last_seq > 0);
    let snapshot = Snapshot::take(&original).unwrap();
    for (n, at) in [200_usize, 900, 4_000].into_iter().enumerate() {
        let copy = dir.path().join(format!("copy-{n}"));
        copy_out(&snapshot, &copy);
        let first = files(&copy).remove(0);
        let mut data = fs::read(&first).unwrap();
        data[at] ^= 4;
        fs::write(&first, data).unwrap();
        let error = adopt(&copy, &[]).unwrap_err();
        assert!(matches!(error, VerifyError::Damaged { .. }), "{error}");
    }
    // Cut in the middle of its last frame.
    let copy = dir.path().join("cut");
    copy_out(&snapshot, &copy);
    let last = files(&copy).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(last).unwrap();
    file.set_len(len - 1).unwrap();
    let error = adopt(&copy, &[]).unwrap_err();
    assert!(matches!(error, VerifyError::Damaged { .. }), "{error}");
}

#[test]
fn a_pin_keeps_files_from_being_removed() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pin::hold(dir.path()).unwrap();
    let second = Pin::hold(dir.path()).unwrap();
    assert!(Pin::try_alone(dir.path()).unwrap().is_none());
    drop(first);
    assert!(Pin::try_alone(dir.path()).unwrap().is_none());
    drop(second);
    assert!(Pin::try_alone(dir.path()).unwrap().is_some());
}
