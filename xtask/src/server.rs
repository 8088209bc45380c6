//! A server of our own, for as long as a command needs it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

/// From start to its address: opening the store and compiling the plugins once.
const START: Duration = Duration::from_secs(60);
/// The server gives what runs 30 s after a termination signal; it gets a little more from us.
const STOP: Duration = Duration::from_secs(40);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server. It is stopped when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: String,
    interrupted: Arc<AtomicBool>,
}

impl Server {
    /// Starts the server of `target/dist` and waits until it listens.
    pub(crate) fn start(
        program: &Path,
        listen: &str,
        data: &Path,
        token_file: &Path,
    ) -> Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register(signal, Arc::clone(&interrupted))?;
        }
        let mut child = Command::new(program)
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .arg("--admin-token-file")
            .arg(token_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {}", program.display()))?;
        let stdout = child.stdout.take();
        let mut server = Self {
            child,
            address: String::new(),
            interrupted,
        };
        server.address = server.wait_for_address(stdout.context("the server has no output")?)?;
        Ok(server)
    }

    fn wait_for_address(&mut self, stdout: ChildStdout) -> Result<String> {
        // One address; the thread ends with the server's output.
        let (send, receive) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on ") {
                    let _ = send.try_send(address.to_owned());
                }
            }
        });
        let deadline = Instant::now() + START;
        loop {
            if let Ok(address) = receive.recv_timeout(LOOK_EVERY) {
                return Ok(address);
            }
            self.check()?;
            if Instant::now() > deadline {
                bail!("the server does not listen after {} s", START.as_secs());
            }
        }
    }

    /// `http://HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Fails when the server has ended or somebody asked us to end.
    pub(crate) fn check(&mut self) -> Result<()> {
        if self.interrupted() {
            bail!("interrupted");
        }
        if let Some(status) = self.child.try_wait()? {
            bail!("the server ended by itself: {status}");
        }
        Ok(())
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Waits until somebody asks us to end, or the server ends by itself.
    pub(crate) fn wait(&mut self) -> Result<()> {
        while !self.interrupted() {
            if let Some(status) = self.child.try_wait()? {
                // An interrupt from a terminal reaches the server as well, maybe before us.
                return if status.success() {
                    Ok(())
                } else {
                    bail!("the server ended: {status}")
                };
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Stops the server and gives its ending.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        self.terminate()
    }

    fn terminate(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("the server has no process id")?, Signal::TERM)?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
        self.child.kill()?;
        let status = self.child.wait()?;
        bail!(
            "the server did not stop within {} s and was killed: {status}",
            STOP.as_secs()
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            eprintln!("demo: {error:#}");
        }
    }
}
