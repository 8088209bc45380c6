//! Checks of what preparation really wrote, before any CPU time is spent on docking it.

use std::fmt;

use bindery_chem::{Element, Format, Molecule, read_molecule, write::sdf};
use bindery_sdk::{Error, Notice, StepOutcome, work_path};

use crate::{
    hydrogens, openbabel,
    poses::{MatchError, Template},
    state::{LigandSource, ReceptorSource},
    torsion_tree::{TorsionTree, TreeError, TreeFault, read_atom},
    vina,
};

/// The engine's words in an error, at most.
const DETAIL_BYTES_MAX: usize = 600;

/// A rigid receptor as the docking engine will read it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Receptor {
    pub(crate) heavy_atoms: u64,
    /// Hydrogens that can be donated (`HD`) and others.
    pub(crate) polar_hydrogens: u64,
    pub(crate) other_hydrogens: u64,
    /// Any protein or nucleic acid has them, and hydrogens on them.
    pub(crate) nitrogens: u64,
    pub(crate) is_charged: bool,
}

/// A ligand as the docking engine will read it, and how its poses become molecules.
#[derive(Debug, Clone)]
pub(crate) struct Ligand {
    pub(crate) tree: TorsionTree,
    /// None when a torsion tree from the user could not be given bonds: poses then have none.
    pub(crate) template: Option<Template>,
    pub(crate) is_charged: bool,
}

/// What is wrong with a prepared file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    Interrupted(&'static str, String),
    Empty,
    Unreadable(String),
    UnknownRecord { line: usize, name: String },
    Tree(TreeError),
    NotReadByEngine { line: usize, kind: String },
    HeavyAtoms { input: u64, written: u64 },
    NoPolarHydrogens,
    Bonds(String),
    Match(MatchError),
    NoCoordinates,
}

impl Fault {
    fn code(&self) -> &'static str {
        match self {
            Self::Interrupted(code, _) => code,
            Self::Empty => "preparation_empty",
            Self::Unreadable(_) => "preparation_unreadable",
            Self::UnknownRecord { .. } => "not_a_rigid_receptor",
            Self::Tree(error) => match error.fault {
                TreeFault::SecondRoot => "several_fragments",
                TreeFault::UnknownType(_) => "unsupported_atom_type",
                TreeFault::BadCoordinate(_) => "bad_coordinate",
                _ => "bad_torsion_tree",
            },
            Self::NotReadByEngine { .. } => "unsupported_atom_type",
            Self::HeavyAtoms { .. } => "atoms_changed",
            Self::NoPolarHydrogens => "no_polar_hydrogens",
            Self::Bonds(_) | Self::Match(_) => "bonds_unmatched",
            Self::NoCoordinates => "no_coordinates",
        }
    }

    /// The step's error, with what the engine said.
    pub(crate) fn into_error(self, step: &str, outcome: Option<&StepOutcome>) -> Error {
        let words = outcome.map(|outcome| {
            let lines: Vec<String> = [outcome.stderr_text(), outcome.stdout_text()]
                .iter()
                .flat_map(|text| {
                    text.lines()
                        .map(|line| line.trim().to_owned())
                        .collect::<Vec<_>>()
                })
                .filter(|line| !line.is_empty() && !line.starts_with("=="))
                .take(6)
                .collect();
            vina::printable(&lines.join("\n"), DETAIL_BYTES_MAX)
        });
        Error::step(
            step,
            self.code(),
            self.to_string(),
            words.unwrap_or_default(),
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted(_, message) => f.write_str(message),
            Self::Empty => f.write_str(
                "the file could not be converted: Open Babel wrote no molecule; check its \
                 structure, or give a PDBQT file prepared by other means",
            ),
            Self::Unreadable(error) => write!(f, "the prepared file cannot be read: {error}"),
            Self::UnknownRecord { line, name } => {
                write!(
                    f,
                    "line {line}: the record `{name}` has no place in a rigid receptor"
                )
            }
            Self::Tree(TreeError {
                fault: TreeFault::SecondRoot,
                ..
            }) => f.write_str(
                "the ligand is more than one molecule; leave out counter-ions and solvent",
            ),
            Self::Tree(error) => write!(f, "the prepared file is wrong: {error}"),
            Self::NotReadByEngine { line, kind } => {
                write!(
                    f,
                    "line {line}: the engine does not read the atom type `{kind}`"
                )
            }
            Self::HeavyAtoms { input, written } => write!(
                f,
                "the input has {input} heavy atoms and the prepared file {written}: preparation \
                 must not change the molecule"
            ),
            Self::NoPolarHydrogens => f.write_str(
                "the prepared receptor has no hydrogen that could be donated; without them no \
                 hydrogen bond is scored",
            ),
            Self::Bonds(why) => write!(f, "the prepared ligand's bonds cannot be read: {why}"),
            Self::Match(error) => {
                write!(
                    f,
                    "the prepared ligand and its bonds do not belong together: {error}"
                )
            }
            Self::NoCoordinates => f.write_str("no sensible coordinates could be made"),
        }
    }
}

fn read(name: &str) -> Result<String, Fault> {
    match std::fs::read(work_path(name)) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Fault::Empty),
        Err(error) => Err(Fault::Unreadable(error.to_string())),
    }
}

pub(crate) fn check_ending(outcome: Option<&StepOutcome>) -> Result<(), Fault> {
    match outcome.and_then(openbabel::interrupted) {
        Some((code, message)) => Err(Fault::Interrupted(code, message)),
        None => Ok(()),
    }
}

/// The receptor below `/work`; `outcome` is that of the step that wrote it, if one did.
pub(crate) fn receptor(
    source: &ReceptorSource,
    outcome: Option<&StepOutcome>,
) -> Result<(Receptor, Vec<Notice>), Fault> {
    if let Some(outcome) = outcome {
        settle_receptor(source, outcome)?;
    }
    let found = scan_receptor(&read(openbabel::RECEPTOR)?)?;
    let mut notices = Vec::new();
    // Some files name hydrogens and deuterium oddly; what counts is that no atom is lost.
    if found.heavy_atoms != source.heavy_atoms {
        let fault = Fault::HeavyAtoms {
            input: source.heavy_atoms,
            written: found.heavy_atoms,
        };
        if found.heavy_atoms * 100 < source.heavy_atoms * 99 {
            return Err(fault);
        }
        notices.push(Notice::warning("receptor_atoms_changed", fault.to_string()));
    }
    if found.polar_hydrogens == 0 && found.nitrogens > 0 && source.is_polymer {
        if !source.is_prepared() {
            return Err(Fault::NoPolarHydrogens);
        }
        notices.push(Notice::warning(
            "no_polar_hydrogens",
            Fault::NoPolarHydrogens.to_string(),
        ));
    }
    if !found.is_charged && !source.is_prepared() {
        notices.push(Notice::info(
            "receptor_without_charges",
            "the receptor has elements without Gasteiger parameters, so its PDBQT has no partial \
             charges; the scoring functions offered here do not use them",
        ));
    }
    Ok((found, notices))
}

/// Gives the added hydrogens of the receptor their definite places. Done once: every later call
/// finds the file.
fn settle_receptor(source: &ReceptorSource, outcome: &StepOutcome) -> Result<(), Fault> {
    check_ending(Some(outcome))?;
    if work_path(openbabel::RECEPTOR).exists() {
        return Ok(());
    }
    let raw = read(openbabel::RECEPTOR_RAW)?;
    // Faults are told with the lines of the file that the user can look at.
    scan_receptor(&raw)?;
    let input = if source.hydrogens > 0 {
        read_molecule(read(openbabel::RECEPTOR_SOURCE)?.as_bytes(), source.format).ok()
    } else {
        None
    };
    let settled = hydrogens::settle_receptor(&raw, input.as_ref().map(|(molecule, _)| molecule));
    write(openbabel::RECEPTOR, &settled)
}

/// Under its name only when it is whole.
fn write(name: &str, text: &str) -> Result<(), Fault> {
    let unfinished = work_path(&format!("{name}.unfinished"));
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, work_path(name)))
        .map_err(|error| Fault::Unreadable(error.to_string()))
}

/// Reads a rigid receptor as strictly as the engine does.
pub(crate) fn scan_receptor(text: &str) -> Result<Receptor, Fault> {
    let mut found = Receptor {
        heavy_atoms: 0,
        polar_hydrogens: 0,
        other_hydrogens: 0,
        nitrogens: 0,
        is_charged: false,
    };
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.starts_with("ATOM") || line.starts_with("HETATM") {
            let atom = read_atom(line).map_err(|fault| {
                Fault::Tree(TreeError {
                    line: number,
                    fault,
                })
            })?;
            if !vina::reads_type(atom.kind) {
                return Err(Fault::NotReadByEngine {
                    line: number,
                    kind: atom.kind.to_string(),
                });
            }
            found.is_charged |= atom.charge != 0.0;
            if atom.kind.is_polar_hydrogen() {
                found.polar_hydrogens += 1;
            } else if atom.is_hydrogen() {
                found.other_hydrogens += 1;
            } else {
                found.heavy_atoms += 1;
                found.nitrogens += u64::from(atom.element() == Some(Element::N));
            }
        } else if !["REMARK", "WARNING", "TER", "END"]
            .iter()
            .any(|name| line.starts_with(name))
            && !line.trim().is_empty()
        {
            let name = line.split_ascii_whitespace().next().unwrap_or("");
            return Err(Fault::UnknownRecord {
                line: number,
                name: vina::printable(name, 12),
            });
        }
    }
    if found.heavy_atoms == 0 {
        Err(Fault::Empty)
    } else {
        Ok(found)
    }
}

/// Coordinates that were made for a drawing.
pub(crate) fn coordinates(source: &LigandSource, outcome: &StepOutcome) -> Result<(), Fault> {
    check_ending(Some(outcome))?;
    let molecule = read_bonds(openbabel::LIGAND_3D)?;
    check_heavy_atoms(source.heavy_atoms, molecule.heavy_atom_count())?;
    // A failed attempt leaves zeros, or the drawing.
    if molecule.atoms.len() > 4 && molecule.dimensions != bindery_chem::Dimensions::Three {
        return Err(Fault::NoCoordinates);
    }
    Ok(())
}

/// The ligand with hydrogens, which get their definite places here.
pub(crate) fn bonds(source: &LigandSource, outcome: &StepOutcome) -> Result<(), Fault> {
    check_ending(Some(outcome))?;
    let mut molecule = read_bonds(openbabel::LIGAND_RAW)?;
    check_heavy_atoms(source.heavy_atoms, molecule.heavy_atom_count())?;
    let (format, name) = openbabel::ligand_with_coordinates(source);
    let input = read_molecule(read(&name)?.as_bytes(), format);
    let input = input.map(|(input, _)| input).unwrap_or_default();
    hydrogens::settle_molecule(&mut molecule, &input);
    molecule.properties.clear();
    write(openbabel::LIGAND_BONDS, &sdf(&molecule))
}

/// The ligand below `/work`, from the steps that wrote its tree and its bonds.
pub(crate) fn ligand(
    source: &LigandSource,
    tree_outcome: Option<&StepOutcome>,
    bonds_outcome: Option<&StepOutcome>,
) -> Result<(Ligand, Vec<Notice>), Fault> {
    check_ending(tree_outcome)?;
    let text = read(openbabel::LIGAND)?;
    if text.trim().is_empty() {
        return Err(Fault::Empty);
    }
    let tree = TorsionTree::read(text.lines(), 1).map_err(Fault::Tree)?;
    if let Some(atom) = tree.atoms.iter().find(|atom| !vina::reads_type(atom.kind)) {
        let line = text
            .lines()
            .position(|line| read_atom(line).is_ok_and(|read| read.serial == atom.serial))
            .map_or(0, |index| index + 1);
        return Err(Fault::NotReadByEngine {
            line,
            kind: atom.kind.to_string(),
        });
    }
    let heavy_atoms = u64::try_from(tree.heavy_atoms()).unwrap_or(u64::MAX);
    check_heavy_atoms(source.heavy_atoms, heavy_atoms)?;
    let is_charged = tree.atoms.iter().any(|atom| atom.charge != 0.0);
    let mut notices = Vec::new();
    if !is_charged && !source.is_prepared() {
        notices.push(Notice::info(
            "ligand_without_charges",
            "the ligand's PDBQT has no partial charges; the scoring functions offered here do \
             not use them",
        ));
    }
    let template = match template(source, &tree, bonds_outcome) {
        Ok(template) => Some(template),
        // A tree from the user is docked even when bonds cannot be told from distances.
        Err(fault) if source.is_prepared() => {
            notices.push(Notice::warning(
                "poses_without_bonds",
                format!("poses.sdf has no bonds: {fault}"),
            ));
            None
        }
        Err(fault) => return Err(fault),
    };
    if template.is_some() && !source.has_bond_orders {
        notices.push(Notice::warning(
            "bonds_perceived",
            format!(
                "a {} file does not tell bond orders: those of poses.sdf were perceived from \
                 distances and may be wrong; give an SDF or MOL2 file to be sure",
                source.format
            ),
        ));
    }
    Ok((
        Ligand {
            tree,
            template,
            is_charged,
        },
        notices,
    ))
}

fn template(
    source: &LigandSource,
    tree: &TorsionTree,
    outcome: Option<&StepOutcome>,
) -> Result<Template, Fault> {
    check_ending(outcome)?;
    let name = if source.is_prepared() {
        openbabel::LIGAND_RAW
    } else {
        openbabel::LIGAND_BONDS
    };
    let molecule = read_bonds(name)?;
    check_heavy_atoms(source.heavy_atoms, molecule.heavy_atom_count())?;
    Template::new(molecule, tree.clone()).map_err(Fault::Match)
}

fn check_heavy_atoms(input: u64, written: u64) -> Result<(), Fault> {
    if written == input {
        Ok(())
    } else {
        Err(Fault::HeavyAtoms { input, written })
    }
}

/// The one molecule of an SDF file of Open Babel's.
fn read_bonds(name: &str) -> Result<Molecule, Fault> {
    let text = read(name)?;
    if text.trim().is_empty() {
        return Err(Fault::Empty);
    }
    if text.matches("\n$$$$").count() > 1 {
        return Err(Fault::Tree(TreeError {
            line: 1,
            fault: TreeFault::SecondRoot,
        }));
    }
    read_molecule(text.as_bytes(), Format::Sdf)
        .map(|(molecule, _)| molecule)
        .map_err(|faults| {
            Fault::Bonds(
                faults
                    .first()
                    .map_or_else(String::new, |fault| fault.to_string()),
            )
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    const ATOM: &str =
        "ATOM      1  N   MET A   1      43.812  -3.233   9.148  0.00  0.00    -0.300 NA\n";

    #[test]
    fn a_receptor_is_read_as_strictly_as_the_engine_reads_it() {
        let donor = ATOM.replace(" NA\n", " HD\n");
        let found = scan_receptor(&format!("REMARK x\n{ATOM}{donor}TER\nEND\n")).unwrap();
        assert_eq!(
            found,
            Receptor {
                heavy_atoms: 1,
                polar_hydrogens: 1,
                other_hydrogens: 0,
                nitrogens: 1,
                is_charged: true
            }
        );
        let code = |text: &str| scan_receptor(text).unwrap_err().code();
        assert_eq!(code(""), "preparation_empty");
        assert_eq!(code("HEADER x\n"), "not_a_rigid_receptor");
        assert_eq!(code("ROOT\n"), "not_a_rigid_receptor");
        assert_eq!(
            code(&ATOM.replace(" NA\n", " ZN\n")),
            "unsupported_atom_type"
        );
        assert_eq!(
            code(&ATOM.replace(" NA\n", " Xx\n")),
            "unsupported_atom_type"
        );
        assert_eq!(code(&ATOM.replace(" 43.812", "    nan")), "bad_coordinate");
    }
}
