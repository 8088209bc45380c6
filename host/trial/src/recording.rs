//! What engine steps were asked for and what they left, kept with a case.
//!
//! ```text
//! cases/NAME/recording/
//!   steps.json          in the order asked
//!   STEP/stdout, STEP/stderr
//!   STEP/files/PATH     outputs, by their path below /work
//! ```

use std::{collections::BTreeMap, path::Path};

use bindery_core::{
    Digest, Usage,
    step::{Argument, Step, StepEnding, StepOutcome},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Difference, PackageFiles};

/// Version of `steps.json`.
const FORMAT: u32 = 1;
/// All files of one recording: it travels with every copy of the package.
const SIZE_BYTES_MAX: usize = 64 << 20;

/// A recording that cannot be used or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    #[error("recording/steps.json: {0}")]
    Index(String),
    #[error("recording/steps.json has format {0}, this host reads {FORMAT}: record it anew")]
    Format(u32),
    #[error("recording/{0} is not there")]
    Missing(String),
    #[error("the recording is larger than {SIZE_BYTES_MAX} bytes: take a smaller case")]
    TooLarge,
    #[error("failed to read {path}: {fault}")]
    Read { path: String, fault: String },
}

/// All steps of one run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    pub steps: Vec<RecordedStep>,
}

/// One step, as it was asked for and as it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedStep {
    pub(crate) asked: Asked,
    pub(crate) engine_version: String,
    pub(crate) ending: StepEnding,
    pub(crate) usage: Usage,
    pub(crate) dropped_bytes: u64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// By path below `/work`.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// What must be the same for a recording to stand for a real run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) engine: String,
    pub(crate) arguments: Vec<ArgumentRecord>,
    /// Digests of the files below `/work` that it reads.
    pub(crate) reads: BTreeMap<String, String>,
    /// Paths below `/work`.
    pub(crate) outputs: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ArgumentRecord {
    Literal(String),
    Input(String),
    Work(String),
    Output(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    format: u32,
    steps: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    asked: Asked,
    engine_version: String,
    ending: EndingRecord,
    wall_ms: u64,
    cpu_ms: u64,
    peak_memory_bytes: u64,
    dropped_bytes: u64,
    files: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndingRecord {
    Exited(i32),
    Crashed(i32),
    MemoryExceeded,
    CpuExceeded,
    DiskExceeded,
    TimedOut,
    OutputMissing(String),
}

impl Asked {
    /// What a step asks for, with the digests of what is in the work directory now.
    pub(crate) fn of(step: &Step, work: &Path) -> Result<Self, RecordingError> {
        let arguments: Vec<ArgumentRecord> = step
            .arguments
            .iter()
            .map(|argument| match argument {
                Argument::Literal(text) => ArgumentRecord::Literal(text.clone()),
                Argument::Input(path) => ArgumentRecord::Input(path.clone()),
                Argument::Work(path) => ArgumentRecord::Work(path.clone()),
                Argument::Output(path) => ArgumentRecord::Output(path.clone()),
            })
            .collect();
        let named = step.arguments.iter().filter_map(|argument| match argument {
            Argument::Work(path) => Some(path),
            _ => None,
        });
        let mut reads = BTreeMap::new();
        for path in named.chain(&step.reads) {
            let content = read(&work.join(path), path)?;
            reads.insert(path.clone(), Digest::of(&content).to_string());
        }
        Ok(Self {
            id: step.id.clone(),
            engine: step.engine.clone(),
            arguments,
            reads,
            outputs: step
                .outputs
                .iter()
                .map(|output| output.path.clone())
                .collect(),
        })
    }

    /// What has changed since a step was recorded.
    pub(crate) fn changes(&self, recorded: &Self) -> Vec<Difference> {
        let as_json = |asked: &Self| {
            json!({
                "engine": asked.engine,
                "arguments": asked.arguments,
                "reads": asked.reads,
                "outputs": asked.outputs,
            })
        };
        crate::differences(
            &format!("/steps/{}", self.id),
            &as_json(recorded),
            &as_json(self),
            0.0,
        )
    }
}

impl RecordedStep {
    /// Takes what a step that has just ended left in its work directory.
    pub(crate) fn take(
        asked: Asked,
        outcome: &StepOutcome,
        work: &Path,
    ) -> Result<Self, RecordingError> {
        let stream = |name: &str| read(&work.join(".steps").join(&asked.id).join(name), name);
        let (stdout, stderr) = (stream("stdout")?, stream("stderr")?);
        let mut files = BTreeMap::new();
        for path in &asked.outputs {
            let file = work.join(path);
            // What was not required may be absent.
            if file.is_file() {
                files.insert(path.clone(), read(&file, path)?);
            }
        }
        Ok(Self {
            asked,
            engine_version: outcome.engine_version.clone(),
            ending: outcome.ending.clone(),
            usage: outcome.usage,
            dropped_bytes: outcome.dropped_bytes,
            stdout,
            stderr,
            files,
        })
    }

    /// Lays down what the step left, as if it had just run.
    pub(crate) fn replay(&self, work: &Path) -> std::io::Result<StepOutcome> {
        let inside = format!(".steps/{}", self.asked.id);
        let write = |path: &Path, content: &[u8]| {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::write(path, content)
        };
        write(&work.join(&inside).join("stdout"), &self.stdout)?;
        write(&work.join(&inside).join("stderr"), &self.stderr)?;
        for (path, content) in &self.files {
            write(&work.join(path), content)?;
        }
        Ok(StepOutcome {
            step: self.asked.id.clone(),
            engine: self.asked.engine.clone(),
            engine_version: self.engine_version.clone(),
            ending: self.ending.clone(),
            usage: self.usage,
            stdout: format!("/work/{inside}/stdout"),
            stderr: format!("/work/{inside}/stderr"),
            dropped_bytes: self.dropped_bytes,
        })
    }

    fn size_bytes(&self) -> usize {
        self.stdout.len() + self.stderr.len() + self.files.values().map(Vec::len).sum::<usize>()
    }
}

impl Recording {
    /// Reads a recording; none when there is none.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn read(files: &dyn PackageFiles, directory: &str) -> Result<Option<Self>, RecordingError> {
        let Some(index) = files.content(&format!("{directory}/steps.json")) else {
            return Ok(None);
        };
        let index: Value = serde_json::from_slice(&index)
            .map_err(|error| RecordingError::Index(error.to_string()))?;
        match index.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            other => {
                return Err(RecordingError::Format(
                    other
                        .and_then(|format| u32::try_from(format).ok())
                        .unwrap_or(0),
                ));
            }
        }
        let index: Index = serde_json::from_value(index)
            .map_err(|error| RecordingError::Index(error.to_string()))?;
        let content = |path: String| {
            files
                .content(&format!("{directory}/{path}"))
                .ok_or(RecordingError::Missing(path))
        };
        let mut steps = Vec::with_capacity(index.steps.len());
        for entry in index.steps {
            let id = entry.asked.id.clone();
            let mut kept = BTreeMap::new();
            for path in entry.files {
                // Written below the work directory at replay: only where the plan, which is
                // checked then, has declared an output.
                if !entry.asked.outputs.contains(&path) {
                    return Err(RecordingError::Index(format!(
                        "step `{id}` keeps `{path}`, which is none of its outputs"
                    )));
                }
                kept.insert(path.clone(), content(format!("{id}/files/{path}"))?);
            }
            steps.push(RecordedStep {
                stdout: content(format!("{id}/stdout"))?,
                stderr: content(format!("{id}/stderr"))?,
                asked: entry.asked,
                engine_version: entry.engine_version,
                ending: ending(entry.ending),
                usage: Usage {
                    wall_ms: entry.wall_ms,
                    cpu_ms: entry.cpu_ms,
                    peak_memory_bytes: entry.peak_memory_bytes,
                },
                dropped_bytes: entry.dropped_bytes,
                files: kept,
            });
        }
        Ok(Some(Self { steps }))
    }

    /// The files of a recording, by their path below `recording/`.
    ///
    /// # Errors
    /// When it is too large to travel with a package.
    pub fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, RecordingError> {
        if self
            .steps
            .iter()
            .map(RecordedStep::size_bytes)
            .sum::<usize>()
            > SIZE_BYTES_MAX
        {
            return Err(RecordingError::TooLarge);
        }
        let mut files = BTreeMap::new();
        let mut entries = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let id = &step.asked.id;
            files.insert(format!("{id}/stdout"), step.stdout.clone());
            files.insert(format!("{id}/stderr"), step.stderr.clone());
            for (path, content) in &step.files {
                files.insert(format!("{id}/files/{path}"), content.clone());
            }
            entries.push(Entry {
                asked: step.asked.clone(),
                engine_version: step.engine_version.clone(),
                ending: ending_record(&step.ending),
                wall_ms: step.usage.wall_ms,
                cpu_ms: step.usage.cpu_ms,
                peak_memory_bytes: step.usage.peak_memory_bytes,
                dropped_bytes: step.dropped_bytes,
                files: step.files.keys().cloned().collect(),
            });
        }
        let index = Index {
            format: FORMAT,
            steps: entries,
        };
        let mut text = serde_json::to_vec_pretty(&index)
            .map_err(|error| RecordingError::Index(error.to_string()))?;
        text.push(b'\n');
        files.insert("steps.json".to_owned(), text);
        Ok(files)
    }
}

fn read(path: &Path, name: &str) -> Result<Vec<u8>, RecordingError> {
    std::fs::read(path).map_err(|error| RecordingError::Read {
        path: name.to_owned(),
        fault: error.to_string(),
    })
}

fn ending(record: EndingRecord) -> StepEnding {
    match record {
        EndingRecord::Exited(code) => StepEnding::Exited(code),
        EndingRecord::Crashed(signal) => StepEnding::Crashed(signal),
        EndingRecord::MemoryExceeded => StepEnding::MemoryExceeded,
        EndingRecord::CpuExceeded => StepEnding::CpuExceeded,
        EndingRecord::DiskExceeded => StepEnding::DiskExceeded,
        EndingRecord::TimedOut => StepEnding::TimedOut,
        EndingRecord::OutputMissing(path) => StepEnding::OutputMissing(path),
    }
}

fn ending_record(ending: &StepEnding) -> EndingRecord {
    match ending {
        StepEnding::Exited(code) => EndingRecord::Exited(*code),
        StepEnding::Crashed(signal) => EndingRecord::Crashed(*signal),
        StepEnding::MemoryExceeded => EndingRecord::MemoryExceeded,
        StepEnding::CpuExceeded => EndingRecord::CpuExceeded,
        StepEnding::DiskExceeded => EndingRecord::DiskExceeded,
        StepEnding::TimedOut => EndingRecord::TimedOut,
        StepEnding::OutputMissing(path) => EndingRecord::OutputMissing(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    fn recording() -> Recording {
        Recording {
            steps: vec![RecordedStep {
                asked: Asked {
                    id: "one".to_owned(),
                    engine: "echo".to_owned(),
                    arguments: vec![
                        ArgumentRecord::Literal("-x".to_owned()),
                        ArgumentRecord::Output("out/a.txt".to_owned()),
                    ],
                    reads: BTreeMap::new(),
                    outputs: vec!["out/a.txt".to_owned()],
                },
                engine_version: "1.0".to_owned(),
                ending: StepEnding::OutputMissing("b".to_owned()),
                usage: Usage::default(),
                dropped_bytes: 3,
                stdout: b"hello".to_vec(),
                stderr: Vec::new(),
                files: BTreeMap::from([("out/a.txt".to_owned(), vec![0, 255])]),
            }],
        }
    }

    fn in_package(recording: &Recording) -> BTreeMap<String, Vec<u8>> {
        let files = recording.files().unwrap().into_iter();
        files
            .map(|(path, content)| (format!("r/{path}"), content))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let recording = recording();
        let files = in_package(&recording);
        assert_eq!(Recording::read(&files, "r"), Ok(Some(recording)));
        assert_eq!(Recording::read(&files, "elsewhere"), Ok(None));
    }

    #[test]
    fn a_damaged_one_is_refused() {
        let mut files = in_package(&recording());
        files.remove("r/one/files/out/a.txt");
        assert!(matches!(
            Recording::read(&files, "r"),
            Err(RecordingError::Missing(_))
        ));
        let mut files = in_package(&recording());
        let index = String::from_utf8(files.remove("r/steps.json").unwrap()).unwrap();
        let later = index.replace("\"format\": 1", "\"format\": 2");
        files.insert("r/steps.json".to_owned(), later.into_bytes());
        assert_eq!(Recording::read(&files, "r"), Err(RecordingError::Format(2)));
        // A file that is no output would be written wherever its path says.
        let outside = index.replacen(
            "\"files\": [\n        \"out/a.txt\"",
            "\"files\": [\n        \"../a.txt\"",
            1,
        );
        assert_ne!(outside, index);
        files.insert("r/steps.json".to_owned(), outside.into_bytes());
        assert!(matches!(
            Recording::read(&files, "r"),
            Err(RecordingError::Index(_))
        ));
    }

    #[test]
    fn a_change_of_what_is_asked_is_named() {
        let recorded = recording().steps.remove(0).asked;
        let mut now = recorded.clone();
        now.arguments = vec![
            ArgumentRecord::Literal("-y".to_owned()),
            ArgumentRecord::Output("out/a.txt".to_owned()),
        ];
        assert_eq!(recorded.changes(&recorded), []);
        let changes = now.changes(&recorded);
        let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            ["/steps/one/arguments/0/literal: expected -x, got -y"]
        );
    }
}
