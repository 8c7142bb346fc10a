//! Any number of hosts and one CA on virtual time, with the real plan, ledger and steps.
//!
//! What is simulated is what the hosts talk to: a vault with compare-and-swap and reads that lag, a lease, a CA with the
//! token buckets that Let's Encrypt publishes, clocks that are off. Hosts boot, overlap, are killed before, during and after
//! any step, stand still for longer than their lease lives, and lose answers; the CA is down for weeks; the vault is lost. Everything is drawn from a seed. After each step the rules
//! are checked that the vault promises:
//!
//! 1. At most one certificate per renewal and per real loss; no limit of the CA touched; no gap in validity if the CA
//!    could be reached for long enough in the last third of a certificate's life.
//! 2. Nothing is finalized or served that is not stored.

use std::{cmp::Reverse, collections::BinaryHeap};

use time::{Duration, OffsetDateTime, macros::datetime};

use super::{
    desired_certificate::{AcmeCa, DesiredCertificate},
    document::{Issued, Purpose, VaultDocument},
    due::Due,
    plan::{CertificatePlan, Holding, UnreachableCas, judged, plan},
    steps::{IssuanceRun, IssuanceStep, StepFailure, StepOutcome},
    vault::remarkable,
};
use crate::fault::Fault;

mod ca;
mod store;
#[cfg(test)]
mod tests;

use ca::Ca;
use store::Store;

/// How long a host reads the vault again that shows an older version than it knows of.
const READ_AGAIN: Duration = Duration::seconds(10);
const BEGIN: OffsetDateTime = datetime!(2026-01-01 00:00 UTC);
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// For how long at a stretch a CA must be there in the last third of a certificate's life to be reached for certain, by how
/// many attempts it has let fail since the last that it did not. A CA that could not be reached is tried again within the
/// hour, and a host that was killed is followed within minutes; attempts that it refused are made again after a minute, ten, a
/// hundred, and then after a day, as it asks for.
const CERTAINLY: [(u32, Duration); 3] =
    [(0, Duration::minutes(80)), (3, Duration::hours(3)), (u32::MAX, Duration::hours(26))];

/// So many hosts live at once, if not more are launched together.
const OVERLAP: usize = 3;

/// What history is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// How many days it lasts.
    pub days: i64,
    /// How many hosts boot at the same moment, at the beginning.
    pub together: u32,
    /// How many hosts boot a day, each in the place of the one before.
    pub boots: u32,
    /// How many hours a certificate lives.
    pub life: i64,
    /// Whether the CA says when it would like to renew.
    pub ari: bool,
    /// Of how many steps one is interrupted by the end of its host.
    pub kills: Option<u32>,
    /// Of how many steps the answer of one is lost.
    pub losses: Option<u32>,
    /// Of how many steps one is followed by so long a standstill of its host that its lease may run out.
    pub stalls: Option<u32>,
    /// By how many seconds reads of the vault lag its writes at most.
    pub lag: i64,
    /// Of how many proofs the CA does not believe one.
    pub disbelief: Option<u32>,
    /// Of how many days on one the CA goes down, for up to half the life of a certificate.
    pub outages: Option<u32>,
    /// Of how many days on one the vault is lost.
    pub ruins: Option<u32>,
    /// Whether clocks are off, by up to years.
    pub clocks: bool,
    /// Whether the lease may be asked for.
    pub leases: bool,
    /// Who orders.
    pub policy: Policy,
}

/// Who orders, and what is done wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// This program.
    Vault,
    /// What is common: every boot orders anew.
    EveryBoot,
    /// This program, had it forgotten to store the order before it is relied on.
    UsedBeforeStored,
    /// This program, had it no ledger.
    NoLedger,
    /// This program, had it not read the vault again under the lease.
    NotReadAgain,
    /// This program, had it filled a vault that a read shows empty, without asking whether it is.
    FilledBlindly,
}

impl Setting {
    /// 400 days at two boots a day, one for a deployment and one for an interruption, and nothing else that goes wrong.
    pub fn quiet(policy: Policy) -> Setting {
        Setting {
            days: 400,
            together: 1,
            boots: 2,
            life: 90 * 24,
            ari: true,
            kills: None,
            losses: None,
            stalls: None,
            lag: 0,
            disbelief: None,
            outages: None,
            ruins: None,
            clocks: false,
            leases: true,
            policy,
        }
    }

    /// One day that begins with so many hosts at the same moment and an empty vault.
    pub fn race(hosts: u32, leases: bool) -> Setting {
        Setting { days: 1, together: hosts, boots: 0, leases, ..Setting::quiet(Policy::Vault) }
    }

    /// The same where reads of the vault lag by up to so many seconds.
    pub fn lagging_race(hosts: u32, leases: bool, lag: i64) -> Setting {
        Setting { lag, ..Setting::race(hosts, leases) }
    }

    /// One in which everything goes wrong that can, drawn from `seed`.
    pub fn rough(policy: Policy, seed: u64) -> Setting {
        let mut dice = fastrand::Rng::with_seed(seed ^ 0x5eed);
        let life = [90 * 24, 64 * 24, 45 * 24, 160][dice.usize(..4)];
        Setting {
            // Two and a half lives: what a third would bring the second has brought.
            days: life * 5 / 48,
            together: dice.u32(1..4),
            boots: dice.u32(1..6),
            life,
            ari: dice.bool(),
            kills: Some(dice.u32(20..100)),
            losses: Some(dice.u32(20..100)),
            stalls: Some(dice.u32(20..100)),
            lag: [0, 1, 5, 30][dice.usize(..4)],
            disbelief: Some(dice.u32(3..24)),
            outages: dice.bool().then(|| dice.u32(7..60)),
            ruins: dice.bool().then(|| dice.u32(14..90)),
            clocks: dice.bool(),
            leases: dice.u32(..4) > 0,
            policy,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Hosts that booted.
    pub boots: u32,
    /// Orders that the CA accepted.
    pub orders: u32,
    /// Certificates that it issued.
    pub certificates: u32,
    /// Refusals of the CA because of a limit.
    pub touched: u32,
    /// Minutes during which a host was up and no valid certificate was to be had.
    pub uncovered: i64,
    /// Versions of the vault that were written.
    pub writes: u32,
    /// The most of them within 24 hours.
    pub writes_a_day: usize,
    /// Rules that were broken, with when and how.
    pub broken: Vec<String>,
}

/// Lives through what `setting` and `seed` say.
pub fn live(setting: Setting, seed: u64) -> History {
    let authority = AcmeCa { directory: DIRECTORY.to_owned(), ..AcmeCa::default() };
    let name = "www.example.org".parse().unwrap_or_else(|error| unreachable!("{error}"));
    let wanted = DesiredCertificate { names: vec![name], authorities: vec![authority] };
    let mut world = World::new(setting, seed, &wanted);
    world.schedule();
    world.run();
    world.history
}

struct World<'a> {
    setting: Setting,
    wanted: &'a DesiredCertificate,
    dice: fastrand::Rng,
    now: OffsetDateTime,
    events: BinaryHeap<Reverse<(OffsetDateTime, u64, Event)>>,
    numbered: u64,
    hosts: Vec<Host<'a>>,
    store: Store,
    ca: Ca,
    history: History,
    /// Since when no valid certificate is stored, if so.
    bare: Option<OffsetDateTime>,
    /// The end of a certificate that is waited for.
    expires: Option<OffsetDateTime>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Boot,
    Look(usize, u32),
    Step(usize),
    Down(Duration),
    Up,
    Ruin,
    Expiry,
}

/// One host that lives, or lived.
struct Host<'a> {
    alive: bool,
    /// How far its clock is ahead of the truth.
    ahead: Duration,
    /// How far it takes it to be behind, from the vault's answers.
    off: Duration,
    unreachable: UnreachableCas,
    run: Option<IssuanceRun<'a>>,
    account: String,
    order: Option<usize>,
    ask_at: OffsetDateTime,
    tries: u32,
    /// Number of the version of the vault that it has written last.
    wrote: u64,
    /// Only the last look that was planned counts.
    planned: u32,
}

impl<'a> World<'a> {
    fn new(setting: Setting, seed: u64, wanted: &'a DesiredCertificate) -> World<'a> {
        World {
            setting,
            wanted,
            dice: fastrand::Rng::with_seed(seed),
            now: BEGIN,
            events: BinaryHeap::new(),
            numbered: 0,
            hosts: Vec::new(),
            store: Store::default(),
            ca: Ca::new(Duration::hours(setting.life), setting.ari),
            history: History::default(),
            bare: None,
            expires: None,
        }
    }

    /// Boots, outages and ruins, all of them drawn before anything happens, so that two policies live through the same.
    fn schedule(&mut self) {
        let day = Duration::DAY;
        for _ in 0..self.setting.together {
            self.at(BEGIN, Event::Boot);
        }
        for number in 0..self.setting.days {
            let today = BEGIN + day * i32::try_from(number).unwrap_or(i32::MAX);
            for _ in 0..self.setting.boots {
                let at = today + Duration::seconds(self.dice.i64(0..86_400));
                self.at(at, Event::Boot);
            }
            if self.hits(self.setting.outages) {
                let longest = self.setting.life * 3_600 / 2;
                let at = self.dice.i64(0..86_400);
                let length = self.dice.i64(60..longest);
                self.at(today + Duration::seconds(at), Event::Down(Duration::seconds(length)));
            }
            if self.hits(self.setting.ruins) {
                let at = self.dice.i64(0..86_400);
                self.at(today + Duration::seconds(at), Event::Ruin);
            }
        }
    }

    fn run(&mut self) {
        let end = BEGIN + Duration::days(self.setting.days);
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > end || self.history.broken.len() > 5 {
                break;
            }
            self.now = at;
            match event {
                Event::Boot => self.boot(),
                Event::Look(host, planned) => self.look(host, planned),
                Event::Step(host) => self.step(host),
                Event::Down(length) => {
                    self.ca.down_at(at);
                    self.at(at + length, Event::Up);
                }
                Event::Up => self.ca.up_at(at),
                Event::Ruin => self.ruin(),
                Event::Expiry => self.covered(),
            }
        }
        self.now = end;
        self.covered();
        self.uncover(None);
        self.history.touched = self.ca.touched;
        self.history.orders = self.ca.accepted;
        self.history.writes_a_day = self.store.most_in(Duration::DAY);
        self.history.writes = self.store.writes();
    }

    fn at(&mut self, at: OffsetDateTime, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn overlap(&self) -> usize {
        usize::try_from(self.setting.together).unwrap_or(OVERLAP).max(OVERLAP)
    }

    fn hits(&mut self, one_of: Option<u32>) -> bool {
        one_of.is_some_and(|one_of| self.dice.u32(..one_of) == 0)
    }

    fn seconds(&mut self, range: std::ops::Range<i64>) -> Duration {
        Duration::milliseconds(self.dice.i64(range.start * 1_000..range.end * 1_000))
    }

    /// A host boots, in the place of the one before it.
    fn boot(&mut self) {
        self.history.boots += 1;
        let ahead = match (self.setting.clocks, self.dice.u32(..6)) {
            (true, 0) => self.seconds(-3_600..86_400),
            (true, 1) => BEGIN - self.now - Duration::days(20_000),
            (true, 2) => Duration::days(400),
            (true, _) => self.seconds(-29..29),
            _ => Duration::ZERO,
        };
        let host = self.hosts.len();
        // Those before it live on beside it, and may be in the middle of something.
        if let Some(oldest) = host.checked_sub(self.overlap()) {
            self.end_of(oldest);
        }
        let off = Duration::ZERO;
        let unreachable = UnreachableCas::default();
        let account = String::new();
        let ask_at = self.now + Duration::seconds(5);
        self.hosts.push(Host {
            alive: true,
            ahead,
            off,
            unreachable,
            run: None,
            account,
            order: None,
            ask_at,
            tries: 0,
            wrote: 0,
            planned: 0,
        });
        self.covered();
        if self.setting.policy == Policy::EveryBoot {
            return self.order_at_boot();
        }
        self.plan_look(host, Duration::seconds(1));
    }

    /// What is common: an account and an order with every boot, and the certificate lives as long as the host does.
    fn order_at_boot(&mut self) {
        self.store.forget(self.now);
        self.covered();
        if !self.ca.is_up() || self.ca.new_account(self.now).is_none() {
            return;
        }
        let names = self.wanted.names.clone();
        if let Ok(order) = self.ca.new_order("", &names, None, self.now) {
            self.ca.proven(order, true);
            if let Some(number) = self.ca.finalize(order, "", self.now) {
                self.history.certificates += 1;
                self.store.keep(self.ca.issued(number, DIRECTORY), self.now);
                self.covered();
            }
        }
    }

    fn plan_look(&mut self, host: usize, wait: Duration) {
        self.hosts[host].planned += 1;
        let event = Event::Look(host, self.hosts[host].planned);
        self.at(self.now + wait.max(Duration::SECOND), event);
    }

    /// What the host takes the time for.
    fn taken(&self, host: usize) -> OffsetDateTime {
        let host = &self.hosts[host];
        self.now + host.ahead + host.off
    }

    /// Reads the vault, again for as long as it shows a version before number `written`.
    fn read(&mut self, host: usize, written: u64) -> (Option<String>, VaultDocument, Holding) {
        // AWS tells the time in whole seconds.
        let told = self.now.replace_nanosecond(0).unwrap_or(self.now);
        self.hosts[host].off = remarkable(told - (self.now + self.hosts[host].ahead));
        let lag = self.lag();
        let (version, document) = self.store.read_since(written, lag, READ_AGAIN, self.now);
        let holding = self.ca.holding(&document);
        (version, document, holding)
    }

    /// How late the next read is.
    fn lag(&mut self) -> Duration {
        match self.setting.lag {
            0 => Duration::ZERO,
            longest => self.seconds(0..longest),
        }
    }

    fn look(&mut self, host: usize, planned: u32) {
        if !self.hosts[host].alive || self.hosts[host].run.is_some() || self.hosts[host].planned != planned {
            return;
        }
        let (version, mut document, holding) = self.read(host, 0);
        self.ask(host, version.as_deref(), &mut document);
        if self.setting.policy == Policy::NoLedger {
            document.ledger = Default::default();
        }
        let now = self.taken(host);
        match plan(self.wanted, &document, &holding, &self.hosts[host].unreachable, now) {
            CertificatePlan::Order(_) => {
                let unreachable = std::mem::take(&mut self.hosts[host].unreachable);
                self.hosts[host].run = Some(IssuanceRun::new(self.wanted, unreachable));
                let pause = self.seconds(0..2);
                self.at(self.now + pause, Event::Step(host));
            }
            CertificatePlan::Keep(until)
            | CertificatePlan::Wait { not: super::ledger::NotBefore { until, .. }, .. } => {
                let wait = (until - now).min(self.hosts[host].ask_at - self.now).clamp(Duration::SECOND, Duration::DAY);
                let late = self.seconds(0..8);
                self.plan_look(host, wait + late);
            }
        }
    }

    /// Asks the CA when it would like to renew, and remembers what is new of it.
    fn ask(&mut self, host: usize, version: Option<&str>, document: &mut VaultDocument) {
        if self.now < self.hosts[host].ask_at {
            return;
        }
        let pause = self.seconds(3_600..43_200);
        self.hosts[host].ask_at = self.now + pause;
        let Some(window) = document.certificate.as_ref().and_then(|issued| self.ca.window(issued)) else { return };
        if let Some(issued) = document.certificate.as_mut().filter(|issued| issued.renewal.as_ref() != Some(&window)) {
            issued.renewal = Some(window);
            let now = self.taken(host);
            if document.writable(Purpose::Memo, now).is_err() {
                return;
            }
            document.count(now);
            if self.store.swap(version, document, self.now).is_some() {
                self.wake(host);
            }
        }
    }

    /// The vault has changed: others look at it within ten minutes.
    fn wake(&mut self, by: usize) {
        self.covered();
        for host in self.hosts.len().saturating_sub(self.overlap())..self.hosts.len() {
            if host != by && self.hosts[host].alive {
                let wait = self.seconds(1..600);
                self.plan_look(host, wait);
            }
        }
    }

    fn step(&mut self, host: usize) {
        if !self.hosts[host].alive || self.hits(self.setting.kills) {
            return self.end_of(host);
        }
        // As long as it moves it refreshes its lease.
        self.store.refresh(host);
        let Some(run) = self.hosts[host].run.take() else { return };
        let Some(step) = run.next() else {
            let (ended, unreachable) = run.ended();
            self.hosts[host].unreachable = unreachable;
            let tries = if ended.is_ok() { 0 } else { self.hosts[host].tries + 1 };
            self.hosts[host].tries = tries;
            let wait = ended.err().map_or(std::time::Duration::ZERO, |fault| fault.pause(tries));
            return self.plan_look(host, Duration::try_from(wait).unwrap_or(Duration::HOUR).min(Duration::minutes(10)));
        };
        let mut came = self.take(host, step).unwrap_or_else(StepOutcome::Failed);
        if self.hits(self.setting.kills) {
            return self.end_of(host);
        }
        if self.hits(self.setting.losses) {
            came = StepOutcome::Failed(Fault::retry("a step", "the answer is lost").into());
        }
        let mut run = run;
        run.came(came, self.taken(host));
        self.hosts[host].run = Some(run);
        let pause = if self.hits(self.setting.stalls) {
            self.store.abandon(host, self.now);
            self.seconds(5..120)
        } else {
            self.seconds(0..5)
        };
        self.at(self.now + pause, Event::Step(host));
    }

    /// A host that was killed: its place is taken within minutes.
    fn end_of(&mut self, host: usize) {
        let was_last = host + 1 == self.hosts.len() && self.hosts[host].alive;
        self.hosts[host].alive = false;
        self.hosts[host].run = None;
        self.store.abandon(host, self.now);
        if was_last {
            let pause = self.seconds(30..600);
            self.at(self.now + pause, Event::Boot);
        }
    }

    fn take(&mut self, host: usize, step: IssuanceStep<'_>) -> Result<StepOutcome, StepFailure> {
        let down = || StepFailure::from(Fault::retry("asking the CA", "no answer"));
        let asks_ca = !matches!(
            step,
            IssuanceStep::Lease
                | IssuanceStep::Read
                | IssuanceStep::Prepare(_)
                | IssuanceStep::Store(..)
                | IssuanceStep::Confirm
                | IssuanceStep::GiveBack { .. }
        );
        if asks_ca && !self.ca.is_up() {
            return Err(down());
        }
        match step {
            IssuanceStep::Lease if self.setting.leases => self.store.lease(host, self.now)?,
            IssuanceStep::Confirm if self.setting.leases => {
                self.store.confirm(host)?;
                self.store.tell(host, self.hosts[host].wrote);
            }
            IssuanceStep::Lease
            | IssuanceStep::Confirm
            | IssuanceStep::Prepare(_)
            | IssuanceStep::Reach(_)
            | IssuanceStep::Probe(_) => {}
            IssuanceStep::GiveBack { .. } => {
                self.store.tell(host, self.hosts[host].wrote);
                self.store.give_back(host);
            }
            IssuanceStep::Read => {
                let (version, mut document, holding) = self.read(host, self.store.told());
                if self.setting.policy == Policy::NoLedger {
                    document.ledger = Default::default();
                }
                if self.setting.policy == Policy::NotReadAgain {
                    return Ok(StepOutcome::Read(version, document.into(), Holding::Nothing));
                }
                return Ok(StepOutcome::Read(version, document.into(), holding));
            }
            IssuanceStep::Store(document, was) => return Ok(self.stored(host, document, was)),
            IssuanceStep::Open(authority, kept) => {
                return self.open(host, &authority.directory, kept.map(|kept| kept.url().to_owned()));
            }
            IssuanceStep::Place(_, replaces) => {
                let account = self.hosts[host].account.clone();
                let names = self.wanted.names.clone();
                let order = self.ca.new_order(&account, &names, replaces, self.now)?;
                self.hosts[host].order = Some(order);
                let key = format!("key {}", self.dice.u64(..)).into();
                return Ok(StepOutcome::Placed(order.to_string(), key));
            }
            IssuanceStep::Resume(pending_order) => {
                let order = pending_order.url.parse().unwrap_or(usize::MAX);
                self.hosts[host].order = Some(order);
                return Ok(StepOutcome::Found(self.ca.found(order, self.now)));
            }
            IssuanceStep::Prove => {
                let proven = !self.hits(self.setting.disbelief);
                self.ca.prove(self.hosts[host].order.unwrap_or(usize::MAX), proven, self.now)?;
            }
            IssuanceStep::Finalize(pending_order) => self.finalize(&pending_order.url, &pending_order.key),
            IssuanceStep::Fetch(pending_order) => {
                let order = pending_order.url.parse().unwrap_or(usize::MAX);
                let issued = self.ca.of_order(order).map(|number| self.ca.issued(number, DIRECTORY));
                let issued = issued.ok_or_else(|| StepFailure::from(Fault::retry("fetching", "not there")))?;
                return Ok(StepOutcome::Fetched(Issued { key: pending_order.key.clone(), ..issued }));
            }
        }
        Ok(StepOutcome::Done)
    }

    fn stored(&mut self, host: usize, document: &VaultDocument, was: Option<&str>) -> StepOutcome {
        if self.setting.policy == Policy::UsedBeforeStored && document.order.is_some() {
            return StepOutcome::Stored(was.unwrap_or_default().to_owned());
        }
        if let Some(issued) = &document.certificate
            && !self.ca.key_fits(issued)
        {
            self.breaks("2: a certificate is stored with a key that is not its own".to_owned());
        }
        let lag = self.lag();
        let looks_empty = self.store.read_late(lag, self.now).0.is_none();
        let stored = match was {
            None if self.setting.policy == Policy::FilledBlindly && looks_empty => {
                Some(self.store.overwrite(document, self.now))
            }
            _ => self.store.swap(was, document, self.now),
        };
        match stored {
            Some(version) => {
                self.hosts[host].wrote = document.written;
                self.wake(host);
                StepOutcome::Stored(version)
            }
            None => StepOutcome::Overtaken,
        }
    }

    fn open(&mut self, host: usize, directory: &str, kept: Option<String>) -> Result<StepOutcome, StepFailure> {
        if let Some(url) = kept {
            self.hosts[host].account = url;
            return Ok(StepOutcome::Opened(None));
        }
        let Some(url) = self.ca.new_account(self.now) else {
            return Err(Fault::wait("making an account", "rateLimited", std::time::Duration::from_secs(3_600)).into());
        };
        self.hosts[host].account.clone_from(&url);
        Ok(StepOutcome::Opened(Some(super::document::Account::sketched_at(directory, url))))
    }

    /// The CA issues, and the rules are checked.
    fn finalize(&mut self, url: &str, key: &str) {
        let order = url.parse().unwrap_or(usize::MAX);
        let (_, document) = self.store.read();
        let Some(number) = self.ca.finalize(order, key, self.now) else { return };
        self.history.certificates += 1;
        let stored = document.order.as_ref().is_some_and(|stored| stored.url == url && **stored.key == *key);
        if !stored {
            self.breaks("2: an order was finalized that is not stored with its key".to_owned());
        }
        // A clock may be off by what is unremarkable, and an instant may pass between a look and this.
        let soon = self.now + Duration::minutes(10);
        let holding = self.ca.holding(&document);
        if let Due::Not(until) = judged(self.wanted, &document, &holding, soon) {
            self.breaks(format!("1: certificate {number} was issued although one was good until {until}"));
        }
        let before = document.certificate.as_ref().map(|issued| issued.chain.clone());
        if !self.store.replaced(before.clone()) {
            self.breaks(format!("1: certificate {number} is the second in the place of {before:?}"));
        }
    }

    /// The vault is lost: what was in it is a real loss.
    fn ruin(&mut self) {
        self.store.forget(self.now);
        self.wake(usize::MAX);
    }

    /// Keeps account of the time without a valid certificate, and checks that there was a reason for it.
    fn covered(&mut self) {
        let (_, document) = self.store.read();
        let until = document.certificate.as_ref().and_then(|issued| self.ca.life(issued)).map(|life| life.not_after);
        match until {
            Some(until) if until > self.now => {
                self.uncover(None);
                if self.expires != Some(until) {
                    self.expires = Some(until);
                    self.at(until, Event::Expiry);
                }
            }
            Some(until) if self.bare.is_none() => {
                self.uncover(Some(until));
                let third = Duration::hours(self.setting.life) / 3;
                let there = self.ca.longest_up(until - third, until);
                let failed = document.ledger.book(DIRECTORY).failed;
                let certainly = CERTAINLY.iter().find(|(attempts, _)| failed <= *attempts);
                if certainly.is_some_and(|(_, long)| there >= *long) && self.setting.policy != Policy::EveryBoot {
                    self.breaks(format!("1: a gap since {until}, although the CA was there for {there}"));
                }
            }
            None if self.bare.is_none() => self.uncover(Some(self.now)),
            _ => {}
        }
    }

    fn uncover(&mut self, since: Option<OffsetDateTime>) {
        if let Some(began) = std::mem::replace(&mut self.bare, since) {
            self.history.uncovered += (self.now - began).whole_minutes();
        }
    }

    fn breaks(&mut self, how: String) {
        self.history.broken.push(format!("{}: {how}", self.now));
    }
}
