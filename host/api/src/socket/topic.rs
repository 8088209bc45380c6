//! What can be watched.

use std::str::FromStr;

use bindery_core::{ExecutionId, JobId};

/// A topic, taken apart. Its text is what events carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Job(JobId),
    Execution(ExecutionId),
    /// All jobs and executions of the organisation.
    Org,
    Tasks,
    Services,
}

/// A text of no known form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None => match text {
                "org" => Ok(Self::Org),
                "tasks" => Ok(Self::Tasks),
                "services" => Ok(Self::Services),
                _ => Err(UnknownTopic),
            },
            Some(("job", id)) => id.parse().map(Self::Job).map_err(|_| UnknownTopic),
            Some(("execution", id)) => id.parse().map(Self::Execution).map_err(|_| UnknownTopic),
            Some(_) => Err(UnknownTopic),
        }
    }
}
