//! `bindery plugin new`.
//!
//! A project holds all it needs: the SDK and the contract are written into it, from this program.
//! A path to an installed SDK would not be there on the next machine, a registry would have to be
//! reached and to have the version that fits this host; sources in the project are there, can be
//! read, and are replaced by writing a new project over them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use bindery_core::definition::is_task_id;

use super::{
    arguments::{Language, NewArguments},
    project::Project,
};
use crate::exit::Exit;

include!(concat!(env!("OUT_DIR"), "/author_files.rs"));

/// What WASI's namespace is called in the WIT of a Python project, until it is built: see
/// `build::name_wasi`. As long as the real name.
pub(crate) const HOST_NAMESPACE: &str = "host:";

pub(crate) fn new(arguments: &NewArguments) -> anyhow::Result<Exit> {
    let name = &arguments.name;
    if !is_task_id(name) {
        bail!("`{name}` is not dotted kebab-case, as `text.count` is");
    }
    let directory = arguments.dir.clone().unwrap_or_else(|| name.into());
    let taken = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
    if taken || directory.is_file() {
        bail!("{} is there already", directory.display());
    }
    for (path, content) in files(name, arguments.lang) {
        write(&directory.join(&path), &content)?;
    }
    println!("{}", directory.display());
    eprintln!(
        "made {name}; next:\n  cd {}\n  bindery plugin test",
        directory.display()
    );
    Ok(Exit::Done)
}

/// Writes the SDK and the contract into a project that is there without them: a checkout need not
/// carry copies.
pub(crate) fn restore(project: &Project) -> anyhow::Result<()> {
    let sdk = match project.language {
        Language::Rust => "vendor/bindery-sdk",
        Language::Js | Language::Python => "vendor/bindery",
    };
    let names_it =
        || fs::read_to_string(project.root.join("Cargo.toml")).is_ok_and(|text| text.contains(sdk));
    if project.root.join(sdk).is_dir() || (project.language == Language::Rust && !names_it()) {
        return Ok(());
    }
    eprintln!("writing {sdk} and wit, of this version of bindery");
    for (path, content) in files("restored", project.language) {
        if path.starts_with("vendor") || path.starts_with("wit") {
            write(&project.root.join(&path), &content)?;
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(path, content))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// All files of a project, by their path in it.
fn files(name: &str, language: Language) -> Vec<(PathBuf, Vec<u8>)> {
    let (template, moves): (&str, &[(&str, &str)]) = match language {
        // The SDK looks for the contract in `../../wit`.
        Language::Rust => (
            "sdk/templates/rust/",
            &[("wit/", "wit/"), ("sdk/rust/", "vendor/bindery-sdk/")],
        ),
        Language::Js => (
            "sdk/templates/js/",
            &[
                ("wit/", "wit/deps/bindery-task/"),
                ("sdk/wasi/plugin.wit", "wit/plugin.wit"),
                ("sdk/wasi/", "wit/deps/"),
                ("sdk/js/", "vendor/bindery/"),
            ],
        ),
        Language::Python => (
            "sdk/templates/python/",
            &[
                ("wit/", "wit/deps/bindery-task/"),
                ("sdk/wasi/plugin.wit", "wit/plugin.wit"),
                ("sdk/wasi/", "wit/deps/"),
                ("sdk/python/", "vendor/bindery/"),
            ],
        ),
    };
    let mut files = Vec::new();
    for (path, content) in FILES {
        let own = ["sdk/templates/common/", template]
            .iter()
            .find_map(|prefix| path.strip_prefix(prefix));
        if let Some(inside) = own {
            let inside = match inside {
                // Under its own name it would hide files of this project.
                "gitignore" => ".gitignore",
                other => other,
            };
            files.push((inside.into(), fill(content, name, language)));
            continue;
        }
        let moved = moves.iter().find_map(|(from, to)| {
            let inside = path.strip_prefix(from)?;
            Some(format!("{to}{inside}"))
        });
        // Words about the sources of Bindery itself.
        if let Some(target) = moved.filter(|target| !target.ends_with("README.md")) {
            let content = match language {
                Language::Python if path.starts_with("sdk/wasi/") => {
                    String::from_utf8_lossy(content)
                        .replace("wasi:", HOST_NAMESPACE)
                        .into_bytes()
                }
                _ => content.to_vec(),
            };
            files.push((target.into(), content));
        }
    }
    files
}

/// Fills a template in; what is no text is left as it is.
fn fill(content: &[u8], name: &str, language: Language) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(content) else {
        return content.to_vec();
    };
    text.replace("{{name}}", name)
        .replace("{{crate}}", &name.replace('.', "-"))
        .replace("{{title}}", &title(name))
        .replace("{{where}}", explanation(language))
        .into_bytes()
}

/// `Stay points` of `trips.stay-points`.
fn title(name: &str) -> String {
    let words = name.rsplit('.').next().unwrap_or(name).replace('-', " ");
    let mut characters = words.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => words,
    }
}

const fn explanation(language: Language) -> &'static str {
    match language {
        Language::Rust => {
            "The task is `src/lib.rs`. Its SDK is in `vendor/bindery-sdk` (`cargo doc --open` shows it), the\ncontract in `wit/`. `cargo test` runs the unit tests. Building needs Rust with the target\n`wasm32-wasip2`."
        }
        Language::Js => {
            "The task is `task.js`. Its SDK is `vendor/bindery/bindery.js`, the contract is in `wit/`. Building\nneeds Node and npm; the tool is installed into `node_modules` by the first build."
        }
        Language::Python => {
            "The task is `task.py`. Its SDK is `vendor/bindery/bindery_sdk.py`, the contract is in `wit/`.\nBuilding needs Python 3.10 or later; the tool is installed into `.venv` by the first build."
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn a_project_holds_its_sdk_and_no_placeholder() {
        for language in [Language::Rust, Language::Js, Language::Python] {
            let files = files("text.word-count", language);
            let has = |path: &str| files.iter().any(|(known, _)| known == Path::new(path));
            assert!(has("bindery.toml") && has("cases/counts/case.toml") && has(".gitignore"));
            match language {
                Language::Rust => {
                    assert!(has("wit/types.wit") && has("vendor/bindery-sdk/src/lib.rs"));
                }
                Language::Js | Language::Python => {
                    assert!(has("wit/plugin.wit") && has("wit/deps/bindery-task/types.wit"));
                    assert!(has("wit/deps/filesystem.wit"));
                }
            }
            for (path, content) in &files {
                if path.starts_with("vendor") || path.starts_with("wit") {
                    continue;
                }
                let text = String::from_utf8_lossy(content);
                assert!(!text.contains("{{"), "{}", path.display());
            }
        }
    }

    #[test]
    fn titles() {
        assert_eq!(title("trips.stay-points"), "Stay points");
        assert_eq!(title("x"), "X");
    }
}
