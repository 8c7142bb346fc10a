//! `spothost rollout` where people are led to every host: each is replaced in its turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    time::Instant,
};

use tokio::time::sleep;

use super::{
    super::{BAD_CONFIGURATION, NOT_AS_IT_SHOULD_BE, Stop, TRY_AGAIN},
    Display, FleetSite, LOOK, RolloutCommand,
    site::again,
};
use crate::{
    aws::{FleetState, instances::Instances, publisher_bucket::PublisherBucket},
    config::Config,
    documents::HostDocument,
    fault::Fault,
    place::PackagePlace,
    probe::Heard,
    publish::Catalogue,
    routing::led_to,
    succession::{
        Phases, Sight,
        rolling::{Member, ReplacementStep, RollingReplacement, WaitReason},
    },
};

/// One look at the fleet.
struct FleetLook {
    sight: Sight,
    members: Vec<Member>,
}

impl RolloutCommand {
    pub(super) async fn roll_many(&self, site: &FleetSite, config: &Config) -> Result<ExitCode, Stop> {
        let unknown =
            "with [dns] mode = \"multivalue\" no claim says how many hosts the fleet has at rest: set [fleet] target";
        let floor = site.floor.ok_or_else(|| Stop::new(BAD_CONFIGURATION, unknown))?;
        let mut display = Display::new(self.json);
        let replacement = self.replacement(floor, &look(site, config).await?);
        let mut phases = Phases::default();
        let mut since = (WaitReason::Rest, Instant::now());
        loop {
            let seen = look(site, config).await?;
            let step = replacement.next(&seen.sight.fleet, &seen.members);
            display.tell(&phases.look(&seen.sight), &step);
            if let ReplacementStep::Wait(waiting) = &step
                && since.0 != *waiting
            {
                since = (waiting.clone(), Instant::now());
            }
            match step {
                ReplacementStep::Done(_) => {
                    display.done(&step);
                    return Ok(ExitCode::SUCCESS);
                }
                ReplacementStep::Failed { host, why } => return give_up(site, floor, [host].into(), why).await,
                ReplacementStep::Wait(WaitReason::Boot(host)) if since.1.elapsed() > self.boot => {
                    let boot = humantime::format_duration(self.boot);
                    return give_up(site, floor, [host.clone()].into(), format!("{host} did not answer within {boot}"))
                        .await;
                }
                ReplacementStep::Wait(WaitReason::Launch) if since.1.elapsed() > self.boot => {
                    let boot = humantime::format_duration(self.boot);
                    return give_up(site, floor, BTreeSet::new(), format!("the fleet started no host within {boot}"))
                        .await;
                }
                _ if display.elapsed() > self.timeout => {
                    return Err(Stop::new(TRY_AGAIN, format!("{step}; timed out: run it again to continue")));
                }
                ReplacementStep::Raise(to) | ReplacementStep::Lower(to) => site.set_target(to).await?,
                ReplacementStep::End { host, replaced } => end(site, floor, &seen.sight.fleet, &host, replaced).await?,
                ReplacementStep::Wait(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// A fleet that has more hosts than at rest is in the middle of a roll-out: its youngest host need not be replaced. Nor
    /// need those that are what is wanted already.
    fn replacement(&self, floor: u32, seen: &FleetLook) -> RollingReplacement {
        let program = self.program.clone();
        let package = self.package.clone();
        let wanted = RollingReplacement { old: BTreeSet::new(), program, package, floor };
        let under_way = seen.sight.fleet.target > floor || seen.sight.fleet.members > floor;
        let age = |member: &&Member| (member.launched.is_none(), member.launched, member.id.clone());
        let youngest = seen.members.iter().max_by_key(age);
        let youngest = youngest.filter(|_| under_way).map(|member| member.id.clone());
        let old = seen.members.iter().filter(|member| wanted.is_wanted(member) != Some(true));
        let old = old.map(|member| member.id.clone()).filter(|id| Some(id) != youngest.as_ref()).collect();
        RollingReplacement { old, ..wanted }
    }
}

/// Ends a host. One that is not replaced lowers the target of a group with it, and of another fleet before.
async fn end(site: &FleetSite, floor: u32, fleet: &FleetState, host: &str, replaced: bool) -> Result<(), Fault> {
    if !replaced && !fleet.leaves_in_one && fleet.target > floor {
        site.set_target(floor).await?;
    }
    // A group whose target is at rest already is to keep it: it would not start another for one that is too many.
    let replaced = replaced || (fleet.leaves_in_one && fleet.target <= floor);
    again(async || site.fleet.end(host, replaced).await).await
}

async fn look(site: &FleetSite, config: &Config) -> Result<FleetLook, Fault> {
    again(async || seen(site, config).await).await
}

async fn seen(site: &FleetSite, config: &Config) -> Result<FleetLook, Fault> {
    let ids = site.fleet.members().await?;
    let fleet = site.fleet.state_of(&ids).await?;
    let led = led_to(&site.name_service, &site.aws).await?;
    let said = said(site, config).await?;
    let mut members = Vec::new();
    let mut hosts = Vec::new();
    for machine in Instances::new(&site.aws).listed(&ids).await? {
        let heard = match machine.address {
            Some(address) => site.name_service.heard_at(address).await,
            None => Heard::Nothing,
        };
        let host = said.get(&machine.id);
        members.push(Member {
            led: led.contains(&machine.id),
            answers: heard == Heard::Site,
            launched: machine.launched,
            program: host.and_then(|host| host.program.clone()),
            package: host.and_then(|host| host.etag.clone()),
            id: machine.id.clone(),
        });
        hosts.push((machine.id, heard));
    }
    let sight = Sight { claim: None, answers: false, fleet, hosts };
    Ok(FleetLook { sight, members })
}

/// What hosts say of themselves beside the packages, by instance id.
async fn said(site: &FleetSite, config: &Config) -> Result<BTreeMap<String, HostDocument>, Fault> {
    let PackagePlace::Bucket(place) = &config.package else { return Ok(BTreeMap::new()) };
    let catalogue = Catalogue::read(&PublisherBucket::new(&site.aws, place.clone())).await?;
    let hosts = catalogue.packages.into_iter().flat_map(|package| package.served_by);
    Ok(hosts.map(|host| (host.instance.clone(), host)).collect())
}

/// Ends the `hosts` that came to nothing, and puts the target back.
async fn give_up(site: &FleetSite, floor: u32, hosts: BTreeSet<String>, why: String) -> Result<ExitCode, Stop> {
    let fleet = again(async || site.fleet.look().await).await?;
    for host in &hosts {
        end(site, floor, &fleet, host, false).await?;
    }
    if hosts.is_empty() && fleet.target > floor {
        site.set_target(floor).await?;
    }
    let ended = match hosts.first() {
        Some(host) => format!("; {host} was ended"),
        None => String::new(),
    };
    Err(Stop::new(NOT_AS_IT_SHOULD_BE, format!("{why}; the fleet's target is {floor} again{ended}")))
}
