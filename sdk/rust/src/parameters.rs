//! Parameters as a type: one place for the schema that people see and the fields that code uses.

use serde_json::{Map, Number, Value, json};

/// One parameter of a task: its JSON Schema, and whether it must be given.
///
/// Made by the functions of [`field`](crate::field) and given to [`parameters!`](crate::parameters!).
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    schema: Map<String, Value>,
    required: bool,
}

impl Field {
    fn new(kind: &str, title: &str) -> Self {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), json!(kind));
        schema.insert("title".to_owned(), json!(title));
        Self {
            schema,
            required: true,
        }
    }

    fn with(mut self, word: &str, value: Value) -> Self {
        self.schema.insert(word.to_owned(), value);
        self
    }

    /// The value where the user gives none; the host fills it in before it asks the task.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.required = false;
        self.with("default", value.into())
    }

    /// May be left out; the field is an `Option`.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// Least value of a number.
    #[must_use]
    pub fn min(self, least: impl Into<Number>) -> Self {
        self.with("minimum", Value::Number(least.into()))
    }

    /// Greatest value of a number.
    #[must_use]
    pub fn max(self, greatest: impl Into<Number>) -> Self {
        self.with("maximum", Value::Number(greatest.into()))
    }

    /// Least value of a number that need not be whole.
    #[must_use]
    pub fn from(self, least: f64) -> Self {
        self.with("minimum", json!(least))
    }

    /// Greatest value of a number that need not be whole.
    #[must_use]
    pub fn to(self, greatest: f64) -> Self {
        self.with("maximum", json!(greatest))
    }

    /// Number of characters of a text, or of values of a list.
    #[must_use]
    pub fn length(self, least: u32, most: u32) -> Self {
        let (low, high) = match self.schema.get("type").and_then(Value::as_str) {
            Some("array") => ("minItems", "maxItems"),
            _ => ("minLength", "maxLength"),
        };
        self.with(low, json!(least)).with(high, json!(most))
    }

    /// What a text must look like, as an ECMA-262 regular expression.
    #[must_use]
    pub fn pattern(self, pattern: &str) -> Self {
        self.with("pattern", json!(pattern))
    }

    #[doc(hidden)]
    #[must_use]
    pub fn described(self, lines: &[&str]) -> Self {
        let text: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
        match text.join(" ").trim() {
            "" => self,
            text => self.with("description", json!(text)),
        }
    }
}

/// Fields for [`parameters!`](crate::parameters!).
pub mod field {
    use serde_json::{Value, json};

    use super::{Choices, Field, Parameters};

    /// A whole number.
    #[must_use]
    pub fn integer(title: &str) -> Field {
        Field::new("integer", title)
    }

    /// A number.
    #[must_use]
    pub fn number(title: &str) -> Field {
        Field::new("number", title)
    }

    /// A text.
    #[must_use]
    pub fn text(title: &str) -> Field {
        Field::new("string", title)
    }

    /// Yes or no.
    #[must_use]
    pub fn flag(title: &str) -> Field {
        Field::new("boolean", title)
    }

    /// One of the values of an enum; see [`choices!`](crate::choices!).
    #[must_use]
    pub fn choice<T: Choices>(title: &str) -> Field {
        let offered: Vec<Value> = T::CHOICES
            .iter()
            .map(|(name, title)| json!({ "const": name, "title": title }))
            .collect();
        Field::new("string", title).with("oneOf", Value::Array(offered))
    }

    /// A list of values of one kind.
    #[must_use]
    pub fn list(title: &str, of: Field) -> Field {
        Field::new("array", title).with("items", Value::Object(of.schema))
    }

    /// Parameters within parameters.
    #[must_use]
    pub fn group<T: Parameters>(title: &str) -> Field {
        let mut field = Field::new("object", title);
        if let Value::Object(schema) = T::schema() {
            field.schema.extend(schema);
        }
        field
    }

    /// A seed that a user may fix; where none is given, use
    /// [`Request::seed_or`](crate::Request::seed_or).
    #[must_use]
    pub fn seed() -> Field {
        // 53 bits: every JSON reader keeps them exact.
        integer("Seed")
            .min(0)
            .max(9_007_199_254_740_991_u64)
            .optional()
    }
}

/// Parameters that know their schema. Implemented by [`parameters!`](crate::parameters!).
pub trait Parameters: serde::de::DeserializeOwned {
    /// JSON Schema 2020-12, of type object.
    #[must_use]
    fn schema() -> Value;
}

/// An enum whose values users choose from. Implemented by [`choices!`](crate::choices!).
pub trait Choices {
    /// Value in the parameters, and title.
    const CHOICES: &'static [(&'static str, &'static str)];
}

#[doc(hidden)]
#[must_use]
pub fn object_schema(fields: Vec<(&str, Field)>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, field) in fields {
        if field.required {
            required.push(json!(name));
        }
        properties.insert(name.to_owned(), Value::Object(field.schema));
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// Declares the parameters of a task: a struct to read them into, and their schema.
///
/// Comments become descriptions. A field with a default is filled in by the host; one that is
/// `optional()` is an `Option`.
///
/// ```
/// use bindery_sdk::prelude::*;
///
/// choices! {
///     /// How values are spread over the axis.
///     pub enum Scale {
///         Linear = "linear", "Linear";
///         Logarithmic = "log", "Logarithmic";
///     }
/// }
///
/// parameters! {
///     /// Parameters of a histogram.
///     pub struct Histogram {
///         /// How many bars there are.
///         bins: u32 = field::integer("Bins").min(1).max(200).default(20);
///         /// Values below are left out.
///         least: Option<f64> = field::number("Least value").optional();
///         scale: Scale = field::choice::<Scale>("Scale").default("linear");
///     }
/// }
///
/// let schema = Histogram::schema();
/// assert_eq!(schema["properties"]["bins"]["maximum"], 200);
/// assert_eq!(schema["properties"]["bins"]["description"], "How many bars there are.");
/// assert_eq!(schema["required"], json!([]));
/// ```
#[macro_export]
macro_rules! parameters {
    (
        $(#[$outer:meta])*
        $visibility:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field:ident : $type:ty = $schema:expr;
            )*
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $name {
            $(
                $(#[doc = $doc])*
                pub $field: $type,
            )*
        }

        impl $crate::Parameters for $name {
            fn schema() -> $crate::serde_json::Value {
                $crate::object_schema(vec![
                    $((
                        stringify!($field),
                        ($schema).described(&[$($doc),*]),
                    ),)*
                ])
            }
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                use $crate::serde::de::Error as _;

                #[allow(unused_mut, reason = "there may be no field")]
                let mut given = <$crate::serde_json::Map<String, $crate::serde_json::Value>
                    as $crate::serde::Deserialize>::deserialize(deserializer)?;
                Ok(Self {
                    $(
                        $field: $crate::serde_json::from_value(
                            given
                                .remove(stringify!($field))
                                .unwrap_or($crate::serde_json::Value::Null),
                        )
                        .map_err(|error| {
                            D::Error::custom(format!("{}: {error}", stringify!($field)))
                        })?,
                    )*
                })
            }
        }
    };
}

/// Declares an enum that users choose from: name in code, value in the parameters, title.
/// See [`parameters!`](crate::parameters!).
#[macro_export]
macro_rules! choices {
    (
        $(#[$outer:meta])*
        $visibility:vis enum $name:ident {
            $(
                $(#[$inner:meta])*
                $variant:ident = $value:literal, $title:literal;
            )+
        }
    ) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility enum $name {
            $(
                $(#[$inner])*
                #[doc = concat!("`", $value, "`")]
                $variant,
            )+
        }

        impl $crate::Choices for $name {
            const CHOICES: &'static [(&'static str, &'static str)] = &[$(($value, $title)),+];
        }

        impl<'de> $crate::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                use $crate::serde::de::Error as _;

                let text = <String as $crate::serde::Deserialize>::deserialize(deserializer)?;
                match text.as_str() {
                    $($value => Ok(Self::$variant),)+
                    _ => Err(D::Error::custom(format!("`{text}` is no choice"))),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;
    use crate as bindery_sdk;

    bindery_sdk::choices! {
        enum Colour {
            Red = "red", "Red";
            Blue = "light-blue", "Light blue";
        }
    }

    bindery_sdk::parameters! {
        struct Inner {
            depth: f64 = field::number("Depth").from(0.0).to(1.5);
        }
    }

    bindery_sdk::parameters! {
        struct Outer {
            /// How many,
            /// at most.
            count: u32 = field::integer("Count").min(1).max(9).default(3);
            name: Option<String> = field::text("Name").length(1, 20).optional();
            colour: Colour = field::choice::<Colour>("Colour").default("red");
            inner: Inner = field::group::<Inner>("Inner");
            weights: Vec<f64> = field::list("Weights", field::number("Weight")).length(0, 3).default(json!([]));
        }
    }

    #[test]
    fn the_schema_says_what_the_type_reads() {
        let schema = Outer::schema();
        assert_eq!(schema["required"], json!(["inner"]));
        let properties = &schema["properties"];
        assert_eq!(properties["count"]["description"], "How many, at most.");
        assert_eq!(properties["colour"]["oneOf"][1]["const"], "light-blue");
        assert_eq!(properties["inner"]["properties"]["depth"]["maximum"], 1.5);
        assert_eq!(properties["inner"]["title"], "Inner");
        assert_eq!(properties["weights"]["maxItems"], 3);
        assert_eq!(properties["name"]["maxLength"], 20);
    }

    #[test]
    fn what_conforms_is_read_and_what_does_not_is_named() {
        let outer: Outer = serde_json::from_value(json!({
            "count": 4, "colour": "light-blue", "inner": { "depth": 1 }, "weights": [1, 2.5],
        }))
        .unwrap();
        assert_eq!((outer.count, outer.colour), (4, Colour::Blue));
        assert_eq!((outer.name, outer.inner.depth), (None, 1.0));
        let error = serde_json::from_value::<Outer>(json!({ "count": "x" })).unwrap_err();
        assert!(error.to_string().starts_with("count: "), "{error}");
    }
}
