//! Molecules as they stand in a file.
//!
//! - An **atom** is one atom line; hydrogens that a format leaves out are counted per atom in
//!   [`Atom::implicit_hydrogens`], never made into atoms.
//! - A **residue** is a run of atoms with one name, chain, number and insertion code.
//! - Positions are in angstrom, charges in elementary charges.
//!
//! Invariants: the atom indexes of every bond and the residue index of every atom are in range;
//! positions are finite. Only the readers of this crate make molecules with many atoms, so atoms
//! are kept small: 100,000 of them take about 10 MB.

use std::fmt;
use std::ops::Deref;

use crate::autodock::AutodockType;
use crate::element::Element;

/// One molecule, or one structure file with all its chains.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Molecule {
    /// As written in the file; untrusted text, never to be used as a file name.
    pub title: String,
    /// Atoms of the first model.
    pub atoms: Vec<Atom>,
    pub bonds: Vec<Bond>,
    /// Empty in formats that have none.
    pub residues: Vec<Residue>,
    /// Data items of an SDF record, in file order; names may repeat.
    pub properties: Vec<(String, String)>,
    /// Models in the file (PDB, PDBQT); 1 in other formats.
    pub models: u32,
    pub dimensions: Dimensions,
    /// `TORSDOF` of a ligand PDBQT.
    pub torsion_degrees: Option<u32>,
    /// Formal charges and hydrogens are as in the source or derivable from it: true for molfiles
    /// and SMILES, false where the format carries no bond orders.
    pub has_bond_orders: bool,
}

/// What the coordinates are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dimensions {
    /// No coordinates (SMILES), or all atoms at one point.
    #[default]
    Zero,
    /// A drawing: all atoms in one plane of constant z.
    Two,
    Three,
}

impl Dimensions {
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Dimensions::Zero => 0,
            Dimensions::Two => 2,
            Dimensions::Three => 3,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Atom {
    /// x, y, z in angstrom.
    pub position: [f64; 3],
    /// None for what is no atom of a known element, see `kind`.
    pub element: Option<Element>,
    pub kind: AtomKind,
    /// Atom name (`CA`), or the element symbol where the format has no names.
    pub name: ShortText,
    /// Elementary charges.
    pub formal_charge: i8,
    /// Mass number; 0 is the natural mixture.
    pub isotope: u16,
    /// Hydrogens that are not atoms of the file but follow from its bonds.
    pub implicit_hydrogens: u8,
    pub aromatic: bool,
    /// Serial number in the file; none where it is unreadable or overflowed.
    pub serial: Option<u32>,
    /// Index into [`Molecule::residues`].
    pub residue: Option<u32>,
    /// Alternate location indicator.
    pub alt_loc: Option<char>,
    /// 0..=1 in sound files; none where the line ends before it.
    pub occupancy: Option<f32>,
    /// Temperature factor in square angstrom.
    pub b_factor: Option<f32>,
    /// Partial charge (PDBQT, MOL2).
    pub partial_charge: Option<f32>,
    /// Atom type of a PDBQT file.
    pub autodock_type: Option<AutodockType>,
    /// Written as `HETATM`.
    pub hetero: bool,
}

impl Default for Atom {
    fn default() -> Self {
        Atom {
            position: [0.0; 3],
            element: None,
            kind: AtomKind::Real,
            name: ShortText::default(),
            formal_charge: 0,
            isotope: 0,
            implicit_hydrogens: 0,
            aromatic: false,
            serial: None,
            residue: None,
            alt_loc: None,
            occupancy: None,
            b_factor: None,
            partial_charge: None,
            autodock_type: None,
            hetero: false,
        }
    }
}

impl Atom {
    #[must_use]
    pub fn is_hydrogen(&self) -> bool {
        self.element == Some(Element::H)
    }

    /// A real atom other than hydrogen.
    #[must_use]
    pub fn is_heavy(&self) -> bool {
        self.kind == AtomKind::Real && !self.is_hydrogen()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomKind {
    Real,
    /// `*`, `Du`: a place without an element.
    Dummy,
    /// `R#`, `R1`: an attachment point.
    RGroup,
    /// `A`, `Q`, `L`: stands for one of several elements.
    Query,
    /// `LP`: electrons.
    LonePair,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bond {
    /// Index into [`Molecule::atoms`].
    pub a: u32,
    /// Index into [`Molecule::atoms`], never equal to `a`.
    pub b: u32,
    pub order: BondOrder,
    /// Wedge of a drawing as in a V2000 bond line: 0, 1 (up), 4 (either), 6 (down), 3 (cis/trans
    /// unknown); kept for writing.
    pub stereo: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BondOrder {
    Single,
    Double,
    Triple,
    Quadruple,
    Aromatic,
    /// Coordination: takes no valence of the donor.
    Dative,
    Hydrogen,
    /// Stands for one of several orders.
    Query,
    /// The format does not say (CONECT).
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residue {
    pub name: ShortText,
    /// Chain identifier, empty when blank.
    pub chain: ShortText,
    /// None where the field overflowed (`****`).
    pub number: Option<i32>,
    pub insertion: Option<char>,
    pub kind: ResidueKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidueKind {
    AminoAcid,
    Nucleotide,
    Water,
    Ion,
    Other,
}

impl ResidueKind {
    #[must_use]
    pub fn is_polymer(self) -> bool {
        matches!(self, ResidueKind::AminoAcid | ResidueKind::Nucleotide)
    }
}

/// At most 15 bytes of text without allocation; longer text is cut at a character.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShortText {
    bytes: [u8; ShortText::BYTES_MAX],
    length: u8,
}

impl ShortText {
    pub const BYTES_MAX: usize = 15;

    #[must_use]
    pub fn new(text: &str) -> ShortText {
        let mut short = ShortText::default();
        let mut length = 0;
        for character in text.chars() {
            let end = length + character.len_utf8();
            match short.bytes.get_mut(length..end) {
                Some(room) => {
                    character.encode_utf8(room);
                }
                None => break,
            }
            length = end;
        }
        short.length = u8::try_from(length).unwrap_or(0);
        short
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        let bytes = self
            .bytes
            .get(..usize::from(self.length))
            .unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Deref for ShortText {
    type Target = str;
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        ShortText::new(text)
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Molecule {
    /// Real atoms other than hydrogen.
    #[must_use]
    pub fn heavy_atom_count(&self) -> u64 {
        self.atoms.iter().filter(|atom| atom.is_heavy()).count() as u64
    }

    /// Hydrogens that are in the file as atoms.
    #[must_use]
    pub fn explicit_hydrogen_count(&self) -> u64 {
        self.atoms.iter().filter(|atom| atom.is_hydrogen()).count() as u64
    }

    #[must_use]
    pub fn implicit_hydrogen_count(&self) -> u64 {
        self.atoms
            .iter()
            .map(|atom| u64::from(atom.implicit_hydrogens))
            .sum()
    }

    /// Smallest and largest x, y, z in angstrom; none without coordinates.
    #[must_use]
    pub fn bounding_box(&self) -> Option<BoundingBox> {
        if self.dimensions == Dimensions::Zero && self.atoms.len() != 1 {
            return None;
        }
        BoundingBox::around(self.atoms.iter().map(|atom| &atom.position))
    }

    /// The residue an atom belongs to.
    #[must_use]
    pub fn residue_of(&self, atom: &Atom) -> Option<&Residue> {
        self.residues.get(usize::try_from(atom.residue?).ok()?)
    }

    /// Number of parts that no bond joins. Zero without atoms.
    #[must_use]
    pub fn fragment_count(&self) -> usize {
        crate::graph::fragment_sizes(self.atoms.len(), &self.bonds).len()
    }
}

/// An axis-parallel box in angstrom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    pub min: [f64; 3],
    pub max: [f64; 3],
}

impl BoundingBox {
    #[must_use]
    pub fn around<'a>(positions: impl IntoIterator<Item = &'a [f64; 3]>) -> Option<BoundingBox> {
        let mut positions = positions.into_iter();
        let first = *positions.next()?;
        let mut bounds = BoundingBox {
            min: first,
            max: first,
        };
        for position in positions {
            for ((low, high), value) in bounds.min.iter_mut().zip(&mut bounds.max).zip(position) {
                *low = low.min(*value);
                *high = high.max(*value);
            }
        }
        Some(bounds)
    }

    #[must_use]
    pub fn center(&self) -> [f64; 3] {
        self.combine(f64::midpoint)
    }

    /// Edge lengths.
    #[must_use]
    pub fn size(&self) -> [f64; 3] {
        self.combine(|low, high| high - low)
    }

    fn combine(&self, f: impl Fn(f64, f64) -> f64) -> [f64; 3] {
        let [ax, ay, az] = self.min;
        let [bx, by, bz] = self.max;
        [f(ax, bx), f(ay, by), f(az, bz)]
    }
}
