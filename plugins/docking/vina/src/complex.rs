//! `complex.pdb`: the prepared receptor and the best pose in one file, for viewers and for
//! programs that look at contacts.
//!
//! The ligand is residue `LIG` in a chain of its own, as `HETATM` lines with `CONECT` records.
//! Serial numbers are given anew: Open Babel starts them again at each gap of a chain.

use std::{collections::HashSet, fmt::Write as _};

use bindery_chem::Molecule;

use crate::{
    torsion_tree::{TorsionTree, read_atom},
    vina::Model,
};

const HEADER: &str = "REMARK  prepared receptor and best pose (residue LIG)\n";
const RESIDUE: &str = "LIG";
/// Tried in this order for the ligand's chain.
const CHAINS: &str = "LXYZWVUTSRQPONMKJIHGFEDCBAabcdefghijklmnopqrstuvwxyz0123456789";

/// The file's text. `pose` is the best one as a molecule, if there are bonds.
pub(crate) fn write(receptor: &str, model: &Model, pose: Option<&Molecule>) -> String {
    let mut out = String::with_capacity(receptor.len() + 16_384);
    out.push_str(HEADER);
    let mut serial = 0_u32;
    let mut chains = HashSet::new();
    let mut open_chain = false;
    for line in receptor.lines() {
        if line.starts_with("ATOM") || line.starts_with("HETATM") {
            let Ok(atom) = read_atom(line) else { continue };
            serial += 1;
            chains.extend(line.get(21..22).and_then(|chain| chain.chars().next()));
            let record = line.get(..6).unwrap_or("ATOM  ");
            // Atom name to coordinates stay as they are.
            let middle = line.get(11..54).unwrap_or("");
            let element = atom.element().map_or("", |element| element.symbol());
            let _ = writeln!(
                out,
                "{record}{:>5}{middle}  1.00  0.00          {:>2}",
                hybrid36(serial),
                element.to_ascii_uppercase()
            );
            open_chain = true;
        } else if line.starts_with("TER") && open_chain {
            out.push_str("TER\n");
            open_chain = false;
        }
    }
    if open_chain {
        out.push_str("TER\n");
    }
    let chain = CHAINS
        .chars()
        .find(|chain| !chains.contains(chain))
        .unwrap_or('L');
    match pose {
        Some(molecule) => write_molecule(&mut out, molecule, chain, serial),
        None => write_tree(&mut out, &model.tree, chain, serial),
    }
    out.push_str("END\n");
    out
}

fn write_molecule(out: &mut String, molecule: &Molecule, chain: char, before: u32) {
    let serial = |index: usize| hybrid36(before.saturating_add(number(index)));
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let symbol = atom.element.map_or("X", |element| element.symbol());
        hetatm(out, &serial(index), symbol, index, chain, atom.position);
    }
    // At most four neighbours per record.
    for (index, _) in molecule.atoms.iter().enumerate() {
        let neighbours: Vec<usize> = molecule
            .bonds
            .iter()
            .filter_map(|bond| {
                let (a, b) = (bond.a as usize, bond.b as usize);
                (a == index)
                    .then_some(b)
                    .or_else(|| (b == index).then_some(a))
            })
            .collect();
        for few in neighbours.chunks(4) {
            let _ = write!(out, "CONECT{:>5}", serial(index));
            for &neighbour in few {
                let _ = write!(out, "{:>5}", serial(neighbour));
            }
            out.push('\n');
        }
    }
}

fn write_tree(out: &mut String, tree: &TorsionTree, chain: char, before: u32) {
    for (index, atom) in tree.atoms.iter().filter(|atom| !atom.is_glue()).enumerate() {
        let symbol = atom.element().map_or("X", |element| element.symbol());
        let serial = hybrid36(before.saturating_add(number(index)));
        hetatm(out, &serial, symbol, index, chain, atom.position);
    }
}

/// From 1.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX - 1) + 1
}

fn hetatm(
    out: &mut String,
    serial: &str,
    symbol: &str,
    index: usize,
    chain: char,
    [x, y, z]: [f64; 3],
) {
    let upper = symbol.to_ascii_uppercase();
    // Names are unique while three digits last; one-letter elements start in column 14.
    let mut name = format!("{upper}{}", number(index) % 1000);
    if upper.len() == 1 && name.len() < 4 {
        name.insert(0, ' ');
    }
    name.truncate(4);
    let _ = writeln!(
        out,
        "HETATM{serial:>5} {name:<4} {RESIDUE} {chain}   1    {x:>8.3}{y:>8.3}{z:>8.3}  1.00  \
         0.00          {upper:>2}"
    );
}

/// Five characters for a serial number: decimal up to 99,999, then the hybrid-36 scheme that
/// viewers read (`A0000` is 100,000).
fn hybrid36(serial: u32) -> String {
    if serial < 100_000 {
        return serial.to_string();
    }
    // 36^4 times the leading letter A (10).
    let mut rest = u64::from(serial) - 100_000 + 10 * 1_679_616;
    let mut digits = [b'0'; 5];
    for digit in digits.iter_mut().rev() {
        let value = u8::try_from(rest % 36).unwrap_or(0);
        *digit = if value < 10 {
            b'0' + value
        } else {
            b'A' + value - 10
        };
        rest /= 36;
    }
    String::from_utf8_lossy(&digits).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn serials_pass_one_hundred_thousand() {
        assert_eq!(hybrid36(99_999), "99999");
        assert_eq!(hybrid36(100_000), "A0000");
        assert_eq!(hybrid36(100_035), "A000Z");
        assert_eq!(hybrid36(100_036), "A0010");
    }

    #[test]
    fn columns_and_chains_are_right() {
        let receptor = "\
REMARK  Name = receptor
ATOM      1  N   MET L   1      43.812  -3.233   9.148  0.00  0.00    -0.300 NA
ATOM      1 ZN   ZN  A 900      40.000  -3.233   9.148  0.00  0.00    +0.000 Zn
";
        let model = crate::vina::read_models(
            "MODEL 1\nREMARK VINA RESULT: -1 0 0\nROOT\n\
             ATOM      1  C   UNL     1      27.357   6.772   3.388  0.00  0.00    +0.000 A \n\
             ENDROOT\nTORSDOF 0\nENDMDL\n",
        )
        .unwrap()
        .remove(0);
        let text = write(receptor, &model, None);
        assert_eq!(
            text,
            "REMARK  prepared receptor and best pose (residue LIG)\n\
             ATOM      1  N   MET L   1      43.812  -3.233   9.148  1.00  0.00           N\n\
             ATOM      2 ZN   ZN  A 900      40.000  -3.233   9.148  1.00  0.00          ZN\n\
             TER\n\
             HETATM    3  C1  LIG X   1      27.357   6.772   3.388  1.00  0.00           C\n\
             END\n"
        );
    }
}
