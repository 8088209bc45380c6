//! `validate` in process, on a fresh instance for every call: through Bindery's API against bare
//! wasmtime with the same component, pool and request.
//!
//! ```text
//! cargo run --release -p bindery-benches --bin validate [calls]
//! ```
#![expect(clippy::print_stdout, reason = "a table for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bindery_benches::{
    Samples,
    bare::{BareLimited, BareSync},
    check_request, table,
};
use bindery_bindings::host::bindery::task::types::Request as WitRequest;
use bindery_core::Request;
use bindery_runtime::{Plugin, Runtime, RuntimeConfig};

/// Calls of one variant before the next has its turn, so that all see the same machine.
const TURN: usize = 100;

fn main() -> Result<()> {
    let calls = std::env::args()
        .nth(1)
        .map_or(Ok(10_000), |text| text.parse())
        .context("calls")?;
    for (name, task, component) in [
        (
            "good_validate",
            "test.guest",
            bindery_guests_build::guest("good_validate")?,
        ),
        (
            "system.noop",
            "system.noop",
            bindery_guests_build::plugin("system-noop")?,
        ),
    ] {
        println!(
            "\n{name}, {} bytes, fresh instance for each of {calls} calls\n",
            component.len()
        );
        println!("{}", compare(&component, &check_request(task), calls)?);
    }
    Ok(())
}

fn compare(component: &[u8], request: &Request, calls: usize) -> Result<String> {
    let sync = BareSync::new(component)?;
    let limited = BareLimited::new(component)?;
    let runtime = Runtime::new(&RuntimeConfig::default())?;
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let plugin = tokio.block_on(runtime.load(component.to_vec()))?;
    let asked = WitRequest::from(request);

    let mut bare = Samples::default();
    let mut bare_limited = Samples::default();
    let mut ours_here = Samples::default();
    let mut ours = Samples::default();
    for turn in 0..calls.div_ceil(TURN) + 1 {
        // The first turn warms up.
        let note = |samples: &mut Samples, started: Instant| {
            if turn > 0 {
                samples.push(started.elapsed());
            }
        };
        for _ in 0..TURN {
            let started = Instant::now();
            sync.validate(&asked)?;
            note(&mut bare, started);
        }
        tokio.block_on(async {
            for _ in 0..TURN {
                let started = Instant::now();
                limited.validate(&asked).await?;
                note(&mut bare_limited, started);
            }
            anyhow::Ok(())
        })?;
        for _ in 0..TURN {
            let started = Instant::now();
            plugin.validate_here(tokio.handle(), request.clone(), None)?;
            note(&mut ours_here, started);
        }
        // As in a server: the caller is a task on one of tokio's workers.
        let times = tokio.block_on(tokio.spawn(times(Arc::clone(&plugin), request.clone())))??;
        if turn > 0 {
            times.into_iter().for_each(|time| ours.push(time));
        }
    }
    Ok(table(&[
        ("bare wasmtime: sync, no limits", &bare),
        (
            "bare wasmtime: async, epoch, memory limit, hostcall fuel",
            &bare_limited,
        ),
        ("Plugin::validate_here", &ours_here),
        ("Plugin::validate, on a tokio worker", &ours),
    ]))
}

async fn times(plugin: Arc<Plugin>, request: Request) -> Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(TURN);
    for _ in 0..TURN {
        let started = Instant::now();
        plugin.validate(request.clone(), None).await?;
        times.push(started.elapsed());
    }
    Ok(times)
}
