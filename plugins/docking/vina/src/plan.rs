//! Which steps run, in which order.
//!
//! 1. Receptor and ligand are decoded to neutral names; Open Babel prepares what is not prepared:
//!    the receptor in one step, the ligand in a chain of them (leaving out counter-ions and making
//!    coordinates where needed, adding hydrogens, making the torsion tree).
//! 2. What was really written is checked, and the docking runs.
//!
//! Everything is derived from the stored [`State`] and the outcomes, so that a call on a fresh
//! instance, or after a restart, continues where the last one stopped.

use bindery_sdk::{Decision, Error, Notice, Request, Step, StepOutcome, work_path};

use crate::{
    inputs,
    job::Job,
    openbabel,
    parameters::Parameters,
    prepared,
    state::{LigandSource, ReceptorSource, State},
    vina,
};

pub(crate) const DOCKING_STEP: &str = "docking";
pub(crate) const POSES: &str = "poses.pdbqt";
/// What preparation leaves of the execution's work.
const WEIGHT_DOCKING: f32 = 0.92;

/// What the docking runs on, once preparation is done.
pub(crate) struct Prepared {
    pub(crate) receptor: prepared::Receptor,
    pub(crate) ligand: prepared::Ligand,
    pub(crate) notices: Vec<Notice>,
}

pub(crate) enum Stage {
    Preparing(Vec<Step>),
    Prepared(Box<Prepared>),
}

pub(crate) fn outcome<'o>(outcomes: &'o [StepOutcome], step: &str) -> Option<&'o StepOutcome> {
    outcomes.iter().find(|outcome| outcome.step == step)
}

pub(crate) fn next(request: &Request, done: &[StepOutcome]) -> Result<Decision, Error> {
    let job = Job::new(request)?;
    if outcome(done, DOCKING_STEP).is_some() {
        return Ok(Decision::Finished);
    }
    let parameters = job.parameters().map_err(Error::InvalidInput)?;
    let state = if done.is_empty() {
        start(&job, &parameters)?
    } else {
        State::load()?
    };
    let mut steps = match stage(&state, &parameters, done)? {
        Stage::Preparing(steps) => steps,
        Stage::Prepared(_) => vec![docking_step(&job, &parameters, &state)],
    };
    for step in &mut steps {
        step.items = vec![job.index()];
    }
    Ok(Decision::Run(steps))
}

pub(crate) fn docking_step(job: &Job<'_>, parameters: &Parameters, state: &State) -> Step {
    vina::docking_step(
        DOCKING_STEP,
        parameters,
        &state.search_box,
        job.seed(parameters),
        openbabel::RECEPTOR,
        openbabel::LIGAND,
        POSES,
    )
    .weight(WEIGHT_DOCKING)
}

/// Decodes the inputs to their neutral names and stores what later calls need.
fn start(job: &Job<'_>, parameters: &Parameters) -> Result<State, Error> {
    let mut checked = job.check(Some(parameters));
    for slot in [inputs::RECEPTOR, inputs::LIGAND] {
        if job.input(slot).is_none() {
            checked.violations.push(bindery_sdk::Violation::new(
                format!("/inputs/{slot}"),
                "required",
                format!("the {slot} is missing"),
            ));
        }
    }
    if !checked.violations.is_empty() {
        return Err(Error::InvalidInput(checked.violations));
    }
    let (Some(search_box), Some(receptor), Some(ligand)) =
        (checked.search_box, checked.receptor, checked.ligand)
    else {
        return Err(Error::Other(
            "the inputs were checked but are not there".to_owned(),
        ));
    };
    std::fs::write(
        work_path(openbabel::receptor_source(receptor.format)),
        &receptor.text,
    )?;
    let source = openbabel::ligand_source(ligand.loaded.format);
    std::fs::write(work_path(&source), &ligand.loaded.text)?;
    let molecule = &ligand.loaded.molecule;
    let state = State {
        search_box,
        receptor: ReceptorSource {
            format: receptor.format,
            heavy_atoms: receptor.molecule.heavy_atom_count(),
            hydrogens: receptor.molecule.explicit_hydrogen_count(),
            is_polymer: receptor
                .molecule
                .residues
                .iter()
                .any(|residue| residue.kind.is_polymer()),
            can_be_charged: openbabel::can_be_charged(&receptor.molecule),
        },
        ligand: LigandSource {
            format: ligand.loaded.format,
            title: title(&molecule.title),
            heavy_atoms: u64::try_from(ligand.shape.heavy_atoms).unwrap_or(u64::MAX),
            strips_salts: ligand.strips_salts,
            needs_coordinates: ligand.needs_coordinates,
            has_bond_orders: inputs::tells_bonds(&ligand.loaded),
            can_be_charged: openbabel::can_be_charged(molecule),
        },
        notices: checked.notices,
    };
    state.store()?;
    Ok(state)
}

/// One printable line for the title of poses.
fn title(text: &str) -> String {
    text.chars()
        .take(80)
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect()
}

/// What is still to be prepared, or what has been.
pub(crate) fn stage(
    state: &State,
    parameters: &Parameters,
    done: &[StepOutcome],
) -> Result<Stage, Error> {
    let mut steps = Vec::new();
    let receptor_outcome = outcome(done, openbabel::RECEPTOR_STEP);
    // A receptor that failed is told at once, before the ligand's later rounds.
    let receptor = if state.receptor.is_prepared() || receptor_outcome.is_some() {
        let checked = prepared::receptor(&state.receptor, receptor_outcome)
            .map_err(|fault| fault.into_error(openbabel::RECEPTOR_STEP, receptor_outcome))?;
        Some(checked)
    } else {
        steps.push(openbabel::receptor_step(
            parameters.ph,
            state.receptor.can_be_charged,
        ));
        None
    };
    steps.extend(ligand_step(state, parameters, done)?);
    let (Some((receptor, mut notices)), true) = (receptor, steps.is_empty()) else {
        return Ok(Stage::Preparing(steps));
    };
    let tree_outcome = outcome(done, openbabel::LIGAND_STEP);
    let (ligand, ligand_notices) = prepared::ligand(
        &state.ligand,
        tree_outcome,
        outcome(done, openbabel::BONDS_STEP),
    )
    .map_err(|fault| fault.into_error(openbabel::LIGAND_STEP, tree_outcome))?;
    notices.extend(ligand_notices);
    Ok(Stage::Prepared(Box::new(Prepared {
        receptor,
        ligand,
        notices,
    })))
}

/// The next of the ligand's steps, each of which reads what the one before it wrote.
fn ligand_step(
    state: &State,
    parameters: &Parameters,
    done: &[StepOutcome],
) -> Result<Option<Step>, Error> {
    let source = &state.ligand;
    let failed = |step: &'static str| {
        move |fault: prepared::Fault| fault.into_error(step, outcome(done, step))
    };
    if source.strips_salts {
        let Some(largest) = outcome(done, openbabel::LARGEST_STEP) else {
            return Ok(Some(openbabel::largest_step(source)));
        };
        // Later checks count atoms; here it is enough that the step came to its end.
        prepared::check_ending(Some(largest)).map_err(failed(openbabel::LARGEST_STEP))?;
    }
    if source.needs_coordinates {
        let Some(coordinates) = outcome(done, openbabel::COORDINATES_STEP) else {
            return Ok(Some(openbabel::coordinates_step(source)));
        };
        prepared::coordinates(source, coordinates).map_err(failed(openbabel::COORDINATES_STEP))?;
    }
    let Some(bonds) = outcome(done, openbabel::BONDS_STEP) else {
        return Ok(Some(openbabel::bonds_step(source, parameters.ph)));
    };
    if source.is_prepared() || outcome(done, openbabel::LIGAND_STEP).is_some() {
        return Ok(None);
    }
    prepared::bonds(source, bonds).map_err(failed(openbabel::BONDS_STEP))?;
    Ok(Some(openbabel::ligand_step(source)))
}

/// The steps that were planned, for the log: in the order of their outcomes.
pub(crate) fn planned(
    job: &Job<'_>,
    parameters: &Parameters,
    state: &State,
    step: &str,
) -> Option<Step> {
    match step {
        openbabel::RECEPTOR_STEP => Some(openbabel::receptor_step(
            parameters.ph,
            state.receptor.can_be_charged,
        )),
        openbabel::LARGEST_STEP => Some(openbabel::largest_step(&state.ligand)),
        openbabel::COORDINATES_STEP => Some(openbabel::coordinates_step(&state.ligand)),
        openbabel::LIGAND_STEP => Some(openbabel::ligand_step(&state.ligand)),
        openbabel::BONDS_STEP => Some(openbabel::bonds_step(&state.ligand, parameters.ph)),
        DOCKING_STEP => Some(docking_step(job, parameters, state)),
        _ => None,
    }
}
