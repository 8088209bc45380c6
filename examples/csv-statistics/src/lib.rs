//! The task `tables.statistics`: what stands in the columns of a CSV table.
//!
//! - [`table`]: reads CSV (RFC 4180) with a bound on everything, and says what is wrong where.
//! - [`describe`]: the numbers of one column.

mod describe;
mod table;

use bindery_sdk::{out_path, prelude::*};
use serde_json::Value;

use crate::{describe::Column, table::Table};

choices! {
    /// What stands between two fields.
    pub enum Separator {
        Comma = "comma", "Comma";
        Semicolon = "semicolon", "Semicolon";
        Tab = "tab", "Tab";
    }
}

parameters! {
    /// What a user may choose.
    pub struct Parameters {
        /// What stands between two fields.
        separator: Separator = field::choice::<Separator>("Separator").default("comma");
        /// Name of the only column to describe; all numeric ones when it is left out.
        column: Option<String> = field::text("Column").length(1, 200).optional();
        /// Bars of the histogram.
        bins: usize = field::integer("Bins").min(1).max(200).default(20);
    }
}

impl Separator {
    const fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Statistics;

impl Task for Statistics {
    fn definition() -> TaskDefinition {
        TaskDefinition::new(
            "tables.statistics",
            env!("CARGO_PKG_VERSION"),
            "Column statistics",
        )
        .category("Tables")
        .summary("Describes the numeric columns of a CSV table")
        .docs(
            "The first row names the columns. A column is numeric when every field of it is a \
                 number or empty. Quartiles are interpolated; the deviation is that of a sample.",
        )
        .typed_parameters::<Parameters>()
        .input(
            "table",
            "Table",
            "CSV with a header",
            &["*/*"],
            Cardinality::One,
        )
        .output(json!({
            "type": "object",
            "properties": {
                "rows": { "type": "integer" },
                "columns": { "type": "array", "items": { "type": "object" } },
                "not_numeric": { "type": "array", "items": { "type": "string" } }
            },
            "required": ["rows", "columns", "not_numeric"]
        }))
        .artifact("statistics.csv", "text/csv", "Statistics of all columns")
        .example(
            "Heights of tides",
            json!({ "column": "height" }),
            &[("table", "tides.csv")],
        )
    }

    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        if request.input("table").is_some() {
            // A form without its file yet is checked as far as it goes.
            read(request).map_err(|error| match error {
                Error::InvalidInput(faults) => faults,
                other => vec![Violation::new(
                    "/inputs/table",
                    "unreadable",
                    format!("{other:?}"),
                )],
            })?;
        }
        Ok(Normalised {
            parameters: request.parameters.clone(),
            notices: Vec::new(),
        })
    }
}

/// The table, and the columns that are asked for.
fn read(request: &Request) -> Result<(Parameters, Table, Vec<Column>), Error> {
    let parameters: Parameters = request.read_parameters()?;
    let text = request.required_input("table")?.read_text()?;
    let table = Table::parse(&text, parameters.separator.byte()).map_err(|faults| {
        let at_table = |fault: String| Violation::new("/inputs/table", "bad_table", fault);
        Error::InvalidInput(faults.into_iter().map(at_table).collect())
    })?;
    let columns = match &parameters.column {
        None => table.numeric().collect(),
        Some(name) => {
            let refused = |code: &str, message: String| {
                Error::InvalidInput(vec![Violation::new("/parameters/column", code, message)])
            };
            let index = table
                .names
                .iter()
                .position(|known| known == name)
                .ok_or_else(|| {
                    let known = table.names.join(", ");
                    refused(
                        "unknown_column",
                        format!("there is no column `{name}` (there are: {known})"),
                    )
                })?;
            let column = table.column(index).ok_or_else(|| {
                refused("not_numeric", format!("the column `{name}` is not numeric"))
            })?;
            vec![column]
        }
    };
    Ok((parameters, table, columns))
}

impl ComputeTask for Statistics {
    type Session = Immediate<Self>;
}

impl Compute for Statistics {
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        let (parameters, table, columns) = read(request)?;
        let described: Vec<_> = columns.iter().map(Column::describe).collect();
        let rows: Vec<Value> = described.iter().map(|one| one.row()).collect();
        std::fs::write(out_path("statistics.csv"), describe::csv(&described))?;
        let not_numeric: Vec<&String> = table
            .names
            .iter()
            .filter(|name| parameters.column.is_none() && !columns.iter().any(|c| c.name == **name))
            .collect();
        let mut result = ItemResult::json(&json!({
            "rows": table.rows.len(),
            "columns": described.iter().map(|one| one.document()).collect::<Vec<_>>(),
            "not_numeric": not_numeric,
        }))
        .metric(Metric::new(
            "rows",
            table.rows.len() as f64,
            "",
            Better::Neither,
        ))
        .artifact(Artifact::out(
            "statistics.csv",
            "text/csv",
            "Statistics of all columns",
        ))
        .view(View::new(
            "table",
            "Columns",
            &json!({ "columns": describe::HEADINGS.map(describe::heading), "rows": rows }),
        ));
        if let Some(first) = columns.first() {
            let title = format!("Distribution of {}", first.name);
            result = result.view(View::new("chart", title, &first.histogram(parameters.bins)));
        } else {
            result = result.notice(Notice::warning(
                "no_numeric_column",
                "No column is numeric: is the separator right?",
            ));
        }
        Ok(result)
    }
}

bindery_sdk::register_compute_tasks!(Statistics);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use bindery_sdk::testing::Trial;

    use super::*;

    #[test]
    fn a_column_is_described() {
        let trial = Trial::of::<Statistics>()
            .parameters(json!({ "separator": "semicolon" }))
            .input("table", "t.csv", b"a;b\n1;x\n2;y\n4;\n");
        let output = trial.compute::<Statistics>().unwrap().output_value();
        assert_eq!(output["columns"][0]["mean"], 7.0 / 3.0);
        assert_eq!(output["columns"][0]["median"], 2.0);
        assert_eq!(output["not_numeric"], json!(["b"]));
        assert!(
            trial
                .file("/out/statistics.csv")
                .starts_with(b"column,count,")
        );
    }

    #[test]
    fn a_column_that_is_not_there_is_told_with_those_that_are() {
        let trial = Trial::of::<Statistics>()
            .parameters(json!({ "column": "c" }))
            .input("table", "t.csv", b"a,b\n1,2\n");
        let faults = trial.validate().unwrap_err();
        assert_eq!(faults[0].code, "unknown_column");
        assert!(faults[0].message.contains("a, b"));
    }
}
