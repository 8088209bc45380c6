//! A session over columns as it should be: gives the running total of the column `value`, row by
//! row, and sum and count at the end; can be saved, restored, split and merged.
//!
//! With `kind`, one that is not: `ragged` gives columns of two lengths, `traps` breaks at the
//! second batch, `loops` never answers it.

use bindery_sdk::{Batch, Column, ColumnData, Session, SessionProfile};
use bindery_test_guests::prelude::*;

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        bindery_test_guests::any()
    }
}

impl ComputeTask for Guest {
    type Session = Total;

    fn profile() -> SessionProfile {
        SessionProfile {
            resumable: true,
            mergeable: true,
            unordered: false,
            columns: vec!["value".to_owned()],
        }
    }

    fn merge(_request: &Request, parts: Vec<Vec<u8>>) -> Result<Vec<ItemOutcome>, Error> {
        let mut all = Total::default();
        for part in parts {
            let part = Total::read(&part)?;
            all.sum += part.sum;
            all.count += part.count;
        }
        Ok(all.outcome())
    }
}

#[derive(Default)]
struct Total {
    kind: String,
    sum: f64,
    count: u64,
    batches: u64,
}

impl Total {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (sum, count) = bytes
            .split_first_chunk::<8>()
            .and_then(|(sum, count)| Some((*sum, <[u8; 8]>::try_from(count).ok()?)))
            .ok_or_else(|| Error::Other("not a state of this task".to_owned()))?;
        Ok(Self {
            sum: f64::from_le_bytes(sum),
            count: u64::from_le_bytes(count),
            ..Self::default()
        })
    }

    fn write(&self) -> Vec<u8> {
        [self.sum.to_le_bytes(), self.count.to_le_bytes()].concat()
    }

    fn outcome(&self) -> Vec<ItemOutcome> {
        single(ItemResult::json(
            &json!({ "sum": self.sum, "count": self.count }),
        ))
    }
}

impl Session for Total {
    fn open(request: Request) -> Result<Self, Error> {
        Ok(Self {
            kind: kind(&request),
            ..Self::default()
        })
    }

    fn push(&mut self, batch: Batch) -> Result<Vec<Batch>, Error> {
        self.batches += 1;
        match (self.kind.as_str(), self.batches) {
            ("traps", 2) => std::process::abort(),
            ("loops", 2) => loop {
                std::hint::spin_loop();
            },
            _ => {}
        }
        let values = match batch.columns.into_iter().next() {
            Some(Column {
                name,
                data: ColumnData::F64s(values),
                ..
            }) if name == "value" => values,
            _ => return Err(Error::Unsupported("wants the column `value`".to_owned())),
        };
        self.count += values.len() as u64;
        let mut totals = values;
        for value in &mut totals {
            self.sum += *value;
            *value = self.sum;
        }
        if self.kind == "ragged" {
            totals.pop();
        }
        Ok(vec![Batch {
            rows: batch.rows,
            columns: vec![Column {
                name: "total".to_owned(),
                data: ColumnData::F64s(totals),
                validity: None,
            }],
        }])
    }

    fn finish(&mut self) -> Result<Vec<ItemOutcome>, Error> {
        Ok(self.outcome())
    }

    fn save(&self) -> Result<Vec<u8>, Error> {
        Ok(self.write())
    }

    fn restore(request: Request, state: Vec<u8>) -> Result<Self, Error> {
        Ok(Self {
            kind: kind(&request),
            ..Self::read(&state)?
        })
    }

    fn partial(&self) -> Result<Vec<u8>, Error> {
        Ok(self.write())
    }
}

bindery_sdk::register_compute_tasks!(Guest);
