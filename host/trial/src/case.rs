//! `cases/NAME/case.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{PackageFiles, Recording, files::is_inside};

/// Cases of one package; each is a run before every publish.
const CASES_MAX: usize = 256;

/// A request and what is expected of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Of its directory.
    pub name: String,
    pub title: String,
    /// None in a package with one task.
    pub task: Option<String>,
    pub seed: u64,
    pub parameters: Value,
    pub inputs: Vec<CaseInput>,
    /// How engine steps are run unless the caller says otherwise.
    pub steps: StepSource,
    pub expect: Expect,
    /// What `plugin test --record` kept of engine steps.
    pub recording: Option<Recording>,
}

/// A file for an input slot.
#[derive(Debug, Clone)]
pub struct CaseInput {
    pub slot: String,
    /// As a user's file would be called.
    pub name: String,
    /// None takes the first type that the slot accepts.
    pub media_type: Option<String>,
    pub content: Vec<u8>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepSource {
    /// Replayed from `recording/`.
    #[default]
    Recorded,
    /// Run by the host's engines.
    Real,
}

/// What is expected; what is absent is not looked at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// As `validate` normalises them. A case that expects nothing else is not run further.
    pub parameters: Option<Value>,
    /// Pointer and code of every fault, in any order.
    pub violations: Option<BTreeSet<(String, String)>>,
    pub output: Option<Value>,
    /// See [`differences`](crate::differences).
    pub tolerance: f64,
    /// Only the members that `output` names are compared.
    pub subset: bool,
    /// Artifacts that must be there.
    pub artifacts: Vec<String>,
    /// Code of the failure: a refusal's, or how the guest broke.
    pub error: Option<String>,
}

impl Expect {
    /// Whether the task has to be run, or checking the request is enough.
    pub(crate) fn needs_run(&self) -> bool {
        self.output.is_some() || !self.artifacts.is_empty() || self.error.is_some()
    }
}

/// A case that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cases/{case}: {fault}")]
pub struct CaseError {
    pub case: String,
    pub fault: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    #[serde(default)]
    title: String,
    task: Option<String>,
    #[serde(default = "seed")]
    seed: u64,
    parameters: Option<Value>,
    parameters_file: Option<String>,
    #[serde(default)]
    inputs: BTreeMap<String, OneOrMany>,
    #[serde(default)]
    media_types: BTreeMap<String, String>,
    #[serde(default)]
    steps: StepSource,
    expect: ExpectFile,
}

const fn seed() -> u64 {
    1
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectFile {
    parameters: Option<Value>,
    violations: Option<Vec<ViolationFile>>,
    output: Option<Value>,
    output_file: Option<String>,
    #[serde(default)]
    tolerance: f64,
    #[serde(default)]
    subset: bool,
    #[serde(default)]
    artifacts: Vec<String>,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViolationFile {
    pointer: String,
    code: String,
}

impl Case {
    /// All cases of a package, by name.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn all(files: &dyn PackageFiles) -> Result<Vec<Self>, CaseError> {
        let names: Vec<String> = files
            .paths()
            .iter()
            .filter_map(|path| {
                let name = path.strip_prefix("cases/")?.strip_suffix("/case.toml")?;
                (!name.contains('/')).then(|| name.to_owned())
            })
            .collect();
        if names.len() > CASES_MAX {
            return Err(CaseError {
                case: String::new(),
                fault: format!("{} cases, at most {CASES_MAX} are allowed", names.len()),
            });
        }
        names.iter().map(|name| Self::read(files, name)).collect()
    }

    /// The case of this name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(files: &dyn PackageFiles, name: &str) -> Result<Self, CaseError> {
        read(files, name).map_err(|fault| CaseError {
            case: name.to_owned(),
            fault,
        })
    }
}

fn read(files: &dyn PackageFiles, name: &str) -> Result<Case, String> {
    let directory = format!("cases/{name}");
    let text = files
        .content(&format!("{directory}/case.toml"))
        .ok_or("case.toml is not there")?;
    let text = String::from_utf8(text).map_err(|_| "case.toml is not UTF-8")?;
    let file: CaseFile = toml::from_str(&text).map_err(|error| error.to_string())?;
    // A file of the case, or else of the package, so that cases can share the examples.
    let find = |path: &str| {
        if !is_inside(path) {
            return Err(format!("`{path}` leaves the package"));
        }
        files
            .content(&format!("{directory}/{path}"))
            .or_else(|| files.content(path))
            .ok_or_else(|| format!("`{path}` is neither in the case nor in the package"))
    };
    let document = |path: &str| {
        serde_json::from_slice::<Value>(&find(path)?).map_err(|error| format!("{path}: {error}"))
    };
    let parameters = match (file.parameters, &file.parameters_file) {
        (Some(_), Some(_)) => return Err("both `parameters` and `parameters_file`".to_owned()),
        (Some(parameters), None) => parameters,
        (None, Some(path)) => document(path)?,
        (None, None) => Value::Object(Map::new()),
    };
    let mut inputs = Vec::new();
    for (slot, paths) in &file.inputs {
        let paths = match paths {
            OneOrMany::One(path) => std::slice::from_ref(path),
            OneOrMany::Many(paths) => paths,
        };
        for path in paths {
            inputs.push(CaseInput {
                slot: slot.clone(),
                name: path.rsplit('/').next().unwrap_or(path).to_owned(),
                media_type: file.media_types.get(slot).cloned(),
                content: find(path)?,
            });
        }
    }
    let output = match (file.expect.output, &file.expect.output_file) {
        (Some(_), Some(_)) => return Err("both `output` and `output_file`".to_owned()),
        (None, Some(path)) => Some(document(path)?),
        (output, None) => output,
    };
    let expect = Expect {
        parameters: file.expect.parameters,
        violations: file.expect.violations.map(|violations| {
            violations
                .into_iter()
                .map(|violation| (violation.pointer, violation.code))
                .collect()
        }),
        output,
        tolerance: file.expect.tolerance,
        subset: file.expect.subset,
        artifacts: file.expect.artifacts,
        error: file.expect.error,
    };
    check(&expect)?;
    Ok(Case {
        name: name.to_owned(),
        title: file.title,
        task: file.task,
        seed: file.seed,
        parameters,
        inputs,
        steps: file.steps,
        expect,
        recording: Recording::read(files, &format!("{directory}/recording"))
            .map_err(|error| error.to_string())?,
    })
}

/// A case that expects nothing, or what cannot be at once, would say nothing.
fn check(expect: &Expect) -> Result<(), String> {
    let gives = expect.output.is_some() || !expect.artifacts.is_empty();
    if expect.violations.is_some() && (gives || expect.parameters.is_some()) {
        return Err("a request with violations has no parameters, output or artifacts".to_owned());
    }
    if expect.error.is_some() && (gives || expect.violations.is_some()) {
        return Err("`error` stands alone or with `parameters`".to_owned());
    }
    if expect.parameters.is_none() && expect.violations.is_none() && !expect.needs_run() {
        return Err(
            "nothing is expected: name `parameters`, `violations`, `output`, `artifacts` or `error`"
                .to_owned(),
        );
    }
    if !(expect.tolerance.is_finite() && expect.tolerance >= 0.0) {
        return Err("the tolerance is negative or not finite".to_owned());
    }
    if expect.violations.as_ref().is_some_and(BTreeSet::is_empty) {
        return Err("`violations` is empty: expect `parameters` instead".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use serde_json::json;

    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_case_takes_files_of_its_own_and_of_the_package() {
        let files = files(&[
            (
                "cases/mean/case.toml",
                "seed = 7\n[parameters]\nx = 1\n[inputs]\ntable = 'own.csv'\nmore = \
                 ['examples/a.csv']\n[expect]\noutput = { mean = 2 }\ntolerance = 1e-6\n",
            ),
            ("cases/mean/own.csv", "1"),
            ("examples/a.csv", "2"),
            ("cases/mean/deeper/case.toml", "not a case"),
        ]);
        let cases = Case::all(&files).unwrap();
        assert_eq!(cases.len(), 1);
        let case = &cases[0];
        assert_eq!((case.seed, &case.parameters), (7, &json!({ "x": 1 })));
        let names: Vec<(&str, &str)> = case
            .inputs
            .iter()
            .map(|input| (input.slot.as_str(), input.name.as_str()))
            .collect();
        assert_eq!(names, [("more", "a.csv"), ("table", "own.csv")]);
        assert_eq!(case.expect.output, Some(json!({ "mean": 2 })));
    }

    #[test]
    fn a_case_that_says_nothing_or_reaches_out_is_refused() {
        for (text, reason) in [
            ("[expect]\n", "nothing is expected"),
            ("[expect]\noutput = 1\nerror = 'x'\n", "stands alone"),
            ("[expect]\nviolations = []\n", "is empty"),
            ("[expect]\nresult = 1\n", "unknown field"),
            (
                "[inputs]\na = '../../secret'\n[expect]\noutput = 1\n",
                "leaves",
            ),
            (
                "[inputs]\na = '/etc/passwd'\n[expect]\noutput = 1\n",
                "leaves",
            ),
            ("[inputs]\na = 'absent'\n[expect]\noutput = 1\n", "neither"),
        ] {
            let error = Case::all(&files(&[("cases/a/case.toml", text)])).unwrap_err();
            assert!(error.fault.contains(reason), "{text}: {error}");
        }
    }
}
