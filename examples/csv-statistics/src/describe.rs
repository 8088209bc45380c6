//! The numbers of one column.

use std::fmt::Write as _;

use bindery_sdk::prelude::*;
use serde_json::Value;

/// Columns of the view and of the file: key and title.
pub(crate) const HEADINGS: [(&str, &str); 9] = [
    ("count", "Count"),
    ("missing", "Missing"),
    ("mean", "Mean"),
    ("deviation", "Deviation"),
    ("min", "Least"),
    ("quarter", "1st quartile"),
    ("median", "Median"),
    ("three_quarters", "3rd quartile"),
    ("max", "Greatest"),
];

pub(crate) fn heading((key, title): (&str, &str)) -> Value {
    let kind = match key {
        "count" | "missing" => "integer",
        _ => "number",
    };
    json!({ "key": key, "title": title, "type": kind })
}

/// The numbers of a column, at least one, sorted.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    sorted: Vec<f64>,
    rows: usize,
}

#[derive(Debug)]
pub(crate) struct Description {
    name: String,
    count: usize,
    missing: usize,
    /// Mean, deviation, least, quartiles, greatest, as [`HEADINGS`] has them.
    numbers: [f64; 7],
}

impl Column {
    pub(crate) fn new(name: String, mut values: Vec<f64>, rows: usize) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            name,
            sorted: values,
            rows,
        }
    }

    pub(crate) fn describe(&self) -> Description {
        let count = self.sorted.len() as f64;
        let mean = self.sorted.iter().sum::<f64>() / count;
        // Of a sample; one value has none.
        let squares: f64 = self.sorted.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        Description {
            name: self.name.clone(),
            count: self.sorted.len(),
            missing: self.rows - self.sorted.len(),
            numbers: [
                mean,
                deviation,
                self.at(0.0),
                self.at(0.25),
                self.at(0.5),
                self.at(0.75),
                self.at(1.0),
            ],
        }
    }

    /// The value below which this share of the values lies, interpolated.
    fn at(&self, share: f64) -> f64 {
        let place = share * (self.sorted.len() - 1) as f64;
        let below = place.floor();
        let value = |index: f64| self.sorted.get(index as usize).copied().unwrap_or_default();
        let (low, high) = (value(below), value(place.ceil()));
        low + (high - low) * (place - below)
    }

    /// A chart of how many values lie where.
    pub(crate) fn histogram(&self, bins: usize) -> Value {
        let (least, greatest) = (self.at(0.0), self.at(1.0));
        let width = (greatest - least) / bins as f64;
        let mut counts = vec![0_u64; bins];
        for value in &self.sorted {
            // All values are one: the first bar has them.
            let index = if width > 0.0 {
                (((value - least) / width) as usize).min(bins - 1)
            } else {
                0
            };
            if let Some(count) = counts.get_mut(index) {
                *count += 1;
            }
        }
        let middles: Vec<f64> = (0..bins)
            .map(|index| least + (index as f64 + 0.5) * width)
            .collect();
        json!({
            "x": { "title": self.name, "values": middles },
            "series": [{ "title": "Values", "mark": "bar", "values": counts }],
        })
    }
}

impl Description {
    /// One row of the view, in the order of [`HEADINGS`].
    pub(crate) fn row(&self) -> Value {
        let mut row = vec![json!(self.count), json!(self.missing)];
        row.extend(self.numbers.iter().map(|number| json!(number)));
        Value::Array(row)
    }

    pub(crate) fn document(&self) -> Value {
        let mut document = json!({ "name": self.name });
        if let (Some(object), Value::Array(row)) = (document.as_object_mut(), self.row()) {
            let keys = HEADINGS.iter().map(|(key, _)| (*key).to_owned());
            object.extend(keys.zip(row));
        }
        document
    }
}

pub(crate) fn csv(descriptions: &[Description]) -> String {
    let mut text = "column".to_owned();
    for (key, _) in HEADINGS {
        text.push(',');
        text.push_str(key);
    }
    text.push('\n');
    for one in descriptions {
        let name = one.name.replace('"', "\"\"");
        // Writing to a string does not fail.
        let _ = write!(text, "\"{name}\",{},{}", one.count, one.missing);
        for number in one.numbers {
            let _ = write!(text, ",{number}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn numbers_of_a_known_column() {
        let column = Column::new("a".to_owned(), vec![4.0, 1.0, 3.0, 2.0], 5);
        let described = column.describe();
        assert_eq!((described.count, described.missing), (4, 1));
        let [mean, deviation, least, quarter, median, three, greatest] = described.numbers;
        assert_eq!((mean, least, greatest), (2.5, 1.0, 4.0));
        assert_eq!((quarter, median, three), (1.75, 2.5, 3.25));
        assert!((deviation - 1.290_994_448_735_805_6).abs() < 1e-15);
    }

    #[test]
    fn every_value_is_in_one_bar() {
        let column = Column::new("a".to_owned(), vec![0.0, 0.1, 5.0, 10.0], 4);
        let chart = column.histogram(2);
        assert_eq!(chart["series"][0]["values"], json!([2, 2]));
        assert_eq!(chart["x"]["values"], json!([2.5, 7.5]));
        let same = Column::new("a".to_owned(), vec![3.0, 3.0], 2);
        assert_eq!(same.histogram(3)["series"][0]["values"], json!([2, 0, 0]));
    }
}
