//! The file formats this crate reads.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Protein Data Bank, fixed columns.
    Pdb,
    /// AutoDock's PDB with charges and atom types.
    Pdbqt,
    /// Molfiles with data items, joined by `$$$$`.
    Sdf,
    /// One molfile, V2000 or V3000.
    Mol,
    /// Tripos MOL2.
    Mol2,
    /// One SMILES and a name per line.
    Smiles,
    /// Element symbols and coordinates.
    Xyz,
}

impl Format {
    pub const ALL: [Format; 7] = [
        Format::Pdb,
        Format::Pdbqt,
        Format::Sdf,
        Format::Mol,
        Format::Mol2,
        Format::Smiles,
        Format::Xyz,
    ];

    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Pdb => "chemical/x-pdb",
            Format::Pdbqt => "chemical/x-pdbqt",
            Format::Sdf => "chemical/x-mdl-sdfile",
            Format::Mol => "chemical/x-mdl-molfile",
            Format::Mol2 => "chemical/x-mol2",
            Format::Smiles => "chemical/x-daylight-smiles",
            Format::Xyz => "chemical/x-xyz",
        }
    }

    #[must_use]
    pub fn from_media_type(media_type: &str) -> Option<Format> {
        Format::ALL
            .into_iter()
            .find(|format| format.media_type() == media_type)
    }

    /// Short word, as in `format` of an inspection.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Pdb => "pdb",
            Format::Pdbqt => "pdbqt",
            Format::Sdf => "sdf",
            Format::Mol => "mol",
            Format::Mol2 => "mol2",
            Format::Smiles => "smiles",
            Format::Xyz => "xyz",
        }
    }

    /// For people.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Format::Pdb => "Protein Data Bank",
            Format::Pdbqt => "AutoDock PDBQT",
            Format::Sdf => "MDL structure-data file",
            Format::Mol => "MDL molfile",
            Format::Mol2 => "Tripos MOL2",
            Format::Smiles => "SMILES",
            Format::Xyz => "XYZ coordinates",
        }
    }

    /// Without the dot, lower case, the usual one first.
    #[must_use]
    pub fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Pdb => &["pdb", "ent", "brk"],
            Format::Pdbqt => &["pdbqt"],
            Format::Sdf => &["sdf", "sd"],
            Format::Mol => &["mol", "mdl"],
            Format::Mol2 => &["mol2"],
            Format::Smiles => &["smi", "smiles", "ism", "can"],
            Format::Xyz => &["xyz"],
        }
    }

    /// Whether a file may hold many molecules.
    #[must_use]
    pub fn is_multi_record(self) -> bool {
        !matches!(self, Format::Pdb | Format::Mol)
    }

    /// The format a file's name claims; `.gz` at the end is passed over.
    #[must_use]
    pub fn from_file_name(name: &str) -> Option<Format> {
        let lower = name.rsplit(['/', '\\']).next()?.to_ascii_lowercase();
        let lower = lower.strip_suffix(".gz").unwrap_or(&lower);
        let (_, extension) = lower.rsplit_once('.')?;
        Format::ALL
            .into_iter()
            .find(|format| format.extensions().contains(&extension))
    }

    /// Whether content of this format under a name of the other is one family and no mistake.
    pub(crate) fn is_related_to(self, claimed: Format) -> bool {
        let is_molfile = |format| matches!(format, Format::Sdf | Format::Mol);
        self == claimed || (is_molfile(self) && is_molfile(claimed))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Pdb => "PDB",
            Format::Pdbqt => "PDBQT",
            Format::Sdf => "SDF",
            Format::Mol => "molfile",
            Format::Mol2 => "MOL2",
            Format::Smiles => "SMILES",
            Format::Xyz => "XYZ",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_claim_formats() {
        for (name, expected) in [
            ("a.sdf", Some(Format::Sdf)),
            ("A.SDF.GZ", Some(Format::Sdf)),
            ("pdb1gdr.ent", Some(Format::Pdb)),
            ("x.tar.pdbqt", Some(Format::Pdbqt)),
            ("dir.sdf/plain", None),
            ("box.json", None),
            ("sdf", None),
        ] {
            assert_eq!(Format::from_file_name(name), expected, "{name}");
        }
        for format in Format::ALL {
            assert_eq!(Format::from_media_type(format.media_type()), Some(format));
        }
    }
}
