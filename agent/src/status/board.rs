//! The board: where keepers report.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::OffsetDateTime;
use tokio::{sync::watch, time::Instant};

use super::{HostPhase, LastFault, Part, PartPhase, PartStatus, Role, Served, Shutdown, Span, Spent, Status};
use crate::{
    clock,
    fault::{Cure, Fault},
};

/// How many spans of the boot are remembered; a host that cannot boot must not grow.
const MOST_SPANS: usize = 200;

/// How many notes are told at once; `_redirects` of another host's making can have hundreds.
const MOST_NOTES: usize = 20;

/// A part that has not moved so long after the time by which it wanted to does not look any more.
const GRACE: Duration = Duration::from_secs(60);

/// Where keepers report. Cheap to clone; all clones are the same board.
#[derive(Clone, Debug)]
pub struct Board {
    status: Arc<watch::Sender<Status>>,
    start: Instant,
    /// By when each part is to move.
    moves: Arc<Mutex<BTreeMap<Part, Instant>>>,
}

impl Board {
    /// A board for the host of `domain`, with nothing on it yet.
    pub fn new(domain: &str) -> Board {
        let now = clock::now();
        let status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            domain: domain.to_owned(),
            started: now,
            updated: now,
            phase: HostPhase::Booting,
            role: Role::Booting,
            role_since: None,
            role_confirmed: false,
            going: None,
            parts: Vec::new(),
            served: Served::default(),
            boot: Vec::new(),
        };
        Board { status: Arc::new(watch::Sender::new(status)), start: Instant::now(), moves: Arc::default() }
    }

    /// The status as it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A place on the board for `part`, which needs `needs`.
    pub fn place(&self, part: Part, needs: &[Part]) -> Reporter {
        self.change(|status, _| {
            status.parts.retain(|p| p.part != part);
            status.parts.push(PartStatus::new(part, needs));
            status.parts.sort_by_key(|p| p.part);
        });
        Reporter { board: self.clone(), part }
    }

    /// Says that the host goes.
    pub fn going(&self, going: &Shutdown) {
        tracing::info!(reason = %going, "departing");
        self.change(|status, _| status.going = Some(going.clone()));
        self.role(Role::Departing, &going.to_string());
    }

    /// Says that the host stays after all.
    pub fn stays(&self) {
        tracing::info!("staying: the notice was withdrawn");
        self.change(|status, _| status.going = None);
    }

    /// Says what the host is in the succession, and why. While it departs it is nothing else: a look that was under way
    /// then does not know of it.
    pub fn role(&self, role: Role, why: &str) {
        let was = {
            let status = self.status.borrow();
            if status.going.is_some() && role != Role::Departing {
                return;
            }
            status.role
        };
        if was != role {
            tracing::info!(%role, %was, why, "succession");
            self.change(|status, _| (status.role, status.role_since) = (role, Some(clock::now())));
        }
    }

    /// Sets the traffic so far.
    pub fn served(&self, served: Served) {
        if self.status.borrow().served != served {
            self.change(|status, _| status.served = served);
        }
    }

    /// A part that has stopped looking: it did not do what it was about to do, and time limits did not end it either.
    pub fn overdue(&self) -> Option<Part> {
        let now = Instant::now();
        self.moves().iter().find(|(_, by)| **by < now).map(|(part, _)| *part)
    }

    fn moves(&self) -> MutexGuard<'_, BTreeMap<Part, Instant>> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
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
            status.role_confirmed = status.confirmed();
            status.updated = clock::now();
            if was != status.phase {
                tracing::info!(state = %status.phase, %was, "host");
            }
        });
    }
}

/// The place of one part on the board.
#[derive(Clone, Debug)]
pub struct Reporter {
    board: Board,
    part: Part,
}

impl Reporter {
    /// Which part this is.
    pub fn part(&self) -> Part {
        self.part
    }

    /// The part does something else within `time`, be it to say that it failed.
    pub fn moves_within(&self, time: Duration) {
        // A pause beyond the range of the clock has no deadline.
        match Instant::now().checked_add(time.saturating_add(GRACE)) {
            Some(by) => drop(self.board.moves().insert(self.part, by)),
            None => self.rests(),
        }
    }

    /// The part does nothing from now on, as it should.
    pub fn rests(&self) {
        self.board.moves().remove(&self.part);
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

    /// What the part is doing has come so far.
    pub fn goes_on(&self, what: String) {
        self.change(|part, _, _| part.doing = Some(what));
    }

    /// The part holds `holds`, and that is as it should be; it looks again after `next`.
    pub fn kept(&self, holds: &str, notes: Vec<String>, next: Duration) {
        let fault = |part: &mut PartStatus| {
            if let Some(fault) = part.fault.as_mut() {
                fault.tries = 0;
            }
        };
        self.tell_news(&notes);
        self.settle(PartPhase::Kept, next, |part| {
            fault(part);
            part.waits_for = None;
            part.notes = notes;
            hold(part, holds);
        });
    }

    /// Warns of notes on the site that were not there before: its author reads the log. Those of other parts have
    /// figures in them that change with each look.
    fn tell_news(&self, notes: &[String]) {
        if self.part != Part::Package {
            return;
        }
        let status = self.board.status.borrow();
        let known = status.parts.iter().find(|part| part.part == self.part).map_or(&[][..], |part| &part.notes[..]);
        let news: Vec<_> = notes.iter().filter(|note| !known.contains(note)).cloned().collect();
        drop(status);
        for note in news.iter().take(MOST_NOTES) {
            tracing::warn!("{}: {note}", self.part);
        }
        if news.len() > MOST_NOTES {
            tracing::warn!("{}: {} more such notes: see spothost status", self.part, news.len() - MOST_NOTES);
        }
    }

    /// By what the part holds the host is that in the succession.
    pub fn role(&self, role: Role, why: &str) {
        self.board.role(role, why);
    }

    /// The part holds `holds` now, while its round goes on.
    pub fn holds(&self, holds: &str) {
        self.change(|part, _, _| hold(part, holds));
    }

    /// Another host has the right to what this part keeps.
    pub fn stands_aside(&self, why: &str, next: Duration) {
        self.settle(PartPhase::StandingAside, next, |part| {
            part.waits_for = None;
            hold(part, why);
        });
    }

    /// The part cannot start before it is given `need`.
    pub fn waits(&self, need: &str) {
        self.change(|part, boot, at| {
            begin_span(boot, part, at, Spent::Waiting, format!("for {need}"));
            part.phase = PartPhase::Waiting;
            part.doing = None;
            part.next_look = None;
            part.waits_for = Some(need.to_owned());
        });
    }

    /// The round failed for the `tries`th time in a row; the part tries again after `pause`.
    pub fn failed(&self, fault: &Fault, tries: u32, pause: Duration) {
        let part = self.part;
        let seconds = pause.as_secs_f32();
        let next = format!("{seconds:.1}s");
        let phase = |part: &PartStatus| {
            if part.holds.is_some() { PartPhase::Degraded } else { PartPhase::Failing }
        };
        let mut is_another = false;
        self.change(|part, boot, at| {
            is_another =
                part.fault.as_ref().is_none_or(|last| (&last.doing, &last.said) != (&fault.doing, &fault.said));
            begin_span(boot, part, at, Spent::Pausing, fault.to_string());
            part.phase = phase(part);
            part.doing = None;
            part.waits_for = None;
            part.next_look = Some(soon(pause));
            part.fault = Some(LastFault {
                at: clock::now(),
                doing: fault.doing.clone(),
                said: fault.said.clone(),
                remedy: fault.remedy.clone(),
                cure: fault.cure,
                tries,
            });
        });
        // A fault that stays is said ever more rarely; another one for a person is said at once.
        let is_news = is_another && fault.cure == Cure::Operator;
        match (fault.cure, tries) {
            (_, 4..) if !tries.is_power_of_two() && !is_news => {}
            (Cure::Operator, _) => {
                tracing::error!(%fault, tries, next, "{part} needs your attention")
            }
            (_, 1..=3) => tracing::info!(%fault, tries, next, "{part} failed"),
            _ => tracing::warn!(%fault, tries, next, "{part} failed"),
        }
    }

    fn settle(&self, phase: PartPhase, next: Duration, change: impl FnOnce(&mut PartStatus)) {
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
            let was = part.phase;
            let held = part.holds.clone();
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
        part.since = Some(clock::now());
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
    let now = clock::now();
    time::Duration::try_from(pause).ok().and_then(|pause| now.checked_add(pause)).unwrap_or(now)
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
    async fn host_that_serves_is_degraded_and_not_booting_while_its_fleet_cannot_be_read() {
        let board = Board::new("www.example.org");
        let serving = [Part::Host, Part::Package, Part::Certificate, Part::Listener, Part::Address];
        let [host, .., address] = serving.map(|part| {
            let place = board.place(part, &[]);
            place.kept("held", Vec::new(), NEXT);
            place
        });
        let succession = board.place(Part::Succession, &[]);
        assert_eq!(status(&board).phase, HostPhase::Booting, "it has not been looked at yet");
        let fault = Fault::operator("reading the fleet", "UnauthorizedOperation", "allow it");
        succession.failed(&fault, 1, NEXT);
        assert_eq!(status(&board).phase, HostPhase::Degraded);
        assert!(status(&board).line().contains("succession reading the fleet: UnauthorizedOperation"));
        address.stands_aside("another host owns the names", NEXT);
        assert_eq!(status(&board).phase, HostPhase::Degraded);
        succession.kept("a fleet of one", Vec::new(), NEXT);
        assert_eq!(status(&board).phase, HostPhase::StandingAside);
        // Without an address it is no host yet.
        let board = Board::new("www.example.org");
        board.place(Part::Address, &[]).failed(&fault, 1, NEXT);
        assert_eq!(status(&board).phase, HostPhase::Booting);
        drop(host);
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_held_something_degrades_and_part_that_did_not_fails() {
        let board = Board::new("www.example.org");
        let place = board.place(Part::Package, &[]);
        let fault = Fault::retry("listing", "500");
        place.failed(&fault, 1, NEXT);
        assert_eq!(status(&board).parts[0].phase, PartPhase::Failing);
        place.kept("site.zip", Vec::new(), NEXT);
        let since = status(&board).parts[0].since;
        place.failed(&fault, 1, NEXT);
        let part = &status(&board).parts[0];
        assert_eq!((part.phase, part.since), (PartPhase::Degraded, since));
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

    #[test]
    fn host_that_goes_is_departing_until_it_stays_after_all() {
        let board = Board::new("www.example.org");
        board.role(Role::Owner, "the names lead here");
        board.going(&Shutdown::by_signal("SIGTERM"));
        board.role(Role::Owner, "as a look that was under way finds");
        assert_eq!(status(&board).role, Role::Departing);
        board.stays();
        board.role(Role::Owner, "the names lead here");
        assert_eq!(status(&board).role, Role::Owner);
    }

    #[test]
    fn role_is_confirmed_as_long_as_looks_at_the_records_go_well() {
        let board = Board::new("www.example.org");
        let address = board.place(Part::Address, &[]);
        address.kept("all names lead here", Vec::new(), NEXT);
        board.role(Role::Owner, "the names lead here");
        assert!(status(&board).role_confirmed);
        address.failed(&Fault::retry("reading records", "connection refused"), 1, NEXT);
        assert_eq!((status(&board).role, status(&board).role_confirmed), (Role::Owner, false));
        address.kept("all names lead here", Vec::new(), NEXT);
        assert!(status(&board).role_confirmed);
    }

    #[tokio::test(start_paused = true)]
    async fn part_that_does_not_move_in_its_time_is_overdue_until_it_does() {
        let board = Board::new("www.example.org");
        let package = board.place(Part::Package, &[]);
        let address = board.place(Part::Address, &[]);
        package.moves_within(NEXT);
        address.moves_within(Duration::from_secs(3600));
        tokio::time::advance(NEXT + GRACE).await;
        assert_eq!(board.overdue(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(board.overdue(), Some(Part::Package));
        package.moves_within(NEXT);
        assert_eq!(board.overdue(), None);
        package.rests();
        address.moves_within(Duration::MAX);
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(board.overdue(), None);
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
