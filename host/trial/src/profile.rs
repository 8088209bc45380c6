//! The profile of parameter schemas: `docs/schema-profile.md`.
//!
//! JSON Schema allows more than a form can show, than a command line can take, and than a person
//! can read. What is outside of the profile is found before a plugin is used, not by its users.

use bindery_runtime::ParameterSchema;
use serde_json::{Map, Value};

use crate::difference::escape;

/// Levels of objects, arrays and variants within each other: a form with more is unusable.
const DEPTH_MAX: usize = 8;
/// Choices within choices made forms hang for minutes.
const VARIANT_DEPTH_MAX: usize = 2;
const VARIANTS_MAX: usize = 32;
/// Longer lists belong into an input file.
const ENUM_MAX: usize = 500;
const SIZE_BYTES_MAX: usize = 64 << 10;

const TYPES: [&str; 7] = [
    "object", "array", "string", "number", "integer", "boolean", "null",
];

/// Words of JSON Schema that forms, command lines and validators treat differently or not at all.
const REFUSED: [&str; 17] = [
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$anchor",
    "allOf",
    "anyOf",
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "if",
    "not",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedProperties",
];

/// A place in a schema that is outside of the profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileFault {
    /// RFC 6901 into the schema.
    pub pointer: String,
    /// Stable.
    pub code: &'static str,
    pub message: String,
    /// A warning does not keep a plugin from being published.
    pub warning: bool,
}

/// All faults of a parameter schema; empty when it is inside the profile.
#[must_use]
pub fn lint_parameters(schema: &Value) -> Vec<ProfileFault> {
    let mut lint = Lint {
        root: schema,
        faults: Vec::new(),
    };
    if schema.to_string().len() > SIZE_BYTES_MAX {
        lint.fault(
            "",
            "too_large",
            format!("the schema is larger than {SIZE_BYTES_MAX} bytes"),
        );
        return lint.faults;
    }
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        lint.fault("", "root_not_object", "the root is not of type object");
    }
    lint.schema(schema, "", Level::default());
    lint.faults
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    depth: usize,
    variants: usize,
}

struct Lint<'a> {
    root: &'a Value,
    faults: Vec<ProfileFault>,
}

impl Lint<'_> {
    fn fault(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        self.faults.push(ProfileFault {
            pointer: pointer.to_owned(),
            code,
            message: message.into(),
            warning: false,
        });
    }

    fn warn(&mut self, pointer: &str, code: &'static str, message: impl Into<String>) {
        self.fault(pointer, code, message);
        if let Some(last) = self.faults.last_mut() {
            last.warning = true;
        }
    }

    fn schema(&mut self, schema: &Value, pointer: &str, level: Level) {
        let Some(object) = schema.as_object() else {
            self.fault(pointer, "not_a_schema", "a schema is an object here");
            return;
        };
        if level.depth > DEPTH_MAX {
            self.fault(
                pointer,
                "too_deep",
                format!("deeper than {DEPTH_MAX} levels"),
            );
            return;
        }
        for word in REFUSED.iter().filter(|word| object.contains_key(**word)) {
            self.fault(
                pointer,
                "outside_profile",
                format!("`{word}` is outside of the profile"),
            );
        }
        if let Some(reference) = object.get("$ref") {
            self.reference(reference, pointer, level);
            return;
        }
        self.types(object, pointer);
        self.choices(object, pointer);
        self.default(object, pointer);
        self.variants(object, pointer, level);
        let deeper = Level {
            depth: level.depth + 1,
            ..level
        };
        self.properties(object, pointer, deeper);
        if let Some(items) = object.get("items") {
            self.schema(items, &format!("{pointer}/items"), deeper);
        } else if object.get("type").and_then(Value::as_str) == Some("array") {
            self.fault(pointer, "no_items", "an array says what its `items` are");
        }
    }

    /// References stay within the document, below `$defs`.
    fn reference(&mut self, reference: &Value, pointer: &str, level: Level) {
        let name = reference
            .as_str()
            .and_then(|reference| reference.strip_prefix("#/$defs/"))
            .filter(|name| !name.contains('/'));
        let target = name.and_then(|name| self.root.get("$defs")?.get(name));
        match target {
            Some(target) => {
                let target = target.clone();
                // Bounded by the depth: one that refers to itself is too deep.
                let level = Level {
                    depth: level.depth + 1,
                    ..level
                };
                self.schema(&target, pointer, level);
            }
            None => self.fault(
                pointer,
                "bad_reference",
                "a `$ref` is `#/$defs/NAME`, and NAME is there",
            ),
        }
    }

    fn types(&mut self, object: &Map<String, Value>, pointer: &str) {
        let known = |name: &Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
        match object.get("type") {
            Some(name) if known(name) => {}
            // A value that may be left empty.
            Some(Value::Array(names))
                if names.len() == 2
                    && names.iter().all(known)
                    && names.iter().filter(|name| *name == "null").count() == 1 => {}
            Some(_) => self.fault(
                pointer,
                "bad_type",
                "`type` is one of JSON Schema's, or one of them with \"null\"",
            ),
            None => self.fault(
                pointer,
                "no_type",
                "without `type` a form has no field for it",
            ),
        }
    }

    fn choices(&mut self, object: &Map<String, Value>, pointer: &str) {
        match object.get("enum").map(Value::as_array) {
            Some(Some(values)) if values.is_empty() => {
                self.fault(pointer, "bad_enum", "`enum` has no value");
            }
            Some(Some(values)) if values.len() > ENUM_MAX => self.fault(
                pointer,
                "bad_enum",
                format!("more than {ENUM_MAX} values: take an input file, or a text"),
            ),
            Some(Some(values)) if values.iter().any(|v| v.is_object() || v.is_array()) => {
                self.fault(
                    pointer,
                    "bad_enum",
                    "`enum` has values that are not scalars",
                );
            }
            Some(None) => self.fault(pointer, "bad_enum", "`enum` is not a list"),
            _ => {}
        }
    }

    /// A default must be a value that the schema itself accepts.
    fn default(&mut self, object: &Map<String, Value>, pointer: &str) {
        let Some(default) = object.get("default") else {
            return;
        };
        let mut schema = object.clone();
        if let Some(definitions) = self.root.get("$defs") {
            schema.insert("$defs".to_owned(), definitions.clone());
        }
        // What makes the whole schema unusable is told when the plugin is loaded.
        if let Ok(compiled) = ParameterSchema::compile(&Value::Object(schema))
            && let Some(fault) = compiled.faults(default).into_iter().next()
        {
            self.fault(
                pointer,
                "bad_default",
                format!(
                    "the default is not accepted: {}",
                    fault.trim_start_matches(": ")
                ),
            );
        }
    }

    fn variants(&mut self, object: &Map<String, Value>, pointer: &str, level: Level) {
        let Some(variants) = object.get("oneOf") else {
            return;
        };
        let Some(variants) = variants.as_array() else {
            self.fault(pointer, "bad_variants", "`oneOf` is not a list");
            return;
        };
        if variants.is_empty() || variants.len() > VARIANTS_MAX {
            self.fault(
                pointer,
                "bad_variants",
                format!("`oneOf` has 1 to {VARIANTS_MAX} variants"),
            );
        }
        let level = Level {
            depth: level.depth + 1,
            variants: level.variants + 1,
        };
        if level.variants > VARIANT_DEPTH_MAX {
            self.fault(
                pointer,
                "too_deep",
                format!("`oneOf` within `oneOf` more than {VARIANT_DEPTH_MAX} deep"),
            );
            return;
        }
        for (index, variant) in variants.iter().enumerate() {
            let pointer = format!("{pointer}/oneOf/{index}");
            if variant.get("title").and_then(Value::as_str).is_none() {
                self.fault(
                    &pointer,
                    "no_title",
                    "a variant has a `title` to be chosen by",
                );
            }
            // A named value takes its type from the schema that offers it.
            if variant.get("const").is_none() {
                self.schema(variant, &pointer, level);
            }
        }
    }

    fn properties(&mut self, object: &Map<String, Value>, pointer: &str, level: Level) {
        let empty = Map::new();
        let properties = match object.get("properties") {
            None => &empty,
            Some(Value::Object(properties)) => properties,
            Some(_) => {
                self.fault(pointer, "not_a_schema", "`properties` is not an object");
                return;
            }
        };
        if let Some(extra) = object.get("additionalProperties")
            && !extra.is_boolean()
        {
            self.fault(
                pointer,
                "outside_profile",
                "`additionalProperties` is true or false",
            );
        }
        for name in object
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|name| !properties.contains_key(*name))
        {
            self.fault(
                pointer,
                "unknown_required",
                format!("`{name}` is required and is no property"),
            );
        }
        for (name, property) in properties {
            let pointer = format!("{pointer}/properties/{}", escape(name));
            let plain = !name.is_empty()
                && name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            if !plain {
                // It becomes an option of the command line.
                self.fault(
                    &pointer,
                    "bad_name",
                    format!("`{name}` is no plain name (letters, digits, `_`, `-`)"),
                );
            }
            if property.get("title").and_then(Value::as_str).is_none()
                && property.get("$ref").is_none()
            {
                self.warn(&pointer, "no_title", "without `title` people see the name");
            }
            self.schema(property, &pointer, level);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(property: &Value, expected: &[&str]) {
        let schema = json!({ "type": "object", "properties": { "x": property } });
        let codes: Vec<&str> = lint_parameters(&schema)
            .iter()
            .map(|fault| fault.code)
            .collect();
        assert_eq!(codes, expected, "{property}");
    }

    #[test]
    fn what_a_form_can_show_is_inside() {
        check(
            &json!({ "type": "integer", "title": "X", "minimum": 1, "default": 3 }),
            &[],
        );
        check(
            &json!({ "type": ["number", "null"], "title": "X", "default": null }),
            &[],
        );
        check(
            &json!({ "type": "string", "title": "X", "oneOf": [
                { "const": "a", "title": "A" }, { "const": "b", "title": "B" } ] }),
            &[],
        );
        check(
            &json!({ "type": "object", "title": "X", "oneOf": [
                { "title": "A", "type": "object", "properties":
                    { "y": { "type": "array", "title": "Y", "items": { "type": "number" } } },
                  "required": ["y"], "additionalProperties": false } ] }),
            &[],
        );
    }

    #[test]
    fn what_it_cannot_is_named() {
        check(&json!({ "type": "string" }), &["no_title"]);
        check(&json!({ "title": "X" }), &["no_type"]);
        check(&json!({ "title": "X", "type": "text" }), &["bad_type"]);
        check(
            &json!({ "title": "X", "type": ["string", "number"] }),
            &["bad_type"],
        );
        check(&json!({ "title": "X", "type": "array" }), &["no_items"]);
        check(
            &json!({ "title": "X", "type": "string", "anyOf": [] }),
            &["outside_profile"],
        );
        check(
            &json!({ "title": "X", "type": "integer", "minimum": 4, "default": 3 }),
            &["bad_default"],
        );
        check(
            &json!({ "title": "X", "type": "string", "oneOf": [{ "const": "a" }] }),
            &["no_title"],
        );
        check(
            &json!({ "title": "X", "type": "object", "required": ["y"] }),
            &["unknown_required"],
        );
        check(
            &json!({ "title": "X", "$ref": "https://example.com/x" }),
            &["bad_reference"],
        );
        check(
            &json!({ "title": "X", "type": "string", "enum": [] }),
            &["bad_enum"],
        );
    }

    #[test]
    fn a_schema_that_refers_to_itself_is_too_deep() {
        let schema = json!({
            "type": "object",
            "properties": { "x": { "$ref": "#/$defs/x" } },
            "$defs": { "x": { "type": "array", "title": "X", "items": { "$ref": "#/$defs/x" } } },
        });
        let codes: Vec<&str> = lint_parameters(&schema)
            .iter()
            .map(|fault| fault.code)
            .collect();
        assert_eq!(codes, ["too_deep"]);
    }

    #[test]
    fn names_become_options() {
        let schema = json!({ "type": "object", "properties":
            { "a b": { "type": "string", "title": "X" } } });
        assert_eq!(
            lint_parameters(&schema).first().map(|fault| fault.code),
            Some("bad_name")
        );
    }
}
