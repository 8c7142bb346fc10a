//! The board and the status: the one account of how the host is doing.
//!
//! Keepers report to the [`Board`]; everything that tells people (the log, `spothost status`, systemd's status
//! line) reads the [`Status`] that the board keeps. What a part is doing now is kept apart from how its last
//! round ended, so that a slow call never hides an old fault.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::{sync::watch, time::Instant};

use crate::{
    departure::Going,
    fault::{Cure, Fault},
};

mod file;
pub mod systemd;

pub use file::{read, write, write_changes};

/// How many spans of the boot are remembered; a host that cannot boot must not grow.
const MOST_SPANS: usize = 200;

/// The parts of a host, in boot order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Facts about this instance.
    Host,
    /// The site that the bucket holds.
    Package,
    /// The certificate and its vault.
    Certificate,
    /// The servers on the ports.
    Listener,
    /// The records that lead here.
    Address,
    /// Notices and signals.
    Departure,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::Host => "host",
            Part::Package => "package",
            Part::Certificate => "certificate",
            Part::Listener => "listener",
            Part::Address => "address",
            Part::Departure => "departure",
        })
    }
}

/// How a part stands after its last round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// No round has ended yet.
    Starting,
    /// Something it needs from another part is not there yet.
    Waiting,
    /// As it should be.
    Kept,
    /// It holds something, but its last round failed: it goes on with what it has.
    Degraded,
    /// It holds nothing and its last round failed.
    Failing,
    /// Another host has the right to it; this one stands aside.
    StandingAside,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Phase::Starting => "starting",
            Phase::Waiting => "waiting",
            Phase::Kept => "kept",
            Phase::Degraded => "degraded",
            Phase::Failing => "failing",
            Phase::StandingAside => "standing aside",
        })
    }
}

/// The last fault of a part, as people are told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFault {
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was being done.
    pub doing: String,
    /// What came back.
    pub said: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
    /// What would cure it.
    pub cure: Cure,
    /// How many rounds in a row have failed; 0 once a later round went well.
    pub tries: u32,
}

/// How one part is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartStatus {
    /// Which part.
    pub part: Part,
    /// How its last round ended.
    pub phase: Phase,
    /// What it is doing at this moment, if anything.
    pub doing: Option<String>,
    /// What it needs from other parts before it can start.
    pub needs: Vec<Part>,
    /// What it waits for, in words, while it waits.
    pub waits_for: Option<String>,
    /// What it holds.
    pub holds: Option<String>,
    /// Since when it has held exactly that.
    #[serde(with = "time::serde::rfc3339::option")]
    pub since: Option<OffsetDateTime>,
    /// The last fault; `tries` 0 says that it is over.
    pub fault: Option<LastFault>,
    /// When it looks next.
    #[serde(with = "time::serde::rfc3339::option")]
    pub next_look: Option<OffsetDateTime>,
    /// Notes of what it holds that a person should know: lines of `_redirects` that were not understood and the like.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What a part spent a stretch of the boot on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spent {
    /// Waiting for another part.
    Waiting,
    /// Looking at how things are.
    Looking,
    /// Correcting them.
    Correcting,
    /// Waiting to try again after a fault.
    Pausing,
}

/// A stretch of the boot of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Whose.
    pub part: Part,
    /// Spent on what.
    pub spent: Spent,
    /// The same in words.
    pub what: String,
    /// Beginning, in milliseconds after the start of the process.
    pub from: u64,
    /// End, likewise; none while it lasts.
    pub to: Option<u64>,
}

/// The whole account of a host, as it stands in the state file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Process id of the agent.
    pub pid: u32,
    /// The canonical name of the site.
    pub domain: String,
    /// When the process started.
    #[serde(with = "time::serde::rfc3339")]
    pub started: OffsetDateTime,
    /// When this account was last changed.
    #[serde(with = "time::serde::rfc3339")]
    pub updated: OffsetDateTime,
    /// Where the host stands as a whole.
    pub phase: HostPhase,
    /// Why and until when the host goes, once it does.
    pub going: Option<Going>,
    /// The parts in boot order.
    pub parts: Vec<PartStatus>,
    /// The boot: what each part spent its time on until it first held something.
    pub boot: Vec<Span>,
}

/// Where a host stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPhase {
    /// Some part has never held anything yet.
    Booting,
    /// Every part is as it should be.
    Serving,
    /// It serves, but some part goes on with what it had.
    Degraded,
    /// It serves, and another host owns the name.
    StandingAside,
    /// It goes.
    Departing,
    /// It has gone: the process ended after a drain.
    Gone,
}

impl fmt::Display for HostPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HostPhase::Booting => "booting",
            HostPhase::Serving => "serving",
            HostPhase::Degraded => "degraded",
            HostPhase::StandingAside => "standing aside",
            HostPhase::Departing => "departing",
            HostPhase::Gone => "gone",
        })
    }
}

impl Status {
    /// One line for a person, as systemd shows it: what is served, or what is waited for.
    pub fn line(&self) -> String {
        let troubled = self.parts.iter().find(|p| !matches!(p.phase, Phase::Kept | Phase::StandingAside));
        match (self.phase, troubled) {
            (HostPhase::Departing, _) => match &self.going {
                Some(going) => format!("departing: {going}"),
                None => "departing".to_owned(),
            },
            (phase, None) => format!("{phase} {}", self.domain),
            (phase, Some(part)) => {
                format!("{phase} {}: {} {}", self.domain, part.part, part.story())
            }
        }
    }

    fn judged(&self) -> HostPhase {
        let any = |phase| self.parts.iter().any(|p| p.phase == phase);
        match self.phase {
            HostPhase::Gone => HostPhase::Gone,
            _ if self.going.is_some() => HostPhase::Departing,
            _ if any(Phase::Starting) || any(Phase::Waiting) || any(Phase::Failing) => HostPhase::Booting,
            _ if any(Phase::Degraded) => HostPhase::Degraded,
            _ if any(Phase::StandingAside) => HostPhase::StandingAside,
            _ => HostPhase::Serving,
        }
    }
}

impl PartStatus {
    fn new(part: Part, needs: &[Part]) -> PartStatus {
        PartStatus {
            part,
            phase: Phase::Starting,
            doing: None,
            needs: needs.to_vec(),
            waits_for: None,
            holds: None,
            since: None,
            fault: None,
            next_look: None,
            notes: Vec::new(),
        }
    }

    /// How it stands, in one phrase.
    pub fn story(&self) -> String {
        match (self.phase, &self.fault, &self.waits_for, &self.doing) {
            (Phase::Degraded | Phase::Failing, Some(fault), _, _) => {
                format!("{}: {}", fault.doing, fault.said)
            }
            (Phase::Waiting, _, Some(need), _) => format!("waits for {need}"),
            (Phase::Starting, _, _, Some(doing)) => format!("is {doing}"),
            (phase, ..) => phase.to_string(),
        }
    }
}

/// Where keepers report. Cheap to clone; all clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    status: Arc<watch::Sender<Status>>,
    start: Instant,
}

impl Board {
    /// A board for the host of `domain`, with nothing on it yet.
    pub fn new(domain: &str) -> Board {
        let now = OffsetDateTime::now_utc();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            domain: domain.to_owned(),
            started: now,
            updated: now,
            phase: HostPhase::Booting,
            going: None,
            parts: Vec::new(),
            boot: Vec::new(),
        };
        Board { status: Arc::new(watch::Sender::new(status)), start: Instant::now() }
    }

    /// The status as it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A place on the board for `part`, which needs `needs`.
    pub fn place(&self, part: Part, needs: &[Part]) -> Place {
        self.change(|status, _| {
            status.parts.retain(|p| p.part != part);
            status.parts.push(PartStatus::new(part, needs));
            status.parts.sort_by_key(|p| p.part);
        });
        Place { board: self.clone(), part }
    }

    /// Says that the host goes.
    pub fn going(&self, going: &Going) {
        tracing::info!(reason = %going, "departing");
        self.change(|status, _| status.going = Some(going.clone()));
    }

    /// Says that the drain is over.
    pub fn gone(&self) {
        self.change(|status, _| status.phase = HostPhase::Gone);
    }

    fn change(&self, change: impl FnOnce(&mut Status, u64)) {
        let at = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.status.send_modify(|status| {
            change(status, at);
            let was = status.phase;
            status.phase = status.judged();
            status.updated = OffsetDateTime::now_utc();
            if was != status.phase {
                tracing::info!(state = %status.phase, %was, "host");
            }
        });
    }
}

/// The place of one part on the board.
#[derive(Clone, Debug)]
pub struct Place {
    board: Board,
    part: Part,
}

impl Place {
    /// Which part this is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The part is now spending its time on `what`.
    pub fn doing(&self, spent: Spent, what: impl Into<String>) {
        let what = what.into();
        self.change(|part, boot, at| {
            begin_span(boot, part, at, spent, what.clone());
            part.doing = Some(what);
            part.next_look = None;
        });
    }

    /// The part holds `holds`, and that is as it should be; it looks again after `next`.
    pub fn kept(&self, holds: &str, notes: Vec<String>, next: Duration) {
        let fault = |part: &mut PartStatus| {
            if let Some(fault) = part.fault.as_mut() {
                fault.tries = 0;
            }
        };
        self.settle(Phase::Kept, next, |part| {
            fault(part);
            part.waits_for = None;
            part.notes = notes;
            hold(part, holds);
        });
    }

    /// The part holds `holds` now, while its round goes on.
    pub fn holds(&self, holds: &str) {
        self.change(|part, _, _| hold(part, holds));
    }

    /// Another host has the right to what this part keeps.
    pub fn stands_aside(&self, why: &str, next: Duration) {
        self.settle(Phase::StandingAside, next, |part| {
            part.waits_for = None;
            hold(part, why);
        });
    }

    /// The part cannot start before it is given `need`.
    pub fn waits(&self, need: &str) {
        self.change(|part, boot, at| {
            begin_span(boot, part, at, Spent::Waiting, format!("for {need}"));
            part.phase = Phase::Waiting;
            part.doing = None;
            part.next_look = None;
            part.waits_for = Some(need.to_owned());
        });
    }

    /// The round failed for the `tries`th time in a row; the part tries again after `pause`.
    pub fn failed(&self, fault: &Fault, tries: u32, pause: Duration) {
        let (part, seconds) = (self.part, pause.as_secs_f32());
        let next = format!("{seconds:.1}s");
        // A fault that stays is said ever more rarely.
        match (fault.cure, tries) {
            (_, 4..) if !tries.is_power_of_two() => {}
            (Cure::Operator, _) => {
                tracing::error!(%fault, tries, next, "{part}: a person is needed")
            }
            (_, 1..=3) => tracing::info!(%fault, tries, next, "{part} failed"),
            _ => tracing::warn!(%fault, tries, next, "{part} failed"),
        }
        let phase = |part: &PartStatus| {
            if part.holds.is_some() { Phase::Degraded } else { Phase::Failing }
        };
        self.change(|part, boot, at| {
            begin_span(boot, part, at, Spent::Pausing, fault.to_string());
            part.phase = phase(part);
            part.doing = None;
            part.waits_for = None;
            part.next_look = Some(soon(pause));
            part.fault = Some(LastFault {
                at: OffsetDateTime::now_utc(),
                doing: fault.doing.clone(),
                said: fault.said.clone(),
                remedy: fault.remedy.clone(),
                cure: fault.cure,
                tries,
            });
        });
    }

    fn settle(&self, phase: Phase, next: Duration, change: impl FnOnce(&mut PartStatus)) {
        self.change(|part, boot, at| {
            end_span(boot, part.part, at);
            change(part);
            part.phase = phase;
            part.doing = None;
            part.next_look = Some(soon(next));
        });
    }

    fn change(&self, change: impl FnOnce(&mut PartStatus, &mut Vec<Span>, u64)) {
        self.board.change(|status, at| {
            let Some(part) = status.parts.iter_mut().find(|p| p.part == self.part) else {
                return;
            };
            let (was, held) = (part.phase, part.holds.clone());
            change(part, &mut status.boot, at);
            if was != part.phase || held != part.holds {
                let holds = part.holds.as_deref().unwrap_or("nothing");
                tracing::info!(state = %part.phase, %was, holds, "{}", part.part);
            }
        });
    }
}

fn hold(part: &mut PartStatus, holds: &str) {
    if part.holds.as_deref() != Some(holds) {
        part.holds = Some(holds.to_owned());
        part.since = Some(OffsetDateTime::now_utc());
    }
}

/// Begins a span of the boot, which lasts until the part first holds something. A wait that goes on is one span.
fn begin_span(boot: &mut Vec<Span>, part: &PartStatus, at: u64, spent: Spent, what: String) {
    end_span(boot, part.part, at);
    if part.since.is_some() {
        return;
    }
    let there_is_room = boot.len() < MOST_SPANS;
    match boot.iter_mut().rev().find(|span| span.part == part.part) {
        Some(last) if spent == Spent::Waiting && last.spent == spent && last.what == what => last.to = None,
        _ if there_is_room => boot.push(Span { part: part.part, spent, what, from: at, to: None }),
        _ => {}
    }
}

fn end_span(boot: &mut [Span], part: Part, at: u64) {
    if let Some(span) = boot.iter_mut().rev().find(|s| s.part == part && s.to.is_none()) {
        span.to = Some(at);
    }
}

fn soon(pause: Duration) -> OffsetDateTime {
    SystemTime::now().checked_add(pause).map_or_else(OffsetDateTime::now_utc, OffsetDateTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT: Duration = Duration::from_secs(10);

    fn status(board: &Board) -> Status {
        board.watch().borrow().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn host_is_booting_until_every_part_holds_something() {
        let board = Board::new("www.example.org");
        let package = board.place(Part::Package, &[]);
        let listener = board.place(Part::Listener, &[Part::Package]);
        package.kept("site.zip", Vec::new(), NEXT);
        listener.waits("the certificate");
        assert_eq!(status(&board).phase, HostPhase::Booting);
        assert_eq!(status(&board).line(), "booting www.example.org: listener waits for the certificate");
        listener.kept("443", Vec::new(), NEXT);
        assert_eq!(status(&board).phase, HostPhase::Serving);
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_held_something_degrades_and_part_that_did_not_fails() {
        let board = Board::new("www.example.org");
        let place = board.place(Part::Package, &[]);
        let fault = Fault::retry("listing", "500");
        place.failed(&fault, 1, NEXT);
        assert_eq!(status(&board).parts[0].phase, Phase::Failing);
        place.kept("site.zip", Vec::new(), NEXT);
        let since = status(&board).parts[0].since;
        place.failed(&fault, 1, NEXT);
        let part = &status(&board).parts[0];
        assert_eq!((part.phase, part.since), (Phase::Degraded, since));
        assert_eq!(part.fault.as_ref().map(|f| f.tries), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn boot_remembers_what_each_stretch_was_spent_on_and_stops_once_held() {
        let board = Board::new("www.example.org");
        let place = board.place(Part::Package, &[]);
        place.waits("the host");
        tokio::time::advance(Duration::from_millis(30)).await;
        place.doing(Spent::Looking, "listing");
        tokio::time::advance(Duration::from_millis(20)).await;
        place.kept("site.zip", Vec::new(), NEXT);
        place.doing(Spent::Looking, "listing again");
        let spans: Vec<_> = status(&board).boot.iter().map(|s| (s.spent, s.from, s.to)).collect();
        assert_eq!(spans, [(Spent::Waiting, 0, Some(30)), (Spent::Looking, 30, Some(50))]);
    }

    #[tokio::test(start_paused = true)]
    async fn boot_that_never_ends_does_not_grow_without_bound() {
        let board = Board::new("www.example.org");
        let place = board.place(Part::Package, &[]);
        for tries in 1..1_000 {
            place.doing(Spent::Looking, "listing");
            place.failed(&Fault::retry("listing", "500"), tries, NEXT);
        }
        assert_eq!(status(&board).boot.len(), MOST_SPANS);
    }
}
