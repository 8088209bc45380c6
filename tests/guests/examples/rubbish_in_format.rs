//! Reads files as no format should: the file's name says in which way.

use std::path::Path;

use bindery_sdk::{
    Collection, Fault, FileFormat, Format, FormatDescription, Inspection, RecordEntry, RecordInfo,
    RecordStream, Sniffed,
};
use bindery_test_guests::prelude::*;

struct Guest;

struct Records {
    kind: String,
    given: u64,
}

impl RecordStream for Records {
    fn next(&mut self, max: u32, _with_content: bool) -> Vec<RecordEntry> {
        let (count, details) = match self.kind.as_str() {
            "ten" if self.given > 0 => (0, json!({})),
            "ten" => (10, json!({})),
            "overfull" => (max * 2, json!({})),
            "huge_details" => (10, json!("x".repeat(1 << 20))),
            // Never an empty page.
            _ => (max, json!({})),
        };
        let from = self.given;
        self.given += u64::from(count);
        (from..self.given)
            .map(|index| RecordEntry {
                index,
                offset: index,
                length: 1,
                verdict: Ok(RecordInfo {
                    label: String::new(),
                    details: details.clone(),
                }),
                content: Vec::new(),
            })
            .collect()
    }
}

impl FileFormat for Guest {
    type Records = Records;

    fn describe() -> FormatDescription {
        FormatDescription {
            id: "test.format".to_owned(),
            version: "1.0.0".to_owned(),
            formats: vec![Format {
                media_type: "application/x-test".to_owned(),
                title: "Test".to_owned(),
                extensions: vec!["test".to_owned()],
                multi_record: true,
            }],
            collections: vec![Collection {
                name: "tests".to_owned(),
                title: "Tests".to_owned(),
                media_types: vec!["application/x-test".to_owned()],
            }],
        }
    }

    fn sniff(_head: &[u8], file_name: &str) -> Option<Sniffed> {
        let confidence = match file_name {
            "nan" => f32::NAN,
            "very_sure" => 1e9,
            "negative" => -1.0,
            "panic" => panic!("the format panics"),
            "none" => return None,
            _ => 0.5,
        };
        Some(Sniffed {
            media_type: "application/x-test".to_owned(),
            encoding: String::new(),
            confidence,
        })
    }

    fn inspect(_path: &Path, file_name: &str) -> Result<Inspection, Vec<Fault>> {
        match file_name {
            "no_fault" => Err(Vec::new()),
            "many_faults" => Err((0..10_000)
                .map(|n| Fault {
                    code: "bad".to_owned(),
                    message: "bad".to_owned(),
                    line: Some(n),
                    record: None,
                })
                .collect()),
            _ => Ok(Inspection {
                media_type: "application/x-test".to_owned(),
                encoding: String::new(),
                records: 1,
                bad_records: 0,
                details: json!({}),
                warnings: Vec::new(),
            }),
        }
    }

    fn records(_path: &Path, file_name: &str) -> Result<Records, Vec<Fault>> {
        if file_name == "no_fault" {
            return Err(Vec::new());
        }
        Ok(Records {
            kind: file_name.to_owned(),
            given: 0,
        })
    }
}

bindery_sdk::register_format!(Guest);
