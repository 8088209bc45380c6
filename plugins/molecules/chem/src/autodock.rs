//! AutoDock atom types, the last column of a PDBQT file.
//!
//! The names are case-sensitive, and the engine refuses every other one; `Cl` is chlorine and
//! `CL` is nothing. The table is what AutoDock Vina 1.2.3 was seen to take: less than the names
//! in AutoDock's own parameter files (`MG`, `HS`), more than its documentation lists.

use std::fmt;

use crate::element::Element;

/// An atom type that AutoDock Vina 1.2 reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AutodockType(u8);

impl AutodockType {
    /// The type written exactly so.
    #[must_use]
    pub fn from_label(label: &str) -> Option<AutodockType> {
        let index = TYPES.iter().position(|(known, _)| *known == label)?;
        u8::try_from(index).ok().map(AutodockType)
    }

    /// As written in a PDBQT file.
    #[must_use]
    pub fn label(self) -> &'static str {
        TYPES
            .get(usize::from(self.0))
            .map_or("?", |(label, _)| label)
    }

    /// None for pseudo atoms: the glue of opened rings (`G0`) and explicit waters (`W`).
    #[must_use]
    pub fn element(self) -> Option<Element> {
        let (_, symbol) = TYPES.get(usize::from(self.0))?;
        Element::from_symbol(symbol)
    }

    /// Hydrogen that can donate a hydrogen bond.
    #[must_use]
    pub fn is_polar_hydrogen(self) -> bool {
        self.label() == "HD"
    }
}

impl fmt::Display for AutodockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Label and element, most frequent first, as lines are looked up one by one.
static TYPES: [(&str, &str); 40] = [
    ("C", "C"),
    ("A", "C"),
    ("HD", "H"),
    ("OA", "O"),
    ("N", "N"),
    ("H", "H"),
    ("NA", "N"),
    ("SA", "S"),
    ("S", "S"),
    ("O", "O"),
    ("F", "F"),
    ("Cl", "Cl"),
    ("Br", "Br"),
    ("I", "I"),
    ("P", "P"),
    ("Mg", "Mg"),
    ("Ca", "Ca"),
    ("Mn", "Mn"),
    ("Fe", "Fe"),
    ("Zn", "Zn"),
    ("Si", "Si"),
    ("At", "At"),
    ("Se", "Se"),
    ("Cu", "Cu"),
    ("Na", "Na"),
    ("K", "K"),
    ("Hg", "Hg"),
    ("Co", "Co"),
    ("U", "U"),
    ("Cd", "Cd"),
    ("Ni", "Ni"),
    ("W", ""),
    ("G0", ""),
    ("G1", ""),
    ("G2", ""),
    ("G3", ""),
    ("CG0", "C"),
    ("CG1", "C"),
    ("CG2", "C"),
    ("CG3", "C"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_case_sensitive_and_have_elements() {
        assert_eq!(AutodockType::from_label("CL"), None);
        assert_eq!(AutodockType::from_label(""), None);
        let element = |label| {
            AutodockType::from_label(label)
                .and_then(AutodockType::element)
                .map(Element::symbol)
        };
        assert_eq!(element("A"), Some("C"));
        assert_eq!(element("NA"), Some("N"));
        assert_eq!(element("Na"), Some("Na"));
        assert_eq!(element("CG0"), Some("C"));
        assert_eq!(element("G0"), None);
    }
}
