//! Damaged real files: every reader ends in time with a typed outcome, whatever the bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod shared;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bindery_chem::{
    Format, check_for_docking_ligand, check_for_docking_receptor, formula, inspect, pdbqt,
    read_molecule, records, sniff, write,
};
use proptest::prelude::*;

/// Larger files add time and no new paths.
const SEED_BYTES_MAX: usize = 40_000;
const OUTCOME_TIME_MAX: Duration = Duration::from_secs(5);

/// Small fixtures of each format, so that the test bites without the shared data, too.
const OWN: [(&str, &str); 7] = [
    (
        "a.smi",
        "CC(=O)Oc1ccccc1C(=O)O aspirin\n[NH4+].[Cl-] salt\nC1CC1/C=C/[C@@H](F)%12CCC%12 x\n",
    ),
    (
        "a.sdf",
        "t\n  x 3D\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 C   0  0\n    1.2000    0.0000    0.5000 O   0  0\n  1  2  2  0\nM  CHG  1   1   0\nM  END\n>  <A>\n1\n\n$$$$\n",
    ),
    (
        "a.mol",
        "t\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 2 1 0 0 0\nM  V30 BEGIN ATOM\nM  V30 1 C 0 0 0 0 CHG=-1\nM  V30 2 N 1 0 -\nM  V30 0 0\nM  V30 END ATOM\nM  V30 BEGIN BOND\nM  V30 1 3 1 2\nM  V30 END BOND\nM  V30 END CTAB\nM  END\n",
    ),
    (
        "a.mol2",
        "@<TRIPOS>MOLECULE\nm\n 2 1 1\nSMALL\nGASTEIGER\n\n@<TRIPOS>ATOM\n 1 C1 0.0 0.0 0.0 C.3 1 LIG1 0.1\n 2 O1 1.4 0.0 0.1 O.3 1 LIG1 -0.1\n@<TRIPOS>BOND\n 1 1 2 1\n",
    ),
    (
        "a.xyz",
        "2\nhydrogen\nH 0 0 0\nH 0.7 0 0.1\n2\n\nO 0 0 0\nC 1 1 1\n",
    ),
    (
        "a.pdb",
        "HEADER    X\nMODEL        1\nATOM      1  N   MET A   1      43.812  -3.233   9.148  1.00 31.02           N1+\nHETATM99999 ZN    ZN A 301      10.000  10.000  10.000  1.00 20.00          ZN\nCONECT    199999\nENDMDL\nEND\n",
    ),
    (
        "a.pdbqt",
        "ROOT\nATOM      1  N   UNL     1      16.600  51.810  14.798  1.00  0.00    -0.322 N \nENDROOT\nBRANCH   1   2\nATOM      2  C   UNL     1      15.629  51.747  15.784  1.00  0.00     0.255 C \nENDBRANCH   1   2\nTORSDOF 1\n",
    ),
];

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = OWN
        .iter()
        .map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec()))
        .collect();
    let mut directories: Vec<PathBuf> = shared::data("docking/badinput").into_iter().collect();
    directories.extend(shared::data("docking/cases/184l"));
    for directory in directories {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            let bytes = std::fs::read(&path).unwrap();
            if bytes.len() <= SEED_BYTES_MAX
                && path.extension().is_some_and(|extension| extension != "tsv")
            {
                seeds.push((
                    path.file_name().unwrap().to_string_lossy().into_owned(),
                    bytes,
                ));
            }
        }
    }
    seeds
}

/// Everything the crate can do with a file; none of it may panic or take long.
fn exercise(name: &str, bytes: &[u8]) {
    let start = Instant::now();
    let _ = sniff(&bytes[..bytes.len().min(65_536)], name);
    match inspect(bytes, name) {
        Ok(inspection) => {
            assert!(inspection.bad_records < inspection.records);
            assert_eq!(inspection.bad_records > 0, !inspection.errors.is_empty());
        }
        Err(faults) => assert!(
            faults.iter().any(bindery_chem::Fault::is_error),
            "{faults:?}"
        ),
    }
    for format in Format::ALL {
        let mut end = 0;
        for record in records(bytes, format) {
            assert!(record.offset >= end, "records overlap");
            end = record.offset + record.length;
            assert!(end <= bytes.len() as u64);
        }
        if let Ok((molecule, _)) = read_molecule(bytes, format) {
            for bond in &molecule.bonds {
                assert!(bond.a != bond.b && (bond.a.max(bond.b) as usize) < molecule.atoms.len());
            }
            assert!(
                molecule
                    .atoms
                    .iter()
                    .all(|atom| atom.position.iter().all(|value| value.is_finite()))
            );
            let _ = check_for_docking_ligand(&molecule);
            let _ = check_for_docking_receptor(&molecule);
            let _ = formula(&molecule);
            let written = write::sdf(&molecule);
            assert_eq!(
                written
                    .lines()
                    .filter(|line| line.starts_with("$$$$"))
                    .count(),
                1
            );
            let _ = write::pdb(&molecule);
        }
    }
    let _ = pdbqt::models(bytes);
    let _ = pdbqt::check_ligand(bytes);
    let _ = pdbqt::check_receptor(bytes);
    let took = start.elapsed();
    assert!(took < OUTCOME_TIME_MAX, "{name} took {took:?}");
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let words = prop::sample::select(vec![
        "\n",
        "\r\n",
        " ",
        "-",
        "999",
        "999999",
        "4294967296",
        "-1",
        "NaN",
        "inf",
        "1e400",
        "$$$$\n",
        "M  END\n",
        "*",
        "@<TRIPOS>ATOM\n",
        "@<TRIPOS>MOLECULE\n",
        "ROOT\n",
        "BRANCH 1 1\n",
        "ENDBRANCH\n",
        "MODEL 1\n",
        "ENDMDL\n",
        "END\n",
        "(",
        ")",
        "[",
        "]",
        "%99",
        "c1",
        "\u{e9}",
        "\0",
        "\t",
        ">  <",
        "M  V30 -\n",
        "CONECT    1    1\n",
    ]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 1..200_usize).prop_map(|(at, count)| Damage::Remove(at, count)),
        (at(), 1..200_usize).prop_map(|(at, count)| Damage::Repeat(at, count)),
        (at(), words).prop_map(|(at, word)| Damage::Insert(at, word)),
        at().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let place = |at: &prop::sample::Index| at.index(bytes.len());
    match damage {
        Damage::Set(at, byte) => {
            let place = place(at);
            bytes[place] = *byte;
        }
        Damage::Remove(at, count) => {
            let place = place(at);
            bytes.drain(place..(place + count).min(bytes.len()));
        }
        Damage::Repeat(at, count) => {
            let place = place(at);
            let piece = bytes[place..(place + count).min(bytes.len())].to_vec();
            bytes.splice(place..place, piece);
        }
        Damage::Insert(at, word) => {
            let place = place(at);
            bytes.splice(place..place, word.bytes());
        }
        Damage::Cut(at) => bytes.truncate(place(at)),
    }
}

#[test]
fn damaged_files_end_typed_and_in_time() {
    let seeds = seeds();
    let cases = if cfg!(debug_assertions) { 600 } else { 6_000 };
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(cases);
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let names: Vec<usize> = (0..seeds.len()).collect();
    proptest!(config, |(seed in prop::sample::select(names), damages in prop::collection::vec(damage(), 1..12))| {
        let (name, bytes) = &seeds[seed];
        let mut bytes = bytes.clone();
        for damage in &damages {
            apply(&mut bytes, damage);
        }
        exercise(name, &bytes);
    });
}

#[test]
fn random_smiles_characters_end_typed() {
    let cases = if cfg!(debug_assertions) {
        2_000
    } else {
        50_000
    };
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(text in "[CNOcnosFSP\\[\\]()=#:.%0-9@H+/\\\\-]{1,40}")| {
        let _ = read_molecule(text.as_bytes(), Format::Smiles);
    });
}

#[test]
fn worst_cases_are_linear() {
    let deep = format!("C{}{} deep", "(C".repeat(200_000), ")".repeat(200_000));
    exercise_one("deep.smi", deep.as_bytes());
    let unclosed = "(".repeat(500_000);
    exercise_one("open.smi", format!("C{unclosed}").as_bytes());
    let rings = format!("{} rings", "C1CC1".repeat(100_000));
    exercise_one("rings.smi", rings.as_bytes());
    let aromatic = format!("{} aromatic", "c1ccccc1".repeat(50_000));
    exercise_one("aromatic.smi", aromatic.as_bytes());
    let records = "x\n".repeat(400_000);
    exercise_one("bad.smi", records.as_bytes());
    let water = "HETATM    1  O   HOH W   1       1.000   1.000   1.000  1.00 20.00           O\n";
    let carbon = "HETATM    1  C   LIG W   2       1.000   1.000   1.000  1.00 20.00           C\n";
    exercise_one(
        "crowd.pdb",
        [water.repeat(20_000), carbon.repeat(20_000)]
            .concat()
            .as_bytes(),
    );
    let branches = "BRANCH   1   1\n".repeat(200_000);
    exercise_one("deep.pdbqt", format!("ROOT\n{branches}").as_bytes());
}

fn exercise_one(name: &str, bytes: &[u8]) {
    let start = Instant::now();
    let _ = inspect(bytes, name);
    let took = start.elapsed();
    eprintln!("{name}: {took:?}");
    assert!(
        took < Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 5 }),
        "{name} took {took:?}"
    );
}
