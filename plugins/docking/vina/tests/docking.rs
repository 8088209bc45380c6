//! The whole task with the real engines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod harness;

use std::process::{Command, Stdio};

use bindery_chem::{BondOrder, Element, Format, Molecule, read_molecule, records};
use bindery_sdk::{
    prelude::*,
    serde_json::{self, Value},
};
use harness::{Execution, box_of_case, engines, rmsd::symmetric_rmsd, shared};

fn molecules(sdf: &str) -> Vec<Molecule> {
    let mut reader = records(sdf.as_bytes(), Format::Sdf);
    let mut molecules = Vec::new();
    while let Some(record) = reader.next() {
        record.verdict.unwrap();
        molecules.push(read_molecule(reader.content(), Format::Sdf).unwrap().0);
    }
    molecules
}

fn output(result: &ItemResult) -> Value {
    serde_json::from_str(&result.output).unwrap()
}

fn codes(notices: &[Notice]) -> Vec<&str> {
    notices.iter().map(|notice| notice.code.as_str()).collect()
}

/// Docks a case and checks everything that must hold for every result.
fn dock(case: &str) -> Option<(f64, f64)> {
    let directory = shared()?.join("data/docking/cases").join(case);
    if !engines() {
        return None;
    }
    let search_box = box_of_case(&directory);
    let mut execution =
        Execution::new(&json!({ "box": search_box, "exhaustiveness": 4, "seed": 42 }))
            .input("receptor", &directory.join("receptor.pdb"))
            .input("ligand", &directory.join("ligand.sdf"));
    let result = execution
        .run()
        .unwrap_or_else(|error| panic!("{case}: {error:?}"));

    // By hand, with the engine's defaults wherever we give them explicitly.
    let mut bare = Command::new("vina");
    bare.current_dir(execution.directory.join("work"));
    bare.args([
        "--receptor",
        "receptor.pdbqt",
        "--ligand",
        "ligand.pdbqt",
        "--out",
        "../bare.pdbqt",
    ]);
    for (axis, index) in [("x", 0), ("y", 1), ("z", 2)] {
        bare.arg(format!("--center_{axis}"))
            .arg(search_box["center"][index].to_string());
        bare.arg(format!("--size_{axis}"))
            .arg(search_box["size"][index].to_string());
    }
    bare.args(["--exhaustiveness", "4", "--seed", "42", "--cpu", "1"]);
    assert!(bare.stdout(Stdio::null()).status().unwrap().success());
    let poses = execution.artifact(&result, "poses.pdbqt");
    assert_eq!(
        poses,
        execution.file("bare.pdbqt"),
        "{case}: poses differ from the bare engine's"
    );

    assert!(
        execution.progress.len() >= 10,
        "{case}: {:?}",
        execution.progress
    );
    assert_eq!(execution.progress.last(), Some(&1.0));

    let output = output(&result);
    let best = output["best_affinity_kcal_mol"].as_f64().unwrap();
    assert_eq!(output["poses"][0]["affinity_kcal_mol"].as_f64(), Some(best));
    assert_eq!(
        output["poses"].as_array().unwrap().len(),
        poses.matches("MODEL ").count()
    );
    assert_eq!(output["seed"], 42);
    assert_eq!(
        output["box"]["size"],
        search_box["size"]
            .as_array()
            .unwrap()
            .iter()
            .map(|size| json!(size.as_f64().unwrap()))
            .collect::<Value>()
    );

    let reference = std::fs::read(directory.join("ligand.sdf")).unwrap();
    let (reference, _) = read_molecule(&reference, Format::Sdf).unwrap();
    let docked = molecules(&execution.artifact(&result, "poses.sdf"));
    assert_eq!(docked.len(), output["poses"].as_array().unwrap().len());
    check_geometry(case, &reference, &docked);
    let complex = execution.artifact(&result, "complex.pdb");
    let (complex, _) = read_molecule(complex.as_bytes(), Format::Pdb).unwrap();
    let ligand = complex
        .residues
        .iter()
        .filter(|residue| &*residue.name == "LIG")
        .count();
    assert_eq!(ligand, 1);
    assert!(
        execution
            .artifact(&result, "engine.log")
            .contains("--seed 42")
    );
    let rmsd = symmetric_rmsd(&reference, &docked[0]).expect("the same molecule");
    eprintln!(
        "{case}: {best} kcal/mol, top pose {rmsd:.2} angstrom, {:?}",
        codes(&result.notices)
    );
    Some((best, rmsd))
}

/// All poses are the same molecule with sound bonds, hydrogens included.
fn check_geometry(case: &str, reference: &Molecule, docked: &[Molecule]) {
    for (index, pose) in docked.iter().enumerate() {
        assert_eq!(
            pose.implicit_hydrogen_count(),
            0,
            "{case}: hydrogens are missing"
        );
        assert_eq!(pose.heavy_atom_count(), reference.heavy_atom_count());
        for bond in &pose.bonds {
            let (a, b) = (&pose.atoms[bond.a as usize], &pose.atoms[bond.b as usize]);
            let length = a
                .position
                .iter()
                .zip(&b.position)
                .map(|(a, b)| (a - b) * (a - b))
                .sum::<f64>()
                .sqrt();
            let hydrogen = a.is_hydrogen() || b.is_hydrogen();
            let sound = if hydrogen { 0.85..1.25 } else { 1.05..2.1 };
            assert!(
                sound.contains(&length),
                "{case}: pose {index}: a bond of {length:.3}"
            );
        }
    }
}

#[test]
fn isobutylbenzene_is_found_in_t4_lysozyme() {
    let Some((affinity, rmsd)) = dock("184l") else {
        return;
    };
    assert!(rmsd < 2.0 && affinity < -6.0);
}

#[test]
fn nicotine_is_found_in_its_binding_protein() {
    let Some((affinity, rmsd)) = dock("1uw6") else {
        return;
    };
    assert!(rmsd < 2.0 && affinity < -5.0);
}

#[test]
#[ignore = "half a minute of CPU time"]
fn a_receptor_without_hydrogens_gets_them() {
    let Some((_, rmsd)) = dock("1ia1") else {
        return;
    };
    assert!(rmsd < 2.0);
}

#[test]
#[ignore = "a minute of CPU time"]
fn a_zinc_site_is_prepared_without_charges() {
    let Some((affinity, rmsd)) = dock("1s63_zinc") else {
        return;
    };
    assert!(rmsd < 2.0 && affinity < -8.0);
}

#[test]
#[ignore = "minutes of CPU time"]
fn imatinib_is_found_in_its_kinase() {
    let Some((affinity, rmsd)) = dock("1iep") else {
        return;
    };
    assert!(rmsd < 2.0 && affinity < -12.0);
}

#[test]
#[ignore = "minutes of CPU time"]
fn the_other_cases_run() {
    for case in ["10gs", "1g9v", "1uou", "bace1_macrocycle"] {
        dock(case);
    }
}

#[test]
fn preparation_leaves_nothing_to_chance() {
    let Some(shared) = shared() else { return };
    if !engines() {
        return;
    }
    for case in ["184l", "1uw6", "1ia1", "1uou", "1iep", "1g9v"] {
        let directory = shared.join("data/docking/cases").join(case);
        let prepare = || {
            Execution::new(&json!({ "box": box_of_case(&directory) }))
                .input("receptor", &directory.join("receptor.pdb"))
                .input("ligand", &directory.join("ligand.sdf"))
                .prepare()
                .unwrap()
        };
        let (first, second) = (prepare(), prepare());
        for (one, two) in first.0.lines().zip(second.0.lines()) {
            assert_eq!(one, two, "{case}: receptor");
        }
        assert_eq!(first, second, "{case}");
    }
}

#[test]
fn ligands_without_hydrogens_are_prepared_alike_every_time() {
    let Some(shared) = shared() else { return };
    if !engines() {
        return;
    }
    let library = Command::new("obabel")
        .arg(shared.join("data/docking/library/ligands.sdf"))
        .args(["-osdf", "-d", "-l", "25"])
        .stderr(Stdio::null())
        .output()
        .unwrap()
        .stdout;
    let mut reader = records(&library, Format::Sdf);
    let mut count = 0;
    while let Some(record) = reader.next() {
        let prepare = || {
            // The library stands around the origin; only the preparation is of interest.
            let mut execution =
                Execution::new(&json!({ "box": { "center": [0, 0, 0], "size": [40, 40, 30] } }));
            execution.input_bytes("receptor", "receptor.pdb", RECEPTOR.as_bytes());
            execution.input_bytes("ligand", "ligand.sdf", reader.content());
            let prepared = execution.prepare();
            prepared
                .unwrap_or_else(|error| panic!("{}: {error:?}", record.title))
                .1
        };
        assert_eq!(prepare(), prepare(), "{}", record.title);
        count += 1;
    }
    assert_eq!(count, 25);
}

/// A glycine at the origin.
const RECEPTOR: &str = "\
ATOM      1  N   GLY A   1       0.000   0.000   0.300  1.00  0.00           N
ATOM      2  CA  GLY A   1       1.458   0.000   0.100  1.00  0.00           C
ATOM      3  C   GLY A   1       2.009   1.420   0.000  1.00  0.00           C
ATOM      4  O   GLY A   1       1.251   2.390   0.000  1.00  0.00           O
END
";

/// A small request on 184l that docks in about a second.
fn quick(parameters: &Value, ligand: &str, content: &[u8]) -> Option<Execution> {
    let directory = shared()?.join("data/docking/cases/184l");
    if !engines() {
        return None;
    }
    let mut document =
        json!({ "box": box_of_case(&directory), "exhaustiveness": 1, "seed": 7, "num_modes": 2 });
    for (name, value) in parameters.as_object().unwrap() {
        document[name] = value.clone();
    }
    let mut execution =
        Execution::new(&document).input("receptor", &directory.join("receptor.pdb"));
    execution.input_bytes("ligand", ligand, content);
    Some(execution)
}

#[test]
fn a_smiles_gets_coordinates() {
    let smiles = b"CC(C)Cc1ccccc1 isobutyl\tbenzene\r\n";
    let Some(mut execution) = quick(&json!({}), "i4b.smi", smiles) else {
        return;
    };
    let result = execution.run().unwrap();
    let poses = molecules(&execution.artifact(&result, "poses.sdf"));
    assert_eq!(poses[0].title, "isobutyl benzene");
    assert_eq!(
        (poses[0].heavy_atom_count(), poses[0].atoms.len()),
        (10, 24)
    );
    assert!(
        codes(&result.notices).contains(&"coordinates_made"),
        "{:?}",
        result.notices
    );
    let output = output(&result);
    assert_eq!(output["preparation"]["ligand"]["coordinates"], "made");
    assert!(output["best_affinity_kcal_mol"].as_f64().unwrap() < -6.0);
    // What was docked is there to be docked again.
    let tree = execution.artifact(&result, "ligand.pdbqt");
    let mut again = quick(&json!({}), "ligand.pdbqt", tree.as_bytes()).unwrap();
    let second = again.run().unwrap();
    assert_eq!(
        again.artifact(&second, "poses.pdbqt"),
        execution.artifact(&result, "poses.pdbqt")
    );
}

#[test]
fn the_ph_decides_on_protons_and_salts_are_left_out() {
    let salt = b"CC(=O)O.Cl acetic and hydrochloric acid\n";
    let charge = |ph: f64| {
        let mut execution = quick(&json!({ "ph": ph }), "acid.smi", salt)?;
        let result = execution.run().unwrap();
        assert!(codes(&result.notices).contains(&"salts_removed"));
        let poses = molecules(&execution.artifact(&result, "poses.sdf"));
        assert!(
            poses[0]
                .atoms
                .iter()
                .all(|atom| atom.element != Some(Element::CL))
        );
        Some(
            output(&result)["preparation"]["ligand"]["formal_charge"]
                .as_i64()
                .unwrap(),
        )
    };
    if let Some(acid) = charge(2.0) {
        assert_eq!(acid, 0);
        assert_eq!(charge(7.4), Some(-1));
    }
}

#[test]
fn prepared_files_are_docked_as_they_are() {
    let Some(shared) = shared() else { return };
    let case = shared.join("data/docking/cases/184l");
    let ligand = std::fs::read(case.join("ligand.sdf")).unwrap();
    let Some(mut first) = quick(&json!({}), "ligand.sdf", &ligand) else {
        return;
    };
    let result = first.run().unwrap();
    let (receptor, tree) = (
        first.artifact(&result, "receptor.pdbqt"),
        first.artifact(&result, "ligand.pdbqt"),
    );
    let poses = first.artifact(&result, "poses.pdbqt");
    let parameters = first.request.parameters.clone();
    drop(first);
    let mut second = Execution::new(&serde_json::from_str(&parameters).unwrap());
    second.input_bytes("receptor", "r.pdbqt", receptor.as_bytes());
    second.input_bytes("ligand", "l.pdbqt", tree.as_bytes());
    let again = second.run().unwrap();
    assert_eq!(second.artifact(&again, "poses.pdbqt"), poses);
    assert!(
        codes(&again.notices).contains(&"bonds_perceived"),
        "{:?}",
        again.notices
    );
    assert_eq!(
        output(&again)["preparation"]["ligand"]["prepared_by"],
        "user"
    );
    let pose = &molecules(&second.artifact(&again, "poses.sdf"))[0];
    assert_eq!(
        pose.bonds
            .iter()
            .filter(|bond| bond.order == BondOrder::Double)
            .count(),
        3
    );
    // Only the bonds were read by Open Babel.
    let steps: Vec<&str> = second
        .done
        .iter()
        .map(|outcome| outcome.step.as_str())
        .collect();
    assert_eq!(steps, ["ligand-bonds", "docking"]);
}

#[test]
fn every_format_of_one_ligand_is_docked() {
    let Some(shared) = shared() else { return };
    let case = shared.join("data/docking/cases/184l");
    if !engines() {
        return;
    }
    for format in ["mol2", "pdb", "xyz", "mol"] {
        let converted = Command::new("obabel")
            .arg(case.join("ligand.sdf"))
            .arg(format!("-o{format}"))
            .arg("-h")
            .stderr(Stdio::null())
            .output()
            .unwrap()
            .stdout;
        let name = format!("ligand.{format}");
        let mut execution = quick(&json!({}), &name, &converted).unwrap();
        let result = execution
            .run()
            .unwrap_or_else(|error| panic!("{format}: {error:?}"));
        let affinity = output(&result)["best_affinity_kcal_mol"].as_f64().unwrap();
        assert!(affinity < -6.0, "{format}: {affinity}");
        let pose = &molecules(&execution.artifact(&result, "poses.sdf"))[0];
        assert_eq!(pose.heavy_atom_count(), 10, "{format}");
        assert_eq!(pose.bonds.len(), 24, "{format}");
    }
}

#[test]
fn a_box_around_the_reference_is_resolved_and_the_seed_is_recorded() {
    let Some(shared) = shared() else { return };
    let case = shared.join("data/docking/cases/184l");
    let ligand = std::fs::read(case.join("ligand.sdf")).unwrap();
    let around = json!({ "box": { "around": "reference", "padding": 5 } });
    let Some(execution) = quick(&around, "ligand.sdf", &ligand) else {
        return;
    };
    let mut execution = execution.input("reference", &case.join("ligand.sdf"));
    let mut parameters: Value = serde_json::from_str(&execution.request.parameters).unwrap();
    parameters.as_object_mut().unwrap().remove("seed");
    execution.request.parameters = parameters.to_string();
    let result = execution.run().unwrap();
    let output = output(&result);
    // The request's own seed, made to fit the engine.
    assert_eq!(output["seed"], 20_261_122);
    assert_eq!(output["box"]["around"], "reference");
    let size = output["box"]["size"][0].as_f64().unwrap();
    assert!((10.0..18.0).contains(&size), "{size}");
    assert!(
        execution
            .artifact(&result, "engine.log")
            .contains("--seed 20261122")
    );
}

#[test]
fn a_box_in_which_nothing_binds_is_no_result() {
    let Some(shared) = shared() else { return };
    let case = shared.join("data/docking/cases/184l");
    let ligand = std::fs::read(case.join("ligand.sdf")).unwrap();
    // Inside the protein, large enough by its size, but full of atoms.
    let full = json!({ "box": { "center": [36.0, 5.0, 15.0], "size": [5.5, 5.5, 5.5] } });
    let Some(mut execution) = quick(&full, "ligand.sdf", &ligand) else {
        return;
    };
    match execution.run() {
        Err(Error::StepFailed(fault)) => assert_eq!(fault.code, "no_binding_pose"),
        Ok(result) => {
            let binds = output(&result)["best_affinity_kcal_mol"].as_f64().unwrap() < 0.0;
            assert!(binds || codes(&result.notices).contains(&"no_binding_pose"));
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Every file of the collection through the whole task: a result or a typed error.
#[test]
#[ignore = "minutes of CPU time"]
fn every_bad_file_ends_in_a_typed_way() {
    let Some(shared) = shared() else { return };
    if !engines() {
        return;
    }
    let good = shared.join("data/docking/cases/184l");
    let directory = shared.join("data/docking/badinput");
    let mut names: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".json") && !name.ends_with(".tsv"))
        // A hundred thousand atoms, and a ligand of hundreds: minutes each.
        .filter(|name| !name.contains("100011") && !name.contains("999plus"))
        .collect();
    names.sort();
    for name in names {
        let started = std::time::Instant::now();
        let path = directory.join(&name);
        let mut execution = if name.starts_with("pdb_") {
            let mut execution = Execution::new(&json!({
                "box": { "around": "reference", "padding": 8 }, "exhaustiveness": 1, "seed": 1
            }))
            .input("receptor", &path)
            .input("ligand", &good.join("ligand.sdf"));
            // Around the receptor itself, so that the box is where its atoms are.
            execution.input_bytes("reference", &name, &std::fs::read(&path).unwrap());
            execution
        } else {
            Execution::new(&json!({
                "box": box_of_case(&good), "exhaustiveness": 1, "seed": 1
            }))
            .input("receptor", &good.join("receptor.pdb"))
            .input("ligand", &path)
        };
        let told = match execution.run() {
            Ok(result) => format!(
                "{} kcal/mol, {:?}",
                output(&result)["best_affinity_kcal_mol"],
                codes(&result.notices)
            ),
            Err(Error::InvalidInput(faults)) => format!("refused: {}", faults[0].message),
            Err(Error::StepFailed(fault)) => {
                format!("{} {}: {}", fault.step, fault.code, fault.message)
            }
            Err(Error::OutputInvalid(message)) => format!("output: {message}"),
            Err(other) => panic!("{name}: {other:?}"),
        };
        eprintln!("{name} ({:.1} s): {told}", started.elapsed().as_secs_f64());
    }
}
