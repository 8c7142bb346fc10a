//! The built program, running.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tokio::process::Child;

use crate::{Sockets, command, eventually, eventually_some};

/// How long an agent that was asked to end may take before a test calls that a fault.
const LONGEST_END: Duration = Duration::from_secs(60);

/// A running `spothost`; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    process: Child,
    pid: Pid,
    log: PathBuf,
    output: PathBuf,
    status: PathBuf,
}

impl Agent {
    /// Starts the program with `arguments` in `environment` and nothing else; `folder` takes what it says.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(arguments: &[&str], environment: &[(String, String)], folder: &Path) -> Agent {
        Agent::start_on(None, arguments, environment, folder)
    }

    /// The same with `sockets` passed on to it.
    pub(crate) fn start_on(
        sockets: Option<&Sockets>,
        arguments: &[&str],
        environment: &[(String, String)],
        folder: &Path,
    ) -> Agent {
        let file = |path: &Path| Stdio::from(File::options().create(true).append(true).open(path).expect("a file"));
        let log = folder.join("log");
        let output = folder.join("output");
        let mut program = command::clean(environment);
        program.args(arguments);
        if let Some(sockets) = sockets {
            program = sockets.passed_to(&program);
        }
        let process = program
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&log))
            .kill_on_drop(true)
            .spawn()
            .expect("the built program starts");
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).expect("a running process has an id");
        let runtime =
            environment.iter().find(|(name, _)| name == "RUNTIME_DIRECTORY").map(|(_, path)| PathBuf::from(path));
        let status = runtime.unwrap_or_else(|| folder.join("run")).join("status.json");
        Agent { process, pid: Pid::from_raw(pid), log, output, status }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Everything it has logged, and the agents before it on the same disk.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Everything it has printed, likewise.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Its status file as it is now; `null` before there is one, or while it is another agent's.
    pub fn status(&self) -> Value {
        let text = fs::read(&self.status).unwrap_or_default();
        let status: Value = serde_json::from_slice(&text).unwrap_or_default();
        let pid = status["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        if pid.is_some_and(|pid| pid == self.pid() || parent(pid) == Some(self.pid())) { status } else { Value::Null }
    }

    /// The id of the process that serves: its own, or that of the one it supervises.
    pub fn serving_pid(&self) -> Option<i32> {
        self.status()["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
    }

    /// What its status says about one part, such as `package`.
    pub fn part(&self, name: &str) -> Value {
        let status = self.status();
        let parts = status["parts"].as_array().cloned().unwrap_or_default();
        parts.into_iter().find(|part| part["part"] == name).unwrap_or_default()
    }

    /// Waits for a condition on this agent.
    ///
    /// # Panics
    /// When it does not hold within `limit`, or the agent ends before; the message has its last log lines.
    pub async fn wait_for(&mut self, what: &str, limit: Duration, mut holds: impl AsyncFnMut(&Agent) -> bool) {
        let begun = std::time::Instant::now();
        while !holds(self).await {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("{what}: the agent ended with {status} before\n{}", self.last_lines());
            }
            assert!(begun.elapsed() < limit, "{what}: not within {limit:?}\n{}", self.last_lines());
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until its status says that the part is in that phase, such as `kept`.
    pub async fn wait_for_phase(&mut self, part: &str, phase: &str, limit: Duration) {
        self.wait_for(&format!("{part} {phase}"), limit, async |agent| agent.part(part)["phase"] == phase).await;
    }

    /// Waits until every part of it is as it should be.
    pub async fn wait_until_serving(&mut self, limit: Duration) {
        self.wait_for("serving", limit, async |agent| agent.status()["phase"] == "serving").await;
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid, signal).expect("it is still there");
    }

    /// Asks it to end (SIGTERM) and waits for that; its exit code.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended(LONGEST_END).await
    }

    /// Ends it without asking (SIGKILL).
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Waits for its end by itself; its exit code, none when a signal ended it.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub async fn ended(mut self, limit: Duration) -> Option<i32> {
        match tokio::time::timeout(limit, self.process.wait()).await {
            Ok(status) => status.expect("a child can be waited for").code(),
            Err(_) => panic!("the agent did not end within {limit:?}\n{}", self.last_lines()),
        }
    }

    /// Its resident memory in KiB, as the kernel counts it.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
    }

    /// The last lines of its log, for messages.
    pub fn last_lines(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until its log has a line with that text.
    pub async fn wait_for_line(&self, text: &str, limit: Duration) {
        eventually(&format!("a log line with `{text}`"), limit, async || self.log().contains(text)).await;
    }

    /// Waits until it has printed a line with that text, and returns the line.
    pub async fn printed_line(&self, text: &str, limit: Duration) -> String {
        let what = format!("an output line with `{text}`");
        eventually_some(&what, limit, async || {
            self.output().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
        .await
    }
}

/// The process that started that one, if it is there.
fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
