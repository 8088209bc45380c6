//! Writes `foreach_guest!`: calls a macro with the name of every file in `tests/guests/examples`.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let examples = Path::new("../guests/examples");
    println!("cargo::rerun-if-changed={}", examples.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(examples)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let calls: String = names
        .iter()
        .map(|name| format!("$call!({name});"))
        .collect();
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(
        Path::new(&out).join("foreach_guest.rs"),
        format!(
            "/// Calls a macro with the name of every test guest.\n#[macro_export]\n\
             macro_rules! foreach_guest {{ ($call:ident) => {{ {calls} }}; }}\n"
        ),
    )
}
