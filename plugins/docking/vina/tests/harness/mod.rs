//! Drives the task natively as a host would: directories `in`, `work` and `out`, each step in a
//! directory of its own with the files it was granted, outputs kept and nothing else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    reason = "test"
)]

pub mod rmsd;

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use bindery_sdk::{
    Root,
    prelude::*,
    serde_json::{self, Value},
};
use docking_vina::Vina;

/// Rounds the contract allows.
const ROUNDS_MAX: usize = 64;
/// No file of the tests takes as long with the engines at work.
const STEP_SECONDS_MAX: u64 = 400;

/// The shared data, or none (and a word on stderr) when it is not there.
pub fn shared() -> Option<PathBuf> {
    let directory = std::env::var_os("BINDERY_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared"),
        PathBuf::from,
    );
    if directory.join("data/docking").is_dir() {
        return Some(directory);
    }
    eprintln!("SKIPPED: {} is not there", directory.display());
    None
}

/// Whether the engines are installed; a word on stderr when not.
pub fn engines() -> bool {
    let there = ["vina", "obabel"].iter().all(|program| {
        Command::new(program)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    });
    if !there {
        eprintln!("SKIPPED: vina and obabel are not installed");
    }
    there
}

pub fn box_of_case(case: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(case.join("box.json")).unwrap()).unwrap()
}

/// One execution. Its directory is removed when it is dropped.
pub struct Execution {
    pub directory: PathBuf,
    pub request: Request,
    pub done: Vec<StepOutcome>,
    /// Progress values of the docking, in order.
    pub progress: Vec<f32>,
}

impl Drop for Execution {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Execution {
    pub fn new(parameters: &Value) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("bindery-vina-{}-{number}", std::process::id()));
        for part in ["in", "work/.steps", "out"] {
            std::fs::create_dir_all(directory.join(part)).unwrap();
        }
        let request = Request {
            task: "docking.vina".to_owned(),
            parameters: parameters.to_string(),
            inputs: Vec::new(),
            items: vec![Item {
                index: 0,
                label: String::new(),
                parameters: None,
                inputs: Vec::new(),
            }],
            seed: 20_261_121,
        };
        Self {
            directory,
            request,
            done: Vec::new(),
            progress: Vec::new(),
        }
    }

    /// Puts a file into a slot, as the host would: a path from the slot's name, the type as sniffed.
    pub fn input(mut self, slot: &str, file: &Path) -> Self {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(file).unwrap();
        self.input_bytes(slot, &name, &bytes);
        self
    }

    pub fn input_bytes(&mut self, slot: &str, name: &str, bytes: &[u8]) {
        let path = format!("{slot}/0");
        std::fs::create_dir_all(self.directory.join("in").join(slot)).unwrap();
        std::fs::write(self.directory.join("in").join(&path), bytes).unwrap();
        let media_type = bindery_chem::sniff(bytes, name)
            .map_or("application/octet-stream", |sniffed| {
                sniffed.format.media_type()
            });
        self.request.inputs.push(InputFile {
            slot: slot.to_owned(),
            path,
            original_name: name.to_owned(),
            media_type: media_type.to_owned(),
            size_bytes: bytes.len() as u64,
            digest: String::new(),
        });
    }

    pub fn validate(&self) -> Result<Normalised, Vec<Violation>> {
        let _root = Root::at(&self.directory);
        Vina::validate(&self.request)
    }

    /// Codes and pointers of what `validate` refuses.
    pub fn refused(&self) -> Vec<(String, String)> {
        match self.validate() {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .into_iter()
                .map(|fault| (fault.pointer, fault.code))
                .collect(),
        }
    }

    /// Validates, runs all steps and parses.
    pub fn run(&mut self) -> Result<ItemResult, Error> {
        let normalised = self.validate().map_err(Error::InvalidInput)?;
        self.request.parameters = normalised.parameters;
        for _ in 0..ROUNDS_MAX {
            let decision = {
                let _root = Root::at(&self.directory);
                Vina::next(&self.request, &self.done)?
            };
            match decision {
                Decision::Finished => return self.parse(),
                Decision::Run(steps) => {
                    for step in steps {
                        let outcome = self.run_step(&step);
                        self.done.push(outcome);
                    }
                }
            }
        }
        panic!("the plan never finishes");
    }

    /// Runs the steps up to the docking, and gives the prepared receptor and ligand.
    pub fn prepare(&mut self) -> Result<(String, String), Error> {
        let normalised = self.validate().map_err(Error::InvalidInput)?;
        self.request.parameters = normalised.parameters;
        for _ in 0..ROUNDS_MAX {
            let decision = {
                let _root = Root::at(&self.directory);
                Vina::next(&self.request, &self.done)?
            };
            match decision {
                Decision::Run(steps) if steps.iter().all(|step| step.engine != "vina") => {
                    for step in steps {
                        let outcome = self.run_step(&step);
                        self.done.push(outcome);
                    }
                }
                _ => {
                    return Ok((
                        self.file("work/receptor.pdbqt"),
                        self.file("work/ligand.pdbqt"),
                    ));
                }
            }
        }
        panic!("the plan never docks");
    }

    pub fn parse(&self) -> Result<ItemResult, Error> {
        let _root = Root::at(&self.directory);
        let mut outcomes = Vina::parse(&self.request, &self.done)?;
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).verdict
    }

    pub fn file(&self, path: &str) -> String {
        let path = self.directory.join(path.trim_start_matches('/'));
        String::from_utf8(std::fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}", path.display());
        }))
        .unwrap()
    }

    /// The bytes of an artifact of this result.
    pub fn artifact(&self, result: &ItemResult, name: &str) -> String {
        let artifact = result
            .artifacts
            .iter()
            .find(|artifact| artifact.name == name);
        self.file(
            &artifact
                .unwrap_or_else(|| panic!("no artifact {name}"))
                .path,
        )
    }

    fn run_step(&mut self, step: &Step) -> StepOutcome {
        let work = self.directory.join("work");
        let scratch = self.directory.join(format!("scratch-{}", step.id));
        std::fs::create_dir_all(&scratch).unwrap();
        let mut words = Vec::new();
        for argument in &step.arguments {
            let (from, path) = match argument {
                Argument::Literal(text) => {
                    words.push(text.clone());
                    continue;
                }
                Argument::Output(path) => {
                    assert!(step.outputs.iter().any(|output| output.path == *path));
                    words.push(path.clone());
                    continue;
                }
                Argument::Input(path) => (self.directory.join("in"), path),
                Argument::Work(path) => (work.clone(), path),
            };
            std::fs::copy(from.join(path), scratch.join(path)).unwrap();
            words.push(path.clone());
        }
        for path in &step.reads {
            std::fs::copy(work.join(path), scratch.join(path)).unwrap();
        }
        let (program, version) = match step.engine.as_str() {
            "vina" => ("vina", "1.2.3"),
            "openbabel" => ("obabel", "3.1.1"),
            other => panic!("the definition has no engine {other}"),
        };
        let mut child = Command::new("prlimit")
            .arg(format!("--as={}", step.limits.memory_bytes))
            .args(["timeout", "--foreground"])
            .arg(
                (step.limits.cpu_ms / 1000)
                    .min(STEP_SECONDS_MAX)
                    .to_string(),
            )
            .arg(program)
            .args(&words)
            .current_dir(&scratch)
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut monitor = <Vina as EngineTask>::Monitor::new(&self.request, &step.id);
        let mut stdout = child.stdout.take().unwrap();
        let mut printed = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let count = stdout.read(&mut piece).unwrap();
            if count == 0 {
                break;
            }
            printed.extend_from_slice(&piece[..count]);
            for signal in monitor.feed(OutputStream::Stdout, &piece[..count]) {
                if let Signal::Progress(share) = signal {
                    self.progress.push(share);
                }
            }
        }
        let status = child.wait().unwrap();
        for output in &step.outputs {
            if scratch.join(&output.path).exists() {
                std::fs::copy(scratch.join(&output.path), work.join(&output.path)).unwrap();
            }
        }
        let missing = step
            .outputs
            .iter()
            .find(|output| output.required && !work.join(&output.path).exists());
        let ending = match (status.code(), missing) {
            // What `timeout` says of itself.
            (Some(124), _) => StepEnding::TimedOut,
            // And of a program that a signal has killed.
            (Some(code @ 129..), _) => StepEnding::Crashed(code - 128),
            (Some(_), Some(output)) => StepEnding::OutputMissing(output.path.clone()),
            (Some(code), None) => StepEnding::Exited(code),
            (None, _) => {
                StepEnding::Crashed(std::os::unix::process::ExitStatusExt::signal(&status).unwrap())
            }
        };
        std::fs::remove_dir_all(&scratch).unwrap();
        self.recorded(
            &step.id,
            &step.engine,
            version,
            ending,
            &printed,
            &errors.join().unwrap(),
        )
    }

    /// An outcome whose words lie where the host puts them.
    pub fn recorded(
        &self,
        step: &str,
        engine: &str,
        version: &str,
        ending: StepEnding,
        stdout: &[u8],
        stderr: &[u8],
    ) -> StepOutcome {
        let directory = format!("work/.steps/{step}");
        std::fs::create_dir_all(self.directory.join(&directory)).unwrap();
        std::fs::write(self.directory.join(&directory).join("stdout"), stdout).unwrap();
        std::fs::write(self.directory.join(&directory).join("stderr"), stderr).unwrap();
        StepOutcome {
            step: step.to_owned(),
            engine: engine.to_owned(),
            engine_version: version.to_owned(),
            ending,
            usage: StepUsage {
                wall_ms: 1,
                cpu_ms: 1,
                peak_memory_bytes: 1 << 20,
            },
            stdout: format!("/{directory}/stdout"),
            stderr: format!("/{directory}/stderr"),
            dropped_bytes: 0,
        }
    }
}
