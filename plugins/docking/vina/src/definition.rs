//! What the task says of itself.

use bindery_sdk::{
    Cardinality, Determinism, ResourceHints, TaskDefinition, json,
    serde_json::{self, Value},
};

use crate::{inputs, openbabel, vina};

pub(crate) const ID: &str = "docking.vina";
/// Of the task, not of the engine.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const RECEPTOR_TYPES: &[&str] = &["chemical/x-pdb", "chemical/x-pdbqt"];
const LIGAND_TYPES: &[&str] = &[
    "chemical/x-mdl-sdfile",
    "chemical/x-mdl-molfile",
    "chemical/x-mol2",
    "chemical/x-pdb",
    "chemical/x-pdbqt",
    "chemical/x-daylight-smiles",
    "chemical/x-xyz",
];
const REFERENCE_TYPES: &[&str] = &[
    "chemical/x-mdl-sdfile",
    "chemical/x-mdl-molfile",
    "chemical/x-mol2",
    "chemical/x-pdb",
    "chemical/x-pdbqt",
    "chemical/x-xyz",
];

const PARAMETERS: &str = include_str!("parameters.schema.json");
const OUTPUT: &str = include_str!("output.schema.json");
const DOCS: &str = include_str!("definition.md");

pub(crate) fn definition() -> TaskDefinition {
    TaskDefinition::new(ID, VERSION, "Docking with AutoDock Vina")
        .category("Docking")
        .summary("Finds how a small molecule may bind to a protein, and how strongly")
        .docs(DOCS)
        .keywords(&[
            "docking",
            "pose",
            "affinity",
            "binding",
            "scoring",
            "virtual screening",
        ])
        .citation(
            "J. Eberhardt, D. Santos-Martins, A. F. Tillack, S. Forli: AutoDock Vina 1.2.0: New \
             Docking Methods, Expanded Force Field, and Python Bindings. J. Chem. Inf. Model. 61 \
             (2021) 3891-3898",
            "10.1021/acs.jcim.1c00203",
        )
        .citation(
            "O. Trott, A. J. Olson: AutoDock Vina: improving the speed and accuracy of docking \
             with a new scoring function, efficient optimization, and multithreading. J. Comput. \
             Chem. 31 (2010) 455-461",
            "10.1002/jcc.21334",
        )
        .citation(
            "N. M. O'Boyle, M. Banck, C. A. James, C. Morley, T. Vandermeersch, G. R. Hutchison: \
             Open Babel: An open chemical toolbox. J. Cheminformatics 3 (2011) 33",
            "10.1186/1758-2946-3-33",
        )
        .parameters(schema(PARAMETERS))
        .input(
            inputs::RECEPTOR,
            "Receptor",
            "Protein or nucleic acid as PDB, or prepared as rigid PDBQT",
            RECEPTOR_TYPES,
            Cardinality::One,
        )
        .input(
            inputs::LIGAND,
            "Ligand",
            "One small molecule, with or without coordinates and hydrogens",
            LIGAND_TYPES,
            Cardinality::One,
        )
        .input(
            inputs::REFERENCE,
            "Reference",
            "A molecule in the binding site, for a box around it",
            REFERENCE_TYPES,
            Cardinality::Optional,
        )
        .output(schema(OUTPUT))
        .artifact("poses.sdf", "chemical/x-mdl-sdfile", "Poses with bonds")
        .artifact(
            "poses.pdbqt",
            "chemical/x-pdbqt",
            "Poses as the engine wrote them",
        )
        .artifact(
            "complex.pdb",
            "chemical/x-pdb",
            "Receptor with the best pose",
        )
        .artifact("receptor.pdbqt", "chemical/x-pdbqt", "Prepared receptor")
        .artifact("ligand.pdbqt", "chemical/x-pdbqt", "Prepared ligand")
        .artifact(
            "engine.log",
            "text/plain",
            "What the engines were told and said",
        )
        .engine(vina::ENGINE, ">=1.2, <2")
        .engine(openbabel::ENGINE, ">=3.0, <4")
        // A box of 25 angstrom; an hour is exhaustiveness 32 on a large ligand, with room.
        .resources(ResourceHints {
            cpu_cores: 1,
            memory_bytes: 960 << 20,
            disk_bytes: 64 << 20,
            wall_ms: 4 * 3_600_000,
        })
        .determinism(Determinism::Seeded)
        .example(
            "Nicotine in the acetylcholine binding protein",
            json!({
                "box": { "center": [83.64, 69.684, -10.124], "size": [15, 15, 15] },
                "exhaustiveness": 4,
                "seed": 42
            }),
            &[
                ("receptor", "1uw6/receptor.pdb"),
                ("ligand", "1uw6/ligand.sdf"),
            ],
        )
}

/// A schema of this crate's own; that it is JSON is tested.
fn schema(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "test")]

    use super::*;
    use crate::parameters::{
        CPU_MAX, ENERGY_RANGE_DEFAULT, ENERGY_RANGE_MAX, EXHAUSTIVENESS_DEFAULT,
        EXHAUSTIVENESS_MAX, MIN_RMSD_DEFAULT, MIN_RMSD_MAX, NUM_MODES_DEFAULT, NUM_MODES_MAX,
        PADDING_DEFAULT, PADDING_MAX, PH_DEFAULT, SEED_MAX,
    };

    #[test]
    fn the_schema_tells_the_bounds_that_are_checked() {
        let properties = &schema(PARAMETERS)["properties"];
        for (name, default, max) in [
            (
                "exhaustiveness",
                Some(f64::from(EXHAUSTIVENESS_DEFAULT)),
                EXHAUSTIVENESS_MAX.into(),
            ),
            (
                "num_modes",
                Some(f64::from(NUM_MODES_DEFAULT)),
                NUM_MODES_MAX.into(),
            ),
            ("energy_range", Some(ENERGY_RANGE_DEFAULT), ENERGY_RANGE_MAX),
            ("min_rmsd", Some(MIN_RMSD_DEFAULT), MIN_RMSD_MAX),
            ("seed", None, f64::from(SEED_MAX)),
            ("ph", Some(PH_DEFAULT), 14.0),
            ("cpu", Some(1.0), f64::from(CPU_MAX)),
        ] {
            let property = &properties[name];
            assert_eq!(property["default"].as_f64(), default, "{name}");
            assert_eq!(property["maximum"].as_f64(), Some(max), "{name}");
        }
        let padding = &properties["box"]["oneOf"][1]["properties"]["padding"];
        assert_eq!(padding["default"].as_f64(), Some(PADDING_DEFAULT));
        assert_eq!(padding["maximum"].as_f64(), Some(PADDING_MAX));
        assert!(schema(OUTPUT)["properties"]["poses"].is_object());
    }
}
