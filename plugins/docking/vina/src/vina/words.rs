//! What the engine says when it fails, made into stable codes.

use bindery_sdk::{Error, Notice, StepEnding, StepOutcome};

/// The engine's own words in a message, at most.
const DETAIL_BYTES_MAX: usize = 600;
/// Warnings taken over from one run, at most; the rest is in the log.
const WARNINGS_MAX: usize = 8;

/// Words of stderr, the code, and what it means for the user.
const SAID: &[(&[&str], &str, &str)] = &[
    (
        &["Atom type", "is not a valid AutoDock type"],
        "unsupported_atom_type",
        "the engine does not know an atom type of the prepared files",
    ),
    (
        &["is not valid", "Coordinate"],
        "bad_coordinate",
        "a prepared file has a bad coordinate",
    ),
    (
        &["No atoms in this ligand"],
        "empty_ligand",
        "the prepared ligand has no atoms",
    ),
    (
        &["Missing TORSDOF"],
        "no_torsdof",
        "the ligand PDBQT does not end with TORSDOF",
    ),
    (
        &["Unexpected multi-MODEL"],
        "several_models",
        "the PDBQT holds several models; give one",
    ),
    (
        &["is missing in this branch"],
        "broken_torsion_tree",
        "a BRANCH of the ligand PDBQT names an atom that is not there",
    ),
    (
        &["tag found in rigid receptor"],
        "not_a_rigid_receptor",
        "the receptor file holds something that is not a rigid receptor",
    ),
    (
        &["tag found in flex residue or ligand"],
        "not_a_ligand",
        "the ligand file holds something that is not one flexible ligand",
    ),
    (
        &["PDBQT parsing error"],
        "bad_pdbqt",
        "the engine cannot read a prepared file",
    ),
    (&["insufficient memory"], "memory_exceeded", MEMORY),
    (&["bad_alloc"], "memory_exceeded", MEMORY),
    (
        &["Grid box dimensions"],
        "bad_box",
        "the engine refuses the box",
    ),
    (
        &["for reading"],
        "file_unreadable",
        "the engine cannot open a file it was given",
    ),
    (
        &["for writing"],
        "output_unwritable",
        "the engine cannot write its output file",
    ),
    (
        &["Exhaustiveness must be"],
        "bad_exhaustiveness",
        "the engine refuses the exhaustiveness",
    ),
    (
        &["Command line parse error"],
        "arguments_refused",
        "this version of the engine does not know an option it was given",
    ),
    (
        &["Configuration file parse error"],
        "arguments_refused",
        "this version of the engine does not know an option it was given",
    ),
    (
        &["--receptor arg"],
        "arguments_refused",
        "the engine shows its usage instead of docking",
    ),
];

const MEMORY: &str = "the engine ran out of memory; use a smaller box, or a smaller ligand";

/// Why a docking step has failed; none when it ended by itself with code 0 and said no error.
/// (What it wrote is judged apart.)
pub(crate) fn failure(outcome: &StepOutcome) -> Option<Error> {
    let step = outcome.step.as_str();
    let words = outcome.stderr_text();
    let detail = detail(&words);
    let error = |code: &str, message: String| Some(Error::step(step, code, message, &*detail));
    match &outcome.ending {
        StepEnding::Exited(0) => None,
        StepEnding::Exited(code) => match said(&words) {
            Some((code, message)) => error(code, message.to_owned()),
            None => error(
                "docking_failed",
                format!("the engine ended with exit code {code}"),
            ),
        },
        // Allocation failures end in an abort at times; then the words say more than the signal.
        StepEnding::Crashed(signal) => match said(&words) {
            Some((code, message)) => error(code, message.to_owned()),
            None => error(
                "engine_crashed",
                format!("the engine was killed by signal {signal}"),
            ),
        },
        StepEnding::MemoryExceeded => error("memory_exceeded", MEMORY.to_owned()),
        StepEnding::CpuExceeded => error(
            "cpu_exceeded",
            "the docking used up its CPU time; lower the exhaustiveness".to_owned(),
        ),
        StepEnding::DiskExceeded => error(
            "disk_exceeded",
            "the engine wrote more than a docking writes".to_owned(),
        ),
        StepEnding::TimedOut => error(
            "timed_out",
            "the docking took longer than allowed; lower the exhaustiveness or raise the limit"
                .to_owned(),
        ),
        StepEnding::OutputMissing(_) => match said(&words) {
            Some((code, message)) => error(code, message.to_owned()),
            None => error(
                "output_missing",
                "the engine ended without writing poses".to_owned(),
            ),
        },
    }
}

fn said(words: &str) -> Option<(&'static str, &'static str)> {
    SAID.iter()
        .find(|(parts, ..)| parts.iter().all(|part| words.contains(part)))
        .map(|&(_, code, message)| (code, message))
}

/// The engine's warnings, one notice each.
pub(crate) fn warnings(outcome: &StepOutcome) -> Vec<Notice> {
    outcome
        .stderr_text()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("WARNING:"))
        // The box has been noticed already.
        .filter(|warning| !warning.contains("Search space volume"))
        .take(WARNINGS_MAX)
        .map(|warning| Notice::warning("engine_warning", printable(warning.trim(), 200)))
        .collect()
}

/// The lines that say something, without the usage text.
fn detail(words: &str) -> String {
    let useful = words.split("Correct usage:").next().unwrap_or(words);
    let lines: Vec<&str> = useful
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(6)
        .collect();
    printable(&lines.join("\n"), DETAIL_BYTES_MAX)
}

/// Untrusted text without control characters, at most `max` bytes.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut clean = String::new();
    for character in text.chars() {
        if clean.len() + character.len_utf8() > max {
            break;
        }
        let keep = character == '\n' || !character.is_control();
        clean.push(if keep { character } else { ' ' });
    }
    clean
}
