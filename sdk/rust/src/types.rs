//! The contract's shared types, with what makes them pleasant to build.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::bindings::{
    compute::exports::bindery::task::compute_task::{Batch, Column, ColumnData},
    host::bindery::task::types::{
        Artifact, Better, Error, InputFile, Item, ItemOutcome, ItemResult, Metric, Notice, Request,
        Severity, StepFault, View, Violation,
    },
};

impl Request {
    /// The parameters as a type of yours.
    ///
    /// # Errors
    /// `invalid-input` naming the parameters; after `validate` has accepted a request this means
    /// that the schema and the type disagree.
    pub fn parameters_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.parameters).map_err(|error| {
            Error::InvalidInput(vec![Violation::new(
                "/parameters",
                "invalid_parameters",
                error.to_string(),
            )])
        })
    }

    /// The parameters as a JSON value; `null` when they are not JSON.
    #[must_use]
    pub fn parameters_value(&self) -> Value {
        serde_json::from_str(&self.parameters).unwrap_or(Value::Null)
    }

    /// The parameters as a type of yours that knows its schema; see
    /// [`parameters!`](crate::parameters!).
    ///
    /// # Errors
    /// As [`parameters_as`](Self::parameters_as).
    pub fn read_parameters<T: crate::Parameters>(&self) -> Result<T, Error> {
        self.parameters_as()
    }

    /// The user's seed, or else the one that the host drew for this run.
    #[must_use]
    pub fn seed_or(&self, given: Option<u64>) -> u64 {
        given.unwrap_or(self.seed)
    }

    /// The files of a slot, in the order given.
    pub fn inputs_of<'a>(&'a self, slot: &'a str) -> impl Iterator<Item = &'a InputFile> {
        self.inputs.iter().filter(move |file| file.slot == slot)
    }

    /// The first file of a slot that has one in every request that runs.
    ///
    /// # Errors
    /// `invalid-input` at the slot.
    pub fn required_input(&self, slot: &str) -> Result<&InputFile, Error> {
        self.input(slot).ok_or_else(|| {
            Error::InvalidInput(vec![Violation::new(
                format!("/inputs/{slot}"),
                "required",
                "the file is missing",
            )])
        })
    }

    /// The first file of a slot.
    #[must_use]
    pub fn input(&self, slot: &str) -> Option<&InputFile> {
        self.inputs.iter().find(|file| file.slot == slot)
    }
}

impl InputFile {
    /// Where the guest reads this file.
    #[must_use]
    pub fn absolute_path(&self) -> PathBuf {
        crate::input_path(&self.path)
    }

    /// Reads the whole file.
    ///
    /// # Errors
    /// The operating system's, with the user's name for the file in front.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.absolute_path()).map_err(|error| {
            std::io::Error::new(error.kind(), format!("{}: {error}", self.original_name))
        })
    }

    /// Reads the whole file as text.
    ///
    /// # Errors
    /// `invalid-input` at the file's slot when it is not UTF-8; otherwise as [`read`](Self::read).
    pub fn read_text(&self) -> Result<String, Error> {
        String::from_utf8(self.read()?).map_err(|error| {
            Error::InvalidInput(vec![Violation::new(
                format!("/inputs/{}", self.slot),
                "not_text",
                format!(
                    "{} is not UTF-8 text (byte {})",
                    self.original_name,
                    error.utf8_error().valid_up_to()
                ),
            )])
        })
    }
}

impl Violation {
    /// `pointer` is RFC 6901 into the request, `code` stable `snake_case`.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            message: message.into(),
        }
    }
}

impl Notice {
    /// `code` is stable `snake_case`.
    pub fn new(severity: Severity, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity,
            code: code.into(),
            message: message.into(),
        }
    }

    /// Something that should be looked at.
    pub fn warning(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Something that is good to know.
    pub fn info(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, message)
    }
}

impl Metric {
    /// `value` is finite; `unit` is empty when there is none.
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: impl Into<String>,
        better: Better,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            better,
        }
    }
}

impl Artifact {
    /// `path` is below the guest's root: `/out/…` or `/work/…`.
    pub fn new(
        name: impl Into<String>,
        path: impl Into<String>,
        media_type: impl Into<String>,
        title: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            media_type: media_type.into(),
            title: title.into(),
        }
    }

    /// A file below `/out` that has the same name; see [`out_path`](crate::out_path).
    pub fn out(name: &str, media_type: impl Into<String>, title: impl Into<String>) -> Self {
        Self::new(name, format!("/out/{name}"), media_type, title)
    }
}

impl View {
    /// Kinds and what `spec` holds are listed in `docs/views.md` of Bindery.
    pub fn new(kind: impl Into<String>, title: impl Into<String>, spec: &Value) -> Self {
        Self {
            kind: kind.into(),
            title: title.into(),
            spec: spec.to_string(),
            artifacts: Vec::new(),
        }
    }

    /// Names of the artifacts that the view reads.
    #[must_use]
    pub fn artifacts<I: IntoIterator<Item = S>, S: Into<String>>(mut self, names: I) -> Self {
        self.artifacts = names.into_iter().map(Into::into).collect();
        self
    }
}

impl ItemResult {
    /// A result that is one JSON document.
    #[must_use]
    pub fn json(output: &Value) -> Self {
        Self {
            output: output.to_string(),
            confidence: None,
            metrics: Vec::new(),
            artifacts: Vec::new(),
            views: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Adds a number of the result.
    #[must_use]
    pub fn metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn artifact(mut self, artifact: Artifact) -> Self {
        self.artifacts.push(artifact);
        self
    }

    /// Adds a part of the result page.
    #[must_use]
    pub fn view(mut self, view: View) -> Self {
        self.views.push(view);
        self
    }

    /// Adds something that a person should know.
    #[must_use]
    pub fn notice(mut self, notice: Notice) -> Self {
        self.notices.push(notice);
        self
    }

    /// The output as a JSON value; `null` when it is not JSON.
    #[must_use]
    pub fn output_value(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or(Value::Null)
    }
}

impl Error {
    /// A step that did not do its work. `detail` quotes the engine.
    pub fn step(
        step: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        Self::StepFailed(StepFault {
            step: step.into(),
            code: code.into(),
            message: message.into(),
            detail: detail.into(),
        })
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}
