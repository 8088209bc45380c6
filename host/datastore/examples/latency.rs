//! How long commits and reads take: `cargo run --release -p bindery-datastore --example latency [DIR]`.
//!
//! Prints the machine's bare append + fdatasync first: a ratio to it means something on any
//! machine, a millisecond does not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement for people"
)]

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_core::ids::OrgId;
use bindery_datastore::{
    Database, Datastore, LocalDatastore, NewEvent, Options, QueueEntry, RangeQuery, Table,
    Transaction, keys::KeyBuilder,
};
use serde_json::json;

const ORG: Database = Database::Org(OrgId::BUILT_IN);

fn main() {
    let dir: PathBuf = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from("latency-data"), PathBuf::from);
    std::fs::create_dir_all(&dir).unwrap();
    bare(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(store(&dir));
    std::fs::remove_dir_all(&dir).unwrap();
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "{what:<48} p50 {:>8.3} ms   p99 {:>8.3} ms   max {:>8.3} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn bare(dir: &Path) {
    let mut file = File::create(dir.join("bare")).unwrap();
    let record = vec![7_u8; 600];
    let mut times = Vec::new();
    for _ in 0..3_000 {
        let start = Instant::now();
        file.write_all(&record).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    report("bare append of 600 bytes + fdatasync", times);
}

/// What submitting one execution commits, about.
fn submit(n: u64) -> Transaction {
    let key = n.to_be_bytes().to_vec();
    let now = jiff::Timestamp::now();
    let newest = KeyBuilder::new().newest_first(now).number(n).build();
    Transaction::new(ORG)
        .put(Table::EXECUTIONS, key.clone(), vec![1; 300])
        .put(Table::JOBS, key.clone(), vec![2; 150])
        .put(Table::INDEX_JOBS_NEWEST, newest, key.clone())
        .enqueue(QueueEntry::new("compute", key))
        .event(NewEvent::new(
            "execution.queued",
            [
                "org".to_owned(),
                format!("execution:{n}"),
                format!("job:{n}"),
            ],
            json!({ "execution": n, "status": "queued" }),
        ))
}

fn update(n: u64, status: &str) -> Transaction {
    let key = n.to_be_bytes().to_vec();
    Transaction::new(ORG)
        .put(Table::EXECUTIONS, key.clone(), vec![3; 320])
        .put(Table::JOBS, key, vec![4; 150])
        .event(NewEvent::new(
            format!("execution.{status}"),
            [
                "org".to_owned(),
                format!("execution:{n}"),
                format!("job:{n}"),
            ],
            json!({ "execution": n, "status": status }),
        ))
}

async fn store(dir: &Path) {
    let path = dir.join("store");
    let store = Arc::new(LocalDatastore::open(&path, Options::default()).unwrap());

    let mut times = Vec::new();
    for n in 0..5_000 {
        let start = Instant::now();
        store.commit(submit(n)).await.unwrap();
        times.push(start.elapsed());
    }
    report("durable submit, one at a time", times);

    let start = Instant::now();
    let total = 100_000_u64;
    let mut submitters = tokio::task::JoinSet::new();
    for lane in 0..256 {
        let store = Arc::clone(&store);
        submitters.spawn(async move {
            let mut times = Vec::new();
            for n in (lane..total).step_by(256) {
                let start = Instant::now();
                store.commit(submit(10_000 + n)).await.unwrap();
                times.push(start.elapsed());
            }
            times
        });
    }
    let times: Vec<Duration> = submitters.join_all().await.concat();
    let rate = total as f64 / start.elapsed().as_secs_f64();
    report("durable submit, 256 at once", times);
    println!("{:<48} {rate:>10.0} /s", "");

    let start = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..64 {
        let store = Arc::clone(&store);
        workers.spawn(async move {
            let worker = format!("w{worker}");
            let mut done = 0_u64;
            loop {
                let minute = Duration::from_secs(60);
                let leases = store
                    .claim(ORG, "compute", &worker, 16, minute)
                    .await
                    .unwrap();
                if leases.is_empty() {
                    return done;
                }
                for lease in leases {
                    let n = u64::from_be_bytes(lease.payload.as_ref().try_into().unwrap());
                    store.commit(update(n, "started")).await.unwrap();
                    store
                        .complete(lease.token, update(n, "finished"))
                        .await
                        .unwrap();
                    done += 1;
                }
            }
        });
    }
    let done: u64 = workers.join_all().await.into_iter().sum();
    let rate = done as f64 / start.elapsed().as_secs_f64();
    println!(
        "{:<48} {rate:>10.0} /s",
        "claim 16, start, complete; 64 workers"
    );

    let start = Instant::now();
    assert!(store.flush(Duration::from_secs(120)));
    println!(
        "{:<48} {:>10.1?}",
        "flush of what was left",
        start.elapsed()
    );

    let mut times = Vec::new();
    for _ in 0..2_000 {
        let start = Instant::now();
        let page = RangeQuery::prefix("", 50);
        let rows = store.range(ORG, Table::INDEX_JOBS_NEWEST, &page).unwrap();
        for (_, key) in rows {
            store.get(ORG, Table::JOBS, &key).unwrap().unwrap();
        }
        times.push(start.elapsed());
    }
    report("newest 50 of all jobs, with bodies", times);

    let start = Instant::now();
    let Ok(store) = Arc::try_unwrap(store) else {
        return;
    };
    store.close();
    println!("{:<48} {:>10.1?}", "close", start.elapsed());
    let store = LocalDatastore::open(&path, Options::default()).unwrap();
    println!("{:<48} {:>10.1?}", "open", store.open_report().took);
}
