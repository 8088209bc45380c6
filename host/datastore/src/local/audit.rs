//! Whether an index is what the journal makes of it.
//!
//! The journal is walked once, and what every row must be is kept in memory as a fingerprint:
//! about a hundred bytes a row. Then each index is read in order and compared. Rows that the
//! journal changed after an index's marker are *unsettled*: the next opening writes them again, so
//! that any state of them is right.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    path::Path,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    INDEX_DIR, catalogue_key,
    flush::index_path,
    index::{Index, IndexError, Marker},
    open::{list_indexes, lock},
    postings::{Block, block_key, block_of, encode_block},
};
use crate::{
    error::{OpenError, VerifyError},
    journal::{Anchor, Location, Record, RecordEvent, Tail, VerifyReport, Visit, walk},
    model::{Database, Table},
};

/// Differences that are named; all are counted.
const DIFFERENCES_NAMED_MAX: usize = 20;
/// Rows of an index that are read at a time.
const PAGE_ROWS: usize = 1_024;
/// Page cache of an index that is read once, from end to end.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// What [`audit`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    pub journal: VerifyReport,
    /// One for each database; `None` while another process has the store open, for then its index
    /// cannot be read.
    pub indexes: Option<Vec<IndexAudit>>,
}

impl Audit {
    /// Whether nothing is wrong, as far as it was looked at.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.indexes
            .iter()
            .flatten()
            .all(|index| index.fault.is_none() && index.difference_count == 0)
    }
}

/// One database's index beside the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexAudit {
    pub database: Database,
    /// Why it could not be read; the next opening rebuilds it.
    pub fault: Option<String>,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that were not, because the journal is ahead of the index there.
    pub unsettled: u64,
    pub difference_count: u64,
    /// The first of them, in the order of keys.
    pub differences: Vec<Difference>,
}

/// A row that is not as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Number of the table.
    pub table: u8,
    pub key: Bytes,
    pub kind: DifferenceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// The journal has the row, the index does not.
    Missing,
    /// The index has a row that the journal does not.
    Extra,
    /// The values are not the same.
    Value,
}

impl DifferenceKind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Value => "value",
        }
    }
}

/// A write that the journal tells of, as [`audit`] passes it on.
#[derive(Debug, Clone, Copy)]
pub struct AuditedWrite<'a> {
    pub database: Database,
    pub table: Table,
    pub key: &'a [u8],
    /// `None` when the row was deleted.
    pub value: Option<&'a [u8]>,
}

/// Verifies the journal of the store in `dir`, and compares every index with it. While another
/// process has the store open, only the journal is verified. Anchors must hold. `each` gets all
/// writes in order, for whoever knows what rows refer to. Blocks.
///
/// # Errors
/// When the journal is damaged, an anchor does not hold, or files cannot be read. What is wrong
/// with an index is in the answer.
pub fn audit(
    dir: &Path,
    anchors: &[Anchor],
    each: &mut dyn FnMut(AuditedWrite<'_>),
) -> Result<Audit, VerifyError> {
    let mut tell = |record: &Record| {
        for write in &record.writes {
            if let Some((table, key)) = write.key.split_first()
                && let Some(table) = Table::custom(*table)
            {
                each(AuditedWrite {
                    database: record.database,
                    table,
                    key,
                    value: write.value.as_deref(),
                });
            }
        }
    };
    let _lock = match lock(dir) {
        Ok(lock) => lock,
        Err(OpenError::Locked { .. }) => {
            let (journal, _) = walk(dir, Tail::Open, anchors, &mut |visit| {
                visit.record.iter().for_each(&mut tell);
                Ok(())
            })?;
            return Ok(Audit {
                journal,
                indexes: None,
            });
        }
        Err(OpenError::Io { path, source, .. }) => return Err(VerifyError::Io { path, source }),
        Err(other) => {
            return Err(VerifyError::Io {
                path: dir.to_owned(),
                source: std::io::Error::other(other.to_string()),
            });
        }
    };
    let index_dir = dir.join(INDEX_DIR);
    // Where there is no directory of indexes, there is none of them.
    let names = list_indexes(&index_dir).unwrap_or_default();
    let mut opened = BTreeMap::new();
    for name in names {
        opened.insert(
            name,
            Index::open(&index_path(&index_dir, name), CACHE_BYTES),
        );
    }

    let mut expected: BTreeMap<Database, Expected> = BTreeMap::new();
    expected.insert(Database::Meta, Expected::of(opened.get(&Database::Meta)));
    // A crash may have left an unfinished write at the end; that is no damage, and is told.
    let (journal, _) = walk(dir, Tail::Open, anchors, &mut |visit: Visit| {
        let Some(record) = visit.record else {
            return Ok(());
        };
        tell(&record);
        let database = record.database;
        if database != Database::Meta
            && !expected.contains_key(&database)
            && let Some(meta) = expected.get_mut(&Database::Meta)
        {
            meta.put(visit.position, &catalogue_key(&database.to_string()), &[]);
        }
        expected
            .entry(database)
            .or_insert_with(|| Expected::of(opened.get(&database)))
            .record(visit.position, visit.location, &record);
        Ok(())
    })?;

    // An index of a database that the journal never heard of is compared with nothing.
    for (name, index) in &opened {
        expected
            .entry(*name)
            .or_insert_with(|| Expected::of(Some(index)));
    }
    let indexes = expected
        .into_iter()
        // A store that nothing was ever committed to need not have been flushed.
        .filter(|(name, _)| opened.contains_key(name) || journal.records > 0)
        .map(|(name, expected)| compare(name, opened.get(&name), expected))
        .collect();
    Ok(Audit {
        journal,
        indexes: Some(indexes),
    })
}

type Opened = Result<(Index, Marker), IndexError>;
type Fingerprint = [u8; 16];

fn fingerprint(value: &[u8]) -> Fingerprint {
    let hash: [u8; 32] = Sha256::digest(value).into();
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    short
}

/// What a database must be.
#[derive(Default)]
struct Expected {
    marker_position: u64,
    rows: BTreeMap<Box<[u8]>, Fingerprint>,
    /// Keys that were written after the marker.
    unsettled: BTreeSet<Box<[u8]>>,
    /// The newest block of each topic, which still grows.
    blocks: HashMap<String, (u64, Block)>,
    /// Seq of the newest event up to the marker.
    last_seq: u64,
}

impl Expected {
    fn of(opened: Option<&Opened>) -> Self {
        Self {
            marker_position: match opened {
                Some(Ok((_, marker))) => marker.position,
                _ => 0,
            },
            ..Self::default()
        }
    }

    fn put(&mut self, position: u64, key: &[u8], value: &[u8]) {
        self.touch(position, key);
        self.rows.insert(key.into(), fingerprint(value));
    }

    fn touch(&mut self, position: u64, key: &[u8]) {
        if position > self.marker_position {
            self.unsettled.insert(key.into());
        }
    }

    fn record(&mut self, position: u64, location: Location, record: &Record) {
        for write in &record.writes {
            match &write.value {
                Some(value) => self.put(position, &write.key, value),
                None => {
                    self.touch(position, &write.key);
                    self.rows.remove(write.key.as_ref());
                }
            }
        }
        for (seq, event) in (record.first_seq..).zip(&record.events) {
            if position <= self.marker_position {
                self.last_seq = seq;
            }
            self.event(position, seq, location, event);
        }
    }

    fn event(&mut self, position: u64, seq: u64, location: Location, event: &RecordEvent) {
        let all = String::new();
        for topic in event.topics.iter().chain([&all]) {
            let number = block_of(seq);
            self.touch(position, &block_key(topic, number));
            match self.blocks.get_mut(topic) {
                Some((current, block)) if *current == number => block.push((seq, location)),
                Some(newest) => {
                    let (number, block) =
                        std::mem::replace(newest, (number, vec![(seq, location)]));
                    self.rows.insert(
                        block_key(topic, number).as_ref().into(),
                        fingerprint(&encode_block(&block)),
                    );
                }
                None => {
                    self.blocks
                        .insert(topic.clone(), (number, vec![(seq, location)]));
                }
            }
        }
    }

    fn finish(mut self) -> Self {
        for (topic, (number, block)) in std::mem::take(&mut self.blocks) {
            self.rows.insert(
                block_key(&topic, number).as_ref().into(),
                fingerprint(&encode_block(&block)),
            );
        }
        self
    }
}

fn compare(database: Database, opened: Option<&Opened>, expected: Expected) -> IndexAudit {
    let mut audit = IndexAudit {
        database,
        fault: None,
        rows: 0,
        unsettled: 0,
        difference_count: 0,
        differences: Vec::new(),
    };
    let expected = expected.finish();
    let (index, marker) = match opened {
        Some(Ok((index, marker))) => (index, marker),
        Some(Err(error)) => {
            audit.fault = Some(error.to_string());
            return audit;
        }
        None => {
            audit.fault = Some("is missing".to_owned());
            return audit;
        }
    };
    if let Err(error) = audit.compare(index, &expected) {
        audit.fault = Some(error.to_string());
    } else if marker.last_seq != expected.last_seq {
        audit.fault = Some(format!(
            "says that its newest event is {}, the journal has {}",
            marker.last_seq, expected.last_seq
        ));
    }
    audit
}

impl IndexAudit {
    fn compare(&mut self, index: &Index, expected: &Expected) -> Result<(), IndexError> {
        let marker = Marker::key();
        let mut wanted = expected.rows.iter().peekable();
        let mut after = Bytes::new();
        loop {
            let bounds = (Bound::Excluded(after.as_ref()), Bound::Unbounded);
            let page = index.scan(bounds, false, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { break };
            after = last.clone();
            for (key, value) in &page {
                while let Some((missing, _)) =
                    wanted.next_if(|(wanted, _)| wanted.as_ref() < key.as_ref())
                {
                    self.differ(expected, missing, DifferenceKind::Missing);
                }
                let row = wanted.next_if(|(wanted, _)| wanted.as_ref() == key.as_ref());
                if *key == marker {
                    continue;
                }
                self.rows += 1;
                match row {
                    None => self.differ(expected, key, DifferenceKind::Extra),
                    Some((_, print)) if *print != fingerprint(value) => {
                        self.differ(expected, key, DifferenceKind::Value);
                    }
                    Some(_) => {}
                }
            }
        }
        for (missing, _) in wanted {
            self.differ(expected, missing, DifferenceKind::Missing);
        }
        self.unsettled = expected.unsettled.len() as u64;
        Ok(())
    }

    fn differ(&mut self, expected: &Expected, key: &[u8], kind: DifferenceKind) {
        if expected.unsettled.contains(key) {
            return;
        }
        self.difference_count += 1;
        if self.differences.len() < DIFFERENCES_NAMED_MAX {
            let (table, rest) = key.split_first().unwrap_or((&0, &[]));
            self.differences.push(Difference {
                table: *table,
                key: Bytes::copy_from_slice(rest),
                kind,
            });
        }
    }
}
