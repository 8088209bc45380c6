//! Tasks that compute inside the guest.
//!
//! A run whose task asks for no columns: everything comes from parameters and input files. Runs
//! over a table are [sessions](crate::session) of the same facet.

use std::time::Duration;

use bindery_bindings::{convert, host::bindery::task::types as wit};
use bindery_core::{CostReceipt, GuestError, ItemOutcome, Request};

use crate::{CallGrants, GuestFailure, GuestLine, Plugin};

/// A callback that hears of progress: share done and a word about it.
pub type ProgressSink = Box<dyn FnMut(f32, &str) + Send + Sync>;

impl Plugin {
    /// Runs a compute task from open to finish on one instance.
    ///
    /// # Errors
    /// The three kinds of [`GuestFailure`].
    pub async fn compute(
        &self,
        request: &Request,
        grants: CallGrants,
        wall: Duration,
        progress: ProgressSink,
    ) -> Result<(Vec<ItemOutcome>, CostReceipt, Vec<GuestLine>), GuestFailure> {
        self.counted(
            self.compute_uncounted(request, grants, wall, progress)
                .await,
        )
    }

    async fn compute_uncounted(
        &self,
        request: &Request,
        grants: CallGrants,
        wall: Duration,
        progress: ProgressSink,
    ) -> Result<(Vec<ItemOutcome>, CostReceipt, Vec<GuestLine>), GuestFailure> {
        const PHASE: &str = "compute";
        let facet = self
            .compute
            .clone()
            .ok_or_else(|| GuestFailure::host(PHASE, "the plugin has no compute tasks"))?;
        let asked = wit::Request::from(request);
        let limits = self.limits().compute.with_wall(wall);
        let answer = self
            .runtime
            .call(
                self.spec_with_hosts(PHASE, limits, grants, request.seed),
                async move |store| {
                    store.data_mut().progress = Some(progress);
                    let facet = facet.instantiate(store).await?;
                    let profile = facet.profile(store, &asked.task).await?;
                    if !profile.columns.is_empty() {
                        return Ok(Err(GuestFailure::Refused(GuestError::Unsupported(
                            "the task needs a dataset".to_owned(),
                        ))));
                    }
                    let refused = |error: wit::Error| Ok(Err(GuestFailure::Refused(error.into())));
                    let session = match facet.open(store, &asked).await? {
                        Ok(session) => session,
                        Err(error) => return refused(error),
                    };
                    match facet.finish(store, session).await? {
                        Ok(items) => Ok(Ok(items)),
                        Err(error) => refused(error),
                    }
                },
            )
            .await?;
        let items = convert::outcomes(&request.items, answer.value)
            .map_err(|fault| GuestFailure::rubbish(PHASE, fault))?;
        Ok((items, answer.receipt, answer.lines))
    }
}
