//! Where things stand in the project.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::output;

/// What components are built for.
pub(crate) const WASM_TARGET: &str = "wasm32-wasip2";

/// The project's directories.
#[derive(Debug)]
pub(crate) struct Project {
    root: PathBuf,
    /// Of the host workspace: `target`, or where cargo's settings put it.
    target: PathBuf,
}

/// One of the project's cargo workspaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workspace {
    Host,
    Plugins,
    Sdk,
    /// The example plugin in Rust, which stands alone as an author's does.
    Example,
    TestGuests,
    /// A guest of the first published contract, built as it was then.
    FrozenGuest,
}

impl Workspace {
    pub(crate) const ALL: [Self; 6] = [
        Self::Host,
        Self::Plugins,
        Self::Sdk,
        Self::Example,
        Self::TestGuests,
        Self::FrozenGuest,
    ];

    /// Below the root.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Host => "",
            Self::Plugins => "plugins",
            Self::Sdk => "sdk/rust",
            Self::Example => "examples/csv-statistics",
            Self::TestGuests => "tests/guests",
            Self::FrozenGuest => "tests/guests-0.1",
        }
    }

    /// Below the root, where all programs are started.
    pub(crate) fn manifest(self) -> PathBuf {
        Path::new(self.directory()).join("Cargo.toml")
    }
}

impl Project {
    pub(crate) fn find() -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().context("the project has no root")?.to_owned();
        let mut project = Self {
            target: root.join("target"),
            root,
        };
        let metadata = project.metadata(Workspace::Host, &["--no-deps"])?;
        let target = metadata.get("target_directory").and_then(Value::as_str);
        project.target = target.context("cargo names no target directory")?.into();
        Ok(project)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo leaves what it builds of the host workspace in the release profile.
    pub(crate) fn release(&self) -> PathBuf {
        self.target.join("release")
    }

    /// Programs that checks need and that are built here.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// The runnable tree. Its place is promised, whatever cargo's settings say.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("target/dist")
    }

    /// Target directory of a workspace. Those of guests are the ones that
    /// `bindery-guests-build` uses, so that nothing is built twice.
    pub(crate) fn target(&self, workspace: Workspace) -> PathBuf {
        match workspace {
            Workspace::Host => self.target.clone(),
            Workspace::Plugins => self.root.join("target/guests/plugins"),
            Workspace::Sdk => self.root.join("target/guests/sdk-rust"),
            Workspace::Example => self.root.join("target/guests/example"),
            Workspace::TestGuests => self.root.join("target/guests/tests-guests"),
            Workspace::FrozenGuest => self.root.join("target/guests/tests-guests-0.1"),
        }
    }

    /// All components in one directory, as `NAME.wasm`: for `BINDERY_GUESTS_DIR`.
    pub(crate) fn components(&self) -> PathBuf {
        self.root.join("target/guests/components")
    }

    /// `cargo SUBCOMMAND` in a workspace.
    pub(crate) fn cargo(&self, workspace: Workspace, subcommand: &str) -> Command {
        let mut command = Command::new(cargo());
        command
            .arg(subcommand)
            .arg("--manifest-path")
            .arg(workspace.manifest());
        command.current_dir(&self.root);
        if workspace != Workspace::Host {
            // Not with the settings of the host's build.
            for name in ["CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
                command.env_remove(name);
            }
            command.env("CARGO_TARGET_DIR", self.target(workspace));
        }
        command
    }

    pub(crate) fn metadata(&self, workspace: Workspace, arguments: &[&str]) -> Result<Value> {
        let mut command = self.cargo(workspace, "metadata");
        command.args(["--format-version", "1"]).args(arguments);
        Ok(serde_json::from_str(&output(&mut command)?)?)
    }
}

/// The cargo that runs us.
fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
