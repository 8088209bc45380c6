//! Poses as molecules: with the bonds, charges and all hydrogens of the prepared ligand.
//!
//! The engine's file has neither bonds nor the hydrogens on carbon, and its atoms stand in the
//! torsion tree's order. Open Babel writes the same protonated ligand twice, as torsion tree and
//! as molecule with bonds, with the same coordinates: so atoms are matched by element and
//! position *before* docking. Afterwards each matched atom takes its place from the pose, and a
//! hydrogen without a match keeps its place relative to the rigid body its neighbour belongs to.

use std::fmt;

use bindery_chem::Molecule;

use crate::{
    geometry::{Frame, Point, add, distance_squared, subtract},
    torsion_tree::TorsionTree,
};

/// Both files round to at most three decimals; half a unit each, and what binary adds.
const SAME_PLACE: f64 = 0.0015;

/// Where each atom of the molecule comes from.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    molecule: Molecule,
    places: Vec<Place>,
    tree: TorsionTree,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Atom of the tree.
    Matched(usize),
    /// Fixed to three tree atoms of one rigid body.
    Fixed { corners: [usize; 3], local: Point },
    /// Moves along with one tree atom, unturned: nothing says how it turns.
    Carried { by: usize, offset: Point },
}

/// Why molecule and tree are not the same ligand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MatchError {
    /// An atom of the molecule, from 1, that is not in the tree.
    NotInTree { atom: usize, element: String },
    /// An atom of the tree, from 1, that is not in the molecule.
    NotInMolecule { atom: usize, kind: String },
    /// Two atoms of one element in one place.
    Coincident { atom: usize },
    /// A hydrogen that no bond holds.
    LooseHydrogen { atom: usize },
    /// The pose's atoms are not those of the prepared ligand.
    OtherAtoms,
}

impl fmt::Display for MatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInTree { atom, element } => {
                write!(
                    f,
                    "atom {atom} ({element}) of the molecule is not in the torsion tree"
                )
            }
            Self::NotInMolecule { atom, kind } => {
                write!(
                    f,
                    "atom {atom} ({kind}) of the torsion tree is not in the molecule"
                )
            }
            Self::Coincident { atom } => {
                write!(
                    f,
                    "atom {atom} of the molecule stands where another of its element stands"
                )
            }
            Self::LooseHydrogen { atom } => {
                write!(f, "hydrogen {atom} of the molecule is bonded to nothing")
            }
            Self::OtherAtoms => f.write_str("the atoms are not those of the prepared ligand"),
        }
    }
}

impl Template {
    /// Matches the molecule with bonds and the torsion tree of one prepared ligand.
    pub(crate) fn new(molecule: Molecule, tree: TorsionTree) -> Result<Self, MatchError> {
        let matched = match_atoms(&molecule, &tree)?;
        let mut places = Vec::with_capacity(matched.len());
        for (index, matched_atom) in matched.iter().enumerate() {
            places.push(match matched_atom {
                Some(atom) => Place::Matched(*atom),
                None => place_hydrogen(&molecule, &tree, &matched, index)?,
            });
        }
        Ok(Self {
            molecule,
            places,
            tree,
        })
    }

    pub(crate) fn molecule(&self) -> &Molecule {
        &self.molecule
    }

    /// The molecule in this pose.
    pub(crate) fn pose(&self, pose: &TorsionTree) -> Result<Molecule, MatchError> {
        if !same_atoms(&self.tree, pose) {
            return Err(MatchError::OtherAtoms);
        }
        let at = |index: usize| pose.atoms.get(index).map(|atom| atom.position);
        let mut molecule = self.molecule.clone();
        for (atom, place) in molecule.atoms.iter_mut().zip(&self.places) {
            let position = match *place {
                Place::Matched(index) => at(index),
                Place::Carried { by, offset } => at(by).map(|carrier| add(carrier, offset)),
                Place::Fixed {
                    corners: [origin, along, aside],
                    local,
                } => match (at(origin), at(along), at(aside)) {
                    (Some(origin), Some(along), Some(aside)) => {
                        Frame::new(origin, along, aside).map(|frame| frame.global(local))
                    }
                    _ => None,
                },
            };
            atom.position = position.ok_or(MatchError::OtherAtoms)?;
        }
        Ok(molecule)
    }
}

/// Whether these are the same atoms in the same order, wherever they stand.
pub(crate) fn same_atoms(prepared: &TorsionTree, pose: &TorsionTree) -> bool {
    prepared.atoms.len() == pose.atoms.len()
        && prepared
            .atoms
            .iter()
            .zip(&pose.atoms)
            .all(|(a, b)| a.kind == b.kind && a.serial == b.serial)
}

/// For each atom of the molecule the tree's; none for hydrogens the tree leaves out.
fn match_atoms(molecule: &Molecule, tree: &TorsionTree) -> Result<Vec<Option<usize>>, MatchError> {
    // Sorted along x, so that each atom is compared with its few neighbours in that direction.
    let mut along_x: Vec<(f64, usize)> = tree
        .atoms
        .iter()
        .enumerate()
        .map(|(index, atom)| (x_of(atom.position), index))
        .collect();
    along_x.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut taken = vec![false; tree.atoms.len()];
    let mut matched = Vec::with_capacity(molecule.atoms.len());
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let x = x_of(atom.position);
        let from = along_x.partition_point(|(other, _)| *other < x - SAME_PLACE);
        let mut found = None;
        for &(other, candidate) in along_x.iter().skip(from) {
            if other > x + SAME_PLACE {
                break;
            }
            let same = tree.atoms.get(candidate).is_some_and(|tree_atom| {
                tree_atom.element() == atom.element && same_place(tree_atom.position, atom.position)
            });
            if same && found.replace(candidate).is_some() {
                return Err(MatchError::Coincident { atom: index + 1 });
            }
        }
        match found {
            Some(candidate) => {
                let slot = taken.get_mut(candidate).ok_or(MatchError::OtherAtoms)?;
                if std::mem::replace(slot, true) {
                    return Err(MatchError::Coincident { atom: index + 1 });
                }
            }
            None if atom.is_hydrogen() => {}
            None => {
                let element = atom
                    .element
                    .map_or_else(|| "?".to_owned(), |element| element.to_string());
                return Err(MatchError::NotInTree {
                    atom: index + 1,
                    element,
                });
            }
        }
        matched.push(found);
    }
    let left_out = tree
        .atoms
        .iter()
        .zip(&taken)
        .position(|(atom, &taken)| !taken && !atom.is_glue());
    match left_out.and_then(|index| tree.atoms.get(index).map(|atom| (index, atom))) {
        Some((index, atom)) => Err(MatchError::NotInMolecule {
            atom: index + 1,
            kind: atom.kind.to_string(),
        }),
        None => Ok(matched),
    }
}

fn x_of([x, ..]: Point) -> f64 {
    x
}

fn same_place(a: Point, b: Point) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME_PLACE)
}

/// How a hydrogen that the tree leaves out follows the pose.
fn place_hydrogen(
    molecule: &Molecule,
    tree: &TorsionTree,
    matched: &[Option<usize>],
    hydrogen: usize,
) -> Result<Place, MatchError> {
    let loose = MatchError::LooseHydrogen { atom: hydrogen + 1 };
    let neighbour = molecule.bonds.iter().find_map(|bond| {
        let (a, b) = (bond.a as usize, bond.b as usize);
        if a == hydrogen {
            Some(b)
        } else if b == hydrogen {
            Some(a)
        } else {
            None
        }
    });
    let holder = neighbour
        .and_then(|neighbour| matched.get(neighbour).copied().flatten())
        .ok_or_else(|| loose.clone())?;
    let (Some(position), Some(holder_atom)) = (
        molecule.atoms.get(hydrogen).map(|atom| atom.position),
        tree.atoms.get(holder),
    ) else {
        return Err(loose);
    };
    // The nearest atoms of the same rigid body: the shorter the lever, the smaller the rounding.
    let mut body: Vec<(f64, usize, Point)> = tree
        .rigid_with(holder_atom.block)
        .into_iter()
        .filter(|&member| member != holder)
        .filter_map(|member| {
            let other = tree.atoms.get(member)?.position;
            Some((distance_squared(holder_atom.position, other), member, other))
        })
        .collect();
    body.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    for (index, &(_, along, along_at)) in body.iter().enumerate() {
        for &(_, aside, aside_at) in body.iter().skip(index + 1) {
            if let Some(frame) = Frame::new(holder_atom.position, along_at, aside_at) {
                return Ok(Place::Fixed {
                    corners: [holder, along, aside],
                    local: frame.local(position),
                });
            }
        }
        // A straight body has no third corner for any pair.
        if index >= 8 {
            break;
        }
    }
    Ok(Place::Carried {
        by: holder,
        offset: subtract(position, holder_atom.position),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use bindery_chem::{Atom, Bond, BondOrder, Element};

    use super::*;
    use crate::geometry::{distance, dot, rotations};

    const TREE: &str = "\
ROOT
ATOM      1  C   UNL     1       0.000   0.000   0.000  0.00  0.00    +0.010 C 
ATOM      2  O   UNL     1       1.400   0.000   0.000  0.00  0.00    -0.300 OA
ENDROOT
BRANCH   1   3
ATOM      3  C   UNL     1      -0.700   1.300   0.000  0.00  0.00    +0.050 C 
ATOM      4  F   UNL     1      -0.100   2.300   0.500  0.00  0.00    -0.200 F 
ENDBRANCH   1   3
TORSDOF 1
";

    fn molecule() -> Molecule {
        let atom = |element, position| Atom {
            element: Some(element),
            position,
            ..Atom::default()
        };
        let bond = |a, b| Bond {
            a,
            b,
            order: BondOrder::Single,
            stereo: 0,
        };
        Molecule {
            // Another order than the tree's.
            atoms: vec![
                atom(Element::F, [-0.1, 2.3, 0.5]),
                atom(Element::C, [-0.7004, 1.3, 0.0]),
                atom(Element::C, [0.0, 0.0, 0.0]),
                atom(Element::O, [1.4, 0.0, 0.0]),
                atom(Element::H, [-0.4, -0.5, 0.9]),
                atom(Element::H, [-1.7, 1.3, 0.4]),
            ],
            bonds: vec![bond(0, 1), bond(1, 2), bond(2, 3), bond(2, 4), bond(1, 5)],
            ..Molecule::default()
        }
    }

    fn tree() -> TorsionTree {
        TorsionTree::read(TREE.lines(), 1).unwrap()
    }

    #[test]
    fn a_moved_ligand_keeps_every_bond_length_and_angle() {
        let template = Template::new(molecule(), tree()).unwrap();
        let before = molecule();
        for rows in rotations(20) {
            let mut moved = tree();
            for atom in &mut moved.atoms {
                atom.position = add(rows.map(|row| dot(row, atom.position)), [10.0, -20.0, 30.0]);
            }
            let after = template.pose(&moved).unwrap();
            for a in 0..before.atoms.len() {
                for b in 0..a {
                    let was = distance(before.atoms[a].position, before.atoms[b].position);
                    let is = distance(after.atoms[a].position, after.atoms[b].position);
                    assert!((was - is).abs() < 2e-3, "atoms {a} and {b}: {was} and {is}");
                }
            }
        }
    }

    #[test]
    fn hydrogens_turn_with_the_body_of_their_neighbour() {
        let template = Template::new(molecule(), tree()).unwrap();
        let mut turned = tree();
        // Half a turn of the branch about the bond from (0, 0, 0) to (-0.7, 1.3, 0).
        let axis = [-0.7_f64, 1.3, 0.0];
        let length = dot(axis, axis);
        let half_turn = |point: Point| {
            let along = dot(axis, point) / length * 2.0;
            subtract(axis.map(|part| part * along), point)
        };
        turned.atoms[3].position = half_turn(turned.atoms[3].position);
        let pose = template.pose(&turned).unwrap();
        assert!(distance(pose.atoms[4].position, molecule().atoms[4].position) < 1e-6);
        let expected = half_turn(molecule().atoms[5].position);
        assert!(distance(pose.atoms[5].position, expected) < 2e-3);
    }

    #[test]
    fn what_does_not_match_is_told() {
        let told = |molecule: Molecule| Template::new(molecule, tree()).map(|_| ()).unwrap_err();
        let mut without_fluorine = molecule();
        without_fluorine.atoms[0].element = Some(Element::CL);
        assert_eq!(
            told(without_fluorine),
            MatchError::NotInTree {
                atom: 1,
                element: "Cl".to_owned()
            }
        );
        let mut missing = molecule();
        missing.atoms.remove(3);
        missing.bonds.clear();
        missing.atoms.truncate(3);
        assert_eq!(
            told(missing),
            MatchError::NotInMolecule {
                atom: 2,
                kind: "OA".to_owned()
            }
        );
        let mut twice = molecule();
        let again = twice.atoms[2].clone();
        twice.atoms.push(again);
        assert_eq!(told(twice), MatchError::Coincident { atom: 7 });
        let mut loose = molecule();
        loose.bonds.pop();
        assert_eq!(told(loose), MatchError::LooseHydrogen { atom: 6 });
        let mut other = tree();
        other.atoms.pop();
        let template = Template::new(molecule(), tree()).unwrap();
        assert_eq!(template.pose(&other).unwrap_err(), MatchError::OtherAtoms);
    }
}
