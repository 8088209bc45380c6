//! A power cut at any moment loses nothing that was acknowledged, tears nothing, and panics nobody.
//!
//! A child writes to a store on a file system of its own, in an image that is mounted through a
//! loop device. What that file system has not written to the image yet is what a power cut would
//! lose. So at random moments the child is stopped, the image is copied as it is, without any
//! sync, and the copy is mounted (which replays the file system's own journal), opened, and
//! compared with what the child had been told. For this one must be root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "test"
)]

mod support;

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bindery_datastore::{
    Datastore, EventQuery, LocalDatastore, NewEvent, OpenError, Options, Table, Transaction, audit,
};
use serde_json::json;
use support::{ORG, Random, child, options};

const LANES: u64 = 3;
/// A file that is written as the store is, and never synced: the proof that cuts lose something.
const UNSYNCED: &str = "unsynced";
const IMAGE_BYTES: u64 = 24 << 20;

/// How often the power goes; more by hand.
fn cuts() -> u64 {
    std::env::var("BINDERY_TEST_POWER_CUTS").map_or(12, |text| text.parse().unwrap())
}

fn run(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

struct Mounted(PathBuf);

impl Mounted {
    fn mount(image: &Path, at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        // What is written reaches the image late, unless it is synced: that is what gets lost.
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        run(
            "mount",
            &["-o", "loop,commit=300", &text(image), &text(&at)],
        )
        .then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        // Until the last handle of sled's threads is gone.
        while !run("umount", &[self.0.to_str().unwrap()]) {
            if Instant::now() > deadline {
                eprintln!("could not unmount {}", self.0.display());
                run("umount", &["-l", self.0.to_str().unwrap()]);
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself, when its disk was full.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Writer {
    fn signal(&self, signal: &str) {
        assert!(run("kill", &[signal, &self.0.id().to_string()]));
    }

    /// Stops it, and waits until it stands still.
    fn stop(&self) {
        self.signal("-STOP");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
            let all_stopped = tasks.flatten().all(|task| {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
                state.starts_with(['T', 't', 'Z', 'X'])
            });
            if all_stopped {
                return;
            }
            assert!(Instant::now() < deadline, "the writer does not stop");
            std::thread::yield_now();
        }
    }
}

fn small() -> Options {
    Options {
        index_cache_bytes: 1 << 20,
        segment_bytes_max: 64 * 1024,
        reserve_bytes: 0,
        ..options()
    }
}

fn lane_transaction(lane: u64, n: u64) -> Transaction {
    let topic = format!("lane/{lane}");
    Transaction::new(ORG)
        .put(
            Table::SETTINGS,
            format!("counter/{lane}").into_bytes(),
            n.to_be_bytes().to_vec(),
        )
        .put(
            Table::JOBS,
            format!("{lane}/{}", n % 50).into_bytes(),
            vec![n as u8; 300],
        )
        .event(NewEvent::new("n", [topic], json!([lane, n])))
}

/// Commits in lanes for ever; the newest acknowledged number of each goes to a file that is not
/// on the disk that fails.
#[test]
#[ignore = "the child of the test below"]
fn child_commits_until_the_power_goes() {
    let (Ok(dir), Ok(acked)) = (
        std::env::var("BINDERY_TEST_DIR"),
        std::env::var("BINDERY_TEST_ACKED"),
    ) else {
        return;
    };
    let acked = Arc::new(File::options().write(true).open(acked).unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Arc::new(LocalDatastore::open(Path::new(&dir), small()).unwrap());
        let unsynced = Path::new(&dir).with_file_name(UNSYNCED);
        let unsynced = Arc::new(File::create(unsynced).unwrap());
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..LANES {
            let (store, acked) = (Arc::clone(&store), Arc::clone(&acked));
            let unsynced = Arc::clone(&unsynced);
            lanes.spawn(async move {
                for n in 1.. {
                    if store.commit(lane_transaction(lane, n)).await.is_err() {
                        // A small disk is full some time; the parent begins anew.
                        return;
                    }
                    unsynced.write_all_at(&n.to_be_bytes(), lane * 8).unwrap();
                    acked.write_all_at(&n.to_be_bytes(), lane * 8).unwrap();
                }
            });
        }
        lanes.join_all().await;
        std::thread::sleep(Duration::from_secs(600));
    });
}

/// Numbers of the lanes; zero where the file does not reach.
fn acked(path: &Path) -> [u64; LANES as usize] {
    let mut data = Vec::new();
    if let Ok(mut file) = File::open(path) {
        file.read_to_end(&mut data).unwrap();
    }
    let mut lanes = [0; LANES as usize];
    for (lane, bytes) in lanes.iter_mut().zip(data.chunks_exact(8)) {
        *lane = u64::from_be_bytes(bytes.try_into().unwrap());
    }
    lanes
}

/// The image at one moment: copied until two copies in a row are equal, for the kernel may still
/// write to it by itself.
fn copy_at_rest(image: &Path, copy: &Path) {
    let mut before = fs::read(image).unwrap();
    loop {
        let now = fs::read(image).unwrap();
        if now == before {
            return fs::write(copy, now).unwrap();
        }
        before = now;
    }
}

/// Opens what is left after the cut, and compares it with what was promised.
fn check(dir: &Path, acked: [u64; LANES as usize], case: &str) -> &'static str {
    let store = match LocalDatastore::open(dir, small()) {
        Ok(store) => store,
        // Before the first commit there may be nothing at all.
        Err(OpenError::JournalForeign { .. }) if acked == [0; LANES as usize] => return "nothing",
        Err(error) => panic!("{case}: {error}"),
    };
    let mut last = [0_u64; LANES as usize];
    let mut after_seq = 0;
    loop {
        let page = store
            .events(ORG, &EventQuery::all(after_seq, 1_000))
            .unwrap_or_else(|error| panic!("{case}: {error}"));
        if page.is_empty() {
            break;
        }
        for event in page {
            after_seq += 1;
            assert_eq!(event.seq, after_seq, "{case}: gap in seq");
            let lane = event.data[0].as_u64().unwrap() as usize;
            last[lane] += 1;
            assert_eq!(event.data[1], json!(last[lane]), "{case}: lost or doubled");
        }
    }
    assert_eq!(store.last_seq(ORG), after_seq, "{case}");
    for lane in 0..LANES {
        let at = lane as usize;
        assert!(
            last[at] >= acked[at],
            "{case}: lane {lane} has {}, {} were acknowledged",
            last[at],
            acked[at]
        );
        // Rows and events of one transaction are both there, or neither.
        let counter = store
            .get(ORG, Table::SETTINGS, format!("counter/{lane}").as_bytes())
            .unwrap()
            .map_or(0, |value| {
                u64::from_be_bytes(value.as_ref().try_into().unwrap())
            });
        assert_eq!(counter, last[at], "{case}: torn");
        for n in last[at].saturating_sub(49).max(1)..=last[at] {
            let row = store
                .get(ORG, Table::JOBS, format!("{lane}/{}", n % 50).as_bytes())
                .unwrap();
            assert_eq!(
                row.unwrap(),
                vec![n as u8; 300],
                "{case}: row of {lane}/{n}"
            );
        }
    }
    let rebuilt = !store.open_report().rebuilt.is_empty();
    drop(store);
    let audit = audit(dir, &[], &mut |_| {}).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert!(audit.is_sound(), "{case}: {audit:?}");
    if rebuilt { "rebuilt" } else { "whole" }
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let mut random = Random::from_env();
    let (mut done, mut outcomes) = (0, std::collections::BTreeMap::<&str, u64>::new());
    let (mut commits, mut lost) = (0, 0);
    'images: while done < cuts() {
        let file = File::create(&image).unwrap();
        file.set_len(IMAGE_BYTES).unwrap();
        drop(file);
        if !run("mkfs.ext4", &["-q", "-F", image.to_str().unwrap()]) {
            eprintln!("SKIPPED: no mkfs.ext4 here");
            return;
        }
        let Some(mounted) = Mounted::mount(&image, dir.path().join("mounted")) else {
            eprintln!("SKIPPED: cannot mount through a loop device here");
            return;
        };
        let told = dir.path().join("acked");
        fs::write(&told, [0; 8 * LANES as usize]).unwrap();
        let process = child(
            "child_commits_until_the_power_goes",
            &[
                (
                    "BINDERY_TEST_DIR",
                    mounted.0.join("store").to_str().unwrap(),
                ),
                ("BINDERY_TEST_ACKED", told.to_str().unwrap()),
            ],
        )
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
        let writer = Writer(process);
        // Some cuts per life: the file system is new at first, and has a past later.
        for _ in 0..6 {
            let before = acked(&told);
            std::thread::sleep(Duration::from_micros(random.below(120_000)));
            writer.stop();
            let promised = acked(&told);
            let copy = dir.path().join("copy");
            copy_at_rest(&image, &copy);
            writer.signal("-CONT");
            let case = format!("cut {done}, acknowledged {promised:?}");
            let after = Mounted::mount(&copy, dir.path().join("after"))
                .unwrap_or_else(|| panic!("{case}: the file system itself is broken"));
            let outcome = check(&after.0.join("store"), promised, &case);
            *outcomes.entry(outcome).or_default() += 1;
            lost += u64::from(acked(&after.0.join(UNSYNCED)) < promised);
            done += 1;
            commits = commits.max(promised.iter().sum());
            drop(after);
            if done >= cuts() {
                break 'images;
            }
            // Full, or not begun: a new image tells more than the same one again.
            if promised == before && promised != [0; LANES as usize] {
                break;
            }
        }
    }
    eprintln!(
        "{done} power cuts, up to {commits} commits before one: {outcomes:?}; \
         {lost} of them lost what was not synced"
    );
    assert!(commits > 0, "no cut came after a commit");
    assert!(lost > 0, "cuts that lose nothing prove nothing");
}
