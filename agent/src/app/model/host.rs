//! A host: its disk, its runners with their processes, its visitors, and the rules that hold on it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ANSWERED, Broken, Flaw, HOLD, Held, LONGEST_GAP, Milliseconds, SECOND,
    agent::Agent,
    world::{Nature, World},
};
use crate::app::supervision::HealthAnswer;

/// How often a visitor comes.
const VISIT: Milliseconds = 1_500;
/// The longest pause before a process that has ended is started again, and the time to begin, with a moment.
const RECOVERS: Milliseconds = 90 * SECOND;

pub(super) struct Host {
    /// Whether memory allows no second process.
    pub(super) small: bool,
    /// Until when nothing is written to its disk.
    pub(super) full_until: Milliseconds,
    /// Until when no process is well here.
    pub(super) sick_until: Milliseconds,
    /// The version that is noted as the last good one, and those that lie on the disk.
    pub(super) note: Option<usize>,
    pub(super) zips: BTreeSet<usize>,
    /// Versions that were well here.
    pub(super) passed: BTreeSet<usize>,
    /// Whether one of them was noted.
    noted_good: bool,
    pub(super) runners: BTreeMap<u64, Runner>,
    pub(super) agent: Option<Agent>,
    boots_at: Milliseconds,
    /// Until when what happened to it may leave visitors without a process.
    faults: Milliseconds,
    gap_since: Option<Milliseconds>,
    up_since: Option<Milliseconds>,
    visit_at: Milliseconds,
}

/// A runner whose connection systemd keeps, and its process.
pub(super) struct Runner {
    pub(super) version: usize,
    /// The listener that its process has.
    pub(super) listens: u64,
    pub(super) child: Option<Child>,
}

pub(super) struct Child {
    begun: Milliseconds,
    pub(super) dies_at: Option<Milliseconds>,
}

impl Host {
    pub(super) fn new(small: bool) -> Host {
        Host {
            small,
            full_until: 0,
            sick_until: 0,
            note: None,
            zips: BTreeSet::new(),
            passed: BTreeSet::new(),
            noted_good: false,
            runners: BTreeMap::new(),
            agent: None,
            boots_at: 0,
            faults: 0,
            gap_since: None,
            up_since: None,
            visit_at: 0,
        }
    }

    pub(super) fn faults_until(&mut self, until: Milliseconds) {
        self.faults = self.faults.max(until + RECOVERS);
    }
}

impl World {
    pub(super) fn due_of(&self, number: usize) -> Milliseconds {
        let host = &self.hosts[number];
        let of_agent = host.agent.as_ref().map_or(host.boots_at, Agent::due);
        let dies = host.runners.values().filter_map(|runner| runner.child.as_ref()?.dies_at).min();
        host.visit_at.min(of_agent).min(dies.unwrap_or(Milliseconds::MAX))
    }

    /// What is due on that host.
    pub(super) fn step_of(&mut self, number: usize) -> Held<()> {
        let now = self.now;
        let host = &mut self.hosts[number];
        if let Some((id, _)) = host
            .runners
            .iter()
            .find(|(_, runner)| runner.child.as_ref().is_some_and(|child| child.dies_at.is_some_and(|at| at <= now)))
        {
            let id = *id;
            self.process_ended(number, id);
            return Ok(());
        }
        if host.visit_at <= now {
            host.visit_at = now + VISIT;
            self.visit(number);
            return Ok(());
        }
        match host.agent.take() {
            None => {
                self.boot(number);
                Ok(())
            }
            Some(mut agent) => {
                let goes_on = agent.step(self, number)?;
                if goes_on {
                    self.hosts[number].agent = Some(agent);
                } else {
                    self.note(|| format!("the agent of host {number} has ended in good order"));
                    self.hosts[number].boots_at = now + self.dice.u64(20..300);
                }
                Ok(())
            }
        }
    }

    /// What a process answers now.
    pub(super) fn asked(&self, number: usize, runner: u64) -> (HealthAnswer, bool) {
        let host = &self.hosts[number];
        let Some(runner) = host.runners.get(&runner) else { return (HealthAnswer::None, false) };
        let Some(child) = &runner.child else { return (HealthAnswer::None, false) };
        let version = &self.versions[runner.version];
        let answer = match version.nature {
            _ if self.now < child.begun + version.begins => HealthAnswer::None,
            _ if self.now < host.sick_until => HealthAnswer::Unwell,
            Nature::Well | Nature::FailsGate => HealthAnswer::Well,
            Nature::Unwell => HealthAnswer::Unwell,
            Nature::Dies | Nature::Files | Nature::NoPackage => HealthAnswer::None,
        };
        (answer, version.nature != Nature::FailsGate)
    }

    /// A process of that version, which begins now.
    pub(super) fn child(&self, version: usize) -> Child {
        let dies_at = (self.versions[version].nature == Nature::Dies).then_some(self.now + 50);
        Child { begun: self.now, dies_at }
    }

    fn process_ended(&mut self, number: usize, runner: u64) {
        if let Some(runner) = self.hosts[number].runners.get_mut(&runner) {
            runner.child = None;
        }
        self.note(|| format!("host {number}: the process of runner {runner} has ended"));
        if let Some(mut agent) = self.hosts[number].agent.take() {
            agent.process_ended(self, number, runner);
            self.hosts[number].agent = Some(agent);
        }
    }

    pub(super) fn crash(&mut self, number: usize) {
        let running: Vec<u64> =
            self.hosts[number].runners.iter().filter(|(_, runner)| runner.child.is_some()).map(|(id, _)| *id).collect();
        if let Some(id) = self.dice.choice(running) {
            let now = self.now;
            self.hosts[number].faults_until(now);
            self.process_ended(number, id);
        }
    }

    pub(super) fn kill_runner(&mut self, number: usize) {
        let all: Vec<u64> = self.hosts[number].runners.keys().copied().collect();
        if let Some(id) = self.dice.choice(all) {
            let now = self.now;
            self.hosts[number].faults_until(now);
            self.note(|| format!("host {number}: runner {id} is killed"));
            self.process_ended(number, id);
            self.hosts[number].runners.remove(&id);
        }
    }

    pub(super) fn kill_agent(&mut self, number: usize) {
        if self.hosts[number].agent.take().is_some() {
            let boots_at = self.now + self.dice.u64(20..2 * SECOND);
            self.hosts[number].boots_at = boots_at;
            self.hosts[number].faults_until(boots_at);
            self.note(|| format!("the agent of host {number} is killed"));
        }
    }

    pub(super) fn depart(&mut self, number: usize) {
        let until = self.now + self.dice.u64(SECOND..10 * SECOND);
        if let Some(mut agent) = self.hosts[number].agent.take() {
            self.note(|| format!("the agent of host {number} departs"));
            agent.depart(self.now, until);
            self.hosts[number].agent = Some(agent);
        }
    }

    fn visit(&mut self, number: usize) {
        let now = self.now;
        let Some(agent) = &mut self.hosts[number].agent else { return };
        let Some((_, Some(endpoint))) = agent.live else { return };
        if let Some(endpoint) = agent.endpoints.get_mut(&endpoint)
            && !endpoint.up
        {
            endpoint.waiting.push(now);
        }
    }

    /// The rules, on that host.
    pub(super) fn check(&mut self, number: usize) -> Held<()> {
        let now = self.now;
        let forgets = self.flaw == Flaw::ForgetsHeld;
        let host = &mut self.hosts[number];
        if let Some(note) = host.note {
            let was_well = host.passed.contains(&note);
            host.noted_good |= was_well;
            if host.noted_good && !was_well || !host.zips.contains(&note) {
                return Err(Broken(format!(
                    "version {note} is the last good one of host {number}, and was not well there"
                )));
            }
        }
        let Some(agent) = &mut host.agent else {
            host.gap_since = None;
            host.up_since = None;
            return Ok(());
        };
        if let Some((id, runner)) =
            host.runners.iter().find(|(id, runner)| runner.child.is_some() && !agent.wants(**id))
        {
            return Err(Broken(format!("nobody wants the process of version {} at runner {id}", runner.version)));
        }
        let live = agent.live.and_then(|(version, endpoint)| Some((version, endpoint?)));
        let is_up = live.is_some_and(|(_, endpoint)| agent.endpoints.get(&endpoint).is_some_and(|at| at.up));
        host.up_since = is_up.then_some(host.up_since.unwrap_or(now));
        // What waits goes to the process, or to that of the version that has followed.
        if !forgets {
            agent.hand_on();
        }
        for endpoint in agent.endpoints.values_mut() {
            if endpoint.up {
                endpoint.waiting.clear();
            }
            endpoint.waiting.retain(|since| now < since + HOLD);
            let first = endpoint.waiting.first().copied();
            if let (Some(first), Some(up)) = (first, host.up_since)
                && now > first.max(up) + ANSWERED
            {
                return Err(Broken(format!("a request of {first} ms waited in vain on host {number}")));
            }
        }
        if let Some((version, endpoint)) = live {
            if is_up && !agent.is_between(endpoint) {
                let answers = host.runners.values().find(|runner| runner.listens == endpoint && runner.child.is_some());
                if let Some(answers) = answers.filter(|answers| answers.version != version) {
                    return Err(Broken(format!("version {} answers for version {version}", answers.version)));
                }
            }
            let should = host.passed.contains(&version) && !is_up;
            host.gap_since = should.then_some(host.gap_since.unwrap_or(now));
            if let Some(since) = host.gap_since
                && now > since.max(host.faults) + LONGEST_GAP
            {
                return Err(Broken(format!("host {number} has no process for version {version} since {since} ms")));
            }
        }
        Ok(())
    }

    pub(super) fn check_the_end_of(&mut self, number: usize) -> Held<()> {
        let (newest, now) = (self.newest, self.instant(self.now));
        let host = &self.hosts[number];
        let Some(agent) = &host.agent else { return Err(Broken(format!("host {number} has no agent"))) };
        let many = host.runners.values().filter(|runner| runner.child.is_some()).count();
        if many > 1 || host.runners.len() > 1 {
            return Err(Broken(format!(
                "{} runners with {many} processes on host {number} nobody wants",
                host.runners.len()
            )));
        }
        let Some((live, endpoint)) = agent.live else {
            let is_served = newest.is_some_and(|newest| self.versions[newest].nature != Nature::NoPackage);
            return if is_served { Err(Broken(format!("host {number} serves nothing"))) } else { Ok(()) };
        };
        let Some(newest) = newest.filter(|newest| self.versions[*newest].may_be_good()) else { return Ok(()) };
        // One that failed where no process was well is tried again later.
        if agent.has_given_up(newest, &self.versions[newest].release, now) {
            return Ok(());
        }
        if live != newest {
            return Err(Broken(format!("host {number} serves version {live}, and version {newest} is the newest")));
        }
        let is_up = endpoint.is_some_and(|endpoint| agent.endpoints.get(&endpoint).is_some_and(|at| at.up));
        if is_up == self.versions[live].brings_process() {
            Ok(())
        } else {
            Err(Broken(format!("host {number} has no process for version {live} in the end")))
        }
    }
}
