//! Real structures read cleanly, agree between formats, and survive writing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod shared;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bindery_chem::{
    Dimensions, Format, Limits, Severity, check_for_docking_ligand, check_for_docking_receptor,
    decode, formula, inspect, pdbqt, read_molecule, records, write,
};

#[test]
fn cases_are_fit_for_docking() {
    let Some(directory) = shared::data("docking/cases") else {
        return;
    };
    let mut cases = 0;
    for case in std::fs::read_dir(directory).unwrap() {
        let case = case.unwrap().path();
        let read = |name: &str| {
            let bytes = std::fs::read(case.join(name)).unwrap();
            let text = decode(&bytes, &Limits::default()).unwrap().into_owned();
            let inspection = inspect(&bytes, name)
                .unwrap_or_else(|faults| panic!("{}: {faults:?}", case.display()));
            assert!(inspection.errors.is_empty());
            assert!(
                !inspection
                    .warnings
                    .iter()
                    .any(|fault| fault.severity == Severity::ErrorForDocking),
                "{}: {:?}",
                case.display(),
                inspection.warnings
            );
            (text, inspection)
        };
        let (receptor, inspection) = read("receptor.pdb");
        assert!(inspection.is_polymer && inspection.residues > 50);
        let (receptor, _) = read_molecule(&receptor, Format::Pdb).unwrap();
        let stops = |faults: Vec<bindery_chem::Fault>| {
            faults
                .into_iter()
                .filter(|fault| fault.severity == Severity::ErrorForDocking)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            stops(check_for_docking_receptor(&receptor)),
            [],
            "{}",
            case.display()
        );
        let (ligand, inspection) = read("ligand.sdf");
        assert_eq!(
            (inspection.records, inspection.dimensions),
            (1, Dimensions::Three)
        );
        let (ligand, _) = read_molecule(&ligand, Format::Sdf).unwrap();
        assert_eq!(
            stops(check_for_docking_ligand(&ligand)),
            [],
            "{}",
            case.display()
        );
        cases += 1;
    }
    assert!(cases >= 9, "{cases} cases");
}

#[test]
fn library_agrees_between_sdf_and_smiles() {
    let Some(directory) = shared::data("docking/library") else {
        return;
    };
    let sdf = std::fs::read(directory.join("ligands.sdf")).unwrap();
    let smiles = std::fs::read(directory.join("ligands.smi")).unwrap();
    let start = Instant::now();
    let from_sdf: Vec<_> = records(&sdf, Format::Sdf).collect();
    let took = start.elapsed();
    eprintln!(
        "{} SDF records ({} bytes): {took:?}",
        from_sdf.len(),
        sdf.len()
    );
    assert!(
        took < Duration::from_secs(if cfg!(debug_assertions) { 5 } else { 1 }),
        "{took:?}"
    );
    assert_eq!(from_sdf.len(), 400);
    let mut formulas = HashMap::new();
    for record in &from_sdf {
        let info = record
            .verdict
            .as_ref()
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", record.title));
        assert_eq!(info.dimensions, Dimensions::Three);
        formulas.insert(record.title.clone(), info.formula.clone());
        let (start, end) = (
            record.offset as usize,
            (record.offset + record.length) as usize,
        );
        assert!(sdf[start..end].starts_with(record.title.as_bytes()));
        assert!(sdf[start..end].ends_with(b"$$$$\n"));
    }
    let mut compared = 0;
    for record in records(&smiles, Format::Smiles) {
        let info = record
            .verdict
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", record.title));
        assert_eq!(formulas[&record.title], info.formula, "{}", record.title);
        compared += 1;
    }
    assert_eq!(compared, 400);
}

#[test]
fn written_molecules_read_the_same() {
    let Some(directory) = shared::data("docking") else {
        return;
    };
    let library = std::fs::read(directory.join("library/ligands.sdf")).unwrap();
    let mut reader = records(&library, Format::Sdf);
    while let Some(record) = reader.next() {
        let (molecule, _) = read_molecule(reader.content(), Format::Sdf).unwrap();
        let written = write::sdf(&molecule);
        let (again, warnings) = read_molecule(written.as_bytes(), Format::Sdf).unwrap();
        assert_eq!(warnings, [], "{}", record.title);
        assert_eq!(molecule, again, "{}", record.title);
    }
    for case in ["1iep", "10gs", "1uw6"] {
        let text = std::fs::read(directory.join("cases").join(case).join("receptor.pdb")).unwrap();
        let (molecule, _) = read_molecule(&text, Format::Pdb).unwrap();
        let (again, _) = read_molecule(write::pdb(&molecule).as_bytes(), Format::Pdb).unwrap();
        assert_eq!(molecule.atoms.len(), again.atoms.len());
        for (a, b) in molecule.atoms.iter().zip(&again.atoms) {
            assert_eq!(
                (&a.name, a.position, a.element, a.alt_loc),
                (&b.name, b.position, b.element, b.alt_loc)
            );
        }
        assert_eq!(molecule.residues, again.residues);
        assert_eq!(formula(&molecule), formula(&again));
    }
}

#[test]
fn target_receptors_are_what_vina_takes() {
    let Some(directory) = shared::data("docking/dockstring_targets") else {
        return;
    };
    let mut files = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pdbqt")
        {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!pdbqt::is_ligand(&bytes));
            assert_eq!(pdbqt::check_receptor(&bytes), [], "{}", path.display());
            let models = pdbqt::models(&bytes).unwrap();
            assert_eq!(models.len(), 1);
            assert!(
                models[0]
                    .molecule
                    .atoms
                    .iter()
                    .all(|atom| atom.autodock_type.is_some())
            );
            files += 1;
        }
    }
    assert!(files >= 3);
}
