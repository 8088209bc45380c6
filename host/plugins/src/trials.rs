//! What a version is put to before it goes live: the package's golden cases, and on an upgrade the
//! requests that were really made, on the old version and on the new one.

use std::{
    fmt::Debug,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bindery_blobs::Blobs;
use bindery_core::Request;
use bindery_engines::Engines;
use bindery_registry::Package;
use bindery_runtime::Plugin;
use bindery_trial::{Case, CompareOptions, PackageFiles, ReplayRequest, Steps, run_case};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Differences that are told one by one; the rest is counted.
const DIFFERENCES_MAX: usize = 20;
/// All replayed requests together: a publish must not hang on a plugin that has become slow.
const REPLAY_MAX: Duration = Duration::from_secs(20);
/// A computation that took longer than this is not made again, twice.
const CHEAP: Duration = Duration::from_secs(1);
/// Words about one failed case.
const FAULT_CHARS_MAX: usize = 500;

/// How the golden cases went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CasesReport {
    pub total: usize,
    pub failed: usize,
    pub faults: Vec<CaseFault>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseFault {
    pub case: String,
    pub fault: String,
}

/// Requests that were made lately.
#[async_trait]
pub trait RecentRequests: Debug + Send + Sync {
    /// The newest of this task, of any organisation, newest first.
    async fn recent(&self, task: &str, count: usize) -> Vec<RecentRequest>;
}

/// A request that ran, as it was after validation.
#[derive(Debug, Clone)]
pub struct RecentRequest {
    /// Id of the execution.
    pub execution: String,
    pub request: Request,
    /// How long it took; none when it has not ended well.
    pub wall: Option<Duration>,
}

/// What old and new make of the same requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayReport {
    /// Requests whose validation was compared.
    pub validated: usize,
    /// Of them, those whose computation was compared too.
    pub computed: usize,
    /// Their inputs are gone, or time was up.
    pub skipped: usize,
    /// Requests with different answers.
    pub different: usize,
    pub differences: Vec<ReplayDifference>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayDifference {
    pub task: String,
    pub execution: String,
    /// RFC 6901, into the answer.
    pub pointer: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

/// Runs the golden cases of a package. Where they want engines, and this host has none, they fail
/// and say so.
pub(crate) async fn cases(
    package: &Package,
    plugin: &Arc<Plugin>,
    engines: Option<&Arc<Engines>>,
    scratch: &Path,
) -> CasesReport {
    let cases = match Case::all(&Files(package)) {
        Ok(cases) => cases,
        Err(error) => {
            return CasesReport {
                total: 1,
                failed: 1,
                faults: vec![CaseFault {
                    case: error.case,
                    fault: error.fault,
                }],
            };
        }
    };
    let steps = Steps::AsWritten(engines.cloned());
    let mut report = CasesReport {
        total: cases.len(),
        ..CasesReport::default()
    };
    for case in &cases {
        let outcome = run_case(plugin, &steps, case, scratch).await;
        if outcome.passed {
            continue;
        }
        report.failed += 1;
        let mut words: Vec<String> = outcome
            .differences
            .iter()
            .map(ToString::to_string)
            .collect();
        if let Some(failure) = &outcome.failure {
            words.push(format!("{}: {}", failure.code, failure.message));
        }
        report.faults.push(CaseFault {
            case: outcome.case,
            fault: words.join("; ").chars().take(FAULT_CHARS_MAX).collect(),
        });
    }
    report
}

struct Files<'a>(&'a Package);

impl PackageFiles for Files<'_> {
    fn paths(&self) -> Vec<String> {
        self.0.files().map(|(path, _)| path.to_owned()).collect()
    }

    fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.0.file(path).map(|content| content.to_vec())
    }
}

/// Puts the requests to both versions.
pub(crate) async fn replay(
    old: &Arc<Plugin>,
    new: &Arc<Plugin>,
    recent: Vec<RecentRequest>,
    blobs: &Blobs,
    scratch: &Path,
) -> ReplayReport {
    let mut report = ReplayReport::default();
    let until = tokio::time::Instant::now() + REPLAY_MAX;
    for recent in recent {
        let Ok(staged) = Staged::of(&recent.request, blobs, scratch) else {
            report.skipped += 1;
            continue;
        };
        let cheap = recent.wall.is_some_and(|wall| wall <= CHEAP);
        let compute = cheap && old.facets().compute && new.facets().compute;
        let options = CompareOptions {
            compute,
            wall_max: CHEAP * 10,
            ..CompareOptions::default()
        };
        let request = ReplayRequest {
            label: recent.execution,
            request: recent.request,
            input: staged.input(),
        };
        let requests = [request];
        let compared = bindery_trial::compare(old, new, &requests, &options, scratch);
        let Ok(found) = tokio::time::timeout_at(until, compared).await else {
            report.skipped += 1;
            continue;
        };
        report.validated += 1;
        report.computed += usize::from(compute);
        report.different += usize::from(!found.is_empty());
        let room = DIFFERENCES_MAX.saturating_sub(report.differences.len());
        report
            .differences
            .extend(found.into_iter().take(room).map(|found| ReplayDifference {
                task: found.task,
                execution: found.label,
                pointer: found.difference.pointer,
                old: found.difference.expected,
                new: found.difference.got,
            }));
    }
    report
}

/// The input files of a request as a guest sees them; removed when dropped.
struct Staged {
    directory: tempfile::TempDir,
    has_files: bool,
}

impl Staged {
    fn of(request: &Request, blobs: &Blobs, scratch: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let directory = tempfile::Builder::new()
            .prefix("replay-")
            .tempdir_in(scratch)?;
        for file in &request.inputs {
            let source = blobs
                .local_path(&file.digest)
                .ok_or(std::io::ErrorKind::NotFound)?;
            let target = directory.path().join(&file.path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent)?;
            }
            if std::fs::hard_link(&source, &target).is_err() {
                std::fs::copy(&source, &target)?;
            }
        }
        Ok(Self {
            directory,
            has_files: !request.inputs.is_empty(),
        })
    }

    fn input(&self) -> Option<PathBuf> {
        self.has_files.then(|| self.directory.path().to_owned())
    }
}
