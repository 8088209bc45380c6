//! One server under test.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Answer, Processes, Socket, paths, wait_for_condition};

/// A first start compiles plugins; on a busy machine with two cores that took 20 s.
const START_MAX: Duration = Duration::from_secs(120);
/// A server that has its data and its plugins answers at once; busy machines are slow.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// A killed server's processes are gone within milliseconds; the rest is for busy machines.
const GONE_MAX: Duration = Duration::from_secs(10);
/// Drain (30 s) and closing of connections (2 s), with as much again for a busy machine.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How a server is to be started.
#[derive(Debug, Clone, Default)]
pub struct HostBuilder {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl HostBuilder {
    /// Another argument of `bindery serve`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not; its log is in the message.
    pub async fn start(self) -> Result<TestHost> {
        TestHost::start_with(self).await
    }
}

/// What came back for a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    pub execution: String,
    pub job: String,
}

/// A running (or killed) server and its data.
#[derive(Debug)]
pub struct TestHost {
    builder: HostBuilder,
    program: PathBuf,
    root: Option<TempDir>,
    child: Option<Child>,
    address: String,
    token: String,
    client: Client,
    /// All that servers on this data ever started, as far as it was seen.
    seen: Processes,
    starts: AtomicU64,
}

impl TestHost {
    /// A server with the settings that people get.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        HostBuilder::default().start().await
    }

    async fn start_with(builder: HostBuilder) -> Result<Self> {
        let program = paths::dist()?.join("bindery");
        let root = tempfile::Builder::new().prefix("bindery-test-").tempdir()?;
        // Of the plugins that ship; a test's own are small, and are not to be kept.
        let ships = !builder
            .arguments
            .iter()
            .any(|argument| argument == "--plugins");
        let cached = paths::component_cache(&program).filter(|_| ships);
        if let Some(cached) = cached.as_deref().filter(|cached| cached.is_dir()) {
            copy_directory(cached, &root.path().join("data/cache/components"))?;
        }
        let mut host = Self {
            builder,
            program,
            root: Some(root),
            child: None,
            address: String::new(),
            token: String::new(),
            client: Client::builder().timeout(ANSWER_MAX).build()?,
            seen: Processes::default(),
            starts: AtomicU64::new(0),
        };
        host.restart().await?;
        host.token = fs::read_to_string(host.path("token"))?.trim().to_owned();
        if let Some(cached) = cached.filter(|cached| !cached.is_dir()) {
            keep_cache(&host.path("data/cache/components"), &cached)?;
        }
        Ok(host)
    }

    /// Starts the server again on the same data.
    ///
    /// # Errors
    /// When it does not listen in time; its log is in the message.
    pub async fn restart(&mut self) -> Result<()> {
        self.restart_at("127.0.0.1:0").await
    }

    /// Starts the server again on the same data and at the same address.
    ///
    /// # Errors
    /// As [`TestHost::restart`], and when somebody else took the address.
    pub async fn restart_in_place(&mut self) -> Result<()> {
        let address = self.address.clone();
        self.restart_at(&address).await
    }

    async fn restart_at(&mut self, listen: &str) -> Result<()> {
        if self.child.is_some() {
            bail!("the server runs already");
        }
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let (out, log) = (self.path(&format!("out-{number}")), self.path("log"));
        let mut command = self.command(listen, &self.data());
        let log_file = File::options().create(true).append(true).open(&log)?;
        command.stdout(File::create(&out)?).stderr(log_file);
        let child = self
            .child
            .insert(command.spawn().context("failed to start the server")?);
        let waited = wait_for_condition("the server to listen", START_MAX, async || {
            let text = fs::read_to_string(&out)?;
            let listening = text
                .lines()
                .find_map(|line| line.strip_prefix("listening on http://"));
            if let (None, Some(status)) = (listening, child.try_wait()?) {
                bail!("the server ended with {status}");
            }
            Ok(listening.map(str::to_owned))
        })
        .await;
        self.address = waited.with_context(|| format!("its log:\n{}", self.log()))?;
        Ok(())
    }

    /// The command that starts a server, which then leads a session of its own.
    fn command(&self, listen: &str, data: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .arg("--admin-token-file")
            .arg(self.path("token"))
            .args(&self.builder.arguments)
            .envs(
                self.builder
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null());
        lead_session(&mut command);
        command
    }

    /// Starts a second server on the same data and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn start_second(&self) -> Result<(ExitStatus, String)> {
        let log = self.path("second-log");
        let mut command = self.command("127.0.0.1:0", &self.data());
        command.stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut second = command.spawn()?;
        let status = wait_for_condition("a second server to end", START_MAX, async || {
            Ok(second.try_wait()?)
        })
        .await;
        if status.is_err() {
            second.kill()?;
            second.wait()?;
        }
        Ok((status?, fs::read_to_string(log)?))
    }

    /// `kill -9`, and the body is waited for. The processes that it left must die by themselves.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.note_processes();
        let mut child = self.child.take().context("the server does not run")?;
        let killed = child.kill();
        child.wait()?;
        // Members of its session that it started since the look above.
        self.seen.note_those_of(i32::try_from(child.id())?);
        Ok(killed?)
    }

    /// SIGTERM; gives back at once.
    ///
    /// # Errors
    /// When the server does not run.
    pub fn terminate(&mut self) -> Result<()> {
        self.note_processes();
        let child = self.child.as_ref().context("the server does not run")?;
        let pid = rustix::process::Pid::from_child(child);
        Ok(rustix::process::kill_process(
            pid,
            rustix::process::Signal::TERM,
        )?)
    }

    /// The status with which a server ends that was told to.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("the server does not run")?;
        let status = wait_for_condition("the server to end", DRAIN_MAX, async || {
            Ok(child.try_wait()?)
        })
        .await?;
        self.child = None;
        Ok(status)
    }

    /// Looks at what the server has started so far.
    pub fn note_processes(&mut self) {
        if let Some(pid) = self
            .child
            .as_ref()
            .and_then(|child| i32::try_from(child.id()).ok())
        {
            self.seen.note_those_of(pid);
        }
    }

    /// Processes that were seen and still run.
    #[must_use]
    pub fn processes(&self) -> Vec<String> {
        self.seen.alive()
    }

    /// Waits until none of the processes that were seen is left.
    ///
    /// # Errors
    /// Which ones are.
    pub async fn no_process_left(&self) -> Result<()> {
        wait_for_condition("processes to be gone", GONE_MAX, async || {
            Ok(self.processes().is_empty().then_some(()))
        })
        .await
        .with_context(|| format!("still there: {:?}", self.processes()))
    }

    /// Bytes of memory that the server holds.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resident_bytes(&self) -> Result<u64> {
        let child = self.child.as_ref().context("the server does not run")?;
        let status = fs::read_to_string(format!("/proc/{}/status", child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_ascii_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// The token of its first admin.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A path in the directory that goes with this host.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root
            .as_ref()
            .map(|root| root.path().join(name))
            .unwrap_or_default()
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What all servers on this data have logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.path("log")).map_or_else(
            |error| error.to_string(),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(&self.token)
    }

    /// A request without it.
    pub fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer> {
        let request = request.build()?;
        let asked = format!("{} {}", request.method(), request.url().path());
        let response = self
            .client
            .execute(request)
            .await
            .with_context(|| format!("{asked}: no answer"))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response
            .bytes()
            .await
            .with_context(|| format!("{asked}: cut short"))?;
        Ok(Answer {
            request: asked,
            status,
            headers,
            bytes: bytes.into(),
        })
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// POST of a JSON document.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Uploads to this path (`files`, or a collection's `NAME/upload`).
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn upload(&self, path: &str, name: &str, content: Vec<u8>) -> Result<Answer> {
        let request = self.request(Method::POST, &format!("/api/v1/{path}"));
        let disposition = format!("attachment; filename=\"{name}\"");
        self.send(
            request
                .header("content-disposition", disposition)
                .body(content),
        )
        .await
    }

    /// Uploads a file of the disk to `files`; gives its id.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn upload_file(&self, path: &Path) -> Result<String> {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .context("no file name")?;
        let content = fs::read(path).with_context(|| format!("failed to read {path:?}"))?;
        let file = self
            .upload("files", name, content)
            .await?
            .expect_status(201)?
            .json()?;
        text_of(&file, "id")
    }

    /// Submits; an answer other than 202 is a fault.
    ///
    /// # Errors
    /// When it is not acknowledged.
    pub async fn execute(&self, task: &str, inputs: Value, parameters: Value) -> Result<Submitted> {
        let body = json!({ "inputs": inputs, "parameters": parameters });
        let answer = self
            .post(&format!("/api/v1/tasks/{task}/execute"), &body)
            .await?;
        let answer = answer.expect_status(202)?.json()?;
        let (execution, job) = (
            text_of(&answer, "execution_id")?,
            text_of(&answer, "job_id")?,
        );
        Ok(Submitted { execution, job })
    }

    /// The record of an execution.
    ///
    /// # Errors
    /// When there is none.
    pub async fn execution(&self, id: &str) -> Result<Value> {
        self.get(&format!("/api/v1/executions/{id}"))
            .await?
            .expect_status(200)?
            .json()
    }

    /// Waits until an execution has one of these states; gives its record.
    ///
    /// # Errors
    /// When it ends otherwise or not in time.
    pub async fn wait_for_status(
        &self,
        id: &str,
        wanted: &[&str],
        deadline: Duration,
    ) -> Result<Value> {
        wait_for_condition(&format!("{id} to be {wanted:?}"), deadline, async || {
            let record = self.execution(id).await?;
            let status = record
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if wanted.contains(&status) {
                return Ok(Some(record));
            }
            if is_terminal(status) {
                bail!("{id} ended otherwise than as {wanted:?}: {record}");
            }
            Ok(None)
        })
        .await
    }

    /// Waits until an execution is over; gives its record.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn wait_for_end(&self, id: &str, deadline: Duration) -> Result<Value> {
        wait_for_condition(&format!("{id} to end"), deadline, async || {
            let record = self.execution(id).await?;
            let status = record
                .get("status")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Ok(is_terminal(status).then_some(record))
        })
        .await
    }

    /// All events of an execution, oldest first.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn events(&self, id: &str) -> Result<Vec<Value>> {
        // A thousand pages hold more events than any test makes.
        const PAGES_MAX: usize = 1000;
        let mut events = Vec::new();
        let mut cursor = String::new();
        for _ in 0..PAGES_MAX {
            let path = format!("/api/v1/executions/{id}/events?limit=100{cursor}");
            let page = self.get(&path).await?.expect_status(200)?.json()?;
            let items = page
                .get("items")
                .and_then(Value::as_array)
                .context("no items")?;
            events.extend(items.iter().cloned());
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        events.sort_by_key(|event| event.get("seq").and_then(Value::as_u64));
        Ok(events)
    }

    /// Asserts that it lives and is ready.
    ///
    /// # Errors
    /// When it does not or is not.
    pub async fn is_healthy(&self) -> Result<()> {
        for path in ["/health", "/ready"] {
            let answer = self.send(self.anonymous(Method::GET, path)).await;
            let answer = answer.with_context(|| format!("its log:\n{}", self.log()))?;
            answer.expect_status(200)?;
        }
        Ok(())
    }

    /// A WebSocket to it.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn socket(&self) -> Result<Socket> {
        Socket::connect(&self.address, &self.token).await
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if self.child.is_some() {
            let killed = self.kill();
            assert!(
                killed.is_ok() || std::thread::panicking(),
                "not killed: {killed:?}"
            );
        }
        let started = Instant::now();
        while !self.processes().is_empty() && started.elapsed() < GONE_MAX {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = self.processes();
        let path = self.path("");
        let closed = self.root.take().map(TempDir::close);
        if std::thread::panicking() {
            return;
        }
        assert!(left.is_empty(), "processes left behind: {left:?}");
        assert!(
            matches!(closed, None | Some(Ok(()))),
            "directory left behind: {closed:?}"
        );
        assert!(!path.exists(), "{} left behind", path.display());
    }
}

/// Whether an execution with this status is over.
#[must_use]
pub fn is_terminal(status: &str) -> bool {
    matches!(
        status,
        "succeeded" | "failed" | "cancelled" | "timed_out" | "dead_letter"
    )
}

fn text_of(document: &Value, name: &str) -> Result<String> {
    let text = document.get(name).and_then(Value::as_str);
    Ok(text
        .with_context(|| format!("no {name} in {document}"))?
        .to_owned())
}

#[expect(
    unsafe_code,
    reason = "std has no safe way to make a child lead a session"
)]
fn lead_session(command: &mut Command) {
    // SAFETY: setsid is a plain system call, allowed between fork and exec.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(Into::into));
    }
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Keeps what a first server compiled. Renamed into place, so that nobody sees half of it; one
/// that loses the race to another test throws its copy away.
fn keep_cache(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().context("no parent")?;
    fs::create_dir_all(parent)?;
    let copy = tempfile::tempdir_in(parent)?;
    let made = copy.path().join("components");
    copy_directory(from, &made)?;
    if let Err(error) = fs::rename(&made, to)
        && !to.is_dir()
    {
        return Err(error.into());
    }
    Ok(())
}
