//! Keeper: why this host goes, and how long it has.
//!
//! It looks for notices and signals, and says to all other keepers that the host departs, or stays after all. A signal ends
//! the agent after a short drain. A spot notice comes two minutes before the instance is taken, best
//! effort; it is looked for every few seconds
//! (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).

use std::time::Duration;

use time::OffsetDateTime;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

pub mod supervisor;

use crate::{
    aws::{
        Aws,
        metadata::{Metadata, Notice},
    },
    clock,
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    status::{Board, Part, SIGNAL_HARD, Shutdown},
};

/// A clock that is off by less is taken for right: `Date` tells whole seconds, and answers take their time.
const UNREMARKABLE: time::Duration = time::Duration::seconds(5);
/// How long before the end of an instance a notice comes, at most.
const LONGEST_NOTICE: time::Duration = time::Duration::minutes(2);

impl Shutdown {
    /// The instance is about to be taken.
    pub fn by_notice(notice: &Notice) -> Shutdown {
        let returns = notice.action == "hibernate";
        Shutdown { why: format!("spot notice: {}", notice.action), until: Some(notice.time), returns }
    }

    /// Ends at another signal during the drain. After a notice the first signal comes from the shutdown of
    /// the instance, so answers under way still get their time.
    pub async fn hurried(&self, signals: &mut Signals) {
        signals.next().await;
        if self.until.is_some() {
            tokio::select! {
                _ = signals.next() => {}
                () = tokio::time::sleep(SIGNAL_HARD) => {}
            }
        }
    }
}

/// The signals that end the agent.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When the kernel does not let them be caught.
    pub fn catch() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The next signal, as a reason to go.
    pub async fn next(&mut self) -> Shutdown {
        tokio::select! {
            _ = self.terminate.recv() => Shutdown::by_signal("SIGTERM"),
            _ = self.interrupt.recv() => Shutdown::by_signal("SIGINT"),
        }
    }
}

/// Says to all keepers that the host departs. Cheap to clone; all clones say it together.
#[derive(Clone, Debug)]
pub struct Departing {
    says: watch::Sender<Option<Shutdown>>,
    board: Board,
}

impl Departing {
    /// A host that stays, as `board` is told.
    pub fn new(board: Board) -> Departing {
        Departing { says: watch::Sender::new(None), board }
    }

    /// Why and until when the host departs, as it is said.
    pub fn watch(&self) -> watch::Receiver<Option<Shutdown>> {
        self.says.subscribe()
    }

    /// Says that the host departs; the first reason stays.
    pub fn goes(&self, going: Shutdown) {
        if self.says.borrow().is_none() {
            self.board.going(&going);
            self.says.send_replace(Some(going));
        }
    }

    /// Says that the host stays after all.
    fn stays(&self) {
        self.board.stays();
        self.says.send_replace(None);
    }

    fn said(&self) -> Option<Shutdown> {
        self.says.borrow().clone()
    }
}

/// Whether EC2 or systemd wants this host gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It may stay.
    None,
    /// EC2 recommends to move to another instance before it may have to take this one
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html>).
    Recommended,
    /// The instance is about to be taken.
    Taken(Shutdown),
    /// The process is to end.
    Ends(Shutdown),
}

impl Interruption {
    /// Why and until when the host has to go, if it has to.
    fn going(&self) -> Option<&Shutdown> {
        match self {
            Interruption::None | Interruption::Recommended => None,
            Interruption::Taken(going) | Interruption::Ends(going) => Some(going),
        }
    }
}

/// One look at notices and signals.
pub struct DepartureObservation {
    interruption: Result<Interruption, Fault>,
    /// What the keepers were told last.
    said: Option<Shutdown>,
}

/// The news for the keepers.
pub enum DepartureDrift {
    /// That the host departs.
    Goes(Shutdown),
    /// That it stays after all.
    Stays,
}

/// Keeper of the departure.
pub struct Departure {
    /// None outside AWS.
    notices: Option<Notices>,
    look: Duration,
    /// None where another process hears them.
    signals: Option<Signals>,
    /// The signal that has come.
    signalled: Option<Shutdown>,
    departing: Departing,
}

impl Departure {
    /// Looks for `notices` every `look`, and listens for `signals`.
    pub fn new(notices: Option<Notices>, look: Duration, signals: Option<Signals>, departing: Departing) -> Departure {
        Departure { notices, look, signals, signalled: None, departing }
    }
}

/// Where notices are found.
pub struct Notices {
    metadata: Metadata,
    aws: Kept<Aws>,
    /// The notice as it was first seen, and when by this host's own clock it is carried out.
    noticed: Option<(Notice, OffsetDateTime)>,
}

impl Notices {
    /// Those in `metadata`; by `aws` it is known how far the clock of this host is off.
    pub fn new(metadata: Metadata, aws: Kept<Aws>) -> Notices {
        Notices { metadata, aws, noticed: None }
    }

    /// Disabled metadata is looked for as often as ever: a notice leaves no time to come back late.
    async fn interruption(&mut self) -> Result<Result<Interruption, Fault>, Fault> {
        match tokio::try_join!(self.metadata.notice(), self.metadata.rebalance()) {
            Ok((Some(notice), _)) => Ok(Ok(Interruption::Taken(Shutdown::by_notice(&self.by_our_clock(notice))))),
            Ok((None, true)) => Ok(Ok(Interruption::Recommended)),
            Ok((None, false)) => Ok(Ok(Interruption::None)),
            Err(fault) if fault.cure == Cure::Operator => Ok(Err(fault)),
            Err(fault) => Err(fault),
        }
    }

    /// The notice with its time by this host's own clock, which stays what it was when the notice was first seen.
    fn by_our_clock(&mut self, notice: Notice) -> Notice {
        if self.noticed.as_ref().is_none_or(|(known, _)| *known != notice) {
            let ahead = self.aws.borrow().as_ref().and_then(Aws::ahead);
            let at = by_our_clock(notice.time, ahead, clock::now());
            self.noticed = Some((notice.clone(), at));
        }
        let time = self.noticed.as_ref().map_or(notice.time, |(_, at)| *at);
        Notice { time, ..notice }
    }
}

/// Resolves when the first signal has come, as it is remembered from then on.
async fn signalled(signals: &mut Option<Signals>, first: &mut Option<Shutdown>) -> Shutdown {
    let going = match (&first, signals) {
        (Some(going), _) => going.clone(),
        (None, Some(signals)) => signals.next().await,
        (None, None) => std::future::pending().await,
    };
    first.insert(going).clone()
}

/// When by a clock that says `now`, and is so far `ahead` of AWS's, comes what AWS announces for `time`. However wrong the
/// clock is, no notice is longer than two minutes.
pub(crate) fn by_our_clock(time: OffsetDateTime, ahead: Option<time::Duration>, now: OffsetDateTime) -> OffsetDateTime {
    let off = ahead.filter(|ahead| ahead.abs() >= UNREMARKABLE).unwrap_or_default();
    (time + off).min(now + LONGEST_NOTICE)
}

impl Keeper for Departure {
    type Observation = DepartureObservation;
    type Drift = DepartureDrift;
    type Held = Interruption;
    const PART: Part = Part::Departure;
    const GOES_ON: bool = true;

    fn pace(&self) -> Pace {
        let brief = Duration::from_secs(10);
        Pace { look: self.look, observe: brief, converge: brief, longest_pause: self.look }
    }

    async fn woken(&mut self) {
        if self.signalled.is_some() {
            std::future::pending::<()>().await;
        }
        signalled(&mut self.signals, &mut self.signalled).await;
    }

    /// A signal does not have to wait for metadata that do not answer, and once it has come nothing else is looked for: after a
    /// notice it comes from the shutdown of the instance.
    async fn observe(&mut self) -> Result<DepartureObservation, Fault> {
        let notices = async {
            match &mut self.notices {
                Some(notices) => notices.interruption().await,
                None => Ok(Ok(Interruption::None)),
            }
        };
        let interruption = tokio::select! {
            biased;
            going = signalled(&mut self.signals, &mut self.signalled) => Ok(Interruption::Ends(going)),
            looked = notices => looked?,
        };
        Ok(DepartureObservation { interruption, said: self.departing.said() })
    }

    fn judge(
        &self,
        DepartureObservation { interruption, said }: DepartureObservation,
    ) -> Judgement<Interruption, DepartureDrift> {
        let interruption = match interruption {
            Ok(interruption) => interruption,
            Err(fault) => return Judgement::Refused(fault),
        };
        let drift = match (interruption.going(), said) {
            (Some(going), None) => DepartureDrift::Goes(going.clone()),
            // A notice may be withdrawn. That the host leaves its fleet is final.
            (None, Some(said)) if said.until.is_some() => DepartureDrift::Stays,
            _ => return Judgement::Kept(interruption),
        };
        Judgement::Drifted { drift, meanwhile: Some(interruption) }
    }

    async fn converge(&mut self, drift: DepartureDrift) -> Result<(), Fault> {
        match drift {
            DepartureDrift::Goes(going) => self.departing.goes(going),
            DepartureDrift::Stays => self.departing.stays(),
        }
        Ok(())
    }

    fn holding(held: &Interruption) -> String {
        match held {
            Interruption::None => "no notice".to_owned(),
            Interruption::Recommended => "EC2 recommends to move to another instance".to_owned(),
            Interruption::Taken(going) | Interruption::Ends(going) => going.to_string(),
        }
    }

    fn drifting(drift: &DepartureDrift) -> String {
        match drift {
            DepartureDrift::Goes(going) => format!("departing: {going}"),
            DepartureDrift::Stays => "staying after all".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn only_a_notice_is_taken_back() {
        let departing = Departing::new(Board::new("www.example.org"));
        let departure = Departure::new(None, Duration::from_secs(5), None, departing);
        let taken = Shutdown { until: Some(datetime!(2026-11-21 12:00 UTC)), ..Shutdown::by_signal("spot notice") };
        let signal = Shutdown::by_signal("SIGTERM");
        let table = [
            (Interruption::None, None, "as it is"),
            (Interruption::Recommended, None, "as it is"),
            (Interruption::Taken(taken.clone()), None, "spot notice"),
            (Interruption::Taken(taken.clone()), Some(&taken), "as it is"),
            (Interruption::None, Some(&taken), "stays"),
            (Interruption::Ends(signal.clone()), None, "SIGTERM"),
            // After a notice the signal comes from the shutdown of the instance: there is nothing new in it.
            (Interruption::Ends(signal.clone()), Some(&taken), "as it is"),
            (Interruption::None, Some(&Shutdown::by_leaving()), "as it is"),
        ];
        for (interruption, said, expected) in table {
            let what = format!("{interruption:?}, {said:?}");
            let said =
                match departure.judge(DepartureObservation { interruption: Ok(interruption), said: said.cloned() }) {
                    Judgement::Drifted { drift: DepartureDrift::Goes(going), .. } => going.why,
                    Judgement::Drifted { drift: DepartureDrift::Stays, .. } => "stays".to_owned(),
                    _ => "as it is".to_owned(),
                };
            assert_eq!(said, expected, "{what}");
        }
    }

    #[test]
    fn notice_is_carried_out_by_the_clock_of_aws_and_not_by_that_of_the_host() {
        let now = datetime!(2026-11-21 12:00 UTC);
        let seconds = time::Duration::seconds;
        let table = [
            ("clocks agree", 100, Some(0), 100),
            ("nothing is known", 100, None, 100),
            ("some seconds mean nothing", 100, Some(4), 100),
            ("the host is ten minutes ahead", 100 - 600, Some(600), 100),
            ("the host is ten minutes behind", 100 + 600, Some(-600), 100),
            ("behind, and nothing is known", 100 + 600, None, 120),
            ("it should have happened", -30, Some(0), -30),
        ];
        for (what, time, ahead, expected) in table {
            assert_eq!(by_our_clock(now + seconds(time), ahead.map(seconds), now), now + seconds(expected), "{what}");
        }
    }
}
