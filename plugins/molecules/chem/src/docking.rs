//! Whether a molecule can be docked, and what to know before it is.
//!
//! Faults of severity [`Severity::ErrorForDocking`](crate::Severity) stop a docking run; warnings
//! are shown with it.

use std::collections::BTreeSet;

use crate::autodock::AutodockType;
use crate::element::Element;
use crate::fault::Fault;
use crate::graph;
use crate::model::{Atom, AtomKind, BondOrder, Dimensions, Molecule, ResidueKind};

/// Heavy atoms beyond which a ligand is unlikely to be one; the largest that docking programs are
/// validated on have about 60.
const LIGAND_HEAVY_ATOMS_USUAL: u64 = 150;
/// Polymer residues beyond which a ligand is more likely a receptor in the wrong place.
const LIGAND_RESIDUES_USUAL: usize = 30;

/// What speaks against docking the molecule as a ligand.
#[must_use]
pub fn check_for_docking_ligand(molecule: &Molecule) -> Vec<Fault> {
    let mut faults = Vec::new();
    if molecule.atoms.is_empty() {
        return vec![Fault::for_docking(
            "no_atoms",
            "molecule has no atoms: there is nothing to dock",
        )];
    }
    check_kinds(molecule, &mut faults);
    check_elements(molecule, &mut faults);
    if let Some(fault) = only_waters_and_ions(molecule) {
        faults.push(fault);
    }
    check_single_atom(molecule, &mut faults);
    if molecule.atoms.len() > 1 && molecule.heavy_atom_count() == 0 && faults.is_empty() {
        faults.push(Fault::for_docking(
            "no_heavy_atoms",
            "molecule has no atoms but hydrogens",
        ));
    }
    if molecule.has_bond_orders {
        let fragments = graph::fragment_sizes(molecule.atoms.len(), &molecule.bonds).len();
        if fragments > 1 {
            let message = format!(
                "molecule falls into {fragments} parts that no bond joins; remove salts and solvents"
            );
            faults.push(Fault::warning("disconnected", message));
        }
    }
    if molecule.atoms.len() > 1 && molecule.dimensions != Dimensions::Three {
        let message = match molecule.dimensions {
            Dimensions::Two => {
                "coordinates are those of a drawing; 3D coordinates must be made before docking"
            }
            _ => "there are no coordinates; 3D coordinates must be made before docking",
        };
        faults.push(Fault::warning("needs_3d", message));
    }
    let heavy = molecule.heavy_atom_count();
    if heavy > LIGAND_HEAVY_ATOMS_USUAL {
        faults.push(Fault::warning(
            "large_ligand",
            format!("{heavy} heavy atoms are many for a ligand"),
        ));
    }
    let polymer = molecule
        .residues
        .iter()
        .filter(|residue| residue.kind.is_polymer())
        .count();
    if polymer > LIGAND_RESIDUES_USUAL {
        let message = format!("{polymer} residues of a polymer: this looks like a receptor");
        faults.push(Fault::warning("looks_like_receptor", message));
    }
    check_models_and_locations(molecule, &mut faults);
    faults
}

/// What speaks against docking into the molecule.
#[must_use]
pub fn check_for_docking_receptor(molecule: &Molecule) -> Vec<Fault> {
    let mut faults = Vec::new();
    if molecule.atoms.is_empty() {
        return vec![Fault::for_docking(
            "no_atoms",
            "molecule has no atoms: there is nothing to dock into",
        )];
    }
    check_kinds(molecule, &mut faults);
    check_elements(molecule, &mut faults);
    if let Some(fault) = backbone_trace(molecule) {
        faults.push(fault);
    } else if let Some(fault) = only_waters_and_ions(molecule) {
        faults.push(fault);
    } else if !molecule.residues.is_empty()
        && !molecule
            .residues
            .iter()
            .any(|residue| residue.kind.is_polymer())
    {
        faults.push(Fault::warning(
            "no_polymer",
            "there are no residues of a protein or nucleic acid",
        ));
    }
    if molecule.atoms.len() == 1 && faults.is_empty() {
        faults.push(Fault::for_docking(
            "single_atom",
            "a single atom is no receptor",
        ));
    }
    if molecule.atoms.len() > 1 && molecule.dimensions != Dimensions::Three {
        faults.push(Fault::for_docking(
            "needs_3d",
            "receptor has no 3D coordinates",
        ));
    }
    let others: BTreeSet<&str> = molecule
        .residues
        .iter()
        .filter(|residue| residue.kind == ResidueKind::Other)
        .map(|residue| residue.name.as_str())
        .collect();
    if !others.is_empty()
        && molecule
            .residues
            .iter()
            .any(|residue| residue.kind.is_polymer())
    {
        const NAMES_MAX: usize = 8;
        let names: Vec<&str> = others.iter().copied().take(NAMES_MAX).collect();
        let more = if others.len() > NAMES_MAX {
            ", …"
        } else {
            ""
        };
        let message = format!(
            "other molecules ({}{more}) stand beside the polymer and take part in docking unless they are removed",
            names.join(", ")
        );
        faults.push(Fault::warning("other_molecules", message));
    }
    let waters = molecule
        .residues
        .iter()
        .filter(|residue| residue.kind == ResidueKind::Water)
        .count();
    if waters > 0 {
        let message =
            format!("{waters} water molecules take part in docking unless they are removed");
        faults.push(Fault::warning("waters", message));
    }
    let metals: BTreeSet<&str> = real_elements(molecule)
        .filter(|element| element.is_metal())
        .map(Element::symbol)
        .collect();
    if !metals.is_empty() {
        let metals: Vec<&str> = metals.into_iter().collect();
        let message = format!(
            "metals ({}) are scored by distance alone, without their coordination",
            metals.join(", ")
        );
        faults.push(Fault::warning("metals", message));
    }
    check_models_and_locations(molecule, &mut faults);
    faults
}

/// The fault of a polymer of which the file gives one atom per residue.
pub(crate) fn backbone_trace(molecule: &Molecule) -> Option<Fault> {
    let (mut trace, mut all) = (0_u64, 0_u64);
    for atom in &molecule.atoms {
        let Some(residue) = molecule.residue_of(atom) else {
            continue;
        };
        let expected = match residue.kind {
            ResidueKind::AminoAcid => "CA",
            ResidueKind::Nucleotide => "P",
            _ => continue,
        };
        all += 1;
        trace += u64::from(*atom.name == *expected);
    }
    (all > 0 && trace == all).then(|| {
        let message = "polymer is a trace of one atom per residue (CA or P only): side chains and backbone are missing";
        Fault::for_docking("backbone_trace", message)
    })
}

fn only_waters_and_ions(molecule: &Molecule) -> Option<Fault> {
    let solvent = |kind| matches!(kind, ResidueKind::Water | ResidueKind::Ion);
    (!molecule.residues.is_empty()
        && molecule
            .residues
            .iter()
            .all(|residue| solvent(residue.kind)))
    .then(|| Fault::for_docking("only_solvent", "molecule is nothing but water and ions"))
}

fn check_kinds(molecule: &Molecule, faults: &mut Vec<Fault>) {
    for (kind, code, what) in [
        (
            AtomKind::Dummy,
            "dummy_atoms",
            "dummy atoms without an element",
        ),
        (AtomKind::RGroup, "r_groups", "R-group attachment points"),
        (
            AtomKind::Query,
            "query_atoms",
            "query atoms that stand for several elements",
        ),
    ] {
        // The glue atoms of opened rings have no element but a type of their own.
        let is_plain = |atom: &Atom| atom.autodock_type.is_none();
        let found = |atom: &&Atom| atom.kind == kind && is_plain(atom);
        let count = molecule.atoms.iter().filter(found).count();
        if count > 0 {
            let first = molecule
                .atoms
                .iter()
                .position(|atom| found(&atom))
                .map_or(0, |index| index + 1);
            let message =
                format!("{count} {what}, first atom {first}: this is a pattern, not a molecule");
            faults.push(Fault::for_docking(code, message));
        }
    }
    if molecule
        .bonds
        .iter()
        .any(|bond| bond.order == BondOrder::Query)
    {
        faults.push(Fault::for_docking(
            "query_bonds",
            "query bonds: this is a pattern, not a molecule",
        ));
    }
}

fn real_elements(molecule: &Molecule) -> impl Iterator<Item = Element> + '_ {
    molecule
        .atoms
        .iter()
        .filter(|atom| atom.kind == AtomKind::Real)
        .filter_map(|atom| atom.element)
}

fn check_elements(molecule: &Molecule, faults: &mut Vec<Fault>) {
    let unsupported: BTreeSet<&str> = real_elements(molecule)
        .filter(|element| !is_supported(*element))
        .map(Element::symbol)
        .collect();
    if !unsupported.is_empty() {
        let names: Vec<&str> = unsupported.into_iter().collect();
        let message = format!(
            "elements without an AutoDock atom type: {}",
            names.join(", ")
        );
        faults.push(Fault::for_docking("unsupported_element", message));
    }
}

fn is_supported(element: Element) -> bool {
    // The type of the same name must mean the element: `W` is a water and not tungsten.
    AutodockType::from_label(element.symbol()).and_then(AutodockType::element) == Some(element)
}

fn check_single_atom(molecule: &Molecule, faults: &mut Vec<Fault>) {
    let [atom] = molecule.atoms.as_slice() else {
        return;
    };
    let Some(element) = atom.element.filter(|_| atom.kind == AtomKind::Real) else {
        return;
    };
    if element.is_metal() {
        faults.push(Fault::for_docking(
            "single_ion",
            format!("a single {element} ion is no ligand: there is nothing to dock"),
        ));
    } else if element.is_hydrogen() {
        faults.push(Fault::for_docking(
            "single_hydrogen",
            "a single hydrogen is no ligand: there is nothing to dock",
        ));
    } else {
        faults.push(Fault::warning(
            "single_atom",
            format!("molecule is a single {element} atom"),
        ));
    }
}

fn check_models_and_locations(molecule: &Molecule, faults: &mut Vec<Fault>) {
    if molecule.models > 1 {
        let message = format!("file has {} models; the first is used", molecule.models);
        faults.push(Fault::warning("several_models", message));
    }
    let located = molecule
        .atoms
        .iter()
        .filter(|atom| atom.alt_loc.is_some())
        .count();
    if located > 0 {
        let message =
            format!("{located} atoms have alternate locations; one location must be chosen");
        faults.push(Fault::warning("alternate_locations", message));
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "test"
    )]
    use super::*;
    use crate::{Format, Severity, read_molecule};

    fn ligand_codes(smiles: &str) -> Vec<(&'static str, Severity)> {
        let (molecule, _) = read_molecule(smiles.as_bytes(), Format::Smiles).unwrap();
        check_for_docking_ligand(&molecule)
            .into_iter()
            .map(|fault| (fault.code, fault.severity))
            .collect()
    }

    #[test]
    fn ligands_are_judged() {
        assert_eq!(ligand_codes("CCO"), [("needs_3d", Severity::Warning)]);
        assert_eq!(ligand_codes("C"), [("single_atom", Severity::Warning)]);
        assert_eq!(
            ligand_codes("[Na+]"),
            [("single_ion", Severity::ErrorForDocking)]
        );
        assert_eq!(
            ligand_codes("[H+]"),
            [("single_hydrogen", Severity::ErrorForDocking)]
        );
        assert_eq!(
            ligand_codes("C[W]").first().map(|found| found.0),
            Some("unsupported_element")
        );
        let salt = [
            ("disconnected", Severity::Warning),
            ("needs_3d", Severity::Warning),
        ];
        assert_eq!(ligand_codes("CCO.[Na+]"), salt);
        assert_eq!(
            ligand_codes("CB(O)O")[0],
            ("unsupported_element", Severity::ErrorForDocking)
        );
        assert_eq!(
            ligand_codes("C*")[0],
            ("dummy_atoms", Severity::ErrorForDocking)
        );
        assert_eq!(
            check_for_docking_ligand(&Molecule::default())[0].code,
            "no_atoms"
        );
    }

    #[test]
    fn receptors_are_judged() {
        let line = |name: &str, residue: &str, x: f64, z: f64| {
            format!(
                "ATOM      1 {name}{residue} A{x:4.0}    {x:8.3}   0.000{z:8.3}  1.00  0.00           C\n"
            )
        };
        let codes = |text: String| {
            let (molecule, _) = read_molecule(text.as_bytes(), Format::Pdb).unwrap();
            check_for_docking_receptor(&molecule)
                .into_iter()
                .map(|fault| fault.code)
                .collect::<Vec<_>>()
        };
        let trace = line(" CA  ", "ALA", 1.0, 0.0) + &line(" CA  ", "GLY", 2.0, 1.0);
        assert_eq!(codes(trace.clone()), ["backbone_trace"]);
        assert_eq!(
            codes(trace.clone() + &line(" N   ", "GLY", 2.0, 3.0)),
            Vec::<&str>::new()
        );
        assert_eq!(
            codes(line(" O   ", "HOH", 1.0, 0.0) + &line(" O   ", "HOH", 2.0, 4.0)),
            ["only_solvent", "waters"]
        );
        let cofactor = trace + &line(" N   ", "GLY", 2.0, 3.0) + &line(" C1  ", "NAP", 9.0, 3.0);
        assert_eq!(codes(cofactor), ["other_molecules"]);
    }
}
