//! Atoms of different molecules that stand too close.

use crate::element::Element;
use crate::model::{Molecule, ResidueKind};

/// A water oxygen this close to a heavy atom of another residue, in angstrom, is taken for bonded
/// by programs that perceive bonds; hydrogen bonds start at about 2.4.
const HEAVY_DISTANCE: f64 = 2.0;
/// The same for a hydrogen: hydrogen bonds start at about 1.5.
const HYDROGEN_DISTANCE: f64 = 1.3;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contacts {
    /// Waters concerned.
    pub(crate) count: u64,
    /// Atom indexes of the first water oxygen and what it stands on.
    pub(crate) first: Option<(usize, usize)>,
}

/// Comparisons after which the search gives up. A real structure needs a few per atom; only a file
/// with thousands of waters on one spot comes near.
const COMPARISONS_MAX: u64 = 20_000_000;

/// Waters within bonding distance of an atom that is neither water nor metal.
pub(crate) fn waters_on_other_atoms(molecule: &Molecule) -> Contacts {
    let is_water = |index: usize| {
        let residue = molecule
            .atoms
            .get(index)
            .and_then(|atom| molecule.residue_of(atom));
        residue.is_some_and(|residue| residue.kind == ResidueKind::Water)
    };
    let mut waters: Vec<(Cell, usize)> = molecule
        .atoms
        .iter()
        .enumerate()
        .filter(|(index, atom)| atom.element == Some(Element::O) && is_water(*index))
        .map(|(index, atom)| (cell_of(&atom.position), index))
        .collect();
    let mut contacts = Contacts::default();
    if waters.is_empty() {
        return contacts;
    }
    waters.sort_unstable();
    let mut hit = vec![false; waters.len()];
    let mut comparisons = 0_u64;
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let Some(element) = atom.element.filter(|element| !element.is_metal()) else {
            continue;
        };
        if is_water(index) {
            continue;
        }
        let limit = if element.is_hydrogen() {
            HYDROGEN_DISTANCE
        } else {
            HEAVY_DISTANCE
        };
        let [x, y, z] = cell_of(&atom.position);
        for (dx, dy) in NEIGHBOUR_ROWS {
            // Cells along z are neighbours in the sorted list.
            let row = |dz: i64| {
                [
                    x.saturating_add(dx),
                    y.saturating_add(dy),
                    z.saturating_add(dz),
                ]
            };
            let start = waters.partition_point(|(cell, _)| *cell < row(-1));
            let last = row(1);
            for (place, (cell, water)) in waters.iter().enumerate().skip(start) {
                if *cell > last {
                    break;
                }
                comparisons += 1;
                if comparisons > COMPARISONS_MAX {
                    break;
                }
                let Some(oxygen) = molecule.atoms.get(*water) else {
                    continue;
                };
                if squared_distance(&oxygen.position, &atom.position) < limit * limit {
                    contacts.first.get_or_insert((*water, index));
                    if let Some(flag) = hit.get_mut(place) {
                        *flag = true;
                    }
                }
            }
        }
    }
    contacts.count = hit.iter().filter(|hit| **hit).count() as u64;
    contacts
}

type Cell = [i64; 3];

const NEIGHBOUR_ROWS: [(i64, i64); 9] = [
    (-1, -1),
    (-1, 0),
    (-1, 1),
    (0, -1),
    (0, 0),
    (0, 1),
    (1, -1),
    (1, 0),
    (1, 1),
];

#[expect(
    clippy::cast_possible_truncation,
    reason = "the cast saturates, and far cells need no precision"
)]
fn cell_of(position: &[f64; 3]) -> Cell {
    position.map(|value| (value / HEAVY_DISTANCE).floor() as i64)
}

fn squared_distance(a: &[f64; 3], b: &[f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
