//! Ligands as the engine sees them: a PDBQT torsion tree.
//!
//! A **block** is what stands between `ROOT` and `ENDROOT`, or directly inside one `BRANCH`: its
//! atoms never move against each other. `BRANCH a b` is a bond around which the block of `b`
//! turns against the block of `a`; so `a`, although of the parent block, is rigid with the block
//! of `b` too, and the engine keeps order, names and types of all atoms in what it writes.
//!
//! Read here: what Open Babel prepared, what the user prepared, and each model of the engine's
//! output. Never trusted: the text may come from the user.

use std::fmt;

use bindery_chem::{Atom, AutodockType, Dimensions, Element, Molecule};

use crate::geometry::Point;

/// Blocks nest at most as deep as there are torsions; no sensible ligand has more.
const DEPTH_MAX: usize = 512;
/// Each branch looks for its atoms among all: this bounds the work to some 10^8 steps.
const ATOMS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TorsionTree {
    pub(crate) atoms: Vec<TreeAtom>,
    pub(crate) branches: Vec<Branch>,
    /// `TORSDOF`.
    pub(crate) torsions: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TreeAtom {
    pub(crate) serial: i64,
    pub(crate) position: Point,
    pub(crate) charge: f64,
    pub(crate) kind: AutodockType,
    /// 0 is the root; block n is that of `branches[n - 1]`.
    pub(crate) block: usize,
}

/// Both are indexes of atoms; `child` is in the branch's own block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Branch {
    pub(crate) parent: usize,
    pub(crate) child: usize,
}

impl TreeAtom {
    pub(crate) fn element(&self) -> Option<Element> {
        self.kind.element()
    }

    pub(crate) fn is_hydrogen(&self) -> bool {
        self.element().is_some_and(Element::is_hydrogen)
    }

    /// Stand-in of an opened ring, not an atom of the molecule.
    pub(crate) fn is_glue(&self) -> bool {
        self.kind.label().starts_with('G')
    }

    pub(crate) fn is_heavy(&self) -> bool {
        !self.is_hydrogen() && !self.is_glue()
    }
}

/// Why a text is no torsion tree. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TreeError {
    pub(crate) line: usize,
    pub(crate) fault: TreeFault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TreeFault {
    NoRoot,
    SecondRoot,
    AtomOutsideTree,
    UnclosedBlock,
    UnmatchedEnd,
    BranchAtomMissing(i64),
    BadNumber(&'static str),
    BadCoordinate(String),
    UnknownType(String),
    NoAtoms,
    NoTorsdof,
    TooDeep,
    TooManyAtoms,
    UnexpectedRecord(String),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.fault {
            TreeFault::NoRoot => f.write_str("there is no ROOT"),
            TreeFault::SecondRoot => f.write_str("a second ROOT begins: one ligand per file"),
            TreeFault::AtomOutsideTree => f.write_str("an atom stands outside ROOT and BRANCH"),
            TreeFault::UnclosedBlock => f.write_str("ROOT or BRANCH is never closed"),
            TreeFault::UnmatchedEnd => f.write_str("ENDROOT or ENDBRANCH closes nothing"),
            TreeFault::BranchAtomMissing(serial) => {
                write!(
                    f,
                    "a BRANCH names atom {serial}, which is not where it must be"
                )
            }
            TreeFault::BadNumber(what) => write!(f, "the {what} is not a number"),
            TreeFault::BadCoordinate(text) => write!(f, "the coordinate `{text}` is not a number"),
            TreeFault::UnknownType(label) => {
                write!(f, "the engine has no atom type `{label}`")
            }
            TreeFault::NoAtoms => f.write_str("there are no atoms"),
            TreeFault::NoTorsdof => f.write_str("TORSDOF is missing"),
            TreeFault::TooDeep => write!(f, "more than {DEPTH_MAX} branches in one another"),
            TreeFault::TooManyAtoms => write!(f, "more than {ATOMS_MAX} atoms"),
            TreeFault::UnexpectedRecord(name) => {
                write!(f, "the record `{name}` has no place in a ligand")
            }
        }
    }
}

impl TorsionTree {
    /// Reads one ligand. `first_line` is the number of the first line, for messages.
    pub(crate) fn read<'t>(
        lines: impl IntoIterator<Item = &'t str>,
        first_line: usize,
    ) -> Result<Self, TreeError> {
        let mut builder = Builder::default();
        let mut line = first_line;
        for text in lines {
            builder
                .line(text)
                .map_err(|fault| TreeError { line, fault })?;
            line += 1;
        }
        builder.finish().map_err(|fault| TreeError { line, fault })
    }

    /// Indexes of the atoms that move as one with this block: its own, and the atoms at the other
    /// end of its torsions.
    pub(crate) fn rigid_with(&self, block: usize) -> Vec<usize> {
        let own = |index: usize| {
            self.atoms
                .get(index)
                .is_some_and(|atom| atom.block == block)
        };
        let mut members: Vec<usize> = (0..self.atoms.len()).filter(|&index| own(index)).collect();
        for (index, branch) in self.branches.iter().enumerate() {
            if index + 1 == block {
                members.push(branch.parent);
            } else if own(branch.parent) {
                members.push(branch.child);
            }
        }
        members
    }

    pub(crate) fn heavy_atoms(&self) -> usize {
        self.atoms.iter().filter(|atom| atom.is_heavy()).count()
    }

    /// The atoms as a molecule without bonds, for a tree whose bonds nobody knows.
    pub(crate) fn to_molecule(&self) -> Molecule {
        let atoms = self
            .atoms
            .iter()
            .filter(|atom| !atom.is_glue())
            .map(|atom| Atom {
                position: atom.position,
                element: atom.element(),
                ..Atom::default()
            })
            .collect();
        Molecule {
            atoms,
            models: 1,
            dimensions: Dimensions::Three,
            ..Molecule::default()
        }
    }
}

/// A block that is still open; `branch` is none for the root.
struct Open {
    block: usize,
    branch: Option<usize>,
    parent: usize,
    child_serial: i64,
}

#[derive(Default)]
struct Builder {
    atoms: Vec<TreeAtom>,
    branches: Vec<Branch>,
    open: Vec<Open>,
    seen_root: bool,
    torsions: Option<u32>,
}

impl Builder {
    fn line(&mut self, text: &str) -> Result<(), TreeFault> {
        let mut words = text.split_ascii_whitespace();
        let Some(first) = words.next() else {
            return Ok(());
        };
        if text.starts_with("ATOM") || text.starts_with("HETATM") {
            return self.atom(text);
        }
        match first {
            // The engine passes over these two and over nothing else.
            _ if first.starts_with("REMARK") || first.starts_with("WARNING") => Ok(()),
            "ROOT" => self.root(),
            "ENDROOT" | "ENDBRANCH" => self.close(first == "ENDROOT"),
            "BRANCH" => {
                let parent = words.next().and_then(|word| word.parse().ok());
                let child = words.next().and_then(|word| word.parse().ok());
                match (parent, child) {
                    (Some(parent), Some(child)) => self.branch(parent, child),
                    _ => Err(TreeFault::BadNumber("atom of a BRANCH")),
                }
            }
            "TORSDOF" => {
                let number = words.next().and_then(|word| word.parse().ok());
                self.torsions = Some(number.ok_or(TreeFault::BadNumber("TORSDOF"))?);
                Ok(())
            }
            other => Err(TreeFault::UnexpectedRecord(
                other
                    .chars()
                    .filter(|character| !character.is_control())
                    .take(12)
                    .collect(),
            )),
        }
    }

    fn root(&mut self) -> Result<(), TreeFault> {
        if self.seen_root {
            return Err(TreeFault::SecondRoot);
        }
        self.seen_root = true;
        self.open.push(Open {
            block: 0,
            branch: None,
            parent: 0,
            child_serial: 0,
        });
        Ok(())
    }

    fn branch(&mut self, parent: i64, child: i64) -> Result<(), TreeFault> {
        if !self.seen_root {
            return Err(TreeFault::NoRoot);
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(TreeFault::TooDeep);
        }
        // After ENDROOT the branches of the root stand at the top level.
        let around = self.open.last().map_or(0, |open| open.block);
        let parent_index = self
            .atoms
            .iter()
            .position(|atom| atom.block == around && atom.serial == parent)
            .ok_or(TreeFault::BranchAtomMissing(parent))?;
        let block = self.branches.len() + 1;
        // The child is filled in when its atom comes, before the block closes.
        self.branches.push(Branch {
            parent: parent_index,
            child: usize::MAX,
        });
        self.open.push(Open {
            block,
            branch: Some(block - 1),
            parent: parent_index,
            child_serial: child,
        });
        Ok(())
    }

    fn close(&mut self, root: bool) -> Result<(), TreeFault> {
        match self.open.pop() {
            Some(open) if open.branch.is_none() == root => match open.branch {
                None => Ok(()),
                Some(index) => {
                    let child = self
                        .atoms
                        .iter()
                        .position(|atom| {
                            atom.block == open.block && atom.serial == open.child_serial
                        })
                        .ok_or(TreeFault::BranchAtomMissing(open.child_serial))?;
                    if let Some(branch) = self.branches.get_mut(index) {
                        *branch = Branch {
                            parent: open.parent,
                            child,
                        };
                    }
                    Ok(())
                }
            },
            _ => Err(TreeFault::UnmatchedEnd),
        }
    }

    fn atom(&mut self, text: &str) -> Result<(), TreeFault> {
        let Some(open) = self.open.last() else {
            return Err(if self.seen_root {
                TreeFault::AtomOutsideTree
            } else {
                TreeFault::NoRoot
            });
        };
        if self.atoms.len() >= ATOMS_MAX {
            return Err(TreeFault::TooManyAtoms);
        }
        let atom = TreeAtom {
            block: open.block,
            ..read_atom(text)?
        };
        self.atoms.push(atom);
        Ok(())
    }

    fn finish(self) -> Result<TorsionTree, TreeFault> {
        if !self.seen_root {
            return Err(if self.atoms.is_empty() {
                TreeFault::NoAtoms
            } else {
                TreeFault::NoRoot
            });
        }
        if !self.open.is_empty() {
            return Err(TreeFault::UnclosedBlock);
        }
        if self.atoms.is_empty() {
            return Err(TreeFault::NoAtoms);
        }
        let torsions = self.torsions.ok_or(TreeFault::NoTorsdof)?;
        Ok(TorsionTree {
            atoms: self.atoms,
            branches: self.branches,
            torsions,
        })
    }
}

/// One `ATOM` line of a PDBQT file, in block 0. Columns are those of the PDB format up to the
/// temperature factor; the partial charge is in 69..=76, the type after it.
pub(crate) fn read_atom(text: &str) -> Result<TreeAtom, TreeFault> {
    let column = |from: usize, to: usize| text.get(from..to.min(text.len())).unwrap_or("").trim();
    let serial = column(6, 11)
        .parse()
        .map_err(|_| TreeFault::BadNumber("atom number"))?;
    let coordinate = |from: usize| {
        let written = column(from, from + 8);
        match written.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(value),
            _ => Err(TreeFault::BadCoordinate(written.to_owned())),
        }
    };
    let position = [coordinate(30)?, coordinate(38)?, coordinate(46)?];
    // Open Babel writes the sign of a charge into column 68 at times; it is the type that counts.
    let charge = column(66, 76).parse().unwrap_or(0.0);
    let label = column(77, text.len());
    let kind =
        AutodockType::from_label(label).ok_or_else(|| TreeFault::UnknownType(label.to_owned()))?;
    Ok(TreeAtom {
        serial,
        position,
        charge,
        kind,
        block: 0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    pub(crate) const LIGAND: &str = "\
REMARK  Name = ligand
ROOT
ATOM      1  C   UNL     1       0.000   0.000   0.000  0.00  0.00    +0.010 C 
ATOM      2  O   UNL     1       1.400   0.000   0.000  0.00  0.00    -0.300 OA
ENDROOT
BRANCH   1   3
ATOM      3  C   UNL     1      -0.700   1.300   0.000  0.00  0.00    +0.050 C 
BRANCH   3   4
ATOM      4  N   UNL     1      -2.100   1.200   0.000  0.00  0.00    -0.200 N 
ATOM      5  H   UNL     1      -2.500   2.100   0.000  0.00  0.00    +0.200 HD
ENDBRANCH   3   4
ENDBRANCH   1   3
TORSDOF 2
";

    fn fault(text: &str) -> TreeFault {
        TorsionTree::read(text.lines(), 1).unwrap_err().fault
    }

    #[test]
    fn blocks_and_their_rigid_neighbours_are_found() {
        let tree = TorsionTree::read(LIGAND.lines(), 1).unwrap();
        assert_eq!(tree.atoms.len(), 5);
        assert_eq!(tree.heavy_atoms(), 4);
        assert_eq!(tree.torsions, 2);
        assert_eq!(
            tree.atoms.iter().map(|atom| atom.block).collect::<Vec<_>>(),
            [0, 0, 1, 2, 2]
        );
        assert_eq!(tree.rigid_with(0), [0, 1, 2]);
        assert_eq!(tree.rigid_with(1), [2, 0, 3]);
        assert_eq!(tree.rigid_with(2), [3, 4, 2]);
        assert_eq!(tree.atoms[4].charge, 0.2);
    }

    #[test]
    fn each_way_to_be_no_tree_has_its_name() {
        assert_eq!(fault(""), TreeFault::NoAtoms);
        assert_eq!(
            fault(&LIGAND.replace("ROOT\nATOM      1", "ATOM      1")),
            TreeFault::NoRoot
        );
        assert_eq!(
            fault(&LIGAND.replace("TORSDOF 2\n", "")),
            TreeFault::NoTorsdof
        );
        assert_eq!(
            fault(&LIGAND.replace("ENDBRANCH   1   3\n", "")),
            TreeFault::UnclosedBlock
        );
        assert_eq!(
            fault(&LIGAND.replace("BRANCH   1   3\nATOM", "BRANCH   9   3\nATOM")),
            TreeFault::BranchAtomMissing(9)
        );
        assert_eq!(
            fault(&LIGAND.replace("BRANCH   1   3\nATOM", "BRANCH   1   7\nATOM")),
            TreeFault::BranchAtomMissing(7)
        );
        assert_eq!(
            fault(&LIGAND.replace("1.400   0.000", "abc.d   0.000")),
            TreeFault::BadCoordinate("abc.d".to_owned())
        );
        assert_eq!(
            fault(&LIGAND.replace(" OA\n", " Xx\n")),
            TreeFault::UnknownType("Xx".into())
        );
        assert_eq!(fault(&format!("{LIGAND}{LIGAND}")), TreeFault::SecondRoot);
        assert_eq!(
            fault(&format!("MODEL 1\n{LIGAND}")),
            TreeFault::UnexpectedRecord("MODEL".to_owned())
        );
        let error = TorsionTree::read(LIGAND.replace(" OA\n", " Xx\n").lines(), 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 4: the engine has no atom type `Xx`"
        );
    }

    #[test]
    fn ten_thousand_nested_branches_are_refused_without_recursion() {
        let mut text = String::from(
            "ROOT\nATOM      1  C   UNL     1       0.000   0.000   0.000  0.00  0.00    +0.010 C \nENDROOT\n",
        );
        for _ in 0..10_000 {
            text.push_str("BRANCH 1 1\nATOM      1  C   UNL     1       0.000   0.000   0.000  0.00  0.00    +0.010 C \n");
        }
        assert_eq!(fault(&text), TreeFault::TooDeep);
    }
}
