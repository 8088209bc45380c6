//! Sessions over columns.

use std::{sync::Arc, time::Instant};

use bindery_core::{Batch, Column, ColumnData, GuestError};
use bindery_runtime::{CallGrants, ComputeSession, GuestFailure, Plugin, TrapKind};
use serde_json::json;

use crate::common::{FILES, LATE, assert_unharmed, broke, kind, load};

async fn open(plugin: &Arc<Plugin>, variant: &str, state: Option<Vec<u8>>) -> ComputeSession {
    try_open(plugin, variant, state).await.unwrap()
}

async fn try_open(
    plugin: &Arc<Plugin>,
    variant: &str,
    state: Option<Vec<u8>>,
) -> Result<ComputeSession, GuestFailure> {
    plugin
        .open_session(
            &kind(variant),
            state,
            CallGrants::default(),
            FILES,
            Box::new(|_, _| {}),
        )
        .await
}

fn rows(values: impl IntoIterator<Item = f64>) -> Batch {
    let values: Vec<f64> = values.into_iter().collect();
    Batch {
        rows: u32::try_from(values.len()).unwrap(),
        columns: vec![Column {
            name: "value".to_owned(),
            data: ColumnData::F64s(values),
            validity: None,
        }],
    }
}

#[tokio::test]
pub(crate) async fn good_columns() {
    let plugin = load("good_columns").await;
    let mut session = open(&plugin, "", None).await;
    assert_eq!(session.profile().columns, ["value"]);
    assert!(session.profile().mergeable && !session.profile().unordered);
    let given = session.push(rows([1.0, 2.0, 3.0])).await.unwrap();
    assert_eq!(given[0].columns[0].name, "total");
    assert_eq!(
        given[0].columns[0].data,
        ColumnData::F64s(vec![1.0, 3.0, 6.0])
    );
    // A NaN is a value like others, and rows go on where the last batch ended.
    let given = session.push(rows([4.0, f64::NAN])).await.unwrap();
    let ColumnData::F64s(totals) = &given[0].columns[0].data else {
        panic!("another type");
    };
    assert_eq!(totals[0], 10.0);
    assert!(totals[1].is_nan());
    assert!(session.flush().await.unwrap().is_empty());
    let (items, receipt, _) = session.finish().await.unwrap();
    let output = &items[0].verdict.as_ref().unwrap().output;
    assert_eq!(output["count"], 5);
    assert!(receipt.peak_memory_bytes > 0);
    assert_eq!(receipt.digest, Some(plugin.digest()));
}

#[tokio::test]
async fn a_session_is_saved_and_goes_on_elsewhere() {
    let plugin = load("good_columns").await;
    let mut first = open(&plugin, "", None).await;
    first.push(rows([1.0, 2.0])).await.unwrap();
    let state = first.save().await.unwrap();
    drop(first);
    let mut second = open(&plugin, "", Some(state)).await;
    let given = second.push(rows([3.0])).await.unwrap();
    assert_eq!(given[0].columns[0].data, ColumnData::F64s(vec![6.0]));
    let (items, ..) = second.finish().await.unwrap();
    let output = &items[0].verdict.as_ref().unwrap().output;
    assert_eq!(*output, json!({ "sum": 6.0, "count": 3 }));

    let Err(GuestFailure::Refused(GuestError::Other(fault))) =
        try_open(&plugin, "", Some(vec![1, 2, 3])).await
    else {
        panic!("rubbish was restored");
    };
    assert!(fault.contains("not a state"), "{fault}");
}

#[tokio::test]
async fn a_million_rows_pass() {
    let plugin = load("good_columns").await;
    let mut session = open(&plugin, "", None).await;
    for _ in 0..16 {
        session
            .push(rows(std::iter::repeat_n(1.0, 65_536)))
            .await
            .unwrap();
    }
    let (items, receipt, _) = session.finish().await.unwrap();
    let output = &items[0].verdict.as_ref().unwrap().output;
    assert_eq!(output["sum"], 1_048_576.0);
    // One batch at a time is in the guest, not the table.
    assert!(receipt.peak_memory_bytes < 8 << 20, "{receipt:?}");
}

#[tokio::test]
async fn a_session_that_breaks_is_gone_and_says_so() {
    let plugin = load("good_columns").await;
    for (variant, trap) in [
        ("traps", TrapKind::Trap),
        ("loops", TrapKind::Deadline),
        ("ragged", TrapKind::Rubbish),
    ] {
        let mut session = open(&plugin, variant, None).await;
        let started = Instant::now();
        let mut outcome = session.push(rows([1.0, 2.0])).await;
        if variant != "ragged" {
            outcome.unwrap();
            outcome = session.push(rows([1.0, 2.0])).await;
        }
        broke(outcome, trap, "session");
        assert!(started.elapsed() < FILES * LATE);
        let Err(GuestFailure::Host { message, .. }) = session.push(rows([1.0])).await else {
            panic!("{variant}: goes on");
        };
        assert!(message.contains("ended"), "{message}");
    }
    assert_unharmed().await;
}

#[tokio::test]
async fn a_refusal_leaves_the_session_as_it_was() {
    let plugin = load("good_columns").await;
    let mut session = open(&plugin, "", None).await;
    session.push(rows([1.0])).await.unwrap();
    let mut other = rows([5.0]);
    other.columns[0].name = "other".to_owned();
    let refused = session.push(other).await;
    assert!(
        matches!(
            refused,
            Err(GuestFailure::Refused(GuestError::Unsupported(_)))
        ),
        "{refused:?}"
    );
    let (items, ..) = session.finish().await.unwrap();
    let output = &items[0].verdict.as_ref().unwrap().output;
    assert_eq!(*output, json!({ "sum": 1.0, "count": 1 }));
}
