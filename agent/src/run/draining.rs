//! How a host that goes serves until it has gone.

use std::time::Duration;

use spothost_server::{Drained, Running};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    clock,
    departure::{Signals, supervisor::Released},
    keeper::Kept,
    status::Shutdown,
    succession::{SuccessionState, TrafficMode},
};

/// Of the time that a process has to drain beside its successor, what is left for the last who came if no successor ever
/// accepts.
const LAST: Duration = Duration::from_secs(2);
/// How long a process may drain once its successor accepts, when no process waits for it any more.
const BESIDE: Duration = Duration::from_secs(300);
/// Signals within this time after the first are the same one: systemd may send it to a process and to its supervisor.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// How long a host that has drained may take to give its place in the fleet back.
const GIVE_BACK: Duration = Duration::from_secs(4);
/// No wait is longer: a host that comes back waits anew.
pub(super) const LONGEST_SOFT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The rest of a host that a successor follows in another process: it accepts and answers, as it last did.
pub struct Undrained {
    pub(super) running: Running,
    pub(super) until: Instant,
}

impl Undrained {
    /// How much time it takes at most, however it drains.
    pub fn most(&self) -> Duration {
        self.time() + BESIDE
    }

    fn time(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Accepts until the successor does, and drains; if it was not `released` no successor comes before it has ended, so it
    /// drains at once.
    pub async fn drain(self, released: Option<Released>) -> Drained {
        let hurried = async {
            sleep(SAME_SIGNAL).await;
            match Signals::catch() {
                Ok(mut signals) => drop(signals.next().await),
                Err(_) => std::future::pending().await,
            }
        };
        let counters = self.running.counters();
        let time = self.time();
        let drained = async {
            let succeeded = async {
                match &released {
                    Some(released) => tokio::select! {
                        heard = timeout(time.saturating_sub(LAST), released.succeeded()) => heard.is_ok(),
                        () = released.unfollowed() => false,
                    },
                    None => false,
                }
            };
            let left = if succeeded.await { BESIDE } else { self.time() };
            self.running.drain(Duration::ZERO, left).await
        };
        tokio::select! {
            drained = drained => drained,
            () = hurried => Drained { requests_cut: counters.in_flight() },
        }
    }
}

/// Serves as the succession says until the host has to stop accepting. A notice leaves time until then, in which it can
/// be withdrawn. Also whether somebody was in a hurry.
pub(super) async fn serve_until_gone(
    running: &Running,
    mut standpoint: Kept<SuccessionState>,
    mut departs: watch::Receiver<Option<Shutdown>>,
    beside: bool,
) -> (Shutdown, bool) {
    loop {
        let traffic = standpoint.borrow_and_update().as_ref().map(|standpoint| standpoint.traffic).unwrap_or_default();
        match traffic {
            TrafficMode::Serve => running.resume(),
            TrafficMode::Linger => running.linger(),
        }
        let gone = tokio::select! {
            going = gone(&mut departs) => going,
            Ok(()) = standpoint.changed() => continue,
        };
        running.linger();
        if beside && gone.is_followed_here() {
            return (gone, false);
        }
        let (soft, _) = gone.deadlines(clock::now());
        tokio::select! {
            () = tokio::time::sleep(soft.min(LONGEST_SOFT)) => return (gone, false),
            () = hurried(&gone) => return (gone, true),
            Ok(_) = departs.wait_for(Option::is_none) => {}
        }
    }
}

/// Drains, having told visitors for as long as there was to come back on another connection.
pub(super) async fn drain(running: Running, going: &Shutdown, in_a_hurry: bool) -> Drained {
    let (_, hard) = going.deadlines(clock::now());
    let counters = running.counters();
    let hurried = async {
        if !in_a_hurry {
            hurried(going).await;
        }
    };
    tokio::select! {
        drained = running.drain(Duration::ZERO, hard) => drained,
        () = hurried => Drained { requests_cut: counters.in_flight() },
    }
}

/// Waits until a host that is taken has handed over what it has to, its place in the fleet last, and not for longer than there
/// is.
pub(super) async fn give_back(going: &Shutdown, mut handed_over: watch::Receiver<bool>) {
    let left = going.until.and_then(|until| Duration::try_from(until - clock::now()).ok());
    if let Some(left) = left {
        let _ = timeout(left.min(GIVE_BACK), handed_over.wait_for(|handed_over| *handed_over)).await;
    }
}

/// Another signal meanwhile ends the drain at once.
async fn hurried(going: &Shutdown) {
    match Signals::catch() {
        Ok(mut signals) => going.hurried(&mut signals).await,
        Err(_) => std::future::pending().await,
    }
}

async fn gone(departs: &mut watch::Receiver<Option<Shutdown>>) -> Shutdown {
    match departs.wait_for(Option::is_some).await {
        Ok(going) => going.clone().unwrap_or_else(|| Shutdown::by_signal("the end")),
        Err(_) => Shutdown::by_signal("the end"),
    }
}
