//! The author's way with the programs alone: a new plugin in each language builds and passes its
//! own cases, an edit changes what it does, and a fault is shown with file and line. The examples
//! and the tutorial do what they say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bindery_integration::{Cli, Finished, copy_tree, language_tools, project};
use bindery_testkit::dist;
use serde_json::Value;

/// What a language's template looks like at the places that the tests change.
struct Language {
    name: &'static str,
    source: &'static str,
    /// A line of the output, and one that counts wrongly.
    counts: (&'static str, &'static str),
    /// First line of the function that counts, and a line that breaks, to put after it.
    breaks: (&'static str, &'static str),
    /// What is no source of this language, to put at the end.
    nonsense: &'static str,
}

const RUST: Language = Language {
    name: "rust",
    source: "src/lib.rs",
    counts: ("\"words\": words,", "\"words\": words + 1,"),
    breaks: (
        "fn count(text: &str, fold_case: bool)",
        "    assert!(text.is_empty(), \"on purpose\");",
    ),
    nonsense: "fn (",
};

const JS: Language = Language {
    name: "js",
    source: "task.js",
    counts: ("output: { words,", "output: { words: words + 1,"),
    breaks: (
        "function count(text, foldCase) {",
        "  throw new TypeError(\"on purpose\");",
    ),
    nonsense: "let = 3 3;",
};

const PYTHON: Language = Language {
    name: "python",
    source: "task.py",
    counts: ("{\"words\": words,", "{\"words\": words + 1,"),
    breaks: (
        "def count(text, fold_case):",
        "    raise KeyError(\"on purpose\")",
    ),
    nonsense: "task = = 1",
};

async fn bindery(arguments: &[&str], directory: &Path) -> Finished {
    Cli::new(arguments)
        .unwrap()
        .arg(directory)
        .finish()
        .await
        .unwrap()
}

/// The document of `plugin test --json`.
async fn test(directory: &Path) -> Value {
    let finished = bindery(&["plugin", "test", "--json"], directory).await;
    let document = finished.document().unwrap();
    let failed = document["failed"].as_u64().unwrap() > 0;
    assert_eq!(finished.code().unwrap(), i32::from(failed));
    document
}

/// Replaces the only place where this text stands.
fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

async fn from_new_to_fault(language: Language) {
    if !language_tools(language.name) {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("words");
    let new = [
        "plugin",
        "new",
        "text.words",
        "--lang",
        language.name,
        "--dir",
    ];
    let made = bindery(&new, &directory).await;
    assert_eq!(made.code().unwrap(), 0, "{}", made.stderr);
    let again = bindery(&new, &directory).await;
    assert_eq!(again.code().unwrap(), 1, "a project is never written over");

    let document = test(&directory).await;
    assert_eq!(
        (&document["passed"], &document["failed"]),
        (&3.into(), &0.into()),
        "{document:#}"
    );

    // The package stands alone, and there is nothing wrong with it.
    let checked = bindery(&["plugin", "check", "--json"], &directory.join("dist")).await;
    let sheet = checked.success().unwrap();
    assert_eq!(sheet["faults"], serde_json::json!([]));
    let imports = sheet["imports"].to_string();
    assert!(
        !imports.contains("sockets") && !imports.contains("http"),
        "{imports}"
    );

    let source = directory.join(language.source);
    let signature = directory.join("dist/bindery.sig");
    // Only Rust's tools are sure to make the same of the same.
    let signed = language.name == "rust";
    if signed {
        let key = home.path().join("key");
        let made = bindery(&["plugin", "key", "new"], &key).await;
        assert_eq!(made.code().unwrap(), 0, "{}", made.stderr);
        let sign = Cli::new(&["plugin", "sign", "--key"]).unwrap().arg(&key);
        let sign = sign.arg(&directory).finish().await.unwrap();
        assert_eq!(sign.code().unwrap(), 0, "{}", sign.stderr);
        let built = bindery(&["plugin", "build"], &directory).await;
        assert_eq!(built.code().unwrap(), 0, "{}", built.stderr);
        assert!(!built.stderr.contains("signature"), "{}", built.stderr);
        assert!(signature.is_file(), "what came out the same stays signed");
    }
    edit(&source, language.counts.0, language.counts.1);
    if signed {
        let built = bindery(&["plugin", "build"], &directory).await;
        assert!(
            built.stderr.contains("its signature is gone"),
            "{}",
            built.stderr
        );
        assert!(!signature.exists());
    }
    let document = test(&directory).await;
    assert_eq!(document["failed"], 1, "{document:#}");
    let difference = &document["cases"][0]["differences"][0];
    assert_eq!(difference["pointer"], "/output/words");
    assert_eq!(
        (&difference["expected"], &difference["got"]),
        (&7.into(), &8.into())
    );

    let text = fs::read_to_string(&source).unwrap();
    let line = 2 + text
        .lines()
        .position(|line| line.starts_with(language.breaks.0))
        .unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    // A signature may go over several lines in none of the templates.
    lines.insert(line - 1, language.breaks.1);
    fs::write(&source, lines.join("\n") + "\n").unwrap();
    let document = test(&directory).await;
    let failure = &document["cases"][0]["failure"];
    assert_eq!(failure["code"], "trap", "{document:#}");
    let place = format!("{}:{line}", language.source);
    assert_eq!(failure["place"], place.as_str(), "{failure:#}");
    assert!(failure["detail"].as_str().unwrap().contains("on purpose"));
    // The same where it is run.
    let input = format!("text={}", directory.join("README.md").display());
    let ran = bindery(
        &["plugin", "run", "--json", "--no-build", "--input", &input],
        &directory,
    )
    .await;
    assert_eq!(ran.code().unwrap(), 1);
    let problem = ran.document().unwrap()["problem"].to_string();
    assert!(
        problem.contains(&place) && problem.contains("on purpose"),
        "{problem}"
    );

    // A person sees the message and the place, and no stack of anybody's insides.
    let shown = bindery(
        &["plugin", "run", "--no-build", "--input", &input],
        &directory,
    )
    .await;
    assert_eq!(shown.code().unwrap(), 1);
    let said = &shown.stderr;
    assert!(
        said.contains(&place) && said.contains("on purpose"),
        "{said}"
    );
    for noise in [
        "wasm function",
        "interpreter.rs",
        "RUST_BACKTRACE",
        "vendor/",
    ] {
        assert!(!said.contains(noise), "{noise}: {said}");
    }

    fs::write(&source, text + language.nonsense + "\n").unwrap();
    let built = bindery(&["plugin", "build"], &directory).await;
    assert_eq!(built.code().unwrap(), 1);
    assert!(built.stderr.contains(language.source), "{}", built.stderr);
    assert!(
        !built.stderr.contains("Stack backtrace"),
        "{}",
        built.stderr
    );
}

#[tokio::test]
async fn a_new_plugin_in_rust() {
    from_new_to_fault(RUST).await;
}

#[tokio::test]
async fn a_new_plugin_in_javascript() {
    from_new_to_fault(JS).await;
}

#[tokio::test]
async fn a_new_plugin_in_python() {
    from_new_to_fault(PYTHON).await;
}

#[tokio::test]
async fn the_examples_pass_their_cases() {
    for (name, language, count) in [
        ("csv-statistics", "rust", 3),
        ("json-table", "js", 3),
        ("fasta-composition", "python", 2),
    ] {
        if !language_tools(language) {
            continue;
        }
        let document = test(&project().join("examples").join(name)).await;
        assert_eq!(document["failed"], 0, "{name}: {document:#}");
        assert_eq!(document["passed"], count, "{name}");
    }
}

#[tokio::test]
async fn steps_are_recorded_and_replayed_until_the_plan_changes() {
    let home = tempfile::tempdir().unwrap();
    let package = home.path().join("sleep");
    let case = package.join("cases/short");
    fs::create_dir_all(&case).unwrap();
    let shipped = dist().unwrap().join("plugins/system.sleep");
    for name in ["bindery.toml", "component.wasm"] {
        fs::copy(shipped.join(name), package.join(name)).unwrap();
    }
    let write = |seconds: &str| {
        let text = format!(
            "[parameters]\nseconds = {seconds}\n[expect]\noutput = {{ seconds = {seconds} }}\n"
        );
        fs::write(case.join("case.toml"), text).unwrap();
    };
    write("0.25");
    let document = test(&package).await;
    assert_eq!(document["cases"][0]["failure"]["code"], "recording");
    let recorded = bindery(&["plugin", "test", "--record", "--json"], &package).await;
    assert_eq!(recorded.success().unwrap()["passed"], 1);
    assert!(case.join("recording/steps.json").is_file());
    // No engine is there any more, and none is needed.
    let replayed = Cli::new(&["plugin", "test", "--json", "--engines"])
        .unwrap()
        .arg(home.path().join("sleep/cases"))
        .arg(&package)
        .finish()
        .await
        .unwrap();
    assert_eq!(replayed.success().unwrap()["passed"], 1);
    write("0.5");
    let document = test(&package).await;
    let difference = &document["cases"][0]["differences"][0];
    assert_eq!(difference["pointer"], "/steps/sleep/arguments/0/literal");
    assert_eq!(
        (&difference["expected"], &difference["got"]),
        (&"0.25".into(), &"0.5".into())
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_package_is_told() {
    let home = tempfile::tempdir().unwrap();
    let shipped = dist().unwrap().join("plugins/system.sleep");
    fs::copy(
        shipped.join("component.wasm"),
        home.path().join("component.wasm"),
    )
    .unwrap();
    fs::write(
        home.path().join("bindery.toml"),
        "[package]\nname = 'system.sleep'\nversion = '9.9.9'\nlicence = 'MIT'\ncontract = \
         'bindery:task@0.1'\n",
    )
    .unwrap();
    let checked = bindery(&["plugin", "check", "--json"], home.path()).await;
    assert_eq!(checked.code().unwrap(), 1);
    let document = checked.document().unwrap();
    let codes: Vec<&str> = document["faults"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fault| fault["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["engine_not_named", "version_differs", "no_cases"]);
    // As an archive it is the same.
    let folder = home.path().join("folder");
    let to = format!("dir:{}", folder.display());
    let pushed = bindery(&["plugin", "publish", "--to", &to], home.path()).await;
    assert_eq!(pushed.code().unwrap(), 0, "{}", pushed.stderr);
    let archive = folder.join("system.sleep-9.9.9.bindery");
    let of_archive = bindery(&["plugin", "check", "--json"], &archive).await;
    assert_eq!(of_archive.code().unwrap(), 1);
    assert_eq!(of_archive.document().unwrap(), document);

    let file = home.path().join("no.wasm");
    fs::write(&file, b"\0asm no").unwrap();
    let checked = bindery(&["plugin", "check"], &file).await;
    assert_eq!(checked.code().unwrap(), 1);
    assert!(
        checked.stdout.contains("[not_loaded]"),
        "{}",
        checked.stdout
    );
}

#[tokio::test]
async fn a_package_that_is_older_than_its_sources_or_of_another_version_is_told() {
    let home = tempfile::tempdir().unwrap();
    let key = home.path().join("key");
    let made = bindery(&["plugin", "key", "new"], &key).await;
    assert_eq!(made.code().unwrap(), 0, "{}", made.stderr);
    let again = bindery(&["plugin", "key", "new"], &key).await;
    assert_eq!(again.code().unwrap(), 1);
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);

    // A project as a build has left it.
    let project = home.path().join("project");
    fs::create_dir_all(project.join("src")).unwrap();
    let shipped = dist().unwrap().join("plugins/system.noop");
    copy_tree(&shipped, &project.join("dist")).unwrap();
    copy_tree(&shipped.join("cases"), &project.join("cases")).unwrap();
    fs::copy(shipped.join("bindery.toml"), project.join("bindery.toml")).unwrap();
    for file in ["Cargo.toml", "src/lib.rs", "src/table.csv", "notes.txt"] {
        fs::write(project.join(file), "").unwrap();
    }
    let built = fs::File::open(project.join("dist/component.wasm")).unwrap();
    let built = built.metadata().unwrap().modified().unwrap();
    let set = |file: &str, seconds_after: u64| {
        let file = fs::File::options().append(true).open(project.join(file));
        let time = built + std::time::Duration::from_secs(seconds_after);
        file.unwrap().set_modified(time).unwrap();
    };
    let sign = async || {
        let sign = Cli::new(&["plugin", "sign", "--key"]).unwrap().arg(&key);
        let signed = sign.arg(&project).finish().await.unwrap();
        assert_eq!(signed.code().unwrap(), 0, "{}", signed.stderr);
        signed.stderr
    };
    for file in ["Cargo.toml", "src/lib.rs", "src/table.csv"] {
        set(file, 0);
    }
    set("notes.txt", 9);
    let said = sign().await;
    assert!(!said.contains("warning"), "{said}");
    assert!(project.join("dist/bindery.sig").is_file());
    for file in ["src/lib.rs", "src/table.csv", "Cargo.toml"] {
        set(file, 9);
        let said = sign().await;
        let warned = format!("{file} was changed after");
        assert!(said.contains(&warned), "{said}");
        set(file, 0);
    }
    let said = sign().await;
    assert!(!said.contains("warning"), "{said}");
    edit(&project.join("bindery.toml"), "\"0.1.0\"", "\"9.9.9\"");
    let said = sign().await;
    assert!(said.contains("bindery.toml was changed"), "{said}");

    edit(&project.join("dist/bindery.toml"), "\"0.1.0\"", "\"9.9.9\"");
    let tested = bindery(&["plugin", "test", "--json"], &project.join("dist")).await;
    tested.success().unwrap();
    let warned = "warning: the package is 9.9.9, its task system.noop is 0.1.0";
    assert!(tested.stderr.contains(warned), "{}", tested.stderr);
}

/// A step of the tutorial.
enum Act {
    Write(PathBuf, String),
    /// A command, and words that its output must have.
    Run(String, Vec<String>),
}

/// Reads what the tutorial does: blocks of commands, and files after `<!-- write PATH -->`.
fn acts(document: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut file = None;
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("<!-- write ") {
            file = Some(PathBuf::from(rest.trim_end_matches(" -->")));
        } else if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(path) = file.take() {
                acts.push(Act::Write(path, block.join("\n") + "\n"));
            } else if kind == "console" {
                for line in block {
                    match (line.strip_prefix("$ "), acts.last_mut()) {
                        (Some(command), _) => acts.push(Act::Run(command.to_owned(), Vec::new())),
                        (None, Some(Act::Run(_, words))) => words.push(line.to_owned()),
                        _ => panic!("output before a command: {line}"),
                    }
                }
            }
        }
    }
    acts
}

#[tokio::test]
async fn the_tutorial_does_what_it_says() {
    let document = fs::read_to_string(project().join("docs/authors.md")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut directory = home.path().to_owned();
    let programs = std::env::join_paths(
        std::iter::once(dist().unwrap())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    )
    .unwrap();
    let mut ran = 0;
    for act in acts(&document) {
        match act {
            Act::Write(path, content) => {
                let path = directory.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
            Act::Run(command, words) => {
                ran += 1;
                if let Some(below) = command.strip_prefix("cd ") {
                    directory = directory.join(below);
                    assert!(directory.is_dir(), "{command}");
                    continue;
                }
                let mut shell = Command::new("bash");
                shell
                    .args(["-euo", "pipefail", "-c", &command])
                    .current_dir(&directory)
                    .env("PATH", &programs)
                    // Settings of whoever runs the tests.
                    .env_remove("CARGO_TARGET_DIR")
                    .stdin(Stdio::null());
                let output = tokio::task::spawn_blocking(move || shell.output())
                    .await
                    .unwrap()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned()
                    + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{command}: {said}");
                for word in words {
                    assert!(
                        said.contains(word.trim()),
                        "{command}: no `{word}` in {said}"
                    );
                }
            }
        }
    }
    assert!(ran >= 8, "the tutorial has {ran} commands");
}
