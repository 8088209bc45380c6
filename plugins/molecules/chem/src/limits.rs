//! How much of a file is read before it is refused.

/// Bounds of every reader. Each is far above what real files hold and far below what would exhaust
/// the memory of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a file after decompression. 512 MiB is a library of about 250,000 ligands; files
    /// are streamed, so this bounds time and not memory.
    pub decoded_bytes_max: u64,
    /// Decompressed over compressed size. Deflate reaches 1,032 on zeros; real structure files
    /// reach about 20, with 15 for the most regular one known to us.
    pub compression_ratio_max: u64,
    /// Bytes of one record that is held in memory as a whole (SDF, MOL2, PDBQT, XYZ).
    pub record_bytes_max: usize,
    /// Bytes of one line. The longest legal lines are SMILES of polymers and SDF data items.
    pub line_bytes_max: usize,
    /// Atoms of one record. The largest structure in public archives has about 2.4 million; one
    /// atom costs about 100 bytes, and twice that while a list grows.
    pub atoms_max: usize,
    /// Bonds of one record; drug-like molecules have about as many bonds as atoms.
    pub bonds_max: usize,
    /// Data items of one SDF record.
    pub properties_max: usize,
    /// Records of one file.
    pub records_max: u64,
    /// Faults kept of one file; the rest is counted.
    pub faults_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            decoded_bytes_max: 512 << 20,
            compression_ratio_max: 200,
            record_bytes_max: 64 << 20,
            line_bytes_max: 1 << 20,
            atoms_max: 2_000_000,
            bonds_max: 4_000_000,
            properties_max: 10_000,
            records_max: 20_000_000,
            faults_max: 200,
        }
    }
}

impl Limits {
    /// For an interactive call with about 256 MiB of memory: 600,000 atoms take 58 MB, 116 MB more
    /// while the list doubles, beside at most 16 MiB of text.
    #[must_use]
    pub fn interactive() -> Self {
        Limits {
            record_bytes_max: 16 << 20,
            atoms_max: 600_000,
            bonds_max: 1_200_000,
            ..Limits::default()
        }
    }
}
