//! What is refused before anything runs, and what is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod harness;

use std::path::Path;

use bindery_sdk::{
    prelude::*,
    serde_json::{self, Value},
};
use docking_vina::Vina;
use harness::{Execution, box_of_case, shared};

const CASES: [&str; 9] = [
    "10gs",
    "184l",
    "1g9v",
    "1ia1",
    "1iep",
    "1s63_zinc",
    "1uou",
    "1uw6",
    "bace1_macrocycle",
];

fn case(shared: &Path, name: &str, parameters: &Value) -> Execution {
    let directory = shared.join("data/docking/cases").join(name);
    Execution::new(parameters)
        .input("receptor", &directory.join("receptor.pdb"))
        .input("ligand", &directory.join("ligand.sdf"))
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|&(pointer, code)| (pointer.to_owned(), code.to_owned()))
        .collect()
}

#[test]
fn every_case_is_accepted_with_its_box_and_around_its_ligand() {
    let Some(shared) = shared() else { return };
    for name in CASES {
        let directory = shared.join("data/docking/cases").join(name);
        let accepted = case(&shared, name, &json!({ "box": box_of_case(&directory) })).validate();
        accepted.unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let around = json!({ "box": { "around": "reference" } });
        let accepted = case(&shared, name, &around)
            .input("reference", &directory.join("ligand.sdf"))
            .validate()
            .unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let normalised: Value = serde_json::from_str(&accepted.parameters).unwrap();
        assert_eq!(
            normalised["box"],
            json!({ "around": "reference", "padding": 4.0 })
        );
    }
}

#[test]
fn wrong_boxes_are_refused_with_their_place() {
    let Some(shared) = shared() else { return };
    let refused =
        |search_box: Value| case(&shared, "1iep", &json!({ "box": search_box })).refused();
    let good = [15.19, 53.903, 16.917];
    for side in [0.5, 1.0, 2.0, 3.0, 4.0, 5.0] {
        assert_eq!(
            refused(json!({ "center": good, "size": [side, side, side] })),
            pairs(&[("/parameters/box/size", "box_too_small")]),
            "{side}"
        );
    }
    assert_eq!(
        refused(json!({ "center": [500, 500, 500], "size": [20, 20, 20] })),
        pairs(&[("/parameters/box/center", "box_outside_receptor")])
    );
    // Both at once.
    assert_eq!(
        refused(json!({ "center": [500, 500, 500], "size": [2, 2, 2] })),
        pairs(&[
            ("/parameters/box/center", "box_outside_receptor"),
            ("/parameters/box/size", "box_too_small")
        ])
    );
    assert_eq!(
        refused(json!({ "center": good, "size": [100, 100, 100] })),
        pairs(&[("/parameters/box/size", "box_too_large")])
    );
    assert_eq!(
        refused(json!({ "center": good, "size": [-20, 20, 0] })),
        pairs(&[
            ("/parameters/box/size/0", "out_of_range"),
            ("/parameters/box/size/2", "out_of_range")
        ])
    );
    assert_eq!(
        refused(json!({ "around": "reference" })),
        pairs(&[("/inputs/reference", "required")])
    );
    let large = json!({ "box": { "center": good, "size": [40, 40, 40] } });
    let notices = case(&shared, "1iep", &large).validate().unwrap().notices;
    assert!(notices.iter().any(|notice| notice.code == "large_box"));
}

#[test]
fn the_bad_boxes_of_the_collection_are_refused() {
    let Some(shared) = shared() else { return };
    let read = |name: &str| {
        std::fs::read_to_string(shared.join("data/docking/badinput").join(name)).unwrap()
    };
    // Not JSON at all: the host says so before it asks, and so do we when asked.
    let mut execution = case(&shared, "184l", &json!({}));
    execution.request.parameters = format!("{{\"box\":{}}}", read("box_nan.json"));
    assert_eq!(execution.refused(), pairs(&[("/parameters", "wrong_type")]));
    let negative: Value = serde_json::from_str(&read("box_negative.json")).unwrap();
    assert_eq!(
        case(&shared, "184l", &json!({ "box": negative })).refused(),
        pairs(&[("/parameters/box/size/0", "out_of_range")])
    );
}

#[test]
fn a_form_without_files_is_checked_as_far_as_it_goes() {
    let empty = Execution::new(&json!({ "box": { "around": "reference" } }));
    assert_eq!(empty.refused(), []);
    let faulty = Execution::new(&json!({ "exhaustiveness": 0 }));
    assert_eq!(
        faulty.refused(),
        pairs(&[
            ("/parameters/box", "required"),
            ("/parameters/exhaustiveness", "out_of_range")
        ])
    );
    let threads = json!({ "box": { "around": "reference" }, "exhaustiveness": 2, "cpu": 8 });
    let normalised = Execution::new(&threads).validate().unwrap();
    assert_eq!(normalised.notices[0].code, "cpu_lowered");
    let normalised: Value = serde_json::from_str(&normalised.parameters).unwrap();
    assert_eq!(normalised["cpu"], 2);
}

#[test]
fn faults_of_parameters_and_of_each_file_come_together() {
    let mut execution = Execution::new(&json!({
        "box": { "center": [0, 0, 0], "size": [20, 20, 20] }, "ph": 20
    }));
    execution.input_bytes("receptor", "r.pdb", b"HEADER    NOTHING\nEND\n");
    execution.input_bytes("ligand", "many.smi", b"CCO one\nCCN two\nCCC three\n");
    let refused = execution.refused();
    let pointers: Vec<&str> = refused
        .iter()
        .map(|(pointer, _)| pointer.as_str())
        .collect();
    assert_eq!(
        pointers,
        ["/parameters/ph", "/inputs/receptor", "/inputs/ligand"]
    );
    assert_eq!(refused[2].1, "several_molecules");
    let faults = execution.validate().unwrap_err();
    assert!(
        faults[2].message.contains("3 molecules"),
        "{}",
        faults[2].message
    );
    assert!(
        faults[2].message.starts_with("many.smi: "),
        "{}",
        faults[2].message
    );
}

#[test]
fn a_ligand_left_in_the_site_is_noticed() {
    let Some(shared) = shared() else { return };
    let directory = shared.join("data/docking/cases/184l");
    let mut receptor = std::fs::read_to_string(directory.join("receptor.pdb")).unwrap();
    receptor = receptor.replace("END\n", "");
    receptor.push_str(
        "HETATM 9001  C1  I4B A 401      27.000   7.200   3.000  1.00 20.00           C\nEND\n",
    );
    let mut execution = Execution::new(&json!({ "box": box_of_case(&directory) }))
        .input("ligand", &directory.join("ligand.sdf"));
    execution.input_bytes("receptor", "with_ligand.pdb", receptor.as_bytes());
    let notices = execution.validate().unwrap().notices;
    let filled = notices
        .iter()
        .find(|notice| notice.code == "site_filled")
        .expect("noticed");
    assert!(filled.message.contains("I4B A401"), "{}", filled.message);
}

/// Every file of the collection, as ligand and as receptor: typed answers, none of them slow.
#[test]
fn bad_files_are_refused_or_accepted_as_expected() {
    let Some(shared) = shared() else { return };
    let directory = shared.join("data/docking/badinput");
    let good = shared.join("data/docking/cases/184l");
    let table = std::fs::read_to_string(directory.join("EXPECTED.tsv")).unwrap();
    let mut seen = 0;
    for line in table.lines().skip(1) {
        let mut fields = line.split('\t');
        let (name, expected) = (fields.next().unwrap(), fields.next().unwrap());
        if name.ends_with(".json") {
            continue;
        }
        seen += 1;
        // PDB files are receptors; all else is a ligand.
        let is_receptor = name.starts_with("pdb_");
        let parameters = json!({ "box": { "center": [0, 0, 0], "size": [20, 20, 20] } });
        let mut execution = Execution::new(&parameters);
        let bytes = std::fs::read(directory.join(name)).unwrap();
        execution.input_bytes(
            if is_receptor { "receptor" } else { "ligand" },
            name,
            &bytes,
        );
        if is_receptor {
            // Without a box check: where these proteins are is not the point.
            execution.request.parameters = json!({ "box": { "around": "reference" } }).to_string();
            execution = execution.input("reference", &good.join("ligand.sdf"));
        }
        let started = std::time::Instant::now();
        let refused = execution.refused();
        assert!(
            started.elapsed().as_secs() < 30,
            "{name} took {:?}",
            started.elapsed()
        );
        let slot = if is_receptor {
            "/inputs/receptor"
        } else {
            "/inputs/ligand"
        };
        let of_file: Vec<_> = refused
            .iter()
            .filter(|(pointer, _)| pointer == slot)
            .collect();
        match expected {
            "error" | "error-for-docking" | "partial" => {
                assert!(!of_file.is_empty(), "{name}: {expected}, but accepted");
            }
            "ok" | "ok-warn" => {
                // A file of several molecules is sound and still not one ligand; an ion is sound
                // and still nothing to dock.
                let sound = [
                    "several_molecules",
                    "single_ion",
                    "no_heavy_atoms",
                    "needs_3d",
                    "single_atom",
                    "unsupported_element",
                    "only_solvent",
                    "backbone_trace",
                ];
                assert!(
                    of_file
                        .iter()
                        .all(|(_, code)| sound.contains(&code.as_str())),
                    "{name}: {expected}, but {of_file:?}"
                );
            }
            _ => {}
        }
    }
    assert!(seen > 70);
}

#[test]
fn the_definition_is_sound_and_always_the_same() {
    let definition = Vina::definition();
    assert_eq!(definition, Vina::definition());
    assert_eq!(definition.id, "docking.vina");
    let text = definition.parameters.to_string();
    assert!(!text.contains("prefixItems") && !text.contains("\"const\""));
    let names: Vec<&str> = definition
        .artifacts
        .iter()
        .map(|artifact| artifact.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "poses.sdf",
            "poses.pdbqt",
            "complex.pdb",
            "receptor.pdbqt",
            "ligand.pdbqt",
            "engine.log"
        ]
    );
    // What the schema gives as defaults is what `validate` fills in.
    let normalised = Execution::new(&json!({ "box": { "around": "reference" } }))
        .validate()
        .unwrap();
    let normalised: Value = serde_json::from_str(&normalised.parameters).unwrap();
    for (name, property) in definition.parameters["properties"].as_object().unwrap() {
        if let Some(default) = property.get("default") {
            let same = normalised[name] == *default
                || normalised[name]
                    .as_f64()
                    .is_some_and(|value| Some(value) == default.as_f64());
            assert!(same, "{name}: {default} and {}", normalised[name]);
        }
    }
}
