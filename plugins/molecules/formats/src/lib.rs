//! `molecules.formats`: molecule files for Bindery.
//!
//! Declares the formats and the collection `molecules`, and puts `bindery-chem` behind the contract's
//! interface `format`. All reading of molecule files on a server happens in this component, so what
//! a hostile file can break is one instance of it.

use std::fs::File;
use std::path::Path;

use bindery_chem::{Decoder, Dimensions, Format, Limits, RecordReader, Severity};
use bindery_sdk::{
    Collection, Fault, FileFormat, FormatDescription, Inspection, RecordEntry, RecordInfo,
    RecordStream, Sniffed, json,
};
use serde_json::Value;

/// The plugin part.
#[derive(Debug)]
pub struct Molecules;

#[cfg(target_arch = "wasm32")]
bindery_sdk::register_format!(Molecules);

impl FileFormat for Molecules {
    type Records = Records;

    fn describe() -> FormatDescription {
        let formats = Format::ALL.map(|format| bindery_sdk::Format {
            media_type: format.media_type().to_owned(),
            title: format.title().to_owned(),
            extensions: format
                .extensions()
                .iter()
                .map(|extension| (*extension).to_owned())
                .collect(),
            multi_record: format.is_multi_record(),
        });
        FormatDescription {
            id: "molecules.formats".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: formats.to_vec(),
            collections: vec![Collection {
                name: "molecules".to_owned(),
                title: "Molecules".to_owned(),
                media_types: Format::ALL
                    .map(|format| format.media_type().to_owned())
                    .to_vec(),
            }],
        }
    }

    fn sniff(head: &[u8], file_name: &str) -> Option<Sniffed> {
        let sniffed = bindery_chem::sniff(head, file_name)?;
        Some(Sniffed {
            media_type: sniffed.format.media_type().to_owned(),
            encoding: encoding(sniffed.gzip),
            confidence: sniffed.confidence,
        })
    }

    fn inspect(path: &Path, file_name: &str) -> Result<Inspection, Vec<Fault>> {
        let inspection =
            bindery_chem::inspect_reader(open(path)?, file_name, &Limits::interactive())
                .map_err(|found| found.into_iter().map(fault).collect::<Vec<_>>())?;
        let details = details(&inspection);
        // What is wrong with single records is a warning about the file.
        let warnings = inspection
            .warnings
            .into_iter()
            .chain(inspection.errors)
            .map(fault)
            .collect();
        Ok(Inspection {
            media_type: inspection.format.media_type().to_owned(),
            encoding: encoding(inspection.gzip),
            records: inspection.records,
            bad_records: inspection.bad_records,
            details,
            warnings,
        })
    }

    fn records(path: &Path, file_name: &str) -> Result<Records, Vec<Fault>> {
        let reader = RecordReader::open(open(path)?, file_name, Limits::interactive())
            .map_err(|found| vec![fault(found)])?;
        Ok(Records { reader })
    }
}

fn open(path: &Path) -> Result<File, Vec<Fault>> {
    File::open(path).map_err(|error| {
        let message = format!("could not be opened: {error}");
        vec![Fault {
            code: "unreadable".to_owned(),
            message,
            line: None,
            record: None,
        }]
    })
}

fn encoding(gzip: bool) -> String {
    if gzip {
        "gzip".to_owned()
    } else {
        String::new()
    }
}

fn fault(found: bindery_chem::Fault) -> Fault {
    Fault {
        code: found.code.to_owned(),
        message: found.message,
        line: found.line,
        record: found.record,
    }
}

/// Titles and formulas shown in listings; a title is one line of any length.
const TITLE_CHARS_MAX: usize = 200;

fn details(inspection: &bindery_chem::Inspection) -> Value {
    let elements: serde_json::Map<String, Value> = inspection
        .elements
        .iter()
        .map(|(symbol, count)| (symbol.clone(), json!(count)))
        .collect();
    let bounding_box = inspection
        .bounding_box
        .map(|bounds| json!({ "min": bounds.min, "max": bounds.max, "center": bounds.center(), "size": bounds.size() }));
    let dockable = !inspection
        .warnings
        .iter()
        .any(|fault| fault.severity == Severity::ErrorForDocking);
    json!({
        "format": inspection.format.name(),
        "title": shortened(&inspection.title),
        "records": inspection.records,
        "bad_records": inspection.bad_records,
        "atoms": inspection.atoms,
        "heavy_atoms": inspection.heavy_atoms,
        "implicit_hydrogens": inspection.implicit_hydrogens,
        "has_hydrogens": inspection.has_hydrogens,
        "bonds": inspection.bonds,
        "residues": inspection.residues,
        "chains": inspection.chains,
        "formula": inspection.formula,
        "models": inspection.models,
        "elements": elements,
        "waters": inspection.waters,
        "metals": inspection.metals,
        "alternate_locations": inspection.alt_locs,
        "dimensions": dimensions(inspection.dimensions),
        "bounding_box": bounding_box,
        "is_polymer": inspection.is_polymer,
        "dockable": dockable,
        "warnings": inspection.warnings.iter().map(fault_json).collect::<Vec<_>>(),
        "errors": inspection.errors.iter().map(fault_json).collect::<Vec<_>>(),
    })
}

fn fault_json(fault: &bindery_chem::Fault) -> Value {
    let severity = match fault.severity {
        Severity::Warning => "warning",
        Severity::ErrorForDocking => "error_for_docking",
        Severity::Error => "error",
    };
    json!({
        "code": fault.code,
        "message": fault.message,
        "line": fault.line,
        "record": fault.record,
        "severity": severity,
    })
}

fn dimensions(dimensions: Dimensions) -> Value {
    json!(dimensions.number())
}

fn shortened(text: &str) -> String {
    text.chars().take(TITLE_CHARS_MAX).collect()
}

/// The records of one open file.
#[derive(Debug)]
pub struct Records {
    reader: RecordReader<Decoder<'static>>,
}

/// Bytes of content in one answer, as the boundary carries at most 16 MiB: the answer ends early
/// behind the record that passes this.
const CONTENT_BYTES_MAX: usize = 8 << 20;

impl RecordStream for Records {
    fn next(&mut self, max: u32, with_content: bool) -> Vec<RecordEntry> {
        let mut entries = Vec::new();
        let mut content_bytes = 0;
        while entries.len() < max as usize && content_bytes < CONTENT_BYTES_MAX {
            let Some(record) = self.reader.next() else {
                break;
            };
            let content = if with_content {
                self.reader.content().to_vec()
            } else {
                Vec::new()
            };
            content_bytes += content.len();
            entries.push(entry(record, content));
        }
        entries
    }
}

fn entry(record: bindery_chem::Record, content: Vec<u8>) -> RecordEntry {
    let verdict = match record.verdict {
        Ok(info) => Ok(RecordInfo {
            label: shortened(&record.title),
            details: json!({
                "atoms": info.atoms,
                "heavy_atoms": info.heavy_atoms,
                "bonds": info.bonds,
                "formula": info.formula,
                "dimensions": dimensions(info.dimensions),
                "warnings": info.warnings.iter().map(fault_json).collect::<Vec<_>>(),
            }),
        }),
        Err(faults) => {
            let first = faults.into_iter().find(bindery_chem::Fault::is_error);
            Err(first.map_or_else(
                || Fault {
                    code: "unreadable".to_owned(),
                    message: "record could not be read".to_owned(),
                    line: Some(record.line),
                    record: Some(record.index),
                },
                fault,
            ))
        }
    };
    let (index, offset, length) = (record.index, record.offset, record.length);
    RecordEntry {
        index,
        offset,
        length,
        verdict,
        content,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        reason = "test"
    )]
    use super::*;

    fn with_file<T>(content: &[u8], check: impl FnOnce(&Path) -> T) -> T {
        static COUNTER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("molecules-formats-{}-{count}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let outcome = check(&path);
        std::fs::remove_file(&path).unwrap();
        outcome
    }

    #[test]
    fn descriptions_are_complete_and_stable() {
        let description = Molecules::describe();
        assert_eq!(description, Molecules::describe());
        assert_eq!(description.formats.len(), 7);
        assert_eq!(description.collections[0].name, "molecules");
        for format in &description.formats {
            assert!(
                description.collections[0]
                    .media_types
                    .contains(&format.media_type)
            );
            assert!(!format.extensions.is_empty());
        }
    }

    #[test]
    fn inspection_has_what_the_listing_promises() {
        let inspection =
            with_file(b"CCO ethanol\n", |path| Molecules::inspect(path, "a.smi")).unwrap();
        assert_eq!(
            (inspection.media_type.as_str(), inspection.records),
            ("chemical/x-daylight-smiles", 1)
        );
        for (key, expected) in [
            ("format", json!("smiles")),
            ("atoms", json!(3)),
            ("residues", json!(0)),
            ("chains", json!([])),
            ("formula", json!("C2H6O")),
            ("warnings", json!([])),
            ("title", json!("ethanol")),
        ] {
            assert_eq!(inspection.details[key], expected, "{key}");
        }
    }

    #[test]
    fn records_come_one_by_one_with_their_verdicts() {
        with_file(b"CCO good\nC1CC bad\nCCN last\n", |path| {
            let mut records = Molecules::records(path, "a.smi").unwrap();
            let first = records.next(2, true);
            assert_eq!(first.len(), 2);
            assert_eq!(first[0].content, b"CCO good\n");
            assert_eq!(first[0].verdict.as_ref().unwrap().label, "good");
            let fault = first[1].verdict.as_ref().unwrap_err();
            assert_eq!(
                (fault.code.as_str(), fault.line, fault.record),
                ("bad_smiles", Some(2), Some(1))
            );
            assert_eq!(records.next(10, false).len(), 1);
            assert!(records.next(10, false).is_empty());
        });
    }

    #[test]
    fn unreadable_files_are_faults() {
        let faults = with_file(b"<html>", |path| Molecules::inspect(path, "a.sdf")).unwrap_err();
        assert_eq!(faults[0].code, "not_a_molecule_file");
        assert_eq!(
            Molecules::inspect(Path::new("nowhere"), "a.sdf").unwrap_err()[0].code,
            "unreadable"
        );
    }
}
