//! One component with all that the first contract had: two tasks (one with an engine, one that
//! computes) and a file format, in the bindings of then.

#[allow(clippy::all, unreachable_pub, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "package bindery:frozen@0.1.0;
        world frozen {
            include bindery:task/imports@0.1.0;
            export bindery:task/definition@0.1.0;
            export bindery:task/engine-task@0.1.0;
            export bindery:task/compute-task@0.1.0;
            export bindery:task/format@0.1.0;
        }",
        world: "bindery:frozen/frozen",
        generate_all,
    });
}

use std::cell::RefCell;

use bindings::{
    bindery::task::{
        log,
        types::{
            Better, Error, ItemOutcome, ItemResult, Metric, Notice, Request, Severity, StepFault,
            View, Violation,
        },
    },
    exports::bindery::task::{
        compute_task::{self, Batch, GuestSession, SessionProfile, Traits},
        definition::{
            self, Cardinality, Determinism, EngineRequirement, Example, InputSlot, Normalised,
            OutputSlot, ResourceHints, TaskDefinition,
        },
        engine_task::{
            self, Argument, Decision, GuestMonitor, OutputFile, OutputStream, Signal, Step,
            StepEnding, StepLimits, StepOutcome,
        },
        format::{
            self, Collection, Fault, FormatDefinition, FormatDescription, GuestRecords, Inspection,
            RecordEntry, RecordInfo, Sniffed,
        },
    },
};

const COMPUTE: &str = "frozen.compute";
const MEDIA_TYPE: &str = "text/x-frozen";

struct Frozen;

fn task(id: &str, engines: Vec<EngineRequirement>) -> TaskDefinition {
    TaskDefinition {
        id: id.to_owned(),
        version: "1.2.3".to_owned(),
        title: "Frozen".to_owned(),
        category: "Test".to_owned(),
        summary: "Of the first contract".to_owned(),
        docs: "# Frozen".to_owned(),
        parameters: r#"{
            "type": "object",
            "properties": { "count": { "type": "integer", "minimum": 1, "default": 3 } }
        }"#
        .to_owned(),
        inputs: vec![InputSlot {
            name: "text".to_owned(),
            title: "Text".to_owned(),
            summary: String::new(),
            accepts: vec![MEDIA_TYPE.to_owned()],
            cardinality: Cardinality::Optional,
        }],
        output: r#"{ "type": "object" }"#.to_owned(),
        artifacts: vec![OutputSlot {
            name: "frozen.txt".to_owned(),
            title: "Frozen".to_owned(),
            media_type: "text/plain".to_owned(),
        }],
        engines,
        resources: ResourceHints {
            cpu_cores: 1,
            memory_bytes: 1 << 20,
            disk_bytes: 1 << 20,
            wall_ms: 60_000,
        },
        determinism: Determinism::Seeded,
        max_items_per_run: 1,
        examples: vec![Example {
            title: "Three".to_owned(),
            parameters: r#"{ "count": 3 }"#.to_owned(),
            inputs: vec![("text".to_owned(), "a.txt".to_owned())],
        }],
    }
}

impl definition::Guest for Frozen {
    fn describe() -> Vec<TaskDefinition> {
        let engine = EngineRequirement {
            engine: "echo".to_owned(),
            versions: ">=1".to_owned(),
        };
        vec![task("frozen.engine", vec![engine]), task(COMPUTE, vec![])]
    }

    fn validate(request: Request) -> Result<Normalised, Vec<Violation>> {
        log::log(log::Level::Info, "checked");
        if request.parameters.contains("\"refuse\"") {
            return Err(vec![Violation {
                pointer: "/parameters/refuse".to_owned(),
                code: "not_allowed".to_owned(),
                message: "refused, as asked for".to_owned(),
            }]);
        }
        Ok(Normalised {
            parameters: request.parameters,
            notices: vec![notice("seed", &request.seed.to_string())],
        })
    }
}

fn notice(code: &str, message: &str) -> Notice {
    Notice {
        severity: Severity::Warning,
        code: code.to_owned(),
        message: message.to_owned(),
    }
}

fn outcome(output: String) -> Vec<ItemOutcome> {
    vec![ItemOutcome {
        index: 0,
        verdict: Ok(ItemResult {
            output,
            confidence: Some(0.5),
            metrics: vec![Metric {
                name: "speed".to_owned(),
                value: 2.5,
                unit: "1/s".to_owned(),
                better: Better::Larger,
            }],
            artifacts: vec![],
            views: vec![View {
                kind: "markdown".to_owned(),
                title: "Words".to_owned(),
                spec: r#"{ "text": "hello" }"#.to_owned(),
                artifacts: vec![],
            }],
            notices: vec![notice("done", "done")],
        }),
    }]
}

impl engine_task::Guest for Frozen {
    type Monitor = Stars;

    fn next(_request: Request, done: Vec<StepOutcome>) -> Result<Decision, Error> {
        if !done.is_empty() {
            return Ok(Decision::Finished);
        }
        Ok(Decision::Run(vec![Step {
            id: "one".to_owned(),
            title: "One".to_owned(),
            engine: "echo".to_owned(),
            arguments: vec![
                Argument::Literal("hello".to_owned()),
                Argument::Work("a.txt".to_owned()),
                Argument::Output("b.txt".to_owned()),
            ],
            reads: vec![],
            outputs: vec![OutputFile {
                path: "b.txt".to_owned(),
                required: false,
                max_bytes: 1 << 10,
            }],
            limits: StepLimits {
                wall_ms: 1000,
                cpu_ms: 1000,
                memory_bytes: 1 << 20,
                disk_bytes: 1 << 20,
                cpu_cores: 1,
            },
            items: vec![0],
            weight: 1.0,
        }]))
    }

    fn parse(_request: Request, outcomes: Vec<StepOutcome>) -> Result<Vec<ItemOutcome>, Error> {
        match outcomes.as_slice() {
            [only] => match &only.ending {
                StepEnding::Exited(code) => Ok(outcome(format!(
                    r#"{{ "exit": {code}, "said": "{}", "cpu": {} }}"#,
                    only.stdout, only.usage.cpu_ms
                ))),
                _ => Err(Error::StepFailed(StepFault {
                    step: only.step.clone(),
                    code: "crashed".to_owned(),
                    message: "the engine crashed".to_owned(),
                    detail: only.stderr.clone(),
                })),
            },
            _ => Err(Error::Other("expected one step".to_owned())),
        }
    }
}

/// Counts stars.
struct Stars(RefCell<u8>);

impl GuestMonitor for Stars {
    fn new(_request: Request, _step: String) -> Self {
        Self(RefCell::new(0))
    }

    fn feed(&self, stream: OutputStream, bytes: Vec<u8>) -> Vec<Signal> {
        if stream == OutputStream::Stderr {
            return vec![Signal::Notice(notice("stderr", "something was said"))];
        }
        let mut seen = self.0.borrow_mut();
        for _ in bytes.iter().filter(|byte| **byte == b'*') {
            *seen = seen.saturating_add(1);
        }
        vec![Signal::Progress(f32::from(*seen) / 10.0)]
    }
}

/// A session of the compute task.
struct Once(Request);

impl compute_task::Guest for Frozen {
    type Session = Once;

    fn profile(_task: String) -> SessionProfile {
        SessionProfile {
            traits: Traits::empty(),
            columns: vec![],
        }
    }

    fn merge(_: Request, _: Vec<Vec<u8>>) -> Result<Vec<ItemOutcome>, Error> {
        Err(Error::Unsupported("merge".to_owned()))
    }
}

impl GuestSession for Once {
    fn open(request: Request) -> Result<compute_task::Session, Error> {
        Ok(compute_task::Session::new(Self(request)))
    }

    fn push(&self, _: Batch) -> Result<Vec<Batch>, Error> {
        Err(Error::Unsupported("push".to_owned()))
    }

    fn flush(&self) -> Result<Vec<Batch>, Error> {
        Ok(vec![])
    }

    fn finish(&self) -> Result<Vec<ItemOutcome>, Error> {
        Ok(outcome(self.0.parameters.clone()))
    }

    fn save(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("save".to_owned()))
    }

    fn restore(_: Request, _: Vec<u8>) -> Result<compute_task::Session, Error> {
        Err(Error::Unsupported("restore".to_owned()))
    }

    fn partial(&self) -> Result<Vec<u8>, Error> {
        Err(Error::Unsupported("partial".to_owned()))
    }
}

/// The lines of a file.
struct Lines(RefCell<Vec<RecordEntry>>);

fn read(path: &str) -> Result<Vec<String>, Vec<Fault>> {
    match std::fs::read_to_string(format!("/in/{path}")) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) => Err(vec![fault(&error.to_string(), None)]),
    }
}

fn fault(message: &str, line: Option<u64>) -> Fault {
    Fault {
        code: "unreadable".to_owned(),
        message: message.to_owned(),
        line,
        record: line.map(|line| line - 1),
    }
}

impl format::Guest for Frozen {
    type Records = Lines;

    fn describe_formats() -> FormatDescription {
        FormatDescription {
            id: "frozen.format".to_owned(),
            version: "1.0.0".to_owned(),
            formats: vec![FormatDefinition {
                media_type: MEDIA_TYPE.to_owned(),
                title: "Frozen".to_owned(),
                extensions: vec!["frozen".to_owned()],
                multi_record: true,
            }],
            collections: vec![Collection {
                name: "frozen-things".to_owned(),
                title: "Frozen things".to_owned(),
                media_types: vec![MEDIA_TYPE.to_owned()],
            }],
        }
    }

    fn sniff(head: Vec<u8>, _file_name: String) -> Option<Sniffed> {
        head.starts_with(b"FROZEN").then(|| Sniffed {
            media_type: MEDIA_TYPE.to_owned(),
            encoding: String::new(),
            confidence: 0.75,
        })
    }

    fn inspect(path: String, _file_name: String) -> Result<Inspection, Vec<Fault>> {
        let lines = read(&path)?;
        Ok(Inspection {
            media_type: MEDIA_TYPE.to_owned(),
            encoding: String::new(),
            records: lines.len() as u64,
            bad_records: 1,
            details: r#"{ "cold": true }"#.to_owned(),
            warnings: vec![fault("the first line is cold", Some(1))],
        })
    }
}

impl GuestRecords for Lines {
    fn open(path: String, _file_name: String) -> Result<format::Records, Vec<Fault>> {
        let entries = read(&path)?
            .into_iter()
            .zip(0..)
            .map(|(line, index)| RecordEntry {
                index,
                offset: index,
                length: line.len() as u64,
                verdict: if line.contains("bad") {
                    Err(fault("bad", Some(index + 1)))
                } else {
                    Ok(RecordInfo {
                        label: line,
                        details: "{}".to_owned(),
                    })
                },
                content: vec![],
            })
            .collect();
        Ok(format::Records::new(Self(RefCell::new(entries))))
    }

    fn next(&self, max: u32, _with_content: bool) -> Vec<RecordEntry> {
        let mut entries = self.0.borrow_mut();
        let count = entries.len().min(max as usize);
        entries.drain(..count).collect()
    }
}

bindings::export!(Frozen with_types_in bindings);
