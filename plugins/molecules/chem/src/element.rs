//! Chemical elements: symbols, and the few facts about them that reading a file needs.

use std::fmt;

/// A chemical element, by its atomic number 1..=118.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element(u8);

impl Element {
    pub const H: Element = Element(1);
    pub const B: Element = Element(5);
    pub const C: Element = Element(6);
    pub const N: Element = Element(7);
    pub const O: Element = Element(8);
    pub const F: Element = Element(9);
    pub const SI: Element = Element(14);
    pub const P: Element = Element(15);
    pub const S: Element = Element(16);
    pub const CL: Element = Element(17);
    pub const AS: Element = Element(33);
    pub const SE: Element = Element(34);
    pub const BR: Element = Element(35);
    pub const TE: Element = Element(52);
    pub const I: Element = Element(53);

    /// The element with this atomic number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Element> {
        (1..=118).contains(&number).then_some(Element(number))
    }

    /// The element written exactly so: `C`, `Cl`, not `CL`. Deuterium and tritium (`D`, `T`) are
    /// no symbols here; [`Element::from_symbol_any_case`] knows them no more than this one.
    #[must_use]
    pub fn from_symbol(symbol: &str) -> Option<Element> {
        let index = SYMBOLS.iter().position(|known| *known == symbol)?;
        Element::from_number(u8::try_from(index + 1).ok()?)
    }

    /// The element of a symbol in any case: `CL`, `cl` and `Cl` are chlorine.
    #[must_use]
    pub fn from_symbol_any_case(symbol: &str) -> Option<Element> {
        let mut bytes = symbol.bytes();
        let (first, second) = (bytes.next()?, bytes.next());
        if bytes.next().is_some() {
            return None;
        }
        // One-letter symbols are most of every file, so they take no search.
        let wanted = [
            first.to_ascii_uppercase(),
            second.map_or(0, |b| b.to_ascii_lowercase()),
        ];
        let index = SYMBOLS.iter().position(|known| {
            let mut known = known.bytes();
            known.next() == Some(wanted[0]) && known.next().unwrap_or(0) == wanted[1]
        })?;
        Element::from_number(u8::try_from(index + 1).ok()?)
    }

    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    #[must_use]
    pub fn symbol(self) -> &'static str {
        SYMBOLS.get(usize::from(self.0) - 1).copied().unwrap_or("?")
    }

    #[must_use]
    pub fn is_hydrogen(self) -> bool {
        self.0 == 1
    }

    /// Whether the element is a metal, by the usual reading: metalloids (B, Si, Ge, As, Sb, Te)
    /// are none.
    #[must_use]
    pub fn is_metal(self) -> bool {
        matches!(
            self.0,
            3 | 4 | 11..=13 | 19..=31 | 37..=50 | 55..=84 | 87..=116
        )
    }

    #[must_use]
    pub fn is_halogen(self) -> bool {
        matches!(self.0, 9 | 17 | 35 | 53 | 85)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

#[rustfmt::skip]
static SYMBOLS: [&str; 118] = [
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl", "Ar", "K", "Ca",
    "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y",
    "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce",
    "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir",
    "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm",
    "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc",
    "Lv", "Ts", "Og",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn symbols_and_numbers_agree() {
        for (symbol, number) in [
            ("H", 1),
            ("C", 6),
            ("Cl", 17),
            ("Zn", 30),
            ("I", 53),
            ("U", 92),
            ("Og", 118),
        ] {
            let element = Element::from_symbol(symbol).unwrap();
            assert_eq!(element.number(), number);
            assert_eq!(element.symbol(), symbol);
        }
        assert_eq!(Element::from_symbol("CL"), None);
        assert_eq!(Element::from_symbol_any_case("CL"), Some(Element::CL));
        assert_eq!(Element::from_symbol_any_case("c"), Some(Element::C));
        assert_eq!(Element::from_symbol_any_case("Mv"), None);
        assert_eq!(Element::from_symbol_any_case(""), None);
    }
}
