//! Settings: the file, with the command line on top.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Context, bail};
use bindery_dispatcher::Resources;
use bindery_runtime::{HttpConfig, HttpHost};
use bindery_sandbox::SandboxLevel;
use serde::Deserialize;

use crate::{cli::LocalArguments, paths};

/// The settings file; every field may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SettingsFile {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) plugins: Vec<PathBuf>,
    pub(crate) engines: Vec<PathBuf>,
    /// Largest upload.
    pub(crate) upload_bytes_max: Option<u64>,
    pub(crate) sandbox: SandboxSection,
    pub(crate) capacity: CapacitySection,
    pub(crate) trust: TrustSection,
    pub(crate) http: HttpSection,
    #[serde(rename = "plugin")]
    pub(crate) plugins_section: PluginsSection,
}

/// Requests of plugins to hosts that they were granted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpSection {
    /// Of those hosts, the ones that may have addresses of this machine or its network, as in
    /// `models.example.org:8000`.
    pub(crate) private_hosts: Vec<String>,
}

/// Who is trusted.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrustSection {
    pub(crate) store: Option<PathBuf>,
    pub(crate) revocations: Option<PathBuf>,
    /// Refuse instead of warning when the revocation list has expired.
    pub(crate) strict: bool,
}

/// How plugins are published.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginsSection {
    /// Versions of one package that stay enabled side by side.
    pub(crate) versions_kept: Option<usize>,
    /// Processor time and wall time of compiling one component.
    pub(crate) compile_seconds_max: Option<u64>,
    /// Address space of compiling one component.
    pub(crate) compile_memory_bytes_max: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SandboxSection {
    /// `L2` or `L1`.
    pub(crate) minimum: Option<String>,
}

/// What all executions together may use [default: all cores, three quarters of the memory].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CapacitySection {
    pub(crate) cpu_cores: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
}

/// Settings as they are used.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) file: SettingsFile,
    pub(crate) plugins: Vec<PathBuf>,
    pub(crate) engines: Vec<PathBuf>,
    pub(crate) sandbox_minimum: SandboxLevel,
    pub(crate) insecure_no_sandbox: bool,
    pub(crate) dev: bool,
    pub(crate) trust: Option<PathBuf>,
    pub(crate) revocations: Option<PathBuf>,
    pub(crate) strict_revocations: bool,
}

impl Settings {
    pub(crate) fn read(arguments: &LocalArguments) -> anyhow::Result<Self> {
        let file = match &arguments.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("failed to read {}", path.display()))?;
                toml::from_str(&text)
                    .with_context(|| format!("failed to parse {}", path.display()))?
            }
            None => SettingsFile::default(),
        };
        let or = |typed: &[PathBuf], written: &[PathBuf], name: &str| -> Vec<PathBuf> {
            match (typed, written) {
                ([], []) => paths::beside_program(name).into_iter().collect(),
                ([], written) => written.to_vec(),
                (typed, _) => typed.to_vec(),
            }
        };
        let minimum = arguments
            .sandbox_minimum
            .as_ref()
            .or(file.sandbox.minimum.as_ref());
        let sandbox_minimum = match minimum {
            Some(level) => level.parse::<SandboxLevel>()?,
            None => SandboxLevel::L2,
        };
        if sandbox_minimum == SandboxLevel::None && !arguments.insecure_no_sandbox {
            bail!("a sandbox minimum of `none` needs --insecure-no-sandbox as well");
        }
        Ok(Self {
            plugins: or(&arguments.plugins, &file.plugins, "plugins"),
            engines: or(&arguments.engines, &file.engines, "engines"),
            sandbox_minimum: if arguments.insecure_no_sandbox {
                SandboxLevel::None
            } else {
                sandbox_minimum
            },
            insecure_no_sandbox: arguments.insecure_no_sandbox,
            dev: arguments.dev,
            trust: arguments.trust.clone().or(file.trust.store.clone()),
            revocations: arguments
                .revocations
                .clone()
                .or(file.trust.revocations.clone()),
            strict_revocations: file.trust.strict,
            file,
        })
    }

    /// What plugins' requests may reach.
    pub(crate) fn http(&self) -> anyhow::Result<HttpConfig> {
        let names = self.file.http.private_hosts.iter();
        Ok(HttpConfig {
            private_hosts: names
                .map(|name| name.parse::<HttpHost>())
                .collect::<Result<_, _>>()
                .map_err(anyhow::Error::msg)
                .context("in `private_hosts` of the settings")?,
            ..HttpConfig::default()
        })
    }

    pub(crate) fn capacity(&self) -> Resources {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Resources {
            cpu_cores: self
                .file
                .capacity
                .cpu_cores
                .unwrap_or_else(|| u32::try_from(cores).unwrap_or(1))
                .max(1),
            memory_bytes: self
                .file
                .capacity
                .memory_bytes
                .unwrap_or_else(|| paths::memory_bytes() / 4 * 3),
        }
    }
}
