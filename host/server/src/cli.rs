//! What can be typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::{
    admin::AdminCommand,
    author::arguments::{
        BuildArguments, CheckArguments, NewArguments, PluginRunArguments, TestArguments,
    },
    job::arguments::JobCommand,
    task_cli::OwnArguments,
};

/// Runs tasks that WebAssembly plugins define, with native engines in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "bindery", version, propagate_version = true)]
pub(crate) struct Cli {
    /// Say more (twice: much more). `BINDERY_LOG` sets a filter in detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    Serve(ServeArguments),
    /// Run one task here, without a server
    Run(RunArguments),
    /// Look at tasks
    Task {
        #[command(subcommand)]
        command: TaskCommand,
    },
    /// Work on a server: submit, watch, fetch
    Job {
        #[command(subcommand)]
        command: JobCommand,
    },
    /// Look at engines and the sandbox
    Engine {
        #[command(subcommand)]
        command: EngineCommand,
    },
    /// Write, build, test and publish plugins
    Plugin {
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Look after what is kept: verify, backup, restore
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Compile one component; for this program itself, in a process of its own
    #[command(hide = true)]
    CompileComponent(CompileArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    #[command(flatten)]
    Author(AuthorCommand),
    // Of a server's admin.
    /// Publish a package: a directory, a `.bindery` file, or a single component
    Publish(PluginPublishArguments),
    /// What is published, `*` before what the name means
    List(PluginListArguments),
    /// Back to the version before
    Rollback(PluginNameArguments),
    /// Take a plugin (`NAME`) or a version of it (`NAME@VERSION`) out of service
    Disable(PluginNameArguments),
    /// Put a plugin or a version of it into service again
    Enable(PluginNameArguments),
    /// Say yes to what a version newly asks for
    Approve(PluginNameArguments),
    /// What was done to a plugin
    History(PluginNameArguments),
    // Of a publisher; see `plugin_registry`.
    /// Fetch a package from an OCI registry or a folder
    Pull(PluginPullArguments),
    /// Make or look at a key that packages are signed with
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Sign a package: a directory or a `.bindery` file
    Sign(PluginSignArguments),
    /// Put packages, components and keys on the list of what must not run any more
    Revoke(PluginRevokeArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; the file holds the secret, the public key is printed
    New {
        /// File to write (mode 0600); one that is there already is left alone
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
    /// Print the public key of a file, for trust stores
    Show {
        /// File that `key new` wrote
        #[arg(value_name = "FILE")]
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PluginSignArguments {
    /// Directory of a package or of a plugin's project (its `dist`), or `.bindery` file
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Key, as `bindery plugin key new` made it
    #[arg(long, value_name = "FILE", env = "BINDERY_SIGNING_KEY")]
    pub(crate) key: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct PluginRevokeArguments {
    /// Digest of a package or of a component (`sha256:…`), or key (its id, or `ed25519:…`). Without
    /// any, the list is issued anew, before it expires
    #[arg(value_name = "DIGEST|KEY")]
    pub(crate) what: Vec<String>,
    /// The list, which servers get with `--revocations`; it is made when it is not there
    #[arg(long, value_name = "FILE", env = "BINDERY_REVOCATIONS")]
    pub(crate) list: PathBuf,
    /// Key that signs the list: one of the `revocation_keys` in the servers' trust stores
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Why; said to whoever is refused
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) reason: String,
    /// Days until a newer list is due
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=3650))]
    pub(crate) days: u16,
}

#[derive(Debug, Args)]
pub(crate) struct PluginPullArguments {
    /// `oci://HOST/REPOSITORY[:TAG][@DIGEST]`, or `dir:FOLDER/NAME[@VERSION]`
    #[arg(value_name = "SOURCE")]
    pub(crate) from: String,
    /// Where to [default: `NAME-VERSION.bindery` here]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Into a directory of files instead of one archive
    #[arg(long, requires = "out")]
    pub(crate) unpack: bool,
    /// Refuse what nobody in this trust store has signed
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

/// How to speak with an OCI registry. The server that commands talk to takes its token, others a
/// user's name and `BINDERY_REGISTRY_PASSWORD`.
#[derive(Debug, Args)]
pub(crate) struct RegistryArguments {
    /// User of an OCI registry; the password is read from `BINDERY_REGISTRY_PASSWORD`
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// Speak HTTP without TLS with a registry on another machine
    #[arg(long)]
    pub(crate) insecure_http: bool,
}

/// For authors.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorCommand {
    /// Start a plugin: a project that builds and passes its own test at once
    New(NewArguments),
    /// Build a plugin and pack it into `dist`
    Build(BuildArguments),
    /// Run a plugin's cases on the real runtime
    Test(TestArguments),
    /// What an admin will be told of a plugin, and what is wrong with it
    Check(CheckArguments),
    /// Build a plugin and run its task once
    Run(PluginRunArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// All tasks
    List(TaskListArguments),
    /// One task: what it takes and gives
    Show(TaskShowArguments),
    /// Check parameters and inputs without running anything
    Validate(RunArguments),
}

#[derive(Debug, Subcommand)]
pub(crate) enum EngineCommand {
    /// Which engines were found, and their versions
    List(EngineArguments),
    /// Also what the sandbox can enforce here, and how to mend what is missing
    Doctor(EngineArguments),
}

/// Where plugins, engines and the sandbox come from; the same for all commands.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LocalArguments {
    /// Directory of plugin packages [default: `plugins` beside this program]
    #[arg(long, value_name = "DIR", env = "BINDERY_PLUGINS")]
    pub(crate) plugins: Vec<PathBuf>,
    /// Directory of engine manifests [default: `engines` beside this program]
    #[arg(long, value_name = "DIR", env = "BINDERY_ENGINES")]
    pub(crate) engines: Vec<PathBuf>,
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "BINDERY_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Weakest sandbox level that engines may run at: L2 or L1 [default: L2]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) sandbox_minimum: Option<String>,
    /// Run engines without a sandbox where none works: for your own files on your own machine
    #[arg(long)]
    pub(crate) insecure_no_sandbox: bool,
    /// Trust store (TOML): publishers, their keys, and the names they may sign
    #[arg(long, value_name = "FILE", env = "BINDERY_TRUST")]
    pub(crate) trust: Option<PathBuf>,
    /// Signed list of what must not run any more
    #[arg(long, value_name = "FILE", env = "BINDERY_REVOCATIONS")]
    pub(crate) revocations: Option<PathBuf>,
    /// Load unsigned packages and single `.wasm` files as well; every run of one is marked
    #[arg(long)]
    pub(crate) dev: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address to listen on; port 0 picks one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", env = "BINDERY_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Where everything is kept [default: ./bindery-data]
    #[arg(long, value_name = "DIR", env = "BINDERY_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Also write the admin token to this file (mode 0600) when it is made
    #[arg(long, value_name = "PATH")]
    pub(crate) admin_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}

/// What a task is run with, and where its results go.
#[derive(Debug, Args)]
pub(crate) struct RequestArguments {
    /// File for an input slot; repeat for more
    #[arg(short, long = "input", value_name = "SLOT=PATH")]
    pub(crate) inputs: Vec<String>,
    /// A parameter; the value is JSON where it parses as such, otherwise text. Dots reach into
    /// objects: `size.width=4`
    #[arg(short, long = "param", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
    /// JSON file with parameters, to which others may be added. `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) params: Option<PathBuf>,
    /// Directory for `result.json` and the artifacts
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Task to run, as `NAME` or `NAME@VERSION`. With it, `--help` lists the flags of its own
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) request: RequestArguments,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
    /// What was given in flags of the task's own.
    #[arg(skip)]
    pub(crate) own: OwnArguments,
}

#[derive(Debug, Args)]
pub(crate) struct TaskListArguments {
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}

#[derive(Debug, Args)]
pub(crate) struct TaskShowArguments {
    /// Task, as `NAME` or `NAME@VERSION`
    pub(crate) task: String,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}

#[derive(Debug, Args)]
pub(crate) struct EngineArguments {
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) local: LocalArguments,
}

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArguments {
    /// Server to talk to [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "BINDERY_SERVER")]
    pub(crate) server: Option<String>,
    /// Token to talk with
    #[arg(
        long,
        value_name = "TOKEN",
        env = "BINDERY_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PluginPublishArguments {
    /// Directory of a package or of a plugin's project (its `dist`), `.bindery` file, or component
    #[arg(value_name = "FILE|DIR", default_value = ".")]
    pub(crate) path: PathBuf,
    /// Also take what the version newly asks for
    #[arg(long)]
    pub(crate) approve: bool,
    /// Push it to an OCI registry (`oci://HOST/REPOSITORY[:TAG]`) or into a folder (`dir:PATH`)
    /// instead of publishing it on a server
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["approve", "json"])]
    pub(crate) to: Option<String>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryArguments,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct PluginListArguments {
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct PluginNameArguments {
    /// Name of the package; where it makes sense, `NAME@VERSION`
    pub(crate) name: String,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct CompileArguments {
    pub(crate) component: PathBuf,
    pub(crate) output: PathBuf,
    #[arg(long)]
    pub(crate) memory_bytes: Option<u64>,
    #[arg(long)]
    pub(crate) cpu_seconds: Option<u64>,
    #[arg(long)]
    pub(crate) output_bytes: Option<u64>,
}
