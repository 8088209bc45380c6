//! The engine AutoDock Vina 1.2: how it is called, what it says, and what it writes.
//!
//! - Every option is given, so that a changed default never changes a result.
//! - Its words are read for errors only. Results come from the output file: the table on stdout
//!   lists poses that the energy range leaves out of the file.
//! - Progress is 51 `*`, each written by itself, after a ruler of `|----|----|`.

mod monitor;
mod output;
mod words;

use bindery_chem::AutodockType;
use bindery_sdk::{Step, StepLimits};

use crate::{parameters::Parameters, search_box::SearchBox};

pub(crate) use self::{
    monitor::Stars,
    output::{Model, read_models},
    words::{failure, printable, warnings},
};

pub(crate) const ENGINE: &str = "vina";
/// The grid spacing the engine uses by itself, in angstrom.
const SPACING: f64 = 0.375;
/// Tables and grids of a usual box: 600 MB measured, of them 300 by the tables alone. Ligands of
/// hundreds of atoms take far more (476 heavy atoms: 21 GB and counting); this limit stops them.
const MEMORY_BASE_BYTES: u64 = 768 << 20;
/// Address space of a thread's stack and arena; 100 MB measured.
const MEMORY_THREAD_BYTES: u64 = 128 << 20;
/// Per cubic angstrom of the box: 1.5 kB measured with seven atom types.
const MEMORY_VOLUME_BYTES: u64 = 2 << 10;
/// CPU time never to be reached by a run that gets anywhere: 150 heavy atoms take about a minute
/// per unit of exhaustiveness.
const CPU_MS_PER_EXHAUSTIVENESS: u64 = 600_000;
const CPU_MS_BASE: u64 = 600_000;
/// Poses are a few kB each.
const DISK_BYTES: u64 = 64 << 20;

/// One docking, from prepared files below `/work`.
pub(crate) fn docking_step(
    id: &str,
    parameters: &Parameters,
    search_box: &SearchBox,
    seed: u32,
    receptor: &str,
    ligand: &str,
    out: &str,
) -> Step {
    let [center_x, center_y, center_z] = search_box.center;
    let [size_x, size_y, size_z] = search_box.size;
    let mut step = Step::new(id, "Docking", ENGINE)
        .literal("--receptor")
        .reads_work(receptor)
        .literal("--ligand")
        .reads_work(ligand)
        .literal("--out")
        .writes(out);
    // Rust writes the shortest decimal that reads back as the same number, never an exponent.
    for (option, value) in [
        ("--center_x", center_x.to_string()),
        ("--center_y", center_y.to_string()),
        ("--center_z", center_z.to_string()),
        ("--size_x", size_x.to_string()),
        ("--size_y", size_y.to_string()),
        ("--size_z", size_z.to_string()),
        ("--scoring", parameters.scoring.name().to_owned()),
        ("--exhaustiveness", parameters.exhaustiveness.to_string()),
        ("--num_modes", parameters.num_modes.to_string()),
        ("--energy_range", parameters.energy_range.to_string()),
        ("--min_rmsd", parameters.min_rmsd.to_string()),
        ("--spacing", SPACING.to_string()),
        ("--seed", seed.to_string()),
        ("--cpu", parameters.cpu.to_string()),
        ("--verbosity", "1".to_owned()),
    ] {
        step = step.literal(option).literal(value);
    }
    step.limits(limits(parameters, search_box))
}

fn limits(parameters: &Parameters, search_box: &SearchBox) -> StepLimits {
    // The volume is positive and bounded by the box's own checks.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded"
    )]
    let volume = search_box.volume().ceil() as u64;
    let cpu_ms = CPU_MS_BASE + CPU_MS_PER_EXHAUSTIVENESS * u64::from(parameters.exhaustiveness);
    StepLimits {
        // The host's default: how long to wait is the user's and the operator's to say.
        wall_ms: 0,
        cpu_ms,
        memory_bytes: MEMORY_BASE_BYTES
            + MEMORY_THREAD_BYTES * u64::from(parameters.cpu)
            + MEMORY_VOLUME_BYTES * volume,
        disk_bytes: DISK_BYTES,
        cpu_cores: parameters.cpu,
    }
}

/// Whether the engine reads this atom type. Those left out are of other AutoDock programs:
/// tried with 1.2.3, which refuses them by name.
pub(crate) fn reads_type(kind: AutodockType) -> bool {
    !matches!(
        kind.label(),
        "HS" | "NS" | "OS" | "MG" | "CA" | "MN" | "FE" | "ZN"
    )
}

#[cfg(test)]
mod tests {
    use bindery_sdk::{Argument, serde_json::json};

    use super::*;

    #[test]
    fn numbers_are_passed_as_the_user_wrote_them() {
        let asked = json!({
            "box": { "center": [26.983, 7.247, -2.981], "size": [18, 18.0, 0.1] },
            "energy_range": 4, "exhaustiveness": 4
        });
        let parameters = Parameters::read(&asked).ok();
        let search_box = SearchBox {
            center: [26.983, 7.247, -2.981],
            size: [18.0, 18.0, 0.1],
        };
        let step = parameters
            .map(|parameters| docking_step("d", &parameters, &search_box, 42, "r", "l", "o"));
        let words: Vec<String> = step
            .map(|step| step.arguments)
            .unwrap_or_default()
            .into_iter()
            .map(|argument| match argument {
                Argument::Literal(text) | Argument::Input(text) => text,
                Argument::Work(text) | Argument::Output(text) => text,
            })
            .collect();
        assert_eq!(
            words.join(" "),
            "--receptor r --ligand l --out o --center_x 26.983 --center_y 7.247 \
             --center_z -2.981 --size_x 18 --size_y 18 --size_z 0.1 --scoring vina \
             --exhaustiveness 4 --num_modes 9 --energy_range 4 --min_rmsd 1 --spacing 0.375 \
             --seed 42 --cpu 1 --verbosity 1"
        );
    }
}
