//! A process and all that it has started, as a child of this one.

use std::{
    fmt, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::{
    process::Command,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    cgroup::Cgroup,
    output::Output,
    wire::{HowEnded, ProcessCommand},
};

/// The hidden command of this program that becomes the program of a package.
pub(crate) const EXEC: &str = "exec-application";
/// Its exit codes: of a shell for a program that is not there, and for one that cannot be executed; and for one that is not begun, as
/// the step before it failed.
pub(crate) const NOT_FOUND: u8 = 127;
pub(crate) const NOT_EXECUTABLE: u8 = 126;
pub(crate) const NOT_BEGUN: u8 = 125;

/// How often it is looked whether all of it has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long its last lines may take to be read once all of it has ended.
const LAST_LINES: Duration = Duration::from_millis(200);

/// What a process begins with open.
#[derive(Debug)]
pub(crate) enum Streams {
    /// A listener as descriptor 3, if there is one, by the protocol of `sd_listen_fds(3)`; its lines go to `output`.
    OfApplication {
        /// Where it listens.
        listener: Option<OwnedFd>,
        /// Where its lines go.
        output: Output,
    },
    /// Standard input, output and error.
    Passed([OwnedFd; 3]),
}

/// A process, the leader of a group of all that it starts. Dropping it kills all of it.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    cgroup: Option<Cgroup>,
    /// How many of it the kernel had killed for memory before.
    killed_before: u64,
    output: JoinSet<()>,
    /// How it ended, and until when its last lines are waited for.
    exited: Option<(HowEnded, Instant)>,
}

impl Child {
    /// Starts a process. With a control group it becomes a member of that; where it is to be `walled`, it is only begun while the wall
    /// stands.
    ///
    /// # Errors
    /// What the operating system says.
    pub(crate) fn start(
        of: &ProcessCommand,
        streams: Streams,
        cgroup: Option<&Cgroup>,
        walled: bool,
    ) -> io::Result<Child> {
        // The program has to know its own process id, which only itself can: this program becomes it.
        let mut command = std::process::Command::new("/proc/self/exe");
        command.arg(EXEC).arg("--parent").arg(std::process::id().to_string());
        if let Some(cgroup) = cgroup {
            command.arg("--cgroup").arg(cgroup.members());
        }
        if walled {
            command.arg("--walled");
        }
        command.arg("--").args(&of.words);
        command.env_clear().envs(&of.environment).envs(of.secrets.expose()).current_dir(&of.folder);
        let mut reading = JoinSet::new();
        let process = match streams {
            Streams::OfApplication { listener, output } => {
                if let Some(listener) = listener {
                    command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
                    let mapped = vec![FdMapping { parent_fd: listener, child_fd: 3 }];
                    command.fd_mappings(mapped).map_err(|error| io::Error::other(error.to_string()))?;
                }
                let mut command = Command::from(command);
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
                let mut process = command.spawn()?;
                if let Some(stdout) = process.stdout.take() {
                    reading.spawn(output.clone().take(stdout));
                }
                if let Some(stderr) = process.stderr.take() {
                    reading.spawn(output.take(stderr));
                }
                process
            }
            Streams::Passed([input, output, error]) => {
                let mut command = Command::from(command);
                command.stdin(input).stdout(output).stderr(error).process_group(0);
                command.spawn()?
            }
        };
        let group = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let killed_before = cgroup.map_or(0, Cgroup::killed_for_memory);
        Ok(Child { process, group, cgroup: cgroup.cloned(), killed_before, output: reading, exited: None })
    }

    /// The process id of its first process; 0 once that has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// Resolves once its first process has ended by itself, and all that it has left behind is killed; how it ended. It may be asked
    /// again where it was not waited for.
    pub(crate) async fn ended(&mut self) -> HowEnded {
        if self.exited.is_none() {
            let ended = self.process.wait().await;
            self.kill_all();
            let mut how = told(ended);
            let killed = self.cgroup.as_ref().map_or(0, Cgroup::killed_for_memory);
            if killed > self.killed_before {
                how.why = format!("it took more memory than it may, and was killed: {}", how.why);
            }
            self.exited = Some((how, Instant::now() + LAST_LINES));
        }
        let until = self.exited.as_ref().map_or_else(Instant::now, |(_, until)| *until);
        self.last_lines(until).await;
        self.exited.as_ref().map_or_else(|| HowEnded::said("it has ended"), |(how, _)| how.clone())
    }

    /// Ends it: SIGTERM to all of it, and SIGKILL to what is left after its grace.
    pub(crate) async fn end(mut self, grace: Duration) -> HowEnded {
        self.signal(Signal::TERM);
        let gone = async {
            let ended = self.process.wait().await;
            while !self.is_gone() {
                sleep(LOOK).await;
            }
            ended
        };
        let ended = timeout(grace, gone).await;
        self.kill_all();
        self.last_lines(Instant::now() + LAST_LINES).await;
        match ended {
            Ok(ended) => told(ended),
            Err(_) => {
                let _ = self.process.wait().await;
                let said = format!("it did not end within {} s of SIGTERM, and was killed", grace.as_secs());
                HowEnded::said(said)
            }
        }
    }

    /// Whether nothing of it is left, once its first process has ended.
    fn is_gone(&self) -> bool {
        match (&self.cgroup, self.group) {
            (Some(cgroup), _) => cgroup.is_empty(),
            (None, Some(group)) => test_kill_process_group(group).is_err(),
            (None, None) => true,
        }
    }

    fn signal(&self, signal: Signal) {
        // One that has no process any more has nothing to be told.
        let _ = self.group.map(|group| kill_process_group(group, signal));
    }

    /// Kills what is left of it. Its group may be another's from then on.
    fn kill_all(&mut self) {
        self.signal(Signal::KILL);
        self.group = None;
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }

    /// Waits until what it has written is read, so that its last words are there to be told.
    async fn last_lines(&mut self, until: Instant) {
        let read = async { while self.output.join_next().await.is_some() {} };
        // Another process may have its pipes: one that left its group.
        let _ = timeout_at(until, read).await;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.group.is_some() {
            self.kill_all();
        }
    }
}

fn told(ended: io::Result<ExitStatus>) -> HowEnded {
    match ended {
        Ok(status) => HowEnded { why: describe(status), code: status.code().and_then(|code| u8::try_from(code).ok()) },
        Err(error) => HowEnded::said(error.to_string()),
    }
}

/// How a process has ended.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code == i32::from(NOT_FOUND) => "its program was not found (exit code 127)".to_owned(),
        (Some(code), _) if code == i32::from(NOT_EXECUTABLE) => {
            "its program cannot be executed (exit code 126)".to_owned()
        }
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {}", SignalName(signal)),
        (None, None) => status.to_string(),
    }
}

/// A signal, by its name where people know it by that.
struct SignalName(i32);

impl fmt::Display for SignalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Signal::from_named_raw(self.0) {
            Some(signal) => write!(f, "{signal:?}"),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_process_is_told_in_words() {
        let told = |raw| describe(ExitStatus::from_raw(raw));
        assert_eq!(told(3 << 8), "exit code 3");
        assert_eq!(told(127 << 8), "its program was not found (exit code 127)");
        assert!(told(9).starts_with("signal ") && told(9).contains("KILL"), "{}", told(9));
    }
}
