//! Tasks whose work is done by native engines.

use crate::{Error, ItemOutcome, Request, Task};

pub use crate::bindings::engine::exports::bindery::task::engine_task::{
    Argument, Decision, OutputFile, OutputStream, Signal, Step, StepEnding, StepLimits,
    StepOutcome, StepUsage,
};

/// See `engine-task` in `wit/engine-task.wit`.
pub trait EngineTask: Task {
    /// Reads what a step prints. Use [`NoMonitor`] when there is nothing to read.
    type Monitor: StepMonitor;

    /// The next steps, given those done so far.
    ///
    /// # Errors
    /// When what was done shows that the execution cannot succeed.
    fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error>;

    /// The results, when `next` has answered `finished`.
    ///
    /// # Errors
    /// When no item has a result; otherwise each item carries its own verdict.
    fn parse(request: &Request, outcomes: &[StepOutcome]) -> Result<Vec<ItemOutcome>, Error>;
}

/// Turns an engine's output into progress while it runs.
pub trait StepMonitor: 'static {
    /// Of one step, when it starts.
    fn new(request: &Request, step: &str) -> Self;

    /// Raw pieces that may cut lines and characters.
    fn feed(&mut self, stream: OutputStream, bytes: &[u8]) -> Vec<Signal>;
}

/// Tells nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoMonitor;

impl StepMonitor for NoMonitor {
    fn new(_request: &Request, _step: &str) -> Self {
        Self
    }

    fn feed(&mut self, _stream: OutputStream, _bytes: &[u8]) -> Vec<Signal> {
        Vec::new()
    }
}

impl Step {
    /// A step of this engine with the host's default limits and weight 1.
    #[must_use]
    pub fn new(id: &str, title: &str, engine: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            engine: engine.to_owned(),
            arguments: Vec::new(),
            reads: Vec::new(),
            outputs: Vec::new(),
            limits: StepLimits {
                wall_ms: 0,
                cpu_ms: 0,
                memory_bytes: 0,
                disk_bytes: 0,
                cpu_cores: 1,
            },
            items: vec![0],
            weight: 1.0,
        }
    }

    /// Adds an argument that is passed as it is.
    #[must_use]
    pub fn literal(mut self, text: impl Into<String>) -> Self {
        self.arguments.push(Argument::Literal(text.into()));
        self
    }

    /// Adds arguments that are passed as they are.
    #[must_use]
    pub fn literals<I: IntoIterator<Item = S>, S: Into<String>>(mut self, texts: I) -> Self {
        self.arguments
            .extend(texts.into_iter().map(|text| Argument::Literal(text.into())));
        self
    }

    /// A file below `/in`.
    #[must_use]
    pub fn reads_input(mut self, path: impl Into<String>) -> Self {
        self.arguments.push(Argument::Input(path.into()));
        self
    }

    /// A file below `/work` that an earlier step or the guest wrote.
    #[must_use]
    pub fn reads_work(mut self, path: impl Into<String>) -> Self {
        self.arguments.push(Argument::Work(path.into()));
        self
    }

    /// A required output below `/work`, named as an argument.
    #[must_use]
    pub fn writes(mut self, path: &str) -> Self {
        self.arguments.push(Argument::Output(path.to_owned()));
        self.keeps(path, true)
    }

    /// An output below `/work` that is not an argument of its own.
    #[must_use]
    pub fn keeps(mut self, path: &str, required: bool) -> Self {
        self.outputs.push(OutputFile {
            path: path.to_owned(),
            required,
            max_bytes: 0,
        });
        self
    }

    /// Sets limits; zeros mean the engine's defaults.
    #[must_use]
    pub fn limits(mut self, limits: StepLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the share of the whole work, 0..=1, that this step is.
    #[must_use]
    pub fn weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }
}

impl StepOutcome {
    /// What the engine printed, lossily decoded; empty when it cannot be read.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        crate::read_text_lossy(&self.stdout)
    }

    /// What the engine printed on standard error, as [`stdout_text`](Self::stdout_text).
    #[must_use]
    pub fn stderr_text(&self) -> String {
        crate::read_text_lossy(&self.stderr)
    }

    /// Ended by itself, with this code.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self.ending {
            StepEnding::Exited(code) => Some(code),
            _ => None,
        }
    }
}
