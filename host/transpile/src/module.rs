//! One ES module out of a component.

use base64::{Engine, prelude::BASE64_STANDARD};
use bindery_core::{Digest, TaskDefinition, limits};
use js_component_bindgen::{InstantiationMode, TranspileOpts, transpile};
use serde_json::{Value, json};

use crate::checks::{self, Unsupported};

/// Larger components make no module that a page would load.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 16 << 20;
/// Changes whenever the same component would give another module.
pub(crate) const GENERATION: u32 = 2;

/// Where the host's clock for guests stands, in seconds.
const CLOCK_SECONDS: u64 = 946_684_800;
/// Where the host cuts sentences of guests.
const TEXT_BYTES_MAX: u64 = 4 << 10;

const NAME: &str = "component";
const GLUE: &str = "component.js";
/// How the glue begins its one function, and how we call it.
const GLUE_HEAD: &str = "export function instantiate(";
const GLUE_FUNCTION: &str = "function instantiateComponent(";
/// What the glue exports besides; an ES module may say so once only.
const GLUE_TAIL: &str = "export const _util";
const GLUE_UTIL: &str = "const _util";

const SCHEMA: &str = include_str!("js/schema.js");
const WASI: &str = include_str!("js/wasi.js");
const MAIN: &str = include_str!("js/main.js");

/// A component of which no validator can be made.
#[derive(Debug, thiserror::Error)]
pub enum TranspileError {
    #[error("component of {size_bytes} bytes is larger than {COMPONENT_BYTES_MAX}")]
    TooLarge { size_bytes: u64 },
    #[error("parameter schema cannot be checked in a browser: {0}")]
    Schema(#[from] Unsupported),
    #[error("component cannot be made a module: {0}")]
    Component(String),
}

/// A module, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    pub source: String,
    /// Of the text.
    pub digest: Digest,
}

impl Validator {
    pub(crate) fn new(source: String) -> Self {
        Self {
            digest: Digest::of(source.as_bytes()),
            source,
        }
    }
}

/// The module of one task of a component. CPU work: not on a thread that others wait for.
///
/// # Errors
/// When the component is too large or none, or the schema has keywords that only the host knows.
pub fn validator(
    component: &[u8],
    plugin: &Digest,
    definition: &TaskDefinition,
) -> Result<Validator, TranspileError> {
    let size_bytes = component.len() as u64;
    if size_bytes > COMPONENT_BYTES_MAX {
        return Err(TranspileError::TooLarge { size_bytes });
    }
    let checks = checks::checks(&definition.parameters)?;
    let defaults = checks::defaults(&definition.parameters);
    let options = TranspileOpts::builder()
        .name(NAME.to_owned())
        .no_typescript(true)
        .nodejs_compat_disabled(true)
        .instantiation_mode(InstantiationMode::Sync)
        .no_component_error_wrapping(true)
        .no_namespaced_exports(true)
        .build();
    let transpiled = transpile(component, options)
        .map_err(|error| TranspileError::Component(format!("{error:#}")))?;
    let mut glue = None;
    let mut modules = serde_json::Map::new();
    for (name, content) in transpiled.files {
        if name == GLUE {
            glue = Some(content);
        } else if name.ends_with(".wasm") {
            modules.insert(name, json!(BASE64_STANDARD.encode(content)));
        }
    }
    let glue = glue
        .and_then(|glue| String::from_utf8(glue).ok())
        .and_then(|glue| embed(&glue))
        .ok_or_else(|| TranspileError::Component("glue of an unknown shape".to_owned()))?;
    let meta = json!({
        "task": definition.id,
        "version": definition.version.to_string(),
        "plugin": plugin.to_string(),
        "inputs": !definition.inputs.is_empty(),
        "clock_seconds": CLOCK_SECONDS,
        "text_bytes_max": TEXT_BYTES_MAX,
        "violations_max": limits::VIOLATIONS_MAX,
    });
    let constant = |name: &str, value: &Value| format!("const {name} = {};\n", literal(value));
    let source = [
        &format!(
            "// Checks parameters of {}@{} as its plugin does. Made from the plugin; do not edit.\n",
            definition.id, definition.version
        ),
        &constant("META", &meta),
        &constant("CHECKS", &checks),
        &constant("DEFAULTS", &defaults),
        &constant("MODULES", &Value::Object(modules)),
        SCHEMA,
        WASI,
        &glue,
        MAIN,
    ]
    .concat();
    Ok(Validator::new(source))
}

/// The glue as a part of another module. None when it is not as expected, which only another
/// version of the generator can be.
fn embed(glue: &str) -> Option<String> {
    let exports = glue.matches("export ").count();
    let imports = glue
        .lines()
        .any(|line| line.starts_with("import ") || line.contains("import("));
    if exports < 2 || imports || !glue.contains(GLUE_HEAD) || !glue.contains(GLUE_TAIL) {
        return None;
    }
    let embedded = glue
        .replacen(GLUE_HEAD, GLUE_FUNCTION, 1)
        .replacen(GLUE_TAIL, GLUE_UTIL, 1);
    let left = embedded.lines().any(|line| line.starts_with("export "));
    (!left).then(|| format!("{embedded}\n"))
}

/// JSON is JavaScript.
fn literal(value: &Value) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn glue_of_another_shape_is_not_used() {
        let glue = "export function instantiate(a) {}\nexport const _util = {}\n";
        let embedded = embed(glue).unwrap();
        assert!(!embedded.contains("export"), "{embedded}");
        for other in [
            "",
            "export function instantiate(a) {}",
            "import x from 'y';\nexport function instantiate(a) {}\nexport const _util = {}\n",
            "export function instantiate(a) {}\nexport const _util = {}\nexport const z = 1;\n",
        ] {
            assert_eq!(embed(other), None, "{other}");
        }
    }
}
