//! MDL molfiles, V2000; V3000 is handed on.
//!
//! The counts line rules: a file with more or fewer lines than it announces is refused. Fields are
//! read by column, as numbers of three digits touch; only where that fails are they read as words.
//! Hydrogens that are not drawn are counted by the usual valences, less the electrons that a
//! radical leaves unpaired.

use crate::element::Element;
use crate::fault::{Fault, quoted};
use crate::graph::Neighbours;
use crate::lines::split_lines;
use crate::model::{Atom, AtomKind, Bond, BondOrder, Dimensions, Molecule, ShortText};
use crate::read::{
    Context, check_title, columns, dimensions_of, field, number, number_fault, text,
};
use crate::{kekule, v3000, valence};

/// Reads one molfile that ends at `M  END`, with at most blank lines or data items behind.
pub(crate) fn read(record: &[u8], context: &mut Context<'_>) -> Result<Molecule, Fault> {
    let lines = split_lines(record);
    read_table(&lines, context).map(|(molecule, _)| molecule)
}

/// What a connection table says beside its atoms.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// Unpaired electrons of radicals, by atom.
    pub(crate) unpaired: Vec<u8>,
    /// Total valence where the file fixes it, by atom.
    pub(crate) fixed_valence: Vec<Option<u8>>,
}

impl Extras {
    pub(crate) fn new(atoms: usize) -> Extras {
        Extras {
            unpaired: vec![0; atoms],
            fixed_valence: vec![None; atoms],
        }
    }
}

/// Reads the header and the connection table; also the index of the line after `M  END`.
pub(crate) fn read_table(
    lines: &[&[u8]],
    context: &mut Context<'_>,
) -> Result<(Molecule, usize), Fault> {
    if lines.iter().all(|line| line.trim_ascii().is_empty()) {
        return Err(context.fault_at(0, "empty_record", "holds no molecule, only blank lines"));
    }
    let counts_line = lines
        .get(3)
        .ok_or_else(|| context.fault_at(lines.len(), "truncated", "ends before the counts line"))?;
    let title = text(lines.first().copied().unwrap_or_default());
    check_title(&title, context);
    let version = field(counts_line, 35, 39);
    let declared = field(lines.get(1).copied().unwrap_or_default(), 21, 22).to_owned();
    let is_v3000 = version == "V3000" || counts_line.trim_ascii_end().ends_with(b"V3000");
    let (mut molecule, extras, end) = if is_v3000 {
        v3000::read_table(lines, context)?
    } else {
        read_v2000(lines, counts_line, context)?
    };
    molecule.title = title;
    molecule.models = 1;
    molecule.has_bond_orders = true;
    molecule.dimensions = dimensions_of(&molecule);
    finish(&mut molecule, &extras, context);
    if declared == "3D" && molecule.dimensions == Dimensions::Two && molecule.atoms.len() > 3 {
        let message = "header says 3D but all z coordinates are the same; 3D coordinates must be made before docking";
        context.warn_at(1, "flat_coordinates", message);
    }
    Ok((molecule, end))
}

/// Counts hydrogens and judges valences; shared by both versions of the table.
fn finish(molecule: &mut Molecule, extras: &Extras, context: &mut Context<'_>) {
    let neighbours = Neighbours::new(molecule.atoms.len(), &molecule.bonds);
    for bond in &molecule.bonds {
        if bond.order == BondOrder::Aromatic {
            for end in [bond.a, bond.b] {
                if let Some(atom) = molecule.atoms.get_mut(end as usize) {
                    atom.aromatic = true;
                }
            }
        }
    }
    valence::add_implicit_hydrogens(molecule, &neighbours, |_| true);
    for (index, atom) in molecule.atoms.iter_mut().enumerate() {
        let unpaired = extras.unpaired.get(index).copied().unwrap_or(0);
        atom.implicit_hydrogens = atom.implicit_hydrogens.saturating_sub(unpaired);
    }
    for (index, fixed) in extras.fixed_valence.iter().enumerate() {
        if let Some(fixed) = fixed {
            let sum = valence::BondSum::of(molecule, &neighbours, index);
            let taken = sum.sigma_and_pi + u32::from(sum.aromatic >= 2);
            if let Some(atom) = molecule.atoms.get_mut(index) {
                atom.implicit_hydrogens =
                    u8::try_from(u32::from(*fixed).saturating_sub(taken)).unwrap_or(0);
            }
        }
    }
    valence::check(molecule, &neighbours, &mut context.faults);
    if let Some(first) = kekule::unplaceable(molecule, &neighbours, false) {
        let message = format!(
            "double bonds of the aromatic ring of {} cannot be placed",
            valence::name(molecule, first)
        );
        context.warn("not_kekulizable", message);
    }
}

fn read_v2000(
    lines: &[&[u8]],
    counts_line: &[u8],
    context: &mut Context<'_>,
) -> Result<(Molecule, Extras, usize), Fault> {
    let counts = Counts::read(counts_line, context)?;
    let mut molecule = Molecule {
        atoms: Vec::with_capacity(counts.atoms),
        ..Molecule::default()
    };
    let mut extras = Extras::new(counts.atoms);
    let mut at = 4;
    for index in 0..counts.atoms {
        let line = table_line(
            lines,
            at,
            &format!("atom {} of {}", index + 1, counts.atoms),
            context,
        )?;
        let (atom, fixed) = read_atom(line, at, index, &counts, context)?;
        if let Some(slot) = extras.fixed_valence.get_mut(index) {
            *slot = fixed;
        }
        molecule.atoms.push(atom);
        at += 1;
    }
    molecule.bonds.reserve_exact(counts.bonds);
    let mut seen = BondSet::with_capacity(counts.bonds);
    for index in 0..counts.bonds {
        let line = table_line(
            lines,
            at,
            &format!("bond {} of {}", index + 1, counts.bonds),
            context,
        )?;
        if let Some(bond) = read_bond(line, at, index, counts.atoms, context)? {
            if seen.insert(&bond) {
                molecule.bonds.push(bond);
            } else {
                let message = format!("atoms {} and {} are bonded twice", bond.a + 1, bond.b + 1);
                context.error_at(at, "duplicate_bond", message);
            }
        }
        at += 1;
    }
    // Atom lists of the old style: ` 2 F    2  35  53`.
    for _ in 0..counts.lists {
        let line = table_line(lines, at, "an atom list", context)?;
        if let Some(atom) = field(line, 1, 3)
            .parse::<usize>()
            .ok()
            .and_then(|n| molecule.atoms.get_mut(n.wrapping_sub(1)))
        {
            atom.kind = AtomKind::Query;
        }
        at += 1;
    }
    at += 2 * counts.texts;
    let end = read_properties(lines, at, &mut molecule, &mut extras, context)?;
    Ok((molecule, extras, end))
}

struct Counts {
    atoms: usize,
    bonds: usize,
    lists: usize,
    texts: usize,
}

impl Counts {
    fn read(line: &[u8], context: &mut Context<'_>) -> Result<Counts, Fault> {
        let fixed = |from, to| match field(line, from, to) {
            "" => Some(0),
            digits => digits.parse::<usize>().ok(),
        };
        let words: Vec<&str> = std::str::from_utf8(line)
            .unwrap_or("")
            .split_ascii_whitespace()
            .collect();
        let (atoms, bonds) = match (fixed(1, 3), fixed(4, 6)) {
            (Some(atoms), Some(bonds)) if !columns(line, 1, 3).trim_ascii().is_empty() => {
                (atoms, bonds)
            }
            _ => {
                let word =
                    |index: usize| words.get(index).and_then(|word| word.parse::<usize>().ok());
                let (Some(atoms), Some(bonds)) = (word(0), word(1)) else {
                    let message = format!(
                        "counts line holds no numbers of atoms and bonds: {}",
                        quoted(line)
                    );
                    return Err(context.fault_at(3, "bad_counts", message));
                };
                context.warn_at(
                    3,
                    "counts_spacing",
                    "counts line is not in columns; read as words",
                );
                (atoms, bonds)
            }
        };
        let version = field(line, 35, 39);
        if version.is_empty() && !words.iter().any(|word| word.ends_with("V2000")) {
            context.warn_at(
                3,
                "no_version",
                "counts line names no version; read as V2000",
            );
        }
        if atoms > context.limits.atoms_max || bonds > context.limits.bonds_max {
            return Err(context.fault_at(
                3,
                "too_many_atoms",
                format!("{atoms} atoms are more than this reader takes"),
            ));
        }
        Ok(Counts {
            atoms,
            bonds,
            lists: fixed(7, 9).unwrap_or(0),
            texts: fixed(16, 18).unwrap_or(0),
        })
    }
}

/// A line of the table; faults when the record or the table ends before it.
fn table_line<'a>(
    lines: &[&'a [u8]],
    at: usize,
    what: &str,
    context: &Context<'_>,
) -> Result<&'a [u8], Fault> {
    let Some(line) = lines.get(at) else {
        return Err(context.fault_at(
            lines.len().saturating_sub(1),
            "truncated",
            format!("ends before {what}"),
        ));
    };
    if line.starts_with(b"M  END") || line.starts_with(b"$$$$") {
        let message = format!(
            "{} stands where {what} should be; the counts line promises more",
            quoted(line)
        );
        return Err(context.fault_at(at, "wrong_count", message));
    }
    Ok(line)
}

fn read_atom(
    line: &[u8],
    at: usize,
    index: usize,
    counts: &Counts,
    context: &mut Context<'_>,
) -> Result<(Atom, Option<u8>), Fault> {
    let words: Vec<&str>;
    let mut parts = [
        field(line, 1, 10),
        field(line, 11, 20),
        field(line, 21, 30),
        field(line, 32, 34),
    ];
    let [.., symbol] = parts;
    let in_columns = parts.iter().take(3).all(|part| part.parse::<f64>().is_ok())
        && !symbol.is_empty()
        && !symbol.contains(|c: char| c.is_whitespace());
    if !in_columns {
        words = std::str::from_utf8(line)
            .unwrap_or("")
            .split_ascii_whitespace()
            .collect();
        let (Some(x), Some(y), Some(z), Some(symbol)) =
            (words.first(), words.get(1), words.get(2), words.get(3))
        else {
            let message = format!(
                "should be atom {} of {} but is {}",
                index + 1,
                counts.atoms,
                quoted(line)
            );
            return Err(context.fault_at(at, "wrong_count", message));
        };
        if symbol.starts_with(|c: char| c.is_ascii_digit()) {
            let message = format!(
                "should be atom {} of {} but is {}",
                index + 1,
                counts.atoms,
                quoted(line)
            );
            return Err(context.fault_at(at, "wrong_count", message));
        }
        parts = [x, y, z, symbol];
    }
    let [x, y, z, symbol] = parts;
    let mut position = [0.0; 3];
    for ((slot, part), axis) in position.iter_mut().zip([x, y, z]).zip(["x", "y", "z"]) {
        match number(part) {
            Some(value) => *slot = value,
            None => {
                let message = format!(
                    "{axis} of atom {} {}: {}",
                    index + 1,
                    number_fault(part),
                    quoted(part.as_bytes())
                );
                return Err(context.fault_at(at, "bad_coordinate", message));
            }
        }
    }
    if !in_columns {
        context.warn_at(
            at,
            "atom_spacing",
            format!("atom {} is not in columns; read as words", index + 1),
        );
    }
    let mut atom = Atom {
        position,
        name: ShortText::new(symbol),
        ..Atom::default()
    };
    set_symbol(&mut atom, symbol).map_err(|message| {
        context.fault_at(
            at,
            "unknown_element",
            format!("atom {}: {message}", index + 1),
        )
    })?;
    let charge_code = if in_columns { field(line, 37, 39) } else { "" };
    atom.formal_charge = match charge_code {
        "1" => 3,
        "2" => 2,
        "3" => 1,
        "5" => -1,
        "6" => -2,
        "7" => -3,
        _ => 0,
    };
    let fixed = match field(line, 49, 51).parse::<u8>() {
        Ok(15) => Some(0),
        Ok(valence @ 1..=14) => Some(valence),
        _ => None,
    };
    Ok((atom, fixed.filter(|_| in_columns)))
}

/// Sets what the symbol of an atom line says, shared by both versions of the table.
pub(crate) fn set_symbol(atom: &mut Atom, symbol: &str) -> Result<(), String> {
    if let Some(element) = Element::from_symbol(symbol) {
        atom.element = Some(element);
        return Ok(());
    }
    atom.kind = match symbol {
        "D" | "T" => {
            atom.element = Some(Element::H);
            atom.isotope = if symbol == "D" { 2 } else { 3 };
            return Ok(());
        }
        "*" | "Du" | "DU" => AtomKind::Dummy,
        "A" | "AH" | "Q" | "QH" | "L" | "M" | "MH" | "X" | "XH" => AtomKind::Query,
        "LP" | "Lp" | "lp" => AtomKind::LonePair,
        _ => {
            let digits = symbol.strip_prefix('R');
            if digits
                .is_some_and(|rest| rest == "#" || rest.bytes().all(|byte| byte.is_ascii_digit()))
            {
                AtomKind::RGroup
            } else if let Some(element) = Element::from_symbol_any_case(symbol) {
                atom.element = Some(element);
                AtomKind::Real
            } else {
                return Err(format!("there is no element {}", quoted(symbol.as_bytes())));
            }
        }
    };
    Ok(())
}

/// A bond, or none where a fault was reported that lets reading go on.
fn read_bond(
    line: &[u8],
    at: usize,
    index: usize,
    atoms: usize,
    context: &mut Context<'_>,
) -> Result<Option<Bond>, Fault> {
    let fixed = [field(line, 1, 3), field(line, 4, 6), field(line, 7, 9)]
        .map(|part| part.parse::<u32>().ok());
    let [a, b, order] = match fixed {
        [Some(a), Some(b), Some(order)] => [a, b, order],
        _ => {
            let words: Vec<Option<u32>> = std::str::from_utf8(line)
                .unwrap_or("")
                .split_ascii_whitespace()
                .take(3)
                .map(|word| word.parse().ok())
                .collect();
            let [Some(a), Some(b), Some(order)] = words.as_slice() else {
                let message = format!("should be bond {} but is {}", index + 1, quoted(line));
                return Err(context.fault_at(at, "wrong_count", message));
            };
            context.warn_at(
                at,
                "bond_spacing",
                format!("bond {} is not in columns; read as words", index + 1),
            );
            [*a, *b, *order]
        }
    };
    let stereo = field(line, 10, 12).parse().unwrap_or(0);
    make_bond([a, b], order, stereo, at, index, atoms, context)
}

/// Checks and makes a bond of numbers counted from 1; shared by both versions of the table.
pub(crate) fn make_bond(
    [a, b]: [u32; 2],
    order: u32,
    stereo: u8,
    at: usize,
    index: usize,
    atoms: usize,
    context: &mut Context<'_>,
) -> Result<Option<Bond>, Fault> {
    for end in [a, b] {
        if end == 0 || end as usize > atoms {
            let message = format!(
                "bond {} names atom {end}, but there are {atoms} atoms",
                index + 1
            );
            context.error_at(at, "bond_to_missing_atom", message);
            return Ok(None);
        }
    }
    if a == b {
        context.error_at(
            at,
            "self_bond",
            format!("bond {} joins atom {a} to itself", index + 1),
        );
        return Ok(None);
    }
    let order = match order {
        1 => BondOrder::Single,
        2 => BondOrder::Double,
        3 => BondOrder::Triple,
        4 => BondOrder::Aromatic,
        5..=8 => {
            context.warn_at(
                at,
                "query_bond",
                format!("bond {} is a query bond", index + 1),
            );
            BondOrder::Query
        }
        0 | 9 => {
            context.warn_at(
                at,
                "coordination_bond",
                format!("bond {} has type {order}; read as coordination", index + 1),
            );
            BondOrder::Dative
        }
        10 => BondOrder::Hydrogen,
        _ => {
            context.error_at(
                at,
                "bad_bond_order",
                format!("bond {} has unknown type {order}", index + 1),
            );
            return Ok(None);
        }
    };
    Ok(Some(Bond {
        a: a - 1,
        b: b - 1,
        order,
        stereo,
    }))
}

/// Pairs of atoms that are bonded already.
#[derive(Debug, Default)]
pub(crate) struct BondSet(std::collections::HashSet<(u32, u32)>);

impl BondSet {
    pub(crate) fn with_capacity(bonds: usize) -> BondSet {
        BondSet(std::collections::HashSet::with_capacity(bonds))
    }

    /// Whether the pair is new.
    pub(crate) fn insert(&mut self, bond: &Bond) -> bool {
        self.0.insert((bond.a.min(bond.b), bond.a.max(bond.b)))
    }
}

/// Reads the property block up to `M  END`; gives the index of the line behind it.
fn read_properties(
    lines: &[&[u8]],
    mut at: usize,
    molecule: &mut Molecule,
    extras: &mut Extras,
    context: &mut Context<'_>,
) -> Result<usize, Fault> {
    let mut charges_reset = false;
    while let Some(line) = lines.get(at) {
        at += 1;
        if line.starts_with(b"M  END") {
            return Ok(at);
        }
        if line.starts_with(b"$$$$") || line.starts_with(b">") {
            context.warn_at(at - 1, "no_m_end", "table ends without 'M  END'");
            return Ok(at - 1);
        }
        match columns(line, 1, 6) {
            b"M  CHG" | b"M  RAD" => {
                // The first of these lines takes back all charges of the atom block.
                if !std::mem::replace(&mut charges_reset, true) {
                    molecule
                        .atoms
                        .iter_mut()
                        .for_each(|atom| atom.formal_charge = 0);
                }
                let is_charge = columns(line, 4, 6) == b"CHG";
                for (atom, value) in pairs(line, at - 1, molecule.atoms.len(), context)? {
                    if is_charge {
                        match i8::try_from(value)
                            .ok()
                            .filter(|charge| (-15..=15).contains(charge))
                        {
                            Some(charge) => {
                                if let Some(atom) = molecule.atoms.get_mut(atom) {
                                    atom.formal_charge = charge;
                                }
                            }
                            None => {
                                let message =
                                    format!("charge {value} of atom {} is out of range", atom + 1);
                                context.error_at(at - 1, "bad_property", message);
                            }
                        }
                    } else if let Some(slot) = extras.unpaired.get_mut(atom) {
                        *slot = unpaired(value);
                    }
                }
            }
            b"M  ISO" => {
                for (atom, value) in pairs(line, at - 1, molecule.atoms.len(), context)? {
                    if let (Some(atom), Ok(mass)) =
                        (molecule.atoms.get_mut(atom), u16::try_from(value))
                    {
                        atom.isotope = mass;
                    }
                }
            }
            b"M  ALS" => {
                if let Some(atom) = field(line, 8, 10)
                    .parse::<usize>()
                    .ok()
                    .and_then(|n| molecule.atoms.get_mut(n.wrapping_sub(1)))
                {
                    atom.kind = AtomKind::Query;
                }
            }
            // Their text stands on the next line.
            [b'A' | b'G', b' ', b' ', ..] => at += 1,
            [b'V', b' ', ..] => {}
            [b'M', b' ', b' ', ..] if KNOWN_PROPERTIES.contains(&columns(line, 4, 6)) => {}
            [b'S', b' ', b' ', b'S', b'K', b'P'] => {
                let message =
                    "'S  SKP' asks to skip lines; it is ignored, as it could hide whole records";
                context.warn_at(at - 1, "skip_ignored", message);
            }
            _ if line.trim_ascii().is_empty() => {}
            _ => context.warn_at(
                at - 1,
                "unknown_property",
                format!("unknown line in the property block: {}", quoted(line)),
            ),
        }
    }
    context.warn_at(
        lines.len().saturating_sub(1),
        "no_m_end",
        "table ends without 'M  END'",
    );
    Ok(at)
}

/// Properties without meaning for what we read: R-groups, S-groups, link nodes and the like.
#[rustfmt::skip]
const KNOWN_PROPERTIES: &[&[u8]] = &[
    b"RGP", b"LOG", b"LIN", b"SUB", b"UNS", b"RBC", b"APO", b"AAL", b"STY", b"SST", b"SLB", b"SCN", b"SDS", b"SAL",
    b"SBL", b"SPA", b"SMT", b"CRS", b"SDI", b"SBV", b"SDT", b"SDD", b"SCD", b"SED", b"SPL", b"SNC", b"SAP", b"SCL",
    b"REG", b"$3D", b"ZBO", b"ZCH", b"HYD", b"PXA", b"BSA", b"SBT", b"MRV",
];

/// Unpaired electrons of a radical code: 1 singlet, 2 doublet, 3 triplet.
pub(crate) fn unpaired(code: i32) -> u8 {
    match code {
        1 | 3 => 2,
        2 => 1,
        _ => 0,
    }
}

/// Atom indexes and values of a line `M  XXXnn8 aaa vvv ...`.
fn pairs(
    line: &[u8],
    at: usize,
    atoms: usize,
    context: &mut Context<'_>,
) -> Result<Vec<(usize, i32)>, Fault> {
    let bad = |context: &Context<'_>| {
        context.fault_at(
            at,
            "bad_property",
            format!("property line cannot be read: {}", quoted(line)),
        )
    };
    let words: Vec<&str> = std::str::from_utf8(line.get(6..).unwrap_or_default())
        .unwrap_or("")
        .split_ascii_whitespace()
        .collect();
    let count: usize = words
        .first()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| bad(context))?;
    let mut found = Vec::new();
    for pair in words.get(1..).unwrap_or_default().chunks(2).take(count) {
        let [atom, value] = pair else {
            return Err(bad(context));
        };
        let (Ok(atom), Ok(value)) = (atom.parse::<usize>(), value.parse::<i32>()) else {
            return Err(bad(context));
        };
        if atom == 0 || atom > atoms {
            let message = format!("property line names atom {atom}, but there are {atoms} atoms");
            context.error_at(at, "property_of_missing_atom", message);
            continue;
        }
        found.push((atom - 1, value));
    }
    if found.len() < count && !context.faults.has_error() {
        let message = format!(
            "property line announces {count} entries and holds {}",
            found.len()
        );
        context.warn_at(at, "bad_property", message);
    }
    Ok(found)
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
    use crate::{AtomKind, BondOrder, Dimensions, Fault, Format, Molecule, formula, read_molecule};

    fn read(text: &str) -> Result<(Molecule, Vec<Fault>), Vec<Fault>> {
        read_molecule(text.as_bytes(), Format::Mol)
    }

    fn molfile(counts: &str, body: &str) -> String {
        format!("title\n  program 3D\n\n{counts}  0  0  0  0  0  0  0  0999 V2000\n{body}M  END\n")
    }

    const METHANOL: &str = "    0.0000    0.0000    0.0000 C   0  0\n    1.4000    0.0000    0.2000 O   0  0\n  1  2  1  0\n";

    fn codes(faults: &[Fault]) -> Vec<&'static str> {
        faults.iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn reads_atoms_bonds_and_counts_hydrogens() {
        let (molecule, warnings) = read(&molfile("  2  1", METHANOL)).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(
            (molecule.title.as_str(), molecule.dimensions),
            ("title", Dimensions::Three)
        );
        assert_eq!(formula(&molecule), "CH4O");
        assert_eq!(molecule.bonds[0].order, BondOrder::Single);
    }

    #[test]
    fn charges_of_the_property_block_replace_those_of_the_atom_block() {
        let body = "    0.0000    0.0000    0.0000 N   0  5\n    1.4000    0.0000    0.2000 C   0  0\n  1  2  1  0\nM  CHG  1   1   1\nM  ISO  1   2  13\n";
        let (molecule, _) = read(&molfile("  2  1", body)).unwrap();
        assert_eq!(
            (molecule.atoms[0].formal_charge, molecule.atoms[1].isotope),
            (1, 13)
        );
        assert_eq!(formula(&molecule), "CH6N");
    }

    #[test]
    fn counts_that_touch_are_read_by_column() {
        let atoms = "    0.0000    0.0000    0.0000 He  0  0\n".repeat(100);
        let bonds: String = (1..=99)
            .map(|atom| format!("{atom:3}{:3}  9  0\n", atom + 1))
            .collect();
        let (molecule, _) = read(&molfile("100 99", &(atoms.clone() + &bonds))).unwrap();
        assert_eq!((molecule.atoms.len(), molecule.bonds.len()), (100, 99));
        let ring = format!("{bonds}  1100  9  0\n");
        let (molecule, _) = read(&molfile("100100", &(atoms + &ring))).unwrap();
        assert_eq!((molecule.atoms.len(), molecule.bonds.len()), (100, 100));
    }

    #[test]
    fn every_kind_of_damage_is_named_with_its_line() {
        let bond_to_3 = METHANOL.replace("  1  2  1", "  1  3  1");
        let self_bond = METHANOL.replace("  1  2  1", "  1  1  1");
        let order_12 = METHANOL.replace("  1  2  1", "  1  2 12");
        let unknown = METHANOL.replace(" O ", " Xx");
        let infinite = METHANOL.replace("1.4000", "   inf");
        for (counts, body, code, line) in [
            ("  3  1", METHANOL, "wrong_count", 7),
            ("  2  2", METHANOL, "wrong_count", 8),
            ("  x  1", METHANOL, "bad_counts", 4),
            ("  2  1", &bond_to_3, "bond_to_missing_atom", 7),
            ("  2  1", &self_bond, "self_bond", 7),
            ("  2  1", &order_12, "bad_bond_order", 7),
            ("  2  1", &unknown, "unknown_element", 6),
            ("  2  1", &infinite, "bad_coordinate", 6),
        ] {
            let faults = read(&molfile(counts, body)).unwrap_err();
            let fault = faults.iter().find(|fault| fault.is_error()).unwrap();
            assert_eq!((fault.code, fault.line), (code, Some(line)), "{faults:?}");
        }
        assert_eq!(codes(&read("a\nb\n").unwrap_err()), ["truncated"]);
        assert_eq!(codes(&read("\n\n\n").unwrap_err()), ["empty_record"]);
    }

    #[test]
    fn pseudo_atoms_keep_their_kind() {
        let body = "    0.0000    0.0000    0.0000 R#  0  0\n    1.4000    0.0000    0.2000 *   0  0\n    2.4000    0.0000    0.2000 Q   0  0\n    3.4000    0.0000    0.2000 D   0  0\n";
        let (molecule, _) = read(&molfile("  4  0", body)).unwrap();
        let kinds: Vec<AtomKind> = molecule.atoms.iter().map(|atom| atom.kind).collect();
        assert_eq!(
            kinds,
            [
                AtomKind::RGroup,
                AtomKind::Dummy,
                AtomKind::Query,
                AtomKind::Real
            ]
        );
        assert_eq!(
            (molecule.atoms[3].isotope, molecule.atoms[3].is_hydrogen()),
            (2, true)
        );
    }

    #[test]
    fn v3000_joins_lines_and_checks_its_counts() {
        let text = "t\n\n\n  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\nM  V30 COUNTS 2 1 0 0 0\nM  V30 BEGIN ATOM\nM  V30 10 C 0 0 0 0 CHG=-\nM  V30 1\nM  V30 20 N 1 0 0.5 0\nM  V30 END ATOM\nM  V30 BEGIN BOND\nM  V30 1 3 10 20\nM  V30 END BOND\nM  V30 END CTAB\nM  END\n";
        let (molecule, warnings) = read(text).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(
            (molecule.atoms[0].formal_charge, molecule.bonds[0].order),
            (1, BondOrder::Triple)
        );
        let faults = read(&text.replace("COUNTS 2 1", "COUNTS 3 1")).unwrap_err();
        assert_eq!(codes(&faults), ["wrong_count"]);
        let faults = read(&text.replace("10 20", "10 21")).unwrap_err();
        assert!(
            codes(&faults).contains(&"bond_to_missing_atom"),
            "{faults:?}"
        );
        let cut = text.split_inclusive('\n').take(9).collect::<String>();
        assert_eq!(codes(&read(&cut).unwrap_err()), ["truncated"]);
    }
}
