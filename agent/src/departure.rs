//! Keeper: why we go and how long we have.
//!
//! A signal ends the agent after a short drain. A spot notice comes two minutes before the instance is taken, best
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
    fault::{Cure, Fault},
    keeper::{Judgement, Keeper, Kept, Pace},
    status::{Board, Going, Part, SIGNAL_HARD},
};

/// A clock that is off by less is taken for right: `Date` tells whole seconds, and answers take their time.
const UNREMARKABLE: time::Duration = time::Duration::seconds(5);
/// How long before the end of an instance a notice comes, at most.
const LONGEST_NOTICE: time::Duration = time::Duration::minutes(2);

impl Going {
    /// The instance is about to be taken.
    pub fn by_notice(notice: &Notice) -> Going {
        let returns = notice.action == "hibernate";
        Going { why: format!("spot notice: {}", notice.action), until: Some(notice.time), returns }
    }

    /// Ends when somebody signals again during the drain. After a notice the first signal comes from the shutdown of
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
    pub async fn next(&mut self) -> Going {
        tokio::select! {
            _ = self.terminate.recv() => Going::by_signal("SIGTERM"),
            _ = self.interrupt.recv() => Going::by_signal("SIGINT"),
        }
    }
}

/// Sends the reason to go to everybody: a signal, that the host is leaving its fleet, or what the notices yield. A notice
/// that is withdrawn is taken back; the others are final.
pub async fn decide(
    mut signals: Signals,
    mut notices: watch::Receiver<Option<Outlook>>,
    mut leaving: watch::Receiver<Option<Going>>,
    board: Board,
    departing: watch::Sender<Option<Going>>,
) {
    let leaves = async {
        let left = leaving.wait_for(Option::is_some).await.is_ok();
        if !left {
            std::future::pending::<()>().await;
        }
        Going::by_leaving()
    };
    let noticed = async {
        loop {
            let outlook = notices.borrow_and_update().clone();
            let departs = departing.borrow().is_some();
            match (outlook, departs) {
                (Some(Outlook::Taken(going)), false) => {
                    board.going(&going);
                    departing.send_replace(Some(going));
                }
                (Some(Outlook::Stays | Outlook::Recommended), true) => {
                    board.stays();
                    departing.send_replace(None);
                }
                _ => {}
            }
            if notices.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let going = tokio::select! {
        going = signals.next() => going,
        going = leaves => going,
        never = noticed => never,
    };
    // After a notice the signal comes from the shutdown of the instance: there is nothing new in it.
    let departs = departing.borrow().is_some();
    if !departs {
        board.going(&going);
        departing.send_replace(Some(going));
    }
}

/// What the notices say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// Nobody wants this host gone.
    Stays,
    /// EC2 recommends to move to another instance before it may have to take this one
    /// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/rebalance-recommendations.html>).
    Recommended,
    /// The instance is about to be taken.
    Taken(Going),
}

/// Keeper of the notices: it looks for them, and corrects nothing.
pub struct Notices {
    metadata: Metadata,
    aws: Kept<Aws>,
    look: Duration,
    /// The notice as it was first seen, and when by this host's own clock it is carried out.
    noticed: Option<(Notice, OffsetDateTime)>,
}

impl Notices {
    /// Looks for notices every `look`; by `aws` it is known how far the clock of this host is off.
    pub fn new(metadata: Metadata, aws: Kept<Aws>, look: Duration) -> Notices {
        Notices { metadata, aws, look, noticed: None }
    }

    /// The notice with its time by this host's own clock, which stays what it was when the notice was first seen.
    fn by_our_clock(&mut self, notice: Notice) -> Notice {
        if self.noticed.as_ref().is_none_or(|(known, _)| *known != notice) {
            let ahead = self.aws.borrow().as_ref().and_then(Aws::ahead);
            let at = by_our_clock(notice.time, ahead, OffsetDateTime::now_utc());
            self.noticed = Some((notice.clone(), at));
        }
        let time = self.noticed.as_ref().map_or(notice.time, |(_, at)| *at);
        Notice { time, ..notice }
    }
}

/// When by a clock that says `now`, and is so far `ahead` of AWS's, comes what AWS announces for `time`. However wrong the
/// clock is, no notice is longer than two minutes.
pub(crate) fn by_our_clock(time: OffsetDateTime, ahead: Option<time::Duration>, now: OffsetDateTime) -> OffsetDateTime {
    let off = ahead.filter(|ahead| ahead.abs() >= UNREMARKABLE).unwrap_or_default();
    (time + off).min(now + LONGEST_NOTICE)
}

impl Keeper for Notices {
    type Seen = Result<(Option<Notice>, bool), Fault>;
    type Drift = std::convert::Infallible;
    type Held = Outlook;
    const PART: Part = Part::Departure;
    const GOES_ON: bool = true;

    fn pace(&self) -> Pace {
        Pace { look: self.look, observe: Duration::from_secs(10), converge: Duration::ZERO, longest_pause: self.look }
    }

    /// Metadata that somebody has disabled is looked for as often as ever: a notice leaves no time to come back late.
    async fn observe(&mut self) -> Result<Self::Seen, Fault> {
        match tokio::try_join!(self.metadata.notice(), self.metadata.rebalance()) {
            Ok((notice, rebalance)) => Ok(Ok((notice.map(|notice| self.by_our_clock(notice)), rebalance))),
            Err(fault) if fault.cure == Cure::Operator => Ok(Err(fault)),
            Err(fault) => Err(fault),
        }
    }

    fn judge(&self, seen: Self::Seen) -> Judgement<Outlook, Self::Drift> {
        match seen {
            Ok((None, false)) => Judgement::Kept(Outlook::Stays),
            Ok((None, true)) => Judgement::Kept(Outlook::Recommended),
            Ok((Some(notice), _)) => Judgement::Kept(Outlook::Taken(Going::by_notice(&notice))),
            Err(fault) => Judgement::Refused(fault),
        }
    }

    async fn converge(&mut self, drift: Self::Drift) -> Result<(), Fault> {
        match drift {}
    }

    fn holding(held: &Outlook) -> String {
        match held {
            Outlook::Stays => "no notice".to_owned(),
            Outlook::Recommended => "EC2 recommends to move to another instance".to_owned(),
            Outlook::Taken(going) => going.to_string(),
        }
    }

    fn drifting(drift: &Self::Drift) -> String {
        match *drift {}
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

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
