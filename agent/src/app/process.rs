//! The process of a package: started, started again when it ends by itself, and ended as a whole.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    endpoint::Endpoint,
    health::{self, Health},
    output::Output,
};
use crate::place::Name;

/// The hidden command of this program that becomes the program of a package.
pub(crate) const EXEC: &str = "exec-application";

/// The first pause before a process that has ended by itself is started again, and the longest; it doubles from one to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that has run for so long begins with the first pause again.
const RAN_WELL: Duration = Duration::from_secs(60);
/// So much later it is enough that it answers: who waits for it to be well has given up by then.
const BEYOND_READY: Duration = Duration::from_secs(1);
/// How often a process that begins is asked whether it is well.
const ASKED: Duration = Duration::from_millis(50);

/// All that a process is started with.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The program and its arguments.
    pub(super) words: Vec<OsString>,
    /// All of its environment, but for its listener.
    pub(super) environment: BTreeMap<String, OsString>,
    /// Its working folder.
    pub(super) folder: PathBuf,
    /// What is asked whether it is well, and by which name.
    pub(super) health: String,
    pub(super) name: Name,
    /// How long it may take until it is well for the first time; none where it has only to answer. Whether it is well decides about a switch
    /// and nothing else: a site whose database is away is not helped by a process that gets no requests.
    pub(super) ready: Option<Duration>,
    /// How long it has from SIGTERM to SIGKILL.
    pub(super) grace: Duration,
}

/// How a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// It was started; with what was said last to the question whether it is well, whether that was an answer of its own, and why it has
    /// ended before.
    Begins { pid: u32, said: Option<String>, unwell: bool, ended: Option<String> },
    /// It answers.
    Runs { pid: u32 },
    /// It has ended by itself, or could not be started, so many times in a row, and is started again at that time.
    Ended { why: String, times: u32, again: Instant },
    /// It was ended.
    Over,
}

/// A process that is kept running until it is ended. Dropping it kills all of it.
#[derive(Debug)]
pub(super) struct Supervised {
    state: watch::Receiver<ProcessState>,
    output: Output,
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// A process and all that it has started, as one group.
#[derive(Debug)]
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Supervised {
    /// Starts a process that listens at `endpoint`, whose handle says whether it runs.
    pub(super) fn start(launch: Launch, endpoint: Arc<Endpoint>) -> Self {
        let (states, state) = watch::channel(ProcessState::Begins { pid: 0, said: None, unwell: false, ended: None });
        let (end, ending) = watch::channel(false);
        let output = Output::default();
        let supervising = Supervising { launch, endpoint, states, output: output.clone(), ending };
        Self { state, output, end, task: tokio::spawn(supervising.run()) }
    }

    /// How it is doing now.
    pub(super) fn look(&mut self) -> ProcessState {
        self.state.borrow_and_update().clone()
    }

    /// Resolves when it is doing otherwise than at the last look.
    pub(super) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The last lines that it wrote.
    pub(super) fn lines(&self) -> Vec<String> {
        self.output.lines()
    }

    /// The process id of its first process, while it has one.
    pub(super) fn pid(&self) -> Option<u32> {
        match *self.state.borrow() {
            ProcessState::Begins { pid, .. } | ProcessState::Runs { pid } if pid != 0 => Some(pid),
            _ => None,
        }
    }

    /// Resolves once it is well for the first time.
    ///
    /// # Errors
    /// Why it is not, in words: it has ended, or is not well within `ready`.
    pub(super) async fn becomes_well(&self, ready: Duration) -> Result<(), String> {
        let mut state = self.state.clone();
        let settled = state.wait_for(|state| !matches!(state, ProcessState::Begins { .. }));
        let settled = timeout(ready, settled).await;
        match settled.map(|state| state.map(|state| state.clone())) {
            Ok(Ok(ProcessState::Runs { .. })) => Ok(()),
            Ok(Ok(ProcessState::Ended { why, .. })) => Err(why),
            Ok(_) => Err("it was ended".to_owned()),
            Err(_) => {
                let said = match &*self.state.borrow() {
                    ProcessState::Begins { said: Some(said), .. } => said.clone(),
                    _ => "it does not answer".to_owned(),
                };
                Err(format!("after {} s: {said}", ready.as_secs()))
            }
        }
    }

    /// Ends it: SIGTERM, and SIGKILL for what is left after its grace.
    pub(super) async fn end(mut self) {
        self.end.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The group is killed with the task's future.
        self.task.abort();
    }
}

/// What keeps a process running.
struct Supervising {
    launch: Launch,
    endpoint: Arc<Endpoint>,
    states: watch::Sender<ProcessState>,
    output: Output,
    ending: watch::Receiver<bool>,
}

impl Supervising {
    async fn run(mut self) {
        let mut times = 0;
        let mut ran = false;
        loop {
            let begun = Instant::now();
            let mut ran_well = false;
            let why = match self.spawn() {
                Err(error) => format!("it cannot be started: {error}"),
                Ok(mut group) => {
                    // One that has run has only to answer.
                    let ready = self.launch.ready.filter(|_| !ran);
                    let pid = group.pid();
                    let ended = tokio::select! {
                        ended = group.child.wait() => Some(ended),
                        () = self.serves(pid, ready) => None,
                    };
                    ran |= matches!(*self.states.borrow(), ProcessState::Runs { .. });
                    self.endpoint.handle.set_up(false);
                    match ended {
                        // What it has left behind is not left running.
                        Some(ended) => {
                            group.kill();
                            ran_well = begun.elapsed() >= RAN_WELL;
                            ended.map_or_else(|error| error.to_string(), describe)
                        }
                        None => {
                            group.end(self.launch.grace).await;
                            break;
                        }
                    }
                }
            };
            times = if ran_well { 1 } else { times + 1 };
            let again = Instant::now() + pause(times);
            tracing::warn!("the application has ended: {why}; it is started again in {} s", pause(times).as_secs());
            self.states.send_replace(ProcessState::Ended { why, times, again });
            tokio::select! {
                () = sleep_until(again) => {}
                () = is_to_end(&mut self.ending) => break,
            }
        }
        self.states.send_replace(ProcessState::Over);
    }

    /// Says that the process runs as soon as it is well, or `ready` is over and it answers; resolves once it is to end.
    async fn serves(&mut self, pid: u32, ready: Option<Duration>) {
        let ended = match &*self.states.borrow() {
            ProcessState::Ended { why, .. } => Some(why.clone()),
            _ => None,
        };
        self.states.send_replace(ProcessState::Begins { pid, said: None, unwell: false, ended: ended.clone() });
        let Self { launch, endpoint, states, ending, .. } = self;
        let (address, strict_until) =
            (endpoint.place.address(), ready.map(|ready| Instant::now() + ready + BEYOND_READY));
        let answers = async {
            loop {
                let strict = strict_until.is_some_and(|until| Instant::now() < until);
                let (said, unwell) = match health::ask(&address, &launch.health, &launch.name).await {
                    Ok(health) if health.is_well() => return,
                    Ok(Health { status, says }) if !strict => {
                        tracing::warn!(
                            "the application gets requests, though {} answers {status}: {says}",
                            launch.health
                        );
                        return;
                    }
                    Ok(Health { status, says }) => (format!("{} answers {status}: {says}", launch.health), true),
                    Err(said) => (said, false),
                };
                // The keeper is told that it is unwell, and hears the last answer when it looks.
                states.send_if_modified(|state| {
                    let is_news = unwell && matches!(state, ProcessState::Begins { unwell: false, .. });
                    *state = ProcessState::Begins { pid, said: Some(said), unwell, ended: ended.clone() };
                    is_news
                });
                sleep(ASKED).await;
            }
        };
        tokio::select! {
            () = answers => {}
            () = is_to_end(ending) => return,
        }
        endpoint.handle.set_up(true);
        states.send_replace(ProcessState::Runs { pid });
        is_to_end(ending).await;
    }

    fn spawn(&self) -> io::Result<Group> {
        // The program has to know its own process id, which only itself can: this program becomes it.
        let mut command = std::process::Command::new("/proc/self/exe");
        command.arg(EXEC).arg("--").args(&self.launch.words);
        command.env_clear().envs(&self.launch.environment).current_dir(&self.launch.folder);
        if let Some(listener) = self.endpoint.for_a_process()? {
            command.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "http");
            let mapped = vec![FdMapping { parent_fd: listener, child_fd: 3 }];
            command.fd_mappings(mapped).map_err(|error| io::Error::other(error.to_string()))?;
        }
        let mut command = Command::from(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(self.output.clone().take(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(self.output.clone().take(stderr));
        }
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Group { child, id })
    }
}

impl Group {
    fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    fn signal(&self, signal: Signal) {
        // One that has no process any more has nothing to be told.
        let _ = self.id.map(|id| kill_process_group(id, signal));
    }

    fn kill(&self) {
        self.signal(Signal::KILL);
    }

    async fn end(mut self, grace: Duration) {
        self.signal(Signal::TERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            tracing::warn!("the application does not end within {} s of SIGTERM, and is killed", grace.as_secs());
        }
        self.kill();
        let _ = self.child.wait().await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn is_to_end(ending: &mut watch::Receiver<bool>) {
    // One whose owner is gone is to end, too.
    let _ = ending.wait_for(|ending| *ending).await;
}

/// The pause after a process has ended so many times in a row.
fn pause(times: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

/// How a process has ended.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "its program was not found (exit code 127)".to_owned(),
        (Some(126), _) => "its program cannot be executed (exit code 126)".to_owned(),
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
    fn pause_doubles_to_a_minute() {
        let pauses: Vec<u64> = (1..10).map(|times| pause(times).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn end_of_a_process_is_told_in_words() {
        let told = |raw| describe(ExitStatus::from_raw(raw));
        assert_eq!(told(3 << 8), "exit code 3");
        assert_eq!(told(127 << 8), "its program was not found (exit code 127)");
        assert!(told(9).starts_with("signal ") && told(9).contains("KILL"), "{}", told(9));
    }
}
