//! The fleet as hosts use it: what it is to have at rest, whose turn it is to leave, and what may be spent.
//!
//! Turns and budgets are objects beside the packages, by S3's conditional writes: they outlive the hosts, and S3's clock
//! alone says when one has run out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

use crate::{
    aws::{
        Aws, FleetState, Host,
        compute::IS_BUILT_IN,
        fleet::AwsFleet,
        lease::{Asked, LeaseObject},
    },
    chance,
    claim::{Claim, NameService},
    config::{Config, OnDeparture},
    documents::Layout,
    fault::Fault,
    keeper::Kept,
    place::{Location, PackagePlace, S3Prefix},
};

/// How long one host's turn to leave lasts: longer than an instance takes to end.
const TURN: Duration = Duration::from_secs(180);
/// At most one successor is asked for early in this time, by all hosts together.
const EARLY: Duration = Duration::from_secs(3600);
/// What was spent comes back after this time.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// How long a fleet may take to carry out a change of its target.
const SETTLE: Duration = Duration::from_secs(240);

mod at_rest;

pub use at_rest::AtRest;

/// The way to the fleet.
#[derive(Clone)]
pub struct FleetClient {
    named: Option<String>,
    target: Option<u32>,
    bucket: Option<S3Prefix>,
    name_service: NameService,
    on_departure: OnDeparture,
    aws: Kept<Aws>,
    host: Kept<Host>,
    found: Arc<OnceCell<Option<AwsFleet>>>,
}

impl FleetClient {
    /// The way to the fleet of `host` that `config` names, or that the tags of the instance name.
    pub fn new(config: &Config, name_service: NameService, aws: Kept<Aws>, host: Kept<Host>) -> FleetClient {
        let bucket = match &config.package {
            PackagePlace::Bucket(bucket) => Some(bucket.clone()),
            PackagePlace::Disk(_) => None,
        };
        FleetClient {
            named: config.fleet.id.clone(),
            target: config.fleet.target,
            bucket,
            name_service,
            on_departure: config.on_departure,
            aws,
            host,
            found: Arc::default(),
        }
    }

    /// How many hosts it has at rest: as configured, else as `claimed`.
    pub(crate) fn floor(&self, claimed: Option<u32>) -> Option<u32> {
        self.target.or(claimed)
    }

    /// Waits until it has carried out its last change.
    pub(crate) async fn settled(&mut self) -> Result<FleetState, Fault> {
        let begun = Instant::now();
        loop {
            match self.look().await? {
                Some(fleet) if fleet.settled => return Ok(fleet),
                Some(_) if begun.elapsed() < SETTLE => sleep(Duration::from_secs(2)).await,
                Some(_) => return Err(Fault::retry("waiting for the fleet", "it is still being modified")),
                None => return Err(no_fleet()),
            }
        }
    }

    /// Whether the host of that claim, which is another than this one, answers for the domain, now.
    pub(crate) async fn answers(&self, claim: &Claim) -> bool {
        let host = self.host.borrow().clone();
        let Some(host) = host else { return false };
        // Where an Elastic IP leads people, an answer there is the claimant's only if it leads to that one.
        let aws = self.aws.borrow().clone();
        let Some(aws) = aws else { return false };
        if !self.name_service.leads_to(&aws, claim).await.unwrap_or(false) {
            return false;
        }
        self.name_service.heard(&host, claim).await.answers()
    }

    /// Whether the host at that address answers for the domain, now.
    pub(crate) async fn answers_at(&self, address: IpAddr) -> bool {
        self.name_service.answers_at(address).await
    }

    /// The claim as it stands.
    pub(crate) async fn claim(&self) -> Result<Option<Claim>, Fault> {
        let aws = self.aws.borrow().clone();
        match aws {
            Some(aws) => self.name_service.claim(&aws).await,
            None => Ok(None),
        }
    }

    /// The AWS session and who this host is, once both are known.
    pub(crate) fn known(&self) -> Option<(Aws, Host)> {
        let aws = self.aws.borrow().clone();
        aws.zip(self.host.borrow().clone())
    }

    /// Where the names of its hosts are.
    pub(crate) fn names(&self) -> &NameService {
        &self.name_service
    }

    /// Whether the records that lead to a host that is taken are removed if none has followed.
    pub(crate) fn removes_records(&self) -> bool {
        self.on_departure == OnDeparture::Remove
    }

    /// Says in the claim that this host goes, if it holds the names; and whether the fleet, which had the target `asked` before,
    /// was asked for a successor.
    pub(crate) async fn say_departing(&self, asked: Option<u32>) -> Result<(), Fault> {
        let Some((aws, host)) = self.known() else { return Ok(()) };
        let said = self.name_service.depart(&aws, &host, asked.is_some(), asked).await?;
        tracing::info!(said, asked = asked.is_some(), "the claim says that this host is leaving");
        Ok(())
    }

    /// Only one host leaves at a time. The turn of one that is no longer counted is over.
    pub(crate) async fn take_turn(&mut self) -> Result<(), Fault> {
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
    pub(crate) async fn take_the_hours_turn(&self) -> Result<(), Fault> {
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
    pub(crate) async fn spend_a_replacement(&self, many: u32) -> Result<(), Fault> {
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
            format!("the {many} replacements of a day are used up; the cause is probably not this host"),
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
        let S3Prefix { bucket, prefix } = self.bucket.as_ref()?;
        let aws = self.aws.borrow().clone()?;
        Some(LeaseObject::new(&aws, bucket.clone(), key(&Layout::new(prefix))))
    }

    /// A name that is used once, so that not even the same host spends the same thing twice.
    fn spender(&self) -> Result<String, Fault> {
        Ok(format!("{}/{:08x}", self.instance()?, chance::number() as u32))
    }

    /// Whether this host has a public address.
    pub(crate) fn is_placed(&self) -> bool {
        self.host.borrow().as_ref().and_then(Host::public).is_some()
    }

    /// Where this host is.
    pub(crate) fn location(&self) -> Option<Location> {
        self.host.borrow().as_ref().and_then(Host::location)
    }

    /// The id of this host's instance.
    pub(crate) fn instance(&self) -> Result<String, Fault> {
        self.host.borrow().as_ref().map(|host| host.instance.clone()).ok_or_else(no_fleet)
    }
}

impl FleetClient {
    /// Whether it is known that there is none.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.found.get(), Some(None))
    }

    /// Looks at it; none without one.
    pub(crate) async fn look(&mut self) -> Result<Option<FleetState>, Fault> {
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

    pub(crate) async fn set_target(&mut self, target: u32) -> Result<(), Fault> {
        self.fleet().await?.ok_or_else(no_fleet)?.set_target(target).await
    }

    /// The other hosts that it counts, with their public addresses.
    pub(crate) async fn others(&mut self) -> Result<Vec<(String, Option<IpAddr>)>, Fault> {
        let me = self.instance()?;
        let aws = self.aws.borrow().clone().ok_or_else(no_fleet)?;
        let mut members = self.fleet().await?.ok_or_else(no_fleet)?.members().await?;
        members.retain(|member| *member != me);
        // One that EC2 does not know yet cannot be asked, so nothing is said of it.
        let machines = crate::aws::instances::Instances::new(&aws).described(&members).await?;
        Ok(machines.into_iter().map(|machine| (machine.id, machine.address)).collect())
    }

    /// Ends another of its hosts, which is not replaced.
    pub(crate) async fn dismiss(&mut self, instance: &str) -> Result<(), Fault> {
        self.fleet().await?.ok_or_else(no_fleet)?.end(instance, false).await
    }

    /// Ends this instance.
    pub(crate) async fn end(&mut self, replaced: bool) -> Result<(), Fault> {
        let instance = self.instance()?;
        self.fleet().await?.ok_or_else(no_fleet)?.end(&instance, replaced).await
    }

    async fn fleet(&self) -> Result<Option<AwsFleet>, Fault> {
        let Some((aws, host)) = self.known() else { return Ok(None) };
        let found = self.found.get_or_try_init(|| async {
            let found = match &self.named {
                _ if !IS_BUILT_IN => None,
                Some(id) => Some(AwsFleet::named(&aws, id)),
                None => AwsFleet::found(&aws, &host.instance, &host.tags).await?,
            };
            tracing::info!(fleet = found.as_ref().map_or("none", AwsFleet::id), "the fleet of this host");
            Ok(found)
        });
        Ok(found.await?.clone())
    }
}

fn no_fleet() -> Fault {
    Fault::retry("asking the fleet", "there is none, or this program was built without the feature `fleet`")
}

fn no_bucket(doing: &str) -> Fault {
    Fault::operator(
        doing,
        "no bucket to keep the budget in",
        "keep packages in a bucket: hosts count the replacements beside them",
    )
}
