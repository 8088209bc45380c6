//! Hydrogens of a ligand, whose bonds are known.

use bindery_chem::Molecule;

use super::{Rotor, SAME_PLACE, is_drawn, place};
use crate::geometry::{Point, distance_squared};

/// Atoms that a hydrogen could turn towards; beyond this size of a molecule none are looked at,
/// as each hydrogen is compared with each of them.
const OBSTACLES_MAX: usize = 2_000;

/// Gives the hydrogens of `molecule` that are not in `source` their definite places.
pub(crate) fn settle_molecule(molecule: &mut Molecule, source: &Molecule) {
    let kept_places: Vec<Point> = source
        .atoms
        .iter()
        .filter(|atom| atom.is_hydrogen())
        .map(|atom| atom.position)
        .collect();
    let is_kept = |point: Point| {
        kept_places
            .iter()
            .any(|&kept| distance_squared(kept, point) < SAME_PLACE * SAME_PLACE)
    };
    let bonded = bonded(molecule);
    let position = |molecule: &Molecule, atom: usize| {
        molecule
            .atoms
            .get(atom)
            .map_or([0.0; 3], |atom| atom.position)
    };
    let heavy: Vec<(usize, Point)> = molecule
        .atoms
        .iter()
        .enumerate()
        .filter(|(_, atom)| atom.is_heavy())
        .map(|(index, atom)| (index, atom.position))
        .take(OBSTACLES_MAX)
        .collect();
    let is_heavy = |molecule: &Molecule, atom: &usize| {
        molecule
            .atoms
            .get(*atom)
            .is_some_and(|atom| atom.is_heavy())
    };
    for center in 0..molecule.atoms.len() {
        let around = bonded.get(center).map_or(&[][..], Vec::as_slice);
        let heavy_around: Vec<usize> = around
            .iter()
            .copied()
            .filter(|atom| is_heavy(molecule, atom))
            .collect();
        if !is_heavy(molecule, &center) {
            continue;
        }
        let (kept, added): (Vec<usize>, Vec<usize>) = around
            .iter()
            .copied()
            .filter(|atom| {
                molecule
                    .atoms
                    .get(*atom)
                    .is_some_and(|atom| atom.is_hydrogen())
            })
            .partition(|&atom| is_kept(position(molecule, atom)));
        if !is_drawn(heavy_around.len(), added.len()) {
            continue;
        }
        let neighbour = heavy_around.first().copied();
        let beyond: Vec<Point> = neighbour
            .and_then(|neighbour| bonded.get(neighbour))
            .into_iter()
            .flatten()
            .filter(|&&atom| atom != center && is_heavy(molecule, &atom))
            .map(|&atom| position(molecule, atom))
            .collect();
        let neighbours: Vec<Point> = heavy_around
            .iter()
            .map(|&atom| position(molecule, atom))
            .collect();
        let kept: Vec<Point> = kept.iter().map(|&atom| position(molecule, atom)).collect();
        let obstacles: Vec<Point> = heavy
            .iter()
            .filter(|(atom, _)| *atom != center && Some(*atom) != neighbour)
            .map(|&(_, point)| point)
            .collect();
        let rotor = Rotor {
            center: position(molecule, center),
            neighbours: &neighbours,
            beyond: &beyond,
            kept: &kept,
            added: added.len(),
            element: molecule.atoms.get(center).and_then(|atom| atom.element),
        };
        for (&atom, point) in added.iter().zip(place(&rotor, &obstacles)) {
            if let Some(atom) = molecule.atoms.get_mut(atom) {
                atom.position = point;
            }
        }
    }
}

/// For each atom those bonded to it, in order of the bonds.
fn bonded(molecule: &Molecule) -> Vec<Vec<usize>> {
    let mut lists = vec![Vec::new(); molecule.atoms.len()];
    for bond in &molecule.bonds {
        let (a, b) = (bond.a as usize, bond.b as usize);
        for (from, to) in [(a, b), (b, a)] {
            if let Some(list) = lists.get_mut(from) {
                list.push(to);
            }
        }
    }
    lists
}
