//! Redocking: ligands of crystal structures go back to where they were, and the task gives what
//! the bare engine gives.
//!
//! The four cases that are known to come out run always; `BINDERY_TEST_ALL_CASES=1` runs the
//! others too, where a poor pose is the engine's and only the comparison with it counts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test"
)]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use bindery_integration::{Cli, Molecule, program, read_sdf, symmetric_rmsd};
use bindery_testkit::shared;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Top pose within this of the crystal's, in angstrom: the usual measure of success.
const RMSD_MAX: f64 = 2.0;
/// What the engine's own affinities are printed with, in kcal/mol.
const AFFINITY_PRECISION: f64 = 0.0005;
/// Dockings side by side: one thread each, on the smallest machine these tests run on.
const SIDE_BY_SIDE: usize = 2;
const EXHAUSTIVENESS: u32 = 4;
const SEED: u32 = 42;

const RECOVERED: [&str; 4] = ["1s63_zinc", "1ia1", "1uw6", "184l"];
/// Too flexible for so little search, ranked wrongly, or long.
const OTHERS: [&str; 5] = ["bace1_macrocycle", "10gs", "1iep", "1g9v", "1uou"];

struct Row {
    case: &'static str,
    affinity: f64,
    bare_affinity: f64,
    rmsd: f64,
    bare_rmsd: f64,
    poses: usize,
    cpu_seconds: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn crystal_poses_are_found_again_and_equal_those_of_the_bare_engine() {
    let Some(directories) = shared("data/docking/cases") else {
        return;
    };
    let vina = std::env::var_os("BINDERY_ENGINE_VINA")
        .map_or_else(|| program("vina").unwrap(), PathBuf::from);
    let mut cases = RECOVERED.to_vec();
    if std::env::var_os("BINDERY_TEST_ALL_CASES").is_some() {
        cases.splice(0..0, OTHERS);
    }
    let turns = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let running: Vec<_> = cases
        .into_iter()
        .map(|case| {
            let directory = directories.join(case);
            let (turns, vina) = (Arc::clone(&turns), vina.clone());
            tokio::spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                redock(case, &directory, &vina).await
            })
        })
        .collect();
    let mut rows = Vec::new();
    for row in running {
        rows.push(row.await.unwrap());
    }

    println!("case               kcal/mol     bare   RMSD Å     bare  poses  CPU s");
    for row in &rows {
        println!(
            "{:17} {:9.3} {:8.3} {:8.3} {:8.3} {:6} {:6.1}",
            row.case,
            row.affinity,
            row.bare_affinity,
            row.rmsd,
            row.bare_rmsd,
            row.poses,
            row.cpu_seconds
        );
    }
    for row in &rows {
        let case = row.case;
        assert!(
            (row.affinity - row.bare_affinity).abs() < AFFINITY_PRECISION,
            "{case}: affinity"
        );
        assert_eq!(
            row.rmsd < RMSD_MAX,
            row.bare_rmsd < RMSD_MAX,
            "{case}: success"
        );
        if RECOVERED.contains(&case) {
            assert!(row.rmsd < RMSD_MAX, "{case}: {} angstrom", row.rmsd);
        }
    }
}

async fn redock(case: &'static str, directory: &Path, vina: &Path) -> Row {
    let out = tempfile::tempdir().unwrap();
    let search_box: Value =
        serde_json::from_slice(&std::fs::read(directory.join("box.json")).unwrap()).unwrap();
    let results = Cli::new(&["run", "docking.vina", "--json"])
        .unwrap()
        .input("receptor", &directory.join("receptor.pdb"))
        .input("ligand", &directory.join("ligand.sdf"))
        .param("box", &search_box)
        .param("exhaustiveness", EXHAUSTIVENESS)
        .param("seed", SEED)
        .arg("--out")
        .arg(out.path())
        .finish()
        .await
        .and_then(|finished| finished.success())
        .unwrap_or_else(|error| panic!("{case}: {error:#}"));
    assert_complete(case, &results);

    let crystal = read(&directory.join("ligand.sdf")).remove(0);
    let poses = read(&out.path().join("poses.sdf"));
    let listed = results["output"]["poses"].as_array().unwrap();
    assert_eq!(
        poses.len(),
        listed.len(),
        "{case}: poses.sdf and the document"
    );
    for (pose, entry) in poses.iter().zip(listed) {
        let affinity: f64 = pose.data["affinity_kcal_mol"].parse().unwrap();
        assert!(
            (affinity - number(&entry["affinity_kcal_mol"])).abs() < 1e-9,
            "{case}"
        );
    }

    let (out_path, vina) = (out.path().to_owned(), vina.to_owned());
    let bare = tokio::task::spawn_blocking(move || dock_bare(&vina, &out_path, &search_box))
        .await
        .unwrap();
    let ours = std::fs::read_to_string(out.path().join("poses.pdbqt")).unwrap();
    assert!(ours == bare, "{case}: the engine alone gives another file");
    Row {
        case,
        affinity: number(&listed[0]["affinity_kcal_mol"]),
        bare_affinity: first_affinity(&bare),
        rmsd: symmetric_rmsd(&crystal, &poses[0]).expect("the same molecule"),
        bare_rmsd: rmsd_to_engine_pose(&poses[0], &crystal, &bare),
        poses: poses.len(),
        cpu_seconds: number(&results["metrics"]["cpu_seconds"]),
    }
}

/// The engine as a user calls it, in a directory with the prepared files only. What it takes by
/// default is left to it.
fn dock_bare(vina: &Path, prepared: &Path, search_box: &Value) -> String {
    let work = tempfile::tempdir().unwrap();
    for name in ["receptor.pdbqt", "ligand.pdbqt"] {
        std::fs::copy(prepared.join(name), work.path().join(name)).unwrap();
    }
    let mut command = Command::new(vina);
    command
        .args(["--receptor", "receptor.pdbqt", "--ligand", "ligand.pdbqt"])
        .args(["--out", "poses.pdbqt", "--cpu", "1"])
        .args([
            "--exhaustiveness",
            &EXHAUSTIVENESS.to_string(),
            "--seed",
            &SEED.to_string(),
        ]);
    for (axis, at) in ["x", "y", "z"].iter().zip(0..) {
        command
            .arg(format!("--center_{axis}={}", search_box["center"][at]))
            .arg(format!("--size_{axis}={}", search_box["size"][at]));
    }
    let output = command.current_dir(work.path()).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::read_to_string(work.path().join("poses.pdbqt")).unwrap()
}

/// Of `REMARK VINA RESULT:    -7.659      0.000      0.000`.
fn first_affinity(poses: &str) -> f64 {
    let remark = poses
        .lines()
        .find_map(|line| line.strip_prefix("REMARK VINA RESULT:"))
        .unwrap();
    remark.split_whitespace().next().unwrap().parse().unwrap()
}

/// The crystal ligand against the bare engine's best pose: bonds are those of `with_bonds`, the
/// coordinates are the engine's. Each of its heavy atoms takes the nearest engine atom, which must
/// be the very same point, so that the bonds are proven to be on the right atoms.
fn rmsd_to_engine_pose(with_bonds: &Molecule, crystal: &Molecule, poses: &str) -> f64 {
    let engine: Vec<[f64; 3]> = poses
        .lines()
        .take_while(|line| !line.starts_with("ENDMDL"))
        .filter(|line| line.starts_with("ATOM") || line.starts_with("HETATM"))
        .map(|line| [30..38, 38..46, 46..54].map(|range| line[range].trim().parse().unwrap()))
        .collect();
    let mut pose = with_bonds.clone();
    for atom in pose.atoms.iter_mut().filter(|atom| atom.element != "H") {
        let nearest = engine
            .iter()
            .min_by(|a, b| squared(**a, atom.position).total_cmp(&squared(**b, atom.position)))
            .unwrap();
        assert!(
            squared(*nearest, atom.position) < 1e-6,
            "{atom:?} is not where the engine put it"
        );
        atom.position = *nearest;
    }
    symmetric_rmsd(crystal, &pose).expect("the same molecule")
}

fn squared(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Every member has a value (what is not finite cannot be written in JSON and would be null), and
/// it is recorded what made them.
fn assert_complete(case: &str, results: &Value) {
    assert_eq!(results["status"], json!("succeeded"), "{case}");
    for member in ["output", "metrics", "artifacts", "receipts"] {
        assert!(
            results[member]
                .as_object()
                .is_some_and(|object| !object.is_empty())
                || results[member]
                    .as_array()
                    .is_some_and(|array| !array.is_empty()),
            "{case}: {member}"
        );
        assert_no_null(case, member, &results[member]);
    }
    let output = &results["output"];
    for pose in output["poses"].as_array().unwrap() {
        for member in [
            "affinity_kcal_mol",
            "rmsd_lb",
            "rmsd_ub",
            "inter_kcal_mol",
            "intra_kcal_mol",
        ] {
            number(&pose[member]);
        }
    }
    for metric in [
        "best_affinity",
        "poses",
        "wall_seconds",
        "cpu_seconds",
        "peak_memory_bytes",
    ] {
        number(&results["metrics"][metric]);
    }
    let texts = [
        &results["task_version"],
        &output["engine"]["version"],
        &output["preparation"]["version"],
    ];
    for version in texts {
        let version = version.as_str().unwrap_or_default();
        assert!(
            version.starts_with(|c: char| c.is_ascii_digit()),
            "{case}: version {version:?}"
        );
    }
    assert_eq!(output["seed"], json!(SEED), "{case}");
    let names: Vec<&str> = results["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|a| a["name"].as_str())
        .collect();
    for name in [
        "poses.sdf",
        "poses.pdbqt",
        "complex.pdb",
        "receptor.pdbqt",
        "ligand.pdbqt",
    ] {
        assert!(names.contains(&name), "{case}: {name} is not in {names:?}");
    }
}

fn assert_no_null(case: &str, at: &str, value: &Value) {
    match value {
        Value::Null => panic!("{case}: {at} has no value"),
        Value::Array(items) => items.iter().for_each(|item| assert_no_null(case, at, item)),
        Value::Object(members) => {
            for (name, member) in members {
                assert_no_null(case, &format!("{at}.{name}"), member);
            }
        }
        _ => {}
    }
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .filter(|number| number.is_finite())
        .expect("a finite number")
}

fn read(path: &Path) -> Vec<Molecule> {
    let text = std::fs::read_to_string(path).unwrap();
    read_sdf(&text).unwrap_or_else(|fault| panic!("{}: {fault}", path.display()))
}
