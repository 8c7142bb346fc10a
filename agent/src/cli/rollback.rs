//! `spothost rollback`: hosts serve a version that was published before.

use std::process::ExitCode;

use clap::Args;

use super::{NOT_AS_IT_SHOULD_BE, Stop, publish::ended, published_at, runtime, wait::Patience};
use crate::{
    clock,
    documents::Version,
    publish::{Catalogue, Delivery},
};

/// Go back to an earlier published version.
#[derive(Args)]
pub(super) struct RollbackCommand {
    #[command(flatten)]
    published: published_at::PublishedAt,
    /// The version to serve; by default the newest before the latest that no host refused.
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    #[command(flatten)]
    waiting: Patience,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl RollbackCommand {
    pub(super) fn carry_out(&self) -> Result<ExitCode, Stop> {
        let begun = clock::now();
        runtime()?.block_on(async {
            let publisher_bucket = self.published.publisher_bucket().await?;
            let delivery = Delivery::begin(&publisher_bucket, begun).await?;
            let catalogue = Catalogue::read(&publisher_bucket).await?;
            let version = self.version(&catalogue)?;
            let delivered = delivery.lead_to(version, &catalogue).await?;
            ended(&publisher_bucket, &delivered, &self.waiting, self.json).await
        })
    }

    fn version<'a>(&'a self, catalogue: &'a Catalogue) -> Result<&'a Version, Stop> {
        let none = || {
            Stop::new(
                NOT_AS_IT_SHOULD_BE,
                "there is no older version to go back to: `spothost releases` lists all, and --to VERSION serves any of them",
            )
        };
        self.to.as_ref().or_else(|| catalogue.before_live()).ok_or_else(none)
    }
}
