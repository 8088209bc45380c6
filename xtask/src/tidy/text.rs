//! Words that must not be there, lengths of files.

use std::{fs, process::Command};

use anyhow::Result;

use super::Fault;
use crate::{command::output, project::Project};

/// Near this, look for the second noun.
const LINES_MAX: usize = 900;

const SOURCES: [&str; 9] = ["rs", "wit", "ts", "tsx", "js", "py", "sh", "toml", "md"];

/// The law: the host knows no chemistry and no geography. Looked for as whole words, in any case,
/// in code of these directories; tests may speak of what real plugins do.
const DOMAIN_DIRECTORIES: [&str; 2] = ["host/", "registry/"];
const DOMAIN_WORDS: [&str; 17] = [
    "vina",
    "smina",
    "gnina",
    "pdbqt",
    "ligand",
    "ligands",
    "receptor",
    "receptors",
    "docking",
    "obabel",
    "openbabel",
    "molecule",
    "molecules",
    "haversine",
    "latitude",
    "longitude",
    "neurosnap",
];

/// Left-overs of an unfinished part. In pieces, so that this file does not name them.
const LEFT_OVERS: [&str; 5] = [
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("TO", "DO:"),
];

/// Where a package came from is a user's setting, never ours.
const REGISTRIES: [&str; 9] = [
    concat!("crates", ".io"),
    concat!("registry.", "npmjs.org"),
    concat!("registry.", "yarnpkg.com"),
    concat!("pypi", ".org"),
    concat!("files.python", "hosted.org"),
    concat!("proxy.golang", ".org"),
    concat!("rub", "ygems.org"),
    concat!("repo.maven.", "apache.org"),
    concat!("registry-1.", "docker.io"),
];

/// Directories of one machine. `/work` alone is where an engine works within the sandbox.
const MACHINE_PATHS: [&str; 4] = [
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/wo", "rk/main"),
    concat!("/wo", "rk/shared"),
];

pub(super) fn check(project: &Project) -> Result<Vec<Fault>> {
    // What is committed or about to be; a fresh clone has no more.
    let mut command = Command::new("git");
    command.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listing = output(command.current_dir(project.root()))?;
    let mut faults = Vec::new();
    for path in listing.split('\0') {
        let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_script = path.starts_with(".ci/");
        if !is_script && !SOURCES.contains(&extension) {
            continue;
        }
        // A file that was removed and is still listed.
        let Ok(content) = fs::read_to_string(project.root().join(path)) else {
            continue;
        };
        check_file(path, &content, &mut faults);
    }
    Ok(faults)
}

fn check_file(path: &str, content: &str, faults: &mut Vec<Fault>) {
    let lines = content.lines().count();
    if lines > LINES_MAX && !path.ends_with(".md") {
        faults.push(Fault::new(
            path,
            format!("{lines} lines: look for the second noun"),
        ));
    }
    let governed = is_governed(path);
    let mut in_tests = false;
    for (index, line) in content.lines().enumerate() {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let mut fault = |message: String| {
            faults.push(Fault::new(format!("{path}:{}", index + 1), message));
        };
        if governed && !in_tests {
            let code = without_comment(line);
            for word in words(code).filter(|word| is_domain_word(word)) {
                fault(format!(
                    "`{word}`: the host knows no domain; a plugin or a manifest does"
                ));
            }
        }
        for left_over in LEFT_OVERS.iter().filter(|text| has_word(line, text)) {
            fault(format!("`{left_over}` left over"));
        }
        for registry in REGISTRIES.iter().filter(|host| line.contains(**host)) {
            fault(format!("names the registry {registry}"));
        }
        for machine in MACHINE_PATHS
            .iter()
            .filter(|machine| has_path(line, machine))
        {
            fault(format!("`{machine}` is a path of one machine"));
        }
    }
}

fn is_governed(path: &str) -> bool {
    path.ends_with(".rs")
        && DOMAIN_DIRECTORIES
            .iter()
            .any(|directory| path.starts_with(directory))
        && !path
            .split('/')
            .any(|part| ["tests", "testdata", "examples", "benches"].contains(&part))
        && !path.ends_with("/tests.rs")
}

/// A line without its `//` comment; a `//` within a text is taken for one after a blank only.
fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        return "";
    }
    line.split_once(" //").map_or(line, |(code, _)| code)
}

/// Words of letters, also those within `snake_case`, `CamelCase` aside.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_ascii_alphabetic())
        .filter(|word| !word.is_empty())
}

fn is_domain_word(word: &str) -> bool {
    DOMAIN_WORDS
        .iter()
        .any(|domain| domain.eq_ignore_ascii_case(word))
}

/// Whether the text is in the line, and not just a part of a longer word.
fn has_word(line: &str, text: &str) -> bool {
    line.match_indices(text).any(|(at, _)| {
        let (before, rest) = line.split_at(at);
        let before = before.chars().next_back();
        let after = rest
            .get(text.len()..)
            .and_then(|after| after.chars().next());
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        // A macro's name ends in a bracket, after which anything may come.
        !is_letter(before) && (text.ends_with('(') || !is_letter(after))
    })
}

/// Whether an absolute path that begins so is in the line, and not just the middle of another.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        before.is_none_or(|c| !c.is_ascii_alphanumeric() && !"._-}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;

    fn faults(path: &str, content: &str) -> Vec<String> {
        let mut faults = Vec::new();
        check_file(path, content, &mut faults);
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_host_may_not_speak_of_a_domain() {
        let word = "let ligand_count = 1;\n";
        let found = faults("host/core/src/a.rs", word);
        assert!(
            found.len() == 1 && found[0].starts_with("host/core/src/a.rs:1: `ligand`"),
            "{found:?}"
        );
        assert_eq!(faults("plugins/docking/src/a.rs", word), [""; 0]);
        assert_eq!(faults("host/core/tests/a.rs", word), [""; 0]);
        assert_eq!(
            faults("host/core/src/a.rs", "let a = 1; // As a ligand.\n"),
            [""; 0]
        );
        let tests = format!("let a = 1;\n#[cfg(test)]\nmod tests {{\n{word}}}\n");
        assert_eq!(faults("host/core/src/a.rs", &tests), [""; 0]);
        assert_eq!(faults("host/core/src/a.rs", "let provinat = 1;\n"), [""; 0]);
    }

    #[test]
    fn long_files_left_overs_and_foreign_names_are_found() {
        assert_eq!(faults("xtask/src/a.rs", &"\n".repeat(LINES_MAX)).len(), 0);
        assert_eq!(
            faults("xtask/src/a.rs", &"\n".repeat(LINES_MAX + 1)).len(),
            1
        );
        for text in [LEFT_OVERS[0], REGISTRIES[0], MACHINE_PATHS[0]] {
            assert_eq!(
                faults("xtask/src/a.rs", &format!("\"{text}\"\n")).len(),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn a_left_over_is_a_word() {
        assert!(has_word("// XX: mend", "XX"));
        assert!(has_word("abc!(x)", "abc!("));
        assert!(!has_word("`M  XXnn8`", "XX"));
        assert!(!has_word("aXX", "XX"));
    }

    #[test]
    fn a_path_in_the_middle_of_another_is_none_of_a_machine() {
        let path = MACHINE_PATHS[0];
        assert!(has_path(&format!("cat {path}x"), path));
        assert!(!has_path(&format!("cat /tmp{path}x"), path));
    }
}
