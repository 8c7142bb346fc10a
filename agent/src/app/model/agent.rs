//! The agent of a host: its keepers of the package and of the application, which do as the program's judgements say.

use std::collections::BTreeMap;

use spothost_server::ListenMode;
use tokio::time::Instant;

use super::{
    Broken, CALM, DRAIN, Flaw, GRACE, Held, LOOK, Milliseconds, READY, SECOND,
    host::{Child, Runner},
    world::{Nature, World},
};
use crate::{
    app::{
        judgement::{Call, Look, ProcessVerdict, pause_after},
        supervised::ProcessState,
        supervision::{Admission, HealthAnswer, Supervision},
        swap::{HeldProcess, SwapOrigin, SwapOutcome, SwapRun, SwapStep, Wanted},
    },
    documents::{Release, Verdict, VerdictOutcome},
    fault::{Cure, Fault},
    package::{
        decision::{HeldPackage, LookedAt, NewestStanding, PackageCall, Search, TrialStanding, is_noted_at_once},
        last_good::{found_good, instead},
        refusals::Refusals,
    },
};

/// How often a process that begins is asked, and how often the keepers look.
const ASKED: Milliseconds = 250;
const APPLICATION_LOOKS: Milliseconds = 20 * SECOND;
/// How long a correction that was cut off is not tried again.
const PAUSE: Milliseconds = 5 * SECOND;
const NEVER: Milliseconds = Milliseconds::MAX;

/// A package, as often as it was fetched.
type PackageId = (u64, usize);

pub(super) struct Agent {
    pub(super) live: Option<(usize, Option<u64>)>,
    pub(super) endpoints: BTreeMap<u64, Endpoint>,
    feed: Option<(Milliseconds, usize, Option<u64>)>,
    trials: BTreeMap<u64, TrialStanding>,
    packages: Packages,
    app: Applications,
    departs_until: Option<Milliseconds>,
}

#[derive(Default)]
pub(super) struct Endpoint {
    pub(super) up: bool,
    pub(super) waiting: Vec<Milliseconds>,
    next: Option<u64>,
}

struct Packages {
    looks_at: Milliseconds,
    held: Option<PackageId>,
    unnoted: bool,
    newest: Option<usize>,
    refusals: Refusals,
    due: Vec<(usize, Milliseconds)>,
    fetching: Option<(usize, Milliseconds)>,
}

struct Applications {
    looks_at: Milliseconds,
    held: Option<PackageId>,
    running: Option<Running>,
    swapping: Option<Swapping>,
    failed: Option<(PackageId, usize, Instant)>,
    ending: Vec<(Running, Milliseconds)>,
}

struct Swapping {
    package: PackageId,
    run: SwapRun,
    new: Option<Running>,
    /// When the step that is under way is done; none while the swap is cut off.
    due: Option<Milliseconds>,
    since: Milliseconds,
}

struct Running {
    version: usize,
    endpoint: u64,
    runner: Option<u64>,
    supervision: Supervision,
    state: ProcessState,
    due: Milliseconds,
    starts: bool,
    since: Milliseconds,
    came_back: bool,
}

impl Running {
    fn new(world: &World, version: usize, endpoint: u64, strict: bool) -> Running {
        let now = world.instant(world.now);
        let ready = strict.then(|| std::time::Duration::from_millis(READY));
        Running {
            version,
            endpoint,
            runner: None,
            supervision: Supervision::new(ready, false, now),
            state: ProcessState::Begins { pid: 0, said: None, unwell: false, ended: None },
            due: world.now,
            starts: true,
            since: world.now,
            came_back: false,
        }
    }

    fn runs(&self) -> bool {
        matches!(self.state, ProcessState::Runs { .. })
    }

    fn has_pid(&self) -> bool {
        matches!(self.state, ProcessState::Begins { pid, .. } | ProcessState::Runs { pid, .. } if pid != 0)
    }

    /// What keeps it running does what is due.
    fn step(&mut self, world: &mut World, number: usize, endpoints: &mut BTreeMap<u64, Endpoint>) {
        if self.starts {
            self.starts = false;
            self.supervision.begins(world.instant(world.now));
            let is_full = world.now < world.hosts[number].full_until;
            let known = self.runner.is_some_and(|runner| world.hosts[number].runners.contains_key(&runner));
            if !known && is_full {
                return self.ended(world, false, "the disk is full");
            }
            let id = if let (true, Some(id)) = (known, self.runner) { id } else { world.id() };
            let child: Child = world.child(self.version);
            let runner = Runner { version: self.version, listens: self.endpoint, child: Some(child) };
            world.hosts[number].runners.insert(id, runner);
            self.runner = Some(id);
            let ended = match &self.state {
                ProcessState::Ended { why, .. } => Some(why.clone()),
                _ => None,
            };
            self.state = ProcessState::Begins { pid: 1, said: None, unwell: false, ended };
            self.due = world.now + ASKED;
            return;
        }
        self.due = world.now + ASKED;
        let Some(runner) = self.runner else { return };
        let (answer, passes_gate) = world.asked(number, runner);
        let gated = world.versions[self.version].nature == Nature::FailsGate;
        let well = match self.supervision.answered(answer, gated, world.instant(world.now)) {
            Admission::Serve { .. } if world.flaw == Flaw::TrustsAnswers => answer == HealthAnswer::Well,
            Admission::Serve { well, if_gated } => well || if_gated && passes_gate,
            Admission::IfGated if passes_gate => true,
            Admission::IfGated | Admission::Wait => {
                if let ProcessState::Begins { unwell, said, .. } = &mut self.state
                    && answer != HealthAnswer::None
                {
                    *unwell = true;
                    *said = Some("it is not well".to_owned());
                }
                return;
            }
        };
        self.supervision.serves(well);
        self.state = ProcessState::Runs { pid: 1, well };
        self.due = NEVER;
        if let Some(endpoint) = endpoints.get_mut(&self.endpoint) {
            endpoint.up = true;
        }
    }

    fn ended(&mut self, world: &World, started: bool, why: &str) {
        let now = world.instant(world.now);
        let again = now + self.supervision.ended(started, now);
        self.state = ProcessState::Ended { why: why.to_owned(), started, again };
        self.starts = true;
        self.due = world.milliseconds(again);
    }

    /// It is dropped, and with it the connection to its runner.
    fn forget(&mut self, world: &mut World, number: usize) {
        if let Some(runner) = self.runner.take() {
            world.hosts[number].runners.remove(&runner);
        }
    }

    /// Its process is ended. Its runner stays, with what it has unpacked.
    fn end(&mut self, world: &mut World, number: usize, endpoints: &mut BTreeMap<u64, Endpoint>) {
        if let Some(runner) = self.runner
            && let Some(runner) = world.hosts[number].runners.get_mut(&runner)
        {
            runner.child = None;
        }
        if self.state != ProcessState::Over
            && let Some(endpoint) = endpoints.get_mut(&self.endpoint)
        {
            endpoint.up = false;
        }
        self.state = ProcessState::Over;
        self.due = NEVER;
        self.starts = false;
    }
}

impl World {
    /// The agent begins, with what the one before it has left.
    pub(super) fn boot(&mut self, number: usize) {
        let now = self.now;
        let remembered = self.hosts[number].note.map(|version| (self.id(), version));
        self.note(|| format!("the agent of host {number} begins, and remembers {remembered:?}"));
        let mut agent = Agent {
            live: remembered.map(|(_, version)| (version, None)),
            endpoints: BTreeMap::new(),
            feed: None,
            trials: BTreeMap::new(),
            packages: Packages {
                looks_at: now,
                held: remembered,
                unnoted: false,
                newest: None,
                refusals: Refusals::default(),
                due: Vec::new(),
                fetching: None,
            },
            app: Applications {
                looks_at: now,
                held: None,
                running: None,
                swapping: None,
                failed: None,
                ending: Vec::new(),
            },
            departs_until: None,
        };
        if let Some((id, version)) = remembered {
            agent.trials.insert(id, self.trial_of(version));
        }
        let found: Vec<u64> = self.hosts[number].runners.keys().copied().collect();
        for id in found {
            let runner = &self.hosts[number].runners[&id];
            let (runs, version, listens) = (runner.child.is_some(), runner.version, runner.listens);
            let is_wanted = remembered.filter(|(_, wanted)| {
                runs && agent.app.running.is_none()
                    && self.versions[*wanted].brings_process()
                    && (*wanted == version || self.flaw == Flaw::AdoptsAny)
            });
            match is_wanted {
                Some(package) => {
                    let mut running = Running::new(self, package.1, listens, true);
                    running.supervision =
                        Supervision::new(Some(std::time::Duration::from_millis(READY)), true, self.instant(now));
                    running.supervision.begins(self.instant(now));
                    running.state = ProcessState::Begins { pid: 1, said: None, unwell: false, ended: None };
                    (running.runner, running.starts) = (Some(id), false);
                    agent.endpoints.insert(listens, Endpoint::default());
                    agent.live = Some((package.1, Some(listens)));
                    (agent.app.held, agent.app.running) = (Some(package), Some(running));
                    self.note(|| format!("host {number}: the process of version {version} goes on"));
                }
                None if self.flaw == Flaw::AdoptsNone => {}
                None => {
                    self.hosts[number].runners.remove(&id);
                }
            }
        }
        // The process of the package that is remembered begins at once.
        if let Some(package) =
            remembered.filter(|(_, version)| agent.app.running.is_none() && self.versions[*version].brings_process())
        {
            let running = agent.running_at(self, package.1, None, false);
            agent.live = Some((package.1, Some(running.endpoint)));
            (agent.app.held, agent.app.running) = (Some(package), Some(running));
        }
        self.hosts[number].agent = Some(agent);
    }

    pub(super) fn trial_of(&self, version: usize) -> TrialStanding {
        if self.versions[version].brings_process() { TrialStanding::Pending } else { TrialStanding::Passed }
    }
}

impl Agent {
    pub(super) fn due(&self) -> Milliseconds {
        let app = &self.app;
        let processes = app.running.iter().chain(app.swapping.iter().filter_map(|swapping| swapping.new.as_ref()));
        let processes = processes.map(|running| running.due);
        let ending = app.ending.iter().map(|(running, until)| running.due.min(*until));
        let swap = app.swapping.as_ref().and_then(|swapping| swapping.due);
        let idle = if swap.is_some() { NEVER } else { app.looks_at };
        let packages = self.packages.fetching.map_or(self.packages.looks_at, |(_, at)| at);
        let keepers = match self.departs_until {
            Some(until) if app.swapping.is_none() => until,
            Some(_) => NEVER,
            None => packages.min(idle),
        };
        let feed = self.feed.filter(|_| self.departs_until.is_none()).map_or(NEVER, |(at, ..)| at);
        processes.chain(ending).chain(swap).fold(keepers.min(feed), Milliseconds::min)
    }

    /// What is due; whether it goes on.
    pub(super) fn step(&mut self, world: &mut World, number: usize) -> Held<bool> {
        let now = world.now;
        let departs = self.departs_until.is_some();
        let endpoints = &mut self.endpoints;
        if let Some(running) = self.app.running.as_mut().filter(|running| running.due <= now) {
            running.step(world, number, endpoints);
            self.app.looks_at = now;
            return Ok(true);
        }
        if let Some(new) = self.app.swapping.as_mut().and_then(|swapping| swapping.new.as_mut())
            && new.due <= now
        {
            new.step(world, number, endpoints);
            return Ok(true);
        }
        if let Some(index) = self.app.ending.iter().position(|(running, until)| running.due.min(*until) <= now) {
            let (mut running, until) = self.app.ending.swap_remove(index);
            if until > now {
                running.step(world, number, endpoints);
                self.app.ending.push((running, until));
            } else if world.flaw == Flaw::LeavesOld {
                self.app.ending.retain(|_| false);
            } else {
                running.end(world, number, endpoints);
                running.forget(world, number);
            }
            return Ok(true);
        }
        if let Some((_, version, endpoint)) = self.feed.take_if(|(at, ..)| *at <= now && !departs) {
            self.live = Some((version, endpoint));
            if endpoint.is_none() {
                // No application follows: what waits is answered with 503 when its time is over.
                self.endpoints.values_mut().for_each(|endpoint| endpoint.waiting.clear());
            }
            return Ok(true);
        }
        if self.app.swapping.as_ref().is_some_and(|swapping| swapping.due.is_some_and(|due| due <= now)) {
            self.step_of_swap(world, number)?;
            return Ok(true);
        }
        if departs {
            return Ok(self.app.swapping.is_some() || self.departs_until.is_some_and(|until| now < until));
        }
        if self.app.swapping.as_ref().is_none_or(|swapping| swapping.due.is_none()) && self.app.looks_at <= now {
            self.look_at_application(world, number)?;
            return Ok(true);
        }
        self.step_of_packages(world, number)?;
        Ok(true)
    }

    pub(super) fn depart(&mut self, now: Milliseconds, until: Milliseconds) {
        if self.departs_until.is_none() {
            self.departs_until = Some(until);
            if let Some(swapping) = &mut self.app.swapping {
                swapping.run.cut_off();
                (swapping.due, swapping.since) = (Some(now), now);
            }
        }
    }

    pub(super) fn process_ended(&mut self, world: &mut World, number: usize, runner: u64) {
        let app = &mut self.app;
        let new = app.swapping.iter_mut().filter_map(|swapping| swapping.new.as_mut());
        let all = app.running.iter_mut().chain(new).chain(app.ending.iter_mut().map(|(running, _)| running));
        for running in all.filter(|running| running.runner == Some(runner)) {
            if let Some(endpoint) = self.endpoints.get_mut(&running.endpoint) {
                endpoint.up = false;
            }
            running.ended(world, true, "it has crashed");
            world.note(|| format!("host {number}: version {} is started again", running.version));
        }
        app.looks_at = world.now;
    }

    pub(super) fn wants(&self, runner: u64) -> bool {
        let app = &self.app;
        let new = app.swapping.iter().filter_map(|swapping| swapping.new.as_ref());
        let mut all = app.running.iter().chain(new).chain(app.ending.iter().map(|(running, _)| running));
        all.any(|running| running.runner == Some(runner))
    }

    /// Whether a swap at that listener is under way, or the servers are about to be told of it.
    pub(super) fn is_between(&self, endpoint: u64) -> bool {
        let new = self.app.swapping.as_ref().and_then(|swapping| swapping.new.as_ref());
        new.is_some_and(|new| new.endpoint == endpoint) || self.feed.is_some_and(|(_, _, to)| to == Some(endpoint))
    }

    /// What waits goes to the process that has followed.
    pub(super) fn hand_on(&mut self) {
        let waiting: Vec<u64> =
            self.endpoints.iter().filter(|(_, at)| !at.waiting.is_empty()).map(|(id, _)| *id).collect();
        for id in waiting {
            let mut at = id;
            while let Some(Endpoint { up: false, next: Some(next), .. }) = self.endpoints.get(&at) {
                at = *next;
            }
            if self.endpoints.get(&at).is_some_and(|at| at.up)
                && let Some(endpoint) = self.endpoints.get_mut(&id)
            {
                endpoint.waiting.clear();
            }
        }
    }

    /// Whether a swap, or what follows it, is under way.
    pub(super) fn is_busy(&self) -> bool {
        let comes_back = self.app.running.as_ref().is_some_and(|running| running.came_back && !running.runs());
        self.app.swapping.is_some() || comes_back || !self.app.ending.is_empty() || self.feed.is_some()
    }

    /// Whether it has tried that version in vain, and does not try it again yet.
    pub(super) fn has_given_up(&self, version: usize, release: &Release, now: Instant) -> bool {
        let failed = self.app.failed.as_ref().is_some_and(|((_, of), _, until)| *of == version && now < *until);
        failed || self.packages.refusals.of(release, now).is_some()
    }

    fn holds(&self, world: &World, wanted: PackageId) -> bool {
        let brings = world.versions[wanted.1].brings_process();
        self.app.held == Some(wanted) && self.app.swapping.is_none() && self.app.running.is_some() == brings
    }

    fn look_at_application(&mut self, world: &mut World, number: usize) -> Held<()> {
        let now = world.instant(world.now);
        self.app.looks_at = world.now + APPLICATION_LOOKS;
        let Some(wanted) = self.packages.held else { return Ok(()) };
        let look = Look {
            is_held: self.holds(world, wanted),
            runs: self.app.running.is_some() || self.app.swapping.is_some(),
            brings_process: world.versions[wanted.1].brings_process(),
            failed_until: self.app.failed.as_ref().filter(|(of, ..)| *of == wanted).map(|(_, _, until)| *until),
            comes_back_until: self
                .app
                .running
                .as_ref()
                .filter(|running| running.came_back && !running.runs() && self.app.swapping.is_none())
                .map(|running| world.instant(running.since + READY)),
        };
        if look.comes_back_until.is_some() {
            self.app.looks_at = world.now + SECOND;
        }
        match look.call(now) {
            Call::Take => self.succeed(world, wanted, None),
            Call::Keep => self.judge_trial(world, number, wanted),
            Call::Wait => {}
            Call::Swap => self.swap(world, wanted),
        }
        Ok(())
    }

    fn judge_trial(&mut self, world: &mut World, number: usize, (id, version): PackageId) {
        let Some(running) = &self.app.running else { return };
        let may_begin = world.now <= running.since + READY;
        // It looks again once the time to begin is over.
        if may_begin {
            self.app.looks_at = self.app.looks_at.min(running.since + READY + 1);
        }
        let trial = self.trials.entry(id).or_insert(TrialStanding::Pending);
        match running.state.clone().verdict(may_begin) {
            ProcessVerdict::Well if *trial != TrialStanding::Passed => {
                *trial = TrialStanding::Passed;
                world.hosts[number].passed.insert(version);
                self.packages.looks_at = world.now;
                world.note(|| format!("host {number}: version {version} has passed"));
            }
            ProcessVerdict::Lacks { was_tried: true, .. } if *trial == TrialStanding::Pending => {
                *trial = TrialStanding::Failed;
                self.packages.looks_at = world.now;
                world.note(|| format!("host {number}: version {version} has failed"));
            }
            _ => {}
        }
    }

    /// Begins a swap, or gives up one that was cut off.
    fn swap(&mut self, world: &mut World, wanted: PackageId) {
        let now = world.now;
        if let Some(swapping) = &mut self.app.swapping {
            if world.flaw == Flaw::NeverUnwinds {
                self.app.looks_at = NEVER;
                return;
            }
            swapping.run.cut_off();
            (swapping.due, swapping.since) = (Some(now), now);
            return;
        }
        let process = match (&self.app.running, self.app.held) {
            (Some(running), _) => HeldProcess::Kept { listen: ListenMode::Fd, has_pid: running.has_pid() },
            (None, Some((_, held))) if world.versions[held].brings_process() => {
                HeldProcess::Lost { listen: ListenMode::Fd }
            }
            (None, _) => HeldProcess::None,
        };
        let standing = SwapOrigin { serves: self.app.held.is_some(), process };
        let version = &world.versions[wanted.1];
        let is_held = self.app.held.is_some_and(|(_, held)| held == wanted.1);
        let wants = match version.brings_process() {
            false => Wanted::Files,
            true if is_held => Wanted::Same,
            true => Wanted::Process { listen: ListenMode::Fd, swap: version.swap },
        };
        world.note(|| format!("swaps to {wanted:?} from {standing:?}"));
        let run = SwapRun::new(standing, wants);
        self.app.swapping = Some(Swapping { package: wanted, run, new: None, due: Some(now), since: now });
    }

    /// A step of a swap comes to its end, and the next one begins.
    fn step_of_swap(&mut self, world: &mut World, number: usize) -> Held<()> {
        let Some(mut swapping) = self.app.swapping.take() else { return Ok(()) };
        let Some(step) = swapping.run.next() else {
            return self.end_swap(world, number, swapping);
        };
        let now = world.now;
        // How long the step takes.
        let begun = swapping.since;
        let takes = match step {
            SwapStep::Prepare => world.dice.u64(20..SECOND),
            SwapStep::Drain => {
                self.set_up(self.app.running.as_ref().map(|old| old.endpoint), false);
                world.dice.u64(0..DRAIN)
            }
            SwapStep::EndOld => {
                self.set_up(self.app.running.as_ref().map(|old| old.endpoint), false);
                self.app.running.as_ref().map_or(0, |old| world.versions[old.version].ends.min(GRACE))
            }
            SwapStep::EndNew => swapping.new.as_ref().map_or(0, |new| world.versions[new.version].ends.min(GRACE)),
            _ => 0,
        };
        if begun == now && takes > 0 {
            swapping.due = Some(now + takes);
            // Now and then it takes too long, and the keeper gives up on it.
            if now < CALM && self.departs_until.is_none() && world.dice.u32(0..40) == 0 {
                world.note(|| format!("the swap is cut off at {step:?}"));
                swapping.due = None;
                self.app.looks_at = now + PAUSE;
            }
            self.app.swapping = Some(swapping);
            return Ok(());
        }
        let outcome = match step {
            SwapStep::Await => {
                let Some(new) = &swapping.new else { return Ok(()) };
                let is_over = now >= new.since + READY;
                match &new.state {
                    _ if world.flaw == Flaw::SwitchesUnwell => SwapOutcome::Done,
                    ProcessState::Runs { .. } => SwapOutcome::Done,
                    ProcessState::Begins { .. } if !is_over => {
                        swapping.due = Some(now + 100);
                        if now < CALM && self.departs_until.is_none() && world.dice.u32(0..400) == 0 {
                            world.note(|| "the swap is cut off while it waits".to_owned());
                            swapping.due = None;
                            self.app.looks_at = now + PAUSE;
                        }
                        self.app.swapping = Some(swapping);
                        return Ok(());
                    }
                    _ => SwapOutcome::Failed(Fault::operator("running the application", "it is not well", "mend it")),
                }
            }
            _ => self.carry_out(world, number, step, &mut swapping)?,
        };
        world.note(|| format!("host {number}: {step:?} came to {outcome:?}"));
        swapping.run.came(outcome);
        (swapping.since, swapping.due) = (now, Some(now));
        if swapping.run.next().is_none() {
            return self.end_swap(world, number, swapping);
        }
        self.app.swapping = Some(swapping);
        Ok(())
    }

    fn end_swap(&mut self, world: &mut World, number: usize, swapping: Swapping) -> Held<()> {
        let package = swapping.package;
        self.app.looks_at = world.now;
        if let Err(fault) = swapping.run.ended() {
            world.note(|| format!("host {number}: the swap has failed: {fault}"));
            self.app.looks_at = world.now + PAUSE;
            if fault.cure == Cure::Operator {
                let times = self.app.failed.take().filter(|(of, ..)| *of == package).map_or(0, |(_, times, _)| times);
                let again = world.instant(world.now) + pause_after(times);
                self.app.failed = Some((package, times + 1, again));
            }
        }
        Ok(())
    }

    fn set_up(&mut self, endpoint: Option<u64>, up: bool) {
        if let Some(at) = endpoint.and_then(|endpoint| self.endpoints.get_mut(&endpoint)) {
            at.up = up;
        }
    }

    fn carry_out(
        &mut self,
        world: &mut World,
        number: usize,
        step: SwapStep,
        swapping: &mut Swapping,
    ) -> Held<SwapOutcome> {
        let is_full = world.now < world.hosts[number].full_until;
        let full = || SwapOutcome::Failed(Fault::retry("unpacking the program", "the disk is full"));
        match step {
            SwapStep::Adopt => {
                let running = self.app.running.take();
                self.succeed(world, swapping.package, running);
            }
            SwapStep::Restore if is_full => return Ok(full()),
            SwapStep::Restore => {
                if let Some(held) = self.app.held {
                    let running = self.running_at(world, held.1, None, false);
                    self.succeed(world, held, Some(running));
                }
            }
            SwapStep::Measure => return Ok(SwapOutcome::Measured(!world.hosts[number].small)),
            SwapStep::Prepare if is_full && self.app.held.is_some() => return Ok(full()),
            SwapStep::StartBeside => {
                swapping.new = Some(self.running_at(world, swapping.package.1, None, true));
            }
            SwapStep::StartInPlace => {
                let endpoint = self.app.running.as_ref().map(|old| old.endpoint);
                swapping.new = Some(self.running_at(world, swapping.package.1, endpoint, true));
            }
            SwapStep::EndOld => {
                if let Some(old) = &mut self.app.running {
                    old.end(world, number, &mut self.endpoints);
                }
            }
            SwapStep::Switch { in_place } => {
                let new = swapping.new.take();
                if self.app.held.is_some() && new.as_ref().is_some_and(|new| !new.runs()) {
                    let version = swapping.package.1;
                    return Err(Broken(format!("version {version} is served, and its process was not well")));
                }
                if in_place && let Some(mut old) = self.app.running.take() {
                    old.forget(world, number);
                }
                self.succeed(world, swapping.package, new);
            }
            SwapStep::EndNew => {
                if let Some(mut new) = swapping.new.take() {
                    new.end(world, number, &mut self.endpoints);
                    new.forget(world, number);
                }
            }
            SwapStep::Resume => {
                let runs = self.app.running.as_ref().filter(|old| old.runs()).map(|old| old.endpoint);
                self.set_up(runs, true);
            }
            SwapStep::BringBack if world.flaw == Flaw::NeverBringsBack => {}
            SwapStep::BringBack => {
                if let Some(old) = self.app.running.take() {
                    let again = self.running_at(world, old.version, Some(old.endpoint), false);
                    self.app.running = Some(Running { runner: old.runner, came_back: true, ..again });
                }
            }
            SwapStep::Prepare | SwapStep::Drain | SwapStep::Await => {}
        }
        Ok(SwapOutcome::Done)
    }

    fn running_at(&mut self, world: &mut World, version: usize, endpoint: Option<u64>, strict: bool) -> Running {
        let endpoint = endpoint.unwrap_or_else(|| world.id());
        self.endpoints.entry(endpoint).or_default();
        Running::new(world, version, endpoint, strict)
    }

    fn succeed(&mut self, world: &mut World, package: PackageId, running: Option<Running>) {
        let now = world.now;
        self.app.held = Some(package);
        self.app.failed = None;
        let endpoint = running.as_ref().map(|running| running.endpoint);
        if let Some(old) = std::mem::replace(&mut self.app.running, running) {
            if let (Some(at), Some(next)) = (self.endpoints.get_mut(&old.endpoint), endpoint)
                && old.endpoint != next
            {
                at.next = Some(next);
            }
            let until = now + SECOND + world.dice.u64(0..DRAIN);
            self.app.ending.push((old, until));
        }
        // What was held before is yielded before the next swap begins.
        if let Some((_, version, endpoint)) = self.feed.take() {
            self.live = Some((version, endpoint));
        }
        self.feed = Some((now + world.dice.u64(1..50), package.1, endpoint));
        self.app.looks_at = now;
    }

    fn step_of_packages(&mut self, world: &mut World, number: usize) -> Held<()> {
        if let Some((version, due)) = self.packages.fetching {
            if due <= world.now {
                self.packages.fetching = None;
                self.packages.looks_at = world.now + SECOND;
                self.take(world, number, version)?;
            }
            return Ok(());
        }
        self.packages.looks_at = world.now + LOOK;
        self.look_at_packages(world, number)
    }

    fn look_at_packages(&mut self, world: &mut World, number: usize) -> Held<()> {
        let (now, at) = (world.now, world.instant(world.now));
        let (answers, heard) = world.asks_bucket();
        if !answers || !heard {
            return Ok(());
        }
        if let Some(newest) = world.newest {
            self.packages.newest = Some(newest);
        }
        let held = self.packages.held;
        let trial = held.map(|(id, _)| self.trials.get(&id).copied().unwrap_or(TrialStanding::Pending));
        if let (Some((_, version)), Some(TrialStanding::Passed)) = (held, trial)
            && !world.verdicts.contains_key(&version)
            && !self.packages.due.iter().any(|(of, _)| *of == version)
        {
            self.packages.due.push((version, now + SECOND));
            self.packages.looks_at = now + SECOND;
        }
        if let (Some((_, version)), Some(TrialStanding::Failed)) = (held, trial)
            && world.flaw == Flaw::TellsLocal
        {
            world.tell(version, VerdictOutcome::Refused)?;
        }
        let refusals = &self.packages.refusals;
        let newest = self.packages.newest.map(|newest| {
            let release = &world.versions[newest].release;
            let verdict = world.verdicts.get(&newest);
            NewestStanding {
                condemned: verdict.is_some_and(Verdict::refuses) || refusals.of(release, at).is_some(),
                found_good: verdict.is_some_and(Verdict::is_good),
            }
        });
        let looked = LookedAt {
            held: held.zip(trial).map(|((_, version), trial)| HeldPackage {
                is_newest: self.packages.newest == Some(version),
                trial,
                unnoted: self.packages.unnoted,
            }),
            newest,
        };
        let older = self.searched(world, looked.search(), at);
        let tells = self.packages.due.iter().position(|(_, due)| *due <= now);
        match looked.call(tells.is_some(), world.newest.is_none(), older.is_some()) {
            PackageCall::Keep => {
                if let Some((_, version)) = held.filter(|_| now >= world.hosts[number].full_until) {
                    world.hosts[number].note = Some(version);
                    world.hosts[number].zips.retain(|zip| *zip == version);
                    self.packages.unnoted = false;
                }
                self.packages.looks_at = now + SECOND;
            }
            PackageCall::Tell => {
                let (version, _) = self.packages.due.remove(tells.unwrap_or_default());
                let (answers, heard) = world.asks_bucket();
                if answers {
                    world.tell(version, VerdictOutcome::Good)?;
                }
                if !heard {
                    self.packages.due.push((version, now + 60 * SECOND));
                }
            }
            PackageCall::FetchInstead => self.fetch(world, older),
            PackageCall::FetchNewest => self.fetch(world, self.packages.newest),
            PackageCall::Despite | PackageCall::Wait | PackageCall::Hold | PackageCall::Condemned => {}
        }
        Ok(())
    }

    /// The older version that takes the place of the newest.
    fn searched(&mut self, world: &World, search: Option<Search>, now: Instant) -> Option<usize> {
        let newest = self.packages.newest?;
        let own: Vec<Release> = world.versions.iter().map(|version| version.release.clone()).collect();
        let refusals = self.packages.refusals.verdicts(now);
        let mut verdicts: Vec<Verdict> = world.verdicts.values().cloned().chain(refusals).collect();
        let release = &world.versions[newest].release;
        let found = match search? {
            Search::Unrefused => instead(&own, &[], &verdicts),
            Search::FoundGood => {
                let at = time::OffsetDateTime::UNIX_EPOCH;
                let refused = Verdict::on(release, VerdictOutcome::Refused, "i-1", at, &[]);
                verdicts.push(refused.clone());
                let found = found_good(&own, &[], &verdicts);
                if found.is_some() {
                    let fault = Fault::operator("running the application", "it is not well", "mend it");
                    self.packages.refusals.add_failed(release.clone(), fault, refused, now);
                }
                found
            }
        };
        found.and_then(|found| world.number_of(&found))
    }

    fn fetch(&mut self, world: &mut World, version: Option<usize>) {
        self.packages.fetching = version.map(|version| (version, world.now + world.dice.u64(100..3 * SECOND)));
    }

    fn take(&mut self, world: &mut World, number: usize, version: usize) -> Held<()> {
        let (answers, heard) = world.asks_bucket();
        if !answers || !heard || world.now < world.hosts[number].full_until {
            return Ok(());
        }
        let release = world.versions[version].release.clone();
        if world.versions[version].nature == Nature::NoPackage {
            let at = time::OffsetDateTime::UNIX_EPOCH;
            let verdict = Verdict::on(&release, VerdictOutcome::Refused, "i-1", at, &[]);
            let fault = Fault::operator("verifying", "it is no package", "publish it again");
            self.packages.refusals.add(release, fault, verdict, world.instant(world.now));
            return world.tell(version, VerdictOutcome::Refused);
        }
        let trial = world.trial_of(version);
        let host = &mut world.hosts[number];
        let keeps_another = host.note.is_some_and(|note| note != version);
        host.zips.insert(version);
        host.zips.retain(|zip| *zip == version || Some(*zip) == host.note);
        let is_noted = is_noted_at_once(trial, keeps_another) || world.flaw == Flaw::NotesAtOnce;
        self.packages.unnoted = !is_noted;
        if is_noted {
            host.note = Some(version);
            host.zips.retain(|zip| *zip == version);
        }
        if trial == TrialStanding::Passed {
            host.passed.insert(version);
        }
        self.packages.refusals.lift(&release);
        let package = (world.id(), version);
        self.trials.insert(package.0, trial);
        self.packages.held = Some(package);
        self.app.looks_at = world.now;
        world.note(|| format!("host {number} takes version {version}"));
        Ok(())
    }
}
