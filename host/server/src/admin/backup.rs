//! `bindery admin backup`: beside a server that writes.
//!
//! Order is all: first the journal up to a point, then the files. Whatever a record names was
//! durable before the record was, and files never change, so that all that the journal's prefix
//! names is among the files that are found afterwards. A pin keeps old segments from being removed
//! meanwhile.

use std::{fs, io, io::Write as _, time::Instant};

use anyhow::Context;
use bindery_blobs::{Listed, list};
use bindery_datastore::Snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    BLOBS, BackupArguments, LOGS, OCI, STORE,
    archive::{MANIFEST, SUMS, Sink, Sums, files_below, open_plain, sums_text},
    existing, size,
};
use crate::exit::Exit;

pub(crate) fn backup(arguments: &BackupArguments) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let data = existing(&arguments.data.data)?;
    let mut sink = Sink::create(&arguments.to)?;
    let mut sums = Sums::new();

    let snapshot = Snapshot::take(&data.join(STORE)).context("failed to read the journal")?;
    for file in &snapshot.files {
        let name = format!("{STORE}/{}", file.name.display());
        let mut reader = snapshot
            .open(file)
            .with_context(|| format!("failed to read {name}"))?;
        let digest = sink.put(&name, &mut reader, file.size_bytes)?;
        sums.insert(name, (digest, file.size_bytes));
    }

    let mut damaged = Vec::new();
    let (mut blobs, mut blob_bytes) = (0_u64, 0_u64);
    list(&data.join(BLOBS), |found| -> anyhow::Result<()> {
        let Listed {
            digest: Some(digest),
            path,
            size_bytes,
        } = found
        else {
            return Ok(());
        };
        let name = format!("{BLOBS}/{}", blob_name(&digest.hex()));
        let mut reader =
            open_plain(&path).with_context(|| format!("failed to read {}", path.display()))?;
        let read = sink.put(&name, &mut reader, size_bytes)?;
        if read != digest {
            damaged.push(digest.to_string());
        }
        blobs += 1;
        blob_bytes += size_bytes;
        sums.insert(name, (read, size_bytes));
        Ok(())
    })
    .context("failed to read the blobs")?;

    // Nothing rests on these; what a running server is just adding may be missing at their ends.
    // Of the registry, what names comes before what is named.
    let others = [
        LOGS.to_owned(),
        format!("{OCI}/records"),
        format!("{OCI}/blobs"),
    ];
    for part in others {
        for name in files_below(&data.join(&part))? {
            if name.ends_with(".part") {
                continue;
            }
            let name = format!("{part}/{name}");
            let mut reader = match open_plain(&data.join(&name)) {
                Ok(reader) => reader,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("failed to read {name}")),
            };
            let size_bytes = reader.metadata()?.len();
            let digest = sink.put(&name, &mut reader, size_bytes)?;
            sums.insert(name, (digest, size_bytes));
        }
    }
    let report = snapshot.report.clone();
    drop(snapshot);

    let text = sums_text(&sums);
    let digest = sink.put(SUMS, &mut text.as_bytes(), text.len() as u64)?;
    let size_bytes: u64 = sums.values().map(|(_, size_bytes)| size_bytes).sum();
    let manifest = json!({
        "format": "bindery-backup",
        "version": 1,
        "created": Timestamp::now(),
        "bindery": env!("CARGO_PKG_VERSION"),
        "anchor": report.anchor().to_string(),
        "journal": {
            "segments": report.segments,
            "records": report.records,
            "first_position": report.first_position,
            "last_position": report.last_position,
            "sealed": report.sealed,
        },
        "blobs": blobs,
        "blob_bytes": blob_bytes,
        "files": sums.len(),
        "size_bytes": size_bytes,
        "sums": digest.to_string(),
    });
    let text = format!("{manifest:#}\n");
    sink.put(MANIFEST, &mut text.as_bytes(), text.len() as u64)?;
    sink.finish()?;

    tell(arguments, manifest, &damaged, start)
}

fn tell(
    arguments: &BackupArguments,
    mut manifest: Value,
    damaged: &[String],
    start: Instant,
) -> anyhow::Result<Exit> {
    let to = fs::canonicalize(&arguments.to)?;
    if arguments.json {
        if let Some(fields) = manifest.as_object_mut() {
            fields.insert("path".to_owned(), json!(to));
            fields.insert("damaged".to_owned(), json!(damaged));
            fields.insert(
                "took_seconds".to_owned(),
                json!(start.elapsed().as_secs_f64()),
            );
        }
        writeln!(io::stdout(), "{manifest:#}")?;
    } else {
        let number = |name: &str| manifest.get(name).and_then(Value::as_u64).unwrap_or(0);
        println!("backup    {}", to.display());
        println!(
            "holds     {} files, {}",
            number("files"),
            size(number("size_bytes"))
        );
        println!(
            "anchor    {}",
            manifest.get("anchor").and_then(Value::as_str).unwrap_or("")
        );
    }
    for digest in damaged {
        eprintln!("bindery: blob {digest} is damaged, and so is its copy");
    }
    Ok(if damaged.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Where a blob is below the directory of blobs.
pub(super) fn blob_name(hex: &str) -> String {
    let (head, tail) = hex.split_at_checked(2).unwrap_or((hex, ""));
    format!("{head}/{tail}")
}
