//! What the engines say when they fail, from recordings of real runs: each is its own typed error,
//! and none is taken for a result.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod harness;

use bindery_sdk::{Root, prelude::*, serde_json::Value};
use harness::{Execution, shared};

const RECEPTOR: &str = "\
ATOM      1  N   GLY A   1       0.000   0.000   0.300  1.00  0.00           N
ATOM      2  CA  GLY A   1       1.458   0.000   0.100  1.00  0.00           C
ATOM      3  C   GLY A   1       2.009   1.420   0.000  1.00  0.00           C
ATOM      4  O   GLY A   1       1.251   2.390   0.000  1.00  0.00           O
END
";
const RECEPTOR_PDBQT: &str = "\
REMARK  Name = receptor
ATOM      1  N   GLY A   1       0.000   0.000   0.300  0.00  0.00    -0.300 N 
ATOM      2  CA  GLY A   1       1.458   0.000   0.100  0.00  0.00    +0.100 C 
ATOM      3  C   GLY A   1       2.009   1.420   0.000  0.00  0.00    +0.100 C 
ATOM      4  O   GLY A   1       1.251   2.390   0.000  0.00  0.00    -0.200 OA
ATOM      5  H   GLY A   1      -0.500   0.800   0.300  0.00  0.00    +0.200 HD
";
/// Methanol without its hydrogens on carbon.
const LIGAND_PDBQT: &str = "\
ROOT
ATOM      1  C   UNL     1       5.000   0.000   0.000  0.00  0.00    +0.100 C 
ATOM      2  O   UNL     1       6.400   0.000   0.000  0.00  0.00    -0.300 OA
ATOM      3  H   UNL     1       6.800   0.900   0.000  0.00  0.00    +0.200 HD
ENDROOT
TORSDOF 0
";
const LIGAND_SDF: &str = "\
methanol
  test

  3  2  0  0  0  0  0  0  0  0999 V2000
    5.0000    0.0000    0.0000 C   0  0
    6.4000    0.0000    0.0000 O   0  0
    6.8000    0.9000    0.0001 H   0  0
  1  2  1  0
  2  3  1  0
M  END
$$$$
";

/// An execution whose preparation is done and whose docking ended so.
fn docked(ending: StepEnding, stdout: &[u8], stderr: &[u8], poses: Option<&str>) -> Execution {
    let mut execution =
        Execution::new(&json!({ "box": { "center": [3, 1, 0], "size": [20, 20, 20] }, "seed": 1 }));
    execution.input_bytes("receptor", "r.pdb", RECEPTOR.as_bytes());
    execution.input_bytes("ligand", "l.sdf", LIGAND_SDF.as_bytes());
    execution.request.parameters = execution.validate().unwrap().parameters;
    let _root = Root::at(&execution.directory);
    let next = |execution: &Execution| {
        docking_vina::Vina::next(&execution.request, &execution.done).unwrap()
    };
    let work = execution.directory.join("work");
    let exited = |execution: &Execution, step: &str| {
        execution.recorded(step, "openbabel", "3.1.1", StepEnding::Exited(0), b"", b"")
    };
    assert!(matches!(next(&execution), Decision::Run(steps) if steps.len() == 2));
    std::fs::write(work.join("receptor-raw.pdbqt"), RECEPTOR_PDBQT).unwrap();
    std::fs::write(work.join("ligand-raw.sdf"), LIGAND_SDF).unwrap();
    for step in ["receptor", "ligand-bonds"] {
        execution.done.push(exited(&execution, step));
    }
    assert!(matches!(next(&execution), Decision::Run(steps) if steps[0].id == "ligand"));
    std::fs::write(work.join("ligand.pdbqt"), LIGAND_PDBQT).unwrap();
    execution.done.push(exited(&execution, "ligand"));
    assert!(matches!(next(&execution), Decision::Run(steps) if steps[0].id == "docking"));
    if let Some(poses) = poses {
        std::fs::write(work.join("poses.pdbqt"), poses).unwrap();
    }
    let docking = execution.recorded("docking", "vina", "1.2.3", ending, stdout, stderr);
    execution.done.push(docking);
    assert_eq!(next(&execution), Decision::Finished);
    execution
}

fn pose(affinity: &str, shift: &str) -> String {
    format!(
        "MODEL 1\nREMARK VINA RESULT:    {affinity}      0.000      0.000\n\
         REMARK INTER + INTRA:  {affinity}\nREMARK INTER:  {affinity}\nREMARK INTRA: 0.000\n\
         REMARK UNBOUND: 0.000\n{}ENDMDL\n",
        LIGAND_PDBQT.replace("   5.000", shift)
    )
}

#[test]
fn a_sound_run_is_a_result() {
    let execution = docked(
        StepEnding::Exited(0),
        b"",
        b"",
        Some(&pose("-2.5", "   5.000")),
    );
    let result = execution.parse().unwrap();
    let output: Value = bindery_sdk::serde_json::from_str(&result.output).unwrap();
    assert_eq!(output["best_affinity_kcal_mol"], -2.5);
    assert_eq!(output["preparation"]["receptor"]["polar_hydrogens"], 1);
    assert_eq!(output["engine"]["version"], "1.2.3");
    let names: Vec<&str> = result
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
    for artifact in &result.artifacts {
        assert!(
            !execution.file(&artifact.path).is_empty(),
            "{}",
            artifact.name
        );
    }
    let sdf = execution.artifact(&result, "poses.sdf");
    assert!(
        sdf.starts_with("methanol\n") && sdf.contains("<affinity_kcal_mol>\n-2.5\n"),
        "{sdf}"
    );
}

#[test]
fn a_ligand_that_does_not_bind_is_an_answer_with_a_warning() {
    let execution = docked(
        StepEnding::Exited(0),
        b"",
        b"",
        Some(&pose("19.4", "   5.000")),
    );
    let notices = execution.parse().unwrap().notices;
    assert!(
        notices
            .iter()
            .any(|notice| notice.code == "no_binding_pose"),
        "{notices:?}"
    );
}

#[test]
fn rubbish_that_ends_well_is_no_result() {
    let told = |poses: &str| match docked(StepEnding::Exited(0), b"", b"", Some(poses)).parse() {
        Err(Error::StepFailed(fault)) => fault.code,
        Err(Error::OutputInvalid(message)) => format!("invalid: {message}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&pose("0.000", "   5.000")), "no_binding_pose");
    assert_eq!(told(&pose("-0.001", "   5.000")), "no_binding_pose");
    assert_eq!(told(&pose("8.466e+07", "   5.000")), "no_binding_pose");
    assert!(told("").starts_with("invalid: poses.pdbqt is damaged: it holds no poses"));
    assert!(told(&pose("-2.5", "     nan")).starts_with("invalid"));
    assert!(told(&pose("nan", "   5.000")).starts_with("invalid"));
    assert!(told(&pose("-2.5", " 500.000")).contains("outside the box"));
    assert!(told(&pose("-2.5", "   5.000").replace("HD", "H ")).contains("atoms"));
    let whole = pose("-2.5", "   5.000");
    assert!(told(&whole[..whole.len() - 20]).contains("cut off"));
}

#[test]
fn each_way_the_host_ends_a_step_is_told() {
    for (ending, code) in [
        (StepEnding::MemoryExceeded, "memory_exceeded"),
        (StepEnding::CpuExceeded, "cpu_exceeded"),
        (StepEnding::DiskExceeded, "disk_exceeded"),
        (StepEnding::TimedOut, "timed_out"),
        (StepEnding::Crashed(11), "engine_crashed"),
        (
            StepEnding::OutputMissing("poses.pdbqt".to_owned()),
            "output_missing",
        ),
        (StepEnding::Exited(3), "docking_failed"),
    ] {
        match docked(ending, b"", b"", None).parse() {
            Err(Error::StepFailed(fault)) => assert_eq!(fault.code, code),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn recorded_failures_have_their_codes() {
    let Some(shared) = shared() else { return };
    let recordings = shared.join("recorded/vina/errors");
    let expected = [
        ("missing_receptor", "file_unreadable"),
        ("missing_ligand", "file_unreadable"),
        ("missing_config", "file_unreadable"),
        ("no_args", "arguments_refused"),
        ("no_ligand_opt", "arguments_refused"),
        ("no_box", "bad_box"),
        ("partial_box", "bad_box"),
        ("zero_box", "bad_box"),
        ("neg_box", "bad_box"),
        ("box_huge", "memory_exceeded"),
        ("bad_option", "arguments_refused"),
        ("bad_value", "arguments_refused"),
        ("bad_config", "arguments_refused"),
        ("exh_zero", "bad_exhaustiveness"),
        ("ligand_sdf", "not_a_ligand"),
        ("receptor_pdb", "not_a_rigid_receptor"),
        ("receptor_lig_prep", "not_a_rigid_receptor"),
        ("out_unwritable", "output_unwritable"),
        ("lig_pdbqt_bad_coord", "bad_coordinate"),
        ("lig_pdbqt_empty", "empty_ligand"),
        ("lig_pdbqt_no_root", "not_a_ligand"),
        ("lig_pdbqt_no_torsdof", "no_torsdof"),
        ("lig_pdbqt_receptor_as_ligand", "not_a_ligand"),
        ("lig_pdbqt_two_models", "several_models"),
        ("lig_pdbqt_unbalanced_branch", "broken_torsion_tree"),
        ("lig_pdbqt_unknown_atom_type", "unsupported_atom_type"),
        ("batch_one_bad", "unsupported_atom_type"),
    ];
    for (name, code) in expected {
        let read =
            |stream: &str| std::fs::read(recordings.join(format!("{name}.{stream}"))).unwrap();
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        match docked(StepEnding::Exited(1), &stdout, &stderr, None).parse() {
            Err(Error::StepFailed(fault)) => {
                assert_eq!(fault.code, code, "{name}");
                assert!(
                    !fault.detail.contains("Correct usage"),
                    "{name}: {}",
                    fault.detail
                );
                assert!(fault.detail.len() <= 600);
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    // Those that end well say it in the poses, or not at all.
    let read = |name: &str| std::fs::read(recordings.join(name)).unwrap();
    let (stdout, stderr) = (read("cpu_neg.stdout"), read("cpu_neg.stderr"));
    let execution = docked(
        StepEnding::Exited(0),
        &stdout,
        &stderr,
        Some(&pose("-2.5", "   5.000")),
    );
    let notices = execution.parse().unwrap().notices;
    assert!(
        notices.iter().any(|notice| notice.code == "engine_warning"),
        "{notices:?}"
    );
}

#[test]
fn preparation_that_wrote_rubbish_stops_before_the_docking() {
    let prepare = |receptor: &str, ligand: &str, tree: &str| {
        let mut execution =
            Execution::new(&json!({ "box": { "center": [3, 1, 0], "size": [20, 20, 20] } }));
        execution.input_bytes("receptor", "r.pdb", RECEPTOR.as_bytes());
        execution.input_bytes("ligand", "l.sdf", LIGAND_SDF.as_bytes());
        execution.request.parameters = execution.validate().unwrap().parameters;
        let _root = Root::at(&execution.directory);
        let work = execution.directory.join("work");
        for (steps, files) in [
            (&[][..], &[][..]),
            (
                &["receptor", "ligand-bonds"],
                &[("receptor-raw.pdbqt", receptor), ("ligand-raw.sdf", ligand)],
            ),
            (&["ligand"], &[("ligand.pdbqt", tree)]),
        ] {
            for (name, text) in files {
                std::fs::write(work.join(name), text).unwrap();
            }
            for step in steps {
                let words = b"1 molecule converted\n";
                let outcome = execution.recorded(
                    step,
                    "openbabel",
                    "3.1.1",
                    StepEnding::Exited(0),
                    b"",
                    words,
                );
                execution.done.push(outcome);
            }
            if let Err(error) = docking_vina::Vina::next(&execution.request, &execution.done) {
                let Error::StepFailed(fault) = error else {
                    panic!("{error:?}")
                };
                return format!("{}: {}", fault.step, fault.code);
            }
        }
        "docking".to_owned()
    };
    assert_eq!(prepare(RECEPTOR_PDBQT, LIGAND_SDF, LIGAND_PDBQT), "docking");
    for (receptor, told) in [
        (String::new(), "receptor: preparation_empty"),
        (
            RECEPTOR_PDBQT.replace("HD\n", "NA\n"),
            "receptor: no_polar_hydrogens",
        ),
        (
            RECEPTOR_PDBQT.replace("   1.458", "     nan"),
            "receptor: bad_coordinate",
        ),
        (
            RECEPTOR_PDBQT
                .lines()
                .take(3)
                .fold(String::new(), |text, line| text + line + "\n"),
            "receptor: atoms_changed",
        ),
        (
            format!("{RECEPTOR_PDBQT}ROOT\n"),
            "receptor: not_a_rigid_receptor",
        ),
    ] {
        assert_eq!(prepare(&receptor, LIGAND_SDF, LIGAND_PDBQT), told);
    }
    for (ligand, told) in [
        (String::new(), "ligand-bonds: preparation_empty"),
        (LIGAND_SDF.replace(" O   0", " C   0"), "docking"),
        (
            LIGAND_SDF.replace("    6.4000", "       nan"),
            "ligand-bonds: bonds_unmatched",
        ),
        (
            format!("{LIGAND_SDF}{LIGAND_SDF}"),
            "ligand-bonds: several_fragments",
        ),
    ] {
        let expected = if told == "docking" {
            "ligand: bonds_unmatched"
        } else {
            told
        };
        assert_eq!(prepare(RECEPTOR_PDBQT, &ligand, LIGAND_PDBQT), expected);
    }
    for (tree, told) in [
        (String::new(), "ligand: preparation_empty"),
        (
            LIGAND_PDBQT.replace("TORSDOF 0\n", ""),
            "ligand: bad_torsion_tree",
        ),
        (
            LIGAND_PDBQT.replace("   6.400", "     nan"),
            "ligand: bad_coordinate",
        ),
        (
            LIGAND_PDBQT.replace("OA\n", "Zz\n"),
            "ligand: unsupported_atom_type",
        ),
        (
            LIGAND_PDBQT.replace("   6.400", "   7.400"),
            "ligand: bonds_unmatched",
        ),
        (
            format!("{LIGAND_PDBQT}{LIGAND_PDBQT}"),
            "ligand: several_fragments",
        ),
    ] {
        assert_eq!(prepare(RECEPTOR_PDBQT, LIGAND_SDF, &tree), told);
    }
}
