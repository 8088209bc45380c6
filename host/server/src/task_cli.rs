//! The command line of one task, made from its definition.
//!
//! Every input slot becomes a flag (`--SLOT PATH`), and so does every parameter: a number, text,
//! choice, yes or no, or list under its own name, an object as JSON and its members under dotted
//! names (`--box.center 1,2,3`). What stands in the definition is what `--help` says; nothing
//! here knows a task.
//!
//! A flag only says what was meant. Types are read here, since a word that is no number is a slip
//! of the hand; ranges and all else are the task's business, whose check names all faults at once.

use std::{collections::BTreeSet, path::PathBuf};

use bindery_core::{
    TaskDefinition,
    definition::{Cardinality, InputSlot},
};
use clap::{Arg, ArgAction, ArgMatches, Command, builder::PossibleValuesParser};
use serde_json::{Map, Value};

/// Objects inside objects that get flags; what lies deeper is given as JSON.
const DEPTH_MAX: usize = 3;
/// A task with more flags than this is used with a file of parameters.
const FLAGS_MAX: usize = 512;
/// Longest way along `$ref`.
const REFERENCES_MAX: usize = 8;

/// What a value of a flag is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integer,
    Number,
    Boolean,
    Text,
    /// A list: JSON, or items with commas between them.
    List(Item),
    Object,
    /// JSON where it parses as such, otherwise text.
    Any,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Text,
    Any,
}

/// One parameter that has a flag.
#[derive(Debug, Clone)]
struct Parameter {
    /// Names of members, outermost first.
    path: Vec<String>,
    kind: Kind,
    /// Words that are allowed, where the schema lists them and they are all text.
    choices: Vec<String>,
    help: String,
}

impl Parameter {
    fn flag(&self) -> String {
        flag(&self.path.join("."))
    }

    fn id(&self) -> String {
        format!("parameter:{}", self.path.join("."))
    }
}

/// A parameter as it was typed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TypedParameter {
    pub(crate) flag: String,
    pub(crate) path: Vec<String>,
    pub(crate) value: Value,
}

/// What was typed in flags of the task's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct OwnArguments {
    pub(crate) inputs: Vec<(String, PathBuf)>,
    pub(crate) parameters: Vec<TypedParameter>,
    /// Slots that take one file, as the definition says; empty when it was not looked at.
    pub(crate) single_slots: BTreeSet<String>,
}

/// Which flags a task has.
#[derive(Debug)]
pub(crate) struct TaskFlags {
    slots: Vec<InputSlot>,
    parameters: Vec<Parameter>,
    /// What has no flag, because its name is taken or cannot be typed as one.
    without_flag: Vec<String>,
}

impl TaskFlags {
    /// The flags of a task beside those that the command has anyway.
    pub(crate) fn new(definition: &TaskDefinition, command: &Command) -> Self {
        let mut taken: BTreeSet<String> = command
            .get_arguments()
            .filter_map(|argument| argument.get_long().map(str::to_owned))
            .chain(["help".to_owned(), "version".to_owned()])
            .collect();
        let mut without_flag = Vec::new();
        let slots = definition
            .inputs
            .iter()
            .filter(|slot| {
                let free = taken.insert(flag(&slot.name));
                if !free {
                    without_flag.push(format!("--input {}=PATH", slot.name));
                }
                free
            })
            .cloned()
            .collect();
        let mut found = Vec::new();
        collect(
            &definition.parameters,
            &definition.parameters,
            &[],
            &mut found,
        );
        found.truncate(FLAGS_MAX);
        let parameters = found
            .into_iter()
            .filter(|parameter| {
                let free = is_flag_name(&parameter.path) && taken.insert(parameter.flag());
                if !free {
                    without_flag.push(format!("--param {}=VALUE", parameter.path.join(".")));
                }
                free
            })
            .collect();
        Self {
            slots,
            parameters,
            without_flag,
        }
    }

    /// The command with the task's flags and words.
    pub(crate) fn add_to(&self, command: Command, definition: &TaskDefinition) -> Command {
        let name = command.get_name().to_owned();
        let about = format!("{}\n\n{}", definition.title, definition.summary);
        let usage = format!(
            "bindery {} {}{}{} [OPTIONS]",
            if name == "run" {
                "run"
            } else {
                "task validate"
            },
            definition.id,
            self.slots.iter().map(usage_of).collect::<String>(),
            if self.parameters.is_empty() {
                ""
            } else {
                " [PARAMETERS]"
            },
        );
        let mut command = command
            .about(about.clone())
            .long_about(about)
            .override_usage(usage)
            .after_help(self.words(definition, false))
            .after_long_help(self.words(definition, true));
        for slot in &self.slots {
            command = command.arg(slot_argument(slot));
        }
        for parameter in &self.parameters {
            command = command.arg(parameter_argument(parameter));
        }
        command
    }

    fn words(&self, definition: &TaskDefinition, long: bool) -> String {
        let mut text = String::new();
        if !self.without_flag.is_empty() {
            text.push_str("Without a flag of their own:\n");
            for way in &self.without_flag {
                text.push_str(&format!("  {way}\n"));
            }
            text.push('\n');
        }
        if !definition.artifacts.is_empty() {
            text.push_str("Artifacts (in --out):\n");
            for slot in &definition.artifacts {
                text.push_str(&format!("  {:16} {}\n", slot.name, slot.title));
            }
            text.push('\n');
        }
        if long && !definition.docs.is_empty() {
            text.push_str(definition.docs.trim_end());
            text.push('\n');
        }
        text.trim_end().to_owned()
    }

    /// What was typed in them.
    pub(crate) fn read(&self, matches: &ArgMatches) -> OwnArguments {
        let mut own = OwnArguments::default();
        for slot in &self.slots {
            let paths = matches.get_many::<PathBuf>(&slot_id(slot));
            own.inputs.extend(
                paths
                    .into_iter()
                    .flatten()
                    .map(|path| (slot.name.clone(), path.clone())),
            );
            if slot.cardinality != Cardinality::Many {
                own.single_slots.insert(slot.name.clone());
            }
        }
        for parameter in &self.parameters {
            let id = parameter.id();
            let value = if parameter.choices.is_empty() {
                matches.get_one::<Value>(&id).cloned()
            } else {
                matches.get_one::<String>(&id).cloned().map(Value::String)
            };
            own.parameters.extend(value.map(|value| TypedParameter {
                flag: format!("--{}", parameter.flag()),
                path: parameter.path.clone(),
                value,
            }));
        }
        own
    }
}

fn usage_of(slot: &InputSlot) -> String {
    let flag = flag(&slot.name);
    match slot.cardinality {
        Cardinality::One => format!(" --{flag} PATH"),
        Cardinality::Optional => format!(" [--{flag} PATH]"),
        Cardinality::Many => format!(" --{flag} PATH..."),
    }
}

fn slot_id(slot: &InputSlot) -> String {
    format!("input:{}", slot.name)
}

fn slot_argument(slot: &InputSlot) -> Arg {
    let mut help = sentence(&[&slot.title, &slot.summary]);
    let cardinality = match slot.cardinality {
        Cardinality::One => "needed",
        Cardinality::Optional => "optional",
        Cardinality::Many => "one or more, repeat the flag",
    };
    help.push_str(&format!(" [{cardinality}]"));
    if !slot.accepts.iter().any(|accepted| accepted == "*/*") {
        help.push_str(&format!(" [{}]", slot.accepts.join(", ")));
    }
    // Whether a slot must be filled is said by the check of the whole request, with all the rest.
    let argument = Arg::new(slot_id(slot))
        .value_name("PATH")
        .help(help)
        .help_heading("Inputs")
        .value_parser(clap::value_parser!(PathBuf))
        .action(match slot.cardinality {
            Cardinality::Many => ArgAction::Append,
            Cardinality::One | Cardinality::Optional => ArgAction::Set,
        });
    long(argument, &slot.name)
}

fn parameter_argument(parameter: &Parameter) -> Arg {
    let argument = Arg::new(parameter.id())
        .help(parameter.help.clone())
        .help_heading("Parameters")
        // A flag that is given twice is an error, not the last one's victory.
        .action(ArgAction::Set);
    let argument = long(argument, &parameter.path.join("."));
    if !parameter.choices.is_empty() {
        return argument
            .value_name("WORD")
            .value_parser(PossibleValuesParser::new(parameter.choices.clone()));
    }
    let kind = parameter.kind;
    let argument = argument.value_parser(move |text: &str| read(kind, text));
    match kind {
        Kind::Boolean => argument
            .value_name("true|false")
            .num_args(0..=1)
            // Otherwise it would take the word after it for its own.
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Integer => argument.value_name("N").allow_hyphen_values(true),
        Kind::Number => argument.value_name("NUMBER").allow_hyphen_values(true),
        Kind::List(_) => argument.value_name("A,B,…").allow_hyphen_values(true),
        Kind::Object => argument.value_name("JSON"),
        Kind::Text => argument.value_name("TEXT").allow_hyphen_values(true),
        Kind::Any => argument.value_name("JSON|TEXT").allow_hyphen_values(true),
    }
}

/// The flag of a name; as it is written in the definition it works as well.
fn long(argument: Arg, name: &str) -> Arg {
    let flag = flag(name);
    if flag == name {
        argument.long(flag)
    } else {
        argument.long(flag).alias(name.to_owned())
    }
}

fn flag(name: &str) -> String {
    name.replace('_', "-")
}

fn is_flag_name(path: &[String]) -> bool {
    path.iter().all(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

/// Reads one value.
fn read(kind: Kind, text: &str) -> Result<Value, String> {
    let json = serde_json::from_str::<Value>(text).ok();
    match kind {
        Kind::Integer => match json {
            Some(value) if value.is_i64() || value.is_u64() => Ok(value),
            Some(value) if value.as_f64().is_some_and(|number| number.fract() == 0.0) => Ok(value),
            _ => Err("not a whole number".to_owned()),
        },
        Kind::Number => json
            .filter(Value::is_number)
            .ok_or_else(|| "not a number".to_owned()),
        Kind::Boolean => json
            .filter(Value::is_boolean)
            .ok_or_else(|| "neither `true` nor `false`".to_owned()),
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Object => json
            .filter(Value::is_object)
            .ok_or_else(|| "not a JSON object".to_owned()),
        Kind::List(item) => {
            if text.trim_start().starts_with('[') {
                return json
                    .filter(Value::is_array)
                    .ok_or_else(|| "not a JSON list".to_owned());
            }
            if text.is_empty() {
                return Ok(Value::Array(Vec::new()));
            }
            let items = text.split(',').map(|part| match item {
                Item::Text => Value::String(part.to_owned()),
                Item::Any => any(part.trim()),
            });
            Ok(Value::Array(items.collect()))
        }
        Kind::Any => Ok(any(text)),
    }
}

/// JSON where it parses as such, otherwise text.
pub(crate) fn any(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// The parameters of an object schema, those of all its variants together, each once.
fn collect(root: &Value, schema: &Value, path: &[String], found: &mut Vec<Parameter>) {
    let schema = resolve(root, schema);
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let property = resolve(root, property);
            let mut path = path.to_vec();
            path.push(name.clone());
            if found.iter().any(|known| known.path == path) {
                continue;
            }
            let nested = path.len() < DEPTH_MAX && has_members(root, property);
            found.push(parameter(root, property, path.clone()));
            if nested {
                collect(root, property, &path, found);
            }
        }
    }
    for keyword in ["oneOf", "anyOf", "allOf"] {
        let variants = schema.get(keyword).and_then(Value::as_array);
        for variant in variants.into_iter().flatten() {
            // A variant that is the schema itself again would never end.
            if !std::ptr::eq(resolve(root, variant), schema) && path.len() < DEPTH_MAX {
                collect_members(root, resolve(root, variant), path, found);
            }
        }
    }
}

/// Of a variant: its members, and no variants of it again.
fn collect_members(root: &Value, schema: &Value, path: &[String], found: &mut Vec<Parameter>) {
    let Some(properties) = schema.get("properties") else {
        return;
    };
    let mut members = Map::new();
    members.insert("properties".to_owned(), properties.clone());
    collect(root, &Value::Object(members), path, found);
}

fn has_members(root: &Value, schema: &Value) -> bool {
    schema.get("properties").is_some()
        || ["oneOf", "anyOf", "allOf"].iter().any(|keyword| {
            let variants = schema.get(*keyword).and_then(Value::as_array);
            variants
                .into_iter()
                .flatten()
                .any(|variant| resolve(root, variant).get("properties").is_some())
        })
}

/// Follows `$ref` within the document.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..REFERENCES_MAX {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn parameter(root: &Value, schema: &Value, path: Vec<String>) -> Parameter {
    let choices: Vec<String> = schema
        .get("enum")
        .and_then(Value::as_array)
        .map(|words| {
            words
                .iter()
                .map(|word| word.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .unwrap_or_default()
        })
        .unwrap_or_default();
    Parameter {
        kind: kind(root, schema),
        help: help(schema),
        choices,
        path,
    }
}

fn kind(root: &Value, schema: &Value) -> Kind {
    match schema.get("type").and_then(Value::as_str) {
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        Some("string") => Kind::Text,
        Some("object") => Kind::Object,
        Some("array") => {
            let items = schema.get("items").map(|items| resolve(root, items));
            let text = items
                .and_then(|items| items.get("type"))
                .and_then(Value::as_str)
                == Some("string");
            Kind::List(if text { Item::Text } else { Item::Any })
        }
        _ if has_members(root, schema) => Kind::Object,
        _ => Kind::Any,
    }
}

/// Title, description, unit, range and default in one line.
fn help(schema: &Value) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut help = sentence(&[text("title"), text("description")]);
    let unit = if text("unit").is_empty() {
        text("x-unit")
    } else {
        text("unit")
    };
    let mut note = |words: String| {
        if !help.is_empty() {
            help.push(' ');
        }
        help.push_str(&format!("[{words}]"));
    };
    if !unit.is_empty() {
        note(format!("unit: {unit}"));
    }
    if let Some(range) = range(schema) {
        note(range);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array)
        && words.iter().any(|word| !word.is_string())
    {
        let words: Vec<String> = words.iter().map(Value::to_string).collect();
        note(format!("one of: {}", words.join(", ")));
    }
    if let Some(default) = schema.get("default") {
        let default = match default {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        note(format!("default: {default}"));
    }
    help
}

fn range(schema: &Value) -> Option<String> {
    let number = |key: &str| schema.get(key).filter(|value| value.is_number());
    let low = number("minimum").map(|low| format!("{low} <="));
    let above = number("exclusiveMinimum").map(|low| format!("{low} <"));
    let high = number("maximum").map(|high| format!("<= {high}"));
    let below = number("exclusiveMaximum").map(|high| format!("< {high}"));
    let (low, high) = (low.or(above), high.or(below));
    if low.is_some() || high.is_some() {
        let parts: Vec<String> = low
            .into_iter()
            .chain(["value".to_owned()])
            .chain(high)
            .collect();
        return Some(parts.join(" "));
    }
    let items = |key: &str| schema.get(key).and_then(Value::as_u64);
    match (items("minItems"), items("maxItems")) {
        (Some(low), Some(high)) if low == high => Some(format!("{low} items")),
        (Some(low), Some(high)) => Some(format!("{low} to {high} items")),
        (Some(low), None) => Some(format!("at least {low} items")),
        (None, Some(high)) => Some(format!("at most {high} items")),
        (None, None) => None,
    }
}

/// The parts that say something, with a colon between a title and its explanation.
fn sentence(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "test"
    )]

    use bindery_core::definition::{Determinism, OutputSlot, ResourceHints};
    use clap::{CommandFactory, error::ErrorKind};
    use serde_json::json;

    use super::*;
    use crate::cli::Cli;

    fn definition() -> TaskDefinition {
        let slot = |name: &str, cardinality| InputSlot {
            name: name.to_owned(),
            title: "Sample".to_owned(),
            summary: "what is looked at".to_owned(),
            accepts: vec!["text/x-sample".to_owned()],
            cardinality,
        };
        TaskDefinition {
            id: "test.count".to_owned(),
            version: semver::Version::new(1, 0, 0),
            title: "Count things".to_owned(),
            category: String::new(),
            summary: "Counts what is in a sample.".to_owned(),
            docs: "# More words".to_owned(),
            parameters: json!({
                "type": "object",
                "$defs": { "ratio": { "type": "number", "minimum": 0, "exclusiveMaximum": 1 } },
                "properties": {
                    "num_modes": { "type": "integer", "title": "Modes", "minimum": 1, "default": 9 },
                    "scoring": { "type": "string", "enum": ["one", "two"], "default": "one" },
                    "deep": { "type": "boolean" },
                    "ratio": { "$ref": "#/$defs/ratio" },
                    "names": { "type": "array", "items": { "type": "string" } },
                    "length": { "type": "number", "unit": "m" },
                    "anything": {},
                    "box": { "type": "object", "oneOf": [
                        { "properties": {
                            "center": { "type": "array", "items": { "type": "number" },
                                "minItems": 3, "maxItems": 3 } } },
                        { "properties": { "around": { "type": "string" },
                            "center": { "type": "array" } } }
                    ] },
                    "out": { "type": "string" },
                    "Größe": { "type": "number" }
                }
            }),
            inputs: vec![
                slot("sample", Cardinality::One),
                slot("more_samples", Cardinality::Many),
                slot("input", Cardinality::Optional),
            ],
            output: json!({}),
            artifacts: vec![OutputSlot {
                name: "counted.txt".to_owned(),
                title: "Counted".to_owned(),
                media_type: "text/plain".to_owned(),
            }],
            engines: Vec::new(),
            resources: ResourceHints {
                cpu_cores: 1,
                memory_bytes: 1,
                disk_bytes: 1,
                wall_ms: 1,
            },
            determinism: Determinism::Deterministic,
            max_items_per_run: 1,
            examples: Vec::new(),
            keywords: Vec::new(),
            citations: Vec::new(),
        }
    }

    fn run_command() -> (TaskFlags, Command) {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap().clone();
        let flags = TaskFlags::new(&definition(), &run);
        let command = flags.add_to(run, &definition());
        (flags, command)
    }

    fn parse(arguments: &[&str]) -> Result<OwnArguments, clap::Error> {
        let (flags, command) = run_command();
        let words = ["run", "test.count"].iter().chain(arguments);
        let matches = command.try_get_matches_from(words)?;
        Ok(flags.read(&matches))
    }

    fn value(arguments: &[&str]) -> Value {
        let own = parse(arguments).unwrap();
        assert_eq!(own.parameters.len(), 1, "{own:?}");
        own.parameters[0].value.clone()
    }

    #[test]
    fn the_command_is_sound() {
        run_command().1.debug_assert();
    }

    #[test]
    fn values_are_read_as_the_schema_says() {
        for (arguments, expected) in [
            (&["--num-modes", "3"][..], json!(3)),
            (&["--num_modes=3"], json!(3)),
            (&["--num-modes", "-3"], json!(-3)),
            (&["--scoring", "two"], json!("two")),
            (&["--deep"], json!(true)),
            (&["--deep=false"], json!(false)),
            (&["--ratio", "0.5"], json!(0.5)),
            (&["--names", "a,b"], json!(["a", "b"])),
            (&["--names", "[\"a,b\"]"], json!(["a,b"])),
            (&["--anything", "[1,{}]"], json!([1, {}])),
            (&["--anything", "word"], json!("word")),
            (&["--box", "{\"around\":\"x\"}"], json!({ "around": "x" })),
            (&["--box.center", "-1,2.5,3"], json!([-1, 2.5, 3])),
            (&["--box.center", "[1,2,3]"], json!([1, 2, 3])),
        ] {
            assert_eq!(value(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn files_go_into_their_slots() {
        let own = parse(&[
            "--sample",
            "a",
            "--more-samples",
            "b",
            "--more_samples",
            "c",
        ])
        .unwrap();
        let path = PathBuf::from;
        assert_eq!(
            own.inputs,
            [
                ("sample".to_owned(), path("a")),
                ("more_samples".to_owned(), path("b")),
                ("more_samples".to_owned(), path("c")),
            ]
        );
    }

    #[test]
    fn slips_of_the_hand_are_usage_errors() {
        for (arguments, kind) in [
            (&["--num-modes", "many"][..], ErrorKind::ValueValidation),
            (&["--num-modes", "1.5"], ErrorKind::ValueValidation),
            (&["--ratio", "half"], ErrorKind::ValueValidation),
            (&["--deep=perhaps"], ErrorKind::ValueValidation),
            (&["--box", "wide"], ErrorKind::ValueValidation),
            (&["--scoring", "three"], ErrorKind::InvalidValue),
            (
                &["--num-modes", "1", "--num-modes", "2"],
                ErrorKind::ArgumentConflict,
            ),
            (
                &["--sample", "a", "--sample", "b"],
                ErrorKind::ArgumentConflict,
            ),
        ] {
            assert_eq!(parse(arguments).unwrap_err().kind(), kind, "{arguments:?}");
        }
        let error = parse(&["--num-mode", "1"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        assert!(error.to_string().contains("--num-modes"), "{error}");
    }

    #[test]
    fn help_says_what_the_definition_says() {
        let (_, mut command) = run_command();
        let help = command.render_long_help().to_string();
        for words in [
            "Count things",
            "Counts what is in a sample.",
            "--sample <PATH>",
            "Sample: what is looked at [needed] [text/x-sample]",
            "--num-modes <N>",
            "Modes [1 <= value] [default: 9]",
            "[0 <= value < 1]",
            "[unit: m]",
            "[possible values: one, two]",
            "--box.center <A,B,…>",
            "[3 items]",
            "--box.around <TEXT>",
            "counted.txt",
            "# More words",
            // Their names are taken, or are none.
            "--param out=VALUE",
            "--param Größe=VALUE",
            "--input input=PATH",
            // The ways that every task has.
            "--param <KEY=VALUE>",
        ] {
            assert!(help.contains(words), "`{words}` is not in\n{help}");
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let mut definition = definition();
        definition.parameters = json!({
            "type": "object",
            "$defs": { "node": { "type": "object", "properties": {
                "next": { "$ref": "#/$defs/node" } }, "oneOf": [{ "$ref": "#/$defs/node" }] } },
            "properties": { "node": { "$ref": "#/$defs/node" }, "loop": { "$ref": "#/properties/loop" } }
        });
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        let flags = TaskFlags::new(&definition, run);
        assert!(flags.parameters.len() < 10, "{flags:?}");
    }
}
