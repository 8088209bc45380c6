//! What authors can type.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::{LocalArguments, RequestArguments};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    Rust,
    Js,
    Python,
}

#[derive(Debug, Args)]
pub(crate) struct NewArguments {
    /// Name of the plugin and its task: dotted kebab-case, for example `text.count`
    pub(crate) name: String,
    /// Language to write it in
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
    /// Directory to make [default: the name]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    /// The plugin's project
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct TestArguments {
    /// The plugin's project, or a package
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) case: Option<String>,
    /// Run engine steps for real and keep them in `cases/NAME/recording`
    #[arg(long, conflicts_with = "real")]
    pub(crate) record: bool,
    /// Run engine steps for real, whatever the cases say
    #[arg(long)]
    pub(crate) real: bool,
    /// Test what was built last
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// A component (`.wasm`), a package (directory or `.bindery` file), or a project that was built
    #[arg(default_value = ".")]
    pub(crate) path: PathBuf,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PluginRunArguments {
    /// The plugin's project, or a package
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Which task, when the plugin has several
    #[arg(long)]
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) request: RequestArguments,
    /// Run what was built last
    #[arg(long)]
    pub(crate) no_build: bool,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}
