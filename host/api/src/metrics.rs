//! Numbers for operators, as Prometheus text.

use std::{
    collections::BTreeMap,
    fmt::{Debug, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// One number of another crate.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricSample {
    /// `[a-z_]+`, without the prefix `bindery_`. Samples of one name stand together.
    pub name: &'static str,
    pub help: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// Whoever has more numbers.
pub trait MetricsSource: Debug + Send + Sync {
    fn samples(&self) -> Vec<MetricSample>;
}

/// No more numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl MetricsSource for NoMetrics {
    fn samples(&self) -> Vec<MetricSample> {
        Vec::new()
    }
}

/// Method, route and status of a request. Routes are ours, methods are folded, so the number of
/// series is bounded.
type Series = (&'static str, String, u16);

/// Requests that were answered.
#[derive(Debug, Default)]
pub(crate) struct HttpMetrics {
    series: Mutex<BTreeMap<Series, (u64, Duration)>>,
}

impl HttpMetrics {
    pub(crate) fn count(&self, method: &str, route: &str, status: u16, took: Duration) {
        const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        let method = METHODS
            .into_iter()
            .find(|known| *known == method)
            .unwrap_or("other");
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, sum) = series
            .entry((method, route.to_owned(), status))
            .or_default();
        *count += 1;
        *sum = sum.saturating_add(took);
    }

    pub(crate) fn samples(&self) -> Vec<MetricSample> {
        let series = self
            .series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let sample = |name, help, key: &Series, value| MetricSample {
            name,
            help,
            kind: "counter",
            labels: vec![
                ("method", key.0.to_owned()),
                ("route", key.1.clone()),
                ("status", key.2.to_string()),
            ],
            value,
        };
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
        let counts = series.iter().map(|(key, (count, _))| {
            sample(
                "http_requests_total",
                "Requests answered.",
                key,
                *count as f64,
            )
        });
        let times = series.iter().map(|(key, (_, sum))| {
            let help = "Time until the answer began.";
            sample("http_request_seconds_total", help, key, sum.as_secs_f64())
        });
        counts.chain(times).collect()
    }
}

/// The text format, version 0.0.4.
pub(crate) fn render(samples: &[MetricSample]) -> String {
    let mut text = String::new();
    let mut before = "";
    for sample in samples {
        // Writing to a string does not fail.
        if sample.name != before {
            let _ = writeln!(text, "# HELP bindery_{} {}", sample.name, sample.help);
            let _ = writeln!(text, "# TYPE bindery_{} {}", sample.name, sample.kind);
            before = sample.name;
        }
        let labels: Vec<String> = sample
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(text, "bindery_{}{labels} {}", sample.name, sample.value);
    }
    text
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format() {
        let http = HttpMetrics::default();
        http.count("GET", "/a", 200, Duration::from_millis(500));
        http.count("GET", "/a", 200, Duration::from_millis(250));
        http.count("BREW", "/a", 405, Duration::ZERO);
        let text = render(&http.samples());
        for line in [
            "# TYPE bindery_http_requests_total counter",
            "bindery_http_requests_total{method=\"GET\",route=\"/a\",status=\"200\"} 2",
            "bindery_http_requests_total{method=\"other\",route=\"/a\",status=\"405\"} 1",
            "bindery_http_request_seconds_total{method=\"GET\",route=\"/a\",status=\"200\"} 0.75",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} not in\n{text}"
            );
        }
        assert_eq!(text.matches("# HELP").count(), 2);
    }
}
