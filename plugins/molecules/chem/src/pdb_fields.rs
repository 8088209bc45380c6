//! The fixed columns of PDB and PDBQT atom lines, and what people put into them.
//!
//! Fields that overflow are written in at least four ways: hybrid-36 (`A0000`), hexadecimal
//! (`186a0`), asterisks, and digits that spill into the next column. All are read; what cannot be
//! told apart from a line that is out of its columns is refused.

use crate::element::Element;
use crate::fault::quoted;
use crate::model::{Atom, ResidueKind, ShortText};
use crate::read::{columns, field, number, number_fault};
use crate::residues;

/// A number that may have overflowed its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Decimal(i32),
    Hybrid36(i32),
    Hexadecimal(i32),
    /// `*****`.
    Overflowed,
    Missing,
    Unreadable,
}

impl Count {
    pub(crate) fn value(self) -> Option<i32> {
        match self {
            Count::Decimal(value) | Count::Hybrid36(value) | Count::Hexadecimal(value) => {
                Some(value)
            }
            Count::Overflowed | Count::Missing | Count::Unreadable => None,
        }
    }

    /// Reads a field of `width` columns. `hexadecimal` says that the file has shown to count so.
    pub(crate) fn read(raw: &[u8], width: usize, hexadecimal: bool) -> Count {
        let text = raw.trim_ascii();
        let Some(first) = text.first() else {
            return Count::Missing;
        };
        if text.iter().all(|byte| *byte == b'*') {
            return Count::Overflowed;
        }
        let Ok(text) = std::str::from_utf8(text) else {
            return Count::Unreadable;
        };
        if let Ok(value) = text.parse::<i32>() {
            // `000a0` counts on in hexadecimal, where 18700 is no decimal number.
            return if hexadecimal && text.len() == width {
                i32::from_str_radix(text, 16).map_or(Count::Decimal(value), Count::Hexadecimal)
            } else {
                Count::Decimal(value)
            };
        }
        let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hexadecimal && (hexadecimal || first.is_ascii_digit()) {
            return i32::from_str_radix(text, 16).map_or(Count::Unreadable, Count::Hexadecimal);
        }
        if text.len() == width && first.is_ascii_alphabetic() {
            return hybrid36(text, width).map_or(Count::Unreadable, Count::Hybrid36);
        }
        Count::Unreadable
    }
}

/// Decodes a hybrid-36 number: after 99999 come A0000 to ZZZZZ, then a0000 to zzzzz.
fn hybrid36(text: &str, width: usize) -> Option<i32> {
    let upper = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    let lower = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if upper == lower {
        return None;
    }
    let value = i64::from_str_radix(text, 36).ok()?;
    let digits = u32::try_from(width).ok()?;
    let block = 26 * 36_i64.pow(digits - 1);
    let first = 10 * 36_i64.pow(digits - 1);
    i32::try_from(value - first + 10_i64.pow(digits) + if lower { block } else { 0 }).ok()
}

/// What one `ATOM` or `HETATM` line says, in the columns PDB and PDBQT share.
#[derive(Debug, Clone)]
pub(crate) struct AtomLine {
    pub(crate) serial: Count,
    pub(crate) atom: Atom,
    pub(crate) residue_name: ShortText,
    /// The residue name takes the fourth column that the format leaves blank.
    pub(crate) wide_residue_name: bool,
    pub(crate) chain: ShortText,
    pub(crate) residue_number: Count,
    /// The residue number spilled into the column of the insertion code.
    pub(crate) wide_residue_number: bool,
    pub(crate) insertion: Option<char>,
}

/// Why an atom line cannot be read.
#[derive(Debug)]
pub(crate) struct LineFault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

pub(crate) fn is_atom_line(line: &[u8]) -> bool {
    line.starts_with(b"ATOM ") || line.starts_with(b"HETATM") || line.starts_with(b"ATOM\t")
}

impl AtomLine {
    pub(crate) fn read(line: &[u8], hexadecimal_serials: bool) -> Result<AtomLine, LineFault> {
        let position = read_position(line)?;
        // A sixth digit of the serial takes the column that the format leaves blank.
        let serial = match columns(line, 12, 12) {
            [b'0'..=b'9'] => Count::read(columns(line, 7, 12), 6, false),
            _ => Count::read(columns(line, 7, 11), 5, hexadecimal_serials),
        };
        let wide_residue_name = columns(line, 21, 21)
            .first()
            .is_some_and(|byte| !byte.is_ascii_whitespace());
        let residue_name = field(line, 18, if wide_residue_name { 21 } else { 20 });
        let digits = columns(line, 23, 26);
        let code = character(line, 27);
        let wide_residue_number =
            code.is_some_and(|code| code.is_ascii_digit()) && digits.iter().all(u8::is_ascii_digit);
        let residue_number = if wide_residue_number {
            Count::read(columns(line, 23, 27), 5, false)
        } else {
            Count::read(digits, 4, false)
        };
        let atom = Atom {
            position,
            name: ShortText::new(field(line, 13, 16)),
            alt_loc: character(line, 17),
            occupancy: single(line, 55, 60),
            b_factor: single(line, 61, 66),
            serial: serial.value().and_then(|value| u32::try_from(value).ok()),
            hetero: line.starts_with(b"HETATM"),
            ..Atom::default()
        };
        Ok(AtomLine {
            serial,
            atom,
            residue_name: ShortText::new(residue_name),
            wide_residue_name,
            chain: ShortText::new(field(line, 22, 22)),
            residue_number,
            wide_residue_number,
            insertion: code.filter(|_| !wide_residue_number),
        })
    }
}

fn character(line: &[u8], column: usize) -> Option<char> {
    columns(line, column, column)
        .first()
        .map(|byte| char::from(*byte))
        .filter(char::is_ascii_graphic)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "two decimals of a number below a thousand"
)]
fn single(line: &[u8], from: usize, to: usize) -> Option<f32> {
    number(field(line, from, to)).map(|value| value as f32)
}

fn read_position(line: &[u8]) -> Result<[f64; 3], LineFault> {
    if let Some(shift) = shift_of(line) {
        let (by, way) = (
            shift.unsigned_abs(),
            if shift > 0 { "right" } else { "left" },
        );
        let message = format!(
            "columns are shifted {by} to the {way}: the coordinates are out of columns 31-54"
        );
        return Err(LineFault {
            code: "shifted_columns",
            message,
        });
    }
    let mut position = [0.0; 3];
    for ((slot, (from, to)), axis) in position
        .iter_mut()
        .zip([(31, 38), (39, 46), (47, 54)])
        .zip(["x", "y", "z"])
    {
        let part = field(line, from, to);
        match number(part) {
            Some(value) => *slot = value,
            None if line.contains(&b'\t') => {
                let message =
                    "columns are separated by tabs; the format needs blanks in fixed columns"
                        .to_owned();
                return Err(LineFault {
                    code: "tabs",
                    message,
                });
            }
            None if is_overflow(part) => {
                let text = quoted(columns(line, 27, 60).trim_ascii());
                let message = format!("a coordinate overflows its 8 columns: {text}");
                return Err(LineFault {
                    code: "coordinate_overflow",
                    message,
                });
            }
            None if from > line.len() => {
                let message = format!(
                    "line ends after {} columns, before the {axis} coordinate",
                    line.len()
                );
                return Err(LineFault {
                    code: "truncated",
                    message,
                });
            }
            None => {
                let why = number_fault(part);
                let message = format!(
                    "{axis} coordinate in columns {from}-{to} {why}: {}",
                    quoted(part.as_bytes())
                );
                return Err(LineFault {
                    code: "bad_coordinate",
                    message,
                });
            }
        }
    }
    Ok(position)
}

/// How far the coordinates are out of their columns, when all three decimal points agree about it
/// and the three digits behind each show that it is not another number format.
fn shift_of(line: &[u8]) -> Option<i32> {
    let point = |column: usize| columns(line, column, column) == b".";
    if point(35) {
        return None;
    }
    let triple_at = |x: usize| {
        [x, x + 8, x + 16].into_iter().all(|column| {
            let digits = columns(line, column + 1, column + 4);
            point(column)
                && digits
                    .get(..3)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
                && !digits.get(3).is_some_and(u8::is_ascii_digit)
        })
    };
    (31..=42_usize)
        .find(|column| triple_at(*column))
        .and_then(|column| i32::try_from(column).ok())
        .map(|c| c - 35)
}

/// Whether a field that is no number looks like pieces of two: digits, points, signs and blanks.
fn is_overflow(part: &str) -> bool {
    part.bytes().any(|byte| byte.is_ascii_digit())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b' '))
}

/// The element of an atom line: from its own columns, or by the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoundElement {
    Stated(Element),
    Deuterium,
    Inferred(Element),
    Unknown,
}

pub(crate) fn find_element(line: &[u8], residue_name: &str, hetero: bool) -> FoundElement {
    let stated = field(line, 77, 78);
    if matches!(stated, "D" | "T") {
        return FoundElement::Deuterium;
    }
    match Element::from_symbol_any_case(stated) {
        Some(element) => FoundElement::Stated(element),
        None => infer_element(columns(line, 13, 16), residue_name, hetero)
            .map_or(FoundElement::Unknown, FoundElement::Inferred),
    }
}

/// The element that an atom name of four columns tells: two-letter symbols start in its first
/// column, one-letter ones in its second.
fn infer_element(name: &[u8], residue_name: &str, hetero: bool) -> Option<Element> {
    let letters: Vec<u8> = name
        .iter()
        .copied()
        .skip_while(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace())
        .take_while(u8::is_ascii_alphabetic)
        .collect();
    let first = letters.first().map(|byte| char::from(*byte).to_string())?;
    let kind = residues::kind_of(residue_name);
    let two = letters
        .get(..2)
        .and_then(|two| std::str::from_utf8(two).ok());
    let by_two = two.and_then(Element::from_symbol_any_case);
    // A lone ion is named after its element.
    if kind == ResidueKind::Ion
        && letters.eq_ignore_ascii_case(residue_name.as_bytes())
        && by_two.is_some()
    {
        return by_two;
    }
    let starts_in_first_column = name.first().is_some_and(u8::is_ascii_alphabetic);
    let is_polymer = kind.is_polymer() || kind == ResidueKind::Water;
    let plausible = by_two.filter(|element| {
        element.is_metal()
            || matches!(
                *element,
                Element::CL | Element::BR | Element::SE | Element::SI | Element::AS
            )
    });
    if starts_in_first_column
        && hetero
        && !is_polymer
        && name.trim_ascii().len() < 4
        && plausible.is_some()
    {
        return plausible;
    }
    if starts_in_first_column && residue_name == "MSE" && two == Some("SE") {
        return Some(Element::SE);
    }
    if first == "D" && is_polymer {
        return Some(Element::H);
    }
    Element::from_symbol_any_case(&first).or(plausible)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]
    use super::*;

    #[test]
    fn serials_are_read_in_every_way_they_overflow() {
        for (text, hexadecimal, expected) in [
            ("    1", false, Count::Decimal(1)),
            ("99999", false, Count::Decimal(99_999)),
            ("A0000", false, Count::Hybrid36(100_000)),
            ("A0001", false, Count::Hybrid36(100_001)),
            ("ZZZZZ", false, Count::Hybrid36(43_770_015)),
            ("a0000", false, Count::Hybrid36(43_770_016)),
            ("186a0", false, Count::Hexadecimal(100_000)),
            ("18700", true, Count::Hexadecimal(100_096)),
            ("a0000", true, Count::Hexadecimal(655_360)),
            ("*****", false, Count::Overflowed),
            ("     ", false, Count::Missing),
            ("A 001", false, Count::Unreadable),
        ] {
            assert_eq!(
                Count::read(text.as_bytes(), 5, hexadecimal),
                expected,
                "{text}"
            );
        }
        assert_eq!(Count::read(b"A000", 4, false), Count::Hybrid36(10_000));
        assert_eq!(Count::read(b"  -5", 4, false), Count::Decimal(-5));
    }

    #[test]
    fn elements_follow_from_names() {
        for (name, residue, hetero, expected) in [
            (" CA ", "ALA", false, "C"),
            ("CA  ", " CA", true, "Ca"),
            ("CA  ", "CA", true, "Ca"),
            ("HG21", "VAL", false, "H"),
            ("1HG2", "VAL", false, "H"),
            ("HG  ", "HG", true, "Hg"),
            ("CL1 ", "LIG", true, "Cl"),
            (" C1 ", "LIG", true, "C"),
            ("FE  ", "HEM", true, "Fe"),
            ("SE  ", "MSE", true, "Se"),
            ("NE2 ", "HIS", false, "N"),
            ("CD  ", "GLU", false, "C"),
        ] {
            let found = infer_element(name.as_bytes(), residue.trim(), hetero).map(Element::symbol);
            assert_eq!(found, Some(expected), "{name} {residue}");
        }
    }

    #[test]
    fn shifted_and_overflowing_lines_are_told_apart() {
        let good =
            b"ATOM      1  N   MET A   1      43.812  -3.233   9.148  1.00 31.02           N";
        assert_eq!(
            AtomLine::read(good, false).unwrap().atom.position,
            [43.812, -3.233, 9.148]
        );
        let right = [b"ATOM      1  ".as_slice(), b" ", good.get(13..).unwrap()].concat();
        assert_eq!(
            AtomLine::read(&right, false).unwrap_err().code,
            "shifted_columns"
        );
        let left = [b"ATOM      1 ".as_slice(), good.get(13..).unwrap()].concat();
        assert_eq!(
            AtomLine::read(&left, false).unwrap_err().code,
            "shifted_columns"
        );
        let wide =
            b"ATOM      1  N   MET A   1    -1234.567   1.000-9999.999  1.00 31.02           N";
        assert_eq!(
            AtomLine::read(wide, false).unwrap_err().code,
            "coordinate_overflow"
        );
        let short = good.get(..40).unwrap();
        assert_eq!(
            AtomLine::read(short, false).unwrap_err().code,
            "bad_coordinate"
        );
        let nan = b"ATOM      1  N   MET A   1         nan  -3.233   9.148  1.00 31.02           N";
        assert_eq!(
            AtomLine::read(nan, false).unwrap_err().code,
            "bad_coordinate"
        );
    }
}
