//! `bindery run` as scripts use it: exit codes, the one document of `--json`, what `--out` holds,
//! and what is refused before an engine starts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use bindery_integration::{Cli, project, read_sdf};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Processes of a search that is under way: the engine, seen from outside of its sandbox.
const ENGINE_PROCESS: &str = "vina";

fn example(name: &str) -> PathBuf {
    project()
        .join("plugins/docking/vina/examples/1uw6")
        .join(name)
}

/// With nothing but the task.
fn bare_run() -> Cli {
    Cli::new(&["run", "docking.vina", "--json"]).unwrap()
}

/// The example's receptor and ligand, with the least search.
fn run() -> Cli {
    bare_run()
        .input("receptor", &example("receptor.pdb"))
        .input("ligand", &example("ligand.sdf"))
        .param("exhaustiveness", 1)
}

fn explicit_box() -> Value {
    serde_json::from_slice(&std::fs::read(example("box.json")).unwrap()).unwrap()
}

/// Pointers and codes of violations.
type Expected = &'static [(&'static str, &'static str)];

/// Pointer and code of each violation.
fn violations(document: &Value) -> BTreeSet<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let violations = document["violations"].as_array().unwrap().iter();
    violations
        .map(|violation| {
            assert!(!text(&violation["message"]).is_empty());
            (text(&violation["pointer"]), text(&violation["code"]))
        })
        .collect()
}

#[tokio::test]
async fn a_directory_holds_the_document_and_every_artifact_of_it() {
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("made/by/the/command");
    let finished = run()
        .param("box", explicit_box())
        .arg("--out")
        .arg(&out)
        .finish()
        .await
        .unwrap();
    let document = finished.success().unwrap();
    let kept: Value =
        serde_json::from_slice(&std::fs::read(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(document, kept);
    let mut expected = BTreeSet::from(["result.json".to_owned()]);
    for artifact in document["artifacts"].as_array().unwrap() {
        let name = artifact["name"].as_str().unwrap();
        let content = std::fs::read(out.join(name)).unwrap();
        assert_eq!(artifact["size"], json!(content.len()), "{name}");
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(&content)));
        assert_eq!(artifact["digest"], json!(digest), "{name}");
        assert!(!content.is_empty(), "{name}");
        expected.insert(name.to_owned());
    }
    let found: BTreeSet<String> = std::fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn without_json_the_output_goes_to_standard_output_and_the_rest_to_the_other() {
    let finished = Cli::new(&["run", "system.noop"])
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(finished.code().unwrap(), 0, "{}", finished.stderr);
    finished.document().unwrap();

    let rejected = Cli::new(&["run", "docking.vina"])
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(rejected.code().unwrap(), 3);
    assert_eq!(rejected.stdout, "");
    for what in ["/inputs/receptor", "/inputs/ligand", "/parameters/box"] {
        assert!(rejected.stderr.contains(what), "{}", rejected.stderr);
    }
}

#[tokio::test]
async fn words_that_make_no_command_are_a_usage_error() {
    let no_path = ["run", "docking.vina", "--input", "receptor"];
    let no_value = ["run", "docking.vina", "--param", "exhaustiveness"];
    let no_object = [
        "run",
        "docking.vina",
        "--param",
        "seed=1",
        "--param",
        "seed.x=1",
    ];
    let no_file = [
        "run",
        "docking.vina",
        "--params",
        "/nonexistent/parameters.json",
    ];
    let no_task = ["run", "not a task id"];
    let commands: [&[&str]; 8] = [
        &[],
        &["dock"],
        &["run"],
        &["run", "docking.vina", "--bogus"],
        &no_path,
        &no_value,
        &no_object,
        &no_file,
    ];
    for arguments in commands.into_iter().chain([no_task.as_slice()]) {
        let finished = Cli::new(arguments).unwrap().finish().await.unwrap();
        assert_eq!(
            finished.code().unwrap(),
            2,
            "{arguments:?}: {}",
            finished.stderr
        );
        assert_eq!(finished.stdout, "", "{arguments:?}");
        assert!(!finished.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_task_has_flags_and_help_of_its_own() {
    let help = async |arguments: &[&str]| {
        let finished = Cli::new(arguments).unwrap().finish().await.unwrap();
        assert_eq!(finished.code().unwrap(), 0, "{}", finished.stderr);
        finished.stdout
    };
    let run_help = help(&["run", "docking.vina", "--help"]).await;
    let show = help(&["task", "show", "docking.vina"]).await;
    let validate = help(&["task", "validate", "docking.vina", "--help"]).await;
    for words in [
        "--receptor <PATH>",
        "--exhaustiveness <N>",
        "[1 <= value <= 1024] [default: 8]",
        "--scoring <WORD>",
        "[possible values: vina, vinardo]",
        "--box.center <A,B,…>",
        "--box.around",
        "--input <SLOT=PATH>",
        "poses.sdf",
    ] {
        for text in [&run_help, &show, &validate] {
            assert!(text.contains(words), "`{words}` is not in\n{text}");
        }
    }
    // Which task is meant decides, wherever else the plugins are.
    let dist = bindery_testkit::dist().unwrap();
    let plugins = dist.join("plugins");
    let help = help(&[
        "run",
        "system.sleep",
        "--seconds",
        "3",
        "--plugins",
        plugins.to_str().unwrap(),
        "-h",
    ])
    .await;
    assert!(help.contains("--seconds <NUMBER>"), "{help}");
    assert!(!help.contains("--receptor"), "{help}");
}

#[tokio::test]
async fn flags_of_the_task_say_what_params_say() {
    let flags = Cli::new(&["task", "validate", "docking.vina", "--json"])
        .unwrap()
        .arg("--receptor")
        .arg(example("receptor.pdb"))
        .arg("--ligand")
        .arg(example("ligand.sdf"))
        .arg("--box.center=83.64,69.684,-10.124")
        .arg("--box.size")
        .arg("[20, 20, 20]")
        .arg("--num-modes")
        .arg("3")
        .arg("--energy_range=2.5")
        .arg("--scoring")
        .arg("vinardo")
        .finish()
        .await
        .unwrap()
        .success()
        .unwrap();
    let params = Cli::new(&["task", "validate", "docking.vina", "--json"])
        .unwrap()
        .input("receptor", &example("receptor.pdb"))
        .input("ligand", &example("ligand.sdf"))
        .param("box.center", "[83.64,69.684,-10.124]")
        .param("box.size", "[20,20,20]")
        .param("num_modes", 3)
        .param("energy_range", 2.5)
        .param("scoring", "vinardo")
        .finish()
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(flags, params);
    assert_eq!(flags["parameters"]["num_modes"], 3);

    // What fits the type and not the task is the task's to refuse, with all else that is wrong.
    let refused = Cli::new(&["run", "system.sleep", "--json", "--seconds", "-1"])
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(refused.code().unwrap(), 3, "{}", refused.stderr);
    let expected = ("/parameters/seconds".to_owned(), "out_of_range".to_owned());
    assert!(violations(&refused.document().unwrap()).contains(&expected));
}

#[tokio::test]
async fn a_flag_that_is_none_or_given_twice_is_a_usage_error() {
    let parameters = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(parameters.path(), r#"{ "seconds": 1 }"#).unwrap();
    let file = parameters.path().to_str().unwrap();
    let cases: [(&[&str], &str); 8] = [
        (&["--second", "1"], "--seconds"),
        (&["--bogus"], "--bogus"),
        (&["--seconds", "soon"], "not a number"),
        (&["--seconds", "1", "--seconds", "2"], "multiple times"),
        (&["--seconds", "1", "--param", "seconds=2"], "given twice"),
        (&["--seconds", "1", "--params", file], "given twice"),
        (&["--param", "seconds=1", "--params", file], "given twice"),
        (&["--param", "seconds=1", "-p", "seconds=1"], "given twice"),
    ];
    for (arguments, words) in cases {
        let all: Vec<&str> = ["run", "system.sleep"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let finished = Cli::new(&all).unwrap().finish().await.unwrap();
        assert_eq!(finished.code().unwrap(), 2, "{all:?}: {}", finished.stderr);
        assert_eq!(finished.stdout, "", "{all:?}");
        assert!(
            finished.stderr.contains(words),
            "{all:?}: {}",
            finished.stderr
        );
    }
    let finished = Cli::new(&["run", "docking.vina", "--json"])
        .unwrap()
        .input("receptor", &example("receptor.pdb"))
        .arg("--receptor")
        .arg(example("receptor.pdb"))
        .finish()
        .await
        .unwrap();
    assert_eq!(finished.code().unwrap(), 2, "{}", finished.stderr);
    assert!(finished.stderr.contains("given twice"));
    // Of a task that is not there nobody knows the flags.
    let finished = Cli::new(&["run", "no.such", "--flag", "1", "--json"])
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(finished.code().unwrap(), 2);
    assert_eq!(finished.document().unwrap()["code"], "unknown_task");
}

#[tokio::test]
async fn an_unknown_task_is_a_usage_error_that_says_what_may_be_meant() {
    for (task, meant) in [
        ("no.such", "bindery task list"),
        ("system.slep", "`system.sleep`"),
        ("sleep", "`system.sleep`"),
        ("system.sleep@99.0.0", "`system.sleep@"),
    ] {
        let ran = Cli::new(&["run", task, "--json"]).unwrap();
        let ran = ran.finish().await.unwrap();
        assert_eq!(ran.code().unwrap(), 2, "{task}");
        let document = ran.document().unwrap();
        assert_eq!(document["code"], "unknown_task");
        let fix = document["fix"].as_str().unwrap();
        assert!(fix.contains(meant), "{task}: {fix}");
        for words in [&["run"][..], &["task", "show"]] {
            let said = Cli::new(words).unwrap().arg(task);
            let said = said.finish().await.unwrap();
            assert_eq!(said.code().unwrap(), 2, "{words:?} {task}");
            assert_eq!(said.stdout, "");
            assert!(said.stderr.contains(meant), "{words:?}: {}", said.stderr);
        }
    }
}

#[tokio::test]
async fn files_that_cannot_be_read_are_a_usage_error_and_all_are_named() {
    let missing = Path::new("/nonexistent/receptor.pdb");
    let directory = tempfile::tempdir().unwrap();
    let finished = bare_run()
        .input("receptor", missing)
        .input("ligand", directory.path())
        .arg("--param")
        .arg("seed")
        .finish()
        .await
        .unwrap();
    assert_eq!(finished.code().unwrap(), 2);
    let document = finished.document().unwrap();
    assert_eq!(document["code"], "usage");
    assert_eq!(document["faults"].as_array().unwrap().len(), 3);
    let directory = directory.path().to_str().unwrap();
    for words in [
        "/nonexistent/receptor.pdb (input `receptor`)",
        directory,
        "`--param seed` is not KEY=VALUE",
    ] {
        assert!(
            finished.stderr.contains(words),
            "{words}: {}",
            finished.stderr
        );
    }
}

#[tokio::test]
async fn what_may_be_given_in_several_ways_is_named_and_one_member_can_tell_which() {
    let check = || {
        Cli::new(&["task", "validate", "docking.vina", "--json"])
            .unwrap()
            .input("receptor", &example("receptor.pdb"))
            .input("ligand", &example("ligand.sdf"))
    };
    let missing = check().finish().await.unwrap();
    assert_eq!(missing.code().unwrap(), 3);
    let words = missing.document().unwrap()["violations"][0]["message"].to_string();
    for way in ["`center`, `size`", "`around`"] {
        assert!(words.contains(way), "{words}");
    }
    let checked = check()
        .input("reference", &example("ligand.sdf"))
        .arg("--box.padding")
        .arg("5")
        .finish()
        .await
        .unwrap();
    let checked = checked.success().unwrap();
    assert_eq!(
        checked["parameters"]["box"],
        json!({ "around": "reference", "padding": 5.0 })
    );
}

#[tokio::test]
async fn a_bad_box_is_refused_with_all_its_faults_and_nothing_is_launched() {
    // Where the box stands is looked at once all parameters can be read, so the faults of one
    // kind come together.
    let cases: [(Value, u32, Expected); 4] = [
        (
            json!({ "center": [500.0, 0.0, 0.0], "size": [2.0, 2.0, 2.0] }),
            9,
            &[
                ("/parameters/box/center", "box_outside_receptor"),
                ("/parameters/box/size", "box_too_small"),
            ],
        ),
        (
            json!({ "center": [83.64, 69.684, -10.124], "size": [0.0, 15.0, -3.0] }),
            0,
            &[
                ("/parameters/num_modes", "out_of_range"),
                ("/parameters/box/size/0", "out_of_range"),
                ("/parameters/box/size/2", "out_of_range"),
            ],
        ),
        (
            json!({ "center": [1.0, 2.0], "size": [15.0, 15.0, "wide"] }),
            0,
            &[
                ("/parameters/num_modes", "out_of_range"),
                ("/parameters/box/center", "wrong_type"),
                ("/parameters/box/size/2", "wrong_type"),
            ],
        ),
        (
            json!({ "around": "reference" }),
            9,
            &[("/inputs/reference", "required")],
        ),
    ];
    for (search_box, num_modes, expected) in cases {
        let out = tempfile::tempdir().unwrap();
        let out = out.path().join("out");
        let finished = run()
            .param("box", &search_box)
            .param("num_modes", num_modes)
            .arg("--out")
            .arg(&out)
            .finish()
            .await
            .unwrap();
        assert_eq!(
            finished.code().unwrap(),
            3,
            "{search_box}: {}",
            finished.stderr
        );
        let document = finished.document().unwrap();
        assert_eq!(document["code"], "invalid_request");
        let found = violations(&document);
        for (pointer, code) in expected {
            let violation = ((*pointer).to_owned(), (*code).to_owned());
            assert!(
                found.contains(&violation),
                "{search_box}: {violation:?} not in {found:?}"
            );
        }
        // An execution would have left its record.
        assert!(document.get("execution_id").is_none());
        assert!(!out.exists());
    }
}

#[tokio::test]
async fn validate_says_what_run_would_and_runs_nothing() {
    let validate = || {
        Cli::new(&["task", "validate", "docking.vina", "--json"])
            .unwrap()
            .input("receptor", &example("receptor.pdb"))
            .input("ligand", &example("ligand.sdf"))
    };
    let accepted = validate()
        .param("box", explicit_box())
        .finish()
        .await
        .unwrap();
    let document = accepted.success().unwrap();
    assert_eq!(document["valid"], json!(true));
    assert_eq!(document["parameters"]["exhaustiveness"], json!(8));

    let refused = validate()
        .param("box", explicit_box())
        .param("ph", 20)
        .finish()
        .await
        .unwrap();
    assert_eq!(refused.code().unwrap(), 3);
    let expected = ("/parameters/ph".to_owned(), "out_of_range".to_owned());
    assert!(violations(&refused.document().unwrap()).contains(&expected));
}

#[tokio::test]
async fn an_engine_that_is_not_installed_has_its_own_exit_code_and_a_hint() {
    let finished = run()
        .param("box", explicit_box())
        .env("BINDERY_ENGINE_VINA", "/nonexistent/vina")
        .finish()
        .await
        .unwrap();
    assert_eq!(finished.code().unwrap(), 4, "{}", finished.stderr);
    let document = finished.document().unwrap();
    assert_eq!(document["code"], "engine_missing");
    assert!(
        document["message"]
            .as_str()
            .unwrap()
            .contains("BINDERY_ENGINE_VINA"),
        "{document}"
    );
    assert!(!document["fix"].as_str().unwrap().is_empty(), "{document}");
}

#[tokio::test]
async fn an_interrupt_stops_the_engine_and_leaves_nothing() {
    // Minutes of searching, so that it cannot end by itself meanwhile.
    let mut running = bare_run()
        .input("receptor", &example("receptor.pdb"))
        .input("ligand", &example("ligand.sdf"))
        .param("box", explicit_box())
        .param("exhaustiveness", 1024)
        .start()
        .unwrap();
    let below = running.wait_for_process(ENGINE_PROCESS).await.unwrap();
    running.interrupt().unwrap();
    let finished = running.finish().await.unwrap();
    assert_eq!(finished.code().unwrap(), 130, "{}", finished.stderr);
    assert_eq!(finished.document().unwrap()["status"], "cancelled");
    assert!(below.known() > 1, "the engine runs below a helper");
    assert_eq!(below.alive(), Vec::<String>::new(), "outlived the command");
}

#[tokio::test]
async fn a_drawn_seed_is_recorded_and_gives_the_same_poses_again() {
    let poses = |seed: Option<u64>| async move {
        let out = tempfile::tempdir().unwrap();
        let mut cli = run()
            .param("box", explicit_box())
            .arg("--out")
            .arg(out.path());
        if let Some(seed) = seed {
            cli = cli.param("seed", seed);
        }
        let document = cli.finish().await.unwrap().success().unwrap();
        let poses = std::fs::read_to_string(out.path().join("poses.pdbqt")).unwrap();
        (document["output"]["seed"].as_u64().unwrap(), poses)
    };
    let (drawn, first) = poses(None).await;
    assert!((1..=2_147_483_647).contains(&drawn), "{drawn}");
    let (given, second) = poses(Some(drawn)).await;
    assert_eq!(given, drawn);
    assert!(
        first == second,
        "seed {drawn} gave other poses the second time"
    );
    let (other, _) = poses(None).await;
    assert_ne!(other, drawn, "two runs drew the same seed");
}

#[tokio::test]
async fn prepared_and_packed_files_give_what_plain_ones_give() {
    let dock = |receptor: PathBuf, ligand: PathBuf| async move {
        let out = tempfile::tempdir().unwrap();
        let document = bare_run()
            .input("receptor", &receptor)
            .input("ligand", &ligand)
            .param("exhaustiveness", 1)
            .param("seed", 7)
            .param("box", explicit_box())
            .arg("--out")
            .arg(out.path())
            .finish()
            .await
            .unwrap()
            .success()
            .unwrap();
        let poses = std::fs::read_to_string(out.path().join("poses.pdbqt")).unwrap();
        (out, document["output"].clone(), poses)
    };
    let (plain_out, plain, plain_poses) =
        dock(example("receptor.pdb"), example("ligand.sdf")).await;
    assert_eq!(plain["preparation"]["receptor"]["format"], "pdb");
    assert_eq!(plain["preparation"]["ligand"]["format"], "sdf");

    let prepared = |name| plain_out.path().join(name);
    let (out, output, poses) = dock(prepared("receptor.pdbqt"), prepared("ligand.pdbqt")).await;
    assert!(poses == plain_poses, "prepared files gave other poses");
    assert_eq!(output["poses"], plain["poses"]);
    assert_eq!(output["preparation"]["receptor"]["format"], "pdbqt");
    assert_eq!(output["preparation"]["ligand"]["format"], "pdbqt");
    for name in ["receptor.pdbqt", "ligand.pdbqt"] {
        let given = std::fs::read(prepared(name)).unwrap();
        let used = std::fs::read(out.path().join(name)).unwrap();
        assert!(given == used, "{name} was not used as given");
    }

    let packed = tempfile::tempdir().unwrap();
    let pack = |name: &str| {
        let output = std::process::Command::new("gzip")
            .arg("-c")
            .arg(example(name))
            .output()
            .unwrap();
        assert!(output.status.success());
        let path = packed.path().join(format!("{name}.gz"));
        std::fs::write(&path, output.stdout).unwrap();
        path
    };
    let (_, output, poses) = dock(pack("receptor.pdb"), pack("ligand.sdf")).await;
    assert!(poses == plain_poses, "packed files gave other poses");
    assert_eq!(output["poses"], plain["poses"]);
}

#[tokio::test]
async fn a_ligand_without_coordinates_gets_them_and_says_so() {
    let files = tempfile::tempdir().unwrap();
    let nicotine = files.path().join("nicotine.smi");
    std::fs::write(&nicotine, "CN1CCC[C@H]1c1cccnc1 nicotine\n").unwrap();
    let out = files.path().join("out");
    let document = bare_run()
        .input("receptor", &example("receptor.pdb"))
        .input("ligand", &nicotine)
        .param("exhaustiveness", 1)
        .param("seed", 1)
        .param("box", explicit_box())
        .arg("--out")
        .arg(&out)
        .finish()
        .await
        .unwrap()
        .success()
        .unwrap();
    let ligand = &document["output"]["preparation"]["ligand"];
    assert_eq!(ligand["format"], "smiles");
    assert_ne!(ligand["coordinates"], "as_given");
    assert_eq!(ligand["heavy_atoms"], json!(12));
    let poses = read_sdf(&std::fs::read_to_string(out.join("poses.sdf")).unwrap()).unwrap();
    assert_eq!(poses[0].name, "nicotine");
    // Rings stay rings: 13 bonds between heavy atoms, none of them longer than a bond.
    let pose = &poses[0];
    let lengths: Vec<f64> = pose
        .bonds
        .iter()
        .map(|&(a, b, _)| (&pose.atoms[a], &pose.atoms[b]))
        .filter(|(a, b)| a.element != "H" && b.element != "H")
        .map(|(a, b)| {
            let squares = a
                .position
                .iter()
                .zip(b.position)
                .map(|(a, b)| (a - b) * (a - b));
            squares.sum::<f64>().sqrt()
        })
        .collect();
    assert_eq!(lengths.len(), 13);
    assert!(
        lengths.iter().all(|length| (1.2..1.7).contains(length)),
        "{lengths:?}"
    );
}

#[tokio::test]
async fn a_box_around_a_reference_holds_it_with_the_padding() {
    let padding = 5.0;
    let document = run()
        .input("reference", &example("ligand.sdf"))
        .param("box.around", "reference")
        .param("box.padding", padding)
        .finish()
        .await
        .unwrap()
        .success()
        .unwrap();
    let search_box = &document["output"]["box"];
    let ligand = read_sdf(&std::fs::read_to_string(example("ligand.sdf")).unwrap()).unwrap();
    for axis in 0..3 {
        let center = search_box["center"][axis].as_f64().unwrap();
        let size = search_box["size"][axis].as_f64().unwrap();
        let at = || ligand[0].heavy_atoms().map(|atom| atom.position[axis]);
        let (low, high) = (at().fold(f64::MAX, f64::min), at().fold(f64::MIN, f64::max));
        // The document rounds to a thousandth.
        assert!(
            (center - f64::midpoint(low, high)).abs() < 0.002,
            "axis {axis}: {search_box}"
        );
        assert!(
            (size - (high - low + 2.0 * padding)).abs() < 0.002,
            "axis {axis}: {search_box}"
        );
    }
}
