//! The task `docking.vina`: docks one ligand into one rigid receptor with AutoDock Vina.
//!
//! - `validate` reads the files and refuses what cannot be docked, all faults at once.
//! - `next` has Open Babel prepare what is not prepared, checks what was really written, and then
//!   runs the docking.
//! - `parse` takes the poses from the engine's output file, never from its table or exit code.
//!
//! **Pose**: the ligand as the engine placed it. **Torsion tree**: a ligand in PDBQT form, rigid
//! blocks joined by bonds that turn. **Prepared**: with hydrogens, atom types and torsion tree,
//! as the engine reads it. **Box**: the cuboid in which poses are searched.
//!
//! Lengths are angstrom, energies kcal/mol.

mod complex;
mod definition;
mod engine_log;
mod geometry;
mod hydrogens;
mod inputs;
mod job;
mod openbabel;
mod parameters;
mod plan;
mod poses;
mod prepared;
mod receptor_text;
mod report;
mod search_box;
mod shape;
mod state;
mod torsion_tree;
mod vina;

use bindery_sdk::prelude::*;

/// See the module.
#[derive(Debug)]
pub struct Vina;

impl Task for Vina {
    fn definition() -> TaskDefinition {
        definition::definition()
    }

    fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
        job::validate(request)
    }
}

impl EngineTask for Vina {
    type Monitor = Monitor;

    fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
        plan::next(request, done)
    }

    fn parse(request: &Request, outcomes: &[StepOutcome]) -> Result<Vec<ItemOutcome>, Error> {
        report::parse(request, outcomes)
    }
}

/// Progress of the docking; the other steps are over before progress would be seen.
#[derive(Debug)]
pub struct Monitor {
    stars: Option<vina::Stars>,
}

impl StepMonitor for Monitor {
    fn new(_request: &Request, step: &str) -> Self {
        Self {
            stars: (step == plan::DOCKING_STEP).then(vina::Stars::default),
        }
    }

    fn feed(&mut self, stream: OutputStream, bytes: &[u8]) -> Vec<Signal> {
        match (stream, &mut self.stars) {
            (OutputStream::Stdout, Some(stars)) => stars.feed(bytes).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

bindery_sdk::register_engine_tasks!(Vina);
