//! The process of a package: started, started again when it ends by itself, and ended as a whole.

use std::{sync::Arc, time::Duration};

use spothost_server::{ApplicationAddress, Check, ProcessPlan};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    endpoint::{Endpoint, ListenPlace},
    environment::{environment, words},
    health::{self, Health},
    launcher::{Launcher, Running},
    secrets::LaunchSecrets,
};
use crate::{
    fault::Fault,
    place::Name,
    process::{
        output::Output,
        wire::{ProcessCommand, ProcessFolders},
    },
    secrets::SecretSet,
};

/// The first pause before a process that has ended by itself is started again, and the longest; it doubles from one to the other.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A process that has run for so long begins with the first pause again.
const RAN_WELL: Duration = Duration::from_secs(60);
/// So much later it is enough that it answers: who waits for it to be well has given up by then.
const BEYOND_READY: Duration = Duration::from_secs(1);
/// How long requests under way may take, at most, while others wait for a process that follows at the same listener.
pub(super) const DRAINED: Duration = Duration::from_secs(10);
/// How often a process that begins is asked whether it is well.
const ASKED: Duration = Duration::from_millis(50);

/// All that a process is started with, but for the folders that it has where it runs.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// What the package says of it.
    pub(super) plan: ProcessPlan,
    /// What `[gate]` of the package says of its answers.
    pub(super) checks: Arc<[Check]>,
    /// The name by which it is asked whether it is well.
    pub(super) name: Name,
    /// Its version, as it is told that.
    pub(super) version: String,
    /// How many processes of itself it is told to start.
    pub(super) processes: u32,
    /// What it gets of the secrets of the host.
    pub(super) secrets: LaunchSecrets,
    /// How long it may take until it is well for the first time; none where it has only to answer. Whether it is well decides about a switch
    /// and nothing else: a site whose database is away is not helped by a process that gets no requests.
    pub(super) ready: Option<Duration>,
}

impl Launch {
    /// The command of the process, without its secrets, where it has those folders and listens at that place, or at none.
    pub(super) fn command(&self, folders: &ProcessFolders, place: Option<&ListenPlace>) -> ProcessCommand {
        ProcessCommand {
            words: words(&self.plan, folders, place),
            environment: environment(self, folders, place),
            secrets: SecretSet::default(),
            seal: None,
            folder: folders.tree.clone().into(),
            listens: place.map(ListenPlace::name).unwrap_or_default(),
            // A part of a second is a whole one.
            grace: self.plan.grace.as_secs() + u64::from(self.plan.grace.subsec_nanos() > 0),
        }
    }

    /// Whether it answers as `[gate]` says, where that is asked for.
    async fn passes(&self, address: &ApplicationAddress, strict: bool) -> Result<(), String> {
        for check in self.checks.iter().filter(|_| strict) {
            health::holds(address, check, &self.name).await?;
        }
        Ok(())
    }
}

/// How a process is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// It was started; with what was said last to the question whether it is well, whether that was an answer of its own, and why it has
    /// ended before.
    Begins { pid: u32, said: Option<String>, unwell: bool, ended: Option<String> },
    /// It answers; whether it was well, too, when it began to get requests.
    Runs { pid: u32, well: bool },
    /// It has ended by itself, or could not be started, and is started again at that time.
    Ended { why: String, started: bool, again: Instant },
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

impl Supervised {
    /// Lets `launcher` start a process that listens at `endpoint`, whose handle says whether it runs.
    pub(super) fn start(launch: Launch, launcher: Arc<Launcher>, endpoint: Arc<Endpoint>) -> Self {
        let output = output(&launcher);
        Self::beginning(launch, launcher, endpoint, output, None)
    }

    /// The same of a process that `launcher` has started before, and that runs.
    pub(super) fn adopted(
        launch: Launch,
        launcher: Arc<Launcher>,
        endpoint: Arc<Endpoint>,
        output: Output,
        running: Running,
    ) -> Self {
        Self::beginning(launch, launcher, endpoint, output, Some(running))
    }

    fn beginning(
        launch: Launch,
        launcher: Arc<Launcher>,
        endpoint: Arc<Endpoint>,
        output: Output,
        running: Option<Running>,
    ) -> Self {
        let (states, state) = watch::channel(ProcessState::Begins { pid: 0, said: None, unwell: false, ended: None });
        let (end, ending) = watch::channel(false);
        let supervising = Supervising { launch, launcher, endpoint, states, output: output.clone(), ending };
        Self { state, output, end, task: tokio::spawn(supervising.run(running)) }
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
            ProcessState::Begins { pid, .. } | ProcessState::Runs { pid, .. } if pid != 0 => Some(pid),
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
    launcher: Arc<Launcher>,
    endpoint: Arc<Endpoint>,
    states: watch::Sender<ProcessState>,
    output: Output,
    ending: watch::Receiver<bool>,
}

impl Supervising {
    async fn run(mut self, mut adopted: Option<Running>) {
        let mut times = 0;
        let mut ran = adopted.is_some();
        loop {
            let mut ran_well = false;
            let begun_now = match adopted.take() {
                Some(running) => Ok(running),
                None => {
                    tokio::select! {
                        () = self.launch.secrets.become_known() => {}
                        () = is_to_end(&mut self.ending) => break,
                    }
                    self.begin().await
                }
            };
            let begun = Instant::now();
            let started = begun_now.is_ok();
            let why = match begun_now {
                Err(fault) => format!("it cannot be started: {fault}"),
                Ok(mut running) => {
                    // One that has run has only to answer.
                    let ready = self.launch.ready.filter(|_| !ran);
                    let pid = running.pid();
                    let ended = tokio::select! {
                        how = running.ended() => Some(how),
                        () = self.serves(pid, ready) => None,
                    };
                    ran |= matches!(*self.states.borrow(), ProcessState::Runs { .. });
                    self.endpoint.handle.set_up(false);
                    let Some(how) = ended else {
                        let how = running.end(self.launch.plan.grace).await;
                        tracing::info!("the application was ended: {}", how.why);
                        break;
                    };
                    if running.is_stopping() {
                        let _ = timeout(self.launch.plan.drain.min(DRAINED), self.endpoint.handle.idle()).await;
                        running.end(self.launch.plan.grace).await;
                    }
                    ran_well = begun.elapsed() >= RAN_WELL;
                    how.why
                }
            };
            times = if ran_well { 1 } else { times + 1 };
            let again = Instant::now() + pause(times);
            tracing::warn!("the application has ended: {why}; it is started again in {} s", pause(times).as_secs());
            self.states.send_replace(ProcessState::Ended { why, started, again });
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
        let address = endpoint.place.address();
        let strict_until = ready.map(|ready| Instant::now() + ready + BEYOND_READY);
        let answers = async {
            loop {
                let strict = strict_until.is_some_and(|until| Instant::now() < until);
                let (said, unwell) = match health::ask(&address, &launch.plan.health, &launch.name).await {
                    Ok(health) if health.is_well() => match launch.passes(&address, strict).await {
                        Ok(()) => return true,
                        Err(said) => (said, true),
                    },
                    Ok(Health { status, says }) if !strict => {
                        tracing::warn!(
                            "the application gets requests, though {} answers {status}: {says}",
                            launch.plan.health
                        );
                        return false;
                    }
                    Ok(Health { status, says }) => (format!("{} answers {status}: {says}", launch.plan.health), true),
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
        let well = tokio::select! {
            well = answers => well,
            () = is_to_end(ending) => return,
        };
        endpoint.handle.set_up(true);
        states.send_replace(ProcessState::Runs { pid, well });
        is_to_end(ending).await;
    }

    async fn begin(&self) -> Result<Running, Fault> {
        let Self { launch, launcher, endpoint, .. } = self;
        let folders = launcher.prepared().await?;
        let mut command = launch.command(&folders, Some(&endpoint.place));
        launch.secrets.put_into(&mut command);
        let listener = endpoint.for_a_process();
        let listener = listener.map_err(|error| Fault::retry("passing the application its listener", error))?;
        launcher.start(&command, listener, &self.output).await
    }
}

/// The last lines of a process. Those of a child go to the log of this program; those of a runner are in the log of its unit.
fn output(launcher: &Launcher) -> Output {
    match launcher {
        Launcher::Child(_) => Output::new(|line| tracing::info!("app | {line}")),
        Launcher::Runner(_) => Output::new(|_| ()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_doubles_to_a_minute() {
        let pauses: Vec<u64> = (1..10).map(|times| pause(times).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }
}
