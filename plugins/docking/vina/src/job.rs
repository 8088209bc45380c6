//! One execution of the task: what `validate`, `next` and `parse` make of a request.

use bindery_sdk::{
    Error, InputFile, Item, Normalised, Notice, Request, Violation,
    serde_json::{self, Value},
};

use crate::{
    inputs::{self, Loaded, LoadedLigand},
    parameters::{BoxRequest, Parameters},
    search_box::SearchBox,
};

/// The request as this task sees it: parameters and files of its one item.
pub(crate) struct Job<'r> {
    request: &'r Request,
    item: Option<&'r Item>,
}

/// The inputs, read; each is none when the file is missing or refused.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) search_box: Option<SearchBox>,
    pub(crate) receptor: Option<Loaded>,
    pub(crate) ligand: Option<LoadedLigand>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) violations: Vec<Violation>,
}

impl<'r> Job<'r> {
    pub(crate) fn new(request: &'r Request) -> Result<Self, Error> {
        match request.items.as_slice() {
            [] => Ok(Self {
                request,
                item: None,
            }),
            [item] => Ok(Self {
                request,
                item: Some(item),
            }),
            items => Err(Error::Unsupported(format!(
                "this task docks one ligand in a run, not {}",
                items.len()
            ))),
        }
    }

    /// The item's index, as results are filed under it.
    pub(crate) fn index(&self) -> u64 {
        self.item.map_or(0, |item| item.index)
    }

    /// The item's own files go before those shared by all.
    pub(crate) fn input(&self, slot: &str) -> Option<&'r InputFile> {
        self.item
            .and_then(|item| item.inputs.iter().find(|file| file.slot == slot))
            .or_else(|| self.request.input(slot))
    }

    fn document(&self) -> Value {
        let mut document = self.request.parameters_value();
        let own: Option<Value> = self
            .item
            .and_then(|item| item.parameters.as_deref())
            .and_then(|text| serde_json::from_str(text).ok());
        if let (Some(members), Some(own)) = (
            document.as_object_mut(),
            own.as_ref().and_then(|own| own.as_object()),
        ) {
            for (name, value) in own {
                members.insert(name.clone(), value.clone());
            }
        }
        document
    }

    pub(crate) fn parameters(&self) -> Result<Parameters, Vec<Violation>> {
        Parameters::read(&self.document())
    }

    pub(crate) fn seed(&self, parameters: &Parameters) -> u32 {
        parameters.seed_for(self.request.seed)
    }

    /// Reads and checks everything that is there.
    pub(crate) fn check(&self, parameters: Option<&Parameters>) -> Checked {
        let mut checked = Checked::default();
        if let Some(file) = self.input(inputs::RECEPTOR) {
            match inputs::receptor(file) {
                Ok(receptor) => checked.receptor = Some(receptor),
                Err(faults) => checked.violations.extend(faults),
            }
        }
        if let Some(file) = self.input(inputs::LIGAND) {
            match inputs::ligand(file) {
                Ok(ligand) => checked.ligand = Some(ligand),
                Err(faults) => checked.violations.extend(faults),
            }
        }
        let reference = self.input(inputs::REFERENCE).and_then(|file| {
            inputs::reference(file)
                .map_err(|faults| checked.violations.extend(faults))
                .ok()
        });
        if let Some(parameters) = parameters {
            self.check_box(parameters, reference, &mut checked);
        }
        for notices in [
            checked.receptor.as_ref().map(|receptor| &receptor.notices),
            checked.ligand.as_ref().map(|ligand| &ligand.loaded.notices),
        ] {
            checked
                .notices
                .extend(notices.into_iter().flatten().cloned());
        }
        checked
    }

    fn check_box(
        &self,
        parameters: &Parameters,
        reference: Option<Vec<[f64; 3]>>,
        checked: &mut Checked,
    ) {
        let search_box = match parameters.search_box {
            BoxRequest::Explicit(explicit) => explicit,
            BoxRequest::AroundReference { padding } => {
                let Some(points) = reference else {
                    // A form that is being filled in has no files at all; a request that has the
                    // others and lacks this one is wrong.
                    let others = self.input(inputs::RECEPTOR).or(self.input(inputs::LIGAND));
                    if others.is_some() && self.input(inputs::REFERENCE).is_none() {
                        checked.violations.push(Violation::new(
                            "/inputs/reference",
                            "required",
                            "the box is to be around the reference, so a reference is needed",
                        ));
                    }
                    return;
                };
                let Some(around) = SearchBox::around(points, padding) else {
                    return;
                };
                let faults = around.faults();
                if !faults.is_empty() {
                    // The size follows from the file and the padding, so those are to blame.
                    checked.violations.extend(faults.into_iter().map(|fault| {
                        Violation::new(
                            "/parameters/box/padding",
                            fault.code,
                            format!("around this reference, {}", fault.message),
                        )
                    }));
                    return;
                }
                around
            }
        };
        let pointer = match parameters.search_box {
            BoxRequest::Explicit(_) => ("/parameters/box/center", "/parameters/box/size"),
            BoxRequest::AroundReference { .. } => ("/inputs/reference", "/parameters/box/padding"),
        };
        checked.notices.extend(search_box.notices());
        if let Some(receptor) = &checked.receptor {
            let heavy = inputs::heavy_points(&receptor.molecule);
            match search_box.check_receptor(pointer.0, heavy) {
                Ok(notices) => {
                    checked.notices.extend(notices);
                    checked
                        .notices
                        .extend(inputs::filled_site(&receptor.molecule, &search_box));
                }
                Err(violation) => checked.violations.push(violation),
            }
        }
        if let Some(ligand) = &checked.ligand {
            match search_box.check_ligand(pointer.1, &ligand.shape) {
                Ok(notices) => checked.notices.extend(notices),
                Err(violation) => checked.violations.push(violation),
            }
        }
        checked.search_box = Some(search_box);
    }
}

/// All faults of a request at once.
pub(crate) fn validate(request: &Request) -> Result<Normalised, Vec<Violation>> {
    let job = Job::new(request).map_err(|error| {
        let message = match error {
            Error::Unsupported(message) => message,
            _ => "the request cannot be run".to_owned(),
        };
        vec![Violation::new("/items", "several_items", message)]
    })?;
    let (parameters, mut violations) = match job.parameters() {
        Ok(parameters) => (Some(parameters), Vec::new()),
        Err(violations) => (None, violations),
    };
    let checked = job.check(parameters.as_ref());
    violations.extend(checked.violations);
    let mut notices = checked.notices;
    match parameters {
        Some(parameters) if violations.is_empty() => {
            let mut normalised = parameters.clone();
            // More threads than searches would be idle.
            normalised.cpu = parameters.cpu.min(parameters.exhaustiveness);
            if normalised.cpu < parameters.cpu {
                notices.push(Notice::info(
                    "cpu_lowered",
                    format!(
                        "an exhaustiveness of {0} keeps at most {0} threads busy",
                        parameters.exhaustiveness
                    ),
                ));
            }
            Ok(Normalised {
                parameters: normalised.normalised().to_string(),
                notices,
            })
        }
        _ => Err(violations),
    }
}
