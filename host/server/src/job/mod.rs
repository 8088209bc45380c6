//! `bindery job`: work on a server, from submission to results.

pub(crate) mod arguments;
mod watch;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use bindery_api_types::{
    Cancellation, Executed, FileInfo, Job, JobPage, JobResults, JobSummary, Results,
};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use self::arguments::{
    FetchArguments, JobArguments, JobCommand, ListArguments, LogsArguments, SubmitArguments,
};
use crate::{
    cli::{LocalArguments, RunArguments},
    client::{Client, Refused},
    exit::Exit,
    run::{self, Voice},
    task_cli::OwnArguments,
};

pub(crate) async fn command(command: JobCommand) -> anyhow::Result<Exit> {
    match command {
        JobCommand::Submit(arguments) => submit(arguments).await,
        JobCommand::List(arguments) => list(arguments).await,
        JobCommand::Show(arguments) => show(arguments).await,
        JobCommand::Watch(arguments) => {
            let client = Client::new(&arguments.client)?;
            watch::watch(&client, &arguments.job, arguments.json).await
        }
        JobCommand::Logs(arguments) => logs(arguments).await,
        JobCommand::Cancel(arguments) => cancel(arguments).await,
        JobCommand::Retry(arguments) => retry(arguments).await,
        JobCommand::Fetch(arguments) => {
            let client = Client::new(&arguments.client)?;
            fetch(&client, arguments).await
        }
    }
}

async fn submit(arguments: SubmitArguments) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let (out, as_json) = (arguments.request.out.clone(), arguments.request.json);
    let labels = labels(&arguments.labels)?;
    let typed = run::typed(
        &RunArguments {
            task: arguments.task,
            request: arguments.request,
            local: LocalArguments::default(),
            own: OwnArguments::default(),
        },
        &Voice { json: as_json },
    );
    let typed = match typed {
        Ok(typed) => typed,
        Err(exit) => return Ok(exit),
    };
    let mut inputs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (slot, path) in typed.inputs {
        let file = upload(&client, &path).await?;
        inputs.entry(slot).or_default().push(file.id);
    }
    let mut body = Map::from_iter([
        ("inputs".to_owned(), json!(inputs)),
        ("parameters".to_owned(), typed.parameters),
        ("labels".to_owned(), json!(labels)),
    ]);
    if let Some(priority) = arguments.priority {
        body.insert("priority".to_owned(), priority.into());
    }
    let mut request = client
        .request(Method::POST, &format!("tasks/{}/execute", typed.task))
        .json(&body);
    if let Some(key) = &arguments.idempotency_key {
        request = request.header("idempotency-key", key);
    }
    let executed = match client.send::<Executed>(request).await {
        Ok(answer) => answer.body,
        Err(error) => return refused(error),
    };
    for notice in &executed.notices {
        eprintln!("{}: {}", notice.severity, notice.message);
    }
    if !arguments.watch {
        if as_json {
            println!("{:#}", serde_json::to_value(&executed)?);
        } else {
            println!("{}", executed.job_id);
        }
        return Ok(Exit::Done);
    }
    if !as_json {
        eprintln!("{}", executed.job_id);
    }
    let exit = watch::watch(&client, &executed.job_id, as_json).await?;
    if let (Some(out), Exit::Done) = (out, exit) {
        let fetched = FetchArguments {
            job: executed.job_id,
            out,
            json: true,
            client: arguments.client,
        };
        write_results(&client, &fetched).await?;
    }
    Ok(exit)
}

/// What validation rejected has its own exit code.
fn refused(error: anyhow::Error) -> anyhow::Result<Exit> {
    match error.downcast_ref::<Refused>() {
        Some(Refused(problem)) if problem.status == 422 => {
            eprintln!("bindery: {error:#}");
            Ok(Exit::Rejected)
        }
        Some(Refused(problem)) if problem.code == "engine_missing" => {
            eprintln!("bindery: {error:#}");
            Ok(Exit::EngineMissing)
        }
        _ => Err(error),
    }
}

fn labels(words: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    words
        .iter()
        .map(|word| {
            let (key, value) = word
                .split_once('=')
                .with_context(|| format!("`--label {word}` is not KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect()
}

async fn upload(client: &Client, path: &Path) -> anyhow::Result<FileInfo> {
    let file = tokio::fs::File::open(path)
        .await
        .with_context(|| format!("failed to read {}", path.display()))?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let part = reqwest::multipart::Part::stream_with_length(
        reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 256 << 10)),
        tokio::fs::metadata(path).await?.len(),
    )
    .file_name(name);
    let form = reqwest::multipart::Form::new().part("file", part);
    let request = client.request(Method::POST, "files").multipart(form);
    let answer = client.send::<FileInfo>(request).await;
    Ok(answer
        .with_context(|| format!("failed to upload {}", path.display()))?
        .body)
}

async fn list(arguments: ListArguments) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let limit = arguments.limit.to_string();
    let filters = [
        ("limit", Some(&limit)),
        ("status", arguments.status.as_ref()),
        ("task", arguments.task.as_ref()),
        ("label", arguments.label.as_ref()),
    ];
    let given: Vec<_> = filters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let request = client.request(Method::GET, "jobs").query(&given);
    let page = client.send::<JobPage>(request).await?.body;
    if arguments.json {
        println!("{:#}", serde_json::to_value(&page)?);
        return Ok(Exit::Done);
    }
    for job in &page.items {
        println!("{}", line(job));
    }
    if page.items.is_empty() {
        eprintln!("no jobs");
    }
    Ok(Exit::Done)
}

fn line(job: &JobSummary) -> String {
    let labels: Vec<String> = job
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "{}  {:11}  {}  {}@{}  {}",
        job.id,
        job.status,
        job.created,
        job.task,
        job.task_version,
        labels.join(" ")
    )
    .trim_end()
    .to_owned()
}

async fn show(arguments: JobArguments) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let job = job(&client, &arguments.job).await?;
    if arguments.json {
        println!("{:#}", serde_json::to_value(&job)?);
        return Ok(Exit::Done);
    }
    println!("{}  {}", job.id, job.status);
    println!("  task      {}@{}", job.task, job.task_version);
    for (key, value) in &job.labels {
        println!("  label     {key}={value}");
    }
    println!("  created   {}", job.created);
    if let Some(finished) = &job.finished {
        println!("  finished  {finished}");
    }
    for execution in &job.executions {
        println!("  execution {}  {}", execution.id, execution.status);
    }
    Ok(Exit::Done)
}

async fn job(client: &Client, id: &str) -> anyhow::Result<Job> {
    let request = client.request(Method::GET, &format!("jobs/{}", in_path(id)?));
    Ok(client.send::<Job>(request).await?.body)
}

/// Ids are opaque, but they are one segment of a path.
fn in_path(id: &str) -> anyhow::Result<&str> {
    let fine = !id.is_empty()
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if !fine {
        bail!("`{id}` is not the id of a job (see `bindery job list`)");
    }
    Ok(id)
}

async fn logs(arguments: LogsArguments) -> anyhow::Result<Exit> {
    use std::io::Write;

    let client = Client::new(&arguments.client)?;
    let path = format!("jobs/{}/logs", in_path(&arguments.job)?);
    let (_, bytes) = client.bytes(client.request(Method::GET, &path)).await?;
    // The server has made control characters visible.
    std::io::stdout().lock().write_all(&bytes)?;
    Ok(Exit::Done)
}

async fn cancel(arguments: JobArguments) -> anyhow::Result<Exit> {
    change(&arguments, "cancel", |answer: &Cancellation| {
        if answer.stopping {
            format!("{} is being stopped", answer.job_id)
        } else {
            format!("{} is {}", answer.job_id, answer.status)
        }
    })
    .await
}

async fn retry(arguments: JobArguments) -> anyhow::Result<Exit> {
    change(&arguments, "retry", |answer: &Executed| {
        let Executed {
            job_id,
            status,
            execution_id,
            ..
        } = answer;
        format!("{job_id} is {status} again as {execution_id}")
    })
    .await
}

/// Asks for a change of a job, and prints the answer or what it means.
async fn change<T: Serialize + DeserializeOwned>(
    arguments: &JobArguments,
    verb: &str,
    words: impl Fn(&T) -> String,
) -> anyhow::Result<Exit> {
    let client = Client::new(&arguments.client)?;
    let path = format!("jobs/{}/{verb}", in_path(&arguments.job)?);
    let request = client.request(Method::POST, &path);
    let answer = client.send::<T>(request).await?.body;
    if arguments.json {
        println!("{:#}", serde_json::to_value(&answer)?);
    } else {
        println!("{}", words(&answer));
    }
    Ok(Exit::Done)
}

async fn fetch(client: &Client, arguments: FetchArguments) -> anyhow::Result<Exit> {
    let results = write_results(client, &arguments).await?;
    if arguments.json {
        println!("{:#}", serde_json::to_value(&results)?);
    }
    Ok(if results.status == "succeeded" {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Writes the results of the last execution, as `bindery run --out` does.
async fn write_results(client: &Client, arguments: &FetchArguments) -> anyhow::Result<Results> {
    let path = format!("jobs/{}/results", in_path(&arguments.job)?);
    let results = client
        .send::<JobResults>(client.request(Method::GET, &path))
        .await?
        .body;
    let last = results.items.into_iter().next_back();
    let last = last.context("the job has no execution")?;
    let out = &arguments.out;
    std::fs::create_dir_all(out).with_context(|| format!("failed to make {}", out.display()))?;
    let document: Value = serde_json::to_value(&last)?;
    write(
        &out.join("result.json"),
        format!("{document:#}\n").as_bytes(),
    )?;
    for artifact in &last.artifacts {
        // A server's word is no path: plain file names only.
        let name = Path::new(&artifact.name).file_name();
        let name = name.with_context(|| format!("an artifact is named `{}`", artifact.name))?;
        let path = format!("artifacts/{}", in_path(&artifact.id)?);
        let (_, content) = client.bytes(client.request(Method::GET, &path)).await?;
        write(&out.join(name), &content)?;
    }
    Ok(last)
}

fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, content).with_context(|| format!("failed to write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
