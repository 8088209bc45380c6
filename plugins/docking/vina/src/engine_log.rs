//! `engine.log`: what the engines were told and said, for whoever looks into a result or a failure.

use std::fmt::Write as _;

use bindery_sdk::{Argument, Step, StepEnding, StepOutcome};

use crate::{job::Job, parameters::Parameters, plan, state::State, vina};

/// Of each stream of each step.
const STREAM_BYTES_MAX: usize = 256 << 10;

/// Command lines, versions, endings and words of all steps.
pub(crate) fn write(
    job: &Job<'_>,
    parameters: &Parameters,
    state: &State,
    outcomes: &[StepOutcome],
) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let _ = writeln!(
            text,
            "=== {}: {} {}",
            outcome.step, outcome.engine, outcome.engine_version
        );
        if let Some(step) = plan::planned(job, parameters, state, &outcome.step) {
            let _ = writeln!(text, "$ {}", command_line(&step));
        }
        let _ = writeln!(
            text,
            "{}; {} ms wall, {} ms cpu, {} KiB at most",
            ending(&outcome.ending),
            outcome.usage.wall_ms,
            outcome.usage.cpu_ms,
            outcome.usage.peak_memory_bytes >> 10
        );
        for (name, words) in [
            ("stdout", outcome.stdout_text()),
            ("stderr", outcome.stderr_text()),
        ] {
            if !words.trim().is_empty() {
                let _ = writeln!(
                    text,
                    "--- {name}\n{}",
                    vina::printable(words.trim_end(), STREAM_BYTES_MAX)
                );
            }
        }
        if outcome.dropped_bytes > 0 {
            let _ = writeln!(
                text,
                "--- {} more bytes were dropped",
                outcome.dropped_bytes
            );
        }
        text.push('\n');
    }
    text
}

fn command_line(step: &Step) -> String {
    let mut words = vec![step.engine.clone()];
    for argument in &step.arguments {
        words.push(match argument {
            Argument::Literal(text) | Argument::Input(text) => text.clone(),
            Argument::Work(text) | Argument::Output(text) => text.clone(),
        });
    }
    words.join(" ")
}

fn ending(ending: &StepEnding) -> String {
    match ending {
        StepEnding::Exited(code) => format!("exit code {code}"),
        StepEnding::Crashed(signal) => format!("killed by signal {signal}"),
        StepEnding::MemoryExceeded => "stopped: memory".to_owned(),
        StepEnding::CpuExceeded => "stopped: CPU time".to_owned(),
        StepEnding::DiskExceeded => "stopped: disk".to_owned(),
        StepEnding::TimedOut => "stopped: wall time".to_owned(),
        StepEnding::OutputMissing(path) => format!("without its output {path}"),
    }
}
