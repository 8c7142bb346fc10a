//! The fleet as hosts use it: what it is to have at rest, whose turn it is to leave, and what may be spent.
//!
//! Turns and budgets are objects beside the packages, by S3's conditional writes: they outlive the hosts, and S3's clock
//! alone says when one has run out.

use std::{net::IpAddr, time::Duration};

use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    aws::{
        Aws, Crew, Host,
        compute::IS_BUILT_IN,
        fleet::Fleet,
        lease::{Asked, LeaseObject},
    },
    claim::{Claim, Leads, Ledger},
    config::{Config, OnDeparture},
    documents::Layout,
    fault::Fault,
    keeper::Kept,
    place::{Bucket, Location, PackagePlace},
    status::Going,
};

/// How long one host's turn to leave lasts: longer than an instance takes to end.
const TURN: Duration = Duration::from_secs(180);
/// At most one successor is asked for early in this time, by all hosts together.
const EARLY: Duration = Duration::from_secs(3600);
/// What was spent comes back after this time.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long before the end of an instance its records are removed, if they are: before it stops accepting.
const REMOVE_BEFORE: Duration = Duration::from_secs(20);
/// How long a fleet may take to carry out a change of its target.
const SETTLE: Duration = Duration::from_secs(240);

/// The way to the fleet.
#[derive(Clone)]
pub struct Fleets {
    named: Option<String>,
    target: Option<u32>,
    bucket: Option<Bucket>,
    ledger: Ledger,
    on_departure: OnDeparture,
    aws: Kept<Aws>,
    host: Kept<Host>,
    found: Option<Option<Fleet>>,
}

impl Fleets {
    /// The way to the fleet of `host` that `config` names, or that the tags of the instance name.
    pub fn new(config: &Config, ledger: Ledger, aws: Kept<Aws>, host: Kept<Host>) -> Fleets {
        let bucket = match &config.package {
            PackagePlace::Bucket(bucket) => Some(bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        Fleets {
            named: config.fleet.id.clone(),
            target: config.fleet.target,
            bucket,
            ledger,
            on_departure: config.on_departure,
            aws,
            host,
            found: None,
        }
    }

    /// How many hosts it has at rest: as configured, else as `claimed`.
    pub(super) fn floor(&self, claimed: Option<u32>) -> Option<u32> {
        self.target.or(claimed)
    }

    /// Waits until it has carried out its last change.
    pub(super) async fn settled(&mut self) -> Result<Crew, Fault> {
        let begun = Instant::now();
        loop {
            match self.look().await? {
                Some(crew) if crew.settled => return Ok(crew),
                Some(_) if begun.elapsed() < SETTLE => sleep(Duration::from_secs(2)).await,
                Some(_) => return Err(Fault::retry("waiting for the fleet", "it is still being modified")),
                None => return Err(no_fleet()),
            }
        }
    }

    /// Whether the host of that claim, which is another than this one, answers for the domain, now.
    pub(super) async fn answers(&self, claim: &Claim) -> bool {
        let host = self.host.borrow().clone();
        let Some(host) = host else { return false };
        // Where an Elastic IP leads people, an answer there is the claimant's only if it leads to that one.
        let aws = self.aws.borrow().clone();
        let Some(aws) = aws else { return false };
        if !self.ledger.leads_to(&aws, claim).await.unwrap_or(false) {
            return false;
        }
        self.ledger.heard(&host, claim).await.answers()
    }

    /// Whether whoever is at that address answers for the domain, now.
    pub(super) async fn answers_at(&self, address: IpAddr) -> bool {
        self.ledger.answers_at(address).await
    }

    /// The claim as it stands.
    pub(super) async fn claim(&self) -> Result<Option<Claim>, Fault> {
        let aws = self.aws.borrow().clone();
        match aws {
            Some(aws) => self.ledger.claim(&aws).await,
            None => Ok(None),
        }
    }

    /// Only one host leaves at a time. The turn of one that is no longer counted is over.
    pub(super) async fn take_turn(&mut self) -> Result<(), Fault> {
        let Some(object) = self.object(Layout::leaving) else { return Ok(()) };
        let me = self.turn_of(self.instance()?);
        let asked = match object.ask(&me, TURN).await? {
            Asked::Theirs { holder, .. } if !self.may_count(&holder).await? => {
                object.ask_after(&me, TURN, Some(&holder)).await?
            }
            asked => asked,
        };
        match asked {
            Asked::Ours(_) => Ok(()),
            Asked::Theirs { holder, left } => {
                let said = format!("it is the turn of {holder}");
                Err(Fault::wait("leaving the fleet", said, left.min(Duration::from_secs(15))))
            }
            Asked::Denied(fault) => Err(fault),
        }
    }

    /// As whom a host asks for its turn: hosts elsewhere know by that that it is none of their fleet.
    fn turn_of(&self, instance: String) -> String {
        match self.location() {
            Some(location) => format!("{instance}@{location}"),
            None => instance,
        }
    }

    /// Whether a holder of the turn may still be there: one that is elsewhere, or one that the fleet counts.
    async fn may_count(&mut self, holder: &str) -> Result<bool, Fault> {
        let (instance, there) = holder.split_once('@').map_or((holder, None), |(id, there)| (id, there.parse().ok()));
        if there.is_some() && there != self.location() {
            return Ok(true);
        }
        self.counts(instance).await
    }

    /// At most one early successor an hour.
    pub(super) async fn take_the_hours_turn(&self) -> Result<(), Fault> {
        match self.asked(Layout::early, &self.spender()?, EARLY).await? {
            Some(Asked::Ours(_)) => Ok(()),
            Some(Asked::Theirs { left, .. }) => {
                let said = "one was asked for within the hour";
                Err(Fault::wait("asking for a successor early", said, left))
            }
            Some(Asked::Denied(fault)) => Err(fault),
            None => Err(no_bucket("asking for a successor early")),
        }
    }

    /// One of so `many` replacements a day.
    pub(super) async fn spend_a_replacement(&self, many: u32) -> Result<(), Fault> {
        let doing = "ending, to be replaced";
        let mut soonest = DAY;
        for number in 1..=many {
            match self.asked(|layout| layout.replacement(number), &self.spender()?, DAY).await? {
                Some(Asked::Ours(_)) => return Ok(()),
                Some(Asked::Theirs { left, .. }) => soonest = soonest.min(left),
                Some(Asked::Denied(fault)) => return Err(fault),
                None => return Err(no_bucket(doing)),
            }
        }
        Err(Fault::wait(
            doing,
            format!("the {many} replacements of a day are spent: what is wrong is not the host"),
            soonest,
        ))
    }

    async fn asked(
        &self,
        key: impl FnOnce(&Layout) -> String,
        holder: &str,
        life: Duration,
    ) -> Result<Option<Asked>, Fault> {
        match self.object(key) {
            Some(object) => object.ask(holder, life).await.map(Some),
            None => Ok(None),
        }
    }

    fn object(&self, key: impl FnOnce(&Layout) -> String) -> Option<LeaseObject> {
        let Bucket { bucket, prefix } = self.bucket.as_ref()?;
        let aws = self.aws.borrow().clone()?;
        Some(LeaseObject::new(&aws, bucket.clone(), key(&Layout::new(prefix))))
    }

    /// A name that is used once, so that not even the same host spends the same thing twice.
    fn spender(&self) -> Result<String, Fault> {
        Ok(format!("{}/{:08x}", self.instance()?, fastrand::u32(..)))
    }

    /// Whether this host has a public address.
    pub(super) fn is_placed(&self) -> bool {
        self.host.borrow().as_ref().and_then(Host::public).is_some()
    }

    /// Where this host is.
    pub(super) fn location(&self) -> Option<Location> {
        self.host.borrow().as_ref().and_then(Host::location)
    }

    /// The id of this host's instance.
    pub(super) fn instance(&self) -> Result<String, Fault> {
        self.host.borrow().as_ref().map(|host| host.instance.clone()).ok_or_else(no_fleet)
    }
}

impl Fleets {
    /// Whether it is known that there is none.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.found, Some(None))
    }

    /// Looks at it; none without one.
    pub(super) async fn look(&mut self) -> Result<Option<Crew>, Fault> {
        match self.fleet().await? {
            Some(fleet) => fleet.look().await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether `instance` is one of its hosts.
    async fn counts(&mut self, instance: &str) -> Result<bool, Fault> {
        let members = self.fleet().await?.ok_or_else(no_fleet)?.members().await?;
        Ok(members.iter().any(|member| member == instance))
    }

    pub(super) async fn set_target(&mut self, target: u32) -> Result<(), Fault> {
        self.fleet().await?.ok_or_else(no_fleet)?.set_target(target).await
    }

    /// The other hosts that it counts, with their public addresses.
    pub(super) async fn others(&mut self) -> Result<Vec<(String, Option<IpAddr>)>, Fault> {
        let (me, aws) = (self.instance()?, self.aws.borrow().clone().ok_or_else(no_fleet)?);
        let mut members = self.fleet().await?.ok_or_else(no_fleet)?.members().await?;
        members.retain(|member| *member != me);
        // One that EC2 does not know yet cannot be asked, so nothing is said of it.
        let machines = crate::aws::instances::Instances::new(&aws).described(&members).await?;
        Ok(machines.into_iter().map(|machine| (machine.id, machine.address)).collect())
    }

    /// Ends another of its hosts, which is not replaced.
    pub(super) async fn dismiss(&mut self, instance: &str) -> Result<(), Fault> {
        self.fleet().await?.ok_or_else(no_fleet)?.end(instance, false).await
    }

    /// Ends this instance.
    pub(super) async fn end(&mut self, replaced: bool) -> Result<(), Fault> {
        let instance = self.instance()?;
        self.fleet().await?.ok_or_else(no_fleet)?.end(&instance, replaced).await
    }

    async fn fleet(&mut self) -> Result<Option<Fleet>, Fault> {
        if let Some(found) = &self.found {
            return Ok(found.clone());
        }
        let (aws, host) = (self.aws.borrow().clone(), self.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return Ok(None) };
        let found = match &self.named {
            _ if !IS_BUILT_IN => None,
            Some(id) => Some(Fleet::named(&aws, id)),
            None => Fleet::found(&aws, &host.instance, &host.tags).await?,
        };
        tracing::info!(fleet = found.as_ref().map_or("none", Fleet::id), "the fleet of this host");
        self.found = Some(found.clone());
        Ok(found)
    }
}

/// What a departure is for: whenever the instance is about to be taken and the names lead here, the fleet is asked for a
/// successor, and the claim says that this host goes, so that any host may follow.
///
/// `owes` says that a place is still to be given back, for which the process waits once it has drained.
pub async fn hand_over(
    leads: Kept<Leads>,
    mut fleets: Fleets,
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
async fn handed_over(leads: &Kept<Leads>, fleets: &mut Fleets) -> Option<u32> {
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

impl Fleets {
    /// Shortly before the end, and only where that is wanted and nobody has followed.
    async fn remove_records(&self, until: OffsetDateTime) {
        if self.on_departure == OnDeparture::Keep {
            return;
        }
        let left = Duration::try_from(until - OffsetDateTime::now_utc()).unwrap_or_default();
        sleep(left.saturating_sub(REMOVE_BEFORE)).await;
        let (aws, host) = (self.aws.borrow().clone(), self.host.borrow().clone());
        let (Some(aws), Some(host)) = (aws, host) else { return };
        match self.ledger.remove(&aws, &host).await {
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
                Some(crew) if crew.leaves_in_one && crew.target > floor => self.end(false).await,
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
        let Some(crew) = self.look().await? else { return Ok(None) };
        if self.floor(claimed).is_some_and(|floor| crew.target > floor) || crew.members > crew.target {
            return Ok(None);
        }
        self.set_target(crew.target + 1).await?;
        tracing::info!(target = crew.target + 1, "a successor is asked for");
        Ok(Some(crew.target))
    }
}

/// How many hosts the fleet has at rest, as this host's claim says.
fn claimed_target(leads: &Leads) -> Option<u32> {
    match leads {
        Leads::Here(here) => here.target,
        Leads::Elsewhere(_) => None,
    }
}

fn no_fleet() -> Fault {
    Fault::retry("asking the fleet", "there is none, or this program was built without the feature `fleet`")
}

fn no_bucket(doing: &str) -> Fault {
    Fault::operator(
        doing,
        "there is nowhere to count",
        "keep packages in a bucket: what is spent is counted beside them",
    )
}
