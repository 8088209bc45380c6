//! What is said of a value that does not fit its JSON Schema.
//!
//! The words depend on the schema alone and never on the value, so that whoever checks a request
//! (the host, or a browser with the checks the host made for it) says the very same.

use serde_json::Value;

/// A list of allowed values that is longer than this is cut.
const WORDS_BYTES_MAX: usize = 500;

/// Codes of violations that a schema gives rise to.
pub mod codes {
    pub const REQUIRED: &str = "required";
    pub const UNKNOWN_PARAMETER: &str = "unknown_parameter";
    pub const WRONG_TYPE: &str = "wrong_type";
    pub const NOT_ALLOWED: &str = "not_allowed";
    pub const OUT_OF_RANGE: &str = "out_of_range";
    pub const WRONG_LENGTH: &str = "wrong_length";
    /// A value that fits none of the variants of its schema, or several.
    pub const NO_VARIANT: &str = "no_variant";
    pub const INVALID: &str = "invalid";
}

/// `schema` is the member's own, where it is known: it may name several ways to give it.
#[must_use]
pub fn required(name: &str, schema: Option<&Value>) -> String {
    let variants = schema.and_then(|schema| schema.get("oneOf").or_else(|| schema.get("anyOf")));
    match variants.and_then(ways) {
        Some(ways) => cut(format!("`{name}` is missing: {ways}")),
        None => format!("`{name}` is missing"),
    }
}

/// Of a value that fits none of the variants (the list of them), where they are known.
#[must_use]
pub fn no_variant(variants: Option<&Value>) -> String {
    let words = "fits none of the ways in which it may be given";
    match variants.and_then(ways) {
        Some(ways) => cut(format!("{words}: {ways}")),
        None => words.to_owned(),
    }
}

/// The variants of an object, each with its title and the members that it needs. None where one
/// of them needs none: it would not be told from the others by that.
fn ways(variants: &Value) -> Option<String> {
    let ways: Vec<String> = variants
        .as_array()?
        .iter()
        .map(|variant| {
            let needed: Vec<String> = variant
                .get("required")?
                .as_array()?
                .iter()
                .filter_map(|name| Some(format!("`{}`", name.as_str()?)))
                .collect();
            let needed = (!needed.is_empty()).then(|| needed.join(", "))?;
            Some(match variant.get("title").and_then(Value::as_str) {
                Some(title) => format!("{title} ({needed})"),
                None => needed,
            })
        })
        .collect::<Option<_>>()?;
    Some(ways.join(" or "))
}

#[must_use]
pub fn unknown(name: &str) -> String {
    format!("`{name}` is not known here")
}

/// Of JSON Schema's names of types.
#[must_use]
pub fn wrong_type<'a>(types: impl IntoIterator<Item = &'a str>) -> String {
    let mut types: Vec<&str> = types
        .into_iter()
        .map(|name| match name {
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "a text",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "an object",
            "null" => "null",
            other => other,
        })
        .collect();
    types.sort_unstable();
    format!("must be {}", types.join(" or "))
}

#[must_use]
pub fn one_of(options: &[Value]) -> String {
    let options: Vec<String> = options.iter().map(Value::to_string).collect();
    cut(format!("must be one of: {}", options.join(", ")))
}

#[must_use]
pub fn exactly(value: &Value) -> String {
    cut(format!("must be {value}"))
}

#[must_use]
pub fn at_least(limit: &Value) -> String {
    format!("must be at least {limit}")
}

#[must_use]
pub fn at_most(limit: &Value) -> String {
    format!("must be at most {limit}")
}

#[must_use]
pub fn more_than(limit: &Value) -> String {
    format!("must be more than {limit}")
}

#[must_use]
pub fn less_than(limit: &Value) -> String {
    format!("must be less than {limit}")
}

#[must_use]
pub fn multiple_of(step: f64) -> String {
    format!("must be a multiple of {step}")
}

#[must_use]
pub fn characters_min(count: u64) -> String {
    format!("must have at least {count} characters")
}

#[must_use]
pub fn characters_max(count: u64) -> String {
    format!("must have at most {count} characters")
}

#[must_use]
pub fn items_min(count: u64) -> String {
    format!("must have at least {count} items")
}

#[must_use]
pub fn items_max(count: u64) -> String {
    format!("must have at most {count} items")
}

#[must_use]
pub fn members_min(count: u64) -> String {
    format!("must have at least {count} members")
}

#[must_use]
pub fn members_max(count: u64) -> String {
    format!("must have at most {count} members")
}

#[must_use]
pub fn pattern(pattern: &str) -> String {
    cut(format!("must match the pattern `{pattern}`"))
}

pub const UNIQUE: &str = "must not hold the same value twice";
pub const SEVERAL_VARIANTS: &str = "fits several of the ways in which it may be given";
pub const FORBIDDEN: &str = "must not be given so";
/// Of a schema's keyword that has no words of its own.
#[must_use]
pub fn other(keyword: &str) -> String {
    format!("does not fit the schema ({keyword})")
}

/// Texts that alone are allowed, where a schema says so: what tells variants of an object apart.
#[must_use]
pub fn only_words(schema: &Value) -> Option<Vec<&str>> {
    match schema.get("const") {
        Some(word) => Some(vec![word.as_str()?]),
        None => schema
            .get("enum")?
            .as_array()?
            .iter()
            .map(Value::as_str)
            .collect(),
    }
}

/// Whether a value is one of [`only_words`]; any is where nothing is said of words.
#[must_use]
pub fn allows_word(schema: &Value, value: &Value) -> bool {
    only_words(schema).is_none_or(|words| value.as_str().is_some_and(|word| words.contains(&word)))
}

fn cut(mut text: String) -> String {
    if text.len() > WORDS_BYTES_MAX {
        text.truncate(text.floor_char_boundary(WORDS_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_given_in_several_ways_is_said_with_them() {
        let schema = json!({ "oneOf": [
            { "title": "By name", "required": ["name"] },
            { "required": ["from", "to"] }
        ] });
        assert_eq!(
            required("place", Some(&schema)),
            "`place` is missing: By name (`name`) or `from`, `to`"
        );
        assert!(
            no_variant(schema.get("oneOf")).ends_with("given: By name (`name`) or `from`, `to`")
        );
        let choices = json!({ "oneOf": [{ "const": 1, "title": "One" }] });
        assert_eq!(required("count", Some(&choices)), "`count` is missing");
        assert!(no_variant(None).ends_with("may be given"));
    }
}
