//! Heavy-atom RMSD without fitting, over all ways to map a molecule onto itself.

#![allow(clippy::indexing_slicing, clippy::cast_precision_loss, reason = "test")]

use bindery_chem::Molecule;

/// In angstrom; none when the two are not the same molecule.
pub fn symmetric_rmsd(reference: &Molecule, pose: &Molecule) -> Option<f64> {
    let (reference, pose) = (Heavy::of(reference), Heavy::of(pose));
    if reference.numbers.len() != pose.numbers.len() {
        return None;
    }
    let mut search = Search {
        order: reference.connected_order(),
        mapped: vec![usize::MAX; reference.numbers.len()],
        taken: vec![false; pose.numbers.len()],
        best: None,
        reference,
        pose,
    };
    search.descend(0, 0.0);
    search
        .best
        .map(|sum| (sum / search.order.len() as f64).sqrt())
}

/// Heavy atoms and their bonds.
struct Heavy {
    numbers: Vec<u8>,
    positions: Vec<[f64; 3]>,
    bonded: Vec<Vec<usize>>,
}

impl Heavy {
    fn of(molecule: &Molecule) -> Self {
        let mut index = vec![usize::MAX; molecule.atoms.len()];
        let (mut numbers, mut positions) = (Vec::new(), Vec::new());
        for (atom, place) in molecule.atoms.iter().zip(&mut index) {
            if atom.is_heavy() {
                *place = numbers.len();
                numbers.push(atom.element.map_or(0, |element| element.number()));
                positions.push(atom.position);
            }
        }
        let mut bonded = vec![Vec::new(); numbers.len()];
        for bond in &molecule.bonds {
            let (a, b) = (index[bond.a as usize], index[bond.b as usize]);
            if a != usize::MAX && b != usize::MAX {
                bonded[a].push(b);
                bonded[b].push(a);
            }
        }
        Self {
            numbers,
            positions,
            bonded,
        }
    }

    /// Each atom after one of its neighbours, so that wrong mappings end early.
    fn connected_order(&self) -> Vec<usize> {
        let mut order = Vec::new();
        for start in 0..self.numbers.len() {
            let mut at = order.len();
            if !order.contains(&start) {
                order.push(start);
            }
            while at < order.len() {
                for &next in &self.bonded[order[at]] {
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

struct Search {
    reference: Heavy,
    pose: Heavy,
    order: Vec<usize>,
    mapped: Vec<usize>,
    taken: Vec<bool>,
    best: Option<f64>,
}

impl Search {
    fn descend(&mut self, depth: usize, sum: f64) {
        if self.best.is_some_and(|best| sum >= best) {
            return;
        }
        let Some(&atom) = self.order.get(depth) else {
            self.best = Some(sum);
            return;
        };
        for candidate in 0..self.pose.numbers.len() {
            let same = !self.taken[candidate]
                && self.pose.numbers[candidate] == self.reference.numbers[atom]
                && self.pose.bonded[candidate].len() == self.reference.bonded[atom].len()
                && self.reference.bonded[atom].iter().all(|&neighbour| {
                    let mapped = self.mapped[neighbour];
                    mapped == usize::MAX || self.pose.bonded[candidate].contains(&mapped)
                });
            if !same {
                continue;
            }
            let squared: f64 = self.reference.positions[atom]
                .iter()
                .zip(&self.pose.positions[candidate])
                .map(|(a, b)| (a - b) * (a - b))
                .sum();
            self.mapped[atom] = candidate;
            self.taken[candidate] = true;
            self.descend(depth + 1, sum + squared);
            self.mapped[atom] = usize::MAX;
            self.taken[candidate] = false;
        }
    }
}
