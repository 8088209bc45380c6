//! What plugins and engines say, for a person at a terminal.
//!
//! A plugin that breaks leaves a message with its place, the stack of its language's runtime, and
//! often the runtime's own last words. The author wants the first; the rest is in the document of
//! `--json`, in `result.json`, and here with `--verbose`.

const LINES_MAX: usize = 20;
/// The code of a plugin's break that leaves words.
const TRAP: &str = "trap";
/// How wasmtime begins the list of functions that it appends to a trap's message.
const BACKTRACE: &str = ": error while executing at wasm backtrace:";

/// The first line of a failure's message, without what announces the lines after it.
pub(crate) fn headline(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.strip_suffix(BACKTRACE).unwrap_or(line)
}

/// What somebody said who failed with this code. Of a plugin that broke, the message only, unless
/// the log is on.
pub(crate) fn detail(code: &str, detail: &str) -> String {
    if code != TRAP || tracing::enabled!(tracing::Level::INFO) {
        return indent(detail);
    }
    let brief = brief(detail);
    let left_out = detail.trim().lines().count() > brief.lines().count();
    let more = if left_out {
        "\n  (-v shows all it said)"
    } else {
        ""
    };
    format!("{}{more}", indent(&brief))
}

/// The message of a panic, an exception or a traceback.
fn brief(detail: &str) -> String {
    let first_paragraph: Vec<&str> = detail
        .trim()
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .collect();
    let lines = match first_paragraph.as_slice() {
        // Python says it last, after the way there.
        [first, .., last] if first.starts_with("Traceback ") => vec![*last],
        lines => lines
            .iter()
            .copied()
            // JavaScript's frames, and Rust's advice for programs that have an environment.
            .filter(|line| {
                let line = line.trim_start();
                !line.starts_with("at ") && !line.starts_with("note: run with `RUST_BACKTRACE")
            })
            .collect(),
    };
    lines.join("\n")
}

/// Words of others: indented, bounded, and without bytes that a terminal would obey.
fn indent(text: &str) -> String {
    text.lines()
        .take(LINES_MAX)
        .map(|line| {
            let line: String = line
                .chars()
                .map(|c| {
                    if c.is_control() && c != '\t' {
                        '\u{fffd}'
                    } else {
                        c
                    }
                })
                .collect();
            format!("  | {line}")
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_left_and_the_way_there_is_not() {
        let javascript = "TypeError: on purpose\n    at count (task.js:87:13)\n    at finish \
                          (vendor/bindery.js:1:2)\n\nthread '<unnamed>' (1) panicked at \
                          crates/runtime/src/interpreter.rs:51:31:\nFailed to call 'finish'\n";
        assert_eq!(brief(javascript), "TypeError: on purpose");
        let rust = "\nthread '<unnamed>' (1) panicked at src/lib.rs:57:5:\non purpose\nnote: run with \
                    `RUST_BACKTRACE=1` environment variable to display a backtrace\n";
        assert_eq!(
            brief(rust),
            "thread '<unnamed>' (1) panicked at src/lib.rs:57:5:\non purpose"
        );
        let python = "Traceback (most recent call last):\n  File \"task.py\", line 40, in count\n    \
                      raise KeyError(\"on purpose\")\nKeyError: 'on purpose'\n";
        assert_eq!(brief(python), "KeyError: 'on purpose'");
        assert_eq!(brief("plain words\n"), "plain words");
        assert_eq!(brief(""), "");
    }

    #[test]
    fn a_headline_is_one_line() {
        let message = "the plugin broke in `compute` (trap) at task.js:87: error while executing at \
                       wasm backtrace:\n    0:  0xcd444 - <unknown>!<wasm function 517>\n";
        assert_eq!(
            headline(message),
            "the plugin broke in `compute` (trap) at task.js:87"
        );
        assert_eq!(headline("it says no"), "it says no");
    }
}
