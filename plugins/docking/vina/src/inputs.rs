//! The files of a request: read, checked as receptor, ligand or reference, and every fault told
//! with the slot it belongs to.

use bindery_chem::{
    Atom, AtomKind, Bond, Dimensions, Fault, Format, Limits, Molecule, ResidueKind, Severity,
    check_for_docking_ligand, check_for_docking_receptor, decode, pdbqt, read_molecule, records,
    sniff, write,
};
use bindery_sdk::{InputFile, Notice, Violation};

use crate::{
    geometry::Point,
    receptor_text::{Dropped, one_structure},
    search_box::{LigandShape, SearchBox},
    shape,
    torsion_tree::TorsionTree,
};

pub(crate) const RECEPTOR: &str = "receptor";
pub(crate) const LIGAND: &str = "ligand";
pub(crate) const REFERENCE: &str = "reference";

/// What tells a format stands at the start.
const SNIFF_BYTES: usize = 64 << 10;
/// Faults of one file shown, at most; a bad file has one per line at times.
const FAULTS_MAX: usize = 20;
/// Counting stops here: more are as wrong as this many.
const RECORDS_COUNTED_MAX: usize = 1_000;
/// A hetero residue this near the middle of the box fills the place the ligand is to take.
const FILLED_WITHIN: f64 = 4.0;

/// A file that holds one molecule.
pub(crate) struct Loaded {
    pub(crate) format: Format,
    /// Decoded, and one structure only.
    pub(crate) text: Vec<u8>,
    pub(crate) molecule: Molecule,
    pub(crate) notices: Vec<Notice>,
}

/// A ligand with what only its own checks find out.
pub(crate) struct LoadedLigand {
    pub(crate) loaded: Loaded,
    pub(crate) needs_coordinates: bool,
    /// Whether only the largest of several parts is docked.
    pub(crate) strips_salts: bool,
    pub(crate) shape: LigandShape,
}

fn pointer(slot: &str) -> String {
    format!("/inputs/{slot}")
}

/// A message that names the file and the place in it.
fn describe(file: &InputFile, fault: &Fault) -> String {
    // The name is the user's: shown, never used.
    let name: String = file
        .original_name
        .chars()
        .filter(|character| !character.is_control())
        .take(80)
        .collect();
    if name.is_empty() {
        fault.to_string()
    } else {
        format!("{name}: {fault}")
    }
}

fn violations(slot: &str, file: &InputFile, faults: &[Fault]) -> Vec<Violation> {
    // Warnings do not refuse a file; they are left out beside what does.
    faults
        .iter()
        .filter(|fault| fault.severity != Severity::Warning)
        .take(FAULTS_MAX)
        .map(|fault| Violation::new(pointer(slot), fault.code, describe(file, fault)))
        .collect()
}

fn warnings(file: &InputFile, faults: &[Fault]) -> Vec<Notice> {
    faults
        .iter()
        .filter(|fault| fault.severity == Severity::Warning)
        .take(FAULTS_MAX)
        .map(|fault| Notice::warning(fault.code, describe(file, fault)))
        .collect()
}

fn refuse(slot: &str, file: &InputFile, code: &'static str, message: String) -> Vec<Violation> {
    violations(slot, file, &[Fault::error(code, message)])
}

/// Reads the one molecule of a file.
fn load(slot: &str, file: &InputFile) -> Result<Loaded, Vec<Violation>> {
    let bytes = file.read().map_err(|error| {
        vec![Violation::new(
            pointer(slot),
            "unreadable_file",
            error.to_string(),
        )]
    })?;
    let limits = Limits::interactive();
    let head = bytes.get(..SNIFF_BYTES).unwrap_or(&bytes);
    let text = decode(&bytes, &limits).map_err(|fault| violations(slot, file, &[fault]))?;
    // The host has sniffed already, by the same code or a better one.
    let format = Format::from_media_type(&file.media_type)
        .or_else(|| sniff(head, &file.original_name).map(|sniffed| sniffed.format))
        .ok_or_else(|| {
            let message = if bytes.is_empty() {
                "the file is empty"
            } else {
                "is no molecule file"
            };
            refuse(slot, file, "unknown_format", message.to_owned())
        })?;
    if let Some(claimed) = Format::from_file_name(&file.original_name)
        && !is_one_family(format, claimed)
    {
        let message =
            format!("content is {format} although the name says {claimed}; rename the file");
        return Err(refuse(slot, file, "format_mismatch", message));
    }
    if let Some(at) = text.iter().position(|&byte| byte == 0) {
        let lines = text.iter().take(at).filter(|&&byte| byte == b'\n').count();
        let fault = Fault::error(
            "nul_byte",
            "holds a NUL byte: this is no text, or it is damaged",
        );
        let line = u64::try_from(lines).map_or(u64::MAX, |lines| lines + 1);
        return Err(violations(slot, file, &[fault.at_line(line)]));
    }
    one_record(slot, file, format, &text)?;
    let (text, dropped) = if format == Format::Pdb {
        one_structure(&text)
    } else {
        (text.clone(), Dropped::default())
    };
    let (molecule, faults) =
        read_molecule(&text, format).map_err(|faults| violations(slot, file, &faults))?;
    let mut notices = warnings(file, &faults);
    notices.extend(dropped_notices(slot, dropped));
    Ok(Loaded {
        format,
        text: text.into_owned(),
        molecule,
        notices,
    })
}

/// Names that are used for one another. A file whose name says something else altogether is a
/// mistake rather than a spelling.
fn is_one_family(content: Format, claimed: Format) -> bool {
    let family = |format| match format {
        Format::Sdf | Format::Mol => Format::Sdf,
        Format::Pdb | Format::Pdbqt => Format::Pdb,
        other => other,
    };
    family(content) == family(claimed)
}

/// Refuses files of several molecules, and says how many they hold.
fn one_record(
    slot: &str,
    file: &InputFile,
    format: Format,
    text: &[u8],
) -> Result<(), Vec<Violation>> {
    if !format.is_multi_record() || (slot == RECEPTOR && format == Format::Pdbqt) {
        return Ok(());
    }
    let count = records(text, format).take(RECORDS_COUNTED_MAX).count();
    if count > 1 {
        let at_least = if count == RECORDS_COUNTED_MAX {
            "at least "
        } else {
            ""
        };
        let message = format!(
            "the file holds {at_least}{count} molecules; this task takes one, so give one of them"
        );
        return Err(refuse(slot, file, "several_molecules", message));
    }
    Ok(())
}

fn dropped_notices(slot: &str, dropped: Dropped) -> Vec<Notice> {
    let mut notices = Vec::new();
    if dropped.models > 0 {
        notices.push(Notice::warning(
            "models_dropped",
            format!(
                "the {slot} has {} models; only the first is used",
                dropped.models + 1
            ),
        ));
    }
    if dropped.alternate_atoms > 0 {
        notices.push(Notice::warning(
            "alternate_locations_dropped",
            format!(
                "{} atoms of the {slot} at alternate locations of lower occupancy are left out",
                dropped.alternate_atoms
            ),
        ));
    }
    notices
}

/// Adds what a check for docking found, as refusal or notice.
fn checked(
    slot: &str,
    file: &InputFile,
    mut loaded: Loaded,
    faults: &[Fault],
) -> Result<Loaded, Vec<Violation>> {
    let refusals = violations(slot, file, faults);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    for notice in warnings(file, faults) {
        if !loaded.notices.iter().any(|known| known.code == notice.code) {
            loaded.notices.push(notice);
        }
    }
    Ok(loaded)
}

pub(crate) fn receptor(file: &InputFile) -> Result<Loaded, Vec<Violation>> {
    let loaded = load(RECEPTOR, file)?;
    let mut faults = match loaded.format {
        Format::Pdb => Vec::new(),
        Format::Pdbqt => check_prepared_receptor(&loaded.text),
        other => {
            let message = format!("a receptor is a PDB or PDBQT file, not {other}");
            return Err(refuse(RECEPTOR, file, "wrong_format", message));
        }
    };
    faults.extend(check_for_docking_receptor(&loaded.molecule));
    checked(RECEPTOR, file, loaded, &faults)
}

/// The engine reads a prepared receptor as it is, so it is checked as the engine will read it.
fn check_prepared_receptor(text: &[u8]) -> Vec<Fault> {
    let faults = pdbqt::check_receptor(text);
    if !faults.is_empty() {
        return faults;
    }
    match crate::prepared::scan_receptor(&String::from_utf8_lossy(text)) {
        Ok(_) => Vec::new(),
        Err(fault) => vec![Fault::for_docking(
            "not_a_rigid_receptor",
            fault.to_string(),
        )],
    }
}

pub(crate) fn ligand(file: &InputFile) -> Result<LoadedLigand, Vec<Violation>> {
    let loaded = without_lone_pairs(load(LIGAND, file)?);
    let mut faults = check_for_docking_ligand(&loaded.molecule);
    // Said below, with what is done about it.
    faults.retain(|fault| fault.code != "disconnected");
    let mut strips_salts = false;
    let shape = if loaded.format == Format::Pdbqt {
        faults.extend(pdbqt::check_ligand(&loaded.text));
        let text = String::from_utf8_lossy(&loaded.text);
        match TorsionTree::read(text.lines(), 1) {
            Ok(tree) => shape::of_tree(&tree),
            Err(error) => {
                if faults
                    .iter()
                    .all(|fault| fault.severity == Severity::Warning)
                {
                    faults.push(Fault::for_docking("bad_torsion_tree", error.to_string()));
                }
                LigandShape::default()
            }
        }
    } else {
        let fragments = shape::fragments(&loaded.molecule);
        // Without bond orders there may be no bonds at all; what is not one molecule is then found
        // once Open Babel has perceived them.
        if tells_bonds(&loaded)
            && let Some(fault) = check_fragments(&fragments)
        {
            faults.push(fault);
            strips_salts = true;
        }
        match fragments.first() {
            Some(largest) if strips_salts => shape::of_atoms(&loaded.molecule, largest),
            _ => shape::of_atoms(&loaded.molecule, &fragments.concat()),
        }
    };
    let mut loaded = checked(LIGAND, file, loaded, &faults)?;
    let needs_coordinates = loaded.format == Format::Smiles
        || (loaded.molecule.dimensions != Dimensions::Three && loaded.molecule.atoms.len() > 1);
    if needs_coordinates {
        // Instead of the general warning.
        loaded.notices.retain(|notice| notice.code != "needs_3d");
        loaded.notices.push(Notice::warning(
            "coordinates_made",
            "the ligand has no three-dimensional coordinates, so Open Babel makes them, other ones \
             in every run; for the same poses again, dock the ligand.pdbqt of this run",
        ));
    }
    Ok(LoadedLigand {
        loaded,
        needs_coordinates,
        strips_salts,
        shape,
    })
}

/// Whether the file lists bonds with their orders.
pub(crate) fn tells_bonds(loaded: &Loaded) -> bool {
    loaded.molecule.has_bond_orders || loaded.format == Format::Mol2
}

/// Some programs write lone pairs as atoms, which Open Babel takes for atoms with bonds. The ligand
/// goes on without them, as an SDF file of ours.
fn without_lone_pairs(mut loaded: Loaded) -> Loaded {
    let is_pair = |atom: &Atom| atom.kind == AtomKind::LonePair;
    let count = loaded
        .molecule
        .atoms
        .iter()
        .filter(|atom| is_pair(atom))
        .count();
    if count == 0 {
        return loaded;
    }
    let molecule = &mut loaded.molecule;
    // For each atom its new index; none for those that go.
    let mut next = 0;
    let new_index: Vec<Option<u32>> = molecule
        .atoms
        .iter()
        .map(|atom| {
            let index = (!is_pair(atom)).then_some(next);
            next += u32::from(index.is_some());
            index
        })
        .collect();
    let renumbered = |atom: u32| new_index.get(atom as usize).copied().flatten();
    molecule.bonds = molecule
        .bonds
        .iter()
        .filter_map(|bond| {
            Some(Bond {
                a: renumbered(bond.a)?,
                b: renumbered(bond.b)?,
                ..*bond
            })
        })
        .collect();
    molecule.atoms.retain(|atom| !is_pair(atom));
    loaded.format = Format::Sdf;
    loaded.text = write::sdf(molecule).into_bytes();
    loaded
}

/// Counter-ions and solvent are left out when it is plain which part is the ligand.
fn check_fragments(fragments: &[Vec<usize>]) -> Option<Fault> {
    let (largest, second) = match fragments {
        [largest, second, ..] => (largest.len(), second.len()),
        _ => return None,
    };
    let count = fragments.len();
    Some(if largest == second {
        Fault::for_docking(
            "several_molecules",
            format!("the record holds {count} unconnected molecules and none is the largest"),
        )
    } else {
        Fault::warning(
            "salts_removed",
            format!(
                "the record holds {count} unconnected molecules; the largest, of {largest} heavy \
                 atoms, is docked and the others are left out"
            ),
        )
    })
}

/// Positions of the reference's heavy atoms.
pub(crate) fn reference(file: &InputFile) -> Result<Vec<Point>, Vec<Violation>> {
    let loaded = load(REFERENCE, file)?;
    if loaded.format == Format::Smiles || loaded.molecule.dimensions != Dimensions::Three {
        let message =
            "a reference says where the box is, so it needs three-dimensional coordinates";
        return Err(refuse(
            REFERENCE,
            file,
            "no_coordinates",
            message.to_owned(),
        ));
    }
    let points = heavy_points(&loaded.molecule);
    if points.is_empty() {
        let message = "the reference has no heavy atoms".to_owned();
        return Err(refuse(REFERENCE, file, "no_atoms", message));
    }
    Ok(points)
}

pub(crate) fn heavy_points(molecule: &Molecule) -> Vec<Point> {
    molecule
        .atoms
        .iter()
        .filter(|atom| atom.is_heavy())
        .map(|atom| atom.position)
        .collect()
}

/// Tells of molecules in the receptor that fill the middle of the box: mostly the very ligand
/// that was crystallised with it.
pub(crate) fn filled_site(receptor: &Molecule, search_box: &SearchBox) -> Vec<Notice> {
    let mut filling: Vec<u32> = receptor
        .atoms
        .iter()
        .filter(|atom| atom.is_heavy())
        .filter(|atom| search_box.center_distance(atom.position) < FILLED_WITHIN)
        .filter(|atom| {
            receptor
                .residue_of(atom)
                .is_some_and(|residue| residue.kind == ResidueKind::Other)
        })
        .filter_map(|atom| atom.residue)
        .collect();
    filling.dedup();
    filling
        .iter()
        .filter_map(|&residue| receptor.residues.get(residue as usize))
        .take(3)
        .map(|residue| {
            let number = residue
                .number
                .map_or_else(String::new, |number| number.to_string());
            Notice::warning(
                "site_filled",
                format!(
                    "residue {} {}{number} of the receptor stands in the middle of the box; \
                     take it out of the file if the ligand is to bind there",
                    residue.name, residue.chain
                ),
            )
        })
        .collect()
}
