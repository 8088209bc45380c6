//! PDB files.
//!
//! A file is one record, read line by line, so that its text need not be in memory. Atoms of the
//! first model make the molecule; later models are checked and counted. Irregularities that
//! repeat on many lines are tallied and reported once, with the first line they occurred on.

use std::collections::HashMap;

use crate::contacts;
use crate::element::Element;
use crate::fault::{Fault, quoted};
use crate::lines::split_lines;
use crate::model::{Atom, AtomKind, Bond, BondOrder, Molecule, Residue, ResidueKind, ShortText};
use crate::molfile::BondSet;
use crate::pdb_fields::{AtomLine, Count, FoundElement, LineFault, find_element, is_atom_line};
use crate::read::{Context, columns, dimensions_of, field, text};
use crate::residues;

pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let mut reader = PdbReader::default();
    for (index, line) in split_lines(record).into_iter().enumerate() {
        reader.line(line, context.line(index), context)?;
    }
    reader.finish(context)
}

/// Takes lines and gives a molecule.
#[derive(Debug, Default)]
pub(crate) struct PdbReader {
    molecule: Molecule,
    residues: ResidueTable,
    tallies: Tallies,
    header_id: String,
    model_open: bool,
    models_seen: u32,
    ended: bool,
    hexadecimal_serials: bool,
    bad_lines: u32,
    connections: Vec<(u32, u32)>,
    modified: Vec<ShortText>,
    /// Atoms of all models, for the bound.
    atoms_seen: usize,
}

/// A file with so many unreadable lines is not worth more of the reader's time.
const BAD_LINES_MAX: u32 = 20;
/// Names of modified residues kept for a message.
const MODIFIED_MAX: usize = 20;

impl PdbReader {
    pub(crate) fn line(
        &mut self,
        line: &[u8],
        number: u64,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if is_atom_line(line) {
            return self.atom_line(line, number, context);
        }
        match columns(line, 1, 6) {
            b"MODEL " | b"MODEL" => {
                if self.model_open {
                    self.tallies.add(Irregularity::ModelNotClosed, number);
                }
                self.model_open = true;
                self.models_seen += 1;
                self.ended = false;
            }
            b"ENDMDL" => self.model_open = false,
            b"END   " | b"END" => self.ended = true,
            b"CONECT" => self.connect(line, number, context),
            b"HEADER" => self.header_id = field(line, 63, 66).to_owned(),
            b"TITLE " | b"COMPND" if self.molecule.title.is_empty() => {
                self.molecule.title = text(columns(line, 11, 80));
            }
            b"MODRES" if self.modified.len() < MODIFIED_MAX => {
                let name = ShortText::new(field(line, 13, 15));
                if !self.modified.contains(&name) {
                    self.modified.push(name);
                }
            }
            _ => {
                // `END` alone may carry trailing text of old archives.
                if line.starts_with(b"END ") {
                    self.ended = true;
                }
            }
        }
        Ok(())
    }

    fn atom_line(
        &mut self,
        line: &[u8],
        number: u64,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        self.atoms_seen += 1;
        if self.atoms_seen > context.limits.atoms_max {
            let message = format!("holds more than {} atoms", context.limits.atoms_max);
            return Err(Fault::error("too_many_atoms", message).at_line(number));
        }
        let read = match AtomLine::read(line, self.hexadecimal_serials) {
            Ok(read) => read,
            Err(LineFault { code, message }) => {
                context
                    .faults
                    .push(Fault::error(code, message).at_line(number));
                self.bad_lines += 1;
                if self.bad_lines >= BAD_LINES_MAX {
                    let message =
                        format!("{BAD_LINES_MAX} atom lines are unreadable; the rest was not read");
                    return Err(Fault::error("too_many_bad_lines", message).at_line(number));
                }
                return Ok(());
            }
        };
        self.tally(line, &read, number);
        if self.ended && !self.model_open {
            // Structures joined after END are further models.
            self.tallies.add(Irregularity::AtomsAfterEnd, number);
            self.models_seen = self.models_seen.max(1) + 1;
            self.ended = false;
        }
        if self.models_seen > 1 {
            return Ok(());
        }
        let mut atom = read.atom.clone();
        self.set_element(line, &read, &mut atom, number);
        self.set_charge(line, &mut atom, number);
        let index = self.residues.index_of(
            &read,
            &mut self.molecule.residues,
            &mut self.tallies,
            number,
        );
        atom.residue = Some(index);
        self.molecule.atoms.push(atom);
        Ok(())
    }

    fn tally(&mut self, line: &[u8], read: &AtomLine, number: u64) {
        match read.serial {
            Count::Hexadecimal(_) => {
                self.hexadecimal_serials = true;
                self.tallies.add(Irregularity::HexadecimalSerial, number);
            }
            Count::Overflowed => self.tallies.add(Irregularity::SerialOverflow, number),
            Count::Unreadable => self.tallies.add(Irregularity::UnreadableSerial, number),
            _ => {}
        }
        match read.residue_number {
            Count::Overflowed => self
                .tallies
                .add(Irregularity::ResidueNumberOverflow, number),
            Count::Unreadable => self
                .tallies
                .add(Irregularity::UnreadableResidueNumber, number),
            _ => {}
        }
        if read.wide_residue_number {
            self.tallies.add(Irregularity::WideResidueNumber, number);
        }
        if read.wide_residue_name {
            self.tallies.add(Irregularity::WideResidueName, number);
        }
        if line.trim_ascii_end().len() < 60 {
            self.tallies.add(Irregularity::ShortLine, number);
        }
    }

    fn set_element(&mut self, line: &[u8], read: &AtomLine, atom: &mut Atom, number: u64) {
        match find_element(line, &read.residue_name, atom.hetero) {
            FoundElement::Stated(element) => atom.element = Some(element),
            FoundElement::Deuterium => {
                atom.element = Some(Element::H);
                atom.isotope = 2;
            }
            FoundElement::Inferred(element) => {
                atom.element = Some(element);
                self.tallies.add(Irregularity::InferredElement, number);
            }
            FoundElement::Unknown => {
                atom.kind = AtomKind::Dummy;
                self.tallies.add(Irregularity::UnknownElement, number);
            }
        }
    }

    fn set_charge(&mut self, line: &[u8], atom: &mut Atom, number: u64) {
        // Archives before 1996 carry the entry's name and a line number in columns 73-80.
        let is_old_tail = !self.header_id.is_empty() && field(line, 73, 76) == self.header_id;
        let charge = field(line, 79, 80);
        if charge.is_empty() || is_old_tail {
            return;
        }
        match charge.as_bytes() {
            [digit @ b'0'..=b'9', sign @ (b'+' | b'-')] => {
                let value = i8::try_from(digit - b'0').unwrap_or(0);
                atom.formal_charge = if *sign == b'-' { -value } else { value };
            }
            [sign @ (b'+' | b'-'), digit @ b'0'..=b'9'] => {
                let value = i8::try_from(digit - b'0').unwrap_or(0);
                atom.formal_charge = if *sign == b'-' { -value } else { value };
                self.tallies.add(Irregularity::ChargeOrder, number);
            }
            b"0" => {}
            _ => self.tallies.add(Irregularity::BadCharge, number),
        }
    }

    fn connect(&mut self, line: &[u8], number: u64, context: &Context<'_>) {
        let mut serials = [(7, 11), (12, 16), (17, 21), (22, 26), (27, 31)]
            .into_iter()
            .map(|(from, to)| {
                let count = Count::read(columns(line, from, to), 5, self.hexadecimal_serials);
                (
                    count,
                    count.value().and_then(|value| u32::try_from(value).ok()),
                )
            });
        let Some((_, Some(from))) = serials.next() else {
            self.tallies.add(Irregularity::BadConnection, number);
            return;
        };
        let mut partners = Vec::new();
        for (count, serial) in serials {
            match (count, serial) {
                (_, Some(to)) => partners.push((from, to)),
                (Count::Missing, _) => {}
                _ => self.tallies.add(Irregularity::BadConnection, number),
            }
        }
        if self.connections.len() + partners.len() <= context.limits.bonds_max {
            self.connections.append(&mut partners);
        } else {
            self.tallies.add(Irregularity::ConnectionDropped, number);
        }
    }

    pub(crate) fn finish(mut self, context: &mut Context<'_>) -> Result<Molecule, Fault> {
        if self.molecule.atoms.is_empty() {
            if context.faults.has_error() {
                return Err(Fault::error("no_atoms", "no atom line could be read"));
            }
            return Err(Fault::error(
                "no_atoms",
                "holds no ATOM or HETATM lines, so there are no atoms",
            ));
        }
        if self.model_open && self.models_seen > 0 {
            self.tallies.add(Irregularity::ModelNotClosed, 0);
        }
        self.molecule.models = self.models_seen.max(1);
        self.residues.settle(&mut self.molecule.residues);
        self.bond(context);
        self.molecule.dimensions = dimensions_of(&self.molecule);
        if !self.modified.is_empty() {
            let names: Vec<&str> = self.modified.iter().map(ShortText::as_str).collect();
            let message = format!(
                "header names modified residues ({}); preparation may not know them",
                names.join(", ")
            );
            context.warn("modified_residues", message);
        }
        self.tallies.report(context);
        let clashes = contacts::waters_on_other_atoms(&self.molecule);
        if let Some((water, other)) = clashes.first {
            let (water, other) = (
                atom_name(&self.molecule, water),
                atom_name(&self.molecule, other),
            );
            let message = format!(
                "{} water molecules stand within bonding distance of another residue, first {water} at {other}; remove them before docking",
                clashes.count
            );
            context.warn("water_contact", message);
        }
        Ok(self.molecule)
    }

    /// Makes bonds of the CONECT records.
    fn bond(&mut self, context: &mut Context<'_>) {
        if self.connections.is_empty() {
            return;
        }
        let mut by_serial: HashMap<u32, Option<u32>> =
            HashMap::with_capacity(self.molecule.atoms.len());
        for (index, atom) in self.molecule.atoms.iter().enumerate() {
            if let Some(serial) = atom.serial {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                by_serial
                    .entry(serial)
                    .and_modify(|found| *found = None)
                    .or_insert(Some(index));
            }
        }
        let (mut missing, mut ambiguous) = (0_u64, 0_u64);
        let mut seen = BondSet::default();
        for (from, to) in std::mem::take(&mut self.connections) {
            match (by_serial.get(&from), by_serial.get(&to)) {
                (Some(Some(a)), Some(Some(b))) if a != b => {
                    let bond = Bond {
                        a: *a,
                        b: *b,
                        order: BondOrder::Unknown,
                        stereo: 0,
                    };
                    if seen.insert(&bond) {
                        self.molecule.bonds.push(bond);
                    }
                }
                (Some(None), _) | (_, Some(None)) => ambiguous += 1,
                _ => missing += 1,
            }
        }
        if missing > 0 {
            context.warn(
                "conect_to_missing_atom",
                format!("{missing} CONECT entries name atoms that are not there"),
            );
        }
        if ambiguous > 0 {
            let message = format!(
                "{ambiguous} CONECT entries name serial numbers that occur more than once; ignored"
            );
            context.warn("conect_ambiguous", message);
        }
        self.judge_bonds(context);
    }

    fn judge_bonds(&self, context: &mut Context<'_>) {
        let mut degrees = vec![0_u32; self.molecule.atoms.len()];
        let mut metal = None;
        for bond in &self.molecule.bonds {
            for end in [bond.a, bond.b] {
                if let Some(degree) = degrees.get_mut(end as usize) {
                    *degree += 1;
                }
                let element = self
                    .molecule
                    .atoms
                    .get(end as usize)
                    .and_then(|atom| atom.element);
                if element.is_some_and(Element::is_metal) {
                    metal.get_or_insert(end as usize);
                }
            }
        }
        if let Some(metal) = metal {
            let message = format!(
                "CONECT bonds a metal ({}); docking treats it as free",
                atom_name(&self.molecule, metal)
            );
            context.warn("metal_bond", message);
        }
        let crowded = self
            .molecule
            .atoms
            .iter()
            .zip(&degrees)
            .position(|(atom, degree)| atom.is_hydrogen() && *degree > 1);
        if let Some(hydrogen) = crowded {
            let message = format!(
                "CONECT gives hydrogen {} more than one bond",
                atom_name(&self.molecule, hydrogen)
            );
            context.warn("hypervalent_hydrogen", message);
        }
    }
}

/// An atom as people find it in a PDB file: `HOH 43 O`.
pub(crate) fn atom_name(molecule: &Molecule, index: usize) -> String {
    let Some(atom) = molecule.atoms.get(index) else {
        return String::new();
    };
    let Some(residue) = molecule.residue_of(atom) else {
        return atom.name.to_string();
    };
    let chain = if residue.chain.is_empty() {
        String::new()
    } else {
        format!("{}:", residue.chain)
    };
    let number = residue
        .number
        .map_or_else(|| "?".to_owned(), |number| number.to_string());
    let insertion = residue.insertion.map(String::from).unwrap_or_default();
    let name = format!("{chain}{} {number}{insertion} {}", residue.name, atom.name);
    // Names are untrusted; quoting takes out what a terminal would obey.
    quoted(name.as_bytes()).trim_matches('\'').to_owned()
}

/// Finds the residue of each atom line.
#[derive(Debug, Default)]
pub(crate) struct ResidueTable {
    /// By chain, number and insertion code.
    known: HashMap<(ShortText, i32, Option<char>), u32>,
    last: Option<u32>,
    /// Name of the first atom of the residue last read.
    first_name: ShortText,
    /// Backbone atoms seen, by residue.
    backbones: Vec<Backbone>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Backbone {
    n: bool,
    ca: bool,
    c: bool,
    sugar: bool,
    hetero: bool,
}

impl ResidueTable {
    pub(crate) fn index_of(
        &mut self,
        read: &AtomLine,
        residues: &mut Vec<Residue>,
        tallies: &mut Tallies,
        line: u64,
    ) -> u32 {
        let index = self
            .find(read, residues, tallies, line)
            .unwrap_or_else(|| self.add(read, residues));
        self.last = Some(index);
        if let Some(backbone) = self.backbones.get_mut(index as usize) {
            backbone.hetero |= read.atom.hetero;
            match read.atom.name.as_str() {
                "N" => backbone.n = true,
                "CA" => backbone.ca = true,
                "C" => backbone.c = true,
                "C3'" | "C3*" => backbone.sugar = true,
                _ => {}
            }
        }
        index
    }

    fn find(
        &self,
        read: &AtomLine,
        residues: &[Residue],
        tallies: &mut Tallies,
        line: u64,
    ) -> Option<u32> {
        let residue_at = |index: u32| residues.get(index as usize);
        let number = read.residue_number.value();
        if let Some(last) = self.last
            && let Some(residue) = residue_at(last)
            && (
                residue.name,
                residue.chain,
                residue.number,
                residue.insertion,
            ) == (read.residue_name, read.chain, number, read.insertion)
        {
            // Where numbers overflowed, only the return of the first atom shows a new residue.
            let starts_again = number.is_none() && read.atom.name == self.first_name;
            return (!starts_again).then_some(last);
        }
        let known = *self.known.get(&(read.chain, number?, read.insertion))?;
        let residue = residue_at(known)?;
        if residue.name != read.residue_name {
            if read.atom.alt_loc.is_some() && residue.kind != ResidueKind::Water {
                tallies.add(Irregularity::Microheterogeneity, line);
            }
            return None;
        }
        // Numbers of waters and ions start again in large systems: each run is its own molecule.
        (!matches!(residue.kind, ResidueKind::Water | ResidueKind::Ion)).then_some(known)
    }

    fn add(&mut self, read: &AtomLine, residues: &mut Vec<Residue>) -> u32 {
        let index = u32::try_from(residues.len()).unwrap_or(u32::MAX);
        let number = read.residue_number.value();
        residues.push(Residue {
            name: read.residue_name,
            chain: read.chain,
            number,
            insertion: read.insertion,
            kind: residues::kind_of(&read.residue_name),
        });
        self.backbones.push(Backbone::default());
        self.first_name = read.atom.name;
        if let Some(number) = number {
            self.known
                .insert((read.chain, number, read.insertion), index);
        }
        index
    }

    /// Decides the kind of residues that are known by no name but have a polymer's backbone.
    pub(crate) fn settle(&self, residues: &mut [Residue]) {
        for (residue, backbone) in residues.iter_mut().zip(&self.backbones) {
            if residue.kind == ResidueKind::Other && !backbone.hetero {
                if backbone.n && backbone.ca && backbone.c {
                    residue.kind = ResidueKind::AminoAcid;
                } else if backbone.sugar {
                    residue.kind = ResidueKind::Nucleotide;
                }
            }
        }
    }
}

/// What is irregular but readable, once per file however often it occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Irregularity {
    HexadecimalSerial,
    SerialOverflow,
    UnreadableSerial,
    ResidueNumberOverflow,
    UnreadableResidueNumber,
    WideResidueNumber,
    WideResidueName,
    ShortLine,
    InferredElement,
    UnknownElement,
    ChargeOrder,
    BadCharge,
    BadConnection,
    ConnectionDropped,
    ModelNotClosed,
    AtomsAfterEnd,
    Microheterogeneity,
}

impl Irregularity {
    fn code_and_text(self) -> (&'static str, &'static str) {
        match self {
            Self::HexadecimalSerial => ("serial_hexadecimal", "serial numbers are hexadecimal"),
            Self::SerialOverflow => (
                "serial_overflow",
                "serial numbers overflowed (*****); atoms are told by order",
            ),
            Self::UnreadableSerial => (
                "serial_unreadable",
                "serial numbers are unreadable; atoms are told by order",
            ),
            Self::ResidueNumberOverflow => (
                "residue_overflow",
                "residue numbers overflowed (****); residues are told by name and order",
            ),
            Self::UnreadableResidueNumber => (
                "residue_unreadable",
                "residue numbers are unreadable; residues are told by name and order",
            ),
            Self::WideResidueNumber => (
                "residue_number_wide",
                "residue numbers of five digits spill into the insertion code column",
            ),
            Self::WideResidueName => (
                "residue_name_wide",
                "residue names of four letters stand in three columns",
            ),
            Self::ShortLine => (
                "short_lines",
                "atom lines end after the coordinates; no occupancy and element",
            ),
            Self::InferredElement => (
                "element_inferred",
                "atom lines name no element; inferred from the atom names",
            ),
            Self::UnknownElement => ("element_unknown", "atoms have no known element"),
            Self::ChargeOrder => (
                "charge_order",
                "charges are written sign first; the format wants 1+",
            ),
            Self::BadCharge => (
                "bad_charge",
                "charges in columns 79-80 are unreadable and left out",
            ),
            Self::BadConnection => ("bad_conect", "CONECT lines are unreadable and left out"),
            Self::ConnectionDropped => (
                "too_many_conect",
                "CONECT lines beyond the bound are left out",
            ),
            Self::ModelNotClosed => ("model_not_closed", "MODEL without ENDMDL"),
            Self::AtomsAfterEnd => (
                "atoms_after_end",
                "another structure follows after END; only the first is used",
            ),
            Self::Microheterogeneity => (
                "microheterogeneity",
                "alternate locations have different residue names",
            ),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Tallies(Vec<(Irregularity, u64, u64)>);

impl Tallies {
    pub(crate) fn add(&mut self, what: Irregularity, line: u64) {
        // There are fewer than twenty kinds, so a list is the fastest map.
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, count, _)) => *count += 1,
            None => self.0.push((what, 1, line)),
        }
    }

    pub(crate) fn report(&self, context: &mut Context<'_>) {
        for (what, count, line) in &self.0 {
            let (code, text) = what.code_and_text();
            let message = if *count > 1 {
                format!("{text} ({count} times)")
            } else {
                text.to_owned()
            };
            let fault = Fault::warning(code, message);
            context.faults.push(if *line > 0 {
                fault.at_line(*line)
            } else {
                fault
            });
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
    use crate::{Fault, Format, Molecule, ResidueKind, read_molecule};

    fn read(text: &str) -> (Molecule, Vec<Fault>) {
        read_molecule(text.as_bytes(), Format::Pdb).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    const N: &str =
        "ATOM      1  N   MET A   1      43.812  -3.233   9.148  1.00 31.02           N1+\n";
    const CA: &str =
        "ATOM      2  CA AMET A   1      44.812  -3.233   9.148  0.50 31.02           C\n";
    const WATER: &str =
        "HETATM    3  O   HOH A   2      48.812  -3.233   9.148  1.00 31.02           O\n";

    #[test]
    fn columns_are_read() {
        let (molecule, warnings) = read(&format!("TITLE     a title\n{N}{CA}{WATER}TER\nEND\n"));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!((molecule.title.as_str(), molecule.models), ("a title", 1));
        let [n, ca, water] = molecule.atoms.as_slice() else {
            panic!()
        };
        assert_eq!(
            (n.formal_charge, n.serial, n.occupancy, n.hetero),
            (1, Some(1), Some(1.0), false)
        );
        assert_eq!(
            (ca.alt_loc, ca.name.as_str(), ca.b_factor),
            (Some('A'), "CA", Some(31.02))
        );
        assert!(water.hetero);
        let kinds: Vec<_> = molecule
            .residues
            .iter()
            .map(|residue| residue.kind)
            .collect();
        assert_eq!(kinds, [ResidueKind::AminoAcid, ResidueKind::Water]);
        assert_eq!(molecule.residues[0].chain.as_str(), "A");
    }

    #[test]
    fn only_the_first_model_counts() {
        let (molecule, warnings) = read(&format!("MODEL 1\n{N}ENDMDL\nMODEL 2\n{N}ENDMDL\nEND\n"));
        assert_eq!(
            (molecule.models, molecule.atoms.len(), warnings.len()),
            (2, 1, 0)
        );
        let (molecule, warnings) = read(&format!("{N}END\n{N}"));
        assert_eq!(
            (molecule.models, molecule.atoms.len(), warnings[0].code),
            (2, 1, "atoms_after_end")
        );
    }

    #[test]
    fn residues_of_one_number_are_told_apart_by_insertion_code() {
        let second = N.replace("A   1 ", "A   1A");
        let (molecule, _) = read(&format!("{N}{CA}{second}{N}"));
        assert_eq!(molecule.residues.len(), 2);
        assert_eq!(molecule.residues[1].insertion, Some('A'));
        assert_eq!(molecule.atoms[3].residue, Some(0));
    }

    #[test]
    fn conect_makes_bonds_and_names_strays() {
        let (molecule, warnings) = read(&format!(
            "{N}{CA}{WATER}CONECT    1    2\nCONECT    2    1\nCONECT    1   99\n"
        ));
        assert_eq!(molecule.bonds.len(), 1);
        assert_eq!(
            warnings.iter().map(|fault| fault.code).collect::<Vec<_>>(),
            ["conect_to_missing_atom"]
        );
    }

    #[test]
    fn water_on_another_atom_is_warned_of() {
        let close = WATER.replace("48.812", "45.312");
        let (_, warnings) = read(&format!("{N}{CA}{close}"));
        assert_eq!(warnings[0].code, "water_contact");
    }

    #[test]
    fn all_bad_lines_are_reported() {
        let bad = N.replace("43.812", "43.x12");
        let faults =
            read_molecule(format!("{N}{bad}{CA}{bad}").as_bytes(), Format::Pdb).unwrap_err();
        let lines: Vec<_> = faults
            .iter()
            .map(|fault| (fault.code, fault.line))
            .collect();
        assert_eq!(
            lines,
            [("bad_coordinate", Some(2)), ("bad_coordinate", Some(4))]
        );
        assert_eq!(
            read_molecule(b"HEADER    X\n", Format::Pdb).unwrap_err()[0].code,
            "no_atoms"
        );
    }
}
