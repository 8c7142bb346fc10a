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
    supervision::{Admission, HealthAnswer, Supervision},
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
    /// Number of processes that the application is told to start.
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

    /// Whether it answers as `[gate]` says.
    async fn passes_gate(&self, address: &ApplicationAddress) -> Result<(), String> {
        for check in self.checks.iter() {
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

    /// Whether it gets requests.
    pub(super) fn runs(&self) -> bool {
        matches!(*self.state.borrow(), ProcessState::Runs { .. })
    }

    /// Ends it: SIGTERM, and SIGKILL for what is left after its grace. Where this is dropped, it goes on ending.
    pub(super) async fn end(&mut self) {
        self.end.send_replace(true);
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
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
        let mut supervision = Supervision::new(self.launch.ready, adopted.is_some(), Instant::now());
        loop {
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
            supervision.begins(Instant::now());
            let started = begun_now.is_ok();
            let why = match begun_now {
                Err(fault) => format!("it cannot be started: {fault}"),
                Ok(mut running) => {
                    let pid = running.pid();
                    let ended = tokio::select! {
                        how = running.ended() => Some(how),
                        () = self.serves(pid, &mut supervision) => None,
                    };
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
                    how.why
                }
            };
            let pause = supervision.ended(started, Instant::now());
            let again = Instant::now() + pause;
            tracing::warn!("the application has ended: {why}; it is started again in {} s", pause.as_secs());
            self.states.send_replace(ProcessState::Ended { why, started, again });
            tokio::select! {
                () = sleep_until(again) => {}
                () = is_to_end(&mut self.ending) => break,
            }
        }
        self.states.send_replace(ProcessState::Over);
    }

    /// Says that the process runs as soon as it is well, or it answers and need not be; resolves once it is to end.
    async fn serves(&mut self, pid: u32, supervision: &mut Supervision) {
        let ended = match &*self.states.borrow() {
            ProcessState::Ended { why, .. } => Some(why.clone()),
            _ => None,
        };
        self.states.send_replace(ProcessState::Begins { pid, said: None, unwell: false, ended: ended.clone() });
        let Self { launch, endpoint, states, ending, .. } = self;
        let address = endpoint.place.address();
        let answers = async {
            loop {
                let asked = health::ask(&address, &launch.plan.health, &launch.name).await;
                let (answer, said) = match asked {
                    Ok(health) if health.is_well() => (HealthAnswer::Well, String::new()),
                    Ok(Health { status, says }) => {
                        (HealthAnswer::Unwell, format!("{} answers {status}: {says}", launch.plan.health))
                    }
                    Err(said) => (HealthAnswer::None, said),
                };
                let said = match supervision.answered(answer, !launch.checks.is_empty(), Instant::now()) {
                    Admission::Serve { well, if_gated } => {
                        if answer == HealthAnswer::Unwell {
                            tracing::warn!("the application gets requests, though {said}");
                        }
                        return (well, if_gated);
                    }
                    Admission::IfGated => match launch.passes_gate(&address).await {
                        Ok(()) => return (true, false),
                        Err(said) => said,
                    },
                    Admission::Wait => said,
                };
                // The keeper is told that it is unwell, and hears the last answer when it looks.
                let unwell = answer != HealthAnswer::None;
                states.send_if_modified(|state| {
                    let is_news = unwell && matches!(state, ProcessState::Begins { unwell: false, .. });
                    *state = ProcessState::Begins { pid, said: Some(said), unwell, ended: ended.clone() };
                    is_news
                });
                sleep(ASKED).await;
            }
        };
        let (well, if_gated) = tokio::select! {
            served = answers => served,
            () = is_to_end(ending) => return,
        };
        supervision.serves(well);
        endpoint.handle.set_up(true);
        states.send_replace(ProcessState::Runs { pid, well });
        if if_gated {
            let gated = tokio::select! {
                gated = launch.passes_gate(&address) => gated,
                () = is_to_end(ending) => return,
            };
            if gated.is_ok() {
                supervision.serves(true);
                states.send_replace(ProcessState::Runs { pid, well: true });
            }
        }
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
