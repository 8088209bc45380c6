//! Writing molecules.
//!
//! Text that came from a file is cut to one printable line, so that no title can forge a record.

use std::fmt::Write;

use crate::element::Element;
use crate::model::{Atom, AtomKind, BondOrder, Dimensions, Molecule};

/// Atoms and bonds that three columns can count.
const V2000_MAX: usize = 999;

/// One SDF record, ended by `$$$$`: V2000, or V3000 where the molecule is too large for it.
/// Coordinates keep four decimals.
#[must_use]
pub fn sdf(molecule: &Molecule) -> String {
    let mut out = String::new();
    push_line(&mut out, &no_delimiter(one_line(&molecule.title, 80)));
    let dimensions = match molecule.dimensions {
        Dimensions::Three => "3D",
        Dimensions::Two => "2D",
        Dimensions::Zero => "  ",
    };
    push_line(&mut out, &format!("  Bindery           {dimensions}"));
    push_line(&mut out, "");
    if molecule.atoms.len() > V2000_MAX || molecule.bonds.len() > V2000_MAX {
        write_v3000(&mut out, molecule);
    } else {
        write_v2000(&mut out, molecule);
    }
    push_line(&mut out, "M  END");
    for (name, value) in &molecule.properties {
        let name = one_line(name, 200).replace(['<', '>'], "_");
        push_line(&mut out, &format!(">  <{name}>"));
        for line in value.lines().filter(|line| !line.trim().is_empty()) {
            let line = no_delimiter(one_line(line, usize::MAX));
            push_line(&mut out, &line);
        }
        push_line(&mut out, "");
    }
    push_line(&mut out, "$$$$");
    out
}

fn write_v2000(out: &mut String, molecule: &Molecule) {
    let (atoms, bonds) = (molecule.atoms.len(), molecule.bonds.len());
    push_line(
        out,
        &format!("{atoms:3}{bonds:3}  0  0  0  0  0  0  0  0999 V2000"),
    );
    for atom in &molecule.atoms {
        let [x, y, z] = atom.position;
        let symbol = molfile_symbol(atom);
        push_line(
            out,
            &format!("{x:10.4}{y:10.4}{z:10.4} {symbol:<3} 0  0  0  0  0  0  0  0  0  0  0  0"),
        );
    }
    for bond in &molecule.bonds {
        let (a, b, order, stereo) = (
            bond.a + 1,
            bond.b + 1,
            molfile_order(bond.order),
            bond.stereo,
        );
        push_line(out, &format!("{a:3}{b:3}{order:3}{stereo:3}  0  0  0"));
    }
    let charges = numbered(molecule, |atom| {
        (atom.formal_charge != 0).then_some(i32::from(atom.formal_charge))
    });
    write_pairs(out, "CHG", &charges);
    let isotopes = numbered(molecule, |atom| {
        (atom.isotope != 0).then_some(i32::from(atom.isotope))
    });
    write_pairs(out, "ISO", &isotopes);
}

fn numbered(molecule: &Molecule, value: impl Fn(&Atom) -> Option<i32>) -> Vec<(usize, i32)> {
    molecule
        .atoms
        .iter()
        .enumerate()
        .filter_map(|(index, atom)| Some((index + 1, value(atom)?)))
        .collect()
}

fn write_pairs(out: &mut String, property: &str, pairs: &[(usize, i32)]) {
    // Eight entries fit on a line.
    for chunk in pairs.chunks(8) {
        let mut line = format!("M  {property}{:3}", chunk.len());
        for (atom, value) in chunk {
            // Writing to a string cannot fail.
            let _ = write!(line, " {atom:3} {value:3}");
        }
        push_line(out, &line);
    }
}

fn write_v3000(out: &mut String, molecule: &Molecule) {
    push_line(out, "  0  0  0  0  0  0  0  0  0  0999 V3000");
    push_line(out, "M  V30 BEGIN CTAB");
    push_line(
        out,
        &format!(
            "M  V30 COUNTS {} {} 0 0 0",
            molecule.atoms.len(),
            molecule.bonds.len()
        ),
    );
    push_line(out, "M  V30 BEGIN ATOM");
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let [x, y, z] = atom.position;
        let mut line = format!(
            "M  V30 {} {} {x:.4} {y:.4} {z:.4} 0",
            index + 1,
            molfile_symbol(atom)
        );
        if atom.formal_charge != 0 {
            let _ = write!(line, " CHG={}", atom.formal_charge);
        }
        if atom.isotope != 0 {
            let _ = write!(line, " MASS={}", atom.isotope);
        }
        push_line(out, &line);
    }
    push_line(out, "M  V30 END ATOM");
    push_line(out, "M  V30 BEGIN BOND");
    for (index, bond) in molecule.bonds.iter().enumerate() {
        let order = molfile_order(bond.order);
        let wedge = match bond.stereo {
            1 => " CFG=1",
            4 => " CFG=2",
            6 => " CFG=3",
            _ => "",
        };
        push_line(
            out,
            &format!(
                "M  V30 {} {order} {} {}{wedge}",
                index + 1,
                bond.a + 1,
                bond.b + 1
            ),
        );
    }
    push_line(out, "M  V30 END BOND");
    push_line(out, "M  V30 END CTAB");
}

fn molfile_symbol(atom: &Atom) -> &'static str {
    match (atom.kind, atom.element) {
        (AtomKind::Real, Some(element)) => element.symbol(),
        (AtomKind::RGroup, _) => "R#",
        (AtomKind::Query, _) => "A",
        (AtomKind::LonePair, _) => "LP",
        _ => "*",
    }
}

fn molfile_order(order: BondOrder) -> u8 {
    match order {
        BondOrder::Single | BondOrder::Unknown | BondOrder::Quadruple => 1,
        BondOrder::Double => 2,
        BondOrder::Triple => 3,
        BondOrder::Aromatic => 4,
        BondOrder::Query => 8,
        BondOrder::Dative => 9,
        BondOrder::Hydrogen => 10,
    }
}

/// A PDB file with `END`. Numbers that overflow their columns are written in hybrid-36.
#[must_use]
pub fn pdb(molecule: &Molecule) -> String {
    let mut out = String::new();
    if !molecule.title.is_empty() {
        push_line(
            &mut out,
            &format!("TITLE     {}", one_line(&molecule.title, 70)),
        );
    }
    let mut last_chain = None;
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let residue = molecule.residue_of(atom);
        // A chain of a polymer ends with TER, so that readers do not bond across.
        let chain = residue
            .filter(|residue| residue.kind.is_polymer())
            .map(|residue| residue.chain);
        if last_chain.is_some() && chain != last_chain {
            push_line(&mut out, "TER");
        }
        last_chain = chain;
        push_line(&mut out, &pdb_atom(molecule, atom, index));
    }
    if last_chain.is_some() {
        push_line(&mut out, "TER");
    }
    push_line(&mut out, "END");
    out
}

fn pdb_atom(molecule: &Molecule, atom: &Atom, index: usize) -> String {
    let residue = molecule.residue_of(atom);
    let record = if atom.hetero || residue.is_none() {
        "HETATM"
    } else {
        "ATOM  "
    };
    let serial = number_in_columns(i64::try_from(index).unwrap_or(i64::MAX) + 1, 5);
    let symbol = atom.element.map_or("", Element::symbol);
    let name = pdb_name(&atom.name, symbol);
    let alt_loc = atom.alt_loc.unwrap_or(' ');
    let residue_name = residue.map_or("UNL", |residue| residue.name.as_str());
    let residue_name: String = residue_name.chars().take(4).collect();
    let chain = residue
        .and_then(|residue| residue.chain.chars().next())
        .unwrap_or(' ');
    let number = number_in_columns(
        residue
            .and_then(|residue| residue.number)
            .unwrap_or(1)
            .into(),
        4,
    );
    let insertion = residue.and_then(|residue| residue.insertion).unwrap_or(' ');
    let [x, y, z] = atom.position.map(coordinate);
    let occupancy = atom.occupancy.unwrap_or(1.0).clamp(-99.0, 999.0);
    let b_factor = atom.b_factor.unwrap_or(0.0).clamp(-99.0, 999.0);
    let charge = match atom.formal_charge {
        0 => String::new(),
        charge => format!(
            "{}{}",
            charge.unsigned_abs().min(9),
            if charge > 0 { '+' } else { '-' }
        ),
    };
    // A residue name of four letters takes the blank column behind it.
    let residue_name = format!("{residue_name:>3}");
    let residue_name = format!("{residue_name:<4}");
    let upper = symbol.to_ascii_uppercase();
    format!(
        "{record}{serial} {name:<4}{alt_loc}{residue_name}{chain}{number}{insertion}   {x}{y}{z}{occupancy:6.2}{b_factor:6.2}          {upper:>2}{charge:<2}"
    )
    .trim_end()
    .to_owned()
}

/// A name in four columns: one-letter elements start in the second, unless the name is too long.
fn pdb_name(name: &str, symbol: &str) -> String {
    let name = one_line(name, 4);
    let name = if name.is_empty() {
        symbol.to_ascii_uppercase()
    } else {
        name
    };
    let starts_with_symbol = name
        .get(..symbol.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(symbol));
    if name.chars().count() >= 4 || (symbol.len() == 2 && starts_with_symbol) {
        name
    } else {
        format!(" {name}")
    }
}

/// Eight columns with three decimals, or fewer where the number is wider.
fn coordinate(value: f64) -> String {
    for decimals in (0..=3).rev() {
        let text = format!("{value:8.decimals$}");
        if text.len() <= 8 {
            return text;
        }
    }
    // No structure is ten million angstrom wide; a marker keeps the columns.
    "********".to_owned()
}

/// A number in `width` columns, in hybrid-36 where decimal digits do not suffice.
fn number_in_columns(value: i64, width: u32) -> String {
    let columns = width as usize;
    let decimal = format!("{value:columns$}");
    if decimal.len() <= columns {
        return decimal;
    }
    let block = 26 * 36_i64.pow(width - 1);
    let past = value - 10_i64.pow(width);
    let (letters, past) = match past {
        0.. if past < block => (b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", past),
        0.. if past < 2 * block => (b"0123456789abcdefghijklmnopqrstuvwxyz", past - block),
        _ => return "*".repeat(columns),
    };
    let mut rest = past + 10 * 36_i64.pow(width - 1);
    let mut digits = Vec::new();
    for _ in 0..width {
        let digit = usize::try_from(rest % 36).unwrap_or(0);
        digits.push(letters.get(digit).copied().map_or('*', char::from));
        rest /= 36;
    }
    digits.into_iter().rev().collect()
}

/// A line of SDF text that does not look like the end of the record.
fn no_delimiter(line: String) -> String {
    if line.starts_with("$$$$") {
        format!(" {line}")
    } else {
        line
    }
}

fn one_line(text: &str, chars_max: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(chars_max)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
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
    use crate::{Format, read_molecule};

    #[test]
    fn overflowing_numbers_are_written_in_hybrid_36() {
        for (value, width, expected) in [
            (1, 5, "    1"),
            (99_999, 5, "99999"),
            (100_000, 5, "A0000"),
            (43_770_015, 5, "ZZZZZ"),
            (43_770_016, 5, "a0000"),
            (10_000, 4, "A000"),
            (-999, 4, "-999"),
            (-1_000, 4, "****"),
        ] {
            assert_eq!(number_in_columns(value, width), expected, "{value}");
        }
    }

    #[test]
    fn titles_and_values_cannot_forge_records() {
        let (mut molecule, _) = read_molecule(b"CCO", Format::Smiles).unwrap();
        molecule.title = "$$$$\nb".to_owned();
        molecule.properties = vec![("x>\n<y".to_owned(), "1\n\n$$$$\n2".to_owned())];
        let text = sdf(&molecule);
        assert_eq!(
            text.lines().filter(|line| line.starts_with("$$$$")).count(),
            1,
            "{text}"
        );
        let (again, _) = read_molecule(text.as_bytes(), Format::Sdf).unwrap();
        assert_eq!(
            again.properties,
            [("x_ _y".to_owned(), "1\n $$$$\n2".to_owned())]
        );
    }

    #[test]
    fn large_molecules_are_written_as_v3000() {
        let smiles = "C".repeat(1_200) + "[NH3+]";
        let (molecule, _) = read_molecule(smiles.as_bytes(), Format::Smiles).unwrap();
        let text = sdf(&molecule);
        assert!(text.contains("V3000"));
        let (again, warnings) = read_molecule(text.as_bytes(), Format::Sdf).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(crate::formula(&again), crate::formula(&molecule));
    }

    #[test]
    fn pdb_lines_keep_their_columns() {
        let line =
            "HETATM    1 ZN    ZN A 301A     10.000 -10.500  10.000  0.50 20.00          ZN2+\n";
        let (molecule, _) = read_molecule(line.as_bytes(), Format::Pdb).unwrap();
        assert_eq!(pdb(&molecule), format!("{line}END\n"));
        let (ligand, _) = read_molecule(b"1\n\nCl 1 2 3\n", Format::Xyz).unwrap();
        assert_eq!(
            pdb(&ligand),
            "HETATM    1 CL   UNL     1       1.000   2.000   3.000  1.00  0.00          CL\nEND\n"
                .replace("CL   UNL", "Cl   UNL")
        );
    }
}
