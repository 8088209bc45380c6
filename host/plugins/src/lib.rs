//! Hot loading: what is published, which versions are live, and what was done to them.
//!
//! - [`PluginStore`]: publish, roll back, disable, enable, approve, delete; versions and history.
//! - [`FolderWatch`]: folders whose packages are published.
//! - [`Compiler`]: compiling in a sandboxed process of its own.
//! - [`RecentRequests`]: where the requests come from that a version is put to before it goes live.
//!
//! Vocabulary: a *package* has a name and versions; a version is named by the digest of all its
//! files, and its *component* by a digest of its own, which executions are pinned to. A version is
//! *pending*, *enabled*, *disabled* or *deleted*. Its *sheet* is what it asks for, a *grant* one
//! line of it that reaches beyond the instance.
//!
//! Invariants:
//! - What is live has been recorded: the swap comes after the commit, and a restart finds the same.
//! - Readers of the catalog see the list from before a change or the one from after.
//! - Work that has begun ends with the component it began with, whatever happened to its version.
//! - Nothing is compiled in this process where a compiling process is set up.
//! - Every change has a line in the history: who, when, which digest, from which, why.
//!
//! It does not know HTTP, and it takes no decision about trust: that is `registry`'s `judge`.

mod change;
mod compile;
mod error;
mod publish;
mod records;
mod sheet;
mod store;
mod supervise;
mod tell;
mod trials;
mod watch;

pub(crate) use self::publish::milliseconds;
pub use self::{
    compile::{CompileLimits, CompileOrder, Compiler, CompilerProcess, run_compiler},
    error::{ChangeError, PublishError, StoreFault},
    publish::{CompileReport, PublishOptions, Published, Report},
    records::{
        Action, DigestText, HistoryRecord, TaskName, TrustRecord, VersionRecord, VersionStatus,
    },
    sheet::Sheet,
    store::{PluginStore, PluginView, PluginsConfig, PluginsParts, VersionView},
    supervise::{IN_A_ROW_MAX, PROBATION_BREAKS_MIN, PROBATION_CALLS, PROBATION_MARGIN},
    trials::{
        CaseFault, CasesReport, RecentRequest, RecentRequests, ReplayDifference, ReplayReport,
    },
    watch::{FolderFault, FolderWatch},
};
