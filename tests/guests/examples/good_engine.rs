//! An engine task as it should be: two rounds, the second built on what the first wrote, and a
//! monitor that counts.

use bindery_test_guests::prelude::*;

/// Half a share for every byte `*`, and a notice for every line end.
struct Stars(f32);

impl StepMonitor for Stars {
    fn new(_request: &Request, step: &str) -> Self {
        Self(if step == "second" { 0.5 } else { 0.0 })
    }

    fn feed(&mut self, stream: OutputStream, bytes: &[u8]) -> Vec<Signal> {
        let mut signals = Vec::new();
        for byte in bytes {
            if *byte == b'*' {
                self.0 += 0.125;
                signals.push(Signal::Progress(self.0));
            } else if *byte == b'\n' {
                signals.push(Signal::Notice(Notice::info("line", format!("{stream:?}"))));
            }
        }
        signals
    }
}

fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
    match done {
        [] => Ok(Decision::Run(vec![
            Step::new("first", "First", "echo")
                .literal(given(request, "text"))
                .writes("first.txt")
                .weight(2.0),
        ])),
        [first] => {
            if first.exit_code() != Some(0) {
                return Err(Error::step(
                    "first",
                    "echo_failed",
                    "no echo",
                    first.stderr_text(),
                ));
            }
            let heard = std::fs::read_to_string(bindery_sdk::work_path("first.txt"))?;
            Ok(Decision::Run(vec![
                Step::new("second", "Second", "echo")
                    .literal(format!("{heard} again"))
                    .reads_work("first.txt")
                    .keeps("second.txt", false),
            ]))
        }
        _ => Ok(Decision::Finished),
    }
}

fn parse(_request: &Request, outcomes: &[StepOutcome]) -> Result<Vec<ItemOutcome>, Error> {
    let said: Vec<String> = outcomes.iter().map(StepOutcome::stdout_text).collect();
    Ok(single(ItemResult::json(&json!({ "said": said }))))
}

engine_guest!(next: next, parse: parse, monitor: Stars);
