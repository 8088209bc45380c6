//! The bar that shows how far work has come, here or on a server.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

/// Steps of a whole bar.
const STEPS: f64 = 1000.0;

/// A bar on standard error; one that nobody sees where that is no terminal, or when `hidden`.
pub(crate) fn bar(hidden: bool) -> ProgressBar {
    // As many steps as are counted below.
    let bar = ProgressBar::new(1000);
    if hidden || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) =
        ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3} % {elapsed:>5}")
    {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Shows what an event of progress says: the share that is done (0..=1), and the stage.
pub(crate) fn show(bar: &ProgressBar, data: &Value) {
    if let Some(done) = data.get("progress").and_then(Value::as_f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped"
        )]
        bar.set_position((done.clamp(0.0, 1.0) * STEPS) as u64);
    }
    if let Some(stage) = data.get("stage").and_then(Value::as_str) {
        bar.set_message(stage.to_owned());
    }
}
