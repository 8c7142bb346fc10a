//! `spothost rollout`: a new host in the place of the old one, watched to its end.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use tokio::time::sleep;

use super::{BAD_CONFIGURATION, Configured, Log, NOT_AS_IT_SHOULD_BE, Stop, TRY_AGAIN, runtime};
use crate::{
    config::RoutingMode,
    departure::Signals,
    succession::{Goal, Phases, RolloutProgress, Sight},
};

mod display;
mod many;
mod site;

use display::Display;
pub(super) use site::FleetSite;

/// Between two looks: each costs one of the five calls a second that Route 53 allows an account.
const LOOK: Duration = Duration::from_secs(2);

/// Replace the host with a new one, and watch until the old one is gone.
///
/// It starts one more host, and waits until that one owns the names and the old one is gone. You may interrupt it and run it again.
#[derive(Args)]
#[command(after_help = "\
With [dns] mode = \"multivalue\", all hosts own the names, and each is replaced in turn; [fleet] target is their number at rest.

Exit codes:
  0   the new host owns the names and answers, and the old one is gone
  1   failed, and the target of the fleet was restored
  75  timed out before the old host was gone: run it again to go on waiting")]
pub(super) struct RolloutCommand {
    #[command(flatten)]
    configured: Configured,
    /// Version of the program that the new host must run, such as 0.2.0.
    #[arg(long, value_name = "VERSION")]
    program: Option<String>,
    /// Package that the new host must serve when it takes over: its ETag, or the first characters.
    #[arg(long, value_name = "ETAG")]
    package: Option<String>,
    /// Time limit for the whole roll-out, with the boot and the time for which the old host still serves.
    #[arg(long, value_name = "TIME", default_value = "45m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Time limit for the new host to own the names.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    boot: Duration,
    /// Print each change as one line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    log: Log,
}

impl RolloutCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        runtime()?.block_on(async {
            let mut signals = Signals::catch().map_err(|error| Stop::new(TRY_AGAIN, error))?;
            let rolled = async {
                let site = FleetSite::find(&config).await?;
                match config.leading {
                    RoutingMode::Multivalue => self.roll_many(&site, &config).await,
                    RoutingMode::Records | RoutingMode::ElasticIp(..) => self.roll(&site).await,
                }
            };
            tokio::select! {
                done = rolled => done,
                _ = signals.next() => {
                    Err(Stop::new(TRY_AGAIN, "interrupted; the hosts continue by themselves: run it again to go on watching"))
                }
            }
        })
    }

    async fn roll(&self, site: &FleetSite) -> Result<ExitCode, Stop> {
        let mut display = Display::new(self.json);
        let first = self.at_rest(site, &display).await?;
        let goal = self.goal(site, &first).await?;
        let before: Vec<_> = first.hosts.iter().map(|(host, _)| host.clone()).collect();
        if first.fleet.target <= goal.floor && first.fleet.members <= goal.floor {
            site.set_target(goal.floor + 1).await?;
        }
        let mut phases = Phases::default();
        let mut raised = false;
        loop {
            let sight = site.look().await?;
            raised |= sight.fleet.members > goal.floor;
            let progress = goal.progress(&sight, raised);
            display.tell(&phases.look(&sight), &progress);
            let waited = display.elapsed();
            match progress {
                RolloutProgress::Done { .. } => {
                    display.done(&progress);
                    return Ok(ExitCode::SUCCESS);
                }
                RolloutProgress::Failed(why) => return self.give_up(site, &goal, &before, why).await,
                RolloutProgress::Starting | RolloutProgress::Booting if waited > self.boot => {
                    let why = format!("no new host owned the names within {}", humantime::format_duration(self.boot));
                    return self.give_up(site, &goal, &before, why).await;
                }
                _ if waited > self.timeout => {
                    return Err(Stop::new(TRY_AGAIN, format!("{progress}; timed out: run it again to continue")));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// What is seen once it is known how many hosts the fleet has at rest: a fleet that is in the middle of something must not
    /// be taken for one at rest.
    async fn at_rest(&self, site: &FleetSite, display: &Display) -> Result<Sight, Stop> {
        loop {
            let sight = site.look().await?;
            let Some(claim) = &sight.claim else {
                return Err(Stop::new(NOT_AS_IT_SHOULD_BE, "no host owns the names yet: there is none to replace"));
            };
            if site.at_rest(Some(claim)).is_some() {
                return Ok(sight);
            }
            if !claim.may_be_in(site.location.as_ref()) {
                let said = format!(
                    "{} holds the names, and is of another region or account: no claim says how many hosts the fleet {} has at \
                     rest: say [fleet] target",
                    claim.instance,
                    site.fleet.id()
                );
                return Err(Stop::new(BAD_CONFIGURATION, said));
            }
            if display.elapsed() > self.boot {
                let said = format!(
                    "{} has not noted how many hosts the fleet has at rest: see its `spothost status`, or say [fleet] target",
                    claim.instance
                );
                return Err(Stop::new(TRY_AGAIN, said));
            }
            sleep(LOOK).await;
        }
    }

    /// A fleet that has more hosts than at rest is in the middle of a roll-out, which is then resumed.
    async fn goal(&self, site: &FleetSite, first: &Sight) -> Result<Goal, Stop> {
        let claim = first.claim.as_ref();
        let floor = site.at_rest(claim).unwrap_or(first.fleet.target);
        let owner = claim.map(|claim| claim.instance.clone()).unwrap_or_default();
        let under_way = first.fleet.target > floor || first.fleet.members > floor;
        let over = under_way && site.is_youngest(&owner).await?;
        let old = (!over).then_some(owner);
        Ok(Goal { old, program: self.program.clone(), package: self.package.clone(), floor })
    }

    /// Restores the target, and ends the hosts that never took over: none of them owns the names, nor was one of those that
    /// the fleet had `before`, where the owner is none of its hosts.
    async fn give_up(&self, site: &FleetSite, goal: &Goal, before: &[String], why: String) -> Result<ExitCode, Stop> {
        let sight = site.look().await?;
        if sight.fleet.target > goal.floor && !sight.fleet.leaves_in_one {
            site.set_target(goal.floor).await?;
        }
        let owner = sight.claim.map(|claim| claim.instance);
        let mut ended = Vec::new();
        if owner.is_some() && owner == goal.old {
            let members = site.fleet.members().await?;
            for member in came_to_nothing(&members, owner.as_deref(), before) {
                site.fleet.end(&member, false).await?;
                ended.push(member);
            }
        }
        let ended = if ended.is_empty() { String::new() } else { format!("; {} was ended", ended.join(" and ")) };
        Err(Stop::new(NOT_AS_IT_SHOULD_BE, format!("{why}; the fleet's target is {} again{ended}", goal.floor)))
    }
}

/// The hosts of the fleet that a roll-out has started in vain. Where the owner is one of its hosts that is every other; where it
/// is of another fleet, as in another region, those that were there before are its spares.
fn came_to_nothing(members: &[String], owner: Option<&str>, before: &[String]) -> Vec<String> {
    let is_owner = |member: &String| Some(member.as_str()) == owner;
    let owned = members.iter().any(is_owner);
    let new = |member: &&String| !is_owner(member) && (owned || !before.contains(member));
    members.iter().filter(new).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::came_to_nothing;

    #[test]
    fn spares_of_a_fleet_that_does_not_own_the_names_are_not_ended() {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        /// The fleet's hosts, the owner, those from before, and those to be ended.
        type Row<'a> = (&'a [&'a str], Option<&'a str>, &'a [&'a str], &'a [&'a str]);
        let table: [Row<'_>; 5] = [
            (&["i-old", "i-new"], Some("i-old"), &["i-old"], &["i-new"]),
            // An interrupted roll-out that is resumed has found the new one already.
            (&["i-old", "i-new"], Some("i-old"), &["i-old", "i-new"], &["i-new"]),
            (&["i-spare", "i-new"], Some("i-elsewhere"), &["i-spare"], &["i-new"]),
            (&["i-spare"], Some("i-elsewhere"), &["i-spare"], &[]),
            (&["i-spare", "i-new"], None, &["i-spare"], &["i-new"]),
        ];
        for (members, owner, before, expected) in table {
            assert_eq!(came_to_nothing(&ids(members), owner, &ids(before)), ids(expected), "{members:?}, {owner:?}");
        }
    }
}
