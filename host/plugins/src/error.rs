//! Why something was not done, each with a code that stays.

use bindery_datastore::{CommitError, ReadError};
use bindery_registry::{PackageError, Refusal};
use bindery_runtime::{CatalogError, LoadError};
use semver::Version;

use crate::CasesReport;

/// A package that was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The bytes are no package.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// Nobody that this host trusts vouches for it, or somebody said not to use it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another digest has this version already: a version, once published, stays what it is.
    #[error("version {version} of `{name}` was published with another content")]
    VersionTaken { name: String, version: Version },
    #[error("the component does not compile: {0}")]
    NotCompilable(String),
    #[error("compiling the component takes more than {0}")]
    CompileLimit(&'static str),
    #[error("failed to load the component")]
    Load(#[source] LoadError),
    #[error("the tasks run engines that the manifest does not name: {}", .0.join(", "))]
    NeedsUndeclared(Vec<String>),
    #[error(transparent)]
    Taken(#[from] CatalogError),
    #[error("{} of {} golden cases fail", .0.failed, .0.total)]
    CasesFailed(CasesReport),
    #[error("the host is at its bound of {0} packages")]
    TooMany(usize),
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// A change of what is published that was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("there is no such plugin")]
    NotFound,
    #[error("there is no such version of the plugin")]
    NoSuchVersion,
    #[error("there is no version to go back to")]
    NothingBefore,
    #[error("no version of it waits for an approval")]
    NothingPending,
    #[error("version {0} waits for an approval")]
    Pending(Version),
    #[error("the version is revoked")]
    Revoked,
    #[error("failed to load the component")]
    Load(#[source] LoadError),
    #[error(transparent)]
    Taken(#[from] CatalogError),
    #[error(transparent)]
    Store(#[from] StoreFault),
}

/// The host's own fault.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    #[error("failed to read the store")]
    Read(#[from] ReadError),
    #[error("failed to record it")]
    Commit(#[from] CommitError),
    #[error("the host's storage is full")]
    StorageFull,
    #[error("{0}")]
    Host(String),
}

impl PublishError {
    /// Stable word for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Package(error) => error.code(),
            Self::Refused(refusal) => refusal.code(),
            Self::VersionTaken { .. } => "version_taken",
            Self::NotCompilable(_) => "component_invalid",
            Self::CompileLimit(_) => "compile_limit_exceeded",
            Self::Load(error) => load_code(error),
            Self::NeedsUndeclared(_) => "needs_undeclared",
            Self::Taken(error) => taken_code(error),
            Self::CasesFailed(_) => "cases_failed",
            Self::TooMany(_) => "too_many_plugins",
            Self::Store(_) => "internal",
        }
    }
}

impl ChangeError {
    /// Stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound | Self::NoSuchVersion => "not_found",
            Self::NothingBefore => "nothing_before",
            Self::NothingPending => "nothing_pending",
            Self::Pending(_) => "pending",
            Self::Revoked => "revoked",
            Self::Load(error) => load_code(error),
            Self::Taken(error) => taken_code(error),
            Self::Store(_) => "internal",
        }
    }
}

const fn load_code(error: &LoadError) -> &'static str {
    match error {
        LoadError::TooLarge { .. } => "component_too_large",
        LoadError::NotAComponent(_) => "component_invalid",
        LoadError::ImportNotGranted(_) => "import_not_granted",
        LoadError::NothingExported | LoadError::NoTaskInterface => "contract_missing",
        LoadError::Contract(_) => "contract_broken",
        LoadError::ContractUnsupported(_) | LoadError::ContractsMixed => "contract_unsupported",
        LoadError::NotDeterministic => "not_deterministic",
        LoadError::Schema { .. } | LoadError::OutputSchema { .. } => "schema_invalid",
        LoadError::Describe(_) => "describe_failed",
        LoadError::Compiled(_) | LoadError::Host(_) => "internal",
    }
}

const fn taken_code(error: &CatalogError) -> &'static str {
    match error {
        CatalogError::TaskTaken { .. } => "task_taken",
        CatalogError::CollectionTaken { .. } => "collection_taken",
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
