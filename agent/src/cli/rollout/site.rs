//! The site and its fleet, as a caller outside of it sees them.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::{BAD_CONFIGURATION, NOT_AS_IT_SHOULD_BE, Stop, published_at::aws_session};
use crate::{
    aws::{
        Aws,
        caller::Caller,
        fleet::AwsFleet,
        instances::{Ec2Instance, Instances},
    },
    claim::{Claim, NameService, is_instance_id},
    config::{Config, RoutingMode},
    fault::{Cure, Fault},
    place::Location,
    probe::Heard,
    routing::led_to,
    succession::Sight,
};

/// How often something that time may cure is tried.
const TRIES: u32 = 6;

/// A site with a zone and a fleet.
pub(in crate::cli) struct FleetSite {
    pub(in crate::cli) name_service: NameService,
    pub(in crate::cli) aws: Aws,
    pub(in crate::cli) fleet: AwsFleet,
    /// The region and account in which the fleet is.
    pub(in crate::cli) location: Option<Location>,
    /// How many hosts the fleet has at rest, where that is configured.
    pub(super) floor: Option<u32>,
}

impl FleetSite {
    /// The fleet that the configuration names, else that of the host which owns the names.
    pub(in crate::cli) async fn find(config: &Config) -> Result<FleetSite, Stop> {
        let no_zone = || Stop::new(BAD_CONFIGURATION, "without `zone` there is no succession");
        let name_service = NameService::of(config).ok_or_else(no_zone)?;
        let aws = aws_session().await?;
        let caller = again(async || Caller::ask(&aws).await).await?;
        let location = Location::new(&aws.region(), &caller.account);
        let fleet = match &config.fleet.id {
            Some(id) => Some(AwsFleet::named(&aws, id)),
            None => match again(async || some_host(&name_service, &aws).await).await? {
                Some(host) => {
                    host.is_in(location.as_ref())?;
                    again(async || AwsFleet::found(&aws, &host.instance, &BTreeMap::new()).await).await?
                }
                None => None,
            },
        };
        let fleet = fleet.ok_or_else(|| {
            Stop::new(NOT_AS_IT_SHOULD_BE, "the hosts of this site belong to no fleet: name one, [fleet] id = \"…\"")
        })?;
        Ok(FleetSite { name_service, aws, fleet, location, floor: config.fleet.target })
    }

    /// How many hosts the fleet has at rest: as configured, else as the claim says of it.
    pub(super) fn at_rest(&self, claim: Option<&Claim>) -> Option<u32> {
        self.floor.or(claim.and_then(|claim| claim.target_in(self.location.as_ref())))
    }

    /// Looks at the claim, at the fleet, and at each of its hosts.
    pub(super) async fn look(&self) -> Result<Sight, Fault> {
        again(async || self.seen().await).await
    }

    /// Sets the target of the fleet; one that is being modified refuses that for a while.
    pub(super) async fn set_target(&self, target: u32) -> Result<(), Fault> {
        again(async || self.fleet.set_target(target).await).await
    }

    async fn seen(&self) -> Result<Sight, Fault> {
        let claim = self.name_service.claim(&self.aws).await?;
        // Asked once: a host that went between two answers would be counted out, and never said to be gone.
        let members = self.fleet.members().await?;
        let fleet = self.fleet.state_of(&members).await?;
        let machines = Instances::new(&self.aws).listed(&members).await?;
        let hosts = join_all(machines.into_iter().map(async |machine| {
            // Where the owner answers is for its claim to say.
            let claimed = claim.as_ref().filter(|claim| claim.instance == machine.id).and_then(|claim| claim.at);
            let heard = match claimed.or(machine.address) {
                Some(address) => self.name_service.heard_at(address).await,
                None => Heard::Nothing,
            };
            (machine.id, heard)
        }));
        let hosts = hosts.await;
        let answers = match &claim {
            Some(claim) => match hosts.iter().find(|(host, _)| *host == claim.instance) {
                Some((_, heard)) => *heard == Heard::Site,
                None => self.name_service.answers(claim).await,
            },
            None => false,
        };
        Ok(Sight { claim, answers, fleet, hosts })
    }

    /// Whether that is the host which the fleet has launched last.
    pub(super) async fn is_youngest(&self, instance: &str) -> Result<bool, Fault> {
        let machines = again(async || {
            let members = self.fleet.members().await?;
            Instances::new(&self.aws).listed(&members).await
        });
        let machines = machines.await?;
        // What EC2 does not know yet was launched a moment ago.
        let age = |machine: &&Ec2Instance| (machine.launched.is_none(), machine.launched, machine.id.clone());
        let youngest = machines.iter().max_by_key(age);
        Ok(youngest.is_some_and(|machine| machine.id == instance))
    }
}

/// A host of the site: the owner of the names, or any of those that they all lead to.
struct SomeHost {
    instance: String,
    /// Where it is, if it says so.
    location: Option<Location>,
}

impl SomeHost {
    /// Refuses one that is elsewhere: the fleet that is meant cannot be found by it.
    fn is_in(&self, here: Option<&Location>) -> Result<(), Stop> {
        let SomeHost { instance, location } = self;
        match (location, here) {
            (Some(there), Some(here)) if there != here => {
                let said = format!(
                    "{instance} holds the names, and is in {} (account {}), not in {here}: ask there, with AWS_REGION={}, or \
                     name the fleet that is meant: [fleet] id = \"…\"",
                    there.region, there.account, there.region
                );
                Err(Stop::new(BAD_CONFIGURATION, said))
            }
            _ => Ok(()),
        }
    }
}

async fn some_host(name_service: &NameService, aws: &Aws) -> Result<Option<SomeHost>, Fault> {
    match name_service.leading {
        RoutingMode::Multivalue => {
            // Hosts of other regions have records there, too.
            let led: Vec<_> =
                led_to(name_service, aws).await?.into_iter().filter(|host| is_instance_id(host)).collect();
            let known = Instances::new(aws).described(&led).await?.into_iter().next();
            Ok(known.map(|machine| SomeHost { instance: machine.id, location: None }))
        }
        RoutingMode::Records | RoutingMode::ElasticIp(..) => {
            let claim = name_service.claim(aws).await?;
            Ok(claim.map(|claim| SomeHost { instance: claim.instance, location: claim.location }))
        }
    }
}

/// Tries again what time may cure.
pub(super) async fn again<T>(mut step: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    let mut tries = 1;
    loop {
        match step().await {
            Err(fault) if tries < TRIES && fault.cure != Cure::Operator => {
                sleep(fault.pause(tries)).await;
                tries += 1;
            }
            done => return done,
        }
    }
}
