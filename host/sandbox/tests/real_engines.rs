//! Real engines give inside what they give outside, to the byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bindery_sandbox::{Ending, OutputOutcome, OutputSpec, RunReport, RunSpec, SandboxLevel};
use common::{Fixture, Recorder};
use tokio_util::sync::CancellationToken;

const OBABEL: &str = "/usr/bin/obabel";
const VINA: &str = "/usr/bin/vina";

fn installed(program: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        eprintln!("SKIPPED: {program} is not installed");
    }
    there
}

/// Runs outside, in a directory.
fn outside(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Runs inside with the same arguments, staging `inputs` of the directory.
async fn inside(
    fixture: &Fixture,
    directory: &Path,
    program: &str,
    arguments: &[&str],
    inputs: &[&str],
    output: &str,
) -> (RunReport, Recorder, PathBuf) {
    let mut spec = RunSpec::new(program, fixture.directory.path().join("out"));
    spec.arguments = arguments.iter().map(Into::into).collect();
    spec.stage = inputs
        .iter()
        .map(|name| (directory.join(name), name.into()))
        .collect();
    spec.outputs = vec![OutputSpec {
        path: output.into(),
        max_bytes: 10 << 20,
    }];
    spec.limits.wall = Duration::from_secs(120);
    let collected = spec.collect_into.join(output);
    let mut recorder = Recorder::default();
    let report = fixture
        .sandbox
        .run(spec, &mut recorder, CancellationToken::new())
        .await
        .unwrap();
    assert_eq!(report.ending, Ending::Exited(0), "{report:?}");
    assert!(
        matches!(report.outputs[0].outcome, OutputOutcome::Collected { .. }),
        "{report:?}"
    );
    (report, recorder, collected)
}

#[tokio::test]
async fn converters_and_docking_are_identical_inside_and_outside() {
    if !installed(OBABEL) || !installed(VINA) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // Small made-up partners: what matters is that the same bytes come out.
    outside(
        home,
        OBABEL,
        &["-:OCCc1ccccc1", "-O", "small.mol2", "--gen3d"],
    );
    outside(
        home,
        OBABEL,
        &["-:OC(=O)Cc1c[nH]c2ccccc12", "-O", "receptor.pdb", "--gen3d"],
    );
    let convert = ["small.mol2", "-xn", "-O", "small.pdbqt"];
    let rigid = ["receptor.pdb", "-xr", "-O", "receptor.pdbqt"];
    outside(home, OBABEL, &convert);
    outside(home, OBABEL, &rigid);
    #[rustfmt::skip]
    let dock = [
        "--receptor", "receptor.pdbqt", "--ligand", "small.pdbqt", "--out", "poses.pdbqt",
        "--center_x", "0", "--center_y", "0", "--center_z", "0",
        "--size_x", "14", "--size_y", "14", "--size_z", "14",
        "--seed", "42", "--exhaustiveness", "2", "--cpu", "2",
    ];
    outside(home, VINA, &dock);
    let expected = |name: &str| std::fs::read(home.join(name)).unwrap();

    for level in [SandboxLevel::L2, SandboxLevel::L1] {
        let Some(fixture) = Fixture::new(level).await else {
            continue;
        };
        for (arguments, input, output) in [
            (&convert, "small.mol2", "small.pdbqt"),
            (&rigid, "receptor.pdb", "receptor.pdbqt"),
        ] {
            let (_, _, collected) =
                inside(&fixture, home, OBABEL, arguments, &[input], output).await;
            assert_eq!(
                std::fs::read(collected).unwrap(),
                expected(output),
                "{level} {output}"
            );
        }
        let inputs = ["receptor.pdbqt", "small.pdbqt"];
        let (report, recorder, collected) =
            inside(&fixture, home, VINA, &dock, &inputs, "poses.pdbqt").await;
        assert_eq!(
            std::fs::read(collected).unwrap(),
            expected("poses.pdbqt"),
            "{level} poses"
        );
        let stars = report
            .stdout
            .bytes
            .iter()
            .filter(|byte| **byte == b'*')
            .count();
        assert_eq!(stars, 51, "progress is whole");
        assert!(
            recorder.chunks.len() > 10,
            "progress comes as it happens: {} chunks",
            recorder.chunks.len()
        );
        assert!(report.usage.cpu_user > Duration::ZERO && report.usage.peak_memory_bytes > 4 << 20);
    }
}

/// Making coordinates is the converter's hungriest mode. It draws random numbers, so only its
/// shape can be compared.
#[tokio::test]
async fn coordinates_are_made_inside() {
    if !installed(OBABEL) {
        return;
    }
    for level in [SandboxLevel::L2, SandboxLevel::L1] {
        let Some(fixture) = Fixture::new(level).await else {
            continue;
        };
        let arguments = ["-:CC(=O)Oc1ccccc1C(=O)O", "-O", "made.sdf", "--gen3d"];
        let (_, _, collected) = inside(
            &fixture,
            Path::new("/"),
            OBABEL,
            &arguments,
            &[],
            "made.sdf",
        )
        .await;
        let text = std::fs::read_to_string(collected).unwrap();
        assert!(
            text.lines().nth(3).unwrap().starts_with(" 21 21"),
            "{level} {text}"
        );
    }
}
