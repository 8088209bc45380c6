//! Reading CSV as RFC 4180 has it: fields may be quoted, quotes within are doubled.

use crate::describe::Column;

/// Larger tables belong to a dataset, not into one form.
const ROWS_MAX: usize = 1_000_000;
const COLUMNS_MAX: usize = 1_000;
/// Faults that are told; a person mends the first ones first.
const FAULTS_MAX: usize = 10;

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// # Errors
    /// All faults, each with its line, up to a bound.
    pub(crate) fn parse(text: &str, separator: u8) -> Result<Self, Vec<String>> {
        let mut records = Records::new(text.trim_start_matches('\u{feff}'), separator);
        let names = match records.next() {
            Some(Ok((_, names))) => names,
            Some(Err(fault)) => return Err(vec![fault]),
            None => {
                return Err(vec![
                    "the table is empty: its first row names the columns".to_owned(),
                ]);
            }
        };
        if names.len() > COLUMNS_MAX {
            return Err(vec![format!("more than {COLUMNS_MAX} columns")]);
        }
        let mut faults = Vec::new();
        for (position, name) in names.iter().enumerate() {
            if names.iter().take(position).any(|other| other == name) {
                faults.push(format!("two columns are named `{name}`"));
            }
        }
        let mut rows = Vec::new();
        for record in records {
            match record {
                Ok((line, row)) if row.len() == names.len() => {
                    rows.push(row);
                    if rows.len() > ROWS_MAX {
                        return Err(vec![format!("line {line}: more than {ROWS_MAX} rows")]);
                    }
                }
                // An empty line at the end or between is no row.
                Ok((_, row)) if row.iter().all(String::is_empty) && row.len() == 1 => {}
                Ok((line, row)) => faults.push(format!(
                    "line {line}: {} fields, but there are {} columns",
                    row.len(),
                    names.len()
                )),
                Err(fault) => {
                    faults.push(fault);
                    break;
                }
            }
            if faults.len() >= FAULTS_MAX {
                break;
            }
        }
        if faults.is_empty() {
            Ok(Self { names, rows })
        } else {
            Err(faults)
        }
    }

    /// The numbers of a column; none when it holds something else, or nothing.
    pub(crate) fn column(&self, index: usize) -> Option<Column> {
        let name = self.names.get(index)?.clone();
        let mut values = Vec::new();
        for row in &self.rows {
            let field = row.get(index)?.trim();
            if field.is_empty() {
                continue;
            }
            let value: f64 = field.parse().ok()?;
            values.push(value.is_finite().then_some(value)?);
        }
        (!values.is_empty()).then(|| Column::new(name, values, self.rows.len()))
    }

    pub(crate) fn numeric(&self) -> impl Iterator<Item = Column> {
        (0..self.names.len()).filter_map(|index| self.column(index))
    }
}

/// Records with the line each begins on, counted from 1.
struct Records<'a> {
    rest: &'a str,
    separator: char,
    line: usize,
}

impl<'a> Records<'a> {
    fn new(text: &'a str, separator: u8) -> Self {
        Self {
            rest: text,
            separator: char::from(separator),
            line: 1,
        }
    }
}

impl Iterator for Records<'_> {
    type Item = Result<(usize, Vec<String>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let begins = self.line;
        let mut fields = Vec::new();
        let mut field = String::new();
        let mut quoted = false;
        let mut characters = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, c)) = characters.next() {
            if c == '\n' {
                self.line += 1;
            }
            match c {
                '"' if quoted && characters.peek().is_some_and(|(_, next)| *next == '"') => {
                    field.push('"');
                    characters.next();
                }
                '"' if quoted => quoted = false,
                '"' if field.is_empty() => quoted = true,
                '\n' if !quoted => {
                    end = at + 1;
                    break;
                }
                '\r' if !quoted && characters.peek().is_some_and(|(_, next)| *next == '\n') => {}
                c if c == self.separator && !quoted => fields.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        if quoted {
            self.rest = "";
            return Some(Err(format!("line {begins}: a quote that is not closed")));
        }
        fields.push(field);
        Some(Ok((begins, fields)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn quoted_fields_hold_anything() {
        let table = Table::parse("a,b\r\n\"x, \"\"y\"\"\nz\",2\r\n\r\n3,4", b',').unwrap();
        assert_eq!(table.rows, [["x, \"y\"\nz", "2"], ["3", "4"]]);
    }

    #[test]
    fn faults_name_their_lines() {
        let faults = Table::parse("a,a\n1\n1,2,3\n\"x", b',').unwrap_err();
        assert_eq!(
            faults,
            [
                "two columns are named `a`",
                "line 2: 1 fields, but there are 2 columns",
                "line 3: 3 fields, but there are 2 columns",
                "line 4: a quote that is not closed",
            ]
        );
        assert_eq!(Table::parse("", b',').unwrap_err().len(), 1);
    }

    #[test]
    fn a_column_is_numeric_when_every_field_is() {
        let table = Table::parse("a,b,c,d\n1, 2.5e3 ,x,\n,-1,1,\n", b',').unwrap();
        let names: Vec<String> = table.numeric().map(|column| column.name).collect();
        assert_eq!(names, ["a", "b"]);
        let endless = Table::parse("a\ninf\n", b',').unwrap();
        assert_eq!(endless.numeric().count(), 0);
    }
}
