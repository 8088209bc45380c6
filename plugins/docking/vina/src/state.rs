//! What the first call of an execution finds out and the later ones need.
//!
//! Each call may happen on a fresh instance, so this lies in a file below `/work`. It is written
//! once, before the first step, and never changed: everything that comes later follows from the
//! steps' own files.

use bindery_chem::Format;
use bindery_sdk::{
    Error, Notice, Severity,
    serde_json::{self, Value, json},
    work_path,
};

use crate::search_box::SearchBox;

const FILE: &str = "plan.json";

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) search_box: SearchBox,
    pub(crate) receptor: ReceptorSource,
    pub(crate) ligand: LigandSource,
    /// Found while reading the inputs; shown with the result.
    pub(crate) notices: Vec<Notice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceptorSource {
    pub(crate) format: Format,
    pub(crate) heavy_atoms: u64,
    pub(crate) hydrogens: u64,
    /// Whether amino acids or nucleotides are in it: then there must be hydrogen-bond donors.
    pub(crate) is_polymer: bool,
    /// Whether Open Babel has Gasteiger parameters for all of its elements.
    pub(crate) can_be_charged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LigandSource {
    pub(crate) format: Format,
    /// Untrusted text; for the title line of poses only.
    pub(crate) title: String,
    /// Of the part that is docked.
    pub(crate) heavy_atoms: u64,
    /// Whether all but the largest part are to be left out first.
    pub(crate) strips_salts: bool,
    /// Whether coordinates must be made before anything else.
    pub(crate) needs_coordinates: bool,
    pub(crate) has_bond_orders: bool,
    pub(crate) can_be_charged: bool,
}

impl ReceptorSource {
    /// A PDBQT file is docked as it is.
    pub(crate) fn is_prepared(&self) -> bool {
        self.format == Format::Pdbqt
    }
}

impl LigandSource {
    /// A PDBQT file is docked as it is.
    pub(crate) fn is_prepared(&self) -> bool {
        self.format == Format::Pdbqt
    }
}

impl State {
    pub(crate) fn store(&self) -> Result<(), Error> {
        let notices: Vec<Value> = self
            .notices
            .iter()
            .map(|notice| {
                json!({
                    "warning": notice.severity != Severity::Info,
                    "code": notice.code,
                    "message": notice.message,
                })
            })
            .collect();
        let document = json!({
            "box": self.search_box.to_json(),
            "receptor": {
                "format": self.receptor.format.name(),
                "heavy_atoms": self.receptor.heavy_atoms,
                "hydrogens": self.receptor.hydrogens,
                "is_polymer": self.receptor.is_polymer,
                "can_be_charged": self.receptor.can_be_charged,
            },
            "ligand": {
                "format": self.ligand.format.name(),
                "title": self.ligand.title,
                "heavy_atoms": self.ligand.heavy_atoms,
                "strips_salts": self.ligand.strips_salts,
                "needs_coordinates": self.ligand.needs_coordinates,
                "has_bond_orders": self.ligand.has_bond_orders,
                "can_be_charged": self.ligand.can_be_charged,
            },
            "notices": notices,
        });
        Ok(std::fs::write(work_path(FILE), document.to_string())?)
    }

    pub(crate) fn load() -> Result<Self, Error> {
        let text = std::fs::read_to_string(work_path(FILE))?;
        let document: Value = serde_json::from_str(&text)
            .map_err(|error| Error::Other(format!("{FILE} of this execution: {error}")))?;
        Self::from_document(&document)
            .ok_or_else(|| Error::Other(format!("{FILE} of this execution is incomplete")))
    }

    fn from_document(document: &Value) -> Option<Self> {
        let part = |part: &str| document.get(part);
        let receptor = part("receptor")?;
        let ligand = part("ligand")?;
        let flag = |value: &Value, name: &str| value.get(name)?.as_bool();
        let count = |value: &Value, name: &str| value.get(name)?.as_u64();
        let format = |value: &Value| {
            let name = value.get("format")?.as_str()?;
            Format::ALL.into_iter().find(|format| format.name() == name)
        };
        let triple = |name: &str| {
            let list = part("box")?.get(name)?.as_array()?;
            match list.as_slice() {
                [x, y, z] => Some([x.as_f64()?, y.as_f64()?, z.as_f64()?]),
                _ => None,
            }
        };
        let notices = part("notices")?
            .as_array()?
            .iter()
            .map(|notice| {
                let severity = if flag(notice, "warning")? {
                    Severity::Warning
                } else {
                    Severity::Info
                };
                let text = |name: &str| notice.get(name)?.as_str();
                Some(Notice::new(severity, text("code")?, text("message")?))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            search_box: SearchBox {
                center: triple("center")?,
                size: triple("size")?,
            },
            receptor: ReceptorSource {
                format: format(receptor)?,
                heavy_atoms: count(receptor, "heavy_atoms")?,
                hydrogens: count(receptor, "hydrogens")?,
                is_polymer: flag(receptor, "is_polymer")?,
                can_be_charged: flag(receptor, "can_be_charged")?,
            },
            ligand: LigandSource {
                format: format(ligand)?,
                title: ligand.get("title")?.as_str()?.to_owned(),
                heavy_atoms: count(ligand, "heavy_atoms")?,
                strips_salts: flag(ligand, "strips_salts")?,
                needs_coordinates: flag(ligand, "needs_coordinates")?,
                has_bond_orders: flag(ligand, "has_bond_orders")?,
                can_be_charged: flag(ligand, "can_be_charged")?,
            },
            notices,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bindery_sdk::Root;

    use super::*;

    #[test]
    fn what_is_stored_is_loaded_again() {
        let directory = std::env::temp_dir().join(format!("bindery-state-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("work")).unwrap();
        let _root = Root::at(&directory);
        let state = State {
            search_box: SearchBox {
                center: [26.983, -7.247, 2.981],
                size: [18.0, 19.5, 20.0],
            },
            receptor: ReceptorSource {
                format: Format::Pdb,
                heavy_atoms: 1289,
                hydrogens: 0,
                is_polymer: true,
                can_be_charged: false,
            },
            ligand: LigandSource {
                format: Format::Mol2,
                title: "a \"quoted\" ../name".to_owned(),
                heavy_atoms: 10,
                strips_salts: true,
                needs_coordinates: false,
                has_bond_orders: true,
                can_be_charged: true,
            },
            notices: vec![
                Notice::warning("large_box", "so large"),
                Notice::info("x", "y"),
            ],
        };
        state.store().unwrap();
        assert_eq!(State::load().unwrap(), state);
        std::fs::write(work_path(FILE), "{}").unwrap();
        assert!(State::load().is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
