//! SDF records: a molfile, data items, and `$$$$`.

use crate::fault::{Fault, quoted};
use crate::lines::split_lines;
use crate::model::Molecule;
use crate::molfile;
use crate::read::{Context, text};

/// Reads one record, with or without its `$$$$` line.
pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let lines = split_lines(record);
    let (mut molecule, end) = molfile::read_table(&lines, context)?;
    molecule.properties = read_data(&lines, end, context);
    Ok(molecule)
}

fn read_data(lines: &[&[u8]], start: usize, context: &mut Context<'_>) -> Vec<(String, String)> {
    let mut properties = Vec::new();
    let mut open: Option<(String, Vec<&[u8]>)> = None;
    let mut stray_reported = false;
    for (at, line) in lines.iter().enumerate().skip(start) {
        if line.starts_with(b"$$$$") {
            break;
        }
        // A value line may begin with '>', too: only `> <` or `>  ` after a blank opens an item.
        if let Some((_, values)) = &mut open {
            if !line.trim_ascii().is_empty() {
                values.push(line);
                continue;
            }
            properties.extend(open.take().map(joined));
            continue;
        }
        if line.starts_with(b">") {
            if properties.len() >= context.limits.properties_max {
                context.warn_at(at, "too_many_properties", "further data items are left out");
                break;
            }
            let name = header_name(line).unwrap_or_else(|| {
                let message = format!("data item has no name in <...>: {}", quoted(line));
                context.warn_at(at, "bad_data_header", message);
                String::new()
            });
            open = Some((name, Vec::new()));
        } else if !line.trim_ascii().is_empty() && !std::mem::replace(&mut stray_reported, true) {
            context.warn_at(
                at,
                "stray_text",
                format!("text outside of a data item is ignored: {}", quoted(line)),
            );
        }
    }
    properties.extend(open.map(joined));
    properties.retain(|(name, _)| !name.is_empty());
    properties
}

fn header_name(line: &[u8]) -> Option<String> {
    let open = line.iter().position(|byte| *byte == b'<')?;
    let close = line
        .iter()
        .rposition(|byte| *byte == b'>')
        .filter(|close| *close > open)?;
    Some(text(line.get(open + 1..close)?)).filter(|name| !name.is_empty())
}

fn joined((name, values): (String, Vec<&[u8]>)) -> (String, String) {
    (name, text(&values.join(&b'\n')))
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
    use crate::{Format, read_molecule};

    #[test]
    fn data_items_are_read_and_bad_ones_warned_of() {
        let text = "t\n\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n    1.0000    0.0000    0.0000 C   0  0\nM  END\n> 25 <pIC50> (1)\n7.1\n> not a header\n\nstray\n>  <empty>\n\n>  <broken\nx\n\n$$$$\n";
        let (molecule, warnings) = read_molecule(text.as_bytes(), Format::Sdf).unwrap();
        let expected = [("pIC50", "7.1\n> not a header"), ("empty", "")];
        assert_eq!(
            molecule.properties,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        let found: Vec<_> = warnings
            .iter()
            .map(|fault| (fault.code, fault.line))
            .collect();
        assert_eq!(
            found,
            [("stray_text", Some(11)), ("bad_data_header", Some(14))]
        );
    }
}
