//! The bucket, its publishers, and what happens to hosts.

use std::collections::BTreeMap;

use spothost_server::SwapMode;
use time::OffsetDateTime;
use tokio::time::{Duration, Instant};

use super::{Broken, CALM, END, Flaw, Held, LONGEST_GAP, Milliseconds, SECOND, agent::Agent, host::Host};
use crate::documents::{Release, Verdict, VerdictOutcome};

/// What a version is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// Its process becomes well.
    Well,
    /// Its process ends at once.
    Dies,
    /// Its process says that it is not well.
    Unwell,
    /// Its process is well, but fails `[gate]`.
    FailsGate,
    /// It brings no process.
    Files,
    /// It is no package.
    NoPackage,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) nature: Nature,
    pub(super) swap: SwapMode,
    /// How long its process takes to be well.
    pub(super) begins: Milliseconds,
    /// How long its process takes to end.
    pub(super) ends: Milliseconds,
    pub(super) release: Release,
}

impl Version {
    pub(super) fn brings_process(&self) -> bool {
        self.nature != Nature::Files
    }

    /// Whether it can be found good.
    pub(super) fn may_be_good(&self) -> bool {
        matches!(self.nature, Nature::Well | Nature::Files)
    }
}

pub(super) struct World {
    pub(super) now: Milliseconds,
    pub(super) dice: fastrand::Rng,
    pub(super) flaw: Flaw,
    pub(super) versions: Vec<Version>,
    pub(super) newest: Option<usize>,
    pub(super) verdicts: BTreeMap<usize, Verdict>,
    /// Until when S3 does not answer.
    pub(super) down_until: Milliseconds,
    pub(super) hosts: Vec<Host>,
    next_event: Milliseconds,
    base: Instant,
    log: Option<Vec<String>>,
    pub(super) next_id: u64,
}

impl World {
    pub(super) fn new(seed: u64, flaw: Flaw, base: Instant, tells: bool) -> World {
        let mut world = World {
            now: 0,
            dice: fastrand::Rng::with_seed(seed),
            flaw,
            versions: Vec::new(),
            newest: None,
            verdicts: BTreeMap::new(),
            down_until: 0,
            hosts: Vec::new(),
            next_event: 0,
            base,
            log: tells.then(Vec::new),
            next_id: 0,
        };
        for _ in 0..world.dice.usize(1..3) {
            let small = world.dice.bool();
            let host = Host::new(small);
            world.hosts.push(host);
        }
        world.publish(Nature::Well);
        world
    }

    pub(super) fn instant(&self, at: Milliseconds) -> Instant {
        self.base + Duration::from_millis(at)
    }

    pub(super) fn milliseconds(&self, at: Instant) -> Milliseconds {
        u64::try_from(at.saturating_duration_since(self.base).as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", self.now as f64 / 1e3, what()));
        }
    }

    pub(super) fn told(&self) -> String {
        self.log.as_deref().unwrap_or_default().join("\n")
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn number_of(&self, release: &Release) -> Option<usize> {
        self.versions.iter().position(|version| version.release.is(release))
    }

    pub(super) fn publish(&mut self, nature: Nature) {
        let number = self.versions.len();
        let swap = [SwapMode::Auto, SwapMode::Beside, SwapMode::InPlace][self.dice.usize(0..3)];
        let at = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(i64::try_from(number).unwrap_or_default());
        let release = Release::plain(&format!("www/site-{number:04}.zip"), &format!("{number:032}"), 1, at);
        let begins = self.dice.u64(100..READY_AT_MOST);
        let ends = self.dice.u64(5..4 * SECOND);
        self.versions.push(Version { nature, swap, begins, ends, release });
        self.newest = Some(number);
        self.note(|| format!("version {number} is published: {nature:?}, {swap:?}"));
    }

    /// The verdict on a version, as a host reads it.
    pub(super) fn tell(&mut self, number: usize, outcome: VerdictOutcome) -> Held<()> {
        let nature = self.versions[number].nature;
        if outcome == VerdictOutcome::Refused && nature != Nature::NoPackage {
            return Err(Broken(format!("version {number}, which is {nature:?}, is refused for all")));
        }
        if outcome == VerdictOutcome::Good && !self.versions[number].may_be_good() {
            return Err(Broken(format!("version {number}, which is {nature:?}, is found good")));
        }
        let at = OffsetDateTime::UNIX_EPOCH;
        self.note(|| format!("version {number}: {outcome:?}"));
        let verdict = Verdict::on(&self.versions[number].release, outcome, "i-1", at, &[]);
        self.verdicts.entry(number).or_insert(verdict);
        Ok(())
    }

    pub(super) fn run_until(&mut self, end: Milliseconds) -> Held<()> {
        loop {
            let host = (0..self.hosts.len()).map(|number| (self.due_of(number), number)).min();
            let Some((due, number)) = host else { return Ok(()) };
            if self.next_event <= due && self.next_event < CALM {
                if self.next_event >= end {
                    break;
                }
                self.now = self.next_event;
                self.event();
                self.next_event = self.now + self.dice.u64(100..40 * SECOND);
                continue;
            }
            if due >= end {
                break;
            }
            self.now = due.max(self.now);
            self.step_of(number)?;
            self.check(number)?;
        }
        self.now = end;
        Ok(())
    }

    fn event(&mut self) {
        let number = self.dice.usize(0..self.hosts.len());
        let for_a_while = self.dice.u64(SECOND..90 * SECOND);
        match self.dice.u32(0..20) {
            0..=4 => self.publish(Nature::Well),
            5 => self.publish(Nature::Dies),
            6 => self.publish(Nature::Unwell),
            7 => self.publish(Nature::FailsGate),
            8 => self.publish(Nature::Files),
            9 => self.publish(Nature::NoPackage),
            10 => {
                // Rolled back: the newest is an older one again.
                let older = self.dice.usize(0..self.versions.len());
                self.newest = Some(older);
                self.note(|| format!("version {older} is the newest again"));
            }
            11 => {
                self.newest = None;
                self.note(|| "the package is withdrawn".to_owned());
            }
            12 => {
                self.down_until = self.now + for_a_while;
                self.note(|| format!("S3 is away for {for_a_while} ms"));
            }
            13 => self.crash(number),
            14 => self.kill_runner(number),
            15 | 16 => self.kill_agent(number),
            17 => self.depart(number),
            18 => {
                let until = self.now + for_a_while;
                self.hosts[number].full_until = until;
                // A runner that was killed may be needed again just then.
                self.hosts[number].faults_until(until);
                self.note(|| format!("the disk of host {number} is full for {for_a_while} ms"));
            }
            _ => {
                let until = self.now + for_a_while;
                self.hosts[number].sick_until = until;
                self.hosts[number].faults_until(until);
                self.note(|| format!("no process is well on host {number} for {for_a_while} ms"));
            }
        }
    }

    /// What has to be so at the end of a history.
    pub(super) fn check_the_end(&mut self) -> Held<()> {
        self.run_until(END)?;
        // A version that is never well may be tried once more just then.
        let longest = END + 2 * LONGEST_GAP;
        while self.now < longest && self.hosts.iter().any(|host| host.agent.as_ref().is_some_and(Agent::is_busy)) {
            self.run_until(self.now + SECOND)?;
        }
        (0..self.hosts.len()).try_for_each(|number| self.check_the_end_of(number))
    }

    /// Whether S3 answers, and whether its answer arrives.
    pub(super) fn asks_bucket(&mut self) -> (bool, bool) {
        let answers = self.now >= self.down_until;
        let is_lost = self.now < CALM && self.dice.u32(0..30) == 0;
        (answers, answers && !is_lost)
    }
}

/// A process that becomes well does so in the time that it may take.
const READY_AT_MOST: Milliseconds = 8 * SECOND;
