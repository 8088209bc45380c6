//! What of a ligand cannot bend: for telling whether a box can hold it.

use std::collections::HashSet;

use bindery_chem::{BondOrder, Dimensions, Molecule};

use crate::{
    geometry::{Point, longest_distance},
    search_box::LigandShape,
    torsion_tree::TorsionTree,
};

/// The exact longest distance is quadratic; larger ligands are told by their extent alone.
const EXACT_ATOMS_MAX: usize = 2_000;

/// Heavy atoms of the parts that no bond joins, largest part first.
pub(crate) fn fragments(molecule: &Molecule) -> Vec<Vec<usize>> {
    let mut fragments = Graph::of_heavy_atoms(molecule).parts(molecule, |_| true);
    fragments.sort_by_key(|fragment| std::cmp::Reverse(fragment.len()));
    fragments
}

/// The shape of these atoms of a molecule read from any format but PDBQT.
pub(crate) fn of_atoms(molecule: &Molecule, atoms: &[usize]) -> LigandShape {
    let heavy: Vec<Point> = atoms
        .iter()
        .filter_map(|&atom| molecule.atoms.get(atom))
        .map(|atom| atom.position)
        .collect();
    let heavy_atoms = heavy.len();
    if molecule.dimensions != Dimensions::Three || heavy_atoms > EXACT_ATOMS_MAX {
        return LigandShape {
            heavy_atoms,
            rigid_parts: Vec::new(),
            length: None,
        };
    }
    let rigid_parts = rigid_parts(molecule, atoms);
    LigandShape {
        heavy_atoms,
        rigid_parts,
        length: Some(longest_distance(&heavy)),
    }
}

/// The shape of a ligand that came with its torsion tree.
pub(crate) fn of_tree(tree: &TorsionTree) -> LigandShape {
    let heavy: Vec<Point> = tree
        .atoms
        .iter()
        .filter(|atom| atom.is_heavy())
        .map(|atom| atom.position)
        .collect();
    let heavy_atoms = heavy.len();
    if heavy_atoms > EXACT_ATOMS_MAX {
        return LigandShape {
            heavy_atoms,
            rigid_parts: Vec::new(),
            length: None,
        };
    }
    let part = |block: usize| -> Vec<Point> {
        tree.rigid_with(block)
            .into_iter()
            .filter_map(|index| tree.atoms.get(index))
            .filter(|atom| atom.is_heavy())
            .map(|atom| atom.position)
            .collect()
    };
    LigandShape {
        heavy_atoms,
        rigid_parts: (0..=tree.branches.len()).map(part).collect(),
        length: Some(longest_distance(&heavy)),
    }
}

/// Those of the atoms that are joined by bonds that do not turn, with the atoms at the far end of
/// those that do. Every acyclic single bond between heavy atoms is taken to turn: so parts come
/// out too small rather than too large, and no box is refused wrongly.
fn rigid_parts(molecule: &Molecule, atoms: &[usize]) -> Vec<Vec<Point>> {
    let graph = Graph::of_heavy_atoms(molecule);
    let turning = graph.turning();
    let mut parts = graph.parts(molecule, |bond| turning.get(bond) == Some(&false));
    let wanted: HashSet<usize> = atoms.iter().copied().collect();
    parts.retain(|members| members.first().is_some_and(|first| wanted.contains(first)));
    for members in &mut parts {
        let far: Vec<usize> = members
            .iter()
            .flat_map(|&atom| graph.neighbours(atom))
            .filter(|(_, bond)| turning.get(*bond) == Some(&true))
            .map(|&(other, _)| other)
            .collect();
        members.extend(far);
    }
    // A part of one atom fits everywhere.
    parts.retain(|members| members.len() > 1);
    let position = |atom: usize| molecule.atoms.get(atom).map(|atom| atom.position);
    parts
        .into_iter()
        .map(|members| members.into_iter().filter_map(position).collect())
        .collect()
}

fn set<T>(list: &mut [T], index: usize, value: T) {
    if let Some(slot) = list.get_mut(index) {
        *slot = value;
    }
}

/// Bonds between heavy atoms.
struct Graph {
    count: usize,
    /// Neighbour and index into `bonds`, for each atom.
    lists: Vec<Vec<(usize, usize)>>,
    /// Both atoms and the bond's own index.
    bonds: Vec<(usize, usize, usize)>,
    single: Vec<bool>,
}

impl Graph {
    fn of_heavy_atoms(molecule: &Molecule) -> Self {
        let count = molecule.atoms.len();
        let mut graph = Self {
            count,
            lists: vec![Vec::new(); count],
            bonds: Vec::new(),
            single: Vec::new(),
        };
        let heavy = |atom: usize| molecule.atoms.get(atom).is_some_and(|atom| atom.is_heavy());
        for bond in &molecule.bonds {
            let (a, b) = (bond.a as usize, bond.b as usize);
            if !heavy(a) || !heavy(b) {
                continue;
            }
            let index = graph.bonds.len();
            for (from, to) in [(a, b), (b, a)] {
                if let Some(list) = graph.lists.get_mut(from) {
                    list.push((to, index));
                }
            }
            graph.bonds.push((a, b, index));
            graph
                .single
                .push(matches!(bond.order, BondOrder::Single | BondOrder::Unknown));
        }
        graph
    }

    fn neighbours(&self, atom: usize) -> &[(usize, usize)] {
        self.lists.get(atom).map_or(&[], Vec::as_slice)
    }

    /// Heavy atoms joined by the bonds that `joins` says yes to.
    fn parts(&self, molecule: &Molecule, joins: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.count];
        let mut parts = Vec::new();
        for start in 0..self.count {
            let heavy = molecule
                .atoms
                .get(start)
                .is_some_and(|atom| atom.is_heavy());
            if !heavy || seen.get(start) != Some(&false) {
                continue;
            }
            set(&mut seen, start, true);
            let mut members = vec![start];
            let mut looked = 0;
            while let Some(&atom) = members.get(looked) {
                looked += 1;
                for &(next, bond) in self.neighbours(atom) {
                    if seen.get(next) == Some(&false) && joins(bond) {
                        set(&mut seen, next, true);
                        members.push(next);
                    }
                }
            }
            parts.push(members);
        }
        parts
    }

    /// For each bond, whether it may turn: single, in no ring, and with something on both sides.
    fn turning(&self) -> Vec<bool> {
        let in_ring = self.in_ring();
        self.bonds
            .iter()
            .map(|&(a, b, bond)| {
                self.single.get(bond) == Some(&true)
                    && in_ring.get(bond) == Some(&false)
                    && self.neighbours(a).len() > 1
                    && self.neighbours(b).len() > 1
            })
            .collect()
    }

    /// Bonds that are no bridges (Tarjan), with a stack of our own: input never drives recursion.
    fn in_ring(&self) -> Vec<bool> {
        let mut in_ring = vec![true; self.bonds.len()];
        let mut order = vec![usize::MAX; self.count];
        let mut low = vec![usize::MAX; self.count];
        let mut clock = 0;
        for start in 0..self.count {
            if order.get(start) != Some(&usize::MAX) {
                continue;
            }
            // Atom, the bond we came by, and how many neighbours have been looked at.
            let mut path: Vec<(usize, usize, usize)> = vec![(start, usize::MAX, 0)];
            set(&mut order, start, clock);
            set(&mut low, start, clock);
            clock += 1;
            while let Some((atom, by, looked)) = path.last_mut() {
                let (atom, by) = (*atom, *by);
                let next = self.neighbours(atom).get(*looked).copied();
                *looked += 1;
                let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(0);
                match next {
                    Some((_, bond)) if bond == by => {}
                    Some((other, bond)) if at(&order, other) == usize::MAX => {
                        set(&mut order, other, clock);
                        set(&mut low, other, clock);
                        clock += 1;
                        path.push((other, bond, 0));
                    }
                    Some((other, _)) => {
                        let lowest = at(&low, atom).min(at(&order, other));
                        set(&mut low, atom, lowest);
                    }
                    None => {
                        path.pop();
                        if let Some(&(before, ..)) = path.last() {
                            if at(&low, atom) > at(&order, before) {
                                set(&mut in_ring, by, false);
                            }
                            let lowest = at(&low, before).min(at(&low, atom));
                            set(&mut low, before, lowest);
                        }
                    }
                }
            }
        }
        in_ring
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use bindery_chem::{Atom, Bond, Element};

    use super::*;

    fn molecule(atoms: u32, bonds: &[(u32, u32, BondOrder)]) -> Molecule {
        Molecule {
            atoms: (0..atoms)
                .map(|index| Atom {
                    element: Some(Element::C),
                    position: [f64::from(index), 0.0, 0.0],
                    ..Atom::default()
                })
                .collect(),
            bonds: bonds
                .iter()
                .map(|&(a, b, order)| Bond {
                    a,
                    b,
                    order,
                    stereo: 0,
                })
                .collect(),
            dimensions: Dimensions::Three,
            ..Molecule::default()
        }
    }

    #[test]
    fn a_ring_with_a_chain_falls_into_parts_that_share_the_turning_bonds() {
        use BondOrder::{Aromatic, Single};
        // Isobutylbenzene: ring 0..=5, chain 6, 7 with two methyl groups 8, 9.
        let isobutylbenzene = molecule(
            10,
            &[
                (0, 1, Aromatic),
                (1, 2, Aromatic),
                (2, 3, Aromatic),
                (3, 4, Aromatic),
                (4, 5, Aromatic),
                (5, 0, Aromatic),
                (0, 6, Single),
                (6, 7, Single),
                (7, 8, Single),
                (7, 9, Single),
            ],
        );
        let all: Vec<usize> = (0..10).collect();
        let mut sizes: Vec<usize> = rigid_parts(&isobutylbenzene, &all)
            .iter()
            .map(Vec::len)
            .collect();
        sizes.sort_unstable();
        // CH2 with its two neighbours; CH with three; the ring with the first chain atom.
        assert_eq!(sizes, [3, 4, 7]);
        let shape = of_atoms(&isobutylbenzene, &all);
        assert_eq!((shape.heavy_atoms, shape.length), (10, Some(9.0)));
    }

    #[test]
    fn ring_bonds_do_not_turn_and_long_chains_do_not_overflow_the_stack() {
        use BondOrder::Single;
        let ring = molecule(
            4,
            &[
                (0, 1, Single),
                (1, 2, Single),
                (2, 3, Single),
                (3, 0, Single),
            ],
        );
        assert_eq!(rigid_parts(&ring, &[0, 1, 2, 3]).len(), 1);
        let bonds: Vec<_> = (0..99_999).map(|atom| (atom, atom + 1, Single)).collect();
        let all: Vec<usize> = (0..100_000).collect();
        assert_eq!(rigid_parts(&molecule(100_000, &bonds), &all).len(), 99_998);
        assert_eq!(of_atoms(&molecule(3, &[]), &[0, 1, 2]).rigid_parts.len(), 0);
        let salt = molecule(4, &[(1, 3, Single)]);
        assert_eq!(fragments(&salt), [vec![1, 3], vec![0], vec![2]]);
    }
}
