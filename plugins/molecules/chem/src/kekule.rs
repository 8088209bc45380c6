//! Whether the double bonds of an aromatic system can be placed.
//!
//! Every aromatic atom that needs a double bond must get one to an aromatic neighbour, so the
//! question is a matching in a general graph that covers all needy atoms. Edmonds' algorithm
//! answers it, searching from one needy atom at a time; blossoms are shrunk by relabelling, with
//! loops alone.

use std::collections::VecDeque;

use crate::element::Element;
use crate::graph::Neighbours;
use crate::model::{BondOrder, Molecule};

/// The search costs up to the cube of this; larger aromatic systems (graphene sheets) are taken
/// as they are.
const AROMATIC_ATOMS_MAX: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Has no place for a double bond.
    No,
    /// May have one or a hydrogen that the format does not show.
    May,
    Must,
}

/// An atom that stays without the double bond it needs, or none when all is well.
/// `hydrogens_are_known` tells whether hydrogens that are not in the file are counted.
pub(crate) fn unplaceable(
    molecule: &Molecule,
    neighbours: &Neighbours,
    hydrogens_are_known: bool,
) -> Option<usize> {
    let needs: Vec<Need> = (0..molecule.atoms.len())
        .map(|atom| need(molecule, neighbours, atom, hydrogens_are_known))
        .collect();
    let vertices: Vec<usize> = needs
        .iter()
        .enumerate()
        .filter(|(_, need)| **need != Need::No)
        .map(|(atom, _)| atom)
        .collect();
    if vertices.is_empty() || vertices.len() > AROMATIC_ATOMS_MAX {
        return None;
    }
    let mut vertex_of = vec![usize::MAX; molecule.atoms.len()];
    for (vertex, atom) in vertices.iter().enumerate() {
        if let Some(slot) = vertex_of.get_mut(*atom) {
            *slot = vertex;
        }
    }
    let edges = vertices
        .iter()
        .map(|atom| {
            let aromatic = neighbours.of(*atom).iter().filter(|neighbour| {
                let bond = molecule.bonds.get(neighbour.bond as usize);
                bond.is_some_and(|bond| bond.order == BondOrder::Aromatic)
            });
            aromatic
                .filter_map(|neighbour| vertex_of.get(neighbour.atom as usize).copied())
                .filter(|vertex| *vertex != usize::MAX)
                .collect()
        })
        .collect();
    let optional = vertices
        .iter()
        .map(|atom| needs.get(*atom) == Some(&Need::May))
        .collect();
    let vertex = Matching::new(edges, optional).uncovered()?;
    vertices.get(vertex).copied()
}

fn need(
    molecule: &Molecule,
    neighbours: &Neighbours,
    index: usize,
    hydrogens_are_known: bool,
) -> Need {
    let Some(atom) = molecule.atoms.get(index).filter(|atom| atom.aromatic) else {
        return Need::No;
    };
    let Some(element) = atom.element else {
        return Need::May;
    };
    let mut sigma = usize::from(atom.implicit_hydrogens);
    for neighbour in neighbours.of(index) {
        match molecule
            .bonds
            .get(neighbour.bond as usize)
            .map(|bond| bond.order)
        {
            Some(BondOrder::Single | BondOrder::Aromatic) => sigma += 1,
            // The double bond is outside the ring already.
            Some(BondOrder::Double | BondOrder::Triple | BondOrder::Quadruple) => return Need::No,
            _ => {}
        }
    }
    match (element, atom.formal_charge) {
        (Element::C | Element::SI, 0) => {
            if sigma <= 3 {
                Need::Must
            } else {
                Need::No
            }
        }
        (Element::N | Element::P | Element::AS, 0) if sigma >= 3 => Need::No,
        (Element::N | Element::P | Element::AS, 0) => {
            if hydrogens_are_known {
                Need::Must
            } else {
                Need::May
            }
        }
        (Element::N | Element::P | Element::AS, 1) => {
            if sigma <= 3 {
                Need::Must
            } else {
                Need::No
            }
        }
        (Element::O | Element::S | Element::SE | Element::TE, 1) => {
            if sigma <= 2 {
                Need::Must
            } else {
                Need::No
            }
        }
        (Element::O | Element::S | Element::SE | Element::TE | Element::B, 0) => Need::No,
        (Element::B, -1) => Need::Must,
        // Carbanions and carbocations lend or take a pair; what else there is may be drawn either way.
        _ => Need::May,
    }
}

const NONE: usize = usize::MAX;

struct Matching {
    edges: Vec<Vec<usize>>,
    optional: Vec<bool>,
    mate: Vec<usize>,
    parent: Vec<usize>,
    base: Vec<usize>,
    outer: Vec<bool>,
    queue: VecDeque<usize>,
}

impl Matching {
    fn new(edges: Vec<Vec<usize>>, optional: Vec<bool>) -> Matching {
        let count = edges.len();
        Matching {
            edges,
            optional,
            mate: vec![NONE; count],
            parent: vec![NONE; count],
            base: (0..count).collect(),
            outer: vec![false; count],
            queue: VecDeque::new(),
        }
    }

    /// A vertex that must be matched and cannot be. The first ends the search, so that a hostile
    /// graph costs one failing search and not one for each of its vertices.
    fn uncovered(mut self) -> Option<usize> {
        let count = self.edges.len();
        // A greedy start leaves few vertices to search from.
        for vertex in 0..count {
            if at(&self.mate, vertex) == NONE && !self.is_optional(vertex) {
                let free = self.edges.get(vertex).and_then(|edges| {
                    edges
                        .iter()
                        .copied()
                        .find(|other| at(&self.mate, *other) == NONE && !self.is_optional(*other))
                });
                if let Some(other) = free {
                    self.join(vertex, other);
                }
            }
        }
        (0..count).find(|vertex| {
            at(&self.mate, *vertex) == NONE
                && !self.is_optional(*vertex)
                && !self.augment_from(*vertex)
        })
    }

    fn is_optional(&self, vertex: usize) -> bool {
        self.optional.get(vertex).copied().unwrap_or(true)
    }

    fn join(&mut self, a: usize, b: usize) {
        put(&mut self.mate, a, b);
        put(&mut self.mate, b, a);
    }

    /// Breadth-first search for an alternating path that ends at a free vertex, or at one that may
    /// stay free.
    fn augment_from(&mut self, root: usize) -> bool {
        let count = self.edges.len();
        self.parent.fill(NONE);
        self.outer.fill(false);
        for (index, base) in self.base.iter_mut().enumerate() {
            *base = index;
        }
        self.queue.clear();
        self.mark_outer(root);
        while let Some(vertex) = self.queue.pop_front() {
            if vertex != root && self.is_optional(vertex) {
                // An even path ends here: this vertex gives its mate away.
                let previous = at(&self.mate, vertex);
                put(&mut self.mate, vertex, NONE);
                self.flip_to(previous);
                return true;
            }
            for index in 0..self.edges.get(vertex).map_or(0, Vec::len) {
                let Some(to) = self
                    .edges
                    .get(vertex)
                    .and_then(|edges| edges.get(index))
                    .copied()
                else {
                    break;
                };
                if at(&self.base, vertex) == at(&self.base, to) || at(&self.mate, vertex) == to {
                    continue;
                }
                let mate = at(&self.mate, to);
                if to == root || (mate != NONE && at(&self.parent, mate) != NONE) {
                    self.shrink(vertex, to, count);
                } else if at(&self.parent, to) == NONE {
                    put(&mut self.parent, to, vertex);
                    if mate == NONE {
                        self.flip_to(to);
                        return true;
                    }
                    self.mark_outer(mate);
                }
            }
        }
        false
    }

    fn mark_outer(&mut self, vertex: usize) {
        if let Some(flag) = self.outer.get_mut(vertex)
            && !*flag
        {
            *flag = true;
            // Each vertex enters once in a search, so the queue is no longer than the graph.
            self.queue.push_back(vertex);
        }
    }

    fn flip_to(&mut self, end: usize) {
        let mut vertex = end;
        while vertex != NONE {
            let parent = at(&self.parent, vertex);
            if parent == NONE {
                return;
            }
            let next = at(&self.mate, parent);
            self.join(vertex, parent);
            vertex = next;
        }
    }

    fn shrink(&mut self, a: usize, b: usize, count: usize) {
        let ancestor = self.common_ancestor(a, b);
        let mut in_blossom = vec![false; count];
        self.mark_path(a, ancestor, b, &mut in_blossom);
        self.mark_path(b, ancestor, a, &mut in_blossom);
        for vertex in 0..count {
            if in_blossom
                .get(at(&self.base, vertex))
                .copied()
                .unwrap_or(false)
            {
                put(&mut self.base, vertex, ancestor);
                self.mark_outer(vertex);
            }
        }
    }

    fn common_ancestor(&self, a: usize, b: usize) -> usize {
        let mut seen = vec![false; self.edges.len()];
        let mut vertex = a;
        loop {
            vertex = at(&self.base, vertex);
            if let Some(flag) = seen.get_mut(vertex) {
                *flag = true;
            }
            let mate = at(&self.mate, vertex);
            if mate == NONE {
                break;
            }
            vertex = at(&self.parent, mate);
        }
        let mut vertex = b;
        loop {
            vertex = at(&self.base, vertex);
            if seen.get(vertex).copied().unwrap_or(true) {
                return vertex;
            }
            vertex = at(&self.parent, at(&self.mate, vertex));
        }
    }

    fn mark_path(&mut self, from: usize, ancestor: usize, child: usize, in_blossom: &mut [bool]) {
        let (mut vertex, mut child) = (from, child);
        while at(&self.base, vertex) != ancestor {
            let mate = at(&self.mate, vertex);
            for inside in [at(&self.base, vertex), at(&self.base, mate)] {
                if let Some(flag) = in_blossom.get_mut(inside) {
                    *flag = true;
                }
            }
            put(&mut self.parent, vertex, child);
            child = mate;
            vertex = at(&self.parent, mate);
        }
    }
}

fn at(list: &[usize], index: usize) -> usize {
    list.get(index).copied().unwrap_or(NONE)
}

fn put(list: &mut [usize], index: usize, value: usize) {
    if let Some(slot) = list.get_mut(index) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]
    use super::*;

    fn graph(count: usize, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let mut lists = vec![Vec::new(); count];
        for (a, b) in edges {
            lists[*a].push(*b);
            lists[*b].push(*a);
        }
        lists
    }

    fn ring(count: usize) -> Vec<(usize, usize)> {
        (0..count)
            .map(|vertex| (vertex, (vertex + 1) % count))
            .collect()
    }

    #[test]
    fn even_rings_match_and_odd_rings_do_not() {
        for count in 3..12 {
            let uncovered =
                Matching::new(graph(count, &ring(count)), vec![false; count]).uncovered();
            assert_eq!(uncovered.is_some(), count % 2 == 1, "{count}");
        }
    }

    #[test]
    fn an_optional_vertex_makes_room() {
        for optional in 0..5 {
            let mut flags = vec![false; 5];
            flags[optional] = true;
            assert!(
                Matching::new(graph(5, &ring(5)), flags)
                    .uncovered()
                    .is_none(),
                "{optional}"
            );
        }
    }

    #[test]
    fn agrees_with_exhaustive_search_on_small_graphs() {
        // A linear congruential generator keeps the cases the same on every run.
        let mut state = 12_345_u64;
        let mut random = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for _ in 0..3_000 {
            let count = 3 + usize::try_from(random() % 6).unwrap_or(0);
            let mut edges = Vec::new();
            for a in 0..count {
                for b in a + 1..count {
                    if random() % 3 == 0 {
                        edges.push((a, b));
                    }
                }
            }
            let optional: Vec<bool> = (0..count).map(|_| random() % 4 == 0).collect();
            let found = Matching::new(graph(count, &edges), optional.clone())
                .uncovered()
                .is_none();
            assert_eq!(
                found,
                coverable(&edges, &optional),
                "{count} {edges:?} {optional:?}"
            );
        }
    }

    fn coverable(edges: &[(usize, usize)], optional: &[bool]) -> bool {
        (0..1_u32 << edges.len().min(20)).any(|subset| {
            let mut used = vec![false; optional.len()];
            let chosen = edges
                .iter()
                .enumerate()
                .filter(|(index, _)| subset & (1 << index) != 0);
            for (_, (a, b)) in chosen {
                if used[*a] || used[*b] {
                    return false;
                }
                used[*a] = true;
                used[*b] = true;
            }
            used.iter()
                .zip(optional)
                .all(|(used, optional)| *used || *optional)
        })
    }
}
