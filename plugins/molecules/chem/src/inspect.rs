//! What is in a file: counts for people, and all that is wrong with it.
//!
//! The file is read as a stream, record by record (a PDB file line by line), so memory follows the
//! largest record and not the file. A file with some good records is inspected, with the faults of
//! the bad ones; a file without any is refused with all faults found.

use std::collections::BTreeSet;
use std::io::Read;

use crate::decode::Decoder;
use crate::docking::{check_for_docking_ligand, check_for_docking_receptor};
use crate::element::Element;
use crate::fault::{Fault, Faults, Severity};
use crate::format::Format;
use crate::formula::{ElementCounts, formula};
use crate::limits::Limits;
use crate::lines::Lines;
use crate::model::{AtomKind, BoundingBox, Dimensions, Molecule, ResidueKind};
use crate::pdb::PdbReader;
use crate::read::{Context, conclude};
use crate::records::RecordReader;
use crate::{pdbqt, sniff};

/// What a file holds. Counts are sums over its good records.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    pub format: Format,
    pub gzip: bool,
    /// Readable records and unreadable ones.
    pub records: u64,
    pub bad_records: u64,
    /// Title of the first good record; untrusted text.
    pub title: String,
    /// Atoms that stand in the file, of the first model.
    pub atoms: u64,
    /// Real atoms other than hydrogen.
    pub heavy_atoms: u64,
    /// Hydrogens that follow from bonds but are not atoms of the file.
    pub implicit_hydrogens: u64,
    pub bonds: u64,
    pub residues: u64,
    /// Identifiers that are not blank, sorted.
    pub chains: Vec<String>,
    /// Hill formula with implicit hydrogens, of a file with one record.
    pub formula: Option<String>,
    /// Models of a PDB file, poses of a PDBQT file, otherwise 1.
    pub models: u64,
    /// Symbols of the elements that occur and how often, by atomic number.
    pub elements: Vec<(String, u64)>,
    pub waters: u64,
    /// Metal atoms.
    pub metals: u64,
    /// Atoms with an alternate location indicator.
    pub alt_locs: u64,
    /// Whether any hydrogen is an atom of the file.
    pub has_hydrogens: bool,
    /// The least of all records.
    pub dimensions: Dimensions,
    pub bounding_box: Option<BoundingBox>,
    /// Has residues of a protein or nucleic acid.
    pub is_polymer: bool,
    /// Is a PDBQT file with a torsion tree.
    pub is_pdbqt_ligand: bool,
    /// One per kind of warning, with the first place it occurred; those of severity
    /// [`Severity::ErrorForDocking`] say that the file cannot be docked.
    pub warnings: Vec<Fault>,
    /// Faults of the records that cannot be used.
    pub errors: Vec<Fault>,
}

/// Inspects a file in memory, with the default limits.
///
/// # Errors
/// All faults found, when nothing in the file can be used.
pub fn inspect(bytes: &[u8], file_name: &str) -> Result<Inspection, Vec<Fault>> {
    inspect_reader(bytes, file_name, &Limits::default())
}

/// Inspects a file as it is read.
///
/// # Errors
/// All faults found, when nothing in the file can be used.
pub fn inspect_reader(
    reader: impl Read,
    file_name: &str,
    limits: &Limits,
) -> Result<Inspection, Vec<Fault>> {
    let decoder = Decoder::new(reader, limits).map_err(|fault| vec![fault])?;
    let gzip = decoder.is_gzip();
    let (format, mismatch) =
        sniff::settle(decoder.head(), file_name).map_err(|fault| vec![fault])?;
    let mut gathered = Gathered::new(limits);
    gathered.warn(mismatch);
    match format {
        Format::Pdb => gathered.pdb(decoder),
        _ => gathered.records(decoder, format),
    }
    gathered.finish(format, gzip)
}

struct Gathered<'a> {
    limits: &'a Limits,
    records: u64,
    bad_records: u64,
    title: Option<String>,
    formula: String,
    atoms: u64,
    heavy_atoms: u64,
    implicit_hydrogens: u64,
    bonds: u64,
    residues: u64,
    chains: BTreeSet<String>,
    models: u64,
    elements: ElementCounts,
    waters: u64,
    metals: u64,
    alt_locs: u64,
    dimensions: Option<Dimensions>,
    bounding_box: Option<BoundingBox>,
    is_polymer: bool,
    is_pdbqt_ligand: bool,
    is_docking_result: bool,
    warnings: Vec<(Fault, u64)>,
    errors: Vec<Fault>,
    errors_dropped: u64,
}

/// Chain identifiers listed; a virus capsid has some hundreds.
const CHAINS_MAX: usize = 1_000;

impl<'a> Gathered<'a> {
    fn new(limits: &'a Limits) -> Self {
        Gathered {
            limits,
            records: 0,
            bad_records: 0,
            title: None,
            formula: String::new(),
            atoms: 0,
            heavy_atoms: 0,
            implicit_hydrogens: 0,
            bonds: 0,
            residues: 0,
            chains: BTreeSet::new(),
            models: 0,
            elements: ElementCounts::default(),
            waters: 0,
            metals: 0,
            alt_locs: 0,
            dimensions: None,
            bounding_box: None,
            is_polymer: false,
            is_pdbqt_ligand: false,
            is_docking_result: false,
            warnings: Vec::new(),
            errors: Vec::new(),
            errors_dropped: 0,
        }
    }

    fn pdb(&mut self, decoder: Decoder<'_>) {
        let mut context = Context {
            limits: self.limits,
            first_line: 1,
            faults: Faults::default(),
        };
        let mut reader = PdbReader::default();
        let mut lines = Lines::new(decoder, 1, self.limits.line_bytes_max);
        let mut read_all = || -> Result<(), Fault> {
            while let Some(line) = lines.next()? {
                reader.line(line.text, line.number, &mut context)?;
            }
            Ok(())
        };
        let outcome = read_all().and_then(|()| reader.finish(&mut context));
        self.records = 1;
        self.take(conclude(outcome, context.faults), 0);
    }

    fn records(&mut self, decoder: Decoder<'_>, format: Format) {
        let mut reader = RecordReader::new(decoder, format, self.limits.clone());
        while let Some(raw) = reader.next_raw() {
            self.records += 1;
            let outcome = reader.read_raw(&raw);
            if format == Format::Pdbqt {
                self.is_pdbqt_ligand |= pdbqt::is_ligand(reader.content());
                self.is_docking_result |= pdbqt::is_docking_result(reader.content());
            }
            self.take(outcome, raw.index);
        }
    }

    fn take(&mut self, outcome: Result<(Molecule, Vec<Fault>), Vec<Fault>>, index: u64) {
        match outcome {
            Ok((molecule, warnings)) => {
                self.warn(warnings);
                self.warn(
                    docking_warnings(&molecule)
                        .into_iter()
                        .map(|fault| fault.in_record(index)),
                );
                self.add(&molecule);
            }
            Err(faults) => {
                self.bad_records += 1;
                for fault in faults {
                    if self.errors.len() < self.limits.faults_max {
                        self.errors.push(fault);
                    } else {
                        self.errors_dropped += 1;
                    }
                }
            }
        }
    }

    fn warn(&mut self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            match self
                .warnings
                .iter_mut()
                .find(|(known, _)| known.code == fault.code)
            {
                Some((_, count)) => *count += 1,
                None => self.warnings.push((fault, 1)),
            }
        }
    }

    fn add(&mut self, molecule: &Molecule) {
        self.title.get_or_insert_with(|| molecule.title.clone());
        if self.formula.is_empty() {
            self.formula = formula(molecule);
        }
        self.atoms += molecule.atoms.len() as u64;
        self.heavy_atoms += molecule.heavy_atom_count();
        self.implicit_hydrogens += molecule.implicit_hydrogen_count();
        self.bonds += molecule.bonds.len() as u64;
        self.residues += molecule.residues.len() as u64;
        self.models += u64::from(molecule.models);
        for residue in &molecule.residues {
            if !residue.chain.is_empty()
                && self.chains.len() < CHAINS_MAX
                && !self.chains.contains(residue.chain.as_str())
            {
                self.chains.insert(residue.chain.to_string());
            }
            self.waters += u64::from(residue.kind == ResidueKind::Water);
            self.is_polymer |= residue.kind.is_polymer();
        }
        for atom in &molecule.atoms {
            if let Some(element) = atom.element.filter(|_| atom.kind == AtomKind::Real) {
                self.elements.add(element, 1);
                self.metals += u64::from(element.is_metal());
            }
            self.alt_locs += u64::from(atom.alt_loc.is_some());
        }
        self.dimensions = Some(match (self.dimensions, molecule.dimensions) {
            (Some(before), now) if before.number() < now.number() => before,
            (_, now) => now,
        });
        self.bounding_box = match (self.bounding_box, molecule.bounding_box()) {
            (Some(before), Some(now)) => {
                BoundingBox::around([&before.min, &before.max, &now.min, &now.max])
            }
            (before, now) => before.or(now),
        };
    }

    fn finish(mut self, format: Format, gzip: bool) -> Result<Inspection, Vec<Fault>> {
        if self.errors_dropped > 0 {
            let message = format!("and {} more faults in this file", self.errors_dropped);
            self.errors.push(Fault::error("more_faults", message));
        }
        if self.records == 0 {
            return Err(vec![Fault::error("empty_file", "file holds no molecule")]);
        }
        if self.records == 1 {
            self.errors.iter_mut().for_each(|fault| fault.record = None);
        }
        if self.bad_records == self.records {
            return Err(self.errors);
        }
        // Several models without scores are several ligands in a file that must hold one.
        if self.is_pdbqt_ligand && self.records > 1 && !self.is_docking_result {
            let count = usize::try_from(self.records).unwrap_or(usize::MAX);
            let mut fault = pdbqt::several_models(count).at_line(1);
            fault.severity = Severity::Error;
            self.errors.push(fault);
            return Err(self.errors);
        }
        if format == Format::Mol && self.records > 1 {
            self.warn([Fault::warning(
                "several_molecules",
                "a molfile holds one molecule; this is an SDF",
            )]);
        }
        let several = self.records > 1;
        let warnings = self
            .warnings
            .into_iter()
            .map(|(mut fault, count)| {
                if count > 1 {
                    fault.message = format!("{} (and {} more)", fault.message, count - 1);
                }
                if !several {
                    fault.record = None;
                }
                fault
            })
            .collect();
        let hydrogens = self
            .elements
            .iter()
            .any(|(element, _)| element == Element::H);
        let models = if matches!(format, Format::Pdb | Format::Pdbqt) {
            self.models
        } else {
            1
        };
        Ok(Inspection {
            format,
            gzip,
            records: self.records,
            bad_records: self.bad_records,
            title: self.title.unwrap_or_default(),
            atoms: self.atoms,
            heavy_atoms: self.heavy_atoms,
            implicit_hydrogens: self.implicit_hydrogens,
            bonds: self.bonds,
            residues: self.residues,
            chains: self.chains.into_iter().collect(),
            formula: Some(self.formula).filter(|formula| !several && !formula.is_empty()),
            models,
            elements: self
                .elements
                .iter()
                .map(|(element, count)| (element.symbol().to_owned(), count))
                .collect(),
            waters: self.waters,
            metals: self.metals,
            alt_locs: self.alt_locs,
            has_hydrogens: hydrogens,
            dimensions: self.dimensions.unwrap_or_default(),
            bounding_box: self.bounding_box,
            is_polymer: self.is_polymer,
            is_pdbqt_ligand: self.is_pdbqt_ligand,
            warnings,
            errors: self.errors,
        })
    }
}

/// What speaks against docking, as far as it is worth a word at upload, where nobody has said yet
/// what the molecule is for.
fn docking_warnings(molecule: &Molecule) -> Vec<Fault> {
    let is_receptor = molecule.atoms.len() > 1
        && molecule
            .residues
            .iter()
            .any(|residue| residue.kind.is_polymer());
    let faults = if is_receptor {
        check_for_docking_receptor(molecule)
    } else {
        check_for_docking_ligand(molecule)
    };
    let worth_a_word = |fault: &Fault| {
        fault.severity == Severity::ErrorForDocking
            || matches!(
                fault.code,
                "disconnected" | "single_atom" | "alternate_locations" | "other_molecules"
            )
    };
    faults.into_iter().filter(worth_a_word).collect()
}
