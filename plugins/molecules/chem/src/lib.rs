//! Reads and writes molecule files: PDB, PDBQT, SDF and MOL (V2000, V3000), MOL2, SMILES, XYZ,
//! and each of them gzipped.
//!
//! Everything here treats its input as hostile. No reader recurses on input, every buffer has a
//! bound in [`Limits`], and whatever is wrong comes back as a [`Fault`] that says what and where.
//! The crate has no input or output of its own beyond `std::io::Read`, so it runs natively and in
//! a component alike.
//!
//! ```
//! use bindery_chem::{Format, read_molecule};
//!
//! let (molecule, warnings) = read_molecule(b"CCO ethanol", Format::Smiles).expect("ethanol");
//! assert_eq!(bindery_chem::formula(&molecule), "C2H6O");
//! assert!(warnings.is_empty());
//! ```

pub mod autodock;
mod contacts;
mod decode;
mod docking;
mod element;
mod fault;
mod format;
mod formula;
mod graph;
mod inspect;
mod kekule;
mod limits;
mod lines;
mod model;
mod mol2;
mod molfile;
mod pdb;
mod pdb_fields;
pub mod pdbqt;
mod read;
mod records;
pub mod residues;
mod sdf;
mod smiles;
mod sniff;
mod v3000;
mod valence;
pub mod write;
mod xyz;

pub use crate::autodock::AutodockType;
pub use crate::decode::{Decoder, decode};
pub use crate::docking::{check_for_docking_ligand, check_for_docking_receptor};
pub use crate::element::Element;
pub use crate::fault::{Fault, Severity};
pub use crate::format::Format;
pub use crate::formula::formula;
pub use crate::inspect::{Inspection, inspect, inspect_reader};
pub use crate::limits::Limits;
pub use crate::model::{
    Atom, AtomKind, Bond, BondOrder, BoundingBox, Dimensions, Molecule, Residue, ResidueKind,
    ShortText,
};
pub use crate::read::read_molecule;
pub use crate::records::{Record, RecordInfo, RecordReader, records};
pub use crate::sniff::{Sniffed, sniff};
