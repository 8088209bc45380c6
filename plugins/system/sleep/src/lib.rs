//! The task `system.sleep`: an engine that waits in the sandbox. For probes and benchmarks of
//! the host: it does nothing else that the host does for a long-running engine.

use bindery_sdk::prelude::*;

/// Longest wait in seconds; a day.
const SECONDS_MAX: u32 = 86_400;
/// On top of the wait itself, so that the limit only ends a run that hangs.
const GRACE_MS: u64 = 60_000;

/// Of a program that waits.
const MEMORY_BYTES: u64 = 16 << 20;

/// See the module.
#[derive(Debug)]
pub struct Sleep;

fn seconds(request: &Request) -> f64 {
    request
        .parameters_value()
        .get("seconds")
        .and_then(|value| value.as_f64())
        .unwrap_or(1.0)
}

/// The same in milliseconds: at most a day, whatever was asked for.
fn milliseconds(request: &Request) -> u64 {
    let milliseconds = (seconds(request) * 1000.0).clamp(0.0, f64::from(SECONDS_MAX) * 1000.0);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped"
    )]
    let milliseconds = milliseconds as u64;
    milliseconds
}

impl Task for Sleep {
    fn definition() -> TaskDefinition {
        TaskDefinition::new("system.sleep", env!("CARGO_PKG_VERSION"), "Sleep")
            .category("System")
            .summary("Waits in the sandbox; for probes and benchmarks")
            .docs(
                "Runs the engine `sleep` for `seconds` and returns how long it was asked to wait.",
            )
            .parameters(json!({
                "type": "object",
                "properties": {
                    "seconds": {
                        "type": "number",
                        "title": "Seconds",
                        "description": "How long to wait",
                        "minimum": 0,
                        "maximum": SECONDS_MAX,
                        "default": 1
                    }
                },
                "additionalProperties": false
            }))
            .output(json!({
                "type": "object",
                "properties": { "seconds": { "type": "number" } },
                "required": ["seconds"]
            }))
            .keywords(&["probe", "wait"])
            .engine("sleep", "")
            .resources(ResourceHints {
                cpu_cores: 1,
                memory_bytes: MEMORY_BYTES,
                disk_bytes: 1 << 20,
                wall_ms: u64::from(SECONDS_MAX) * 1000 + GRACE_MS,
            })
    }

    fn estimate(request: &Request, _: &Normalised) -> Option<Estimate> {
        Some(Estimate {
            wall_ms: milliseconds(request),
            cpu_ms: 0,
            memory_bytes: MEMORY_BYTES,
        })
    }
}

impl EngineTask for Sleep {
    type Monitor = NoMonitor;

    fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
        if !done.is_empty() {
            return Ok(Decision::Finished);
        }
        let seconds = seconds(request);
        let wall_ms = milliseconds(request) + GRACE_MS;
        let step = Step::new("sleep", "Sleeping", "sleep")
            .literal(format!("{seconds}"))
            .limits(StepLimits {
                wall_ms,
                cpu_ms: 0,
                memory_bytes: 0,
                disk_bytes: 0,
                cpu_cores: 1,
            });
        Ok(Decision::Run(vec![step]))
    }

    fn parse(request: &Request, outcomes: &[StepOutcome]) -> Result<Vec<ItemOutcome>, Error> {
        match outcomes {
            [only] if only.exit_code() == Some(0) => Ok(vec![ItemOutcome {
                index: 0,
                verdict: Ok(ItemResult::json(&json!({ "seconds": seconds(request) }))),
            }]),
            [only] => Err(Error::step(
                "sleep",
                "sleep_failed",
                format!("the engine ended with {:?}", only.ending),
                only.stderr_text(),
            )),
            _ => Err(Error::Other("expected one step".to_owned())),
        }
    }
}

bindery_sdk::register_engine_tasks!(Sleep);
