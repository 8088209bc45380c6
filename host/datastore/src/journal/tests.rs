//! The journal under faults of its files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;

use super::{
    AppendError, Journal, JournalOptions, WrapSegment, append::SegmentIo, encode_record,
    read::JournalReader,
};
use crate::{
    error::{OpenError, ReadError},
    model::Database,
    plan::{Change, Write},
};

/// Which calls fail, as bits per kind: bit n is the n-th call from now.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) writes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    pub(crate) cuts: AtomicU64,
}

impl Faults {
    fn hit(schedule: &AtomicU64) -> bool {
        let before =
            schedule.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |bits| Some(bits >> 1));
        before.unwrap() & 1 == 1
    }

    pub(crate) fn wrap(self: &Arc<Self>) -> WrapSegment {
        let faults = Arc::clone(self);
        Arc::new(move |file| {
            Box::new(Faulty {
                file,
                faults: Arc::clone(&faults),
            })
        })
    }
}

struct Faulty {
    file: File,
    faults: Arc<Faults>,
}

impl SegmentIo for Faulty {
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        if Faults::hit(&self.faults.writes) {
            // As a full disk does: some of it is written.
            SegmentIo::write_all_at(&self.file, &data[..data.len() * 2 / 3], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        SegmentIo::write_all_at(&self.file, data, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        if Faults::hit(&self.faults.syncs) {
            return Err(io::Error::other("injected"));
        }
        SegmentIo::sync_data(&self.file)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if Faults::hit(&self.faults.cuts) {
            return Err(io::Error::other("injected"));
        }
        SegmentIo::set_len(&self.file, len)
    }
}

fn body(n: u64) -> Vec<u8> {
    let change = Change {
        writes: vec![Write {
            key: n.to_be_bytes().to_vec().into(),
            value: Some(vec![7; 100].into()),
            fresh: false,
        }],
        ..Change::default()
    };
    let mut body = Vec::new();
    encode_record(&mut body, Database::Meta, Timestamp::UNIX_EPOCH, 1, &change);
    body
}

fn open(dir: &Path, faults: &Arc<Faults>) -> Result<(Journal, Arc<JournalReader>), OpenError> {
    let options = JournalOptions {
        segment_bytes_max: 2_000,
        free_bytes_min: 0,
        wrap: faults.wrap(),
    };
    Journal::open(dir, options, 0).map(|(journal, reader, _)| (journal, reader))
}

/// What the records say, and where they are.
fn replay(reader: &JournalReader, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    reader
        .replay(1, last, |entry| -> Result<(), ReadError> {
            let again = reader.read(entry.location)?;
            assert_eq!(again.record, entry.record);
            let key = entry.record.writes[0].key.as_ref();
            found.push(u64::from_be_bytes(key.try_into().unwrap()));
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn failed_groups_leave_nothing_and_later_ones_work() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let (mut journal, reader) = open(dir.path(), &faults).unwrap();
    let mut kept = Vec::new();
    // Every pattern of faults of the writes and syncs of the next calls that can be taken back.
    for n in 0..60_u64 {
        match n % 3 {
            0 => faults.writes.store(1, Ordering::SeqCst),
            1 => faults.syncs.store(1, Ordering::SeqCst),
            _ => {}
        }
        let result = journal.append(&[body(2 * n), body(2 * n + 1)], 0);
        faults.writes.store(0, Ordering::SeqCst);
        faults.syncs.store(0, Ordering::SeqCst);
        match result {
            Ok(_) => kept.extend([2 * n, 2 * n + 1]),
            Err(AppendError::Failed(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(kept.len(), 40);
    let last = journal.next_position() - 1;
    assert_eq!(last, 40);
    assert_eq!(replay(&reader, last), kept);
    drop(journal);
    let (journal, reader) = open(dir.path(), &faults).unwrap();
    assert_eq!(journal.next_position() - 1, last);
    assert_eq!(replay(&reader, last), kept);
}

#[test]
fn what_cannot_be_taken_back_stops_all_writes_until_opened_again() {
    for (syncs, cuts) in [(0b11, 0), (0b01, 0b01)] {
        let dir = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let (mut journal, _) = open(dir.path(), &faults).unwrap();
        journal.append(&[body(0)], 0).unwrap();
        faults.syncs.store(syncs, Ordering::SeqCst);
        faults.cuts.store(cuts, Ordering::SeqCst);
        let error = journal.append(&[body(1)], 0).unwrap_err();
        assert!(matches!(error, AppendError::Indeterminate(_)), "{error:?}");
        let error = journal.append(&[body(2)], 0).unwrap_err();
        assert!(matches!(error, AppendError::Poisoned(_)), "{error:?}");
        assert!(journal.seal(0).is_err());
        drop(journal);
        let (mut journal, reader) = open(dir.path(), &faults).unwrap();
        journal.append(&[body(3)], 0).unwrap();
        let found = replay(&reader, journal.next_position() - 1);
        // Whether the middle one is there was never promised.
        assert!(found == [0, 3] || found == [0, 1, 3], "{found:?}");
    }
}

#[test]
fn a_group_torn_in_its_middle_is_not_taken_for_damage() {
    // After a power cut, later pages of a group may be on disk and earlier ones not.
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let (mut journal, _) = open(dir.path(), &faults).unwrap();
    journal.append(&[body(0)], 0).unwrap();
    let locations = journal.append(&[body(1), body(2), body(3)], 0).unwrap();
    drop(journal);
    let path = dir.path().join("00000001.log");
    let mut data = std::fs::read(&path).unwrap();
    data[locations[1].offset as usize + 80] ^= 1;
    std::fs::write(&path, &data).unwrap();
    let (mut journal, reader) = open(dir.path(), &faults).unwrap();
    assert_eq!(replay(&reader, journal.next_position() - 1), [0, 1]);

    // With a later group behind it, the same is damage.
    let location = journal.append(&[body(4)], 0).unwrap()[0];
    journal.append(&[body(5)], 0).unwrap();
    drop(journal);
    let mut data = std::fs::read(&path).unwrap();
    data[location.offset as usize + 80] ^= 1;
    std::fs::write(&path, &data).unwrap();
    let error = open(dir.path(), &faults).unwrap_err();
    assert!(
        matches!(error, OpenError::JournalDamaged { position: 3, .. }),
        "{error}"
    );
}

#[test]
fn values_that_imitate_frames_are_not_taken_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    // Frames of another journal, far ahead: as a value, they must not look like later groups.
    let other = tempfile::tempdir().unwrap();
    let (mut foreign, _) = open(other.path(), &faults).unwrap();
    for n in 0..10 {
        foreign.append(&[body(n)], 0).unwrap();
    }
    let imitation = std::fs::read(other.path().join("00000001.log")).unwrap();
    let (mut journal, _) = open(dir.path(), &faults).unwrap();
    journal.append(&[body(0)], 0).unwrap();
    let change = Change {
        writes: vec![Write {
            key: vec![0; 8].into(),
            value: Some(imitation.into()),
            fresh: false,
        }],
        ..Change::default()
    };
    let mut with_imitation = Vec::new();
    let time = Timestamp::UNIX_EPOCH;
    encode_record(&mut with_imitation, Database::Meta, time, 1, &change);
    let location = journal.append(&[with_imitation], 0).unwrap()[0];
    drop(journal);
    let path = dir.path().join(format!("{:08}.log", location.segment));
    let mut data = std::fs::read(&path).unwrap();
    data[location.offset as usize + 70] ^= 1;
    std::fs::write(&path, &data).unwrap();
    let (journal, _) = open(dir.path(), &faults).unwrap();
    assert_eq!(journal.next_position(), 2);
}

#[test]
fn every_prefix_of_the_writes_is_opened() {
    // A power cut keeps some prefix of a segment; beyond what was synced, anything.
    let dir = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let (mut journal, _) = open(dir.path(), &faults).unwrap();
    let mut ends = vec![128];
    for n in 0..4 {
        journal.append(&[body(2 * n), body(2 * n + 1)], 0).unwrap();
        ends.push(
            std::fs::metadata(dir.path().join("00000001.log"))
                .unwrap()
                .len(),
        );
    }
    drop(journal);
    let whole = std::fs::read(dir.path().join("00000001.log")).unwrap();
    for cut in (128..whole.len()).step_by(5) {
        let copy = tempfile::tempdir().unwrap();
        let mut data = whole[..cut].to_vec();
        // Blocks that were allocated but not written read as zeros.
        data.resize(whole.len() + 512, 0);
        std::fs::write(copy.path().join("00000001.log"), data).unwrap();
        let (journal, reader) = open(copy.path(), &faults).unwrap();
        let found = replay(&reader, journal.next_position() - 1);
        let groups = ends.iter().filter(|end| **end <= cut as u64).count() as u64 - 1;
        assert!(found.len() as u64 >= 2 * groups, "cut at {cut}");
        assert!(found.iter().copied().eq(0..found.len() as u64));
    }
}

/// Frames of a segment, each with its header, and what comes before them.
fn frames_of(data: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (head, mut rest) = data.split_at(128);
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let body = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let (frame, after) = rest.split_at(68 + body);
        frames.push(frame.to_vec());
        rest = after;
    }
    (head.to_vec(), frames)
}

/// Gives a frame this position, and makes its checksums right, as whoever edits the past by hand
/// would. The hash stays.
fn sealed_again(mut frame: Vec<u8>, position: u64, salt: &[u8]) -> Vec<u8> {
    let body = crc32fast::hash(&frame[68..]);
    frame[12..16].copy_from_slice(&body.to_le_bytes());
    frame[16..24].copy_from_slice(&position.to_le_bytes());
    frame[24..32].copy_from_slice(&position.to_le_bytes());
    let mut head = crc32fast::Hasher::new();
    head.update(salt);
    head.update(&frame[..64]);
    frame[64..68].copy_from_slice(&head.finalize().to_le_bytes());
    frame
}

#[test]
fn a_past_that_was_edited_is_found_by_its_chain() {
    let store = tempfile::tempdir().unwrap();
    let dir = store.path().join("journal");
    let faults = Arc::new(Faults::default());
    let (mut journal, _) = open(&dir, &faults).unwrap();
    for n in 0..6 {
        journal.append(&[body(n)], 0).unwrap();
    }
    drop(journal);
    let path = dir.join("00000001.log");
    let honest = std::fs::read(&path).unwrap();
    let (head, frames) = frames_of(&honest);
    assert_eq!(frames.len(), 6);
    let salt = &head[32..40].to_vec();
    let reason_of = |frames: Vec<Vec<u8>>| {
        let edited: Vec<Vec<u8>> = (1..)
            .zip(frames)
            .map(|(position, frame)| sealed_again(frame, position, salt))
            .collect();
        std::fs::write(&path, [head.clone(), edited.concat()].concat()).unwrap();
        match super::verify(store.path()) {
            Err(crate::VerifyError::Damaged {
                position, reason, ..
            }) => Some((position, reason)),
            Ok(_) => None,
            Err(other) => panic!("{other}"),
        }
    };
    let broken = |position: u64| Some((position, "hash chain is broken".to_owned()));
    assert_eq!(
        reason_of(frames.clone()),
        None,
        "sealing again changes nothing"
    );

    let mut altered = frames.clone();
    *altered[2].last_mut().unwrap() ^= 1;
    assert_eq!(reason_of(altered), broken(3));
    let mut swapped = frames.clone();
    swapped.swap(1, 3);
    assert_eq!(reason_of(swapped), broken(2));
    let mut removed = frames.clone();
    removed.remove(2);
    assert_eq!(reason_of(removed), broken(3));
    let mut doubled = frames.clone();
    doubled.insert(4, frames[3].clone());
    assert_eq!(reason_of(doubled), broken(5));

    // Whole segments: one that is taken out, or put in another's place.
    std::fs::write(&path, &honest).unwrap();
    let (mut journal, _) = open(&dir, &faults).unwrap();
    for n in 6..40 {
        journal.append(&[body(n)], 0).unwrap();
    }
    drop(journal);
    super::verify(store.path()).unwrap();
    let segment = |n: u32| dir.join(format!("{n:08}.log"));
    let kept = std::fs::read(segment(2)).unwrap();
    std::fs::remove_file(segment(2)).unwrap();
    let error = super::verify(store.path()).unwrap_err();
    assert!(matches!(
        error,
        crate::VerifyError::SegmentMissing { number: 2 }
    ));
    // The third under the name and number of the second.
    let mut third = std::fs::read(segment(3)).unwrap();
    third[12..16].copy_from_slice(&2_u32.to_le_bytes());
    let crc = crc32fast::hash(&third[..124]);
    third[124..128].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(segment(2), third).unwrap();
    let error = super::verify(store.path()).unwrap_err();
    assert!(
        matches!(error, crate::VerifyError::Damaged { .. }),
        "{error}"
    );
    std::fs::write(segment(2), kept).unwrap();
    super::verify(store.path()).unwrap();
}
