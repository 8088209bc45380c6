//! Waiting for what must come.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: short against everything that is waited for, long against a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `condition` gives something.
///
/// # Errors
/// When it has not by the deadline, or when looking fails.
pub async fn wait_for_condition<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await? {
            return Ok(found);
        }
        if started.elapsed() > deadline {
            bail!("waited {deadline:?} in vain for {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
