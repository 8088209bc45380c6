//! The engine Open Babel: makes what the docking engine reads, and a molecule with bonds beside.
//!
//! Its exit code means nothing: it ends with 0 after converting no molecule, after writing `nan`,
//! and after leaving out atoms. What it wrote is judged in `prepared`.
//!
//! - Hydrogens at the pH are added by `-p`: without it a structure without hydrogens gets none,
//!   and all hydrogen-bond donors are lost.
//! - Partial charges are asked for by name: version 3.1 writes zeros otherwise. The scoring
//!   functions offered here ignore them; other programs that read the files do not. Molecules
//!   with an element that has no Gasteiger parameters are converted to *nothing* when charges are
//!   asked for, so for those they are not.
//! - Coordinates come from `--gen3d med`: the two faster settings of version 3.1.1 write zeros.
//!   Its builder draws torsions from the clock and takes no seed, so they differ from run to run;
//!   whoever wants the same poses again starts from the `ligand.pdbqt` of the first run.

use bindery_chem::{Element, Format, Molecule};
use bindery_sdk::{Step, StepEnding, StepLimits, StepOutcome};

use crate::state::LigandSource;

pub(crate) const ENGINE: &str = "openbabel";

/// Neutral names below `/work`; the user's file names are data and never paths.
pub(crate) const RECEPTOR: &str = "receptor.pdbqt";
pub(crate) const LIGAND: &str = "ligand.pdbqt";
pub(crate) const LIGAND_BONDS: &str = "ligand-bonds.sdf";
/// As Open Babel wrote them, before hydrogens get their definite places.
pub(crate) const RECEPTOR_RAW: &str = "receptor-raw.pdbqt";
pub(crate) const LIGAND_RAW: &str = "ligand-raw.sdf";
pub(crate) const LIGAND_3D: &str = "ligand-3d.sdf";
const LIGAND_LARGEST: &str = "ligand-largest";
pub(crate) const RECEPTOR_SOURCE: &str = "receptor-source.pdb";

/// Ids of the steps.
pub(crate) const RECEPTOR_STEP: &str = "receptor";
pub(crate) const LIGAND_STEP: &str = "ligand";
pub(crate) const BONDS_STEP: &str = "ligand-bonds";
pub(crate) const LARGEST_STEP: &str = "ligand-largest";
pub(crate) const COORDINATES_STEP: &str = "ligand-3d";

/// Shares of the whole execution's work; the docking has the rest.
const WEIGHT_RECEPTOR: f32 = 0.03;
const WEIGHT_COORDINATES: f32 = 0.04;
const WEIGHT_LIGAND: f32 = 0.005;

/// A receptor of 12,000 atoms takes 0.6 s and 87 MB; time grows faster than the atoms.
const RECEPTOR_CPU_MS: u64 = 900_000;
/// Ten milliseconds are usual. Some graphs keep its canonicalisation busy for ever.
const LIGAND_CPU_MS: u64 = 60_000;
/// A drug-like molecule takes a second.
const COORDINATES_CPU_MS: u64 = 120_000;
const MEMORY_BYTES: u64 = 2 << 30;
const DISK_BYTES: u64 = 256 << 20;
/// Waiting for a core is not the engine's fault.
const WALL_PER_CPU: u64 = 4;

fn limits(cpu_ms: u64) -> StepLimits {
    StepLimits {
        wall_ms: cpu_ms * WALL_PER_CPU,
        cpu_ms,
        memory_bytes: MEMORY_BYTES,
        disk_bytes: DISK_BYTES,
        cpu_cores: 1,
    }
}

/// Where the decoded receptor is written for Open Babel to read.
pub(crate) fn receptor_source(format: Format) -> &'static str {
    if format == Format::Pdbqt {
        RECEPTOR
    } else {
        RECEPTOR_SOURCE
    }
}

/// Where the decoded ligand is written.
pub(crate) fn ligand_source(format: Format) -> String {
    if format == Format::Pdbqt {
        LIGAND.to_owned()
    } else {
        format!("ligand-source.{}", extension(format))
    }
}

/// As Open Babel calls the format.
fn extension(format: Format) -> &'static str {
    match format {
        Format::Pdb => "pdb",
        Format::Pdbqt => "pdbqt",
        Format::Sdf => "sdf",
        Format::Mol => "mol",
        Format::Mol2 => "mol2",
        Format::Smiles => "smi",
        Format::Xyz => "xyz",
    }
}

/// PDB to rigid PDBQT.
pub(crate) fn receptor_step(ph: f64, charged: bool) -> Step {
    let step = Step::new(RECEPTOR_STEP, "Preparing the receptor", ENGINE)
        .literal("-ipdb")
        .reads_work(RECEPTOR_SOURCE)
        .literal("-opdbqt")
        .literal("-O")
        .writes(RECEPTOR_RAW)
        .literals(["-xr", "-p"])
        .literal(ph.to_string());
    charges(step, charged)
        .literals(["--title", "receptor"])
        .limits(limits(RECEPTOR_CPU_MS))
        .weight(WEIGHT_RECEPTOR)
}

/// Leaves out all but the largest part: `-r` does not work together with `--gen3d`, and making
/// coordinates for several parts fails.
pub(crate) fn largest_step(ligand: &LigandSource) -> Step {
    let to = largest_format(ligand.format);
    Step::new(LARGEST_STEP, "Leaving out counter-ions and solvent", ENGINE)
        .literal(format!("-i{}", extension(ligand.format)))
        .reads_work(ligand_source(ligand.format))
        .literal(format!("-o{to}"))
        .literal("-O")
        .writes(&format!("{LIGAND_LARGEST}.{to}"))
        .literal("-r")
        .limits(limits(LIGAND_CPU_MS))
        .weight(WEIGHT_LIGAND)
}

fn largest_format(format: Format) -> &'static str {
    if format == Format::Smiles {
        "smi"
    } else {
        "sdf"
    }
}

/// Drawing or SMILES to coordinates.
pub(crate) fn coordinates_step(ligand: &LigandSource) -> Step {
    let (from, source) = whole_ligand(ligand);
    Step::new(COORDINATES_STEP, "Making coordinates", ENGINE)
        .literal(format!("-i{from}"))
        .reads_work(source)
        .literal("-osdf")
        .literal("-O")
        .writes(LIGAND_3D)
        .literals(["--gen3d", "med", "--title", "ligand"])
        .limits(limits(COORDINATES_CPU_MS))
        .weight(WEIGHT_COORDINATES)
}

/// File and format of the ligand before anything is added to it.
fn whole_ligand(ligand: &LigandSource) -> (&'static str, String) {
    if ligand.strips_salts {
        let format = largest_format(ligand.format);
        (format, format!("{LIGAND_LARGEST}.{format}"))
    } else {
        (extension(ligand.format), ligand_source(ligand.format))
    }
}

/// File and format of the ligand once it has coordinates; its hydrogens are the user's or of one
/// piece with the coordinates.
pub(crate) fn ligand_with_coordinates(ligand: &LigandSource) -> (Format, String) {
    if ligand.needs_coordinates {
        return (Format::Sdf, LIGAND_3D.to_owned());
    }
    match whole_ligand(ligand) {
        ("sdf", name) => (Format::Sdf, name),
        (_, name) => (ligand.format, name),
    }
}

/// The ligand with its bonds and the hydrogens of the pH. A torsion tree from the user has no
/// bonds: then they are perceived from the distances, and nothing is added.
pub(crate) fn bonds_step(ligand: &LigandSource, ph: f64) -> Step {
    let (from, source) = ligand_with_coordinates(ligand);
    let step = Step::new(BONDS_STEP, "Adding hydrogens to the ligand", ENGINE)
        .literal(format!("-i{}", extension(from)))
        .reads_work(source)
        .literal("-osdf")
        .literal("-O")
        .writes(LIGAND_RAW);
    let step = if ligand.is_prepared() {
        step
    } else {
        step.literal("-p").literal(ph.to_string())
    };
    step.literals(["--title", "ligand"])
        .limits(limits(LIGAND_CPU_MS))
        .weight(WEIGHT_LIGAND)
}

/// That molecule to a torsion tree.
pub(crate) fn ligand_step(ligand: &LigandSource) -> Step {
    let step = Step::new(LIGAND_STEP, "Preparing the ligand", ENGINE)
        .literal("-isdf")
        .reads_work(LIGAND_BONDS)
        .literal("-opdbqt")
        .literal("-O")
        .writes(LIGAND);
    charges(step, ligand.can_be_charged)
        .literals(["--title", "ligand"])
        .limits(limits(LIGAND_CPU_MS))
        .weight(WEIGHT_LIGAND)
}

fn charges(step: Step, charged: bool) -> Step {
    if charged {
        step.literals(["--partialcharge", "gasteiger"])
    } else {
        step
    }
}

/// Whether all elements have Gasteiger parameters (tried with 3.1.1).
pub(crate) fn can_be_charged(molecule: &Molecule) -> bool {
    molecule.atoms.iter().all(|atom| {
        atom.element.is_some_and(|element| {
            matches!(
                element,
                Element::H
                    | Element::C
                    | Element::N
                    | Element::O
                    | Element::F
                    | Element::P
                    | Element::S
                    | Element::CL
                    | Element::BR
                    | Element::I
            )
        })
    })
}

/// Code and message when the step was ended rather than ended by itself.
pub(crate) fn interrupted(outcome: &StepOutcome) -> Option<(&'static str, String)> {
    match &outcome.ending {
        StepEnding::Exited(_) => None,
        StepEnding::Crashed(signal) => Some((
            "preparation_crashed",
            format!("Open Babel was killed by signal {signal} while reading the file"),
        )),
        StepEnding::MemoryExceeded => Some((
            "preparation_memory_exceeded",
            "Open Babel ran out of memory".to_owned(),
        )),
        StepEnding::CpuExceeded | StepEnding::TimedOut => Some((
            "preparation_timed_out",
            "Open Babel did not finish with the file in time".to_owned(),
        )),
        StepEnding::DiskExceeded => Some((
            "preparation_disk_exceeded",
            "Open Babel wrote too much".to_owned(),
        )),
        StepEnding::OutputMissing(_) => {
            Some(("preparation_empty", "Open Babel wrote nothing".to_owned()))
        }
    }
}
