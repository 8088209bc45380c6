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
    /// Milliseconds from start to end.
    pub wall_ms: u64,
    /// Milliseconds of CPU time, on all cores together.
    pub cpu_ms: u64,
    /// At its peak.
    pub memory_bytes: u64,
}

/// A publication that whoever uses a result has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// Authors, title, journal, year, as it would be printed.
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
    /// What was assumed or changed, for the user to see before the run.
    pub notices: Vec<Notice>,
}

/// How many files a slot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cardinality {
    /// Exactly one.
    One,
    /// One or none.
    Optional,
    /// One or more.
    Many,
}

/// Whether a repeated run gives the same result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Determinism {
    /// It depends on parameters and inputs alone.
    Deterministic,
    /// It depends on parameters, inputs and the seed.
    Seeded,
    /// It may differ on every run: never served from the cache unless the user asks for it.
    Varying,
}

/// A place for files of the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSlot {
    /// `[a-z][a-z0-9_]*`, at most 63 bytes.
    pub name: String,
    /// What people see.
    pub title: String,
    /// One sentence; may be empty.
    pub summary: String,
    /// Media types; `*/*` accepts everything.
    pub accepts: Vec<String>,
    /// How many files it takes.
    pub cardinality: Cardinality,
}

/// A file that the task promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSlot {
    /// Artifact name, for example `poses.sdf`.
    pub name: String,
    /// What people see.
    pub title: String,
    /// Of its content.
    pub media_type: String,
}

/// A native program that the task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineRequirement {
    /// Name of an engine manifest of the host.
    pub engine: String,
    /// SemVer range; empty accepts all.
    pub versions: String,
}

/// What one item of usual size needs. The host admits work by these numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceHints {
    /// Cores that the work keeps busy.
    pub cpu_cores: u32,
    /// Memory of the largest step or of the guest itself.
    pub memory_bytes: u64,
    /// Files that it leaves.
    pub disk_bytes: u64,
    /// Wall time after which an execution is stopped unless the user asks for more.
    pub wall_ms: u64,
}

/// A request that shows the task at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// What people see.
    pub title: String,
    /// As a user would send them.
    pub parameters: Value,
    /// Slot and path below the package's `examples/`.
    pub inputs: Vec<(String, String)>,
}

/// See `task-definition` in `wit/definition.wit`. Built with [`TaskDefinition::new`] and the
/// methods named like the fields.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskDefinition {
    /// Dotted namespaces of kebab-case words, for example `docking.vina`.
    pub id: String,
    /// SemVer version of the task.
    pub version: String,
    /// What people see.
    pub title: String,
    /// Heading the task is listed under.
    pub category: String,
    /// One sentence.
    pub summary: String,
    /// Markdown.
    pub docs: String,
    /// JSON Schema 2020-12 of the parameters.
    pub parameters: Value,
    /// Places for files.
    pub inputs: Vec<InputSlot>,
    /// JSON Schema 2020-12 of the output.
    pub output: Value,
    /// Files that users may count on.
    pub artifacts: Vec<OutputSlot>,
    /// Native programs that it runs.
    pub engines: Vec<EngineRequirement>,
    /// What one item of usual size needs.
    pub resources: ResourceHints,
    /// Whether a repeated run gives the same result.
    pub determinism: Determinism,
    /// How many items may share one run; 1 when each needs its own.
    pub max_items_per_run: u32,
    /// Requests that show it at work.
    pub examples: Vec<Example>,
    /// Words that the task is found by, beside its title and summary.
    pub keywords: Vec<String>,
    /// Publications that whoever uses a result has to name.
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

    /// Sets the heading the task is listed under.
    #[must_use]
    pub fn category(mut self, category: &str) -> Self {
        category.clone_into(&mut self.category);
        self
    }

    /// Sets the one sentence that says what it does.
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

    /// The parameters as a type; see [`parameters!`](crate::parameters!).
    #[must_use]
    pub fn typed_parameters<T: crate::Parameters>(self) -> Self {
        self.parameters(T::schema())
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

    /// Sets what one item of usual size needs.
    #[must_use]
    pub fn resources(mut self, resources: ResourceHints) -> Self {
        self.resources = resources;
        self
    }

    /// Sets whether a repeated run gives the same result.
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

    /// Adds an example; `inputs` are slots and paths below the package's `examples/`.
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
