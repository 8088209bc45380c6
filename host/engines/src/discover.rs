//! Which engines are there, and in which version.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bindery_core::definition::EngineRequirement;
use bindery_sandbox::{Ending, Limits, RunSpec, Sandbox};
use semver::Version;
use tokio_util::sync::CancellationToken;

use crate::manifest::{EngineManifest, ManifestError, ProbeStream};

/// A program that does not tell its version in this time is not usable.
const PROBE_WALL: Duration = Duration::from_secs(20);
/// Printed by a probe; the rest is dropped.
const PROBE_OUTPUT_BYTES: u64 = 64 << 10;

/// A usable engine.
#[derive(Debug, Clone)]
pub struct Engine {
    pub manifest: Arc<EngineManifest>,
    pub program: PathBuf,
    /// As printed, for example `1.2.3`.
    pub version: String,
}

/// What discovery found for one manifest.
#[derive(Debug, Clone)]
pub struct EngineStatus {
    pub manifest: Arc<EngineManifest>,
    pub program: Option<PathBuf>,
    pub version: Option<String>,
    /// Why it cannot be used; none when it can.
    pub fault: Option<String>,
}

/// All engines of a host.
#[derive(Debug, Clone)]
pub struct Engines {
    pub(crate) sandbox: Sandbox,
    entries: Arc<BTreeMap<String, EngineStatus>>,
}

/// An engine that a task needs and the host lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("engine `{engine}` {fault}")]
pub struct MissingEngine {
    pub engine: String,
    pub fault: String,
    /// How to install it; empty when the manifest does not say.
    pub hint: String,
}

impl Engines {
    /// Reads all manifests of the directories (a later directory's manifest replaces an earlier
    /// one of the same name), looks for the programs and asks for their versions.
    ///
    /// # Errors
    /// When a manifest cannot be used: a broken configuration is said, not skipped.
    pub async fn discover(
        directories: &[PathBuf],
        sandbox: Sandbox,
        scratch: &Path,
    ) -> Result<Self, ManifestError> {
        let mut manifests = BTreeMap::new();
        for directory in directories {
            for path in manifest_files(directory)? {
                let manifest = EngineManifest::read(&path)?;
                manifests.insert(manifest.name.clone(), Arc::new(manifest));
            }
        }
        let mut probes = tokio::task::JoinSet::new();
        for manifest in manifests.into_values() {
            let sandbox = sandbox.clone();
            let scratch = scratch.to_owned();
            probes.spawn(async move { probe(manifest, &sandbox, &scratch).await });
        }
        let mut entries = BTreeMap::new();
        while let Some(status) = probes.join_next().await {
            if let Ok(status) = status {
                entries.insert(status.manifest.name.clone(), status);
            }
        }
        Ok(Self {
            sandbox,
            entries: Arc::new(entries),
        })
    }

    #[must_use]
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// By name.
    pub fn statuses(&self) -> impl Iterator<Item = &EngineStatus> {
        self.entries.values()
    }

    /// The engine of this name, if it can be used.
    ///
    /// # Errors
    /// What is missing and how to install it.
    pub fn get(&self, name: &str) -> Result<Engine, MissingEngine> {
        let Some(status) = self.entries.get(name) else {
            return Err(MissingEngine {
                engine: name.to_owned(),
                fault: "has no manifest on this host".to_owned(),
                hint: format!("add engines/{name}.toml"),
            });
        };
        match (&status.program, &status.version, &status.fault) {
            (Some(program), Some(version), None) => Ok(Engine {
                manifest: Arc::clone(&status.manifest),
                program: program.clone(),
                version: version.clone(),
            }),
            _ => Err(MissingEngine {
                engine: name.to_owned(),
                fault: status
                    .fault
                    .clone()
                    .unwrap_or_else(|| "was not found".to_owned()),
                hint: install_hint(&status.manifest),
            }),
        }
    }

    /// Checks what a task needs.
    ///
    /// # Errors
    /// The first engine that is missing or has a version outside the range.
    pub fn satisfy(&self, requirements: &[EngineRequirement]) -> Result<(), MissingEngine> {
        for requirement in requirements {
            let engine = self.get(&requirement.engine)?;
            if let Some(version) = lenient_version(&engine.version)
                && !requirement.versions.matches(&version)
            {
                return Err(MissingEngine {
                    engine: requirement.engine.clone(),
                    fault: format!(
                        "has version {}, the task needs {}",
                        engine.version, requirement.versions
                    ),
                    hint: install_hint(&engine.manifest),
                });
            }
        }
        Ok(())
    }
}

fn install_hint(manifest: &EngineManifest) -> String {
    manifest
        .install
        .get("debian")
        .or_else(|| manifest.install.get("hint"))
        .cloned()
        .unwrap_or_default()
}

fn manifest_files(directory: &Path) -> Result<Vec<PathBuf>, ManifestError> {
    let listing = match std::fs::read_dir(directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => {
            return Err(ManifestError::Read {
                path: directory.to_owned(),
                source,
            });
        }
    };
    let mut files: Vec<PathBuf> = listing
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    Ok(files)
}

/// Name of the variable that overrides where an engine's program is.
#[must_use]
pub fn program_override(engine: &str) -> String {
    format!(
        "BINDERY_ENGINE_{}",
        engine.to_ascii_uppercase().replace('-', "_")
    )
}

fn find_program(manifest: &EngineManifest) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(program_override(&manifest.name)) {
        return Some(PathBuf::from(path)).filter(|path| is_executable(path));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(manifest.search.iter().cloned())
        .collect();
    manifest.programs.iter().find_map(|program| {
        directories
            .iter()
            .map(|directory| directory.join(program))
            .find(|path| is_executable(path))
    })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    path.is_absolute()
        && path
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

async fn probe(manifest: Arc<EngineManifest>, sandbox: &Sandbox, scratch: &Path) -> EngineStatus {
    let mut status = EngineStatus {
        manifest: Arc::clone(&manifest),
        program: None,
        version: None,
        fault: None,
    };
    let Some(program) = find_program(&manifest) else {
        status.fault = Some(format!(
            "was not found (looked for {} on PATH; {} names it)",
            manifest.programs.join(", "),
            program_override(&manifest.name)
        ));
        return status;
    };
    // The real file: a link may lead out of the directories the sandbox shows.
    let program = program.canonicalize().unwrap_or(program);
    status.program = Some(program.clone());
    match ask_version(&manifest, &program, sandbox, scratch).await {
        Ok(version) => status.version = Some(version),
        Err(fault) => status.fault = Some(fault),
    }
    status
}

async fn ask_version(
    manifest: &EngineManifest,
    program: &Path,
    sandbox: &Sandbox,
    scratch: &Path,
) -> Result<String, String> {
    if manifest.version.pattern.is_empty() {
        return Ok("unknown".to_owned());
    }
    let mut spec = RunSpec::new(program, scratch);
    spec.arguments = manifest.version.arguments.iter().map(Into::into).collect();
    spec.environment = environment(manifest);
    spec.read_only = manifest.sandbox.read_only.clone();
    spec.profile.allow_fork = manifest.sandbox.allow_fork;
    spec.limits = Limits {
        wall: PROBE_WALL,
        cpu: PROBE_WALL,
        memory_bytes: manifest.defaults.memory_bytes,
        output_bytes: PROBE_OUTPUT_BYTES,
        ..Limits::default()
    };
    let report = sandbox
        .run(spec, &mut (), CancellationToken::new())
        .await
        .map_err(|error| format!("cannot be asked for its version: {error}"))?;
    if !matches!(report.ending, Ending::Exited(_)) {
        return Err(format!(
            "ended with {:?} when asked for its version",
            report.ending
        ));
    }
    let stdout = String::from_utf8_lossy(&report.stdout.bytes).into_owned();
    let stderr = String::from_utf8_lossy(&report.stderr.bytes).into_owned();
    let text = match manifest.version.stream {
        ProbeStream::Stdout => stdout,
        ProbeStream::Stderr => stderr,
        ProbeStream::Any => format!("{stdout}\n{stderr}"),
    };
    regex_lite::Regex::new(&manifest.version.pattern)
        .ok()
        .and_then(|pattern| {
            let found = pattern.captures(&text)?;
            Some(found.get(1).or_else(|| found.get(0))?.as_str().to_owned())
        })
        .ok_or_else(|| {
            let said: String = text.trim().chars().take(200).collect();
            format!("does not tell its version, it said: {said}")
        })
}

/// The whole environment of an engine: nothing is inherited.
pub(crate) fn environment(
    manifest: &EngineManifest,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let mut variables = vec![
        ("LC_ALL".into(), "C.UTF-8".into()),
        ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
        ("HOME".into(), "/work".into()),
        ("TMPDIR".into(), ".".into()),
    ];
    variables.extend(
        manifest
            .sandbox
            .environment
            .iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    variables
}

/// `1.2` and `v1.2.3-4` as versions; none when there is no number.
fn lenient_version(text: &str) -> Option<Version> {
    let numbers: Vec<u64> = text
        .trim_start_matches(|c: char| !c.is_ascii_digit())
        .split(|c: char| !c.is_ascii_digit())
        .map_while(|part| part.parse().ok())
        .take(3)
        .collect();
    let mut numbers = numbers.into_iter();
    let major = numbers.next()?;
    Some(Version::new(
        major,
        numbers.next().unwrap_or(0),
        numbers.next().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_leniently() {
        assert_eq!(lenient_version("1.2.3"), Some(Version::new(1, 2, 3)));
        assert_eq!(lenient_version("v1.2"), Some(Version::new(1, 2, 0)));
        assert_eq!(lenient_version("1.2.3-4-gabc"), Some(Version::new(1, 2, 3)));
        assert_eq!(lenient_version("unknown"), None);
    }

    #[test]
    fn overrides_are_named_after_the_engine() {
        assert_eq!(program_override("my-engine"), "BINDERY_ENGINE_MY_ENGINE");
    }
}
