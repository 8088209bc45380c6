//! Where in its author's sources a guest broke, as far as it said so on standard error.

use std::fmt;

/// A line of a source file, as the guest's language names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    /// Untrusted text.
    pub file: String,
    pub line: u32,
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Longer names are no files.
const FILE_BYTES_MAX: usize = 512;

impl SourcePlace {
    /// Looks in what a guest printed for the words with which Rust, Python and JavaScript name
    /// the place of a failure. The innermost place is taken that is the author's: not one within
    /// a standard library or a dependency, unless there is no other.
    #[must_use]
    pub fn find(printed: &str) -> Option<Self> {
        let mut places: Vec<Self> = Vec::new();
        for line in printed.lines() {
            if let Some(place) = rust(line) {
                // The panic itself; a backtrace after it has no lines in a release build. After
                // words of another language it is that language's interpreter that gives up.
                places.is_empty().then(|| places.push(place));
                break;
            }
            if let Some(place) = python(line) {
                // A traceback goes from the outside in: the last is the innermost.
                places.insert(0, place);
            } else if let Some(place) = javascript(line) {
                places.push(place);
            }
        }
        let own = places.iter().position(|place| !place.is_foreign());
        places.into_iter().nth(own.unwrap_or(0))
    }

    fn is_foreign(&self) -> bool {
        [
            "site-packages",
            "node_modules",
            "/lib/python",
            "vendor/",
            "native",
        ]
        .iter()
        .any(|part| self.file.contains(part))
            || self.file.starts_with("/python/")
            || self.file.starts_with('<')
    }

    fn new(file: &str, line: &str) -> Option<Self> {
        let named = !file.is_empty() && file.len() <= FILE_BYTES_MAX;
        Some(Self {
            file: named.then(|| file.to_owned())?,
            line: line.parse().ok()?,
        })
    }
}

/// `thread 'main' panicked at src/lib.rs:12:5:`, with a number after the name since Rust 1.91.
fn rust(line: &str) -> Option<SourcePlace> {
    let (_, place) = line.split_once("panicked at ")?;
    with_column(place.trim_end().trim_end_matches(':'))
}

/// `  File "app.py", line 12, in compute`.
fn python(line: &str) -> Option<SourcePlace> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.split_once("\", line ")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    SourcePlace::new(file, digits)
}

/// `    at compute (task.js:12:3)` or `    at task.js:12:3`.
fn javascript(line: &str) -> Option<SourcePlace> {
    let rest = line.trim().strip_prefix("at ")?;
    let place = match rest.rsplit_once('(') {
        Some((_, place)) => place.trim_end_matches(')'),
        None => rest,
    };
    if place.contains(' ') {
        return None;
    }
    let without_column = || {
        let (file, line) = place.rsplit_once(':')?;
        SourcePlace::new(file, line)
    };
    with_column(place).or_else(without_column)
}

/// `FILE:LINE:COLUMN`.
fn with_column(place: &str) -> Option<SourcePlace> {
    let (place, column) = place.rsplit_once(':')?;
    column.parse::<u32>().ok()?;
    let (file, line) = place.rsplit_once(':')?;
    SourcePlace::new(file, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(printed: &str, expected: Option<&str>) {
        let found = SourcePlace::find(printed).map(|place| place.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn the_place_of_a_panic() {
        check(
            "about to fail\nthread '<unnamed>' panicked at src/lib.rs:12:5:\nindex out of bounds",
            Some("src/lib.rs:12"),
        );
        check(
            "thread 'main' (1) panicked at src/a b.rs:7:1:\nno",
            Some("src/a b.rs:7"),
        );
    }

    #[test]
    fn the_innermost_place_of_a_traceback_that_is_the_authors() {
        check(
            "Traceback (most recent call last):\n  File \"/0/task.py\", line 40, in validate\n    \
             x()\n  File \"/0/task.py\", line 12, in x\n    json.loads(t)\n  File \
             \"/python/json/__init__.py\", line 346, in loads\nValueError: no",
            Some("/0/task.py:12"),
        );
    }

    #[test]
    fn the_innermost_place_of_a_stack() {
        check(
            "Error: no\n    at mean (task.js:12:3)\n    at compute (task.js:40)\n",
            Some("task.js:12"),
        );
        check(
            "Error: no\n    at parse (native)\n    at <anonymous> (task.js:3:1)",
            Some("task.js:3"),
        );
    }

    #[test]
    fn the_panic_of_an_interpreter_is_not_the_authors() {
        check(
            "TypeError: no\n    at count (task.js:87:13)\n\nthread '<unnamed>' (1) panicked at \
             crates/runtime/src/interpreter.rs:51:31:\nFailed to call",
            Some("task.js:87"),
        );
    }

    #[test]
    fn other_words_are_no_place() {
        check("", None);
        check("at noon: 12:30", None);
        check("panicked at the disco", None);
        check("look at it: a:b:c", None);
    }
}
