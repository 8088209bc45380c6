//! MDL molfiles, V3000: free-form lines behind `M  V30 `.

use std::collections::HashMap;

use crate::fault::{Fault, quoted};
use crate::model::{Atom, AtomKind, Molecule, ShortText};
use crate::molfile::{BondSet, Extras, make_bond, set_symbol, unpaired};
use crate::read::{Context, number, number_fault};

/// Reads from behind the counts line; also the index of the line after `M  END`.
pub(crate) fn read_table(
    lines: &[&[u8]],
    context: &mut Context<'_>,
) -> Result<(Molecule, Extras, usize), Fault> {
    let mut table = Table::default();
    let mut at = 4;
    loop {
        let Some(line) = lines.get(at) else {
            if table.ended {
                context.warn_at(
                    at.saturating_sub(1),
                    "no_m_end",
                    "table ends without 'M  END'",
                );
                break;
            }
            return Err(context.fault_at(
                at.saturating_sub(1),
                "truncated",
                table.what_is_missing(),
            ));
        };
        if line.starts_with(b"M  END") {
            at += 1;
            break;
        }
        if line.starts_with(b"$$$$") {
            if !table.ended {
                return Err(context.fault_at(at, "truncated", table.what_is_missing()));
            }
            break;
        }
        let Some(rest) = line.strip_prefix(b"M  V30") else {
            if !line.trim_ascii().is_empty() {
                context.warn_at(
                    at,
                    "unknown_property",
                    format!("line is not of a V3000 table: {}", quoted(line)),
                );
            }
            at += 1;
            continue;
        };
        let first = at;
        let mut whole = rest.to_vec();
        at += 1;
        // A dash at the end joins the next line; a record is bounded, so the joined line is too.
        while whole.trim_ascii_end().ends_with(b"-") {
            let Some(next) = lines.get(at).and_then(|next| next.strip_prefix(b"M  V30")) else {
                break;
            };
            whole.truncate(whole.trim_ascii_end().len() - 1);
            whole.extend_from_slice(next.strip_prefix(b" ").unwrap_or(next));
            at += 1;
        }
        table.line(&String::from_utf8_lossy(&whole), first, context)?;
    }
    if !table.ended {
        return Err(context.fault_at(at.saturating_sub(1), "truncated", table.what_is_missing()));
    }
    table.finish(context, at.saturating_sub(1))?;
    Ok((table.molecule, table.extras, at))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Block {
    #[default]
    Outside,
    Table,
    Atoms,
    Bonds,
    /// A block we do not read, with how many blocks are open inside it.
    Skipped(u32),
}

#[derive(Debug, Default)]
struct Table {
    molecule: Molecule,
    extras: Extras,
    block: Block,
    counts: Option<(usize, usize)>,
    /// Atom number of the file to index.
    indexes: HashMap<u32, u32>,
    seen: BondSet,
    bonds_read: usize,
    ended: bool,
}

impl Table {
    fn what_is_missing(&self) -> String {
        let (atoms, bonds) = self.counts.unwrap_or_default();
        match self.block {
            Block::Atoms => format!("ends after {} of {atoms} atoms", self.molecule.atoms.len()),
            Block::Bonds => format!("ends after {} of {bonds} bonds", self.bonds_read),
            _ => "ends before the end of the connection table".to_owned(),
        }
    }

    fn line(&mut self, line: &str, at: usize, context: &mut Context<'_>) -> Result<(), Fault> {
        let words = words(line);
        let word = |index: usize| words.get(index).map_or("", String::as_str);
        match (self.block, word(0), word(1)) {
            (Block::Skipped(0), "END", _) => self.block = Block::Table,
            (Block::Skipped(depth), "END", _) => self.block = Block::Skipped(depth - 1),
            (Block::Skipped(depth), "BEGIN", _) => {
                self.block = Block::Skipped(depth.saturating_add(1))
            }
            (Block::Skipped(_), ..) => {}
            (Block::Outside, "BEGIN", "CTAB") if !self.ended => self.block = Block::Table,
            (Block::Outside, "BEGIN", name) | (Block::Table, "BEGIN", name)
                if !matches!(name, "ATOM" | "BOND") =>
            {
                context.warn_at(
                    at,
                    "block_ignored",
                    format!("block {} is ignored", quoted(name.as_bytes())),
                );
                self.block = Block::Skipped(0);
            }
            (Block::Table, "COUNTS", _) => {
                let (Ok(atoms), Ok(bonds)) = (word(1).parse::<usize>(), word(2).parse::<usize>())
                else {
                    let message =
                        format!("counts line holds no numbers: {}", quoted(line.as_bytes()));
                    return Err(context.fault_at(at, "bad_counts", message));
                };
                if atoms > context.limits.atoms_max || bonds > context.limits.bonds_max {
                    let message = format!("{atoms} atoms are more than this reader takes");
                    return Err(context.fault_at(at, "too_many_atoms", message));
                }
                self.counts = Some((atoms, bonds));
            }
            (Block::Table, "BEGIN", "ATOM") => self.block = Block::Atoms,
            (Block::Table, "BEGIN", "BOND") => self.block = Block::Bonds,
            (Block::Atoms, "END", _) | (Block::Bonds, "END", _) => self.block = Block::Table,
            (Block::Table, "END", "CTAB") => {
                self.block = Block::Outside;
                self.ended = true;
            }
            (Block::Atoms, ..) => self.atom(&words, line, at, context)?,
            (Block::Bonds, ..) => self.bond(&words, line, at, context)?,
            (Block::Table, "LINKNODE", _) => {}
            _ => context.warn_at(
                at,
                "unknown_property",
                format!("unknown line: {}", quoted(line.as_bytes())),
            ),
        }
        Ok(())
    }

    fn atom(
        &mut self,
        words: &[String],
        line: &str,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let (announced, _) = self.counts.ok_or_else(|| {
            context.fault_at(at, "bad_counts", "atoms stand before the counts line")
        })?;
        if self.molecule.atoms.len() >= announced {
            let message =
                format!("there are more than the {announced} atoms that the counts line promises");
            return Err(context.fault_at(at, "wrong_count", message));
        }
        let [number_word, symbol, x, y, z, rest @ ..] = words else {
            return Err(context.fault_at(
                at,
                "bad_atom",
                format!("is no atom line: {}", quoted(line.as_bytes())),
            ));
        };
        let serial: u32 = number_word.parse().map_err(|_| {
            context.fault_at(
                at,
                "bad_atom",
                format!("is no atom line: {}", quoted(line.as_bytes())),
            )
        })?;
        let mut position = [0.0; 3];
        for ((slot, part), axis) in position.iter_mut().zip([x, y, z]).zip(["x", "y", "z"]) {
            *slot = number(part).ok_or_else(|| {
                let message = format!(
                    "{axis} of atom {serial} {}: {}",
                    number_fault(part),
                    quoted(part.as_bytes())
                );
                context.fault_at(at, "bad_coordinate", message)
            })?;
        }
        let mut atom = Atom {
            position,
            name: ShortText::new(symbol),
            serial: Some(serial),
            ..Atom::default()
        };
        if symbol.starts_with('[') || symbol == "NOT" {
            atom.kind = AtomKind::Query;
        } else {
            set_symbol(&mut atom, symbol).map_err(|message| {
                context.fault_at(at, "unknown_element", format!("atom {serial}: {message}"))
            })?;
        }
        let (mut radical, mut fixed) = (0, None);
        for option in rest {
            let Some((key, value)) = option.split_once('=') else {
                continue;
            };
            match key {
                "CHG" => match value
                    .parse::<i8>()
                    .ok()
                    .filter(|charge| (-15..=15).contains(charge))
                {
                    Some(charge) => atom.formal_charge = charge,
                    None => {
                        let message =
                            format!("charge of atom {serial} is {}", quoted(value.as_bytes()));
                        context.error_at(at, "bad_property", message);
                    }
                },
                "MASS" => atom.isotope = value.parse().unwrap_or(0),
                "RAD" => radical = unpaired(value.parse().unwrap_or(0)),
                "VAL" => {
                    fixed = match value.parse::<i8>() {
                        Ok(-1) => Some(0),
                        Ok(valence @ 1..=14) => u8::try_from(valence).ok(),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        let index = u32::try_from(self.molecule.atoms.len()).unwrap_or(u32::MAX);
        if self.indexes.insert(serial, index).is_some() {
            context.error_at(
                at,
                "duplicate_atom",
                format!("atom number {serial} occurs twice"),
            );
        }
        self.molecule.atoms.push(atom);
        self.extras.unpaired.push(radical);
        self.extras.fixed_valence.push(fixed);
        Ok(())
    }

    fn bond(
        &mut self,
        words: &[String],
        line: &str,
        at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Fault> {
        let numbers: Vec<Option<u32>> =
            words.iter().take(4).map(|word| word.parse().ok()).collect();
        let [Some(serial), Some(order), Some(a), Some(b)] = numbers.as_slice() else {
            return Err(context.fault_at(
                at,
                "bad_bond",
                format!("is no bond line: {}", quoted(line.as_bytes())),
            ));
        };
        self.bonds_read += 1;
        if self.bonds_read > self.counts.unwrap_or_default().1 {
            return Err(context.fault_at(
                at,
                "wrong_count",
                "there are more bonds than the counts line promises",
            ));
        }
        let mut ends = [0; 2];
        for (end, number) in ends.iter_mut().zip([a, b]) {
            let Some(index) = self.indexes.get(number) else {
                let message = format!("bond {serial} names atom {number}, which does not exist");
                context.error_at(at, "bond_to_missing_atom", message);
                return Ok(());
            };
            *end = index + 1;
        }
        let stereo = words
            .iter()
            .filter_map(|word| word.strip_prefix("CFG="))
            .next_back()
            .and_then(|value| value.parse().ok());
        // V3000 numbers wedges 1 up, 2 either, 3 down.
        let stereo = match stereo.unwrap_or(0_u8) {
            1 => 1,
            2 => 4,
            3 => 6,
            _ => 0,
        };
        let index = (*serial as usize).saturating_sub(1);
        if let Some(bond) = make_bond(
            ends,
            *order,
            stereo,
            at,
            index,
            self.molecule.atoms.len(),
            context,
        )? {
            if self.seen.insert(&bond) {
                self.molecule.bonds.push(bond);
            } else {
                context.error_at(
                    at,
                    "duplicate_bond",
                    format!("atoms {a} and {b} are bonded twice"),
                );
            }
        }
        Ok(())
    }

    fn finish(&self, context: &Context<'_>, at: usize) -> Result<(), Fault> {
        let Some((atoms, bonds)) = self.counts else {
            return Err(context.fault_at(at, "bad_counts", "table has no counts line"));
        };
        if self.molecule.atoms.len() != atoms {
            let message = format!(
                "counts line promises {atoms} atoms, {} are there",
                self.molecule.atoms.len()
            );
            return Err(context.fault_at(at, "wrong_count", message));
        }
        if self.bonds_read != bonds {
            let message = format!(
                "counts line promises {bonds} bonds, {} are there",
                self.bonds_read
            );
            return Err(context.fault_at(at, "wrong_count", message));
        }
        Ok(())
    }
}

/// Splits at blanks outside of parentheses, brackets and quotes. Nesting has no meaning in the
/// format, so a flag each is enough.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut closing, mut quoted) = (None, false);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            '(' if !quoted && closing.is_none() => closing = Some(')'),
            '[' if !quoted && closing.is_none() => closing = Some(']'),
            _ if !quoted && closing == Some(character) => closing = None,
            _ => {}
        }
        if character.is_ascii_whitespace() && !quoted && closing.is_none() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
