//! The macros that turn types into a component's exports.
//!
//! They expand to nothing but a private module with one type; natively (unit tests of a plugin)
//! to nothing at all, as the exported symbols only mean something in a component.

/// Conversions from the SDK's definition types to the generated ones.
#[doc(hidden)]
pub mod definition_glue {
    use crate::bindings::definition::exports::bindery::task::definition as wit;

    #[must_use]
    pub fn definition(definition: crate::TaskDefinition) -> wit::TaskDefinition {
        wit::TaskDefinition {
            id: definition.id,
            version: definition.version,
            title: definition.title,
            category: definition.category,
            summary: definition.summary,
            docs: definition.docs,
            parameters: definition.parameters.to_string(),
            inputs: definition
                .inputs
                .into_iter()
                .map(|slot| wit::InputSlot {
                    name: slot.name,
                    title: slot.title,
                    summary: slot.summary,
                    accepts: slot.accepts,
                    cardinality: match slot.cardinality {
                        crate::Cardinality::One => wit::Cardinality::One,
                        crate::Cardinality::Optional => wit::Cardinality::Optional,
                        crate::Cardinality::Many => wit::Cardinality::Many,
                    },
                })
                .collect(),
            output: definition.output.to_string(),
            artifacts: definition
                .artifacts
                .into_iter()
                .map(|slot| wit::OutputSlot {
                    name: slot.name,
                    title: slot.title,
                    media_type: slot.media_type,
                })
                .collect(),
            engines: definition
                .engines
                .into_iter()
                .map(|requirement| wit::EngineRequirement {
                    engine: requirement.engine,
                    versions: requirement.versions,
                })
                .collect(),
            resources: wit::ResourceHints {
                cpu_cores: definition.resources.cpu_cores,
                memory_bytes: definition.resources.memory_bytes,
                disk_bytes: definition.resources.disk_bytes,
                wall_ms: definition.resources.wall_ms,
            },
            determinism: match definition.determinism {
                crate::Determinism::Deterministic => wit::Determinism::Deterministic,
                crate::Determinism::Seeded => wit::Determinism::Seeded,
                crate::Determinism::Varying => wit::Determinism::Varying,
            },
            max_items_per_run: definition.max_items_per_run,
            examples: definition
                .examples
                .into_iter()
                .map(|example| wit::Example {
                    title: example.title,
                    parameters: example.parameters.to_string(),
                    inputs: example.inputs,
                })
                .collect(),
            keywords: definition.keywords,
            citations: definition
                .citations
                .into_iter()
                .map(|citation| wit::Citation {
                    text: citation.text,
                    doi: citation.doi,
                    url: citation.url,
                })
                .collect(),
        }
    }

    /// The answer to a request that may run.
    #[must_use]
    pub fn normalised<T: crate::Task>(
        request: &crate::Request,
        normalised: crate::Normalised,
    ) -> wit::Normalised {
        let estimate = T::estimate(request, &normalised);
        wit::Normalised {
            parameters: normalised.parameters,
            notices: normalised.notices,
            estimate: estimate.map(|estimate| wit::Estimate {
                wall_ms: estimate.wall_ms,
                cpu_ms: estimate.cpu_ms,
                memory_bytes: estimate.memory_bytes,
            }),
        }
    }
}

/// The answer to a request for a task the component does not define; the host never sends one.
#[doc(hidden)]
#[must_use]
pub fn unknown_task(task: &str) -> crate::Error {
    crate::Error::Unsupported(format!("this plugin has no task `{task}`"))
}

#[doc(hidden)]
#[must_use]
pub fn unknown_task_violation(task: &str) -> Vec<crate::Violation> {
    vec![crate::Violation::new(
        "/task",
        "unknown_task",
        format!("this plugin has no task `{task}`"),
    )]
}

/// Exports types that implement [`EngineTask`](crate::EngineTask) as one component.
#[macro_export]
macro_rules! register_engine_tasks {
    ($($task:ty),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(clippy::all, reason = "generated")]
        mod __bindery_component {
            use super::*;
            use $crate::bindings::definition::exports::bindery::task::definition;
            use $crate::bindings::engine::exports::bindery::task::engine_task;
            use $crate::{EngineTask as _, StepMonitor, Task as _};

            /// With one task there is nothing to choose, and building its definition only to
            /// look at the id would cost more than most checks. The host asks for no other.
            const ONE_TASK: bool = [$(stringify!($task)),+].len() == 1;

            struct Component;

            $crate::bindings::definition::export_definition!(
                Component with_types_in $crate::bindings::definition
            );
            $crate::bindings::engine::export_engine_task!(
                Component with_types_in $crate::bindings::engine
            );

            impl definition::Guest for Component {
                fn describe() -> Vec<definition::TaskDefinition> {
                    vec![$($crate::definition_glue::definition(<$task>::definition())),+]
                }

                fn validate(
                    request: $crate::Request,
                ) -> Result<definition::Normalised, Vec<$crate::Violation>> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            return <$task>::validate(&request).map(|normalised| {
                                $crate::definition_glue::normalised::<$task>(&request, normalised)
                            });
                        }
                    )+
                    Err($crate::unknown_task_violation(&request.task))
                }
            }

            trait ErasedMonitor {
                fn feed(
                    &mut self,
                    stream: $crate::OutputStream,
                    bytes: &[u8],
                ) -> Vec<$crate::Signal>;
            }

            impl<M: StepMonitor> ErasedMonitor for M {
                fn feed(
                    &mut self,
                    stream: $crate::OutputStream,
                    bytes: &[u8],
                ) -> Vec<$crate::Signal> {
                    StepMonitor::feed(self, stream, bytes)
                }
            }

            struct Monitor(std::cell::RefCell<Option<Box<dyn ErasedMonitor>>>);

            impl engine_task::GuestMonitor for Monitor {
                fn new(request: $crate::Request, step: String) -> Self {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            let monitor = <<$task as $crate::EngineTask>::Monitor
                                as StepMonitor>::new(&request, &step);
                            return Self(std::cell::RefCell::new(Some(Box::new(monitor))));
                        }
                    )+
                    Self(std::cell::RefCell::new(None))
                }

                fn feed(
                    &self,
                    stream: $crate::OutputStream,
                    bytes: Vec<u8>,
                ) -> Vec<$crate::Signal> {
                    match self.0.borrow_mut().as_mut() {
                        Some(monitor) => monitor.feed(stream, &bytes),
                        None => Vec::new(),
                    }
                }
            }

            impl engine_task::Guest for Component {
                type Monitor = Monitor;

                fn next(
                    request: $crate::Request,
                    done: Vec<$crate::StepOutcome>,
                ) -> Result<$crate::Decision, $crate::Error> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            return <$task>::next(&request, &done);
                        }
                    )+
                    Err($crate::unknown_task(&request.task))
                }

                fn parse(
                    request: $crate::Request,
                    outcomes: Vec<$crate::StepOutcome>,
                ) -> Result<Vec<$crate::ItemOutcome>, $crate::Error> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            return <$task>::parse(&request, &outcomes);
                        }
                    )+
                    Err($crate::unknown_task(&request.task))
                }
            }
        }
    };
}

/// Exports types that implement [`ComputeTask`](crate::ComputeTask) as one component.
#[macro_export]
macro_rules! register_compute_tasks {
    ($($task:ident),+ $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(clippy::all, reason = "generated")]
        mod __bindery_component {
            use super::*;
            use $crate::bindings::compute::exports::bindery::task::compute_task;
            use $crate::bindings::definition::exports::bindery::task::definition;
            use $crate::{ComputeTask as _, Task as _};

            /// With one task there is nothing to choose, and building its definition only to
            /// look at the id would cost more than most checks. The host asks for no other.
            const ONE_TASK: bool = [$(stringify!($task)),+].len() == 1;

            struct Component;

            $crate::bindings::definition::export_definition!(
                Component with_types_in $crate::bindings::definition
            );
            $crate::bindings::compute::export_compute_task!(
                Component with_types_in $crate::bindings::compute
            );

            impl definition::Guest for Component {
                fn describe() -> Vec<definition::TaskDefinition> {
                    vec![$($crate::definition_glue::definition(<$task>::definition())),+]
                }

                fn validate(
                    request: $crate::Request,
                ) -> Result<definition::Normalised, Vec<$crate::Violation>> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            return <$task>::validate(&request).map(|normalised| {
                                $crate::definition_glue::normalised::<$task>(&request, normalised)
                            });
                        }
                    )+
                    Err($crate::unknown_task_violation(&request.task))
                }
            }

            enum Session {
                $($task(std::cell::RefCell<<$task as $crate::ComputeTask>::Session>)),+
            }

            impl compute_task::GuestSession for Session {
                fn open(
                    request: $crate::Request,
                ) -> Result<compute_task::Session, $crate::Error> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            let session = <<$task as $crate::ComputeTask>::Session
                                as $crate::Session>::open(request)?;
                            return Ok(compute_task::Session::new(
                                Session::$task(std::cell::RefCell::new(session)),
                            ));
                        }
                    )+
                    Err($crate::unknown_task(&request.task))
                }

                fn push(
                    &self,
                    batch: $crate::Batch,
                ) -> Result<Vec<$crate::Batch>, $crate::Error> {
                    match self {
                        $(Session::$task(session) => {
                            $crate::Session::push(&mut *session.borrow_mut(), batch)
                        }),+
                    }
                }

                fn flush(&self) -> Result<Vec<$crate::Batch>, $crate::Error> {
                    match self {
                        $(Session::$task(session) => {
                            $crate::Session::flush(&mut *session.borrow_mut())
                        }),+
                    }
                }

                fn finish(&self) -> Result<Vec<$crate::ItemOutcome>, $crate::Error> {
                    match self {
                        $(Session::$task(session) => {
                            $crate::Session::finish(&mut *session.borrow_mut())
                        }),+
                    }
                }

                fn save(&self) -> Result<Vec<u8>, $crate::Error> {
                    match self {
                        $(Session::$task(session) => $crate::Session::save(&*session.borrow())),+
                    }
                }

                fn restore(
                    request: $crate::Request,
                    state: Vec<u8>,
                ) -> Result<compute_task::Session, $crate::Error> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            let session = <<$task as $crate::ComputeTask>::Session
                                as $crate::Session>::restore(request, state)?;
                            return Ok(compute_task::Session::new(
                                Session::$task(std::cell::RefCell::new(session)),
                            ));
                        }
                    )+
                    Err($crate::unknown_task(&request.task))
                }

                fn partial(&self) -> Result<Vec<u8>, $crate::Error> {
                    match self {
                        $(Session::$task(session) => $crate::Session::partial(&*session.borrow())),+
                    }
                }
            }

            impl compute_task::Guest for Component {
                type Session = Session;

                fn profile(task: String) -> compute_task::SessionProfile {
                    $(
                        if ONE_TASK || task == <$task>::definition().id {
                            let profile = <$task as $crate::ComputeTask>::profile();
                            let mut traits = compute_task::Traits::empty();
                            if profile.resumable {
                                traits |= compute_task::Traits::RESUMABLE;
                            }
                            if profile.mergeable {
                                traits |= compute_task::Traits::MERGEABLE;
                            }
                            if profile.unordered {
                                traits |= compute_task::Traits::UNORDERED;
                            }
                            return compute_task::SessionProfile {
                                traits,
                                columns: profile.columns,
                            };
                        }
                    )+
                    compute_task::SessionProfile {
                        traits: compute_task::Traits::empty(),
                        columns: Vec::new(),
                    }
                }

                fn merge(
                    request: $crate::Request,
                    parts: Vec<Vec<u8>>,
                ) -> Result<Vec<$crate::ItemOutcome>, $crate::Error> {
                    $(
                        if ONE_TASK || request.task == <$task>::definition().id {
                            return <$task as $crate::ComputeTask>::merge(&request, parts);
                        }
                    )+
                    Err($crate::unknown_task(&request.task))
                }
            }
        }
    };
}

/// Exports a type that implements [`FileFormat`](crate::FileFormat) as a component.
#[macro_export]
macro_rules! register_format {
    ($format:ty) => {
        #[cfg(target_arch = "wasm32")]
        #[allow(clippy::all, reason = "generated")]
        mod __bindery_component {
            use super::*;
            use $crate::bindings::format::exports::bindery::task::format;
            use $crate::{FileFormat as _, RecordStream as _};

            struct Component;

            $crate::bindings::format::export_format!(
                Component with_types_in $crate::bindings::format
            );

            fn fault(fault: $crate::Fault) -> format::Fault {
                format::Fault {
                    code: fault.code,
                    message: fault.message,
                    line: fault.line,
                    record: fault.record,
                }
            }

            fn faults(faults: Vec<$crate::Fault>) -> Vec<format::Fault> {
                faults.into_iter().map(fault).collect()
            }

            struct Records(std::cell::RefCell<<$format as $crate::FileFormat>::Records>);

            impl format::GuestRecords for Records {
                fn open(
                    path: String,
                    file_name: String,
                ) -> Result<format::Records, Vec<format::Fault>> {
                    <$format>::records(&$crate::input_path(&path), &file_name)
                        .map(|records| {
                            format::Records::new(Records(std::cell::RefCell::new(records)))
                        })
                        .map_err(faults)
                }

                fn next(&self, max: u32, with_content: bool) -> Vec<format::RecordEntry> {
                    self.0
                        .borrow_mut()
                        .next(max, with_content)
                        .into_iter()
                        .map(|entry| format::RecordEntry {
                            index: entry.index,
                            offset: entry.offset,
                            length: entry.length,
                            verdict: entry
                                .verdict
                                .map(|info| format::RecordInfo {
                                    label: info.label,
                                    details: info.details.to_string(),
                                })
                                .map_err(fault),
                            content: entry.content,
                        })
                        .collect()
                }
            }

            impl format::Guest for Component {
                type Records = Records;

                fn describe_formats() -> format::FormatDescription {
                    let description = <$format>::describe();
                    format::FormatDescription {
                        id: description.id,
                        version: description.version,
                        formats: description
                            .formats
                            .into_iter()
                            .map(|format| format::FormatDefinition {
                                media_type: format.media_type,
                                title: format.title,
                                extensions: format.extensions,
                                multi_record: format.multi_record,
                            })
                            .collect(),
                        collections: description
                            .collections
                            .into_iter()
                            .map(|collection| format::Collection {
                                name: collection.name,
                                title: collection.title,
                                media_types: collection.media_types,
                            })
                            .collect(),
                    }
                }

                fn sniff(head: Vec<u8>, file_name: String) -> Option<format::Sniffed> {
                    <$format>::sniff(&head, &file_name).map(|sniffed| format::Sniffed {
                        media_type: sniffed.media_type,
                        encoding: sniffed.encoding,
                        confidence: sniffed.confidence,
                    })
                }

                fn inspect(
                    path: String,
                    file_name: String,
                ) -> Result<format::Inspection, Vec<format::Fault>> {
                    <$format>::inspect(&$crate::input_path(&path), &file_name)
                        .map(|inspection| format::Inspection {
                            media_type: inspection.media_type,
                            encoding: inspection.encoding,
                            records: inspection.records,
                            bad_records: inspection.bad_records,
                            details: inspection.details.to_string(),
                            warnings: faults(inspection.warnings),
                        })
                        .map_err(faults)
                }
            }
        }
    };
}
