//! What residue names mean.

use crate::model::ResidueKind;

/// The kind a residue's name tells; modified residues are told by their atoms instead, see the
/// PDB reader.
#[must_use]
pub fn kind_of(name: &str) -> ResidueKind {
    let mut upper = [0_u8; 5];
    let Some(room) = upper.get_mut(..name.len()) else {
        return ResidueKind::Other;
    };
    room.copy_from_slice(name.as_bytes());
    room.make_ascii_uppercase();
    let Ok(upper) = std::str::from_utf8(room) else {
        return ResidueKind::Other;
    };
    for (names, kind) in [
        (AMINO_ACIDS, ResidueKind::AminoAcid),
        (WATERS, ResidueKind::Water),
        (NUCLEOTIDES, ResidueKind::Nucleotide),
        (IONS, ResidueKind::Ion),
    ] {
        if names.contains(&upper) {
            return kind;
        }
    }
    ResidueKind::Other
}

/// The twenty, their protonation states as force fields name them, and the caps.
#[rustfmt::skip]
const AMINO_ACIDS: &[&str] = &[
    "ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE", "PRO", "SER",
    "THR", "TRP", "TYR", "VAL", "ASX", "GLX", "SEC", "PYL", "MSE", "SEP", "TPO", "PTR", "HID", "HIE", "HIP",
    "HSD", "HSE", "HSP", "CYX", "CYM", "ASH", "GLH", "LYN", "ACE", "NME", "NH2", "NMA", "CSO", "KCX", "LLP", "MLY",
    "HYP", "CME", "OCS", "PCA",
];
#[rustfmt::skip]
const NUCLEOTIDES: &[&str] = &[
    "A", "C", "G", "U", "I", "T", "DA", "DC", "DG", "DT", "DU", "DI", "ADE", "CYT", "GUA", "THY", "URA", "RA", "RC",
    "RG", "RU", "DA5", "DC5", "DG5", "DT5", "DA3", "DC3", "DG3", "DT3", "PSU", "5MC", "7MG",
];
const WATERS: &[&str] = &[
    "HOH", "WAT", "H2O", "DOD", "SOL", "TIP", "TIP3", "TIP4", "TP3", "TP4", "SPC", "OH2",
];
#[rustfmt::skip]
const IONS: &[&str] = &[
    "NA", "K", "LI", "RB", "CS", "MG", "CA", "SR", "BA", "MN", "MN3", "FE", "FE2", "CO", "3CO", "NI", "CU", "CU1", "ZN",
    "CD", "HG", "AG", "AU", "PT", "PB", "AL", "GA", "IN", "TL", "YB", "GD", "SM", "EU", "TB", "LA", "CE", "CL", "BR",
    "IOD", "F", "NA+", "CL-", "K+", "SOD", "CLA", "POT", "CAL", "ZN2", "MG2", "SO4", "PO4", "NO3", "NH4",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        assert_eq!(kind_of("ALA"), ResidueKind::AminoAcid);
        assert_eq!(kind_of("hoh"), ResidueKind::Water);
        assert_eq!(kind_of("DG"), ResidueKind::Nucleotide);
        assert_eq!(kind_of("Zn"), ResidueKind::Ion);
        assert_eq!(kind_of("STI"), ResidueKind::Other);
        assert_eq!(kind_of("MUCH TOO LONG"), ResidueKind::Other);
    }
}
