//! `spothost upgrade`: a new version of the program in the place of this one.

use std::{env, path::PathBuf, process::ExitCode, time::Duration};

use clap::Args;

use super::{CANNOT_RUN, Configured, Log, NOT_AS_IT_SHOULD_BE, Stop, TRY_AGAIN, published_at::aws_session, runtime};
use crate::{
    aws::publisher_bucket::PublisherBucket,
    upgrade::{Installed, UpgradeOutcome, upgrade},
};

/// Install a newer version of the program from the place named in the configuration.
///
/// The new version starts on the same sockets. If it does not come to serve, `upgrade` restores the old version.
/// Without [upgrade] in the configuration it does nothing.
///
/// For spothost-upgrade.timer, which runs it as root once an hour where it is enabled.
#[derive(Args)]
#[command(after_help = "\
Exit codes:
  0   the newest version runs, or none is offered
  1   the new version was refused or rolled back
  75  the agent does not serve, so nothing was changed")]
pub(super) struct UpgradeCommand {
    #[command(flatten)]
    configured: Configured,
    /// The installed program; by default this one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The systemd unit that runs the program.
    #[arg(long, value_name = "UNIT", default_value = "spothost.service")]
    unit: String,
    /// Time limit for the new version to serve.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    log: Log,
}

impl UpgradeCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        self.log.start("info");
        let config = self.configured.load()?;
        let Some(offered) = &config.upgrade else {
            anstream::println!("the configuration has no [upgrade]: nothing is done");
            return Ok(ExitCode::SUCCESS);
        };
        let program = match &self.program {
            Some(program) => program.clone(),
            None => env::current_exe().map_err(|error| Stop::new(CANNOT_RUN, error))?,
        };
        let installed = Installed { program, unit: self.unit.clone(), patience: self.patience };
        let outcome = runtime()?.block_on(async {
            let publisher_bucket = PublisherBucket::new(&aws_session().await?, offered.from.clone());
            Ok::<_, Stop>(upgrade(&publisher_bucket, offered, &installed).await?)
        })?;
        match outcome {
            UpgradeOutcome::UpToDate => anstream::println!("nothing newer is offered"),
            UpgradeOutcome::Upgraded(version) => anstream::println!("{version} serves"),
            UpgradeOutcome::NotNow => {
                return Err(Stop::new(
                    TRY_AGAIN,
                    "the agent does not serve: see `spothost status`; nothing was changed",
                ));
            }
            UpgradeOutcome::RefusedBefore(sha256) => {
                let said = format!(
                    "{sha256} did not become ready before, and is not tried again: offer another, or remove {}.refused",
                    installed.program.display()
                );
                return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
            }
            UpgradeOutcome::WentBack(version, why) => {
                let said = format!("{version}: {why}; the previous version runs again");
                return Err(Stop::new(NOT_AS_IT_SHOULD_BE, said));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
