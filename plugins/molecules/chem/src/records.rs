//! Splits a file into records, each with its own verdict.
//!
//! A bad record never stops its neighbours, and none is dropped silently. The reader holds one
//! record at a time; a record beyond the bound is passed over and reported.

use std::io::{BufRead, Read};

use crate::decode::Decoder;
use crate::fault::Fault;
use crate::format::Format;
use crate::formula::formula;
use crate::limits::Limits;
use crate::lines::{Lines, split_lines};
use crate::model::{Dimensions, Molecule};
use crate::read::read_record;
use crate::sniff;

/// One record of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Counted from 0.
    pub index: u64,
    /// Of the first byte in the decoded file.
    pub offset: u64,
    /// Bytes in the decoded file.
    pub length: u64,
    /// Line the record starts on, counted from 1.
    pub line: u64,
    /// Untrusted text, empty when the record has none.
    pub title: String,
    pub verdict: Result<RecordInfo, Vec<Fault>>,
}

/// What a good record holds.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordInfo {
    pub atoms: u64,
    pub heavy_atoms: u64,
    pub bonds: u64,
    pub formula: String,
    pub dimensions: Dimensions,
    pub warnings: Vec<Fault>,
}

/// The records of a decoded text in memory.
#[must_use]
pub fn records(text: &[u8], format: Format) -> RecordReader<&[u8]> {
    RecordReader::new(text, format, Limits::default())
}

/// Reads the records of a file one by one.
pub struct RecordReader<R> {
    lines: Lines<R>,
    format: Format,
    limits: Limits,
    index: u64,
    content: Vec<u8>,
    /// First line of the next record, read while looking for the end of the last one.
    pending: Vec<u8>,
    pending_line: u64,
    /// A record ended with `$$$$` before, so the next one must.
    delimited: bool,
    done: bool,
}

impl<'a> RecordReader<Decoder<'a>> {
    /// Opens a file that may be gzipped and tells its format, which content and name must agree
    /// about.
    ///
    /// # Errors
    /// When the file cannot be split at all.
    pub fn open(reader: impl Read + 'a, file_name: &str, limits: Limits) -> Result<Self, Fault> {
        let decoder = Decoder::new(reader, &limits)?;
        let (format, _) = sniff::settle(decoder.head(), file_name)?;
        Ok(RecordReader::new(decoder, format, limits))
    }
}

/// One record's text, before it is read.
#[derive(Debug)]
pub(crate) struct RawRecord {
    pub(crate) index: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) line: u64,
    /// What is wrong with the text as such.
    pub(crate) fault: Option<Fault>,
}

impl<R: BufRead> RecordReader<R> {
    /// `reader` gives decoded text, such as a [`crate::Decoder`].
    pub fn new(reader: R, format: Format, limits: Limits) -> RecordReader<R> {
        RecordReader {
            lines: Lines::new(reader, 1, limits.line_bytes_max),
            format,
            limits,
            index: 0,
            content: Vec::new(),
            pending: Vec::new(),
            pending_line: 1,
            delimited: false,
            done: false,
        }
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The text of the record last returned, as a file of its own.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub(crate) fn next_raw(&mut self) -> Option<RawRecord> {
        if self.done {
            return None;
        }
        if self.index >= self.limits.records_max {
            self.done = true;
            let message = format!(
                "holds more than {} records; the rest was not read",
                self.limits.records_max
            );
            return Some(RawRecord {
                index: self.index,
                offset: self.lines.offset(),
                length: 0,
                line: self.pending_line,
                fault: Some(Fault::error("too_many_records", message)),
            });
        }
        let raw = self.gather()?;
        self.index += 1;
        Some(raw)
    }

    pub(crate) fn read_raw(&self, raw: &RawRecord) -> Result<(Molecule, Vec<Fault>), Vec<Fault>> {
        let outcome = match &raw.fault {
            Some(fault) => Err(vec![fault.clone()]),
            None => read_record(&self.content, self.format, raw.line, &self.limits),
        };
        let in_record = |faults: Vec<Fault>| {
            faults
                .into_iter()
                .map(|fault| fault.in_record(raw.index))
                .collect()
        };
        outcome
            .map(|(molecule, faults)| (molecule, in_record(faults)))
            .map_err(in_record)
    }

    fn gather(&mut self) -> Option<RawRecord> {
        self.content.clear();
        let mut state = Gathering {
            offset: self.lines.offset() - self.pending.len() as u64,
            first_line: self.pending_line,
            fault: None,
            // XYZ: lines that are still missing after the first.
            missing_lines: None,
            in_model: false,
            ended: false,
        };
        if !self.pending.is_empty() {
            self.content.append(&mut self.pending);
            state.begun_with(&self.content, self.format);
        }
        let end = loop {
            let line = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    self.done = true;
                    break self.lines.offset();
                }
                Err(fault) => {
                    let fatal = is_fatal(&fault);
                    state.fault.get_or_insert(fault);
                    if fatal {
                        self.done = true;
                        break self.lines.offset();
                    }
                    if self.format == Format::Smiles {
                        break self.lines.offset();
                    }
                    continue;
                }
            };
            self.pending_line = line.number + 1;
            match state.place(line.text, self.format, self.content.trim_ascii().is_empty()) {
                Place::Before => {
                    // Blank and comment lines between records belong to none.
                    self.content.clear();
                    state.offset = line.offset + line.raw.len() as u64;
                    state.first_line = line.number + 1;
                    state.fault = None;
                    continue;
                }
                Place::Next => {
                    self.pending_line = line.number;
                    self.pending.extend_from_slice(line.raw);
                    break line.offset;
                }
                Place::Inside | Place::Last => {}
            }
            let last = state.ended;
            if self.content.len() + line.raw.len() > self.limits.record_bytes_max {
                let message = format!(
                    "record is larger than {} bytes",
                    self.limits.record_bytes_max
                );
                state.fault.get_or_insert(
                    Fault::error("record_too_large", message).at_line(state.first_line),
                );
                self.content.clear();
            } else if state
                .fault
                .as_ref()
                .is_none_or(|fault| fault.code != "record_too_large")
            {
                self.content.extend_from_slice(line.raw);
            }
            if last {
                break line.offset + line.raw.len() as u64;
            }
        };
        self.conclude(state, end)
    }

    fn conclude(&mut self, mut state: Gathering, end: u64) -> Option<RawRecord> {
        let is_blank = self.content.trim_ascii().is_empty();
        if self.done
            && is_blank
            && state.fault.is_none()
            && (self.index > 0 || self.content.is_empty())
        {
            return None;
        }
        if matches!(self.format, Format::Sdf | Format::Mol) {
            if state.ended {
                self.delimited = true;
            } else if self.delimited
                && state.fault.is_none()
                && !ends_after_table_or_item(&self.content)
            {
                let line = self.pending_line.saturating_sub(1);
                let message = "record is cut: the file ends inside it, before its '$$$$' line";
                state.fault = Some(Fault::error("truncated", message).at_line(line));
            }
        }
        if self.format == Format::Pdbqt {
            self.strip_model_lines();
        }
        let (index, offset, line) = (self.index, state.offset, state.first_line);
        Some(RawRecord {
            index,
            offset,
            length: end.saturating_sub(offset),
            line,
            fault: state.fault,
        })
    }

    /// A pose as a file of its own has no `MODEL` and `ENDMDL`, which engines refuse. Blank lines
    /// take their place, so that line numbers stay true.
    fn strip_model_lines(&mut self) {
        if !self.content.starts_with(b"MODEL") {
            return;
        }
        let kept: Vec<&[u8]> = self
            .content
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| {
                if line.starts_with(b"MODEL") || line.starts_with(b"ENDMDL") {
                    b"\n".as_slice()
                } else {
                    line
                }
            })
            .collect();
        self.content = kept.concat();
    }
}

impl<R: BufRead> Iterator for RecordReader<R> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let raw = self.next_raw()?;
        let read = self.read_raw(&raw);
        let title = match &read {
            Ok((molecule, _)) => molecule.title.clone(),
            Err(_) => first_line_title(&self.content, self.format),
        };
        let verdict = read.map(|(molecule, warnings)| RecordInfo {
            atoms: molecule.atoms.len() as u64,
            heavy_atoms: molecule.heavy_atom_count(),
            bonds: molecule.bonds.len() as u64,
            formula: formula(&molecule),
            dimensions: molecule.dimensions,
            warnings,
        });
        let RawRecord {
            index,
            offset,
            length,
            line,
            ..
        } = raw;
        Some(Record {
            index,
            offset,
            length,
            line,
            title,
            verdict,
        })
    }
}

impl<R> std::fmt::Debug for RecordReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordReader")
            .field("format", &self.format)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// Whether the text of a last record without `$$$$` ends where a record may end: behind `M  END` or
/// behind the blank line that closes a data item.
fn ends_after_table_or_item(content: &[u8]) -> bool {
    let mut lines = split_lines(content).into_iter().rev();
    lines
        .next()
        .is_some_and(|last| last.trim_ascii().is_empty() || last.starts_with(b"M  END"))
}

/// Title of a record that could not be read, so that people can find it.
fn first_line_title(content: &[u8], format: Format) -> String {
    const TITLE_CHARS_MAX: usize = 200;
    if !matches!(format, Format::Sdf | Format::Mol | Format::Smiles) {
        return String::new();
    }
    let line = content
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    String::from_utf8_lossy(line)
        .trim()
        .chars()
        .take(TITLE_CHARS_MAX)
        .collect()
}

/// Whether nothing more can be read behind this fault.
fn is_fatal(fault: &Fault) -> bool {
    matches!(
        fault.code,
        "unreadable" | "gzip_damaged" | "compression_ratio" | "file_too_large"
    )
}

struct Gathering {
    offset: u64,
    first_line: u64,
    fault: Option<Fault>,
    missing_lines: Option<u64>,
    in_model: bool,
    ended: bool,
}

enum Place {
    /// Not of a record: blank or comment.
    Before,
    Inside,
    Last,
    /// First line of the next record.
    Next,
}

impl Gathering {
    fn begun_with(&mut self, first: &[u8], format: Format) {
        self.in_model = format == Format::Pdbqt && first.starts_with(b"MODEL");
    }

    fn place(&mut self, line: &[u8], format: Format, is_first: bool) -> Place {
        let is_blank = line.trim_ascii().is_empty();
        match format {
            Format::Pdb => Place::Inside,
            Format::Sdf | Format::Mol => {
                self.ended = line.starts_with(b"$$$$");
                if self.ended {
                    Place::Last
                } else {
                    Place::Inside
                }
            }
            Format::Mol2 if line.starts_with(b"@<TRIPOS>MOLECULE") => {
                // Comments before the first section are no record.
                if self.in_model {
                    Place::Next
                } else {
                    self.begin_model()
                }
            }
            Format::Mol2 => Place::Inside,
            Format::Pdbqt if line.starts_with(b"MODEL") => {
                if self.in_model || !is_first {
                    Place::Next
                } else {
                    self.begin_model()
                }
            }
            Format::Pdbqt if line.starts_with(b"ENDMDL") => {
                self.ended = true;
                Place::Last
            }
            Format::Pdbqt => {
                if is_blank && is_first {
                    Place::Before
                } else {
                    Place::Inside
                }
            }
            Format::Smiles if is_blank || line.starts_with(b"#") => Place::Before,
            Format::Smiles => {
                self.ended = true;
                Place::Last
            }
            Format::Xyz => self.place_xyz(line, is_blank),
        }
    }

    fn begin_model(&mut self) -> Place {
        self.in_model = true;
        Place::Inside
    }

    fn place_xyz(&mut self, line: &[u8], is_blank: bool) -> Place {
        match self.missing_lines {
            None if is_blank => return Place::Before,
            None => {
                // Without a readable count the rest of the file is one bad record.
                let count = std::str::from_utf8(line)
                    .ok()
                    .and_then(|line| line.trim().parse::<u64>().ok());
                self.missing_lines = Some(count.map_or(u64::MAX, |count| count.saturating_add(1)));
            }
            Some(missing) => self.missing_lines = Some(missing.saturating_sub(1)),
        }
        self.ended = self.missing_lines == Some(0);
        if self.ended {
            Place::Last
        } else {
            Place::Inside
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "test"
    )]
    use super::*;

    fn verdicts(text: &str, format: Format) -> Vec<Result<u64, &'static str>> {
        records(text.as_bytes(), format)
            .map(|record| {
                record
                    .verdict
                    .map(|info| info.atoms)
                    .map_err(|faults| faults[0].code)
            })
            .collect()
    }

    const ARGON: &str = "Ar\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0000    0.0000    0.0000 Ar  0  0\nM  END\n";

    #[test]
    fn sdf_records_end_at_their_delimiter() {
        let bad = ARGON.replace("Ar  0", "Xx  0");
        let text = format!("{ARGON}$$$$\n{bad}$$$$\n{ARGON}$$$$\n");
        assert_eq!(
            verdicts(&text, Format::Sdf),
            [Ok(1), Err("unknown_element"), Ok(1)]
        );
        assert_eq!(verdicts(&format!("{text}\n\n"), Format::Sdf).len(), 3);
        assert_eq!(verdicts(&format!("{text}{ARGON}"), Format::Sdf)[3], Ok(1));
        assert_eq!(
            verdicts(&format!("{text}{ARGON}>  <a>\nb\n"), Format::Sdf)[3],
            Err("truncated")
        );
        assert_eq!(
            verdicts(&text.replace('\n', "\r\n"), Format::Sdf),
            [Ok(1), Err("unknown_element"), Ok(1)]
        );
        let nul = text.replacen("Ar\n", "A\0r\n", 1);
        assert_eq!(
            verdicts(&nul, Format::Sdf),
            [Err("nul_byte"), Err("unknown_element"), Ok(1)]
        );
    }

    #[test]
    fn records_tell_where_they_stand() {
        let text = "# head\nCC a\n\nCCC b\n";
        let found: Vec<_> = records(text.as_bytes(), Format::Smiles)
            .map(|record| {
                (
                    record.index,
                    record.line,
                    &text[record.offset as usize..(record.offset + record.length) as usize],
                )
            })
            .collect();
        assert_eq!(found, [(0, 2, "CC a\n"), (1, 4, "CCC b\n")]);
    }

    #[test]
    fn other_formats_split_at_their_own_marks() {
        let mol2 = "# c\n@<TRIPOS>MOLECULE\na\n1 0\n@<TRIPOS>ATOM\n1 C 0 0 1 C.3\n# c\n@<TRIPOS>MOLECULE\nb\n2 0\n@<TRIPOS>ATOM\n1 C 0 0 1 C.3\n";
        assert_eq!(verdicts(mol2, Format::Mol2), [Ok(1), Err("wrong_count")]);
        let xyz = "1\n\nH 0 0 0\n\n2\nx\nH 0 0 0\nO 1 1 1\n3\n";
        assert_eq!(verdicts(xyz, Format::Xyz), [Ok(1), Ok(2), Err("truncated")]);
        let line =
            "ATOM      1  C   UNL     1       1.000  51.810  14.798  1.00  0.00    -0.322 C \n";
        let pdbqt = format!("MODEL 1\n{line}ENDMDL\nMODEL 2\n{line}MODEL 3\n{line}{line}ENDMDL\n");
        assert_eq!(verdicts(&pdbqt, Format::Pdbqt), [Ok(1), Ok(1), Ok(2)]);
        let mut reader = records(pdbqt.as_bytes(), Format::Pdbqt);
        reader.next().unwrap();
        assert_eq!(reader.content(), format!("\n{line}\n").as_bytes());
    }

    #[test]
    fn records_beyond_the_bound_are_reported_and_passed_over() {
        let limits = Limits {
            record_bytes_max: 300,
            ..Limits::default()
        };
        let text = format!(
            "{ARGON}$$$$\n{ARGON}{}$$$$\n{ARGON}$$$$\n",
            ">  <a>\nb\n\n".repeat(100)
        );
        let reader = RecordReader::new(text.as_bytes(), Format::Sdf, limits);
        let found: Vec<_> = reader
            .map(|record| record.verdict.map(|info| info.atoms).map_err(|f| f[0].code))
            .collect();
        assert_eq!(found, [Ok(1), Err("record_too_large"), Ok(1)]);
    }
}
