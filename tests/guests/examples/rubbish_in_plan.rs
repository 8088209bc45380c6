//! Plans what must not be run.

use bindery_test_guests::prelude::*;

fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
    let step = Step::new("step", "Step", "echo");
    let steps = match kind(request).as_str() {
        "no_steps" => vec![],
        "undeclared_output" => {
            let mut step = step.writes("a.txt");
            step.outputs.clear();
            vec![step]
        }
        "output_escapes" => vec![step.writes("../../etc/passwd")],
        "output_over_log" => vec![step.writes(".steps/step/stdout")],
        "input_escapes" => vec![step.reads_input("../../etc/passwd")],
        "absolute_path" => vec![step.reads_work("/etc/passwd")],
        "nul_byte" => vec![step.literal("a\0b")],
        "option_like_path" => vec![step.reads_input("--config")],
        "bad_id" => vec![Step::new("../step", "Step", "echo")],
        "nan_weight" => vec![step.weight(f32::NAN)],
        "negative_weight" => vec![step.weight(-1.0)],
        "twin_steps" => vec![step.clone(), step],
        "same_step_again" => match done {
            [] => vec![step],
            _ => vec![Step::new("step", "Step", "echo")],
        },
        "undeclared_engine" => vec![Step::new("step", "Step", "sh")],
        "long_argument" => vec![step.literal("a".repeat(1 << 20))],
        "too_many_steps" => (0..5000)
            .map(|n| Step::new(&format!("step-{n}"), "Step", "echo"))
            .collect(),
        _ => return Ok(Decision::Finished),
    };
    Ok(Decision::Run(steps))
}

engine_guest!(next: next, parse: |_, _| Ok(Vec::new()), monitor: NoMonitor);
