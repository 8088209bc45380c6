//! What a task says of itself.

use serde_json::{Value, json};

use crate::{Notice, Request, Violation};

/// The part every task has: what it is, and whether a request makes sense.
pub trait Task {
    /// Constant for one version of the task.
    fn definition() -> TaskDefinition;

    /// Checks across parameters and files, beyond what the parameter schema says (the host has
    /// checked that already and filled in its defaults). All faults at once.
    ///
    /// # Errors
    /// Every fault found.
    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        Ok(Normalised {
            parameters: request.parameters.clone(),
            notices: Vec::new(),
        })
    }

    /// What a request that was accepted will need, where the task can tell: people see it before
    /// the run, and the host admits by it instead of by the hints of the definition.
    fn estimate(_request: &Request, _normalised: &Normalised) -> Option<Estimate> {
        None
    }
}

/// See `estimate` in `wit/definition.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_bytes: u64,
}

/// A publication that whoever uses a result has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    pub text: String,
    /// Without `https://doi.org/`; empty when there is none.
    pub doi: String,
    /// Empty when there is none.
    pub url: String,
}

/// See `normalised` in `wit/definition.wit`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalised {
    /// JSON text.
    pub parameters: String,
    pub notices: Vec<Notice>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    One,
    Optional,
    Many,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Determinism {
    Deterministic,
    Seeded,
    Varying,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSlot {
    pub name: String,
    pub title: String,
    pub summary: String,
    pub accepts: Vec<String>,
    pub cardinality: Cardinality,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSlot {
    pub name: String,
    pub title: String,
    pub media_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRequirement {
    pub engine: String,
    /// SemVer range; empty accepts all.
    pub versions: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceHints {
    pub cpu_cores: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub wall_ms: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub title: String,
    pub parameters: Value,
    /// Slot and path below the package's `examples/`.
    pub inputs: Vec<(String, String)>,
}

/// See `task-definition` in `wit/definition.wit`. Built with [`TaskDefinition::new`] and the
/// methods named like the fields.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskDefinition {
    pub id: String,
    pub version: String,
    pub title: String,
    pub category: String,
    pub summary: String,
    pub docs: String,
    pub parameters: Value,
    pub inputs: Vec<InputSlot>,
    pub output: Value,
    pub artifacts: Vec<OutputSlot>,
    pub engines: Vec<EngineRequirement>,
    pub resources: ResourceHints,
    pub determinism: Determinism,
    pub max_items_per_run: u32,
    pub examples: Vec<Example>,
    pub keywords: Vec<String>,
    pub citations: Vec<Citation>,
}

impl TaskDefinition {
    /// A task without parameters, inputs and engines, deterministic, of one core, 64 MiB of
    /// memory and disk each, and one minute.
    #[must_use]
    pub fn new(id: &str, version: &str, title: &str) -> Self {
        Self {
            id: id.to_owned(),
            version: version.to_owned(),
            title: title.to_owned(),
            category: "Other".to_owned(),
            summary: String::new(),
            docs: String::new(),
            parameters: json!({ "type": "object", "properties": {}, "additionalProperties": false }),
            inputs: Vec::new(),
            output: json!({}),
            artifacts: Vec::new(),
            engines: Vec::new(),
            resources: ResourceHints {
                cpu_cores: 1,
                memory_bytes: 64 << 20,
                disk_bytes: 64 << 20,
                wall_ms: 60_000,
            },
            determinism: Determinism::Deterministic,
            max_items_per_run: 1,
            examples: Vec::new(),
            keywords: Vec::new(),
            citations: Vec::new(),
        }
    }

    #[must_use]
    pub fn category(mut self, category: &str) -> Self {
        category.clone_into(&mut self.category);
        self
    }

    #[must_use]
    pub fn summary(mut self, summary: &str) -> Self {
        summary.clone_into(&mut self.summary);
        self
    }

    /// Markdown.
    #[must_use]
    pub fn docs(mut self, docs: &str) -> Self {
        docs.clone_into(&mut self.docs);
        self
    }

    /// JSON Schema 2020-12 of the parameters.
    #[must_use]
    pub fn parameters(mut self, schema: Value) -> Self {
        self.parameters = schema;
        self
    }

    /// Adds an input slot.
    #[must_use]
    pub fn input(
        mut self,
        name: &str,
        title: &str,
        summary: &str,
        accepts: &[&str],
        cardinality: Cardinality,
    ) -> Self {
        self.inputs.push(InputSlot {
            name: name.to_owned(),
            title: title.to_owned(),
            summary: summary.to_owned(),
            accepts: accepts
                .iter()
                .map(|&media_type| media_type.to_owned())
                .collect(),
            cardinality,
        });
        self
    }

    /// JSON Schema 2020-12 of the output.
    #[must_use]
    pub fn output(mut self, schema: Value) -> Self {
        self.output = schema;
        self
    }

    /// Adds an artifact that users may count on.
    #[must_use]
    pub fn artifact(mut self, name: &str, media_type: &str, title: &str) -> Self {
        self.artifacts.push(OutputSlot {
            name: name.to_owned(),
            title: title.to_owned(),
            media_type: media_type.to_owned(),
        });
        self
    }

    /// Adds an engine; `versions` is a SemVer range, empty for all.
    #[must_use]
    pub fn engine(mut self, engine: &str, versions: &str) -> Self {
        self.engines.push(EngineRequirement {
            engine: engine.to_owned(),
            versions: versions.to_owned(),
        });
        self
    }

    #[must_use]
    pub fn resources(mut self, resources: ResourceHints) -> Self {
        self.resources = resources;
        self
    }

    #[must_use]
    pub fn determinism(mut self, determinism: Determinism) -> Self {
        self.determinism = determinism;
        self
    }

    /// Words that the task is found by, beside its title and summary.
    #[must_use]
    pub fn keywords(mut self, keywords: &[&str]) -> Self {
        self.keywords
            .extend(keywords.iter().map(|&keyword| keyword.to_owned()));
        self
    }

    /// Adds a publication that whoever uses a result has to name; `doi` may be empty.
    #[must_use]
    pub fn citation(mut self, text: &str, doi: &str) -> Self {
        self.citations.push(Citation {
            text: text.to_owned(),
            doi: doi.to_owned(),
            url: String::new(),
        });
        self
    }

    #[must_use]
    pub fn example(mut self, title: &str, parameters: Value, inputs: &[(&str, &str)]) -> Self {
        self.examples.push(Example {
            title: title.to_owned(),
            parameters,
            inputs: inputs
                .iter()
                .map(|&(slot, path)| (slot.to_owned(), path.to_owned()))
                .collect(),
        });
        self
    }
}
