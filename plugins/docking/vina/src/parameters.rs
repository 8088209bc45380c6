//! The parameters of the task: read, bounded, and made one.
//!
//! The host has checked the schema and filled in its defaults before it asks; reading still
//! assumes nothing, as a form that is being filled in is checked with what is there.

use bindery_sdk::{
    Violation,
    serde_json::{Map, Value, json},
};

use crate::search_box::SearchBox;

/// The engine's default; a search of ten heavy atoms takes seconds, of forty about a minute.
pub(crate) const EXHAUSTIVENESS_DEFAULT: u32 = 8;
/// CPU time grows linearly: at 7 s each (forty heavy atoms) this is two hours.
pub(crate) const EXHAUSTIVENESS_MAX: u32 = 1024;
pub(crate) const NUM_MODES_DEFAULT: u32 = 9;
/// More than anyone looks at; bounds the result document.
pub(crate) const NUM_MODES_MAX: u32 = 100;
/// kcal/mol.
pub(crate) const ENERGY_RANGE_DEFAULT: f64 = 3.0;
pub(crate) const ENERGY_RANGE_MAX: f64 = 100.0;
/// Angstrom.
pub(crate) const MIN_RMSD_DEFAULT: f64 = 1.0;
pub(crate) const MIN_RMSD_MAX: f64 = 20.0;
/// The engine reads a 32-bit signed number and takes 0 as "draw one", so 0 is never passed.
pub(crate) const SEED_MAX: u32 = 2_147_483_647;
pub(crate) const PH_DEFAULT: f64 = 7.4;
/// Angstrom on each side of the reference.
pub(crate) const PADDING_DEFAULT: f64 = 4.0;
pub(crate) const PADDING_MAX: f64 = 30.0;
/// Threads of one docking; more than the exhaustiveness cannot be used.
pub(crate) const CPU_MAX: u32 = 64;

/// Which terms the engine scores with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scoring {
    Vina,
    Vinardo,
}

impl Scoring {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vina => "vina",
            Self::Vinardo => "vinardo",
        }
    }
}

/// The search box as asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BoxRequest {
    Explicit(SearchBox),
    /// The extent of the reference's heavy atoms, and this many angstrom more on each side.
    AroundReference {
        padding: f64,
    },
}

/// See the definition's schema for what each means to a user.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) search_box: BoxRequest,
    pub(crate) exhaustiveness: u32,
    pub(crate) num_modes: u32,
    /// kcal/mol.
    pub(crate) energy_range: f64,
    /// Angstrom.
    pub(crate) min_rmsd: f64,
    /// None: drawn from the request's seed.
    pub(crate) seed: Option<u32>,
    pub(crate) scoring: Scoring,
    pub(crate) ph: f64,
    pub(crate) cpu: u32,
}

impl Parameters {
    /// Reads all members and tells every fault.
    pub(crate) fn read(value: &Value) -> Result<Self, Vec<Violation>> {
        let mut reader = Reader::default();
        let Some(members) = value.as_object() else {
            return Err(vec![Violation::new(
                "/parameters",
                "wrong_type",
                "the parameters must be an object",
            )]);
        };
        for name in members.keys() {
            if !MEMBERS.contains(&name.as_str()) {
                reader.fault(
                    format!("/parameters/{}", escape(name)),
                    "unknown_parameter",
                    format!("there is no parameter `{name}`"),
                );
            }
        }
        let search_box = reader.search_box(members);
        let exhaustiveness = reader.whole(
            members,
            "exhaustiveness",
            Some(EXHAUSTIVENESS_DEFAULT),
            EXHAUSTIVENESS_MAX,
        );
        let num_modes = reader.whole(members, "num_modes", Some(NUM_MODES_DEFAULT), NUM_MODES_MAX);
        let energy_range = reader.real(
            members,
            "energy_range",
            ENERGY_RANGE_DEFAULT,
            0.0,
            ENERGY_RANGE_MAX,
        );
        let min_rmsd = reader.real(members, "min_rmsd", MIN_RMSD_DEFAULT, 0.0, MIN_RMSD_MAX);
        let seed = reader.whole(members, "seed", None, SEED_MAX);
        let ph = reader.real(members, "ph", PH_DEFAULT, 0.0, 14.0);
        let cpu = reader.whole(members, "cpu", Some(1), CPU_MAX);
        let scoring = match members.get("scoring").map(|scoring| scoring.as_str()) {
            None | Some(Some("vina")) => Scoring::Vina,
            Some(Some("vinardo")) => Scoring::Vinardo,
            Some(_) => {
                reader.fault(
                    "/parameters/scoring",
                    "not_in_list",
                    "scoring must be `vina` or `vinardo`",
                );
                Scoring::Vina
            }
        };
        match (search_box, reader.violations.is_empty()) {
            (Some(search_box), true) => Ok(Self {
                search_box,
                exhaustiveness: exhaustiveness.unwrap_or(EXHAUSTIVENESS_DEFAULT),
                num_modes: num_modes.unwrap_or(NUM_MODES_DEFAULT),
                energy_range,
                min_rmsd,
                seed,
                scoring,
                ph,
                cpu: cpu.unwrap_or(1),
            }),
            _ => Err(reader.violations),
        }
    }

    /// The document the run uses; equal requests give equal text.
    pub(crate) fn normalised(&self) -> Value {
        let mut members = Map::new();
        members.insert(
            "box".to_owned(),
            match self.search_box {
                BoxRequest::Explicit(explicit) => explicit.to_json(),
                BoxRequest::AroundReference { padding } => {
                    json!({ "around": "reference", "padding": padding })
                }
            },
        );
        members.insert("exhaustiveness".to_owned(), json!(self.exhaustiveness));
        members.insert("num_modes".to_owned(), json!(self.num_modes));
        members.insert("energy_range".to_owned(), json!(self.energy_range));
        members.insert("min_rmsd".to_owned(), json!(self.min_rmsd));
        if let Some(seed) = self.seed {
            members.insert("seed".to_owned(), json!(seed));
        }
        members.insert("scoring".to_owned(), json!(self.scoring.name()));
        members.insert("ph".to_owned(), json!(self.ph));
        members.insert("cpu".to_owned(), json!(self.cpu));
        Value::Object(members)
    }

    /// The user's seed, or one from the host's draw: 1..=`SEED_MAX`.
    pub(crate) fn seed_for(&self, drawn: u64) -> u32 {
        self.seed.unwrap_or_else(|| {
            let within = drawn % u64::from(SEED_MAX) + 1;
            u32::try_from(within).unwrap_or(1)
        })
    }
}

const MEMBERS: &[&str] = &[
    "box",
    "exhaustiveness",
    "num_modes",
    "energy_range",
    "min_rmsd",
    "seed",
    "scoring",
    "ph",
    "cpu",
];

/// RFC 6901.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Collects faults while values are read.
#[derive(Default)]
struct Reader {
    violations: Vec<Violation>,
}

impl Reader {
    fn fault(
        &mut self,
        pointer: impl Into<String>,
        code: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.violations.push(Violation::new(pointer, code, message));
    }

    /// A whole number in 1..=`max`.
    fn whole(
        &mut self,
        members: &Map<String, Value>,
        name: &str,
        default: Option<u32>,
        max: u32,
    ) -> Option<u32> {
        let Some(value) = members.get(name) else {
            return default;
        };
        let pointer = format!("/parameters/{name}");
        // JSON knows one kind of number: 8.0 is a whole one too.
        let whole = value.as_u64().or_else(|| {
            value
                .as_f64()
                .filter(|real| real.fract() == 0.0 && (0.0..=4e9).contains(real))
                .and_then(|real| format!("{real}").parse::<u64>().ok())
        });
        match whole.and_then(|whole| u32::try_from(whole).ok()) {
            Some(whole) if (1..=max).contains(&whole) => return Some(whole),
            None if !value.is_number() => {
                self.fault(
                    pointer,
                    "wrong_type",
                    format!("{name} must be a whole number"),
                );
            }
            _ => self.fault(
                pointer,
                "out_of_range",
                format!("{name} must be a whole number from 1 to {max}, not {value}"),
            ),
        }
        default
    }

    fn real(
        &mut self,
        members: &Map<String, Value>,
        name: &str,
        default: f64,
        min: f64,
        max: f64,
    ) -> f64 {
        match members.get(name) {
            None => default,
            Some(value) => self
                .number(value, &format!("/parameters/{name}"), name, min, max)
                .unwrap_or(default),
        }
    }

    fn number(
        &mut self,
        value: &Value,
        pointer: &str,
        name: &str,
        min: f64,
        max: f64,
    ) -> Option<f64> {
        match value.as_f64() {
            Some(number) if number.is_finite() && (min..=max).contains(&number) => {
                // -0 and 0 are one value; adding 0 makes them one text.
                Some(number + 0.0)
            }
            Some(number) => {
                self.fault(
                    pointer,
                    "out_of_range",
                    format!("{name} must be from {min} to {max}, not {number}"),
                );
                None
            }
            None => {
                self.fault(pointer, "wrong_type", format!("{name} must be a number"));
                None
            }
        }
    }

    fn search_box(&mut self, members: &Map<String, Value>) -> Option<BoxRequest> {
        let Some(value) = members.get("box") else {
            self.fault(
                "/parameters/box",
                "required",
                "the search box is missing: give `center` and `size`, or `around` a reference",
            );
            return None;
        };
        let Some(value) = value.as_object() else {
            self.fault(
                "/parameters/box",
                "wrong_type",
                "the box must be an object with `center` and `size`, or with `around`",
            );
            return None;
        };
        if value.contains_key("around") {
            self.around(value)
        } else {
            self.explicit(value)
        }
    }

    fn unknown_members(&mut self, value: &Map<String, Value>, known: &[&str]) {
        for name in value.keys() {
            if !known.contains(&name.as_str()) {
                self.fault(
                    format!("/parameters/box/{}", escape(name)),
                    "unknown_parameter",
                    format!("this kind of box has no `{name}`"),
                );
            }
        }
    }

    fn around(&mut self, value: &Map<String, Value>) -> Option<BoxRequest> {
        self.unknown_members(value, &["around", "padding"]);
        if value.get("around").and_then(|around| around.as_str()) != Some("reference") {
            self.fault(
                "/parameters/box/around",
                "not_in_list",
                "`around` must be `reference`, the name of the input",
            );
            return None;
        }
        let padding = match value.get("padding") {
            None => Some(PADDING_DEFAULT),
            Some(padding) => self.number(
                padding,
                "/parameters/box/padding",
                "padding",
                0.0,
                PADDING_MAX,
            ),
        };
        padding.map(|padding| BoxRequest::AroundReference { padding })
    }

    fn explicit(&mut self, value: &Map<String, Value>) -> Option<BoxRequest> {
        self.unknown_members(value, &["center", "size"]);
        let center = self.triple(value, "center");
        let size = self.triple(value, "size");
        let explicit = SearchBox {
            center: center?,
            size: size?,
        };
        let faults = explicit.faults();
        let good = faults.is_empty();
        self.violations.extend(faults);
        good.then_some(BoxRequest::Explicit(explicit))
    }

    fn triple(&mut self, value: &Map<String, Value>, name: &str) -> Option<[f64; 3]> {
        let pointer = format!("/parameters/box/{name}");
        let Some(list) = value.get(name) else {
            self.fault(
                pointer,
                "required",
                format!("the box needs its `{name}`, three numbers in angstrom"),
            );
            return None;
        };
        let numbers = match list.as_array().map(Vec::as_slice) {
            Some([x, y, z]) => [x, y, z],
            _ => {
                self.fault(
                    pointer,
                    "wrong_type",
                    format!("`{name}` must be a list of three numbers in angstrom"),
                );
                return None;
            }
        };
        let mut triple = [f64::NAN; 3];
        for (axis, (slot, number)) in triple.iter_mut().zip(numbers).enumerate() {
            match number.as_f64() {
                // Whether the number makes sense is the box's own matter.
                Some(number) => *slot = number + 0.0,
                None => self.fault(
                    format!("{pointer}/{axis}"),
                    "wrong_type",
                    format!("`{name}` must hold numbers in angstrom"),
                ),
            }
        }
        triple
            .iter()
            .all(|number| !number.is_nan())
            .then_some(triple)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test"
    )]

    use super::*;

    fn faults(value: Value) -> Vec<(String, String)> {
        Parameters::read(&value)
            .unwrap_err()
            .into_iter()
            .map(|violation| (violation.pointer, violation.code))
            .collect()
    }

    #[test]
    fn defaults_are_filled_in_and_reading_again_changes_nothing() {
        let asked = json!({ "box": { "center": [1, -0.0, 3], "size": [20, 20.5, 20] } });
        let parameters = Parameters::read(&asked).unwrap();
        assert_eq!(parameters.exhaustiveness, 8);
        assert_eq!(parameters.seed, None);
        let normalised = parameters.normalised();
        assert_eq!(normalised["box"]["center"], json!([1.0, 0.0, 3.0]));
        assert_eq!(Parameters::read(&normalised).unwrap(), parameters);
        assert_eq!(
            Parameters::read(&normalised).unwrap().normalised(),
            normalised
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let told = faults(json!({
            "box": { "center": [0, "x", 0], "size": [20, 20], "colour": 1 },
            "exhaustiveness": 0,
            "num_modes": 2.5,
            "energy_range": -1,
            "seed": 0,
            "scoring": "ad4",
            "ph": 15,
            "cpu": "many",
            "bogus/key": 1,
        }));
        let expected = [
            ("/parameters/bogus~1key", "unknown_parameter"),
            ("/parameters/box/colour", "unknown_parameter"),
            ("/parameters/box/center/1", "wrong_type"),
            ("/parameters/box/size", "wrong_type"),
            ("/parameters/exhaustiveness", "out_of_range"),
            ("/parameters/num_modes", "out_of_range"),
            ("/parameters/energy_range", "out_of_range"),
            ("/parameters/seed", "out_of_range"),
            ("/parameters/ph", "out_of_range"),
            ("/parameters/cpu", "wrong_type"),
            ("/parameters/scoring", "not_in_list"),
        ];
        assert_eq!(
            told,
            expected
                .map(|(pointer, code)| (pointer.to_owned(), code.to_owned()))
                .to_vec()
        );
    }

    #[test]
    fn negative_sizes_and_the_empty_request_are_refused() {
        assert_eq!(
            faults(json!({ "box": { "center": [0, 0, 0], "size": [-20, 20, 0] } })),
            vec![
                (
                    "/parameters/box/size/0".to_owned(),
                    "out_of_range".to_owned()
                ),
                (
                    "/parameters/box/size/2".to_owned(),
                    "out_of_range".to_owned()
                )
            ]
        );
        assert_eq!(
            faults(json!({})),
            vec![("/parameters/box".to_owned(), "required".to_owned())]
        );
        assert_eq!(
            faults(json!({ "box": { "around": "ligand" } })),
            vec![(
                "/parameters/box/around".to_owned(),
                "not_in_list".to_owned()
            )]
        );
    }

    #[test]
    fn the_drawn_seed_is_never_zero_and_fits_the_engine() {
        let parameters = Parameters::read(&json!({ "box": { "around": "reference" } })).unwrap();
        assert_eq!(parameters.seed_for(0), 1);
        assert_eq!(parameters.seed_for(u64::from(SEED_MAX) - 1), SEED_MAX);
        assert_eq!(parameters.seed_for(u64::from(SEED_MAX)), 1);
        let chosen = Parameters::read(&json!({ "box": { "around": "reference" }, "seed": 42.0 }));
        assert_eq!(chosen.unwrap().seed_for(7), 42);
    }
}
