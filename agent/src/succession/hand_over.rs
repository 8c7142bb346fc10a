//! What a host leaves to the next one when it is taken.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::{sync::watch, time::sleep};

use crate::{
    claim::Leads, config::OnDeparture, fault::Fault, fleet::FleetClient, keeper::Kept, routing::remove, status::Going,
};

/// How long before the end of an instance its records are removed, if they are: before it stops accepting.
const REMOVE_BEFORE: Duration = Duration::from_secs(20);

/// What a departure is for: whenever the instance is about to be taken and the names lead here, the fleet is asked for a
/// successor, and the claim says that this host goes, so that any host may follow.
///
/// `owes` says that a place is still to be given back, for which the process waits once it has drained.
pub async fn hand_over(
    leads: Kept<Leads>,
    mut fleets: FleetClient,
    mut departs: watch::Receiver<Option<Going>>,
    mut drained: watch::Receiver<bool>,
    owes: watch::Sender<bool>,
) {
    loop {
        if departs.wait_for(|going| going.as_ref().is_some_and(|going| going.until.is_some())).await.is_err() {
            return;
        }
        let until = departs.borrow().as_ref().and_then(|going| going.until);
        let here = matches!(&*leads.borrow(), Some(Leads::Here(_)));
        if let (Some(until), true) = (until, here) {
            let handing = async {
                let floor = handed_over(&leads, &mut fleets).await;
                fleets.remove_records(until).await;
                if let Some(floor) = floor {
                    owes.send_replace(true);
                    if drained.wait_for(|drained| *drained).await.is_ok() {
                        fleets.give_own_place_back(floor).await;
                    }
                    owes.send_replace(false);
                }
            };
            tokio::select! {
                () = handing => {}
                _ = departs.wait_for(Option::is_none) => {
                    owes.send_replace(false);
                    continue;
                }
            }
        }
        if departs.wait_for(Option::is_none).await.is_err() {
            return;
        }
    }
}

/// How many hosts the fleet has at rest, if it was asked for a successor.
async fn handed_over(leads: &Kept<Leads>, fleets: &mut FleetClient) -> Option<u32> {
    let before = fleets.ask_for_successor(leads).await.unwrap_or_else(|fault| {
        tracing::warn!(%fault, "no successor was asked for");
        None
    });
    let asked = before.is_some();
    let claimed = leads.borrow().as_ref().and_then(claimed_target);
    let floor = before.map(|before| fleets.floor(claimed).unwrap_or(before));
    let mut tries = 0;
    loop {
        let (aws, host) = (fleets.aws.borrow().clone(), fleets.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return floor };
        match fleets.ledger.depart(&aws, &host, asked, before).await {
            Ok(said) => {
                tracing::info!(said, asked, "the claim says that this host goes");
                return floor;
            }
            Err(fault) => {
                tries += 1;
                tracing::warn!(%fault, tries, "the claim does not say yet that this host goes");
                sleep(fault.pause(tries).min(Duration::from_secs(5))).await;
            }
        }
    }
}

impl FleetClient {
    /// Shortly before the end, and only where that is wanted and nobody has followed.
    async fn remove_records(&self, until: OffsetDateTime) {
        if self.on_departure == OnDeparture::Keep {
            return;
        }
        let left = Duration::try_from(until - OffsetDateTime::now_utc()).unwrap_or_default();
        sleep(left.saturating_sub(REMOVE_BEFORE)).await;
        let (aws, host) = (self.aws.borrow().clone(), self.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return };
        match remove(&self.ledger, &aws, &host).await {
            Ok(removed) => tracing::info!(removed, "the records that lead here"),
            Err(fault) => tracing::warn!(%fault, "the records that lead here stay"),
        }
    }

    /// When nobody is answered any more: a group that is told to end this host, and to lower its target with it, starts nobody
    /// in its place. In the other fleets a lowered target ends nobody, and the successor gives the place back.
    async fn give_own_place_back(&mut self, floor: u32) {
        let given = async {
            match self.look().await? {
                // Somebody may have lowered the target meanwhile.
                Some(fleet) if fleet.leaves_in_one && fleet.target > floor => self.end(false).await,
                _ => Ok(()),
            }
        };
        if let Err(fault) = given.await {
            tracing::warn!(%fault, "the place of this host is not given back");
        }
    }

    /// Raises the target by one, unless somebody is on the way already; what it was before.
    async fn ask_for_successor(&mut self, leads: &Kept<Leads>) -> Result<Option<u32>, Fault> {
        let claimed = leads.borrow().as_ref().and_then(claimed_target);
        let Some(fleet) = self.look().await? else { return Ok(None) };
        if self.floor(claimed).is_some_and(|floor| fleet.target > floor) || fleet.members > fleet.target {
            return Ok(None);
        }
        self.set_target(fleet.target + 1).await?;
        tracing::info!(target = fleet.target + 1, "a successor is asked for");
        Ok(Some(fleet.target))
    }
}

/// How many hosts the fleet has at rest, as this host's claim says.
fn claimed_target(leads: &Leads) -> Option<u32> {
    match leads {
        Leads::Here(here) => here.target,
        Leads::Elsewhere(_) => None,
    }
}
