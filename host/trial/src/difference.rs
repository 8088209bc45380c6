//! Where two JSON documents differ.

use serde_json::Value;

/// Beyond that, a person sees that all is different.
const DIFFERENCES_MAX: usize = 100;

/// One place where something else was expected.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// RFC 6901, into the report of a case: `/output/mean`, `/violations`, `/artifacts`, `/error`,
    /// `/steps/ID`.
    pub pointer: String,
    /// None where nothing was expected.
    pub expected: Option<Value>,
    /// None where nothing was there.
    pub got: Option<Value>,
}

impl Difference {
    pub(crate) fn new(
        pointer: impl Into<String>,
        expected: Option<Value>,
        got: Option<Value>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            expected,
            got,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        let (expected, got) = (word(&self.expected), word(&self.got));
        write!(f, "{}: expected {expected}, got {got}", self.pointer)
    }
}

/// How closely documents are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Closeness {
    /// Numbers are the same when they differ by at most this share of the expected one, or by at
    /// most this where that is below 1.
    pub(crate) tolerance: f64,
    /// Members that are not expected are not looked at.
    pub(crate) subset: bool,
}

/// Where `got` differs from `expected`, with pointers that begin with `pointer`. Numbers may
/// differ by `tolerance`, relative to the expected one where that is above 1.
#[must_use]
pub fn differences(
    pointer: &str,
    expected: &Value,
    got: &Value,
    tolerance: f64,
) -> Vec<Difference> {
    let closeness = Closeness {
        tolerance,
        subset: false,
    };
    differences_by(pointer, expected, got, closeness)
}

pub(crate) fn differences_by(
    pointer: &str,
    expected: &Value,
    got: &Value,
    closeness: Closeness,
) -> Vec<Difference> {
    let mut found = Vec::new();
    walk(pointer, expected, got, closeness, &mut found);
    found
}

fn walk(
    pointer: &str,
    expected: &Value,
    got: &Value,
    closeness: Closeness,
    found: &mut Vec<Difference>,
) {
    if found.len() >= DIFFERENCES_MAX {
        return;
    }
    match (expected, got) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (name, value) in wanted {
                let pointer = format!("{pointer}/{}", escape(name));
                match there.get(name) {
                    Some(got) => walk(&pointer, value, got, closeness, found),
                    None => found.push(Difference::new(pointer, Some(value.clone()), None)),
                }
            }
            if closeness.subset {
                return;
            }
            for (name, value) in there.iter().filter(|(name, _)| !wanted.contains_key(*name)) {
                let pointer = format!("{pointer}/{}", escape(name));
                found.push(Difference::new(pointer, None, Some(value.clone())));
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            for index in 0..wanted.len().max(there.len()) {
                let pointer = format!("{pointer}/{index}");
                match (wanted.get(index), there.get(index)) {
                    (Some(value), Some(got)) => walk(&pointer, value, got, closeness, found),
                    (value, got) => {
                        found.push(Difference::new(pointer, value.cloned(), got.cloned()));
                    }
                }
            }
        }
        _ if same(expected, got, closeness.tolerance) => {}
        _ => found.push(Difference::new(
            pointer,
            Some(expected.clone()),
            Some(got.clone()),
        )),
    }
    found.truncate(DIFFERENCES_MAX);
}

fn same(expected: &Value, got: &Value, tolerance: f64) -> bool {
    if let (Value::Number(a), Value::Number(b)) = (expected, got) {
        // Whole numbers beyond 2^53 are compared as they are.
        if a == b {
            return true;
        }
        if let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) {
            let whole = expected.is_u64() && got.is_u64() && tolerance == 0.0;
            return !whole && (a - b).abs() <= tolerance * a.abs().max(1.0);
        }
    }
    expected == got
}

/// RFC 6901.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(expected: &Value, got: &Value, tolerance: f64) -> Vec<String> {
        differences("", expected, got, tolerance)
            .into_iter()
            .map(|difference| difference.pointer)
            .collect()
    }

    #[test]
    fn every_place_is_named() {
        let expected = json!({ "a": [1, 2], "b": { "x/y": true }, "c": 1 });
        let got = json!({ "a": [1, 3, 4], "b": { "x/y": false }, "d": 1 });
        assert_eq!(
            pointers(&expected, &got, 0.0),
            ["/a/1", "/a/2", "/b/x~1y", "/c", "/d"]
        );
        assert!(pointers(&expected, &expected, 0.0).is_empty());
    }

    #[test]
    fn numbers_may_be_close_and_are_exact_without_tolerance() {
        assert!(pointers(&json!(1), &json!(1.0), 0.0).is_empty());
        assert!(pointers(&json!(1000.0), &json!(1000.5), 1e-3).is_empty());
        assert!(pointers(&json!(0.0), &json!(5e-4), 1e-3).is_empty());
        assert_eq!(pointers(&json!(1000.0), &json!(1002.0), 1e-3).len(), 1);
        assert_eq!(
            pointers(&json!(u64::MAX), &json!(u64::MAX - 1), 0.0).len(),
            1
        );
        assert_eq!(pointers(&json!(1), &json!("1"), 1.0).len(), 1);
    }

    #[test]
    fn a_subset_leaves_the_rest_alone() {
        let closeness = Closeness {
            tolerance: 0.0,
            subset: true,
        };
        let found = differences_by(
            "",
            &json!({ "a": 1 }),
            &json!({ "a": 1, "b": 2 }),
            closeness,
        );
        assert_eq!(found, []);
        let found = differences_by("", &json!({ "a": 1 }), &json!({ "b": 2 }), closeness);
        assert_eq!(found.len(), 1);
    }
}
