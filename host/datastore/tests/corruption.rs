//! Damage is detected or harmless: never silent, never a panic.

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
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use bindery_datastore::{
    Datastore, LocalDatastore, OpenError, ReadError, Transaction, VerifyError, verify,
};
use support::{Content, META, ORG, Random, content, copy_dir, files, fill, open, options};

/// How many bytes are flipped; more by hand.
fn flips() -> u64 {
    std::env::var("BINDERY_TEST_FLIPS").map_or(150, |text| text.parse().unwrap())
}

type Contents = (Content, Content);

fn contents(store: &LocalDatastore) -> Result<Contents, ReadError> {
    Ok((content(store, META)?, content(store, ORG)?))
}

/// A store of some segments, closed in order, and what is in it.
async fn sample(dir: &Path) -> Contents {
    let store = open(dir).unwrap();
    fill(&*store, 0, 400).await;
    let contents = contents(&store).unwrap();
    drop(store);
    contents
}

/// Flips bits of one byte, among those that are not zero if `used`.
fn flip(path: &Path, random: &mut Random, used: bool) -> (usize, u8) {
    let mut data = fs::read(path).unwrap();
    let at = loop {
        let at = random.below(data.len() as u64) as usize;
        if !used || data[at] != 0 {
            break at;
        }
    };
    let bits = 1 + random.below(255) as u8;
    data[at] ^= bits;
    fs::write(path, data).unwrap();
    (at, bits)
}

/// Reads everything, giving a damaged index the time to be rebuilt.
fn contents_when_repaired(store: &LocalDatastore) -> Result<Contents, ReadError> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match contents(store) {
            Err(ReadError::IndexUnavailable { .. }) if Instant::now() < deadline => {
                store.flush(Duration::from_secs(10));
            }
            other => return other,
        }
    }
}

#[tokio::test]
async fn flipped_bytes_of_the_journal_are_detected() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let expected = sample(&original).await;
    let report = verify(&original).unwrap();
    assert!(report.sealed && report.segments > 3, "{report:?}");
    let segments = files(&original.join("journal"));

    let (mut refused, mut unharmed, mut on_read) = (0, 0, 0);
    for n in 0..flips() {
        let copy = dir.path().join("copy");
        copy_dir(&original, &copy);
        let segment = &segments[random.below(segments.len() as u64) as usize];
        let damaged = copy.join("journal").join(segment.file_name().unwrap());
        let flipped = flip(&damaged, &mut random, false);
        let case = format!("{} {flipped:?}", damaged.display());

        // Whoever looks, finds it.
        match verify(&copy) {
            Err(VerifyError::Damaged { path, .. }) => assert_eq!(path, damaged, "{case}"),
            other => panic!("{case}: {other:?}"),
        }
        // Half of them must be rebuilt from what is damaged.
        if n % 2 == 0 {
            fs::remove_dir_all(copy.join("index")).unwrap();
        }
        match open(&copy) {
            Err(OpenError::JournalDamaged { .. }) => refused += 1,
            Err(OpenError::JournalBehindIndex { .. }) => refused += 1,
            Err(other) => panic!("{case}: {other}"),
            Ok(store) => match contents(&store) {
                Ok(found) => {
                    assert!(found == expected, "{case}: silent change");
                    unharmed += 1;
                }
                Err(ReadError::JournalDamaged { .. }) => on_read += 1,
                Err(other) => panic!("{case}: {other}"),
            },
        }
        fs::remove_dir_all(&copy).unwrap();
    }
    eprintln!("{refused} refused at opening, {on_read} on reading, {unharmed} harmless");
    assert!(refused > 0);
}

#[tokio::test]
async fn flipped_bytes_of_an_index_are_detected_or_rebuilt() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let expected = sample(&original).await;
    let all: Vec<PathBuf> = files(&original.join("index"))
        .into_iter()
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();

    let (mut at_open, mut on_read) = (0, 0);
    for _ in 0..flips() {
        let copy = dir.path().join("copy");
        copy_dir(&original, &copy);
        let file = &all[random.below(all.len() as u64) as usize];
        let damaged = copy.join(file.strip_prefix(&original).unwrap());
        let flipped = flip(&damaged, &mut random, true);
        let case = format!("{} {flipped:?}", damaged.display());

        let store = open(&copy).unwrap_or_else(|error| panic!("{case}: {error}"));
        at_open += u64::from(!store.open_report().rebuilt.is_empty());
        let whole = contents(&store).is_ok();
        on_read += u64::from(!whole);
        let found = contents_when_repaired(&store).unwrap_or_else(|e| panic!("{case}: {e}"));
        assert!(found == expected, "{case}: silent change");
        // And it can be written to.
        fill(&*store, 400, 4).await;
        drop(store);
        verify(&copy).unwrap();
        fs::remove_dir_all(&copy).unwrap();
    }
    eprintln!("{at_open} rebuilt at opening, {on_read} while reading");
}

#[tokio::test]
async fn an_index_that_is_gone_is_rebuilt_equal() {
    let dir = tempfile::tempdir().unwrap();
    let expected = sample(dir.path()).await;
    let index = dir.path().join("index");
    for database in ["meta", "org_00000000000000000000000000000001"] {
        fs::remove_dir_all(index.join(database)).unwrap();
        let store = open(dir.path()).unwrap();
        let rebuilt = &store.open_report().rebuilt;
        assert_eq!(rebuilt.len(), 1, "{rebuilt:?}");
        assert_eq!(rebuilt[0].0.to_string(), database);
        assert!(contents(&store).unwrap() == expected);
    }
    fs::remove_dir_all(&index).unwrap();
    let store = open(dir.path()).unwrap();
    assert!(contents(&store).unwrap() == expected);
    assert_eq!(store.databases(), [META, ORG]);
    drop(store);
    // Nothing to rebuild any more.
    let store = open(dir.path()).unwrap();
    assert_eq!(store.open_report().rebuilt, []);
    assert_eq!(store.open_report().replayed_records, 0);
    assert!(store.open_report().closed_in_order);
}

#[tokio::test]
async fn an_index_that_is_truncated_is_rebuilt_equal() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let expected = sample(&original).await;
    for share in [0, 1, 2, 3] {
        let copy = dir.path().join(format!("copy-{share}"));
        copy_dir(&original, &copy);
        for file in files(&copy.join("index")) {
            if file.file_name().unwrap() == "db" {
                let len = fs::metadata(&file).unwrap().len();
                let cut = fs::OpenOptions::new().write(true).open(&file).unwrap();
                cut.set_len(len * share / 4).unwrap();
            }
        }
        let store = open(&copy).unwrap();
        assert!(
            contents_when_repaired(&store).unwrap() == expected,
            "{share}/4"
        );
    }
}

#[tokio::test]
async fn an_index_damaged_while_in_use_is_rebuilt_equal() {
    let dir = tempfile::tempdir().unwrap();
    let expected = sample(dir.path()).await;
    // A cache of nothing, so that rows come from the file.
    let mut small = options();
    small.index_cache_bytes = 1024;
    let store = LocalDatastore::open(dir.path(), small).unwrap();
    let db = dir
        .path()
        .join("index/org_00000000000000000000000000000001/db");
    let len = fs::metadata(&db).unwrap().len();
    fs::write(&db, vec![0x5a; len as usize]).unwrap();
    let first = contents(&store);
    assert!(
        matches!(first, Err(ReadError::IndexUnavailable { .. })),
        "damage was not met: {:?}",
        first.map(|found| found == expected)
    );
    assert!(contents_when_repaired(&store).unwrap() == expected);
    store.commit(Transaction::new(ORG)).await.unwrap();
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_kept_aside() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let expected = sample(&original).await;
    // As a crash in the middle of the next write leaves it.
    let mut half_frame = fs::read(files(&original.join("journal")).remove(0)).unwrap();
    half_frame.drain(..128);
    let garbage: Vec<u8> = (0..1000).map(|_| random.next() as u8).collect();
    let tails = [
        half_frame[..30].to_vec(),
        half_frame[..150].to_vec(),
        vec![0; 1],
        vec![0; 5_000],
        garbage,
    ];
    for (n, tail) in tails.into_iter().enumerate() {
        let copy = dir.path().join(format!("copy-{n}"));
        copy_dir(&original, &copy);
        let last = files(&copy.join("journal")).pop().unwrap();
        let mut data = fs::read(&last).unwrap();
        data.extend_from_slice(&tail);
        fs::write(&last, data).unwrap();

        let store = open(&copy).unwrap();
        assert_eq!(store.open_report().torn_bytes, tail.len() as u64);
        assert!(!store.open_report().closed_in_order);
        assert!(contents(&store).unwrap() == expected);
        fill(&*store, 400, 4).await;
        drop(store);
        verify(&copy).unwrap();
        let aside = files(&copy.join("journal"))
            .into_iter()
            .find(|path| path.to_str().unwrap().ends_with(".torn-1"))
            .unwrap();
        assert_eq!(fs::read(aside).unwrap(), tail);
    }
}

#[tokio::test]
async fn every_cut_of_the_last_segment_is_a_prefix_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    // No index at all keeps up, so that cuts are seen only by the journal.
    let store = open(&original).unwrap();
    fill(&*store, 0, 12).await;
    let whole = contents(&store).unwrap();
    drop(store);
    let last = files(&original.join("journal")).pop().unwrap();
    let len = fs::metadata(&last).unwrap().len();
    let mut seen_prefixes = 0;
    for cut in (0..len).rev().step_by(97) {
        let copy = dir.path().join("copy");
        copy_dir(&original, &copy);
        let segment = copy.join("journal").join(last.file_name().unwrap());
        let file = fs::OpenOptions::new().write(true).open(&segment).unwrap();
        file.set_len(cut).unwrap();
        // The index knows better, and says so.
        match open(&copy) {
            Err(OpenError::JournalBehindIndex { .. } | OpenError::JournalForeign { .. }) => {}
            Ok(store) => assert!(contents(&store).unwrap() == whole, "cut at {cut}"),
            Err(other) => panic!("cut at {cut}: {other}"),
        }
        fs::remove_dir_all(copy.join("index")).unwrap();
        let store = open(&copy).unwrap();
        let (_, org) = contents(&store).unwrap();
        let count = org.events.len();
        assert_eq!(org.events, whole.1.events[..count], "cut at {cut}");
        assert_eq!(org.last_seq, count as u64);
        seen_prefixes += 1;
        drop(store);
        fs::remove_dir_all(&copy).unwrap();
    }
    assert!(seen_prefixes > 10);
}

/// Every byte at which the last records may be cut: what was synced before them is never touched,
/// and what is left of them goes whole.
#[tokio::test]
async fn every_byte_of_the_last_records_may_be_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let store = open(&original).unwrap();
    fill(&*store, 0, 30).await;
    let segment_len = || {
        let last = files(&original.join("journal")).pop().unwrap();
        let len = fs::metadata(&last).unwrap().len();
        (last, len)
    };
    // The files as they are between commits, while the store is open: a crash, not a close.
    let (segment, settled) = segment_len();
    let mut ends = vec![(settled, store.last_seq(ORG))];
    for n in 0..3 {
        let note = bindery_datastore::NewEvent::new("n", ["t"], serde_json::json!(n));
        let key = format!("last/{n}").into_bytes();
        let last = Transaction::new(ORG)
            .put(bindery_datastore::Table::SETTINGS, key, vec![n; 20])
            .event(note);
        store.commit(last).await.unwrap();
        let (same, len) = segment_len();
        assert_eq!(same, segment, "the records are in one segment");
        ends.push((len, store.last_seq(ORG)));
    }
    let journal = dir.path().join("journal");
    copy_dir(&original.join("journal"), &journal);
    let whole = fs::read(&segment).unwrap();
    drop(store);
    let name = segment.file_name().unwrap();
    let (first, last) = (ends[0].0, ends[3].0);
    for cut in first..=last {
        let copy = dir.path().join("copy");
        copy_dir(&journal, &copy.join("journal"));
        fs::write(copy.join("journal").join(name), &whole[..cut as usize]).unwrap();
        let store = open(&copy).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let (end, seq) = ends.iter().rev().find(|(end, _)| *end <= cut).unwrap();
        assert_eq!(store.last_seq(ORG), *seq, "cut at {cut}");
        assert_eq!(store.open_report().torn_bytes, cut - end, "cut at {cut}");
        for n in 0..3_u64 {
            let key = format!("last/{n}");
            let row = store.get(ORG, bindery_datastore::Table::SETTINGS, key.as_bytes());
            assert_eq!(row.unwrap().is_some(), ends[0].1 + n < *seq, "cut at {cut}");
        }
        drop(store);
        fs::remove_dir_all(&copy).unwrap();
    }
}

#[tokio::test]
async fn missing_and_foreign_journals_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    sample(&original).await;
    let copy = |name: &str| {
        let copy = dir.path().join(name);
        copy_dir(&original, &copy);
        copy
    };

    let gone = copy("gone");
    fs::remove_dir_all(gone.join("journal")).unwrap();
    let error = open(&gone).unwrap_err();
    assert!(matches!(error, OpenError::JournalForeign { .. }), "{error}");

    let emptied = copy("emptied");
    for file in files(&emptied.join("journal")) {
        fs::write(file, "").unwrap();
    }
    let error = open(&emptied).unwrap_err();
    assert!(matches!(error, OpenError::JournalForeign { .. }), "{error}");

    let holed = copy("holed");
    fs::remove_file(holed.join("journal/00000002.log")).unwrap();
    let error = open(&holed).unwrap_err();
    assert!(
        matches!(error, OpenError::SegmentMissing { number: 2 }),
        "{error}"
    );

    let beheaded = copy("beheaded");
    fs::remove_file(beheaded.join("journal/00000001.log")).unwrap();
    fs::remove_dir_all(beheaded.join("index")).unwrap();
    let error = open(&beheaded).unwrap_err();
    assert!(matches!(error, OpenError::CannotRebuild { .. }), "{error}");

    let swapped = copy("swapped");
    let segment = |n: u32| swapped.join(format!("journal/{n:08}.log"));
    fs::rename(segment(2), segment(99)).unwrap();
    fs::rename(segment(3), segment(2)).unwrap();
    fs::rename(segment(99), segment(3)).unwrap();
    let error = open(&swapped).unwrap_err();
    assert!(matches!(error, OpenError::JournalDamaged { .. }), "{error}");
}

#[tokio::test]
async fn two_processes_cannot_open_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(store);
    open(dir.path()).unwrap();
}
