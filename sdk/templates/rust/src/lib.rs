//! The task `{{name}}`.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use bindery_sdk::{out_path, prelude::*};

parameters! {
    /// What a user may choose.
    pub struct Parameters {
        /// How many of the most frequent words are given.
        top: usize = field::integer("Words").min(1).max(1000).default(10);
        /// Count `The` and `the` as one word.
        fold_case: bool = field::flag("Ignore case").default(true);
    }
}

/// Counts words.
#[derive(Debug)]
pub struct WordCount;

impl Task for WordCount {
    fn definition() -> TaskDefinition {
        TaskDefinition::new("{{name}}", env!("CARGO_PKG_VERSION"), "{{title}}")
            .category("Text")
            .summary("Counts the words of a text")
            .typed_parameters::<Parameters>()
            .input("text", "Text", "UTF-8 text", &["*/*"], Cardinality::One)
            .output(json!({
                "type": "object",
                "properties": {
                    "words": { "type": "integer" },
                    "distinct": { "type": "integer" },
                    "most": { "type": "array", "items": { "type": "object" } }
                },
                "required": ["words", "distinct", "most"]
            }))
            .artifact("words.csv", "text/csv", "All words with their counts")
    }

    /// What the schema cannot say: here, that the file is a text. All faults at once.
    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        if let Some(file) = request.input("text")
            && let Err(Error::InvalidInput(faults)) = file.read_text()
        {
            return Err(faults);
        }
        Ok(Normalised {
            parameters: request.parameters.clone(),
            notices: Vec::new(),
        })
    }
}

impl ComputeTask for WordCount {
    type Session = Immediate<Self>;
}

impl Compute for WordCount {
    fn compute(request: &Request) -> Result<ItemResult, Error> {
        let parameters: Parameters = request.read_parameters()?;
        let text = request.required_input("text")?.read_text()?;
        let counts = count(&text, parameters.fold_case);
        log::info(&format!("{} distinct words", counts.len()));

        let mut table = "word,count\n".to_owned();
        for (word, count) in &counts {
            // Writing to a string does not fail.
            let _ = writeln!(table, "{word},{count}");
        }
        fs::write(out_path("words.csv"), table)?;

        let top = counts.iter().take(parameters.top);
        let most: Vec<_> = top
            .clone()
            .map(|(word, count)| json!({ "word": word, "count": count }))
            .collect();
        let rows: Vec<_> = top.map(|(word, count)| json!([word, count])).collect();
        let words: usize = counts.iter().map(|(_, count)| count).sum();
        Ok(ItemResult::json(&json!({
            "words": words,
            "distinct": counts.len(),
            "most": most,
        }))
        .metric(Metric::new("words", words as f64, "", Better::Neither))
        .artifact(Artifact::out("words.csv", "text/csv", "All words with their counts"))
        .view(View::new("table", "Most frequent words", &json!({
            "columns": [
                { "key": "word", "title": "Word", "type": "text" },
                { "key": "count", "title": "Count", "type": "integer" }
            ],
            "rows": rows,
        }))))
    }
}

/// Words with their counts: most frequent first, those of one count in the order of the alphabet.
fn count(text: &str, fold_case: bool) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = if fold_case { word.to_lowercase() } else { word.to_owned() };
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    // A stable sort keeps the order of the alphabet among equals.
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

bindery_sdk::register_compute_tasks!(WordCount);

#[cfg(test)]
mod tests {
    use bindery_sdk::testing::Trial;

    use super::*;

    #[test]
    fn words_are_counted() {
        let trial = Trial::of::<WordCount>()
            .parameters(json!({ "fold_case": false }))
            .input("text", "a.txt", b"b A a b");
        let result = trial.compute::<WordCount>().expect("a result");
        assert_eq!(result.output_value()["distinct"], 3);
        assert_eq!(trial.file("/out/words.csv"), b"word,count\nb,2\nA,1\na,1\n");
    }
}
