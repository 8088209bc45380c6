//! The contract as it was published first: `wit/0.1.0/`, which does not change any more.
//!
//! `types` is the same in 0.2.0, so its types are shared; interfaces that a guest exports have
//! types of their own, which become the current ones here, by `From`.

use crate::{
    compute::exports::bindery::task::compute_task as current_compute,
    definition::exports::bindery::task::definition as current_definition,
    engine::exports::bindery::task::engine_task as current_engine,
    format::exports::bindery::task::format as current_format,
};

/// What the host lends to guests of this version.
pub mod host {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::restriction,
        reason = "generated"
    )]
    wasmtime::component::bindgen!({
        path: "../../wit/0.1.0",
        inline: "package bindery:host@0.1.0; world host {
            include bindery:task/imports@0.1.0;
            import bindery:task/types@0.1.0;
        }",
        world: "bindery:host/host",
        imports: { default: trappable },
        with: {
            "bindery:task/assets.asset": crate::Asset,
            "bindery:task/types": crate::host::bindery::task::types,
        },
        additional_derives: [PartialEq],
    });
}

macro_rules! facet {
    ($module:ident, $inline:literal, $world:literal) => {
        pub mod $module {
            #![allow(missing_docs, unreachable_pub, clippy::all, clippy::restriction, reason = "generated")]
            wasmtime::component::bindgen!({
                path: "../../wit/0.1.0",
                inline: $inline,
                world: $world,
                exports: { default: async },
                with: { "bindery:task/types": crate::host::bindery::task::types },
                additional_derives: [PartialEq],
            });
        }
    };
}

facet!(
    definition,
    "package bindery:host@0.1.0; world definition-facet { export bindery:task/definition@0.1.0; }",
    "bindery:host/definition-facet"
);
facet!(
    engine,
    "package bindery:host@0.1.0; world engine-facet { export bindery:task/engine-task@0.1.0; }",
    "bindery:host/engine-facet"
);
facet!(
    compute,
    "package bindery:host@0.1.0; world compute-facet { export bindery:task/compute-task@0.1.0; }",
    "bindery:host/compute-facet"
);
facet!(
    format,
    "package bindery:host@0.1.0; world format-facet { export bindery:task/format@0.1.0; }",
    "bindery:host/format-facet"
);

use self::{
    compute::exports::bindery::task::compute_task as old_compute,
    definition::exports::bindery::task::definition as old_definition,
    engine::exports::bindery::task::engine_task as old_engine,
    format::exports::bindery::task::format as old_format,
};

/// Records whose fields have the same names and types in both.
macro_rules! same_record {
    ($old:ty => $new:ty { $($field:ident),+ $(,)? }) => {
        impl From<$old> for $new {
            fn from(old: $old) -> Self {
                Self { $($field: old.$field.into()),+ }
            }
        }
    };
}

/// Enums whose cases have the same names.
macro_rules! same_enum {
    ($old:ty => $new:ty { $($case:ident),+ $(,)? }) => {
        impl From<$old> for $new {
            fn from(old: $old) -> Self {
                match old {
                    $(<$old>::$case => Self::$case),+
                }
            }
        }
    };
}

/// Lists of what is converted one by one.
pub(crate) fn all<O, N: From<O>>(old: Vec<O>) -> Vec<N> {
    old.into_iter().map(Into::into).collect()
}

// --- definition: keywords, citations and estimates came with 0.2.0 -------------------------

same_enum!(old_definition::Cardinality => current_definition::Cardinality { One, Optional, Many });
same_enum!(old_definition::Determinism => current_definition::Determinism {
    Deterministic, Seeded, Varying
});
same_record!(old_definition::InputSlot => current_definition::InputSlot {
    name, title, summary, accepts, cardinality
});
same_record!(old_definition::OutputSlot => current_definition::OutputSlot {
    name, title, media_type
});
same_record!(old_definition::EngineRequirement => current_definition::EngineRequirement {
    engine, versions
});
same_record!(old_definition::ResourceHints => current_definition::ResourceHints {
    cpu_cores, memory_bytes, disk_bytes, wall_ms
});
same_record!(old_definition::Example => current_definition::Example { title, parameters, inputs });

impl From<old_definition::TaskDefinition> for current_definition::TaskDefinition {
    fn from(old: old_definition::TaskDefinition) -> Self {
        Self {
            id: old.id,
            version: old.version,
            title: old.title,
            category: old.category,
            summary: old.summary,
            docs: old.docs,
            parameters: old.parameters,
            inputs: all(old.inputs),
            output: old.output,
            artifacts: all(old.artifacts),
            engines: all(old.engines),
            resources: old.resources.into(),
            determinism: old.determinism.into(),
            max_items_per_run: old.max_items_per_run,
            examples: all(old.examples),
            keywords: Vec::new(),
            citations: Vec::new(),
        }
    }
}

impl From<old_definition::Normalised> for current_definition::Normalised {
    fn from(old: old_definition::Normalised) -> Self {
        Self {
            parameters: old.parameters,
            notices: old.notices,
            estimate: None,
        }
    }
}

// --- engine-task: the same in 0.2.0 --------------------------------------------------------

impl From<old_engine::Argument> for current_engine::Argument {
    fn from(old: old_engine::Argument) -> Self {
        match old {
            old_engine::Argument::Literal(text) => Self::Literal(text),
            old_engine::Argument::Input(path) => Self::Input(path),
            old_engine::Argument::Work(path) => Self::Work(path),
            old_engine::Argument::Output(path) => Self::Output(path),
        }
    }
}

same_record!(old_engine::OutputFile => current_engine::OutputFile { path, required, max_bytes });
same_record!(old_engine::StepLimits => current_engine::StepLimits {
    wall_ms, cpu_ms, memory_bytes, disk_bytes, cpu_cores
});

impl From<old_engine::Step> for current_engine::Step {
    fn from(old: old_engine::Step) -> Self {
        Self {
            id: old.id,
            title: old.title,
            engine: old.engine,
            arguments: all(old.arguments),
            reads: old.reads,
            outputs: all(old.outputs),
            limits: old.limits.into(),
            items: old.items,
            weight: old.weight,
        }
    }
}

impl From<old_engine::Decision> for current_engine::Decision {
    fn from(old: old_engine::Decision) -> Self {
        match old {
            old_engine::Decision::Run(steps) => Self::Run(all(steps)),
            old_engine::Decision::Finished => Self::Finished,
        }
    }
}

impl From<old_engine::Signal> for current_engine::Signal {
    fn from(old: old_engine::Signal) -> Self {
        match old {
            old_engine::Signal::Progress(done) => Self::Progress(done),
            old_engine::Signal::Notice(notice) => Self::Notice(notice),
        }
    }
}

// What goes to the guest is made from the current type, so that it is made once.

same_enum!(current_engine::OutputStream => old_engine::OutputStream { Stdout, Stderr });
same_record!(current_engine::StepUsage => old_engine::StepUsage {
    wall_ms, cpu_ms, peak_memory_bytes
});
same_record!(current_engine::StepOutcome => old_engine::StepOutcome {
    step, engine, engine_version, ending, usage, stdout, stderr, dropped_bytes
});

impl From<current_engine::StepEnding> for old_engine::StepEnding {
    fn from(ending: current_engine::StepEnding) -> Self {
        match ending {
            current_engine::StepEnding::Exited(code) => Self::Exited(code),
            current_engine::StepEnding::Crashed(signal) => Self::Crashed(signal),
            current_engine::StepEnding::MemoryExceeded => Self::MemoryExceeded,
            current_engine::StepEnding::CpuExceeded => Self::CpuExceeded,
            current_engine::StepEnding::DiskExceeded => Self::DiskExceeded,
            current_engine::StepEnding::TimedOut => Self::TimedOut,
            current_engine::StepEnding::OutputMissing(path) => Self::OutputMissing(path),
        }
    }
}

// --- format: the same in 0.2.0 -------------------------------------------------------------

same_record!(old_format::FormatDefinition => current_format::FormatDefinition {
    media_type, title, extensions, multi_record
});
same_record!(old_format::Collection => current_format::Collection { name, title, media_types });
same_record!(old_format::Sniffed => current_format::Sniffed { media_type, encoding, confidence });
same_record!(old_format::Fault => current_format::Fault { code, message, line, record });
same_record!(old_format::RecordInfo => current_format::RecordInfo { label, details });

impl From<old_format::FormatDescription> for current_format::FormatDescription {
    fn from(old: old_format::FormatDescription) -> Self {
        Self {
            id: old.id,
            version: old.version,
            formats: all(old.formats),
            collections: all(old.collections),
        }
    }
}

impl From<old_format::Inspection> for current_format::Inspection {
    fn from(old: old_format::Inspection) -> Self {
        Self {
            media_type: old.media_type,
            encoding: old.encoding,
            records: old.records,
            bad_records: old.bad_records,
            details: old.details,
            warnings: all(old.warnings),
        }
    }
}

impl From<old_format::RecordEntry> for current_format::RecordEntry {
    fn from(old: old_format::RecordEntry) -> Self {
        Self {
            index: old.index,
            offset: old.offset,
            length: old.length,
            verdict: old.verdict.map(Into::into).map_err(Into::into),
            content: old.content,
        }
    }
}

// --- compute-task: the same in both; lists of numbers move and are not copied --------------

macro_rules! same_columns {
    ($from:ident => $to:ident) => {
        impl From<$from::ColumnData> for $to::ColumnData {
            fn from(data: $from::ColumnData) -> Self {
                match data {
                    $from::ColumnData::F64s(values) => Self::F64s(values),
                    $from::ColumnData::F32s(values) => Self::F32s(values),
                    $from::ColumnData::S64s(values) => Self::S64s(values),
                    $from::ColumnData::S32s(values) => Self::S32s(values),
                    $from::ColumnData::U8s(values) => Self::U8s(values),
                    $from::ColumnData::Texts(values) => Self::Texts(values),
                }
            }
        }

        impl From<$from::Column> for $to::Column {
            fn from(column: $from::Column) -> Self {
                Self {
                    name: column.name,
                    data: column.data.into(),
                    validity: column.validity,
                }
            }
        }

        impl From<$from::Batch> for $to::Batch {
            fn from(batch: $from::Batch) -> Self {
                Self {
                    rows: batch.rows,
                    columns: all(batch.columns),
                }
            }
        }
    };
}

same_columns!(old_compute => current_compute);
same_columns!(current_compute => old_compute);

impl From<old_compute::SessionProfile> for current_compute::SessionProfile {
    fn from(old: old_compute::SessionProfile) -> Self {
        let mut traits = current_compute::Traits::empty();
        for (had, is) in [
            (
                old_compute::Traits::RESUMABLE,
                current_compute::Traits::RESUMABLE,
            ),
            (
                old_compute::Traits::MERGEABLE,
                current_compute::Traits::MERGEABLE,
            ),
            (
                old_compute::Traits::UNORDERED,
                current_compute::Traits::UNORDERED,
            ),
        ] {
            if old.traits.contains(had) {
                traits |= is;
            }
        }
        Self {
            traits,
            columns: old.columns,
        }
    }
}
