//! SMILES: one molecule per line, its name behind the first blank.
//!
//! A hand-written reader with an explicit stack, so that depth costs memory and not the call
//! stack. Hydrogens follow the OpenSMILES rules; stereo marks are checked for their place and
//! otherwise passed over. Aromatic atoms must lie in rings whose double bonds can be placed.

use std::collections::HashMap;

use crate::element::Element;
use crate::fault::{Fault, quoted};
use crate::graph::{Neighbours, ring_bonds};
use crate::lines::split_lines;
use crate::model::{Atom, AtomKind, Bond, BondOrder, Dimensions, Molecule, ShortText};
use crate::molfile::BondSet;
use crate::read::{Context, text};
use crate::{kekule, valence};

pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let lines = split_lines(record);
    let (at, line) = lines
        .iter()
        .enumerate()
        .find(|(_, line)| !line.trim_ascii().is_empty())
        .ok_or_else(|| context.fault_at(0, "empty_record", "holds no SMILES"))?;
    if lines
        .iter()
        .skip(at + 1)
        .any(|line| !line.trim_ascii().is_empty())
    {
        context.warn_at(
            at + 1,
            "several_molecules",
            "further lines are left out; only the first molecule is read",
        );
    }
    let line = line.trim_ascii_start();
    let end = line
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(line.len());
    let (smiles, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    let (mut molecule, bracketed) =
        parse(smiles, context.limits.atoms_max).map_err(|(column, message)| {
            context.fault_at(at, "bad_smiles", format!("column {column}: {message}"))
        })?;
    molecule.title = text(rest);
    crate::read::check_title(&molecule.title, context);
    judge(&mut molecule, &bracketed, at, context);
    Ok(molecule)
}

/// Whether a word reads as SMILES, for sniffing; valences are not judged.
pub(crate) fn is_smiles(word: &[u8]) -> bool {
    !word.is_empty() && parse(word, 100_000).is_ok()
}

type Refusal = (usize, String);

/// The molecule, and for each atom whether it stands in brackets, which say all its hydrogens.
fn parse(smiles: &[u8], atoms_max: usize) -> Result<(Molecule, Vec<bool>), Refusal> {
    let mut parser = Parser {
        smiles,
        atoms_max,
        ..Parser::default()
    };
    while let Some(byte) = parser.peek() {
        parser.step(byte)?;
    }
    parser.finish()
}

fn judge(molecule: &mut Molecule, bracketed: &[bool], at: usize, context: &mut Context<'_>) {
    let in_ring = ring_bonds(molecule.atoms.len(), &molecule.bonds);
    for (bond, in_ring) in molecule.bonds.iter_mut().zip(&in_ring) {
        // An unmarked bond between two rings is a single one.
        if bond.order == BondOrder::Aromatic && !in_ring {
            bond.order = BondOrder::Single;
        }
    }
    let mut atom_in_ring = vec![false; molecule.atoms.len()];
    for (bond, _) in molecule
        .bonds
        .iter()
        .zip(&in_ring)
        .filter(|(_, in_ring)| **in_ring)
    {
        for end in [bond.a, bond.b] {
            if let Some(flag) = atom_in_ring.get_mut(end as usize) {
                *flag = true;
            }
        }
    }
    let stray = molecule
        .atoms
        .iter()
        .zip(&atom_in_ring)
        .position(|(atom, in_ring)| atom.aromatic && !in_ring);
    if let Some(stray) = stray {
        let message = format!(
            "{} is written as aromatic but is in no ring",
            valence::name(molecule, stray)
        );
        context.error_at(at, "aromatic_outside_ring", message);
        return;
    }
    let neighbours = Neighbours::new(molecule.atoms.len(), &molecule.bonds);
    valence::add_implicit_hydrogens(molecule, &neighbours, |index| {
        !bracketed.get(index).copied().unwrap_or(true)
    });
    let before = context.faults.has_error();
    valence::check(molecule, &neighbours, &mut context.faults);
    if context.faults.has_error() && !before {
        return;
    }
    if let Some(first) = kekule::unplaceable(molecule, &neighbours, true) {
        let message = format!(
            "double bonds of the aromatic ring of {} cannot be placed",
            valence::name(molecule, first)
        );
        context.error_at(at, "not_kekulizable", message);
    }
}

#[derive(Debug, Default)]
struct Parser<'a> {
    smiles: &'a [u8],
    at: usize,
    atoms_max: usize,
    molecule: Molecule,
    bracketed: Vec<bool>,
    /// The atom the next one is bonded to.
    previous: Option<u32>,
    /// Atoms to return to at `)`; as deep as the line is long.
    branches: Vec<(Option<u32>, usize)>,
    rings: HashMap<u32, OpenRing>,
    bond: Option<(BondOrder, usize)>,
    seen: BondSet,
}

#[derive(Debug)]
struct OpenRing {
    atom: u32,
    bond: Option<BondOrder>,
    column: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.smiles.get(self.at).copied()
    }

    fn peek_second(&self) -> Option<u8> {
        self.smiles.get(self.at + 1).copied()
    }

    fn refuse<T>(&self, message: impl Into<String>) -> Result<T, Refusal> {
        Err((self.at + 1, message.into()))
    }

    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        match byte {
            b'[' => self.bracket_atom(),
            b'A'..=b'Z' | b'a'..=b'z' | b'*' => self.plain_atom(byte),
            b'-' | b'=' | b'#' | b'$' | b':' | b'/' | b'\\' | b'~' => self.bond_mark(byte),
            b'0'..=b'9' | b'%' => self.ring_mark(),
            b'(' => {
                if self.previous.is_none() {
                    return self.refuse("a branch opens before any atom");
                }
                if let Some((_, column)) = self.bond {
                    return Err((column, "a bond stands before a branch".to_owned()));
                }
                self.branches
                    .push((self.previous, self.molecule.atoms.len()));
                self.at += 1;
                Ok(())
            }
            b')' => {
                if let Some((_, column)) = self.bond {
                    return Err((column, "a bond leads nowhere".to_owned()));
                }
                match self.branches.pop() {
                    Some((_, atoms)) if atoms == self.molecule.atoms.len() => {
                        self.refuse("a branch is empty")
                    }
                    Some((atom, _)) => {
                        self.previous = atom;
                        self.at += 1;
                        Ok(())
                    }
                    None => self.refuse("a branch closes that was never opened"),
                }
            }
            b'.' => {
                if let Some((_, column)) = self.bond {
                    return Err((column, "a bond leads nowhere".to_owned()));
                }
                if self.previous.is_none() {
                    return self.refuse("a part of the molecule is empty");
                }
                self.previous = None;
                self.at += 1;
                Ok(())
            }
            b'>' => self.refuse("this is a reaction; only molecules can be read"),
            other => {
                let rest = self.smiles.get(self.at..=self.at).unwrap_or_default();
                self.refuse(if other.is_ascii() {
                    format!("{} has no meaning in SMILES", quoted(rest))
                } else {
                    format!("byte 0x{other:02x} has no meaning in SMILES")
                })
            }
        }
    }

    fn plain_atom(&mut self, byte: u8) -> Result<(), Refusal> {
        let (symbol, length): (&str, usize) = match (byte, self.peek_second()) {
            (b'C', Some(b'l')) => ("Cl", 2),
            (b'B', Some(b'r')) => ("Br", 2),
            (b'*', _) => ("*", 1),
            (b'B' | b'b', _) => ("B", 1),
            (b'C' | b'c', _) => ("C", 1),
            (b'N' | b'n', _) => ("N", 1),
            (b'O' | b'o', _) => ("O", 1),
            (b'P' | b'p', _) => ("P", 1),
            (b'S' | b's', _) => ("S", 1),
            (b'F', _) => ("F", 1),
            (b'I', _) => ("I", 1),
            _ => {
                let rest = self.smiles.get(self.at..=self.at).unwrap_or_default();
                return self.refuse(format!(
                    "{} must stand in brackets or is no element",
                    quoted(rest)
                ));
            }
        };
        let mut atom = Atom {
            element: Element::from_symbol(symbol),
            name: ShortText::new(symbol),
            aromatic: byte.is_ascii_lowercase(),
            ..Atom::default()
        };
        if symbol == "*" {
            atom.kind = AtomKind::Dummy;
        }
        self.add_atom(atom, false)?;
        self.at += length;
        Ok(())
    }

    /// `[13C@@H2+2:7]`.
    fn bracket_atom(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        self.at += 1;
        let isotope = self.digits(4)?.unwrap_or(0);
        let mut atom = Atom {
            isotope: u16::try_from(isotope).unwrap_or(0),
            ..Atom::default()
        };
        self.bracket_symbol(&mut atom)?;
        self.chirality();
        if self.peek() == Some(b'H') {
            self.at += 1;
            let count = self.digits(2)?.unwrap_or(1);
            atom.implicit_hydrogens = u8::try_from(count).unwrap_or(u8::MAX);
        }
        if let Some(sign @ (b'+' | b'-')) = self.peek() {
            self.at += 1;
            let mut size = 1;
            if let Some(number) = self.digits(2)? {
                size = number;
            } else {
                while self.peek() == Some(sign) {
                    size += 1;
                    self.at += 1;
                }
            }
            let Some(size) = i8::try_from(size).ok().filter(|size| *size <= 15) else {
                return self.refuse("charge is more than 15");
            };
            atom.formal_charge = if sign == b'-' { -size } else { size };
        }
        if self.peek() == Some(b':') {
            self.at += 1;
            if self.digits(9)?.is_none() {
                return self.refuse("an atom class needs a number");
            }
        }
        if self.peek() != Some(b']') {
            self.at = self.at.min(self.smiles.len());
            return if self.peek().is_none() {
                Err((start + 1, "a bracket is never closed".to_owned()))
            } else {
                self.refuse("the bracket atom cannot be read from here on")
            };
        }
        self.add_atom(atom, true)?;
        self.at += 1;
        Ok(())
    }

    fn bracket_symbol(&mut self, atom: &mut Atom) -> Result<(), Refusal> {
        let two = self
            .smiles
            .get(self.at..self.at + 2)
            .and_then(|two| std::str::from_utf8(two).ok());
        let one = self
            .smiles
            .get(self.at..=self.at)
            .and_then(|one| std::str::from_utf8(one).ok())
            .unwrap_or("");
        if one == "*" {
            atom.kind = AtomKind::Dummy;
            atom.name = ShortText::new("*");
            self.at += 1;
            return Ok(());
        }
        let aromatic_two = two.filter(|two| matches!(*two, "se" | "as" | "te" | "si"));
        let found = if let Some(two) = aromatic_two {
            atom.aromatic = true;
            Element::from_symbol_any_case(two).map(|element| (element, 2))
        } else if matches!(one, "b" | "c" | "n" | "o" | "p" | "s") {
            atom.aromatic = true;
            Element::from_symbol_any_case(one).map(|element| (element, 1))
        } else {
            let by_two = two
                .and_then(Element::from_symbol)
                .map(|element| (element, 2));
            by_two.or_else(|| Element::from_symbol(one).map(|element| (element, 1)))
        };
        if let Some((element, length)) = found {
            atom.element = Some(element);
            atom.name = ShortText::new(element.symbol());
            self.at += length;
            return Ok(());
        }
        if matches!(one, "D" | "T") {
            atom.element = Some(Element::H);
            atom.isotope = if one == "D" { 2 } else { 3 };
            atom.name = ShortText::new("H");
            self.at += 1;
            return Ok(());
        }
        let rest = self.smiles.get(self.at..).unwrap_or_default();
        self.refuse(format!(
            "there is no element at {}",
            quoted(rest.get(..4).unwrap_or(rest))
        ))
    }

    /// `@`, `@@`, and the named classes such as `@TH1`, `@OH12`.
    fn chirality(&mut self) {
        if self.peek() != Some(b'@') {
            return;
        }
        self.at += 1;
        if self.peek() == Some(b'@') {
            self.at += 1;
            return;
        }
        let class = self.smiles.get(self.at..self.at + 2).unwrap_or_default();
        if matches!(class, b"TH" | b"AL" | b"SP" | b"TB" | b"OH") {
            let digits = self.smiles.get(self.at + 2..).unwrap_or_default();
            let count = digits
                .iter()
                .take(2)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            // `[C@OH]` does not exist, but `[C@H]` does: a class always has a number.
            if count > 0 {
                self.at += 2 + count;
            }
        }
    }

    /// Digits as a number; none when there are none.
    fn digits(&mut self, length_max: usize) -> Result<Option<u32>, Refusal> {
        let rest = self.smiles.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length > length_max {
            return self.refuse("a number has too many digits");
        }
        let text = rest
            .get(..length)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .unwrap_or("");
        self.at += length;
        Ok(text.parse().ok())
    }

    fn add_atom(&mut self, atom: Atom, bracketed: bool) -> Result<(), Refusal> {
        if self.molecule.atoms.len() >= self.atoms_max {
            return self.refuse("there are more atoms than this reader takes");
        }
        let index = u32::try_from(self.molecule.atoms.len()).unwrap_or(u32::MAX);
        self.molecule.atoms.push(atom);
        self.bracketed.push(bracketed);
        let mark = self.bond.take();
        match (self.previous, mark) {
            (Some(previous), mark) => {
                let order =
                    mark.map_or_else(|| self.default_order(previous, index), |(order, _)| order);
                self.add_bond(previous, index, order)?;
            }
            (None, Some((_, column))) => {
                return Err((column, "a bond starts from no atom".to_owned()));
            }
            (None, None) => {}
        }
        self.previous = Some(index);
        Ok(())
    }

    fn default_order(&self, a: u32, b: u32) -> BondOrder {
        let aromatic = |index: u32| {
            self.molecule
                .atoms
                .get(index as usize)
                .is_some_and(|atom| atom.aromatic)
        };
        if aromatic(a) && aromatic(b) {
            BondOrder::Aromatic
        } else {
            BondOrder::Single
        }
    }

    fn add_bond(&mut self, a: u32, b: u32, order: BondOrder) -> Result<(), Refusal> {
        let bond = Bond {
            a,
            b,
            order,
            stereo: 0,
        };
        if a == b {
            return self.refuse("a ring bond joins an atom to itself");
        }
        if !self.seen.insert(&bond) {
            return self.refuse(format!("atoms {} and {} are bonded twice", a + 1, b + 1));
        }
        self.molecule.bonds.push(bond);
        Ok(())
    }

    fn bond_mark(&mut self, byte: u8) -> Result<(), Refusal> {
        if self.bond.is_some() {
            return self.refuse("two bonds stand side by side");
        }
        if self.previous.is_none() {
            return self.refuse("a bond starts from no atom");
        }
        let mut length = 1;
        let order = match byte {
            b'=' => BondOrder::Double,
            b'#' => BondOrder::Triple,
            b'$' => BondOrder::Quadruple,
            b':' => BondOrder::Aromatic,
            b'~' => BondOrder::Query,
            // `->` is the dative bond of some programs.
            b'-' if self.peek_second() == Some(b'>') => {
                length = 2;
                BondOrder::Dative
            }
            _ => BondOrder::Single,
        };
        self.bond = Some((order, self.at + 1));
        self.at += length;
        Ok(())
    }

    fn ring_mark(&mut self) -> Result<(), Refusal> {
        let column = self.at + 1;
        let Some(atom) = self.previous else {
            return self.refuse("a ring bond starts from no atom");
        };
        let number = self.ring_number()?;
        let mark = self.bond.take().map(|(order, _)| order);
        let Some(open) = self.rings.remove(&number) else {
            self.rings.insert(
                number,
                OpenRing {
                    atom,
                    bond: mark,
                    column,
                },
            );
            return Ok(());
        };
        let order = match (open.bond, mark) {
            (Some(a), Some(b)) if a != b => {
                return Err((
                    column,
                    format!("ring {number} opens and closes with different bonds"),
                ));
            }
            (Some(order), _) | (None, Some(order)) => order,
            (None, None) => self.default_order(open.atom, atom),
        };
        // A fault points at the mark, not behind it.
        let behind = std::mem::replace(&mut self.at, column - 1);
        self.add_bond(open.atom, atom, order)?;
        self.at = behind;
        Ok(())
    }

    fn ring_number(&mut self) -> Result<u32, Refusal> {
        match (self.peek(), self.peek_second()) {
            (Some(digit @ b'0'..=b'9'), _) => {
                self.at += 1;
                Ok(u32::from(digit - b'0'))
            }
            (Some(b'%'), Some(b'(')) => {
                self.at += 2;
                let number = self.digits(5)?;
                match (number, self.peek()) {
                    (Some(number), Some(b')')) => {
                        self.at += 1;
                        Ok(number)
                    }
                    _ => self.refuse("'%(' needs a number and ')'"),
                }
            }
            _ => {
                let digits = self
                    .smiles
                    .get(self.at + 1..self.at + 3)
                    .unwrap_or_default();
                let number = std::str::from_utf8(digits)
                    .ok()
                    .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                match number.and_then(|text| text.parse().ok()) {
                    Some(number) => {
                        self.at += 3;
                        Ok(number)
                    }
                    None => self.refuse("'%' needs two digits"),
                }
            }
        }
    }

    fn finish(mut self) -> Result<(Molecule, Vec<bool>), Refusal> {
        if let Some((_, column)) = self.bond {
            return Err((column, "a bond leads nowhere".to_owned()));
        }
        if !self.branches.is_empty() {
            return Err((
                self.smiles.len(),
                format!("{} branches are never closed", self.branches.len()),
            ));
        }
        if let Some(open) = self.rings.values().min_by_key(|open| open.column) {
            return Err((
                open.column,
                "a ring is opened here and never closed".to_owned(),
            ));
        }
        if self.molecule.atoms.is_empty() {
            return self.refuse("there are no atoms");
        }
        if self.previous.is_none() {
            return self.refuse("a part of the molecule is empty");
        }
        self.molecule.models = 1;
        self.molecule.has_bond_orders = true;
        self.molecule.dimensions = Dimensions::Zero;
        Ok((self.molecule, self.bracketed))
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
    use crate::{Format, formula, read_molecule};

    fn formula_of(smiles: &str) -> String {
        let (molecule, _) = read_molecule(smiles.as_bytes(), Format::Smiles)
            .unwrap_or_else(|f| panic!("{smiles}: {f:?}"));
        formula(&molecule)
    }

    #[test]
    fn formulas_count_hydrogens_that_are_not_written() {
        for (smiles, expected) in [
            ("C", "CH4"),
            ("CCO", "C2H6O"),
            ("c1ccccc1", "C6H6"),
            ("c1ccccc1c1ccccc1", "C12H10"),
            ("C1=CC=CC=C1", "C6H6"),
            ("c1ccc2ccccc2c1", "C10H8"),
            ("c1cc[nH]c1", "C4H5N"),
            ("c1ccsc1", "C4H4S"),
            ("c1ccncc1", "C5H5N"),
            ("O=c1cc[nH]cc1", "C5H5NO"),
            ("CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C8H10N4O2"),
            ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", "C8H10N4O2"),
            ("CC(=O)Oc1ccccc1C(=O)O", "C9H8O4"),
            ("[NH4+].[Cl-]", "ClH4N"),
            ("C[N+](C)(C)C", "C4H12N"),
            ("C[N+](=O)[O-]", "CH3NO2"),
            ("CN(=O)=O", "CH3NO2"),
            ("CS(=O)(=O)N", "CH5NO2S"),
            ("OP(=O)(O)O", "H3O4P"),
            ("N[C@@H](C)C(=O)O", "C3H7NO2"),
            ("F/C=C/F", "C2H2F2"),
            ("C%12CC%12", "C3H6"),
            ("C%(123)CC%(123)", "C3H6"),
            ("C1CC=1", "C3H4"),
            ("[13CH4]", "CH4"),
            ("[2H]O[2H]", "H2O"),
            ("[Fe+2]", "Fe"),
            ("[OH2:7]", "H2O"),
            ("B(O)O", "BH3O2"),
            ("[Si](C)(C)(C)C", "C4H12Si"),
            ("F[P-](F)(F)(F)(F)F", "F6P"),
            ("c1cc[n+]([O-])cc1", "C5H5NO"),
            ("C1CC1.C1CC1", "C6H12"),
            ("[C@TH1H](F)(Cl)Br", "CHBrClF"),
            ("c1cc2cccc3ccc4cccc1c4c23", "C16H10"),
        ] {
            assert_eq!(formula_of(smiles), expected, "{smiles}");
        }
    }

    #[test]
    fn faults_name_the_column() {
        for (smiles, column) in [
            ("C1CC", 2),
            ("C(C", 3),
            ("CC)", 3),
            ("C==C", 3),
            ("=C", 1),
            ("C=", 2),
            ("C()C", 3),
            ("(C)", 1),
            ("C[Xx]", 3),
            ("C[CH4", 2),
            ("CC>>CO", 3),
            ("C11", 3),
            ("C%1", 2),
            ("CJ", 2),
            ("C-1CC=1", 7),
            ("C1C1", 4),
            (".C", 1),
            ("C.", 3),
        ] {
            let faults = read_molecule(smiles.as_bytes(), Format::Smiles).unwrap_err();
            assert_eq!(faults[0].code, "bad_smiles", "{smiles}");
            assert!(
                faults[0].message.starts_with(&format!("column {column}:")),
                "{smiles}: {}",
                faults[0]
            );
        }
    }

    #[test]
    fn impossible_chemistry_is_refused() {
        for (smiles, code) in [
            ("CC(C)(C)(C)C", "valence"),
            ("FF(F)F", "valence"),
            ("C[N](C)(C)C", "valence"),
            ("c1cccc1", "not_kekulizable"),
            ("cC", "aromatic_outside_ring"),
            ("c1ccn(C)cc1", "not_kekulizable"),
            (
                "[C](Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)(Cl)Cl",
                "too_many_neighbours",
            ),
        ] {
            let faults = read_molecule(smiles.as_bytes(), Format::Smiles).unwrap_err();
            assert!(
                faults.iter().any(|fault| fault.code == code),
                "{smiles}: {faults:?}"
            );
        }
    }

    #[test]
    fn names_follow_the_first_blank() {
        let (molecule, _) = read_molecule(b"  CCO\tmy name  \n", Format::Smiles).unwrap();
        assert_eq!(molecule.title, "my name");
    }
}
