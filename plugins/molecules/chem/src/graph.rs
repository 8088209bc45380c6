//! The bond graph: neighbours and connected parts.

use crate::model::Bond;

/// For each atom, the bonds at it, in one flat list.
pub(crate) struct Neighbours {
    starts: Vec<u32>,
    entries: Vec<Neighbour>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbour {
    pub(crate) atom: u32,
    /// Index of the bond.
    pub(crate) bond: u32,
}

impl Neighbours {
    pub(crate) fn new(atoms: usize, bonds: &[Bond]) -> Neighbours {
        let mut starts = vec![0_u32; atoms + 1];
        for bond in bonds {
            for end in [bond.a, bond.b] {
                if let Some(count) = starts.get_mut(end as usize + 1) {
                    *count += 1;
                }
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut next = starts.clone();
        let mut entries = vec![Neighbour { atom: 0, bond: 0 }; sum as usize];
        for (index, bond) in bonds.iter().enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            for (from, to) in [(bond.a, bond.b), (bond.b, bond.a)] {
                if let Some(place) = next.get_mut(from as usize)
                    && let Some(entry) = entries.get_mut(*place as usize)
                {
                    *entry = Neighbour {
                        atom: to,
                        bond: index,
                    };
                    *place += 1;
                }
            }
        }
        Neighbours { starts, entries }
    }

    pub(crate) fn of(&self, atom: usize) -> &[Neighbour] {
        let start = self.starts.get(atom).copied().unwrap_or(0) as usize;
        let end = self.starts.get(atom + 1).copied().unwrap_or(0) as usize;
        self.entries.get(start..end).unwrap_or_default()
    }
}

/// Atoms in each connected part, in order of their first atoms.
pub(crate) fn fragment_sizes(atoms: usize, bonds: &[Bond]) -> Vec<u32> {
    // Union-find with path halving: no recursion, and near-linear on the largest structures.
    let mut parents: Vec<u32> = (0..u32::try_from(atoms).unwrap_or(u32::MAX)).collect();
    for bond in bonds {
        let (a, b) = (find(&mut parents, bond.a), find(&mut parents, bond.b));
        let (low, high) = (a.min(b), a.max(b));
        if let Some(parent) = parents.get_mut(high as usize) {
            *parent = low;
        }
    }
    let mut sizes = vec![0_u32; atoms];
    for atom in 0..u32::try_from(atoms).unwrap_or(u32::MAX) {
        let root = find(&mut parents, atom);
        if let Some(size) = sizes.get_mut(root as usize) {
            *size += 1;
        }
    }
    sizes.retain(|size| *size > 0);
    sizes
}

/// For each bond, whether it lies in a ring, which is whether the graph stays connected without it.
pub(crate) fn ring_bonds(atoms: usize, bonds: &[Bond]) -> Vec<bool> {
    // Tarjan's bridges with an explicit stack: a chain of a million atoms must not nest a million
    // calls.
    let neighbours = Neighbours::new(atoms, bonds);
    let mut in_ring = vec![true; bonds.len()];
    let mut order = vec![0_u32; atoms];
    let mut low = vec![0_u32; atoms];
    let mut count = 0;
    // Atom, bond it was reached by, next neighbour to look at.
    let mut stack: Vec<(usize, u32, usize)> = Vec::new();
    for start in 0..atoms {
        if order.get(start) != Some(&0) {
            continue;
        }
        stack.push((start, u32::MAX, 0));
        while let Some((atom, through, next)) = stack.last_mut() {
            let (atom, through) = (*atom, *through);
            if *next == 0 {
                count += 1;
                set(&mut order, atom, count);
                set(&mut low, atom, count);
            }
            if let Some(neighbour) = neighbours.of(atom).get(*next).copied() {
                *next += 1;
                let other = neighbour.atom as usize;
                if neighbour.bond == through {
                    continue;
                }
                match get(&order, other) {
                    0 => stack.push((other, neighbour.bond, 0)),
                    seen => {
                        let lowest = get(&low, atom).min(seen);
                        set(&mut low, atom, lowest);
                    }
                }
                continue;
            }
            stack.pop();
            if let Some((parent, ..)) = stack.last() {
                let lowest = get(&low, *parent).min(get(&low, atom));
                set(&mut low, *parent, lowest);
                if get(&low, atom) > get(&order, *parent)
                    && let Some(flag) = in_ring.get_mut(through as usize)
                {
                    *flag = false;
                }
            }
        }
    }
    in_ring
}

fn get(list: &[u32], index: usize) -> u32 {
    list.get(index).copied().unwrap_or(0)
}

fn set(list: &mut [u32], index: usize, value: u32) {
    if let Some(slot) = list.get_mut(index) {
        *slot = value;
    }
}

fn find(parents: &mut [u32], mut atom: u32) -> u32 {
    loop {
        let parent = parents.get(atom as usize).copied().unwrap_or(atom);
        if parent == atom {
            return atom;
        }
        let grandparent = parents.get(parent as usize).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(atom as usize) {
            *slot = grandparent;
        }
        atom = grandparent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BondOrder;

    fn bond(a: u32, b: u32) -> Bond {
        Bond {
            a,
            b,
            order: BondOrder::Single,
            stereo: 0,
        }
    }

    #[test]
    fn fragments_are_counted() {
        assert_eq!(fragment_sizes(0, &[]), Vec::<u32>::new());
        assert_eq!(
            fragment_sizes(5, &[bond(4, 3), bond(0, 1), bond(3, 1)]),
            [4, 1]
        );
        let chain: Vec<Bond> = (0..99_999).map(|atom| bond(atom, atom + 1)).collect();
        assert_eq!(fragment_sizes(100_000, &chain), [100_000]);
    }

    #[test]
    fn ring_bonds_are_told_from_bridges() {
        // Two triangles joined by a bond, and a tail.
        let bonds = [
            (0, 1),
            (1, 2),
            (2, 0),
            (2, 3),
            (3, 4),
            (4, 5),
            (5, 3),
            (5, 6),
        ]
        .map(|(a, b)| bond(a, b));
        assert_eq!(
            ring_bonds(7, &bonds),
            [true, true, true, false, true, true, true, false]
        );
        let chain: Vec<Bond> = (0..99_999).map(|atom| bond(atom, atom + 1)).collect();
        assert!(ring_bonds(100_000, &chain).iter().all(|in_ring| !in_ring));
    }

    #[test]
    fn neighbours_are_listed_from_both_ends() {
        let neighbours = Neighbours::new(3, &[bond(0, 1), bond(2, 1)]);
        let of = |atom| {
            neighbours
                .of(atom)
                .iter()
                .map(|n| (n.atom, n.bond))
                .collect::<Vec<_>>()
        };
        assert_eq!(of(0), [(1, 0)]);
        assert_eq!(of(1), [(0, 0), (2, 1)]);
        assert_eq!(of(2), [(1, 1)]);
        assert!(of(3).is_empty());
    }
}
