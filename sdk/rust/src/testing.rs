//! Runs a task natively in a unit test: no server, no component, no engine.
//!
//! What a test of this kind cannot see is the component itself; a case of the package
//! (`cases/NAME/case.toml`, run by `bindery plugin test`) does.
//!
//! ```
//! use bindery_sdk::{prelude::*, testing::Trial};
//!
//! struct Lines;
//!
//! impl Task for Lines {
//!     fn definition() -> TaskDefinition {
//!         TaskDefinition::new("text.lines", "1.0.0", "Lines").input(
//!             "text", "Text", "", &["*/*"], Cardinality::One)
//!     }
//! }
//!
//! impl Compute for Lines {
//!     fn compute(request: &Request) -> Result<ItemResult, Error> {
//!         let text = request.required_input("text")?.read_text()?;
//!         std::fs::write(bindery_sdk::out_path("count.txt"), text.lines().count().to_string())?;
//!         Ok(ItemResult::json(&json!({ "lines": text.lines().count() }))
//!             .artifact(Artifact::out("count.txt", "text/plain", "Count")))
//!     }
//! }
//!
//! let trial = Trial::of::<Lines>().input("text", "a.txt", b"one\ntwo\n");
//! trial.validate().unwrap();
//! let result = trial.compute::<Lines>().unwrap();
//! assert_eq!(result.output_value()["lines"], 2);
//! assert_eq!(trial.file("/out/count.txt"), b"2");
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::Value;

use crate::{
    Compute, Decision, EngineTask, Error, InputFile, Item, ItemResult, Notice, Request, Root, Step,
    StepEnding, StepOutcome, StepUsage, Task, TaskDefinition, Violation,
};

/// Plans of more rounds do not end on a host either.
const ROUNDS_MAX: usize = 64;

/// A request for a task, with directories of its own that are gone when it is dropped.
#[derive(Debug)]
pub struct Trial {
    directory: PathBuf,
    request: Request,
    definition: TaskDefinition,
    validate: fn(&Request) -> Result<crate::Normalised, Vec<Violation>>,
}

impl Trial {
    /// A request without parameters and files, with the seed 1.
    ///
    /// # Panics
    /// When there is no place for temporary files.
    #[must_use]
    pub fn of<T: Task>() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let definition = T::definition();
        let directory = std::env::temp_dir().join(format!(
            "bindery-trial-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        for name in ["in", "work", "out"] {
            must(fs::create_dir_all(directory.join(name)));
        }
        Self {
            request: Request {
                task: definition.id.clone(),
                parameters: "{}".to_owned(),
                inputs: Vec::new(),
                items: vec![Item {
                    index: 0,
                    label: String::new(),
                    parameters: None,
                    inputs: Vec::new(),
                }],
                seed: 1,
            },
            definition,
            directory,
            validate: T::validate,
        }
    }

    /// Sets the parameters; the schema's defaults are filled in as the host does.
    #[must_use]
    pub fn parameters(mut self, mut parameters: Value) -> Self {
        fill_defaults(&self.definition.parameters, &mut parameters);
        self.request.parameters = parameters.to_string();
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.request.seed = seed;
        self
    }

    /// Adds a file to a slot.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn input(mut self, slot: &str, name: &str, content: &[u8]) -> Self {
        let count = self
            .request
            .inputs
            .iter()
            .filter(|file| file.slot == slot)
            .count();
        let extension = Path::new(name)
            .extension()
            .map_or_else(|| "dat".into(), |extension| extension.to_string_lossy());
        let path = format!("{slot}/{count}.{extension}");
        let target = self.directory.join("in").join(&path);
        must(fs::create_dir_all(target.parent().unwrap_or(&target)));
        must(fs::write(&target, content));
        let media_type = self
            .definition
            .inputs
            .iter()
            .find(|known| known.name == slot)
            .and_then(|known| known.accepts.first())
            .filter(|accepted| *accepted != "*/*");
        self.request.inputs.push(InputFile {
            slot: slot.to_owned(),
            path,
            original_name: name.to_owned(),
            media_type: media_type
                .cloned()
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            size_bytes: content.len() as u64,
            // Tasks show it; they cannot check it without the host.
            digest: format!("sha256:{:064x}", content.len()),
        });
        self
    }

    /// The request as the task gets it.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Asks the task's own `validate`; gives the normalised parameters and what it noted. The
    /// schema is the host's business and is not checked here.
    ///
    /// # Errors
    /// The faults.
    ///
    /// # Panics
    /// When the normalised parameters are not JSON.
    pub fn validate(&self) -> Result<(Value, Vec<Notice>), Vec<Violation>> {
        let _root = Root::at(&self.directory);
        let normalised = (self.validate)(&self.request)?;
        Ok((
            must(serde_json::from_str(&normalised.parameters)),
            normalised.notices,
        ))
    }

    /// The request as a run gets it: with the parameters as `validate` normalised them.
    fn accepted(&self) -> Result<Request, Error> {
        let (parameters, _notices) = self.validate().map_err(Error::InvalidInput)?;
        Ok(Request {
            parameters: parameters.to_string(),
            ..self.request.clone()
        })
    }

    /// Validates and computes.
    ///
    /// # Errors
    /// The task's.
    pub fn compute<T: Compute>(&self) -> Result<ItemResult, Error> {
        let request = self.accepted()?;
        let _root = Root::at(&self.directory);
        T::compute(&request)
    }

    /// Validates, plans and parses. `engine` stands in for the engines: it is given each step and
    /// the directory `/work`, writes what the engine would, and says how the step ended and what
    /// was printed.
    ///
    /// # Errors
    /// The task's.
    ///
    /// # Panics
    /// When the plan does not end, or files cannot be written.
    pub fn engine<T: EngineTask>(
        &self,
        mut engine: impl FnMut(&Step, &Path) -> (StepEnding, String),
    ) -> Result<ItemResult, Error> {
        let request = self.accepted()?;
        let _root = Root::at(&self.directory);
        let work = self.directory.join("work");
        let mut done: Vec<StepOutcome> = Vec::new();
        for _round in 0..ROUNDS_MAX {
            let steps = match T::next(&request, &done)? {
                Decision::Run(steps) => steps,
                Decision::Finished => {
                    let mut outcomes = T::parse(&request, &done)?;
                    assert_eq!(outcomes.len(), 1, "a request has one item");
                    return outcomes.remove(0).verdict;
                }
            };
            for step in steps {
                let (ending, printed) = engine(&step, &work);
                let streams = work.join(".steps").join(&step.id);
                must(fs::create_dir_all(&streams));
                must(fs::write(streams.join("stdout"), printed));
                must(fs::write(streams.join("stderr"), ""));
                done.push(StepOutcome {
                    stdout: format!("/work/.steps/{}/stdout", step.id),
                    stderr: format!("/work/.steps/{}/stderr", step.id),
                    step: step.id,
                    engine: step.engine,
                    engine_version: "0.0.0".to_owned(),
                    ending,
                    usage: StepUsage {
                        wall_ms: 1,
                        cpu_ms: 1,
                        peak_memory_bytes: 0,
                    },
                    dropped_bytes: 0,
                });
            }
        }
        #[allow(clippy::panic, reason = "for tests")]
        {
            panic!("the plan did not end after {ROUNDS_MAX} rounds");
        }
    }

    /// A file that the task wrote, by its path below the guest's root, such as an artifact's.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn file(&self, path: &str) -> Vec<u8> {
        must(fs::read(self.directory.join(path.trim_start_matches('/'))))
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // What cannot be removed is in the system's temporary directory.
        let _ignored = fs::remove_dir_all(&self.directory);
    }
}

/// Fills in defaults as the host does.
fn fill_defaults(schema: &Value, value: &mut Value) {
    let (Some(properties), Some(object)) = (
        schema.get("properties").and_then(Value::as_object),
        value.as_object_mut(),
    ) else {
        return;
    };
    for (name, property) in properties {
        match (object.get_mut(name), property.get("default")) {
            (Some(there), _) => fill_defaults(property, there),
            (None, Some(default)) => {
                object.insert(name.clone(), default.clone());
            }
            (None, None) => {}
        }
    }
}

/// For what only fails in a test that cannot go on.
#[track_caller]
fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        #[allow(clippy::panic, reason = "for tests")]
        Err(error) => panic!("{error}"),
    }
}
