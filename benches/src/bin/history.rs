//! A history of many jobs: how long pages of it take, and how long it takes to open.
//!
//! The store holds jobs with their executions, their words (status, task, labels: as the
//! dispatcher writes them) and an event each. Then it is closed in order, opened again, and read.
//! The baseline of all reads is one row by its key, in the same store.
//!
//! ```text
//! cargo xtask bench history
//! cargo run --release -p bindery-benches --bin history [jobs] [directory to keep or use again]
//! ```
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table for people, and how far it is"
)]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bindery_benches::{Samples, table};
use bindery_core::OrgId;
use bindery_datastore::{
    Database, Datastore, LocalDatastore, NewEvent, Options, RangeQuery, Table, Transaction,
    keys::KeyBuilder,
};
use serde_json::json;

const JOBS_DEFAULT: u64 = 1_000_000;
/// Jobs of one transaction while the store is filled.
const BATCH: u64 = 500;
const CALLS: u64 = 2_000;
const PAGE: usize = 50;
const ORG: Database = Database::Org(OrgId::BUILT_IN);
const STATUSES: [&str; 4] = ["succeeded", "failed", "cancelled", "dead_letter"];
const TASKS: [&str; 5] = [
    "system.noop",
    "system.sleep",
    "docking.vina",
    "docking.smina",
    "trajectory.stay",
];
/// Jobs of one label, of which there are thousands.
const LABEL_JOBS: u64 = 250;
const LABELS: Table = Table::INDEX_JOBS_LABEL;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let jobs: u64 = arguments
        .next()
        .map_or(Ok(JOBS_DEFAULT), |text| text.parse())
        .context("jobs")?;
    let kept = arguments.next().map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let dir = kept.unwrap_or_else(|| temporary.path().join("store"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    if !dir.join("journal").is_dir() {
        let start = Instant::now();
        runtime.block_on(fill(&dir, jobs))?;
        println!(
            "{jobs} jobs in {:.0} s; {:.2} GB on disk\n",
            start.elapsed().as_secs_f64(),
            size_bytes(&dir)? as f64 / 1e9
        );
    }

    let before = resident_bytes()?;
    let start = Instant::now();
    let store = LocalDatastore::open(&dir, Options::default())?;
    let opened = start.elapsed();
    ensure!(
        store.open_report().closed_in_order && store.open_report().replayed_records == 0,
        "the store was not closed in order: {:?}",
        store.open_report()
    );
    let after_open = resident_bytes()?;
    println!("{}", read(&store, jobs)?);
    let after_reads = resident_bytes()?;
    let mega = |bytes: u64| bytes as f64 / 1e6;
    println!(
        "| open, after a close in order | {:.0} ms |",
        opened.as_secs_f64() * 1e3
    );
    println!("|---|---|");
    println!(
        "| resident: before, open, after the reads | {:.0}, {:.0}, {:.0} MB |",
        mega(before),
        mega(after_open),
        mega(after_reads)
    );
    store.close();
    Ok(())
}

/// Keys grow with time, as those of ids do; newer ones sort first.
fn key(n: u64) -> [u8; 16] {
    let time = 1_780_000_000_000 + u128::from(n) * 7;
    // What stands for the random part of an id.
    let chance = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (!((time << 80) | chance)).to_be_bytes()
}

fn word(text: &str) -> KeyBuilder {
    KeyBuilder::new().text(text)
}

fn status_of(n: u64) -> &'static str {
    // One in two hundred did not succeed.
    let at = if n % 200 == 7 { 1 + n / 200 % 3 } else { 0 };
    STATUSES.get(at as usize).copied().unwrap_or_default()
}

fn task_of(n: u64) -> &'static str {
    TASKS.get((n % 5) as usize).copied().unwrap_or_default()
}

fn add(mut transaction: Transaction, n: u64) -> Transaction {
    let key = key(n);
    let id = format!("job_{:032x}", u128::from_be_bytes(key.map(|byte| !byte)));
    let execution_id = id.replace("job", "exec");
    let (status, task) = (status_of(n), task_of(n));
    let screen = format!("screen={}", n / LABEL_JOBS);
    let job = json!({
        "v": 1, "id": id, "task": task, "task_version": "1.4.2", "status": status,
        "labels": { "screen": (n / LABEL_JOBS).to_string() }, "executions": [execution_id],
        "created": "2026-11-25T13:00:00.123456Z", "finished": "2026-11-25T13:00:04.654321Z",
    });
    let execution = json!({
        "v": 1, "id": execution_id, "job_id": id, "task": task, "task_version": "1.4.2",
        "plugin": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "parameters": { "exhaustiveness": 8, "num_modes": 9, "seed": n, "scoring": "vina" },
        "inputs": [], "seed": n, "priority": 128, "status": status,
        "resources": { "cpu_cores": 1, "memory_bytes": 700_000_000_u64, "wall_ms": 600_000 },
        "created": "2026-11-25T13:00:00.123456Z", "finished": "2026-11-25T13:00:04.654321Z",
        "attempts": [{ "number": 1, "started": "2026-11-25T13:00:00.2Z", "ending": "succeeded",
            "usage": { "wall_ms": 4_000, "cpu_ms": 3_900, "peak_memory_bytes": 90_000_000 } }],
    });
    for (table, row) in [
        (Table::INDEX_JOBS_STATUS, word(status)),
        (Table::INDEX_JOBS_TASK, word(task)),
        (LABELS, word("screen")),
        (LABELS, word(&screen)),
    ] {
        transaction = transaction.put(table, row.fixed(&key).build(), bytes::Bytes::new());
    }
    let topics = [format!("job:{id}"), "org".to_owned()];
    let told = json!({ "job_id": id, "status": status });
    transaction
        .put(Table::JOBS, key.to_vec(), job.to_string())
        .put(Table::EXECUTIONS, key.to_vec(), execution.to_string())
        .event(NewEvent::new("job.finished", topics, told))
}

async fn fill(dir: &Path, jobs: u64) -> Result<()> {
    let store = Arc::new(LocalDatastore::open(dir, Options::default())?);
    let told = Instant::now();
    for first in (0..jobs).step_by(BATCH as usize) {
        let transaction = (first..(first + BATCH).min(jobs)).fold(Transaction::new(ORG), add);
        // A store that cannot keep up says so, and is asked again.
        while let Err(error) = store.commit(transaction.clone()).await {
            ensure!(error.is_transient(), "{error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        if first % (100 * BATCH) == 0 {
            eprintln!("{first} jobs after {:.0} s", told.elapsed().as_secs_f64());
        }
    }
    drop(store);
    Ok(())
}

/// A row of a page, whose key ends with a job's.
fn page(
    store: &LocalDatastore,
    in_table: Table,
    word: KeyBuilder,
    after: Option<[u8; 16]>,
) -> Result<usize> {
    let prefix = word.clone().build();
    let after = after.map(|key| word.fixed(&key).build());
    let rows = store.range(
        ORG,
        in_table,
        &RangeQuery::prefix(prefix.clone(), PAGE).after(after),
    )?;
    if in_table == Table::JOBS {
        return Ok(rows.len());
    }
    for (row, _) in &rows {
        let key = row.get(prefix.len()..).unwrap_or_default();
        let job = store.get(ORG, Table::JOBS, key)?;
        ensure!(job.is_some(), "a word names a job that is not there");
    }
    Ok(rows.len())
}

fn read(store: &LocalDatastore, jobs: u64) -> Result<String> {
    let mut samples: [Samples; 7] = std::array::from_fn(|_| Samples::default());
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        // xorshift: the same jobs in every run.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % jobs
    };
    // In turns, so that whatever else the machine does meets all of them alike.
    for call in 0..CALLS {
        let n = random();
        let failed = STATUSES
            .get(1 + (call % 3) as usize)
            .copied()
            .unwrap_or_default();
        let label = format!("screen={}", n / LABEL_JOBS);
        let after = Some(key(random().max(PAGE as u64)));
        let (task, any) = (task_of(call), KeyBuilder::new());
        let reads: [&dyn Fn() -> Result<usize>; 7] = [
            &|| Ok(usize::from(store.get(ORG, Table::JOBS, &key(n))?.is_some()) * PAGE),
            &|| page(store, Table::JOBS, any.clone(), None),
            &|| page(store, Table::JOBS, any.clone(), after),
            &|| page(store, Table::INDEX_JOBS_STATUS, word(failed), None),
            &|| page(store, Table::INDEX_JOBS_TASK, word(task), None),
            &|| page(store, Table::INDEX_JOBS_TASK, word(task), after).map(|_| PAGE),
            &|| page(store, LABELS, word(&label), None),
        ];
        for (read, samples) in reads.iter().zip(&mut samples) {
            let start = Instant::now();
            let found = read()?;
            samples.push(start.elapsed());
            ensure!(
                found == PAGE || jobs < JOBS_DEFAULT,
                "{found} rows of a page of {PAGE}"
            );
        }
    }
    let names = [
        "one job by its id",
        "newest 50",
        "50 after any job",
        "newest 50 of a rare status",
        "newest 50 of a task",
        "50 of a task after any job",
        "newest 50 of a label",
    ];
    let rows: Vec<(&str, &Samples)> = names.into_iter().zip(&samples).collect();
    Ok(table(&rows))
}

fn size_bytes(dir: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        size += if entry.file_type()?.is_dir() {
            size_bytes(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(size)
}

fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_ascii_whitespace().nth(1))
        .context("VmRSS")?
        .parse()?;
    Ok(kib * 1024)
}
