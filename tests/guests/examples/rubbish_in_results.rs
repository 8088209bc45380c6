//! Gives results that are none.

use bindery_sdk::Session;
use bindery_test_guests::prelude::*;

struct Guest;

impl Task for Guest {
    fn definition() -> TaskDefinition {
        bindery_test_guests::any()
    }
}

struct Results(Request);

fn artifact(name: &str, path: &str) -> ItemResult {
    ItemResult {
        artifacts: vec![Artifact::new(name, path, "text/plain", "")],
        ..ItemResult::json(&json!({}))
    }
}

fn result(kind: &str) -> ItemResult {
    let good = ItemResult::json(&json!({}));
    let metric = |value| ItemResult {
        metrics: vec![Metric::new("m", value, "", Better::Larger)],
        ..ItemResult::json(&json!({}))
    };
    match kind {
        "output_not_json" => ItemResult {
            output: "{".to_owned(),
            ..good
        },
        "nan_metric" => metric(f64::NAN),
        "infinite_metric" => metric(f64::INFINITY),
        "confidence_above_one" => ItemResult {
            confidence: Some(1.5),
            ..good
        },
        "confidence_nan" => ItemResult {
            confidence: Some(f64::NAN),
            ..good
        },
        "artifact_escapes" => artifact("passwd", "../../etc/passwd"),
        "artifact_escapes_below_out" => artifact("passwd", "/out/../../etc/passwd"),
        "artifact_absolute" => artifact("passwd", "/etc/passwd"),
        "artifact_of_the_input" => artifact("a.txt", "/in/a.txt"),
        "artifact_name_is_a_path" => artifact("../a.txt", "/out/a.txt"),
        "artifact_name_is_hidden" => artifact(".a", "/out/a.txt"),
        "artifact_names_twice" => {
            let one = || Artifact::new("a.txt", "/out/a.txt", "text/plain", "");
            ItemResult {
                artifacts: vec![one(), one()],
                ..good
            }
        }
        "view_not_json" => ItemResult {
            views: vec![View {
                kind: "table".to_owned(),
                title: "T".to_owned(),
                spec: "rubbish".to_owned(),
                artifacts: vec![],
            }],
            ..good
        },
        "too_many_artifacts" => ItemResult {
            artifacts: (0..2000)
                .map(|n| Artifact::new(format!("a{n}"), format!("/out/a{n}"), "text/plain", ""))
                .collect(),
            ..good
        },
        _ => good,
    }
}

impl Session for Results {
    fn open(request: Request) -> Result<Self, Error> {
        Ok(Self(request))
    }

    fn finish(&mut self) -> Result<Vec<ItemOutcome>, Error> {
        let outcome = |index, kind: &str| ItemOutcome {
            index,
            verdict: Ok(result(kind)),
        };
        Ok(match kind(&self.0).as_str() {
            "no_outcomes" => vec![],
            "unknown_item" => vec![outcome(0, ""), outcome(7, "")],
            "item_twice" => vec![outcome(0, ""), outcome(0, "")],
            kind => vec![outcome(0, kind)],
        })
    }
}

impl ComputeTask for Guest {
    type Session = Results;
}

bindery_sdk::register_compute_tasks!(Guest);
