//! XYZ files: a number of atoms, a comment, and a symbol with coordinates per line.

use crate::element::Element;
use crate::fault::{Fault, quoted};
use crate::lines::split_lines;
use crate::model::{Atom, Molecule, ShortText};
use crate::read::{Context, check_title, dimensions_of, number, number_fault, text};

pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let lines = split_lines(record);
    let count_line = lines.first().copied().unwrap_or_default();
    let Some(count) = std::str::from_utf8(count_line)
        .ok()
        .and_then(|line| line.trim().parse::<usize>().ok())
    else {
        let message = format!("first line is no number of atoms: {}", quoted(count_line));
        return Err(context.fault_at(0, "bad_counts", message));
    };
    if count == 0 {
        return Err(context.fault_at(0, "no_atoms", "the molecule has no atoms"));
    }
    if count > context.limits.atoms_max {
        return Err(context.fault_at(
            0,
            "too_many_atoms",
            format!("{count} atoms are more than this reader takes"),
        ));
    }
    let title = text(lines.get(1).copied().unwrap_or_default());
    check_title(&title, context);
    let mut molecule = Molecule {
        title,
        models: 1,
        ..Molecule::default()
    };
    for index in 0..count {
        let at = index + 2;
        let Some(line) = lines.get(at) else {
            let message = format!("ends after {index} of {count} atoms");
            return Err(context.fault_at(lines.len().saturating_sub(1), "truncated", message));
        };
        molecule.atoms.push(read_atom(line, at, index, context)?);
    }
    molecule.dimensions = dimensions_of(&molecule);
    Ok(molecule)
}

fn read_atom(line: &[u8], at: usize, index: usize, context: &Context<'_>) -> Result<Atom, Fault> {
    let whole = String::from_utf8_lossy(line);
    let words: Vec<&str> = whole.split_ascii_whitespace().collect();
    let [symbol, x, y, z, ..] = words.as_slice() else {
        let message = format!("should be atom {} but is {}", index + 1, quoted(line));
        return Err(context.fault_at(at, "bad_atom", message));
    };
    let element = Element::from_symbol_any_case(symbol)
        .or_else(|| symbol.parse().ok().and_then(Element::from_number))
        .ok_or_else(|| {
            let message = format!(
                "atom {}: there is no element {}",
                index + 1,
                quoted(symbol.as_bytes())
            );
            context.fault_at(at, "unknown_element", message)
        })?;
    let mut position = [0.0; 3];
    for ((slot, part), axis) in position.iter_mut().zip([x, y, z]).zip(["x", "y", "z"]) {
        *slot = number(part).ok_or_else(|| {
            let message = format!(
                "{axis} of atom {} {}: {}",
                index + 1,
                number_fault(part),
                quoted(part.as_bytes())
            );
            context.fault_at(at, "bad_coordinate", message)
        })?;
    }
    Ok(Atom {
        position,
        element: Some(element),
        name: ShortText::new(element.symbol()),
        ..Atom::default()
    })
}

/// Whether a line is a symbol with three numbers, for sniffing.
pub(crate) fn is_atom_line(line: &[u8]) -> bool {
    let mut words = std::str::from_utf8(line)
        .unwrap_or("")
        .split_ascii_whitespace();
    let starts = words.next().is_some_and(|symbol| {
        symbol.len() <= 3 && symbol.bytes().all(|byte| byte.is_ascii_alphanumeric())
    });
    starts
        && words
            .take(3)
            .filter(|word| word.parse::<f64>().is_ok())
            .count()
            == 3
}
