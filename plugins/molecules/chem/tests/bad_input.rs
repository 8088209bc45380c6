//! Every file of the bad-input collection comes out as its table says, and quickly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test"
)]

mod shared;

use std::time::{Duration, Instant};

use bindery_chem::{Inspection, Severity, inspect};

/// Natively every file takes far less; the bound is for loaded machines and unoptimised builds.
const FILE_TIME_MAX: Duration = Duration::from_secs(10);

#[test]
fn bad_input_comes_out_as_expected() {
    let Some(directory) = shared::data("docking/badinput") else {
        return;
    };
    let table = std::fs::read_to_string(directory.join("EXPECTED.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in table.lines().skip(1) {
        let mut fields = row.split('\t');
        let (name, expected) = (fields.next().unwrap(), fields.next().unwrap());
        let bytes = std::fs::read(directory.join(name)).unwrap();
        let start = Instant::now();
        let outcome = inspect(&bytes, name);
        let took = start.elapsed();
        assert!(took < FILE_TIME_MAX, "{name} took {took:?}");
        let found = describe(&outcome);
        if std::env::var_os("BINDERY_SHOW").is_some() {
            eprintln!("{name}\t{expected}\t{found}\t{took:?}");
        }
        if !fits(expected, &outcome) {
            wrong.push(format!("{name}: expected {expected}, found {found}"));
        }
        if let Err(faults) = &outcome {
            assert!(!faults.is_empty(), "{name}: an error without a fault");
            assert!(
                faults.iter().any(|fault| fault.is_error()),
                "{name}: no fault is an error"
            );
        }
        for fault in all_faults(&outcome) {
            assert!(
                !fault.message.is_empty() && !fault.message.ends_with('.'),
                "{name}: {fault}"
            );
            assert!(
                fault
                    .code
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                fault.code
            );
        }
        seen += 1;
    }
    assert!(seen > 90, "the table has {seen} rows");
    assert!(
        wrong.is_empty(),
        "{} of {seen} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn fits(expected: &str, outcome: &Result<Inspection, Vec<bindery_chem::Fault>>) -> bool {
    let accepted = outcome.as_ref().ok();
    let has_warnings = accepted.is_some_and(|inspection| !inspection.warnings.is_empty());
    let has_errors = accepted.is_some_and(|inspection| inspection.bad_records > 0);
    let not_dockable = accepted.is_some_and(|inspection| {
        inspection
            .warnings
            .iter()
            .any(|fault| fault.severity == Severity::ErrorForDocking)
    });
    match expected {
        "ok" => accepted.is_some() && !has_errors,
        "ok-warn" => has_warnings && !has_errors,
        "partial" => has_errors,
        "error" => outcome.is_err(),
        "error-or-warn" => outcome.is_err() || has_warnings || has_errors,
        "error-for-docking" => not_dockable,
        // Any typed outcome: what counts is that there is one, in time.
        "timeout-risk" | "crash-risk" => true,
        other => panic!("unknown expectation {other}"),
    }
}

fn all_faults(outcome: &Result<Inspection, Vec<bindery_chem::Fault>>) -> Vec<&bindery_chem::Fault> {
    match outcome {
        Ok(inspection) => inspection
            .warnings
            .iter()
            .chain(&inspection.errors)
            .collect(),
        Err(faults) => faults.iter().collect(),
    }
}

fn describe(outcome: &Result<Inspection, Vec<bindery_chem::Fault>>) -> String {
    let faults: Vec<String> = all_faults(outcome)
        .into_iter()
        .map(|fault| format!("{:?} {} [{fault}]", fault.severity, fault.code))
        .collect();
    match outcome {
        Ok(inspection) => format!(
            "ok {}/{} records {} atoms {} {}",
            inspection.records - inspection.bad_records,
            inspection.records,
            inspection.atoms,
            inspection.formula.as_deref().unwrap_or("-"),
            faults.join("; ")
        ),
        Err(_) => format!("error {}", faults.join("; ")),
    }
}

#[test]
fn partial_files_keep_their_good_records() {
    let Some(directory) = shared::data("docking/badinput") else {
        return;
    };
    let read = |name: &str| inspect(&std::fs::read(directory.join(name)).unwrap(), name).unwrap();
    let early = read("sdf_early_eof.sdf");
    assert_eq!((early.records, early.bad_records), (6, 1));
    assert_eq!(early.errors[0].record, Some(5));
    let mixed = read("sdf_good_bad_good_bad.sdf");
    assert_eq!((mixed.records, mixed.bad_records), (4, 2));
    let bad: Vec<_> = mixed.errors.iter().map(|fault| fault.record).collect();
    assert!(bad.contains(&Some(1)) && bad.contains(&Some(3)), "{bad:?}");
}

#[test]
fn large_structures_are_inspected_well_under_a_second() {
    let Some(directory) = shared::data("docking/badinput") else {
        return;
    };
    let name = "pdb_100011_atoms.pdb.gz";
    let bytes = std::fs::read(directory.join(name)).unwrap();
    let start = Instant::now();
    let inspection = inspect(&bytes, name).unwrap();
    let took = start.elapsed();
    assert_eq!(inspection.atoms, 100_011);
    eprintln!("{name}: {took:?}");
    // Unoptimised builds are ten times slower and say nothing about speed.
    let bound = if cfg!(debug_assertions) { 60 } else { 1 };
    assert!(took < Duration::from_secs(bound), "{took:?}");
}
