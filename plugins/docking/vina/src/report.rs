//! The result: from the poses the engine wrote to output, artifacts and views.

use bindery_chem::{Molecule, formula, write};
use bindery_sdk::{
    Artifact, Better, Error, ItemOutcome, ItemResult, Metric, Notice, Request, StepOutcome, View,
    out_path,
    serde_json::{Value, json},
    work_path,
};

use crate::{
    complex, engine_log,
    job::Job,
    openbabel,
    parameters::{BoxRequest, Parameters},
    plan::{self, DOCKING_STEP, POSES, Prepared, Stage, outcome},
    poses::same_atoms,
    search_box::SearchBox,
    state::State,
    vina::{self, Model},
};

/// The engine keeps heavy atoms in the box; the last refinement may push them out a little.
const OUTSIDE_MAX: f64 = 1.0;
/// kcal/mol. Closer to 0 than this, no atom of the receptor is in reach: the engine gives 0 or
/// thousandths.
const NO_CONTACT: f64 = 0.01;
/// kcal/mol. Above this, atoms stand in one another: the box or the site is too small. Between the
/// two the site is merely a bad one for this ligand, which is an answer.
const OVERLAP: f64 = 100.0;

const POSES_SDF: &str = "poses.sdf";
const COMPLEX: &str = "complex.pdb";
const LOG: &str = "engine.log";

pub(crate) fn parse(
    request: &Request,
    outcomes: &[StepOutcome],
) -> Result<Vec<ItemOutcome>, Error> {
    let job = Job::new(request)?;
    let parameters = job.parameters().map_err(Error::InvalidInput)?;
    let state = State::load()?;
    let verdict = item(&job, &parameters, &state, outcomes);
    Ok(vec![ItemOutcome {
        index: job.index(),
        verdict,
    }])
}

fn item(
    job: &Job<'_>,
    parameters: &Parameters,
    state: &State,
    outcomes: &[StepOutcome],
) -> Result<ItemResult, Error> {
    // First, so that it is there for whoever looks into a failure.
    std::fs::write(
        out_path(LOG),
        engine_log::write(job, parameters, state, outcomes),
    )?;
    let docking = outcome(outcomes, DOCKING_STEP)
        .ok_or_else(|| Error::Other("the docking has not run".to_owned()))?;
    if let Some(error) = vina::failure(docking) {
        return Err(error);
    }
    let Stage::Prepared(prepared) = plan::stage(state, parameters, outcomes)? else {
        return Err(Error::Other("the preparation has not run".to_owned()));
    };
    let text = std::fs::read(work_path(POSES))
        .map_err(|error| Error::OutputInvalid(format!("{POSES} cannot be read: {error}")))?;
    let models = vina::read_models(&String::from_utf8_lossy(&text))
        .map_err(|error| Error::OutputInvalid(format!("{POSES} is damaged: {error}")))?;
    let mut notices = state.notices.clone();
    notices.extend(prepared.notices.iter().cloned());
    notices.extend(vina::warnings(docking));
    notices.extend(check(&models, &prepared, &state.search_box)?);

    let run = Run {
        job,
        parameters,
        state,
        prepared: &prepared,
        docking,
        outcomes,
    };
    let molecules = run.molecules(&models)?;
    std::fs::write(out_path(POSES_SDF), run.poses_sdf(&models, &molecules))?;
    let receptor = std::fs::read(work_path(openbabel::RECEPTOR))?;
    if let Some(best) = models.first() {
        let text = complex::write(&String::from_utf8_lossy(&receptor), best, molecules.first());
        std::fs::write(out_path(COMPLEX), text)?;
    }
    Ok(ItemResult {
        output: run.output(&models).to_string(),
        confidence: None,
        metrics: run.metrics(&models),
        artifacts: artifacts(),
        views: run.views(&models),
        notices,
    })
}

/// Whether these poses are a result at all. The engine ends well without one.
fn check(
    models: &[Model],
    prepared: &Prepared,
    search_box: &SearchBox,
) -> Result<Vec<Notice>, Error> {
    for (index, model) in models.iter().enumerate() {
        let rank = index + 1;
        if !same_atoms(&prepared.ligand.tree, &model.tree) {
            return Err(Error::OutputInvalid(format!(
                "pose {rank} does not have the atoms of the prepared ligand"
            )));
        }
        let outside = model
            .tree
            .atoms
            .iter()
            .filter(|atom| atom.is_heavy())
            .map(|atom| search_box.outside(atom.position))
            .fold(0.0, f64::max);
        if outside > OUTSIDE_MAX {
            return Err(Error::OutputInvalid(format!(
                "pose {rank} lies {outside:.1} angstrom outside the box"
            )));
        }
    }
    let best = best(models);
    let why = if best > OVERLAP {
        "its atoms overlap those of the receptor; the box or the site in it is too small for it"
    } else if best.abs() < NO_CONTACT {
        "it touches the receptor nowhere; the box misses the binding site"
    } else {
        return Ok(unfavourable(models, best));
    };
    Err(Error::step(
        DOCKING_STEP,
        "no_binding_pose",
        format!("the ligand has no pose of sense: {why} (best affinity {best} kcal/mol)"),
        "",
    ))
}

fn unfavourable(models: &[Model], best: f64) -> Vec<Notice> {
    let count = models
        .iter()
        .filter(|model| model.affinity > -NO_CONTACT)
        .count();
    match count {
        0 => Vec::new(),
        _ if best > -NO_CONTACT => vec![Notice::warning(
            "no_binding_pose",
            format!(
                "the ligand does not bind here: its best affinity is {best} kcal/mol, and only \
                 negative ones are favourable"
            ),
        )],
        _ => vec![Notice::warning(
            "unfavourable_poses",
            format!("{count} of the poses do not bind: their affinity is not below 0"),
        )],
    }
}

/// Everything the parts of a result are made from.
struct Run<'a> {
    job: &'a Job<'a>,
    parameters: &'a Parameters,
    state: &'a State,
    prepared: &'a Prepared,
    docking: &'a StepOutcome,
    outcomes: &'a [StepOutcome],
}

impl Run<'_> {
    /// The poses with bonds; empty when there are none.
    fn molecules(&self, models: &[Model]) -> Result<Vec<Molecule>, Error> {
        let Some(template) = &self.prepared.ligand.template else {
            return Ok(Vec::new());
        };
        models
            .iter()
            .map(|model| {
                template
                    .pose(&model.tree)
                    .map_err(|error| Error::OutputInvalid(format!("{POSES}: {error}")))
            })
            .collect()
    }

    fn poses_sdf(&self, models: &[Model], molecules: &[Molecule]) -> String {
        let mut text = String::new();
        for (index, model) in models.iter().enumerate() {
            let mut molecule = molecules
                .get(index)
                .cloned()
                .unwrap_or_else(|| model.tree.to_molecule());
            molecule.title.clone_from(&self.state.ligand.title);
            molecule.properties = self.properties(index + 1, model);
            text.push_str(&write::sdf(&molecule));
        }
        text
    }

    /// Data items of one pose; energies in kcal/mol, distances in angstrom.
    fn properties(&self, rank: usize, model: &Model) -> Vec<(String, String)> {
        let mut items = vec![
            ("rank", rank.to_string()),
            ("affinity_kcal_mol", model.affinity.to_string()),
            ("rmsd_lb", model.rmsd_lower.to_string()),
            ("rmsd_ub", model.rmsd_upper.to_string()),
        ];
        for (name, value) in [
            ("inter_kcal_mol", model.inter),
            ("intra_kcal_mol", model.intra),
            ("unbound_kcal_mol", model.unbound),
        ] {
            items.extend(value.map(|value| (name, value.to_string())));
        }
        items.extend([
            (
                "engine",
                format!("{} {}", vina::ENGINE, self.docking.engine_version),
            ),
            ("scoring", self.parameters.scoring.name().to_owned()),
            ("seed", self.job.seed(self.parameters).to_string()),
        ]);
        items
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    fn output(&self, models: &[Model]) -> Value {
        let poses: Vec<Value> = models
            .iter()
            .enumerate()
            .map(|(index, model)| {
                let mut pose = json!({
                    "rank": index + 1,
                    "affinity_kcal_mol": model.affinity,
                    "rmsd_lb": model.rmsd_lower,
                    "rmsd_ub": model.rmsd_upper,
                });
                if let Some(members) = pose.as_object_mut() {
                    for (name, value) in [
                        ("inter_kcal_mol", model.inter),
                        ("intra_kcal_mol", model.intra),
                        ("unbound_kcal_mol", model.unbound),
                    ] {
                        if let Some(value) = value {
                            members.insert(name.to_owned(), json!(value));
                        }
                    }
                }
                pose
            })
            .collect();
        json!({
            "poses": poses,
            "best_affinity_kcal_mol": best(models),
            "seed": self.job.seed(self.parameters),
            "box": self.box_document(),
            "scoring": self.parameters.scoring.name(),
            "exhaustiveness": self.parameters.exhaustiveness,
            "engine": { "name": vina::ENGINE, "version": self.docking.engine_version },
            "preparation": self.preparation(),
        })
    }

    fn box_document(&self) -> Value {
        let mut document = self.state.search_box.to_json();
        if let (BoxRequest::AroundReference { padding }, Some(members)) =
            (self.parameters.search_box, document.as_object_mut())
        {
            members.insert("around".to_owned(), json!("reference"));
            members.insert("padding".to_owned(), json!(padding));
        }
        document
    }

    fn preparation(&self) -> Value {
        let tool = self
            .outcomes
            .iter()
            .find(|outcome| outcome.engine == openbabel::ENGINE);
        let charges = |prepared: bool, charged: bool| match (prepared, charged) {
            (true, _) => "as_given",
            (false, true) => "gasteiger",
            (false, false) => "none",
        };
        let receptor = &self.prepared.receptor;
        let source = &self.state.receptor;
        let ligand = &self.prepared.ligand;
        let ligand_source = &self.state.ligand;
        let hydrogens = ligand
            .tree
            .atoms
            .iter()
            .filter(|atom| atom.is_hydrogen())
            .count();
        let mut ligand_document = json!({
            "format": ligand_source.format.name(),
            "prepared_by": if ligand_source.is_prepared() { "user" } else { openbabel::ENGINE },
            "coordinates": if ligand_source.needs_coordinates { "made" } else { "as_given" },
            "heavy_atoms": ligand_source.heavy_atoms,
            "salts_removed": ligand_source.strips_salts,
            "polar_hydrogens": hydrogens,
            "torsions": ligand.tree.torsions,
            "charges": charges(ligand_source.is_prepared(), ligand.is_charged),
            "bonds": match (&ligand.template, ligand_source.has_bond_orders) {
                (None, _) => "none",
                (Some(_), true) => "as_given",
                (Some(_), false) => "perceived",
            },
        });
        if let (Some(template), Some(members)) = (&ligand.template, ligand_document.as_object_mut())
        {
            let molecule = template.molecule();
            let charge: i32 = molecule
                .atoms
                .iter()
                .map(|atom| i32::from(atom.formal_charge))
                .sum();
            members.insert("formula".to_owned(), json!(formula(molecule)));
            members.insert("formal_charge".to_owned(), json!(charge));
        }
        json!({
            "tool": openbabel::ENGINE,
            "version": tool.map(|outcome| outcome.engine_version.clone()),
            "ph": self.parameters.ph,
            "receptor": {
                "format": source.format.name(),
                "prepared_by": if source.is_prepared() { "user" } else { openbabel::ENGINE },
                "heavy_atoms": receptor.heavy_atoms,
                "input_hydrogens": source.hydrogens,
                "polar_hydrogens": receptor.polar_hydrogens,
                "nonpolar_hydrogens": receptor.other_hydrogens,
                "charges": charges(source.is_prepared(), receptor.is_charged),
            },
            "ligand": ligand_document,
        })
    }

    fn metrics(&self, models: &[Model]) -> Vec<Metric> {
        let best = best(models);
        // Few hundred atoms and a hundred poses: exact.
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let (heavy_atoms, count) = (self.state.ligand.heavy_atoms as f64, models.len() as f64);
        vec![
            Metric::new("best_affinity", best, "kcal/mol", Better::Smaller),
            Metric::new(
                "ligand_efficiency",
                best / heavy_atoms,
                "kcal/mol",
                Better::Smaller,
            ),
            Metric::new("poses", count, "", Better::Neither),
        ]
    }

    fn views(&self, models: &[Model]) -> Vec<View> {
        let rows: Vec<Value> = models
            .iter()
            .enumerate()
            .map(|(index, model)| {
                json!([
                    index + 1,
                    model.affinity,
                    model.rmsd_lower,
                    model.rmsd_upper,
                    model.inter
                ])
            })
            .collect();
        let table = json!({
            "columns": [
                { "key": "rank", "title": "Rank", "type": "integer" },
                { "key": "affinity_kcal_mol", "title": "Affinity", "type": "number",
                  "unit": "kcal/mol", "better": "lower", "decimals": 2 },
                { "key": "rmsd_lb", "title": "RMSD l.b.", "type": "number", "unit": "angstrom",
                  "decimals": 2 },
                { "key": "rmsd_ub", "title": "RMSD u.b.", "type": "number", "unit": "angstrom",
                  "decimals": 2 },
                { "key": "inter_kcal_mol", "title": "With receptor", "type": "number",
                  "unit": "kcal/mol", "better": "lower", "decimals": 2 },
            ],
            "rows": rows,
            "sort": { "key": "rank", "order": "ascending" },
            "selects": { "view": "scene", "by": "rank" },
        });
        let scene = json!({
            "id": "scene",
            "receptor": { "artifact": openbabel::RECEPTOR, "format": "pdbqt" },
            "poses": { "artifact": POSES_SDF, "format": "sdf", "rank_property": "rank",
                       "label_property": "affinity_kcal_mol", "selected": 1 },
            "box": self.state.search_box.to_json(),
        });
        vec![
            View::new("molecule-scene", "Poses in the receptor", &scene)
                .artifacts([openbabel::RECEPTOR, POSES_SDF]),
            View::new("table", "Poses", &table),
        ]
    }
}

/// kcal/mol; the engine's order is by energy, but nothing here relies on it.
fn best(models: &[Model]) -> f64 {
    models
        .iter()
        .map(|model| model.affinity)
        .fold(f64::INFINITY, f64::min)
}

fn artifacts() -> Vec<Artifact> {
    let work = |name: &str| format!("/work/{name}");
    let out = |name: &str| format!("/out/{name}");
    vec![
        Artifact::new(
            POSES_SDF,
            out(POSES_SDF),
            "chemical/x-mdl-sdfile",
            "Poses with bonds",
        ),
        Artifact::new(
            POSES,
            work(POSES),
            "chemical/x-pdbqt",
            "Poses as the engine wrote them",
        ),
        Artifact::new(
            COMPLEX,
            out(COMPLEX),
            "chemical/x-pdb",
            "Receptor with the best pose",
        ),
        Artifact::new(
            openbabel::RECEPTOR,
            work(openbabel::RECEPTOR),
            "chemical/x-pdbqt",
            "Prepared receptor",
        ),
        Artifact::new(
            openbabel::LIGAND,
            work(openbabel::LIGAND),
            "chemical/x-pdbqt",
            "Prepared ligand",
        ),
        Artifact::new(
            LOG,
            out(LOG),
            "text/plain",
            "What the engines were told and said",
        ),
    ]
}
