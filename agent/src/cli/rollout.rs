//! `spothost rollout`: a new host in the place of the old one, watched to its end.

use std::{process::ExitCode, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use super::{BAD_CONFIGURATION, Configured, Log, NOT_AS_IT_SHOULD_BE, Stop, TRY_AGAIN, depot::way_to_aws, runtime};
use crate::{
    address::Ledger,
    aws::{Aws, fleet::Fleet},
    config::Config,
    fault::Fault,
    succession::{Goal, Progress, Sight},
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(2);

/// Start a host more, wait until it has taken over and the old one is gone. It may be interrupted, and run again.
#[derive(Args)]
#[command(after_help = "\
Exit codes: 0 the new host owns the names, answers, and the old one is gone; 1 it came to nothing, and the fleet's target is what it
was; 75 the time was over before the old host had gone: run it again to go on waiting.")]
pub(super) struct Rollout {
    #[command(flatten)]
    configured: Configured,
    /// Version of the program that the new host must run, such as 0.2.0.
    #[arg(long, value_name = "VERSION")]
    program: Option<String>,
    /// Package that it must have served when it took over: the beginning of its entity tag.
    #[arg(long, value_name = "ETAG")]
    package: Option<String>,
    /// How long all of it may take: a boot, and the time for which the old host serves those who still come.
    #[arg(long, value_name = "TIME", default_value = "45m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// How long the new host may take to own the names.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    boot: Duration,
    #[command(flatten)]
    log: Log,
}

impl Rollout {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("warn");
        let config = self.configured.load()?;
        runtime()?.block_on(async {
            let site = Site::find(&config).await?;
            tokio::select! {
                done = self.roll(&site) => done,
                _ = tokio::signal::ctrl_c() => {
                    Err(Stop::new(TRY_AGAIN, "interrupted; the hosts go on by themselves, and running it again goes on watching"))
                }
            }
        })
    }

    async fn roll(&self, site: &Site) -> Result<ExitCode, Stop> {
        let first = site.look().await?;
        let goal = self.goal(site, &first).await?;
        if first.crew.target <= goal.floor && first.crew.members <= goal.floor {
            site.fleet.set_target(goal.floor + 1).await?;
        }
        let (spinner, begun) = (spinner(), Instant::now());
        let (mut raised, mut said) = (false, None);
        loop {
            let sight = site.look().await?;
            raised |= sight.crew.members > goal.floor;
            let progress = goal.progress(&sight, raised);
            if said.as_ref() != Some(&progress) {
                tell(&spinner, &progress);
                said = Some(progress.clone());
            }
            let waited = begun.elapsed();
            match progress {
                Progress::Done { .. } => {
                    spinner.finish_and_clear();
                    anstream::println!("{progress}, after {} s", waited.as_secs());
                    return Ok(ExitCode::SUCCESS);
                }
                Progress::Failed(why) => return self.give_up(site, &goal, why).await,
                Progress::Starting | Progress::Booting if waited > self.boot => {
                    let why = format!("no new host owned the names within {}", humantime::format_duration(self.boot));
                    return self.give_up(site, &goal, why).await;
                }
                _ if waited > self.timeout => {
                    return Err(Stop::new(TRY_AGAIN, format!("{progress}; the time is over: run it again to go on")));
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// A fleet that has more hosts than at rest is in the middle of a roll-out: then that is gone on with.
    async fn goal(&self, site: &Site, first: &Sight) -> Result<Goal, Stop> {
        let claim = first
            .claim
            .as_ref()
            .ok_or_else(|| Stop::new(NOT_AS_IT_SHOULD_BE, "nobody owns the names yet: there is nothing to follow"))?;
        let floor = site.floor.or(claim.target).unwrap_or(first.crew.target);
        let under_way = first.crew.target > floor || first.crew.members > floor;
        let over = under_way && site.is_youngest(&claim.instance).await?;
        let old = (!over).then(|| claim.instance.clone());
        Ok(Goal { old, program: self.program.clone(), package: self.package.clone(), floor })
    }

    /// Puts the target back, and ends the hosts that came to nothing: none of them owns the names.
    async fn give_up(&self, site: &Site, goal: &Goal, why: String) -> Result<ExitCode, Stop> {
        let sight = site.look().await?;
        if sight.crew.target > goal.floor && !sight.crew.leaves_in_one {
            site.fleet.set_target(goal.floor).await?;
        }
        let owner = sight.claim.map(|claim| claim.instance);
        let mut ended = Vec::new();
        if owner.is_some() && owner == goal.old {
            for member in site.fleet.members().await?.into_iter().filter(|member| Some(member) != owner.as_ref()) {
                site.fleet.end(&member, false).await?;
                ended.push(member);
            }
        }
        let ended = if ended.is_empty() { String::new() } else { format!("; {} was ended", ended.join(" and ")) };
        Err(Stop::new(NOT_AS_IT_SHOULD_BE, format!("{why}; the fleet's target is {} again{ended}", goal.floor)))
    }
}

/// The site and its fleet, as somebody sees them who is not a host.
pub(super) struct Site {
    pub(super) ledger: Ledger,
    pub(super) aws: Aws,
    pub(super) fleet: Fleet,
    floor: Option<u32>,
}

impl Site {
    /// The fleet that the configuration names, else that of the host which owns the names.
    pub(super) async fn find(config: &Config) -> Result<Site, Stop> {
        let no_zone = || Stop::new(BAD_CONFIGURATION, "without `zone` there is no succession");
        let ledger = Ledger::of(config).ok_or_else(no_zone)?;
        let aws = way_to_aws().await?;
        let fleet = match &config.fleet.id {
            Some(id) => Some(Fleet::named(&aws, id)),
            None => match ledger.claim(&aws).await? {
                Some(claim) => Fleet::found(&aws, &claim.instance, &Default::default()).await?,
                None => None,
            },
        };
        let fleet = fleet.ok_or_else(|| {
            Stop::new(NOT_AS_IT_SHOULD_BE, "the hosts of this site are of no fleet: name one, [fleet] id = \"…\"")
        })?;
        Ok(Site { ledger, aws, fleet, floor: config.fleet.target })
    }

    async fn look(&self) -> Result<Sight, Fault> {
        let mut tries = 0;
        loop {
            match self.seen().await {
                Err(fault) if tries < 5 && fault.cure != crate::fault::Cure::Operator => {
                    tries += 1;
                    sleep(fault.pause(tries)).await;
                }
                seen => return seen,
            }
        }
    }

    async fn seen(&self) -> Result<Sight, Fault> {
        let claim = self.ledger.claim(&self.aws).await?;
        let answers = match &claim {
            Some(claim) => self.ledger.answers(claim).await,
            None => false,
        };
        Ok(Sight { claim, answers, crew: self.fleet.look().await? })
    }

    async fn is_youngest(&self, instance: &str) -> Result<bool, Fault> {
        let members = self.fleet.members().await?;
        let machines = crate::aws::instances::Instances::new(&self.aws).described(&members).await?;
        let youngest = machines.iter().max_by_key(|machine| (machine.launched, machine.id.clone()));
        Ok(youngest.is_some_and(|machine| machine.id == instance))
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// On a terminal the line changes; elsewhere each change is a line.
fn tell(spinner: &ProgressBar, progress: &Progress) {
    match spinner.is_hidden() {
        true => anstream::eprintln!("{progress}"),
        false => spinner.set_message(progress.to_string()),
    }
}
