//! Valence: hydrogens that bonds leave unsaid, and bonds that no atom can have.
//!
//! A charged atom has the valences of the neutral atom with as many electrons (ammonium those of
//! carbon), which covers the main group. Metals have no rule. An atom bonded to a metal may exceed
//! its valence, as files draw coordination as single bonds.

use crate::element::Element;
use crate::fault::{Fault, Faults};
use crate::graph::Neighbours;
use crate::model::{AtomKind, BondOrder, Molecule};

/// No real atom has more neighbours than this: the largest coordination number known is 16, and a
/// ferrocene drawn with all its bonds has 10.
pub(crate) const DEGREE_MAX: usize = 16;

/// The usual valences of a neutral atom, smallest first; empty for elements without a rule.
pub(crate) fn valences(element: Element, charge: i8) -> &'static [u8] {
    let electrons = i16::from(element.number()) - i16::from(charge);
    // Metals and noble gases have no rule of their own, though an ion can look like one.
    if element.is_metal() || matches!(element.number(), 2 | 10 | 18 | 36 | 54) {
        return &[];
    }
    match element.number() {
        // Only the bare proton, hydrogen and hydride; nothing is isoelectronic with them.
        1 => return if charge == 0 { &[1] } else { &[0] },
        // Hypervalent iodine and the oxoacids of chlorine and bromine.
        17 | 35 | 53 if charge == 0 => return &[1, 3, 5, 7],
        // Triiodide and its kin.
        53 if charge == -1 => return &[0, 2, 4],
        // The second row has no room beyond its octet; five bonds at a neutral nitrogen are an old
        // way to draw nitro groups and azides.
        7 if charge == 0 => return &[3, 5],
        5..=9 => {
            return match electrons {
                5 => &[3],
                6 => &[4],
                7 => &[3],
                8 => &[2],
                9 => &[1],
                10 => &[0],
                _ => &[],
            };
        }
        _ => {}
    }
    match electrons {
        31 => &[3],
        14 | 32 | 50 => &[4],
        15 | 33 | 51 => &[3, 5, 7],
        16 | 34 | 52 => &[2, 4, 6],
        17 | 35 | 53 => &[1, 3, 5],
        18 | 36 | 54 => &[0],
        _ => &[],
    }
}

/// Sum of the orders of an atom's bonds, aromatic ones by what they take of its valence.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BondSum {
    /// Whole orders, aromatic bonds counted as one each.
    pub(crate) sigma_and_pi: u32,
    pub(crate) aromatic: u32,
    pub(crate) double: u32,
    pub(crate) at_metal: u32,
    /// Bonds whose order is not known: nothing can be said.
    pub(crate) unknown: u32,
}

impl BondSum {
    pub(crate) fn of(molecule: &Molecule, neighbours: &Neighbours, atom: usize) -> BondSum {
        let mut sum = BondSum::default();
        for neighbour in neighbours.of(atom) {
            let Some(bond) = molecule.bonds.get(neighbour.bond as usize) else {
                continue;
            };
            let other = molecule.atoms.get(neighbour.atom as usize);
            if other.is_some_and(|other| other.element.is_some_and(Element::is_metal)) {
                sum.at_metal += 1;
            }
            match bond.order {
                BondOrder::Single => sum.sigma_and_pi += 1,
                BondOrder::Double => {
                    sum.sigma_and_pi += 2;
                    sum.double += 1;
                }
                BondOrder::Triple => sum.sigma_and_pi += 3,
                BondOrder::Quadruple => sum.sigma_and_pi += 4,
                BondOrder::Aromatic => {
                    sum.sigma_and_pi += 1;
                    sum.aromatic += 1;
                }
                BondOrder::Dative | BondOrder::Hydrogen => {}
                BondOrder::Query | BondOrder::Unknown => sum.unknown += 1,
            }
        }
        sum
    }

    /// Valence taken, with one more for the double bond that two or more aromatic bonds share.
    fn taken(self) -> u32 {
        self.sigma_and_pi + u32::from(self.aromatic >= 2)
    }
}

/// Fills in [`crate::Atom::implicit_hydrogens`] where `wants` says that the source leaves them out.
pub(crate) fn add_implicit_hydrogens(
    molecule: &mut Molecule,
    neighbours: &Neighbours,
    wants: impl Fn(usize) -> bool,
) {
    for index in 0..molecule.atoms.len() {
        if !wants(index) {
            continue;
        }
        let sum = BondSum::of(molecule, neighbours, index);
        let Some(atom) = molecule.atoms.get_mut(index) else {
            continue;
        };
        let Some(element) = atom
            .element
            .filter(|_| atom.kind == AtomKind::Real && sum.unknown == 0)
        else {
            continue;
        };
        // A lone hydrogen in a file is a proton or an atom, not half of a molecule.
        if element.is_hydrogen() {
            continue;
        }
        // Coordinating atoms keep no hydrogens that the file does not show.
        if sum.at_metal > 0 {
            continue;
        }
        let taken = sum.taken();
        let levels = valences(element, atom.formal_charge);
        // In a ring only the lowest valence is meant: thiophene's sulphur has no hydrogen. The
        // higher valences of nitrogen and the halogens are drawings, not hydrides.
        let lowest_only = sum.aromatic > 0 || element == Element::N || element.is_halogen();
        let levels = if lowest_only {
            levels.get(..1).unwrap_or_default()
        } else {
            levels
        };
        let level = levels
            .iter()
            .map(|level| u32::from(*level))
            .find(|level| *level >= taken);
        let missing = level.map_or(0, |level| level - taken);
        atom.implicit_hydrogens = u8::try_from(missing).unwrap_or(0);
    }
}

/// Reports atoms with more bonds than their element can have.
pub(crate) fn check(molecule: &Molecule, neighbours: &Neighbours, faults: &mut Faults) {
    for (index, atom) in molecule.atoms.iter().enumerate() {
        let degree = neighbours.of(index).len();
        if degree > DEGREE_MAX {
            let message = format!(
                "{} has {degree} neighbours; no atom has more than {DEGREE_MAX}",
                name(molecule, index)
            );
            faults.push(Fault::error("too_many_neighbours", message));
            continue;
        }
        let Some(element) = atom.element.filter(|_| atom.kind == AtomKind::Real) else {
            continue;
        };
        let sum = BondSum::of(molecule, neighbours, index);
        let Some(most) = valences(element, atom.formal_charge).last() else {
            continue;
        };
        let most = u32::from(*most);
        let taken = sum.sigma_and_pi + u32::from(atom.implicit_hydrogens);
        // An aromatic atom is judged by its single bonds alone here; whether its double bond fits
        // is the business of kekulization.
        let neutral_nitrogen =
            element == Element::N && atom.formal_charge == 0 && sum.aromatic == 0;
        let even_halogen =
            element.is_halogen() && atom.formal_charge == 0 && taken > 0 && taken.is_multiple_of(2);
        if taken <= most && !(neutral_nitrogen && taken == 4) && !even_halogen {
            if neutral_nitrogen && taken == 5 {
                let message = format!(
                    "{} is drawn with five bonds; read as charge-separated",
                    name(molecule, index)
                );
                faults.push(Fault::warning("pentavalent_nitrogen", message));
            }
            continue;
        }
        let most = if neutral_nitrogen { 3 } else { most };
        let charge = match atom.formal_charge {
            0 => String::new(),
            charge => format!(" with charge {charge:+}"),
        };
        let message = if even_halogen && taken < most {
            format!(
                "{} has valence {taken}; 1 is usual, 3, 5 and 7 are possible",
                name(molecule, index)
            )
        } else {
            format!(
                "{}{charge} has valence {taken}; at most {most} is possible",
                name(molecule, index)
            )
        };
        // Fluorine and hydrogen lend no pair: a second bond of theirs is a mistake at a metal, too.
        let may_coordinate = !matches!(element, Element::H | Element::F);
        if may_coordinate && sum.at_metal > 0 && taken - sum.at_metal.min(taken) <= most {
            faults.push(Fault::warning(
                "coordination",
                format!("{message} without its bond to a metal"),
            ));
        } else {
            faults.push(Fault::error("valence", message));
        }
    }
}

/// An atom as messages name it: `atom 7 (N)`.
pub(crate) fn name(molecule: &Molecule, index: usize) -> String {
    let atom = molecule.atoms.get(index);
    let element = atom
        .and_then(|atom| atom.element)
        .map_or("?", Element::symbol);
    match atom
        .map(|atom| atom.name.as_str())
        .filter(|name| !name.is_empty() && *name != element)
    {
        Some(name) => format!("atom {} ({element}, {name})", index + 1),
        None => format!("atom {} ({element})", index + 1),
    }
}
