//! Which format a file is in, by its first bytes.
//!
//! Content decides. A name decides only where the content says nothing, with a confidence so low
//! that any other reader's word counts more; the file then comes back with its fault named.

use crate::decode::decode_head;
use crate::fault::Fault;
use crate::format::Format;
use crate::pdb_fields::{AtomLine, is_atom_line};
use crate::read::{columns, field};
use crate::smiles::is_smiles;
use crate::xyz;

/// What a file's head tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sniffed {
    pub format: Format,
    pub gzip: bool,
    /// 0..=1.
    pub confidence: f32,
}

/// Text looked at; marks of a format stand at its start, and a PDB header is seldom longer.
const TEXT_BYTES: usize = 64 << 10;
/// Confidence of a name alone.
const BY_NAME: f32 = 0.1;

/// Tells the format of a file from its first bytes (gzipped or not, cut anywhere) and its name.
#[must_use]
pub fn sniff(head: &[u8], file_name: &str) -> Option<Sniffed> {
    let (text, gzip) = decode_head(head, TEXT_BYTES);
    let claimed = Format::from_file_name(file_name);
    let by_content = sniff_text(&text, claimed);
    match (by_content, claimed) {
        (Some((format, confidence)), _) => Some(Sniffed {
            format,
            gzip,
            confidence,
        }),
        (None, Some(format)) => Some(Sniffed {
            format,
            gzip,
            confidence: BY_NAME,
        }),
        (None, None) => None,
    }
}

/// The format to read a text in, given the format its name claims.
pub(crate) fn settle(head: &[u8], file_name: &str) -> Result<(Format, Option<Fault>), Fault> {
    let claimed = Format::from_file_name(file_name);
    if head.trim_ascii().is_empty() {
        let message = if head.is_empty() {
            "file is empty"
        } else {
            "file holds only blanks"
        };
        return Err(Fault::error("empty_file", message));
    }
    match (sniff_text(head, claimed), claimed) {
        (Some((format, _)), Some(claimed)) if format.is_related_to(claimed) => Ok((format, None)),
        (Some((format, _)), None) => Ok((format, None)),
        (Some((Format::Pdbqt, _)), Some(Format::Pdb)) => {
            let warning = Fault::warning(
                "format_mismatch",
                "content is PDBQT although the name says PDB",
            );
            Ok((Format::Pdbqt, Some(warning)))
        }
        (Some((format, _)), Some(claimed)) => {
            let message =
                format!("content is {format} although the name says {claimed}; rename the file");
            Err(Fault::error("format_mismatch", message))
        }
        (None, claimed) => match (foreign(head), claimed) {
            (Some(what), _) => {
                let message = format!("content is {what}, not a molecule file");
                Err(Fault::error("not_a_molecule_file", message).at_line(1))
            }
            (None, Some(claimed)) => Ok((claimed, None)),
            (None, None) => Err(Fault::error(
                "unknown_format",
                "neither the content nor the name tells a format that can be read",
            )),
        },
    }
}

/// What a text is that is none of ours but known.
fn foreign(text: &[u8]) -> Option<&'static str> {
    let start = text.trim_ascii_start();
    let head: Vec<u8> = start.iter().take(64).map(u8::to_ascii_lowercase).collect();
    if head.starts_with(b"<!doctype html") || head.starts_with(b"<html") {
        return Some("an HTML page");
    }
    if head.starts_with(b"<?xml") || head.starts_with(b"<") {
        return Some("XML");
    }
    if head.starts_with(b"data_") {
        return Some("CIF, which is not supported yet; convert it to PDB");
    }
    if head.starts_with(b"{") {
        return Some("JSON");
    }
    if head.starts_with(b"$rxn") || head.starts_with(b"$rdfile") {
        return Some("a reaction file");
    }
    None
}

fn sniff_text(text: &[u8], claimed: Option<Format>) -> Option<(Format, f32)> {
    let lines: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    if foreign(text).is_some() || text.contains(&0) {
        return None;
    }
    if lines.iter().any(|line| line.starts_with(b"@<TRIPOS>")) {
        return Some((Format::Mol2, 0.98));
    }
    if let Some(found) = sniff_molfile(&lines, claimed) {
        return Some(found);
    }
    if let Some(found) = sniff_pdb(&lines) {
        return Some(found);
    }
    if sniff_xyz(&lines) {
        return Some((Format::Xyz, 0.9));
    }
    // Any word of the letters B, C, N, O, P, S, F, I reads as SMILES, so the name must not object.
    let words = lines.iter().filter_map(|line| {
        line.split(u8::is_ascii_whitespace)
            .find(|word| !word.is_empty())
    });
    let (good, all) = words.take(10).fold((0, 0), |(good, all), word| {
        (good + u32::from(is_smiles(word)), all + 1)
    });
    match claimed {
        Some(Format::Smiles) if good > 0 => Some((Format::Smiles, 0.9)),
        None if good > 0 && good == all => Some((Format::Smiles, 0.3)),
        _ => None,
    }
}

fn sniff_molfile(lines: &[&[u8]], claimed: Option<Format>) -> Option<(Format, f32)> {
    let counts = lines.get(3)?;
    let version = field(counts, 35, 39);
    let named = matches!(version, "V2000" | "V3000")
        || counts.trim_ascii_end().ends_with(b"V2000")
        || counts.trim_ascii_end().ends_with(b"V3000");
    let is_count = |from, to| {
        let digits = field(counts, from, to);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let ends = lines.iter().any(|line| line.starts_with(b"M  END"));
    let bare = is_count(1, 3) && is_count(4, 6) && ends;
    if !named && !bare {
        return None;
    }
    let has_items = lines
        .iter()
        .any(|line| line.starts_with(b"$$$$") || line.starts_with(b">"));
    let format = match claimed {
        Some(Format::Sdf) => Format::Sdf,
        _ if has_items => Format::Sdf,
        _ => Format::Mol,
    };
    Some((format, if named { 0.98 } else { 0.8 }))
}

fn sniff_pdb(lines: &[&[u8]]) -> Option<(Format, f32)> {
    let tree = [b"ROOT".as_slice(), b"ENDROOT", b"BRANCH", b"TORSDOF"];
    let has_tree = lines.iter().any(|line| {
        let word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        tree.contains(&word)
    });
    let mut atoms = lines.iter().filter(|line| is_atom_line(line)).peekable();
    if atoms.peek().is_none() {
        let records: usize = lines.iter().filter(|line| is_pdb_record(line)).count();
        let words = lines
            .iter()
            .filter(|line| !line.trim_ascii().is_empty())
            .count();
        return (records >= 2 && 2 * records > words).then_some((Format::Pdb, 0.8));
    }
    // A charge in columns 69-76 and a type behind it make a PDBQT line; a PDB line has text of
    // other kinds there.
    let is_pdbqt = |line: &[u8]| {
        let charge = field(line, 69, 76);
        charge.contains('.') && charge.parse::<f64>().is_ok() && !field(line, 78, 79).is_empty()
    };
    let first: Vec<&&[u8]> = atoms.take(20).collect();
    let typed = first.iter().filter(|line| is_pdbqt(line)).count();
    if has_tree || 2 * typed > first.len() {
        return Some((Format::Pdbqt, 0.98));
    }
    let readable = first
        .iter()
        .filter(|line| AtomLine::read(line, false).is_ok())
        .count();
    Some((Format::Pdb, if readable > 0 { 0.95 } else { 0.7 }))
}

fn is_pdb_record(line: &[u8]) -> bool {
    const NAMES: [&[u8]; 24] = [
        b"HEADER", b"TITLE ", b"COMPND", b"SOURCE", b"KEYWDS", b"EXPDTA", b"AUTHOR", b"REVDAT",
        b"JRNL  ", b"REMARK", b"DBREF ", b"SEQRES", b"HET   ", b"HETNAM", b"FORMUL", b"HELIX ",
        b"SHEET ", b"SSBOND", b"LINK  ", b"SITE  ", b"CRYST1", b"ORIGX1", b"SCALE1", b"MODEL ",
    ];
    NAMES.contains(&columns(line, 1, 6))
}

fn sniff_xyz(lines: &[&[u8]]) -> bool {
    let is_count = |line: &&[u8]| {
        let line = line.trim_ascii();
        !line.is_empty() && line.len() < 9 && line.iter().all(u8::is_ascii_digit)
    };
    lines.first().is_some_and(is_count) && lines.get(2).is_some_and(|line| xyz::is_atom_line(line))
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

    #[test]
    fn content_decides_and_names_break_ties() {
        let sdf = "t\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0 C\nM  END\n$$$$\n";
        let pdb =
            "ATOM      1  N   MET A   1      43.812  -3.233   9.148  1.00 31.02           N\n";
        let pdbqt =
            "ATOM      1  N   UNL     1      16.600  51.810  14.798  1.00  0.00    -0.322 N \n";
        for (text, name, expected) in [
            (sdf, "x", Some((Format::Sdf, true))),
            (sdf, "x.pdb", Some((Format::Sdf, true))),
            (
                sdf.trim_end_matches("$$$$\n"),
                "x",
                Some((Format::Mol, true)),
            ),
            (
                sdf.trim_end_matches("$$$$\n"),
                "x.sdf",
                Some((Format::Sdf, true)),
            ),
            (pdb, "x.sdf", Some((Format::Pdb, true))),
            (pdbqt, "x", Some((Format::Pdbqt, true))),
            ("# c\n@<TRIPOS>MOLECULE\n", "x", Some((Format::Mol2, true))),
            ("2\n\nH 0 0 0\nH 0 0 1\n", "x", Some((Format::Xyz, true))),
            ("CCO ethanol\n", "x.smi", Some((Format::Smiles, true))),
            ("CCO ethanol\n", "x.sdf", Some((Format::Sdf, false))),
            ("<html>", "x.sdf", Some((Format::Sdf, false))),
            ("hello world", "x.txt", None),
            ("", "x", None),
        ] {
            let found = sniff(text.as_bytes(), name);
            assert_eq!(
                found.map(|found| (found.format, found.confidence > 0.2)),
                expected,
                "{text:?} {name}"
            );
        }
    }

    #[test]
    fn names_that_contradict_the_content_are_refused() {
        let pdb =
            b"ATOM      1  N   MET A   1      43.812  -3.233   9.148  1.00 31.02           N\n";
        assert_eq!(settle(pdb, "x.sdf").unwrap_err().code, "format_mismatch");
        assert_eq!(settle(pdb, "x.pdbqt").unwrap_err().code, "format_mismatch");
        assert_eq!(settle(pdb, "x.txt").unwrap().0, Format::Pdb);
        assert_eq!(settle(b"{}", "x").unwrap_err().code, "not_a_molecule_file");
        assert_eq!(settle(b"@@ ??", "x").unwrap_err().code, "unknown_format");
    }
}
