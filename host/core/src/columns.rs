//! Rows as columns, the form in which tables cross into a guest.
//!
//! A list of numbers crosses by one copy, a list of records field by field; so a table travels as
//! batches of about 65,536 rows, each a list of named columns of one length.

/// Rows of a batch as the host cuts them: large enough that a call's own cost vanishes, small
/// enough for two batches to fit in a processor's cache.
pub const BATCH_ROWS: usize = 1 << 16;

/// The values of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnData {
    F64s(Vec<f64>),
    F32s(Vec<f32>),
    S64s(Vec<i64>),
    S32s(Vec<i32>),
    U8s(Vec<u8>),
    Texts(Vec<String>),
}

impl ColumnData {
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::F64s(values) => values.len(),
            Self::F32s(values) => values.len(),
            Self::S64s(values) => values.len(),
            Self::S32s(values) => values.len(),
            Self::U8s(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub data: ColumnData,
    /// Bit i (least significant first) is 1 where row i has a value; none when all rows have one.
    pub validity: Option<Vec<u8>>,
}

/// Columns of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    pub rows: u32,
    pub columns: Vec<Column>,
}

impl Batch {
    /// What is wrong with the shape; none when every column has `rows` rows and a validity that
    /// is long enough, and no two have one name.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let rows = self.rows as usize;
        for (position, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            if column.data.len() != rows {
                let length = column.data.len();
                return Some(format!("column `{name}` has {length} of {rows} rows"));
            }
            if let Some(validity) = &column.validity
                && validity.len() != rows.div_ceil(8)
            {
                let length = validity.len();
                return Some(format!(
                    "the validity of column `{name}` has {length} bytes for {rows} rows"
                ));
            }
            if self
                .columns
                .iter()
                .take(position)
                .any(|other| other.name == *name)
            {
                return Some(format!("two columns are named `{name}`"));
            }
        }
        None
    }
}

/// What the sessions of a task can do and which columns they want.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionProfile {
    /// Its state can be saved and restored.
    pub resumable: bool,
    /// Several sessions may share the data; their parts are merged.
    pub mergeable: bool,
    /// Batches may come in any order.
    pub unordered: bool,
    /// In this order; none for a task without a table.
    pub columns: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, rows: usize) -> Column {
        Column {
            name: name.to_owned(),
            data: ColumnData::F64s(vec![0.0; rows]),
            validity: None,
        }
    }

    #[test]
    fn a_batch_of_one_length_has_no_fault() {
        let mut batch = Batch {
            rows: 9,
            columns: vec![column("a", 9), column("b", 9)],
        };
        assert_eq!(batch.fault(), None);
        batch.columns.push(Column {
            validity: Some(vec![0xff, 1]),
            ..column("c", 9)
        });
        assert_eq!(batch.fault(), None);
    }

    #[test]
    fn others_are_told_by_what_is_wrong() {
        let with = |columns: Vec<Column>| Batch { rows: 9, columns }.fault();
        let short = with(vec![column("a", 8)]);
        assert_eq!(short.as_deref(), Some("column `a` has 8 of 9 rows"));
        let twins = with(vec![column("a", 9), column("a", 9)]);
        assert_eq!(twins.as_deref(), Some("two columns are named `a`"));
        let validity = with(vec![Column {
            validity: Some(vec![0xff]),
            ..column("a", 9)
        }]);
        assert!(validity.is_some_and(|fault| fault.contains("1 bytes for 9 rows")));
    }
}
