//! `bindery admin verify`: is everything there, and as it was?

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    path::Path,
    time::Instant,
};

use bindery_blobs::{digest_of, list};
use bindery_core::Digest;
use bindery_datastore::{Audit, AuditedWrite, Database, Table, audit};
use serde_json::{Value, json};

use super::{BLOBS, STORE, VerifyArguments, archive::open_plain, existing, size};
use crate::exit::Exit;

/// Which fields of which records name blobs, and what to call them.
const REFERENCES: [(Table, &str, &[&str]); 4] = [
    (Table::FILES, "file", &["digest"]),
    (Table::ARTIFACTS, "artifact", &["digest"]),
    (Table::RESULTS, "result", &["body_blob"]),
    (Table::PLUGINS, "plugin", &["component", "archive"]),
];
/// Faults that are named; all are counted.
const NAMED_MAX: usize = 100;

pub(crate) fn verify(arguments: &VerifyArguments) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let data = existing(&arguments.data.data)?;
    let mut references = References::default();
    let store = audit(&data.join(STORE), &arguments.anchors, &mut |write| {
        references.note(write);
    });
    let blobs = Blobs::look(&data.join(BLOBS), &references)?;
    let sound = store.as_ref().is_ok_and(Audit::is_sound) && blobs.is_sound();
    let (journal, indexes, online) = match &store {
        Ok(audit) => (
            journal_document(audit),
            indexes_document(audit),
            audit.indexes.is_none(),
        ),
        Err(error) => (
            json!({ "fault": format!("{:#}", anyhow::Error::msg(error.to_string())) }),
            Value::Null,
            false,
        ),
    };
    let document = json!({
        "sound": sound,
        "online": online,
        "journal": journal,
        "indexes": indexes,
        "blobs": blobs.document(),
        "took_seconds": start.elapsed().as_secs_f64(),
    });
    if arguments.json {
        writeln!(io::stdout(), "{document:#}")?;
    } else {
        print_store(&store);
        blobs.print();
        println!("{}", if sound { "sound" } else { "NOT SOUND" });
    }
    Ok(if sound { Exit::Done } else { Exit::Failed })
}

fn journal_document(audit: &Audit) -> Value {
    let journal = &audit.journal;
    json!({
        "fault": null,
        "segments": journal.segments,
        "records": journal.records,
        "size_bytes": journal.size_bytes,
        "first_position": journal.first_position,
        "last_position": journal.last_position,
        "sealed": journal.sealed,
        "unfinished_bytes": journal.unfinished_bytes,
        "anchor": journal.anchor().to_string(),
    })
}

fn indexes_document(audit: &Audit) -> Value {
    let Some(indexes) = &audit.indexes else {
        return Value::Null;
    };
    indexes
        .iter()
        .map(|index| {
            let first: Vec<Value> = index
                .differences
                .iter()
                .map(|difference| {
                    json!({
                        "table": difference.table,
                        "key": hex(&difference.key),
                        "kind": difference.kind.as_str(),
                    })
                })
                .collect();
            json!({
                "database": index.database.to_string(),
                "fault": index.fault,
                "rows": index.rows,
                "unsettled": index.unsettled,
                "differences": index.difference_count,
                "first": first,
            })
        })
        .collect()
}

fn print_store(store: &Result<Audit, bindery_datastore::VerifyError>) {
    let audit = match store {
        Ok(audit) => audit,
        Err(error) => {
            println!("journal   FAULT    {error}");
            println!("index     unknown  not compared with a journal that is not whole");
            return;
        }
    };
    let journal = &audit.journal;
    println!(
        "journal   sound    {} records in {} segments, {}{}",
        journal.records,
        journal.segments,
        size(journal.size_bytes),
        match (journal.unfinished_bytes, journal.sealed) {
            (0, true) => ", closed in order".to_owned(),
            (0, false) => String::new(),
            (bytes, _) => format!(", {bytes} bytes at its end are not finished"),
        }
    );
    println!("          anchor   {}", journal.anchor());
    let Some(indexes) = &audit.indexes else {
        println!("index     open     a server has it open; stop it to have the index compared");
        return;
    };
    for index in indexes {
        let (word, more) = match (&index.fault, index.difference_count) {
            (Some(fault), _) => ("FAULT", format!("; {fault}; the next start rebuilds it")),
            (None, 0) => ("sound", String::new()),
            (None, count) => (
                "FAULT",
                format!("; {count} are not as the journal has them"),
            ),
        };
        let ahead = match index.unsettled {
            0 => String::new(),
            count => format!(", {count} to be written at the next start"),
        };
        println!(
            "index     {word:8} {}: {} rows{ahead}{more}",
            index.database, index.rows
        );
        for difference in &index.differences {
            println!(
                "                   table {:#04x}, key {}: {}",
                difference.table,
                hex(&difference.key),
                difference.kind.as_str()
            );
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which blobs the records name.
#[derive(Debug, Default)]
struct References {
    of_rows: BTreeMap<(Database, Table, Vec<u8>), Vec<Digest>>,
}

impl References {
    fn note(&mut self, write: AuditedWrite<'_>) {
        let Some((_, _, fields)) = REFERENCES.iter().find(|(table, ..)| *table == write.table)
        else {
            return;
        };
        let row = (write.database, write.table, write.key.to_vec());
        let digests: Vec<Digest> = write
            .value
            .and_then(|value| serde_json::from_slice::<Value>(value).ok())
            .map(|record| {
                let named = fields
                    .iter()
                    .filter_map(|field| record.get(field)?.as_str());
                named.filter_map(|text| text.parse().ok()).collect()
            })
            .unwrap_or_default();
        if digests.is_empty() {
            self.of_rows.remove(&row);
        } else {
            self.of_rows.insert(row, digests);
        }
    }
}

/// What is in the directory of blobs, beside what should be.
#[derive(Debug, Default)]
struct Blobs {
    count: u64,
    size_bytes: u64,
    referenced: usize,
    /// Blobs that are not there, and by what they are named.
    missing: BTreeMap<Digest, &'static str>,
    damaged: Vec<(Digest, String)>,
    /// Blobs that no record names: of uploads that were broken off, or of caches.
    unreferenced: u64,
    /// Files that are no blobs.
    strange: Vec<String>,
}

impl Blobs {
    fn look(dir: &Path, references: &References) -> anyhow::Result<Self> {
        let mut wanted: BTreeMap<Digest, &'static str> = BTreeMap::new();
        for ((_, table, _), digests) in &references.of_rows {
            let what = REFERENCES
                .iter()
                .find(|(known, ..)| known == table)
                .map_or("record", |(_, what, _)| what);
            wanted.extend(digests.iter().map(|digest| (*digest, what)));
        }
        let mut blobs = Self {
            referenced: wanted.len(),
            ..Self::default()
        };
        let mut found = BTreeSet::new();
        if !dir.is_dir() {
            blobs.missing = wanted;
            return Ok(blobs);
        }
        list(dir, |listed| -> anyhow::Result<()> {
            let Some(digest) = listed.digest else {
                blobs.strange.push(listed.path.display().to_string());
                return Ok(());
            };
            blobs.count += 1;
            blobs.size_bytes += listed.size_bytes;
            found.insert(digest);
            blobs.unreferenced += u64::from(!wanted.contains_key(&digest));
            match open_plain(&listed.path).and_then(|mut file| digest_of(&mut file, |_| Ok(()))) {
                Ok((content, _)) if content == digest => {}
                Ok((content, _)) => blobs
                    .damaged
                    .push((digest, format!("its content is {content}"))),
                Err(error) => blobs.damaged.push((digest, error.to_string())),
            }
            Ok(())
        })?;
        wanted.retain(|digest, _| !found.contains(digest));
        blobs.missing = wanted;
        Ok(blobs)
    }

    fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.damaged.is_empty()
    }

    fn document(&self) -> Value {
        let missing: Vec<Value> = self
            .missing
            .iter()
            .take(NAMED_MAX)
            .map(|(digest, what)| json!({ "digest": digest.to_string(), "named_by": what }))
            .collect();
        let damaged: Vec<Value> = self
            .damaged
            .iter()
            .take(NAMED_MAX)
            .map(|(digest, fault)| json!({ "digest": digest.to_string(), "fault": fault }))
            .collect();
        json!({
            "count": self.count,
            "size_bytes": self.size_bytes,
            "referenced": self.referenced,
            "unreferenced": self.unreferenced,
            "missing_count": self.missing.len(),
            "missing": missing,
            "damaged_count": self.damaged.len(),
            "damaged": damaged,
            "strange": self.strange.iter().take(NAMED_MAX).collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        println!(
            "blobs     {:8} {}, {}; {} named by records, {} not",
            if self.is_sound() { "sound" } else { "FAULT" },
            self.count,
            size(self.size_bytes),
            self.referenced,
            self.unreferenced
        );
        for (digest, what) in self.missing.iter().take(NAMED_MAX) {
            println!("                   {digest} of a {what} is missing");
        }
        for (digest, fault) in self.damaged.iter().take(NAMED_MAX) {
            println!("                   {digest} is damaged: {fault}");
        }
        for path in self.strange.iter().take(NAMED_MAX) {
            println!("                   {path} is no blob");
        }
    }
}
