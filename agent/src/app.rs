//! Keeper: the process that a package brings runs, and answers, before the package is served.
//!
//! It stands between the package and the listener. A package without a process passes at once, and so does the first one with a process:
//! its files are served while that begins. Any other passes when its process is well, so that files and application change in one. The new process starts beside the old one, which gets no more requests from the
//! switch on and ends after its last one; where memory does not allow two, requests wait while one follows the other at the same
//! listener. A new process that is not well changes nothing: the old one goes on, or is started again.
//!
//! ```text
//! package ──► unpacked (tree) ──► process begins (process) ──► it is well (health) ──► listener ──► the old one ends
//! ```

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use spothost_server::{ListenMode, ProcessPlan};
use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    config::App,
    documents::layout,
    fault::{Cure, Fault},
    folders::Folders,
    keeper::{Judgement, Keeper, Kept, Pace},
    package::Package,
    place::{Name, SecretsPlace},
    process::{output::Output, unpack_site, wire::ProcessFolders},
    secrets::SecretSet,
    status::Part,
};

mod adoption;
mod endpoint;
mod environment;
mod health;
mod judgement;
mod launcher;
#[cfg(test)]
mod model;
mod once;
mod secrets;
mod supervised;
mod supervision;
mod swap;

pub use adoption::Adoption;
pub use once::run_once;
pub use secrets::{ReadSecrets, Secrets, examined};

use endpoint::Endpoint;
use judgement::{Call, Look, ProcessVerdict, pause_after};
use launcher::{Launcher, RunnerClient, RunnerPlace, Running};
use secrets::{LaunchSecrets, Standing};
use supervised::{DRAINED, Launch, Supervised};
use swap::{HeldProcess, SwapOrigin, SwapOutcome, SwapRun, SwapStep, Wanted};

/// How often it is looked how the process is doing, beside when something changes.
const LOOK: Duration = Duration::from_secs(60);
/// The servers need a moment until they serve what is held.
const LEAST_DRAIN: Duration = Duration::from_secs(1);
/// What a fault says was being done.
const DOING: &str = "running the application";
/// How many of the last lines of a process a fault tells.
const TOLD: usize = 10;

/// Whether a program leaves its processes to others: they go on when it ends its part.
type Left = Arc<AtomicBool>;

/// Keeper of the process of the package.
pub struct Applications {
    name: Name,
    /// Where programs are unpacked.
    trees: PathBuf,
    /// Where sockets and the homes of processes are; gone with the host.
    runtime: PathBuf,
    /// How the host runs applications; none where they are children of this program.
    app: Option<App>,
    packages: Kept<Package>,
    /// What packages need and do not have, and where it lies; none where the host says nowhere.
    secrets: Option<(SecretsPlace, Kept<ReadSecrets>)>,
    /// Whether the servers have drained.
    drained: watch::Receiver<bool>,
    /// Whether this program leaves its processes to others.
    left: Left,
    held: Option<Package>,
    running: Option<RunningApplication>,
    /// The swap that is under way, or was cut off.
    swapping: Option<Swapping>,
    failed: Option<FailedSwap>,
    /// Processes that are about to end.
    ending: JoinSet<()>,
}

/// The process of a package that is held.
struct RunningApplication {
    endpoint: Arc<Endpoint>,
    launcher: Arc<Launcher>,
    launch: Launch,
    supervised: Supervised,
    /// When its first process began.
    since: Instant,
    /// Whether a swap had ended it, and brought it back.
    came_back: bool,
}

/// A swap, and what has been made for it.
struct Swapping {
    package: Package,
    run: SwapRun,
    /// How the new process is started, and who starts it.
    launched: Option<(Launch, Arc<Launcher>)>,
    /// The new process.
    new: Option<RunningApplication>,
}

/// A package whose process was not well.
struct FailedSwap {
    package: Package,
    fault: Fault,
    times: usize,
    again: Instant,
}

/// A look at the process.
pub enum ApplicationObservation {
    /// There is no package.
    Nothing,
    /// The package is held; what its process lacks, if it lacks something.
    Held(Package, Option<Fault>),
    /// The package was tried, and is not tried again yet; or it is not tried before the process that is held is back.
    Failed(Fault),
    /// Another package is to be held.
    Behind(Package),
}

impl RunningApplication {
    /// Starts its process at `endpoint`.
    fn start(launch: Launch, launcher: Arc<Launcher>, endpoint: Arc<Endpoint>) -> RunningApplication {
        let supervised = Supervised::start(launch.clone(), launcher.clone(), endpoint.clone());
        RunningApplication { endpoint, launcher, launch, supervised, since: Instant::now(), came_back: false }
    }

    /// The same of a process that runs.
    fn adopted(
        launch: Launch,
        launcher: Arc<Launcher>,
        endpoint: Arc<Endpoint>,
        output: Output,
        running: Running,
    ) -> RunningApplication {
        let supervised = Supervised::adopted(launch.clone(), launcher.clone(), endpoint.clone(), output, running);
        RunningApplication { endpoint, launcher, launch, supervised, since: Instant::now(), came_back: false }
    }

    fn plan(&self) -> &ProcessPlan {
        &self.launch.plan
    }

    /// Until when it may take to be well for the first time.
    fn begins_until(&self) -> Instant {
        self.since + self.plan().ready
    }

    /// Whether a swap has brought it back, and it does not run yet.
    fn comes_back(&self) -> bool {
        self.came_back && !self.supervised.runs()
    }

    fn may_begin(&self) -> bool {
        Instant::now() <= self.begins_until()
    }
}

impl Applications {
    /// Keeps the process of what `packages` has, for the site of that name, as `app` says, or as a child of this program. It ends
    /// once the servers have `drained`.
    pub fn new(
        name: Name,
        app: Option<App>,
        folders: &Folders,
        packages: Kept<Package>,
        drained: watch::Receiver<bool>,
    ) -> Applications {
        Applications {
            name,
            app,
            left: Arc::default(),
            trees: folders.state.join(layout::APPLICATION_FOLDER),
            runtime: application_folder(folders),
            packages,
            secrets: None,
            drained,
            held: None,
            running: None,
            swapping: None,
            failed: None,
            ending: JoinSet::new(),
        }
    }

    /// The same, with what lies at `place` as it is read.
    #[must_use]
    pub fn with_secrets(self, place: SecretsPlace, secrets: Kept<ReadSecrets>) -> Applications {
        Applications { secrets: Some((place, secrets)), ..self }
    }

    /// The same, with what goes on of a program before this one.
    #[must_use]
    pub fn adopting(self, adoption: Adoption) -> Applications {
        let Adoption { adopted, left } = adoption;
        let (held, running) = adopted.unzip();
        Applications { held, running, left, ..self }
    }

    fn holds(&self, package: &Package) -> bool {
        let same = self.held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.site, &package.site));
        same && self.swapping.is_none() && self.running.is_some() == package.site.process().is_some()
    }

    /// The secrets that `plan` needs.
    ///
    /// # Errors
    /// Which of them are missing, or not read yet.
    fn needed(&self, plan: &ProcessPlan) -> Result<SecretSet, Fault> {
        if plan.needs.is_empty() {
            return Ok(SecretSet::default());
        }
        let Some((place, secrets)) = &self.secrets else { return Err(missing(None, plan.needs.iter())) };
        match &*secrets.borrow() {
            Some(read) => read.set.only(&plan.needs).map_err(|names| missing(Some(place), names.iter())),
            None => {
                Err(Fault::retry(DOING, format!("it waits for {}: {place} is not read yet", named(plan.needs.iter()))))
            }
        }
    }

    /// Compares the secrets of the process that runs, or is to, with those of now: whether it has others. One that waits for them gets them.
    /// The fault that they are missing.
    fn settle(&mut self) -> (bool, Option<Fault>) {
        let Some(plan) = self.running.as_ref().map(|running| running.plan().clone()) else { return (false, None) };
        let needed = self.needed(&plan);
        let Some(running) = self.running.as_mut() else { return (false, None) };
        let handle = &running.endpoint.handle;
        match needed {
            Ok(now) => {
                let standing = running.launch.secrets.settle(&now);
                handle.set_absent(false);
                if standing == Standing::Waits {
                    running.since = Instant::now();
                }
                (standing == Standing::Stale, None)
            }
            Err(fault) if running.launch.secrets.are_unknown() && running.supervised.pid().is_none() => {
                // Requests wait for what may be there in a moment.
                let is_known = fault.cure == Cure::Operator;
                handle.set_absent(is_known || !running.may_begin());
                (false, Some(fault))
            }
            // One that runs goes on. That its secrets are not read is told where they are read.
            Err(fault) => {
                handle.set_absent(false);
                (false, Some(fault).filter(|fault| fault.cure == Cure::Operator))
            }
        }
    }

    /// What the process lacks, if more than the time to begin. The package hears how its trial goes.
    fn lacking(&mut self) -> Option<Fault> {
        let running = self.running.as_mut()?;
        let may_begin = running.may_begin();
        let trial = self.held.as_ref().map(|held| &held.trial);
        match running.supervised.look().verdict(may_begin) {
            ProcessVerdict::Well => {
                if let Some(trial) = trial {
                    trial.pass();
                }
                None
            }
            ProcessVerdict::Runs | ProcessVerdict::Begins => None,
            ProcessVerdict::Lacks { said, was_tried } => {
                let fault = unwell(&said, &running.supervised);
                if let Some(trial) = trial.filter(|_| was_tried) {
                    trial.fail(&fault.said);
                }
                Some(fault)
            }
        }
    }

    /// Serves `package` with its process, if it has one, or leaves all as it is.
    async fn swap(&mut self, package: Package) -> Result<(), Fault> {
        self.unwind().await;
        if self.running.as_ref().is_some_and(|running| running.comes_back() && running.may_begin()) {
            return Err(coming_back());
        }
        let (is_stale, _) = self.settle();
        if self.holds(&package) && !is_stale {
            return Ok(());
        }
        let plan = package.site.process();
        if self.app.is_some() && plan.is_some_and(|plan| plan.listen == ListenMode::Socket) {
            return Err(Fault::operator(
                DOING,
                "on a host it cannot make its socket itself, as it has folders of its own",
                "write `listen = \"fd\"` or `listen = \"port\"` into [app] of site.toml",
            ));
        }
        let run = SwapRun::new(self.origin(), self.wanted(&package, is_stale));
        self.swapping = Some(Swapping { package, run, launched: None, new: None });
        self.finish_swap().await
    }

    fn origin(&self) -> SwapOrigin {
        let process = match (&self.running, &self.held) {
            (Some(running), _) => {
                HeldProcess::Kept { listen: running.plan().listen, has_pid: running.supervised.pid().is_some() }
            }
            (None, Some(held)) => match held.site.process() {
                Some(plan) => HeldProcess::Lost { listen: plan.listen },
                None => HeldProcess::None,
            },
            (None, None) => HeldProcess::None,
        };
        SwapOrigin { serves: self.held.is_some(), process }
    }

    /// What a swap to `package` is to come to, where the process that runs `is_stale`, as it has other secrets than those of now.
    fn wanted(&self, package: &Package, is_stale: bool) -> Wanted {
        let Some(plan) = package.site.process() else { return Wanted::Files };
        let is_held = self.held.as_ref().is_some_and(|held| held.release.is(&package.release));
        let runs_so = self.running.as_ref().is_none_or(|running| running.plan() == plan);
        if is_held && runs_so && !is_stale {
            return Wanted::Same;
        }
        Wanted::Process { listen: plan.listen, swap: plan.swap }
    }

    /// Gives up a swap that was cut off: the package that is held has its process again.
    async fn unwind(&mut self) {
        if let Some(swapping) = &mut self.swapping {
            swapping.run.cut_off();
            if let Err(fault) = self.finish_swap().await {
                tracing::warn!(%fault, "the process of before goes on");
            }
        }
    }

    /// Carries out the steps that are left of a swap. All that it changes lies in this keeper, whenever this is dropped.
    async fn finish_swap(&mut self) -> Result<(), Fault> {
        while let Some(step) = self.swapping.as_ref().and_then(|swapping| swapping.run.next()) {
            let outcome = match step {
                SwapStep::Measure => SwapOutcome::Measured(self.allows_another().await),
                _ => self.carry_out(step).await.map_or_else(SwapOutcome::Failed, |()| SwapOutcome::Done),
            };
            if let Some(swapping) = &mut self.swapping {
                swapping.run.came(outcome);
            }
        }
        self.swapping.take().map_or(Ok(()), |swapping| swapping.run.ended())
    }

    async fn allows_another(&self) -> bool {
        let Some(running) = &self.running else { return true };
        match running.supervised.pid() {
            Some(leader) => running.launcher.allows_another(leader).await,
            None => true,
        }
    }

    async fn carry_out(&mut self, step: SwapStep) -> Result<(), Fault> {
        match step {
            SwapStep::Adopt => {
                let running = self.running.take();
                if let Some(swapping) = &self.swapping {
                    self.succeed(swapping.package.clone(), running);
                }
            }
            SwapStep::Restore => self.restore().await?,
            SwapStep::Measure => {}
            SwapStep::Prepare => self.prepare().await?,
            SwapStep::StartBeside | SwapStep::StartInPlace => self.start(step == SwapStep::StartInPlace)?,
            SwapStep::Drain => {
                if let Some(old) = &self.running {
                    old.endpoint.handle.set_up(false);
                    old.endpoint.handle.end_streams();
                    let _ = timeout(old.plan().drain.min(DRAINED), old.endpoint.handle.idle()).await;
                }
            }
            SwapStep::EndOld => {
                if let Some(old) = &mut self.running {
                    old.supervised.end().await;
                }
            }
            SwapStep::Await => {
                if let Some(Swapping { new: Some(new), .. }) = &self.swapping
                    && let Err(said) = new.supervised.becomes_well(new.plan().ready).await
                {
                    return Err(unwell(&said, &new.supervised));
                }
            }
            SwapStep::Switch { in_place } => self.switch(in_place),
            SwapStep::EndNew => {
                if let Some(swapping) = &mut self.swapping {
                    if let Some(new) = &mut swapping.new {
                        new.supervised.end().await;
                    }
                    swapping.new = None;
                }
            }
            SwapStep::Resume => {
                if let Some(old) = &self.running
                    && old.supervised.runs()
                {
                    old.endpoint.handle.set_up(true);
                }
            }
            SwapStep::BringBack => {
                if let Some(RunningApplication { endpoint, launcher, launch, .. }) = self.running.take() {
                    let launch = Launch { ready: None, ..launch };
                    let again = RunningApplication::start(launch, launcher, endpoint);
                    self.running = Some(RunningApplication { came_back: true, ..again });
                }
            }
        }
        Ok(())
    }

    /// Starts the process of the held package again.
    async fn restore(&mut self) -> Result<(), Fault> {
        let Some(held) = self.held.clone() else { return Ok(()) };
        let Some(plan) = held.site.process().cloned() else { return Ok(()) };
        let launcher = self.launcher(&held).await?;
        launcher.prepared().await?;
        let endpoint = self.endpoint(plan.listen)?;
        let secrets = self.needed(&plan).map_or_else(|_| LaunchSecrets::to_come(), LaunchSecrets::known);
        let launch = Launch { ready: None, ..self.launch(&held, plan, secrets) };
        self.succeed(held, Some(RunningApplication::start(launch, launcher, endpoint)));
        Ok(())
    }

    /// Unpacks the program of the package that is swapped in.
    async fn prepare(&mut self) -> Result<(), Fault> {
        let Some(package) = self.swapping.as_ref().map(|swapping| swapping.package.clone()) else { return Ok(()) };
        let Some(plan) = package.site.process().cloned() else { return Ok(()) };
        let secrets = match self.needed(&plan) {
            Ok(secrets) => LaunchSecrets::known(secrets),
            // What runs is not given up for what cannot be started.
            Err(fault) if self.held.is_some() => return Err(fault),
            Err(_) => LaunchSecrets::to_come(),
        };
        let launcher = self.launcher(&package).await?;
        // Where nothing is served before, the files are, whatever keeps the program from being unpacked.
        if self.held.is_some() {
            launcher.prepared().await?;
        }
        let launch = self.launch(&package, plan, secrets);
        if let Some(swapping) = &mut self.swapping {
            swapping.launched = Some((launch, launcher));
        }
        Ok(())
    }

    /// Starts the process of the package that is swapped in, at the listener of the old one or at one of its own.
    fn start(&mut self, in_place: bool) -> Result<(), Fault> {
        let Some((launch, launcher)) = self.swapping.as_mut().and_then(|swapping| swapping.launched.take()) else {
            return Ok(());
        };
        let endpoint = match &self.running {
            Some(old) if in_place => old.endpoint.clone(),
            _ => self.endpoint(launch.plan.listen)?,
        };
        if let Some(swapping) = &mut self.swapping {
            swapping.new = Some(RunningApplication::start(launch, launcher, endpoint));
        }
        Ok(())
    }

    /// Serves the package that is swapped in.
    fn switch(&mut self, in_place: bool) {
        let Some(swapping) = &mut self.swapping else { return };
        let (package, new) = (swapping.package.clone(), swapping.new.take());
        if in_place {
            // It has ended, and its listener is the new one's.
            self.running = None;
        }
        self.succeed(package, new);
    }

    /// Holds `package` from now on. A process that ran before ends after its last request.
    fn succeed(&mut self, package: Package, running: Option<RunningApplication>) {
        let held = match &running {
            Some(running) => package.with_application(running.endpoint.handle.application()),
            None => package,
        };
        self.held = Some(held);
        self.failed = None;
        if let Some(old) = std::mem::replace(&mut self.running, running) {
            if let Some(new) = &self.running {
                old.endpoint.handle.followed_by(&new.endpoint.handle);
            }
            self.ending.spawn(async move {
                let mut old = old;
                let handle = &old.endpoint.handle;
                let gone = async {
                    // Requests under way keep it from being released, event streams for ever.
                    let _ = timeout(LEAST_DRAIN, handle.released()).await;
                    handle.end_streams();
                    handle.released().await;
                    // Those that were opened at the moment of the switch.
                    handle.end_streams();
                    handle.idle().await;
                };
                let _ = timeout(old.plan().drain.max(LEAST_DRAIN), gone).await;
                old.supervised.end().await;
            });
        }
        while self.ending.try_join_next().is_some() {}
    }

    fn failed(&mut self, package: Package, fault: Fault) {
        let times = self.failed.take().filter(|failed| failed.package == package).map_or(0, |failed| failed.times);
        self.failed = Some(FailedSwap { package, fault, times: times + 1, again: Instant::now() + pause_after(times) });
    }

    /// The folder for sockets, which no other account may enter.
    fn folder(&self) -> Result<PathBuf, Fault> {
        made(&self.runtime).map_err(|error| Fault::retry(format!("making {}", self.runtime.display()), error))?;
        Ok(self.runtime.clone())
    }

    /// A place to listen at.
    fn endpoint(&self, mode: ListenMode) -> Result<Arc<Endpoint>, Fault> {
        let endpoint = Endpoint::in_folder(&self.folder()?, mode);
        let endpoint = endpoint.map_err(|error| Fault::retry("making a listener for the application", error))?;
        // A process at a runner may outlive this program.
        let endpoint = if self.app.is_some() { endpoint.kept(self.left.clone()) } else { endpoint };
        Ok(Arc::new(endpoint))
    }

    /// Who starts the process of `package`; its program is unpacked.
    async fn launcher(&self, package: &Package) -> Result<Arc<Launcher>, Fault> {
        let launcher = match &self.app {
            Some(app) => {
                let file = package.site.package_file();
                let file = file.map_err(|error| Fault::retry("passing the package on to the runner", error))?;
                Launcher::Runner(RunnerClient::new(app.place(), file, self.left.clone()))
            }
            None => Launcher::Child(self.folders(&self.unpacked(package).await?)?),
        };
        Ok(Arc::new(launcher))
    }

    /// The folder with what the package has below `.app/`.
    async fn unpacked(&self, package: &Package) -> Result<PathBuf, Fault> {
        let site = package.site.clone();
        let trees = self.trees.clone();
        let before = self.held.as_ref().filter(|_| self.running.is_some()).map(|held| held.site.clone());
        let unpack = move || {
            // Asked for once more, so that it is not among those that are removed.
            if let Some(before) = before {
                unpack_site(&before, &trees)?;
            }
            unpack_site(&site, &trees)
        };
        let unpacked = spawn_blocking(unpack).await;
        unpacked.unwrap_or_else(|panic| Err(Fault::retry("unpacking the application", panic)))
    }

    /// The folders of a process that is a child of this program.
    fn folders(&self, tree: &Path) -> Result<ProcessFolders, Fault> {
        let home = self.runtime.join("home");
        let temporary = self.runtime.join("tmp");
        for folder in [&home, &temporary] {
            let made = fs::create_dir_all(folder);
            made.map_err(|error| Fault::retry(format!("making {}", folder.display()), error))?;
        }
        let text = |path: &Path| {
            let said =
                || Fault::operator(path.display().to_string(), "its name is not UTF-8", "choose another --state-dir");
            path.to_str().map(str::to_owned).ok_or_else(said)
        };
        Ok(ProcessFolders { tree: text(tree)?, home: text(&home)?, temporary: text(&temporary)? })
    }

    fn launch(&self, package: &Package, plan: ProcessPlan, secrets: LaunchSecrets) -> Launch {
        launch_of(&self.name, self.app.as_ref(), package, plan, secrets)
    }
}

/// How the process of `package` is started.
fn launch_of(name: &Name, app: Option<&App>, package: &Package, plan: ProcessPlan, secrets: LaunchSecrets) -> Launch {
    Launch {
        secrets,
        checks: package.site.application_checks().into(),
        name: name.clone(),
        version: version(package).to_owned(),
        processes: app.map_or(1, |app| app.processes),
        ready: Some(plan.ready),
        plan,
    }
}

/// Makes that folder, which no other account may enter.
fn made(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

/// The folder for the sockets of processes.
fn application_folder(folders: &Folders) -> PathBuf {
    folders.runtime.join(layout::APPLICATION_FOLDER)
}

impl App {
    /// Where runners are reached.
    fn place(&self) -> RunnerPlace {
        RunnerPlace { socket: self.socket.clone(), memory: self.memory }
    }
}

/// The name of a version, as its process is told it.
fn version(package: &Package) -> &str {
    package.release.etag.trim_matches('"')
}

/// The fault of secrets that are needed, and that `place` does not have, or that have no place.
fn missing<'a>(place: Option<&SecretsPlace>, names: impl Iterator<Item = &'a String> + Clone) -> Fault {
    let said = format!("it waits for {}", named(names.clone()));
    let first = names.clone().next().map_or("NAME", String::as_str);
    let (why, cure) = match place {
        None => (
            "the configuration of this host names no secrets".to_owned(),
            "write `secrets = \"NAME\"` into [app] of spothost.toml, NAME being a secret of Secrets Manager with a JSON object".to_owned(),
        ),
        Some(SecretsPlace::Secret(id)) => (
            format!("secret {id} does not have it"),
            format!(
                "add it to the JSON object: aws secretsmanager put-secret-value --secret-id {id} --secret-string file://secrets.json; or \
                 take it out of `needs` in site.toml"
            ),
        ),
        Some(place @ SecretsPlace::Environment(_)) => (
            format!("{place} does not have it"),
            format!("start again as {first}=… spothost up PATH, or write {first}=… into a file and say --env-file FILE"),
        ),
    };
    Fault::operator(DOING, format!("{said}: {why}"), cure)
}

fn named<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    match names.as_slice() {
        [name] => format!("secret {name}"),
        names => format!("secrets {}", names.join(", ")),
    }
}

/// The fault of a swap that waits until a swap before it is undone.
fn coming_back() -> Fault {
    Fault::retry("swapping the application", "the process of before is coming back first")
}

/// The fault of a process that is not well, with its last words.
fn unwell(said: &str, supervised: &Supervised) -> Fault {
    let lines = supervised.lines();
    let last = lines[lines.len().saturating_sub(TOLD)..].join(" | ");
    let said = if last.is_empty() { said.to_owned() } else { format!("{said}; its last lines: {last}") };
    Fault::operator(DOING, said, "read its lines in the log, and mend the application or its settings")
}

impl Keeper for Applications {
    type Observation = ApplicationObservation;
    type Drift = Package;
    type Held = Package;
    const PART: Part = Part::Application;
    const NEEDS: &'static [Part] = &[Part::Package];
    // What a process does is seen where it runs.
    const CHECKED: bool = false;
    const DEPARTS_WITHIN: Duration = Duration::from_secs(600);

    fn pace(&self) -> Pace {
        // A process may take so long to begin, after another has taken so long to end.
        let wanted = self.packages.borrow().clone();
        let begins = wanted.and_then(|package| package.site.process().map(|plan| plan.ready + plan.grace));
        let ends = self.running.as_ref().map(|running| running.plan().drain + running.plan().grace);
        Pace {
            look: LOOK,
            observe: Duration::from_secs(5),
            converge: Duration::from_secs(120) + begins.unwrap_or_default() + ends.unwrap_or_default() * 2,
            longest_pause: Duration::from_secs(10),
        }
    }

    async fn woken(&mut self) {
        let begins_until =
            self.running.as_ref().filter(|running| running.may_begin()).map(RunningApplication::begins_until);
        let over = async {
            match begins_until {
                Some(until) => sleep_until(until + Duration::from_millis(1)).await,
                None => std::future::pending().await,
            }
        };
        let running = self.running.as_mut();
        let changes = async {
            match running {
                Some(running) => running.supervised.changed().await,
                None => std::future::pending().await,
            }
        };
        let secrets = self.secrets.as_mut();
        let read = async {
            match secrets {
                Some((_, secrets)) => {
                    if secrets.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        // One that is over has woken the keeper: what fails again is not tried without a pause.
        let again = self.failed.as_ref().map(|failed| failed.again).filter(|again| *again > Instant::now());
        let again = async {
            match again {
                Some(again) => sleep_until(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.packages.changed() => {}
            // What was not well for want of them may be now.
            () = read => self.failed = None,
            () = changes => {}
            () = over => {}
            () = again => {}
        }
    }

    async fn observe(&mut self) -> Result<ApplicationObservation, Fault> {
        // A departure that was called off.
        self.left.store(false, SeqCst);
        let Some(wanted) = self.packages.borrow_and_update().clone() else {
            return Ok(ApplicationObservation::Nothing);
        };
        let (is_stale, fault) = self.settle();
        let look = Look {
            is_held: self.holds(&wanted) && !is_stale,
            runs: self.running.is_some() || self.swapping.is_some(),
            brings_process: wanted.site.process().is_some(),
            failed_until: self.failed.as_ref().filter(|failed| failed.package == wanted).map(|failed| failed.again),
            comes_back_until: self
                .running
                .as_ref()
                .filter(|running| running.comes_back() && self.swapping.is_none())
                .map(RunningApplication::begins_until),
        };
        Ok(match look.call(Instant::now()) {
            Call::Take => {
                self.succeed(wanted.clone(), None);
                ApplicationObservation::Held(wanted, None)
            }
            Call::Keep => {
                let held = self.held.clone().unwrap_or(wanted);
                ApplicationObservation::Held(held, fault.or_else(|| self.lacking()))
            }
            Call::Wait => {
                let fault = self.failed.as_ref().filter(|failed| failed.package == wanted);
                ApplicationObservation::Failed(fault.map_or_else(coming_back, |failed| failed.fault.clone()))
            }
            Call::Swap => ApplicationObservation::Behind(wanted),
        })
    }

    fn judge(&self, seen: ApplicationObservation) -> Judgement<Package, Package> {
        match seen {
            ApplicationObservation::Nothing => Judgement::Waits("the package".to_owned()),
            ApplicationObservation::Held(held, None) => Judgement::Kept(held),
            ApplicationObservation::Held(held, Some(fault)) => Judgement::KeptDespite { held, fault },
            ApplicationObservation::Failed(fault) => match self.held.clone() {
                Some(held) => Judgement::KeptDespite { held, fault },
                None => Judgement::Refused(fault),
            },
            ApplicationObservation::Behind(wanted) => {
                Judgement::Drifted { drift: wanted, meanwhile: self.held.clone() }
            }
        }
    }

    async fn converge(&mut self, package: Package) -> Result<(), Fault> {
        let swapped = self.swap(package.clone()).await;
        // What time cures, such as a disk that is full, is tried again soon.
        if let Err(fault) = &swapped
            && fault.cure == Cure::Operator
        {
            self.failed(package, fault.clone());
        }
        swapped
    }

    /// The process goes after the last request. One at a runner goes with this program's connection to it, which is closed when the
    /// program ends: until then it may answer what is under way beside a successor.
    async fn depart(&mut self) -> Result<(), Fault> {
        if self.app.is_some() {
            self.left.store(true, SeqCst);
            // Visitors whose requests are still finished, or wait, have the process of before.
            self.unwind().await;
            return Ok(());
        }
        self.unwind().await;
        if self.drained.wait_for(|drained| *drained).await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(mut running) = self.running.take() {
            running.supervised.end().await;
        }
        while self.ending.join_next().await.is_some() {}
        Ok(())
    }

    fn holding(held: &Package) -> String {
        match held.site.process() {
            Some(plan) => plan.words.join(" "),
            None => "the site brings no process".to_owned(),
        }
    }

    fn drifting(package: &Package) -> String {
        match package.site.process() {
            Some(plan) => format!("starting {}", plan.words.join(" ")),
            None => "serving a site that brings no process".to_owned(),
        }
    }
}
