//! The three directories a guest sees, and a stand-in for them in native tests.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

thread_local! {
    static ROOT: RefCell<PathBuf> = RefCell::new(PathBuf::from("/"));
}

/// Puts the guest's root elsewhere for this thread, until dropped. For tests that run natively:
/// a directory with `in/`, `work/` and `out/`.
#[derive(Debug)]
pub struct Root {
    before: PathBuf,
}

impl Root {
    /// Puts the root into this directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        let before = ROOT.with(|root| root.replace(directory.to_owned()));
        Self { before }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        ROOT.with(|root| root.replace(std::mem::take(&mut self.before)));
    }
}

fn below(directory: &str, path: &str) -> PathBuf {
    ROOT.with(|root| root.borrow().join(directory).join(path))
}

/// A file below `/in`.
#[must_use]
pub fn input_path(path: &str) -> PathBuf {
    below("in", path)
}

/// A file below `/work`.
#[must_use]
pub fn work_path(path: &str) -> PathBuf {
    below("work", path)
}

/// A file below `/out`.
#[must_use]
pub fn out_path(path: &str) -> PathBuf {
    below("out", path)
}

/// Reads a file named by its path below the guest's root (`/work/…`); bytes that are not UTF-8
/// are replaced, and a file that cannot be read is empty.
#[must_use]
pub fn read_text_lossy(path: &str) -> String {
    let path = ROOT.with(|root| root.borrow().join(path.trim_start_matches('/')));
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
