//! One run, as the host sees it.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::capture::Capture;
use crate::channel::Channel;
use crate::scratch::WorkDirectory;
use crate::uids::{Lease, Uids};
use crate::wire::{Bounds, End, Notice, Order, PROGRAM_MISSING, Staged, VERSION, Walls};
use crate::{
    Ending, OutputSink, RunError, RunReport, RunSpec, SandboxConfig, SandboxLevel, SandboxStatus,
    Stream, collect, ending,
};

/// One read of a stream; what the pipe itself holds.
const CHUNK_BYTES: usize = 64 << 10;
/// For the supervisor to build walls and copy inputs, which is bounded by the disk's speed only.
const BUILD_MAX: Duration = Duration::from_secs(300);
/// For the supervisor to kill and report after the deadline or a stop. It takes milliseconds;
/// after this it is killed itself, and the kernel kills the rest.
const REPORT_MAX: Duration = Duration::from_secs(10);
/// For pipes without a writer to give their last bytes, and for killed processes to vanish.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Runs programs at the level that was found at the start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SandboxConfig,
    status: SandboxStatus,
    uids: Option<Uids>,
}

impl Sandbox {
    pub(crate) fn new(config: SandboxConfig, status: SandboxStatus, uids: Option<Uids>) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                status,
                uids,
            }),
        }
    }

    /// What the self-test found.
    #[must_use]
    pub fn status(&self) -> &SandboxStatus {
        &self.inner.status
    }

    /// Runs one program to its end and returns after it and everything it started are gone.
    ///
    /// `sink` gets all output as it arrives. Cancelling kills everything and gives a report with
    /// [`Ending::Cancelled`]. Dropping the future kills everything too, unseen.
    ///
    /// # Errors
    ///
    /// When nothing ran, or when it is not known how it ended; see [`RunError`].
    pub async fn run(
        &self,
        spec: RunSpec,
        sink: &mut (dyn OutputSink + Send),
        cancel: CancellationToken,
    ) -> Result<RunReport, RunError> {
        let status = &self.inner.status;
        let Some(level) = status.level else {
            let why = status.unavailable.clone().unwrap_or_default();
            return Err(RunError::Unavailable {
                reason: why.reason,
                fix: why.fix,
            });
        };
        run_at(
            &self.inner.config,
            self.inner.uids.as_ref(),
            level,
            spec,
            sink,
            cancel,
        )
        .await
    }
}

/// Runs at a given level, whether or not it was tested.
pub(crate) async fn run_at(
    config: &SandboxConfig,
    uids: Option<&Uids>,
    level: SandboxLevel,
    spec: RunSpec,
    sink: &mut (dyn OutputSink + Send),
    cancel: CancellationToken,
) -> Result<RunReport, RunError> {
    spec.check()?;
    if spec.profile.allow_fork && level == SandboxLevel::L1 {
        return Err(RunError::ForkNeedsNamespaces { level });
    }
    let lease = match uids {
        Some(uids) => Some(uids.lease().ok_or(RunError::NoFreeUser {
            count: uids.count(),
        })?),
        None => None,
    };
    let work = match level {
        SandboxLevel::L2 => None,
        SandboxLevel::L1 | SandboxLevel::None => {
            let scratch = config.scratch.clone();
            Some(
                blocking("make a work directory", move || {
                    WorkDirectory::create(&scratch)
                })
                .await?,
            )
        }
    };
    let order = order(config, level, &spec, lease.as_ref(), work.as_ref());
    let mut running = Running::start(config, &order).await?;
    let finished = running.attend(&spec, sink, &cancel).await;
    let report = running.conclude(level, spec, finished?).await;
    if let Some(work) = work {
        blocking("remove the work directory", move || {
            drop(work);
            Ok(())
        })
        .await?;
    }
    report
}

async fn blocking<T: Send + 'static>(
    action: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, RunError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(RunError::io(action)),
        Err(e) => Err(RunError::Io {
            action: action.to_owned(),
            source: e.into(),
        }),
    }
}

fn order(
    config: &SandboxConfig,
    level: SandboxLevel,
    spec: &RunSpec,
    lease: Option<&Lease>,
    work: Option<&WorkDirectory>,
) -> Order {
    let walled = level > SandboxLevel::None;
    let bytes = |text: &std::ffi::OsStr| text.as_bytes().to_vec();
    let path_bytes = |path: &Path| bytes(path.as_os_str());
    let limits = &spec.limits;
    Order {
        version: VERSION,
        walls: Walls {
            namespaces: level == SandboxLevel::L2,
            landlock: walled && !config.test_knobs.without_landlock,
            seccomp: walled && !config.test_knobs.without_seccomp,
        },
        uid: lease.map(|lease| lease.uid),
        program: path_bytes(&spec.program),
        arguments: spec.arguments.iter().map(|text| bytes(text)).collect(),
        environment: spec
            .environment
            .iter()
            .map(|(name, value)| (bytes(name), bytes(value)))
            .collect(),
        read_only: spec.read_only.iter().map(|path| path_bytes(path)).collect(),
        system_directories: spec.system_directories,
        stage: spec
            .stage
            .iter()
            .map(|(from, to)| Staged {
                from: path_bytes(from),
                to: path_bytes(to),
                is_output: spec.outputs.iter().any(|output| &output.path == to),
            })
            .collect(),
        work_directory: work.map(|work| path_bytes(work.path())),
        limits: Bounds {
            wall_ms: u64::try_from(limits.wall.as_millis()).unwrap_or(u64::MAX),
            cpu_s: ending::cpu_seconds(limits),
            memory_bytes: limits.memory_bytes,
            work_bytes: limits.work_bytes,
            work_files: limits.work_files,
            file_bytes: limits.file_bytes,
            threads: limits.threads.into(),
            open_files: limits.open_files.into(),
        },
        allow_fork: spec.profile.allow_fork,
        execute: spec.profile.execute,
        syscalls: spec.profile.syscalls,
    }
}

/// A supervisor at work. Dropping it closes the control socket, which ends everything.
struct Running {
    child: Child,
    channel: Channel,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    work: Option<OwnedFd>,
    /// Pidfds of the engine and of init.
    tree: Vec<OwnedFd>,
    layers: Vec<String>,
    landlock_abi: Option<u32>,
}

/// What attending to a run gave.
struct Finished {
    end: End,
    stdout: Capture,
    stderr: Capture,
}

impl Running {
    async fn start(config: &SandboxConfig, order: &Order) -> Result<Self, RunError> {
        let (mut channel, theirs) =
            Channel::pair().map_err(RunError::io("make a control socket"))?;
        let mut child = Command::new(&config.helper)
            .env_clear()
            .current_dir("/")
            .stdin(theirs)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt at the terminal is the host's to handle.
            .process_group(0)
            .spawn()
            .map_err(|source| RunError::Helper {
                helper: config.helper.clone(),
                source,
            })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        match channel.send_order(order).await {
            // A helper that died at once is found out below.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(RunError::io("send the order"))?,
        }
        Ok(Self {
            child,
            channel,
            stdout,
            stderr,
            work: None,
            tree: Vec::new(),
            layers: Vec::new(),
            landlock_abi: None,
        })
    }

    /// Passes output on and waits for the end.
    async fn attend(
        &mut self,
        spec: &RunSpec,
        sink: &mut (dyn OutputSink + Send),
        cancel: &CancellationToken,
    ) -> Result<Finished, RunError> {
        let mut stdout = Capture::new(spec.limits.output_bytes);
        let mut stderr = Capture::new(spec.limits.output_bytes);
        let (mut out_chunk, mut error_chunk) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let mut stopped = false;
        let mut backstop = Instant::now() + BUILD_MAX;
        let end = loop {
            tokio::select! {
                notice = self.channel.next() => match notice.map_err(RunError::io("read the control socket"))? {
                    Some(Notice::Ended(end)) => break end,
                    Some(Notice::Started { layers, landlock_abi }) => {
                        self.tree.extend(std::iter::from_fn(|| self.channel.take_descriptor()));
                        self.layers = layers;
                        self.landlock_abi = landlock_abi;
                        backstop = far(spec.limits.wall.saturating_add(REPORT_MAX));
                        if stopped {
                            backstop = far(REPORT_MAX);
                        }
                    }
                    Some(Notice::Work) => self.work = self.channel.take_descriptor(),
                    Some(refusal) => return Err(self.refused(spec, refusal).await),
                    None => return Err(self.lost().await),
                },
                read = read(&mut self.stdout, &mut out_chunk) => {
                    pass(Stream::Stdout, read, &out_chunk, &mut self.stdout, &mut stdout, sink);
                }
                read = read(&mut self.stderr, &mut error_chunk) => {
                    pass(Stream::Stderr, read, &error_chunk, &mut self.stderr, &mut stderr, sink);
                }
                () = cancel.cancelled(), if !stopped => {
                    stopped = true;
                    self.channel.stop();
                    backstop = far(REPORT_MAX);
                }
                () = tokio::time::sleep_until(backstop) => {
                    tracing::error!("a supervisor does not answer and is killed");
                    // The channel then closes, and the kernel kills the rest.
                    let _ = self.child.start_kill();
                    backstop = far(REPORT_MAX);
                }
            }
        };
        // All writers are dead, so what is left is in the pipes.
        let drained = async {
            while self.stdout.is_some() {
                let read = read(&mut self.stdout, &mut out_chunk).await;
                pass(
                    Stream::Stdout,
                    read,
                    &out_chunk,
                    &mut self.stdout,
                    &mut stdout,
                    sink,
                );
            }
            while self.stderr.is_some() {
                let read = read(&mut self.stderr, &mut error_chunk).await;
                pass(
                    Stream::Stderr,
                    read,
                    &error_chunk,
                    &mut self.stderr,
                    &mut stderr,
                    sink,
                );
            }
        };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            tracing::warn!("an engine's streams stay open after its end");
        }
        self.child
            .wait()
            .await
            .map_err(RunError::io("wait for the supervisor"))?;
        Ok(Finished {
            end,
            stdout,
            stderr,
        })
    }

    /// The supervisor said that nothing ran, or that it lost its way afterwards.
    async fn refused(&mut self, spec: &RunSpec, notice: Notice) -> RunError {
        if !self.tree.is_empty() {
            tracing::error!(?notice, "a supervisor failed");
            return self.lost().await;
        }
        if let Err(source) = self.child.wait().await {
            return RunError::Io {
                action: "wait for the supervisor".to_owned(),
                source,
            };
        }
        match notice {
            Notice::NotExecuted { errno } => {
                let (program, source) = (
                    spec.program.clone(),
                    std::io::Error::from_raw_os_error(errno),
                );
                RunError::EngineNotExecutable { program, source }
            }
            Notice::NotBuilt { stage, errno, .. } if stage == PROGRAM_MISSING => {
                let program = spec.program.clone();
                match errno {
                    Some(errno) if errno != libc::ENOENT => RunError::EngineNotExecutable {
                        program,
                        source: std::io::Error::from_raw_os_error(errno),
                    },
                    _ => RunError::EngineMissing { program },
                }
            }
            Notice::NotBuilt {
                stage,
                detail,
                errno,
            } => {
                let detail = match errno {
                    Some(errno) => {
                        format!("{detail}: {}", std::io::Error::from_raw_os_error(errno))
                    }
                    None => detail,
                };
                RunError::Build {
                    stage,
                    detail,
                    errno,
                }
            }
            other => RunError::Build {
                stage: "notice".to_owned(),
                detail: format!("unexpected notice {other:?}"),
                errno: None,
            },
        }
    }

    /// The supervisor is gone without a word. Waits until the kernel has killed the rest.
    async fn lost(&mut self) -> RunError {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(e) => e.to_string(),
        };
        let tree = std::mem::take(&mut self.tree);
        let tree_gone = tokio::task::spawn_blocking(move || await_death(&tree))
            .await
            .unwrap_or(false);
        RunError::SupervisorLost { status, tree_gone }
    }

    async fn conclude(
        self,
        level: SandboxLevel,
        spec: RunSpec,
        finished: Finished,
    ) -> Result<RunReport, RunError> {
        let Finished {
            end,
            stdout,
            stderr,
        } = finished;
        let (stdout, stderr) = (stdout.finish(), stderr.finish());
        let mut ending = ending::classify(&end, &spec.limits, &stderr.bytes);
        let file_bytes = spec.limits.file_bytes;
        let outputs = match self.work {
            Some(work) if ending != Ending::Cancelled && !spec.outputs.is_empty() => {
                blocking("collect outputs", move || {
                    collect::collect(&work, &spec.outputs, &spec.collect_into)
                })
                .await?
            }
            _ => Vec::new(),
        };
        // An engine that ignores the signal and the error behind it leaves a file of this size.
        if ending::is_cut(&outputs, file_bytes) {
            ending = Ending::DiskExceeded;
        }
        Ok(RunReport {
            ending,
            usage: ending::usage(&end),
            stdout,
            stderr,
            outputs,
            level,
            layers: self.layers,
            landlock_abi: self.landlock_abi,
        })
    }
}

/// Blocks until all processes are gone, for [`DRAIN_MAX`] at most.
fn await_death(processes: &[OwnedFd]) -> bool {
    let deadline = std::time::Instant::now() + DRAIN_MAX;
    processes.iter().all(|process| {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let Ok(left) = Timespec::try_from(left) else {
            return false;
        };
        rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left))
            .is_ok_and(|ready| ready > 0)
    })
}

/// A time from now, or one that nobody lives to see.
fn far(from_now: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    Instant::now() + from_now.min(CENTURY)
}

/// Reads a chunk; waits for ever on a stream that is closed.
async fn read<R: AsyncRead + Unpin>(
    stream: &mut Option<R>,
    chunk: &mut [u8],
) -> std::io::Result<usize> {
    match stream {
        Some(stream) => stream.read(chunk).await,
        None => std::future::pending().await,
    }
}

fn pass<R>(
    name: Stream,
    read: std::io::Result<usize>,
    chunk: &[u8],
    stream: &mut Option<R>,
    capture: &mut Capture,
    sink: &mut (dyn OutputSink + Send),
) {
    match read {
        // A pipe that cannot be read has nothing more to give.
        Ok(0) | Err(_) => *stream = None,
        Ok(length) => {
            let chunk = chunk.get(..length).unwrap_or_default();
            capture.push(chunk);
            sink.bytes(name, chunk);
        }
    }
}
