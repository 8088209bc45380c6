//! Black-box tests: what they share. The tests themselves are in `tests/`.
//!
//! Nothing here depends on a crate of the host: programs, files and documents are all that a
//! test sees. Molecules are read by a reader of their own for the same reason, small and for
//! well-formed files only.

mod cli;
pub mod hot;
mod molfile;
mod places;
mod rmsd;

pub use cli::{Cli, Finished, Running};
pub use molfile::{Atom, Molecule, MolfileError, read_sdf};
pub use places::{copy_tree, language_tools, program, project, python_with};
pub use rmsd::symmetric_rmsd;
