//! PDBQT files: rigid receptors, ligands with their torsion tree, and the poses docking writes.
//!
//! A **ligand** has `ROOT`, `BRANCH` and `TORSDOF`; everything else is a **receptor**. The tree is
//! checked by the rules of AutoDock Vina's own parser, which names neither file nor line: a branch
//! starts at an atom of the part it hangs on, and holds the atom it leads to. A file is split
//! into **models** at `MODEL`; without any it is one model.

use crate::autodock::AutodockType;
use crate::element::Element;
use crate::fault::{Fault, Faults, quoted};
use crate::limits::Limits;
use crate::lines::split_lines;
use crate::model::{AtomKind, Molecule};
use crate::pdb::{ResidueTable, Tallies};
use crate::pdb_fields::{AtomLine, Count, is_atom_line};
use crate::read::{Context, conclude, dimensions_of, field, number, text};

/// One model of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// As in its `MODEL` line.
    pub number: Option<u32>,
    /// Text behind `REMARK `, without blanks at its ends, in file order.
    pub remarks: Vec<String>,
    pub molecule: Molecule,
    /// Line of the file the model starts on, counted from 1.
    pub line: u64,
}

/// Reads every model of a file, for example the poses of a docking run.
///
/// # Errors
/// All faults of the first model that cannot be used.
pub fn models(file: &[u8]) -> Result<Vec<Model>, Vec<Fault>> {
    let limits = Limits::default();
    let mut models = Vec::new();
    for part in split_models(file) {
        let mut context = Context {
            limits: &limits,
            first_line: part.first_line,
            faults: Faults::default(),
        };
        let outcome = read_lines(&part.lines, &mut context);
        let (number, remarks) = (part.number, remarks(&part.lines));
        let (molecule, _) = conclude(outcome, context.faults)?;
        models.push(Model {
            number,
            remarks,
            molecule,
            line: part.first_line,
        });
    }
    Ok(models)
}

/// Whether the file is a ligand rather than a rigid receptor.
#[must_use]
pub fn is_ligand(file: &[u8]) -> bool {
    file.split(|byte| *byte == b'\n').any(is_tree_line)
}

/// What Vina would refuse in a ligand file; empty when it would take it.
#[must_use]
pub fn check_ligand(file: &[u8]) -> Vec<Fault> {
    let lines = split_lines(file);
    let mut faults = check_whole(file);
    if !lines.iter().any(|line| is_tree_line(line)) {
        let message = "is a rigid receptor: a ligand needs ROOT, ENDROOT and TORSDOF";
        faults.push(Fault::for_docking("not_a_ligand", message));
    }
    faults
}

/// What Vina would refuse in a rigid receptor file; empty when it would take it.
#[must_use]
pub fn check_receptor(file: &[u8]) -> Vec<Fault> {
    let mut faults = check_whole(file);
    if is_ligand(file) {
        faults.push(Fault::for_docking(
            "not_a_receptor",
            "is a ligand with a torsion tree, not a receptor",
        ));
    }
    faults
}

fn check_whole(file: &[u8]) -> Vec<Fault> {
    let mut parts = split_models(file).into_iter();
    let limits = Limits::default();
    let Some(first) = parts.next() else {
        return vec![Fault::error("no_atoms", "holds no atoms")];
    };
    let mut context = Context {
        limits: &limits,
        first_line: first.first_line,
        faults: Faults::default(),
    };
    let mut faults = Vec::new();
    if first.number.is_some() || parts.len() > 0 {
        faults.push(several_models(1 + parts.len()).at_line(first.first_line));
    }
    let outcome = read_lines(&first.lines, &mut context);
    match conclude(outcome, context.faults) {
        Ok((_, found)) | Err(found) => {
            faults.extend(
                found
                    .into_iter()
                    .filter(|fault| fault.severity > crate::Severity::Warning),
            );
        }
    }
    faults
}

/// A ligand file of more than one model, which docking refuses.
pub(crate) fn several_models(count: usize) -> Fault {
    let message = format!(
        "holds {count} models; docking takes one ligand without MODEL lines, split the file"
    );
    Fault::for_docking("several_models", message)
}

/// Whether the remarks are those of a docking result.
pub(crate) fn is_docking_result(file: &[u8]) -> bool {
    const MARK: &[u8] = b"REMARK VINA RESULT";
    file.split(|byte| *byte == b'\n')
        .any(|line| line.starts_with(MARK) || line.starts_with(b"REMARK minimizedAffinity"))
}

pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    read_lines(&split_lines(record), context)
}

fn is_tree_line(line: &[u8]) -> bool {
    [
        b"ROOT".as_slice(),
        b"ENDROOT",
        b"BRANCH",
        b"ENDBRANCH",
        b"TORSDOF",
    ]
    .iter()
    .any(|tag| line.starts_with(tag))
}

struct Part<'a> {
    number: Option<u32>,
    first_line: u64,
    lines: Vec<&'a [u8]>,
}

fn split_models(file: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut current = Part {
        number: None,
        first_line: 1,
        lines: Vec::new(),
    };
    let is_content = |part: &Part<'_>| {
        part.lines
            .iter()
            .any(|line| is_atom_line(line) || is_tree_line(line))
    };
    for (index, line) in split_lines(file).into_iter().enumerate() {
        if line.starts_with(b"MODEL") {
            let number = field(line, 6, line.len().max(6)).parse().ok();
            let next = Part {
                number,
                first_line: index as u64 + 1,
                lines: Vec::new(),
            };
            let done = std::mem::replace(&mut current, next);
            if done.number.is_some() || is_content(&done) {
                parts.push(done);
            }
        }
        current.lines.push(line);
    }
    if current.number.is_some() || parts.is_empty() || is_content(&current) {
        parts.push(current);
    }
    parts
}

fn remarks(lines: &[&[u8]]) -> Vec<String> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix(b"REMARK"))
        .map(text)
        .collect()
}

fn read_lines(lines: &[&[u8]], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let is_ligand = lines.iter().any(|line| is_tree_line(line));
    let mut reader = Reader {
        molecule: Molecule {
            models: 1,
            ..Molecule::default()
        },
        residues: ResidueTable::default(),
        tallies: Tallies::default(),
        tree: Tree::default(),
        is_ligand,
        refused_tag: None,
        bad_lines: 0,
    };
    for (at, line) in lines.iter().enumerate() {
        reader.line(line, at, context)?;
    }
    reader.finish(lines.len(), context)
}

struct Reader {
    molecule: Molecule,
    residues: ResidueTable,
    tallies: Tallies,
    tree: Tree,
    is_ligand: bool,
    refused_tag: Option<u64>,
    bad_lines: u32,
}

const BAD_LINES_MAX: u32 = 20;

impl Reader {
    fn line(&mut self, line: &[u8], at: usize, context: &mut Context<'_>) -> Result<(), Fault> {
        if is_atom_line(line) {
            return self.atom_line(line, at, context);
        }
        if self.is_ligand && self.tree.line(line, at, context)? {
            return Ok(());
        }
        let is_known = line.trim_ascii().is_empty()
            || [
                b"REMARK".as_slice(),
                b"WARNING",
                b"MODEL",
                b"ENDMDL",
                b"USER",
                b"COMPND",
                b"AUTHOR",
                b"HEADER",
            ]
            .iter()
            .any(|tag| line.starts_with(tag))
            || (!self.is_ligand && (line.starts_with(b"TER") || line.starts_with(b"END")));
        if let Some(name) = line
            .strip_prefix(b"REMARK  Name = ")
            .filter(|_| self.molecule.title.is_empty())
        {
            self.molecule.title = text(name);
        }
        if line.starts_with(b"BEGIN_RES") {
            let message = "holds flexible residues; a receptor file must be rigid";
            let fault = Fault::for_docking("flexible_residues", message).at_line(context.line(at));
            context.faults.push(fault);
        } else if !is_known && self.refused_tag.is_none() && !line.starts_with(b"END_RES") {
            self.refused_tag = Some(context.line(at));
            let message = format!(
                "line has no meaning here and AutoDock Vina would refuse it: {}",
                quoted(line)
            );
            let fault = Fault::for_docking("unknown_tag", message).at_line(context.line(at));
            context.faults.push(fault);
        }
        Ok(())
    }

    fn atom_line(
        &mut self,
        line: &[u8],
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        if self.molecule.atoms.len() >= context.limits.atoms_max {
            let message = format!("holds more than {} atoms", context.limits.atoms_max);
            return Err(context.fault_at(at, "too_many_atoms", message));
        }
        let number_of_line = context.line(at);
        let read = match AtomLine::read(line, false) {
            Ok(read) => read,
            Err(fault) => {
                context.error_at(at, fault.code, fault.message);
                // The atom is there, though its line is bad: the tree around it is sound.
                self.tree.atom(field(line, 7, 11).parse().ok(), at, context);
                self.bad_lines += 1;
                if self.bad_lines >= BAD_LINES_MAX {
                    let message =
                        format!("{BAD_LINES_MAX} atom lines are unreadable; the rest was not read");
                    return Err(context.fault_at(at, "too_many_bad_lines", message));
                }
                return Ok(());
            }
        };
        let mut atom = read.atom.clone();
        let charge = field(line, 69, 76);
        if !charge.is_empty() {
            match number(charge) {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "three decimals of a small number"
                )]
                Some(value) => atom.partial_charge = Some(value as f32),
                None => {
                    let message = format!(
                        "partial charge in columns 69-76 is no number: {}",
                        quoted(charge.as_bytes())
                    );
                    context.error_at(at, "bad_charge", message);
                }
            }
        }
        let label = field(line, 78, 79);
        match AutodockType::from_label(label) {
            Some(kind) => {
                atom.autodock_type = Some(kind);
                atom.element = kind.element();
                if atom.element.is_none() {
                    atom.kind = AtomKind::Dummy;
                }
            }
            None => {
                atom.element = Element::from_symbol_any_case(label);
                if atom.element.is_none() {
                    atom.kind = AtomKind::Dummy;
                }
                let message = if label.is_empty() {
                    "atom has no AutoDock type in columns 78-79".to_owned()
                } else {
                    format!(
                        "{} is no AutoDock atom type; they are case-sensitive",
                        quoted(label.as_bytes())
                    )
                };
                let fault = Fault::for_docking("bad_atom_type", message).at_line(number_of_line);
                context.faults.push(fault);
            }
        }
        if !matches!(read.serial, Count::Decimal(_)) {
            let fault =
                Fault::for_docking("bad_serial", "atom number in columns 7-11 is not decimal")
                    .at_line(number_of_line);
            context.faults.push(fault);
        }
        if self.is_ligand {
            self.tree.atom(atom.serial, at, context);
        }
        let residue = self.residues.index_of(
            &read,
            &mut self.molecule.residues,
            &mut self.tallies,
            number_of_line,
        );
        atom.residue = Some(residue);
        self.molecule.atoms.push(atom);
        Ok(())
    }

    fn finish(mut self, lines: usize, context: &mut Context<'_>) -> Result<Molecule, Fault> {
        let last = lines.saturating_sub(1);
        if self.is_ligand {
            self.tree.finish(last, context);
            self.molecule.torsion_degrees = self.tree.torsion_degrees;
        }
        if self.molecule.atoms.is_empty() {
            return Err(Fault::error(
                "no_atoms",
                "holds no ATOM or HETATM lines, so there are no atoms",
            ));
        }
        self.residues.settle(&mut self.molecule.residues);
        self.tallies.report(context);
        self.molecule.dimensions = dimensions_of(&self.molecule);
        Ok(self.molecule)
    }
}

/// The torsion tree as it is read: the open parts, innermost last.
#[derive(Debug, Default)]
struct Tree {
    /// Root and open branches. Depth is bounded by the lines of the record.
    open: Vec<Branch>,
    root_seen: bool,
    root_closed: bool,
    torsion_degrees: Option<u32>,
    orphan_reported: bool,
}

#[derive(Debug)]
struct Branch {
    /// Atom of the outer part and atom of this one; none for the root.
    ends: Option<(u32, u32)>,
    line: usize,
    atoms: Vec<u32>,
}

impl Tree {
    /// Takes a line of the tree; false when it is none.
    fn line(&mut self, line: &[u8], at: usize, context: &mut Context<'_>) -> Result<bool, Fault> {
        if line.starts_with(b"ROOT") {
            if std::mem::replace(&mut self.root_seen, true) {
                return Err(context.fault_at(
                    at,
                    "second_root",
                    "there is a second ROOT; a ligand has one",
                ));
            }
            self.open.push(Branch {
                ends: None,
                line: at,
                atoms: Vec::new(),
            });
        } else if line.starts_with(b"ENDROOT") {
            if !self.root_seen || self.root_closed {
                return Err(context.fault_at(at, "no_root", "ENDROOT without ROOT"));
            }
            self.root_closed = true;
        } else if line.starts_with(b"BRANCH") {
            let (from, to) = branch_ends(line, at, context)?;
            if !self.root_seen {
                let message =
                    "BRANCH stands before any ROOT; a ligand starts with ROOT and ENDROOT";
                return Err(context.fault_at(at, "no_root", message));
            }
            if !self
                .open
                .last()
                .is_some_and(|branch| branch.atoms.contains(&from))
            {
                let message = format!(
                    "BRANCH {from} {to} starts at atom {from}, which the part around it does not have"
                );
                context.error_at(at, "bad_branch", message);
            }
            self.open.push(Branch {
                ends: Some((from, to)),
                line: at,
                atoms: Vec::new(),
            });
        } else if line.starts_with(b"ENDBRANCH") {
            let ends = branch_ends(line.get(3..).unwrap_or_default(), at, context)?;
            let Some(branch) = self.open.pop_if(|branch| branch.ends.is_some()) else {
                return Err(context.fault_at(at, "bad_branch", "ENDBRANCH without BRANCH"));
            };
            if branch.ends != Some(ends) {
                let (from, to) = branch.ends.unwrap_or_default();
                let message = format!("ENDBRANCH {} {} closes BRANCH {from} {to}", ends.0, ends.1);
                context.error_at(at, "bad_branch", message);
            }
            if !branch.atoms.contains(&ends.1) {
                let message = format!("branch leads to atom {}, which it does not hold", ends.1);
                context.error_at(branch.line, "bad_branch", message);
            }
        } else if let Some(rest) = line.strip_prefix(b"TORSDOF") {
            let value = std::str::from_utf8(rest).unwrap_or("").trim().parse().ok();
            let Some(value) = value else {
                return Err(context.fault_at(
                    at,
                    "bad_torsdof",
                    format!("TORSDOF is no number: {}", quoted(line)),
                ));
            };
            if self.torsion_degrees.replace(value).is_some() {
                context.error_at(at, "bad_torsdof", "there is a second TORSDOF");
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn atom(&mut self, serial: Option<u32>, at: usize, context: &mut Context<'_>) {
        match self.open.last_mut() {
            Some(branch) => branch.atoms.extend(serial),
            None if !std::mem::replace(&mut self.orphan_reported, true) => {
                context.error_at(
                    at,
                    "no_root",
                    "atom stands before any ROOT; a ligand starts with ROOT and ENDROOT",
                );
            }
            None => {}
        }
    }

    fn finish(&self, last: usize, context: &mut Context<'_>) {
        for branch in &self.open {
            if let Some((from, to)) = branch.ends {
                context.error_at(
                    branch.line,
                    "bad_branch",
                    format!("BRANCH {from} {to} is never closed"),
                );
            }
        }
        if !self.root_seen {
            if !self.orphan_reported {
                context.error_at(
                    last,
                    "no_root",
                    "there is no ROOT; a ligand starts with ROOT and ENDROOT",
                );
            }
        } else if !self.root_closed {
            context.error_at(last, "no_root", "ROOT is never closed by ENDROOT");
        }
        if self.torsion_degrees.is_none() {
            context.error_at(
                last,
                "no_torsdof",
                "TORSDOF is missing at the end of the ligand",
            );
        }
    }
}

/// The two numbers of a branch line, which stand in words or in columns 7-10 and 11-14.
fn branch_ends(line: &[u8], at: usize, context: &Context<'_>) -> Result<(u32, u32), Fault> {
    let words = std::str::from_utf8(line)
        .unwrap_or("")
        .split_ascii_whitespace();
    let mut numbers = words.skip(1).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(from)), Some(Ok(to))) => Ok((from, to)),
        _ => match (field(line, 7, 10).parse(), field(line, 11, 14).parse()) {
            (Ok(from), Ok(to)) => Ok((from, to)),
            _ => Err(context.fault_at(
                at,
                "bad_branch",
                format!("branch names no two atoms: {}", quoted(line)),
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "test"
    )]
    use super::*;

    fn atom(serial: u32, kind: &str) -> String {
        format!(
            "ATOM  {serial:5}  C   UNL     1      {:6.3}  51.810  14.798  1.00  0.00    -0.322 {kind}\n",
            f64::from(serial)
        )
    }

    fn ligand() -> String {
        format!(
            "REMARK VINA RESULT: -7.1 0 0\nROOT\n{}{}ENDROOT\nBRANCH   2   3\n{}ENDBRANCH   2   3\nTORSDOF 1\n",
            atom(1, "C "),
            atom(2, "OA"),
            atom(3, "HD")
        )
    }

    #[test]
    fn sound_ligands_and_receptors_pass() {
        assert_eq!(check_ligand(ligand().as_bytes()), []);
        assert!(is_ligand(ligand().as_bytes()));
        let receptor = format!("{}{}TER\nEND\n", atom(1, "C "), atom(2, "Zn"));
        assert_eq!(check_receptor(receptor.as_bytes()), []);
        assert_eq!(check_ligand(receptor.as_bytes())[0].code, "not_a_ligand");
        assert_eq!(
            check_receptor(ligand().as_bytes())[0].code,
            "not_a_receptor"
        );
    }

    #[test]
    fn every_break_of_the_tree_is_named() {
        for (from, to, code) in [
            ("ROOT\nATOM", "ATOM", "no_root"),
            ("ENDROOT\n", "", "no_root"),
            ("TORSDOF 1\n", "", "no_torsdof"),
            ("TORSDOF 1\n", "TORSDOF x\n", "bad_torsdof"),
            ("ENDBRANCH   2   3\n", "", "bad_branch"),
            ("ENDBRANCH   2   3", "ENDBRANCH   1   3", "bad_branch"),
            ("BRANCH   2   3\nA", "BRANCH   7   3\nA", "bad_branch"),
            ("BRANCH   2   3\nA", "BRANCH\nA", "bad_branch"),
            ("OA", "Oa", "bad_atom_type"),
            ("-0.322", "-0.x22", "bad_charge"),
            ("TORSDOF", "CONECT 1 2\nTORSDOF", "unknown_tag"),
        ] {
            let text = ligand();
            assert!(text.contains(from), "{from}");
            let faults = check_ligand(text.replacen(from, to, 1).as_bytes());
            assert!(
                faults
                    .iter()
                    .any(|fault| fault.code == code && fault.line.is_some()),
                "{from:?}: {faults:?}"
            );
        }
    }

    #[test]
    fn poses_are_models_with_remarks() {
        let text = format!("MODEL 1\n{}ENDMDL\nMODEL 2\n{}ENDMDL\n", ligand(), ligand());
        let poses = models(text.as_bytes()).unwrap();
        assert_eq!(
            poses.iter().map(|pose| pose.number).collect::<Vec<_>>(),
            [Some(1), Some(2)]
        );
        assert_eq!(poses[1].remarks, ["VINA RESULT: -7.1 0 0"]);
        assert_eq!(
            poses[1].molecule.atoms[1]
                .autodock_type
                .map(AutodockType::label),
            Some("OA")
        );
        assert_eq!(poses[1].molecule.torsion_degrees, Some(1));
        assert_eq!(poses[1].line, 12);
        assert!(
            check_ligand(text.as_bytes())
                .iter()
                .any(|fault| fault.code == "several_models")
        );
    }
}
