//! One structure out of a PDB file.
//!
//! Open Babel converts every model and every alternate location of a file into atoms on top of
//! each other. A docking needs one of each: the first model, and of each residue the alternate
//! location with the highest occupancy (the first of equals).
//!
//! It also takes the charge column (79 and 80) at its word, and gives a nitrogen written `N1+` one
//! hydrogen more than the residue has, so a histidine gets two on one nitrogen. The column is
//! blanked: protonation follows from the residues and the pH.
//!
//! Files without any of these are passed on byte for byte.

use std::{borrow::Cow, collections::HashMap};

/// What was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) models: usize,
    pub(crate) alternate_atoms: usize,
}

/// The text of the one structure.
pub(crate) fn one_structure(text: &[u8]) -> (Cow<'_, [u8]>, Dropped) {
    let mut dropped = Dropped::default();
    let first = first_model(text, &mut dropped);
    let chosen = chosen_locations(first);
    let has_charges =
        lines(first).any(|line| is_atom(line) && charge(line).is_some_and(|charge| !blank(charge)));
    if chosen.is_empty() && !has_charges {
        return (Cow::Borrowed(first), dropped);
    }
    let mut kept = Vec::with_capacity(first.len());
    for line in lines(first) {
        let location = is_atom(line).then(|| location(line)).flatten();
        let stays = location.is_none_or(|location| {
            residue(line).and_then(|key| chosen.get(key)) == Some(&location)
        });
        if !stays {
            dropped.alternate_atoms += usize::from(!line.starts_with(b"ANISOU"));
            continue;
        }
        let start = kept.len();
        kept.extend_from_slice(line);
        let copy = kept.get_mut(start..).unwrap_or_default();
        if location.is_some() {
            // A blank location, as the atom has no alternative any more.
            copy.iter_mut()
                .skip(16)
                .take(1)
                .for_each(|byte| *byte = b' ');
        }
        if is_atom(line) && charge(line).is_some() {
            copy.iter_mut()
                .skip(78)
                .take(2)
                .filter(|byte| byte.is_ascii_graphic())
                .for_each(|byte| *byte = b' ');
        }
    }
    (Cow::Owned(kept), dropped)
}

/// Up to the second `MODEL`. Some programs leave out `ENDMDL`.
fn first_model<'t>(text: &'t [u8], dropped: &mut Dropped) -> &'t [u8] {
    let mut offset = 0;
    let mut end = None;
    let mut models = 0_usize;
    for line in lines(text) {
        if line.starts_with(b"MODEL ") {
            models += 1;
            if models == 2 {
                end = Some(offset);
            }
        }
        offset += line.len();
    }
    dropped.models = models.saturating_sub(1);
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

fn is_atom(line: &[u8]) -> bool {
    line.starts_with(b"ATOM  ") || line.starts_with(b"HETATM") || line.starts_with(b"ANISOU")
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// Columns 79 and 80, where they hold a charge and nothing else.
fn charge(line: &[u8]) -> Option<&[u8]> {
    let field = line.get(78..line.len().min(80))?;
    field
        .iter()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace() || b"+-".contains(byte))
        .then_some(field)
}

fn blank(field: &[u8]) -> bool {
    field.trim_ascii().is_empty()
}

fn location(line: &[u8]) -> Option<u8> {
    line.get(16)
        .copied()
        .filter(|location| location.is_ascii_graphic())
}

/// Chain, number and insertion code.
fn residue(line: &[u8]) -> Option<&[u8]> {
    line.get(21..27)
}

/// Hundredths, summed over a residue's atoms: exact, so equals are equals.
fn occupancy(line: &[u8]) -> i64 {
    let text = line.get(54..60).map(String::from_utf8_lossy);
    let value = text
        .and_then(|text| text.trim().parse::<f64>().ok())
        .unwrap_or(1.0);
    // The field has six characters.
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the field")]
    let hundredths = (value * 100.0) as i64;
    hundredths
}

fn chosen_locations(text: &[u8]) -> HashMap<&[u8], u8> {
    // In order of appearance, so that the first of equals wins.
    let mut sums: HashMap<&[u8], Vec<(u8, i64)>> = HashMap::new();
    for line in lines(text) {
        if !is_atom(line) || line.starts_with(b"ANISOU") {
            continue;
        }
        if let (Some(location), Some(residue)) = (location(line), residue(line)) {
            let locations = sums.entry(residue).or_default();
            match locations.iter_mut().find(|(known, _)| *known == location) {
                Some((_, sum)) => *sum += occupancy(line),
                None => locations.push((location, occupancy(line))),
            }
        }
    }
    sums.into_iter()
        .filter_map(|(residue, locations)| {
            let mut best: Option<(u8, i64)> = None;
            for (location, sum) in locations {
                if best.is_none_or(|(_, highest)| sum > highest) {
                    best = Some((location, sum));
                }
            }
            best.map(|(location, _)| (residue, location))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ATOM: &str =
        "ATOM      1  CA ALEU A  12      15.629  51.747  15.784  0.40 20.00           C\n";

    #[test]
    fn plain_files_are_passed_on_as_they_are() {
        let plain = ATOM.replace("ALEU", " LEU");
        let (text, dropped) = one_structure(plain.as_bytes());
        assert!(matches!(text, Cow::Borrowed(_)));
        assert_eq!(&*text, plain.as_bytes());
        assert_eq!(dropped, Dropped::default());
    }

    #[test]
    fn the_fuller_location_of_each_residue_stays() {
        let second = ATOM.replace("ALEU", "BLEU").replace("0.40", "0.60");
        let other = ATOM.replace("  12 ", "  13 ").replace("0.40", "0.50");
        let equal = other.replace("ALEU", "BLEU");
        let file = [ATOM, &second, &other, &equal, "TER\n"].concat();
        let (text, dropped) = one_structure(file.as_bytes());
        let expected = [
            second.replace("BLEU", " LEU"),
            other.replace("ALEU", " LEU"),
            "TER\n".to_owned(),
        ];
        assert_eq!(String::from_utf8_lossy(&text), expected.concat());
        assert_eq!(dropped.alternate_atoms, 2);
    }

    #[test]
    fn charges_are_blanked_in_place() {
        let plain = ATOM.replace("ALEU", " LEU");
        let charged = plain.replace("C\n", "N1+\r\n");
        let file = [charged.as_str(), &plain].concat();
        let (text, _) = one_structure(file.as_bytes());
        let expected = [plain.replace("C\n", "N  \r\n"), plain].concat();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    #[test]
    fn only_the_first_model_stays_even_without_endmdl() {
        let plain = ATOM.replace("ALEU", " LEU");
        let file = format!("MODEL        1\n{plain}MODEL        2\n{plain}");
        let (text, dropped) = one_structure(file.as_bytes());
        assert_eq!(&*text, format!("MODEL        1\n{plain}").as_bytes());
        assert_eq!(dropped.models, 1);
    }
}
