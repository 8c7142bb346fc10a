//! How many hosts the fleet has at rest, for a claim that does not say it yet.
//!
//! A release may raise the target before there is a claim to note it in, so the number is looked for from the first look at
//! the claim on. The keeper that writes the claim has it looked for beside its own work: a fleet that does not answer holds
//! nothing up.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::FleetClient;
use crate::{aws::FleetState, fault::Fault};

/// The number of hosts that the fleet has at rest, looked for while it is asked for.
pub struct AtRest {
    fleets: FleetClient,
    look: Duration,
    asked: bool,
    /// When the fleet is looked at next.
    next: Instant,
    /// A look that is under way, which goes on whatever the keeper does meanwhile.
    under_way: Option<JoinHandle<Result<Option<FleetState>, Fault>>>,
    least: Option<u32>,
}

impl AtRest {
    /// Looks at the fleet every `look` while the number is asked for.
    pub fn new(fleets: FleetClient, look: Duration) -> AtRest {
        AtRest { fleets, look, asked: false, next: Instant::now(), under_way: None, least: None }
    }

    /// Says whether the number is needed.
    pub(crate) fn ask(&mut self, needed: bool) {
        self.asked = needed;
    }

    /// The lowest target that was seen.
    pub(crate) fn least(&self) -> Option<u32> {
        self.least
    }

    /// Looks at the fleet as often as is due, until a lower target is seen; never resolves while the number is not asked for.
    /// Where it is configured no claim has to say it, and nothing is looked for. Safe to cancel.
    pub(crate) async fn changed(&mut self) {
        while self.asked && self.fleets.floor(None).is_none() && !self.fleets.is_none() {
            if self.under_way.is_none() {
                sleep_until(self.next).await;
            }
            let mut fleets = self.fleets.clone();
            let looking = self.under_way.get_or_insert_with(|| tokio::spawn(async move { fleets.look().await }));
            let looked =
                looking.await.unwrap_or_else(|panic| Err(Fault::retry("looking at the fleet", panic.to_string())));
            self.under_way = None;
            self.next = Instant::now() + self.look;
            match looked {
                Ok(Some(fleet)) if self.least.is_none_or(|least| fleet.target < least) => {
                    self.least = Some(fleet.target);
                    return;
                }
                Ok(_) => {}
                // The succession looks at the fleet as well, and tells what keeps it from that.
                Err(fault) => {
                    tracing::debug!(%fault, "the claim does not say yet how many hosts the fleet has at rest")
                }
            }
        }
        std::future::pending().await
    }
}
