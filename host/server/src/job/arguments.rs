//! What can be typed after `bindery job`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::{ClientArguments, RequestArguments};

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Give a server work; prints the job's id
    Submit(SubmitArguments),
    /// The history, newest first
    List(ListArguments),
    /// One job and its executions
    Show(JobArguments),
    /// Follow a job to its end. The exit code is that of a run
    Watch(JobArguments),
    /// What the engines printed
    Logs(LogsArguments),
    /// Stop a job
    Cancel(JobArguments),
    /// Try a job again that ended without success
    Retry(JobArguments),
    /// Fetch results and artifacts of a job that has ended
    Fetch(FetchArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArguments {
    /// Task to run, as `NAME` or `NAME@VERSION`
    pub(crate) task: String,
    #[command(flatten)]
    pub(crate) request: RequestArguments,
    /// 0 to 255, higher first
    #[arg(long, value_name = "N")]
    pub(crate) priority: Option<u8>,
    /// A label to find it by; repeat for more
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<String>,
    /// The same key with the same request is submitted once, however often it is sent
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// Follow it to its end; with `--out`, fetch what it gave
    #[arg(short, long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only jobs with this status
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only jobs of this task
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Only jobs with this label
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) label: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) limit: u32,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct JobArguments {
    /// Id of the job
    pub(crate) job: String,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// Id of the job
    pub(crate) job: String,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}

#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// Id of the job
    pub(crate) job: String,
    /// Directory for `result.json` and the artifacts
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) client: ClientArguments,
}
