//! The loop of an engine task: ask for steps, have them run, ask again, then parse.
//!
//! Who runs the steps, and how, is the driver's business: the executor runs engines for an
//! execution, a trial runs them for a case or replays what was recorded. What a plan may do is
//! decided here, once for both.

use std::future::Future;

use bindery_core::{
    CostReceipt, ItemOutcome, Request, limits,
    step::{Decision, Step, StepOutcome},
};

use crate::{CallGrants, GuestFailure, GuestLine, Plugin};

/// The guest calls of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanCall {
    Next,
    Parse,
}

/// Runs the steps of a plan and hears of its guest calls.
pub trait PlanDriver: Send {
    /// Why the driver ended the plan.
    type Stop: Send;

    /// # Errors
    /// When the plan is to end before this call.
    fn before(&mut self, call: PlanCall) -> Result<(), Self::Stop>;

    /// What a guest call cost and said.
    fn after(&mut self, receipt: CostReceipt, lines: &[GuestLine]);

    /// Runs the steps of one round; gives one outcome for each, in their order.
    fn run(
        &mut self,
        steps: &[Step],
        done: &[StepOutcome],
    ) -> impl Future<Output = Result<Vec<StepOutcome>, Self::Stop>> + Send;
}

/// A plan that the contract does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanInvalid {
    #[error("the plan has more than {} steps", limits::STEPS_MAX)]
    TooManySteps,
    #[error("two steps are named `{0}`")]
    StepTwice(String),
    #[error("the plan did not end after {} rounds", limits::PLAN_ROUNDS_MAX)]
    Endless,
}

impl PlanInvalid {
    /// Stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooManySteps | Self::StepTwice(_) => "plan_invalid",
            Self::Endless => "plan_does_not_end",
        }
    }
}

/// Why a plan has no outcomes.
#[derive(Debug)]
pub enum PlanEnd<S> {
    /// The guest refused, broke, or could not be called, after these steps.
    Guest {
        failure: GuestFailure,
        done: Vec<StepOutcome>,
    },
    Invalid(PlanInvalid),
    /// By the driver.
    Stopped(S),
}

impl Plugin {
    /// Runs an engine task from the first `next` to `parse`. Gives the outcomes of its items and
    /// of all steps.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn run_plan<D: PlanDriver>(
        &self,
        request: &Request,
        grants: CallGrants,
        driver: &mut D,
    ) -> Result<(Vec<ItemOutcome>, Vec<StepOutcome>), PlanEnd<D::Stop>> {
        let mut done: Vec<StepOutcome> = Vec::new();
        for _round in 0..limits::PLAN_ROUNDS_MAX {
            driver.before(PlanCall::Next).map_err(PlanEnd::Stopped)?;
            let answer = self.next(request, &done, grants.clone()).await;
            let (decision, receipt, lines) = match answer {
                Ok(answer) => answer,
                Err(failure) => return Err(PlanEnd::Guest { failure, done }),
            };
            driver.after(receipt, &lines);
            let steps = match decision {
                Decision::Run(steps) => steps,
                Decision::Finished => {
                    driver.before(PlanCall::Parse).map_err(PlanEnd::Stopped)?;
                    return match self.parse(request, &done, grants).await {
                        Ok((outcomes, receipt, lines)) => {
                            driver.after(receipt, &lines);
                            Ok((outcomes, done))
                        }
                        Err(failure) => Err(PlanEnd::Guest { failure, done }),
                    };
                }
            };
            check_new_steps(&steps, &done).map_err(PlanEnd::Invalid)?;
            let outcomes = driver.run(&steps, &done).await.map_err(PlanEnd::Stopped)?;
            done.extend(outcomes);
        }
        Err(PlanEnd::Invalid(PlanInvalid::Endless))
    }
}

fn check_new_steps(steps: &[Step], done: &[StepOutcome]) -> Result<(), PlanInvalid> {
    if done.len() + steps.len() > limits::STEPS_MAX {
        return Err(PlanInvalid::TooManySteps);
    }
    for (position, step) in steps.iter().enumerate() {
        let twice = done.iter().any(|outcome| outcome.step == step.id)
            || steps.iter().take(position).any(|other| other.id == step.id);
        if twice {
            return Err(PlanInvalid::StepTwice(step.id.clone()));
        }
    }
    Ok(())
}
