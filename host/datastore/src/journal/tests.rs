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
