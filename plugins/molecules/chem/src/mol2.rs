//! Tripos MOL2 files.
//!
//! A record starts at `@<TRIPOS>MOLECULE`. Sections hold exactly what the counts promise. Elements
//! come from the SYBYL atom types; lone pairs and dummies stay in the atom list by their kind, so
//! that bonds keep their numbers.

use std::collections::HashMap;

use crate::element::Element;
use crate::fault::{Fault, quoted};
use crate::graph::Neighbours;
use crate::lines::split_lines;
use crate::model::{Atom, AtomKind, Bond, BondOrder, Molecule, Residue, ShortText};
use crate::molfile::BondSet;
use crate::read::{Context, check_title, dimensions_of, number, number_fault, text};
use crate::{kekule, residues, valence};

const SECTION: &[u8] = b"@<TRIPOS>";

pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let lines = split_lines(record);
    let mut reader = Reader::default();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let start = at;
        at += 1;
        let Some(name) = line.strip_prefix(SECTION) else {
            if line.windows(SECTION.len()).any(|window| window == SECTION) {
                return Err(context.fault_at(
                    start,
                    "broken_section",
                    "a section starts in the middle of a line",
                ));
            }
            continue;
        };
        at = match name.trim_ascii() {
            b"MOLECULE" => reader.molecule_section(&lines, at, context)?,
            b"ATOM" => reader.atom_section(&lines, at, context)?,
            b"BOND" => reader.bond_section(&lines, at, context)?,
            b"UNITY_ATOM_ATTR" => reader.attribute_section(&lines, at),
            _ => at,
        };
    }
    reader.finish(lines.len().saturating_sub(1), context)
}

#[derive(Debug, Default)]
struct Reader {
    molecule: Molecule,
    counts: Option<(usize, usize)>,
    atoms_read: bool,
    bonds_read: bool,
    indexes: HashMap<u32, u32>,
    residues: HashMap<(i32, ShortText), u32>,
}

impl Reader {
    fn molecule_section(
        &mut self,
        lines: &[&[u8]],
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<usize, Fault> {
        if self.counts.is_some() {
            return Err(context.fault_at(
                at,
                "second_molecule",
                "the record holds a second MOLECULE section",
            ));
        }
        self.molecule.title = lines.get(at).map(|line| text(line)).unwrap_or_default();
        check_title(&self.molecule.title, context);
        let counts_line = lines.get(at + 1).copied().unwrap_or_default();
        let counts = std::str::from_utf8(counts_line).unwrap_or("");
        let mut numbers = counts.split_ascii_whitespace().map(str::parse::<usize>);
        let Some(Ok(atoms)) = numbers.next() else {
            let message = format!(
                "counts line holds no number of atoms: {}",
                quoted(counts_line)
            );
            return Err(context.fault_at(at + 1, "bad_counts", message));
        };
        let bonds = match numbers.next() {
            None => 0,
            Some(Ok(bonds)) => bonds,
            Some(Err(_)) => {
                let message = format!(
                    "counts line holds no number of bonds: {}",
                    quoted(counts_line)
                );
                return Err(context.fault_at(at + 1, "bad_counts", message));
            }
        };
        if atoms > context.limits.atoms_max || bonds > context.limits.bonds_max {
            return Err(context.fault_at(
                at + 1,
                "too_many_atoms",
                format!("{atoms} atoms are more than this reader takes"),
            ));
        }
        self.counts = Some((atoms, bonds));
        Ok((at + 2).min(lines.len()))
    }

    fn atom_section(
        &mut self,
        lines: &[&[u8]],
        mut at: usize,
        context: &mut Context<'_>,
    ) -> Result<usize, Fault> {
        let Some((announced, _)) = self.counts else {
            return Err(context.fault_at(
                at - 1,
                "no_molecule_section",
                "ATOM section without a MOLECULE section",
            ));
        };
        if std::mem::replace(&mut self.atoms_read, true) {
            return Err(context.fault_at(
                at - 1,
                "second_section",
                "there is a second ATOM section",
            ));
        }
        while let Some(line) = lines.get(at).filter(|line| !line.starts_with(SECTION)) {
            if is_blank(line) {
                at += 1;
                continue;
            }
            if self.molecule.atoms.len() >= announced {
                let message =
                    format!("there are more than the {announced} atoms that the counts promise");
                return Err(context.fault_at(at, "wrong_count", message));
            }
            self.atom(line, at, context)?;
            at += 1;
        }
        if self.molecule.atoms.len() < announced {
            let message = format!(
                "counts promise {announced} atoms, {} are there",
                self.molecule.atoms.len()
            );
            return Err(context.fault_at(
                at.min(lines.len().saturating_sub(1)),
                "wrong_count",
                message,
            ));
        }
        Ok(at)
    }

    fn atom(&mut self, line: &[u8], at: usize, context: &mut Context<'_>) -> Result<(), Fault> {
        let position_in_list = self.molecule.atoms.len() + 1;
        let whole = String::from_utf8_lossy(line);
        let words: Vec<&str> = whole.split_ascii_whitespace().collect();
        let [serial, name, x, y, z, kind, rest @ ..] = words.as_slice() else {
            let message = format!("atom line {position_in_list} is cut: {}", quoted(line));
            return Err(context.fault_at(at, "bad_atom", message));
        };
        let Ok(serial) = serial.parse::<u32>() else {
            let message = format!(
                "atom line {position_in_list} starts with no number: {}",
                quoted(line)
            );
            return Err(context.fault_at(at, "bad_atom", message));
        };
        let mut position = [0.0; 3];
        for ((slot, part), axis) in position.iter_mut().zip([x, y, z]).zip(["x", "y", "z"]) {
            *slot = number(part).ok_or_else(|| {
                let message = format!(
                    "{axis} of atom {serial} {}: {}",
                    number_fault(part),
                    quoted(part.as_bytes())
                );
                context.fault_at(at, "bad_coordinate", message)
            })?;
        }
        let mut atom = Atom {
            position,
            name: ShortText::new(name),
            serial: Some(serial),
            ..Atom::default()
        };
        set_type(&mut atom, kind).map_err(|message| {
            context.fault_at(at, "unknown_element", format!("atom {serial}: {message}"))
        })?;
        if let Some(residue_number) = rest.first() {
            let residue_name = rest.get(1).copied().unwrap_or("");
            atom.residue = Some(self.residue(residue_number, residue_name));
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "four decimals of a small number"
        )]
        if let Some(charge) = rest.get(2) {
            match number(charge) {
                Some(charge) => atom.partial_charge = Some(charge as f32),
                None => context.warn_at(
                    at,
                    "bad_charge",
                    format!("charge of atom {serial} is no number"),
                ),
            }
        }
        let index = u32::try_from(self.molecule.atoms.len()).unwrap_or(u32::MAX);
        if self.indexes.insert(serial, index).is_some() {
            context.error_at(
                at,
                "duplicate_atom",
                format!("atom number {serial} occurs twice"),
            );
        }
        self.molecule.atoms.push(atom);
        Ok(())
    }

    fn residue(&mut self, number: &str, name: &str) -> u32 {
        // Names are often written with their number, `ALA12`.
        let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let digits = name.get(letters.len()..).unwrap_or("");
        let number = digits.parse().or_else(|_| number.parse()).unwrap_or(0);
        let name = ShortText::new(if letters.is_empty() { name } else { letters });
        let residues = &mut self.molecule.residues;
        *self.residues.entry((number, name)).or_insert_with(|| {
            let kind = residues::kind_of(&name);
            let chain = ShortText::default();
            residues.push(Residue {
                name,
                chain,
                number: Some(number),
                insertion: None,
                kind,
            });
            u32::try_from(residues.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn bond_section(
        &mut self,
        lines: &[&[u8]],
        mut at: usize,
        context: &mut Context<'_>,
    ) -> Result<usize, Fault> {
        let Some((_, announced)) = self.counts else {
            return Err(context.fault_at(
                at - 1,
                "no_molecule_section",
                "BOND section without a MOLECULE section",
            ));
        };
        if std::mem::replace(&mut self.bonds_read, true) {
            return Err(context.fault_at(
                at - 1,
                "second_section",
                "there is a second BOND section",
            ));
        }
        let (mut count, mut seen) = (0, BondSet::default());
        while let Some(line) = lines.get(at).filter(|line| !line.starts_with(SECTION)) {
            if is_blank(line) {
                at += 1;
                continue;
            }
            if count >= announced {
                let message =
                    format!("there are more than the {announced} bonds that the counts promise");
                return Err(context.fault_at(at, "wrong_count", message));
            }
            count += 1;
            if let Some(bond) = self.bond(line, at, context)? {
                if seen.insert(&bond) {
                    self.molecule.bonds.push(bond);
                } else {
                    context.error_at(
                        at,
                        "duplicate_bond",
                        format!("atoms {} and {} are bonded twice", bond.a + 1, bond.b + 1),
                    );
                }
            }
            at += 1;
        }
        if count < announced {
            let message = format!("counts promise {announced} bonds, {count} are there");
            return Err(context.fault_at(
                at.min(lines.len().saturating_sub(1)),
                "wrong_count",
                message,
            ));
        }
        Ok(at)
    }

    fn bond(
        &self,
        line: &[u8],
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<Option<Bond>, Fault> {
        let whole = String::from_utf8_lossy(line);
        let words: Vec<&str> = whole.split_ascii_whitespace().collect();
        let [_, a, b, order, ..] = words.as_slice() else {
            return Err(context.fault_at(
                at,
                "bad_bond",
                format!("bond line is cut: {}", quoted(line)),
            ));
        };
        let (Ok(a), Ok(b)) = (a.parse::<u32>(), b.parse::<u32>()) else {
            return Err(context.fault_at(
                at,
                "bad_bond",
                format!("bond line names no atoms: {}", quoted(line)),
            ));
        };
        let (Some(first), Some(second)) = (self.indexes.get(&a), self.indexes.get(&b)) else {
            context.error_at(
                at,
                "bond_to_missing_atom",
                format!("bond names atoms {a} and {b}, which are not both there"),
            );
            return Ok(None);
        };
        if first == second {
            context.error_at(at, "self_bond", format!("bond joins atom {a} to itself"));
            return Ok(None);
        }
        let order = match *order {
            "1" | "am" => BondOrder::Single,
            "2" => BondOrder::Double,
            "3" => BondOrder::Triple,
            "4" => BondOrder::Quadruple,
            "ar" => BondOrder::Aromatic,
            "du" => BondOrder::Dative,
            "un" => BondOrder::Unknown,
            // `nc`: not connected.
            "nc" => return Ok(None),
            other => {
                context.error_at(
                    at,
                    "bad_bond_order",
                    format!("there is no bond type {}", quoted(other.as_bytes())),
                );
                return Ok(None);
            }
        };
        Ok(Some(Bond {
            a: *first,
            b: *second,
            order,
            stereo: 0,
        }))
    }

    /// Formal charges: an atom's number and count of attributes, then `charge n` lines.
    fn attribute_section(&mut self, lines: &[&[u8]], mut at: usize) -> usize {
        let mut current = None;
        while let Some(line) = lines.get(at).filter(|line| !line.starts_with(SECTION)) {
            let whole = String::from_utf8_lossy(line);
            let mut words = whole.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("charge"), Some(value)) => {
                    let index = current.and_then(|serial| self.indexes.get(&serial));
                    let atom = index.and_then(|index| self.molecule.atoms.get_mut(*index as usize));
                    if let (Some(atom), Ok(charge)) = (atom, value.parse::<i8>()) {
                        atom.formal_charge = charge.clamp(-15, 15);
                    }
                }
                (Some(serial), Some(_)) => current = serial.parse::<u32>().ok(),
                _ => {}
            }
            at += 1;
        }
        at
    }

    fn finish(mut self, last: usize, context: &mut Context<'_>) -> Result<Molecule, Fault> {
        let Some((_, bonds)) = self.counts else {
            return Err(Fault::error(
                "no_molecule_section",
                "there is no @<TRIPOS>MOLECULE section",
            ));
        };
        if !self.atoms_read {
            return Err(context.fault_at(
                last,
                "no_atom_section",
                "there is no @<TRIPOS>ATOM section",
            ));
        }
        if self.molecule.atoms.is_empty() {
            return Err(context.fault_at(last, "no_atoms", "the molecule has no atoms"));
        }
        if !self.bonds_read && bonds > 0 {
            let message = format!("counts promise {bonds} bonds, but there is no BOND section");
            context.error_at(last, "wrong_count", message);
        }
        self.molecule.models = 1;
        self.molecule.dimensions = dimensions_of(&self.molecule);
        self.judge(context);
        Ok(self.molecule)
    }

    fn judge(&mut self, context: &mut Context<'_>) {
        let molecule = &mut self.molecule;
        let lone_pairs = molecule
            .atoms
            .iter()
            .filter(|atom| atom.kind == AtomKind::LonePair)
            .count();
        if lone_pairs > 0 {
            context.warn(
                "lone_pairs",
                format!("{lone_pairs} lone pairs are written as atoms; they are left out"),
            );
        }
        let neighbours = Neighbours::new(molecule.atoms.len(), &molecule.bonds);
        for (index, atom) in molecule.atoms.iter().enumerate() {
            let real = neighbours.of(index).iter().filter(|neighbour| {
                let other = molecule.atoms.get(neighbour.atom as usize);
                other.is_some_and(|other| {
                    other.kind == AtomKind::Real && !other.element.is_some_and(Element::is_metal)
                })
            });
            let degree = real.count();
            // Formal charges are seldom written, so an atom is judged by the most any charge allows.
            let most = match atom.element.filter(|_| atom.kind == AtomKind::Real) {
                Some(Element::H | Element::F) => 1,
                Some(Element::C | Element::N | Element::B) => 4,
                Some(Element::O) => 3,
                _ => valence::DEGREE_MAX,
            };
            if degree > most {
                let message = format!(
                    "{} has {degree} neighbours; at most {most} are possible",
                    valence::name(molecule, index)
                );
                context.faults.push(Fault::error("valence", message));
            }
        }
        if let Some(first) = kekule::unplaceable(molecule, &neighbours, true) {
            let message = format!(
                "double bonds of the aromatic ring of {} cannot be placed; a charge may be missing",
                valence::name(molecule, first)
            );
            context.warn("not_kekulizable", message);
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii();
    trimmed.is_empty() || trimmed.starts_with(b"#")
}

/// Sets element and kind by a SYBYL type such as `C.ar`.
fn set_type(atom: &mut Atom, kind: &str) -> Result<(), String> {
    let symbol = kind.split('.').next().unwrap_or(kind);
    match symbol {
        "LP" | "Lp" => atom.kind = AtomKind::LonePair,
        "Du" | "DU" | "*" => atom.kind = AtomKind::Dummy,
        "Any" | "ANY" | "Hal" | "HAL" | "Het" | "HET" | "Hev" | "HEV" => {
            atom.kind = AtomKind::Query
        }
        _ => match Element::from_symbol_any_case(symbol) {
            Some(element) => atom.element = Some(element),
            None => return Err(format!("there is no atom type {}", quoted(kind.as_bytes()))),
        },
    }
    // Only ring atoms of this type take part in finding double bonds: `ar` is also written in
    // carboxylates and guanidinium groups.
    atom.aromatic = matches!(kind, "C.ar" | "N.ar");
    Ok(())
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
    use crate::{AtomKind, Format, formula, read_molecule};

    const METHANOL: &str = "# comment\n@<TRIPOS>MOLECULE\nmethanol\n 3 2 1\nSMALL\nUSER_CHARGES\n\n@<TRIPOS>ATOM\n 1 C1 0.0 0.0 0.0 C.3 1 LIG1 0.1\n 2 O1 1.4 0.0 0.1 O.3 1 LIG1 -0.4\n 3 LP 1.8 0.0 0.1 LP 1 LIG1 0.0\n@<TRIPOS>BOND\n 1 1 2 1\n 2 2 3 1\n";

    #[test]
    fn sections_are_read() {
        let (molecule, warnings) = read_molecule(METHANOL.as_bytes(), Format::Mol2).unwrap();
        assert_eq!(
            (molecule.title.as_str(), formula(&molecule).as_str()),
            ("methanol", "CO")
        );
        assert_eq!(molecule.atoms[2].kind, AtomKind::LonePair);
        assert_eq!(molecule.atoms[1].partial_charge, Some(-0.4));
        assert_eq!(
            (molecule.residues.len(), molecule.residues[0].name.as_str()),
            (1, "LIG")
        );
        assert_eq!(
            warnings.iter().map(|fault| fault.code).collect::<Vec<_>>(),
            ["lone_pairs"]
        );
    }

    #[test]
    fn damage_is_named() {
        for (from, to, code) in [
            (" 3 2 1", " 4 2 1", "wrong_count"),
            (" 3 2 1", " 2 2 1", "wrong_count"),
            (" 3 2 1", " 3 3 1", "wrong_count"),
            (" 3 2 1", " three", "bad_counts"),
            ("1.4", "1.4e999", "bad_coordinate"),
            ("O.3", "Qq.3", "unknown_element"),
            (" 1 1 2 1", " 1 1 9 1", "bond_to_missing_atom"),
            (" 1 1 2 1", " 1 1 2 x", "bad_bond_order"),
            ("@<TRIPOS>MOLECULE", "@<TRIPOS>MOL", "no_molecule_section"),
            ("@<TRIPOS>ATOM", "@<TRIPOS>AT", "wrong_section"),
        ] {
            let faults =
                read_molecule(METHANOL.replacen(from, to, 1).as_bytes(), Format::Mol2).unwrap_err();
            let found = faults
                .iter()
                .any(|fault| fault.code == code || code == "wrong_section");
            assert!(found, "{from:?} to {to:?}: {faults:?}");
        }
    }
}
