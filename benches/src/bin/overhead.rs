//! What the host adds to the engines: CPU time of `bindery run docking.vina` against the same
//! Open Babel and Vina commands without it, in turns.
//!
//! ```text
//! cargo run --release -p bindery-benches --bin overhead [runs]
//! ```
//!
//! The bare commands are those that the run itself recorded in `engine.log`, with the same
//! arguments on the same files; what the plugin does between them is left out. The prepared files
//! of the recorded run go to the bare engine, so that both search the same landscape from the same
//! seed, and the poses are compared byte for byte to prove it. CPU time is user and system time of
//! the command and everything below it, as the kernel counts it when the command is collected.
#![expect(clippy::print_stdout, reason = "a table for people")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

const CASES: [&str; 2] = ["1uw6", "184l"];
const EXHAUSTIVENESS: [u32; 2] = [8, 4];
const RUNS_DEFAULT: usize = 5;
/// The engines' names in `engine.log`, and the programs to run for them.
const PROGRAMS: [(&str, &str); 2] = [("openbabel", "obabel"), ("vina", "vina")];
/// Files that the plugin makes of the one before; without it, that one takes their place.
const HANDED_ON: [(&str, &str); 1] = [("ligand-raw.sdf", "ligand-bonds.sdf")];

fn main() -> Result<()> {
    let runs = std::env::args()
        .nth(1)
        .map_or(Ok(RUNS_DEFAULT), |text| text.parse())
        .context("runs")?;
    println!(
        "CPU seconds (user + system, with all children), median of {runs} runs in turns, \
         one search thread\n"
    );
    println!("| case | exhaustiveness | bindery run | bare commands | ratio | added, ms |");
    println!("|---|---|---|---|---|---|");
    for exhaustiveness in EXHAUSTIVENESS {
        for case in CASES {
            println!("{}", compare(case, exhaustiveness, runs)?);
        }
    }
    Ok(())
}

fn compare(case: &str, exhaustiveness: u32, runs: usize) -> Result<String> {
    let case_directory = shared().join("data/docking/cases").join(case);
    let recorded = tempfile::tempdir()?;
    // Warms up: the compiled plugin is cached, and programs and files are in memory.
    run_bindery(&case_directory, exhaustiveness, recorded.path())?;
    let bare = Bare::new(&case_directory, recorded.path())?;
    bare.run()?;

    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let out = tempfile::tempdir()?;
        with.push(run_bindery(&case_directory, exhaustiveness, out.path())?);
        without.push(bare.run()?);
    }
    let (with, without) = (median(&mut with), median(&mut without));
    ensure!(without > 0.0, "no runs");
    Ok(format!(
        "| {case} | {exhaustiveness} | {with:.3} | {without:.3} | {:.3} | {:.0} |",
        with / without,
        (with - without) * 1e3,
    ))
}

/// One docking into this directory.
fn run_bindery(case: &Path, exhaustiveness: u32, out: &Path) -> Result<Duration> {
    let search_box = std::fs::read_to_string(case.join("box.json")).context("box.json")?;
    let mut command = Command::new(dist()?.join("bindery"));
    command
        .args(["run", "docking.vina", "--json"])
        .arg("--input")
        .arg(format!("receptor={}", case.join("receptor.pdb").display()))
        .arg("--input")
        .arg(format!("ligand={}", case.join("ligand.sdf").display()))
        .arg("--param")
        .arg(format!("box={}", search_box.trim()))
        .args([
            "--param",
            &format!("exhaustiveness={exhaustiveness}"),
            "--param",
            "seed=42",
        ])
        .arg("--out")
        .arg(out);
    cpu_time(&mut command)
}

/// The commands of a recorded run, ready to run again without the host.
struct Bare {
    directory: tempfile::TempDir,
    /// Programs with their arguments, in order.
    commands: Vec<Vec<String>>,
    /// What the engine wrote in the recorded run.
    poses: Vec<u8>,
}

impl Bare {
    fn new(case: &Path, recorded: &Path) -> Result<Self> {
        let log = std::fs::read_to_string(recorded.join("engine.log")).context("engine.log")?;
        let mut commands = Vec::new();
        for line in log.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let mut words = line.split(' ').map(str::to_owned);
            let engine = words.next().unwrap_or_default();
            let (_, program) = PROGRAMS
                .iter()
                .find(|(name, _)| *name == engine)
                .with_context(|| format!("no program for `{engine}`"))?;
            let mut command = vec![(*program).to_owned()];
            command.extend(words);
            commands.push(command);
        }
        ensure!(
            commands.len() >= 3,
            "engine.log has {} commands",
            commands.len()
        );
        let directory = tempfile::tempdir()?;
        for (from, to) in [
            (case.join("receptor.pdb"), "receptor-source.pdb"),
            (case.join("ligand.sdf"), "ligand-source.sdf"),
        ] {
            std::fs::copy(from, directory.path().join(to))?;
        }
        for name in ["receptor.pdbqt", "ligand.pdbqt"] {
            std::fs::copy(recorded.join(name), directory.path().join(name))?;
        }
        let poses = std::fs::read(recorded.join("poses.pdbqt"))?;
        Ok(Self {
            directory,
            commands,
            poses,
        })
    }

    fn run(&self) -> Result<Duration> {
        let work = self.directory.path();
        let prepared = std::fs::read(work.join("ligand.pdbqt"))?;
        let mut total = Duration::ZERO;
        for words in &self.commands {
            let (program, arguments) = words.split_first().context("an empty command")?;
            if program == "vina" {
                // Open Babel has just written its own: the search is over the recorded one.
                std::fs::write(work.join("ligand.pdbqt"), &prepared)?;
            }
            let mut command = Command::new(program);
            command.args(arguments).current_dir(work).env("LC_ALL", "C");
            total += cpu_time(&mut command)?;
            for (from, to) in HANDED_ON {
                let from = work.join(from);
                if from.is_file() {
                    std::fs::copy(from, work.join(to))?;
                }
            }
        }
        let poses = std::fs::read(work.join("poses.pdbqt"))?;
        ensure!(
            poses == self.poses,
            "the bare engine found other poses: not the same work"
        );
        Ok(total)
    }
}

/// Runs to the end; the command must succeed.
fn cpu_time(command: &mut Command) -> Result<Duration> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("failed to start {}", command.get_program().display()))?;
    let (status, usage) = collect(child.id())?;
    if !(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0) {
        bail!(
            "{} ended with status {status:#x}",
            command.get_program().display()
        );
    }
    Ok(duration(usage.ru_utime)? + duration(usage.ru_stime)?)
}

/// Waits for a child of this process: the standard library does not tell what it used.
#[expect(unsafe_code, reason = "wait4 has no safe form in the standard library")]
fn collect(pid: u32) -> Result<(libc::c_int, libc::rusage)> {
    let pid = libc::pid_t::try_from(pid)?;
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live variables of the types that the call writes.
    let collected = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    if collected != pid {
        return Err(std::io::Error::last_os_error()).context("failed to wait for a command");
    }
    Ok((status, usage))
}

fn duration(time: libc::timeval) -> Result<Duration> {
    let micros = Duration::from_micros(u64::try_from(time.tv_usec)?);
    Ok(Duration::from_secs(u64::try_from(time.tv_sec)?) + micros)
}

/// In seconds; zero when there is none.
fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .map_or(0.0, Duration::as_secs_f64)
}

fn project() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The built programs: `BINDERY_DIST`, else `target/dist`.
fn dist() -> Result<PathBuf> {
    let dist = std::env::var_os("BINDERY_DIST")
        .map_or_else(|| project().join("target/dist"), PathBuf::from);
    ensure!(
        dist.join("bindery").is_file(),
        "no {}: run cargo xtask build",
        dist.display()
    );
    Ok(dist)
}

/// The test data: `BINDERY_SHARED`, else `../shared`.
fn shared() -> PathBuf {
    std::env::var_os("BINDERY_SHARED").map_or_else(|| project().join("../shared"), PathBuf::from)
}
