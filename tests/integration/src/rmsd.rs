//! Heavy-atom RMSD without fitting, over all ways to map a molecule onto itself.

use crate::Molecule;

/// Mappings tried at most. A drug-like molecule with its neighbours as constraint needs
/// thousands; only a cage of equal atoms would come near.
const STEPS_MAX: u64 = 10_000_000;

/// In angstrom; none when the two are not the same molecule, hydrogens and bond orders aside, or
/// are too symmetric to compare.
#[must_use]
pub fn symmetric_rmsd(reference: &Molecule, pose: &Molecule) -> Option<f64> {
    let (reference, pose) = (Heavy::of(reference), Heavy::of(pose));
    if reference.atoms.len() != pose.atoms.len() || reference.atoms.is_empty() {
        return None;
    }
    let mut search = Search {
        order: reference.connected_order(),
        mapped: vec![None; reference.atoms.len()],
        taken: vec![false; pose.atoms.len()],
        best: None,
        steps: 0,
        reference: &reference,
        pose: &pose,
    };
    search.descend(0, 0.0);
    let within = search.steps < STEPS_MAX;
    #[expect(clippy::cast_precision_loss, reason = "a count of atoms")]
    search
        .best
        .filter(|_| within)
        .map(|sum| (sum / reference.atoms.len() as f64).sqrt())
}

struct HeavyAtom {
    element: String,
    position: [f64; 3],
    bonded: Vec<usize>,
}

/// Heavy atoms and the bonds between them.
struct Heavy {
    atoms: Vec<HeavyAtom>,
}

impl Heavy {
    fn of(molecule: &Molecule) -> Self {
        let mut atoms = Vec::new();
        let index: Vec<Option<usize>> = molecule
            .atoms
            .iter()
            .map(|atom| {
                (atom.element != "H").then(|| {
                    atoms.push(HeavyAtom {
                        element: atom.element.clone(),
                        position: atom.position,
                        bonded: Vec::new(),
                    });
                    atoms.len() - 1
                })
            })
            .collect();
        let at = |end: usize| index.get(end).copied().flatten();
        for &(a, b, _) in &molecule.bonds {
            if let (Some(a), Some(b)) = (at(a), at(b)) {
                for (from, to) in [(a, b), (b, a)] {
                    if let Some(atom) = atoms.get_mut(from) {
                        atom.bonded.push(to);
                    }
                }
            }
        }
        Self { atoms }
    }

    /// Each atom after one of its neighbours, so that wrong mappings end early.
    fn connected_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = Vec::new();
        for start in 0..self.atoms.len() {
            let mut at = order.len();
            if !order.contains(&start) {
                order.push(start);
            }
            while let Some(atom) = order.get(at).and_then(|&index| self.atoms.get(index)) {
                for &next in &atom.bonded {
                    if !order.contains(&next) {
                        order.push(next);
                    }
                }
                at += 1;
            }
        }
        order
    }
}

struct Search<'a> {
    reference: &'a Heavy,
    pose: &'a Heavy,
    order: Vec<usize>,
    mapped: Vec<Option<usize>>,
    taken: Vec<bool>,
    /// Least sum of squared distances so far, of a full mapping.
    best: Option<f64>,
    steps: u64,
}

#[expect(
    clippy::indexing_slicing,
    reason = "all indices come from these vectors, which keep their lengths"
)]
impl Search<'_> {
    fn descend(&mut self, depth: usize, sum: f64) {
        self.steps += 1;
        if self.steps >= STEPS_MAX || self.best.is_some_and(|best| sum >= best) {
            return;
        }
        let Some(&index) = self.order.get(depth) else {
            self.best = Some(sum);
            return;
        };
        let atom = &self.reference.atoms[index];
        for (at, candidate) in self.pose.atoms.iter().enumerate() {
            let fits = !self.taken[at]
                && candidate.element == atom.element
                && candidate.bonded.len() == atom.bonded.len()
                && atom.bonded.iter().all(|&neighbour| {
                    self.mapped[neighbour].is_none_or(|mapped| candidate.bonded.contains(&mapped))
                });
            if !fits {
                continue;
            }
            let squared: f64 = atom
                .position
                .iter()
                .zip(candidate.position)
                .map(|(a, b)| (a - b) * (a - b))
                .sum();
            self.mapped[index] = Some(at);
            self.taken[at] = true;
            self.descend(depth + 1, sum + squared);
            self.mapped[index] = None;
            self.taken[at] = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use std::{collections::BTreeMap, f64::consts::TAU};

    use super::*;
    use crate::Atom;

    /// A ring of six carbons, one with a bromine, turned by `sixths` of a turn around its middle.
    fn ring(sixths: f64, mirrored: bool) -> Molecule {
        let place = |radius: f64, at: f64| {
            let angle = TAU / 6.0 * (at + sixths);
            let y = radius * angle.sin();
            [radius * angle.cos(), if mirrored { -y } else { y }, 0.0]
        };
        let mut atoms: Vec<Atom> = (0..6)
            .map(|at| Atom {
                element: "C".to_owned(),
                position: place(1.4, f64::from(at)),
            })
            .collect();
        atoms.push(Atom {
            element: "Br".to_owned(),
            position: place(3.3, 0.0),
        });
        let mut bonds: Vec<_> = (0..6).map(|at| (at, (at + 1) % 6, 4)).collect();
        bonds.push((0, 6, 1));
        Molecule {
            name: String::new(),
            atoms,
            bonds,
            data: BTreeMap::new(),
        }
    }

    #[test]
    fn a_mirrored_numbering_is_the_same_pose() {
        let rmsd = symmetric_rmsd(&ring(0.0, false), &ring(0.0, true)).unwrap();
        assert!(rmsd < 1e-9, "{rmsd}");
    }

    #[test]
    fn a_flipped_ring_is_not() {
        // Mirrored as well, the carbons off the axis are one place away (1.4 angstrom), those on
        // it three (2.8); the bromine moves by 6.6.
        let rmsd = symmetric_rmsd(&ring(0.0, false), &ring(3.0, false)).unwrap();
        let carbons = 4.0 * 1.4 * 1.4 + 2.0 * 2.8 * 2.8;
        let expected: f64 = ((carbons + 6.6 * 6.6) / 7.0_f64).sqrt();
        assert!((rmsd - expected).abs() < 1e-9, "{rmsd} {expected}");
    }

    #[test]
    fn other_molecules_do_not_compare() {
        let mut other = ring(0.0, false);
        other.atoms[6].element = "Cl".to_owned();
        assert_eq!(symmetric_rmsd(&ring(0.0, false), &other), None);
        other.bonds.pop();
        other.atoms.pop();
        assert_eq!(symmetric_rmsd(&ring(0.0, false), &other), None);
    }
}
