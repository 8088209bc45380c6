//! A parameter schema as checks that a small interpreter can do.
//!
//! Each schema in the schema becomes a node, a list of operations with code and words already
//! in it, and references become numbers of nodes. Keywords that only describe are left out; those
//! that check and are not known here make the schema [`Unsupported`]: a validator that lets pass
//! what the host refuses would be none.

use std::collections::BTreeMap;

use bindery_core::schema_words as words;
use serde_json::{Map, Value, json};

/// Deeper defaults are not filled in, here as in the host.
const DEFAULTS_DEPTH_MAX: u32 = 16;
/// A schema with more parts than this is no form.
const NODES_MAX: usize = 10_000;
/// Whole numbers up to here are exact in every engine.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Keywords that check something and are not known here. In particular none that depend on what
/// other keywords looked at.
const REFUSED: [&str; 15] = [
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveRef",
    "$vocabulary",
    "contains",
    "dependencies",
    "dependentSchemas",
    "discriminator",
    "maxContains",
    "minContains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "additionalItems",
];

/// Why a schema cannot be checked outside of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at `{pointer}` of the parameter schema)")]
pub struct Unsupported {
    pub pointer: String,
    pub fault: String,
}

/// The checks: nodes, of which the first is the schema itself.
///
/// # Errors
/// At the first part that is not known here.
pub fn checks(schema: &Value) -> Result<Value, Unsupported> {
    let mut compiler = Compiler {
        root: schema,
        nodes: Vec::new(),
        known: BTreeMap::new(),
    };
    compiler.node(String::new(), schema)?;
    Ok(Value::Array(
        compiler.nodes.into_iter().map(Value::Array).collect(),
    ))
}

/// Defaults of members, at every depth where the schema names members, each as the text that the
/// host gives to the task: `[[name, { text?, members?, variants?, only? }], …]`. `variants` has the
/// same of each, or null; `only` the texts that a member may be.
#[must_use]
pub fn defaults(schema: &Value) -> Value {
    members(schema, 0)
}

fn members(schema: &Value, depth: u32) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object);
    if depth > DEFAULTS_DEPTH_MAX {
        return json!([]);
    }
    let entries = properties.into_iter().flatten().map(|(name, property)| {
        let mut entry = Map::new();
        if let Some(default) = property.get("default") {
            entry.insert("text".to_owned(), json!(default.to_string()));
        }
        let inner = members(property, depth + 1);
        if inner.as_array().is_some_and(|inner| !inner.is_empty()) {
            entry.insert("members".to_owned(), inner);
        }
        if let Some(variants) = property.get("oneOf").and_then(Value::as_array) {
            let variants: Vec<Value> = variants
                .iter()
                .map(|variant| match variant.get("properties") {
                    Some(Value::Object(_)) => members(variant, depth + 1),
                    _ => Value::Null,
                })
                .collect();
            if variants.iter().any(|variant| !variant.is_null()) {
                entry.insert("variants".to_owned(), variants.into());
            }
        }
        if let Some(only) = words::only_words(property) {
            entry.insert("only".to_owned(), only.into());
        }
        json!([name, entry])
    });
    entries.collect()
}

struct Compiler<'a> {
    root: &'a Value,
    nodes: Vec<Vec<Value>>,
    /// By pointer, so that a schema which refers to itself ends.
    known: BTreeMap<String, usize>,
}

impl<'a> Compiler<'a> {
    fn node(&mut self, pointer: String, schema: &'a Value) -> Result<usize, Unsupported> {
        if let Some(known) = self.known.get(&pointer) {
            return Ok(*known);
        }
        let number = self.nodes.len();
        if number >= NODES_MAX {
            return Err(unsupported(&pointer, "it has too many parts"));
        }
        self.nodes.push(Vec::new());
        self.known.insert(pointer.clone(), number);
        let operations = match schema {
            Value::Bool(true) => Vec::new(),
            Value::Bool(false) => vec![json!({ "k": "never", "m": words::FORBIDDEN })],
            Value::Object(schema) => self.operations(&pointer, schema)?,
            _ => return Err(unsupported(&pointer, "it is no schema")),
        };
        if let Some(node) = self.nodes.get_mut(number) {
            *node = operations;
        }
        Ok(number)
    }

    fn operations(
        &mut self,
        pointer: &str,
        schema: &'a Map<String, Value>,
    ) -> Result<Vec<Value>, Unsupported> {
        if let Some(keyword) = schema.keys().find(|key| REFUSED.contains(&key.as_str())) {
            return Err(unsupported(pointer, &format!("`{keyword}` is not known")));
        }
        if schema.contains_key("$id") && !pointer.is_empty() {
            return Err(unsupported(pointer, "`$id` is known at the top only"));
        }
        let mut operations = Vec::new();
        for (keyword, value) in schema {
            let at = format!("{pointer}/{}", escape(keyword));
            if let Some(operation) = self.operation(schema, keyword, value, &at)? {
                operations.push(operation);
            }
        }
        Ok(operations)
    }

    /// None for a keyword that only describes, or that another one takes care of.
    fn operation(
        &mut self,
        schema: &'a Map<String, Value>,
        keyword: &str,
        value: &'a Value,
        at: &str,
    ) -> Result<Option<Value>, Unsupported> {
        let misplaced = || unsupported(at, "its value is not of the right kind");
        let plain = |message: String| Ok(Some(json!({ "k": keyword, "v": value, "m": message })));
        let count = || value.as_u64().ok_or_else(misplaced);
        match keyword {
            "$ref" => {
                let node = self.reference(value, at)?;
                Ok(Some(json!({ "k": "allOf", "s": [node] })))
            }
            "type" => {
                let types: Vec<&str> = match value {
                    Value::String(only) => vec![only],
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    _ => return Err(misplaced()),
                };
                let message = words::wrong_type(types.iter().copied());
                Ok(Some(json!({ "k": "type", "v": types, "m": message })))
            }
            "enum" => plain(words::one_of(value.as_array().ok_or_else(misplaced)?)),
            "const" => Ok(Some(
                json!({ "k": "enum", "v": [value], "m": words::exactly(value) }),
            )),
            "minimum" => plain(words::at_least(exact(value, at)?)),
            "maximum" => plain(words::at_most(exact(value, at)?)),
            "exclusiveMinimum" => plain(words::more_than(exact(value, at)?)),
            "exclusiveMaximum" => plain(words::less_than(exact(value, at)?)),
            "multipleOf" => {
                let step = exact(value, at)?.as_f64().ok_or_else(misplaced)?;
                plain(words::multiple_of(step))
            }
            "minLength" => plain(words::characters_min(count()?)),
            "maxLength" => plain(words::characters_max(count()?)),
            "minItems" => plain(words::items_min(count()?)),
            "maxItems" => plain(words::items_max(count()?)),
            "minProperties" => plain(words::members_min(count()?)),
            "maxProperties" => plain(words::members_max(count()?)),
            "pattern" => plain(words::pattern(value.as_str().ok_or_else(misplaced)?)),
            "uniqueItems" => match value {
                Value::Bool(true) => plain(words::UNIQUE.to_owned()),
                _ => Ok(None),
            },
            "prefixItems" | "allOf" => {
                let nodes = self.list(value, at)?;
                Ok(Some(json!({ "k": keyword, "s": nodes })))
            }
            "anyOf" => {
                let nodes = self.list(value, at)?;
                Ok(Some(
                    json!({ "k": "anyOf", "s": nodes, "m": words::no_variant(Some(value)) }),
                ))
            }
            "oneOf" => {
                let nodes = self.list(value, at)?;
                Ok(Some(json!({
                    "k": "oneOf",
                    "s": nodes,
                    "m": words::no_variant(Some(value)),
                    "several": words::SEVERAL_VARIANTS,
                })))
            }
            "not" => {
                let node = self.node(at.to_owned(), value)?;
                Ok(Some(
                    json!({ "k": "not", "s": node, "m": words::FORBIDDEN }),
                ))
            }
            "if" => self.condition(schema, value, at).map(Some),
            "items" => {
                let from = schema.get("prefixItems").and_then(Value::as_array);
                let from = from.map_or(0, Vec::len);
                let node = self.node(at.to_owned(), value)?;
                Ok(Some(json!({ "k": "items", "s": node, "from": from })))
            }
            "properties" | "patternProperties" => {
                let mut nodes = Vec::new();
                for (name, inner) in value.as_object().ok_or_else(misplaced)? {
                    let node = self.node(format!("{at}/{}", escape(name)), inner)?;
                    nodes.push(json!([name, node]));
                }
                Ok(Some(json!({ "k": keyword, "s": nodes })))
            }
            "additionalProperties" => self.additional(schema, value, at).map(Some),
            "required" => Ok(Some(
                json!({ "k": "required", "v": required(value, schema.get("properties")) }),
            )),
            "dependentRequired" => {
                let triggers = value.as_object().ok_or_else(misplaced)?;
                let needed: Vec<Value> = triggers
                    .iter()
                    .map(|(name, needed)| json!([name, required(needed, None)]))
                    .collect();
                Ok(Some(json!({ "k": keyword, "v": needed })))
            }
            _ => Ok(None),
        }
    }

    fn list(&mut self, value: &'a Value, at: &str) -> Result<Vec<usize>, Unsupported> {
        let schemas = value
            .as_array()
            .ok_or_else(|| unsupported(at, "it is no list of schemas"))?;
        schemas
            .iter()
            .enumerate()
            .map(|(position, schema)| self.node(format!("{at}/{position}"), schema))
            .collect()
    }

    fn reference(&mut self, value: &Value, at: &str) -> Result<usize, Unsupported> {
        let pointer = value
            .as_str()
            .and_then(|reference| reference.strip_prefix('#'))
            .filter(|pointer| !pointer.contains('%'))
            .ok_or_else(|| unsupported(at, "it refers to something outside of the schema"))?;
        let target = self
            .root
            .pointer(pointer)
            .ok_or_else(|| unsupported(at, "it refers to nothing"))?;
        self.node(pointer.to_owned(), target)
    }

    fn condition(
        &mut self,
        schema: &'a Map<String, Value>,
        value: &'a Value,
        at: &str,
    ) -> Result<Value, Unsupported> {
        let node = self.node(at.to_owned(), value)?;
        let place = at.strip_suffix("/if").unwrap_or(at);
        let mut branch = |keyword: &str| match schema.get(keyword) {
            Some(schema) => self.node(format!("{place}/{keyword}"), schema).map(Some),
            None => Ok(None),
        };
        let (then, otherwise) = (branch("then")?, branch("else")?);
        Ok(json!({ "k": "if", "s": node, "then": then, "else": otherwise }))
    }

    fn additional(
        &mut self,
        schema: &'a Map<String, Value>,
        value: &'a Value,
        at: &str,
    ) -> Result<Value, Unsupported> {
        let names = |keyword: &str| -> Vec<&str> {
            let members = schema.get(keyword).and_then(Value::as_object);
            members
                .map(|members| members.keys().map(String::as_str).collect())
                .unwrap_or_default()
        };
        let node = match value {
            Value::Bool(false) => None,
            schema => Some(self.node(at.to_owned(), schema)?),
        };
        let template = words::unknown("\u{0}");
        let message: Vec<&str> = template.split('\u{0}').collect();
        Ok(json!({
            "k": "additionalProperties",
            "known": names("properties"),
            "patterns": names("patternProperties"),
            "s": node,
            "m": message,
        }))
    }
}

/// Names that must be there, each with its words.
fn required(value: &Value, properties: Option<&Value>) -> Vec<Value> {
    let property = |name: &str| properties.and_then(|properties| properties.get(name));
    let names = value.as_array().into_iter().flatten();
    names
        .filter_map(Value::as_str)
        .map(|name| json!([name, words::required(name, property(name))]))
        .collect()
}

/// A limit that an engine of JavaScript reads as the number it is.
fn exact<'v>(value: &'v Value, at: &str) -> Result<&'v Value, Unsupported> {
    match value.as_f64() {
        Some(number) if value.is_f64() || number.abs() < EXACT_MAX => Ok(value),
        _ => Err(unsupported(at, "it is no number that is exact everywhere")),
    }
}

fn unsupported(pointer: &str, fault: &str) -> Unsupported {
    Unsupported {
        pointer: pointer.to_owned(),
        fault: fault.to_owned(),
    }
}

/// RFC 6901.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({
            "type": "object",
            "properties": { "next": { "$ref": "#" } },
            "additionalProperties": false
        });
        let checks = checks(&schema).unwrap();
        assert_eq!(checks.as_array().unwrap().len(), 2);
        assert_eq!(checks[1][0], json!({ "k": "allOf", "s": [0] }));
    }

    #[test]
    fn what_is_not_known_is_refused_where_it_stands() {
        for (schema, pointer) in [
            (
                json!({ "properties": { "a": { "contains": {} } } }),
                "/properties/a",
            ),
            (json!({ "$ref": "other.json" }), "/$ref"),
            (json!({ "$ref": "#/nothing" }), "/$ref"),
            (
                json!({ "minimum": 18_446_744_073_709_551_615_u64 }),
                "/minimum",
            ),
            (json!({ "items": [true] }), "/items"),
            (json!({ "anyOf": [{ "$id": "x" }] }), "/anyOf/0"),
        ] {
            assert_eq!(checks(&schema).unwrap_err().pointer, pointer, "{schema}");
        }
    }

    #[test]
    fn what_only_describes_is_left_out() {
        let schema = json!({ "title": "T", "format": "date", "x-unit": "m", "default": 3 });
        assert_eq!(checks(&schema).unwrap(), json!([[]]));
    }

    #[test]
    fn defaults_keep_their_text() {
        let schema = json!({ "properties": {
            "a": { "default": 4.0 },
            "b": { "properties": { "c": { "default": "x" } } },
            "d": {}
        } });
        assert_eq!(
            defaults(&schema),
            json!([
                ["a", { "text": "4.0" }],
                ["b", { "members": [["c", { "text": "\"x\"" }]] }],
                ["d", {}]
            ])
        );
        let schema = json!({ "properties": { "e": { "oneOf": [
            { "type": "null" },
            { "properties": { "f": { "const": "g", "default": "g" } } }
        ] } } });
        assert_eq!(
            defaults(&schema),
            json!([["e", { "variants": [
                null,
                [["f", { "text": "\"g\"", "only": ["g"] }]]
            ] }]])
        );
    }
}
