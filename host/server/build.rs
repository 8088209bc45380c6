//! Puts what `bindery plugin new` writes into the program: SDKs, contract, templates. So a project
//! is made from the program alone, without a checkout and without the network.

use std::{
    env,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

const DIRECTORIES: [&str; 6] = [
    "wit",
    "sdk/rust/src",
    "sdk/js",
    "sdk/python",
    "sdk/wasi",
    "sdk/templates",
];
const FILES: [&str; 1] = ["sdk/rust/Cargo.toml"];

fn main() -> io::Result<()> {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let root = here.ancestors().nth(2).unwrap_or(&here);
    let mut paths: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for directory in DIRECTORIES {
        println!("cargo::rerun-if-changed={}", root.join(directory).display());
        list(root, Path::new(directory), &mut paths)?;
    }
    paths.sort();
    let mut text =
        "/// Path in the project, and content.\npub(crate) static FILES: &[(&str, &[u8])] = &[\n"
            .to_owned();
    for path in paths {
        println!("cargo::rerun-if-changed={}", root.join(&path).display());
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "    ({:?}, include_bytes!({:?})),",
            path.to_string_lossy(),
            root.join(&path)
        );
    }
    text.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("author_files.rs"), text)
}

fn list(root: &Path, directory: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = entry.file_name();
        // What Python leaves behind when somebody imports the SDK.
        if name == "__pycache__" {
            continue;
        }
        let path = directory.join(name);
        if entry.file_type()?.is_dir() {
            list(root, &path, paths)?;
        } else {
            paths.push(path);
        }
    }
    Ok(())
}
