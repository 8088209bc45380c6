//! Checking a request before it runs.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use bindery_bindings::{
    convert, definition::exports::bindery::task::definition as wit_definition,
    host::bindery::task::types as wit,
};
use bindery_core::{
    CostReceipt, Estimate, GuestError, Notice, OrgId, Request, Violation, limits,
    schema_words::codes::NO_VARIANT,
};
use serde_json::Value;

use crate::{
    CallGrants, GuestFailure, GuestLine, Plugin,
    call::{Answer, Turn},
};

/// A request that may run.
#[derive(Debug)]
pub struct Validated {
    /// As the run will use them.
    pub parameters: Value,
    pub notices: Vec<Notice>,
    /// What it will need, when the task can tell.
    pub estimate: Option<Estimate>,
    pub receipt: CostReceipt,
    pub lines: Vec<GuestLine>,
}

const PHASE: &str = "validate";

impl Plugin {
    /// Checks a request by the task's schema and by the task itself, and gives all faults at
    /// once. `input` is the directory the guest sees as `/in`.
    ///
    /// # Errors
    /// `Refused(InvalidInput)` with the faults; otherwise the guest broke, or the host did.
    pub async fn validate(
        self: &Arc<Self>,
        request: Request,
        input: Option<PathBuf>,
    ) -> Result<Validated, GuestFailure> {
        self.validate_for(None, request, input).await
    }

    /// The same for an organisation: a plugin that starts slowly keeps the instance for the next
    /// request of that organisation, and of no other. Without one the instance is a fresh one.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub async fn validate_for(
        self: &Arc<Self>,
        org: Option<OrgId>,
        request: Request,
        input: Option<PathBuf>,
    ) -> Result<Validated, GuestFailure> {
        let quick = request.inputs.is_empty();
        let plugin = Arc::clone(self);
        let work = move |mut turn: Turn| plugin.validate_in(&mut turn, org, request, input);
        if quick {
            // Over before another thread would have woken up.
            self.runtime.with_turn_in_place(PHASE, work).await
        } else {
            self.runtime.with_turn(PHASE, work).await
        }
    }

    /// The same on this thread, without the way to another one and back: for callers with a
    /// thread of their own. It must not be a tokio worker.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn validate_here(
        &self,
        handle: &tokio::runtime::Handle,
        request: Request,
        input: Option<PathBuf>,
    ) -> Result<Validated, GuestFailure> {
        let mut turn = self.runtime.turn_here(PHASE, handle)?;
        self.validate_in(&mut turn, None, request, input)
    }

    fn validate_in(
        &self,
        turn: &mut Turn,
        org: Option<OrgId>,
        request: Request,
        input: Option<PathBuf>,
    ) -> Result<Validated, GuestFailure> {
        self.counted(self.validate_uncounted(turn, org, request, input))
    }

    fn validate_uncounted(
        &self,
        turn: &mut Turn,
        org: Option<OrgId>,
        mut request: Request,
        input: Option<PathBuf>,
    ) -> Result<Validated, GuestFailure> {
        let (Some(definition), Some(schema)) = (&self.definition, self.schema(&request.task))
        else {
            return Err(GuestFailure::host(
                PHASE,
                format!("no task `{}`", request.task),
            ));
        };
        if !request.parameters.is_object() {
            return Err(refused(vec![Violation::new(
                "/parameters",
                "wrong_type",
                "the parameters are not a JSON object",
            )]));
        }
        schema.fill_defaults(&mut request.parameters);
        let faults = schema.violations(&request.parameters);
        let has_files = !request.inputs.is_empty();
        let limits = if has_files {
            self.limits().files
        } else {
            self.limits().interactive
        };
        let grants = CallGrants {
            input,
            ..CallGrants::default()
        };
        let spec = self.spec(PHASE, limits, grants, request.seed);
        let asked = wit::Request::from(&request);
        // The directories of a call are given to an instance when it starts: with files, each has
        // its own.
        let keeper = self
            .warm
            .as_ref()
            .zip(org)
            .filter(|_| spec.grants.input.is_none());
        let answer = match keeper {
            None => self
                .runtime
                .call_here(turn, &spec, async |store| {
                    let facet = definition.instantiate(store).await?;
                    Ok(Ok(facet.validate(store, &asked).await?))
                })
                .map(|answer| (answer, None)),
            Some((pool, org)) => {
                self.runtime
                    .call_warm(turn, &spec, pool, org, async |store, facet| {
                        let facet = match facet {
                            Some(facet) => facet,
                            None => definition.instantiate(store).await?,
                        };
                        let said = facet.validate(store, &asked).await?;
                        Ok(Ok((said, facet)))
                    })
            }
        };
        let (outcome, instance) = match answer {
            // The schema's faults are the user's; a guest that breaks on such a request as well
            // must not hide them.
            Err(GuestFailure::Broke(_)) if !faults.is_empty() => (Err(refused(faults)), None),
            Err(failure) => (Err(failure), None),
            Ok((answer, instance)) => (verdict(answer, faults), instance),
        };
        // One that answered with rubbish is as broken as one that trapped.
        if let Some(instance) = instance
            && matches!(outcome, Ok(_) | Err(GuestFailure::Refused(_)))
        {
            instance.keep();
        }
        outcome
    }
}

/// What the schema and the task say together.
fn verdict(
    answer: Answer<Result<wit_definition::Normalised, Vec<wit::Violation>>>,
    mut faults: Vec<Violation>,
) -> Result<Validated, GuestFailure> {
    match answer.value {
        Err(found) => {
            let found = convert::violations(found);
            if found.is_empty() && faults.is_empty() {
                return Err(GuestFailure::rubbish(PHASE, "refused without a violation"));
            }
            // "None of the variants fits" says less than what the task found inside.
            faults.retain(|fault| {
                fault.code != NO_VARIANT
                    || !found
                        .iter()
                        .any(|finer| finer.pointer.starts_with(&fault.pointer))
            });
            // Where both found a fault at the same place, the schema's code is the stable one.
            let said: HashSet<String> = faults.iter().map(|fault| fault.pointer.clone()).collect();
            faults.extend(
                found
                    .into_iter()
                    .filter(|fault| !said.contains(&fault.pointer)),
            );
            faults.truncate(limits::VIOLATIONS_MAX);
            Err(refused(faults))
        }
        Ok(_) if !faults.is_empty() => Err(refused(faults)),
        Ok(normalised) => {
            let (parameters, notices, estimate) = convert::normalised(normalised)
                .map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
            Ok(Validated {
                parameters,
                notices,
                estimate,
                receipt: answer.receipt,
                lines: answer.lines,
            })
        }
    }
}

fn refused(violations: Vec<Violation>) -> GuestFailure {
    GuestFailure::Refused(GuestError::InvalidInput(violations))
}
