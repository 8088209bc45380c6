//! SDF files with V2000 molfiles: elements, coordinates, bonds, and data items.
//!
//! Charges, stereo and everything after the bonds but the data items are left out: poses are
//! compared by where their heavy atoms are.

use std::collections::BTreeMap;

/// An atom; positions are in angstrom.
#[derive(Debug, Clone, PartialEq)]
pub struct Atom {
    pub element: String,
    pub position: [f64; 3],
}

/// One record of an SDF file.
#[derive(Debug, Clone, PartialEq)]
pub struct Molecule {
    pub name: String,
    pub atoms: Vec<Atom>,
    /// Indices into `atoms`, and the bond's order as the file says it (4 is aromatic).
    pub bonds: Vec<(usize, usize, u8)>,
    /// `> <name>` items, their lines joined.
    pub data: BTreeMap<String, String>,
}

impl Molecule {
    /// All but hydrogens.
    pub fn heavy_atoms(&self) -> impl Iterator<Item = &Atom> {
        self.atoms.iter().filter(|atom| atom.element != "H")
    }
}

/// A file that this reader does not take.
#[derive(Debug, thiserror::Error)]
#[error("record {record}, line {line} of it: {what}")]
pub struct MolfileError {
    /// From 1.
    pub record: usize,
    /// From 1.
    pub line: usize,
    pub what: &'static str,
}

/// All records of an SDF file; a molfile alone is a file of one.
///
/// # Errors
/// At the first record that is not a V2000 molfile.
pub fn read_sdf(text: &str) -> Result<Vec<Molecule>, MolfileError> {
    let mut lines = Vec::new();
    let mut molecules = Vec::new();
    for line in text.lines() {
        if line.trim_end() == "$$$$" {
            molecules.push(read_record(&lines, molecules.len() + 1)?);
            lines.clear();
        } else {
            lines.push(line);
        }
    }
    if lines.iter().any(|line| !line.trim().is_empty()) {
        molecules.push(read_record(&lines, molecules.len() + 1)?);
    }
    Ok(molecules)
}

const COUNTS_LINE: usize = 3;

fn read_record(lines: &[&str], record: usize) -> Result<Molecule, MolfileError> {
    let fault = |line: usize, what| MolfileError {
        record,
        line: line + 1,
        what,
    };
    let line_at = |at: usize| {
        lines
            .get(at)
            .copied()
            .ok_or_else(|| fault(at, "the file ends"))
    };
    let counts = line_at(COUNTS_LINE)?;
    if counts.contains("V3000") {
        return Err(fault(COUNTS_LINE, "V3000 is not read here"));
    }
    let count = |from, to| {
        column::<usize>(counts, from, to)
            .ok_or_else(|| fault(COUNTS_LINE, "no counts of atoms and bonds"))
    };
    let (atom_count, bond_count) = (count(0, 3)?, count(3, 6)?);

    let mut atoms = Vec::new();
    for at in COUNTS_LINE + 1..=COUNTS_LINE + atom_count {
        let line = line_at(at)?;
        atoms.push(read_atom(line).ok_or_else(|| fault(at, "not an atom"))?);
    }
    let mut bonds = Vec::new();
    let first_bond = COUNTS_LINE + atom_count + 1;
    for at in first_bond..first_bond + bond_count {
        let line = line_at(at)?;
        let bond = read_bond(line, atom_count).ok_or_else(|| fault(at, "not a bond"))?;
        bonds.push(bond);
    }
    Ok(Molecule {
        name: line_at(0)?.trim().to_owned(),
        atoms,
        bonds,
        data: read_data(lines.get(first_bond + bond_count..).unwrap_or_default()),
    })
}

fn read_atom(line: &str) -> Option<Atom> {
    let symbol = line.get(30..34.min(line.len()))?.trim();
    // Isotopes of hydrogen are hydrogens here.
    let element = if matches!(symbol, "D" | "T") {
        "H"
    } else {
        symbol
    };
    Some(Atom {
        element: element.to_owned(),
        position: [
            column(line, 0, 10)?,
            column(line, 10, 20)?,
            column(line, 20, 30)?,
        ],
    })
}

fn read_bond(line: &str, atoms: usize) -> Option<(usize, usize, u8)> {
    let end = |from, to| {
        let number = column::<usize>(line, from, to)?;
        number.checked_sub(1).filter(|&index| index < atoms)
    };
    Some((end(0, 3)?, end(3, 6)?, column(line, 6, 9)?))
}

fn read_data(lines: &[&str]) -> BTreeMap<String, String> {
    let mut data = BTreeMap::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let name = line
            .strip_prefix('>')
            .and_then(|rest| rest.split_once('<')?.1.split_once('>'));
        if let Some((name, _)) = name {
            let value: Vec<&str> = lines
                .by_ref()
                .map(|line| line.trim_end())
                .take_while(|line| !line.is_empty())
                .collect();
            data.insert(name.to_owned(), value.join("\n"));
        }
    }
    data
}

fn column<T: std::str::FromStr>(line: &str, from: usize, to: usize) -> Option<T> {
    line.get(from..to.min(line.len()))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    const METHANOL: &str = "methanol
  by hand

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.4000    0.0000   -0.5000 O   0  0
    1.7000    0.9000    0.0000 D   0  0
  1  2  1  0
  2  3  1  0
M  END
> <rank>
1

>  <note>  (7)
two
lines

$$$$
";

    #[test]
    fn records_are_read_with_their_data() {
        let molecules = read_sdf(&format!("{METHANOL}{METHANOL}")).unwrap();
        assert_eq!(molecules.len(), 2);
        let molecule = &molecules[1];
        assert_eq!(molecule.name, "methanol");
        assert_eq!(molecule.heavy_atoms().count(), 2);
        assert_eq!(molecule.atoms[1].position, [1.4, 0.0, -0.5]);
        assert_eq!(molecule.bonds, [(0, 1, 1), (1, 2, 1)]);
        assert_eq!(molecule.data["rank"], "1");
        assert_eq!(molecule.data["note"], "two\nlines");
    }

    #[test]
    fn a_damaged_record_is_named() {
        let damaged = METHANOL.replace("  2  3  1  0", "  2  9  1  0");
        let fault = read_sdf(&format!("{METHANOL}{damaged}")).unwrap_err();
        assert_eq!((fault.record, fault.line), (2, 9));
        let cut: String = METHANOL
            .lines()
            .take(6)
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(read_sdf(&cut).is_err());
    }
}
