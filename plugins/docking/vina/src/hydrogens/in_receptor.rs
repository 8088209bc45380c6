//! Hydrogens of a rigid receptor: bonds are told from distances.

use std::{collections::HashMap, fmt::Write as _};

use bindery_chem::{Element, Molecule};

use super::{Rotor, SAME_PLACE, is_drawn, place};
use crate::{
    geometry::{Point, distance, distance_squared},
    torsion_tree::{TreeAtom, read_atom},
};

/// Edge of the cells that neighbours are looked up in; no bond is longer.
const CELL: f64 = 2.5;
/// Cells looked at in each direction for what a hydrogen could turn towards.
const OBSTACLE_CELLS: i64 = 1;
/// Added to the radii of two atoms for the longest bond between them.
const BOND_SLACK: f64 = 0.4;

type Cell = [i64; 3];

/// The text of a rigid PDBQT receptor with the hydrogens that are not in `source` at their
/// definite places. Lines without such a hydrogen stay as they are.
pub(crate) fn settle_receptor(text: &str, source: Option<&Molecule>) -> String {
    let kept = Kept::new(source);
    let receptor = Atoms::read(text);
    let mut moved: HashMap<usize, Point> = HashMap::new();
    for (center, hydrogens) in receptor.rotors(&kept) {
        receptor.settle(center, &hydrogens, &kept, &mut moved);
    }
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        match moved.get(&number) {
            Some([x, y, z]) => {
                let _ = writeln!(
                    out,
                    "{}{x:>8.3}{y:>8.3}{z:>8.3}{}",
                    line.get(..30).unwrap_or_default(),
                    line.get(54..).unwrap_or_default()
                );
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// Places of the input's own hydrogens, to the thousandth.
struct Kept(HashMap<Cell, Vec<Point>>);

impl Kept {
    fn new(source: Option<&Molecule>) -> Self {
        let mut places: HashMap<Cell, Vec<Point>> = HashMap::new();
        for atom in source.into_iter().flat_map(|source| &source.atoms) {
            if atom.is_hydrogen() {
                places
                    .entry(cell(atom.position))
                    .or_default()
                    .push(atom.position);
            }
        }
        Self(places)
    }

    fn contains(&self, point: Point) -> bool {
        around(cell(point), 1).any(|cell| {
            self.0.get(&cell).is_some_and(|places| {
                places
                    .iter()
                    .any(|&kept| distance_squared(kept, point) < SAME_PLACE * SAME_PLACE)
            })
        })
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "saturates, and far cells need no precision"
)]
fn cell(point: Point) -> Cell {
    point.map(|value| (value / CELL).floor() as i64)
}

fn around([x, y, z]: Cell, reach: i64) -> impl Iterator<Item = Cell> {
    (-reach..=reach).flat_map(move |dx| {
        (-reach..=reach).flat_map(move |dy| {
            (-reach..=reach).map(move |dz| {
                [
                    x.saturating_add(dx),
                    y.saturating_add(dy),
                    z.saturating_add(dz),
                ]
            })
        })
    })
}

/// Angstrom; none for atoms that hold no hydrogens and take part in no bond here (metals).
fn radius(element: Element) -> Option<f64> {
    match element {
        Element::C => Some(0.76),
        Element::N => Some(0.71),
        Element::O => Some(0.66),
        Element::F => Some(0.57),
        Element::SI | Element::P => Some(1.09),
        Element::S | Element::CL => Some(1.04),
        Element::SE | Element::BR => Some(1.2),
        Element::I => Some(1.39),
        _ => None,
    }
}

struct Atom {
    line: usize,
    residue: String,
    read: TreeAtom,
}

struct Atoms {
    atoms: Vec<Atom>,
    /// Heavy atoms that can have bonds.
    cells: HashMap<Cell, Vec<usize>>,
    /// Nitrogen, oxygen and sulfur of each residue.
    polar: HashMap<String, Vec<usize>>,
}

impl Atoms {
    fn read(text: &str) -> Self {
        let mut all = Self {
            atoms: Vec::new(),
            cells: HashMap::new(),
            polar: HashMap::new(),
        };
        for (line, text) in text.lines().enumerate() {
            if !text.starts_with("ATOM") && !text.starts_with("HETATM") {
                continue;
            }
            // What cannot be read is refused by the checks that follow.
            let Ok(read) = read_atom(text) else { continue };
            let residue = text.get(17..27).unwrap_or_default().to_owned();
            let index = all.atoms.len();
            if let Some(element) = read.element().filter(|&element| radius(element).is_some()) {
                all.cells
                    .entry(cell(read.position))
                    .or_default()
                    .push(index);
                if matches!(element, Element::N | Element::O | Element::S) {
                    all.polar.entry(residue.clone()).or_default().push(index);
                }
            }
            all.atoms.push(Atom {
                line,
                residue,
                read,
            });
        }
        all
    }

    fn position(&self, atom: usize) -> Point {
        self.atoms
            .get(atom)
            .map_or([0.0; 3], |atom| atom.read.position)
    }

    /// The polar atom a hydrogen belongs to: of its residue, at the distance of a bond. Angles
    /// cannot be relied on, so the nearest heavy atom may be another one.
    fn holder(&self, hydrogen: &Atom) -> Option<usize> {
        let apart = |&candidate: &usize| {
            (distance(self.position(candidate), hydrogen.read.position) - 1.0).abs()
        };
        self.polar
            .get(&hydrogen.residue)?
            .iter()
            .copied()
            .filter(|candidate| apart(candidate) < 0.4)
            .min_by(|a, b| apart(a).total_cmp(&apart(b)))
    }

    /// Atoms with drawn hydrogens, and all of their hydrogens.
    fn rotors(&self, kept: &Kept) -> Vec<(usize, Vec<usize>)> {
        let mut held: HashMap<usize, Vec<usize>> = HashMap::new();
        for (index, atom) in self.atoms.iter().enumerate() {
            if atom.read.is_hydrogen()
                && let Some(holder) = self.holder(atom)
            {
                held.entry(holder).or_default().push(index);
            }
        }
        let mut rotors: Vec<(usize, Vec<usize>)> = held
            .into_iter()
            .filter(|(center, hydrogens)| {
                let added = hydrogens
                    .iter()
                    .filter(|&&hydrogen| !kept.contains(self.position(hydrogen)))
                    .count();
                is_drawn(self.bonded(*center).len(), added)
            })
            .collect();
        // The order of a hash map is no order.
        rotors.sort_unstable();
        rotors
    }

    /// Heavy atoms bonded to this one, in file order.
    fn bonded(&self, atom: usize) -> Vec<usize> {
        let Some(center) = self.atoms.get(atom) else {
            return Vec::new();
        };
        let Some(own) = center.read.element().and_then(radius) else {
            return Vec::new();
        };
        let mut bonded: Vec<usize> = around(cell(center.read.position), 1)
            .filter_map(|cell| self.cells.get(&cell))
            .flatten()
            .copied()
            .filter(|&other| {
                let Some(candidate) = self.atoms.get(other) else {
                    return false;
                };
                let reach = candidate.read.element().and_then(radius).unwrap_or(0.0);
                let longest = own + reach + BOND_SLACK;
                let apart = distance_squared(center.read.position, candidate.read.position);
                other != atom && apart < longest * longest
            })
            .collect();
        bonded.sort_unstable();
        bonded
    }

    fn settle(
        &self,
        center: usize,
        hydrogens: &[usize],
        kept: &Kept,
        moved: &mut HashMap<usize, Point>,
    ) {
        let at = self.position(center);
        let bonded = self.bonded(center);
        let neighbour = bonded.first().copied();
        let beyond: Vec<Point> = neighbour
            .map(|neighbour| self.bonded(neighbour))
            .unwrap_or_default()
            .into_iter()
            .filter(|&atom| atom != center)
            .map(|atom| self.position(atom))
            .collect();
        let (stays, added): (Vec<usize>, Vec<usize>) = hydrogens
            .iter()
            .copied()
            .partition(|&hydrogen| kept.contains(self.position(hydrogen)));
        let neighbours: Vec<Point> = bonded.iter().map(|&atom| self.position(atom)).collect();
        let stays: Vec<Point> = stays.iter().map(|&atom| self.position(atom)).collect();
        let mut obstacles: Vec<usize> = around(cell(at), OBSTACLE_CELLS)
            .filter_map(|cell| self.cells.get(&cell))
            .flatten()
            .copied()
            .filter(|&atom| atom != center && Some(atom) != neighbour)
            .collect();
        obstacles.sort_unstable();
        let obstacles: Vec<Point> = obstacles.iter().map(|&atom| self.position(atom)).collect();
        let rotor = Rotor {
            center: at,
            neighbours: &neighbours,
            beyond: &beyond,
            kept: &stays,
            added: added.len(),
            element: self.atoms.get(center).and_then(|atom| atom.read.element()),
        };
        for (&atom, point) in added.iter().zip(place(&rotor, &obstacles)) {
            if let Some(atom) = self.atoms.get(atom) {
                moved.insert(atom.line, point);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;

    /// A lysine's end with a hydrogen at an impossible angle.
    const LYSINE: &str = "\
REMARK  Name = receptor
ATOM      1  CD  LYS A   1       0.000   0.000   0.000  0.00  0.00    +0.000 C 
ATOM      2  CE  LYS A   1       1.500   0.000   0.000  0.00  0.00    +0.000 C 
ATOM      3  NZ  LYS A   1       2.000   1.400   0.000  0.00  0.00    +0.000 N 
ATOM      4  H   LYS A   1       1.100   1.000   0.300  0.00  0.00    +0.000 HD
ATOM      5  H   LYS A   1       3.000   1.400   0.000  0.00  0.00    +0.000 HD
";

    #[test]
    fn wherever_the_hydrogens_were_they_come_to_the_same_places() {
        let settled = settle_receptor(LYSINE, None);
        let other = LYSINE.replace("1.100   1.000   0.300", "1.300   1.400   0.710");
        let again = settle_receptor(&other, None);
        let places = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.get(30..54).unwrap_or(line).to_owned())
                .collect()
        };
        assert_eq!(places(&settled)[..4], places(LYSINE)[..4]);
        let hydrogens: Vec<Point> = settled
            .lines()
            .skip(4)
            .filter_map(|line| read_atom(line).ok())
            .map(|atom| atom.position)
            .collect();
        for (a, b) in hydrogens.iter().zip(
            again
                .lines()
                .skip(4)
                .filter_map(|line| read_atom(line).ok()),
        ) {
            assert_eq!(*a, b.position);
        }
        assert!((distance(hydrogens[0], hydrogens[1]) - 1.63).abs() < 0.1);
    }

    #[test]
    fn hydrogens_of_the_input_stay() {
        let hydrogen = |position| bindery_chem::Atom {
            element: Some(Element::H),
            position,
            ..bindery_chem::Atom::default()
        };
        let source = Molecule {
            atoms: vec![hydrogen([1.1, 1.0, 0.3]), hydrogen([3.0, 1.4, 0.0])],
            ..Molecule::default()
        };
        assert_eq!(settle_receptor(LYSINE, Some(&source)), LYSINE);
    }
}
