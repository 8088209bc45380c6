//! Molecular formulas.

use std::fmt::Write;

use crate::element::Element;
use crate::model::{AtomKind, Molecule};

/// Formula in Hill order (C, H, then the rest by symbol; by symbol alone without carbon), with
/// implicit hydrogens. Atoms of no element are left out; their number is `*n` at the end.
#[must_use]
pub fn formula(molecule: &Molecule) -> String {
    let mut counts = ElementCounts::default();
    for atom in &molecule.atoms {
        match atom.element {
            Some(element) if atom.kind == AtomKind::Real => counts.add(element, 1),
            _ if atom.kind == AtomKind::LonePair => {}
            _ => counts.others += 1,
        }
        counts.add(Element::H, u64::from(atom.implicit_hydrogens));
    }
    counts.formula()
}

/// How many atoms of each element.
#[derive(Debug, Clone)]
pub(crate) struct ElementCounts {
    by_number: [u64; 119],
    others: u64,
}

impl Default for ElementCounts {
    fn default() -> Self {
        ElementCounts {
            by_number: [0; 119],
            others: 0,
        }
    }
}

impl ElementCounts {
    pub(crate) fn add(&mut self, element: Element, count: u64) {
        if let Some(sum) = self.by_number.get_mut(usize::from(element.number())) {
            *sum += count;
        }
    }

    /// Elements that occur, in order of atomic number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Element, u64)> + '_ {
        (1..=118_u8).filter_map(|number| {
            let count = self
                .by_number
                .get(usize::from(number))
                .copied()
                .unwrap_or(0);
            Element::from_number(number)
                .filter(|_| count > 0)
                .map(|element| (element, count))
        })
    }

    fn formula(&self) -> String {
        let mut parts: Vec<(Element, u64)> = self.iter().collect();
        let has_carbon = parts.iter().any(|(element, _)| *element == Element::C);
        parts.sort_by_key(|(element, _)| match *element {
            Element::C if has_carbon => (0, ""),
            Element::H if has_carbon => (1, ""),
            other => (2, other.symbol()),
        });
        let mut out = String::new();
        for (element, count) in parts {
            out.push_str(element.symbol());
            if count > 1 {
                // Writing to a string cannot fail.
                let _ = write!(out, "{count}");
            }
        }
        if self.others > 0 {
            let _ = write!(out, "*{}", self.others);
        }
        out
    }
}
