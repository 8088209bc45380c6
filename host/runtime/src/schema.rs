//! Parameter schemas: compiled once per task version, used for every request.

use bindery_core::{Violation, limits};
use serde_json::Value;

/// Code of a value that fits none of the variants of its schema, or several.
pub(crate) const NO_VARIANT: &str = "no_variant";

/// A compiled JSON Schema 2020-12 of an object, and the defaults it names.
#[derive(Debug)]
pub struct ParameterSchema {
    validator: jsonschema::Validator,
    schema: Value,
}

impl ParameterSchema {
    /// # Errors
    /// What makes the schema unusable. References to other documents are refused: nothing is
    /// fetched.
    pub fn compile(schema: &Value) -> Result<Self, String> {
        let validator = jsonschema::draft202012::options()
            .build(schema)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            validator,
            schema: schema.clone(),
        })
    }

    /// Fills in the defaults of properties that are absent, at every depth where the schema names
    /// properties of an object that is there.
    pub fn fill_defaults(&self, parameters: &mut Value) {
        fill(&self.schema, parameters, 0);
    }

    /// The faults of a document in words, each with its place in it.
    #[must_use]
    pub fn faults(&self, document: &Value) -> Vec<String> {
        self.validator
            .iter_errors(document)
            .take(limits::VIOLATIONS_MAX)
            .map(|error| {
                let message: String = error.to_string().chars().take(500).collect();
                format!("{}: {message}", error.instance_path())
            })
            .collect()
    }

    /// All faults of a document, each at its place.
    #[must_use]
    pub fn violations(&self, parameters: &Value) -> Vec<Violation> {
        let mut found: Vec<Violation> = self
            .validator
            .iter_errors(parameters)
            .take(limits::VIOLATIONS_MAX)
            .map(|error| violation(&error))
            .collect();
        found.dedup();
        found
    }
}

fn fill(schema: &Value, value: &mut Value, depth: u32) {
    // Deeper schemas are refused by the profile; this only bounds the recursion.
    const DEPTH_MAX: u32 = 16;
    if depth > DEPTH_MAX {
        return;
    }
    let (Some(properties), Some(object)) = (
        schema.get("properties").and_then(Value::as_object),
        value.as_object_mut(),
    ) else {
        return;
    };
    for (name, property) in properties {
        match object.get_mut(name) {
            Some(present) => fill(property, present, depth + 1),
            None => {
                if let Some(default) = property.get("default") {
                    object.insert(name.clone(), default.clone());
                }
            }
        }
    }
}

fn violation(error: &jsonschema::ValidationError<'_>) -> Violation {
    use jsonschema::error::ValidationErrorKind as Kind;

    let at = error.instance_path().as_str();
    let (pointer, code) = match error.kind() {
        Kind::Required { property } => (
            format!("{at}/{}", escape(property.as_str().unwrap_or_default())),
            "required",
        ),
        Kind::AdditionalProperties { unexpected } => (
            match unexpected.as_slice() {
                [only] => format!("{at}/{}", escape(only)),
                _ => at.to_owned(),
            },
            "unknown_parameter",
        ),
        Kind::Type { .. } => (at.to_owned(), "wrong_type"),
        Kind::Enum { .. } | Kind::Constant { .. } => (at.to_owned(), "not_allowed"),
        Kind::Minimum { .. }
        | Kind::Maximum { .. }
        | Kind::ExclusiveMinimum { .. }
        | Kind::ExclusiveMaximum { .. }
        | Kind::MultipleOf { .. } => (at.to_owned(), "out_of_range"),
        Kind::MinLength { .. }
        | Kind::MaxLength { .. }
        | Kind::MinItems { .. }
        | Kind::MaxItems { .. } => (at.to_owned(), "wrong_length"),
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } | Kind::AnyOf { .. } => {
            (at.to_owned(), NO_VARIANT)
        }
        _ => (at.to_owned(), "invalid"),
    };
    // The value itself may be long; the pointer says which one it is.
    let message: String = error.to_string().chars().take(500).collect();
    Violation::new(format!("/parameters{pointer}"), code, message)
}

/// RFC 6901.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use serde_json::json;

    use super::*;

    fn schema() -> ParameterSchema {
        ParameterSchema::compile(&json!({
            "type": "object",
            "properties": {
                "n": { "type": "integer", "minimum": 1, "default": 3 },
                "box": {
                    "type": "object",
                    "properties": { "pad": { "type": "number", "default": 4 } },
                    "required": ["size"],
                    "additionalProperties": false
                }
            },
            "required": ["box"],
            "additionalProperties": false
        }))
        .unwrap()
    }

    #[test]
    fn all_faults_at_once_each_at_its_place() {
        let found = schema().violations(&json!({ "n": 0, "box": { "x/y": 1 }, "z": true }));
        let pointers: Vec<&str> = found.iter().map(|fault| fault.pointer.as_str()).collect();
        for expected in [
            "/parameters/n",
            "/parameters/box/size",
            "/parameters/box/x~1y",
            "/parameters/z",
        ] {
            assert!(
                pointers.contains(&expected),
                "{expected} not in {pointers:?}"
            );
        }
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn defaults_reach_nested_objects_that_are_there() {
        let mut parameters = json!({ "box": { "size": 1 } });
        schema().fill_defaults(&mut parameters);
        assert_eq!(
            parameters,
            json!({ "box": { "size": 1, "pad": 4 }, "n": 3 })
        );
        let mut absent = json!({});
        schema().fill_defaults(&mut absent);
        assert_eq!(absent, json!({ "n": 3 }));
    }

    #[test]
    fn references_to_other_documents_are_refused() {
        let remote = json!({ "type": "object", "$ref": "https://example.com/schema.json" });
        assert!(ParameterSchema::compile(&remote).is_err());
        let file = json!({ "type": "object", "$ref": "file:///etc/passwd" });
        assert!(ParameterSchema::compile(&file).is_err());
    }
}
