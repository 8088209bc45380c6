//! Parameter schemas: compiled once per task version, used for every request.

use bindery_core::{
    Violation, limits,
    schema_words::{self as words, codes},
};
use serde_json::Value;

/// Faults of one document that are put in order; of more only these are.
const FAULTS_SORTED_MAX: usize = 16 * limits::VIOLATIONS_MAX;

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
    /// properties of an object that is there. Where an object has variants, the names and words it
    /// has must leave one of them only; then that one's defaults are meant.
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

    /// All faults of a document, one for each place, by place.
    #[must_use]
    pub fn violations(&self, parameters: &Value) -> Vec<Violation> {
        let mut found: Vec<Violation> = self
            .validator
            .iter_errors(parameters)
            .take(FAULTS_SORTED_MAX)
            .flat_map(|error| violations(&self.schema, &error))
            .collect();
        // Of this order nobody needs to know how a validator walks through a schema.
        found.sort_by(|one, other| {
            let one = (&one.pointer, &one.code, &one.message);
            one.cmp(&(&other.pointer, &other.code, &other.message))
        });
        // One word for each place: where one value breaks several keywords, the validator says
        // one of them or all, depending on how it put them together.
        found.dedup_by(|next, kept| next.pointer == kept.pointer);
        found.truncate(limits::VIOLATIONS_MAX);
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
            Some(present) => {
                fill(property, present, depth + 1);
                if let Some(variant) = variant_meant(property, present) {
                    fill(variant, present, depth + 1);
                }
            }
            None => {
                if let Some(default) = property.get("default") {
                    object.insert(name.clone(), default.clone());
                }
            }
        }
    }
}

/// The only variant of an object that has all the members which are there.
fn variant_meant<'a>(schema: &'a Value, value: &Value) -> Option<&'a Value> {
    let (variants, object) = (schema.get("oneOf")?.as_array()?, value.as_object()?);
    let mut fitting = variants.iter().filter(|variant| {
        let properties = variant.get("properties").and_then(Value::as_object);
        properties.is_some_and(|properties| {
            object.iter().all(|(name, value)| {
                let property = properties.get(name);
                property.is_some_and(|property| words::allows_word(property, value))
            })
        })
    });
    let only = fitting.next()?;
    fitting.next().is_none().then_some(only)
}

/// The part of a schema that a validator's path leads to.
fn part<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').skip(1).try_fold(schema, |at, segment| {
        let segment = segment.replace("~1", "/").replace("~0", "~");
        match (at, segment.as_str()) {
            (_, "$ref") => schema.pointer(at.get("$ref")?.as_str()?.strip_prefix('#')?),
            (Value::Array(items), index) => items.get(index.parse::<usize>().ok()?),
            (at, name) => at.get(name),
        }
    })
}

/// The schema of a member that is missing.
fn property_of<'a>(
    schema: &'a Value,
    error: &jsonschema::ValidationError<'_>,
    name: &str,
) -> Option<&'a Value> {
    let path = error.schema_path().as_str().strip_suffix("/required")?;
    part(schema, path)?.get("properties")?.get(name)
}

/// Of one error, which stands for several faults where members are unknown.
fn violations(schema: &Value, error: &jsonschema::ValidationError<'_>) -> Vec<Violation> {
    use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};

    let at = error.instance_path().as_str();
    let one = |pointer: String, code: &str, message: String| {
        vec![Violation::new(
            format!("/parameters{pointer}"),
            code,
            message,
        )]
    };
    let here = |code: &str, message: String| one(at.to_owned(), code, message);
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            one(
                format!("{at}/{}", escape(name)),
                codes::REQUIRED,
                words::required(name, property_of(schema, error, name)),
            )
        }
        Kind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .flat_map(|name| {
                one(
                    format!("{at}/{}", escape(name)),
                    codes::UNKNOWN_PARAMETER,
                    words::unknown(name),
                )
            })
            .collect(),
        Kind::Type { kind } => {
            let types = match kind {
                TypeKind::Single(only) => vec![only.to_string()],
                TypeKind::Multiple(types) => types.iter().map(|one| one.to_string()).collect(),
            };
            let message = words::wrong_type(types.iter().map(String::as_str));
            here(codes::WRONG_TYPE, message)
        }
        Kind::Enum { options } => {
            let options = options.as_array().map_or(&[][..], Vec::as_slice);
            here(codes::NOT_ALLOWED, words::one_of(options))
        }
        Kind::Constant { expected_value } => {
            here(codes::NOT_ALLOWED, words::exactly(expected_value))
        }
        Kind::Minimum { limit } => here(codes::OUT_OF_RANGE, words::at_least(limit)),
        Kind::Maximum { limit } => here(codes::OUT_OF_RANGE, words::at_most(limit)),
        Kind::ExclusiveMinimum { limit } => here(codes::OUT_OF_RANGE, words::more_than(limit)),
        Kind::ExclusiveMaximum { limit } => here(codes::OUT_OF_RANGE, words::less_than(limit)),
        Kind::MultipleOf { multiple_of } => {
            here(codes::OUT_OF_RANGE, words::multiple_of(*multiple_of))
        }
        Kind::MinLength { limit } => here(codes::WRONG_LENGTH, words::characters_min(*limit)),
        Kind::MaxLength { limit } => here(codes::WRONG_LENGTH, words::characters_max(*limit)),
        Kind::MinItems { limit } => here(codes::WRONG_LENGTH, words::items_min(*limit)),
        Kind::MaxItems { limit } => here(codes::WRONG_LENGTH, words::items_max(*limit)),
        Kind::MinProperties { limit } => here(codes::WRONG_LENGTH, words::members_min(*limit)),
        Kind::MaxProperties { limit } => here(codes::WRONG_LENGTH, words::members_max(*limit)),
        Kind::OneOfNotValid { .. } | Kind::AnyOf { .. } => {
            let message = words::no_variant(part(schema, error.schema_path().as_str()));
            here(codes::NO_VARIANT, message)
        }
        Kind::OneOfMultipleValid { .. } => {
            here(codes::NO_VARIANT, words::SEVERAL_VARIANTS.to_owned())
        }
        Kind::Pattern { pattern } => here(codes::INVALID, words::pattern(pattern)),
        Kind::UniqueItems => here(codes::INVALID, words::UNIQUE.to_owned()),
        Kind::Not { .. } | Kind::FalseSchema => here(codes::INVALID, words::FORBIDDEN.to_owned()),
        other => here(codes::INVALID, words::other(other.keyword())),
    }
}

/// RFC 6901.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

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
    fn a_value_is_told_one_thing() {
        let schema = ParameterSchema::compile(&json!({
            "type": "object",
            "properties": { "n": { "type": "integer", "minimum": 1, "maximum": 9 } }
        }))
        .unwrap();
        for (value, code) in [
            (json!(0.5), codes::OUT_OF_RANGE),
            (json!(0), codes::OUT_OF_RANGE),
            (json!(1.5), codes::WRONG_TYPE),
            (json!("one"), codes::WRONG_TYPE),
        ] {
            let found = schema.violations(&json!({ "n": value }));
            let said: Vec<&str> = found.iter().map(|fault| fault.code.as_str()).collect();
            assert_eq!(said, [code], "{value}");
        }
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
    fn members_that_one_variant_only_has_mean_that_variant() {
        let schema = ParameterSchema::compile(&json!({
            "type": "object",
            "properties": { "place": { "oneOf": [
                { "title": "At", "required": ["at"],
                  "properties": { "at": { "type": "number" }, "kind": { "const": "at" } } },
                { "title": "Near", "required": ["near"],
                  "properties": {
                    "near": { "enum": ["here", "there"], "default": "here" },
                    "kind": { "const": "near" },
                    "by": { "type": "number", "default": 4 }
                  } }
            ] } },
            "required": ["place"]
        }))
        .unwrap();
        for (given, filled) in [
            (json!({ "by": 2 }), json!({ "near": "here", "by": 2 })),
            (
                json!({ "kind": "near" }),
                json!({ "near": "here", "kind": "near", "by": 4 }),
            ),
            (
                json!({ "near": "there" }),
                json!({ "near": "there", "by": 4 }),
            ),
            // Any variant, none, and something else.
            (json!({}), json!({})),
            (json!({ "by": 2, "at": 1 }), json!({ "by": 2, "at": 1 })),
            (json!({ "near": "nowhere" }), json!({ "near": "nowhere" })),
            (json!(3), json!(3)),
        ] {
            let mut parameters = json!({ "place": given });
            schema.fill_defaults(&mut parameters);
            assert_eq!(parameters, json!({ "place": filled }), "{given}");
        }
        let ways = "At (`at`) or Near (`near`)";
        let said = |parameters: Value| {
            let faults = schema.violations(&parameters).into_iter();
            let said = faults.map(|fault| format!("{}: {}", fault.code, fault.message));
            said.collect::<Vec<_>>().join("; ")
        };
        assert_eq!(
            said(json!({})),
            format!("required: `place` is missing: {ways}")
        );
        let neither = said(json!({ "place": {} }));
        assert!(neither.starts_with("no_variant: "), "{neither}");
        assert!(neither.ends_with(ways), "{neither}");
    }

    #[test]
    fn references_to_other_documents_are_refused() {
        let remote = json!({ "type": "object", "$ref": "https://example.com/schema.json" });
        assert!(ParameterSchema::compile(&remote).is_err());
        let file = json!({ "type": "object", "$ref": "file:///etc/passwd" });
        assert!(ParameterSchema::compile(&file).is_err());
    }
}
