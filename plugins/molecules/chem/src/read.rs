//! Reading one record into a molecule.

use crate::fault::{Fault, Faults};
use crate::format::Format;
use crate::limits::Limits;
use crate::model::{AtomKind, Dimensions, Molecule};
use crate::{mol2, molfile, pdb, pdbqt, sdf, smiles, xyz};

/// Reads one record: a whole PDB or MOL file, or what [`crate::RecordReader::content`] gave for
/// the other formats. The text is decoded (see [`crate::decode`]); lines are counted from 1 at its
/// start.
///
/// # Errors
/// All faults of the record, when at least one of them makes it unusable.
pub fn read_molecule(record: &[u8], format: Format) -> Result<(Molecule, Vec<Fault>), Vec<Fault>> {
    read_record(record, format, 1, &Limits::default())
}

/// As [`read_molecule`], for a record that starts at `first_line` of its file.
pub(crate) fn read_record(
    record: &[u8],
    format: Format,
    first_line: u64,
    limits: &Limits,
) -> Result<(Molecule, Vec<Fault>), Vec<Fault>> {
    let mut context = Context {
        limits,
        first_line,
        faults: Faults::default(),
    };
    let outcome = match format {
        Format::Pdb => pdb::read(record, &mut context),
        Format::Pdbqt => pdbqt::read(record, &mut context),
        Format::Sdf => sdf::read(record, &mut context),
        Format::Mol => molfile::read(record, &mut context),
        Format::Mol2 => mol2::read(record, &mut context),
        Format::Smiles => smiles::read(record, &mut context),
        Format::Xyz => xyz::read(record, &mut context),
    };
    conclude(outcome, context.faults)
}

pub(crate) fn conclude(
    outcome: Result<Molecule, Fault>,
    mut faults: Faults,
) -> Result<(Molecule, Vec<Fault>), Vec<Fault>> {
    match outcome {
        Ok(molecule) if !faults.has_error() => Ok((molecule, faults.finish())),
        Ok(_) => Err(faults.finish()),
        Err(fault) => {
            faults.push(fault);
            Err(faults.finish())
        }
    }
}

/// What every reader is given and adds to.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    /// Number in the file of the record's first line.
    pub(crate) first_line: u64,
    pub(crate) faults: Faults,
}

impl Context<'_> {
    /// Number in the file of a line of the record, counted from 0.
    pub(crate) fn line(&self, index: usize) -> u64 {
        self.first_line + index as u64
    }

    pub(crate) fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        self.faults.push(Fault::warning(code, message));
    }

    pub(crate) fn warn_at(&mut self, index: usize, code: &'static str, message: impl Into<String>) {
        let line = self.line(index);
        self.faults
            .push(Fault::warning(code, message).at_line(line));
    }

    pub(crate) fn error_at(
        &mut self,
        index: usize,
        code: &'static str,
        message: impl Into<String>,
    ) {
        let fault = self.fault_at(index, code, message);
        self.faults.push(fault);
    }

    /// An error for the caller to return, where reading cannot go on.
    pub(crate) fn fault_at(
        &self,
        index: usize,
        code: &'static str,
        message: impl Into<String>,
    ) -> Fault {
        Fault::error(code, message).at_line(self.line(index))
    }
}

/// A finite number, or none. Rust's own parser also takes `nan` and `inf`, which no molecule has.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
}

/// Why a field is not a coordinate.
pub(crate) fn number_fault(text: &str) -> &'static str {
    match text.trim().parse::<f64>() {
        Ok(_) => "is not finite",
        Err(_) if text.trim().is_empty() => "is missing",
        Err(_) => "is not a number",
    }
}

/// Columns `from..=to`, counted from 1, as far as the line reaches.
pub(crate) fn columns(line: &[u8], from: usize, to: usize) -> &[u8] {
    let end = to.min(line.len());
    line.get(from - 1..end).unwrap_or_default()
}

/// As [`columns`], trimmed, when it is ASCII; empty otherwise.
pub(crate) fn field(line: &[u8], from: usize, to: usize) -> &str {
    std::str::from_utf8(columns(line, from, to))
        .unwrap_or("")
        .trim()
}

/// Text of a title or a value; bytes that are not UTF-8 are replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// What the coordinates are worth: all at one point, in one plane of constant z, or in space.
pub(crate) fn dimensions_of(molecule: &Molecule) -> Dimensions {
    let mut positions = molecule
        .atoms
        .iter()
        .filter(|atom| atom.kind != AtomKind::LonePair)
        .map(|atom| atom.position);
    let Some(first) = positions.next() else {
        return Dimensions::Zero;
    };
    let [x, y, z] = first;
    let mut dimensions = Dimensions::Zero;
    for [ax, ay, az] in positions {
        // Exact comparison is meant: a drawing repeats the same digits.
        #[expect(clippy::float_cmp, reason = "the same digits give the same number")]
        if az != z {
            return Dimensions::Three;
        }
        #[expect(clippy::float_cmp, reason = "the same digits give the same number")]
        if ax != x || ay != y {
            dimensions = Dimensions::Two;
        }
    }
    // One atom is where it says it is.
    if molecule.atoms.len() == 1 && first != [0.0; 3] {
        Dimensions::Three
    } else {
        dimensions
    }
}

/// Warns of titles that would be dangerous as file names.
pub(crate) fn check_title(title: &str, context: &mut Context<'_>) {
    if title.contains("../")
        || title.contains("..\\")
        || title.starts_with('/')
        || title.contains(":\\")
    {
        context.warn_at(
            0,
            "title_is_a_path",
            "title looks like a path; it is kept as text and never used as a file name",
        );
    }
}
