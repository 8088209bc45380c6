//! Times of many calls, and a table of them.

use std::{fmt::Write, time::Duration};

/// Times of one thing that was done many times.
#[derive(Debug, Default)]
pub struct Samples {
    times: Vec<Duration>,
}

impl Samples {
    pub fn push(&mut self, time: Duration) {
        self.times.push(time);
    }

    /// The time that this share (0..=1) of all calls did not exceed; zero without calls.
    #[must_use]
    pub fn percentile(&self, share: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into a list that is in memory"
        )]
        let at = (share.clamp(0.0, 1.0) * times.len().saturating_sub(1) as f64).round() as usize;
        times.get(at).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }
}

/// A Markdown table in microseconds: one row each, with its ratio to the first.
#[must_use]
pub fn table(rows: &[(&str, &Samples)]) -> String {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let base = rows
        .first()
        .map_or(0.0, |(_, samples)| micros(samples.percentile(0.5)));
    let mut text = String::from(
        "| | p50 µs | p90 µs | p99 µs | p50 / first | calls |\n|---|---|---|---|---|---|\n",
    );
    for (name, samples) in rows {
        let p50 = micros(samples.percentile(0.5));
        let _ = writeln!(
            text,
            "| {name} | {p50:.1} | {:.1} | {:.1} | {:.2} | {} |",
            micros(samples.percentile(0.9)),
            micros(samples.percentile(0.99)),
            if base > 0.0 { p50 / base } else { 0.0 },
            samples.len(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_sorted_times() {
        let mut samples = Samples::default();
        for millis in [5, 1, 4, 2, 3] {
            samples.push(Duration::from_millis(millis));
        }
        assert_eq!(samples.percentile(0.0), Duration::from_millis(1));
        assert_eq!(samples.percentile(0.5), Duration::from_millis(3));
        assert_eq!(samples.percentile(1.0), Duration::from_millis(5));
        assert_eq!(Samples::default().percentile(0.5), Duration::ZERO);
    }
}
